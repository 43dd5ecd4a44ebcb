//! What CRIU has written to its log, in short.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

/// This much of a log's end is looked at: an error is among the last lines.
const TAIL: i64 = 64 * 1024;
/// Lines that are shown.
const LINES: usize = 4;

/// The last lines of a log that tell of errors, joined by `; `; of one without such lines, its last line.
/// Nothing if there is no log.
pub fn last_lines(dir: BorrowedFd<'_>, name: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty()).ok()?;
    let mut file = File::from(file);
    // A short one is read whole.
    if file.seek(SeekFrom::End(-TAIL)).is_err() {
        file.rewind().ok()?;
    }
    let mut bytes = Vec::new();
    file.take(TAIL.cast_unsigned())
        .read_to_end(&mut bytes)
        .ok()?;
    errors(&String::from_utf8_lossy(&bytes))
}

fn errors(text: &str) -> Option<String> {
    let lines: Vec<&str> = text
        .lines()
        .map(plain)
        .filter(|line| !line.is_empty())
        .collect();
    let mut errors: Vec<&str> = Vec::new();
    for line in lines.iter().filter(|line| tells(line)) {
        if !errors.contains(line) {
            errors.push(line);
        }
    }
    let shown = match errors.len() {
        0 => lines.last().map(|line| (*line).to_owned()),
        len => Some(errors[len.saturating_sub(LINES)..].join("; ")),
    };
    // One line of ours; whatever the processes' names put there.
    shown.map(|line| {
        line.chars()
            .filter(|c| !c.is_control())
            .take(1000)
            .collect()
    })
}

/// Whether a line is about a failure, and not about what it leads to or what CRIU does without.
fn tells(line: &str) -> bool {
    const NOISE: [&str; 3] = [
        "exited, status=1",
        "RLIMIT_NOFILE",
        "cgroupd: recv req error",
    ];
    line.starts_with("Error (") && !NOISE.iter().any(|noise| line.contains(noise))
}

/// A line without the time and the process id at its beginning: `(00.123456)     12: `.
fn plain(line: &str) -> &str {
    let rest = match line
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(") "))
    {
        Some((time, rest)) if time.bytes().all(|b| b.is_ascii_digit() || b == b'.') => rest.trim(),
        _ => line.trim(),
    };
    match rest.split_once(": ") {
        Some((pid, rest)) if !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_errors_are_shown_without_time_and_process() {
        let log = "(00.000001) Version: 4.1\n\
                   (00.01) Error (criu/a.c:1): first\n(00.02) Error (criu/a.c:2): 2\n\
                   (00.03)    12: Error (criu/b.c:3): Can't open /x: No such file\n\
                   (00.04) Error (criu/a.c:4): 4\n(00.05) Error (criu/a.c:5): Dumping FAILED.\n(00.06) end\n";
        let want = "Error (criu/a.c:2): 2; Error (criu/b.c:3): Can't open /x: No such file; \
                    Error (criu/a.c:4): 4; Error (criu/a.c:5): Dumping FAILED.";
        assert_eq!(errors(log).as_deref(), Some(want));
    }

    #[test]
    fn a_log_without_errors_shows_its_last_line() {
        assert_eq!(errors("(00.1) a\n(00.2) b: c\n").as_deref(), Some("b: c"));
        assert_eq!(errors("\n"), None);
        assert_eq!(errors("(00.2) a\u{1b}[31mb\n").as_deref(), Some("a[31mb"));
    }
}
