//! The `SELinux` label of a new filesystem: `linux.mountLabel`.
//!
//! Given before the filesystem is there, or to its root directory where that is too late, and read
//! back from the root directory in any case: what shows another label is not used.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_plan::{Kind, Labelling, MountKind, Plan, UserNs};
use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::attach::Filesystem;
use crate::failure::{Failure, Note, Step};

/// The attribute that shows, and on some filesystems sets, the label of a file.
const ATTRIBUTE: &str = "security.selinux";

/// The label of the plan, for one filesystem that it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountLabel<'a> {
    context: &'a str,
    labelling: Labelling,
}

impl<'a> MountLabel<'a> {
    /// The label for a filesystem of this kind; `None` if there is none or it is not for that one.
    pub(crate) fn new(context: Option<&'a str>, labelling: Labelling) -> Option<Self> {
        context
            .filter(|_| labelling != Labelling::Own)
            .map(|context| Self { context, labelling })
    }

    /// Whether it is written to the mount, which then must not be read-only yet.
    pub(crate) fn is_written(&self) -> bool {
        self.labelling == Labelling::RootDirectory
    }

    /// Before the filesystem is created: for all its files.
    pub(crate) fn configure(&self, filesystem: &Filesystem) -> Result<(), Failure> {
        match self.labelling {
            Labelling::Parameter => filesystem.set("context", Some(self.context)),
            Labelling::RootDirectory | Labelling::Own => Ok(()),
        }
    }

    /// On the detached mount: the root directory gets it where it could not be given before, and
    /// shows it, or the mount is not used.
    pub(crate) fn settle(&self, tree: BorrowedFd<'_>) -> Result<(), Failure> {
        let root = open_root(tree).map_err(Failure::of(Step::LabelMount))?;
        let wanted = self.context.as_bytes();
        if self.is_written() && read(&root)? != wanted {
            rustix::fs::fsetxattr(&root, ATTRIBUTE, wanted, XattrFlags::empty())
                .map_err(Failure::of(Step::LabelMount))?;
        }
        let seen = read(&root)?;
        if seen == wanted {
            return Ok(());
        }
        Err(Failure {
            note: Note::new(&seen),
            ..Failure::of(Step::CheckLabel)(Errno::ACCESS)
        })
    }
}

/// Labels the message queues of a new IPC namespace of a container with a user namespace.
///
/// To be called before the process takes an id of that user namespace: the queues' root directory
/// belongs to who made the IPC namespace, whose id has no name inside, and only its owner may label it.
/// [`mount_all`](crate::mount_all) then finds the label.
///
/// # Errors
///
/// [`Failure`] of [`Step::LabelMount`] or [`Step::CheckLabel`], or of making the filesystem.
pub fn label_new_queues(plan: &Plan) -> Result<(), Failure> {
    let is_new = plan.userns != UserNs::Shared && plan.namespaces.creates(Kind::Ipc);
    let is_shown = plan.mounts.iter().any(|mount| {
        matches!(
            mount.kind,
            MountKind::Filesystem {
                labelling: Labelling::RootDirectory,
                ..
            }
        )
    });
    let label = MountLabel::new(plan.mount_label.as_deref(), Labelling::RootDirectory);
    match label {
        Some(label) if is_new && is_shown => {
            label.settle(Filesystem::open("mqueue")?.mount(0)?.as_fd())
        }
        _ => Ok(()),
    }
}

/// The root directory of a mount, open for more than its path: attributes take that.
fn open_root(tree: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(tree, ".", flags, Mode::empty())
}

fn read(root: &OwnedFd) -> Result<Vec<u8>, Failure> {
    let mut seen = vec![0; 4096];
    let len = rustix::fs::fgetxattr(root.as_fd(), ATTRIBUTE, &mut seen)
        .map_err(Failure::of(Step::CheckLabel))?;
    seen.truncate(len);
    if seen.last() == Some(&0) {
        seen.pop();
    }
    Ok(seen)
}
