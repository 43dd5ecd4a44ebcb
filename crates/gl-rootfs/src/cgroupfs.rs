//! The container's view of its cgroups: a mount of type `cgroup` or `cgroup2`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_plan::{Mount, attr};
use gl_sys::{Batch, Depth, MountAttr, Spent};
use rustix::fs::Mode;
use rustix::mount::MoveMountFlags;

use crate::attach::{Filesystem, Way, attach, mount_at_once};
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

impl Drop for CgroupMounts {
    fn drop(&mut self) {
        if let Self::V1(hierarchies) = self {
            let own = hierarchies.iter_mut().filter_map(|one| one.own.take());
            drop(Batch::from(own.collect::<Vec<_>>()));
        }
    }
}

/// Mounts them onto `target`. The label is for the tmpfs that holds v1 hierarchies; the kernel labels
/// the hierarchies themselves.
pub(crate) fn mount(
    mount: &Mount,
    target: &OwnedFd,
    (view, way): (&CgroupMounts, Way<'_>),
    label: Option<MountLabel<'_>>,
    spent: &mut Spent,
) -> Result<(), Failure> {
    match view {
        CgroupMounts::V2 { own: None } => {
            let tree = Filesystem::open("cgroup2")?.mount(mount.attr.set)?;
            attach(tree.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))
        }
        CgroupMounts::V2 { own: Some(own) } => attach_own(mount, own, target),
        CgroupMounts::V1(hierarchies) => mount_v1(mount, target, (hierarchies, way), label, spent),
    }
}

fn mount_v1(
    mount: &Mount,
    target: &OwnedFd,
    (hierarchies, way): (&[Hierarchy], Way<'_>),
    label: Option<MountLabel<'_>>,
    spent: &mut Spent,
) -> Result<(), Failure> {
    let filesystem = Filesystem::open("tmpfs")?;
    filesystem.set("source", Some("tmpfs"))?;
    filesystem.set("mode", Some("755"))?;
    if let Some(label) = &label {
        label.configure(&filesystem)?;
    }
    let tree = filesystem.mount(mount.attr.set & !attr::RDONLY)?;
    spent.put(filesystem.into_fd());
    if let Some(label) = &label {
        label.settle(tree.as_fd())?;
    }
    attach(tree.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))?;
    for hierarchy in hierarchies {
        let failed = Failure::at(Step::MountCgroup, &hierarchy.name);
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&tree, &hierarchy.name, mode).map_err(&failed)?;
        match &hierarchy.own {
            Some(own) => {
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                rustix::mount::move_mount(own, "", &tree, &hierarchy.name, flags)
                    .map_err(&failed)?;
            }
            None => mount_hierarchy(mount, &tree, hierarchy, way)?,
        }
        if hierarchy.name.contains(',') {
            for alias in hierarchy.name.split(',') {
                rustix::fs::symlinkat(&hierarchy.name, &tree, alias).map_err(&failed)?;
            }
        }
    }
    // An empty one is all that a container without a cgroup gets: nothing to be written there.
    let readonly = match hierarchies.is_empty() {
        true => attr::RDONLY,
        false => 0,
    };
    set_attr(&tree, mount.attr.set | readonly, Depth::Tree)?;
    spent.put(tree);
    Ok(())
}

/// Mounts a hierarchy at its name, writable: what is read-only becomes so with all others.
fn mount_hierarchy(
    mount: &Mount,
    tree: &OwnedFd,
    hierarchy: &Hierarchy,
    way: Way<'_>,
) -> Result<(), Failure> {
    let attributes = mount.attr.set & !attr::RDONLY;
    let options = hierarchy.options.split(',');
    let options: Vec<_> = options
        .map(|option| match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        })
        .collect();
    let place = (tree.as_fd(), Some(&*hierarchy.name));
    if mount_at_once(way, ("cgroup", "cgroup"), place, attributes, &options)? {
        return Ok(());
    }
    let filesystem = Filesystem::open("cgroup")?;
    filesystem.set("source", Some("cgroup"))?;
    for (key, value) in options {
        filesystem.set(key, value)?;
    }
    let instance = filesystem.mount(attributes)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&instance, "", tree, &hierarchy.name, flags)
        .map_err(Failure::at(Step::MountCgroup, &hierarchy.name))
}

fn attach_own(mount: &Mount, own: &OwnedFd, target: &OwnedFd) -> Result<(), Failure> {
    set_attr(own, mount.attr.set, Depth::Top)?;
    attach(own.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))
}

fn set_attr(tree: &OwnedFd, set: u64, depth: Depth) -> Result<(), Failure> {
    let change = MountAttr {
        set,
        // A mode is set in the place of another.
        clear: match set & attr::ATIME {
            0 => 0,
            _ => attr::ATIME,
        },
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(tree.as_fd(), &change, depth).map_err(Failure::of(Step::SetAttributes))
}
