//! Containers in gVisor: decided, made and started through runsc, in the same cgroup and with the same
//! record as any other, so that every later command finds them.
//!
//! Init is the sandbox process, which ends as the container's first process does; of `run` in the
//! foreground it is the runsc that waits for it. All of runsc's processes are in the container's
//! cgroup: whatever is killed when, the cgroup ends what is left.

mod inside;
mod verb;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use gl_cgroup::Cgroup;
use gl_launch::{Deadline, HostProgram, Tie, Watcher};
use gl_plan::Starts;
use gl_runsc::{Bundle, Lacking, Layer, Place, Platform, Runsc, Sandbox, Wanted};
use gl_seccomp::Program;
use gl_spec::oci::{LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxPids, Spec};
use gl_spec::{ContainerId, Extras, Status};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::container::Container;
use crate::create::{Console, CreateRequest, Created, Decided, encode, new_record, undo};
use crate::error::Error;
use crate::extras;
use crate::group;
use crate::pid_file::write_pid_file;
use crate::process;
use crate::profile::Tightened;
use crate::record::{CONFIG, Init, LAYERS, Phase, RECORD};
use crate::socket;
use crate::store::{Store, Warnings};
use crate::watch;

pub(crate) use inside::Inside;
pub(crate) use verb::{FAILED, exec, inner_processes, kill, layers, open_gate};

/// How long runsc has to make a sandbox.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was decided about a sandbox.
pub(crate) struct Plan {
    pub(crate) sandbox: Sandbox,
    bundle: Bundle,
    layers: Vec<Layer>,
}

impl Plan {
    pub(crate) fn warnings(&self) -> Warnings {
        self.bundle.warnings.clone()
    }
}

pub(crate) fn lacking(extras: &Extras) -> Lacking {
    match extras.degrades {
        true => Lacking::Degrade,
        false => Lacking::Refuse,
    }
}

/// Decides everything that runsc needs, before anything is made.
pub(crate) fn decide(
    (store, id): (&Store, &ContainerId),
    spec: &Spec,
    tightened: &Tightened,
    (bundle, request): (&Path, &CreateRequest),
    filter: Option<&Program>,
) -> Result<Plan, Error> {
    check_request(request, spec)?;
    if filter.is_some_and(Program::needs_listener) {
        return Err(refused(
            "linux.seccomp.listenerPath",
            "gVisor's kernel gives no notices of system calls to a process of the host",
            "leave rules with SCMP_ACT_NOTIFY out",
        ));
    }
    let runsc = Runsc::find(tightened.runsc.as_deref())?;
    let (platform, version) = runsc.platform(store.path(), tightened.platform)?;
    let place = Place::new(store.path(), &store.instance(id)?)?;
    let extras = &tightened.extras;
    let network = gl_runsc::network(spec, extras);
    let sandbox = Sandbox::new(&runsc, &place, platform, network);
    let bundle = Bundle::new(spec, extras, &place, (bundle, lacking(extras)))?;
    let layers = gl_runsc::layers(spec, extras, &sandbox, &version);
    Ok(Plan {
        sandbox,
        bundle,
        layers,
    })
}

fn refused(field: &str, problem: &'static str, remedy: &'static str) -> Error {
    Error::Runsc(gl_runsc::Error::Refused {
        field: field.to_owned(),
        problem,
        remedy,
    })
}

/// What the command line asks for that only a process of the host can have.
fn check_request(request: &CreateRequest, spec: &Spec) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() || gl_launch::in_user_namespace() {
        return Err(refused(
            "isolation",
            "runsc is used by root only",
            "run greenlang as root, or choose isolation = \"container\"",
        ));
    }
    if request.cgroups.is_none() {
        return Err(refused(
            "--cgroup-manager",
            "without a cgroup nothing ends what runsc started",
            "let greenlang make cgroups",
        ));
    }
    if request.preserve_fds > 0 {
        return Err(refused(
            "--preserve-fds",
            "a process in gVisor gets no descriptors but its streams",
            "leave the option and $LISTEN_FDS out",
        ));
    }
    let terminal = spec
        .process()
        .as_ref()
        .and_then(|process| process.terminal());
    match (terminal.unwrap_or(false), &request.console_socket) {
        (false, Some(_)) => Err(Error::Option {
            option: "--console-socket",
            problem: "the config does not ask for a terminal".into(),
            remedy: "set process.terminal, or leave the option out",
        }),
        _ => Ok(()),
    }
}

