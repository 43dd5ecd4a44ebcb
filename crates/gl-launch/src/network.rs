//! The network of a container that is to have none: whatever an engine sets up, it sets up elsewhere.
//!
//! Engines do so in hooks, or between `create` and `start` by the process id of init, or later by the
//! namespace that they have found then. So init waits in a namespace that it leaves at `start`, and
//! has its own made before, where kernel parameters can be set. Where the program starts at once and no
//! hook runs before, there is nobody to set anything up, and one namespace is enough.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use gl_plan::{Kind, Plan};
use gl_spec::Isolated;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::error::Error;
use crate::fork::{Place, fork};
use crate::namespace;
use crate::step::{Fault, Own};

/// Two network namespaces of one init.
#[derive(Debug)]
pub(crate) struct Renewed {
    /// That which the engine sees.
    shown: OwnedFd,
    /// That of the program.
    own: OwnedFd,
}

/// Makes the network namespace that the program will have, and enters it; none where the container
/// keeps the engine's, or where its first one is its own.
pub(crate) fn renew(plan: &Plan) -> Result<Option<Renewed>, Fault> {
    let Some(isolated) = plan.network.filter(|_| plan.network_shown) else {
        return Ok(None);
    };
    let failed = Fault::of(Own::NetworkRenewal);
    let shown = current().map_err(&failed)?;
    let bit = u32::try_from(Kind::Network.bit()).unwrap_or(0);
    gl_sys::unshare(bit).map_err(&failed)?;
    match isolated {
        Isolated::Loopback => raise_loopback().map_err(Fault::of(Own::Loopback))?,
        Isolated::Nothing => {}
    }
    let own = current().map_err(failed)?;
    Ok(Some(Renewed { shown, own }))
}

impl Renewed {
    /// Goes back to where the engine will look for us; returns where to go at `start`.
    pub(crate) fn wait_outside(self) -> Result<OwnedFd, Fault> {
        namespace::enter(self.shown.as_fd(), Kind::Network)
            .map_err(Fault::of(Own::NetworkRenewal))?;
        Ok(self.own)
    }
}

/// The network namespace that this process is in. By a socket: a procfs may be the container's.
fn current() -> Result<OwnedFd, Errno> {
    gl_sys::network_namespace(socket()?.as_fd())
}

/// Brings the loopback interface up.
pub(crate) fn raise_loopback() -> Result<(), Errno> {
    gl_sys::raise_loopback(socket()?.as_fd())
}

/// Brings the loopback interface of another process's network namespace up.
///
/// # Errors
///
/// [`Error::Host`] if the process is gone or the kernel refuses.
pub fn raise_loopback_of(pid: Pid) -> Result<(), Error> {
    let failed = |source| Error::Host {
        what: "bring the loopback interface of the container up",
        source,
    };
    let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let forked = fork(Place::default(), 0, namespace, all, |namespace, _| {
        let entered = namespace::enter(namespace.as_fd(), Kind::Network);
        let raised = entered.and_then(|()| raise_loopback());
        raised.err().map_or(0, Errno::raw_os_error)
    });
    let (_, pidfd) = forked.map_err(|source| Error::Fork { source })?;
    let ended = loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => break other.map_err(failed)?,
        }
    };
    match ended.and_then(|status| status.exit_status()) {
        Some(0) => Ok(()),
        errno => Err(failed(errno.map_or(Errno::IO, Errno::from_raw_os_error))),
    }
}

fn all(namespace: &OwnedFd) -> Vec<BorrowedFd<'_>> {
    vec![namespace.as_fd()]
}

fn socket() -> Result<OwnedFd, Errno> {
    let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
    rustix::net::socket_with(AddressFamily::INET, kind, flags, None)
}
