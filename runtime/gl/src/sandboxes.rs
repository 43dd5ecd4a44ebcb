//! `gl ps`, `gl logs`, `gl kill`, `gl exec`, `gl wait`, `gl rm` and `gl prune`: sandboxes that there are.

use crate::status::Status;
use std::io::Write;
use std::time::{Duration, SystemTime};

use gl_sandbox::{
    Exit, Force, Known, More, Piece, Reason, Sandboxes, State, Stream, Terminal, Waited, Written,
};
use gl_spec::chain;
use serde_json::{Value, json};

use crate::cli::{self, Listing};
use crate::error::Error;
use crate::run::environment;
use crate::{output, run};

/// `gl ps`.
pub(crate) fn ps(options: &cli::Ps) -> Result<Status, Error> {
    let mut all = Sandboxes::open()?.known()?;
    all.retain(|one| options.all || one.state.is_alive());
    match options.format {
        Listing::Json => output::json(&all.iter().map(described).collect::<Vec<_>>())?,
        Listing::Table => output::text(&table(&all))?,
    }
    Ok(Status::SUCCESS)
}

fn described(one: &Known) -> Value {
    let entry = &one.entry;
    let exit = match &one.state {
        State::Ended(report) => Some(&report.exit),
        _ => None,
    };
    json!({
        "id": entry.id, "profile": entry.profile, "tier": entry.tier, "mode": entry.mode,
        "state": one.state.as_str(), "pid": one.pid, "started": entry.started,
        "detached": entry.detached, "command": entry.command, "exit": exit,
    })
}

