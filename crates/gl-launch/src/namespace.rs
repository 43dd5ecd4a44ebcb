//! Namespaces by path, and those that only a fork enters.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_plan::{Kind, Namespaces, Plan, TimeOffset, UserNs};
use gl_spec::Isolated;
use gl_sys::{Ahead, Loopback};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};

use crate::error::Error;
use crate::step::{Fault, Own};

/// An open namespace to enter.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Position in `linux.namespaces`.
    pub(crate) index: usize,
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    pub(crate) fd: OwnedFd,
    /// The runtime enters it for its fork.
    pub(crate) by_fork: bool,
}

/// What is left to do of what can be done ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// The bits of the namespaces that the fork makes.
    pub(crate) new: u64,
    /// The loopback interface of the network's is as it is to be.
    pub(crate) loopback_done: bool,
}

/// Takes the new namespaces of a plan that were made ahead among those to enter. Of `new`, which the fork would make.
/// One of the network whose loopback interface is not as it is to be, and cannot become so, is left to the fork.
pub(crate) fn take_ahead(
    ahead: Option<Ahead>,
    (plan, new): (&Plan, u64),
    opened: &mut Vec<Opened>,
) -> Left {
    let mut left = Left {
        new,
        loopback_done: false,
    };
    let made = ahead.map(Ahead::finish).unwrap_or_default();
    let is_up = made.loopback == Loopback::Up;
    // Who is in a user namespace of its own may not enter one of ours.
    let by_fork = matches!(plan.userns, UserNs::New(_));
    for (bit, fd) in made.namespaces {
        let mut kinds = [Kind::Network, Kind::Ipc].into_iter();
        let Some(kind) = kinds.find(|kind| kind.bit() & new == bit) else {
            continue;
        };
        if kind == Kind::Network {
            let wants_loopback = plan.network != Some(Isolated::Nothing);
            // Nobody inside could bring the interface up in a namespace of ours.
            let lacks_it = by_fork && wants_loopback && !is_up;
            if lacks_it || is_up && !wants_loopback {
                continue;
            }
            left.loopback_done = is_up;
        }
        left.new &= !bit;
        opened.push(Opened {
            // Where it stands among those to enter, which is after all that have a path.
            index: opened.len(),
            kind,
            path: PathBuf::new(),
            fd,
            by_fork,
        });
    }
    left
}

/// Opens every namespace of the plan that is entered by path.
pub(crate) fn open(namespaces: &Namespaces) -> Result<Vec<Opened>, Error> {
    let joins = namespaces.join.iter();
    joins
        .map(|join| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let failed = |source| Error::Namespace {
                index: join.index,
                path: join.path.clone(),
                source,
            };
            let fd = rustix::fs::open(&join.path, flags, Mode::empty()).map_err(failed)?;
            match gl_sys::namespace_type(fd.as_fd()) {
                Ok(bit) if bit == join.kind.bit() => {}
                Ok(_) | Err(Errno::NOTTY) => {
                    return Err(Error::NamespaceKind {
                        index: join.index,
                        path: join.path.clone(),
                        kind: join.kind,
                    });
                }
                Err(source) => return Err(failed(source)),
            }
            Ok(Opened {
                index: join.index,
                kind: join.kind,
                path: join.path.clone(),
                fd,
                by_fork: matches!(join.kind, Kind::Pid | Kind::Time),
            })
        })
        .collect()
}

/// Refuses what the plan would set in a namespace that is entered by path and is the runtime's own:
/// it would be set for the host.
pub(crate) fn check_host(opened: &[Opened], plan: &Plan) -> Result<(), Error> {
    for sysctl in &plan.sysctl {
        let kind = match sysctl.path.split_once('/') {
            Some(("net", _)) => Kind::Network,
            Some(("kernel", "domainname")) => Kind::Uts,
            _ => Kind::Ipc,
        };
        let key = sysctl.path.replace('/', ".");
        refuse_host(opened, kind, || format!("linux.sysctl[{key:?}]"))?;
    }
    if !plan.net_devices.is_empty() {
        refuse_host(opened, Kind::Network, || "linux.netDevices".to_owned())?;
    }
    if plan.hostname.is_some() {
        refuse_host(opened, Kind::Uts, || "hostname".to_owned())?;
    }
    if plan.domainname.is_some() {
        refuse_host(opened, Kind::Uts, || "domainname".to_owned())?;
    }
    Ok(())
}

fn refuse_host(opened: &[Opened], kind: Kind, field: impl FnOnce() -> String) -> Result<(), Error> {
    let Some(target) = opened.iter().find(|opened| opened.kind == kind) else {
        return Ok(());
    };
    let identity = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let failed = |source| Error::Namespace {
        index: target.index,
        path: target.path.clone(),
        source,
    };
    let own = own_namespace(kind)?;
    if identity(&own).map_err(failed)? == identity(&target.fd).map_err(failed)? {
        return Err(Error::HostSetting {
            field: field(),
            index: target.index,
        });
    }
    Ok(())
}

/// Enters one namespace; the kernel checks that it is of this kind.
pub(crate) fn enter(fd: BorrowedFd<'_>, kind: Kind) -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(fd, Some(link_type(kind)))
}

