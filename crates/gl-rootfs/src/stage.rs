//! The child's half: the stages of building the tree, in their order.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use gl_plan::{Labelling, Mount, MountKind, Pivot, Plan, Propagation, Spread, attr};
use gl_sys::{Depth, MountAttr, Spent};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};

use crate::attach::{Filesystem, Way, attach, mount_at_once, on_procfs};
use crate::cgroupfs::{self, CgroupMounts};
use crate::copyup::copy_up;
use crate::dev;
use crate::failure::{Failure, Step};
use crate::hide::{self as hiding, Places, Tops};
use crate::hostview::drop_host_views;
use crate::label::MountLabel;
use crate::prepare::{Bind, depth};
use crate::procfs::Procfs;
use crate::resolve::{Leaf, Made, Root};

/// Cuts the copied mount tree off from the host's and puts the root filesystem over its own path.
///
/// The path is the host's and the engine's choice; nothing of the container is involved yet. It is
/// used at all so that `createContainer` hooks find the container's tree where they expect it.
///
/// # Errors
///
/// [`Failure`] of [`Step::DetachHost`] or [`Step::AttachRoot`].
pub fn attach_root(tree: OwnedFd, path: &Path) -> Result<Root, Failure> {
    // Slave and not private: unmounts on the host still reach us, so we keep nothing busy there.
    let change = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", change).map_err(Failure::of(Step::DetachHost))?;
    let failed = Failure::at(Step::AttachRoot, path.as_os_str().as_encoded_bytes());
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    rustix::mount::move_mount(&tree, "", CWD, path, flags).map_err(failed)?;
    Ok(Root::new(tree))
}

/// What was mounted, as far as it is looked at again.
#[derive(Debug, Default)]
pub struct Mounted {
    /// The procfs that was mounted for the container, if one was and the plan writes to it.
    pub proc: Option<Procfs>,
    tops: Tops,
    /// Mounts that have the root's propagation where that is to reach all: those without their own.
    followers: Vec<OwnedFd>,
    /// New tmpfs that are to be read-only, and are not yet, with their positions: mount points, devices
    /// and the terminal are still to be made in them.
    unsealed: Vec<(usize, OwnedFd)>,
}

impl Mounted {
    fn keep(
        &mut self,
        plan: &Plan,
        mount: &Mount,
        tree: OwnedFd,
        spent: &mut Spent,
    ) -> Result<(), Failure> {
        let again = || rustix::io::fcntl_dupfd_cloexec(&tree, 0).map_err(Failure::of(Step::Attach));
        if follows(plan, mount) {
            self.followers.push(again()?);
        }
        if is_sealed_last(mount) {
            self.unsealed.push((mount.index, again()?));
        }
        if is_type(mount, "proc") && plan.writes_to_proc() {
            self.proc = Some(Procfs::new(again()?)?);
        }
        match Tops::name(&mount.target) {
            Some(name) => self.tops.keep(name, tree),
            None => spent.put(tree),
        }
        Ok(())
    }

    /// A remount that makes the mount writable is what the config says last of it.
    fn forget_seal(&mut self, plan: &Plan, remount: &Mount) {
        let writable = remount.attr.clear & !remount.attr.set & attr::RDONLY != 0;
        if !matches!(remount.kind, MountKind::Remount) || !writable {
            return;
        }
        let target = |index: usize| plan.mounts.iter().find(|mount| mount.index == index);
        self.unsealed
            .retain(|(index, _)| target(*index).is_none_or(|mount| mount.target != remount.target));
    }
}

/// Makes all mounts of the plan, in order.
///
/// # Errors
///
/// [`Failure`] with the mount's position as its index.
pub fn mount_all(
    plan: &Plan,
    root: &Root,
    binds: Vec<Option<Bind>>,
    cgroup: &CgroupMounts,
) -> Result<Mounted, Failure> {
    // Who may not enter it could not go back.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let before = rustix::fs::open(".", flags, Mode::empty()).ok();
    let way = before.as_ref().map_or(Way::Long, Way::Short);
    let mut mounted = Mounted::default();
    let mut spent = Spent::new();
    let mut points = Points::new(root);
    for (mount, bind) in plan.mounts.iter().zip(binds) {
        mount_one(plan, mount, (&mut points, bind), (cgroup, way), &mut spent)
            .and_then(|tree| match tree {
                Some(tree) => mounted.keep(plan, mount, tree, &mut spent),
                None => Ok(()),
            })
            .map_err(|failure| failure.with_index(mount.index))?;
        mounted.forget_seal(plan, mount);
    }
    before.into_iter().for_each(|before| spent.put(before));
    Ok(mounted)
}

