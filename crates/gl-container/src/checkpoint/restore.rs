//! `restore`: a container made anew from its config, with processes that CRIU brings back from images.
//!
//! Cgroup, state and mounts are ours, as at `create`; CRIU makes the processes in the cgroup, and they run once
//! limits are set and all that the config asks for was seen to be in force.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gl_cgroup::Cgroup;
use gl_criu::{CgroupMode, Criu, Notice, Operation, Options, Session, Surroundings, Version};
use gl_launch::{Streams, Watcher};
use gl_plan::{Kind, Starts, UserNs};
use gl_spec::{ContainerId, StateDocument, Status};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::images::{Dir, Missing, Saved};
use super::stage;
use super::verify::{self, Wanted};
use super::{Accepted, NETWORK, PIDS, empty, explain, number, open_work, refuse_rootless};
use super::{refuse_unsaved, set_config};
use crate::attach::Attached;
use crate::container::{Container, PATIENCE};
use crate::create::{
    Console, CreateRequest, Decided, decide, encode, new_record, open_console, undo,
};
use crate::delete::HookFailures;
use crate::error::Error;
use crate::exec::Outcome;
use crate::extras;
use crate::group;
use crate::pid_file::write_pid_file;
use crate::process;
use crate::record::{CONFIG, Init, Phase, RECORD, SECCOMP};
use crate::run;
use crate::setup;
use crate::socket;
use crate::store::{Store, Warnings};
use crate::watch;

/// What `restore` is asked for.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The container, as for `create`.
    pub create: CreateRequest,
    /// Where the saved processes are.
    pub images: PathBuf,
    /// Where logs go; with the images otherwise.
    pub work: Option<PathBuf>,
    /// What CRIU accepts.
    pub accepted: Accepted,
    /// TCP connections are restored as closed.
    pub tcp_close: bool,
    /// How cgroups are treated.
    pub cgroups: CgroupMode,
    /// The LSM label in place of the saved one, `TYPE:LABEL`.
    pub lsm_profile: Option<String>,
    /// The `SELinux` context of mounts in place of the saved one.
    pub lsm_mount_context: Option<String>,
    /// Return once it runs, instead of when it ends.
    pub detach: bool,
}

/// The name of CRIU's log of a restore.
const LOG: &str = "restore.log";
/// Before it another LSM label could not be given.
const LSM: Version = Version {
    major: 3,
    minor: 16,
    sublevel: 0,
};

/// Brings a container back.
///
/// # Errors
///
/// What kept it from running; nothing is left of it then. [`Error::Weaker`] if it would come back with less
/// around it than its config says.
pub fn restore(
    store: &Store,
    id: &ContainerId,
    request: &RestoreRequest,
) -> Result<(Outcome, Warnings, HookFailures), Error> {
    let begun = Instant::now();
    refuse_rootless()?;
    let foreground = run::Foreground::begin(request.detach)?;
    let attach = !request.detach && request.create.console_socket.is_none();
    let (console, terminal) = match attach {
        true => {
            let (theirs, ours) = Attached::pair()?;
            (Console::Here(theirs), Some(ours))
        }
        false => (Console::AsRequested, None),
    };
    let mut decided = decide(store, id, &request.create, Starts::AtOnce)?;
    decided.drop_ahead();
    refuse_unsaved(&decided.spec, &decided.extras)?;
    let terminal = terminal.filter(|_| decided.plan.process.terminal);
    let console = open_console(&request.create, console, &decided.plan)?;
    let warnings = std::mem::take(&mut decided.warnings);
    let images = Dir::open("--image-path", &request.images, Missing::Refuse)?;
    let (saved, streams) = images.load()?;
    let saved = accept(saved, &mut decided)?;
    let criu = Criu::find()?;
    let version = criu.version()?;
    if request.lsm_profile.is_some() || request.lsm_mount_context.is_some() {
        criu.at_least(version, LSM, "another LSM label")?;
    }
    let dir = store.make(id)?;
    let record = new_record(id, &decided);
    let mut container = Container::new(dir, record);
    let work = open_work(request.work.as_deref())?;
    let mut restoring = Restoring {
        store,
        container: &mut container,
        decided: &decided,
        saved: &saved,
        request,
        console,
        cgroup: None,
        init: None,
        checked: false,
        begun,
    };
    let from = (&images, work.as_ref().unwrap_or(&images));
    let result = restoring.bring_back(&criu, from, &streams);
    if let Err(err) = result {
        let ended = restoring.end();
        // The first failure is the one to tell; what the clean-up meets comes from it.
        return match ended.and(undo(store, id, &container, &request.create)) {
            Ok(()) | Err(_) => Err(err),
        };
    }
    let (outcome, failures) = foreground.wait(store, &container, terminal)?;
    Ok((outcome, warnings, failures))
}

