//! Paths of cgroups: whatever is asked for, what comes of it stays below the root, and a relative one below
//! the runtime's own cgroup (v1) or beside it (v2).

use gl_cgroup::{Controller, GroupPath, OwnCgroups, resolve};
use gl_spec::ContainerId;

use crate::bytes::Bytes;

/// A path, and after a zero byte each a `/proc/PID/cgroup` and a `/proc/PID/mountinfo`.
pub fn cgroup_path(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut text = || Bytes::new(parts.next().unwrap_or_default()).text();
    let (path, own, mountinfo) = (text(), text(), text());
    let clean = GroupPath::clean(&path);
    stays(&clean);
    assert_eq!(GroupPath::clean(clean.as_str()), clean, "cleaned twice");
    stored(&path);
    let own = match own.is_empty() {
        true => OwnCgroups::parse("5:memory,pids:/run/er\n1:name=systemd:/x\n0::/a/b\n"),
        false => OwnCgroups::parse(&own),
    };
    let own = match mountinfo.is_empty() {
        true => own,
        false => own.below_mounts(&mountinfo),
    };
    let above = own.clone();
    let id = "id";
    assert!(id.parse::<ContainerId>().is_ok());
    let Ok(paths) = resolve(Some(&path), id, || Ok(own)) else {
        return;
    };
    for controller in [Controller::Memory, Controller::Pids, Controller::Devices] {
        let Some(place) = paths.path(controller) else {
            continue;
        };
        stays(&place);
        assert!(!place.is_root(), "{path:?} is the root");
        if path.starts_with('/') {
            assert_eq!(place, clean);
        } else {
            let own = above.path(controller);
            assert_ne!(Some(&place), own, "{path:?} is the runtime's own");
        }
    }
    // Beside the runtime's own, which it can be by that name: refused where it would be made.
    if let Some(place) = paths.unified() {
        stays(&place);
        assert!(!place.is_root(), "{path:?} is the root");
    }
}

/// What was stored is taken only if it is clean.
fn stored(path: &str) {
    let text = serde_json::to_string(path).expect("a string");
    if let Ok(read) = serde_json::from_str::<GroupPath>(&text) {
        stays(&read);
        assert_eq!(read.as_str(), path);
    }
}

fn stays(path: &GroupPath) {
    let text = path.as_str();
    if text.is_empty() {
        return;
    }
    for part in text.split('/') {
        assert!(
            !matches!(part, "" | "." | ".."),
            "{text:?} climbs or repeats"
        );
    }
}
