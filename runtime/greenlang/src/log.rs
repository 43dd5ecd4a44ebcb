//! Log lines for engines and people, in the two formats that engines read.
//!
//! An error is logged once, at the end of the program, and never where it occurs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use gl_spec::{Timestamp, Warning, chain};
use serde_json::{Map, Value};

use crate::error::Error;

/// How important a line is. The order is that of importance, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Every decision.
    Debug,
    /// What happens to a container.
    Info,
    /// Something odd that does not stop it.
    Warning,
    /// The end of the command.
    Error,
}

impl Level {
    /// Reads a level; those that this program does not tell apart count as their neighbour.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" | "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warning,
            "error" | "fatal" | "panic" => Self::Error,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`.
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// Reads the name of a format.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "text" | "" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Where log lines go.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    format: Format,
    level: Level,
}

impl Log {
    /// A log on standard error.
    pub(crate) fn to_stderr(format: Format, level: Level) -> Self {
        Self {
            file: None,
            format,
            level,
        }
    }

    /// A log at the end of the file at `path`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::OpenLog`] if it cannot be opened for appending.
    pub(crate) fn to_file(path: &Path, format: Format, level: Level) -> Result<Self, Error> {
        // The standard library opens with O_CLOEXEC.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
            .map_err(|source| Error::OpenLog {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            file: Some(file),
            format,
            level,
        })
    }

    /// Logs one warning of a document.
    fn warning(&self, warning: &Warning) {
        self.line(
            Level::Warning,
            &warning.message,
            &[("field", warning.field.as_str())],
        );
    }

    /// Logs all warnings of a document.
    pub(crate) fn warnings(&self, warnings: &[Warning]) {
        for warning in warnings {
            self.warning(warning);
        }
    }

    /// Logs a failure that did not stop what was asked.
    pub(crate) fn passed_over(&self, err: &dyn std::error::Error) {
        self.line(Level::Warning, &chain(err), &[]);
    }

    /// Logs an error, and repeats it on standard error if the log is elsewhere.
    pub(crate) fn error(&self, message: &str, fields: &[(&str, &str)]) {
        self.line(Level::Error, message, fields);
        if self.file.is_some() {
            to_stderr(&format!("{message}\n"));
        }
    }

    fn line(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        if level < self.level {
            return;
        }
        let time = Timestamp::from(SystemTime::now()).whole_seconds();
        let line = match self.format {
            Format::Text => text_line(time, level, message, fields),
            Format::Json => json_line(time, level, message, fields),
        };
        let Some(mut file) = self.file.as_ref() else {
            to_stderr(&line);
            return;
        };
        // One write, so that lines of several processes do not mix. A full disk must not keep an
        // engine from reading why.
        if file.write_all(line.as_bytes()).is_err() {
            to_stderr(&line);
        }
    }
}

/// Writes to standard error. If nobody reads it there is nobody left to tell.
fn to_stderr(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

fn json_line(time: Timestamp, level: Level, message: &str, fields: &[(&str, &str)]) -> String {
    let mut line = Map::new();
    for (name, value) in fields {
        line.insert((*name).to_owned(), Value::from(*value));
    }
    line.insert("level".to_owned(), Value::from(level.as_str()));
    line.insert("msg".to_owned(), Value::from(message));
    line.insert("time".to_owned(), Value::from(time.to_string()));
    format!("{}\n", Value::Object(line))
}

fn text_line(time: Timestamp, level: Level, message: &str, fields: &[(&str, &str)]) -> String {
    let mut line = format!(
        "time=\"{time}\" level={} msg={}",
        level.as_str(),
        quote(message)
    );
    for (name, value) in fields {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        line.push_str(&quote(value));
    }
    line.push('\n');
    line
}

/// Puts quotes around a text unless it is one plain word.
fn quote(text: &str) -> String {
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._/@^+".contains(c));
    if is_plain {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Timestamp {
        "2024-01-02T03:04:05Z".parse().unwrap()
    }

    #[test]
    fn json_line_has_what_engines_read() {
        assert_eq!(
            json_line(time(), Level::Error, "a \"b\"\n", &[("code", "E_X")]),
            "{\"code\":\"E_X\",\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\",\
             \"time\":\"2024-01-02T03:04:05Z\"}\n"
        );
    }

    #[test]
    fn text_line_quotes_what_is_not_one_word() {
        assert_eq!(
            text_line(
                time(),
                Level::Warning,
                "two \"words\"\u{7}",
                &[("field", "linux.x"), ("hint", "")]
            ),
            "time=\"2024-01-02T03:04:05Z\" level=warning msg=\"two \\\"words\\\"\\u0007\" \
             field=linux.x hint=\n"
        );
    }

    #[test]
    fn levels_are_ordered_and_read_by_every_name() {
        for (word, want) in [
            ("trace", Some(Level::Debug)),
            ("DEBUG", Some(Level::Debug)),
            ("info", Some(Level::Info)),
            ("warn", Some(Level::Warning)),
            ("warning", Some(Level::Warning)),
            ("error", Some(Level::Error)),
            ("panic", Some(Level::Error)),
            ("", None),
            ("loud", None),
        ] {
            assert_eq!(Level::parse(word), want, "{word:?}");
        }
        assert!(Level::Debug < Level::Info && Level::Warning < Level::Error);
    }
}
