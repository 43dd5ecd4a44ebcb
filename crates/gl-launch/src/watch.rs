//! A process of our own that outlives the command: it watches a container and ends it at its limits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::error::Error;
use crate::fork::{Place, fork};
use crate::record::{Channel, Kind as Message, Record};

/// A process that is to watch a container, and does once it is told to.
#[derive(Debug)]
pub struct Watcher {
    channel: Channel,
}

impl Watcher {
    /// Starts the process, which makes itself independent meanwhile: a session of its own, `/` as working
    /// directory, no streams, nothing open but `descriptors`. Once it is
    /// [told to](Self::begin), it calls `load`, reports that it [watches](Self::armed), and calls `watch`,
    /// whose result is its exit status. Signals do nothing to it but show on the descriptor that `watch` is
    /// given, for [`gl_sys::read_signal`].
    ///
    /// It ends where it is never told to, and where `load` has nothing for it. It stays a child of this
    /// process, and of whoever reaps orphans after that.
    ///
    /// # Errors
    ///
    /// [`Error::Fork`], or [`Error::Host`] if there is no way to talk to it.
    pub fn prepare<T>(
        descriptors: &[BorrowedFd<'_>],
        load: impl FnOnce() -> Option<T>,
        watch: impl FnOnce(T, OwnedFd) -> i32,
    ) -> Result<Self, Error> {
        let (ours, theirs) = Channel::pair().map_err(failed)?;
        let given = Given {
            runtime: theirs,
            descriptors,
        };
        let child = |given: Given<'_>, _| match ready(&given.runtime, load) {
            Some((loaded, signals)) => {
                drop(given);
                watch(loaded, signals)
            }
            None => 1,
        };
        fork(Place::default(), 0, given, Given::all, child)
            .map_err(|source| Error::Fork { source })?;
        Ok(Self { channel: ours })
    }

    /// Tells it to watch from now on, without waiting until it does.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] if it is gone.
    pub fn begin(&self) -> Result<(), Error> {
        let go = Record::new(Message::Go, 0);
        self.channel.send(&go).map_err(failed)
    }

    /// Returns once it watches.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] if it could not be set up; it is gone then.
    pub fn armed(self) -> Result<(), Error> {
        let ready = self.channel.expect(Message::Ready);
        ready.map(drop).map_err(failed)
    }
}

fn failed(source: Errno) -> Error {
    Error::Host {
        what: "start the process that watches the container",
        source,
    }
}

/// In the process: everything up to the watch itself.
fn ready<T>(runtime: &Channel, load: impl FnOnce() -> Option<T>) -> Option<(T, OwnedFd)> {
    let signals = stand_alone().ok()?;
    runtime.expect(Message::Go).ok()?;
    let loaded = load()?;
    runtime.send(&Record::new(Message::Ready, 0)).ok()?;
    Some((loaded, signals))
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
    rustix::thread::set_name(c"greenlang-watch")?;
    let signals = gl_sys::block_all()?;
    // In place of the streams, so that nothing else gets their numbers: it can be written to by nobody.
    rustix::stdio::dup2_stdin(&signals)?;
    rustix::stdio::dup2_stdout(&signals)?;
    rustix::stdio::dup2_stderr(&signals)?;
    Ok(signals)
}
