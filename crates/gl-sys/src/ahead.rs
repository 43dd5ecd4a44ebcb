//! Namespaces that are made ahead, beside what the caller does meanwhile.

use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use crate::check::check;
use crate::network::raise_loopback;

/// Bytes of the maker's stack: two calls deep, and what the kernel puts there for signals.
const STACK: usize = 32 << 10;

/// The kinds that can be made ahead: these that belong to no process's memory, files or children.
const KINDS: [(UnshareFlags, &CStr); 2] = [
    (UnshareFlags::NEWNET, c"/proc/self/ns/net"),
    (UnshareFlags::NEWIPC, c"/proc/self/ns/ipc"),
];

/// Namespaces that are being made by a process beside this one, which shares its memory and its descriptors. The
/// kernel takes half a millisecond for one of the network, and this process need not wait for that.
#[derive(Debug)]
pub struct Ahead {
    maker: Option<Pid>,
    work: Box<Work>,
}

/// What has been made.
#[derive(Debug, Default)]
pub struct Made {
    /// Each with its bit. Those that could not be made are missing; whoever makes them then gets to know why.
    pub namespaces: Vec<(u64, OwnedFd)>,
    /// The loopback interface of the one of the network.
    pub loopback: Loopback,
}

/// Whether a loopback interface is up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loopback {
    /// It is down, as in every new namespace.
    #[default]
    Down,
    /// It is up.
    Up,
}

/// What both have: one writes it before it ends, the other one reads it after that.
#[derive(Debug)]
struct Work {
    wanted: UnshareFlags,
    loopback: Loopback,
    is_up: AtomicBool,
    /// For each of [`KINDS`] its descriptor, or -1.
    made: [AtomicI32; KINDS.len()],
    stack: Box<[u128]>,
}

impl Ahead {
    /// Begins to make those of `bits` (`CLONE_NEWNET`, `CLONE_NEWIPC`) that can be made ahead: none, if there are
    /// no others. The network's has its loopback interface brought up if that is wanted.
    ///
    /// They belong to the caller's user namespace and are charged to its cgroup, as if it had made them itself.
    ///
    /// # Errors
    ///
    /// As `clone(2)`. What keeps the namespaces from being made is no error: see [`Ahead::finish`].
    pub fn begin(bits: u64, loopback: Loopback) -> Result<Option<Self>, Errno> {
        let bits = u32::try_from(bits).unwrap_or(0);
        let all = KINDS
            .iter()
            .fold(UnshareFlags::empty(), |all, one| all | one.0);
        let wanted = UnshareFlags::from_bits_truncate(bits) & all;
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut work = Box::new(Work {
            wanted,
            loopback,
            is_up: AtomicBool::new(false),
            made: [const { AtomicI32::new(-1) }; KINDS.len()],
            stack: vec![0; STACK / size_of::<u128>()].into_boxed_slice(),
        });
        let top = work.stack.as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_FILES;
        let shared = ptr::from_ref(&*work).cast_mut().cast::<c_void>();
        // SAFETY: `make` only makes system calls, on a stack that is nobody else's and, as the memory behind `shared`,
        // is kept until the process has ended: `finish` and `drop` wait for that. It neither allocates nor uses
        // thread-local memory, which are this thread's.
        let pid = unsafe { libc::clone(make, top.cast(), flags, shared) };
        let pid = check(pid.into())?;
        let maker = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Ok(Some(Self { maker, work }))
    }

    /// Waits until they are made.
    #[must_use]
    pub fn finish(mut self) -> Made {
        self.wait();
        Made {
            namespaces: self.take(),
            loopback: match self.work.is_up.load(Ordering::Acquire) {
                true => Loopback::Up,
                false => Loopback::Down,
            },
        }
    }

