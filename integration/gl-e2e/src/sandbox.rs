//! Gives a test program a machine of its own: namespaces in which engines can do what they like.
//!
//! The program starts itself again in new mount, network and pid namespaces. `/run` is a fresh
//! tmpfs, `/etc`, `/opt` and `/var` have a throw-away layer on top, the network has only `lo`. When the
//! program ends, for whatever reason, the kernel ends every daemon and drops every mount. What
//! remains are cgroups: engines put theirs below [`Sandbox::cgroup`], removed at the end.
//!
//! With `GL_E2E_CGROUPS=systemd` the cgroups are units of the machine's systemd. It knows processes by
//! their numbers on the host, so there is no pid namespace then: the first process of the sandbox
//! is the reaper of all others and ends them, unless it is killed itself. That is for a machine that is
//! thrown away.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind_recursive, mount_change, mount_move, move_mount, open_tree, unmount,
};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_child_subreaper, wait,
};

use crate::command::{clean_up, eventually, fail, output};
use crate::{Test, kernel};

/// Tells a started copy of the program which part it plays.
const STAGE: &str = "GL_E2E_STAGE";

/// Cgroups that engines make for builds and monitors, whatever parent they are told.
const ENGINE_PARENTS: [&str; 2] = ["/docker", "/libpod_parent"];

/// Where the machine's systemd listens.
const SYSTEMD_SOCKETS: [&str; 2] = ["/run/systemd", "/run/dbus"];

/// Who makes the cgroups of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The runtime, as directories.
    Cgroupfs,
    /// The machine's systemd, as scopes.
    Systemd,
}

impl Driver {
    /// What `$GL_E2E_CGROUPS` asks for.
    ///
    /// # Panics
    ///
    /// If it asks for what there is not, or for systemd where that is not process 1 over cgroup v2.
    #[track_caller]
    fn asked() -> Self {
        match std::env::var("GL_E2E_CGROUPS").as_deref() {
            Err(_) | Ok("cgroupfs") => Self::Cgroupfs,
            Ok("systemd") if kernel::is_v2() && Path::new("/run/systemd/system").is_dir() => {
                Self::Systemd
            }
            Ok("systemd") => fail("GL_E2E_CGROUPS=systemd needs systemd over cgroup v2 alone"),
            Ok(other) => fail(&format!(
                "GL_E2E_CGROUPS is {other:?}; it is cgroupfs or systemd"
            )),
        }
    }

    /// The word that settings of Docker and Podman have for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }
}

/// The machine that the tests of one program share.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// An empty directory on a tmpfs whose mounts are shared, for everything the tests make.
    pub dir: PathBuf,
    /// The cgroup below which all cgroups of the tests live, as `/name`.
    pub cgroup: String,
    /// Who makes cgroups here.
    pub driver: Driver,
    /// The process that all others of the sandbox descend from.
    pub init: i32,
}

impl Sandbox {
    /// The sandbox that the process with this number on the host asked for.
    fn of(host_pid: &str, init: Option<Pid>) -> Self {
        let driver = Driver::asked();
        Self {
            dir: PathBuf::from("/run/gl-e2e"),
            cgroup: match driver {
                Driver::Cgroupfs => format!("/gl-e2e-engine-{host_pid}"),
                // With dashes it would be nested.
                Driver::Systemd => format!("/gle2e{host_pid}.slice"),
            },
            driver,
            init: init.map_or(1, |pid| pid.as_raw_nonzero().get()),
        }
    }

    /// [`Sandbox::cgroup`] as engines are told it: a path, or the name of a slice.
    pub fn parent(&self) -> &str {
        match self.driver {
            Driver::Cgroupfs => &self.cgroup,
            Driver::Systemd => self.cgroup.trim_start_matches('/'),
        }
    }

    /// A cgroup below [`Sandbox::cgroup`], as engines are told it. `name` has no dash.
    pub fn parent_below(&self, name: &str) -> String {
        match self.driver {
            Driver::Cgroupfs => format!("{}/{name}", self.cgroup),
            Driver::Systemd => {
                let slice = self.parent().trim_end_matches(".slice");
                format!("{slice}-{name}.slice")
            }
        }
    }
}

