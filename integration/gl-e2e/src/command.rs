//! Programs run with a time limit, their output captured or followed.
//!
//! Output goes to memory files, not pipes: a daemon that inherits them cannot keep a test waiting.
//! The time limit waits on a pidfd; what outlives it is killed with its process group.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// What a single command may take before it counts as hung; twenty at once on an emulated machine that
/// is busy with other things have taken more than a minute.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What it may take once others have hung: a broken runtime must not cost an hour.
fn shortened(limit: Duration) -> Duration {
    limit.min(Duration::from_secs(match HUNG.load(Ordering::Relaxed) {
        0..3 => u64::MAX,
        3..10 => 10,
        _ => 2,
    }))
}

/// How often commands had to be killed so far.
static HUNG: AtomicU32 = AtomicU32::new(0);

/// Counts a command that had to be killed. Those that ran at the same time count once: what holds them
/// up is the same.
fn count_hung(began: Instant) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| began > last) {
        *last = Some(Instant::now());
        HUNG.fetch_add(1, Ordering::Relaxed);
    }
}

/// How a command ended and what it printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The exit status; the negative signal number if a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output without the trailing newline, of a command that must have succeeded.
    ///
    /// # Panics
    ///
    /// With everything the command printed, if it failed.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.status, 0, "{self}");
        self.stdout.trim_end()
    }

    /// Standard error of a command that must have failed.
    ///
    /// # Panics
    ///
    /// With everything the command printed, if it succeeded.
    #[track_caller]
    pub fn refused(&self) -> &str {
        assert_ne!(self.status, 0, "expected a failure: {self}");
        self.stderr.trim_end()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.status,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}

/// Runs a command to its end and returns what it printed.
///
/// # Panics
///
/// If the program cannot be started, or is still running after [`LIMIT`]; it is killed then.
#[track_caller]
pub fn output(command: Command) -> Output {
    output_of(command, b"", LIMIT)
}

/// Runs a command with bytes as its standard input and an own time limit.
///
/// # Panics
///
/// If the program cannot be started, or is still running after `limit`; it is killed then.
#[track_caller]
pub fn output_of(command: Command, stdin: &[u8], limit: Duration) -> Output {
    match attempt(command, stdin, limit) {
        Ok(output) => output,
        Err(why) => fail(&why),
    }
}

/// Runs a command to clean up after a test, whose verdict it does not change.
pub fn clean_up(command: Command) {
    // What it could not remove shows in the leftovers that the soaks look for.
    drop(attempt(command, b"", LIMIT));
}

fn attempt(mut command: Command, stdin: &[u8], limit: Duration) -> Result<Output, String> {
    let line = describe(&command);
    let (mut out, mut err) = (memory_file(), memory_file());
    let mut input = memory_file();
    input.write_all(stdin).expect("write to a memory file");
    input.rewind().expect("rewind a memory file");
    let mut child = command
        .stdin(input)
        .stdout(duplicate(&out))
        .stderr(duplicate(&err))
        .process_group(0)
        .spawn()
        .map_err(|e| format!("start `{line}`: {e}"))?;
    let (began, limit) = (Instant::now(), shortened(limit));
    let ended = wait_child(&mut child, limit);
    if ended.is_none() {
        count_hung(began);
    }
    let status = ended.unwrap_or_else(|| kill_group(&mut child));
    let output = Output {
        command: line,
        status,
        stdout: contents(&mut out),
        stderr: contents(&mut err),
    };
    match ended {
        Some(_) => Ok(output),
        None => Err(format!("still running after {limit:?}, killed: {output}")),
    }
}

/// A command that runs on while a test reads its standard output line by line.
#[derive(Debug)]
pub struct Follow {
    child: Child,
    line: String,
    seen: Vec<u8>,
    stderr: File,
}

