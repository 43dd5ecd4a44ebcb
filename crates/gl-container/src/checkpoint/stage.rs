//! What a restored container takes from the host: opened as at `create`, and put where CRIU alone sees it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use gl_cgroup::Cgroup;
use gl_criu::Options;
use gl_launch::Stage;
use gl_plan::{MountKind, Plan, attr};
use gl_rootfs::{Bind, Leaf, Prepared, Root, Stored};
use gl_sys::{Depth, MountAttr};
use rustix::fs::FileType;

use super::images::{From, Saved};
use super::number;
use crate::create::Decided;
use crate::error::Error;
use crate::group;

/// Opens what comes from outside, makes mount points that the root lacks, and tells CRIU where each is.
pub(crate) fn build(
    decided: &Decided,
    options: &mut Options,
    saved: &Saved,
    cgroup: Option<&Cgroup>,
) -> Result<Stage, Error> {
    let plan = &decided.plan;
    let idmap = &mut gl_launch::user_namespace;
    let prepared = gl_rootfs::prepare(plan, decided.bundle(), Stored::default(), idmap)
        .map_err(gl_launch::Error::from)?;
    make_mount_points(plan, &prepared)?;
    if plan.root.readonly {
        // CRIU up to 4.1 gives the root no options of its own: it gets those of the mount that it is bound from.
        let change = MountAttr {
            set: attr::RDONLY,
            ..MountAttr::default()
        };
        gl_sys::mount_setattr(prepared.root.as_fd(), &change, Depth::Top)
            .map_err(Error::host("make the root read-only"))?;
    }
    let at = stage_directory()?;
    options.root(&at.join("root"));
    let hierarchies = group::own_mounts(decided, cgroup)?;
    for mount in &saved.mounts {
        let staged = source(decided, &mount.from)?;
        options.mount(&mount.name, at.join(staged).as_os_str().as_encoded_bytes());
    }
    let empty = gl_rootfs::new_root().map_err(Error::host("make a filesystem for CRIU"))?;
    Ok(Stage {
        at,
        empty,
        mounts: staged(prepared, hierarchies),
    })
}

/// Where a mount comes from, below the directory of the stage.
fn source(decided: &Decided, from: &From) -> Result<PathBuf, Error> {
    let plan = &decided.plan;
    let lacking = |field: &str, problem| Error::NotSaved {
        field: field.to_owned(),
        problem,
        remedy: "restore it with the mounts and devices that it had",
    };
    match from {
        From::Bind { destination, below } => {
            let mut mounts = plan.mounts.iter().rev();
            let found = mounts.find(|mount| {
                matches!(mount.kind, MountKind::Bind { .. }) && mount.target == *destination
            });
            let problem = "the container was saved with a bind mount that its config lacks";
            let position = found.and_then(|found| plan.mounts.iter().position(|m| m == found));
            let position = position.ok_or_else(|| lacking("mounts", problem))?;
            plain(&format!("mount{position}"), below)
        }
        From::Null => Ok("null".into()),
        From::Device { path } => {
            let position = plan.devices.iter().position(|device| device.path == *path);
            let problem = "the container was saved with a device that its config lacks";
            let position = position.ok_or_else(|| lacking("linux.devices", problem))?;
            Ok(format!("device{position}").into())
        }
        From::Cgroup { hierarchy } => plain(&format!("cgroup-{hierarchy}"), Path::new("")),
        From::Root { below } => plain("root", below),
    }
}

/// A directory of the host that CRIU does not see, with its mounts in its place. Everybody has to be able to
/// reach it: root of a user namespace is somebody else.
fn stage_directory() -> Result<PathBuf, Error> {
    for path in ["/mnt", "/media", "/srv", "/opt"] {
        if let Ok(stat) = rustix::fs::lstat(path)
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        {
            return Ok(path.into());
        }
    }
    Err(Error::file("find", "/mnt")(rustix::io::Errno::NOENT))
}

