//! A report in a few lines.

use gl_sandbox::{Applied, Reason, Report};

use crate::output::{Tone, tone};

/// How it ended, what was denied and what is not in force.
pub(crate) fn short(report: &Report) -> String {
    let mut out = format!(
        "{} ({}, profile {}): {}; {} ms\n",
        report.id,
        report.tier,
        report.profile,
        tone(good(report), &ended(report)),
        report.times.run_us / 1000,
    );
    if let Some(usage) = &report.usage {
        out.push_str(&format!(
            "  used {} ms of CPU, {} KiB of memory at most\n",
            usage.cpu_us / 1000,
            usage.memory_peak_bytes / 1024,
        ));
    }
    for denial in &report.denials {
        let by = match denial.process.as_str() {
            "" => String::new(),
            process => format!(" to {process}"),
        };
        out.push_str(&format!(
            "  {} {}({}) {} times{by}: {}\n",
            tone(Tone::Bad, "denied"),
            denial.what,
            denial.arguments.join(", "),
            denial.count,
            denial.answer,
        ));
    }
    for layer in report
        .layers
        .iter()
        .filter(|layer| layer.applied == Applied::No)
    {
        out.push_str(&format!(
            "  {} {} ({})\n",
            tone(Tone::Partly, "not in force:"),
            layer.requested,
            layer.how
        ));
    }
    for one in &report.loosened {
        out.push_str(&format!(
            "  {} {} {} (profile: {})\n",
            tone(Tone::Partly, "loosened:"),
            one.option,
            one.to,
            one.from
        ));
    }
    out
}

fn good(report: &Report) -> Tone {
    match (report.exit.reason, report.exit.code) {
        (Reason::Exited, Some(0)) => Tone::Good,
        (Reason::Exited, _) => Tone::Partly,
        _ => Tone::Bad,
    }
}

fn ended(report: &Report) -> String {
    let exit = &report.exit;
    match exit.reason {
        Reason::Exited => format!("exited with {}", exit.code.unwrap_or(0)),
        Reason::Signal => format!("ended by signal {}", exit.signal.unwrap_or(0)),
        Reason::Timeout => "its time was over".to_owned(),
        Reason::CpuTime => "its CPU time was used up".to_owned(),
        Reason::Oom => "its memory was used up".to_owned(),
        Reason::Pids => "it had too many processes or threads".to_owned(),
        Reason::Disk => "its disk space was used up".to_owned(),
        Reason::Denied => "a call that it may not make ended it".to_owned(),
        Reason::SetupError => "it never ran".to_owned(),
        Reason::Killed => "the process that looks after it was killed".to_owned(),
    }
}
