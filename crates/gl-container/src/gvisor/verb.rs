//! What is done with a container in gVisor once it is there.

use gl_cgroup::Cgroup;
use gl_launch::{Deadline, Signals, Watcher, keep_descriptors};
use gl_runsc::{ExecOptions, Layer, Reach, Sandbox};
use gl_spec::Status;
use gl_spec::oci::{Process, Spec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::{lacking, refused};
use crate::attach::{self, To};
use crate::container::Container;
use crate::create::encode;
use crate::error::Error;
use crate::exec::{ExecRequest, Outcome};
use crate::record::{LAYERS, RECORD};
use crate::signal::{Reached, Whom};

/// Starts it once it is watched, notes that it was, and runs the hooks that come then.
pub(crate) fn open_gate(
    container: &Container,
    sandbox: &Sandbox,
    spec: &Spec,
    watcher: Option<Watcher>,
) -> Result<(), Error> {
    let init = container.init();
    if !sandbox.started {
        if let Some(watcher) = watcher {
            watcher.armed()?;
        }
        sandbox.start()?;
        let mut record = container.record.clone();
        if let Some(sandbox) = &mut record.gvisor {
            sandbox.started = true;
        }
        container.dir.replace(RECORD, &encode(&record))?;
    }
    match init {
        Ok(init) => container.run_poststart(spec, &init, Deadline::default()),
        // `run` has had runsc start it, and it may have ended by now.
        Err(Error::NotRunning { .. }) if sandbox.started => Ok(()),
        Err(err) => Err(err),
    }
}

/// The table of processes by the ids of the container's own kernel.
pub(crate) fn inner_processes(container: &Container, sandbox: &Sandbox) -> Result<String, Error> {
    match container.status()? {
        Status::Running => Ok(sandbox.ps_table()?),
        Status::Stopped | Status::Creating => Err(Error::NotRunning {
            status: Status::Stopped,
        }),
        status => Err(Error::WrongStatus {
            verb: "list the processes of",
            id: container.record.id.as_str().to_owned(),
            status,
        }),
    }
}

/// What is enforced by whom.
pub(crate) fn layers(container: &Container) -> Result<Option<Vec<Layer>>, Error> {
    let Some(bytes) = container.dir.read(LAYERS)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).ok();
    let layers = text.and_then(|text| serde_json::from_str(&text).ok());
    layers.map(Some).ok_or_else(|| Error::Corrupt {
        path: container.dir.path(LAYERS),
    })
}

/// Signals its first process, or all. SIGKILL ends the sandbox itself, whatever that is doing.
pub(crate) fn kill(
    container: &Container,
    sandbox: &Sandbox,
    number: i32,
    whom: Whom,
) -> Result<Reached, Error> {
    drop(container.init()?);
    if number == 0 {
        return Ok(Reached::Whom);
    }
    let signal = Signal::from_named_raw(number);
    if signal == Some(Signal::KILL) {
        if let Some(record) = &container.record.cgroup {
            Cgroup::open(record)?.kill_all(Signal::KILL)?;
        }
        return Ok(Reached::Whom);
    }
    let status = container.status()?;
    if status == Status::Paused {
        return Err(Error::WrongStatus {
            verb: "signal",
            id: container.record.id.as_str().to_owned(),
            status,
        });
    }
    let Some(signal) = signal else {
        return Err(Error::Signal {
            signal: number,
            source: Errno::INVAL,
        });
    };
    let reach = match whom {
        Whom::Init => Reach::First,
        Whom::All => Reach::All,
    };
    match sandbox.kill(signal, reach) {
        Ok(()) => Ok(Reached::Whom),
        // It may have ended just now.
        Err(err) => container.init().and(Err(err.into())),
    }
}

/// Runs one more process in it.
pub(crate) fn exec(
    container: &Container,
    sandbox: &Sandbox,
    process: &Process,
    request: &ExecRequest,
) -> Result<Outcome, Error> {
    check(request)?;
    // runsc would pass on what is open here.
    keep_descriptors(0).map_err(|_number| Error::NoCgroup)?;
    let (spec, extras) = (container.spec()?, container.extras()?);
    let absolute = |path: &std::path::PathBuf| std::path::absolute(path);
    let console = request.console_socket.as_ref().map(absolute).transpose();
    let console =
        console.map_err(|_err| refused("--console-socket", "it is no path", "name a socket"))?;
    let options = ExecOptions {
        pid_file: request.pid_file.as_deref(),
        console_socket: console.as_deref(),
        detach: request.detach,
    };
    let (mut exec, _warnings) =
        sandbox.exec(process, (&spec, &extras, lacking(&extras)), options)?;
    let signals = Signals::hold().map_err(Error::host("hold signals back"))?;
    let failed = Error::host("run runsc");
    let of_io = |err: std::io::Error| failed(Errno::from_io_error(&err).unwrap_or(Errno::IO));
    gl_launch::own_null().map_err(Error::host("open the null device"))?;
    let child = exec.command.spawn().map_err(of_io)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pidfd = rustix::process::pidfd_open(pid.ok_or(failed(Errno::SRCH))?, PidfdFlags::empty());
    let pidfd = pidfd.map_err(&failed)?;
    let status = attach::wait(&pidfd, (&signals, To::Child), None, &mut ())?.status();
    match (status, exec.failure()) {
        (FAILED, Some(said)) => Err(gl_runsc::Error::Failed {
            verb: "run the process",
            said,
        }
        .into()),
        (0, _) if request.detach => Ok(Outcome::Detached),
        (status, _) => Ok(Outcome::Exited(status)),
    }
}

/// What runsc ends with when it fails itself.
pub(crate) const FAILED: u8 = 128;

fn check(request: &ExecRequest) -> Result<(), Error> {
    if request.preserve_fds > 0 {
        return Err(refused(
            "--preserve-fds",
            "a process in gVisor gets no descriptors but its streams",
            "leave the option and $LISTEN_FDS out",
        ));
    }
    if !request.sub_cgroups.is_empty() {
        return Err(refused(
            "--cgroup",
            "the processes of a sandbox are not the host's to put into cgroups",
            "leave the option out",
        ));
    }
    if request.pidfd_socket.is_some() {
        return Err(refused(
            "--pidfd-socket",
            "the process is none of the host's",
            "use --pid-file, which names the process that waits for it",
        ));
    }
    Ok(())
}
