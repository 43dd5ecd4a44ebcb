//! `delete`: everything that was made for a container goes.

use std::os::fd::AsFd;
use std::path::Path;

use gl_cgroup::{Cgroup, Parents};
use gl_spec::oci::Spec;
use gl_spec::{ContainerId, Status};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::apparmor;
use crate::container::{Container, PATIENCE, read_record};
use crate::error::Error;
use crate::extras;
use crate::gvisor;
use crate::store::{StateDir, Store};

/// Whether a running container is deleted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Only one that is stopped, or not started yet.
    No,
    /// Kill it first. One that does not exist is fine, too.
    Yes,
}

/// What a delete leaves to tell: `poststop` hooks that failed do not hold it up.
pub type HookFailures = Vec<gl_launch::HookError>;

/// Deletes a container: processes, cgroups, state; then its `poststop` hooks run.
///
/// # Errors
///
/// [`Error::Missing`] without force, [`Error::NotStopped`], or what could not be removed: the
/// state stays then, so that it can be tried again.
pub fn delete(store: &Store, id: &ContainerId, force: Force) -> Result<HookFailures, Error> {
    delete_with(store, id, force, None)
}

/// [`delete`], by whoever still has the config.
pub(crate) fn delete_with(
    store: &Store,
    id: &ContainerId,
    force: Force,
    spec: Option<&Spec>,
) -> Result<HookFailures, Error> {
    let dir = match (store.open_locked(id), force) {
        (Err(Error::Missing { .. }), Force::Yes) => return Ok(HookFailures::new()),
        (other, _) => other?,
    };
    match (read_record(&dir, id), force) {
        (Ok(record), _) => delete_loaded(store, &Container::new(dir, record), force, spec),
        (Err(Error::Missing { .. } | Error::Corrupt { .. }), Force::Yes) => {
            remove_unrecorded(store, id, &dir).map(|()| HookFailures::new())
        }
        (Err(err), _) => Err(err),
    }
}

/// Deletes the container that was made of this bundle, also a running one, or what its maker has left that was
/// killed; nothing where there is none, or where the id is that of a container of another bundle.
///
/// # Errors
///
/// As [`delete`].
pub fn delete_of(store: &Store, id: &ContainerId, bundle: &Path) -> Result<HookFailures, Error> {
    let dir = match store.open_locked(id) {
        Err(Error::Missing { .. }) => return Ok(HookFailures::new()),
        other => other?,
    };
    match read_record(&dir, id) {
        // What is seen under the lock stays as it is.
        Ok(record) if record.bundle != bundle => Ok(HookFailures::new()),
        Ok(record) => delete_loaded(store, &Container::new(dir, record), Force::Yes, None),
        Err(Error::Missing { .. } | Error::Corrupt { .. }) => {
            remove_unrecorded(store, id, &dir).map(|()| HookFailures::new())
        }
        Err(err) => Err(err),
    }
}

/// Removes a directory without a usable record: its maker was killed before the cgroup was made.
fn remove_unrecorded(store: &Store, id: &ContainerId, dir: &StateDir) -> Result<(), Error> {
    match extras::read(dir) {
        Ok(extras) => apparmor::unload(&extras.apparmor)?,
        // Killed while it was written, and nothing is loaded before.
        Err(Error::Corrupt { .. }) => {}
        Err(err) => return Err(err),
    }
    gvisor::remove(store, id, None)?;
    store.remove(id, dir)
}

pub(crate) fn delete_loaded(
    store: &Store,
    container: &Container,
    force: Force,
    spec: Option<&Spec>,
) -> Result<HookFailures, Error> {
    let id = &container.record.id;
    match container.status()? {
        Status::Stopped | Status::Created => {}
        _ if force == Force::Yes => {}
        status => {
            return Err(Error::NotStopped {
                id: id.as_str().to_owned(),
                status,
            });
        }
    }
    end_processes(container)?;
    gl_sys::stage("runtime: all processes ended");
    if let Some(record) = &container.record.cgroup {
        Cgroup::open(record)?.remove(Parents::Remove, PATIENCE)?;
    }
    gl_sys::stage("runtime: cgroups removed");
    if let Some(group) = &container.record.rdt {
        group.remove()?;
    }
    if let Some(sandbox) = &container.record.gvisor {
        gvisor::remove(store, id, Some(sandbox))?;
    }
    apparmor::unload(&container.extras()?.apparmor)?;
    // Read before the state goes, run after.
    let hooks = match spec {
        Some(spec) => Ok(gl_plan::plan_hooks(spec).poststop),
        None => container
            .spec()
            .map(|spec| gl_plan::plan_hooks(&spec).poststop),
    };
    let state = container.record.document(Status::Stopped, String::new());
    store.remove(id, &container.dir)?;
    gl_sys::stage("runtime: state removed");
    let input = state.to_hook_json(Status::Stopped);
    let hooks = hooks.unwrap_or_default();
    let failures = hooks
        .iter()
        .filter_map(|hook| gl_launch::run_hook(hook, &input).err());
    Ok(failures.collect())
}

/// Kills what is left, and returns when it is gone.
pub(crate) fn end_processes(container: &Container) -> Result<(), Error> {
    match container.init() {
        Ok(init) => {
            match gl_sys::pidfd_send_signal(init.as_fd(), Signal::KILL.as_raw()) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(source) => {
                    return Err(Error::Signal {
                        signal: Signal::KILL.as_raw(),
                        source,
                    });
                }
            }
            kill_group(container)?;
            wait(init.as_fd())
        }
        // Beside the sandbox there are runsc's other processes.
        Err(Error::NotRunning { .. }) if container.record.gvisor.is_some() => kill_group(container),
        Err(Error::NotRunning { .. }) if container.record.private_pids => {
            // With its pid namespace everything ended; a create that was killed has no init yet.
            match container.record.init {
                Some(_) => Ok(()),
                None => kill_group(container),
            }
        }
        Err(Error::NotRunning { .. }) => kill_group(container),
        Err(err) => Err(err),
    }
}

/// Also wakes what is frozen: there a kill takes no effect (v1).
fn kill_group(container: &Container) -> Result<(), Error> {
    if let Some(record) = &container.record.cgroup {
        let cgroup = Cgroup::open(record)?;
        cgroup.kill_all(Signal::KILL)?;
        cgroup.wait_empty(PATIENCE)?;
    }
    Ok(())
}

fn wait(pidfd: std::os::fd::BorrowedFd<'_>) -> Result<(), Error> {
    let failed = Error::host("wait for the end of the init process");
    let limit = Timespec::try_from(PATIENCE).map_err(|_err| failed(Errno::INVAL))?;
    loop {
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(failed(Errno::TIMEDOUT)),
            Ok(_) => return Ok(()),
            Err(errno) => return Err(failed(errno)),
        }
    }
}
