//! What Landlock denies, as the kernel tells its audit: `AUDIT_LANDLOCK_ACCESS` and `AUDIT_LANDLOCK_DOMAIN`, in
//! the netlink group that everybody with `CAP_AUDIT_READ` may hear.
//!
//! Audit is on or off for the whole host, and is never turned on from here: it would cost every program of the
//! host. The process that puts Landlock in force has a name that nobody can guess meanwhile, which the
//! kernel tells with the first denial; so a domain of another sandbox is never taken for one of ours.

mod record;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use gl_profile::{Isolation, Mode, Profile};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use self::record::Heard;
use crate::report::Denial;
use crate::root::Root;
use crate::run::{Reporting, Request};

/// The first ABI of Landlock that tells of denials after an execve: Linux 6.15.
const ABI: u32 = 7;
/// `AUDIT_NLGRP_READLOG`, as a bit.
const READLOG: u32 = 1;
/// `AUDIT_GET`.
const GET: u16 = 1000;
/// `AUDIT_LANDLOCK_ACCESS` and `AUDIT_LANDLOCK_DOMAIN`.
const RECORDS: [u16; 2] = [1423, 1424];
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
/// The length of a netlink header.
const HEADER: usize = 16;
/// The longest message that the kernel's audit sends is a bit shorter.
const LONGEST: usize = 16 << 10;
/// How long the kernel may take for an answer, and to tell that a domain is gone.
const PATIENCE: Duration = Duration::from_millis(300);

/// Why nothing is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deaf {
    Old,
    NoAudit,
    NotRoot,
    Off,
    Failed(Errno),
}

impl fmt::Display for Deaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("denials of Landlock: ")?;
        match self {
            Self::Old => f.write_str("this kernel tells nobody of them; one since Linux 6.15 does"),
            Self::NoAudit => f.write_str("the kernel tells them to its audit alone, and has none"),
            Self::NotRoot => f.write_str(
                "the kernel tells them to its audit alone, which root of the host alone can hear",
            ),
            Self::Off => f.write_str(
                "the kernel tells them to its audit alone, which is off: `auditctl -e 1` turns it on, for the whole host",
            ),
            Self::Failed(errno) => write!(f, "the kernel's audit cannot be heard: {errno}"),
        }
    }
}

/// What Landlock would deny and does not, in a mode that denies nothing.
pub(crate) const NOT_IN_FORCE: &str = "denials of Landlock: it cannot tell without denying, so that in permissive mode it is not in force";

/// Whether Landlock may be in force in a run, and somebody is told what it denies; where it is not in force
/// after all, nothing comes.
pub(crate) fn is_likely(request: &Request) -> bool {
    let profile: &Profile = &request.profile;
    let network = &profile.network;
    let isolation = profile.isolation.value;
    request.reporting == Reporting::Whole
        && profile.mode.value == Mode::Enforcing
        && isolation != Isolation::Gvisor
        && (isolation == Isolation::Basic
            || matches!(request.root, Root::Bundle(_))
            || profile.filesystem.read_write_paths.is_some()
            || !(network.allow_network.value || network.allow_loopback.value))
}

/// Somebody who listens.
#[derive(Debug)]
pub(crate) struct Listening {
    socket: OwnedFd,
    mark: String,
    heard: Heard,
    /// Records that audit had dropped before.
    lost: u32,
    /// Records did not reach us.
    overrun: bool,
}

/// What audit says of itself.
#[derive(Debug, Clone, Copy)]
struct Status {
    enabled: bool,
    lost: u32,
    waiting: u32,
}

