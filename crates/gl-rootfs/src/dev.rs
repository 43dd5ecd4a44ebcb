//! Device nodes and links of `/dev`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_plan::{Device, DeviceKind};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::attach::attach;
use crate::failure::{Failure, Step};
use crate::resolve::{Leaf, Root};

/// Directories of devices. That of the last one is held: the next is in the same, nearly always.
pub(crate) struct Places<'a> {
    root: &'a Root,
    last: Option<(PathBuf, OwnedFd)>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, last: None }
    }

    /// Holds a directory.
    pub(crate) fn keep(&mut self, path: &Path, dir: OwnedFd) {
        self.last = Some((path.to_owned(), dir));
    }

    /// Opens the directory of a path, making it if need be.
    fn parent<'p>(&mut self, path: &'p Path) -> Result<(BorrowedFd<'_>, &'p OsStr), Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let above = path.parent().unwrap_or(Path::new("/"));
        Ok((self.directory(above)?, name))
    }

    fn directory(&mut self, path: &Path) -> Result<BorrowedFd<'_>, Errno> {
        let last = match self.last.take() {
            Some(last) if last.0 == path => last,
            _ => {
                let (dir, _) = self.root.open_or_make(path, Leaf::Directory)?;
                (path.to_owned(), dir)
            }
        };
        Ok(self.last.insert(last).1.as_fd())
    }
}

/// Makes one node, or puts the host's there where nodes cannot be made. A node that is there
/// already stays if it is the same device.
pub(crate) fn make_device(
    device: &Device,
    places: &mut Places<'_>,
    host: Option<OwnedFd>,
) -> Result<(), Failure> {
    let name = device.path.as_os_str().as_encoded_bytes();
    let failed = Failure::at(Step::MakeDevice, name);
    let relative = device.path.strip_prefix("/").unwrap_or(&device.path);
    if let Some(host) = host {
        let target = places.root.open_or_make(relative, Leaf::File);
        let (target, _) = target.map_err(&failed)?;
        return attach(host.as_fd(), target.as_fd()).map_err(failed);
    }
    let (dir, file) = places.parent(relative).map_err(&failed)?;
    let (kind, number) = match device.kind {
        DeviceKind::Char => (FileType::CharacterDevice, device_number(device)),
        DeviceKind::Block => (FileType::BlockDevice, device_number(device)),
        DeviceKind::Fifo => (FileType::Fifo, 0),
    };
    match rustix::fs::mknodat(dir, file, kind, Mode::from_raw_mode(device.mode), number) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            return check_existing(dir, file, kind, number)
                .map_err(Failure::at(Step::CheckDevice, name));
        }
        Err(errno) => return Err(failed(errno)),
    }
    if (device.uid, device.gid) != (0, 0) {
        let node = open_node(dir, file).map_err(&failed)?;
        check(&node, kind, number).map_err(&failed)?;
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(&node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            .map_err(failed)?;
    }
    Ok(())
}

fn device_number(device: &Device) -> u64 {
    rustix::fs::makedev(device.major, device.minor)
}

fn open_node(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn check_existing(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    kind: FileType,
    number: u64,
) -> Result<(), Errno> {
    check(&open_node(dir, name)?, kind, number)
}

fn check(node: &OwnedFd, kind: FileType, number: u64) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(node)?;
    let same_kind = FileType::from_raw_mode(stat.st_mode) == kind;
    if same_kind && (kind == FileType::Fifo || stat.st_rdev == number) {
        return Ok(());
    }
    Err(Errno::EXIST)
}

/// "Default Devices" of `config-linux.md`: the links, and `ptmx`.
pub(crate) fn make_links(places: &mut Places<'_>) -> Result<(), Failure> {
    let failed = Failure::at(Step::MakeLink, "/dev");
    let root = places.root;
    let dev = places.directory(Path::new("dev")).map_err(failed)?;
    for (target, name) in [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("/proc/kcore", "core"),
        ("pts/ptmx", "ptmx"),
    ] {
        if name == "core" && !has_core(root) {
            continue;
        }
        match rustix::fs::symlinkat(target, dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Failure::at(Step::MakeLink, name)(errno)),
        }
    }
    Ok(())
}

/// Whether this kernel shows its memory as a file: a link to nothing would be of no use.
fn has_core(root: &Root) -> bool {
    root.open(Path::new("proc/kcore"), OFlags::PATH | OFlags::CLOEXEC)
        .is_ok()
}
