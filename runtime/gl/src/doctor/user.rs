//! What containers without root need: user namespaces, ids, tools, cgroups that are the user's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gl_cgroup::{Controller, Layout, Version};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use super::probe::{failure, finding, read};
use super::{Finding, State};

/// The user that owns nothing (`nobody`), as which root tries what others can do.
const NOBODY: u32 = 65534;

/// Everything about users.
pub(super) fn all() -> Vec<Finding> {
    let mut findings = Vec::new();
    if is_root() {
        findings.push(user_namespaces("user", None));
        findings.push(user_namespaces("unprivileged", Some(NOBODY)));
    } else {
        findings.push(user_namespaces("unprivileged", None));
    }
    findings.extend([subordinate(), id_tools(), manager()]);
    findings
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The namespaces beside the user namespace that a container has.
const OTHERS: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWPID)
    .union(UnshareFlags::NEWUTS);

/// The hidden command of the child that [`user_namespaces`] starts: makes a user namespace, and in it
/// the others of a container, and says how that went in one line.
pub(crate) fn try_namespaces() -> String {
    let made = |flags: UnshareFlags| gl_sys::unshare(flags.bits());
    if let Err(errno) = made(UnshareFlags::NEWUSER) {
        return format!("user {}\n", errno.raw_os_error());
    }
    match made(OTHERS) {
        Ok(()) => "made\n".to_owned(),
        Err(errno) => format!("others {}\n", errno.raw_os_error()),
    }
}

/// Makes a user namespace in a child that ends at once, as another user if one is given.
fn user_namespaces(name: &'static str, user: Option<u32>) -> Finding {
    let whose = match (user, is_root()) {
        (Some(uid), _) => format!("user {uid}"),
        (None, true) => "root".to_owned(),
        (None, false) => "this user".to_owned(),
    };
    let found = |seen: String| finding("namespaces", name, seen);
    let mut child = Command::new("/proc/self/exe");
    child.arg("try-namespaces").current_dir("/");
    child.stdin(Stdio::null()).stderr(Stdio::null());
    if let Some(uid) = user {
        child.uid(uid).gid(uid);
    }
    let said = match child.output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(err) => {
            return found(failure(format!("{whose}: not tried"), err))
                .but(State::Partly, "run gl doctor as a user without root");
        }
    };
    let failed = |words: &str, errno: &str| {
        let errno = errno.parse().map_or(Errno::IO, Errno::from_raw_os_error);
        found(failure(format!("{whose}: {words}"), errno)).but(State::Missing, cure(errno))
    };
    match said.split_once(' ') {
        None if said == "made" => found(format!("{whose}: a user namespace and others in it")),
        Some(("user", errno)) => failed("make a user namespace", errno),
        Some(("others", errno)) => failed("make namespaces in a user namespace", errno),
        _ => found(format!("{whose}: the child that tries them said {said:?}"))
            .but(State::Partly, "run gl doctor again"),
    }
}

/// What to do about a user namespace that cannot be made.
fn cure(errno: Errno) -> String {
    let set = |path: &str, value: &str| read(path).as_deref() == Some(value);
    let apparmor = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    if errno == Errno::NOSPC {
        return "allow user namespaces: sysctl user.max_user_namespaces=15000, and one for each \
            limit of user.max_*_namespaces that is 0"
            .to_owned();
    }
    if errno == Errno::INVAL || errno == Errno::NOSYS {
        return "run a kernel that is built with CONFIG_USER_NS".to_owned();
    }
    if set("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "allow user namespaces for users without root: sysctl kernel.unprivileged_userns_clone=1"
            .to_owned();
    }
    if set(apparmor, "1") {
        return "let AppArmor allow user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, \
            or a profile for the engine with the rule userns"
            .to_owned();
    }
    "look for a seccomp filter or a security module around this process that forbids unshare(2)"
        .to_owned()
}

/// The ranges of `/etc/subuid` and `/etc/subgid`.
fn subordinate() -> Finding {
    let found = |seen: String| finding("rootless", "subuid", seen);
    if is_root() {
        return found("root needs none".to_owned());
    }
    let uid = rustix::process::geteuid().as_raw();
    let name = gl_launch::rootless::user_name(uid);
    let mut seen = Vec::new();
    for file in ["/etc/subuid", "/etc/subgid"] {
        let ranges = gl_plan::ids::subordinate(&read(file).unwrap_or_default(), &name, uid);
        if ranges.is_empty() {
            let user = if name.is_empty() {
                uid.to_string()
            } else {
                name
            };
            return found(format!("none for {user} in {file}")).but(
                State::Missing,
                format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"),
            );
        }
        let count: usize = ranges.iter().map(|range| range.len()).sum();
        seen.push(format!("{count} in {file}"));
    }
    found(seen.join(", "))
}

