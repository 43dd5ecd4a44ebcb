//! The agent of a recording: it sees each call, notes it, and has it made.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use gl_basic::{Beside, Companion};
use gl_seccomp::Syscall;
use gl_sys::{Answer, Notification};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::calls::{self, Act, Named};
use crate::classes::{Class, Classes};
use crate::files::{Did, Seen};
use crate::memory::Thread;
use crate::net::Net;
use crate::peaks::Peaks;

/// Calls that are answered before others are looked after.
const AT_ONCE: usize = 64;
const ENOSYS: u16 = 38;
/// Calls with the number that a descriptor gets.
const DUP_MAKES: [(&str, u8); 2] = [("dup2", 1), ("dup3", 1)];

/// What was seen, so far.
pub(crate) struct Agent {
    listener: Option<OwnedFd>,
    /// Readable once nobody wants a recording any more.
    front: Option<OwnedFd>,
    program: Option<OwnedFd>,
    /// The program was ended for that.
    pub(crate) abandoned: bool,
    classes: Classes,
    /// Calls that are allowed though the profile `default` denies them.
    include: Vec<String>,
    pub(crate) words: BTreeMap<String, u64>,
    /// What the profile `default` denies, and no option includes.
    pub(crate) beyond: BTreeMap<&'static str, u64>,
    /// Calls of another architecture of the processor.
    pub(crate) foreign: u64,
    /// Calls whose memory could not be read.
    pub(crate) unread: u64,
    pub(crate) files: Seen,
    pub(crate) net: Net,
    pub(crate) peaks: Peaks,
}

impl Agent {
    pub(crate) fn new(classes: Classes, files: Seen, include: Vec<String>) -> Self {
        Self {
            listener: None,
            front: None,
            program: None,
            abandoned: false,
            classes,
            include,
            words: BTreeMap::new(),
            beyond: BTreeMap::new(),
            foreign: 0,
            unread: 0,
            files,
            net: Net::default(),
            peaks: Peaks::default(),
        }
    }

    /// Ends the program when this descriptor becomes readable.
    pub(crate) fn look_after(&mut self, front: OwnedFd) {
        self.front = Some(front);
    }

    /// Nobody waits any more. Before the program runs there is nobody to be ended.
    fn abandon(&mut self) {
        if let Some(program) = &self.program {
            // One that has ended is what is wanted.
            gl_sys::pidfd_send_signal(program.as_fd(), Signal::KILL.as_raw()).ok();
            self.front = None;
            self.abandoned = true;
        }
    }

    /// The groups that every recorded profile denies.
    pub(crate) fn denied_groups(&self) -> Vec<String> {
        self.classes.denied().map(str::to_owned).collect()
    }

