//! What failed while the mount tree was built: small, fit for a record that crosses from the child to
//! the parent.

use rustix::io::Errno;

/// The text part of a [`Failure`]: a path, a parameter, the filesystem's own message.
#[derive(Clone, PartialEq, Eq)]
pub struct Note(Box<[u8]>);

impl Note {
    /// Bytes that a note holds; the rest is cut off.
    pub const CAPACITY: usize = 200;

    /// No text; allocates nothing.
    pub fn empty() -> Self {
        Self(Box::default())
    }

    /// Keeps the beginning of `text`.
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        Self(text.get(..Self::CAPACITY).unwrap_or(text).into())
    }

    /// The bytes that were kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// What was being done. The number is what crosses to the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Step {
    /// Make the copied mount tree a slave of the host's, or private.
    DetachHost = 1,
    /// Put the root tree in its place.
    AttachRoot,
    /// Find or make a mount point.
    MountPoint,
    /// Start a filesystem instance.
    OpenFilesystem,
    /// Give it a parameter.
    SetParameter,
    /// Create the instance.
    CreateFilesystem,
    /// Put a mount onto its mount point.
    Attach,
    /// Change a mount's attributes.
    SetAttributes,
    /// Change a mount's propagation.
    SetPropagation,
    /// Clone a mount.
    CloneMount,
    /// Copy the image's files into a new tmpfs.
    CopyUp,
    /// Refuse a mount on the root or on a procfs or sysfs that is none.
    RefuseTarget,
    /// Make a device node.
    MakeDevice,
    /// Find another file where a device node should be.
    CheckDevice,
    /// Make a link of `/dev`.
    MakeLink,
    /// Open the pseudo-terminal multiplexer of the container.
    OpenPtmx,
    /// Allocate or size the pseudo-terminal.
    OpenTerminal,
    /// Put the terminal onto `/dev/console`.
    BindConsole,
    /// Mount a private procfs.
    OpenProc,
    /// Write a kernel parameter.
    Sysctl,
    /// Hide a path.
    Mask,
    /// Make a path read-only.
    ReadonlyPath,
    /// Change the root.
    Pivot,
    /// Leave the old root.
    DropOldRoot,
    /// Make the root read-only.
    ReadonlyRoot,
    /// Set the root's propagation.
    RootPropagation,
    /// Mount the cgroup hierarchies.
    MountCgroup,
    /// Give a mount its security label.
    LabelMount,
    /// Find another label on a mount.
    CheckLabel,
}

impl Step {
    const ALL: [Self; 29] = [
        Self::DetachHost,
        Self::AttachRoot,
        Self::MountPoint,
        Self::OpenFilesystem,
        Self::SetParameter,
        Self::CreateFilesystem,
        Self::Attach,
        Self::SetAttributes,
        Self::SetPropagation,
        Self::CloneMount,
        Self::CopyUp,
        Self::RefuseTarget,
        Self::MakeDevice,
        Self::CheckDevice,
        Self::MakeLink,
        Self::OpenPtmx,
        Self::OpenTerminal,
        Self::BindConsole,
        Self::OpenProc,
        Self::Sysctl,
        Self::Mask,
        Self::ReadonlyPath,
        Self::Pivot,
        Self::DropOldRoot,
        Self::ReadonlyRoot,
        Self::RootPropagation,
        Self::MountCgroup,
        Self::LabelMount,
        Self::CheckLabel,
    ];

    /// The step with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u16 == number)
    }

    /// What was being done, beginning with a verb.
    pub fn describe(self) -> &'static str {
        match self {
            Self::DetachHost => "stop mount events from reaching the host",
            Self::AttachRoot => "attach the root filesystem",
            Self::MountPoint => "find or make the mount point",
            Self::OpenFilesystem => "open a filesystem of this type",
            Self::SetParameter => "set a filesystem parameter",
            Self::CreateFilesystem => "create the filesystem",
            Self::Attach => "attach the mount",
            Self::SetAttributes => "set the mount's attributes",
            Self::SetPropagation => "set the mount's propagation",
            Self::CloneMount => "clone the mount",
            Self::CopyUp => "copy the image's files into the tmpfs",
            Self::RefuseTarget => "mount over this target",
            Self::MakeDevice => "make the device node",
            Self::CheckDevice => "use the file at the device's path: it is not that device",
            Self::MakeLink => "make the link",
            Self::OpenPtmx => "open /dev/pts/ptmx",
            Self::OpenTerminal => "allocate a terminal",
            Self::BindConsole => "put the terminal onto /dev/console",
            Self::OpenProc => "mount a private procfs",
            Self::Sysctl => "write the kernel parameter",
            Self::Mask => "mask the path",
            Self::ReadonlyPath => "make the path read-only",
            Self::Pivot => "change the root",
            Self::DropOldRoot => "detach the old root",
            Self::ReadonlyRoot => "make the root read-only",
            Self::RootPropagation => "set the root's propagation",
            Self::MountCgroup => "mount the cgroup hierarchies",
            Self::LabelMount => "label the mount",
            Self::CheckLabel => "use linux.mountLabel: the kernel shows another label",
        }
    }
}

/// A step of building the mount tree that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was being done.
    pub step: Step,
    /// Position in the plan's list that the step works through; 0 where there is none.
    pub index: u16,
    /// What the kernel said.
    pub errno: Errno,
    /// Path, parameter, or the filesystem's message.
    pub note: Note,
}

impl Failure {
    /// A failure of `step`, for `map_err`.
    pub(crate) fn of(step: Step) -> impl Fn(Errno) -> Self {
        move |errno| Self {
            step,
            index: 0,
            errno,
            note: Note::empty(),
        }
    }

    /// A failure of `step` that names something, for `map_err`.
    pub(crate) fn at<T: AsRef<[u8]>>(step: Step, what: T) -> impl Fn(Errno) -> Self {
        move |errno| Self {
            step,
            index: 0,
            errno,
            note: Note::new(what.as_ref()),
        }
    }

    /// The same failure with its place in a list.
    pub(crate) fn with_index(self, index: usize) -> Self {
        Self {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_survives_its_number() {
        for step in Step::ALL {
            assert_eq!(Step::from_number(step as u16), Some(step), "{step:?}");
        }
        assert_eq!(Step::from_number(0), None);
    }

    #[test]
    fn note_keeps_the_beginning_of_a_long_text() {
        let note = Note::new([b'x'; 300]);
        assert_eq!(note.as_bytes(), [b'x'; Note::CAPACITY]);
    }
}