/// Whether a mount is made writable, and read-only by [`finish_root`]. An image's files are never in a
/// tmpfs, so what others mount in it has no other place to be made.
fn is_sealed_last(mount: &Mount) -> bool {
    is_type(mount, "tmpfs") && attributes(mount) & attr::RDONLY != 0
}

fn attributes(mount: &Mount) -> u64 {
    (mount.tree_attr.set & !mount.attr.clear) | mount.attr.set
}

fn is_type(mount: &Mount, name: &str) -> bool {
    matches!(&mount.kind, MountKind::Filesystem { fstype, .. } if fstype == name)
}

/// Whether a mount is to have the root's propagation.
fn follows(plan: &Plan, mount: &Mount) -> bool {
    let reaches = matches!(plan.root.propagation, Some((_, Spread::Tree)));
    reaches && mount.propagation.is_empty()
}

/// Makes one mount; returns its descriptor where it is a new filesystem or a bind and is looked at again.
fn mount_one(
    plan: &Plan,
    mount: &Mount,
    (points, bind): (&mut Points<'_>, Option<Bind>),
    view: (&CgroupMounts, Way<'_>),
    spent: &mut Spent,
) -> Result<Option<OwnedFd>, Failure> {
    let (target, made) = points.open(mount, bind.as_ref())?;
    let tree = mount_onto(plan, mount, (&target, made, bind), view, spent)?;
    spent.put(target);
    Ok(tree)
}

fn mount_onto(
    plan: &Plan,
    mount: &Mount,
    (target, made, bind): (&OwnedFd, Made, Option<Bind>),
    (cgroup, way): (&CgroupMounts, Way<'_>),
    spent: &mut Spent,
) -> Result<Option<OwnedFd>, Failure> {
    let context = plan.mount_label.as_deref();
    let tree = match (&mount.kind, bind) {
        (MountKind::Bind { .. }, Some(bind)) => {
            attach(bind.tree.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))?;
            make_unbindable(mount, &bind.tree)?;
            return Ok(Some(bind.tree));
        }
        (MountKind::Stored { .. }, Some(bind)) => {
            settle_stored(mount, &bind.tree, target, made)?;
            attach(bind.tree.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))?;
            make_unbindable(mount, &bind.tree)?;
            return Ok(Some(bind.tree));
        }
        (MountKind::Remount, _) => {
            change_attributes(mount, target)?;
            return change_propagation(mount, target).map(|()| None);
        }
        (MountKind::Cgroup, _) => {
            let label = MountLabel::new(context, Labelling::Parameter);
            cgroupfs::mount(mount, target, (cgroup, way), label, spent)?;
            return Ok(None);
        }
        _ => {
            let label = match &mount.kind {
                MountKind::Filesystem { labelling, .. } => MountLabel::new(context, *labelling),
                _ => None,
            };
            let is_held = label.is_some()
                || Tops::name(&mount.target).is_some()
                || follows(plan, mount)
                || is_sealed_last(mount)
                || !mount.propagation.is_empty();
            let way = match is_held {
                true => Way::Long,
                false => way,
            };
            match new_filesystem(mount, (target, made), label, way, spent)? {
                Some(tree) => tree,
                None => return Ok(None),
            }
        }
    };
    attach(tree.as_fd(), target.as_fd()).map_err(Failure::of(Step::Attach))?;
    change_propagation(mount, &tree)?;
    Ok(Some(tree))
}

/// Where mounts go in a root.
#[derive(Debug)]
struct Points<'root> {
    root: &'root Root,
    /// The root's own device and inode, once known.
    top: Option<(u64, u64)>,
    /// The device of a filesystem that is no procfs.
    plain: Option<u64>,
}

impl<'root> Points<'root> {
    fn new(root: &'root Root) -> Self {
        Self {
            root,
            top: None,
            plain: None,
        }
    }

