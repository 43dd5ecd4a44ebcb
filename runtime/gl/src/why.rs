//! `gl why`: a report in sentences.

use crate::status::Status;
use std::fs;
use std::path::Path;

use gl_sandbox::{Applied, Denial, Reason, Report};

use crate::cli;
use crate::error::Error;
use crate::output;

/// The JSON Schema of reports.
const SCHEMA: &str = include_str!("../../../docs/report.schema.json");

/// Says why a run ended, what was denied, and what was not in force. Status 0: it ran, and nothing was denied
/// or given up. 1: something was.
pub(crate) fn perform(options: &cli::Why) -> Result<Status, Error> {
    let Some(path) = &options.report else {
        output::text(SCHEMA)?;
        return Ok(Status::SUCCESS);
    };
    let report = read(path)?;
    let mut sentences = vec![end(&report)];
    sentences.extend(report.denials.iter().map(denied));
    let lost = report
        .layers
        .iter()
        .filter(|one| one.applied == Applied::No);
    sentences.extend(lost.map(|one| format!("{} was not in force: {}.", one.requested, one.how)));
    let loosened = report.loosened.iter();
    sentences.extend(loosened.map(|one| {
        let (option, to, from) = (&one.option, &one.to, &one.from);
        format!("{option} allowed {to}, where the profile says {from}.")
    }));
    output::text(&format!("{}\n", sentences.join("\n")))?;
    let clean = report.exit.reason == Reason::Exited && sentences.len() == 1;
    Ok(Status::from(u8::from(!clean)))
}

fn read(path: &Path) -> Result<Report, Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let text = fs::read_to_string(path).map_err(failed)?;
    serde_json::from_str(&text).map_err(|err| failed(err.into()))
}

fn end(report: &Report) -> String {
    let exit = &report.exit;
    let command = report.command.join(" ");
    let why = exit
        .error
        .as_deref()
        .unwrap_or("the report does not say why");
    let how = match exit.reason {
        Reason::Exited => format!("ended by itself with status {}", exit.code.unwrap_or(0)),
        Reason::Signal => format!("was ended by signal {}", exit.signal.unwrap_or(0)),
        Reason::Timeout if exit.error.is_some() => {
            format!("was not set up in time: {why}")
        }
        Reason::Timeout => {
            "was ended, as its wall-clock time (execution_timeout) was over".to_owned()
        }
        Reason::CpuTime => {
            "was ended, as its CPU time (limits.cpu_time_limit_seconds) was used up".to_owned()
        }
        Reason::Oom => {
            "was ended by the kernel, as its memory (limits.memory_limit_bytes) was used up"
                .to_owned()
        }
        Reason::Pids => {
            "was ended, as it had more processes than limits.max_processes allows, or failed with as many tasks as \
             limits.max_threads allows"
                .to_owned()
        }
        Reason::Disk => "failed when it had written all it may write (limits.disk_quota_bytes)".to_owned(),
        Reason::Denied => "was ended by a system call that its filter kills for".to_owned(),
        Reason::SetupError => format!("never ran: {}", why),
        Reason::Killed => format!("was ended before it could be told how it went: {}", why),
    };
    format!(
        "{command:?} in {} (tier {}, profile {}) {how}.",
        report.id, report.tier, report.profile
    )
}

fn denied(denial: &Denial) -> String {
    let call = match denial.arguments.is_empty() {
        true => denial.what.clone(),
        false => format!("{}({})", denial.what, denial.arguments.join(", ")),
    };
    let times = match denial.count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    let verb = match denial.answer.as_str() {
        "allowed" => "would have been denied, and was allowed".to_owned(),
        answer => format!("was denied ({answer})"),
    };
    let allow = denial.allow.as_ref().map_or_else(String::new, |line| {
        format!("; this line of a profile would allow it: {line}")
    });
    let by = match denial.process.as_str() {
        "" => String::new(),
        process => format!(" by {process}"),
    };
    format!("{call} {verb} {times}{by} ({}){allow}.", denial.layer)
}
