//! Init's side of a launch: executes the plan in its order, and decides nothing.
//!
//! No logging, no file by a host path but the root's own, every failure a record. The order is the
//! design: each step that others depend on, or that takes a privilege away, says so.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use gl_plan::{Keyring, Kind, Plan, Setgroups, UserNs};
use gl_rootfs::{CgroupMounts, Console, Leaf, Prepared, Procfs, Root};
use gl_seccomp::Program;
use gl_spec::{Isolated, StateDocument, Status};
use gl_sys::{Batch, CStrings};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::{Gid, Uid};

use crate::fork::Born;
use crate::gate;
use crate::hook;
use crate::identity::{self, Labels, Late};
use crate::landlock;
use crate::lookup;
use crate::namespace::{self, Opened};
use crate::network::{self, Renewed};
use crate::reaper::{self, Init};
use crate::record::{Channel, Kind as Message, Record};
use crate::spawn::Tie;
use crate::stdio;
use crate::step::{Fault, Own};

/// Everything that init was given before the fork.
#[derive(Debug)]
pub(crate) struct Inherited<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) prepared: Prepared,
    pub(crate) namespaces: Vec<Opened>,
    /// The loopback interface is as it is to be.
    pub(crate) loopback_done: bool,
    pub(crate) join: Batch,
    pub(crate) cgroup: CgroupMounts,
    pub(crate) seccomp: Option<&'a Program>,
    pub(crate) state: &'a StateDocument,
    pub(crate) console: Option<OwnedFd>,
    pub(crate) gate: OwnedFd,
    pub(crate) runtime: Channel,
    pub(crate) tie: Tie,
    pub(crate) init: Init,
}

impl Inherited<'_> {
    /// The same, for one that has its cgroup from birth and joins nothing.
    pub(crate) fn born(mut self, born: Born) -> Self {
        if born == Born::Inside {
            self.join = Batch::default();
        }
        self
    }

    /// Every descriptor that init works with.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.gate.as_fd(), self.runtime.as_fd()];
        all.extend(self.prepared.descriptors());
        all.extend(self.cgroup.descriptors());
        all.extend(self.namespaces.iter().map(|opened| opened.fd.as_fd()));
        all.extend(self.join.iter().map(AsFd::as_fd));
        all.extend(self.console.iter().map(AsFd::as_fd));
        all
    }
}

/// Runs init to its execve; returns only what kept it from there, already reported.
pub(crate) fn run(inherited: Inherited<'_>) -> i32 {
    let Ok(runtime) = inherited.runtime.try_clone() else {
        return 1;
    };
    let built = reaper::hide_arguments(inherited.init).and_then(|()| build(inherited));
    let waiting = match built {
        Ok(waiting) => waiting,
        Err(fault) => return report(&runtime, &fault),
    };
    if let Err(fault) = ready(&runtime) {
        return report(&runtime, &fault);
    }
    drop(runtime);
    waiting.execute()
}

/// Sends a failure. If even that fails, the end of the connection says as much.
pub(crate) fn report(to: &Channel, fault: &Fault) -> i32 {
    let record = Record {
        kind: Message::Failed,
        step: fault.step.number(),
        index: fault.index,
        errno: fault.errno.raw_os_error(),
        value: 0,
        note: fault.note.clone(),
    };
    match to.send(&record) {
        Ok(()) | Err(_) => 1,
    }
}

fn ready(runtime: &Channel) -> Result<(), Fault> {
    let sync = Fault::of(Own::Sync);
    runtime
        .send(&Record::new(Message::Ready, 0))
        .map_err(&sync)?;
    // The end of the connection here means that the runtime died before it stored the container.
    runtime.expect(Message::Continue).map(drop).map_err(sync)
}

/// An init that is done but for its start.
struct Waiting<'a> {
    plan: &'a Plan,
    /// The network namespace that the program is to have, where that is not the one we wait in.
    network: Option<OwnedFd>,
    seccomp: Option<&'a Program>,
    state: StateDocument,
    labels: Labels,
    landlock: Vec<OwnedFd>,
    program: std::ffi::CString,
    args: CStrings,
    env: CStrings,
    gate: OwnedFd,
    tie: Tie,
    init: Init,
}

