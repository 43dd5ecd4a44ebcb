//! `exec`: another process in a running container, from the config that was stored at create.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use gl_cgroup::{Below, Cgroup, Controller, GroupPath};
use gl_launch::Signals;
use gl_plan::Keyring;
use gl_spec::oci::{Process, Spec};
use gl_spec::{ContainerId, Extras, Status};
use rustix::process::Signal;

use crate::attach::{self, Attached, To};
use crate::container::Container;
use crate::error::Error;
use crate::gvisor;
use crate::pid_file::write_pid_file;
use crate::socket;
use crate::store::Store;

/// Whether a paused container takes a new process, which then stands still with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// It is an error.
    Refuse,
    /// It does.
    Ignore,
}

/// What `exec` is asked for.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The process; what it leaves open comes from the container's config.
    pub process: Process,
    /// Where its process id is written, in decimal.
    pub pid_file: Option<PathBuf>,
    /// A unix socket that takes the terminal's master end.
    pub console_socket: Option<PathBuf>,
    /// A unix socket that takes a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// Return once it runs, instead of when it ends.
    pub detach: bool,
    /// Descriptors to pass on beside stdio.
    pub preserve_fds: u32,
    /// Whether the container may be paused.
    pub paused: Paused,
    /// Cgroups below the container's own to join instead: `path`, or `controller:path`.
    pub sub_cgroups: Vec<String>,
}

/// How an exec or a run ended for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The process runs on by itself.
    Detached,
    /// It ended with this status; 128 and the signal's number if it was killed.
    Exited(u8),
}

/// Runs a process in a container.
///
/// # Errors
///
/// [`Error::NotRunning`], [`Error::WrongStatus`] for a paused container, or what kept the process
/// from running.
pub fn exec(store: &Store, id: &ContainerId, request: &ExecRequest) -> Result<Outcome, Error> {
    let container = store.load(id)?;
    let extras = container.extras()?;
    check_status(&container, &extras, request.paused)?;
    let spec = container.spec()?;
    let facts = gl_launch::facts();
    let process = inherit(&request.process, &spec);
    gl_spec::validate_process(&process)?;
    if let Some(sandbox) = &container.record.gvisor {
        return gvisor::exec(&container, sandbox, &process, request);
    }
    let mut process = gl_plan::plan_process(&process, &spec, &extras, &facts)?;
    gl_launch::check_labels(&mut process)?;
    let plan = gl_plan::plan(&spec, &extras, &gl_plan::Options::default(), &facts)?;
    gl_launch::keep_descriptors(request.preserve_fds).map_err(|number| Error::Option {
        option: "--preserve-fds",
        problem: format!("descriptor {number} is not open").into(),
        remedy: "pass the descriptors from 3 on, without a gap",
    })?;
    let program = container.seccomp()?;
    gl_sys::stage("runtime: container read, process planned");
    let listening = container.listening(&spec);
    let init = container.init()?;
    let (console, terminal) = open_console(request, process.terminal)?;
    let pidfd_socket = request.pidfd_socket.as_deref();
    let pidfd_socket = pidfd_socket.map(|path| socket::connect(socket::PIDFD, path));
    let pidfd_socket = pidfd_socket.transpose()?;
    let cgroup = cgroup_to_join(&container, &request.sub_cgroups)?;
    let (join, cgroup_dir) = join_files(cgroup.as_ref(), &request.sub_cgroups)?;
    let launch = gl_launch::ExecRequest {
        process: &process,
        namespaces: &plan.namespaces,
        userns: &plan.userns,
        setgroups: plan.setgroups,
        init: init.as_fd(),
        join: join.into(),
        cgroup_dir,
        seccomp: program.as_ref(),
        listening: listening.as_ref(),
        console,
        preserve_fds: request.preserve_fds,
        keyring: match container.record.keeps_keyring {
            true => Keyring::Keep,
            false => Keyring::New,
        },
    };
    let signals = match request.detach {
        true => None,
        false => Some(Signals::hold().map_err(Error::host("hold signals back"))?),
    };
    let pid_file = request.pid_file.as_deref();
    let executed = gl_launch::exec(&launch, |pid| {
        if let Some(cgroup) = &cgroup {
            cgroup.adopt(pid)?;
        }
        if let Some(group) = &container.record.rdt {
            group.join(pid)?;
        }
        match pid_file {
            Some(path) => write_pid_file(path, pid.as_raw_nonzero().get()),
            None => Ok(()),
        }
    })?;
    drop(launch);
    if let Some(socket) = &pidfd_socket {
        announce(socket, executed.pidfd.as_fd())?;
    }
    match signals {
        None => Ok(Outcome::Detached),
        Some(signals) => {
            let ended = attach::wait(&executed.pidfd, (&signals, To::Child), terminal, &mut ())?;
            gl_sys::stage("runtime: program ended");
            Ok(Outcome::Exited(ended.status()))
        }
    }
}

