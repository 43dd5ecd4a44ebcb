//! Another process in a running container.
//!
//! One fork into the container's pid namespace; the child enters the other namespaces by the pidfd
//! of init, all in one call, and from there on goes the way of init's last steps.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gl_plan::{Keyring, Kind, Namespaces, Process, Setgroups, UserNs};
use gl_rootfs::{Console, Procfs, Root};
use gl_seccomp::Program;
use gl_sys::{Batch, CStrings};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{Gid, ThreadNameSpaceType, Uid};

use crate::child::{LastSteps, become_process, join_cgroup, maps_root, report};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fork::{Born, Place, fork};
use crate::identity::{self, Labels, Late};
use crate::landlock;
use crate::lookup;
use crate::namespace::ForFork;
use crate::record::{Channel, Kind as Message, Record};
use crate::spawn::{Tie, kill_and_reap, raise_limits};
use crate::start::{Agent, Listening, follow};
use crate::stdio;
use crate::step::{Fault, Own};

/// What an exec is made from.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The process to run.
    pub process: &'a Process,
    /// The container's namespaces and whether it has a user namespace, from its stored config.
    pub namespaces: &'a Namespaces,
    /// The container's user namespace.
    pub userns: &'a UserNs,
    /// Whether groups can be set where the runtime is.
    pub setgroups: Setgroups,
    /// Init of the container.
    pub init: BorrowedFd<'a>,
    /// Files to write `0` into to join the cgroup.
    pub join: Batch,
    /// Its directory on v2: where the kernel can, the process is born in it and does not have to
    /// join.
    pub cgroup_dir: Option<OwnedFd>,
    /// The container's seccomp filter.
    pub seccomp: Option<&'a Program>,
    /// Where its listener goes, if it makes one.
    pub listening: Option<&'a Listening>,
    /// Where the terminal's master end is sent.
    pub console: Option<OwnedFd>,
    /// Descriptors to pass on beside stdio.
    pub preserve_fds: u32,
    /// What happens to the caller's session keyring.
    pub keyring: Keyring,
}

/// A process that runs in the container.
#[derive(Debug)]
pub struct Executed {
    /// Its process id on the host.
    pub pid: Pid,
    /// A descriptor of it. It is a child of this process.
    pub pidfd: OwnedFd,
}

/// Runs a process in a container and returns once its program has been executed.
///
/// `on_pid` is called with its process id before the program runs, for a pid file.
///
/// # Errors
///
/// What kept the program from running; the process is gone then.
pub fn exec<E: From<Error>>(
    request: &ExecRequest<'_>,
    on_pid: impl FnOnce(Pid) -> Result<(), E>,
) -> Result<Executed, E> {
    let failed = |what| move |source| Error::Host { what, source };
    stdio::shield_null().map_err(failed("open the null device"))?;
    let (ours, theirs) = Channel::pair().map_err(failed("make a socket pair"))?;
    identity::hide().map_err(|fault| Error::Host {
        what: "hide from other processes",
        source: fault.errno,
    })?;
    let process = request.process;
    let (init, listening) = (request.init, request.listening);
    let entered = if request.namespaces.has(Kind::Pid) {
        ForFork::enter_pid_of(init).map_err(failed("enter the container's pid namespace"))?
    } else {
        ForFork::default()
    };
    let given = Given {
        request,
        runtime: theirs,
    };
    // Its first CPUs are those of outside.
    let outside = process.affinity_initial.is_some();
    let cgroup_dir = request.cgroup_dir.as_ref().filter(|_| !outside);
    let place = Place {
        namespaces: 0,
        cgroup: cgroup_dir.map(AsFd::as_fd),
    };
    let forked = fork(
        place,
        request.preserve_fds,
        given,
        Given::descriptors,
        |given, born| child(given.request, &given.runtime, born),
    );
    entered
        .leave()
        .map_err(failed("return to the runtime's own namespaces"))?;
    let (pid, pidfd) = forked.map_err(|source| Error::Fork { source })?;
    gl_sys::stage("runtime: process forked");
    let run = || {
        raise_limits(pid, process)?;
        on_pid(pid)?;
        ours.send(&Record::new(Message::Go, 0))
            .map_err(failed("talk to the process"))?;
        let agent = Agent {
            listening,
            beside: &mut (),
            deadline: Deadline::default(),
        };
        follow(&ours, (pid, pidfd.as_fd()), process, agent)?;
        Ok(())
    };
    match run() {
        Ok(()) => Ok(Executed { pid, pidfd }),
        Err(err) => {
            kill_and_reap(&pidfd);
            Err(err)
        }
    }
}

/// What the child works with.
struct Given<'a> {
    request: &'a ExecRequest<'a>,
    runtime: Channel,
}

