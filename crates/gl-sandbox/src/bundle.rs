//! The bundle of a sandbox: config.json, and the root of a view of the host.

mod directory;
mod host;
mod oci;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gl_image::Cached;
use gl_profile::{AbsolutePath, List, Origin, Profile, SourceKind};
use rustix::fs::Mode;
use rustix::io::Errno;
use serde_json::{Value as Json, json};

use crate::dirs::make_all;
use crate::error::Error;
use crate::root::Root;
use crate::run::{Request, Terminal};
use crate::user::User;

pub(crate) use host::ids;
pub use oci::Bundle;

/// The bundle in the sandbox's directory.
pub(crate) const BUNDLE: &str = "bundle";
/// The agent's socket there.
pub(crate) const AGENT: &str = "agent.sock";

/// Where something is mounted in a root that is no view of the host: directories that have to be there.
pub(crate) const MOUNT_POINTS: [&str; 3] = ["/proc", "/dev", "/tmp"];

/// What a sandbox is made from.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    /// The root, where it is a view of the host: a mount that is attached nowhere, so that it is gone with us.
    pub(crate) root: Option<Arc<OwnedFd>>,
}

/// Writes the bundle into the directory of a sandbox. An image is held already.
pub(crate) fn write(
    dir: &Path,
    request: &Request,
    held: Option<&Cached>,
) -> Result<Written, Error> {
    // What root makes here is seen by somebody who is nobody outside.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let bundle = dir.join(BUNDLE);
    make_all(dir, Path::new(BUNDLE))?;
    let mut root = None;
    let config = match (&request.root, held) {
        (Root::Host, _) => {
            let new = gl_rootfs::new_root().map_err(Error::host("make an empty root"))?;
            let new = root.insert(Arc::new(new));
            host::config_of(new, dir, request)?
        }
        (Root::Directory(root), _) => directory::config_of(root, dir, request)?,
        (Root::Image(image), Some(held)) => directory::config_of_image(image, held, dir, request)?,
        (Root::Image(_), None) => return Err(Error::file("open", &bundle)(Errno::NOENT)),
        (Root::Bundle(given), _) => oci::config_of(given, dir, request)?,
    };
    let path = bundle.join("config.json");
    // The environment may hold secrets, and root's directories can be passed by everybody.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    let written = file.and_then(|mut file| file.write_all(config.to_string().as_bytes()));
    written.map_err(Error::io("write", path))?;
    Ok(Written { path: bundle, root })
}

/// Refuses paths that somebody asks to be shown: the profile's are about the host otherwise.
fn refuse_paths(request: &Request, remedy: &'static str) -> Result<(), Error> {
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
    match paths.first() {
        None => Ok(()),
        Some(origin) => Err(Error::Tier {
            tier: request.root.tier(request.profile.isolation.value),
            problem: format!("{origin}: a root of its own shows nothing of the host").into(),
            remedy,
        }),
    }
}

/// What all roots of ours share.
fn config(dir: &Path, request: &Request, user: &User, cwd: &str) -> Json {
    json!({
        "ociVersion": "1.2.0",
        "hostname": "sandbox",
        "process": {
            "terminal": request.terminal == Terminal::Yes,
            "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
            "args": request.command,
            "env": request.env,
            "cwd": cwd,
            // Whoever it is, it has no power over anything.
            "capabilities": { "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [] },
            "noNewPrivileges": true,
            "rlimits": [{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }],
        },
        "linux": {
            "cgroupsPath": cgroup_of(request),
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": dir.join(AGENT),
            },
        },
    })
}

/// The sandbox's own cgroup.
fn cgroup_of(request: &Request) -> Json {
    json!(format!("/greenlang/{}", request.id.as_str()))
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