/// The programs that map those ids: they must be there and have the privilege to do it.
fn id_tools() -> Finding {
    let found = |seen: String| finding("rootless", "newuidmap", seen);
    let mut seen = Vec::new();
    for name in ["newuidmap", "newgidmap"] {
        // Where greenlang looks: the caller's PATH has no say.
        let dirs = ["/usr/bin", "/bin", "/usr/sbin", "/run/wrappers/bin"];
        let path = dirs.iter().map(|dir| Path::new(dir).join(name));
        let Some((path, meta)) =
            { path }.find_map(|path| Some((path.clone(), fs::metadata(path).ok()?)))
        else {
            return found(format!("{name} not found")).but(
                State::Missing,
                "install the package uidmap: without it a user has one id in a container",
            );
        };
        let mut none = [0_u8; 64];
        let by_file = rustix::fs::getxattr(&path, "security.capability", &mut none).is_ok();
        if meta.permissions().mode() & 0o4000 == 0 && !by_file {
            return found(format!("{} has no privilege", path.display()))
                .but(State::Missing, format!("chmod u+s {}", path.display()));
        }
        seen.push(path.display().to_string());
    }
    found(seen.join(", "))
}

/// The systemd that makes scopes for `--systemd-cgroup`: the system's, or the user's own.
fn manager() -> Finding {
    let found = |seen: &str| finding("cgroup", "systemd", seen);
    if is_root() {
        return match fs::metadata("/run/systemd/system").is_ok_and(|meta| meta.is_dir()) {
            true => found("the system's manager"),
            false => found("not running").but(
                State::Missing,
                "leave --systemd-cgroup out; for Docker: native.cgroupdriver=cgroupfs",
            ),
        };
    }
    let uid = rustix::process::geteuid().as_raw();
    let dir = std::env::var_os("XDG_RUNTIME_DIR")
        .map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
    match fs::symlink_metadata(dir.join("systemd/private")).is_ok() {
        true => found("the user's manager"),
        false => found("no manager of this user").but(
            State::Missing,
            "log in through pam_systemd, or: loginctl enable-linger",
        ),
    }
}

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The controllers that limits of profiles need.
const CONTROLLERS: [Controller; 3] = [Controller::Memory, Controller::Cpu, Controller::Pids];

/// Where a container's limits would be set by this user: a cgroup was made there and removed.
pub(super) struct Limits {
    pub(super) seen: String,
    /// The needed controllers that are not there.
    pub(super) lacks: Vec<&'static str>,
}

/// Looks for the directory below which this user's containers get their cgroups, and makes one there.
///
/// # Errors
///
/// What is in the way, in words.
pub(super) fn limits(layout: &Layout) -> Result<Limits, String> {
    let generation = match layout.version() {
        Version::V2 => "v2",
        _ => "v1",
    };
    let mut present = Vec::new();
    for (dir, controllers) in directories(layout) {
        if CONTROLLERS
            .iter()
            .any(|one| controllers.iter().any(|name| name == one.name()))
        {
            make_one(&dir)
                .map_err(|err| failure(format!("make a cgroup in {}", dir.display()), err))?;
        }
        present.extend(controllers);
    }
    let needed = CONTROLLERS.iter().map(|controller| controller.name());
    let lacks = needed
        .filter(|name| !present.iter().any(|there| there == name))
        .collect();
    Ok(Limits {
        seen: format!("{generation}: {}", present.join(" ")),
        lacks,
    })
}

/// Directories in which cgroups are made, with the controllers of each.
fn directories(layout: &Layout) -> Vec<(PathBuf, Vec<String>)> {
    if layout.version() != Version::V2 {
        let hierarchies = layout.hierarchies().iter();
        let named = hierarchies.map(|one| {
            let names = one.controllers.iter().map(|one| one.name().to_owned());
            (Path::new(CGROUPS).join(&one.dir), names.collect())
        });
        return named.collect();
    }
    let root = PathBuf::from(CGROUPS);
    let dir = match is_root() {
        true => root,
        false => delegated(&root),
    };
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let controllers = controllers.split_whitespace().map(str::to_owned).collect();
    vec![(dir, controllers)]
}

/// The cgroup that systemd gave to the user, or else the one that this process is in.
fn delegated(root: &Path) -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    let service = root.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    if service.is_dir() {
        return service;
    }
    let own = read("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    root.join(own.unwrap_or_default())
}

fn make_one(below: &Path) -> Result<(), std::io::Error> {
    let dir = below.join(format!("gl-doctor-{}", std::process::id()));
    fs::create_dir(&dir)?;
    fs::remove_dir(&dir)
}
