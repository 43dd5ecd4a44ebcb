//! runsc as a child process: what it prints, what it logs, and an end to its time.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Deserialize;

use crate::error::Error;

/// The search path of runsc's own helpers; nothing of the caller's environment reaches it.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How a run of runsc ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
}

/// runsc with a clean environment and nothing to read; what it writes is lost.
///
/// Its streams are files of their own: where it starts a sandbox it makes them nobody's, and the null device
/// is the host's.
pub(crate) fn command(path: &Path) -> Result<Command, Error> {
    let stream = || {
        let file = rustix::fs::memfd_create(c"runsc", MemfdFlags::CLOEXEC);
        file.map(Stdio::from).map_err(|errno| Error::Failed {
            verb: "make its streams",
            said: errno.to_string(),
        })
    };
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", PATH)
        .stdin(stream()?)
        .stdout(stream()?)
        .stderr(stream()?);
    Ok(command)
}

/// Runs it and takes what it prints; after `limit` it is killed.
pub(crate) fn finish(
    verb: &'static str,
    command: &mut Command,
    limit: Duration,
) -> Result<Done, Error> {
    let failed = |err: std::io::Error| Error::Failed {
        verb,
        said: err.to_string(),
    };
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let ended = ends_within(child.id(), limit);
    if !matches!(ended, Ok(true)) {
        child.kill().map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    match ended {
        Ok(true) => {}
        Ok(false) => {
            let seconds = limit.as_secs();
            return Err(Error::Late { verb, seconds });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    let mut stdout = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        // A helper that it left behind may hold the pipe open: no more than is there by now.
        let pipe = std::os::fd::OwnedFd::from(pipe);
        rustix::io::ioctl_fionbio(&pipe, true).map_err(|errno| failed(errno.into()))?;
        match std::fs::File::from(pipe).read_to_end(&mut stdout) {
            Ok(_) => {}
            Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(failed(err)),
        }
    }
    Ok(Done { status, stdout })
}

fn ends_within(pid: u32, limit: Duration) -> Result<bool, Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pidfd = rustix::process::pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit).or(Err(Errno::INVAL))?;
    loop {
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => {}
            other => return other.map(|ready| ready > 0),
        }
    }
}

/// The signal's number for `runsc kill`.
pub(crate) fn number(signal: Signal) -> String {
    signal.as_raw().to_string()
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// The last failure that runsc wrote to a log; it puts no line ends between them.
pub(crate) fn last_error(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    last_error_in(&text)
}

fn last_error_in(text: &str) -> Option<String> {
    let lines = serde_json::Deserializer::from_str(text).into_iter::<Line>();
    let errors = lines
        .map_while(Result::ok)
        .filter(|line| ["error", "fatal"].contains(&line.level.as_str()));
    errors.last().map(|line| line.msg.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_failure_is_found_without_line_ends() {
        let text = concat!(
            r#"{"msg":"first","level":"error","time":"t"}"#,
            r#"{"msg":"noise","level":"info","time":"t"}"#,
            r#"{"msg":"creating container: no","level":"error","time":"t"}"#,
            "\n",
            r#"{"msg":"more","level":"warning","time":"t"}"#,
        );
        assert_eq!(
            last_error_in(text).as_deref(),
            Some("creating container: no")
        );
        assert_eq!(last_error_in("no json"), None);
    }

    #[test]
    fn program_that_does_not_end_is_killed_after_its_time() {
        let mut command = command(Path::new("/bin/sleep")).unwrap();
        let err = finish("sleep", command.arg("30"), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(err, Error::Late { verb: "sleep", .. }), "{err:?}");
    }

    #[test]
    fn what_is_printed_is_taken() {
        let mut command = command(Path::new("/bin/echo")).unwrap();
        let done = finish("echo", command.arg("hi"), Duration::from_secs(10)).unwrap();
        assert_eq!((done.status.code(), &*done.stdout), (Some(0), &b"hi\n"[..]));
    }
}
