//! The peak memory of every process of a runtime, command by command.

use std::time::Instant;

use crate::error::Error;
use crate::peer::{Peer, Slot};
use crate::picture::{Bar, Group};
use crate::rows::{self, Cell, Scenario};
use crate::stats::{Rounds, summarise};
use crate::trace::{Begun, Process, Step, Until};

/// Title of the table.
pub(crate) const TITLE: &str = "Peak memory of every process in KiB";

/// How often each command is followed at most; the figures are medians.
const RUNS: usize = 5;

/// The commands of one measurement, and what each runtime's processes had.
pub(crate) type Rows = (&'static [&'static str], Vec<Cell<Vec<Process>>>);

/// Follows the commands of greenlang and of the newest crun and runc, which come first among the peers.
pub(crate) fn measure(peers: &mut [Peer], rounds: Rounds) -> Vec<Rows> {
    let runc = |peer: &Peer| peer.program.key.starts_with("runc");
    let until = peers
        .iter()
        .position(runc)
        .map_or(peers.len(), |runc| runc + 1);
    let all: [(&'static [&'static str], Scenario); 3] = [
        (&["run true"], Scenario::Run(1)),
        (&["create", "start", "delete"], Scenario::Lifecycle),
        (&["exec true"], Scenario::Exec),
    ];
    let followed = all.map(|(commands, scenario)| {
        let cells = rows::sample(scenario, &mut peers[..until], |peer| {
            follow(peer, scenario, rounds).map(Some)
        });
        (commands, cells)
    });
    followed.into()
}

fn follow(peer: &mut Peer, scenario: Scenario, rounds: Rounds) -> Result<Vec<Process>, Error> {
    let steps = steps(peer, scenario);
    let start = Instant::now();
    let mut runs = Vec::new();
    for run in 0..RUNS {
        // All peers together have the time of a row.
        let over = rounds.time.is_some_and(|time| start.elapsed() > time / 3);
        if run == 0 || !over {
            runs.push(peer.trace(steps.clone())?);
        }
    }
    Ok(merge(&runs))
}

fn steps(peer: &Peer, scenario: Scenario) -> Vec<Step> {
    let step = |command, until| Step { command, until };
    let program = &peer.program;
    let slot = Slot::Short(0);
    let bundle = program.bundle(slot);
    match scenario {
        Scenario::Lifecycle => vec![
            step(
                program.verb(&["create", "--bundle", &bundle], slot, &[]),
                Until::Called,
            ),
            step(program.verb(&["start"], slot, &[]), Until::All),
            step(program.verb(&["delete"], slot, &[]), Until::All),
        ],
        _ => scenario
            .command(peer)
            .map(|command| step(command, Until::All))
            .into_iter()
            .collect(),
    }
}

/// The medians of the runs that had the processes which most had.
fn merge(runs: &[Vec<Process>]) -> Vec<Process> {
    let shape = |run: &[Process]| {
        let process = |one: &Process| (one.step, one.name.clone(), one.begun, one.contained);
        run.iter().map(process).collect::<Vec<_>>()
    };
    let alike = |run: &[Process]| {
        let alike = runs.iter().filter(|other| shape(other) == shape(run));
        alike.collect::<Vec<_>>()
    };
    let Some(alike) = runs.iter().map(|run| alike(run)).max_by_key(Vec::len) else {
        return Vec::new();
    };
    let median = |index: usize, figure: fn(&Process) -> u64| {
        let samples: Vec<u64> = alike.iter().map(|run| figure(&run[index])).collect();
        summarise(&samples).map_or(0, |summary| summary.median)
    };
    let process = |(index, process): (usize, &Process)| Process {
        peak: median(index, |one| one.peak),
        anonymous: median(index, |one| one.anonymous),
        ..process.clone()
    };
    alike[0].iter().enumerate().map(process).collect()
}

/// A process with its command, whose it is, and its index among those of one measurement.
type Found<'a> = (&'static str, &'a str, usize, &'a Process);

/// The processes of all commands: those of one command together, by runtime and start.
fn found<'a>((commands, cells): &'a Rows, peers: &'a [Peer]) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    let measured = peers.iter().zip(cells);
    for (peer, cell) in measured {
        let processes = cell.iter().flatten().flatten();
        let of_peer = processes.enumerate();
        found.extend(of_peer.filter_map(|(index, process)| {
            let command = commands.get(process.step)?;
            Some((*command, peer.label.as_str(), index, process))
        }));
    }
    // Stable, so that the rest stays in order.
    found.sort_by_key(|(.., process)| process.step);
    found
}

/// The lines of the table, its head first.
pub(crate) fn lines(rows: &[Rows], peers: &[Peer]) -> Vec<Vec<String>> {
    let head = [
        "command",
        "runtime",
        "process",
        "how it began",
        "peak",
        "of no file",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let all = rows.iter().flat_map(|rows| found(rows, peers));
    lines.extend(all.map(|(command, label, index, process)| {
        vec![
            command.to_owned(),
            label.to_owned(),
            name(index, process),
            origin(process),
            process.peak.to_string(),
            process.anonymous.to_string(),
        ]
    }));
    lines
}

/// `2 runc:[1:CHILD]`: numbers are those of one runtime, in the order of the start.
fn name(index: usize, process: &Process) -> String {
    format!("{} {}", index + 1, process.name)
}

fn origin(process: &Process) -> String {
    let begun = match process.begun {
        Begun::Called => "called".to_owned(),
        Begun::Fork(parent) => format!("fork of {}", parent + 1),
        Begun::Shared(parent) => format!("fork of {} in its memory", parent + 1),
        Begun::Exec(before) => format!("exec in {}", before + 1),
    };
    match process.contained {
        true => format!("{begun}; becomes the container's program"),
        false => begun,
    }
}

/// The bars of the table, a group a command.
pub(crate) fn groups(rows: &[Rows], peers: &[Peer]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (command, label, index, process) in rows.iter().flat_map(|rows| found(rows, peers)) {
        let bar = Bar {
            name: format!("{label}: {}", name(index, process)),
            value: process.peak,
            text: process.peak.to_string(),
        };
        match groups.last_mut() {
            Some(group) if group.title == command => group.bars.push(bar),
            _ => groups.push(Group {
                title: command.to_owned(),
                bars: vec![bar],
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, begun: Begun, peak: u64) -> Process {
        Process {
            step: 0,
            name: name.to_owned(),
            begun,
            contained: false,
            peak,
            anonymous: peak / 2,
        }
    }

    #[test]
    fn merged_figures_are_medians_of_the_runs_that_are_alike() {
        let run = |first, second| {
            vec![
                process("a", Begun::Called, first),
                process("b", Begun::Fork(0), second),
            ]
        };
        let other = vec![process("a", Begun::Called, 1000)];
        let merged = merge(&[other, run(10, 4), run(30, 6), run(20, 8)]);
        assert_eq!(merged, run(20, 6));
    }

    #[test]
    fn merged_runs_of_nothing_are_nothing() {
        assert_eq!(merge(&[]), []);
    }

    #[test]
    fn origin_names_the_other_process_by_its_number() {
        for (begun, contained, want) in [
            (Begun::Called, false, "called"),
            (Begun::Fork(0), false, "fork of 1"),
            (Begun::Shared(1), false, "fork of 2 in its memory"),
            (
                Begun::Exec(2),
                true,
                "exec in 3; becomes the container's program",
            ),
        ] {
            let process = Process {
                contained,
                ..process("x", begun, 0)
            };
            assert_eq!(origin(&process), want, "{begun:?}");
        }
    }
}
