//! `create`: from a bundle to an init that waits at its gate, or to nothing at all.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use gl_cgroup::{Cgroup, Controller, Driver, Parents};
use gl_launch::{Deadline, Init as First, Launching, Tie, Watcher};
use gl_plan::{Keyring, Kind, Options, Pivot, Plan, Starts};
use gl_profile::Profile;
use gl_profile::translate::Step;
use gl_seccomp::Program;
use gl_spec::oci::{LinuxNamespaceType, LinuxSeccomp, Spec};
use gl_spec::{ContainerId, Extras, StateDocument, Status, Timestamp};
use gl_sys::{Ahead, Loopback};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::apparmor;
use crate::bundle::{absolute, read_document};
use crate::container::{Container, PATIENCE};
use crate::error::Error;
use crate::extras;
use crate::group::{self, Group};
use crate::gvisor;
use crate::limits;
use crate::pid_file::write_pid_file;
use crate::process;
use crate::profile::{self, Had};
use crate::quota;
use crate::record::{CONFIG, Init, Phase, RECORD, Record, SECCOMP};
use crate::resctrl;
use crate::rootless;
use crate::setup;
use crate::socket;
use crate::store::{Store, Warnings};
use crate::watch;

/// What `create` is asked for.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// The bundle, absolute or relative to the working directory.
    pub bundle: PathBuf,
    /// A mount that is attached nowhere, as the root in place of the config's; used up by the first container.
    pub root: Option<Arc<OwnedFd>>,
    /// A config in place of the bundle's `config.json`.
    pub config: Option<PathBuf>,
    /// Where init's process id is written, in decimal.
    pub pid_file: Option<PathBuf>,
    /// A unix socket that takes the terminal's master end.
    pub console_socket: Option<PathBuf>,
    /// A unix socket that takes a pidfd of init.
    pub pidfd_socket: Option<PathBuf>,
    /// How the root is changed.
    pub pivot: Pivot,
    /// What happens to the session keyring.
    pub keyring: Keyring,
    /// Descriptors to pass on beside stdio.
    pub preserve_fds: u32,
    /// Who makes the cgroup; none is made, and no limit set, without.
    pub cgroups: Option<Driver>,
    /// The controllers that it is to have on v1, where not all: it is made faster without the others.
    pub controllers: Option<Vec<Controller>>,
    /// A profile for a container whose config names none.
    pub profile: Option<String>,
    /// A profile that the container gets whatever its config names.
    pub resolved: Option<Profile>,
    /// Whether an agent is told of the calls that a filter denies.
    pub denials: Denials,
    /// By what the kernel's audit knows those of Landlock, where somebody listens to it ([`Extras`]).
    ///
    /// [`Extras`]: gl_spec::Extras::landlock_mark
    pub landlock_mark: Option<String>,
    /// Whose end is the container's end as well.
    pub tie: Tie,
    /// Whose its new network namespace is, where it has a user namespace of its own.
    pub network: Owner,
    /// Who is its first process.
    pub init: First,
    /// Variables that come on top of the config's, such as `LISTEN_FDS`.
    pub extra_env: Vec<String>,
}

impl CreateRequest {
    /// Whether somebody learns of the container by its creation.
    fn tells_somebody(&self) -> bool {
        let sockets = self.console_socket.is_some() || self.pidfd_socket.is_some();
        sockets || self.pid_file.is_some()
    }
}

/// Whose a namespace is: the owner's capabilities count in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owner {
    /// The container's user namespace.
    #[default]
    Container,
    /// The caller's, if that is the host's root: it need not be made after the container's, so that it takes less time.
    /// For a container that has no capabilities, and neither sets anything in it nor mounts sysfs, it makes no
    /// other difference.
    Caller,
}

/// What becomes of system calls that a profile denies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Denials {
    /// They fail.
    #[default]
    Silent,
    /// The agent at the config's `linux.seccomp.listenerPath` decides what they return, and so sees them. Calls
    /// that fail with `ENOSYS` it does not see, and those that are allowed cost nothing.
    Observed,
}

