//! The worker of one peer: a process in a mount namespace of its own that starts programs and
//! takes their time.
//!
//! Every worker's namespace has the same mounts: a root, `/proc`, `/sys`, the cgroup hierarchies
//! without the v2 one of a hybrid host (crun refuses that), `/dev`, a fresh `/run`, and the bench's
//! folder as `/tmp`. Only the root directory differs. So every peer copies as many mounts and walks
//! as many hierarchies as the others. The caller has already unshared the mount namespace.

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, unmount};
use rustix::process::{
    Pid, PidfdFlags, WaitOptions, pidfd_open, pivot_root, set_child_subreaper, waitpid,
};

use crate::error::{Error, chain};
use crate::protocol::{Answer, Request};
use crate::trace::{Process, Step, Tracer};

/// Where the worker's programs write their standard error.
const STDERR: &str = "/run/stderr";
/// What they read, and where they write what nobody reads. Not the null device, which is the host's: runsc gives
/// what it has as a stream to the user that it becomes.
const STDIN: &str = "/run/stdin";
const STDOUT: &str = "/run/stdout";

/// The container's root.
const ROOTFS: &str = "/tmp/rootfs";

/// Below it are the mounts that a host may have many of.
const MOUNTS: &str = "/run/mounts";

/// How long one command may take before it counts as hanging: an emulated machine under strace takes minutes.
const LIMIT: Timespec = Timespec {
    tv_sec: 300,
    tv_nsec: 0,
};

/// How many seconds commands may take that are followed, which takes a hundred times as long on an emulated machine.
const TRACE_LIMIT: &str = "300";

/// Makes the worker's world from the root directory `root` and the bench's folder `work`, then
/// serves requests until standard input ends.
///
/// # Errors
///
/// If the mounts cannot be made or the bench cannot be talked to. A failing request is an answer.
pub(crate) fn serve(root: &Path, work: &Path, name: &str) -> Result<(), Error> {
    enter(root, work, &work.join("roots").join(name))?;
    // Containers that outlive `create` become children of the worker, as of an engine's shim.
    set_child_subreaper(Pid::from_raw(1)).map_err(|source| Error::Mount {
        what: "nothing, but adopt containers",
        source,
    })?;
    let mut out = io::stdout().lock();
    say(&mut out, &Answer::Done)?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|source| file("read", "standard input", source))?;
        let answer = match serde_json::from_str(&line) {
            Ok(request) => handle(request).unwrap_or_else(|err| Answer::Failed(chain(&err))),
            Err(err) => Answer::Failed(err.to_string()),
        };
        say(&mut out, &answer)?;
    }
    Ok(())
}

fn say(out: &mut impl Write, answer: &Answer) -> Result<(), Error> {
    let wrap = |source| file("write", "standard output", source);
    let mut line = serde_json::to_vec(answer).map_err(|err| wrap(err.into()))?;
    line.push(b'\n');
    out.write_all(&line)
        .and_then(|()| out.flush())
        .map_err(wrap)
}

