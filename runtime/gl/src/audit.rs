//! `gl audit`.

use crate::status::Status;
use std::fmt::Write as _;

use gl_audit::{Report, Start};

use crate::cli;
use crate::error::Error;
use crate::output;

/// `gl audit verify`.
pub(crate) fn verify(options: &cli::Verify) -> Result<Status, Error> {
    let report = gl_audit::verify(&options.file, options.expect_last)?;
    if options.format.json {
        output::json(&report)?;
    } else {
        let name = options.file.display().to_string();
        output::text(&described(&name, &report))?;
    }
    Ok(match report.fault {
        None => Status::SUCCESS,
        Some(_) => Status::FAILURE,
    })
}

/// One finding a line, `FILE:LINE: …` where it has a place.
fn described(name: &str, report: &Report) -> String {
    let mut text = String::new();
    let mut say = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        writeln!(text, "{line}").unwrap_or_default();
    };
    if let Start::Continues(hash) = report.start {
        say(format_args!(
            "{name}: goes on after a log that ends with {hash}"
        ));
    }
    for torn in &report.torn {
        let (line, bytes) = (torn.line, torn.bytes);
        say(format_args!(
            "{name}:{line}: {bytes} bytes of a line that was never finished"
        ));
    }
    match &report.fault {
        Some(fault) => say(format_args!("{name}:{}: error: {}", fault.line, fault.what)),
        None => say(format_args!(
            "{name}: {} lines, as they were written",
            report.lines
        )),
    }
    if let Some(last) = report.last {
        let what = match report.fault {
            None => "last",
            Some(_) => "last good",
        };
        say(format_args!("{name}: {what} hash {last}"));
    }
    text
}
