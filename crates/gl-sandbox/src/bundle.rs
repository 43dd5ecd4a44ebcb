//! The bundle of a sandbox: an empty root for the view, and config.json.

use std::path::{Path, PathBuf};

use gl_profile::{AbsolutePath, List, Origin, Profile, SourceKind};
use rustix::fs::Mode;
use serde_json::{Value as Json, json};

use crate::dirs::make_all;
use crate::error::Error;
use crate::run::{Request, Root, Terminal};
use crate::view::{Owner, View, basic_mounts, real};

/// The ids that root's sandboxes have outside: 65536 from here, those of nobody else. Below 2^31, and above
/// the ranges that systemd and the tools of user namespaces take.
const FIRST_ID: u32 = 2_000_000_000;
const IDS: u32 = 65_536;

/// The agent's socket in the sandbox's directory.
pub(crate) const AGENT: &str = "agent.sock";

/// Writes the bundle into the directory of a sandbox; its path.
pub(crate) fn write(dir: &Path, request: &Request) -> Result<PathBuf, Error> {
    // What root makes here is seen by somebody who is nobody outside.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let bundle = dir.join("bundle");
    make_all(dir, Path::new("bundle/rootfs"))?;
    let config = match &request.root {
        Root::Host => of_host(&bundle, dir, request)?,
        Root::Directory(root) => of_directory(root, dir, request)?,
    };
    let path = bundle.join("config.json");
    std::fs::write(&path, config.to_string()).map_err(Error::io("write", path))?;
    Ok(bundle)
}

fn of_host(bundle: &Path, dir: &Path, request: &Request) -> Result<Json, Error> {
    let uid = gl_launch::rootless::caller();
    let gid = caller_gid();
    let owner = match uid {
        0 => Owner::Root,
        _ => Owner::User,
    };
    let profile = &request.profile;
    let mut view = View::new(&bundle.join("rootfs"), owner)?;
    view.basics()?;
    view.etc((uid, gid), profile.network.allow_network.value)?;
    view.paths(profile)?;
    let blocked: Vec<&Path> = profile
        .filesystem
        .blocked_paths
        .iter()
        .map(|line| line.value.as_path())
        .collect();
    let cwd = working_directory(&mut view, &blocked, request)?;
    view.hide(&blocked)?;
    let map = |inside: u32| match owner {
        Owner::Root => json!([{ "containerID": 0, "hostID": FIRST_ID, "size": IDS }]),
        Owner::User => json!([{ "containerID": inside, "hostID": inside, "size": 1 }]),
    };
    let mut config = config(dir, request, (uid, gid), &cwd);
    config["root"] = json!({ "path": "rootfs", "readonly": true });
    config["mounts"] = Json::Array(view.mounts);
    let linux = &mut config["linux"];
    linux["uidMappings"] = map(uid);
    linux["gidMappings"] = map(gid);
    linux["namespaces"] = namespaces(profile, &["user"]);
    linux["maskedPaths"] = masked(&view.masks);
    Ok(config)
}

fn caller_gid() -> u32 {
    let gid = rustix::process::getgid().as_raw();
    if !gl_launch::rootless::made_own_namespace() {
        return gid;
    }
    let maps = gl_launch::rootless::current_maps().unwrap_or_default();
    let line = maps.gid.iter().find(|line| line.container == gid);
    line.map_or(gid, |line| line.host)
}

/// The directory that the program starts in.
fn working_directory(
    view: &mut View,
    blocked: &[&Path],
    request: &Request,
) -> Result<String, Error> {
    if let Some(cwd) = &request.cwd {
        return Ok(cwd.clone());
    }
    let own = std::env::current_dir().ok();
    let own = own.and_then(|own| own.to_str().map(str::to_owned));
    match own {
        Some(own) if view.working_directory(Path::new(&own), blocked)? => Ok(own),
        // It is not to be seen, so there is no place in it.
        _ => Ok("/tmp".to_owned()),
    }
}

fn of_directory(root: &Path, dir: &Path, request: &Request) -> Result<Json, Error> {
    let refused = |problem: String| Error::Path {
        option: "--rootfs".to_owned(),
        path: root.to_owned(),
        problem: problem.into(),
    };
    // The paths of the profile are about the host, but for those that somebody asks to be shown here.
    let files = &request.profile.filesystem;
    let listed = |list: &Option<List<AbsolutePath>>| -> Vec<Origin> {
        let items = list.iter().flat_map(|list| &list.items);
        items.map(|item| item.origin.clone()).collect()
    };
    let mut paths = listed(&files.read_only_paths);
    paths.extend(listed(&files.read_write_paths));
    paths.retain(|origin| origin.kind == SourceKind::Option);
    let binds = files.bind_mounts.iter().flat_map(|list| &list.items);
    paths.extend(binds.map(|item| item.origin.clone()));
    if let Some(origin) = paths.first() {
        return Err(Error::Tier {
            tier: "container",
            problem: format!("{origin}: a root of its own shows nothing of the host").into(),
            remedy: "put it into the root before, or leave --rootfs out",
        });
    }
    let real = real(root).map_err(|err| refused(err.to_string()))?;
    let real = real
        .to_str()
        .ok_or_else(|| refused("it is not UTF-8".to_owned()))?;
    let cwd = request.cwd.clone().unwrap_or_else(|| "/".to_owned());
    let mut config = config(dir, request, (0, 0), &cwd);
    config["root"] = json!({ "path": real, "readonly": true });
    config["mounts"] = Json::Array(basic_mounts());
    config["linux"]["namespaces"] = namespaces(&request.profile, &[]);
    config["linux"]["maskedPaths"] = masked(&[]);
    Ok(config)
}

/// What both kinds of roots share.
fn config(dir: &Path, request: &Request, (uid, gid): (u32, u32), cwd: &str) -> Json {
    json!({
        "ociVersion": "1.2.0",
        "hostname": "sandbox",
        "process": {
            "terminal": request.terminal == Terminal::Yes,
            "user": { "uid": uid, "gid": gid },
            "args": request.command,
            "env": request.env,
            "cwd": cwd,
            // Whoever it is, it has no power over anything.
            "capabilities": { "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [] },
            "noNewPrivileges": true,
            "rlimits": [{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }],
        },
        "linux": {
            "cgroupsPath": format!("/greenlang/{}", request.id.as_str()),
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": dir.join(AGENT),
            },
        },
    })
}

fn namespaces(profile: &Profile, more: &[&str]) -> Json {
    let mut kinds = vec!["pid", "mount", "ipc", "uts", "cgroup"];
    kinds.extend(more);
    if !profile.network.allow_network.value {
        kinds.push("network");
    }
    kinds.iter().map(|kind| json!({ "type": kind })).collect()
}

fn masked(more: &[String]) -> Json {
    let known = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
    ];
    let more = more.iter().map(String::as_str);
    known.into_iter().chain(more).collect()
}