impl Listening {
    /// Listens from now on.
    pub(crate) fn begin() -> Result<Self, Deaf> {
        match gl_sys::landlock_abi() {
            Ok(abi) if abi >= ABI => {}
            Ok(_) | Err(_) => return Err(Deaf::Old),
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Deaf::NotRoot);
        }
        let failed = |errno| match errno {
            Errno::PROTONOSUPPORT => Deaf::NoAudit,
            // In a user or pid namespace of its own, or without the capabilities.
            Errno::CONNREFUSED | Errno::PERM => Deaf::NotRoot,
            errno => Deaf::Failed(errno),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = rustix::net::socket_with(family, kind, flags, Some(netlink::AUDIT));
        let socket = socket.map_err(failed)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, READLOG)).map_err(failed)?;
        let mut listening = Self {
            socket,
            mark: mark().map_err(failed)?,
            heard: Heard::default(),
            lost: 0,
            overrun: false,
        };
        let status = listening.status().map_err(failed)?;
        if !status.enabled {
            return Err(Deaf::Off);
        }
        listening.lost = status.lost;
        Ok(listening)
    }

    /// The name under which Landlock is to be put in force.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Takes what has come.
    pub(crate) fn ready(&mut self) {
        while let Ok(Some(_)) = self.take() {}
    }

    /// Everything that was denied, with how many of those there was no room for; nobody is left who could ask for
    /// more. Also what is to be said of that.
    pub(crate) fn end(mut self, profiles: &[Profile]) -> (Vec<Denial>, u64, Option<String>) {
        let until = Instant::now() + PATIENCE;
        // Records are handed on one after the other by a thread of the kernel, and the last of a domain says how
        // many there were.
        let mut last = None;
        while Instant::now() < until {
            last = self.status().ok();
            let all = last.is_none_or(|status| status.waiting == 0);
            if all && !self.heard.is_waiting() {
                break;
            }
            if self.wait(until).is_err() {
                break;
            }
        }
        self.ready();
        let dropped = self.overrun || last.is_none_or(|status| status.lost != self.lost);
        let unsure = dropped && self.heard.has_unknown();
        let unsure = unsure.then(|| {
            "denials of Landlock whose records the kernel's audit has dropped: there were too many at a time"
                .to_owned()
        });
        let (denials, more) = self.heard.denials(profiles);
        (denials, more, unsure)
    }

    /// Waits for something to come, a moment at most.
    fn wait(&self, until: Instant) -> Result<(), Errno> {
        let left = until.saturating_duration_since(Instant::now());
        let left = left.min(Duration::from_millis(20));
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).map(drop)
    }

    /// Asks audit about itself; records that come before the answer are taken.
    fn status(&mut self) -> Result<Status, Errno> {
        let mut request = [0_u8; HEADER];
        let length = u32::try_from(HEADER).unwrap_or_default();
        request[..4].copy_from_slice(&length.to_ne_bytes());
        request[4..6].copy_from_slice(&GET.to_ne_bytes());
        request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.socket, &request, SendFlags::empty(), &kernel)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.take()? {
                Some(Some(status)) => return Ok(status),
                Some(None) => {}
                None if Instant::now() >= until => return Err(Errno::TIMEDOUT),
                None => self.wait(until)?,
            }
        }
    }

    /// Takes one message; of an answer of audit what it says. None if there is no message.
    fn take(&mut self) -> Result<Option<Option<Status>>, Errno> {
        let mut space = vec![0_u8; LONGEST];
        let flags = RecvFlags::DONTWAIT;
        let (length, from) = match rustix::net::recvfrom(&self.socket, &mut space, flags) {
            Ok((length, _, from)) => (length, from),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => return Ok(Some(None)),
            Err(Errno::NOBUFS) => {
                self.overrun = true;
                return Ok(Some(None));
            }
            Err(errno) => return Err(errno),
        };
        let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
        // Nobody but the kernel is believed.
        if from.is_none_or(|from| from.pid() != 0) {
            return Ok(Some(None));
        }
        // The kernel's own length of such a message is that without the header.
        let message = space.get(..length).unwrap_or_default();
        let (Some(kind), Some(data)) = (message.get(4..6), message.get(HEADER..)) else {
            return Ok(Some(None));
        };
        let kind = u16::from_ne_bytes([kind[0], kind[1]]);
        match kind {
            GET => Ok(Some(status_of(data))),
            NLMSG_ERROR => match word(data, 0).map(u32::cast_signed) {
                Some(errno) if errno < 0 => Err(Errno::from_raw_os_error(-errno)),
                _ => Ok(Some(None)),
            },
            kind if RECORDS.contains(&kind) => {
                self.heard.take(&String::from_utf8_lossy(data), &self.mark);
                Ok(Some(None))
            }
            _ => Ok(Some(None)),
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A name of a process as long as the kernel keeps it.
fn mark() -> Result<String, Errno> {
    let mut bytes = [0_u8; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("gl-{digits}"))
}

/// `struct audit_status`.
fn status_of(data: &[u8]) -> Option<Status> {
    Some(Status {
        enabled: word(data, 1)? != 0,
        lost: word(data, 6)?,
        waiting: word(data, 7)?,
    })
}

fn word(data: &[u8], index: usize) -> Option<u32> {
    let bytes = data.get(index * 4..index * 4 + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}
