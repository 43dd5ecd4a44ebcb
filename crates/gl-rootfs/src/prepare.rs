//! The runtime's half: open what the tree takes from the host, before the fork.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_plan::{Device, DeviceKind, IdMaps, Mount, MountKind, Plan, Propagation, Spread, attr};
use gl_spec::{Class, Classify};
use gl_sys::{Depth, MountAttr};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen,
};

use crate::resolve::Leaf;
use crate::store::{LAYER, Stored};

/// Why a host object could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The root filesystem.
    #[error("open the root filesystem {}", path.display())]
    Root {
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The root filesystem is no directory.
    #[error("use {} as the root filesystem: it is not a directory", path.display())]
    RootKind {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A bind mount's source.
    #[error("open the source {} of {field}", path.display())]
    Source {
        /// The config field.
        field: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// A bind mount's attributes.
    #[error("set the attributes of {field}")]
    Attributes {
        /// The config field.
        field: String,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// A bind mount's id map.
    #[error("map the ids of {} as {field} asks", path.display())]
    Idmap {
        /// The config field.
        field: String,
        /// The mount's source.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The container's own filesystem, or the root on it.
    #[error("{what} of {field}")]
    Store {
        /// What was being done.
        what: &'static str,
        /// The line of the profile.
        field: String,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The root has mounts below it, which a layer over it would hide.
    #[error("hold {field}: there is a mount at {path}, below the root")]
    Submount {
        /// The line of the profile.
        field: String,
        /// Where it is on the host.
        path: String,
    },
    /// A device of the host that is bound into a user namespace.
    #[error("open the device {} of {field}", path.display())]
    Device {
        /// The config field.
        field: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The file at a device's path on the host is another one.
    #[error("use {} for {field}: it is not device {major}:{minor}", path.display())]
    DeviceNumber {
        /// The config field.
        field: String,
        /// Where it was looked for.
        path: PathBuf,
        /// Wanted major number.
        major: u32,
        /// Wanted minor number.
        minor: u32,
    },
}

impl Error {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Root { source, .. }
            | Self::Source { source, .. }
            | Self::Attributes { source, .. }
            | Self::Idmap { source, .. }
            | Self::Store { source, .. }
            | Self::Device { source, .. } => Some(*source),
            Self::RootKind { .. } | Self::DeviceNumber { .. } | Self::Submount { .. } => None,
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        if matches!(self, Self::Submount { .. }) {
            return Class::Unsupported;
        }
        match self.errno() {
            None | Some(Errno::NOTDIR) => Class::Invalid,
            Some(Errno::NOENT) => Class::NotFound,
            Some(Errno::PERM | Errno::ACCESS) => Class::Denied,
            Some(Errno::NOSYS) => Class::Unsupported,
            Some(_) => Class::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Root { .. } | Self::RootKind { .. } => "E_ROOTFS",
            Self::Source { .. } | Self::Attributes { .. } | Self::Idmap { .. } => "E_MOUNT",
            Self::Device { .. } | Self::DeviceNumber { .. } => "E_DEVICE",
            Self::Store { .. } | Self::Submount { .. } => "E_DISK_QUOTA",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Root { .. } | Self::RootKind { .. } => Some("root.path".into()),
            Self::Source { field, .. }
            | Self::Store { field, .. }
            | Self::Submount { field, .. }
            | Self::Attributes { field, .. }
            | Self::Idmap { field, .. }
            | Self::Device { field, .. }
            | Self::DeviceNumber { field, .. } => Some(field.as_str().into()),
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match self {
            Self::Root { .. } | Self::RootKind { .. } => {
                "name a directory, absolute or relative to the bundle"
            }
            Self::Source { .. } => "create the source on the host, or correct its path",
            Self::Idmap { source, .. } if *source == Errno::NOSPC => {
                "a limit in /proc/sys/user/max_*_namespaces is reached"
            }
            Self::Idmap { .. } => {
                "the source's filesystem must support id-mapped mounts, as ext4, xfs and tmpfs do"
            }
            Self::Store { what, source, .. } if *what == LAYER && *source == Errno::INVAL => {
                "a layer over the engine's root is one too many for the kernel, or for the filesystem that \
                 the root is on: set readonly_root = true, or leave the quota out"
            }
            Self::Store { .. } => "set readonly_root = true, or leave the quota out",
            Self::Submount { .. } => {
                "unmount it, or let the engine mount it read-only as one of the container's mounts"
            }
            Self::Attributes { .. } => "the kernel must be 5.12 or later and the caller root",
            Self::Device { .. } | Self::DeviceNumber { .. } => {
                "in a user namespace the host's device of the same path is bound"
            }
        }))
    }
}

/// A detached mount of something of the host, ready to be attached.
#[derive(Debug)]
pub struct Bind {
    /// The detached mount.
    pub tree: OwnedFd,
    /// What its mount point has to be.
    pub leaf: Leaf,
}

/// Every host object that a tree needs.
#[derive(Debug)]
pub struct Prepared {
    /// Where the root filesystem is on the host, absolute.
    pub root_path: PathBuf,
    /// The root filesystem.
    pub root: OwnedFd,
    /// For each mount of the plan its source, if it has one on the host.
    pub binds: Vec<Option<Bind>>,
    /// For each device of the plan the host's, if nodes cannot be made.
    pub devices: Vec<Option<OwnedFd>>,
    /// The host's `/dev/null`, to mask files with.
    pub null: OwnedFd,
}

impl Prepared {
    /// Every descriptor in it.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.root.as_fd(), self.null.as_fd()];
        all.extend(self.binds.iter().flatten().map(|bind| bind.tree.as_fd()));
        all.extend(self.devices.iter().flatten().map(AsFd::as_fd));
        all
    }
}

/// Makes a root filesystem that is nowhere on the host: a tmpfs, empty, which is gone with its last descriptor.
///
/// # Kernel
///
/// `fsmount(2)`, since 5.2.
///
/// # Errors
///
/// Those of `fsopen(2)`, `fsconfig(2)` and `fsmount(2)`; the caller needs `CAP_SYS_ADMIN` in the user
/// namespace of its mounts.
pub fn new_root() -> Result<OwnedFd, Errno> {
    let made = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&made, "source", "tmpfs")?;
    fsconfig_set_string(&made, "mode", "755")?;
    fsconfig_create(&made)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&made, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

/// Opens what `plan` takes from the host; relative paths are below `bundle`, which is absolute. The root of
/// `stored` is a mount that is attached nowhere, in place of the plan's root.
/// `userns` makes a user namespace with given maps, for mounts with an id map.
///
/// # Kernel
///
/// `open_tree(2)` with `OPEN_TREE_CLONE`, since 5.2; `mount_setattr(2)`, since 5.12.
///
/// # Errors
///
/// [`Error`], naming the config field and the path.
pub fn prepare(
    plan: &Plan,
    bundle: &Path,
    stored: Stored,
    userns: &mut dyn FnMut(&IdMaps) -> Result<OwnedFd, Errno>,
) -> Result<Prepared, Error> {
    let root_path = bundle.join(&plan.root.path);
    let null_path = Path::new("/dev/null");
    let mut places = stored.places.into_iter().peekable();
    Ok(Prepared {
        root: open_root(plan, &root_path, stored.root)?,
        binds: plan
            .mounts
            .iter()
            .map(
                |mount| match places.next_if(|(index, _)| *index == mount.index) {
                    Some((_, tree)) => bind_place(plan, mount, tree).map(Some),
                    None => open_bind(plan, mount, bundle, userns),
                },
            )
            .collect::<Result<_, _>>()?,
        devices: plan
            .devices
            .iter()
            .map(|device| match plan.bind_devices && plan.dev_setup {
                true => open_device(device).map(Some),
                false => Ok(None),
            })
            .collect::<Result<_, _>>()?,
        null: open_numbered(
            "linux.maskedPaths",
            null_path,
            FileType::CharacterDevice,
            (1, 3),
        )?,
        root_path,
    })
}

/// What every mount that comes from the host starts with: events of the container must not reach
/// the host unless the config says so.
fn default_propagation(plan: &Plan) -> Propagation {
    match plan.root.propagation {
        Some((Propagation::Private | Propagation::Unbindable, _)) => Propagation::Private,
        _ => Propagation::Slave,
    }
}

fn open_root(plan: &Plan, path: &Path, given: Option<OwnedFd>) -> Result<OwnedFd, Error> {
    let failed = |source| Error::Root {
        path: path.to_owned(),
        source,
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = match given {
        Some(root) => root,
        None => rustix::mount::open_tree(CWD, path, flags).map_err(failed)?,
    };
    let stat = rustix::fs::fstat(&tree).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Error::RootKind {
            path: path.to_owned(),
        });
    }
    let attr = MountAttr {
        propagation: default_propagation(plan).bit(),
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(tree.as_fd(), &attr, Depth::Tree).map_err(failed)?;
    Ok(tree)
}

fn open_bind(
    plan: &Plan,
    mount: &Mount,
    bundle: &Path,
    userns: &mut dyn FnMut(&IdMaps) -> Result<OwnedFd, Errno>,
) -> Result<Option<Bind>, Error> {
    let MountKind::Bind { source, spread } = &mount.kind else {
        return Ok(None);
    };
    let path = bundle.join(source);
    let failed = |source| Error::Source {
        field: format!("{}.source", mount.field()),
        path: path.clone(),
        source,
    };
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if *spread == Spread::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = rustix::mount::open_tree(CWD, &path, flags).map_err(failed)?;
    let stat = rustix::fs::fstat(&tree).map_err(failed)?;
    let leaf = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Leaf::Directory,
        _ => Leaf::File,
    };
    set_attributes(plan, mount, &tree).map_err(|source| Error::Attributes {
        field: format!("{}.options", mount.field()),
        source,
    })?;
    if let Some(idmap) = &mount.idmap {
        let failed = |source| Error::Idmap {
            field: format!("{}.uidMappings", mount.field()),
            path: path.clone(),
            source,
        };
        let userns = userns(&idmap.maps).map_err(failed)?;
        let change = MountAttr {
            set: attr::IDMAP,
            userns_fd: u64::from(userns.as_raw_fd().cast_unsigned()),
            ..MountAttr::default()
        };
        gl_sys::mount_setattr(tree.as_fd(), &change, depth(idmap.spread)).map_err(failed)?;
    }
    Ok(Some(Bind { tree, leaf }))
}

/// A directory of the container's own filesystem, as a mount of the plan wants it.
fn bind_place(plan: &Plan, mount: &Mount, tree: OwnedFd) -> Result<Bind, Error> {
    set_attributes(plan, mount, &tree).map_err(|source| Error::Attributes {
        field: format!("{}.options", mount.field()),
        source,
    })?;
    let leaf = Leaf::Directory;
    Ok(Bind { tree, leaf })
}

/// What the whole tree of a bind starts with. A mount that was private for a moment could not become
/// a slave any more, and one that was cut off from its peers does not find them again.
fn first_propagation(plan: &Plan, mount: &Mount) -> u64 {
    let has = |wanted| mount.propagation.iter().any(|(kind, _)| *kind == wanted);
    if let Some(only) = only_propagation(mount) {
        only.bit()
    } else if has(Propagation::Shared) {
        0
    } else if has(Propagation::Slave) {
        Propagation::Slave.bit()
    } else {
        default_propagation(plan).bit()
    }
}

/// What the whole tree of a bind starts with and stays.
fn only_propagation(mount: &Mount) -> Option<Propagation> {
    match mount.propagation[..] {
        [(kind @ (Propagation::Private | Propagation::Slave), Spread::Tree)] => Some(kind),
        _ => None,
    }
}

/// Attributes and propagation, in one call where one is enough.
fn set_attributes(plan: &Plan, mount: &Mount, tree: &OwnedFd) -> Result<(), Errno> {
    let whole = MountAttr {
        set: mount.tree_attr.set,
        clear: mount.tree_attr.clear,
        propagation: first_propagation(plan, mount),
        userns_fd: 0,
    };
    if whole != MountAttr::default() {
        gl_sys::mount_setattr(tree.as_fd(), &whole, Depth::Tree)?;
    }
    if !mount.attr.is_empty() {
        let top = MountAttr {
            set: mount.attr.set,
            clear: mount.attr.clear,
            ..MountAttr::default()
        };
        gl_sys::mount_setattr(tree.as_fd(), &top, Depth::Top)?;
    }
    if only_propagation(mount).is_some() {
        return Ok(());
    }
    for (kind, spread) in &mount.propagation {
        let change = MountAttr {
            propagation: kind.bit(),
            ..MountAttr::default()
        };
        // An unbindable mount cannot be moved either while detached, so that one waits.
        if *kind != Propagation::Unbindable {
            gl_sys::mount_setattr(tree.as_fd(), &change, depth(*spread))?;
        }
    }
    Ok(())
}

pub(crate) fn depth(spread: Spread) -> Depth {
    match spread {
        Spread::Top => Depth::Top,
        Spread::Tree => Depth::Tree,
    }
}

fn open_device(device: &Device) -> Result<OwnedFd, Error> {
    let kind = match device.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    };
    open_numbered(
        &device.field,
        &device.path,
        kind,
        (device.major, device.minor),
    )
}

/// Clones the mount of one device file after checking that it is that device.
fn open_numbered(
    field: &str,
    path: &Path,
    kind: FileType,
    (major, minor): (u32, u32),
) -> Result<OwnedFd, Error> {
    let failed = |source| Error::Device {
        field: field.to_owned(),
        path: path.to_owned(),
        source,
    };
    let file =
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    let same = FileType::from_raw_mode(stat.st_mode) == kind
        && (kind == FileType::Fifo || stat.st_rdev == rustix::fs::makedev(major, minor));
    if !same {
        return Err(Error::DeviceNumber {
            field: field.to_owned(),
            path: path.to_owned(),
            major,
            minor,
        });
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&file, "", flags).map_err(failed)?;
    let attr = MountAttr {
        // The inode is the host's own, and the container's root may be its owner. A device on a
        // read-only mount can still be written to; its mode, owner and times stay as they are.
        set: attr::RDONLY,
        propagation: Propagation::Private.bit(),
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(tree.as_fd(), &attr, Depth::Top).map_err(failed)?;
    Ok(tree)
}
