//! The command line of the bench.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::rows::ROWS;
use crate::stats::Rounds;
use crate::tiers;

/// What was asked.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Measure.
    Bench(Options),
    /// Serve one peer; started by the bench itself.
    Worker {
        /// The peer's key.
        key: String,
        /// The root directory.
        root: PathBuf,
        /// The bench's folder.
        work: PathBuf,
    },
    /// Build the C programs into this folder.
    Tools {
        /// The folder, which exists.
        folder: PathBuf,
    },
    /// Say where the time of a command goes, which has a clock of its stages.
    Stages {
        /// The program with its arguments.
        command: Vec<String>,
        /// How often it is run.
        rounds: Rounds,
    },
    /// Name the functions of a program that a command passes through.
    Order {
        /// The program, with its symbols.
        program: PathBuf,
        /// A command that executes it.
        command: Vec<String>,
    },
    /// Become a program that is followed; started by a worker.
    Traced {
        /// The program with its arguments.
        command: Vec<String>,
    },
    /// Say how to call it.
    Help,
}

/// How to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Measured rounds of every timed row.
    pub(crate) rounds: Rounds,
    /// Keys of the rows to run; all if empty.
    pub(crate) only: Vec<String>,
    /// The greenlang binary.
    pub(crate) greenlang: Option<PathBuf>,
    /// A root directory with the newest peers.
    pub(crate) sid: Option<PathBuf>,
    /// A folder with the C programs, built already.
    pub(crate) tools: Option<PathBuf>,
    /// File for the report.
    pub(crate) out: Option<PathBuf>,
    /// The command that the report names as its author.
    pub(crate) by: String,
    /// What the report shall say of the machine beyond what it sees.
    pub(crate) notes: Vec<String>,
}

/// How to call the bench.
pub(crate) const HELP: &str = "\
usage: gl-bench [--rounds N] [--quick] [--row-time SECONDS] [--only ROW]... [--greenlang FILE] [--sid DIR]
                [--tools DIR] [--out FILE] [--by COMMAND] [--note TEXT]...
       gl-bench tools DIR
       gl-bench [--rounds N] [--row-time SECONDS] stages COMMAND [ARGUMENT]...
       gl-bench order PROGRAM COMMAND [ARGUMENT]...

  --rounds N        measured rounds of every timed row (40)
  --quick           5 rounds: to see whether it works, not for figures
  --row-time SECONDS  no new round of a row after so long, but for the first 5
  --only ROW        only this row; may be repeated: run lifecycle exec state kill run8 run32 run128
                    unfiltered mounts50 mounts200 among100 among1000 profiles gvisor tiers memory processes
                    calls floor size; a table of tiers alone: tier-basic tier-namespace
                    tier-container tier-gvisor tier-docker tier-busy tier-calling
  --greenlang FILE  the greenlang binary to measure
  --sid DIR         root directory of a Debian sid with crun, runc, bubblewrap and strace
  --tools DIR       take the C programs from there, where `gl-bench tools DIR` has built them
  --out FILE        write the report as Markdown, and a picture of each table into the folder beside it that has
                    its name without the extension
  --by COMMAND      the command that the report says it is written by (hack/bench)
  --note TEXT       a line more in what the report says of the machine; may be repeated

tools builds the C programs; stages runs a command of greenlang or gl and prints when which of its stages was
done: the medians in microseconds since its start, by its own clock (GREENLANG_STAGES, docs/speed.md);
order names the functions of a program that a command passes through, in the order of their first use
";

/// Keys of what has a table of its own.
pub(crate) const OTHERS: [&str; 8] = [
    "profiles",
    "gvisor",
    "tiers",
    "memory",
    "processes",
    "calls",
    "floor",
    "size",
];

impl Options {
    /// Whether the row with this key is to run.
    pub(crate) fn wants(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == key)
    }
}

