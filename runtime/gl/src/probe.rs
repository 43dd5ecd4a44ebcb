//! Probes: single acts that a sandbox must deny, or must let happen, each done for real in a harmless form.
//!
//! `gl probe` does those that it is told and says what came of each, one JSON document a line; [`verify`]
//! starts it in a sandbox and outside. Here is only what is done: what must come of it is said in
//! [`expect`](crate::verify::expect).
//!
//! [`verify`]: crate::verify

#[rustfmt::skip]
mod areas;
mod basics;
mod files;
mod identity;
mod kernel;
mod limits;
mod network;
mod processes;
mod seen;
mod shared;

use crate::status::Status;
use std::ffi::CString;
use std::io::Read as _;

use gl_sys::{Attempt, attempt};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::error::Error;
use crate::output;
use crate::verify::expect::{Otherwise, Wall};

pub(crate) use areas::{AREAS, all};
pub(crate) use processes::TARGET;
pub(crate) use seen::Seen;

/// What was made outside for probes to find, and the limits that they try to pass.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bait {
    /// A process of the caller's.
    pub(crate) target: i32,
    /// The arguments of the host's first process.
    pub(crate) init: String,
    /// A directory that everybody may enter: `secret` and `socket` are in it, and `writable` for all.
    pub(crate) dir: String,
    /// The caller's home directory.
    pub(crate) home: String,
    /// A disk of the host.
    pub(crate) disk: Option<String>,
    /// A port of the host's loopback address that is listened at.
    pub(crate) tcp: u16,
    /// An abstract socket of the host that is listened at.
    pub(crate) abstract_socket: String,
    /// A segment of shared memory that everybody may read.
    pub(crate) segment: Option<i32>,
    /// A message queue, without its slash.
    pub(crate) queue: Option<String>,
    /// The host's name.
    pub(crate) host_name: String,
    /// Bytes of memory that are allowed.
    pub(crate) memory: u64,
    /// Tasks that are allowed.
    pub(crate) threads: u32,
    /// Processes that are allowed.
    pub(crate) processes: u32,
    /// Open files that are allowed.
    pub(crate) files: u32,
    /// Bytes that a file may have.
    pub(crate) file_size: Option<u64>,
    /// Bytes of files that are allowed together.
    pub(crate) disk_quota: Option<u64>,
    /// Seconds of CPU time that are allowed.
    pub(crate) cpu_seconds: u64,
    /// Seconds that a run may take.
    pub(crate) seconds: u64,
}

/// The variable that the caller has and the sandbox must not.
pub(crate) const SECRET_VARIABLE: &str = "GL_VERIFY_SECRET";

/// How a probe is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// In one process with others.
    Others,
    /// In a sandbox of its own: it may end it.
    Alone,
    /// As [`Company::Alone`], and not outside: it would hurt there.
    AloneInside,
}

/// A probe.
#[derive(Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) name: &'static str,
    pub(crate) area: &'static str,
    /// What is done, a verb.
    pub(crate) what: &'static str,
    pub(crate) act: fn(&Bait) -> Seen,
    /// Any of these keeps it from being done.
    pub(crate) walls: &'static [Wall],
    pub(crate) otherwise: Otherwise,
    pub(crate) company: Company,
}

impl Probe {
    /// Must be denied where a wall stands; nothing is said of it elsewhere.
    pub(crate) const fn deny(
        name: &'static str,
        what: &'static str,
        act: fn(&Bait) -> Seen,
        walls: &'static [Wall],
    ) -> Self {
        Self {
            name,
            area: "",
            what,
            act,
            walls,
            otherwise: Otherwise::Open,
            company: Company::Others,
        }
    }

    /// Must work where no wall stands.
    pub(crate) const fn work(
        name: &'static str,
        what: &'static str,
        act: fn(&Bait) -> Seen,
        walls: &'static [Wall],
    ) -> Self {
        Self {
            otherwise: Otherwise::Work,
            ..Self::deny(name, what, act, walls)
        }
    }

    pub(crate) const fn alone(self, company: Company) -> Self {
        Self { company, ..self }
    }
}

