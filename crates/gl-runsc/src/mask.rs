//! Paths that read as empty: runsc does nothing with `linux.maskedPaths`, so a mount of the bundle
//! hides each of them, an empty read-only tmpfs or an empty file.
//!
//! What a path is, a directory or a file, is looked up within the container's root, or in what is
//! bound over it: links of an image lead nowhere else.

use std::path::{Component, Path, PathBuf};

use gl_rootfs::Root;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::check::is_kernels;
use crate::error::Error;

/// The mounts that hide `paths`. One that is not there needs none, as with any runtime.
pub(crate) fn mounts(
    config: &Value,
    rootfs: &Path,
    empty: &Path,
    paths: &[String],
) -> Result<Vec<Value>, Error> {
    let mut all = Vec::new();
    for path in paths.iter().filter(|path| !is_kernels(path)) {
        let mount = match kind(config, rootfs, Path::new(path))? {
            None => continue,
            Some(FileType::Directory) => json!({
                "destination": path, "type": "tmpfs", "source": "tmpfs",
                "options": ["ro", "nosuid", "nodev", "noexec", "size=4096", "mode=555"],
            }),
            Some(_) => json!({
                "destination": path, "type": "bind", "source": empty,
                "options": ["bind", "ro", "nosuid", "nodev", "noexec"],
            }),
        };
        all.push(mount);
    }
    Ok(all)
}

/// What is at a path of the container; none if nothing is.
pub(crate) fn kind(config: &Value, rootfs: &Path, path: &Path) -> Result<Option<FileType>, Error> {
    let Some((within, rest)) = origin(config, rootfs, path) else {
        return Ok(None);
    };
    let failed = |source| Error::File {
        action: "inspect",
        path: within.join(rest.strip_prefix("/").unwrap_or(&rest)),
        source,
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let top = match rustix::fs::openat(CWD, &within, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        other => other.map_err(failed)?,
    };
    let of = |stat: rustix::fs::Stat| Some(FileType::from_raw_mode(stat.st_mode));
    if rest.as_os_str().is_empty() {
        return rustix::fs::fstat(&top).map(of).map_err(failed);
    }
    match Root::new(top).open(&rest, OFlags::PATH) {
        Ok(found) => rustix::fs::fstat(&found).map(of).map_err(failed),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(failed(errno)),
    }
}

/// The host's directory that a path of the container lies in, and its path there; none below a mount
/// that begins empty.
fn origin(config: &Value, rootfs: &Path, path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mounts = config.get("mounts").and_then(Value::as_array);
    let mut found = (rootfs.to_owned(), path.to_owned());
    let mut deepest = 0;
    let mut hidden = false;
    for mount in mounts.into_iter().flatten() {
        let Some(destination) = mount.get("destination").and_then(Value::as_str) else {
            continue;
        };
        let Ok(rest) = path.strip_prefix(destination) else {
            continue;
        };
        let depth = Path::new(destination)
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .count();
        if depth < deepest {
            continue;
        }
        deepest = depth;
        let source = mount.get("source").and_then(Value::as_str);
        hidden = !is_bind(mount);
        if let (false, Some(source)) = (hidden, source) {
            found = (PathBuf::from(source), rest.to_owned());
        }
    }
    (!hidden).then_some(found)
}

/// Whether a mount shows something of the host's.
pub(crate) fn is_bind(mount: &Value) -> bool {
    let mut options = mount
        .get("options")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    mount.get("type").and_then(Value::as_str) == Some("bind")
        || options.any(|option| matches!(option.as_str(), Some("bind" | "rbind")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("gl-runsc-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("root/secret")).unwrap();
        std::fs::create_dir_all(dir.join("volume/keys")).unwrap();
        std::fs::write(dir.join("root/file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("root/out")).unwrap();
        dir
    }

    #[test]
    fn kind_is_that_of_what_the_container_will_see() {
        let dir = scratch("kind");
        let root = dir.join("root");
        let config = json!({"mounts": [
            {"destination": "/data", "type": "bind", "source": dir.join("volume")},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]});
        let kinds: Vec<_> = [
            "/secret",
            "/file",
            "/none",
            "/data/keys",
            "/data",
            "/tmp/x",
            "/out/passwd",
        ]
        .iter()
        .map(|path| kind(&config, &root, Path::new(path)).unwrap())
        .collect();
        std::fs::remove_dir_all(&dir).unwrap();
        let directory = Some(FileType::Directory);
        let file = Some(FileType::RegularFile);
        // A link that leads out leads nowhere: the image has no /etc/passwd.
        assert_eq!(
            kinds,
            [directory, file, None, directory, directory, None, None]
        );
    }

    #[test]
    fn masks_leave_the_kernels_own_paths_alone() {
        let dir = scratch("masks");
        let paths = ["/proc/kcore", "/secret", "/file", "/none"].map(str::to_owned);
        let mounts = mounts(&json!({}), &dir.join("root"), Path::new("/e"), &paths).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let seen: Vec<_> = mounts
            .iter()
            .map(|one| {
                (
                    one["destination"].as_str().unwrap(),
                    one["type"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(seen, [("/secret", "tmpfs"), ("/file", "bind")]);
    }
}