/// Checks that the saved processes were under the same profiles and filter, and takes the time that they have
/// had from what the profiles give.
fn accept(saved: Option<Saved>, decided: &mut Decided) -> Result<Saved, Error> {
    let has_profile = !decided.extras.profiles.is_empty();
    let refused = |problem| {
        Err(Error::NotSaved {
            field: "dev.greenlang.profile".to_owned(),
            problem,
            remedy: "restore it under the profile that it was saved under",
        })
    };
    let Some(saved) = saved else {
        return match has_profile {
            true => refused("the images do not say which profile the container was saved under"),
            false => Ok(Saved::default()),
        };
    };
    let names = |profiles: &[gl_spec::ProfileName]| -> Vec<String> {
        profiles
            .iter()
            .map(|profile| profile.hash.clone())
            .collect()
    };
    let own: Vec<String> = decided
        .decision
        .profiles
        .iter()
        .map(gl_profile::Profile::hash)
        .collect();
    if names(&saved.profiles) != own {
        return refused("the container was saved under another profile");
    }
    let program = decided.program.as_ref().map(gl_seccomp::Program::to_bytes);
    if has_profile && saved.seccomp != program {
        return refused("the container was saved with another filter of system calls");
    }
    if program.is_some() && saved.seccomp.is_none() {
        return Err(Error::Weaker {
            field: "linux.seccomp".to_owned(),
            seen: "the container was saved without a filter of system calls".to_owned(),
        });
    }
    let extras = &mut decided.extras;
    for (limit, had) in [
        (&mut extras.execution_timeout_ms, saved.elapsed_ms),
        (&mut extras.cpu_time_ms, saved.cpu_ms),
    ] {
        if let Some(limit) = limit {
            *limit = limit.saturating_sub(had);
            if *limit == 0 {
                return refused("its time was over when it was saved");
            }
        }
    }
    if extras.network.is_some()
        && (!decided.plan.hooks.create_runtime.is_empty()
            || !decided.plan.namespaces.creates(Kind::Network))
    {
        return refused("a network that was set up by somebody else would be the container's");
    }
    Ok(saved)
}

/// A container that is coming back.
struct Restoring<'a> {
    store: &'a Store,
    container: &'a mut Container,
    decided: &'a Decided,
    saved: &'a Saved,
    request: &'a RestoreRequest,
    console: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    init: Option<OwnedFd>,
    /// Whether it was seen to be what its config says.
    checked: bool,
    begun: Instant,
}

