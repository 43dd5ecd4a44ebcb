//! The tier `basic`: what `gl-basic` does, with the report and the agent of every other tier.

use std::ffi::CString;
use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_basic::{Finished, Host, HostFiles, Intent};
use gl_container::{Beside, Decision};
use rustix::process::Pid;

use crate::error::Error;
use crate::layers;
use crate::report::{Exit, Reason, Times, Usage};
use crate::run::{Reporting, Request, Terminal, Watching};

/// Runs a program in the worker; `dir` is the sandbox's own.
pub(crate) fn run(request: &Request, dir: &Path, watching: &mut Watching) -> Result<(), Error> {
    if let Some(floor) = gl_container::minimum_profile()? {
        return Err(Error::Tier {
            tier: "basic",
            problem: format!("the host's profile {floor} holds for every sandbox").into(),
            remedy: "run in another tier: this one takes one profile",
        });
    }
    let strings = |all: &[String]| -> Vec<CString> {
        // The kernel gave us no argument with a NUL byte, and such variables are refused.
        all.iter()
            .flat_map(|one| CString::new(one.as_bytes()))
            .collect()
    };
    let cwd = request.cwd.as_ref().map(PathBuf::from);
    let cwd = cwd.map_or_else(std::env::current_dir, Ok);
    let wanted = gl_basic::Request {
        args: strings(&request.command),
        // Its temporary directory has another name here.
        env: strings(&request.env)
            .into_iter()
            .filter(|one| !one.as_bytes().starts_with(b"TMPDIR="))
            .collect(),
        cwd: cwd.map_err(Error::io("find", "the working directory"))?,
        name: request.id.as_str().replace(['.', '+'], "_"),
        terminal: match request.terminal {
            Terminal::No => gl_basic::Terminal::Inherit,
            Terminal::Yes => gl_basic::Terminal::Own,
        },
        temp: dir.to_owned(),
    };
    let mut plan = gl_basic::plan(
        &request.profile,
        &Host::detect().with_capacity_for(&request.profile),
        &HostFiles::default(),
        &wanted,
    )?;
    gl_sys::stage("worker: planned");
    keep(&Intent::of(&plan)?, dir)?;
    let decision = Decision {
        profiles: vec![request.profile.clone()],
        steps: plan.steps().to_vec(),
        section: None,
    };
    match request.reporting {
        Reporting::Whole => watching.report.layers = layers::of_basic(&decision),
        Reporting::End => plan.count_failures_only(),
    }
    watching.explain_by(decision);
    if let Some(mark) = watching.landlock_mark() {
        plan.mark_landlock(CString::new(mark).unwrap_or_default());
    }
    if let Some(policy) = plan.filter().cloned() {
        plan.observe();
        watching.judge_by(policy);
    }
    let finished = gl_basic::run(&plan, &mut Along(watching))?;
    ended(watching, &finished);
    match finished.left.into_iter().next() {
        None => Ok(()),
        Some(err) => Err(err.into()),
    }
}

/// What the launcher is about to make, in the sandbox's directory.
const INTENT: &str = "basic.json";

fn keep(intent: &Intent, dir: &Path) -> Result<(), Error> {
    let path = dir.join(INTENT);
    let failed = |err: serde_json::Error| Error::io("write", path.clone())(err.into());
    let json = serde_json::to_vec(intent).map_err(failed)?;
    std::fs::write(&path, json).map_err(Error::io("write", path))
}

/// Takes away what a launcher has left that was killed; `dir` is the sandbox's own. A program of another tier
/// has left nothing of that.
pub(crate) fn clean_up(dir: &Path) -> Result<(), Error> {
    let path = dir.join(INTENT);
    let bytes = match std::fs::read(&path) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
        bytes => bytes.map_err(Error::io("read", &path))?,
    };
    match serde_json::from_slice::<Intent>(&bytes) {
        Ok(intent) => Ok(intent.clean_up()?),
        // It was killed while it wrote this, and so has made nothing.
        Err(_) => Ok(()),
    }
}

fn ended(watching: &mut Watching, finished: &Finished) {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let usage = &finished.usage;
    let own = usage.user.saturating_add(usage.system);
    watching.report.usage = Some(Usage {
        cpu_us: micros(usage.cpu.unwrap_or(own)),
        cpu_user_us: micros(usage.user),
        cpu_system_us: micros(usage.system),
        memory_peak_bytes: usage.memory_peak,
        oom_kills: usage.oom_kills,
        tasks_peak: usage.tasks_peak,
        tasks_refused: usage.tasks_refused,
        ..Usage::default()
    });
    watching.report.times = Times {
        setup_us: micros(finished.times.setup),
        run_us: micros(finished.times.run),
        cleanup_us: micros(finished.times.cleanup),
    };
    let reason = finished.reason.map(|reason| match reason {
        gl_basic::Reason::Timeout => Reason::Timeout,
        gl_basic::Reason::CpuTime => Reason::CpuTime,
        gl_basic::Reason::Pids => Reason::Pids,
        gl_basic::Reason::Oom => Reason::Oom,
        // And whatever is no limit.
        _ => Reason::Signal,
    });
    let met = watching.tell_denials(finished.ended);
    watching.report.exit = Exit::of(finished.ended, reason.or(met));
}

/// The company of a program.
struct Along<'a>(&'a mut Watching);

impl Beside for Along<'_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.0.descriptors()
    }

    fn ready(&mut self, position: usize) {
        self.0.ready(position);
    }
}

impl gl_basic::Companion for Along<'_> {
    fn listener(&mut self, listener: OwnedFd) {
        self.0.listen_to(listener);
    }

    fn started(&mut self, pid: Pid) {
        self.0.program_runs(Ok(pid));
    }

    fn lock(&self) -> Option<BorrowedFd<'_>> {
        self.0.lock()
    }
}
