//! The rows of the tables: what is done, and to which peers, in interleaved rounds.

use crate::error::{Error, chain};
use crate::peer::{Kind, Peer, Slot};
use crate::setup::Folder;
use crate::shape::Shape;
use crate::stats::{Rounds, Summary, WARM_UP, summarise};

/// A memory limit that is enough for every runtime.
const MOST_MEMORY_KIB: u64 = 65_536;

/// What one timed row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// So many times `run`, all at once.
    Run(usize),
    /// `run` of a bundle of another shape.
    RunShaped(Shape),
    /// `run` on a host with so many mounts more.
    RunAmong(usize),
    /// `create`, `start`, wait outside the clock, `delete`.
    Lifecycle,
    /// `exec` of `true` in a running container.
    Exec,
    /// `state` of a running container.
    State,
    /// `kill` of a running container with signal 0.
    KillZero,
}

/// One timed row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// For `--only`.
    pub(crate) key: &'static str,
    /// For the table.
    pub(crate) title: &'static str,
    /// What is done.
    pub(crate) scenario: Scenario,
}

/// All timed rows in the order of the table.
pub(crate) const ROWS: [Row; 13] = [
    row("run", "run true", Scenario::Run(1)),
    row("lifecycle", "create + start + delete", Scenario::Lifecycle),
    row("exec", "exec true", Scenario::Exec),
    row("state", "state", Scenario::State),
    row("kill", "kill 0", Scenario::KillZero),
    row("run8", "8 × run true at once", Scenario::Run(8)),
    row("run32", "32 × run true at once", Scenario::Run(32)),
    row("run128", "128 × run true at once", Scenario::Run(128)),
    row(
        "unfiltered",
        "run true, no seccomp",
        Scenario::RunShaped(SHAPES[0]),
    ),
    row(
        "mounts50",
        "run true, 50 mounts in the bundle",
        Scenario::RunShaped(SHAPES[1]),
    ),
    row(
        "mounts200",
        "run true, 200 mounts in the bundle",
        Scenario::RunShaped(SHAPES[2]),
    ),
    row(
        "among100",
        "run true, 100 mounts more on the host",
        Scenario::RunAmong(100),
    ),
    row(
        "among1000",
        "run true, 1000 mounts more on the host",
        Scenario::RunAmong(1000),
    ),
];

/// Shapes of bundles that have a row.
pub(crate) const SHAPES: [Shape; 3] = [Shape::Unfiltered, Shape::Mounts(50), Shape::Mounts(200)];

const fn row(key: &'static str, title: &'static str, scenario: Scenario) -> Row {
    Row {
        key,
        title,
        scenario,
    }
}

/// What a row gave for one peer: `None` if the peer has no such thing.
pub(crate) type Cell<T> = Option<Result<T, String>>;

impl Scenario {
    /// Whether a peer of this kind can do it at all.
    fn suits(self, kind: Kind) -> bool {
        match kind {
            Kind::Oci => true,
            Kind::Bubblewrap | Kind::Floor => matches!(self, Self::Run(_) | Self::RunAmong(_)),
            Kind::Nothing => self == Self::Run(1),
        }
    }

    /// Whether a container must be running before.
    fn needs_long(self) -> bool {
        matches!(self, Self::Exec | Self::State | Self::KillZero)
    }

    /// The one command that this is, for the rows that count calls and memory.
    pub(crate) fn command(self, peer: &Peer) -> Option<Vec<String>> {
        let program = &peer.program;
        match self {
            Self::Run(_) | Self::RunAmong(_) => Some(program.run(Slot::Short(0))),
            Self::RunShaped(shape) => Some(program.run(Slot::Shaped(shape))),
            Self::Lifecycle => None,
            Self::Exec => Some(program.verb(&["exec"], Slot::Long, &["true"])),
            Self::State => Some(program.verb(&["state"], Slot::Long, &[])),
            Self::KillZero => Some(program.verb(&["kill"], Slot::Long, &["0"])),
        }
    }

    /// Does it once and returns the nanoseconds.
    fn measure(self, peer: &mut Peer) -> Result<u64, Error> {
        match self {
            Self::Run(count) => {
                let commands = (0..count).map(|number| peer.program.run(Slot::Short(number)));
                let commands = commands.collect();
                peer.time(commands)
            }
            Self::Lifecycle => lifecycle(peer),
            Self::RunShaped(_) | Self::RunAmong(_) | Self::Exec | Self::State | Self::KillZero => {
                let command = self.command(peer).unwrap_or_default();
                peer.time(vec![command])
            }
        }
    }
}

