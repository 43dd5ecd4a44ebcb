//! The worker: makes the sandbox, waits for its program and takes all of it away again.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use gl_cgroup::{Controller, Driver};
use gl_container::{CreateRequest, Denials as Observing, Init, Owner, RunRequest, Tie};
use gl_plan::{Keyring, Pivot};
use gl_profile::translate::states_amounts;
use gl_profile::{AbsolutePath, Isolation, Profile, Setting};

use super::Told;
use super::watching::{Agent, Watching, micros};
use super::{Reporting, Request};
use crate::basic;
use crate::bundle::{self, AGENT};
use crate::denials::Denials;
use crate::detach::{After, Detach, Detaching};
use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::home::Home;
use crate::layers;
use crate::report::{Exit, Reason, Report};
use crate::root::Root;

/// What came of it.
pub(super) struct Work {
    pub(super) report: Report,
    pub(super) error: Option<Error>,
    /// The directory of a detached sandbox that leaves something. Its lock is held until that is there.
    kept: Option<Home>,
}

impl Work {
    /// Keeps what is to be kept, now that all were told; the exit status.
    pub(super) fn keep(mut self, told: Told) -> u8 {
        let Some(home) = self.kept else {
            return told.status;
        };
        self.report.exit.status = told.status;
        if let Some(problem) = told.problem {
            self.report.exit.error.get_or_insert(problem);
        }
        match home.keep(&self.report) {
            Ok(()) => told.status,
            // Nobody is there who could be told; it reads as one whose worker was killed.
            Err(_) => 125,
        }
    }
}

/// All of it.
pub(super) fn work(request: &Request, front: OwnedFd, tells: Option<OwnedFd>) -> Work {
    gl_sys::stage("worker: begins");
    let begun = Instant::now();
    let mut watching = Watching::new(request, begun);
    let (kept, result) = sandbox(request, (front, tells), &mut watching);
    let mut report = watching.report;
    if let Some(ended) = watching.ended {
        report.times.cleanup_us = micros(ended, Instant::now());
    }
    let error = result.err();
    if let Some(err) = &error {
        report.exit.error = Some(gl_spec::chain(err));
    }
    // The caller is still there to be told why.
    let back = watching.detaching.map_or(Ok(()), Detaching::failed);
    Work {
        report,
        error: error.or(back.err()),
        kept,
    }
}

/// Runs it; also gives the directory of one that leaves something.
fn sandbox(
    request: &Request,
    (front, tells): (OwnedFd, Option<OwnedFd>),
    watching: &mut Watching,
) -> (Option<Home>, Result<(), Error>) {
    // Opened anew: nothing that the front has open came along.
    let made = Sandboxes::open().and_then(|sandboxes| {
        let home = sandboxes.make(&request.id, &watching.entry(request))?;
        Ok((sandboxes, watching.live_in(home)))
    });
    let (sandboxes, dir) = match made {
        Ok(made) => made,
        Err(err) => return (None, Err(err)),
    };
    gl_sys::stage("worker: sandbox entered");
    let result = match tells {
        Some(tells) => watching.detach(tells),
        None => Ok(()),
    };
    let result = result.and_then(|()| in_dir(&sandboxes, &dir, request, front, watching));
    if let Some(logs) = &mut watching.logs {
        logs.drain();
    }
    // One that was ended because its caller was gone is nobody's.
    let ran = watching.ran() && watching.failed.is_none();
    let keeps = request.detach == Detach::Yes(After::Keep) && ran;
    let result = result.and(watching.failed.take().map_or(Ok(()), Err));
    let home = watching.home.take().filter(|_| keeps);
    let removed = match &home {
        Some(home) => home.place().strip(),
        None => sandboxes.remove(&request.id),
    };
    gl_sys::stage("worker: sandbox removed");
    (home, result.and(removed))
}