/// What a profile came to.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The profiles, the chosen one first.
    pub profiles: Vec<Profile>,
    /// What became of each of their lines.
    pub steps: Vec<Step>,
    /// The seccomp section of the config, as the engine gave it.
    pub section: Option<LinuxSeccomp>,
}

/// Where the terminal's master end goes.
pub(crate) enum Console {
    /// To the socket that the request names, or nowhere.
    AsRequested,
    /// To this end of a socket pair.
    Here(OwnedFd),
}

/// Creates a container: on return its init waits for `start`.
///
/// # Errors
///
/// [`Error`]; nothing is left of the container then: no process, mount, cgroup, state or pid file.
pub fn create(store: &Store, id: &ContainerId, request: &CreateRequest) -> Result<Warnings, Error> {
    let caller = Caller {
        console: Console::AsRequested,
        starts: Starts::WhenTold,
    };
    let created = create_with(store, id, request, caller)?;
    Ok(created.warnings)
}

/// Who creates a container.
pub(crate) struct Caller {
    /// Where it wants the terminal's master end.
    pub(crate) console: Console,
    /// When it starts the container.
    pub(crate) starts: Starts,
}

/// A container that is still locked, and its config.
pub(crate) struct Created {
    pub(crate) container: Container,
    pub(crate) spec: Spec,
    pub(crate) warnings: Warnings,
    pub(crate) decision: Decision,
    pub(crate) extras: Extras,
    /// What will watch it, where it starts at once and has limits to watch.
    pub(crate) watcher: Option<Watcher>,
    /// When it has to run.
    pub(crate) deadline: Deadline,
}

/// [`create`], for one that goes on with the container.
pub(crate) fn create_with(
    store: &Store,
    id: &ContainerId,
    request: &CreateRequest,
    Caller { console, starts }: Caller,
) -> Result<Created, Error> {
    let begun = Instant::now();
    let mut decided = decide(store, id, request, starts)?;
    if decided.gvisor.is_some() {
        return gvisor::create(store, id, request, (decided, console));
    }
    let console = open_console(request, console, &decided.plan)?;
    gl_launch::keep_descriptors(request.preserve_fds).map_err(|number| Error::Option {
        option: "--preserve-fds",
        problem: format!("descriptor {number} is not open").into(),
        remedy: "pass the descriptors from 3 on, without a gap",
    })?;
    let dir = store.make(id)?;
    let record = new_record(id, &decided);
    let mut container = Container::new(dir, record);
    let deadline = setup::deadline(&decided.extras, begun);
    let host = Host {
        store,
        console,
        deadline,
    };
    match build(host, &mut container, &mut decided, request) {
        Ok(watcher) => Ok(Created {
            container,
            spec: decided.spec,
            warnings: decided.warnings,
            decision: decided.decision,
            extras: decided.extras,
            watcher,
            deadline,
        }),
        Err(err) => {
            let err = setup::explain(err, &decided.extras, deadline);
            // The first failure is the one to tell; what the clean-up meets comes from it.
            match undo(store, id, &container, request) {
                Ok(()) | Err(_) => Err(err),
            }
        }
    }
}

/// Everything that is known before the first change on the host.
pub(crate) struct Decided {
    pub(crate) spec: Spec,
    pub(crate) extras: Extras,
    /// The config as it will be stored, where it is not `spec`.
    stored: Option<Vec<u8>>,
    pub(crate) warnings: Warnings,
    pub(crate) plan: Plan,
    pub(crate) program: Option<Program>,
    bundle: PathBuf,
    pub(crate) cgroup: Option<Group>,
    pub(crate) starts: Starts,
    pub(crate) decision: Decision,
    /// Namespaces of its that are being made.
    ahead: Option<Ahead>,
    /// Its group of the resctrl filesystem.
    rdt: Option<resctrl::Wanted>,
    /// What runsc is to make of it.
    pub(crate) gvisor: Option<gvisor::Plan>,
}

