//! `process`: what is run, as whom and with which limits.

use std::path::Path;

use super::field::{self, join};
use crate::error::invalid;
use crate::oci::LinuxSchedulerPolicy;
use crate::{Error, Problem, oci};

/// Checks the process; `prefix` is the name of the object, empty for a document of its own.
pub(super) fn check(prefix: &str, process: &oci::Process) -> Result<(), Error> {
    let name = |field: &str| join(prefix, field);
    user(&name("user"), process.user())?;
    let args = process.args().as_deref().unwrap_or_default();
    if args.is_empty() {
        return Err(invalid(name("args"), Problem::Empty));
    }
    for (i, arg) in args.iter().enumerate() {
        if arg.contains('\0') {
            field::no_nul(&name(&format!("args[{i}]")), arg)?;
        }
    }
    field::environment(&name("env"), process.env().as_deref().unwrap_or_default())?;
    if process.cwd() == Path::new("") {
        return Err(invalid(name("cwd"), Problem::Missing));
    }
    field::absolute_path(&name("cwd"), process.cwd())?;
    rlimits(
        &name("rlimits"),
        process.rlimits().as_deref().unwrap_or_default(),
    )?;
    if let Some(adjust) = process.oom_score_adj() {
        field::range(name("oomScoreAdj"), adjust, -1000, 1000)?;
    }
    if let Some(priority) = process.io_priority() {
        field::range(name("ioPriority.priority"), priority.priority(), 0, 7)?;
    }
    if let Some(wanted) = process.scheduler() {
        scheduler(&name("scheduler"), wanted)?;
    }
    if let Some(affinity) = process.exec_cpu_affinity() {
        for (which, cpus) in [
            ("initial", affinity.initial()),
            ("final", affinity.cpu_affinity_final()),
        ] {
            if let Some(cpus) = cpus {
                field::cpu_list(&name(&format!("execCPUAffinity.{which}")), cpus)?;
            }
        }
    }
    Ok(())
}

fn user(prefix: &str, user: &oci::User) -> Result<(), Error> {
    field::id(&join(prefix, "uid"), user.uid())?;
    field::id(&join(prefix, "gid"), user.gid())?;
    for (i, gid) in user.additional_gids().iter().flatten().enumerate() {
        field::id(&join(prefix, &format!("additionalGids[{i}]")), *gid)?;
    }
    match user.umask() {
        Some(umask) => field::range(join(prefix, "umask"), umask, 0, 0o777),
        None => Ok(()),
    }
}

/// # Spec
///
/// `config.md`, "POSIX process": a type that stands twice is an error.
fn rlimits(field: &str, rlimits: &[oci::PosixRlimit]) -> Result<(), Error> {
    for (i, limit) in rlimits.iter().enumerate() {
        if let Some(first) = rlimits[..i].iter().position(|l| l.typ() == limit.typ()) {
            return Err(invalid(
                format!("{field}[{i}].type"),
                Problem::Duplicate {
                    seen: limit.typ().to_string(),
                    first: format!("{field}[{first}]"),
                },
            ));
        }
        if limit.soft() > limit.hard() {
            return Err(invalid(
                format!("{field}[{i}].soft"),
                Problem::SoftAboveHard {
                    soft: limit.soft(),
                    hard: limit.hard(),
                },
            ));
        }
    }
    Ok(())
}

/// # Spec
///
/// `config.md`, "Linux Process", `scheduler`; the ranges are those of `sched_setattr(2)`.
fn scheduler(prefix: &str, scheduler: &oci::Scheduler) -> Result<(), Error> {
    let policy = *scheduler.policy();
    let is_realtime = matches!(
        policy,
        LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr
    );
    if let Some(nice) = *scheduler.nice() {
        field::range(join(prefix, "nice"), nice, -20, 19)?;
    }
    match scheduler.priority().filter(|priority| *priority != 0) {
        Some(priority) if is_realtime => {
            field::range(join(prefix, "priority"), priority, 1, 99)?;
        }
        Some(priority) => {
            return Err(contradicts(
                join(prefix, "priority"),
                priority.into(),
                prefix,
                policy,
            ));
        }
        None if is_realtime => field::range(join(prefix, "priority"), 0, 1, 99)?,
        None => {}
    }
    let is_deadline = policy == LinuxSchedulerPolicy::SchedDeadline;
    for (name, value) in [
        ("runtime", *scheduler.runtime()),
        ("deadline", *scheduler.deadline()),
        ("period", *scheduler.period()),
    ] {
        match value.filter(|value| *value != 0) {
            Some(value) if !is_deadline => {
                return Err(contradicts(
                    join(prefix, name),
                    value.into(),
                    prefix,
                    policy,
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn contradicts(field: String, seen: i128, prefix: &str, policy: LinuxSchedulerPolicy) -> Error {
    invalid(
        field,
        Problem::Contradicts {
            seen: seen.to_string(),
            other: format!("{} {policy}", join(prefix, "policy")),
        },
    )
}
