//! A process of our own that outlives the command: it watches a container and ends it at its limits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::error::Error;
use crate::fork::{Place, fork};
use crate::record::{Channel, Kind as Message, Record};
use crate::stdio;

/// Starts `watch` in a process of its own, and returns once that process stands by itself: in a session
/// of its own, its working directory `/`, its streams the null device, nothing else open but
/// `descriptors`. Its exit status is what `watch` returns. Signals do nothing to it but show on the descriptor
/// that `watch` is given, for [`gl_sys::read_signal`].
///
/// It stays a child of this process, and of whoever reaps orphans after that.
///
/// # Errors
///
/// [`Error::Fork`], or [`Error::Host`] if it could not be set up; it is gone then.
pub fn watch(
    descriptors: &[BorrowedFd<'_>],
    watch: impl FnOnce(OwnedFd) -> i32,
) -> Result<(), Error> {
    let failed = |source| Error::Host {
        what: "start the process that watches the container",
        source,
    };
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    let given = Given {
        runtime: theirs,
        descriptors,
    };
    let child = |given: Given<'_>, _| {
        let ready = stand_alone().and_then(|signals| {
            given.runtime.send(&Record::new(Message::Ready, 0))?;
            Ok(signals)
        });
        match ready {
            Ok(signals) => {
                drop(given);
                watch(signals)
            }
            Err(_) => 1,
        }
    };
    fork(Place::default(), 0, given, Given::all, child).map_err(|source| Error::Fork { source })?;
    ours.expect(Message::Ready).map(drop).map_err(failed)
}

struct Given<'a> {
    runtime: Channel,
    descriptors: &'a [BorrowedFd<'a>],
}

impl Given<'_> {
    fn all(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.runtime.as_fd()];
        all.extend(self.descriptors);
        all
    }
}

fn stand_alone() -> Result<OwnedFd, Errno> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    gl_sys::reset_for_exec()?;
    stdio::null_streams()?;
    rustix::thread::set_name(c"greenlang-watch")?;
    gl_sys::block_all()
}
