//! The first process of a container that is not its program: it passes signals on, takes the dead away and
//! ends with the program.
//!
//! Without it the program is process 1 of its pid namespace, for which the kernel drops every signal that it
//! has no handler for, and orphans stay as zombies. It keeps the runtime's code and holds nothing: no
//! descriptor, no capability, and nobody inside may look into it, as it is not dumpable.

use std::os::fd::{AsFd as _, OwnedFd};

use gl_plan::Process;
use gl_sys::Sender;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::child::report;
use crate::fork::{close_all, fork_inside};
use crate::identity;
use crate::record::Channel;
use crate::spawn::Tie;
use crate::step::{Fault, Own};

/// Who is the first process of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Init {
    /// Its program.
    #[default]
    Program,
    /// A process of ours, whose child the program is. It ends as the program does, with 128 and the number of
    /// the signal if one ended that.
    Reaper,
}

/// Hides what the caller has said on the command line, which a program could read where the first process stays
/// ours. While `/proc` is the host's.
pub(crate) fn hide_arguments(init: Init) -> Result<(), Fault> {
    if init == Init::Program {
        return Ok(());
    }
    let arguments = gl_sys::Arguments::find().map_err(Fault::of(Own::Hide))?;
    arguments.replace_by("greenlang");
    Ok(())
}

/// Forks `program` off and looks after it until its end; returns the exit status.
pub(crate) fn run(
    starter: &Channel,
    process: &Process,
    tie: Tie,
    program: impl FnOnce(&Channel) -> i32,
) -> i32 {
    let forked = prepare(tie).and_then(|signals| {
        let child = fork_inside(|| program(starter)).map_err(Fault::of(Own::Reaper))?;
        Ok((signals, child))
    });
    let (signals, child) = match forked {
        Ok(forked) => forked,
        Err(fault) => return report(starter, &fault),
    };
    // What is left to be lost is lost before anything of the container can look for it.
    if identity::finish(process).is_err() {
        return 1;
    }
    // The streams as well: a program that closes its end of a pipe is to be heard.
    if close_all(&signals).is_err() {
        return 1;
    }
    // No owner of what was closed is seen again.
    gl_sys::exit_now(look_after(&signals, child))
}

fn prepare(tie: Tie) -> Result<OwnedFd, Fault> {
    let failed = Fault::of(Own::Reaper);
    if tie == Tie::Launcher {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(&failed)?;
    }
    gl_sys::block_all().map_err(failed)
}

fn look_after(signals: &OwnedFd, program: Pid) -> i32 {
    loop {
        if let Some(status) = reap(program) {
            return status;
        }
        let mut fds = [PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return 1,
        }
        pass_signals(signals, program);
    }
}

fn pass_signals(signals: &OwnedFd, program: Pid) {
    while let Ok(Some((number, sender))) = gl_sys::read_signal_from(signals.as_fd()) {
        // A terminal tells the program by itself.
        let passed = sender == Sender::Process && number != Signal::CHILD.as_raw();
        if let Some(signal) = Signal::from_named_raw(number).filter(|_| passed) {
            match rustix::process::kill_process(program, signal) {
                // It may just have ended, or have become another user.
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Takes the dead away; the status of the program once it is among them.
fn reap(program: Pid) -> Option<i32> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => {
                let killed = status.terminating_signal().map(|signal| 128 + signal);
                return Some(status.exit_status().or(killed).unwrap_or(255));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return None,
            // There is no child at all, and so no program.
            Err(_) => return Some(255),
        }
    }
}