/// Calls `run` in a machine of its own and returns its exit status.
///
/// `run` starts the engine, hands `tests` to [`main`](crate::main), and stops the engine. To list
/// the tests takes neither.
///
/// # Panics
///
/// If the namespaces cannot be made.
pub fn isolated(tests: &[Test], run: fn(&Sandbox) -> ExitCode) -> ExitCode {
    if std::env::args().any(|arg| arg == "--list") {
        return crate::main(tests);
    }
    match std::env::var(STAGE).as_deref() {
        Err(_) => enter_namespaces(),
        Ok("init") => init(),
        // The parent is the first process of the sandbox.
        Ok(host_pid) => run(&Sandbox::of(host_pid, getppid())),
    }
}

fn enter_namespaces() -> ExitCode {
    let program = std::env::current_exe().expect("path of this program");
    let processes: &[&str] = match Driver::asked() {
        Driver::Cgroupfs => &["--pid", "--mount-proc"],
        Driver::Systemd => &[],
    };
    let error = Command::new("unshare")
        .args(["--mount", "--net", "--fork", "--kill-child"])
        .args(processes)
        .args(["--propagation", "private", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "init")
        .env("GL_E2E_ID", std::process::id().to_string())
        .exec();
    fail(&format!(
        "start unshare (util-linux; root is needed): {error}"
    ))
}

/// First process of the sandbox: prepares it, starts the tests, reaps what is left to it.
#[expect(clippy::zombie_processes, reason = "reap_until waits for every child")]
fn init() -> ExitCode {
    // With a pid namespace this process is the reaper anyway.
    set_child_subreaper(Some(getpid())).expect("become the reaper of the sandbox");
    prepare();
    let strays: Vec<PathBuf> = ENGINE_PARENTS
        .iter()
        .flat_map(|name| places(name))
        .collect();
    let strays: Vec<PathBuf> = strays.into_iter().filter(|dir| !dir.is_dir()).collect();
    let id = std::env::var("GL_E2E_ID").expect("set beside the stage");
    let tests = Command::new(std::env::current_exe().expect("path of this program"))
        .args(std::env::args_os().skip(1))
        .env(STAGE, &id)
        .current_dir("/run/gl-e2e")
        .env_remove("GL_E2E_ID")
        .spawn()
        .expect("start the tests");
    let tests = Pid::from_child(&tests);
    let sandbox = Sandbox::of(&id, Some(getpid()));
    let status = reap_until(|ended| ended == tests);
    // After an orderly end nothing is left to kill; a test program that died leaves its daemons.
    let others = || {
        let all = kernel::processes_below(sandbox.init).into_keys();
        all.filter(|pid| *pid != sandbox.init)
    };
    // What is forked meanwhile is killed with the next round.
    while others().next().is_some() {
        others().filter_map(Pid::from_raw).for_each(|pid| {
            // It may be gone by now.
            kill_process(pid, Signal::KILL).ok();
        });
        reap_until(|_| true);
    }
    remove_cgroups(&sandbox, &strays);
    ExitCode::from(status)
}

fn remove_cgroups(sandbox: &Sandbox, strays: &[PathBuf]) {
    let own = places(&sandbox.cgroup);
    if sandbox.driver == Driver::Systemd {
        let mut stop = Command::new("systemctl");
        stop.args(["stop", sandbox.parent()]);
        clean_up(stop);
    }
    for dir in own.iter().chain(strays) {
        eventually(Duration::from_secs(10), || remove_tree(dir));
    }
}

/// Collects children until one satisfies `last` or none is left, and returns the status of that.
fn reap_until(last: impl Fn(Pid) -> bool) -> u8 {
    while let Ok(Some((pid, status))) = wait(WaitOptions::empty()) {
        if last(pid) {
            return status
                .exit_status()
                .and_then(|s| u8::try_from(s).ok())
                .unwrap_or(1);
        }
    }
    1
}

fn prepare() {
    let kept = match Driver::asked() {
        Driver::Cgroupfs => Vec::new(),
        Driver::Systemd => SYSTEMD_SOCKETS.map(|dir| (dir, tree(dir))).into(),
    };
    tmpfs("/run", "mode=755");
    for (dir, tree) in kept {
        fs::create_dir(dir).expect("make a directory on tmpfs");
        attach(&tree, dir);
    }
    for layered in ["/etc", "/opt", "/var"] {
        let name = layered.trim_start_matches('/');
        let (upper, work) = (
            format!("/run/layers/{name}/up"),
            format!("/run/layers/{name}/work"),
        );
        for dir in [&upper, &work] {
            fs::create_dir_all(dir).expect("make a directory on tmpfs");
        }
        let data = format!("lowerdir={layered},upperdir={upper},workdir={work}");
        mounted(
            layered,
            mount(
                "overlay",
                layered,
                "overlay",
                MountFlags::empty(),
                data_of(&data).as_c_str(),
            ),
        );
    }
    // The old /sys shows the network devices of the old namespace.
    fs::create_dir_all("/run/cgroup").expect("make a directory on tmpfs");
    mounted(
        "/run/cgroup",
        mount_bind_recursive("/sys/fs/cgroup", "/run/cgroup"),
    );
    let selinux = "/sys/fs/selinux";
    let labels = Path::new(selinux).join("enforce").is_file();
    let labels = labels.then(|| tree(selinux));
    // What is below it would stay in the list of mounts, and Podman wants to unmount all of those.
    mounted("/sys", unmount("/sys", UnmountFlags::DETACH));
    mounted(
        "/sys",
        mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None),
    );
    mounted(
        "/sys/fs/cgroup",
        mount_move("/run/cgroup", "/sys/fs/cgroup"),
    );
    fs::remove_dir("/run/cgroup").expect("remove an empty directory");
    if let Some(tree) = labels {
        attach(&tree, selinux);
    }

    fs::create_dir("/run/gl-e2e").expect("make a directory on tmpfs");
    tmpfs("/run/gl-e2e", "mode=755");
    mounted(
        "/run/gl-e2e",
        mount_change("/run/gl-e2e", MountPropagationFlags::SHARED),
    );

    let mut lo = Command::new("ip");
    lo.args(["link", "set", "lo", "up"]);
    output(lo).ok();
}

