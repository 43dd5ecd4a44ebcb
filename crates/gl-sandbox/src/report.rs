//! What a run came to: one JSON document.

use std::time::SystemTime;

use gl_container::Ended;
use gl_spec::{EndReason, Timestamp};
use serde::{Deserialize, Serialize};

use crate::run::{Reporting, Request};

/// The version of the document.
const VERSION: u32 = 1;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The version of this document: 1.
    pub version: u32,
    /// The sandbox.
    pub id: String,
    /// `basic`, `namespace`, `container` or `gvisor`; `unknown` if it never came to a profile.
    pub tier: String,
    /// The image that it ran on.
    pub image: Option<OfImage>,
    /// `enforcing` or `permissive`; `unknown` as the tier.
    pub mode: String,
    /// The profile's name.
    pub profile: String,
    /// SHA-256 of its resolved values, hexadecimal; empty as long as there are none.
    pub profile_hash: String,
    /// The command.
    pub command: Vec<String>,
    /// When it began, RFC 3339.
    pub started: String,
    /// Every line of the profile, and what became of it.
    pub layers: Vec<Layer>,
    /// What options allowed beyond the profile, with `--allow`.
    pub loosened: Vec<Loosening>,
    /// How it ended.
    pub exit: Exit,
    /// How long it took.
    pub times: Times,
    /// What it used: as its cgroup counts it, else CPU time and the largest process of those that were waited for.
    pub usage: Option<Usage>,
    /// What was denied, or in permissive mode would have been.
    pub denials: Vec<Denial>,
    /// Denials of kinds for which there was no room.
    pub denials_not_listed: u64,
    /// What happens unseen, so that its absence above says nothing.
    pub not_observed: Vec<String>,
}

/// The image of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfImage {
    /// As it was named.
    pub reference: String,
    /// The digest of its manifest, or of its config where the archive has no such manifest.
    pub digest: String,
}

/// What a run does not see.
fn not_observed(tier: &str) -> Vec<String> {
    let gvisor = match tier {
        "gvisor" => &NOT_OBSERVED_IN_GVISOR[..],
        _ => &[],
    };
    let all = NOT_OBSERVED.iter().chain(gvisor);
    all.map(|one| (*one).to_owned()).collect()
}

/// What no run of a kernel of its own sees.
const NOT_OBSERVED_IN_GVISOR: [&str; 3] = [
    "system calls that the filter denies: gVisor's kernel keeps it and tells nobody outside, but by tracing every call",
    "processes and threads that gVisor's kernel refuses: a program that ends for that ends by itself",
    "tasks, files and network as gVisor's kernel counts them: usage is that of runsc's processes",
];

impl Report {
    /// What is known before anything is done: that it never ran.
    #[must_use]
    pub fn new(request: &Request) -> Self {
        let profile = &request.profile;
        let tier = request.root.tier(profile.isolation.value);
        Self {
            not_observed: not_observed(tier),
            id: request.id.as_str().to_owned(),
            tier: tier.to_owned(),
            image: request.root.image(),
            mode: profile.mode.value.as_str().to_owned(),
            profile_hash: match request.reporting {
                Reporting::Whole => profile.hash(),
                Reporting::End => String::new(),
            },
            loosened: request.loosened.clone(),
            ..Self::unresolved(&request.command, profile.name.value.as_str())
        }
    }

    /// The same of a command whose profile, or some other option, makes no sense.
    #[must_use]
    pub fn unresolved(command: &[String], profile: &str) -> Self {
        Self {
            version: VERSION,
            id: String::new(),
            tier: "unknown".to_owned(),
            image: None,
            mode: "unknown".to_owned(),
            profile: profile.to_owned(),
            profile_hash: String::new(),
            command: command.to_vec(),
            started: Timestamp::from(SystemTime::now()).to_string(),
            layers: Vec::new(),
            loosened: Vec::new(),
            exit: Exit::failed(Reason::SetupError),
            times: Times::default(),
            usage: None,
            denials: Vec::new(),
            denials_not_listed: 0,
            not_observed: not_observed("unknown"),
        }
    }

    /// With the error that kept it from running.
    #[must_use]
    pub fn failed(mut self, err: &dyn std::error::Error) -> Self {
        self.exit.error = Some(gl_spec::chain(err));
        self
    }
}

/// What no run sees.
const NOT_OBSERVED: [&str; 2] = [
    "calls that fail at a limit of one process (RLIMIT_AS, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_FSIZE where its signal is ignored): the kernel counts none",
    "writes that fail for want of space, where there is some again at the end: the kernel counts none",
];

