//! The process between launcher and program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use gl_rootfs::Note;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::program;
use super::{BareRequest, Usage};
use crate::child::report;
use crate::foreground::Ended;
use crate::fork::{Place, fork};
use crate::record::{Channel, Kind as Message, Record};
use crate::step::{Fault, Own};
use crate::tree;

/// What the guard is given, and of it the program.
pub(super) struct Given<'a> {
    pub(super) request: BareRequest<'a>,
    pub(super) launcher: Channel,
    pub(super) program: Channel,
}

impl Given<'_> {
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = self.request.orphaned.descriptors();
        all.extend([self.launcher.as_fd(), self.program.as_fd()]);
        all.extend(self.request.join.iter().map(AsFd::as_fd));
        all.extend(self.request.cgroup_dir.iter().map(AsFd::as_fd));
        all.extend(self.request.terminal.iter().map(AsFd::as_fd));
        all
    }
}

/// Runs the guard to its end.
pub(super) fn run(given: Given<'_>) -> i32 {
    let Given {
        mut request,
        launcher,
        program,
    } = given;
    let signals = match stand() {
        Ok(signals) => signals,
        Err(fault) => return report(&launcher, &fault),
    };
    gl_sys::stage("guard: stands");
    let orphaned = request.orphaned;
    let dir = request.cgroup_dir.take();
    let place = Place {
        namespaces: 0,
        cgroup: dir.as_ref().map(AsFd::as_fd),
    };
    let inner = program::Given {
        request,
        launcher: program,
        guard: rustix::process::getpid(),
    };
    let forked = fork(place, 0, inner, program::Given::descriptors, program::run);
    let guard = match forked {
        Ok((pid, _)) => Guard {
            program: Some(pid),
            launcher,
            signals,
        },
        Err(errno) => return report(&launcher, &Fault::of(Own::ForkAgain)(errno)),
    };
    let (mut guard, asked) = guard.serve();
    // The launcher removes what it has made, and says so; in the end somebody does.
    let removed = match asked {
        Asked::Nobody => {
            orphaned.kill();
            guard.end_all();
            Err(Errno::PIPE)
        }
        Asked::Finish => {
            guard.end_all();
            guard.report_empty()
        }
        Asked::Nothing => guard.wait_for_removal(),
    };
    if removed.is_err() {
        orphaned.remove();
    }
    0
}

/// A session of its own, all signals held back, and the parent of orphans.
fn stand() -> Result<OwnedFd, Fault> {
    rustix::process::setsid().map_err(Fault::of(Own::Session))?;
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).map_err(Fault::of(Own::Session))?;
    rustix::thread::set_name(c"greenlang-guard").map_err(Fault::of(Own::Session))?;
    gl_sys::block_all().map_err(Fault::of(Own::Signals))
}

/// Why the guard ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The launcher wants it to.
    Finish,
    /// The launcher is gone.
    Nobody,
    /// Nobody is left, which the launcher knows.
    Nothing,
}

/// Who is left of the program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Somebody.
    Some,
    /// Nobody, and the launcher was not told.
    Untold,
    /// Nobody, as the launcher was just told.
    Nobody,
}

struct Guard {
    /// None once it has ended.
    program: Option<Pid>,
    launcher: Channel,
    signals: OwnedFd,
}