/// Changes what greenlang itself would enforce on processes of the host: labels are none of the
/// sandbox's, and its cgroup has runsc's own threads besides those that each task may have on the host.
pub(crate) fn adapt_to_host(spec: &mut Spec, plan: &Plan) {
    if let Some(process) = spec.process_mut() {
        process.set_apparmor_profile(None);
        process.set_selinux_label(None);
    }
    let linux = spec.linux_mut().get_or_insert_default();
    linux.set_mount_label(None);
    let resources = linux.resources_mut().get_or_insert_default();
    let asked = resources.pids().as_ref().map(LinuxPids::limit);
    if let Some(limit) = asked.filter(|limit| *limit > 0) {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit.saturating_mul(tasks_each()).saturating_add(OWN_TASKS));
        resources.set_pids(Some(pids));
    }
    if plan.sandbox.platform == Platform::Kvm {
        let mut devices = resources.devices().clone().unwrap_or_default();
        devices.extend(kvm());
        resources.set_devices(Some(devices));
    }
}

/// Tasks that runsc has at most for itself: sandbox, gofer, and the command that makes them.
const OWN_TASKS: i64 = 96;

/// Tasks of the host that a process of the container may take: its platform has in each address space a
/// thread for every processor that has run it, and some of its own (ten in all were seen on two processors).
/// One that gVisor's kernel allows must never find the cgroup full: the sandbox would end.
fn tasks_each() -> i64 {
    let processors = rustix::thread::sched_getaffinity(None).map_or(MANY, |set| set.count());
    i64::from(processors).saturating_mul(4).saturating_add(8)
}

/// As many processors are assumed where nobody knows.
const MANY: u32 = 256;

fn kvm() -> Option<LinuxDeviceCgroup> {
    let device = LinuxDeviceCgroupBuilder::default()
        .allow(true)
        .typ(LinuxDeviceType::C)
        .major(10)
        .minor(232)
        .access("rw");
    device.build().ok()
}

/// Creates what was decided; with its terminal here it runs already, and runsc waits for its end.
pub(crate) fn create(
    store: &Store,
    id: &ContainerId,
    request: &CreateRequest,
    (mut decided, console): (Decided, Console),
) -> Result<Created, Error> {
    decided.drop_ahead();
    let attached = attached(request, &decided, &console)?;
    let plan = decided.gvisor.take().ok_or(Error::NoCgroup)?;
    let dir = store.make(id)?;
    let record = new_record(id, &decided);
    let mut container = Container::new(dir, record);
    match build(store, &mut container, (&decided, &plan), request, attached) {
        Ok(watcher) => Ok(Created {
            container,
            spec: decided.spec,
            warnings: decided.warnings,
            decision: decided.decision,
            extras: decided.extras,
            watcher,
            deadline: Deadline::default(),
        }),
        // The first failure is the one to tell; what the clean-up meets comes from it.
        Err(err) => match undo(store, id, &container, request) {
            Ok(()) | Err(_) => Err(err),
        },
    }
}

/// Whether `run` waits for the container with its own streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attached {
    /// It does.
    Yes,
    /// Nobody waits, or the terminal goes elsewhere.
    No,
}

