//! A clock of stages: when which part of a command was done, for whoever wants to know where the time goes.
//!
//! The times are kept in memory that a command shares with the processes that it makes, and written to a file at its
//! end: in between nothing is done that could fail, wait or be seen.

use std::io::Write as _;
use std::path::Path;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::time::ClockId;

use crate::check::last_errno;

/// Bytes of a line, whose last is the line's end.
const LINE: usize = 64;
/// The same in words.
const WORDS: usize = LINE / size_of::<u64>();
/// Lines of a command: four times as many as the longest has.
const LINES: usize = 256;
/// Digits of a time, filled up with spaces from the left: a day, in microseconds.
const DIGITS: usize = 11;
/// The beginning of a line that somebody is writing; nobody has one that is zero.
const TAKEN: u64 = u64::from_ne_bytes([b' '; 8]);

/// Where the lines are; 0 where nobody wants to know.
static LINES_AT: AtomicUsize = AtomicUsize::new(0);
/// When this was, in nanoseconds of the monotonic clock, it was 0 microseconds.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Has [`stage`] note the times of this process, and of those that it makes, until [`write_stages`]. The file at `path`
/// is made, or found to be one that can be written to; nothing is written yet, and it is not kept open.
///
/// # Errors
///
/// `EINVAL` for what is no regular file or not the caller's own; `ELOOP` for a link; else what the kernel says.
pub fn time_stages(path: &Path) -> Result<(), Errno> {
    open(path)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, which overlaps nothing and is never removed.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), LINE * LINES, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(last_errno());
    }
    BEGUN.store(now()?, Ordering::Relaxed);
    LINES_AT.store(mapped.expose_provenance(), Ordering::Release);
    Ok(())
}

/// Notes that a stage is done, if somebody wants to know ([`time_stages`]); costs next to nothing if not. No memory is
/// asked for, and no system call made but where the clock needs one, so it may be called between fork and execve; not
/// after a filter is attached, which may end the process for that call. A name has at most 47 bytes: what comes after
/// that is cut off.
pub fn stage(name: &str) {
    if let Some(lines) = lines() {
        // A clock that cannot be read is no reason to fail.
        if let Ok(now) = now() {
            let since = now.saturating_sub(BEGUN.load(Ordering::Relaxed)) / 1000;
            note(lines, &line(format_args!("{since:>DIGITS$} us  {name}")));
        }
    }
}

/// Appends to the file at `path` what was noted: a line with the time that the microseconds count from,
/// `NANOSECONDS ns of CLOCK_MONOTONIC are 0 us`, then a line of 64 bytes for each stage. It is one write, so that those
/// of several commands do not mix. Nothing is written if nothing is noted, and nothing twice.
///
/// # Errors
///
/// As [`time_stages`], and what the kernel says of the write.
pub fn write_stages(path: &Path) -> Result<(), Errno> {
    let Some(lines) = lines() else { return Ok(()) };
    LINES_AT.store(0, Ordering::Release);
    let zero = BEGUN.load(Ordering::Relaxed);
    let mut text = line(format_args!("{zero} ns of CLOCK_MONOTONIC are 0 us")).to_vec();
    for line in lines.chunks_exact(WORDS) {
        let words = line.iter().map(|word| word.load(Ordering::Acquire));
        // One that nobody has used, or whose writer was killed.
        if words.clone().all(|word| word != 0) {
            text.extend(words.flat_map(u64::to_ne_bytes));
        }
    }
    let file = open(path)?;
    let mut rest = &text[..];
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Opens the file to append to it. Looked at first, as a device may do something when it is opened.
fn open(path: &Path) -> Result<rustix::fd::OwnedFd, Errno> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            return Err(Errno::LOOP);
        }
        Ok(stat) => check(&stat)?,
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    check(&rustix::fs::fstat(&file)?)?;
    Ok(file)
}

fn check(stat: &rustix::fs::Stat) -> Result<(), Errno> {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let is_own = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_nlink <= 1;
    match is_file && is_own {
        true => Ok(()),
        false => Err(Errno::INVAL),
    }
}

/// The words of all lines, if somebody wants them.
fn lines() -> Option<&'static [AtomicU64]> {
    let at = LINES_AT.load(Ordering::Acquire);
    if at == 0 {
        return None;
    }
    let place = ptr::with_exposed_provenance::<AtomicU64>(at);
    // SAFETY: a mapping of that size, which stays, is as aligned as a page, and is used as atomic words alone.
    Some(unsafe { slice::from_raw_parts(place, LINES * WORDS) })
}

/// Puts a line into the first free place. Where there is none it is lost.
fn note(lines: &[AtomicU64], line: &[u8; LINE]) {
    for place in lines.chunks_exact(WORDS) {
        let [begin, rest @ ..] = place else { return };
        let taken = begin.compare_exchange(0, TAKEN, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_err() {
            continue;
        }
        let (bytes, _) = line.as_chunks();
        let mut written = bytes.iter().map(|word| u64::from_ne_bytes(*word));
        let first = written.next().unwrap_or(TAKEN);
        for (word, value) in rest.iter().zip(written) {
            word.store(value, Ordering::Relaxed);
        }
        begin.store(first, Ordering::Release);
        return;
    }
}

/// A line with this text, cut off at its length and filled up with spaces.
fn line(text: std::fmt::Arguments<'_>) -> [u8; LINE] {
    let mut line = [b' '; LINE];
    line[LINE - 1] = b'\n';
    let mut place = &mut line[..LINE - 1];
    // What does not fit is cut off.
    match place.write_fmt(text) {
        Ok(()) | Err(_) => {}
    }
    line
}

/// Nanoseconds of the monotonic clock.
fn now() -> Result<u64, Errno> {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).map_err(|_err| Errno::RANGE)?;
    let nanoseconds = u64::try_from(now.tv_nsec).map_err(|_err| Errno::RANGE)?;
    Ok(seconds * 1_000_000_000 + nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[AtomicU64]) -> String {
        let words = lines.iter().map(|word| word.load(Ordering::Relaxed));
        let bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn line_is_filled_up_or_cut_off() {
        for (name, want) in [
            ("short", "short".to_owned()),
            (&"x".repeat(70), "x".repeat(63)),
        ] {
            let line = line(format_args!("{name}"));
            let (text, end) = line.split_at(LINE - 1);
            let text = std::str::from_utf8(text).unwrap();
            assert_eq!((text.trim_end(), end), (want.as_str(), &b"\n"[..]));
        }
    }

    #[test]
    fn stages_take_one_place_each_until_none_is_free() {
        let lines: Vec<AtomicU64> = (0..2 * WORDS).map(|_| AtomicU64::new(0)).collect();
        for name in ["one", "two", "three"] {
            note(&lines, &line(format_args!("{name}")));
        }
        let text = text(&lines);
        let seen: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(seen, ["one", "two"]);
    }

    #[test]
    fn stages_of_many_threads_are_whole() {
        let lines: Vec<AtomicU64> = (0..LINES * WORDS).map(|_| AtomicU64::new(0)).collect();
        let write = &|thread: usize| {
            for number in 0..LINES / 4 {
                note(&lines, &line(format_args!("stage {number} of {thread}")));
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || write(thread));
            }
        });
        let text = text(&lines);
        let mut seen: Vec<_> = text.lines().map(str::trim_end).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), LINES, "{text}");
        assert!(seen.iter().all(|name| name.starts_with("stage ")), "{text}");
    }
}
