//! Limits, each passed by a little.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc;
use std::thread;

use gl_sys::{Life, new_process};
use rustix::event::{Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::time::{ClockId, clock_gettime};

use super::files::temp;
use super::seen::errno;
use super::{Bait, Seen};

/// How far a count is passed.
const BEYOND: u32 = 8;
/// How long whoever counts from outside has to notice.
const NOTICED: i64 = 3;
const CHUNK: usize = 4 << 20;

/// Says how far it came.
fn counted(what: &str, made: u32, allowed: u32, stopped: Option<Errno>) -> Seen {
    let seen = Seen::of(stopped.map_or(Ok(()), Err));
    let how = match seen.how() {
        "" => format!("{made} {what}, {allowed} allowed"),
        how => format!("{how} after {made} {what}, {allowed} allowed"),
    };
    Seen::when(made > allowed, how)
}

/// More tasks than the limit, as threads.
pub(super) fn threads(bait: &Bait) -> Seen {
    // The first is this one.
    let mut made = 1;
    let mut stopped = None;
    let mut running = Vec::new();
    while made < bait.threads.saturating_add(BEYOND) {
        let (end, wait) = mpsc::channel::<()>();
        let thread = thread::Builder::new().stack_size(64 << 10);
        // It ends when its channel does.
        match thread.spawn(move || wait.recv().is_ok()) {
            Ok(handle) => running.push((end, handle)),
            Err(err) => {
                stopped = Some(errno(&err));
                break;
            }
        }
        made += 1;
    }
    if stopped.is_none() {
        hold();
    }
    for (end, handle) in running {
        drop(end);
        if handle.join().is_err() {
            return Seen::Unable("a thread panicked".to_owned());
        }
    }
    counted("tasks", made, bait.threads, stopped)
}

/// More processes than both limits.
pub(super) fn processes(bait: &Bait) -> Seen {
    let mut made: u32 = 1;
    let mut stopped = None;
    let mut running = Vec::new();
    let allowed = bait.processes.max(bait.threads);
    while made < allowed.saturating_add(BEYOND) {
        match new_process(0, Life::Waits) {
            Ok(pid) => running.push(pid),
            Err(errno) => {
                stopped = Some(errno);
                break;
            }
        }
        made += 1;
    }
    // Whoever counts from outside ends this process.
    if made > bait.processes {
        hold();
    }
    if let Err(errno) = end_all(&running) {
        return Seen::Unable(format!("end a process: {errno}"));
    }
    counted("processes", made, bait.processes, stopped)
}

fn end_all(running: &[Pid]) -> Result<(), Errno> {
    for pid in running {
        rustix::process::kill_process(*pid, Signal::KILL)?;
        rustix::process::waitpid(Some(*pid), WaitOptions::empty())?;
    }
    Ok(())
}

fn hold() {
    let time = Timespec {
        tv_sec: NOTICED,
        tv_nsec: 0,
    };
    // Sooner is no harm: then nobody notices.
    poll(&mut [], Some(&time)).unwrap_or_default();
}

/// More memory than the limit, written to.
pub(super) fn memory(bait: &Bait) -> Seen {
    let wanted = bait.memory.saturating_add(64 << 20);
    if available().is_some_and(|available| available < wanted.saturating_mul(2)) {
        return Seen::Unable("this host is short of memory".to_owned());
    }
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    let mut taken = 0_u64;
    while taken < wanted {
        let mut chunk = Vec::new();
        if chunk.try_reserve_exact(CHUNK).is_err() {
            return Seen::Denied(format!("ENOMEM after {} MiB", taken >> 20));
        }
        while chunk.len() < CHUNK {
            chunk.extend_from_slice(&[1; 4096]);
        }
        chunks.push(chunk);
        taken = taken.saturating_add(CHUNK as u64);
    }
    let sum: u64 = chunks.iter().map(|chunk| u64::from(chunk[CHUNK / 2])).sum();
    Seen::Worked(format!("{} MiB in {sum} pieces", taken >> 20))
}

fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// More open files than the limit.
pub(super) fn open_files(bait: &Bait) -> Seen {
    let mut open = Vec::new();
    let mut stopped = None;
    // Three streams are open already.
    while open.len() < bait.files.saturating_add(BEYOND) as usize {
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(err) => {
                stopped = Some(errno(&err));
                break;
            }
        }
    }
    let made = u32::try_from(open.len()).unwrap_or(u32::MAX);
    drop(open);
    counted("open files", made, bait.files, stopped)
}

/// A file longer than the limit: one byte far out.
pub(super) fn file_size(bait: &Bait) -> Seen {
    let Some(limit) = bait.file_size else {
        return Seen::Unable("the profile sets none".to_owned());
    };
    let path = temp("size");
    let file = match File::create_new(&path) {
        Ok(file) => file,
        Err(err) => return Seen::Unable(format!("make a file: {err}")),
    };
    let written = file.write_at(b"x", limit);
    match fs::remove_file(&path) {
        Ok(()) => Seen::io(written),
        Err(err) => Seen::Unable(format!("remove a file: {err}")),
    }
}

/// Largest quota that is tried.
const SOME_DISK: u64 = 1 << 30;

/// More in files together than the limit.
pub(super) fn disk(bait: &Bait) -> Seen {
    let Some(limit) = bait.disk_quota else {
        return Seen::Unable("the profile sets none".to_owned());
    };
    if limit > SOME_DISK {
        return Seen::Unable(format!("it is {} MiB; try --disk 16MiB", limit >> 20));
    }
    let path = temp("disk");
    let written = fill(&path, limit.saturating_add(CHUNK as u64));
    match fs::remove_file(&path) {
        Ok(()) => Seen::io(written),
        Err(err) => Seen::Unable(format!("remove a file: {err}")),
    }
}

fn fill(path: &str, bytes: u64) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    let chunk = vec![1; 1 << 20];
    for _ in 0..bytes >> 20 {
        file.write_all(&chunk)?;
    }
    Ok(())
}

/// Limits up to this are tried.
const SHORT: u64 = 5;

fn too_long(seconds: u64, option: &str) -> Seen {
    Seen::Unable(format!("it is {seconds} s; try {option} 2s"))
}

/// More CPU time than the limit.
pub(super) fn cpu_time(bait: &Bait) -> Seen {
    if bait.cpu_seconds > SHORT {
        return too_long(bait.cpu_seconds, "--cpu-time");
    }
    let long = i64::try_from(bait.cpu_seconds).unwrap_or(0) + NOTICED;
    while clock_gettime(ClockId::ProcessCPUTime).tv_sec < long {}
    Seen::Worked(format!("{long} s"))
}

/// More time than the limit.
pub(super) fn time(bait: &Bait) -> Seen {
    if bait.seconds > SHORT {
        return too_long(bait.seconds, "--timeout");
    }
    let long = i64::try_from(bait.seconds).unwrap_or(0) + NOTICED;
    let time = Timespec {
        tv_sec: long,
        tv_nsec: 0,
    };
    match poll(&mut [], Some(&time)) {
        Ok(_) => Seen::Worked(format!("{long} s")),
        Err(errno) => Seen::Unable(format!("wait: {errno}")),
    }
}