impl Guard {
    /// Reaps, and tells of the program's end, until there is no more use for it.
    fn serve(mut self) -> (Self, Asked) {
        let first = Record::new(
            Message::Forked,
            self.program
                .map_or(0, |pid| pid.as_raw_nonzero().get().into()),
        );
        // Nobody is waited for before the launcher has the program's descriptor.
        let begun =
            self.launcher.send(&first).is_ok() && self.launcher.expect(Message::Continue).is_ok();
        if !begun {
            return (self, Asked::Nobody);
        }
        loop {
            match self.reap() {
                Left::Nobody => return (self, Asked::Nothing),
                Left::Some | Left::Untold => {}
            }
            let mut fds = [
                PollFd::new(&self.launcher, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            if poll(&mut fds, None).is_err() {
                continue;
            }
            let [launcher, signals] = fds.map(|fd| !fd.revents().is_empty());
            if signals {
                self.forget_signals();
            }
            if launcher {
                let asked = match self.launcher.expect(Message::Continue) {
                    Ok(_) => Asked::Finish,
                    Err(_) => Asked::Nobody,
                };
                return (self, asked);
            }
        }
    }

    fn forget_signals(&self) {
        while matches!(gl_sys::read_signal(self.signals.as_fd()), Ok(Some(_))) {}
    }

    /// Waits for all that have ended, and tells of the program's end: also that nobody is left, if that is so.
    fn reap(&mut self) -> Left {
        let mut ended = None;
        let left = loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if self.program == Some(pid) => {
                    self.program = None;
                    ended = Some(Record::new(Message::Ended, status.as_raw().into()));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break Left::Some,
                Err(_) => break Left::Untold,
            }
        };
        let Some(mut ended) = ended else {
            return left;
        };
        let nobody = left == Left::Untold;
        if nobody {
            ended.note = usage_note();
        }
        // A launcher that is gone is noticed where the guard waits for it.
        match self.launcher.send(&ended) {
            Ok(()) if nobody => Left::Nobody,
            _ => left,
        }
    }

    /// Kills and reaps until nobody is left.
    fn end_all(&mut self) {
        let own = rustix::process::getpid();
        while self.reap() == Left::Some {
            let seen = tree::kill_below(own, 0);
            // Whatever is wrong with /proc: the program is our child, not waited for, and has its id.
            if let (Err(_), Some(pid)) = (seen, self.program) {
                rustix::process::kill_process(pid, Signal::KILL).ok();
            }
            if self.reap() == Left::Some {
                self.wait_for_child();
            }
        }
    }

    /// Until a child ends, or a moment.
    fn wait_for_child(&self) {
        let mut fds = [PollFd::new(&self.signals, PollFlags::IN)];
        poll(&mut fds, Some(&MOMENT)).ok();
        self.forget_signals();
    }

    /// Tells that nobody is left, and waits until the launcher has removed the rest.
    fn report_empty(&self) -> Result<(), Errno> {
        let record = Record {
            note: usage_note(),
            ..Record::new(Message::Empty, 0)
        };
        self.launcher.send(&record)?;
        self.wait_for_removal()
    }

    /// Until the launcher has removed what it has made.
    fn wait_for_removal(&self) -> Result<(), Errno> {
        self.launcher.expect(Message::Continue).map(drop)
    }
}

/// What all who were waited for have used.
fn usage_note() -> Note {
    let usage = gl_sys::children_usage().unwrap_or_default();
    let mut note = Vec::with_capacity(24);
    for number in [
        micros(usage.user),
        micros(usage.system),
        usage.most_kib.saturating_mul(1024),
    ] {
        note.extend(number.to_ne_bytes());
    }
    Note::new(note)
}

const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// Waits a moment.
pub(super) fn pause() {
    poll(&mut [], Some(&MOMENT)).ok();
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How a program with this status of `wait(2)` has ended.
pub(super) fn ended_of(status: i64) -> Ended {
    match i32::try_from(status & 0x7f) {
        Ok(signal) if signal != 0 => Ended::Signalled(signal),
        _ => Ended::Exited(u8::try_from((status >> 8) & 0xff).unwrap_or(255)),
    }
}

/// What a note of [`Message::Empty`] says, or of [`Message::Ended`] where nobody is left.
pub(super) fn usage_of(note: &[u8]) -> Usage {
    let number = |index: usize| {
        let bytes = note.get(index * 8..index * 8 + 8)?;
        bytes.try_into().ok().map(u64::from_ne_bytes)
    };
    Usage {
        user: Duration::from_micros(number(0).unwrap_or(0)),
        system: Duration::from_micros(number(1).unwrap_or(0)),
        most_memory: number(2).unwrap_or(0),
    }
}