impl Follow {
    /// Starts a command to be followed.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let line = describe(&command);
        let stderr = memory_file();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(duplicate(&stderr))
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| fail(&format!("start `{line}`: {e}")));
        Self {
            child,
            line,
            seen: Vec::new(),
            stderr,
        }
    }

    /// Reads until the output contains `text`; returns all output so far.
    ///
    /// # Panics
    ///
    /// If the output ends first, or does not come within [`LIMIT`].
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let pipe = self.child.stdout.as_mut().expect("stdout was piped");
        let seen = read_until(pipe, &mut self.seen, text);
        if let Err(why) = seen {
            let stderr = contents(&mut self.stderr);
            fail(&format!(
                "`{}`: {why} before {text:?}\n--- stdout\n{}\n--- stderr\n{stderr}",
                self.line,
                String::from_utf8_lossy(&self.seen)
            ));
        }
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Waits for the end of the command by itself and returns its status.
    ///
    /// # Panics
    ///
    /// If it is still running after [`LIMIT`].
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        wait_child(&mut self.child, LIMIT).unwrap_or_else(|| {
            fail(&format!(
                "`{}` still running after {LIMIT:?}, printed {:?}",
                self.line,
                String::from_utf8_lossy(&self.seen)
            ))
        })
    }

    /// The process id of the command.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            kill_group(&mut self.child);
        }
    }
}

/// Reads from `source` until `seen` contains `text`; the error says why it never did.
pub(crate) fn read_until(
    source: &mut (impl Read + AsFd),
    seen: &mut Vec<u8>,
    text: &str,
) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    while !String::from_utf8_lossy(seen).contains(text) {
        if !readable(
            source.as_fd(),
            deadline.saturating_duration_since(Instant::now()),
        ) {
            return Err(format!("nothing more within {LIMIT:?}"));
        }
        let mut chunk = [0; 4096];
        match source.read(&mut chunk) {
            // EIO is how a pty says that its last user is gone.
            Err(e) if e.raw_os_error() != Some(libc::EIO) => return Err(format!("read: {e}")),
            Ok(0) | Err(_) => return Err("end of output".to_owned()),
            Ok(n) => seen.extend(chunk.iter().take(n)),
        }
    }
    Ok(())
}

/// Waits until a descriptor has something to read; false when the time is over.
pub(crate) fn readable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).expect("a time limit is small");
    loop {
        match poll(
            &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)],
            Some(&limit),
        ) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.expect("poll") > 0,
        }
    }
}

/// Waits for a process that need not be a child; false when it lives on after `limit`.
pub fn gone_within(pid: Pid, limit: Duration) -> bool {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => readable(pidfd.as_fd(), limit),
        Err(_) => true,
    }
}

/// Waits until a condition holds that no descriptor can tell of; false when it never does.
pub fn eventually(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 5_000_000,
        };
        // An interrupted pause is only a shorter one.
        poll(&mut [], Some(&pause)).ok();
    }
}

/// Waits for a child and returns its status, or nothing after `limit`.
pub(crate) fn wait_child(child: &mut Child, limit: Duration) -> Option<i32> {
    gone_within(Pid::from_child(child), limit).then(|| {
        let status = child.wait().expect("wait for a child that ended");
        status
            .code()
            .unwrap_or_else(|| -status.signal().unwrap_or(0))
    })
}

fn kill_group(child: &mut Child) -> i32 {
    // The group leader is not waited for yet, so the number cannot belong to anyone else.
    kill_process_group(Pid::from_child(child), Signal::KILL).ok();
    child.wait().map_or(-9, |s| -s.signal().unwrap_or(9))
}

fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn memory_file() -> File {
    File::from(memfd_create(c"gl-e2e", MemfdFlags::CLOEXEC).expect("memfd_create"))
}

fn duplicate(file: &File) -> File {
    file.try_clone().expect("dup of a memory file")
}

fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("seek a memory file");
    file.read_to_end(&mut bytes).expect("read a memory file");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fails the running test.
///
/// # Panics
///
/// Always: that is how a test fails here.
#[track_caller]
#[expect(clippy::panic, reason = "the one place where a test fails by hand")]
pub fn fail(why: &str) -> ! {
    panic!("{why}")
}