/// Creates, starts and deletes a container; the time of the three commands alone.
fn lifecycle(peer: &mut Peer) -> Result<u64, Error> {
    let slot = Slot::Short(0);
    let create = create(peer, slot)?;
    let program = &peer.program;
    let (start, delete) = (
        program.verb(&["start"], slot, &[]),
        program.verb(&["delete"], slot, &[]),
    );
    let pid_file = program.pid_file(slot);
    let start = peer.time(vec![start])?;
    // As an engine's shim does: delete is called once the process is known to be gone.
    peer.reap(pid_file)?;
    let delete = peer.time(vec![delete])?;
    Ok(create + start + delete)
}

fn create(peer: &mut Peer, slot: Slot) -> Result<u64, Error> {
    let program = &peer.program;
    let (bundle, pid_file) = (program.bundle(slot), program.pid_file(slot));
    let verb = ["create", "--bundle", &bundle, "--pid-file", &pid_file];
    let command = program.verb(&verb, slot, &[]);
    peer.time(vec![command])
}

/// Has the peer's long-running container running.
fn start_long(peer: &mut Peer) -> Result<(), Error> {
    create(peer, Slot::Long)?;
    let start = peer.program.verb(&["start"], Slot::Long, &[]);
    peer.time(vec![start]).map(drop)
}

/// Ends the peer's long-running container.
fn stop_long(peer: &mut Peer) -> Result<(), Error> {
    delete_forced(peer, Slot::Long)?;
    let pid_file = peer.program.pid_file(Slot::Long);
    peer.reap(pid_file)
}

fn delete_forced(peer: &mut Peer, slot: Slot) -> Result<(), Error> {
    let delete = peer.program.verb(&["delete", "--force"], slot, &[]);
    peer.time(vec![delete]).map(drop)
}

/// Brings the containers up that `scenario` needs, and says for which peers the row can start.
fn prepare<T>(scenario: Scenario, peers: &mut [Peer]) -> Vec<Cell<T>>
where
    T: Default,
{
    let ready = |peer: &mut Peer| {
        if !scenario.suits(peer.program.kind) {
            return None;
        }
        let started = match scenario {
            Scenario::RunAmong(count) => peer.mounts(count),
            _ if scenario.needs_long() => start_long(peer),
            _ => Ok(()),
        };
        Some(started.map(|()| T::default()).map_err(|err| chain(&err)))
    };
    peers.iter_mut().map(ready).collect()
}

/// Takes down what [`prepare`] made, and what failed commands may have left.
fn finish<T>(scenario: Scenario, peers: &mut [Peer], cells: &mut [Cell<T>]) {
    for (peer, cell) in peers.iter_mut().zip(cells) {
        let Some(outcome) = cell else { continue };
        let among = matches!(scenario, Scenario::RunAmong(_));
        let cleaned = match (&outcome, scenario.needs_long()) {
            (_, _) if among => peer.mounts(0),
            (Ok(_), true) => stop_long(peer),
            (Ok(_), false) => Ok(()),
            (Err(_), _) if peer.program.kind == Kind::Oci => {
                // The row has failed already, and its error is the one to show.
                drop(delete_forced(peer, Slot::Long));
                drop(delete_forced(peer, Slot::Short(0)));
                Ok(())
            }
            (Err(_), _) => Ok(()),
        };
        if let Err(err) = cleaned {
            *outcome = Err(chain(&err));
        }
    }
}

/// Measures one row in interleaved rounds: in each, every peer once, and another one first.
pub(crate) fn measure(row: &Row, peers: &mut [Peer], rounds: Rounds) -> Vec<Cell<Summary>> {
    let mut cells: Vec<Cell<Vec<u64>>> = prepare(row.scenario, peers);
    for round in rounds.begin() {
        for turn in 0..peers.len() {
            let index = (round + turn) % peers.len();
            let Some(Ok(samples)) = &mut cells[index] else {
                continue;
            };
            match row.scenario.measure(&mut peers[index]) {
                Ok(nanos) if round >= WARM_UP => samples.push(nanos),
                Ok(_) => {}
                Err(err) => cells[index] = Some(Err(chain(&err))),
            }
        }
    }
    finish(row.scenario, peers, &mut cells);
    let summary = |samples: Vec<u64>| summarise(&samples).ok_or("no rounds".to_owned());
    let summarised = cells.into_iter().map(|cell| Some(cell?.and_then(summary)));
    summarised.collect()
}

/// What `strace` counts in one command and everything that it starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// All system calls, those of the container's process too.
    pub(crate) all: u64,
    /// Those that are `execve` or `execveat`, tries on the way along PATH included.
    pub(crate) execs: u64,
}

