//! What processes share by numbers and names.

use std::ffi::CString;

use gl_sys::{Attempt, attempt};
use rustix::io::Errno;

use super::{Bait, Seen};

/// The kernel says `EINVAL` for a number that nobody has.
fn absent(seen: Seen) -> Seen {
    match seen {
        Seen::Denied(how) if how == "EINVAL" => Seen::Absent(how),
        seen => seen,
    }
}

pub(super) fn segment(bait: &Bait) -> Seen {
    match bait.segment {
        Some(id) => absent(Seen::of(attempt(Attempt::AttachSegment(id)))),
        None => Seen::Unable("no segment could be made outside".to_owned()),
    }
}

pub(super) fn queue(bait: &Bait) -> Seen {
    let name = bait
        .queue
        .as_ref()
        .and_then(|name| CString::new(name.as_bytes()).ok());
    match name {
        Some(name) => Seen::of(attempt(Attempt::OpenQueue(&name))),
        None => Seen::Unable("no queue could be made outside".to_owned()),
    }
}

/// A segment of its own, removed again.
pub(super) fn own_segment(_: &Bait) -> Seen {
    let made = attempt(Attempt::MakeSegment);
    Seen::of(made.and_then(|id| {
        let id = i32::try_from(id).or(Err(Errno::INVAL))?;
        attempt(Attempt::RemoveSegment(id))
    }))
}
