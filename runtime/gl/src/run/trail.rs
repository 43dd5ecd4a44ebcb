//! What a run leaves in the audit log.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use gl_audit::{Durability, Entry, Event, Journal, Log, Sink};
use gl_sandbox::{Reason, Report, Request};
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The word for the journal instead of a file.
const JOURNAL: &str = "journald";

/// The logs of one run.
pub(crate) struct Trail<'a> {
    /// That of the host, and that of the caller.
    targets: Vec<String>,
    /// The directories that these are in: a program that can write to one may have put another in its place.
    dirs: Vec<Option<(u64, u64)>>,
    request: &'a Request,
}

/// Which directory a file is in.
fn dir_of(target: &str) -> Option<(u64, u64)> {
    let dir = Path::new(target).parent()?;
    let found = std::fs::metadata(dir).ok()?;
    Some((found.dev(), found.ino()))
}

impl<'a> Trail<'a> {
    /// The caller's log, if there is one, and the one that the host wants every run in.
    pub(crate) fn new(given: Option<&str>, request: &'a Request) -> Result<Self, Error> {
        let host = gl_container::audit_target().map_err(gl_sandbox::Error::from)?;
        let mut targets: Vec<String> = host.into_iter().collect();
        let given = given.map(Self::target).transpose()?;
        targets.extend(given.filter(|given| !targets.contains(given)));
        let dirs = targets.iter().map(|target| dir_of(target)).collect();
        Ok(Self {
            targets,
            dirs,
            request,
        })
    }

    /// The log by its absolute path: the end may be noted from elsewhere.
    fn target(given: &str) -> Result<String, Error> {
        if given == JOURNAL {
            return Ok(given.to_owned());
        }
        let usage = |problem: String| Error::Usage {
            what: format!("--audit {given}"),
            problem: problem.into(),
        };
        let full = std::path::absolute(given).map_err(|err| usage(err.to_string()))?;
        let full = full.to_str().map(str::to_owned);
        full.ok_or_else(|| usage("it is not UTF-8".to_owned()))
    }

    /// Notes that it starts, before anything is made: a run that cannot be noted is none.
    pub(crate) fn start(&self) -> Result<(), Error> {
        let data = json!({ "command": self.request.command });
        self.append(&[(Event::Start, data)])
    }

    /// Notes what was denied and how it ended.
    pub(crate) fn end(&self, report: &Report) -> Result<(), Error> {
        let mut events: Vec<(Event, Value)> = report
            .denials
            .iter()
            .map(|one| {
                let event = match one.layer.as_str() {
                    "cgroup" | "rlimit" | "mounts" => Event::Limit,
                    _ => Event::Denial,
                };
                let data = json!({
                    "layer": one.layer, "what": one.what, "arguments": one.arguments,
                    "answer": one.answer, "process": one.process, "count": one.count,
                });
                (event, data)
            })
            .collect();
        let exit = &report.exit;
        let event = match exit.reason {
            Reason::Timeout => Event::Timeout,
            Reason::SetupError | Reason::Killed => Event::Error,
            Reason::CpuTime | Reason::Oom | Reason::Pids | Reason::Disk => Event::Limit,
            Reason::Exited | Reason::Signal | Reason::Denied => Event::Exit,
        };
        events.push((event, json!({ "exit": exit, "times": report.times })));
        if !matches!(event, Event::Exit | Event::Error) {
            events.push((Event::Exit, json!({ "status": exit.status })));
        }
        self.append(&events)
    }

    /// All are tried; the first that fails is told.
    fn append(&self, events: &[(Event, Value)]) -> Result<(), Error> {
        let targets = self.targets.iter().zip(&self.dirs);
        let written = targets.map(|(target, dir)| {
            if target != JOURNAL && dir_of(target) != *dir {
                return Err(Error::Replaced {
                    path: target.into(),
                });
            }
            self.append_to(target, events)
        });
        written.fold(Ok(()), Result::and)
    }

    /// Opened anew each time: the process that ends a run has nothing of the one that began it.
    fn append_to(&self, target: &str, events: &[(Event, Value)]) -> Result<(), Error> {
        let mut sink = match target {
            JOURNAL => Sink::Journal(Journal::open()?),
            file => Sink::File(Log::open(Path::new(file), Durability::Kernel)?),
        };
        let profile = &self.request.profile;
        let hash = profile.hash();
        let tier = self.request.root.tier(profile.isolation.value);
        let none = Map::new();
        for (event, data) in events {
            sink.append(&Entry {
                event: *event,
                id: self.request.id.as_str(),
                profile_hash: Some(&hash),
                tier,
                mode: profile.mode.value.as_str(),
                data: data.as_object().unwrap_or(&none),
            })?;
        }
        Ok(())
    }
}