fn link_type(kind: Kind) -> LinkNameSpaceType {
    match kind {
        Kind::Time => LinkNameSpaceType::Time,
        Kind::Mount => LinkNameSpaceType::Mount,
        Kind::Cgroup => LinkNameSpaceType::ControlGroup,
        Kind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        Kind::Ipc => LinkNameSpaceType::InterProcessCommunication,
        Kind::User => LinkNameSpaceType::User,
        Kind::Pid => LinkNameSpaceType::ProcessID,
        Kind::Network => LinkNameSpaceType::Network,
    }
}

/// Pid and time namespaces take effect in children only, and one of the network that the runtime has made ahead cannot
/// be entered from another user namespace. The runtime enters them for its one fork
/// and then takes its own back, so that no second process is needed and that hooks, which it forks
/// later, stay on the host.
#[derive(Debug, Default)]
pub(crate) struct ForFork {
    own: Vec<(Kind, OwnedFd)>,
    place: Option<Place>,
}

/// Where the runtime is in its own mount namespace: entering one sets both to its root.
#[derive(Debug)]
struct Place {
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Place {
    fn here() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::open("/", flags, Mode::empty())?,
            cwd: rustix::fs::open(".", flags, Mode::empty())?,
        })
    }

    fn go_back(&self) -> Result<(), Errno> {
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        rustix::process::fchdir(&self.cwd)
    }
}

impl ForFork {
    /// Enters what the plan wants of those kinds.
    pub(crate) fn enter(
        namespaces: &Namespaces,
        opened: &[Opened],
        offsets: &[TimeOffset],
    ) -> Result<Self, Error> {
        let mut own = Vec::new();
        for target in opened.iter().filter(|one| one.by_fork) {
            own.push((target.kind, own_namespace(target.kind)?));
            enter(target.fd.as_fd(), target.kind).map_err(|source| Error::Namespace {
                index: target.index,
                path: target.path.clone(),
                source,
            })?;
        }
        if namespaces.creates(Kind::Time) {
            own.push((Kind::Time, own_namespace(Kind::Time)?));
            unshare_time(offsets).map_err(|source| Error::Host {
                what: "create the time namespace with linux.timeOffsets",
                source,
            })?;
        }
        Ok(Self { own, place: None })
    }

    /// Enters the pid and mount namespaces of the process behind `pidfd`.
    ///
    /// The child is visible in the pid namespace from its first moment, so by then the host's root
    /// must not be its own any more: `CAP_SYS_PTRACE` is enough to look through `/proc/PID/root`.
    pub(crate) fn enter_pid_of(pidfd: BorrowedFd<'_>) -> Result<Self, Errno> {
        // The pid namespace of later children stays: an exec has none, and root of a user namespace
        // may not go back to one that is the host's.
        let own = vec![(Kind::Mount, open_own("/proc/self/ns/mnt")?)];
        let place = Some(Place::here()?);
        let kinds = ThreadNameSpaceType::PROCESS_ID | ThreadNameSpaceType::MOUNT;
        rustix::thread::move_into_thread_name_spaces(pidfd, kinds)?;
        Ok(Self { own, place })
    }

    /// Enters a new mount namespace, with a copy of all mounts.
    pub(crate) fn aside() -> Result<Self, Errno> {
        let own = vec![(Kind::Mount, open_own("/proc/self/ns/mnt")?)];
        let place = Some(Place::here()?);
        gl_sys::unshare(UnshareFlags::NEWNS.bits())?;
        Ok(Self { own, place })
    }

    /// Takes the runtime's own namespaces back.
    pub(crate) fn leave(self) -> Result<(), Errno> {
        self.own
            .iter()
            .try_for_each(|(kind, fd)| enter(fd.as_fd(), *kind))?;
        self.place.as_ref().map_or(Ok(()), Place::go_back)
    }
}

/// The namespace of this kind that this process is in.
pub(crate) fn own_namespace(kind: Kind) -> Result<OwnedFd, Error> {
    let path = format!("/proc/self/ns/{}", kind.proc_name());
    open_own(&path).map_err(|source| Error::Host {
        what: "open the runtime's own namespace",
        source,
    })
}

fn open_own(path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a new time namespace for children, with its clock offsets: they can only be set while no
/// process is in it.
fn unshare_time(offsets: &[TimeOffset]) -> Result<(), Errno> {
    gl_sys::unshare(UnshareFlags::NEWTIME.bits())?;
    if offsets.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = offsets
        .iter()
        .map(|offset| {
            format!(
                "{} {} {}\n",
                offset.clock, offset.seconds, offset.nanoseconds
            )
        })
        .collect();
    write_file(
        Path::new("/proc/self/timens_offsets"),
        lines.concat().as_bytes(),
    )
}

/// Enters what the plan wants of pid and time namespaces, in a process that makes init and ends.
pub(crate) fn enter_for_children(
    namespaces: &Namespaces,
    opened: &[Opened],
    offsets: &[TimeOffset],
) -> Result<(), Fault> {
    for target in opened.iter().filter(|one| one.by_fork) {
        enter(target.fd.as_fd(), target.kind)
            .map_err(Fault::at(Own::JoinNamespace, target.index))?;
    }
    match namespaces.creates(Kind::Time) {
        true => unshare_time(offsets).map_err(Fault::of(Own::TimeNamespace)),
        false => Ok(()),
    }
}

/// Writes a kernel file in one call.
pub(crate) fn write_file(path: &Path, value: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    if rustix::io::write(&file, value)? == value.len() {
        return Ok(());
    }
    Err(Errno::IO)
}
