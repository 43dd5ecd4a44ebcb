//! `checkpoint`: the processes of a container saved by CRIU, and `restore` (`restore.rs`), which brings them
//! back in a container that is otherwise made anew from its config.

mod images;
mod outside;
mod restore;
mod stage;
mod verify;

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gl_criu::{
    CgroupMode, Criu, Notice, Operation, Options, PageServer, Session, Surroundings, Version,
};
use gl_plan::{Kind, Plan};
use gl_spec::oci::Spec;
use gl_spec::{ContainerId, Extras, Status};
use rustix::fs::OFlags;

use crate::container::Container;
use crate::delete::{Force, HookFailures, delete_loaded};
use crate::error::Error;
use crate::group;
use crate::store::Store;
use images::{Dir, Missing, Saved};

pub use restore::{RestoreRequest, restore};

/// What becomes of the container after a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum After {
    /// It ends, and is deleted as other runtimes do.
    #[default]
    End,
    /// It runs on.
    Run,
}

/// How much is saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    #[default]
    Whole,
    /// The memory, to make a later checkpoint short.
    Memory,
}

/// What CRIU is to accept, of both verbs: each is refused by it otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of CRIU, with nothing between them"
)]
pub struct Accepted {
    /// Open TCP connections, which are kept.
    pub tcp_established: bool,
    /// Unix sockets that lead out of the container.
    pub ext_unix_sk: bool,
    /// A terminal that is not the container's.
    pub shell_job: bool,
    /// File locks.
    pub file_locks: bool,
    /// Pages of earlier images are dropped once they are saved anew.
    pub auto_dedup: bool,
    /// Memory is transferred when it is needed.
    pub lazy_pages: bool,
}

impl Accepted {
    fn set(self, options: &mut Options) {
        options.tcp_established(self.tcp_established);
        options.ext_unix_sk(self.ext_unix_sk);
        options.shell_job(self.shell_job);
        options.file_locks(self.file_locks);
        options.auto_dedup(self.auto_dedup);
        options.lazy_pages(self.lazy_pages);
    }
}

/// What `checkpoint` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointRequest {
    /// Where the saved processes go.
    pub images: PathBuf,
    /// Where logs go; with the images otherwise.
    pub work: Option<PathBuf>,
    /// The images of an earlier pre-dump, relative to these.
    pub parent: Option<PathBuf>,
    /// What becomes of the container.
    pub after: After,
    /// How much is saved.
    pub extent: Extent,
    /// What CRIU accepts.
    pub accepted: Accepted,
    /// TCP connections that are not established yet are left out.
    pub tcp_skip_in_flight: bool,
    /// Deleted files that are open are linked.
    pub link_remap: bool,
    /// How cgroups are treated.
    pub cgroups: CgroupMode,
    /// Where memory is sent.
    pub page_server: Option<PageServer>,
    /// The number of a descriptor that is written to once memory can be transferred.
    pub status_fd: Option<u32>,
}

/// The name of CRIU's log of a checkpoint.
const LOG: &str = "dump.log";
/// An external network namespace's name, as other runtimes have it.
const NETWORK: &str = "extRootNetNS";
/// The same of a pid namespace.
const PIDS: &str = "extRootPidNS";
/// The annotation that names a config file of CRIU's.
const CRIU_CONFIG: &str = "org.criu.config";
/// The config files that are used where the annotation is missing: ours, or the one of the runtime that engines
/// know best.
const CONFIGS: [&str; 2] = ["/etc/criu/greenlang.conf", "/etc/criu/runc.conf"];
/// From here on a freezer of cgroup v2 is used.
const FREEZES_V2: Version = Version {
    major: 3,
    minor: 14,
    sublevel: 0,
};

/// From here on the network can be locked with nftables.
const LOCKS_WITH_NFTABLES: Version = Version {
    major: 3,
    minor: 17,
    sublevel: 0,
};

