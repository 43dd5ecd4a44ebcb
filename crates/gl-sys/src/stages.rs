//! A clock of stages: when which part of a command was done, for whoever wants to know where the time goes.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::time::ClockId;

use crate::check::last_errno;

/// Bytes of a line, whose last is the line's end.
const LINE: usize = 64;
/// The same in words.
const WORDS: usize = LINE / size_of::<u64>();
/// Lines of a file: more than all commands of a container's life take.
const LINES: usize = 256;
/// Digits of a time, filled up with spaces from the left: hours, in microseconds.
const DIGITS: usize = 11;
/// What follows the zero's nanoseconds in the first line.
const ZERO: &str = " ns of CLOCK_MONOTONIC are 0 us";
/// The beginning of a line that somebody is writing; nobody has one that is zero.
const TAKEN: u64 = u64::from_ne_bytes([b' '; 8]);

/// Where the file is mapped; 0 where nobody wants to know.
static LINES_AT: AtomicUsize = AtomicUsize::new(0);
/// The file's zero, in nanoseconds of the monotonic clock.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Has [`stage`] note the times of this process, and of those that it makes, in the file at `path`. A file that is
/// there already goes on, if it is one of these: so several commands share one zero.
///
/// The file is text: a line `NANOSECONDS ns of CLOCK_MONOTONIC are 0 us`, then a line for each stage that is done, its
/// microseconds since then and its name. All lines have 64 bytes, and there are 256 of them: those that are not used
/// are zero bytes, and stages after the last are lost. The file is written through memory that is mapped, so that a
/// stage costs no system call, and can be noted where none is allowed. Whoever makes the file smaller meanwhile ends
/// the command with `SIGBUS`.
///
/// # Errors
///
/// `EINVAL` for a file that is no such file or not the caller's own; it is left as it is. `ELOOP` for a link. Else
/// what the kernel says.
pub fn time_stages(path: &Path) -> Result<(), Errno> {
    let flags =
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let new = flags | OFlags::CREATE | OFlags::EXCL;
    let file = match rustix::fs::open(path, new, Mode::RUSR | Mode::WUSR) {
        Ok(file) => {
            let mut line = [0; LINE];
            write_line(&mut line, format_args!("{}{ZERO}", now()?));
            rustix::fs::ftruncate(&file, (LINE * LINES) as u64)?;
            // All of it or an error: no file of a disk writes less of one line.
            rustix::io::pwrite(&file, &line, 0)?;
            file
        }
        Err(Errno::EXIST) => rustix::fs::open(path, flags, Mode::empty())?,
        Err(errno) => return Err(errno),
    };
    let stat = rustix::fs::fstat(&file)?;
    let is_own = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && stat.st_nlink == 1
        && u64::try_from(stat.st_size) == Ok((LINE * LINES) as u64);
    if !is_own {
        return Err(Errno::INVAL);
    }
    let mut line = [0; LINE];
    rustix::io::pread(&file, &mut line, 0)?;
    let zero = read_zero(&line).ok_or(Errno::INVAL)?;
    let (protection, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
    let (size, shared) = (LINE * LINES, libc::MAP_SHARED);
    // SAFETY: a new mapping, which overlaps nothing and is never removed.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), size, protection, shared, fd, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(last_errno());
    }
    BEGUN.store(zero, Ordering::Relaxed);
    LINES_AT.store(mapped.expose_provenance(), Ordering::Release);
    Ok(())
}

/// Notes that a stage is done, if somebody wants to know ([`time_stages`]); costs next to nothing if not. No memory is
/// asked for, and no system call made but where the kernel's clock needs one: it may be called between fork and
/// execve. A name is at most 48 bytes long; what comes after that is cut off.
pub fn stage(name: &str) {
    let at = LINES_AT.load(Ordering::Acquire);
    if at != 0 {
        note(at, name);
    }
}

#[cold]
fn note(at: usize, name: &str) {
    // A clock that cannot be read, or a file that is full, is no reason to fail.
    let Ok(now) = now() else { return };
    let since = now.saturating_sub(BEGUN.load(Ordering::Relaxed)) / 1000;
    let mut line = [0; LINE];
    write_line(&mut line, format_args!("{since:>DIGITS$} us  {name}"));
    let place = ptr::with_exposed_provenance::<AtomicU64>(at);
    // SAFETY: a mapping of that size, which stays, is as aligned as a page, and is used as atomic words alone.
    let words = unsafe { slice::from_raw_parts(place, LINES * WORDS) };
    for place in words.chunks_exact(WORDS).skip(1) {
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
fn write_line(line: &mut [u8; LINE], text: std::fmt::Arguments<'_>) {
    line.fill(b' ');
    line[LINE - 1] = b'\n';
    let mut place = &mut line[..LINE - 1];
    // What does not fit is cut off.
    match place.write_fmt(text) {
        Ok(()) | Err(_) => {}
    }
}

fn read_zero(line: &[u8; LINE]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    text.trim_end().strip_suffix(ZERO)?.parse().ok()
}

/// Nanoseconds of the monotonic clock.
fn now() -> Result<u64, Errno> {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).map_err(|_err| Errno::RANGE)?;
    let nanoseconds = u64::try_from(now.tv_nsec).map_err(|_err| Errno::RANGE)?;
    Ok(seconds * 1_000_000_000 + nanoseconds)
}
