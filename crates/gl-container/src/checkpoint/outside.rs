//! What of a running container comes from outside and is not saved: mounts, and streams that are files of
//! the host.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use gl_criu::mounts::{self, Mount};
use gl_plan::{Kind, MountKind, Plan};
use gl_rootfs::Root;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::images::{From, Outside};
use crate::error::Error;
use crate::store::read_all;

/// The root of a process, to look names up in.
pub(crate) fn open_root(pid: i32) -> Result<Root, Error> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, &path, flags, Mode::empty());
    Ok(Root::new(fd.map_err(Error::file("open", path))?))
}

/// The mounts that a process sees.
pub(crate) fn list(pid: i32) -> Result<Vec<Mount>, Error> {
    let path = PathBuf::from(format!("/proc/{pid}/mountinfo"));
    let bytes = read(&path)?;
    mounts::parse(&bytes).ok_or(Error::Corrupt { path })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    file.and_then(|file| read_all(&file, 16 * 1024))
        .map_err(Error::file("read", path))
}

/// Finds the mounts of a container that come from outside.
pub(crate) fn find(pid: i32, plan: &Plan) -> Result<Vec<Outside>, Error> {
    let host = list(rustix::process::getpid().as_raw_nonzero().get())?;
    let own = list(pid)?;
    let root = open_root(pid)?;
    let outside = mounts::from_outside(&own, &host);
    let top = own.iter().filter(|mount| mount.at == Path::new("/"));
    let finder = Finder {
        outside: outside
            .iter()
            .copied()
            .chain(top)
            .map(|mount| (mount.id, mount))
            .collect(),
        binds: binds(&root, plan)?,
        root,
        plan,
    };
    let mut found = Vec::new();
    for mount in outside {
        if let Some(from) = finder.origin(mount)? {
            found.push(Outside {
                name: format!("greenlang-{}", found.len()),
                at: mount.at.clone(),
                from,
            });
        }
    }
    Ok(found)
}

/// The config's bind mounts by the ids that they have in the container. One that another lies over has none.
fn binds(root: &Root, plan: &Plan) -> Result<BTreeMap<u64, PathBuf>, Error> {
    let mut binds = BTreeMap::new();
    for mount in &plan.mounts {
        if !matches!(mount.kind, MountKind::Bind { .. }) {
            continue;
        }
        let relative = mount.target.strip_prefix("/").unwrap_or(&mount.target);
        match root.open(relative, OFlags::PATH) {
            Ok(file) => {
                binds.insert(mount_id(&file)?, mount.target.clone());
            }
            // The container has taken it away.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(source) => return Err(Error::file("open in the container", &mount.target)(source)),
        }
    }
    Ok(binds)
}

fn mount_id(file: &OwnedFd) -> Result<u64, Error> {
    let wanted = StatxFlags::MNT_ID;
    let found = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted);
    Ok(found
        .map_err(Error::host("find a mount of the container"))?
        .stx_mnt_id)
}

struct Finder<'a> {
    /// The root and all that comes from outside.
    outside: BTreeMap<u64, &'a Mount>,
    binds: BTreeMap<u64, PathBuf>,
    root: Root,
    plan: &'a Plan,
}

impl Finder<'_> {
    /// Where a mount comes from; none for what CRIU can make by itself, such as a bind of something that is
    /// mounted in the container elsewhere.
    fn origin(&self, mount: &Mount) -> Result<Option<From>, Error> {
        if mount.kind == "cgroup2" {
            // One of its own namespace has no part of the host's above it.
            return Ok(match self.plan.namespaces.has(Kind::Cgroup) {
                true => None,
                false => Some(From::Cgroup {
                    hierarchy: String::new(),
                }),
            });
        }
        if mount.kind == "cgroup" {
            let name = mount.at.file_name().unwrap_or_default();
            return Ok(Some(From::Cgroup {
                hierarchy: name.to_string_lossy().into_owned(),
            }));
        }
        if self.is_null(mount)? {
            return Ok(Some(From::Null));
        }
        if let Some(device) = self
            .plan
            .devices
            .iter()
            .find(|device| device.path == mount.at)
            && self.plan.bind_devices
        {
            let path = device.path.clone();
            return Ok(Some(From::Device { path }));
        }
        let mut above = mount;
        while above.at != Path::new("/") {
            if let Some(destination) = self.binds.get(&above.id) {
                let below = mount.at.strip_prefix(&above.at).unwrap_or(Path::new(""));
                return Ok(Some(From::Bind {
                    destination: destination.clone(),
                    below: below.to_owned(),
                }));
            }
            // Below a filesystem of the container's own, which has bound it there itself.
            let Some(next) = self.outside.get(&above.parent) else {
                return Ok(None);
            };
            above = next;
        }
        let devices = self.binds.keys().filter_map(|id| self.outside.get(id));
        let mut devices = devices.chain([&above]).map(|mount| &mount.device);
        if devices.any(|device| *device == mount.device) {
            // The same.
            return Ok(None);
        }
        let below = mount.at.strip_prefix("/").unwrap_or(&mount.at).to_owned();
        Ok(Some(From::Root { below }))
    }

    fn is_null(&self, mount: &Mount) -> Result<bool, Error> {
        if mount.root.file_name().is_none() {
            return Ok(false);
        }
        let relative = mount.at.strip_prefix("/").unwrap_or(&mount.at);
        let file = match self.root.open(relative, OFlags::PATH) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(source) => return Err(Error::file("open in the container", &mount.at)(source)),
        };
        let stat =
            rustix::fs::fstat(&file).map_err(Error::host("find a mount of the container"))?;
        Ok(mount_id(&file)? == mount.id
            && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == rustix::fs::makedev(1, 3))
    }
}

/// What the streams of a process are: what `/proc/PID/fd` shows, and what CRIU calls those that are files of
/// mounts which the container does not see.
pub(crate) fn streams(pid: i32) -> Result<([String; 3], [Option<String>; 3]), Error> {
    let own = list(pid)?;
    let mut shown = <[String; 3]>::default();
    let mut named = <[Option<String>; 3]>::default();
    for (number, (shown, named)) in shown.iter_mut().zip(&mut named).enumerate() {
        let link = format!("/proc/{pid}/fd/{number}");
        let target = match rustix::fs::readlink(&*link, Vec::new()) {
            Ok(target) => target.to_string_lossy().into_owned(),
            // Closed.
            Err(Errno::NOENT) => continue,
            Err(source) => return Err(Error::file("read", link)(source)),
        };
        let is_path = target.starts_with('/');
        *shown = target;
        if is_path {
            *named = file_name(pid, number, &own)?;
        }
    }
    Ok((shown, named))
}

fn file_name(pid: i32, number: usize, own: &[Mount]) -> Result<Option<String>, Error> {
    let link = format!("/proc/{pid}/fd/{number}");
    let stat = rustix::fs::stat(&*link).map_err(Error::file("inspect", link))?;
    let is_terminal = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (136..=143).contains(&rustix::fs::major(stat.st_rdev));
    if is_terminal {
        return Ok(None);
    }
    let facts = read(Path::new(&format!("/proc/{pid}/fdinfo/{number}")))?;
    let facts = String::from_utf8_lossy(&facts).into_owned();
    let id = facts.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let id = id.and_then(|id| id.trim().parse::<u64>().ok());
    Ok(match id {
        Some(id) if own.iter().all(|mount| mount.id != id) => {
            Some(format!("file[{id:x}:{:x}]", stat.st_ino))
        }
        _ => None,
    })
}
