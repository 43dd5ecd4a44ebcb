//! The container's view of its cgroups: a mount of type `cgroup` or `cgroup2`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_plan::{Mount, attr};
use gl_sys::{Depth, MountAttr};
use rustix::fs::{Mode, OFlags};

use crate::attach::{Filesystem, attach};
use crate::failure::{Failure, Step};
use crate::label::MountLabel;

/// One v1 hierarchy to show.
#[derive(Debug)]
pub struct Hierarchy {
    /// Name of its directory under `/sys/fs/cgroup`, such as `cpu,cpuacct`.
    pub name: String,
    /// Its mount options, such as `cpu,cpuacct` or `none,name=systemd`.
    pub options: String,
    /// The container's own directory of it, detached: for a container without cgroup namespace.
    pub own: Option<OwnedFd>,
}

/// What a cgroup mount of the container shows.
#[derive(Debug)]
pub enum CgroupMounts {
    /// A directory per hierarchy on a small tmpfs. The child is in the container's cgroup
    /// namespace already, if it has one.
    V1(Vec<Hierarchy>),
    /// The unified hierarchy: of the cgroup namespace, or the container's own directory of it.
    V2 {
        /// Detached, for a container without cgroup namespace.
        own: Option<OwnedFd>,
    },
}

impl CgroupMounts {
    /// Every descriptor in it.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::V1(hierarchies) => hierarchies
                .iter()
                .filter_map(|h| h.own.as_ref().map(AsFd::as_fd))
                .collect(),
            Self::V2 { own } => own.iter().map(AsFd::as_fd).collect(),
        }
    }
}

/// Mounts them onto `target`. The label is for the tmpfs that holds v1 hierarchies; the kernel labels
/// the hierarchies themselves.
pub(crate) fn mount(
    mount: &Mount,
    target: &OwnedFd,
    view: &CgroupMounts,
    label: Option<MountLabel<'_>>,
) -> Result<(), Failure> {
    match view {
        CgroupMounts::V2 { own: None } => {
            let tree = Filesystem::open("cgroup2")?.mount(mount.attr.set)?;
            attach(tree.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))
        }
        CgroupMounts::V2 { own: Some(own) } => attach_own(mount, own, target),
        CgroupMounts::V1(hierarchies) => mount_v1(mount, target, hierarchies, label),
    }
}

fn mount_v1(
    mount: &Mount,
    target: &OwnedFd,
    hierarchies: &[Hierarchy],
    label: Option<MountLabel<'_>>,
) -> Result<(), Failure> {
    let filesystem = Filesystem::open("tmpfs")?;
    filesystem.set("source", Some("tmpfs"))?;
    filesystem.set("mode", Some("755"))?;
    if let Some(label) = &label {
        label.configure(&filesystem)?;
    }
    let tree = filesystem.mount(mount.attr.set & !attr::RDONLY)?;
    if let Some(label) = &label {
        label.settle(tree.as_fd())?;
    }
    attach(tree.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))?;
    for hierarchy in hierarchies {
        let failed = Failure::at(Step::MountCgroup, &hierarchy.name);
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&tree, &hierarchy.name, mode).map_err(&failed)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&tree, &hierarchy.name, flags, Mode::empty());
        let dir = dir.map_err(&failed)?;
        match &hierarchy.own {
            Some(own) => attach_own(mount, own, &dir)?,
            None => {
                let filesystem = Filesystem::open("cgroup")?;
                filesystem.set("source", Some("cgroup"))?;
                for option in hierarchy.options.split(',') {
                    match option.split_once('=') {
                        Some((key, value)) => filesystem.set(key, Some(value))?,
                        None => filesystem.set(option, None)?,
                    }
                }
                let instance = filesystem.mount(mount.attr.set)?;
                attach(instance.as_fd(), dir.as_fd()).map_err(&failed)?;
            }
        }
        if hierarchy.name.contains(',') {
            for alias in hierarchy.name.split(',') {
                rustix::fs::symlinkat(&hierarchy.name, &tree, alias).map_err(&failed)?;
            }
        }
    }
    // An empty one is all that a container without a cgroup gets: nothing to be written there.
    if mount.attr.set & attr::RDONLY != 0 || hierarchies.is_empty() {
        set_attr(&tree, attr::RDONLY)?;
    }
    Ok(())
}

fn attach_own(mount: &Mount, own: &OwnedFd, target: &OwnedFd) -> Result<(), Failure> {
    set_attr(own, mount.attr.set)?;
    attach(own.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))
}

fn set_attr(tree: &OwnedFd, set: u64) -> Result<(), Failure> {
    let change = MountAttr {
        set,
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(tree.as_fd(), &change, Depth::Top)
        .map_err(Failure::of(Step::SetAttributes))
}
