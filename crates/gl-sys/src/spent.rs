//! Descriptors that are closed many at a time.

use std::ops::Deref;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::exec::close_between;

/// Descriptors that are closed together when this is dropped: those whose numbers follow each other by one call.
///
/// # Kernel
///
/// `close_range(2)`, since 5.9; without it they are closed one by one.
#[derive(Debug, Default)]
pub struct Batch(Vec<OwnedFd>);

impl From<Vec<OwnedFd>> for Batch {
    fn from(fds: Vec<OwnedFd>) -> Self {
        Self(fds)
    }
}

impl Deref for Batch {
    type Target = [OwnedFd];

    fn deref(&self) -> &[OwnedFd] {
        &self.0
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.0.sort_unstable_by_key(|fd| fd.as_raw_fd());
        while let Some(highest) = self.0.last() {
            let highest = highest.as_raw_fd();
            let follows = |(at, fd): &(usize, &OwnedFd)| {
                usize::try_from(highest - fd.as_raw_fd()).is_ok_and(|distance| distance == *at)
            };
            let length = self.0.iter().rev().enumerate().take_while(follows).count();
            let run = self.0.drain(self.0.len() - length..);
            // SAFETY: all of the range are owned by `run`, which nobody has lent.
            if length > 1 && unsafe { close_run(highest, length) }.is_ok() {
                run.for_each(std::mem::forget);
            }
        }
    }
}

/// Descriptors that nothing needs any more. They are closed when there are sixteen of them, and when this is
/// dropped.
#[derive(Debug, Default)]
pub struct Spent(Batch);

/// So many are open for nothing at the most.
const MOST: usize = 16;

impl Spent {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn put(&mut self, fd: impl Into<OwnedFd>) {
        self.0.0.push(fd.into());
        if self.0.len() == MOST {
            drop(std::mem::take(&mut self.0));
        }
    }
}

/// Closes so many descriptors, the highest and those below it; all of them, or none.
///
/// # Safety
///
/// Each is the caller's, who does not use it any more.
unsafe fn close_run(highest: RawFd, length: usize) -> Result<(), Errno> {
    let length = RawFd::try_from(length).map_err(|_err| Errno::INVAL)?;
    let [first, last] = [highest - length + 1, highest].map(RawFd::cast_unsigned);
    // SAFETY: the caller's promise.
    unsafe { close_between(first, last) }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    /// What a number is open on. Each pipe has a name of its own: other tests open files meanwhile.
    fn open_on(number: RawFd) -> Option<CString> {
        rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()).ok()
    }

    #[test]
    fn exactly_those_that_were_put_are_closed() {
        let pipes = (0..140).map(|_| rustix::pipe::pipe().unwrap().0);
        let pipes: Vec<(RawFd, Option<CString>, OwnedFd)> = pipes
            .map(|fd| (fd.as_raw_fd(), open_on(fd.as_raw_fd()), fd))
            .collect();
        let mut seen = Vec::new();
        let (mut spent, mut kept) = (Spent::new(), Vec::new());
        for (position, (number, name, fd)) in pipes.into_iter().enumerate() {
            let is_kept = position % 7 == 3;
            seen.push((number, name, is_kept));
            match is_kept {
                true => kept.push(fd),
                false => spent.put(fd),
            }
        }
        drop(spent);
        for (number, name, is_kept) in seen {
            assert_eq!(open_on(number) == name, is_kept, "{number}: {name:?}");
        }
    }
}