impl Given<'_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.runtime.as_fd(), self.request.init];
        all.extend(self.request.join.iter().map(AsFd::as_fd));
        all.extend(self.request.console.iter().map(AsFd::as_fd));
        all
    }
}

fn child(request: &ExecRequest<'_>, runtime: &Channel, born: Born) -> i32 {
    let fault = match build(request, runtime, born) {
        Err(fault) => fault,
        Ok(ready) => {
            let last = LastSteps {
                process: request.process,
                preserve_fds: request.preserve_fds,
                seccomp: request.seccomp,
                labels: &ready.labels,
                landlock: &ready.landlock,
                program: &ready.program,
                args: &ready.args,
                env: &ready.env,
                hooks: &[],
                state: None,
                tie: Tie::Nobody,
            };
            last.run(runtime)
        }
    };
    report(runtime, &fault)
}

struct Ready {
    labels: Labels,
    landlock: Vec<OwnedFd>,
    program: CString,
    args: CStrings,
    env: CStrings,
}

fn build(request: &ExecRequest<'_>, runtime: &Channel, born: Born) -> Result<Ready, Fault> {
    let process = request.process;
    stdio::seal_descriptors()?;
    runtime.expect(Message::Go).map_err(Fault::of(Own::Sync))?;
    identity::set_affinity(process.affinity_initial.as_deref())?;
    // Before the namespaces: the files are the host's.
    if born == Born::Outside {
        join_cgroup(&request.join)?;
    }
    enter_namespaces(request)?;
    gl_sys::stage("program: cgroups and namespaces entered");
    rustix::process::setsid().map_err(Fault::of(Own::Session))?;
    let root = open_root().map_err(Fault::of(Own::Cwd))?;
    let labels = labels(request)?;
    if let (true, Some(socket)) = (process.terminal, &request.console) {
        stdio::take_terminal(process, &root, Console::Leave, socket.as_fd())?;
    }
    let env = lookup::complete_environment(process, &root)?;
    let landlock = landlock::prepare(&process.landlock, &root)?;
    let cwd = open_cwd(process, &root)?;
    drop(root);
    become_process(process, &cwd, Late::UntilFilter)?;
    drop(cwd);
    let program = lookup::find_program(process)?;
    gl_sys::stage("program: became its user");
    identity::set_affinity(process.affinity_final.as_deref())?;
    Ok(Ready {
        labels,
        landlock,
        program,
        args: CStrings::new(process.args.clone()),
        env: CStrings::new(env),
    })
}

/// Enters everything that the container has of its own but its pid namespace, in one call.
fn enter_namespaces(request: &ExecRequest<'_>) -> Result<(), Fault> {
    let mut flags = ThreadNameSpaceType::empty();
    for (kind, flag) in [
        (Kind::Mount, ThreadNameSpaceType::MOUNT),
        (
            Kind::Uts,
            ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
        ),
        (Kind::Ipc, ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
        (Kind::Network, ThreadNameSpaceType::NETWORK),
        (Kind::Cgroup, ThreadNameSpaceType::CONTROL_GROUP),
        (Kind::Time, ThreadNameSpaceType::TIME),
        (Kind::User, ThreadNameSpaceType::USER),
    ] {
        if request.namespaces.has(kind) {
            flags |= flag;
        }
    }
    rustix::thread::move_into_thread_name_spaces(request.init, flags)
        .map_err(Fault::of(Own::JoinNamespace))?;
    if maps_root(request.userns) {
        let failed = Fault::of(Own::BecomeRoot);
        if request.setgroups == Setgroups::Allowed {
            rustix::thread::set_thread_groups(&[]).map_err(&failed)?;
        }
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(&failed)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(failed)?;
    }
    identity::hide()
}

fn open_root() -> Result<Root, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Root::new(rustix::fs::open("/", flags, Mode::empty())?))
}

/// The labels for the execve, and a keyring of the process's own.
fn labels(request: &ExecRequest<'_>) -> Result<Labels, Fault> {
    let process = request.process;
    let proc = match (&process.apparmor, &process.selinux) {
        (None, None) => None,
        _ => Some(Procfs::private()?),
    };
    if request.keyring == Keyring::New {
        match (&process.selinux, &proc) {
            (Some(context), Some(proc)) => identity::join_labelled_keyring(context, proc)?,
            _ => identity::join_keyring()?,
        }
    }
    match &proc {
        Some(proc) => Labels::open(process, proc),
        None => Ok(Labels::default()),
    }
}

/// Unlike at create nothing is made: the container is running and its files are its own.
fn open_cwd(process: &Process, root: &Root) -> Result<OwnedFd, Fault> {
    let path = Path::new(std::ffi::OsStr::from_bytes(process.cwd.as_bytes()));
    root.open(path, OFlags::PATH | OFlags::DIRECTORY)
        .map_err(Fault::named(Own::Cwd, process.cwd.as_bytes()))
}