    fn take(&self) -> Vec<(u64, OwnedFd)> {
        let made = KINDS.iter().zip(&self.work.made);
        let made = made.filter_map(|((kind, _), made)| {
            let number = made.swap(-1, Ordering::Acquire);
            // SAFETY: the maker has opened it for us in the table that it shared with us, and nobody else has it.
            let fd = (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) });
            Some((u64::from(kind.bits()), fd?))
        });
        made.collect()
    }

    fn wait(&mut self) {
        let Some(pid) = self.maker.take() else {
            return;
        };
        let mut status: c_int = 0;
        loop {
            // It has no signal for its end, so it is waited for as a clone (__WCLONE).
            // SAFETY: `status` is live and only the kernel writes to it.
            let ret = unsafe {
                libc::waitpid(pid.as_raw_nonzero().get(), &raw mut status, libc::__WCLONE)
            };
            match check(ret.into()) {
                Err(Errno::INTR) => {}
                // It is gone, or was never ours to wait for: it has nothing of ours any more.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.wait();
        drop(self.take());
    }
}

/// The maker, from its beginning to its end.
extern "C" fn make(shared: *mut c_void) -> c_int {
    // SAFETY: `begin` passes its work, which lives until this process has ended; both only read it, but for what is
    // atomic.
    let work = unsafe { &*shared.cast::<Work>() };
    // SAFETY: new namespaces of the network and of IPC leave memory, files and the working directory alone.
    if unsafe { rustix::thread::unshare_unsafe(work.wanted) }.is_err() {
        return 1;
    }
    for ((kind, path), made) in KINDS.iter().zip(&work.made) {
        if !work.wanted.contains(*kind) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, *path, flags, Mode::empty());
        if let Ok(fd) = opened {
            let number = std::os::fd::IntoRawFd::into_raw_fd(fd);
            made.store(number, Ordering::Release);
        }
    }
    if work.loopback == Loopback::Up && work.wanted.contains(UnshareFlags::NEWNET) {
        work.is_up.store(raised().is_ok(), Ordering::Release);
    }
    0
}

/// Brings the interface up: what keeps it down is met again by whoever does it then.
fn raised() -> Result<(), Errno> {
    let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None)?;
    raise_loopback(socket.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_of_their_kind_and_not_our_own() {
        let wanted = KINDS
            .iter()
            .fold(0, |all, one| all | u64::from(one.0.bits()));
        let wanted = wanted | u64::from(UnshareFlags::NEWNS.bits());
        let ahead = Ahead::begin(wanted, Loopback::Down).unwrap();
        let made = ahead.expect("some are wanted").finish().namespaces;
        if !rustix::process::geteuid().is_root() {
            println!("SKIP namespaces_are_of_their_kind_and_not_our_own: not root");
            return;
        }
        let kinds: Vec<u64> = made.iter().map(|(bit, _)| *bit).collect();
        assert_eq!(kinds, KINDS.map(|(kind, _)| u64::from(kind.bits())));
        for ((bit, fd), (_, path)) in made.iter().zip(KINDS) {
            assert_eq!(crate::namespace_type(fd.as_fd()), Ok(*bit), "{path:?}");
            let (own, new) = (
                rustix::fs::stat(path).unwrap(),
                rustix::fs::fstat(fd).unwrap(),
            );
            assert_ne!(own.st_ino, new.st_ino, "{path:?}");
        }
    }

    #[test]
    fn nothing_is_begun_for_other_kinds() {
        assert!(
            Ahead::begin(u64::from(UnshareFlags::NEWNS.bits()), Loopback::Up)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn many_at_once_are_all_made_or_given_back() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP many_at_once_are_all_made_or_given_back: not root");
            return;
        }
        let net = u64::from(UnshareFlags::NEWNET.bits());
        for _ in 0..20 {
            let first = Ahead::begin(net, Loopback::Up).unwrap().expect("wanted");
            let second = Ahead::begin(net, Loopback::Down).unwrap().expect("wanted");
            drop(second);
            let made = first.finish();
            assert_eq!((made.namespaces.len(), made.loopback), (1, Loopback::Up));
        }
    }
}
