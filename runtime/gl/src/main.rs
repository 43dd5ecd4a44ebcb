#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]
//! `gl`: the command that people type. It writes, checks and explains profiles, and says what this host
//! can enforce.
//!
//! Arguments become a typed command ([`cli`]); one file a command acts on it; how the program ends is
//! decided here.

mod audit;
mod cli;
mod doctor;
mod error;
mod generate;
mod image;
mod output;
mod probe;
mod profile;
mod record;
mod run;
mod sandboxes;
mod status;
mod verify;
mod why;

use clap::Parser as _;
use gl_spec::{Classify as _, chain};

use crate::cli::{Cli, Command};
use crate::status::Status;

// The program begins there: see build.rs.
use gl_entry as _;

#[global_allocator]
static MEMORY: gl_sys::Arena = gl_sys::Arena::new();

#[cfg(not(test))]
gl_sys::main!(perform);

#[cfg_attr(test, expect(dead_code, reason = "a test has another main"))]
fn perform() -> Status {
    // Called by this name inside a sandbox that this program made.
    if let Some(launched) = gl_runsc::launcher::launch_if_called() {
        return match launched {
            Ok(()) => Status::SUCCESS,
            Err(failure) => {
                output::error(&failure.message, None);
                Status::from(failure.status)
            }
        };
    }
    if let Err(err) = gl_container::time_stages() {
        output::error(&chain(&err), err.hint().as_deref());
        return match run::is_meant(std::env::args_os()) {
            true => Status::from(run::SETUP),
            false => Status::FAILURE,
        };
    }
    gl_sys::stage("gl: begins");
    let status = command();
    gl_sys::stage("gl: ends");
    if let Err(err) = gl_container::write_stages() {
        output::error(&chain(&err), err.hint().as_deref());
    }
    status
}

/// Does what the arguments ask for.
fn command() -> Status {
    if let Some(options) = cli::only_run() {
        return run::perform(&options);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // --help, --version and what cannot be read. A status that a program could have is none of gl run's own.
        Err(err) if err.use_stderr() && run::is_meant(std::env::args_os()) => {
            return run::misread(&err);
        }
        Err(err) => err.exit(),
    };
    let done = match cli.command {
        Command::Doctor(options) => doctor::perform(&options),
        Command::TryNamespaces => output::text(&doctor::try_namespaces()).map(|()| Status::SUCCESS),
        Command::Profile(command) => profile::perform(&command),
        Command::Run(options) => return run::perform(&options),
        Command::Record(options) => return record::perform(&options),
        Command::Ps(options) => sandboxes::ps(&options),
        Command::Logs(options) => sandboxes::logs(&options),
        Command::Kill(options) => sandboxes::kill(&options),
        Command::Exec(options) => return sandboxes::exec(&options),
        Command::Wait(options) => return sandboxes::wait(&options),
        Command::Rm(options) => sandboxes::rm(&options),
        Command::Prune(options) => sandboxes::prune(&options),
        Command::Verify(options) => return verify::perform(&options),
        Command::Probe(options) => probe::perform(&options),
        Command::ProbeTarget(options) => return probe::target(&options),
        Command::Why(options) => why::perform(&options),
        Command::Completions(options) => generate::completions(&options),
        Command::Man(options) => generate::man(&options),
        Command::Audit(cli::Audit::Verify(options)) => audit::verify(&options),
        Command::Image(command) => image::perform(&command),
    };
    match done {
        Ok(code) => code,
        Err(err) => {
            output::error(&chain(&err), err.hint().as_deref());
            Status::FAILURE
        }
    }
}
