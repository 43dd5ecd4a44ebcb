//! The container's own filesystem: a layer over its root, and directories in the place of tmpfs mounts.
//!
//! Runs in the runtime before the fork, in a mount namespace that nobody else sees and that is left right
//! after: overlayfs and clones of a mount take what is attached. What comes out is detached again, so that
//! it is gone with the container, or with whoever is killed before there is one.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gl_plan::{Labelling, Mount, MountKind, Plan, Store, attr};
use rustix::fs::{CWD, Gid, Mode, OFlags, Stat, StatVfsMountFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use crate::attach::Filesystem;
use crate::failure::Failure;
use crate::hostview::mount_points;
use crate::label::MountLabel;
use crate::prepare::Error;

/// What makes the root fail if it cannot be a lower layer.
pub(crate) const LAYER: &str = "make the layer over the root";
/// Takes up what a filesystem has beyond its store's size.
const SURPLUS: &str = "surplus";

/// What comes from the container's own filesystem.
#[derive(Debug, Default)]
pub struct Stored {
    /// A mount that is attached nowhere, as the root.
    pub root: Option<OwnedFd>,
    /// Detached mounts of directories, by the index of the plan's mount that each is for, in its order.
    pub places: Vec<(usize, OwnedFd)>,
}

/// Who makes a layer, which decides what attributes it may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// Root of the first user namespace.
    Host,
    /// Root of another one (`userxattr`).
    UserNamespace,
}

/// Makes the filesystem of a store in memory, as a detached mount.
///
/// # Errors
///
/// [`Error::Store`].
pub fn memory_store(plan: &Plan, store: &Store) -> Result<OwnedFd, Error> {
    let failed = |failure: Failure| Error::Store {
        what: "make the tmpfs",
        field: store.line.clone(),
        source: failure.errno,
    };
    let parameters = [
        ("size", store.bytes.to_string()),
        // The directories that we make.
        ("nr_inodes", store.files.saturating_add(64).to_string()),
        ("mode", "700".to_owned()),
    ];
    let parameters = parameters.each_ref();
    let parameters = parameters.map(|(key, value)| (*key, Some(value.as_str())));
    make(plan, ("tmpfs", "tmpfs"), &parameters).map_err(failed)
}

/// Mounts the filesystem of a store on disk, an ext4 that is a little larger than the store, as a detached
/// mount, and takes the difference away.
///
/// # Errors
///
/// [`Error::Store`].
pub fn disk_store(plan: &Plan, store: &Store, device: &Path) -> Result<OwnedFd, Error> {
    let failed = |what| {
        move |source| Error::Store {
            what,
            field: store.line.clone(),
            source,
        }
    };
    let mounting = failed("mount the ext4");
    let source = device.to_str().ok_or(Errno::INVAL).map_err(&mounting)?;
    // Blocks that are free again are free on the host, too; inode tables that were never written read as
    // zeroes there.
    let parameters = [("discard", None), ("noinit_itable", None)];
    let mount = make(plan, ("ext4", source), &parameters);
    let mount = mount.map_err(|failure| mounting(failure.errno))?;
    take_surplus(&mount, store.bytes).map_err(failed("size the ext4"))?;
    Ok(mount)
}

fn take_surplus(mount: &OwnedFd, bytes: u64) -> Result<(), Errno> {
    let seen = rustix::fs::fstatvfs(mount)?;
    let free = seen.f_bavail.saturating_mul(seen.f_frsize);
    let surplus = free.checked_sub(bytes).ok_or(Errno::NOSPC)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(mount, SURPLUS, flags, Mode::empty())?;
    match surplus {
        0 => Ok(()),
        surplus => rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, surplus),
    }
}

fn make(
    plan: &Plan,
    (fstype, source): (&str, &str),
    parameters: &[(&str, Option<&str>)],
) -> Result<OwnedFd, Failure> {
    let filesystem = Filesystem::open(fstype)?;
    filesystem.set("source", Some(source))?;
    for (key, value) in parameters {
        filesystem.set(key, *value)?;
    }
    let label = MountLabel::new(plan.mount_label.as_deref(), Labelling::Parameter);
    if let Some(label) = &label {
        label.configure(&filesystem)?;
    }
    let mount = filesystem.mount(0)?;
    label.map_or(Ok(()), |label| label.settle(mount.as_fd()))?;
    Ok(mount)
}