/// Saves a container.
///
/// # Errors
///
/// [`Error::WrongStatus`] unless it runs or is paused; [`Error::NotSaved`] for what CRIU cannot save and would
/// be lost; [`Error::Criu`] with the end of its log. The container runs on then.
pub fn checkpoint(
    store: &Store,
    id: &ContainerId,
    request: &CheckpointRequest,
) -> Result<HookFailures, Error> {
    let container = store.load_locked(id)?;
    let status = container.status()?;
    if !matches!(status, Status::Running | Status::Paused) {
        return Err(Error::WrongStatus {
            verb: "checkpoint",
            id: id.as_str().to_owned(),
            status,
        });
    }
    refuse_rootless()?;
    let (spec, extras) = (container.spec()?, container.extras()?);
    refuse_unsaved(&spec, &extras)?;
    let criu = Criu::find()?;
    let version = criu.version()?;
    let images = open_images(&container, request)?;
    let work = open_work(request.work.as_deref())?;
    let work = work.as_ref().unwrap_or(&images);
    let plan = plan(&spec, &extras)?;
    let dirs = vec![images.again()?, work.again()?];
    let mut options = Options::new(&dirs, LOG);
    set_options(&mut options, &container, request, version)?;
    set_namespaces(&mut options, &plan)?;
    set_config(&mut options, &spec)?;
    if request.extent == Extent::Memory && !criu.features()?.memory_tracking {
        return Err(gl_criu::Error::Lacking {
            option: "--pre-dump",
        }
        .into());
    }
    if request.accepted.lazy_pages && !criu.features()?.lazy_pages {
        return Err(gl_criu::Error::Lacking {
            option: "--lazy-pages",
        }
        .into());
    }
    let operation = match request.extent {
        Extent::Whole => {
            save_outside(&container, (&plan, &extras), &mut options, &images)?;
            Operation::Dump
        }
        Extent::Memory => Operation::PreDump,
    };
    let surroundings = Surroundings {
        dirs,
        ..Surroundings::default()
    };
    let session = Session::start(&criu, surroundings)?;
    let mut notified = |notice: Notice| notified(&notice, request.status_fd);
    session
        .ask(operation, Some(&options), &mut notified)
        .map_err(|err| explain(err, work, LOG))?;
    match (request.after, request.extent) {
        (After::End, Extent::Whole) => delete_loaded(store, &container, Force::Yes, Some(&spec)),
        _ => Ok(HookFailures::new()),
    }
}

/// CRIU needs the host's root for most of what a container is.
fn refuse_rootless() -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() || gl_launch::in_user_namespace() {
        return Err(Error::NotSaved {
            field: "linux.namespaces".to_owned(),
            problem: "CRIU saves and restores containers only for root of the host's user namespace",
            remedy: "run the container as root",
        });
    }
    Ok(())
}

