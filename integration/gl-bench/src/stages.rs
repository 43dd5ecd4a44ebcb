//! `gl-bench stages`: where the time of a command goes, by its own clock (`GREENLANG_STAGES`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::time::{ClockId, clock_gettime};

use crate::error::Error;
use crate::stats::{self, Rounds};

/// What the first line of the runtime's file ends with.
const ZERO: &str = " ns of CLOCK_MONOTONIC are 0 us";

/// Runs a command again and again, and says when each of its stages was done: the medians, in their order.
pub(crate) fn table(command: &[String], rounds: Rounds) -> Result<String, Error> {
    let file = std::env::temp_dir().join(format!("gl-bench-stages-{}", std::process::id()));
    let mut all = Stages::default();
    for round in rounds.begin() {
        let begun = now();
        let ran = run(command, &file);
        let ended = now();
        // None is there of a command that has no such clock.
        let text = fs::read_to_string(&file).unwrap_or_default();
        if !text.is_empty() {
            fs::remove_file(&file).map_err(|source| Error::File {
                action: "remove",
                path: file.clone(),
                source,
            })?;
        }
        ran?;
        if round >= stats::WARM_UP {
            all.add(&text, (begun, ended)).ok_or_else(|| Error::Usage {
                reason: format!("{} writes no stages", command.join(" ")),
            })?;
        }
    }
    Ok(all.table())
}

fn run(command: &[String], file: &Path) -> Result<(), Error> {
    let Some((program, args)) = command.split_first() else {
        return Err(Error::Usage {
            reason: "stages needs a command".to_owned(),
        });
    };
    let output = Command::new(program)
        .args(args)
        .env("GREENLANG_STAGES", file)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start {
            program: program.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed {
        command: command.join(" "),
        status: output.status.to_string(),
        stderr: stderr.lines().last().unwrap_or_default().to_owned(),
    })
}

/// Nanoseconds of the clock that the runtime uses.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// When stages were done, in microseconds since the command was started. One that comes several times in a run is as many.
#[derive(Default)]
struct Stages(BTreeMap<(String, usize), Vec<u64>>);

impl Stages {
    /// Takes in what a run between these two times has written; nothing for a file that is none of these.
    fn add(&mut self, text: &str, (begun, ended): (u64, u64)) -> Option<()> {
        let mut lines = text.lines();
        // Of a program that begins anew there are two.
        let since = |line: &str| -> Option<u64> {
            let zero: u64 = line.trim_end().strip_suffix(ZERO)?.parse().ok()?;
            Some(zero.checked_sub(begun)? / 1000)
        };
        let mut before = since(lines.next()?)?;
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for line in lines {
            if let Some(other) = since(line) {
                before = other;
                continue;
            }
            let (time, name) = line.split_once(" us  ")?;
            let time: u64 = time.trim_start().parse().ok()?;
            let name = name.trim_end().to_owned();
            let number = seen.entry(name.clone()).or_default();
            self.0
                .entry((name, *number))
                .or_default()
                .push(before + time);
            *number += 1;
        }
        let whole = (ended - begun) / 1000;
        let end = self.0.entry(("(the command has ended)".to_owned(), 0));
        end.or_default().push(whole);
        Some(())
    }

    fn table(self) -> String {
        let stages = self.0.into_iter();
        let mut stages: Vec<_> = stages
            .filter_map(|((name, _), times)| {
                let summary = stats::summarise(&times)?;
                Some((summary.median, name, times.len()))
            })
            .collect();
        stages.sort();
        let rounds = stages.iter().map(|(_, _, count)| *count).max();
        let mut text = "| us | more | done |\n|---:|---:|---|\n".to_owned();
        let mut before = 0;
        for (median, name, count) in stages {
            let some = match Some(count) == rounds {
                true => String::new(),
                false => format!(" ({count} times)"),
            };
            // Writing to a string does not fail.
            writeln!(text, "| {median} | {} | {name}{some} |", median - before).ok();
            before = median;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_order_of_their_times() {
        let mut all = Stages::default();
        for more in [0, 2, 100] {
            let text = format!(
                "5000000{ZERO}   \n{:>11} us  a: begins   \n{:>11} us  a: ends\n",
                10 + more,
                700 + more
            );
            assert_eq!(all.add(&text, (4_000_000, 6_000_000)), Some(()), "{text}");
        }
        let want = "| us | more | done |\n|---:|---:|---|\n| 1012 | 1012 | a: begins |\n\
                    | 1702 | 690 | a: ends |\n| 2000 | 298 | (the command has ended) |\n";
        assert_eq!(all.table(), want);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "hello\n", "12 ns of CLOCK_MONOTONIC are 0 us\nx\n"] {
            assert_eq!(Stages::default().add(text, (0, 1)), None, "{text:?}");
        }
    }
}