/// How far a line of a profile is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It is.
    Yes,
    /// What it is about is decided elsewhere.
    Elsewhere,
    /// It is not, and the profile puts up with that.
    No,
}

/// A line of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The facility: `cgroup`, `landlock`, `mounts`, ...
    pub layer: String,
    /// The key of the profile.
    pub requested: String,
    /// Where it was set.
    pub origin: String,
    /// Whether it is in force.
    pub applied: Applied,
    /// The setting, or why there is none.
    pub how: String,
}

/// What an option allows beyond the profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loosening {
    /// The option.
    pub option: String,
    /// What the profile says.
    pub from: String,
    /// What the option says.
    pub to: String,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By itself.
    Exited,
    /// By a signal.
    Signal,
    /// Its wall-clock time was over.
    Timeout,
    /// Its CPU time was used up.
    CpuTime,
    /// Its memory was used up.
    Oom,
    /// It had too many processes, or could make no more tasks and failed.
    Pids,
    /// What it may write was used up, and it failed.
    Disk,
    /// A system call that ends the program.
    Denied,
    /// It never ran.
    SetupError,
    /// The process that looks after it was killed; what it did until then is not known.
    Killed,
}

impl Reason {
    /// The exit status of `gl run` for it, none where it is the command's own.
    #[must_use]
    pub fn status(self) -> Option<u8> {
        match self {
            Self::Exited | Self::Signal => None,
            Self::Denied => Some(120),
            Self::Oom => Some(121),
            Self::Pids => Some(122),
            Self::CpuTime => Some(123),
            Self::Timeout => Some(124),
            Self::SetupError | Self::Killed => Some(125),
            Self::Disk => Some(119),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The exit status of `gl run`.
    pub status: u8,
    /// The command's own status, if it exited.
    pub code: Option<u8>,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
    /// Why.
    pub reason: Reason,
    /// The error that kept it from running.
    pub error: Option<String>,
}

impl Exit {
    /// Without a program that has ended.
    pub(crate) fn failed(reason: Reason) -> Self {
        Self {
            status: reason.status().unwrap_or(125),
            code: None,
            signal: None,
            reason,
            error: None,
        }
    }

    pub(crate) fn of(ended: Ended, reason: Option<Reason>) -> Self {
        let (code, signal, own) = match ended {
            Ended::Exited(code) => (Some(code), None, Reason::Exited),
            Ended::Signalled(signal) => (None, Some(signal), Reason::Signal),
        };
        let reason = reason.unwrap_or(own);
        Self {
            status: reason.status().unwrap_or_else(|| ended.status()),
            code,
            signal,
            reason,
            error: None,
        }
    }
}

impl From<EndReason> for Reason {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Timeout => Self::Timeout,
            EndReason::CpuTime => Self::CpuTime,
            EndReason::Pids => Self::Pids,
            EndReason::Unwatched => Self::Signal,
        }
    }
}

/// Microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Until the program ran.
    pub setup_us: u64,
    /// Until it ended.
    pub run_us: u64,
    /// Until nothing was left of it.
    pub cleanup_us: u64,
}

/// What was used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Of it in user mode.
    pub cpu_user_us: u64,
    /// Of it in the kernel.
    pub cpu_system_us: u64,
    /// Bytes of memory at the end.
    pub memory_bytes: u64,
    /// Bytes of memory at most.
    pub memory_peak_bytes: u64,
    /// Tasks at most, where the kernel counts that.
    pub tasks_peak: Option<u64>,
    /// How often a task could not be made for the limit.
    pub tasks_refused: u64,
    /// How often the memory limit ended a process.
    pub oom_kills: u64,
    /// Bytes read from disks.
    pub disk_read_bytes: u64,
    /// Bytes written to disks.
    pub disk_written_bytes: u64,
}

/// Something that was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// `seccomp` or `landlock`, or `cgroup`, `rlimit` or `mounts` for a limit that was met.
    pub layer: String,
    /// The system call, the right of Landlock (`fs.write_file`), or `memory`, `tasks`, `file size` or `disk`.
    pub what: String,
    /// The arguments by which one call is told from another, `name=value`; nothing of what pointers point to. The
    /// path or address that Landlock keeps.
    pub arguments: Vec<String>,
    /// What it got: an errno, `SIGKILL`, or `allowed` in permissive mode.
    pub answer: String,
    /// The name of the program that made it first; the kernel does not tell that of Landlock.
    pub process: String,
    /// How often; once at least for `disk`.
    pub count: u64,
    /// What would allow it, as a line of a profile.
    pub allow: Option<String>,
    /// The line that denies it, where one does: it wins over every line that allows.
    pub denied_by: Option<String>,
}

#[cfg(test)]
mod tests;
