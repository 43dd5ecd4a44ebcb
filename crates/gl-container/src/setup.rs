//! `setup_timeout`: the time that `create` and `start` have together, hooks included. What passes between
//! the two is the engine's.

use std::time::{Duration, Instant};

use gl_launch::Deadline;
use gl_spec::{EndReason, Extras};

use crate::container::Container;
use crate::create::encode;
use crate::delete::end_processes;
use crate::error::Error;
use crate::record::{END, End};

/// When a create that began then has to be done.
pub(crate) fn deadline(extras: &Extras, begun: Instant) -> Deadline {
    let limit = extras.setup_timeout.as_ref();
    limit.map_or_else(Deadline::default, |limit| {
        Deadline::after(begun, Duration::from_millis(limit.ms))
    })
}

/// When a start that begins now has to be done: its create has used some of the time.
pub(crate) fn deadline_of_start(container: &Container, extras: &Extras) -> Deadline {
    let limit = extras.setup_timeout.as_ref();
    limit.map_or_else(Deadline::default, |limit| {
        let left = limit.ms.saturating_sub(container.record.setup_ms);
        Deadline::after(Instant::now(), Duration::from_millis(left))
    })
}

/// The same error, or that the time was over.
pub(crate) fn explain(err: Error, extras: &Extras, deadline: Deadline) -> Error {
    match &extras.setup_timeout {
        Some(limit) if deadline.is_over() => Error::SetupTimeout {
            line: limit.line.clone(),
            ms: limit.ms,
            source: Box::new(err),
        },
        _ => err,
    }
}

/// Ends a container that was not started in time, and notes why. The error is what was not done, or what
/// kept the container from being ended.
pub(crate) fn end_late(
    container: &Container,
    err: Error,
    extras: &Extras,
    deadline: Deadline,
) -> Error {
    let err = explain(err, extras, deadline);
    if !matches!(err, Error::SetupTimeout { .. }) {
        return err;
    }
    let reason = EndReason::Timeout;
    let noted = container.dir.replace(END, &encode(&End { reason }));
    match noted.and(end_processes(container)) {
        Ok(()) => err,
        Err(failed) => failed,
    }
}
