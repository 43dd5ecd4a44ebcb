//! The looking: one function a finding.

use std::process::{Command, Stdio};
use std::{fs, io};

use gl_cgroup::Layout;
use gl_profile::translate::Controllers;
use gl_spec::Classify as _;
use rustix::io::Errno;

use crate::error::Error;

use super::{Finding, State, engines, user};

/// Everything, in the order in which it is shown, and what the cgroup of a container of this user can limit.
pub(super) fn all() -> (Vec<Finding>, Option<Controllers>) {
    let (cgroup, limits) = cgroups();
    let mut findings = vec![kernel(), cgroup, namespaces(), filter(), landlock()];
    findings.extend([apparmor(), selinux()]);
    findings.extend(user::all());
    // By area, each in the order of its first finding.
    let areas: Vec<_> = findings.iter().map(|finding| finding.area).collect();
    findings.sort_by_key(|finding| areas.iter().position(|area| *area == finding.area));
    let programs: Vec<_> = PROGRAMS.iter().map(program).collect();
    let registered = engines::all(&programs);
    findings.extend(programs);
    findings.extend(registered);
    (findings, limits)
}

pub(super) fn finding(area: &'static str, name: &'static str, seen: impl Into<String>) -> Finding {
    Finding {
        area,
        name,
        state: State::Ok,
        seen: seen.into(),
        fix: None,
    }
}

impl Finding {
    pub(super) fn but(mut self, state: State, fix: impl Into<String>) -> Self {
        self.state = state;
        self.fix = Some(fix.into());
        self
    }
}

/// A failure as the rest of the program says it.
pub(super) fn failure(what: String, source: impl Into<io::Error>) -> String {
    let source = source.into();
    gl_spec::chain(&Error::Seen { what, source })
}

pub(super) fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn kernel() -> Finding {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let Err(err) = gl_launch::check_kernel() else {
        return finding("kernel", "release", release);
    };
    let fix = err.hint().unwrap_or_default().into_owned();
    let seen = format!("{release}; {}", gl_spec::chain(&err));
    finding("kernel", "release", seen).but(State::Missing, fix)
}

/// The cgroups, and what one that was made can limit.
pub(crate) fn cgroups() -> (Finding, Option<Controllers>) {
    const FIX: &str = "mount cgroup2 on /sys/fs/cgroup; without cgroups memory, CPU and process limits cannot be held";
    let found = |seen: String| finding("cgroup", "cgroups", seen);
    let layout = match Layout::detect() {
        Ok(layout) => layout,
        Err(err) => {
            let found = found(gl_spec::chain(&err)).but(State::Missing, FIX);
            return (found, None);
        }
    };
    let limits = match user::limits(&layout) {
        Ok(limits) => limits,
        Err(why) => {
            let fix = "run gl doctor as root, or have controllers delegated: Delegate=memory pids cpu in user@.service";
            return (found(why).but(State::Missing, fix), None);
        }
    };
    let found = found(limits.seen);
    let has = |name| !limits.lacks.contains(&name);
    let controllers = Controllers {
        memory: has("memory"),
        cpu: has("cpu"),
        tasks: has("pids"),
    };
    if limits.lacks.is_empty() {
        return (found, Some(controllers));
    }
    let lacks = limits.lacks.join(", ");
    let fix = format!(
        "enable the controllers {lacks}: on v2 in /sys/fs/cgroup/cgroup.subtree_control, for a user by Delegate= in user@.service",
    );
    (found.but(State::Missing, fix), Some(controllers))
}

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

fn namespaces() -> Finding {
    let present: Vec<&str> = NAMESPACES
        .into_iter()
        .filter(|name| fs::symlink_metadata(format!("/proc/self/ns/{name}")).is_ok())
        .collect();
    let found = finding("namespaces", "namespaces", present.join(" "));
    if present.len() < NAMESPACES.len() {
        return found.but(
            State::Partly,
            "run a kernel that is built with all namespaces",
        );
    }
    found
}

fn filter() -> Finding {
    match read("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) => finding("seccomp", "filter", actions),
        None => finding("seccomp", "filter", "none").but(
            State::Missing,
            "run a kernel that is built with CONFIG_SECCOMP_FILTER",
        ),
    }
}

fn landlock() -> Finding {
    match gl_sys::landlock_abi() {
        Ok(abi) => {
            let found = finding("landlock", "abi", abi.to_string());
            match abi {
                6.. => found,
                4..=5 => found.but(
                    State::Partly,
                    "signals and abstract sockets are not kept inside before kernel 6.12",
                ),
                _ => found.but(
                    State::Partly,
                    "TCP ports are not filtered before kernel 6.7",
                ),
            }
        }
        Err(Errno::OPNOTSUPP) => finding("landlock", "abi", "turned off").but(
            State::Missing,
            "boot with lsm=landlock,... in the kernel's command line",
        ),
        Err(_) => finding("landlock", "abi", "none").but(
            State::Missing,
            "run a kernel of 5.13 or later that is built with CONFIG_SECURITY_LANDLOCK",
        ),
    }
}

fn apparmor() -> Finding {
    let enabled = read("/sys/module/apparmor/parameters/enabled").as_deref() == Some("Y");
    if !enabled {
        return finding("lsm", "apparmor", "off").but(
            State::Missing,
            "boot with lsm=...,apparmor where the kernel has AppArmor; profiles that name one are refused",
        );
    }
    match first_line("apparmor_parser", "--version") {
        Some(line) => finding("lsm", "apparmor", line),
        None => finding("lsm", "apparmor", "on, without its parser").but(
            State::Partly,
            "install the package apparmor: it loads profiles",
        ),
    }
}

fn selinux() -> Finding {
    match read("/sys/fs/selinux/enforce").as_deref() {
        Some("1") => finding("lsm", "selinux", "enforcing"),
        Some(_) => finding("lsm", "selinux", "permissive")
            .but(State::Partly, "set it to enforcing: setenforce 1"),
        None => finding("lsm", "selinux", "off").but(
            State::Missing,
            "boot a kernel with SELinux and a policy; labels in profiles are refused without",
        ),
    }
}

/// A program that some profile or tier uses.
struct Program {
    area: &'static str,
    name: &'static str,
    version: &'static str,
    fix: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program {
        area: "network",
        name: "nft",
        version: "--version",
        fix: "install nftables: rules on hosts and ports need it",
    },
    Program {
        area: "network",
        name: "pasta",
        version: "--version",
        fix: "install passt: a network without root needs it",
    },
    Program {
        area: "tiers",
        name: "runsc",
        version: "--version",
        fix: "install runsc: the tier gvisor needs it",
    },
    Program {
        area: "engines",
        name: "docker",
        version: "--version",
        fix: "install docker.io to use greenlang from Docker",
    },
    Program {
        area: "engines",
        name: "podman",
        version: "--version",
        fix: "install podman to use greenlang from Podman",
    },
    Program {
        area: "engines",
        name: "containerd",
        version: "--version",
        fix: "install containerd to use greenlang from containerd or Kubernetes",
    },
];

fn program(program: &Program) -> Finding {
    let seen = first_line(program.name, program.version);
    let found = finding(
        program.area,
        program.name,
        seen.clone().unwrap_or_else(|| "not found".to_owned()),
    );
    match seen {
        Some(_) => found,
        None => found.but(State::Missing, program.fix),
    }
}

/// The first line that a program prints, none if it cannot be run or fails.
fn first_line(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}