fn file(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Error {
    let path = path.into();
    Error::File {
        action,
        path,
        source,
    }
}

/// Builds the mounts on `new_root` and makes it the root.
fn enter(root: &Path, work: &Path, new_root: &Path) -> Result<(), Error> {
    let step = |what| move |source| Error::Mount { what, source };
    let none = MountFlags::empty();
    mount_bind(root, new_root).map_err(step("the root"))?;
    mount("proc", new_root.join("proc"), "proc", none, None).map_err(step("/proc"))?;
    mount("sysfs", new_root.join("sys"), "sysfs", none, None).map_err(step("/sys"))?;
    mount_bind_recursive("/sys/fs/cgroup", new_root.join("sys/fs/cgroup"))
        .map_err(step("/sys/fs/cgroup"))?;
    let unified = new_root.join("sys/fs/cgroup/unified");
    match unmount(&unified, UnmountFlags::empty()) {
        // What a runtime makes there, as it knows the name, is not to stay on the host.
        Ok(()) => mount("tmpfs", &unified, "tmpfs", none, None).map_err(step("no hierarchy"))?,
        Err(Errno::NOENT | Errno::INVAL) => {}
        Err(source) => return Err(step("no hybrid hierarchy")(source)),
    }
    mount_bind_recursive("/dev", new_root.join("dev")).map_err(step("/dev"))?;
    mount("tmpfs", new_root.join("run"), "tmpfs", none, None).map_err(step("/run"))?;
    mount_bind(work, new_root.join("tmp")).map_err(step("/tmp"))?;
    std::env::set_current_dir(new_root).map_err(|source| file("enter", new_root, source))?;
    pivot_root(".", ".").map_err(step("the new root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(step("without the old root"))?;
    std::env::set_current_dir("/tmp").map_err(|source| file("enter", "/tmp", source))
}

fn handle(request: Request) -> Result<Answer, Error> {
    match request {
        Request::Time { commands } => time(&commands).map(Answer::Nanos),
        Request::Output { command } => output(&command).map(Answer::Text),
        Request::Trace { steps } => trace(&steps).map(Answer::Processes),
        Request::Mounts { count } => mounts(count).map(|()| Answer::Done),
        Request::Reap { pid_file } => reap(&pid_file).map(|()| Answer::Done),
    }
}

/// Starts all commands, waits for all, and returns the nanoseconds in between.
fn time(commands: &[Vec<String>]) -> Result<u64, Error> {
    // Everything that costs time on the bench's side happens before the clock starts.
    let mut prepared = Vec::with_capacity(commands.len());
    for command in commands {
        let mut process = prepare(command)?;
        process.stdout(make(STDOUT)?);
        prepared.push((process, command));
    }
    let mut children = Vec::with_capacity(prepared.len());
    let mut statuses = Vec::with_capacity(prepared.len());
    let start = Instant::now();
    for (process, command) in &mut prepared {
        children.push(process.spawn().map_err(|source| Error::Start {
            program: command.join(" "),
            source,
        }));
    }
    for child in children.iter_mut().flatten() {
        statuses.push(wait(child));
    }
    let elapsed = start.elapsed();
    for child in children {
        child?;
    }
    for (status, command) in statuses.into_iter().zip(commands) {
        check(status, command)?;
    }
    // A measurement is far below the 584 years of 64 bits.
    Ok(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}

/// Waits for a command, and kills it if it hangs.
fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let pid = Pid::from_child(child);
    if let Err(errno) = wait_for_end(pid) {
        child.kill()?;
        child.wait()?;
        return Err(errno.into());
    }
    child.wait()
}

/// Waits until a process has ended; `ETIME` if it takes too long.
fn wait_for_end(pid: Pid) -> Result<(), Errno> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&LIMIT)) {
            Ok(0) => return Err(Errno::TIME),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Runs one command for what it prints.
fn output(command: &[String]) -> Result<String, Error> {
    let start = |source| Error::Start {
        program: command.join(" "),
        source,
    };
    let mut process = prepare(command)?;
    let mut child = process.stdout(Stdio::piped()).spawn().map_err(start)?;
    // What is asked for here fits the pipe, so the command can end before anybody reads.
    check(wait(&mut child), command)?;
    let output = child.wait_with_output().map_err(start)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the commands one after another, and follows all that they start.
fn trace(steps: &[Step]) -> Result<Vec<Process>, Error> {
    let start = |program: &str| {
        let program = program.to_owned();
        move |source| Error::Start { program, source }
    };
    let mut watchdog = Command::new("sleep");
    let mut watchdog = watchdog.arg(TRACE_LIMIT).spawn().map_err(start("sleep"))?;
    let traced = follow(steps, &watchdog);
    // It may have ended, and been waited for; what is measured does not depend on it.
    drop(watchdog.kill().and_then(|()| watchdog.wait()));
    traced
}

fn follow(steps: &[Step], watchdog: &Child) -> Result<Vec<Process>, Error> {
    let mut tracer = Tracer::new(ROOTFS, watchdog)?;
    for step in steps {
        let mut command = vec!["/proc/self/exe".to_owned(), "traced".to_owned()];
        command.extend_from_slice(&step.command);
        let mut process = prepare(&command)?;
        let child = process.stdout(make(STDOUT)?).spawn();
        // The tracer waits for it.
        let child = child.map_err(|source| Error::Start {
            program: step.command.join(" "),
            source,
        })?;
        let failed = tracer.follow(&child, step.until).and_then(|failed| {
            let text = fs::read_to_string(STDERR).unwrap_or_default();
            failed.map_or(Ok(()), |status| Err(failure(&step.command, status, &text)))
        });
        if let Err(err) = failed {
            tracer.kill();
            return Err(err);
        }
    }
    Ok(tracer.into_processes())
}

fn prepare(command: &[String]) -> Result<Command, Error> {
    let (program, arguments) = command.split_first().ok_or_else(|| Error::Usage {
        reason: "a request with an empty command".to_owned(),
    })?;
    let mut process = Command::new(program);
    process.args(arguments).stdin(make(STDIN)?);
    process.stderr(make(STDERR)?);
    Ok(process)
}

/// An empty file, to read and to write.
fn make(path: &'static str) -> Result<File, Error> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    options
        .open(path)
        .map_err(|source| file("make", path, source))
}

fn check(status: io::Result<ExitStatus>, command: &[String]) -> Result<(), Error> {
    let status = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(err) => err.to_string(),
    };
    let text = fs::read_to_string(STDERR).unwrap_or_default();
    Err(failure(command, status, &text))
}

fn failure(command: &[String], status: String, stderr: &str) -> Error {
    Error::Failed {
        command: command.join(" "),
        status,
        stderr: stderr.trim().lines().last().unwrap_or_default().to_owned(),
    }
}

/// Makes so many mounts below one of their own, and takes away those that were there before.
fn mounts(count: usize) -> Result<(), Error> {
    let step = |what| move |source| Error::Mount { what, source };
    fs::create_dir_all(MOUNTS).map_err(|source| file("make", MOUNTS, source))?;
    match unmount(MOUNTS, UnmountFlags::DETACH) {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(source) => return Err(step("fewer")(source)),
    }
    if count == 0 {
        return Ok(());
    }
    // They go with this one.
    mount("tmpfs", MOUNTS, "tmpfs", MountFlags::empty(), None)
        .map_err(step("the place of many"))?;
    for number in 1..count {
        let target = format!("{MOUNTS}/{number}");
        fs::create_dir(&target).map_err(|source| file("make", &target, source))?;
        mount_bind("/tmp/files", &target).map_err(step("one of many"))?;
    }
    Ok(())
}

/// Waits for a container's first process, which `create` left to the worker.
fn reap(pid_file: &str) -> Result<(), Error> {
    let text = fs::read_to_string(pid_file).map_err(|source| file("read", pid_file, source))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Err(Error::Output {
            tool: "the pid file",
            output: text,
        });
    };
    let gone = wait_for_end(pid).and_then(|()| waitpid(Some(pid), WaitOptions::empty()));
    gone.map(drop)
        .map_err(|source| file("wait for the process of", pid_file, source.into()))
}