    /// Opens, or makes, where a mount goes, and refuses what must not be covered.
    fn open(&mut self, mount: &Mount, bind: Option<&Bind>) -> Result<(OwnedFd, Made), Failure> {
        let root = self.root;
        let leaf = bind.map_or(Leaf::Directory, |bind| bind.leaf);
        let name = mount.target.as_os_str().as_encoded_bytes();
        let failed = Failure::at(Step::MountPoint, name);
        let refused = Failure::at(Step::RefuseTarget, name);
        let relative = mount.target.strip_prefix("/").unwrap_or(&mount.target);
        let is_fixed = ["proc", "sys", "dev"]
            .iter()
            .any(|name| relative == Path::new(name));
        let found = match is_fixed || is_type(mount, "proc") || is_type(mount, "sysfs") {
            // One that is a link in the image would put the real one elsewhere.
            true => match open_real_directory(root, relative) {
                Ok(fd) => Some((fd, Made::Existing)),
                Err(Errno::NOENT) => None,
                Err(errno @ (Errno::LOOP | Errno::NOTDIR)) => return Err(refused(errno)),
                Err(errno) => return Err(failed(errno)),
            },
            false => None,
        };
        let (target, made) = match found {
            Some(found) => found,
            None => root.open_or_make(relative, leaf).map_err(&failed)?,
        };
        let here = rustix::fs::fstat(&target).map_err(&failed)?;
        let is_top = (here.st_dev, here.st_ino) == self.top().map_err(&failed)?;
        if is_top && !matches!(mount.kind, MountKind::Remount) {
            return Err(refused(Errno::BUSY));
        }
        // The config's own targets there were judged by their clean names.
        let is_named = relative.starts_with("proc")
            && !relative.components().any(|c| c == Component::ParentDir);
        if !is_named && self.plain != Some(here.st_dev) {
            if on_procfs(target.as_fd()).map_err(&failed)? {
                return Err(refused(Errno::PERM));
            }
            self.plain = Some(here.st_dev);
        }
        let is_proc = relative == Path::new("proc") && matches!(mount.kind, MountKind::Bind { .. });
        if let (true, Some(bind)) = (is_proc, bind)
            && !on_procfs(bind.tree.as_fd()).map_err(&failed)?
        {
            return Err(refused(Errno::INVAL));
        }
        Ok((target, made))
    }

    fn top(&mut self) -> Result<(u64, u64), Errno> {
        if let Some(top) = self.top {
            return Ok(top);
        }
        let stat = rustix::fs::fstat(self.root)?;
        Ok(*self.top.insert((stat.st_dev, stat.st_ino)))
    }
}