pub(crate) fn decide(
    store: &Store,
    id: &ContainerId,
    request: &CreateRequest,
    starts: Starts,
) -> Result<Decided, Error> {
    let bundle = absolute(&request.bundle)?;
    let config = request
        .config
        .clone()
        .unwrap_or_else(|| bundle.join(CONFIG));
    let bytes = read_document(&config)?;
    let loaded = gl_spec::load(&bytes)?;
    let (mut spec, mut warnings) = (loaded.spec, loaded.warnings);
    warnings.extend(gl_spec::validate(&spec)?);
    let ahead = make_ahead(&spec, request);
    gl_sys::stage("runtime: config read and checked");
    let mut group = None;
    let mut tightened = profile::tighten(&mut spec, request, &store.instance(id)?, |spec| {
        group = decide_cgroup(id, request, spec)?;
        group.as_ref().map_or(Ok(None), Group::controllers)
    })?;
    warnings.extend(profile::warnings(&tightened.extras));
    let unchanged = request.extra_env.is_empty() && tightened.profiles.is_empty();
    let mut stored = unchanged.then_some(bytes);
    if !unchanged {
        extend_env(&mut spec, &request.extra_env);
    }
    if tightened.extras.gvisor || gl_launch::rootless::made_own_namespace() {
        // What is stored is as it was given.
        stored.get_or_insert_with(|| gl_spec::write(&spec).into_bytes());
    }
    let section = spec.linux().as_ref();
    let section = section.and_then(|linux| linux.seccomp().as_ref());
    let program = profile::filter(section, &tightened, request.denials)?;
    gl_sys::stage("runtime: profile and filter compiled");
    let section = section.cloned();
    let gvisor = match tightened.extras.gvisor {
        false => None,
        true => {
            tightened.extras.filtered = program.is_some();
            let from = (&*bundle, request);
            let plan = gvisor::decide((store, id), &spec, &tightened, from, program.as_ref())?;
            gvisor::adapt_to_host(&mut spec, &plan);
            warnings.extend(plan.warnings());
            Some(plan)
        }
    };
    rootless::translate(&mut spec)?;
    let options = options(request, starts);
    let mut plan = gl_plan::plan(&spec, &tightened.extras, &options, &gl_launch::facts())?;
    // Those that are made for the container do not exist yet.
    if tightened.extras.apparmor.is_empty() {
        gl_launch::check_plan_labels(&mut plan)?;
    }
    if let (Some(program), None) = (&program, &gvisor) {
        gl_seccomp::check_kernel(program)?;
    }
    let cgroup = match group {
        // What of the profile needs it was refused or given up.
        _ if tightened.cgroup == Had::No && limits::dispensable(&spec) => None,
        None => decide_cgroup(id, request, &spec)?,
        group => group,
    };
    let rdt = gvisor.is_none().then(|| resctrl::decide(id, &spec));
    gl_sys::stage("runtime: planned");
    let decision = Decision {
        profiles: tightened.profiles,
        steps: tightened.steps,
        section,
    };
    Ok(Decided {
        decision,
        rdt: rdt.transpose()?.flatten(),
        spec,
        extras: tightened.extras,
        stored,
        warnings,
        plan,
        program,
        bundle,
        cgroup,
        starts,
        gvisor,
        ahead,
    })
}

impl Decided {
    /// The bundle, absolute.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Lets go of namespaces that are being made, where somebody else makes the container's.
    pub(crate) fn drop_ahead(&mut self) {
        self.ahead = None;
    }

    /// The config as it will be stored.
    pub(crate) fn config(&self) -> Cow<'_, [u8]> {
        match &self.stored {
            Some(bytes) => bytes.into(),
            None => gl_spec::write(&self.spec).into_bytes().into(),
        }
    }
}

