//! Masked and read-only paths: `linux.maskedPaths`, `linux.readonlyPaths`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use gl_plan::attr;
use gl_sys::{Depth, MountAttr};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::attach::{Filesystem, attach, clone_mount};
use crate::failure::{Failure, Step};
use crate::label::MountLabel;
use crate::resolve::Root;
use crate::stage::is_directory;

/// Opens a path to hide; `None` if there is nothing to hide.
fn find(path: &Path, root: &Root, step: Step) -> Result<Option<OwnedFd>, Failure> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    if relative.as_os_str().is_empty() {
        // The root itself cannot be covered; to say nothing would be to leave it as it is.
        return Err(Failure::at(step, path.as_os_str().as_encoded_bytes())(
            Errno::INVAL,
        ));
    }
    match root.open(relative, OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Failure::at(step, path.as_os_str().as_encoded_bytes())(
            errno,
        )),
    }
}

/// Binds `path` onto itself, read-only with everything below it.
pub(crate) fn make_readonly(path: &Path, root: &Root) -> Result<(), Failure> {
    let Some(target) = find(path, root, Step::ReadonlyPath)? else {
        return Ok(());
    };
    let failed = Failure::at(Step::ReadonlyPath, path.as_os_str().as_encoded_bytes());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(&target, "", flags).map_err(&failed)?;
    let change = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(tree.as_fd(), &change, Depth::Tree).map_err(&failed)?;
    attach(tree.as_fd(), target.as_fd()).map_err(failed)
}

/// What masked paths are covered with: `/dev/null` for files, one empty directory for all others.
#[derive(Debug)]
pub(crate) struct Masks<'a> {
    null: OwnedFd,
    null_attached: bool,
    empty: Option<OwnedFd>,
    label: Option<MountLabel<'a>>,
}

impl<'a> Masks<'a> {
    /// Takes a detached mount of the host's `/dev/null`, and the label of the empty directory.
    pub(crate) fn new(null: OwnedFd, label: Option<MountLabel<'a>>) -> Self {
        Self {
            null,
            null_attached: false,
            empty: None,
            label,
        }
    }

    pub(crate) fn cover(&mut self, path: &Path, root: &Root) -> Result<(), Failure> {
        let Some(target) = find(path, root, Step::Mask)? else {
            return Ok(());
        };
        let failed = Failure::at(Step::Mask, path.as_os_str().as_encoded_bytes());
        // Before Linux 6.15 only an attached mount can be cloned, so the first use of either
        // attaches the mount itself and later ones clone that.
        if !is_directory(&target).map_err(&failed)? {
            if std::mem::replace(&mut self.null_attached, true) {
                let again = clone_mount(self.null.as_fd()).map_err(&failed)?;
                return attach(again.as_fd(), target.as_fd()).map_err(failed);
            }
            return attach(self.null.as_fd(), target.as_fd()).map_err(failed);
        }
        if let Some(empty) = &self.empty {
            let again = clone_mount(empty.as_fd()).map_err(&failed)?;
            return attach(again.as_fd(), target.as_fd()).map_err(failed);
        }
        let empty = empty_directory(self.label)?;
        attach(empty.as_fd(), target.as_fd()).map_err(failed)?;
        self.empty = Some(empty);
        Ok(())
    }
}

fn empty_directory(label: Option<MountLabel<'_>>) -> Result<OwnedFd, Failure> {
    let filesystem = Filesystem::open("tmpfs")?;
    filesystem.set("source", Some("tmpfs"))?;
    filesystem.set("mode", Some("555"))?;
    // One inode, for the directory itself.
    filesystem.set("nr_inodes", Some("1"))?;
    if let Some(label) = &label {
        label.configure(&filesystem)?;
    }
    let tree = filesystem.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
    if let Some(label) = &label {
        label.settle(tree.as_fd())?;
    }
    Ok(tree)
}