    /// Answers one call; false if none waits.
    fn answer_one(&mut self) -> Result<bool, Errno> {
        let listener = self.listener.as_ref().ok_or(Errno::BADF)?;
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now))?;
        let events = fds[0].revents();
        if !events.contains(PollFlags::IN) {
            return match events.is_empty() {
                true => Ok(false),
                false => Err(Errno::PIPE),
            };
        }
        let Some(call) = gl_sys::seccomp_receive(listener.as_fd())? else {
            return Ok(true);
        };
        let answer = self.note(&call);
        let listener = self.listener.as_ref().ok_or(Errno::BADF)?;
        gl_sys::seccomp_answer(listener.as_fd(), call.id, answer)?;
        Ok(true)
    }

    fn note(&mut self, notification: &Notification) -> Answer {
        if notification.audit != NATIVE_AUDIT {
            self.foreign = self.foreign.saturating_add(1);
            return Answer::Continue;
        }
        let Some(call) = Syscall::numbered(notification.audit, notification.number) else {
            // Newer than the list, as it would be under every profile.
            return Answer::Fail(ENOSYS);
        };
        let arguments = &notification.arguments;
        let word = match self.classes.of(call, arguments) {
            Class::Word(word) => word,
            Class::Absent(word, errno) => {
                count(&mut self.words, word);
                return Answer::Fail(errno);
            }
            Class::Beyond if self.include.iter().any(|name| name == call.name()) => {
                call.name().to_owned()
            }
            Class::Beyond => {
                count(&mut self.beyond, call.name());
                return Answer::Continue;
            }
        };
        count(&mut self.words, word);
        self.look_into(call.name(), notification);
        Answer::Continue
    }

    /// Notes what the arguments point to, and what the call makes.
    fn look_into(&mut self, call: &str, notification: &Notification) {
        let thread = Thread(notification.thread);
        let arguments = &notification.arguments;
        let argument = |index: u8| arguments.get(usize::from(index)).copied().unwrap_or(0);
        let named = calls::paths(call);
        let paths: Vec<Option<(PathBuf, Did)>> = named
            .iter()
            .map(|named| path(thread, named, argument))
            .collect();
        if !named.is_empty() && !self.is_waiting(notification) {
            return;
        }
        for (path, named) in paths.into_iter().zip(named) {
            match path {
                Some((path, did)) => self.files.touch(&path, did),
                // Nothing is told of a descriptor itself, but that it is executed.
                None if thread.text(argument(named.path)).is_none() => self.unread += 1,
                None => {}
            }
        }
        if let Some((pointer, len)) = calls::address(call) {
            let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
            self.net.call(thread, call, (at(pointer), at(len)));
        } else if matches!(call, "sendmsg" | "sendmmsg") {
            self.net.message(thread, call, argument(1));
        }
        match call {
            "getdents" | "getdents64" => {
                let dir = thread.directory(Some(argument(0)));
                if let Some(dir) = dir.filter(|_| self.is_waiting(notification)) {
                    self.files.touch(&dir, Did::List);
                }
            }
            "clone" => self.peaks.forks(argument(0)),
            "fork" | "vfork" => self.peaks.forks(0),
            "execve" | "execveat" | "exit" | "exit_group" => self.peaks.leaves(thread),
            _ => {}
        }
        if calls::makes_descriptor(call) {
            let wanted = DUP_MAKES.iter().find(|(name, _)| *name == call);
            let wanted = wanted.map_or(0, |(_, index)| argument(*index) & 0xffff_ffff);
            self.peaks.descriptor(thread, wanted);
        }
    }

    fn is_waiting(&self, notification: &Notification) -> bool {
        self.listener.as_ref().is_some_and(|listener| {
            gl_sys::seccomp_is_waiting(listener.as_fd(), notification.id).unwrap_or(false)
        })
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE_AUDIT: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE_AUDIT: u32 = 0xc000_00b7;

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    let count = counts.entry(key).or_insert(0);
    *count = count.saturating_add(1);
}

/// The path that a call names, and what is done with it.
fn path(thread: Thread, named: &Named, argument: impl Fn(u8) -> u64) -> Option<(PathBuf, Did)> {
    let directory = named.directory.map(&argument);
    let mut path = thread.path(directory, argument(named.path));
    if path.is_none() && named.act == Act::Execute && named.directory.is_some() {
        path = thread.directory(directory);
    }
    let flags = |bits: u64| OFlags::from_bits_retain((bits & 0xffff_ffff) as u32);
    let did = match named.act {
        Act::Look => Did::Look,
        Act::Open(index) => Did::Open(flags(argument(index))),
        Act::OpenHow(index) => Did::Open(flags(thread.number(argument(index))?)),
        Act::Create => Did::Open(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC),
        Act::Execute => Did::Execute,
        Act::Make => Did::Make,
        Act::Place => Did::Place,
        Act::Remove => Did::Remove,
        Act::Change => Did::Change,
        Act::Enter => Did::Enter,
    };
    Some((path?, did))
}

impl Beside for Agent {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let front = self.front.iter();
        front.chain(&self.listener).map(AsFd::as_fd).collect()
    }

    fn ready(&mut self, position: usize) {
        if self.front.is_some() && position == 0 {
            return self.abandon();
        }
        for _ in 0..AT_ONCE {
            match self.answer_one() {
                Ok(true) => {}
                Ok(false) => return,
                // Nobody is left who could ask; a call that waits fails with ENOSYS.
                Err(_) => {
                    self.listener = None;
                    return;
                }
            }
        }
    }
}

impl Companion for Agent {
    fn listener(&mut self, listener: OwnedFd) {
        // Slower without, and the same.
        gl_sys::seccomp_hand_over_at_once(listener.as_fd()).ok();
        self.listener = Some(listener);
    }

    fn started(&mut self, pid: Pid) {
        // One that has ended already has nobody to be ended.
        self.program = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
        self.peaks.started(pid);
    }
}