/// Makes the root and the places of a plan with a store on its filesystem, a detached mount. `root` is one
/// as well, in place of the plan's root.
///
/// The caller has entered a mount namespace of its own for this, and leaves it after.
///
/// # Kernel
///
/// overlayfs by `fsopen(2)`, since 5.2; in a user namespace since 5.11.
///
/// # Errors
///
/// [`Error`].
pub fn build_store(
    (plan, store): (&Plan, &Store),
    bundle: &Path,
    root: Option<OwnedFd>,
    filesystem: &OwnedFd,
    privilege: Privilege,
) -> Result<Stored, Error> {
    let failed = |what| {
        move |source| Error::Store {
            what,
            field: store.line.clone(),
            source,
        }
    };
    let change = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", change).map_err(failed("keep the mounts"))?;
    let path = bundle.join(&plan.root.path);
    let lower = match root {
        Some(root) => root,
        None => {
            refuse_submounts(&path, store)?;
            open_lower(&path).map_err(|source| Error::Root { path, source })?
        }
    };
    let attaching = failed("attach the filesystem");
    // Over the root: where nothing is looked up, as our own root is below.
    attach_aside(filesystem).map_err(&attaching)?;
    attach_aside(&lower).map_err(attaching)?;
    let owner = rustix::fs::fstat(&lower).map_err(failed("inspect the root"))?;
    let making = failed("make the directories");
    let mut places = Vec::new();
    for mount in plan.mounts.iter().filter(is_stored) {
        let place = make_place(filesystem, mount, &owner);
        places.push((mount.index, place.map_err(&making)?));
    }
    make_layers(filesystem, &owner).map_err(making)?;
    let root = layer(plan, filesystem, &lower, privilege).map_err(failed(LAYER))?;
    Ok(Stored {
        root: Some(root),
        places,
    })
}

fn is_stored(mount: &&Mount) -> bool {
    matches!(mount.kind, MountKind::Stored { .. })
}

fn open_lower(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let flags = flags | OpenTreeFlags::AT_NO_AUTOMOUNT;
    rustix::mount::open_tree(CWD, path, flags)
}

/// A layer shows one mount and nothing that is mounted below it.
fn refuse_submounts(path: &Path, store: &Store) -> Result<(), Error> {
    let failed = |source| Error::Store {
        what: "look for mounts below the root",
        field: store.line.clone(),
        source,
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let real = rustix::fs::readlink(proc_path(root.as_fd()), Vec::new()).map_err(failed)?;
    let real = Path::new(OsStr::from_bytes(real.as_bytes()));
    let below = mount_points().map_err(failed)?;
    let mut below = below.into_iter();
    match below.find(|point| point.starts_with(real) && point != real) {
        None => Ok(()),
        Some(point) => Err(Error::Submount {
            field: store.line.clone(),
            path: point.display().to_string(),
        }),
    }
}

fn attach_aside(tree: &OwnedFd) -> Result<(), Errno> {
    rustix::mount::move_mount(tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// A directory of the filesystem in the place of a tmpfs, as the container's root owns one.
fn make_place(filesystem: &OwnedFd, mount: &Mount, owner: &Stat) -> Result<OwnedFd, Errno> {
    let name = format!("place-{}", mount.index);
    make_directory(filesystem, &name, owner, 0o700)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(filesystem, name, flags)
}

/// The upper layer, whose directory is what the container's root shows as, and the one that overlayfs needs.
fn make_layers(filesystem: &OwnedFd, owner: &Stat) -> Result<(), Errno> {
    make_directory(filesystem, "upper", owner, owner.st_mode)?;
    rustix::fs::mkdirat(filesystem, "work", Mode::RWXU)
}

fn make_directory(filesystem: &OwnedFd, name: &str, owner: &Stat, mode: u32) -> Result<(), Errno> {
    rustix::fs::mkdirat(filesystem, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(filesystem, name, flags, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    rustix::fs::fchown(&made, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode & 0o7777))
}

/// The root with a layer over it. What its own mount denies stays denied.
fn layer(
    plan: &Plan,
    filesystem: &OwnedFd,
    lower: &OwnedFd,
    privilege: Privilege,
) -> Result<OwnedFd, Errno> {
    let seen = rustix::fs::fstatvfs(lower)?.f_flag;
    let denied = [
        (StatVfsMountFlags::RDONLY, attr::RDONLY),
        (StatVfsMountFlags::NOSUID, attr::NOSUID),
        (StatVfsMountFlags::NODEV, attr::NODEV),
        (StatVfsMountFlags::NOEXEC, attr::NOEXEC),
    ];
    let denied = denied.into_iter().filter(|(flag, _)| seen.contains(*flag));
    let attributes = denied.fold(0, |all, (_, attribute)| all | attribute);
    let below = |name: &str| format!("{}/{name}", proc_path(filesystem.as_fd()));
    let overlay = || {
        let overlay = Filesystem::open("overlay")?;
        overlay.set("source", Some("overlay"))?;
        overlay.set("lowerdir", Some(&proc_path(lower.as_fd())))?;
        overlay.set("upperdir", Some(&below("upper")))?;
        overlay.set("workdir", Some(&below("work")))?;
        if privilege == Privilege::UserNamespace {
            overlay.set("userxattr", None)?;
        }
        let label = MountLabel::new(plan.mount_label.as_deref(), Labelling::Parameter);
        if let Some(label) = &label {
            label.configure(&overlay)?;
        }
        let mount = overlay.mount(attributes)?;
        label.map_or(Ok(()), |label| label.settle(mount.as_fd()))?;
        Ok(mount)
    };
    overlay().map_err(|failure: Failure| failure.errno)
}

/// What a descriptor is open on, as a path that nothing can redirect.
fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