fn attached(
    request: &CreateRequest,
    decided: &Decided,
    console: &Console,
) -> Result<Attached, Error> {
    // They run between the two halves of it.
    let hooks = !decided.plan.hooks.create_runtime.is_empty();
    let here = matches!(console, Console::Here(_)) && !hooks;
    let terminal = decided.plan.process.terminal;
    if !here && request.tie == Tie::Launcher {
        return Err(refused(
            "hooks",
            "a sandbox that is made in two steps does not end with the command",
            "leave prestart and createRuntime hooks out",
        ));
    }
    match terminal && !here && request.console_socket.is_none() {
        false if here => Ok(Attached::Yes),
        false => Ok(Attached::No),
        true => Err(Error::Option {
            option: "--console-socket",
            problem: "the config asks for a terminal, and there is nobody to take it".into(),
            remedy: "name a socket for it, or unset process.terminal",
        }),
    }
}

fn build(
    store: &Store,
    container: &mut Container,
    (decided, plan): (&Decided, &Plan),
    request: &CreateRequest,
    attached: Attached,
) -> Result<Option<Watcher>, Error> {
    container.dir.write_new(CONFIG, &decided.config())?;
    extras::store(&container.dir, decided)?;
    container.dir.write_new(LAYERS, &encode(&plan.layers))?;
    container.record.gvisor = Some(plan.sandbox.clone());
    let made = group::make(container, decided)?;
    let cgroup = made.cgroup.as_ref().ok_or(Error::NoCgroup)?;
    fill(
        &plan.sandbox.place(),
        &plan.bundle,
        decided.program.as_ref(),
    )?;
    let args = match attached {
        Attached::Yes => plan.sandbox.run(),
        Attached::No => {
            let socket = request.console_socket.as_deref().map(std::path::absolute);
            let socket = socket.transpose().map_err(|_err| Error::Option {
                option: "--console-socket",
                problem: "its path cannot be made absolute".into(),
                remedy: "name it by an absolute path",
            })?;
            plan.sandbox.create(socket.as_deref())
        }
    };
    let process = decided.spec.process().as_ref();
    let held = gl_launch::hold(&HostProgram {
        path: plan.sandbox.program(),
        args: &args,
        join: Cgroup::join_fds(cgroup)?.into(),
        cgroup_dir: cgroup.open_dir(&[])?,
        tie: request.tie,
        oom_score_adj: process.and_then(|process| process.oom_score_adj()),
    })?;
    let placeholder = made.settle(held.pid(), decided)?;
    if attached == Attached::Yes {
        if let Some(sandbox) = &mut container.record.gvisor {
            sandbox.started = true;
        }
        commit(container, held.pid(), request)?;
        // Before the program runs: it must not get a moment without its limits.
        let init = container.init()?;
        let of = &container.record;
        if let Some(watcher) = watch::prepare(store, of, &decided.extras, init.as_fd())? {
            watcher.begin()?;
            watcher.armed()?;
        }
        drop(held.release()?);
        drop(placeholder);
        return Ok(None);
    }
    let runsc = held.release()?;
    drop(placeholder);
    created(&plan.sandbox, &runsc)?;
    let pid = read_pid(&plan.sandbox.place())?;
    run_hooks(container, decided, pid)?;
    commit(container, pid, request)?;
    let watcher = match decided.starts {
        Starts::WhenTold => None,
        Starts::AtOnce => {
            let init = container.init()?;
            watch::prepare(store, &container.record, &decided.extras, init.as_fd())?
        }
    };
    if let Some(watcher) = &watcher {
        watcher.begin()?;
    }
    Ok(watcher)
}

fn fill(place: &Place, bundle: &Bundle, filter: Option<&Program>) -> Result<(), Error> {
    place.make()?;
    if bundle.launched {
        place.write_launcher()?;
    }
    if let Some(filter) = filter {
        place.write_filter(filter)?;
    }
    Ok(place.write_config(&bundle.config)?)
}

