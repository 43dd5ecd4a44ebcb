//! Exit statuses, all decided here.

use crate::command::Verb;
use crate::error::Error;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what was asked.
    Done,
    /// It waited for a process, which ended with this status; 128 and the signal's number if a
    /// signal ended it.
    Child(u8),
}

impl From<gl_container::Outcome> for Outcome {
    fn from(outcome: gl_container::Outcome) -> Self {
        match outcome {
            gl_container::Outcome::Detached => Self::Done,
            gl_container::Outcome::Exited(status) => Self::Child(status),
        }
    }
}

/// The status of the launcher in a sandbox, which says itself what kept it from becoming a program.
#[expect(clippy::print_stderr, reason = "there is no log in a sandbox")]
pub(crate) fn launched(result: Result<(), gl_runsc::launcher::Failure>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("{}", failure.message);
            failure.status
        }
    }
}

/// The status of the whole program.
///
/// Any failure of our own is 1, as engines expect, but for `exec`: there a process of the container
/// may well end with 1, so 255 says that it was never run. What is wrong with a command line is 1
/// there, too.
pub(crate) fn status(verb: Option<Verb>, result: &Result<Outcome, Error>) -> u8 {
    match result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Child(status)) => *status,
        Err(Error::Usage { .. }) => 1,
        Err(_) if verb == Some(Verb::Exec) => 255,
        Err(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    #[test]
    fn statuses_are_those_that_engines_expect() {
        let usage = || Error::Usage {
            source: args::Error::MissingOperand { operand: "x" },
        };
        let failure = || Error::NotSupported {
            command: "checkpoint",
        };
        for (verb, result, want) in [
            (Some(Verb::Run), Ok(Outcome::Child(137)), 137),
            (Some(Verb::Exec), Ok(Outcome::Child(1)), 1),
            (Some(Verb::State), Ok(Outcome::Done), 0),
            (Some(Verb::Create), Err(failure()), 1),
            (Some(Verb::Exec), Err(failure()), 255),
            (Some(Verb::Exec), Err(usage()), 1),
            (None, Err(usage()), 1),
        ] {
            let got = status(verb, &result);
            assert_eq!(got, want, "{verb:?} {result:?}");
        }
    }
}
