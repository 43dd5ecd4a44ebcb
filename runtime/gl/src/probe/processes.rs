//! The processes of the host.

use std::fs::{self, File};

use gl_sys::{Attempt, attempt};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::files::read;
use super::{Bait, Seen};

/// The argument by which the target is known.
pub(crate) const TARGET: &str = "probe-target";

fn is_target(cmdline: &[u8]) -> bool {
    cmdline
        .split(|byte| *byte == 0)
        .any(|argument| argument == TARGET.as_bytes())
}

fn target(bait: &Bait) -> Result<Pid, Seen> {
    Pid::from_raw(bait.target).ok_or_else(|| Seen::Unable("there is no target".to_owned()))
}

/// Does something with the target, unless a process of one's own has its number.
fn with(bait: &Bait, act: impl FnOnce(Pid) -> Seen) -> Seen {
    let pid = match target(bait) {
        Ok(pid) => pid,
        Err(seen) => return seen,
    };
    match fs::read(format!("/proc/{}/cmdline", bait.target)) {
        Ok(cmdline) if !is_target(&cmdline) => Seen::Absent("another process is there".to_owned()),
        _ => act(pid),
    }
}

fn tried(bait: &Bait, what: fn(Pid) -> Attempt<'static>, past: &[Errno]) -> Seen {
    with(bait, |pid| Seen::past(attempt(what(pid)), past))
}

pub(super) fn see(bait: &Bait) -> Seen {
    with(bait, |pid| {
        read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))
    })
}

/// Looks at all processes.
pub(super) fn find(_: &Bait) -> Seen {
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(err) => return Seen::io(Err::<(), _>(err)),
    };
    let mut read = 0;
    for entry in entries.flatten() {
        let Ok(cmdline) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        read += u32::from(!cmdline.is_empty());
        if is_target(&cmdline) {
            return Seen::worked();
        }
    }
    Seen::Denied(format!("{read} processes, none of the host's"))
}

/// Which process is the first.
pub(super) fn see_init(bait: &Bait) -> Seen {
    match fs::read("/proc/1/cmdline") {
        Ok(arguments) if String::from_utf8_lossy(&arguments) == bait.init => Seen::worked(),
        Ok(_) => Seen::Denied("another process is the first".to_owned()),
        Err(err) => Seen::io(Err::<(), _>(err)),
    }
}

pub(super) fn signal(bait: &Bait) -> Seen {
    with(bait, |pid| {
        Seen::of(rustix::process::test_kill_process(pid))
    })
}

pub(super) fn signal_by_descriptor(bait: &Bait) -> Seen {
    with(bait, |pid| {
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        Seen::of(fd.and_then(|fd| {
            use std::os::fd::AsFd as _;
            gl_sys::pidfd_send_signal(fd.as_fd(), 0)
        }))
    })
}

pub(super) fn take_descriptor(bait: &Bait) -> Seen {
    with(bait, |pid| {
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        Seen::of(fd.and_then(|fd| rustix::process::pidfd_getfd(fd, 0, PidfdGetfdFlags::empty())))
    })
}

pub(super) fn trace(bait: &Bait) -> Seen {
    tried(bait, Attempt::Trace, &[])
}

pub(super) fn read_memory(bait: &Bait) -> Seen {
    tried(bait, Attempt::ReadMemory, &[Errno::FAULT])
}

pub(super) fn write_memory(bait: &Bait) -> Seen {
    tried(bait, Attempt::WriteMemory, &[Errno::FAULT])
}

pub(super) fn limits(bait: &Bait) -> Seen {
    tried(bait, Attempt::LimitsOf, &[])
}

pub(super) fn priority(bait: &Bait) -> Seen {
    tried(bait, Attempt::PriorityOf, &[])
}

pub(super) fn cpus(bait: &Bait) -> Seen {
    tried(bait, Attempt::CpusOf, &[Errno::INVAL])
}

fn file(bait: &Bait, name: &str) -> Seen {
    with(bait, |pid| {
        Seen::io(File::open(format!("/proc/{}/{name}", pid.as_raw_nonzero())))
    })
}

pub(super) fn memory_file(bait: &Bait) -> Seen {
    file(bait, "mem")
}

pub(super) fn environment(bait: &Bait) -> Seen {
    file(bait, "environ")
}

pub(super) fn memory_map(bait: &Bait) -> Seen {
    with(bait, |pid| {
        read(format!("/proc/{}/maps", pid.as_raw_nonzero()))
    })
}

pub(super) fn enter_namespace(bait: &Bait) -> Seen {
    with(bait, |pid| {
        let path = format!("/proc/{}/ns/uts", pid.as_raw_nonzero());
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
        Seen::of(opened.and_then(|fd| {
            use std::os::fd::AsFd as _;
            rustix::thread::move_into_link_name_space(fd.as_fd(), None)
        }))
    })
}
