//! The runtime's side of a launch: everything opened, one fork, and the talk with the child.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use gl_plan::{Kind, Plan, Process, UserNs};
use gl_rootfs::{CgroupMounts, Prepared, Privilege, Stored};
use gl_seccomp::Program;
use gl_spec::{StateDocument, Status};
use gl_sys::{Ahead, Batch};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::beside::wait_beside_until;
use crate::child::{self, Inherited};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fork::{Place, fork, fork_sibling};
use crate::gate;
use crate::hook;
use crate::host;
use crate::identity;
use crate::idmap::{self, write_maps};
use crate::namespace::{self, ForFork, Opened, write_file};
use crate::netdevice::{self, Moved};
use crate::reaper::Init;
use crate::record::{Channel, Kind as Message, Record};
use crate::stdio;
use crate::step::{Fault, Own};

/// What a launch is made from.
#[derive(Debug)]
pub struct Request<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The bundle, absolute: relative paths of the plan are below it.
    pub bundle: &'a Path,
    /// A mount that is attached nowhere, as the root in place of the plan's.
    pub root: Option<OwnedFd>,
    /// The filesystem of the plan's store, a detached mount.
    pub store: Option<OwnedFd>,
    /// The container's state directory, for the gate.
    pub state_dir: BorrowedFd<'a>,
    /// What hooks read; the process id is filled in.
    pub state: &'a StateDocument,
    /// Files to write `0` into to join the cgroup.
    pub join: Batch,
    /// Its directory on v2: where the kernel can, init is born in it and does not have to join.
    pub cgroup_dir: Option<OwnedFd>,
    /// What a cgroup mount shows.
    pub cgroup: CgroupMounts,
    /// The seccomp filter.
    pub seccomp: Option<&'a Program>,
    /// Where the terminal's master end is sent.
    pub console: Option<OwnedFd>,
    /// Whose end is init's end as well.
    pub tie: Tie,
    /// Who is the container's first process.
    pub init: Init,
    /// New namespaces of the plan that are being made already, in the caller's user namespace: those of a container
    /// that has one of its own belong to the caller's then.
    pub ahead: Option<Ahead>,
}

/// Whose end is the end of a container, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tie {
    /// Nobody's: it outlives the command.
    #[default]
    Nobody,
    /// The thread's that launches it: its init gets SIGKILL then, unless it has told the kernel otherwise
    /// (`PR_SET_PDEATHSIG`).
    Launcher,
}

/// A container whose init exists and is not committed yet: dropping it kills that.
#[derive(Debug)]
pub struct Launching<'a> {
    plan: &'a Plan,
    pid: Pid,
    pidfd: Arc<OwnedFd>,
    channel: Option<Channel>,
    /// Interfaces of the host that are its own from the commit on.
    devices: Option<Moved>,
}