/// Refuses a container that would come back with less around it.
fn refuse_unsaved(spec: &Spec, extras: &Extras) -> Result<(), Error> {
    let refused = |field: &str, problem, remedy| {
        Err(Error::NotSaved {
            field: field.to_owned(),
            problem,
            remedy,
        })
    };
    let profile = "use a profile without it, or no checkpoints";
    if extras.gvisor {
        return refused(
            "tier",
            "the container is in gVisor, whose processes CRIU does not see",
            "use the tier container",
        );
    }
    if !extras.landlock.is_empty() {
        return refused(
            "landlock",
            "the profile's Landlock rules cannot be read back from a process, nor given to another one",
            profile,
        );
    }
    if !extras.apparmor.is_empty() {
        return refused(
            "apparmor",
            "the profile has made an AppArmor profile for this one container",
            profile,
        );
    }
    if extras.disk_quota.is_some() {
        return refused(
            "limits.disk_quota_bytes",
            "what is written under a disk quota is gone with the container",
            profile,
        );
    }
    let linux = spec.linux().as_ref();
    let devices = linux.and_then(|linux| linux.net_devices().as_ref());
    if devices.is_some_and(|devices| !devices.is_empty()) {
        return refused(
            "linux.netDevices",
            "interfaces of the host are gone with the network namespace",
            "leave them out",
        );
    }
    if linux.is_some_and(|linux| linux.intel_rdt().is_some()) {
        return refused(
            "linux.intelRdt",
            "a restored container would be in no group of resctrl",
            "leave it out",
        );
    }
    let seccomp = linux.and_then(|linux| linux.seccomp().as_ref());
    if seccomp.is_some_and(|seccomp| seccomp.listener_path().is_some()) {
        return refused(
            "linux.seccomp.listenerPath",
            "the listener of a filter is lost with the process",
            "leave it out, and the rules with SCMP_ACT_NOTIFY",
        );
    }
    let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
    for (index, entry) in namespaces.into_iter().flatten().enumerate() {
        let kind = Kind::from(entry.typ());
        let joined = entry
            .path()
            .as_ref()
            .is_some_and(|path| !path.as_os_str().is_empty());
        if joined && matches!(kind, Kind::User | Kind::Cgroup | Kind::Time | Kind::Mount) {
            return refused(
                &format!("linux.namespaces[{index}]"),
                "CRIU cannot join a namespace of this type",
                "give the container one of its own",
            );
        }
    }
    Ok(())
}

/// The plan of a stored config.
fn plan(spec: &Spec, extras: &Extras) -> Result<Plan, Error> {
    let facts = gl_launch::facts();
    Ok(gl_plan::plan(
        spec,
        extras,
        &gl_plan::Options::default(),
        &facts,
    )?)
}

fn open_images(container: &Container, request: &CheckpointRequest) -> Result<Dir, Error> {
    let images = Dir::open("--image-path", &request.images, Missing::Make)?;
    images.keep_out_of("--image-path", &container.record.rootfs)?;
    if let Some(parent) = &request.parent {
        images::check_parent(&images, parent)?;
    }
    Ok(images)
}

fn open_work(path: Option<&Path>) -> Result<Option<Dir>, Error> {
    path.map(|path| Dir::open("--work-path", path, Missing::Make))
        .transpose()
}

fn set_options(
    options: &mut Options,
    container: &Container,
    request: &CheckpointRequest,
    version: Version,
) -> Result<(), Error> {
    options.pid(container.pid()?.as_raw_nonzero().get());
    options.root(&container.record.rootfs);
    options.cgroup_mode(request.cgroups);
    options.notify(true);
    options.orphan_pts_master(true);
    options.leave_running(request.after == After::Run);
    options.tcp_skip_in_flight(request.tcp_skip_in_flight);
    options.link_remap(request.link_remap);
    request.accepted.set(options);
    if let Some(parent) = &request.parent {
        options.parent(parent);
    }
    options.track_mem(request.parent.is_some() || request.extent == Extent::Memory);
    if let Some(server) = &request.page_server {
        options.page_server(server);
    }
    if version >= LOCKS_WITH_NFTABLES && !gl_criu::has_iptables() {
        options.lock_network_with_nftables();
    }
    if let Some(record) = &container.record.cgroup
        && let Some(freezer) = group::freezer(record)
        && (freezer.v1 || version >= FREEZES_V2)
    {
        options.freeze_cgroup(&freezer.path);
    }
    Ok(())
}

/// What of namespaces is not saved: those that are joined are there when it comes back, and the network of a
/// new one is made by whoever made it before.
fn set_namespaces(options: &mut Options, plan: &Plan) -> Result<(), Error> {
    for (kind, name) in [(Kind::Network, NETWORK), (Kind::Pid, PIDS)] {
        if let Some(join) = plan.namespaces.joins(kind) {
            let stat = rustix::fs::stat(&join.path);
            let stat = stat.map_err(Error::file("inspect", &join.path))?;
            options.external(&format!("{}[{}]:{name}", kind.proc_name(), stat.st_ino));
        }
    }
    options.empty_namespaces(empty(plan));
    Ok(())
}