/// Understands the arguments after the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, Error> {
    let mut arguments = arguments.into_iter();
    let mut options = Options {
        rounds: Rounds {
            most: 40,
            time: None,
        },
        only: Vec::new(),
        greenlang: None,
        sid: None,
        tools: None,
        out: None,
        by: "hack/bench".to_owned(),
        notes: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let mut value = || {
            arguments.next().ok_or_else(|| Error::Usage {
                reason: format!("{name} needs a value"),
            })
        };
        match name.as_str() {
            "worker" => {
                return Ok(Asked::Worker {
                    key: value()?.to_string_lossy().into_owned(),
                    root: value()?.into(),
                    work: value()?.into(),
                });
            }
            "tools" => {
                return Ok(Asked::Tools {
                    folder: value()?.into(),
                });
            }
            "stages" => {
                let words = arguments.map(|word| word.to_string_lossy().into_owned());
                return Ok(Asked::Stages {
                    command: words.collect(),
                    rounds: options.rounds,
                });
            }
            "order" => {
                let program = value()?.into();
                let words = arguments.map(|word| word.to_string_lossy().into_owned());
                return Ok(Asked::Order {
                    program,
                    command: words.collect(),
                });
            }
            "traced" => {
                let words = arguments.map(|word| word.to_string_lossy().into_owned());
                return Ok(Asked::Traced {
                    command: words.collect(),
                });
            }
            "--help" => return Ok(Asked::Help),
            "--quick" => options.rounds.most = 5,
            "--rounds" => options.rounds.most = number(&name, &value()?)?,
            "--row-time" => options.rounds.time = Some(seconds(&name, &value()?)?),
            "--only" => options.only.push(row(&value()?)?),
            "--greenlang" => options.greenlang = Some(value()?.into()),
            "--sid" => options.sid = Some(value()?.into()),
            "--tools" => options.tools = Some(value()?.into()),
            "--by" => options.by = value()?.to_string_lossy().into_owned(),
            "--note" => options.notes.push(value()?.to_string_lossy().into_owned()),
            "--out" => options.out = Some(value()?.into()),
            _ => {
                return Err(Error::Usage {
                    reason: format!("{name} is unknown; --help lists what there is"),
                });
            }
        }
    }
    Ok(Asked::Bench(options))
}

fn number(name: &str, value: &OsString) -> Result<usize, Error> {
    let text = value.to_string_lossy();
    let number = text.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| Error::Usage {
        reason: format!("{name} needs a number above 0, not {text}"),
    })
}

fn seconds(name: &str, value: &OsString) -> Result<Duration, Error> {
    // Of 64 bits on every machine that this runs on.
    let seconds = u64::try_from(number(name, value)?).unwrap_or(u64::MAX);
    Ok(Duration::from_secs(seconds))
}

fn row(value: &OsString) -> Result<String, Error> {
    let key = value.to_string_lossy().into_owned();
    let mut keys = ROWS
        .iter()
        .map(|row| row.key)
        .chain(OTHERS)
        .chain(tiers::KEYS);
    if keys.any(|known| known == key) {
        return Ok(key);
    }
    Err(Error::Usage {
        reason: format!("--only does not know the row {key}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> String {
        parse(arguments.iter().map(OsString::from))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, want) in [
            (
                vec!["--rounds", "0"],
                "--rounds needs a number above 0, not 0",
            ),
            (
                vec!["--row-time", "x"],
                "--row-time needs a number above 0, not x",
            ),
            (vec!["--only"], "--only needs a value"),
            (vec!["--only", "x"], "--only does not know the row x"),
            (vec!["-x"], "-x is unknown; --help lists what there is"),
        ] {
            let want = format!("understand the arguments: {want}");
            assert_eq!(refused(&arguments), want, "{arguments:?}");
        }
    }

    #[test]
    fn rows_are_all_wanted_without_only() {
        let Asked::Bench(options) = parse([]).unwrap() else {
            panic!("no options");
        };
        assert!(options.wants("run") && options.wants("size"), "{options:?}");
    }

    #[test]
    fn rows_are_limited_by_only() {
        let words = ["--only", "run", "--only", "calls"].map(OsString::from);
        let Asked::Bench(options) = parse(words).unwrap() else {
            panic!("no options");
        };
        let wanted = ["run", "exec", "calls"].map(|key| options.wants(key));
        assert_eq!(wanted, [true, false, true], "{options:?}");
    }
}