/// Refuses a container that takes no process now.
fn check_status(container: &Container, extras: &Extras, paused: Paused) -> Result<(), Error> {
    let status = container.status()?;
    let wrong = match status {
        Status::Running => false,
        // Its init still waits in a network that is not to be the container's.
        Status::Created => extras.network.is_some() || container.record.gvisor.is_some(),
        Status::Paused => paused == Paused::Refuse,
        _ => return Err(Error::NotRunning { status }),
    };
    match wrong {
        false => Ok(()),
        true => Err(Error::WrongStatus {
            verb: "exec in",
            id: container.record.id.as_str().to_owned(),
            status,
        }),
    }
}

/// The container's cgroup; it may have none if none was asked for.
fn cgroup_to_join(container: &Container, below: &[String]) -> Result<Option<Cgroup>, Error> {
    match container.cgroup() {
        Err(Error::NoCgroup) if below.is_empty() => Ok(None),
        other => other.map(Some),
    }
}

/// The files by which the process joins its cgroup, and the directory that it is born into on v2.
fn join_files(
    cgroup: Option<&Cgroup>,
    below: &[String],
) -> Result<(Vec<OwnedFd>, Option<OwnedFd>), Error> {
    let Some(cgroup) = cgroup else {
        return Ok((Vec::new(), None));
    };
    let below = sub_cgroups(below)?;
    Ok((cgroup.join_fds_below(&below)?, cgroup.open_dir(&below)?))
}

/// Sends the process's pidfd, or ends the process: whoever was to watch over it does not know of it.
fn announce(socket: &OwnedFd, pidfd: BorrowedFd<'_>) -> Result<(), Error> {
    socket::send_pidfd(socket, pidfd).map_err(|err| {
        match gl_sys::pidfd_send_signal(pidfd, Signal::KILL.as_raw()) {
            Ok(()) | Err(_) => err,
        }
    })
}

fn sub_cgroups(given: &[String]) -> Result<Vec<Below>, Error> {
    given
        .iter()
        .map(|one| match one.split_once(':') {
            None => Ok(Below {
                controller: None,
                path: GroupPath::clean(one),
            }),
            Some((controller, path)) => Ok(Below {
                controller: Some(Controller::from_name(controller).ok_or_else(|| {
                    Error::Option {
                        option: "--cgroup",
                        problem: format!("there is no controller {controller:?}").into(),
                        remedy: "write PATH, or CONTROLLER:PATH with a controller of cgroup v1",
                    }
                })?),
                path: GroupPath::clean(path),
            }),
        })
        .collect()
}

/// Where the terminal goes: to the engine's socket, or to us.
fn open_console(
    request: &ExecRequest,
    wanted: bool,
) -> Result<(Option<OwnedFd>, Option<Attached>), Error> {
    match (&request.console_socket, wanted) {
        (Some(path), true) => {
            let socket = socket::connect("--console-socket", path)?;
            Ok((Some(socket), None))
        }
        (Some(_), false) => Err(Error::Option {
            option: "--console-socket",
            problem: "the process does not ask for a terminal".into(),
            remedy: "ask for one with --tty or process.terminal, or leave the option out",
        }),
        (None, false) => Ok((None, None)),
        (None, true) if request.detach => Err(Error::Option {
            option: "--detach",
            problem: "the process asks for a terminal, and there is nobody to take it".into(),
            remedy: "name a socket for it with --console-socket",
        }),
        (None, true) => {
            let (theirs, ours) = Attached::pair()?;
            Ok((Some(theirs), Some(ours)))
        }
    }
}

/// What the process does not say comes from the container's own process; nothing of that is
/// loosened by leaving it out.
fn inherit(process: &Process, spec: &Spec) -> Process {
    let mut process = process.clone();
    let Some(base) = spec.process() else {
        return process;
    };
    if process.rlimits().is_none() {
        process.set_rlimits(base.rlimits().clone());
    }
    if process.capabilities().is_none() {
        process.set_capabilities(base.capabilities().clone());
    }
    if process
        .apparmor_profile()
        .as_deref()
        .is_none_or(str::is_empty)
    {
        process.set_apparmor_profile(base.apparmor_profile().clone());
    }
    if process.selinux_label().as_deref().is_none_or(str::is_empty) {
        process.set_selinux_label(base.selinux_label().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(base.oom_score_adj());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(base.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*base.io_priority());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(base.exec_cpu_affinity().clone());
    }
    let mut user = process.user().clone();
    if user.umask().is_none() {
        user.set_umask(base.user().umask());
        process.set_user(user);
    }
    let no_new = |process: &Process| process.no_new_privileges().unwrap_or(false);
    process.set_no_new_privileges(Some(no_new(&process) || no_new(base)));
    process
}