fn options(request: &CreateRequest, starts: Starts) -> Options {
    Options {
        pivot: request.pivot,
        keyring: request.keyring,
        preserve_fds: request.preserve_fds,
        starts: match request.tells_somebody() {
            true => Starts::WhenTold,
            false => starts,
        },
    }
}

/// Begins to make the namespaces that take long, while the rest is worked out. A profile can take a namespace's place;
/// then it was made for nothing.
fn make_ahead(spec: &Spec, request: &CreateRequest) -> Option<Ahead> {
    let linux = spec.linux().as_ref();
    let all = linux.and_then(|linux| linux.namespaces().as_deref());
    let all = all.unwrap_or_default();
    // Those of a container with a user namespace belong to that one.
    let own_users = all.iter().any(|one| one.typ() == LinuxNamespaceType::User);
    let theirs = own_users && request.network == Owner::Container;
    if theirs || gl_launch::in_user_namespace() || !rustix::process::geteuid().is_root() {
        return None;
    }
    let new = all.iter().filter(|one| one.path().is_none());
    let bits = new.map(|one| match one.typ() {
        LinuxNamespaceType::Network => Kind::Network.bit(),
        LinuxNamespaceType::Ipc if !own_users => Kind::Ipc.bit(),
        _ => 0,
    });
    // Whatever is wrong is met again where they are made in the ordinary way.
    Ahead::begin(bits.fold(0, |all, bit| all | bit), loopback(spec, request))
        .ok()
        .flatten()
}

/// What can be told of the loopback interface of a new network namespace before the profiles are read: it is down
/// where one of them says so. One that is named by the host's settings alone is not known here.
fn loopback(spec: &Spec, request: &CreateRequest) -> Loopback {
    let is_up = match &request.resolved {
        Some(profile) => profile.network.allow_loopback.value,
        None => request.profile.is_none() && !profile::is_named(spec),
    };
    match is_up {
        true => Loopback::Up,
        false => Loopback::Down,
    }
}

fn decide_cgroup(
    id: &ContainerId,
    request: &CreateRequest,
    spec: &Spec,
) -> Result<Option<Group>, Error> {
    let wanted = request.cgroups;
    wanted
        .map(|driver| Group::decide(id, (driver, request.controllers.as_deref()), spec))
        .transpose()
}

fn extend_env(spec: &mut Spec, extra: &[String]) {
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend_from_slice(extra);
        process.set_env(Some(env));
    }
}

pub(crate) fn new_record(id: &ContainerId, decided: &Decided) -> Record {
    let annotations = decided.spec.annotations().clone().unwrap_or_default();
    let lost = profile::lost(&decided.extras);
    let lost = lost.map(|text| (profile::LOST.to_owned(), text));
    Record {
        phase: Phase::Creating,
        oci_version: decided.spec.version().clone(),
        id: id.clone(),
        init: None,
        bundle: decided.bundle.clone(),
        rootfs: decided.bundle.join(&decided.plan.root.path),
        created: Timestamp::from(SystemTime::now()),
        annotations: annotations.into_iter().chain(lost).collect(),
        owner: gl_launch::rootless::caller(),
        cgroup: None,
        private_pids: decided.gvisor.is_some() || decided.plan.namespaces.creates(Kind::Pid),
        gvisor: None,
        setup_ms: 0,
        rdt: None,
        keeps_keyring: decided.plan.options.keyring == Keyring::Keep,
    }
}

/// Connects to where the terminal goes, and checks that the config and the options agree on it.
pub(crate) fn open_console(
    request: &CreateRequest,
    console: Console,
    plan: &Plan,
) -> Result<Option<OwnedFd>, Error> {
    let wanted = plan.process.terminal;
    match (console, &request.console_socket) {
        (Console::Here(end), _) if wanted => Ok(Some(end)),
        (_, Some(path)) if wanted => socket::connect("--console-socket", path).map(Some),
        (_, Some(_)) => Err(Error::Option {
            option: "--console-socket",
            problem: "the config does not ask for a terminal".into(),
            remedy: "set process.terminal, or leave the option out",
        }),
        (_, None) if wanted => Err(Error::Option {
            option: "--console-socket",
            problem: "the config asks for a terminal, and there is nobody to take it".into(),
            remedy: "name a socket for it, or unset process.terminal",
        }),
        (_, None) => Ok(None),
    }
}