/// A line that says what came of a probe.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// A probe begins. If nothing follows, it ended the process.
    Begin(String),
    /// It is over.
    Seen(Seen),
    /// So are all.
    End,
}

/// `gl probe`: does the probes of these names.
pub(crate) fn perform(options: &cli::Probe) -> Result<Status, Error> {
    let bait: Bait = serde_json::from_str(&options.bait).map_err(|err| Error::Usage {
        what: "gl probe".to_owned(),
        problem: err.to_string().into(),
    })?;
    if options.user_namespace {
        enter_user_namespace().map_err(|errno| Error::Seen {
            what: "enter a user namespace".to_owned(),
            source: errno.into(),
        })?;
    }
    for name in &options.names {
        let probe = all().find(|probe| probe.name == name);
        let probe = probe.ok_or_else(|| Error::Usage {
            what: "gl probe".to_owned(),
            problem: format!("there is no probe {name:?}").into(),
        })?;
        say(&Line::Begin(name.clone()))?;
        say(&Line::Seen((probe.act)(&bait)))?;
    }
    say(&Line::End)?;
    Ok(Status::SUCCESS)
}

fn say(line: &Line) -> Result<(), Error> {
    let json = serde_json::to_string(line);
    let json = json.map_err(|err| Error::Output { source: err.into() })?;
    output::text(&format!("{json}\n"))
}

/// What the process that probes look for has made.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Shared {
    /// A segment of System V shared memory.
    pub(crate) segment: Option<i32>,
    /// A message queue.
    pub(crate) queue: Option<String>,
}

/// `gl probe-target`: a process that probes look for, until its standard input ends. What is to be found outlives
/// nobody who is killed: it is removed here.
pub(crate) fn target(options: &cli::ProbeTarget) -> Status {
    let name = options.dir.file_name();
    let name = name.map(|name| name.to_string_lossy().into_owned());
    // As `gl verify` names it: nothing else is removed.
    let Some(name) = name.filter(|name| name.starts_with("gl-")) else {
        return Status::FAILURE;
    };
    let queue = CString::new(name.as_bytes()).ok();
    let queue = queue.filter(|queue| attempt(Attempt::MakeQueue(queue)).is_ok());
    let segment = attempt(Attempt::MakeSegment).ok();
    let shared = Shared {
        segment: segment.and_then(|id| i32::try_from(id).ok()),
        queue: queue.as_ref().map(|_| name),
    };
    // Where only ancestors may trace, everybody may trace this one, which has nothing to hide.
    let any = rustix::process::set_ptracer(rustix::process::PTracer::Any);
    let told = serde_json::to_string(&shared).map(|json| output::text(&format!("{json}\n")));
    let mut rest = Vec::new();
    let waited = std::io::stdin().read_to_end(&mut rest);
    let removed = [
        shared
            .segment
            .map(|id| attempt(Attempt::RemoveSegment(id)).is_ok()),
        queue.map(|queue| attempt(Attempt::RemoveQueue(&queue)).is_ok()),
        Some(std::fs::remove_dir_all(&options.dir).is_ok()),
    ];
    let removed = removed.into_iter().flatten().all(|removed| removed);
    match (any, told, waited) {
        // Kernels without Yama know no tracers.
        (Ok(()) | Err(Errno::INVAL), Ok(Ok(())), Ok(_)) if removed => Status::SUCCESS,
        _ => Status::FAILURE,
    }
}

/// Enters a user namespace and others in it, as its root: what anybody can make to do what root can.
fn enter_user_namespace() -> Result<(), Errno> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let flags = rustix::thread::UnshareFlags::NEWUSER
        | rustix::thread::UnshareFlags::NEWNS
        | rustix::thread::UnshareFlags::NEWIPC
        | rustix::thread::UnshareFlags::NEWNET
        | rustix::thread::UnshareFlags::NEWUTS;
    gl_sys::unshare(flags.bits())?;
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {} 1", uid.as_raw())),
        ("gid_map", format!("0 {} 1", gid.as_raw())),
    ] {
        let written = std::fs::write(format!("/proc/self/{file}"), text);
        written.map_err(|err| seen::errno(&err))?;
    }
    Ok(())
}