/// A directory of the machine with what is mounted below it, to be mounted elsewhere.
fn tree(dir: &str) -> OwnedFd {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, dir, flags).unwrap_or_else(|e| fail(&format!("open tree {dir}: {e}")))
}

/// Mounts what [`tree`] has opened on a directory.
fn attach(tree: &OwnedFd, dir: &str) {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    mounted(dir, move_mount(tree, "", CWD, dir, flags));
}

fn tmpfs(target: &str, data: &str) {
    mounted(
        target,
        mount(
            "tmpfs",
            target,
            "tmpfs",
            MountFlags::empty(),
            data_of(data).as_c_str(),
        ),
    );
}

fn data_of(data: &str) -> std::ffi::CString {
    std::ffi::CString::new(data).expect("mount data without NUL")
}

#[track_caller]
fn mounted(target: &str, result: rustix::io::Result<()>) {
    result.unwrap_or_else(|e| fail(&format!("mount on {target}: {e}")));
}

/// The directories of a cgroup in all hierarchies.
fn places(cgroup: &str) -> Vec<PathBuf> {
    let name = cgroup.trim_start_matches('/');
    let hierarchies = kernel::cgroup_hierarchies().into_iter();
    hierarchies.map(|hierarchy| hierarchy.join(name)).collect()
}

/// Removes a cgroup and those below it, deepest first; true when none is left.
fn remove_tree(top: &Path) -> bool {
    for dir in kernel::directories_below(top).iter().rev() {
        // Busy while a process in it is still dying; the caller comes back.
        drop(fs::remove_dir(dir));
    }
    fs::remove_dir(top).map_or_else(|e| e.kind() == std::io::ErrorKind::NotFound, |()| true)
}
