//! Gives a test program a machine of its own: namespaces in which engines can do what they like.
//!
//! The program starts itself again in new mount, network and pid namespaces. `/run` is a fresh
//! tmpfs, `/etc`, `/opt` and `/var` have a throw-away layer on top, the network has only `lo`. When the
//! program ends, for whatever reason, the kernel ends every daemon and drops every mount. What
//! remains are cgroups: engines put theirs below [`Sandbox::cgroup`], removed at the end.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_move,
};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use crate::command::{eventually, fail, output};
use crate::{Test, kernel};

/// Tells a started copy of the program which part it plays.
const STAGE: &str = "GL_E2E_STAGE";

/// Cgroups that engines make for builds and monitors, whatever parent they are told.
const ENGINE_PARENTS: [&str; 2] = ["/docker", "/libpod_parent"];

/// The machine that the tests of one program share.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// An empty directory on a tmpfs whose mounts are shared, for everything the tests make.
    pub dir: PathBuf,
    /// The cgroup below which all cgroups of the tests live, as `/name`.
    pub cgroup: String,
}

impl Sandbox {
    /// The sandbox that the process with this number on the host asked for.
    fn of(host_pid: &str) -> Self {
        Self {
            dir: PathBuf::from("/run/gl-e2e"),
            cgroup: format!("/gl-e2e-engine-{host_pid}"),
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
        Ok(host_pid) => run(&Sandbox::of(host_pid)),
    }
}

fn enter_namespaces() -> ExitCode {
    let program = std::env::current_exe().expect("path of this program");
    let error = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--propagation", "private", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "init")
        .env("GL_E2E_ID", std::process::id().to_string())
        .exec();
    fail(&format!(
        "start unshare (util-linux; root is needed): {error}"
    ))
}

/// Process 1 of the sandbox: prepares it, starts the tests, reaps what is left to it.
#[expect(clippy::zombie_processes, reason = "reap_until waits for every child")]
fn init() -> ExitCode {
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
    let sandbox = Sandbox::of(&id);
    let status = reap_until(|ended| ended == tests);
    // After an orderly end nothing is left to kill; a test program that died leaves its daemons.
    let others = || kernel::processes().into_keys().filter(|pid| *pid != 1);
    others().filter_map(Pid::from_raw).for_each(|pid| {
        // It may be gone by now.
        kill_process(pid, Signal::KILL).ok();
    });
    reap_until(|_| others().next().is_none());
    for dir in places(&sandbox.cgroup).iter().chain(&strays) {
        eventually(Duration::from_secs(10), || remove_tree(dir));
    }
    ExitCode::from(status)
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
    tmpfs("/run", "mode=755");
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
    mounted(
        "/sys",
        mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None),
    );
    mounted(
        "/sys/fs/cgroup",
        mount_move("/run/cgroup", "/sys/fs/cgroup"),
    );
    fs::remove_dir("/run/cgroup").expect("remove an empty directory");

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