/// Where a container is built.
struct Host<'a> {
    store: &'a Store,
    console: Option<OwnedFd>,
    deadline: Deadline,
}

fn build(
    host: Host<'_>,
    container: &mut Container,
    decided: &mut Decided,
    request: &CreateRequest,
) -> Result<Option<Watcher>, Error> {
    let Host {
        store,
        console,
        deadline,
    } = host;
    if !decided.extras.apparmor.is_empty() {
        // After the record of it, so that whatever happens `delete` finds them.
        extras::store(&container.dir, decided)?;
        apparmor::load(&decided.extras.apparmor)?;
        gl_launch::check_plan_labels(&mut decided.plan)?;
    }
    let made = make_groups(container, decided)?;
    gl_sys::stage("runtime: cgroups made");
    let cgroup = made.cgroup.as_ref();
    let state = container.record.document(Status::Creating, String::new());
    let mut launching = gl_launch::spawn(gl_launch::Request {
        plan: &decided.plan,
        bundle: &decided.bundle,
        root: given_root(request)?,
        store: quota::filesystem(&decided.plan)?,
        state_dir: container.dir.as_fd(),
        state: &state,
        join: cgroup
            .map_or_else(|| Ok(Vec::new()), Cgroup::join_fds)?
            .into(),
        cgroup_dir: cgroup.map_or_else(|| Ok(None), |cgroup| cgroup.open_dir(&[]))?,
        cgroup: group::mounts(decided, cgroup)?,
        seccomp: decided.program.as_ref(),
        console,
        tie: request.tie,
        init: request.init,
        ahead: decided.ahead.take(),
    })?;
    let pid = launching.pid().as_raw_nonzero().get();
    let state = StateDocument {
        pid,
        ..state.clone()
    };
    let placeholder = made.settle(launching.pid(), decided)?;
    if let Some(rdt) = &decided.rdt {
        rdt.group.join(launching.pid())?;
    }
    keep_for_hooks(container, decided)?;
    launching.begin()?;
    gl_sys::stage("runtime: limits set, init told to begin");
    // While init is busy.
    let watcher = watcher(store, container, decided, (request, &launching))?;
    keep(container, decided)?;
    gl_sys::stage("runtime: config and filter stored");
    launching.built(&state, deadline)?;
    gl_sys::stage("runtime: init is built");
    drop(placeholder);
    container.record.init = Some(Init {
        pid,
        start_time: process::start_time(pid).map_err(Error::host("inspect the init process"))?,
        pidfs: process::identity(launching.pidfd())
            .map_err(Error::host("inspect the init process"))?,
    });
    container.record.phase = Phase::Created;
    container.record.setup_ms = u64::try_from(deadline.spent().as_millis()).unwrap_or(u64::MAX);
    container.dir.replace(RECORD, &encode(&container.record))?;
    gl_sys::stage("runtime: record written");
    if let Some(watcher) = &watcher {
        // It reads the record meanwhile; nothing of the container runs before it has.
        watcher.begin()?;
    }
    if let Some(path) = &request.pid_file {
        write_pid_file(path, pid)?;
    }
    if let Some(path) = &request.pidfd_socket {
        // While init still ends with us if it fails.
        socket::send_pidfd(&socket::connect(socket::PIDFD, path)?, launching.pidfd())?;
    }
    if deadline.is_over() {
        return Err(gl_launch::Error::Late.into());
    }
    container.held = Some(launching.commit()?);
    Ok(watcher)
}

