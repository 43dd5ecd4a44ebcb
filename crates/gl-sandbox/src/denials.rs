//! The agent that answers the calls which a filter denies, and so sees them.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_container::Decision;
use gl_profile::Profile;
use gl_seccomp::{Policy, Syscall, Verdict};
use gl_sys::{Answer, Notification};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use crate::error::Error;
use crate::explain;
use crate::report::Denial;

/// Kinds of denials that are told apart, at most.
const KINDS: usize = 256;
const EPERM: u16 = 1;

/// A kind of denial: which call of which architecture, with which answer.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    audit: u32,
    number: u32,
    /// Those that tell; the others are zero.
    raw: [u64; 6],
    answer: Answer,
}

/// The agent.
#[derive(Default)]
pub(crate) struct Denials {
    /// Where listeners of filters come from that are not handed over, as of `gl exec`; none in the tier `basic`.
    socket: Option<OwnedFd>,
    /// Its path.
    path: PathBuf,
    listeners: Vec<OwnedFd>,
    decision: Option<Decision>,
    policy: Option<Policy>,
    seen: Vec<(Kind, String, u64)>,
    /// Which arguments tell one kind of a call from another, of those calls that were seen: it takes a walk
    /// through all groups to know, and a program can make denied calls as fast as they are answered.
    telling: HashMap<Syscall, Vec<usize>>,
    not_listed: u64,
}

