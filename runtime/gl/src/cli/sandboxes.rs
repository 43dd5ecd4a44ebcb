//! The command line of what is done with sandboxes that there are. ID is a sandbox's name, or the beginning of
//! one name alone.

use std::time::Duration;

use clap::{Args, ValueEnum};
use gl_spec::Signal;

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Options of `gl ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// List those that have ended, too.
    #[arg(long, short)]
    pub(crate) all: bool,
    /// The form of the list.
    #[arg(long, value_enum, default_value_t = Listing::Table)]
    pub(crate) format: Listing,
}

/// Options of `gl logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on until the sandbox ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last N lines of each stream, of what is there at first.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Only what was written to standard output.
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) stdout: bool,
    /// Only what was written to standard error.
    #[arg(long)]
    pub(crate) stderr: bool,
    /// The sandbox.
    pub(crate) id: String,
}

/// Options of `gl kill`.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The signal: a number, or a name such as KILL, SIGKILL or RTMIN+3.
    #[arg(long, short, value_parser = signal, default_value = "TERM")]
    pub(crate) signal: Signal,
    /// The sandbox.
    pub(crate) id: String,
}

fn signal(text: &str) -> Result<Signal, String> {
    Signal::parse(text).ok_or_else(|| "it is no number from 0 to 64 and no name".to_owned())
}

/// Options of `gl exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Give the program a terminal of its own.
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Set a variable, or pass the caller's on.
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// The working directory inside, instead of that of the sandbox's own program.
    #[arg(long, short = 'C', value_name = "DIR", alias = "chdir")]
    pub(crate) cwd: Option<String>,
    /// The sandbox.
    pub(crate) id: String,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Options of `gl wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The sandbox.
    pub(crate) id: String,
}

/// Options of `gl rm`.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Kill those that have not ended. One that does not exist is fine, too.
    #[arg(long, short)]
    pub(crate) force: bool,
    /// The sandboxes.
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// Options of `gl prune`.
#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Leave those that have ended since, such as 30m, 12h or 7d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) older_than: Option<Duration>,
}

/// A number of seconds, or one with a unit.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("its unit is none of s, m, h and d".to_owned()),
    };
    let number: Option<u64> = digits.parse().ok().filter(|_| !digits.starts_with('+'));
    let seconds = number.and_then(|number| number.checked_mul(unit));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "it is no time, such as 30m, 12h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        for (text, want) in [
            ("0", Some(0)),
            ("90", Some(90)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("2h", Some(7200)),
            ("7d", Some(604_800)),
            ("", None),
            ("d", None),
            ("-1s", None),
            ("+1s", None),
            ("1w", None),
            ("1 h", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(time(text).ok(), want.map(Duration::from_secs), "{text:?}");
        }
    }
}
