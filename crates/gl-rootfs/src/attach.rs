//! Small pieces that every stage uses: attach a mount by descriptor, make a filesystem.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FsWord;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use crate::failure::{Failure, Note, Step};

/// `PROC_SUPER_MAGIC` of `<linux/magic.h>`.
pub(crate) const PROC_MAGIC: FsWord = 0x9fa0;

/// Puts the mount `tree` onto what `target` is open on.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags)
}

/// Clones the mount that `tree` refers to; it must be attached in this mount namespace.
pub(crate) fn clone_mount(tree: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(tree, "", flags)
}

/// Whether `fd` is on a procfs.
pub(crate) fn on_procfs(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(fd)?.f_type == PROC_MAGIC)
}

/// A filesystem being configured.
#[derive(Debug)]
pub(crate) struct Filesystem {
    context: OwnedFd,
}

impl Filesystem {
    pub(crate) fn open(fstype: &str) -> Result<Self, Failure> {
        let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(Failure::at(Step::OpenFilesystem, fstype))?;
        Ok(Self { context })
    }

    pub(crate) fn set(&self, key: &str, value: Option<&str>) -> Result<(), Failure> {
        let result = match value {
            Some(value) => rustix::mount::fsconfig_set_string(&self.context, key, value),
            None => rustix::mount::fsconfig_set_flag(&self.context, key),
        };
        result.map_err(|errno| self.explain(Step::SetParameter, key, errno))
    }

    /// Creates the instance as a detached mount with these `MOUNT_ATTR_*` bits.
    pub(crate) fn mount(&self, attr: u64) -> Result<OwnedFd, Failure> {
        let failed = |errno| self.explain(Step::CreateFilesystem, "", errno);
        rustix::mount::fsconfig_create(&self.context).map_err(failed)?;
        let attr =
            u32::try_from(attr).map_err(|_err: std::num::TryFromIntError| failed(Errno::INVAL))?;
        rustix::mount::fsmount(
            self.context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::from_bits_retain(attr),
        )
        .map_err(failed)
    }

    /// Adds what the filesystem itself said, which it leaves to be read from the context.
    fn explain(&self, step: Step, what: &str, errno: Errno) -> Failure {
        let mut message = [0; Note::CAPACITY];
        let text = match rustix::io::read(&self.context, &mut message) {
            // "e tmpfs: Unknown parameter 'x'": the first two bytes are the severity.
            Ok(len) => message.get(2..len).unwrap_or_default().trim_ascii_end(),
            Err(_) => what.as_bytes(),
        };
        Failure {
            step,
            index: 0,
            errno,
            note: Note::new(if text.is_empty() {
                what.as_bytes()
            } else {
                text
            }),
        }
    }
}