/// Opens what the plan needs and forks init, which then waits for [`Launching::build`].
///
/// # Errors
///
/// [`Error`]; nothing is left behind then but the gate's socket file.
pub fn spawn<'a>(request: Request<'a>) -> Result<Launching<'a>, Error> {
    let plan = request.plan;
    // Before the first fork, which inherits it. Root of a container in our pid namespace counts as
    // the owner of every user namespace that root makes, and could look into a process in one.
    identity::hide().map_err(|fault| Error::Host {
        what: "hide from other processes",
        source: fault.errno,
    })?;
    let failed = |what| move |source| Error::Host { what, source };
    stdio::shield_null().map_err(failed("open the null device"))?;
    let prepared = prepare(plan, request.bundle, (request.root, request.store))?;
    let mut namespaces = namespace::open(&plan.namespaces)?;
    namespace::check_host(&namespaces, plan)?;
    gl_sys::stage("runtime: files and mounts opened");
    let gate = gate::listen(request.state_dir).map_err(failed("make the start gate"))?;
    let (ours, theirs) = Channel::pair().map_err(failed("make a socket pair"))?;
    // Who is not the host's root cannot come back from a namespace for children, and sends another.
    let joins_userns = plan.userns == UserNs::Joined;
    let sends_maker = host::in_user_namespace() && for_children(plan);
    let by_maker = joins_userns || sends_maker;
    let new = if by_maker { 0 } else { fork_flags(plan) };
    let left = namespace::take_ahead(request.ahead, (plan, new), &mut namespaces);
    let network = network_by_path(plan, &namespaces).map_err(failed("keep a namespace open"))?;
    let entered = match sends_maker {
        true => ForFork::default(),
        false => ForFork::enter(&plan.namespaces, &namespaces, &plan.time_offsets)?,
    };
    let inherited = Inherited {
        plan,
        prepared,
        namespaces,
        loopback_done: left.loopback_done,
        join: request.join,
        cgroup: request.cgroup,
        seccomp: request.seccomp,
        state: request.state,
        console: request.console,
        gate,
        runtime: theirs,
        tie: request.tie,
        init: request.init,
    };
    let place = Place {
        namespaces: left.new,
        cgroup: request.cgroup_dir.as_ref().map(AsFd::as_fd),
    };
    let forked = fork(
        place,
        plan.options.preserve_fds,
        inherited,
        Inherited::descriptors,
        |inherited, born| {
            let inherited = inherited.born(born);
            if by_maker {
                make_init(inherited, sends_maker)
            } else {
                child::run(inherited)
            }
        },
    );
    entered
        .leave()
        .map_err(failed("return to the runtime's own namespaces"))?;
    let (pid, pidfd) = forked.map_err(|source| Error::Fork { source })?;
    gl_sys::stage("runtime: init forked");
    let (pid, pidfd) = if by_maker {
        take_sibling(plan, &ours, &pidfd)?
    } else {
        (pid, pidfd)
    };
    let mut launching = Launching {
        plan,
        pid,
        pidfd: Arc::new(pidfd),
        channel: Some(ours),
        devices: None,
    };
    write_id_maps(plan, pid)?;
    if !plan.net_devices.is_empty() {
        let network = network.map_or_else(|| network_of(pid), Ok);
        let network = network.map_err(failed("open the container's network namespace"))?;
        launching.devices = Some(netdevice::give(&plan.net_devices, network.as_fd())?);
    }
    Ok(launching)
}

fn write_id_maps(plan: &Plan, pid: Pid) -> Result<(), Error> {
    let UserNs::New(maps) = &plan.userns else {
        return Ok(());
    };
    let failed = |field| move |source| Error::IdMap { field, source };
    write_maps(pid, "uid_map", &maps.uid).map_err(failed("linux.uidMappings"))?;
    write_maps(pid, "gid_map", &maps.gid).map_err(failed("linux.gidMappings"))
}

/// What is on its own filesystem, and the rest that a plan takes from the host.
fn prepare(
    plan: &Plan,
    bundle: &Path,
    given: (Option<OwnedFd>, Option<OwnedFd>),
) -> Result<Prepared, Error> {
    let stored = store(plan, bundle, given)?;
    let prepared = gl_rootfs::prepare(plan, bundle, stored, &mut idmap::user_namespace);
    Ok(prepared?)
}

/// The network namespace that the container joins, for interfaces that move there.
fn network_by_path(plan: &Plan, namespaces: &[Opened]) -> Result<Option<OwnedFd>, Errno> {
    let network = namespaces.iter().find(|one| one.kind == Kind::Network);
    let network = network.filter(|_| !plan.net_devices.is_empty());
    let fd = network.map(|one| rustix::io::fcntl_dupfd_cloexec(&one.fd, 3));
    fd.transpose()
}

