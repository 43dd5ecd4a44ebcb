//! libcontainer behind as much of runc's command line as the oracle needs.
//!
//!     oracle-runtime --root DIR create [--pid-file FILE] [--console-socket SOCKET] ID
//!     oracle-runtime --root DIR start ID
//!     oracle-runtime --root DIR delete --force ID
//!
//! The bundle is the current directory. Cgroups are made without systemd. An error is one line with all
//! its sources on standard error, and status 1.
#![expect(clippy::print_stderr, reason = "a program says why it failed")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;

type Failure = Box<dyn Error>;

#[derive(Default)]
struct Arguments {
    root: PathBuf,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    words: Vec<String>,
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("oracle-runtime: {}", chain(failure.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Arguments, Failure> {
    let mut found = Arguments::default();
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        let mut value = || {
            given
                .next()
                .map(PathBuf::from)
                .ok_or(format!("{word} takes a value"))
        };
        match word.as_str() {
            "--root" => found.root = value()?,
            "--pid-file" => found.pid_file = Some(value()?),
            "--console-socket" => found.console_socket = Some(value()?),
            "--force" => (),
            _ => found.words.push(word),
        }
    }
    Ok(found)
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    match words[..] {
        ["create", id] => create(arguments, id),
        ["start", id] => Ok(load(arguments, id)?.start()?),
        // What was never made, or cleaned up after itself, is not there.
        ["delete", id] if !arguments.root.join(id).is_dir() => Ok(()),
        ["delete", id] => Ok(load(arguments, id)?.delete(true)?),
        _ => Err(format!("unknown command {words:?}").into()),
    }
}

fn create(arguments: &Arguments, id: &str) -> Result<(), Failure> {
    ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_root_path(&arguments.root)?
        .with_pid_file(arguments.pid_file.as_ref())?
        .with_console_socket(arguments.console_socket.as_ref())
        .validate_id()?
        .as_init(std::env::current_dir()?)
        .with_systemd(false)
        .build()?;
    Ok(())
}

fn load(arguments: &Arguments, id: &str) -> Result<Container, Failure> {
    Ok(Container::load(arguments.root.join(id))?)
}

/// An error and its sources; libcontainer repeats some, which are named once.
fn chain(failure: &dyn Error) -> String {
    let mut line = failure.to_string();
    let mut next = failure.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = source.source();
    }
    line
}