/// A path below a staged mount; of the images, so nothing in it may lead out.
fn plain(name: &str, below: &Path) -> Result<PathBuf, Error> {
    let is_plain = |part| matches!(part, std::path::Component::Normal(_));
    match !name.contains('/') && below.components().all(is_plain) {
        // To join nothing would make a directory of a file.
        true if below.as_os_str().is_empty() => Ok(name.into()),
        true => Ok(Path::new(name).join(below)),
        false => Err(Error::NotSaved {
            field: "greenlang.json".to_owned(),
            problem: "a mount of the images is below none of the config's",
            remedy: "use images as they were saved",
        }),
    }
}

/// Makes what the root, or a mount in it, lacks for others to be mounted on. What is in a filesystem of the
/// container's own CRIU has saved.
fn make_mount_points(plan: &Plan, prepared: &Prepared) -> Result<(), Error> {
    for (position, mount) in plan.mounts.iter().enumerate() {
        let leaf = match prepared.binds.get(position) {
            Some(Some(bind)) => bind.leaf,
            _ => Leaf::Directory,
        };
        let before = plan.mounts.iter().zip(&prepared.binds).take(position);
        let above = before.rev().find(|(above, _)| {
            mount.target.starts_with(&above.target) && above.target != mount.target
        });
        let (top, relative) = match above {
            None => (&prepared.root, mount.target.strip_prefix("/")),
            Some((above, Some(bind))) => (&bind.tree, mount.target.strip_prefix(&above.target)),
            Some((_, None)) => continue,
        };
        let relative = relative.unwrap_or(&mount.target);
        let failed = || Error::file("make the mount point", &mount.target);
        let top = rustix::io::fcntl_dupfd_cloexec(top, 3).map_err(failed())?;
        match Root::new(top).open_or_make(relative, leaf) {
            // CRIU says whether it misses one that cannot be made.
            Ok(_) | Err(rustix::io::Errno::ROFS) => {}
            Err(source) => return Err(failed()(source)),
        }
    }
    Ok(())
}

fn staged(prepared: Prepared, cgroups: Vec<(String, OwnedFd)>) -> Vec<(String, Bind)> {
    let tree = |tree, leaf| Bind { tree, leaf };
    let mut all = vec![
        ("root".to_owned(), tree(prepared.root, Leaf::Directory)),
        ("null".to_owned(), tree(prepared.null, Leaf::File)),
    ];
    let binds = prepared.binds.into_iter().enumerate();
    all.extend(binds.filter_map(|(index, bind)| Some((format!("mount{index}"), bind?))));
    let devices = prepared.devices.into_iter().enumerate();
    all.extend(
        devices.filter_map(|(index, device)| {
            Some((format!("device{index}"), tree(device?, Leaf::File)))
        }),
    );
    let cgroups = cgroups.into_iter();
    all.extend(cgroups.map(|(name, fd)| (format!("cgroup-{name}"), tree(fd, Leaf::Directory))));
    all
}

/// Streams that were pipes, or files from outside, are ours now.
pub(crate) fn set_streams(
    options: &mut Options,
    files: &mut Vec<OwnedFd>,
    saved: &Saved,
    streams: &[String; 3],
) -> Result<(), Error> {
    let own = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    let mut seen: Vec<&str> = Vec::new();
    for ((stream, named), own) in streams.iter().zip(&saved.streams).zip(own) {
        let key = match named {
            Some(named) => named,
            None if stream.starts_with("pipe:") => stream,
            None => continue,
        };
        // One pipe may be two streams.
        if seen.contains(&&**key) {
            continue;
        }
        seen.push(key);
        let file =
            match gl_launch::shielded_null(own).map_err(Error::host("open the null device"))? {
                Some(null) => null,
                None => rustix::io::fcntl_dupfd_cloexec(own, 3)
                    .map_err(Error::host("pass a stream on"))?,
            };
        options.inherit(key, number(&file));
        files.push(file);
    }
    Ok(())
}
