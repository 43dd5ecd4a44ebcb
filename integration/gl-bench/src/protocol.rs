//! What the bench asks of a worker and what it answers: one JSON value a line.

use serde::{Deserialize, Serialize};

use crate::trace::{Process, Step};

/// One thing a worker is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Start all of these at once, wait for all, answer [`Answer::Nanos`].
    Time {
        /// Programs with their arguments.
        commands: Vec<Vec<String>>,
    },
    /// Run this and answer [`Answer::Text`] with its standard output.
    Output {
        /// Program with its arguments.
        command: Vec<String>,
    },
    /// Follow these one after another, and answer [`Answer::Processes`].
    Trace {
        /// The commands.
        steps: Vec<Step>,
    },
    /// Have this many mounts more than at the start, and answer [`Answer::Done`].
    Mounts {
        /// How many; none takes all away.
        count: usize,
    },
    /// Wait for the end of the container process whose pid is in this file.
    Reap {
        /// Path as the worker sees it.
        pid_file: String,
    },
}

/// A worker's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The worker's filesystem is in place, its mounts are made, or the process was reaped.
    Done,
    /// From before the first start to after the last wait.
    Nanos(u64),
    /// What the program wrote to standard output.
    Text(String),
    /// The processes of the runtime, in the order of their start.
    Processes(Vec<Process>),
    /// The request failed; the error with its sources.
    Failed(String),
}
