//! Masked and read-only paths: `linux.maskedPaths`, `linux.readonlyPaths`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use gl_plan::attr;
use gl_sys::{Depth, MountAttr, Spent};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::attach::{Filesystem, attach, clone_mount};
use crate::failure::{Failure, Step};
use crate::label::MountLabel;
use crate::resolve::Root;
use crate::stage::is_directory;

/// What was mounted at `/proc` and `/sys`, held open.
///
/// A path below them is looked up from here, not from the root: who can rename in the root's
/// directory while the container is made could else put a link in the place of `/proc`, and the path
/// would be missing for that moment and stay as it is.
#[derive(Debug, Default)]
pub(crate) struct Tops(Vec<(&'static str, Root)>);

impl Tops {
    const NAMES: [&'static str; 2] = ["proc", "sys"];

    /// The name that the target of a mount is, if it is one of them.
    pub(crate) fn name(target: &Path) -> Option<&'static str> {
        let relative = target.strip_prefix("/").unwrap_or(target);
        Self::NAMES.into_iter().find(|n| relative == Path::new(n))
    }

    /// Remembers what was mounted at one of the names.
    pub(crate) fn keep(&mut self, name: &'static str, tree: OwnedFd) {
        self.0.push((name, Root::new(tree)));
    }
}

/// Where paths to hide are looked up.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) root: &'a Root,
    pub(crate) tops: &'a Tops,
}

impl Places<'_> {
    /// Opens a path from `/` on, given without its slash.
    fn open(&self, relative: &Path) -> Result<OwnedFd, Errno> {
        let plain = relative
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        // Of two mounts at one place, the later one is seen.
        let mut tops = self.tops.0.iter().rev().filter(|_| plain);
        let found = tops.find_map(|(name, top)| Some((top, relative.strip_prefix(name).ok()?)));
        match found {
            Some((top, rest)) if rest.as_os_str().is_empty() => {
                top.open(Path::new("."), OFlags::PATH)
            }
            Some((top, rest)) => top.open(rest, OFlags::PATH),
            None => self.root.open(relative, OFlags::PATH),
        }
    }
}

/// Opens a path to hide; `None` if there is nothing to hide.
fn find(path: &Path, places: &Places<'_>, step: Step) -> Result<Option<OwnedFd>, Failure> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    if relative.as_os_str().is_empty() {
        // The root itself cannot be covered; to say nothing would be to leave it as it is.
        return Err(Failure::at(step, path.as_os_str().as_encoded_bytes())(
            Errno::INVAL,
        ));
    }
    match places.open(relative) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Failure::at(step, path.as_os_str().as_encoded_bytes())(
            errno,
        )),
    }
}

/// Binds `path` onto itself, read-only with everything below it.
pub(crate) fn make_readonly(
    path: &Path,
    places: &Places<'_>,
    spent: &mut Spent,
) -> Result<(), Failure> {
    let Some(target) = find(path, places, Step::ReadonlyPath)? else {
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
    attach(tree.as_fd(), target.as_fd()).map_err(failed)?;
    spent.put(tree);
    spent.put(target);
    Ok(())
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

    pub(crate) fn cover(
        &mut self,
        path: &Path,
        places: &Places<'_>,
        spent: &mut Spent,
    ) -> Result<(), Failure> {
        let Some(target) = find(path, places, Step::Mask)? else {
            return Ok(());
        };
        let tree = self.put_onto(path, &target)?;
        spent.put(target);
        tree.into_iter().for_each(|tree| spent.put(tree));
        Ok(())
    }

    /// Covers what is open; returns the mount, unless it is one that is used again.
    fn put_onto(&mut self, path: &Path, target: &OwnedFd) -> Result<Option<OwnedFd>, Failure> {
        let failed = Failure::at(Step::Mask, path.as_os_str().as_encoded_bytes());
        // Before Linux 6.15 only an attached mount can be cloned, so the first use of either
        // attaches the mount itself and later ones clone that.
        let attached = match is_directory(target).map_err(&failed)? {
            false if !std::mem::replace(&mut self.null_attached, true) => {
                attach(self.null.as_fd(), target.as_fd()).map_err(failed)?;
                return Ok(None);
            }
            false => &self.null,
            true => match &self.empty {
                Some(empty) => empty,
                None => {
                    let empty = empty_directory(self.label)?;
                    attach(empty.as_fd(), target.as_fd()).map_err(failed)?;
                    self.empty = Some(empty);
                    return Ok(None);
                }
            },
        };
        let again = clone_mount(attached.as_fd()).map_err(&failed)?;
        attach(again.as_fd(), target.as_fd()).map_err(failed)?;
        Ok(Some(again))
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