fn in_dir(
    sandboxes: &Sandboxes,
    dir: &Path,
    request: &Request,
    front: OwnedFd,
    watching: &mut Watching,
) -> Result<(), Error> {
    if is_basic(request) {
        watching.agent = Some(Agent::new(Denials::default(), front, request));
        return basic::run(request, dir, watching);
    }
    let denials = Denials::listen(&dir.join(AGENT))?;
    watching.agent = Some(Agent::new(denials, front, request));
    // Until nothing is left of what runs on it.
    let held = match &request.root {
        Root::Image(image) => Some(image.hold()?),
        Root::Host | Root::Directory(_) | Root::Bundle(_) => None,
    };
    let bundle = bundle::write(dir, request, held.as_ref())?;
    gl_sys::stage("worker: bundle written");
    let config = bundle.path.join("config.json");
    if request.reporting == Reporting::Whole {
        watching.own = layers::own(&config)?;
    }
    let run = RunRequest {
        create: CreateRequest {
            bundle: bundle.path,
            root: bundle.root,
            config: None,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            pivot: Pivot::Pivot,
            keyring: Keyring::New,
            preserve_fds: 0,
            cgroups: Some(Driver::Cgroupfs),
            controllers: controllers(request),
            profile: None,
            resolved: Some(for_container(request)),
            denials: Observing::Observed,
            landlock_mark: watching.landlock_mark().map(str::to_owned),
            tie: Tie::Launcher,
            network: network_owner(request),
            init: Init::Reaper,
            extra_env: Vec::new(),
        },
        detach: false,
        keep: false,
    };
    let ran = gl_container::run_beside(sandboxes.store(), &request.id, &run, watching);
    if let Err(gl_container::Error::SetupTimeout { .. }) = &ran {
        watching.report.exit = Exit::failed(Reason::Timeout);
    }
    ran?;
    Ok(())
}

/// In a view of the host nobody has a capability that could count in the network namespace. gVisor makes its own.
fn network_owner(request: &Request) -> Owner {
    let is_gvisor = request.profile.isolation.value == Isolation::Gvisor;
    match request.root {
        Root::Host if !is_gvisor => Owner::Caller,
        _ => Owner::Container,
    }
}

/// What holds the limits of a profile, denies devices, counts what is told, and stops processes to kill them. A bundle
/// of somebody else's may have other limits as well.
fn controllers(request: &Request) -> Option<Vec<Controller>> {
    if matches!(request.root, Root::Bundle(_)) {
        return None;
    }
    let mut needed = vec![
        Controller::Memory,
        Controller::Pids,
        Controller::Cpuacct,
        Controller::Devices,
        Controller::Freezer,
    ];
    let limits = &request.profile.limits;
    needed.extend(limits.cpu_percent_limit.as_ref().map(|_| Controller::Cpu));
    needed.extend((request.reporting == Reporting::Whole).then_some(Controller::Blkio));
    Some(needed)
}

fn is_basic(request: &Request) -> bool {
    request.root == Root::Host && request.profile.isolation.value == Isolation::Basic
}

/// The profile without what is in the bundle already.
fn for_container(request: &Request) -> Profile {
    let mut profile = request.profile.clone();
    let binds = profile.filesystem.bind_mounts.take();
    let binds = binds.iter().flat_map(|list| &list.items);
    let writable = binds.filter(|one| !one.value.read_only && request.root == Root::Host);
    if request.root == Root::Host {
        profile.filesystem.temp_root_path = None;
    }
    if let (Some(list), Root::Host | Root::Directory(_) | Root::Image(_)) =
        (&mut profile.filesystem.read_write_paths, &request.root)
    {
        // It is empty and the program's own, whatever else may be written.
        let origin = &list.origin;
        list.items
            .extend(AbsolutePath::new("/tmp").map(|value| Setting {
                value,
                origin: origin.clone(),
            }));
        // As is what is shown writable at another place.
        list.items.extend(writable.map(|one| Setting {
            value: one.value.target.clone(),
            origin: one.origin.clone(),
        }));
    }
    if profile.isolation.value == Isolation::Gvisor {
        return profile;
    }
    // As many as the host can have are no more with it.
    let most = match states_amounts(&profile) {
        true => gl_launch::capacity().tasks,
        false => u64::MAX,
    };
    // The first process is none of the program's.
    for count in [
        &mut profile.limits.max_processes.value.0,
        &mut profile.limits.max_threads.value.0,
    ] {
        if u64::from(*count) != most {
            *count = count.saturating_add(1);
        }
    }
    profile
}