/// The namespaces whose content CRIU leaves alone.
fn empty(plan: &Plan) -> u32 {
    match plan.namespaces.joins(Kind::Network) {
        Some(_) => 0,
        None => u32::try_from(Kind::Network.bit()).unwrap_or(0),
    }
}

/// The config file of CRIU's.
///
/// # Spec
///
/// `org.criu.config` as other runtimes know it, but for where the file may be: see `gl_criu`'s
/// `Options::config_file`.
fn set_config(options: &mut Options, spec: &Spec) -> Result<(), Error> {
    let named = spec
        .annotations()
        .iter()
        .flatten()
        .find(|(key, _)| *key == CRIU_CONFIG);
    match named {
        Some((_, path)) if path.is_empty() => {}
        Some((_, path)) => options.config_file(Path::new(path))?,
        None => {
            let is_there = |path: &&Path| rustix::fs::lstat(*path).is_ok();
            let found = CONFIGS.iter().map(Path::new).find(is_there);
            found.map_or(Ok(()), |path| options.config_file(path))?;
        }
    }
    Ok(())
}

fn save_outside(
    container: &Container,
    (plan, extras): (&Plan, &Extras),
    options: &mut Options,
    images: &Dir,
) -> Result<(), Error> {
    let pid = container.pid()?.as_raw_nonzero().get();
    let mounts = outside::find(pid, plan)?;
    for mount in &mounts {
        let at = mount.at.as_os_str().as_encoded_bytes();
        options.mount(at, &mount.name);
    }
    let (shown, streams) = outside::streams(pid)?;
    for stream in streams.iter().flatten() {
        options.external(stream);
    }
    let cpu = container
        .record
        .cgroup
        .as_ref()
        .map(gl_cgroup::Cgroup::open)
        .transpose()?;
    // None of the two is kept without somebody who asks for it.
    let cpu = match extras.cpu_time_ms {
        Some(_) => cpu.map(|cgroup| cgroup.cpu_time()).transpose()?,
        None => None,
    };
    let saved = Saved {
        mounts,
        streams,
        seccomp: container.seccomp()?.map(|program| program.to_bytes()),
        profiles: extras.profiles.clone(),
        elapsed_ms: millis(elapsed(container)?),
        cpu_ms: millis(cpu.unwrap_or_default()),
    };
    images.store(&saved, &shown)
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Ticks of the clock of `/proc/PID/stat` in a second, on every architecture.
const TICKS: u64 = 100;

/// How long ago the first process was started: its program not before that.
fn elapsed(container: &Container) -> Result<Duration, Error> {
    let started = container.record.init.map_or(0, |init| init.start_time);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(now.tv_sec.try_into().unwrap_or(0), 0);
    Ok(now.saturating_sub(Duration::from_secs(started / TICKS)) + Duration::from_secs(1))
}

fn notified(notice: &Notice, status_fd: Option<u32>) -> Result<(), Error> {
    if let ("status-ready", Some(number)) = (&*notice.step, status_fd) {
        let path = format!("/proc/self/fd/{number}");
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let told = rustix::fs::open(&*path, flags, rustix::fs::Mode::empty())
            .and_then(|file| rustix::io::write(&file, b"\0"));
        told.map_err(Error::file("write to --status-fd,", path))?;
    }
    Ok(())
}

/// Adds to a failure of CRIU what its log says.
fn explain(err: Error, work: &Dir, log: &str) -> Error {
    match err {
        Error::Criu(err) => {
            let lines = gl_criu::last_lines(work.fd(), log);
            err.explained(lines.as_deref(), &work.path.join(log)).into()
        }
        other => other,
    }
}

/// The number of a descriptor, for CRIU.
fn number(file: &std::os::fd::OwnedFd) -> i32 {
    file.as_raw_fd()
}
