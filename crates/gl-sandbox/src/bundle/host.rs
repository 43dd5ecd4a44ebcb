//! A root that is a view of the host.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{config, masked, namespaces};
use crate::error::Error;
use crate::run::Request;
use crate::user::User;
use crate::view::{Owner, View};

/// The ids that root's sandboxes have outside: 65536 from here, those of nobody else. Below 2^31, and above
/// the ranges that systemd and the tools of user namespaces take.
const FIRST_ID: u32 = 2_000_000_000;
const IDS: u32 = 65_536;

/// What ids of the host the processes of root's sandboxes have.
pub(crate) fn ids() -> Range<u32> {
    FIRST_ID..FIRST_ID + IDS
}

/// The config for a view in an empty root.
pub(super) fn config_of(root: &OwnedFd, dir: &Path, request: &Request) -> Result<Json, Error> {
    let uid = gl_launch::rootless::caller();
    let gid = caller_gid();
    let owner = match uid {
        0 => Owner::Root,
        _ => Owner::User,
    };
    let profile = &request.profile;
    let mut view = View::new(root, owner)?;
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
    view.temporary()?;
    view.hide(&blocked)?;
    let map = |inside: u32| match owner {
        Owner::Root => json!([{ "containerID": 0, "hostID": FIRST_ID, "size": IDS }]),
        Owner::User => json!([{ "containerID": inside, "hostID": inside, "size": 1 }]),
    };
    let user = User {
        uid,
        gid,
        groups: Vec::new(),
    };
    let mut config = config(dir, request, &user, &cwd);
    // The place that it is attached to, where only the sandbox sees it.
    config["root"] = json!({ "path": ".", "readonly": true });
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