/// Counts the system calls of one command under every peer that `strace` can be had for.
pub(crate) fn count_calls(scenario: Scenario, peers: &mut [Peer]) -> Vec<Cell<Calls>> {
    sample(scenario, peers, |peer| {
        let Some(command) = scenario.command(peer) else {
            return Ok(None);
        };
        let prefix = "strace -f -c -U calls,name -o /tmp/calls";
        peer.output(with_prefix(prefix, command))?;
        let text = peer.output(vec!["cat".to_owned(), "/tmp/calls".to_owned()])?;
        let calls = parse_calls(&text).ok_or(Error::Output {
            tool: "strace",
            output: text,
        })?;
        Ok(Some(calls))
    })
}

/// Peak resident memory in KiB of one command and everything that it waits for: median of five.
pub(crate) fn peak_memory(scenario: Scenario, peers: &mut [Peer]) -> Vec<Cell<u64>> {
    sample(scenario, peers, |peer| {
        let Some(command) = scenario.command(peer) else {
            return Ok(None);
        };
        let mut samples = Vec::new();
        for _ in 0..5 {
            let text = peer.output(with_prefix("/tmp/peak", command.clone()))?;
            let peak = text.trim().parse().ok().ok_or(Error::Output {
                tool: "peak",
                output: text,
            })?;
            samples.push(peak);
        }
        Ok(summarise(&samples).map(|summary| summary.median))
    })
}

/// The least memory limit in KiB under which a container runs `true`, to the nearest sixteenth.
pub(crate) fn memory_floor(folder: &Folder, peers: &mut [Peer]) -> Vec<Cell<u64>> {
    let floor = |peer: &mut Peer| {
        let oci = peer.program.kind == Kind::Oci;
        oci.then(|| least_memory(folder, peer).map_err(|err| chain(&err)))
    };
    peers.iter_mut().map(floor).collect()
}

/// Halves the distance between a limit that is too small and one that is not.
fn least_memory(folder: &Folder, peer: &mut Peer) -> Result<u64, Error> {
    let (mut small, mut enough) = (0, MOST_MEMORY_KIB);
    let mut tried = enough;
    while enough - small > (enough / 16).max(4) {
        let slot = Slot::Shaped(Shape::Memory(tried));
        folder.bundle(&peer.program, slot)?;
        let command = peer.program.run(slot);
        match peer.time(vec![command]) {
            Ok(_) => enough = tried,
            Err(err) if tried == MOST_MEMORY_KIB => return Err(err),
            Err(_) => {
                small = tried;
                // What a runtime that was killed has left would be in the way of the next.
                drop(delete_forced(peer, slot));
            }
        }
        tried = small.midpoint(enough);
    }
    Ok(enough)
}

fn with_prefix(prefix: &str, command: Vec<String>) -> Vec<String> {
    let words = prefix.split_whitespace().map(str::to_owned);
    words.chain(command).collect()
}

/// Takes `figure` of every peer that has what `scenario` does.
pub(crate) fn sample<T: Default>(
    scenario: Scenario,
    peers: &mut [Peer],
    mut figure: impl FnMut(&mut Peer) -> Result<Option<T>, Error>,
) -> Vec<Cell<T>> {
    let mut cells: Vec<Cell<T>> = prepare(scenario, peers);
    for (peer, cell) in peers.iter_mut().zip(&mut cells) {
        if let Some(Ok(_)) = cell {
            *cell = figure(peer).map_err(|err| chain(&err)).transpose();
        }
    }
    finish(scenario, peers, &mut cells);
    cells
}

/// Reads the columns `calls` and `syscall` of `strace -c`.
fn parse_calls(text: &str) -> Option<Calls> {
    let mut calls = Calls::default();
    let mut total = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(count), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(count) = count.parse::<u64>() else {
            continue;
        };
        match name {
            "total" => total = Some(count),
            "execve" | "execveat" => calls.execs += count,
            _ => {}
        }
    }
    calls.all = total?;
    Some(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_summary_gives_the_total_and_the_execs() {
        let text = "    calls syscall\n--------- ----------------\n       12 read\n        \
                    3 execve\n        1 execveat\n--------- ----------------\n       16 total\n";
        assert_eq!(parse_calls(text), Some(Calls { all: 16, execs: 4 }));
    }

    #[test]
    fn strace_summary_without_a_total_is_refused() {
        assert_eq!(parse_calls("    calls syscall\n       12 read\n"), None);
    }
}