impl Restoring<'_> {
    fn bring_back(
        &mut self,
        criu: &Criu,
        (images, work): (&Dir, &Dir),
        streams: &[String; 3],
    ) -> Result<(), Error> {
        self.container
            .dir
            .write_new(CONFIG, &self.decided.config())?;
        extras::store(&self.container.dir, self.decided)?;
        if let Some(program) = &self.decided.program {
            self.container.dir.write_new(SECCOMP, &program.to_bytes())?;
        }
        let dirs = vec![images.again()?, work.again()?];
        let mut options = Options::new(&dirs, LOG);
        self.set_options(&mut options);
        set_config(&mut options, &self.decided.spec)?;
        let mut files = Vec::new();
        self.join_namespaces(&mut options, &mut files)?;
        stage::set_streams(&mut options, &mut files, self.saved, streams)?;
        let made = group::make(self.container, self.decided)?;
        let stage = stage::build(self.decided, &mut options, self.saved, made.cgroup.as_ref())?;
        let session = {
            let cgroup = made.cgroup.as_ref();
            let surroundings = Surroundings {
                join: cgroup
                    .map_or_else(|| Ok(Vec::new()), Cgroup::join_fds)?
                    .into(),
                cgroup_dir: cgroup.map_or_else(|| Ok(None), |cgroup| cgroup.open_dir(&[]))?,
                stage: Some(stage),
                files: &files,
                dirs,
                maps: match &self.decided.plan.userns {
                    UserNs::New(maps) => Some(maps),
                    UserNs::Shared | UserNs::Joined => None,
                },
                keyring: self.decided.plan.options.keyring,
                streams: Streams::Shared,
            };
            Session::start(criu, surroundings)?
        };
        self.cgroup = made.place(pid_of(session.pid())?)?;
        match self.cgroup {
            Some(_) => {
                options.cgroup_mode(self.request.cgroups);
                for (controller, path) in group::of_process(session.pid())? {
                    options.cgroup_root(controller.as_deref(), &path);
                }
            }
            // Those that the images name are nobody's, or somebody else's.
            None => options.cgroup_mode(CgroupMode::Ignore),
        }
        let mut notified = |notice: Notice| self.notified_or_end(notice);
        let answer = session
            .ask(Operation::Restore, Some(&options), &mut notified)
            .map_err(|err| explain(err, work, LOG))?;
        let known = self.container.record.init.map(|init| init.pid);
        if !self.checked || answer.pid.is_none() || answer.pid != known {
            return Err(gl_criu::Error::Answer {
                problem: "it did not say when the processes were there and about to run",
            }
            .into());
        }
        self.tell()
    }

    fn set_options(&self, options: &mut Options) {
        let plan = &self.decided.plan;
        options.evasive_devices(true);
        options.sibling(true);
        options.notify(true);
        options.orphan_pts_master(true);
        options.tcp_close(self.request.tcp_close);
        options.empty_namespaces(empty(plan));
        self.request.accepted.set(options);
        if let Some(profile) = &self.request.lsm_profile {
            options.lsm_profile(profile);
        }
        if let Some(context) = &self.request.lsm_mount_context {
            options.lsm_mount_context(context);
        }
    }

    /// Namespaces that exist.
    fn join_namespaces(
        &self,
        options: &mut Options,
        files: &mut Vec<OwnedFd>,
    ) -> Result<(), Error> {
        for join in &self.decided.plan.namespaces.join {
            let name = match join.kind {
                Kind::Network => NETWORK,
                Kind::Pid => PIDS,
                kind => {
                    let path = join.path.to_string_lossy();
                    options.join_namespace(kind.proc_name(), &path);
                    continue;
                }
            };
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = rustix::fs::open(&join.path, flags, Mode::empty());
            let file = file.map_err(Error::file("open the namespace", &join.path))?;
            let kind = gl_sys::namespace_type(file.as_fd());
            if kind.map_err(Error::file("inspect the namespace", &join.path))? != join.kind.bit() {
                return Err(gl_launch::Error::NamespaceKind {
                    index: join.index,
                    path: join.path.clone(),
                    kind: join.kind,
                }
                .into());
            }
            options.inherit(name, number(&file));
            files.push(file);
        }
        Ok(())
    }

    fn notified_or_end(&mut self, notice: Notice) -> Result<(), Error> {
        let result = self.notified(notice);
        if result.is_err() {
            // At some steps CRIU would go on. The first failure is the one to tell.
            match self.end() {
                Ok(()) | Err(_) => {}
            }
        }
        result
    }

    fn notified(&mut self, notice: Notice) -> Result<(), Error> {
        match &*notice.step {
            "setup-namespaces" => self.set_up(notice.pid),
            "orphan-pts-master" => {
                let console = self.console.as_ref();
                let (Some(console), Some(terminal)) = (console, notice.terminal) else {
                    return Err(Error::Option {
                        option: "--console-socket",
                        problem:
                            "the saved container has a terminal, and there is nobody to take it"
                                .into(),
                        remedy: "set process.terminal as it was, and name a socket for it",
                    });
                };
                gl_launch::send_fd(console.as_fd(), terminal.as_fd(), b"/dev/pts")
                    .map_err(Error::host("send the terminal"))
            }
            "post-restore" => self.restored(notice.pid),
            "pre-resume" => self.check(),
            _ => Ok(()),
        }
    }

    /// The namespaces are there, and nothing in them yet.
    fn set_up(&self, pid: Option<i32>) -> Result<(), Error> {
        let pid = pid.ok_or_else(no_process)?;
        let plan = &self.decided.plan;
        if plan.namespaces.creates(Kind::Network)
            && plan.network != Some(gl_spec::Isolated::Nothing)
        {
            gl_launch::raise_loopback_of(pid_of(pid)?)?;
        }
        if plan.hooks.create_runtime.is_empty() {
            return Ok(());
        }
        let state = self
            .container
            .record
            .document(Status::Creating, String::new());
        let state = StateDocument { pid, ..state };
        let input = state.to_hook_json(Status::Creating);
        let deadline = setup::deadline(&self.decided.extras, self.begun);
        gl_launch::run_hooks(&plan.hooks.create_runtime, &input, deadline)
            .map_err(gl_launch::Error::Hook)?;
        Ok(())
    }

    /// The processes are there with all their memory, and do not run.
    fn restored(&mut self, pid: Option<i32>) -> Result<(), Error> {
        let pid = pid.ok_or_else(no_process)?;
        let failed = || Error::host("inspect the init process");
        let pidfd = rustix::process::pidfd_open(pid_of(pid)?, PidfdFlags::empty());
        let pidfd = pidfd.map_err(failed())?;
        self.container.record.init = Some(Init {
            pid,
            start_time: process::start_time(pid).map_err(failed())?,
            pidfs: process::identity(pidfd.as_fd()).map_err(failed())?,
        });
        self.init = Some(pidfd);
        // Only now: CRIU itself is in the cgroup.
        if let Some(cgroup) = &self.cgroup {
            group::limit(cgroup, self.decided)?;
        }
        self.container.record.phase = Phase::Created;
        let record = encode(&self.container.record);
        self.container.dir.replace(RECORD, &record)
    }

    /// They are about to run.
    fn check(&mut self) -> Result<(), Error> {
        let init = self.container.record.init.ok_or_else(no_process)?.pid;
        let below = gl_launch::descendants(pid_of(init)?);
        let below = below.map_err(Error::host("list the processes"))?;
        let all: Vec<i32> = below.iter().map(|task| task.pid).chain([init]).collect();
        if let Some(cgroup) = &self.cgroup {
            // CRIU is there, too.
            verify::check_members(&all, &cgroup.pids(gl_cgroup::Depth::Tree)?)?;
        }
        let wanted = Wanted {
            plan: &self.decided.plan,
            mounts: &self.saved.mounts,
            filtered: self.decided.program.is_some(),
            label: self.request.lsm_profile.as_deref(),
        };
        verify::check(init, &all, &wanted)?;
        let limit = self.decided.extras.setup_timeout.as_ref();
        if limit.is_some_and(|limit| self.begun.elapsed() > Duration::from_millis(limit.ms)) {
            return Err(Error::NotSaved {
                field: "setup_timeout".to_owned(),
                problem: "its time was over before the processes were there",
                remedy: "give it more time",
            });
        }
        let init = self.container.init()?;
        let of = &self.container.record;
        let watcher = watch::prepare(self.store, of, &self.decided.extras, init.as_fd())?;
        if let Some(watcher) = watcher {
            watcher.begin()?;
            Watcher::armed(watcher)?;
        }
        self.checked = true;
        Ok(())
    }

    /// It runs.
    fn tell(&self) -> Result<(), Error> {
        let (Some(init), Some(pidfd)) = (self.container.record.init, &self.init) else {
            return Err(no_process());
        };
        if let Some(path) = &self.request.create.pid_file {
            write_pid_file(path, init.pid)?;
        }
        if let Some(path) = &self.request.create.pidfd_socket {
            socket::send_pidfd(&socket::connect(socket::PIDFD, path)?, pidfd.as_fd())?;
        }
        Ok(())
    }

    /// Kills whatever is there.
    fn end(&self) -> Result<(), Error> {
        if let Some(init) = &self.init {
            match gl_sys::pidfd_send_signal(init.as_fd(), Signal::KILL.as_raw()) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(source) => {
                    return Err(Error::Signal {
                        signal: Signal::KILL.as_raw(),
                        source,
                    });
                }
            }
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill_all(Signal::KILL)?;
            cgroup.wait_empty(PATIENCE)?;
        }
        Ok(())
    }
}

fn no_process() -> Error {
    gl_criu::Error::Answer {
        problem: "it did not say which process is the container's first",
    }
    .into()
}

fn pid_of(pid: i32) -> Result<Pid, Error> {
    Pid::from_raw(pid).ok_or_else(no_process)
}
