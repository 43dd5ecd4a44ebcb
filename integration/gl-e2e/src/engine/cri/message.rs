//! Answers of CRI in the text form of protocol buffers, as `protoc --decode` writes it: one field a line.

use serde_json::Value;

use crate::command::fail;

/// The process in what CRI adds to a status that is asked for with `verbose`.
#[track_caller]
pub(super) fn pid_in(answer: &str) -> i32 {
    let info = answer
        .rsplit_once("key: \"info\"")
        .map_or("", |(_, info)| info);
    let info: Value = serde_json::from_str(&field(info, "value")).unwrap_or_default();
    let pid = info["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.filter(|pid| *pid > 0)
        .unwrap_or_else(|| fail(&format!("no process: {answer}")))
}

/// Fields that have their default are not in a message.
pub(super) fn or(value: String, default: &str) -> String {
    if value.is_empty() {
        default.to_owned()
    } else {
        value
    }
}

/// The first field of that name in a message in text form; empty if there is none.
pub(super) fn field(message: &str, name: &str) -> String {
    let value = message
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(": "));
    let value = value.unwrap_or_default();
    match value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
    {
        Some(quoted) => unescaped(quoted),
        None => value.to_owned(),
    }
}

/// Text without protoc's escapes: `\n` and others as in C, any other byte as three octal digits.
fn unescaped(quoted: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = quoted.bytes();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' { rest.next() } else { None };
        bytes.push(match escaped {
            None => byte,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(digit @ b'0'..=b'3') => {
                let digits = [
                    digit,
                    rest.next().unwrap_or(b'0'),
                    rest.next().unwrap_or(b'0'),
                ];
                digits
                    .iter()
                    .fold(0, |value, digit| value * 8 + (digit - b'0'))
            }
            Some(other) => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
