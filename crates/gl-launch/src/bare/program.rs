//! The program's side: everything that binds it, then the execve.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gl_rootfs::Root;
use gl_sys::CStrings;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal};

use super::BareRequest;
use crate::child::{hand_over, join_cgroup, report};
use crate::fork::Born;
use crate::identity;
use crate::landlock;
use crate::lookup;
use crate::record::{Channel, Kind as Message, Record};
use crate::stdio;
use crate::step::{Fault, Own};

/// What the program's process is given.
pub(super) struct Given<'a> {
    pub(super) request: BareRequest<'a>,
    pub(super) launcher: Channel,
    pub(super) guard: Pid,
}

impl Given<'_> {
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.launcher.as_fd()];
        all.extend(self.request.join.iter().map(AsFd::as_fd));
        all.extend(self.request.terminal.iter().map(AsFd::as_fd));
        all
    }
}

/// Runs to the execve; returns only what kept it from there, already reported.
pub(super) fn run(given: Given<'_>, born: Born) -> i32 {
    let Given {
        request,
        launcher,
        guard,
    } = given;
    report(&launcher, &execute(request, &launcher, (guard, born)))
}

fn execute(request: BareRequest<'_>, launcher: &Channel, (guard, born): (Pid, Born)) -> Fault {
    let process = request.process;
    let seccomp = request.seccomp;
    let ready = match build(request, launcher, born) {
        Ok(ready) => ready,
        Err(fault) => return fault,
    };
    let last = || {
        gl_sys::reset_for_exec().map_err(Fault::of(Own::Signals))?;
        identity::set_rlimits(process)?;
        tie(guard)?;
        landlock::restrict(&ready.landlock, process.landlock_mark.as_deref())?;
        gl_sys::stage("program: limits and Landlock set");
        // From here on only write, read and execve, which the filter has to allow anyway.
        if let Some(program) = seccomp {
            let listener = gl_seccomp::install(program).map_err(Fault::of(Own::Seccomp))?;
            if let Some(listener) = listener {
                hand_over(launcher, &listener).map_err(Fault::of(Own::Listener))?;
            }
        }
        launcher
            .send(&Record::new(Message::Executing, 0))
            .map_err(Fault::of(Own::Sync))
    };
    match last() {
        Err(fault) => fault,
        Ok(()) => {
            let errno = gl_sys::execve(&ready.program, &ready.args, &ready.env);
            Fault::of(Own::Execve)(errno)
        }
    }
}

struct Ready {
    landlock: Vec<OwnedFd>,
    program: std::ffi::CString,
    args: CStrings,
    env: CStrings,
}

fn build(request: BareRequest<'_>, launcher: &Channel, born: Born) -> Result<Ready, Fault> {
    let process = request.process;
    stdio::seal_descriptors()?;
    launcher.expect(Message::Go).map_err(Fault::of(Own::Sync))?;
    if born == Born::Outside {
        join_cgroup(&request.join)?;
    }
    drop(request.join);
    gl_sys::stage("program: in its cgroup");
    rustix::process::setsid().map_err(Fault::of(Own::Session))?;
    if let Some(terminal) = request.terminal {
        take_terminal(&terminal)?;
    }
    let cwd = Path::new(OsStr::from_bytes(process.cwd.as_bytes()));
    rustix::process::chdir(cwd).map_err(Fault::named(Own::Cwd, process.cwd.as_bytes()))?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(before | Mode::from_raw_mode(process.umask));
    let landlock = {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty());
        let root = Root::new(root.map_err(Fault::of(Own::Landlock))?);
        landlock::prepare(&process.landlock, &root)?
    };
    gl_sys::stage("program: Landlock's paths opened");
    identity::bound(process)?;
    if request
        .seccomp
        .is_some_and(gl_seccomp::Program::needs_listener)
    {
        be_seen()?;
    }
    Ok(Ready {
        landlock,
        program: lookup::find_program(process)?,
        args: CStrings::new(process.args.clone()),
        env: CStrings::new(process.env.clone()),
    })
}

/// Lets a launcher without root take the filter's listener (`pidfd_getfd(2)`); an execve would have the same
/// effect.
fn be_seen() -> Result<(), Fault> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Fault::of(Own::Hide))
}

fn take_terminal(terminal: &OwnedFd) -> Result<(), Fault> {
    rustix::process::ioctl_tiocsctty(terminal).map_err(Fault::of(Own::ControllingTerminal))?;
    let failed = Fault::of(Own::Stdio);
    rustix::stdio::dup2_stdin(terminal).map_err(&failed)?;
    rustix::stdio::dup2_stdout(terminal).map_err(&failed)?;
    rustix::stdio::dup2_stderr(terminal).map_err(failed)
}

/// The end of the guard is ours as well. After every change of ids or capabilities, which would take that
/// back.
fn tie(guard: Pid) -> Result<(), Fault> {
    let failed = Fault::of(Own::Signals);
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(&failed)?;
    match rustix::process::getppid() == Some(guard) {
        true => Ok(()),
        false => Err(failed(Errno::SRCH)),
    }
}
