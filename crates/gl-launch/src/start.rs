//! `start`: opens the gate of a created container and waits for its program to run.

use std::fmt;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_plan::Process;
use gl_spec::{StateDocument, Status};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_open};

use crate::beside::{Beside, wait_beside_until};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::gate;
use crate::record::{Channel, Kind, Record};
use crate::watch::Watcher;

/// Who takes the listener of a seccomp filter with `SCMP_ACT_NOTIFY`.
#[derive(Debug, Clone)]
pub struct Listening {
    /// `linux.seccomp.listenerPath`.
    pub path: PathBuf,
    /// `linux.seccomp.listenerMetadata`.
    pub metadata: Option<String>,
    /// The container's state.
    pub state: StateDocument,
}

impl Listening {
    /// The document that goes with the descriptor.
    ///
    /// # Spec
    ///
    /// `config-linux.md`, "The Container Process State".
    fn document(&self, pid: Pid) -> Result<Vec<u8>, Errno> {
        let state: serde_json::Value =
            serde_json::from_slice(&self.state.to_hook_json(Status::Creating))
                .map_err(|_err: serde_json::Error| Errno::INVAL)?;
        let document = serde_json::json!({
            "ociVersion": self.state.oci_version,
            "fds": ["seccompFd"],
            "pid": pid.as_raw_nonzero().get(),
            "metadata": self.metadata.as_deref().unwrap_or_default(),
            "state": state,
        });
        Ok(document.to_string().into_bytes())
    }
}

/// Who answers for a filter while its process starts, and until when it has to be there.
pub struct Agent<'a> {
    /// Where the listener goes, if the filter makes one.
    pub listening: Option<&'a Listening>,
    /// What this process does beside: perhaps it is the agent itself.
    pub beside: &'a mut dyn Beside,
    /// The time that there is.
    pub deadline: Deadline,
}

impl fmt::Debug for Agent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Agent");
        shown
            .field("listening", &self.listening)
            .finish_non_exhaustive()
    }
}

/// Opens the gate and returns once the container's program has been executed.
///
/// `dir` is the state directory. The program does not run before `watcher` watches it.
///
/// # Errors
///
/// What kept the program from running; [`Error::NotWaiting`] if nobody waits at the gate, [`Error::Late`]
/// once the agent's deadline is over.
pub fn start(
    dir: BorrowedFd<'_>,
    init: (Pid, BorrowedFd<'_>),
    process: &Process,
    watcher: Option<Watcher>,
    agent: Agent<'_>,
) -> Result<(), Error> {
    let failed = |source| Error::Host {
        what: "talk to the init process",
        source,
    };
    let channel = gate::knock(dir).map_err(failed)?.ok_or(Error::NotWaiting)?;
    if let Some(watcher) = watcher {
        watcher.armed()?;
    }
    channel.name_senders().map_err(failed)?;
    channel.send(&Record::new(Kind::Go, 0)).map_err(failed)?;
    gl_sys::stage("runtime: gate opened");
    follow(&channel, init, process, agent)
}

/// Reads what a starting process reports, to its end.
pub(crate) fn follow(
    channel: &Channel,
    (pid, pidfd): (Pid, BorrowedFd<'_>),
    process: &Process,
    agent: Agent<'_>,
) -> Result<(), Error> {
    let Agent {
        listening,
        beside,
        deadline,
    } = agent;
    let failed = |source| Error::Host {
        what: "talk to the init process",
        source,
    };
    let mut executing = false;
    loop {
        // It may be asked for before the program runs.
        let ready = wait_beside_until(&[channel.as_fd()], deadline.end(), beside);
        if !ready.map_err(failed)?.contains(&true) {
            return Err(Error::Late);
        }
        match channel.receive_from().map_err(failed)? {
            // The execve has closed the connection.
            None if executing => {
                gl_sys::stage("runtime: program executed");
                return Ok(());
            }
            None => return Err(Error::Killed),
            Some((record, sender)) => match record.kind {
                Kind::Executing => {
                    executing = true;
                    gl_sys::stage("runtime: program's filter attached");
                }
                Kind::Listener => {
                    // The program may be a child of the first process.
                    let other = sender.filter(|sender| *sender != pid);
                    let other = other.map(|other| pidfd_open(other, PidfdFlags::empty()));
                    let other = other.transpose().map_err(failed)?;
                    let holder = other.as_ref().map_or(pidfd, AsFd::as_fd);
                    pass_listener((pid, holder), record.value, (listening, beside))?;
                    channel
                        .send(&Record::new(Kind::Continue, 0))
                        .map_err(failed)?;
                }
                _ => return Err(Error::from_record(&record, &process.args, None)),
            },
        }
    }
}

/// Takes the listener out of the process and gives it to the agent.
fn pass_listener(
    (pid, pidfd): (Pid, BorrowedFd<'_>),
    number: i64,
    (listening, beside): (Option<&Listening>, &mut dyn Beside),
) -> Result<(), Error> {
    let Some(listening) = listening else {
        return Err(Error::Host {
            what: "take a seccomp listener that nobody asked for",
            source: Errno::PROTO,
        });
    };
    let failed = |source| Error::Listener {
        path: listening.path.clone(),
        source,
    };
    let number =
        i32::try_from(number).map_err(|_err: std::num::TryFromIntError| failed(Errno::BADF))?;
    let foreign: ForeignRawFd = number;
    let listener = rustix::process::pidfd_getfd(pidfd, foreign, PidfdGetfdFlags::empty());
    let Some(listener) = beside.take_listener(&listening.path, listener.map_err(failed)?) else {
        return Ok(());
    };
    let document = listening.document(pid).map_err(failed)?;
    send_listener(&listening.path, &listener, &document).map_err(failed)
}

fn send_listener(path: &Path, listener: &OwnedFd, document: &[u8]) -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let fds = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    let first = rustix::net::sendmsg(
        &socket,
        &[IoSlice::new(document)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    let mut rest = document.get(first..).unwrap_or_default();
    while !rest.is_empty() {
        let sent = rustix::net::send(&socket, rest, SendFlags::NOSIGNAL)?;
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}