/// Opens a directory to which no link leads.
fn open_real_directory(root: &Root, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// Makes a filesystem. It is mounted already where no descriptor is returned, which is so by the short way alone.
fn new_filesystem(
    mount: &Mount,
    (target, made): (&OwnedFd, Made),
    label: Option<MountLabel<'_>>,
    way: Way<'_>,
    spent: &mut Spent,
) -> Result<Option<OwnedFd>, Failure> {
    let MountKind::Filesystem {
        fstype,
        source,
        flags,
        data,
        copy_up: copies,
        ..
    } = &mount.kind
    else {
        return Err(Failure::of(Step::CreateFilesystem)(Errno::INVAL));
    };
    let mode;
    let mut parameters: Vec<(&str, Option<&str>)> =
        flags.iter().map(|flag| (*flag, None)).collect();
    parameters.extend(data.iter().map(|(key, value)| (&**key, value.as_deref())));
    if fstype == "tmpfs" && made == Made::Existing && data.iter().all(|(key, _)| key != "mode") {
        // A tmpfs over a directory keeps that directory's mode, so that /tmp stays 1777.
        let stat = rustix::fs::fstat(target).map_err(Failure::of(Step::MountPoint))?;
        mode = format!("{:o}", stat.st_mode & 0o7777);
        parameters.push(("mode", Some(&mode)));
    }
    let mut attributes = attributes(mount);
    if is_sealed_last(mount) {
        attributes &= !attr::RDONLY;
    }
    let place = (target.as_fd(), None);
    // Flags of the superblock have no word that all filesystems take.
    let is_short = flags.is_empty() && !copies;
    let what = (&**fstype, &**source);
    if is_short && mount_at_once(way, what, place, attributes, &parameters)? {
        return Ok(None);
    }
    let filesystem = Filesystem::open(fstype)?;
    filesystem.set("source", Some(source))?;
    for (key, value) in parameters {
        filesystem.set(key, value)?;
    }
    if let Some(label) = &label {
        label.configure(&filesystem)?;
    }
    let is_written = *copies || label.is_some_and(|label| label.is_written());
    let before = match is_written {
        true => attributes & !attr::RDONLY,
        false => attributes,
    };
    let tree = filesystem.mount(before)?;
    spent.put(filesystem.into_fd());
    settle(label, &tree)?;
    if *copies {
        copy_up(target.as_fd(), tree.as_fd()).map_err(Failure::of(Step::CopyUp))?;
    }
    if attributes != before {
        set_readonly(&tree)?;
    }
    Ok(Some(tree))
}

/// Makes a directory of the container's own filesystem what the tmpfs was to be in whose place it is.
fn settle_stored(
    mount: &Mount,
    tree: &OwnedFd,
    target: &OwnedFd,
    made: Made,
) -> Result<(), Failure> {
    let MountKind::Stored {
        mode,
        uid,
        gid,
        copy_up: copies,
    } = mount.kind
    else {
        return Ok(());
    };
    if copies {
        copy_up(target.as_fd(), tree.as_fd()).map_err(Failure::of(Step::CopyUp))?;
    }
    let stat = rustix::fs::fstat(target).map_err(Failure::of(Step::MountPoint))?;
    let mode = mode.or((made == Made::Existing).then_some(stat.st_mode & 0o7777));
    let failed = Failure::of(Step::CreateFilesystem);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(tree, ".", flags, Mode::empty()).map_err(&failed)?;
    if uid.is_some() || gid.is_some() {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        rustix::fs::fchown(&dir, uid, gid).map_err(&failed)?;
    }
    // That of a new tmpfs. After the owner, whose change takes bits away.
    let mode = Mode::from_raw_mode(mode.unwrap_or(0o1777));
    rustix::fs::fchmod(&dir, mode).map_err(failed)
}

fn settle(label: Option<MountLabel<'_>>, tree: &OwnedFd) -> Result<(), Failure> {
    label.map_or(Ok(()), |label| label.settle(tree.as_fd()))
}

fn set_readonly(tree: &OwnedFd) -> Result<(), Failure> {
    let change = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(tree.as_fd(), &change, Depth::Top)
        .map_err(Failure::of(Step::SetAttributes))
}

fn change_attributes(mount: &Mount, tree: &OwnedFd) -> Result<(), Failure> {
    let changes = [(mount.tree_attr, Depth::Tree), (mount.attr, Depth::Top)];
    for (change, depth) in changes.into_iter().filter(|(change, _)| !change.is_empty()) {
        let change = MountAttr {
            set: change.set,
            clear: change.clear,
            ..MountAttr::default()
        };
        gl_sys::mount_setattr(tree.as_fd(), &change, depth)
            .map_err(Failure::of(Step::SetAttributes))?;
    }
    Ok(())
}

fn change_propagation(mount: &Mount, tree: &OwnedFd) -> Result<(), Failure> {
    for (kind, spread) in &mount.propagation {
        let change = MountAttr {
            propagation: kind.bit(),
            ..MountAttr::default()
        };
        gl_sys::mount_setattr(tree.as_fd(), &change, depth(*spread))
            .map_err(Failure::of(Step::SetPropagation))?;
    }
    Ok(())
}

/// The one propagation that `prepare` had to leave for after the mount is in place.
fn make_unbindable(mount: &Mount, tree: &OwnedFd) -> Result<(), Failure> {
    if mount
        .propagation
        .iter()
        .any(|(kind, _)| *kind == Propagation::Unbindable)
    {
        return change_propagation(mount, tree);
    }
    Ok(())
}

/// Makes the nodes and links of `/dev`, unless the host's is bound there.
///
/// # Errors
///
/// [`Failure`] with the device's position as its index.
pub fn make_dev(plan: &Plan, root: &Root, devices: Vec<Option<OwnedFd>>) -> Result<(), Failure> {
    if !plan.dev_setup {
        return Ok(());
    }
    // Nodes and links behind a link of the image would be made in a volume, perhaps.
    let mut places = dev::Places::new(root);
    match open_real_directory(root, Path::new("dev")) {
        Ok(dev) => places.keep(Path::new("dev"), dev),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(Failure::at(Step::MakeDevice, "/dev")(errno)),
    }
    for (index, (device, bind)) in plan.devices.iter().zip(devices).enumerate() {
        dev::make_device(device, &mut places, bind).map_err(|failure| failure.with_index(index))?;
    }
    dev::make_links(&mut places)
}

/// Writes the kernel parameters of the plan, through a procfs that nothing can cover.
///
/// # Errors
///
/// [`Failure`] of [`Step::Sysctl`] with the parameter's position as its index.
pub fn write_sysctls(plan: &Plan, proc: &Procfs) -> Result<(), Failure> {
    for (index, sysctl) in plan.sysctl.iter().enumerate() {
        let path = Path::new("sys").join(&sysctl.path);
        proc.write(&path, sysctl.value.as_bytes())
            .map_err(Failure::at(Step::Sysctl, &sysctl.path))
            .map_err(|failure| failure.with_index(index))?;
    }
    Ok(())
}

/// Makes the plan's read-only paths read-only and its masked paths empty.
///
/// # Errors
///
/// [`Failure`] with the path's position as its index. A path that does not exist is none.
pub fn hide(plan: &Plan, root: &Root, mounted: &Mounted, null: OwnedFd) -> Result<(), Failure> {
    let places = Places {
        root,
        tops: &mounted.tops,
    };
    let mut spent = Spent::new();
    for (index, path) in plan.readonly_paths.iter().enumerate() {
        hiding::make_readonly(path, &places, &mut spent)
            .map_err(|failure| failure.with_index(index))?;
    }
    let label = MountLabel::new(plan.mount_label.as_deref(), Labelling::Parameter);
    let mut masks = hiding::Masks::new(null, label);
    for (index, path) in plan.masked_paths.iter().enumerate() {
        masks
            .cover(path, &places, &mut spent)
            .map_err(|failure| failure.with_index(index))?;
    }
    Ok(())
}

/// Makes the tree this process's root and leaves the host's behind. `path` is where it is attached.
///
/// # Errors
///
/// [`Failure`] of [`Step::Pivot`] or [`Step::DropOldRoot`].
pub fn pivot(root: &Root, path: &Path, how: Pivot) -> Result<(), Failure> {
    let failed = Failure::of(Step::Pivot);
    rustix::process::fchdir(root).map_err(&failed)?;
    match how {
        Pivot::Pivot => {
            rustix::process::pivot_root(".", ".").map_err(&failed)?;
            // The old root now lies over the new one, where "." still is.
            rustix::mount::unmount(".", UnmountFlags::DETACH)
                .map_err(Failure::of(Step::DropOldRoot))?;
        }
        Pivot::MoveRoot => {
            drop_host_views(path).map_err(Failure::of(Step::DropOldRoot))?;
            let slash = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            attach(root.as_fd(), slash.map_err(&failed)?.as_fd()).map_err(&failed)?;
            rustix::process::chroot(".").map_err(&failed)?;
        }
    }
    rustix::process::chdir("/").map_err(failed)
}

/// Sets what must come last: what is read-only of new filesystems, and the root's propagation and its
/// read-only state.
///
/// # Spec
///
/// `config-linux.md`, "Rootfs Mount Propagation". A form for the whole tree (`rshared`) reaches the
/// mounts that say nothing of their own: what one of them says holds.
///
/// # Errors
///
/// [`Failure`] of [`Step::SetAttributes`], [`Step::RootPropagation`] or [`Step::ReadonlyRoot`].
pub fn finish_root(plan: &Plan, root: &Root, mounted: &Mounted) -> Result<(), Failure> {
    for (index, tree) in &mounted.unsealed {
        set_readonly(tree).map_err(|failure| failure.with_index(*index))?;
    }
    if let Some((kind, _)) = plan.root.propagation {
        let change = MountAttr {
            propagation: kind.bit(),
            ..MountAttr::default()
        };
        let trees = mounted.followers.iter().map(AsFd::as_fd);
        for tree in trees.chain([root.as_fd()]) {
            gl_sys::mount_setattr(tree, &change, Depth::Top)
                .map_err(Failure::of(Step::RootPropagation))?;
        }
    }
    if plan.root.readonly {
        let change = MountAttr {
            set: attr::RDONLY,
            ..MountAttr::default()
        };
        gl_sys::mount_setattr(root.as_fd(), &change, Depth::Top)
            .map_err(Failure::of(Step::ReadonlyRoot))?;
    }
    Ok(())
}

/// Whether `fd` is a directory.
pub(crate) fn is_directory(fd: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
