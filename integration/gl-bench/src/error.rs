//! Why the bench could not go on.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why the bench could not go on, or why one measurement could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The command line is wrong.
    #[error("understand the arguments: {reason}")]
    Usage {
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{action} {}", path.display())]
    File {
        /// `read`, `write`, `make`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The worker's view of the filesystem could not be made.
    #[error("mount {what}")]
    Mount {
        /// The mount.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// A program could not be started.
    #[error("start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("run `{command}`: {status}: {stderr}")]
    Failed {
        /// The whole command.
        command: String,
        /// Its wait status in words.
        status: String,
        /// The last line it wrote to standard error.
        stderr: String,
    },
    /// A worker ended, or said something that is not an answer.
    #[error("hear from the worker of {peer}: {answer}")]
    Worker {
        /// The peer it works for.
        peer: String,
        /// What came instead of an answer.
        answer: String,
    },
    /// A measurement that a worker could not take.
    #[error("measure: {reason}")]
    Measure {
        /// The worker's own error, all of it.
        reason: String,
    },
    /// A process could not be followed.
    #[error("{action}")]
    Trace {
        /// What failed.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The output of a tool could not be understood.
    #[error("read the figures of {tool}: {output}")]
    Output {
        /// The tool.
        tool: &'static str,
        /// What it printed.
        output: String,
    },
}

/// Joins an error and its sources, outermost first.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let mut line = err.to_string();
    let mut next = err.source();
    while let Some(source) = next {
        line.push_str(": ");
        line.push_str(&source.to_string());
        next = source.source();
    }
    line
}