/// Waits until runsc has made the sandbox.
fn created(sandbox: &Sandbox, runsc: &OwnedFd) -> Result<(), Error> {
    let failed = Error::host("wait for runsc");
    let limit = Timespec::try_from(PATIENCE).map_err(|_err| failed(Errno::INVAL))?;
    let mut fds = [PollFd::new(runsc, PollFlags::IN)];
    let ready = loop {
        match rustix::event::poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => {}
            other => break other.map_err(&failed)?,
        }
    };
    if ready == 0 {
        // Its cgroup is ended by whoever takes the container back.
        return Err(Error::Runsc(gl_runsc::Error::Late {
            verb: "create the container",
            seconds: PATIENCE.as_secs(),
        }));
    }
    let pidfd = runsc.as_fd();
    let ended = rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
    let status = ended
        .map_err(&failed)?
        .and_then(|ended| ended.exit_status());
    match status {
        Some(0) => Ok(()),
        _ => Err(creation_failed(sandbox)),
    }
}

/// What kept runsc from making or running it, in its words.
pub(crate) fn creation_failed(sandbox: &Sandbox) -> Error {
    let said = sandbox.creation_failure();
    Error::Runsc(gl_runsc::Error::Failed {
        verb: "create the container",
        said: said.unwrap_or_else(|| "it ended without a word".to_owned()),
    })
}

fn read_pid(place: &Place) -> Result<Pid, Error> {
    let path = place.pid_file();
    let text = std::fs::read_to_string(&path).map_err(|err| {
        Error::file("read", &path)(Errno::from_io_error(&err).unwrap_or(Errno::IO))
    })?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or(Error::Corrupt { path })
}

/// Those that runsc would run with another id than the container's.
fn run_hooks(container: &Container, decided: &Decided, pid: Pid) -> Result<(), Error> {
    let hooks = gl_plan::plan_hooks(&decided.spec).create_runtime;
    if hooks.is_empty() {
        return Ok(());
    }
    let mut state = container.record.document(Status::Creating, String::new());
    state.pid = pid.as_raw_nonzero().get();
    let input = state.to_hook_json(Status::Creating);
    gl_launch::run_hooks(&hooks, &input, Deadline::default())
        .map_err(|err| gl_launch::Error::Hook(err).into())
}

/// Stores who init is: from here on the container is created.
fn commit(container: &mut Container, pid: Pid, request: &CreateRequest) -> Result<(), Error> {
    let failed = Error::host("inspect the sandbox");
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(&failed)?;
    let number = pid.as_raw_nonzero().get();
    container.record.init = Some(Init {
        pid: number,
        start_time: process::start_time(number).map_err(&failed)?,
        pidfs: process::identity(pidfd.as_fd()).map_err(&failed)?,
    });
    container.record.phase = Phase::Created;
    container.dir.replace(RECORD, &encode(&container.record))?;
    if let Some(path) = &request.pid_file {
        write_pid_file(path, number)?;
    }
    if let Some(path) = &request.pidfd_socket {
        let socket = socket::connect(socket::PIDFD, path)?;
        socket::send_pidfd(&socket, pidfd.as_fd())?;
    }
    Ok(())
}

/// Removes the files of a sandbox whose processes are gone; of a container whose record is lost, too.
pub(crate) fn remove(
    store: &Store,
    id: &ContainerId,
    sandbox: Option<&Sandbox>,
) -> Result<(), Error> {
    let place = match sandbox {
        Some(sandbox) => sandbox.place(),
        None => match Place::new(store.path(), &store.instance(id)?) {
            Ok(place) => place,
            // No sandbox was ever made below such a root.
            Err(gl_runsc::Error::Refused { .. }) => return Ok(()),
            Err(err) => return Err(err.into()),
        },
    };
    Ok(place.remove()?)
}

/// The platform that the host's settings want.
pub(crate) fn wanted(platform: gl_profile::RunscPlatform) -> Wanted {
    match platform {
        gl_profile::RunscPlatform::Auto => Wanted::Any,
        gl_profile::RunscPlatform::Systrap => Wanted::This(Platform::Systrap),
        gl_profile::RunscPlatform::Ptrace => Wanted::This(Platform::Ptrace),
        gl_profile::RunscPlatform::Kvm => Wanted::This(Platform::Kvm),
    }
}
