//! Measures an OCI runtime side by side with its peers: time, memory, system calls and size.
//!
//! Links no greenlang crate and reads no state of any runtime: it calls each as an engine does.
//! `hack/bench` builds the runtime, gets the newest peers and calls this.

mod args;
mod calls;
mod container;
mod error;
mod gvisor;
mod host;
mod order;
mod peer;
mod picture;
mod processes;
mod profiles;
mod protocol;
mod ptrace;
mod report;
mod rows;
mod setup;
mod shape;
mod size;
mod stages;
mod stats;
mod tiers;
mod to_floor;
mod trace;
mod worker;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::args::{Asked, HELP, Options};
use crate::error::{Error, chain};
use crate::peer::Peer;
use crate::report::Results;
use crate::rows::{ROWS, Scenario};
use crate::setup::Folder;

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the bench's own output"
)]
fn main() -> ExitCode {
    let done = match args::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Bench(options)) => bench(&options),
        Ok(Asked::Worker { key, root, work }) => {
            worker::serve(&root, &work, &key).map(|()| ExitCode::SUCCESS)
        }
        Ok(Asked::Tools { folder }) => setup::build_tools(&folder).map(|()| ExitCode::SUCCESS),
        Ok(Asked::Stages { command, rounds }) => stages::table(&command, rounds).map(|table| {
            print!("{table}");
            ExitCode::SUCCESS
        }),
        Ok(Asked::Order { program, command }) => {
            order::functions(&program, &command).map(|names| {
                print!("{names}");
                ExitCode::SUCCESS
            })
        }
        Ok(Asked::Traced { command }) => Err(trace::become_traced(&command)),
        Ok(Asked::Help) => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Err(err) => Err(err),
    };
    done.unwrap_or_else(|err| {
        eprintln!("gl-bench: {}", chain(&err));
        ExitCode::FAILURE
    })
}

/// Measures all that was asked for and prints it. Fails if any runtime failed any row.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the bench's own output"
)]
fn bench(options: &Options) -> Result<ExitCode, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Usage {
            reason: "the bench mounts and makes cgroups: run it as root".to_owned(),
        });
    }
    let folder = Folder::make(options.tools.as_deref())?;
    let mut peers = Vec::new();
    let programs = setup::programs(
        &folder,
        options.greenlang.as_deref(),
        options.sid.as_deref(),
    );
    for program in programs? {
        folder.add(&program)?;
        peers.push(Peer::start(program, &folder.path)?);
    }
    let labels: Vec<&str> = peers.iter().map(|peer| peer.label.as_str()).collect();
    eprintln!("measuring {}", labels.join(", "));
    let mut machine = host::describe();
    machine.extend(options.notes.iter().cloned());
    let results = measure(options, &folder, &mut peers);
    println!("{}", report::tables(&results, &peers).trim());
    if let Some(out) = &options.out {
        let text = report::markdown(&results, &peers, &options.by, &machine);
        write(out, &text)?;
        let folder = out.with_file_name(&results.folder);
        fs::create_dir_all(&folder).map_err(|source| Error::File {
            action: "make",
            path: folder.clone(),
            source,
        })?;
        for (name, picture) in report::pictures(&results, &peers) {
            write(&folder.join(name), &picture)?;
        }
    }
    let failed = !results.failures(&peers).is_empty();
    for peer in peers {
        peer.stop()?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Name of the folder with the pictures of a report.
fn pictures_of(report: Option<&Path>) -> String {
    let stem = report.and_then(Path::file_stem);
    stem.map_or_else(
        || "bench".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

#[expect(clippy::print_stderr, reason = "progress of a run that takes minutes")]
fn measure(options: &Options, folder: &Folder, peers: &mut [Peer]) -> Results {
    let mut results = Results {
        rounds: Some(options.rounds),
        folder: pictures_of(options.out.as_deref()),
        ..Results::default()
    };
    for row in ROWS.iter().filter(|row| options.wants(row.key)) {
        eprintln!("{} …", row.title);
        let cells = rows::measure(row, peers, options.rounds);
        results.timed.push((row.title, cells));
    }
    if options.wants("profiles") {
        eprintln!("profiles …");
        results.profiles = profiles::measure(peers, options.rounds);
    }
    if options.wants("gvisor") {
        eprintln!("gvisor …");
        results.gvisor = gvisor::measure(peers, options.rounds);
    }
    if options.wants("tiers") || tiers::KEYS.iter().any(|key| options.wants(key)) {
        eprintln!("tiers …");
        let wants = |key: &str| options.wants("tiers") || options.wants(key);
        results.tiers = tiers::measure(folder, peers, options.rounds, wants);
    }
    let single = [
        ("run true", Scenario::Run(1)),
        ("exec true", Scenario::Exec),
        ("state", Scenario::State),
        ("kill 0", Scenario::KillZero),
    ];
    for (title, scenario) in single {
        if options.wants("memory") {
            let cells = rows::peak_memory(scenario, peers);
            results.memory.push((title, cells));
        }
        if options.wants("calls") {
            let cells = rows::count_calls(scenario, peers);
            results.calls.push((title, cells));
        }
    }
    if options.wants("processes") {
        eprintln!("processes …");
        results.processes = processes::measure(peers, options.rounds);
    }
    if options.wants("floor") {
        let cells = rows::memory_floor(folder, peers);
        results.memory_floor.push(("least memory limit", cells));
    }
    if options.wants("size") {
        results.sizes = Some(size::measure(peers));
    }
    results
}