fn build(inherited: Inherited<'_>) -> Result<Waiting<'_>, Fault> {
    let Inherited {
        plan,
        prepared,
        runtime,
        console,
        ..
    } = inherited;
    // Before anything opens a file: what the engine left open is not for hooks or for the program.
    stdio::seal_descriptors()?;
    rustix::process::umask(Mode::empty());
    let state = told_to_begin(&runtime, inherited.state)?;
    // Before the user namespace: the files belong to the host's root.
    join_cgroup(&inherited.join)?;
    drop(inherited.join);
    if plan.userns != UserNs::Joined {
        enter_namespaces(&inherited.namespaces)?;
    }
    drop(inherited.namespaces);
    settle_in(plan, inherited.loopback_done)?;
    gl_sys::stage("init: cgroups and namespaces entered");
    identity::hide()?;
    rustix::process::setsid().map_err(Fault::of(Own::Session))?;
    if plan.options.keyring == Keyring::New {
        take_keyring(plan)?;
    }
    let Prepared {
        root_path,
        root,
        binds,
        devices,
        null,
    } = prepared;
    let root = gl_rootfs::attach_root(root, &root_path)?;
    let mut mounted = gl_rootfs::mount_all(plan, &root, binds, &inherited.cgroup)?;
    gl_sys::stage("init: mounts made");
    gl_rootfs::make_dev(plan, &root, devices)?;
    gl_sys::stage("init: devices made");
    set_names(plan)?;
    if !plan.hooks.create_runtime.is_empty() {
        wait_for_hooks(&runtime)?;
    }
    let renewed = network::renew(plan)?;
    // While the mounts over /proc that hide paths are not there yet.
    let labels = with_procfs(plan, mounted.proc.take())?;
    run_hooks(&plan.hooks.create_container, &state, Status::Creating)?;
    let cwd = open_cwd(plan, &root)?;
    gl_rootfs::pivot(&root, &root_path, plan.options.pivot)?;
    gl_sys::stage("init: root changed");
    gl_rootfs::hide(plan, &root, &mounted, null)?;
    if let (true, Some(socket)) = (plan.process.terminal, &console) {
        stdio::take_terminal(&plan.process, &root, Console::Bind, socket.as_fd())?;
    }
    drop(console);
    gl_rootfs::finish_root(plan, &root, &mounted)?;
    gl_sys::stage("init: paths hidden and made read-only");
    drop(mounted);
    let env = lookup::complete_environment(&plan.process, &root)?;
    let landlock = landlock::prepare(&plan.process.landlock, &root)?;
    // No descriptor of a directory outlives this, so none can be the way out.
    drop(root);
    let late = match renewed {
        Some(_) => Late::UntilStart,
        None => Late::UntilFilter,
    };
    become_process(&plan.process, &cwd, late)?;
    drop(cwd);
    let program = lookup::find_program(&plan.process)?;
    gl_sys::stage("init: became its user");
    Ok(Waiting {
        plan,
        network: renewed.map(Renewed::wait_outside).transpose()?,
        seccomp: inherited.seccomp,
        state,
        labels,
        landlock,
        program,
        args: CStrings::new(plan.process.args.clone()),
        env: CStrings::new(env),
        gate: inherited.gate,
        tie: inherited.tie,
        init: inherited.init,
    })
}

/// Waits until limits and maps are ours; the state with our process id on the host.
fn told_to_begin(runtime: &Channel, state: &StateDocument) -> Result<StateDocument, Fault> {
    let go = runtime.expect(Message::Go).map_err(Fault::of(Own::Sync))?;
    gl_sys::stage("init: told to begin");
    Ok(StateDocument {
        pid: i32::try_from(go.value).unwrap_or(0),
        ..state.clone()
    })
}

/// Waits while the runtime runs its hooks.
fn wait_for_hooks(runtime: &Channel) -> Result<(), Fault> {
    let sync = Fault::of(Own::Sync);
    runtime
        .send(&Record::new(Message::Mounted, 0))
        .map_err(&sync)?;
    runtime.expect(Message::Continue).map(drop).map_err(sync)
}

/// Writes ourselves into every hierarchy: of a process with one thread that takes no lock.
pub(crate) fn join_cgroup(files: &[OwnedFd]) -> Result<(), Fault> {
    for file in files {
        rustix::io::write(file, b"0").map_err(Fault::of(Own::JoinCgroup))?;
    }
    Ok(())
}

/// Enters the namespaces that are given by path, but for those that the fork has entered.
pub(crate) fn enter_namespaces(opened: &[Opened]) -> Result<(), Fault> {
    // Root may enter all of them from where it is; the user namespace takes that right away.
    let is_user = |opened: &&Opened| opened.kind == Kind::User;
    let others = opened.iter().filter(|one| !one.by_fork && !is_user(one));
    for target in others.chain(opened.iter().filter(is_user)) {
        namespace::enter(target.fd.as_fd(), target.kind)
            .map_err(Fault::at(Own::JoinNamespace, target.index))?;
    }
    Ok(())
}

/// Takes our place in the namespaces that are new.
fn settle_in(plan: &Plan, loopback_done: bool) -> Result<(), Fault> {
    gl_rootfs::label_new_queues(plan)?;
    if maps_root(&plan.userns) {
        let failed = Fault::of(Own::BecomeRoot);
        let (uid, gid) = (Uid::ROOT, Gid::ROOT);
        // Below a namespace that denies it, it is denied for good.
        if plan.setgroups == Setgroups::Allowed {
            rustix::thread::set_thread_groups(&[]).map_err(&failed)?;
        }
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(&failed)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed)?;
    }
    let has_loopback =
        plan.namespaces.creates(Kind::Network) && plan.network != Some(Isolated::Nothing);
    if has_loopback && !loopback_done {
        network::raise_loopback().map_err(Fault::of(Own::Loopback))?;
    }
    if plan.namespaces.creates(Kind::Cgroup) {
        // Only now: its root is the cgroup that its creator is in.
        let bit = u32::try_from(Kind::Cgroup.bit()).unwrap_or(0);
        gl_sys::unshare(bit).map_err(Fault::of(Own::CgroupNamespace))?;
    }
    Ok(())
}

