//! Probes are run: in sandboxes, as `gl run` makes them for everybody, and outside.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gl_profile::Isolation;
use gl_sandbox::{Layer, Reason, Report};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::stage::{Stage, failed};
use crate::error::Error;
use crate::probe::{Company, Line, Probe, SECRET_VARIABLE, Seen};

/// How long nothing may be heard of a sandbox.
const SILENCE: Duration = Duration::from_secs(60);

/// Seconds that all probes take at most.
const LONG: u64 = 600;

/// What a sandbox is made from.
pub(super) struct Sandbox<'a> {
    pub(super) stage: &'a Stage,
    pub(super) profile: &'a str,
    pub(super) tier: Isolation,
    /// Options of `gl run`, with their values.
    pub(super) options: Vec<(&'static str, String)>,
}

/// What came of probes that were begun, in their order.
type Outcomes = Vec<(&'static str, Seen)>;

impl Sandbox<'_> {
    /// Does these probes inside; what came of each, and what the report of a run says of the layers.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] with what `gl run` says, if no sandbox can be made.
    pub(super) fn inside(&self, probes: &[Probe]) -> Result<(Outcomes, Vec<Layer>), Error> {
        let (mut together, alone): (Vec<Probe>, Vec<Probe>) = probes
            .iter()
            .partition(|probe| probe.company == Company::Others);
        let mut outcomes = Outcomes::new();
        let mut told = None;
        // One that ends the process is the last of its run; the others go on in another.
        while !together.is_empty() {
            let (some, report) = self.once(&together)?;
            told = told.or(report);
            together.drain(..some.len().max(1));
            outcomes.extend(some);
        }
        for probe in alone {
            let (some, report) = self.once(&[probe])?;
            told = told.or(report);
            outcomes.extend(some);
        }
        let told = told.ok_or_else(|| Error::Usage {
            what: "no sandbox can be made".to_owned(),
            problem: "gl run wrote no report".into(),
        })?;
        Ok((outcomes, told.layers))
    }

    /// Does these probes outside.
    ///
    /// # Errors
    ///
    /// As [`Sandbox::outside`].
    pub(super) fn none(&self, probes: &[Probe]) -> Result<Outcomes, Error> {
        let all = probes
            .iter()
            .filter(|probe| probe.company != Company::AloneInside);
        all.map(|probe| Ok((probe.name, self.outside(*probe, Who::Caller)?)))
            .collect()
    }

    fn once(&self, probes: &[Probe]) -> Result<(Outcomes, Option<Report>), Error> {
        let report = self.stage.path("report.json");
        let errors = self.stage.path("errors");
        let mut command = Command::new("/proc/self/exe");
        command.args([
            "run",
            "--allow",
            "--tty",
            "never",
            "--profile",
            self.profile,
        ]);
        for (option, value) in &self.options {
            if !["--timeout", "--cpu-time"].contains(option) {
                command.args([*option, value]);
            }
        }
        // Long enough for the others, and for those of the times as they are.
        for (option, name, seconds) in [
            ("--timeout", "time", self.stage.bait.seconds),
            ("--cpu-time", "cpu_time", self.stage.bait.cpu_seconds),
        ] {
            let seconds = match probes {
                [probe] if probe.name == name => seconds,
                _ => seconds.max(LONG),
            };
            command.args([option, &format!("{seconds}s")]);
        }
        let has_own_root = matches!(self.tier, Isolation::Container | Isolation::Gvisor);
        if has_own_root {
            command.arg("--rootfs").arg(self.stage.path("root"));
        }
        command.arg("--report").arg(&report).arg("--");
        command.arg(self.stage.program(has_own_root));
        self.probe(&mut command, probes)?;
        let stderr = File::create(&errors).map_err(failed("make a file"))?;
        let child = command.stderr(stderr);
        let (mut outcomes, finished) = talk(child.spawn().map_err(failed("start gl run"))?)?;
        let report = fs::read(&report).ok();
        let report: Option<Report> = report.and_then(|json| serde_json::from_slice(&json).ok());
        match (outcomes.last_mut(), finished) {
            (None, _) => {
                let said = fs::read_to_string(&errors).unwrap_or_default();
                let said = said.trim().trim_start_matches("gl: ").to_owned();
                Err(Error::Usage {
                    what: "no sandbox can be made".to_owned(),
                    problem: said.into(),
                })
            }
            (Some((_, seen)), false) => {
                if matches!(seen, Seen::Killed(_)) {
                    *seen = Seen::Killed(ended(report.as_ref()));
                }
                Ok((outcomes, report))
            }
            _ => Ok((outcomes, report)),
        }
    }

    fn probe(&self, command: &mut Command, probes: &[Probe]) -> Result<(), Error> {
        let bait = serde_json::to_string(&self.stage.bait);
        let bait = bait.map_err(|err| Error::Output { source: err.into() })?;
        command.arg("probe").arg(bait);
        command.args(probes.iter().map(|probe| probe.name));
        command
            .env(SECRET_VARIABLE, "of the host")
            .current_dir(self.stage.path("work"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(())
    }

    /// Does a probe outside, as the caller or as the root of a user namespace that the caller makes.
    ///
    /// # Errors
    ///
    /// [`Error::Seen`]: no process could be started.
    pub(super) fn outside(&self, probe: Probe, who: Who) -> Result<Seen, Error> {
        let mut command = Command::new("/proc/self/exe");
        self.probe(&mut command, &[probe])?;
        if who == Who::OwnNamespace {
            command.arg("--user-namespace");
        }
        let child = command.stderr(Stdio::null()).spawn();
        let (outcomes, _) = talk(child.map_err(failed("start a probe"))?)?;
        let seen = outcomes.into_iter().next().map(|(_, seen)| seen);
        Ok(seen.unwrap_or_else(|| Seen::Unable("it could not begin".to_owned())))
    }
}

/// Who does a probe outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Caller,
    OwnNamespace,
}

/// How a run ended that a probe ended.
fn ended(report: Option<&Report>) -> String {
    let Some(report) = report else {
        return "the sandbox ended without a report".to_owned();
    };
    match (report.exit.reason, report.exit.signal, report.exit.code) {
        (Reason::Exited, _, Some(code)) => format!("exit status {code}"),
        (Reason::Signal, Some(signal), _) => format!("signal {signal}"),
        (Reason::Denied, ..) => "SIGSYS".to_owned(),
        (reason, ..) => {
            let word = serde_json::to_value(reason).unwrap_or_default();
            word.as_str().unwrap_or_default().to_owned()
        }
    }
}

/// Reads what a process says of its probes; whether it came to its end.
fn talk(mut child: Child) -> Result<(Outcomes, bool), Error> {
    let mut reading = Reading::default();
    let result = reading.all(&mut child);
    if result.is_err() || reading.silent {
        child.kill().map_err(failed("end a sandbox"))?;
    }
    let status = child.wait().map_err(failed("wait for a sandbox"))?;
    result?;
    let Reading {
        mut outcomes,
        begun,
        silent,
        finished,
        ..
    } = reading;
    if let Some(name) = begun {
        let seen = match silent {
            true => Seen::Unable(format!("no answer within {} s", SILENCE.as_secs())),
            false => Seen::Killed(status.to_string()),
        };
        outcomes.push((name, seen));
    }
    Ok((outcomes, finished))
}

#[derive(Default)]
struct Reading {
    outcomes: Outcomes,
    begun: Option<&'static str>,
    finished: bool,
    silent: bool,
}

impl Reading {
    fn all(&mut self, child: &mut Child) -> Result<(), Error> {
        let Some(mut stdout) = child.stdout.take() else {
            return Ok(());
        };
        let mut text = Vec::new();
        let mut deadline = Instant::now() + SILENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(0),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut polled = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
            if poll(&mut polled, Some(&left)) == Ok(0) {
                self.silent = true;
                return Ok(());
            }
            let mut some = [0; 4096];
            let count = stdout
                .read(&mut some)
                .map_err(failed("read from a sandbox"))?;
            if count == 0 {
                return Ok(());
            }
            deadline = Instant::now() + SILENCE;
            text.extend_from_slice(&some[..count]);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                self.line(&line)?;
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        let line: Line = serde_json::from_slice(line).map_err(|err| Error::Seen {
            what: "read from a sandbox".to_owned(),
            source: err.into(),
        })?;
        match line {
            Line::Begin(name) => {
                self.begun = crate::probe::all()
                    .map(|probe| probe.name)
                    .find(|known| *known == name);
            }
            Line::Seen(seen) => self
                .outcomes
                .extend(self.begun.take().map(|name| (name, seen))),
            Line::End => self.finished = true,
        }
        Ok(())
    }
}
