//! Runs hooks: `config.md`, "POSIX-platform Hooks".

use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use gl_plan::Hook;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::deadline::Deadline;

/// Why a hook did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// It could not be started.
    #[error("start {field} ({path})")]
    Start {
        /// The config field.
        field: String,
        /// Its program.
        path: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It did not take the container's state, or could not be waited for.
    #[error("run {field} ({path})")]
    Run {
        /// The config field.
        field: String,
        /// Its program.
        path: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It ended with a status other than 0.
    #[error("run {field} ({path}): exit status {status}")]
    Status {
        /// The config field.
        field: String,
        /// Its program.
        path: String,
        /// Its exit status.
        status: i32,
    },
    /// It was killed.
    #[error("run {field} ({path}): signal {signal}")]
    Signal {
        /// The config field.
        field: String,
        /// Its program.
        path: String,
        /// The signal's number.
        signal: i32,
    },
    /// It took too long and was killed with its process group.
    #[error("run {field} ({path}): not done after {seconds} s")]
    Timeout {
        /// The config field.
        field: String,
        /// Its program.
        path: String,
        /// The limit.
        seconds: u64,
    },
    /// The time of the container's set-up was over before, and it was killed with its process group.
    #[error("run {field} ({path}): not done when the time of the set-up was over")]
    Deadline {
        /// The config field.
        field: String,
        /// Its program.
        path: String,
    },
}

/// Runs hooks in order, each with `state` on its standard input, and stops at the first failure, or once
/// `deadline` is over.
///
/// # Errors
///
/// [`HookError`] of the hook that failed.
pub fn run_all(hooks: &[Hook], state: &[u8], deadline: Deadline) -> Result<(), HookError> {
    hooks
        .iter()
        .try_for_each(|hook| run_until(hook, state, deadline))
}

/// Runs one hook, in a process group of its own, and waits for it.
///
/// # Errors
///
/// [`HookError`]. Whatever a hook left running holds nothing up: only the hook itself is waited
/// for, and after its time its whole group is killed.
pub fn run(hook: &Hook, state: &[u8]) -> Result<(), HookError> {
    run_until(hook, state, Deadline::default())
}

fn run_until(hook: &Hook, state: &[u8], deadline: Deadline) -> Result<(), HookError> {
    let (field, path) = (hook.field.clone(), hook.path.display().to_string());
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    command
        .env_clear()
        .envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    // Its words go where ours go; standard output may belong to the container.
    command.process_group(0).stdout(Stdio::null());
    // What the engine left open for us is not for hooks.
    let sealed = gl_sys::cloexec_from(3).map_err(std::io::Error::from);
    let started = sealed
        .and_then(|()| input(state))
        .and_then(|input| command.stdin(input).spawn());
    let mut child = started.map_err(|source| HookError::Start {
        field: field.clone(),
        path: path.clone(),
        source,
    })?;
    let failed = |source| HookError::Run {
        field: field.clone(),
        path: path.clone(),
        source,
    };
    let status = match wait(&mut child, deadline.or_after(hook.timeout)) {
        Ok(Some(status)) => status,
        Ok(None) => {
            kill_group(&mut child).map_err(failed)?;
            if deadline.is_over() {
                return Err(HookError::Deadline { field, path });
            }
            let seconds = hook.timeout.unwrap_or_default().as_secs();
            return Err(HookError::Timeout {
                field,
                path,
                seconds,
            });
        }
        Err(source) => {
            kill_group(&mut child).map_err(&failed)?;
            return Err(failed(source));
        }
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(status), _) => Err(HookError::Status {
            field,
            path,
            status,
        }),
        (None, signal) => Err(HookError::Signal {
            field,
            path,
            signal: signal.unwrap_or(0),
        }),
    }
}

/// The state as a file: a hook need not read it, and a pipe could hold us up past the timeout.
fn input(state: &[u8]) -> std::io::Result<Stdio> {
    let file: OwnedFd = rustix::fs::memfd_create("state", MemfdFlags::CLOEXEC)?;
    let mut rest = state;
    while !rest.is_empty() {
        let len = rustix::io::write(&file, rest)?;
        rest = rest.get(len..).unwrap_or_default();
    }
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(Stdio::from(file))
}

/// Waits for the hook; `None` once its time is over.
fn wait(
    child: &mut Child,
    end: Option<Instant>,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::from(Errno::SRCH))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(0) => return Ok(None),
            Ok(_) => return child.wait().map(Some),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn kill_group(child: &mut Child) -> std::io::Result<()> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        match rustix::process::kill_process_group(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // It may have left its group, and is waited for all the same.
    child.kill()?;
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str, timeout: Option<Duration>) -> Hook {
        Hook {
            field: "hooks.poststop[0]".to_owned(),
            path: "/bin/sh".into(),
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["A=b=c".to_owned()],
            timeout,
        }
    }

    #[test]
    fn hook_sees_state_and_exactly_its_environment() {
        let script = r#"read line; test "$line" = state && test "$A" = b=c && test -z "$HOME""#;
        run(&shell(script, None), b"state\n").unwrap();
    }

    #[test]
    fn failing_hook_is_an_error_with_its_status() {
        let err = run(&shell("exit 7", None), b"").unwrap_err();
        assert_eq!(
            err.to_string(),
            "run hooks.poststop[0] (/bin/sh): exit status 7"
        );
    }

    #[test]
    fn timeout_kills_the_group_and_does_not_wait_for_pipe_holders() {
        let begin = Instant::now();
        let script = "sleep 60 & sleep 60";
        let err = run(&shell(script, Some(Duration::from_millis(1100))), b"").unwrap_err();
        assert_eq!(
            err.to_string(),
            "run hooks.poststop[0] (/bin/sh): not done after 1 s"
        );
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{:?}",
            begin.elapsed()
        );
    }

    #[test]
    fn hook_ends_with_the_time_of_the_setup() {
        let deadline = Deadline::after(Instant::now(), Duration::from_millis(200));
        let hooks = [shell("sleep 60", Some(Duration::from_secs(50)))];
        let err = run_all(&hooks, b"", deadline).unwrap_err();
        assert_eq!(
            err.to_string(),
            "run hooks.poststop[0] (/bin/sh): not done when the time of the set-up was over"
        );
    }

    #[test]
    fn hook_that_does_not_read_its_state_is_fine() {
        run(&shell("exec <&-; exit 0", None), &vec![b'x'; 1 << 20]).unwrap();
    }
}