impl Denials {
    /// Listens at a new socket for the listeners of filters.
    pub(crate) fn listen(path: &Path) -> Result<Self, Error> {
        let failed = || Error::file("listen at", path);
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        );
        let socket = socket.map_err(failed())?;
        let address = SocketAddrUnix::new(path).map_err(failed())?;
        rustix::net::bind(&socket, &address).map_err(failed())?;
        rustix::net::listen(&socket, 16).map_err(failed())?;
        Ok(Self {
            socket: Some(socket),
            path: path.to_owned(),
            ..Self::default()
        })
    }

    /// Whether it listens there.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Takes a listener.
    pub(crate) fn listen_to(&mut self, listener: OwnedFd) {
        self.listeners.push(listener);
    }

    /// By what calls are judged.
    pub(crate) fn judge_by(&mut self, policy: Policy) {
        self.policy = Some(policy);
    }

    /// By what denials are explained, and calls judged unless [a policy](Self::judge_by) is there.
    pub(crate) fn decided(&mut self, decision: Decision) {
        self.decision = Some(decision);
    }

    /// The profiles by which denials are explained.
    pub(crate) fn profiles(&self) -> &[Profile] {
        self.decision.as_ref().map_or(&[], |one| &one.profiles)
    }

    /// What is waited for.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all: Vec<_> = self.socket.iter().map(AsFd::as_fd).collect();
        all.extend(self.listeners.iter().map(AsFd::as_fd));
        all
    }

    /// The descriptor of this position is ready.
    pub(crate) fn ready(&mut self, position: usize) {
        if let (Some(socket), 0) = (&self.socket, position) {
            // Whoever connects and sends nothing of use is not listened to any longer.
            if let Ok(Some(listener)) = take_listener(socket) {
                self.listeners.push(listener);
            }
            return;
        }
        let listener = position.saturating_sub(usize::from(self.socket.is_some()));
        if self.answer_one(listener).is_err() && listener < self.listeners.len() {
            // Nobody is left who could ask; a call that waits fails with ENOSYS.
            drop(self.listeners.swap_remove(listener));
        }
    }

    fn answer_one(&mut self, position: usize) -> Result<(), Errno> {
        let listener = self.listeners.get(position).ok_or(Errno::BADF)?;
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )?;
        let events = fds[0].revents();
        if !events.contains(PollFlags::IN) {
            return match events.is_empty() {
                true => Ok(()),
                false => Err(Errno::PIPE),
            };
        }
        let Some(call) = gl_sys::seccomp_receive(listener.as_fd())? else {
            return Ok(());
        };
        let answer = self.judge(&call);
        let listener = self.listeners.get(position).ok_or(Errno::BADF)?;
        gl_sys::seccomp_answer(listener.as_fd(), call.id, answer)?;
        self.note(&call, answer);
        Ok(())
    }

    fn judge(&mut self, call: &Notification) -> Answer {
        if self.policy.is_none()
            && let Some(decision) = &self.decision
        {
            self.policy = decision.policy().ok().flatten();
        }
        // Without a policy to ask, nothing is allowed.
        let Some(policy) = &self.policy else {
            return Answer::Fail(EPERM);
        };
        let verdict = policy.verdict(call.audit, call.number, &call.arguments);
        match verdict.as_errno() {
            Some(errno) => Answer::Fail(errno),
            None if verdict == Verdict::LOG => Answer::Continue,
            None => Answer::Fail(EPERM),
        }
    }

    fn note(&mut self, call: &Notification, answer: Answer) {
        let kind = Kind {
            audit: call.audit,
            number: call.number,
            raw: self.telling(call),
            answer,
        };
        if let Some(known) = self.seen.iter_mut().find(|known| known.0 == kind) {
            known.2 = known.2.saturating_add(1);
        } else if self.seen.len() < KINDS {
            self.seen.push((kind, program(call.thread), 1));
        } else {
            self.not_listed = self.not_listed.saturating_add(1);
        }
    }

    /// The arguments that tell one kind of a call from another; of the rest, addresses among them, nothing.
    fn telling(&mut self, call: &Notification) -> [u64; 6] {
        let mut out = [0; 6];
        let Some(known) = Syscall::numbered(call.audit, call.number) else {
            return out;
        };
        let telling = self.telling.entry(known);
        for index in telling.or_insert_with(|| explain::telling(known)) {
            if let (Some(to), Some(from)) = (out.get_mut(*index), call.arguments.get(*index)) {
                *to = *from;
            }
        }
        out
    }

    /// What was seen, and how much more.
    pub(crate) fn take(&mut self) -> (Vec<Denial>, u64) {
        let seen = std::mem::take(&mut self.seen);
        let profiles = self.profiles();
        let denials = seen.into_iter().map(|(kind, process, count)| {
            let call = Syscall::numbered(kind.audit, kind.number);
            let explained = call.map(|call| explain::lines(profiles, call, &kind.raw));
            let (allow, denied_by) = explained.unwrap_or_default();
            Denial {
                layer: "seccomp".to_owned(),
                what: call.map_or_else(
                    || format!("call {}", kind.number),
                    |call| call.name().to_owned(),
                ),
                arguments: call.map_or_else(Vec::new, |call| explain::arguments(call, &kind.raw)),
                answer: match kind.answer {
                    Answer::Fail(errno) => name(errno),
                    Answer::Continue => "allowed".to_owned(),
                },
                process,
                count,
                allow,
                denied_by,
            }
        });
        (denials.collect(), self.not_listed)
    }
}

/// The name of the program that a thread runs.
fn program(thread: u32) -> String {
    let comm = std::fs::read(format!("/proc/{thread}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&comm).trim_end().to_owned()
}

fn name(errno: u16) -> String {
    match errno {
        1 => "EPERM".to_owned(),
        13 => "EACCES".to_owned(),
        22 => "EINVAL".to_owned(),
        97 => "EAFNOSUPPORT".to_owned(),
        other => format!("errno {other}"),
    }
}

/// Takes a listener from whoever connects.
fn take_listener(socket: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let peer = rustix::net::accept_with(socket, SocketFlags::CLOEXEC)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut document = [0; 8192];
    rustix::net::recvmsg(
        &peer,
        &mut [std::io::IoSliceMut::new(&mut document)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            return Ok(fds.next());
        }
    }
    Ok(None)
}
