//! The worker: makes the sandbox, waits for its program and takes all of it away again.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use gl_cgroup::Driver;
use gl_container::{CreateRequest, Denials as Observing, Init, RunRequest, Tie};
use gl_plan::{Keyring, Pivot};
use gl_profile::{Isolation, Profile};

use super::Request;
use super::watching::{Agent, Watching, micros};
use crate::basic;
use crate::bundle::{self, AGENT};
use crate::denials::Denials;
use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::layers;
use crate::report::Report;
use crate::root::Root;

/// All of it; what came of it.
pub(super) fn work(request: &Request, front: OwnedFd) -> (Report, Option<Error>) {
    let begun = Instant::now();
    let mut watching = Watching::new(request, begun);
    let result = sandbox(request, front, &mut watching);
    let mut report = watching.report;
    if let Some(ended) = watching.ended {
        report.times.cleanup_us = micros(ended, Instant::now());
    }
    if let Err(err) = &result {
        report.exit.error = Some(gl_spec::chain(err));
    }
    (report, result.err())
}

fn sandbox(request: &Request, front: OwnedFd, watching: &mut Watching) -> Result<(), Error> {
    // Opened anew: nothing that the front has open came along.
    let sandboxes = Sandboxes::open()?;
    let dir = sandboxes.make(&request.id)?;
    let result = in_dir(&sandboxes, &dir, request, front, watching);
    let removed = sandboxes.remove(&request.id);
    result.and(removed)
}

fn in_dir(
    sandboxes: &Sandboxes,
    dir: &Path,
    request: &Request,
    front: OwnedFd,
    watching: &mut Watching,
) -> Result<(), Error> {
    if is_basic(request) {
        watching.agent = Some(Agent {
            denials: Denials::default(),
            front: Some(front),
            init: None,
        });
        return basic::run(request, dir, watching);
    }
    watching.agent = Some(Agent {
        denials: Denials::listen(&dir.join(AGENT))?,
        front: Some(front),
        init: None,
    });
    // Until nothing is left of what runs on it.
    let held = match &request.root {
        Root::Image(image) => Some(image.hold()?),
        Root::Host | Root::Directory(_) | Root::Bundle(_) => None,
    };
    let bundle = bundle::write(dir, request, held.as_ref())?;
    let config = bundle.path.join("config.json");
    watching.own = layers::own(&config)?;
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
            profile: None,
            resolved: Some(for_container(request)),
            denials: Observing::Observed,
            tie: Tie::Launcher,
            init: Init::Reaper,
            extra_env: Vec::new(),
        },
        detach: false,
        keep: false,
    };
    gl_container::run_beside(sandboxes.store(), &request.id, &run, watching)?;
    Ok(())
}

fn is_basic(request: &Request) -> bool {
    request.root == Root::Host && request.profile.isolation.value == Isolation::Basic
}

/// The profile without what is in the bundle already.
fn for_container(request: &Request) -> Profile {
    let mut profile = request.profile.clone();
    profile.filesystem.bind_mounts = None;
    if request.root == Root::Host {
        profile.filesystem.temp_root_path = None;
    }
    if profile.isolation.value == Isolation::Gvisor {
        return profile;
    }
    // The first process is none of the program's.
    for count in [
        &mut profile.limits.max_processes.value.0,
        &mut profile.limits.max_threads.value.0,
    ] {
        *count = count.saturating_add(1);
    }
    profile
}