/// What watches a container that starts at once, where it has limits that somebody has to watch.
fn watcher(
    store: &Store,
    container: &Container,
    decided: &Decided,
    (request, launching): (&CreateRequest, &Launching<'_>),
) -> Result<Option<Watcher>, Error> {
    // Whoever waits for it watches where it does not outlive that, and where nothing that it writes for a terminal
    // may keep it waiting.
    let here = request.tie == Tie::Launcher && !decided.plan.process.terminal;
    match decided.starts {
        Starts::AtOnce if here => watch::check(&container.record, &decided.extras).map(|()| None),
        Starts::AtOnce => {
            let init = launching.pidfd();
            watch::prepare(store, &container.record, &decided.extras, init)
        }
        Starts::WhenTold => Ok(None),
    }
}

/// What hooks in the container make, those after its end take away: they are found in the config, whenever we are
/// killed.
fn keep_for_hooks(container: &Container, decided: &Decided) -> Result<(), Error> {
    match decided.plan.hooks.create_container.is_empty() {
        true => Ok(()),
        false => container.dir.write_new(CONFIG, &decided.config()),
    }
}

/// Stores what later commands need.
fn keep(container: &Container, decided: &Decided) -> Result<(), Error> {
    if decided.plan.hooks.create_container.is_empty() {
        container.dir.write_new(CONFIG, &decided.config())?;
    }
    if decided.extras.apparmor.is_empty() {
        extras::store(&container.dir, decided)?;
    }
    if let Some(program) = &decided.program {
        container.dir.write_new(SECCOMP, &program.to_bytes())?;
    }
    Ok(())
}

/// Makes the cgroup and the group of resctrl, after the record of them.
fn make_groups(container: &mut Container, decided: &mut Decided) -> Result<group::Made, Error> {
    if let Some(rdt) = &mut decided.rdt {
        rdt.settle()?;
        container.record.rdt = Some(rdt.group.clone());
    }
    let made = group::make(container, decided)?;
    if let Some(rdt) = &mut decided.rdt {
        let result = rdt.make();
        container.record.rdt = Some(rdt.group.clone());
        result?;
    }
    Ok(made)
}

fn given_root(request: &CreateRequest) -> Result<Option<OwnedFd>, Error> {
    let root = request.root.as_ref();
    let root = root.map(|root| rustix::io::fcntl_dupfd_cloexec(root, 0));
    root.transpose().map_err(Error::host("pass the root on"))
}

pub(crate) fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    // Records and extras: all strings are UTF-8 and all keys strings, so nothing can fail to serialize.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Takes back what a failed create has made. Its init is gone already. What cannot be taken back
/// does not keep the rest.
pub(crate) fn undo(
    store: &Store,
    id: &ContainerId,
    container: &Container,
    request: &CreateRequest,
) -> Result<(), Error> {
    let pid_file = match (&request.pid_file, container.record.init) {
        (Some(path), Some(_)) => match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(source) => Err(Error::file("remove", path)(source)),
        },
        _ => Ok(()),
    };
    let cgroup = match &container.record.cgroup {
        Some(record) => Cgroup::open(record)
            .and_then(|cgroup| {
                // Of what runsc, or a hook in the container, started something may run.
                if container.record.gvisor.is_some() || !container.record.private_pids {
                    cgroup.kill_all(Signal::KILL)?;
                    cgroup.wait_empty(PATIENCE)?;
                }
                Ok(cgroup)
            })
            .and_then(|cgroup| cgroup.remove(Parents::Remove, PATIENCE))
            .map_err(Error::from),
        None => Ok(()),
    };
    let profiles = container
        .extras()
        .and_then(|extras| apparmor::unload(&extras.apparmor));
    let sandbox = match &container.record.gvisor {
        Some(sandbox) => gvisor::remove(store, id, Some(sandbox)),
        None => Ok(()),
    };
    let rdt = container.record.rdt.as_ref();
    let rdt = rdt.map_or(Ok(()), resctrl::Group::remove);
    let state = store.remove(id, &container.dir);
    pid_file
        .and(cgroup)
        .and(rdt)
        .and(profiles)
        .and(sandbox)
        .and(state)
}