/// Whether there is a user namespace with a root to become.
pub(crate) fn maps_root(userns: &UserNs) -> bool {
    match userns {
        UserNs::New(maps) => maps.uid.iter().any(|range| range.container == 0),
        UserNs::Joined => true,
        UserNs::Shared => false,
    }
}

/// Leaves the caller's keys behind.
fn take_keyring(plan: &Plan) -> Result<(), Fault> {
    let Some(context) = &plan.process.selinux else {
        return identity::join_keyring();
    };
    // Nothing of the container is mounted yet: this is the host's.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty());
    let proc = Procfs::new(proc.map_err(Fault::of(Own::KeyringLabel))?)?;
    identity::join_labelled_keyring(context, &proc)
}

fn set_names(plan: &Plan) -> Result<(), Fault> {
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(Fault::of(Own::Hostname))?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).map_err(Fault::of(Own::Domainname))?;
    }
    Ok(())
}

/// What goes through a procfs that nothing covers: kernel parameters and label files.
fn with_procfs(plan: &Plan, mounted: Option<Procfs>) -> Result<Labels, Fault> {
    if !plan.writes_to_proc() {
        return Ok(Labels::default());
    }
    let proc = match mounted {
        Some(proc) => proc,
        None => Procfs::private()?,
    };
    gl_rootfs::write_sysctls(plan, &proc)?;
    Labels::open(&plan.process, &proc)
}

fn run_hooks(hooks: &[gl_plan::Hook], state: &StateDocument, status: Status) -> Result<(), Fault> {
    if hooks.is_empty() {
        return Ok(());
    }
    // These run in the container's namespaces, and are told the process as it is seen there.
    let seen = StateDocument {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        ..state.clone()
    };
    let input = seen.to_hook_json(status);
    for (index, one) in hooks.iter().enumerate() {
        hook::run(one, &input).map_err(|err| {
            let text = gl_spec::chain(&err);
            let mut fault = Fault::named(Own::Hook, text.as_bytes())(Errno::CANCELED);
            fault.index = u16::try_from(index).unwrap_or(u16::MAX);
            fault
        })?;
    }
    Ok(())
}

/// Opens the working directory, and makes it if the image has none. By descriptor from here on: a
/// path could lead elsewhere later.
fn open_cwd(plan: &Plan, root: &Root) -> Result<OwnedFd, Fault> {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(plan.process.cwd.as_bytes()));
    let opened = root.open_or_make(path, Leaf::Directory);
    let (fd, _) = opened.map_err(Fault::named(Own::Cwd, plan.process.cwd.as_bytes()))?;
    Ok(fd)
}

/// From here on what this process may do only shrinks.
pub(crate) fn become_process(
    process: &gl_plan::Process,
    cwd: &OwnedFd,
    late: Late,
) -> Result<(), Fault> {
    identity::set_scheduling(process)?;
    stdio::own_stdio(process)?;
    // As root first: the user may not be allowed to pass the directories above it.
    let before = rustix::process::fchdir(cwd);
    rustix::process::umask(Mode::from_raw_mode(process.umask));
    identity::become_user(process, late)?;
    match before {
        Ok(()) => {}
        // A filesystem that squashes root lets the user in only.
        Err(Errno::ACCESS) => rustix::process::fchdir(cwd).map_err(Fault::of(Own::Cwd))?,
        Err(errno) => return Err(Fault::of(Own::Cwd)(errno)),
    }
    check_cwd()
}

/// A directory outside the root shows as one that cannot be reached.
fn check_cwd() -> Result<(), Fault> {
    let failed = Fault::of(Own::CwdOutside);
    let cwd = rustix::process::getcwd(Vec::new()).map_err(&failed)?;
    if cwd.as_bytes().starts_with(b"/") {
        return Ok(());
    }
    Err(failed(Errno::XDEV))
}