/// The network namespace that init was born in.
fn network_of(pid: Pid) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The root, and what is on the container's own filesystem.
fn store(
    plan: &Plan,
    bundle: &Path,
    (root, filesystem): (Option<OwnedFd>, Option<OwnedFd>),
) -> Result<Stored, Error> {
    let (Some(store), Some(filesystem)) = (&plan.store, filesystem) else {
        let places = Vec::new();
        return Ok(Stored { root, places });
    };
    let failed = |what| move |source| Error::Host { what, source };
    let aside = ForFork::aside().map_err(failed("make a mount namespace for the layer"))?;
    let privilege = match host::in_user_namespace() {
        true => Privilege::UserNamespace,
        false => Privilege::Host,
    };
    let built = gl_rootfs::build_store((plan, store), bundle, root, &filesystem, privilege);
    aside
        .leave()
        .map_err(failed("return to the runtime's own mount namespace"))?;
    Ok(built?)
}

/// Whether the plan has namespaces that are entered for the sake of children.
fn for_children(plan: &Plan) -> bool {
    let namespaces = &plan.namespaces;
    [Kind::Pid, Kind::Time]
        .into_iter()
        .any(|kind| namespaces.joins(kind).is_some())
        || namespaces.creates(Kind::Time)
}

/// Enters what can only be entered for good and makes init there: an existing user namespace, so
/// that the new namespaces belong to it, and `for_children`, without the host's root, those that
/// take effect in children.
///
/// The one case with a second fork.
fn make_init(inherited: Inherited<'_>, for_children: bool) -> i32 {
    let flags = fork_flags(inherited.plan);
    let Ok(runtime) = inherited.runtime.try_clone() else {
        return 1;
    };
    let plan = inherited.plan;
    let entered = match for_children {
        true => namespace::enter_for_children(
            &plan.namespaces,
            &inherited.namespaces,
            &plan.time_offsets,
        ),
        false => Ok(()),
    };
    let entered = entered.and_then(|()| match plan.userns {
        UserNs::Joined => child::enter_namespaces(&inherited.namespaces),
        UserNs::Shared | UserNs::New(_) => Ok(()),
    });
    let forked = entered.and_then(|()| {
        fork_sibling(flags, || child::run(inherited)).map_err(Fault::of(Own::ForkAgain))
    });
    match forked {
        Err(fault) => child::report(&runtime, &fault),
        Ok(pid) => {
            let pid = pid.as_raw_nonzero().get();
            i32::from(
                runtime
                    .send(&Record::new(Message::Forked, pid.into()))
                    .is_err(),
            )
        }
    }
}

/// Takes over the init that [`make_init`] has made, and lets go of its maker.
fn take_sibling(plan: &Plan, channel: &Channel, maker: &OwnedFd) -> Result<(Pid, OwnedFd), Error> {
    let failed = |source| Error::Host {
        what: "take over the init process",
        source,
    };
    let record = channel.receive();
    kill_and_reap(maker);
    match record.map_err(failed)? {
        None => Err(Error::Killed),
        Some(record) if record.kind == Message::Forked => {
            let pid = i32::try_from(record.value).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| failed(Errno::SRCH))?;
            // It is our child and not waited for yet, so the id is its own.
            let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
            Ok((pid, pidfd))
        }
        Some(record) => Err(Error::from_record(&record, &plan.process.args, Some(plan))),
    }
}

/// All new namespaces but those that are made elsewhere: time before the fork, cgroup after it.
fn fork_flags(plan: &Plan) -> u64 {
    plan.namespaces.new & !(Kind::Time.bit() | Kind::Cgroup.bit())
}