fn table(all: &[Known]) -> String {
    let head = [
        "ID", "PROFILE", "TIER", "STATE", "PID", "STARTED", "EXIT", "COMMAND",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for one in all {
        let entry = &one.entry;
        let exit = match &one.state {
            State::Ended(report) => exit_words(&report.exit),
            _ => "-".to_owned(),
        };
        // To the second: the rest is in the JSON.
        let started = entry.started.split('.').next().unwrap_or_default();
        let started = started.trim_end_matches('Z').replace('T', " ");
        rows.push(vec![
            entry.id.clone(),
            entry.profile.clone(),
            entry.tier.clone(),
            one.state.as_str().to_owned(),
            one.pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            started,
            exit,
            shortened(&entry.command.join(" ")),
        ]);
    }
    output::columns(&rows)
}

/// The status, and why it is that one unless the program chose it.
fn exit_words(exit: &Exit) -> String {
    let why = match exit.reason {
        Reason::Exited => None,
        Reason::Signal => exit.signal.map(|signal| format!("signal {signal}")),
        Reason::Timeout => Some("timeout".to_owned()),
        Reason::CpuTime => Some("cpu_time".to_owned()),
        Reason::Oom => Some("oom".to_owned()),
        Reason::Pids => Some("pids".to_owned()),
        Reason::Disk => Some("disk".to_owned()),
        Reason::Denied => Some("denied".to_owned()),
        Reason::SetupError => Some("setup_error".to_owned()),
        Reason::Killed => Some("killed".to_owned()),
    };
    match why {
        None => exit.status.to_string(),
        Some(why) => format!("{} ({why})", exit.status),
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match line.char_indices().nth(MOST) {
        None => line,
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
    }
}

/// `gl logs`.
pub(crate) fn logs(options: &cli::Logs) -> Result<Status, Error> {
    let sandboxes = Sandboxes::open()?;
    let id = sandboxes.find(&options.id)?;
    let mut written = sandboxes.written(&id)?;
    let streams: &[Stream] = match (options.stdout, options.stderr) {
        (true, _) => &[Stream::Out],
        (_, true) => &[Stream::Err],
        _ => &[Stream::Out, Stream::Err],
    };
    let mut open = true;
    for stream in streams {
        open &= match options.tail {
            None => copy(&mut written, *stream)?,
            Some(lines) => copy_tail(&mut written, *stream, lines)?,
        };
    }
    let mut waited = Waited::More;
    while options.follow && open && waited == Waited::More {
        waited = written.wait()?;
        for stream in streams {
            open &= copy(&mut written, *stream)?;
        }
    }
    Ok(Status::SUCCESS)
}

/// Copies what is there; false once nobody reads it.
fn copy(written: &mut Written, stream: Stream) -> Result<bool, Error> {
    while let Some(piece) = written.next(stream)? {
        match piece {
            Piece::Lost(bytes) => say_lost(stream, bytes),
            Piece::Bytes(bytes) => {
                if !put(stream, &bytes)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Copies the last lines of what is there.
fn copy_tail(written: &mut Written, stream: Stream, lines: usize) -> Result<bool, Error> {
    let mut all = Vec::new();
    while let Some(piece) = written.next(stream)? {
        match piece {
            // What is before the last lines is not asked for.
            Piece::Lost(_) => all.clear(),
            Piece::Bytes(bytes) => all.extend(bytes),
        }
    }
    put(stream, last_lines(&all, lines))
}

fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = body.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    match lines {
        0 => &[],
        _ => match ends.map(|(at, _)| at).rev().nth(lines - 1) {
            None => text,
            Some(at) => text.get(at + 1..).unwrap_or_default(),
        },
    }
}

fn say_lost(stream: Stream, bytes: u64) {
    let stream = match stream {
        Stream::Out => "standard output",
        Stream::Err => "standard error",
    };
    output::note(&format!(
        "gl: {bytes} bytes of {stream} are not kept any more\n"
    ));
}

/// Writes the program's own bytes, as they are.
fn put(stream: Stream, bytes: &[u8]) -> Result<bool, Error> {
    let written = match stream {
        Stream::Out => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Stream::Err => std::io::stderr().lock().write_all(bytes),
    };
    match written {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Error::Output { source }),
    }
}

/// `gl kill`.
pub(crate) fn kill(options: &cli::Kill) -> Result<Status, Error> {
    let sandboxes = Sandboxes::open()?;
    let id = sandboxes.find(&options.id)?;
    sandboxes.kill(&id, options.signal.number())?;
    Ok(Status::SUCCESS)
}

/// `gl exec`.
pub(crate) fn exec(options: &cli::Exec) -> Status {
    ended(entered(options))
}

fn entered(options: &cli::Exec) -> Result<u8, Error> {
    let id = Sandboxes::open()?.find(&options.id)?;
    let mut env = Vec::new();
    if options.tty {
        env.push(environment::term());
    }
    let env = environment::with_options(env, &[], &options.env)?;
    let more = More {
        command: options.command.clone(),
        env,
        cwd: options.cwd.clone(),
        terminal: match options.tty {
            true => Terminal::Yes,
            false => Terminal::No,
        },
    };
    Ok(gl_sandbox::exec(&id, &more)?)
}

/// `gl wait`.
pub(crate) fn wait(options: &cli::Wait) -> Status {
    let waited = || {
        let sandboxes = Sandboxes::open()?;
        let id = sandboxes.find(&options.id)?;
        Ok(sandboxes.wait(&id)?.exit.status)
    };
    ended(waited())
}

/// The status of a command that ends as a program does.
fn ended(result: Result<u8, Error>) -> Status {
    match result {
        Ok(status) => Status::from(status),
        Err(err) => {
            output::error(&chain(&err), err.hint().as_deref());
            Status::from(run::SETUP)
        }
    }
}

/// `gl rm`: all that can be removed are.
pub(crate) fn rm(options: &cli::Rm) -> Result<Status, Error> {
    let sandboxes = Sandboxes::open()?;
    let force = match options.force {
        true => Force::Yes,
        false => Force::No,
    };
    let mut status = Status::SUCCESS;
    for name in &options.ids {
        let removed = match sandboxes.find(name) {
            Ok(id) => sandboxes.forget(&id, force),
            Err(gl_sandbox::Error::Unknown { .. }) if options.force => Ok(()),
            Err(err) => Err(err),
        };
        if let Err(err) = removed {
            let err = Error::from(err);
            output::error(&chain(&err), err.hint().as_deref());
            status = Status::FAILURE;
        }
    }
    Ok(status)
}

/// `gl prune`: prints the names.
pub(crate) fn prune(options: &cli::Forget) -> Result<Status, Error> {
    let age = options.older_than.unwrap_or(Duration::ZERO);
    let now = SystemTime::now();
    let before = now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let removed = Sandboxes::open()?.prune(before)?;
    let lines: String = removed.iter().map(|id| format!("{id}\n")).collect();
    output::text(&lines)?;
    Ok(Status::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_counted_from_the_end() {
        for (text, lines, want) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 5, "a\nb\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
            ("\n\n", 1, "\n"),
        ] {
            let seen = last_lines(text.as_bytes(), lines);
            assert_eq!(seen, want.as_bytes(), "{text:?} {lines}");
        }
    }

    #[test]
    fn long_commands_are_cut_and_on_one_line() {
        assert_eq!(shortened("sh -c a\nb"), "sh -c a b");
        assert_eq!(shortened(&"é".repeat(41)), format!("{}...", "é".repeat(40)));
    }
}