impl Waiting<'_> {
    /// Waits at the gate and becomes the container's program.
    fn execute(self) -> i32 {
        let Ok(starter) = gate::wait(&self.gate) else {
            // Nobody can be told: the gate itself is broken.
            return 1;
        };
        gl_sys::stage("init: let through the gate");
        if let Err(fault) = self.take_network() {
            return report(&starter, &fault);
        }
        let inherited = Labels::default();
        let labels = match self.init {
            Init::Program => &self.labels,
            Init::Reaper => {
                // What takes effect at an execve is inherited by fork, and only who has opened an attribute
                // file may write to it (the opener's `mm`, since Linux 5.13).
                if let Err(fault) = self.labels.apply() {
                    return report(&starter, &fault);
                }
                &inherited
            }
        };
        let last = LastSteps {
            process: &self.plan.process,
            preserve_fds: self.plan.options.preserve_fds,
            seccomp: self.seccomp,
            labels,
            landlock: &self.landlock,
            program: &self.program,
            args: &self.args,
            env: &self.env,
            hooks: &self.plan.hooks.start_container,
            state: Some(&self.state),
            tie: match self.init {
                Init::Program => self.tie,
                Init::Reaper => Tie::Nobody,
            },
        };
        let program = |starter: &Channel| report(starter, &last.run(starter));
        match self.init {
            Init::Program => program(&starter),
            Init::Reaper => reaper::run(&starter, &self.plan.process, self.tie, program),
        }
    }

    /// Leaves the network that the engine may have set up meanwhile.
    fn take_network(&self) -> Result<(), Fault> {
        let Some(network) = &self.network else {
            return Ok(());
        };
        namespace::enter(network.as_fd(), Kind::Network).map_err(Fault::of(Own::NetworkRenewal))?;
        identity::settle(&self.plan.process)
    }
}

/// What comes last, in init and in exec alike.
#[derive(Debug)]
pub(crate) struct LastSteps<'a> {
    pub(crate) process: &'a gl_plan::Process,
    pub(crate) preserve_fds: u32,
    pub(crate) seccomp: Option<&'a Program>,
    pub(crate) labels: &'a Labels,
    pub(crate) landlock: &'a [OwnedFd],
    pub(crate) program: &'a std::ffi::CStr,
    pub(crate) args: &'a CStrings,
    pub(crate) env: &'a CStrings,
    /// `startContainer` hooks; an exec has none, and no state for them.
    pub(crate) hooks: &'a [gl_plan::Hook],
    pub(crate) state: Option<&'a StateDocument>,
    pub(crate) tie: Tie,
}

impl LastSteps<'_> {
    /// Limits, label, filter, hooks, execve. Returns what failed.
    pub(crate) fn run(&self, starter: &Channel) -> Fault {
        match self.before_execve(starter) {
            Err(fault) => fault,
            Ok(()) => {
                let errno = gl_sys::execve(self.program, self.args, self.env);
                Fault::of(Own::Execve)(errno)
            }
        }
    }

    fn before_execve(&self, starter: &Channel) -> Result<(), Fault> {
        gl_sys::reset_for_exec().map_err(Fault::of(Own::Signals))?;
        self.labels.apply()?;
        identity::set_rlimits(self.process)?;
        if self.tie == Tie::Launcher {
            // After every change of ids, which takes it back.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(Fault::of(Own::Signals))?;
        }
        // Before the filter, which has no reason to allow its calls.
        landlock::restrict(self.landlock, self.process.landlock_mark.as_deref())?;
        gl_sys::stage("program: limits, label and Landlock set");
        // From here on only write, read, capget, capset, prctl and execve, which the filter has to
        // allow anyway or which fail closed.
        if let Some(program) = self.seccomp {
            let listener = gl_seccomp::install(program).map_err(Fault::of(Own::Seccomp))?;
            if let Some(listener) = listener {
                hand_over(starter, &listener).map_err(Fault::of(Own::Listener))?;
            }
        }
        identity::finish(self.process)?;
        // The image's own programs, perhaps: nothing that holds for the container is left out.
        if let Some(state) = self.state {
            run_hooks(self.hooks, state, Status::Created)?;
        }
        stdio::release_descriptors(self.preserve_fds)?;
        starter
            .send(&Record::new(Message::Executing, 0))
            .map_err(Fault::of(Own::Sync))
    }
}

/// Tells the starter the listener's number, who takes it with `pidfd_getfd(2)`, and waits for that.
pub(crate) fn hand_over(starter: &Channel, listener: &OwnedFd) -> Result<(), Errno> {
    let number = std::os::fd::AsRawFd::as_raw_fd(listener);
    starter.send(&Record::new(Message::Listener, number.into()))?;
    starter.expect(Message::Continue).map(drop)
}