impl Launching<'_> {
    /// Init's process id on the host.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// A descriptor of init.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Lets init begin to build the container.
    ///
    /// # Errors
    ///
    /// [`Error::Killed`] if it is gone, or what failed in setting its limits.
    pub fn begin(&mut self) -> Result<(), Error> {
        let Some(channel) = &self.channel else {
            return Err(Error::Killed);
        };
        let pid = self.pid.as_raw_nonzero().get();
        channel
            .send(&Record::new(Message::Go, pid.into()))
            .map_err(sync)?;
        raise_limits(self.pid, &self.plan.process)
    }

    /// Waits until init has [built](Self::begin) the container up to its gate, and runs the `createRuntime`
    /// hooks on the way.
    ///
    /// # Errors
    ///
    /// What failed in init or in a hook; [`Error::Late`] once `deadline` is over.
    pub fn built(&mut self, state: &StateDocument, deadline: Deadline) -> Result<(), Error> {
        let Some(channel) = &self.channel else {
            return Err(Error::Killed);
        };
        loop {
            let ready = wait_beside_until(&[channel.as_fd()], deadline.end(), &mut ());
            if !ready.map_err(sync)?.contains(&true) {
                return Err(Error::Late);
            }
            let Some(record) = channel.receive().map_err(sync)? else {
                return Err(Error::Killed);
            };
            match record.kind {
                Message::Ready => return Ok(()),
                Message::Mounted => {
                    let input = state.to_hook_json(Status::Creating);
                    hook::run_all(&self.plan.hooks.create_runtime, &input, deadline)?;
                    channel
                        .send(&Record::new(Message::Continue, 0))
                        .map_err(sync)?;
                }
                _ => {
                    let args = &self.plan.process.args;
                    return Err(Error::from_record(&record, args, Some(self.plan)));
                }
            }
        }
    }

    /// Lets init wait at its gate without us, and returns its descriptor. The container is created from here on.
    ///
    /// # Errors
    ///
    /// [`Error::Killed`] if it is gone.
    pub fn commit(mut self) -> Result<Arc<OwnedFd>, Error> {
        let Some(channel) = self.channel.take() else {
            return Err(Error::Killed);
        };
        let sent = channel.send(&Record::new(Message::Continue, 0));
        if sent.is_err() {
            self.channel = Some(channel);
            return Err(Error::Killed);
        }
        Ok(Arc::clone(&self.pidfd))
    }
}

impl Drop for Launching<'_> {
    fn drop(&mut self) {
        if self.channel.take().is_some() {
            // While there is a namespace that they can be taken from.
            if let Some(devices) = &mut self.devices {
                devices.give_back();
            }
            kill_and_reap(&self.pidfd);
        }
    }
}

fn sync(source: Errno) -> Error {
    Error::Host {
        what: "talk to the init process",
        source,
    }
}

/// Ends a child and waits until it is gone.
pub(crate) fn kill_and_reap(pidfd: &OwnedFd) {
    // It may be gone already, and then there is only the wait.
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(_) => {}
    }
    while let Err(Errno::INTR) =
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
    {}
}

/// Raises hard limits from outside, where the plan wants them higher than ours, and sets the OOM
/// score adjustment: both take privileges that init may not have in its user namespace.
pub(crate) fn raise_limits(pid: Pid, process: &Process) -> Result<(), Error> {
    for (index, limit) in process.rlimits.iter().enumerate() {
        let Some(resource) = identity::resource(limit.resource) else {
            continue;
        };
        let now = rustix::process::getrlimit(resource);
        let hard = now.maximum.unwrap_or(u64::MAX);
        if limit.hard > hard {
            let soft = now.current.unwrap_or(u64::MAX);
            let raised = identity::kernel_limit(soft, limit.hard);
            rustix::process::prlimit(Some(pid), resource, raised)
                .map_err(|source| Error::Rlimit { index, source })?;
        }
    }
    if let Some(value) = process.oom_score_adj {
        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
        match write_file(Path::new(&path), value.to_string().as_bytes()) {
            // Lower than the caller's takes the host's root. It is no restriction: the container
            // keeps the caller's, and is killed sooner than it asked for.
            Err(Errno::ACCESS) if host::in_user_namespace() => {}
            written => written.map_err(|source| Error::OomScore { value, source })?,
        }
    }
    Ok(())
}
