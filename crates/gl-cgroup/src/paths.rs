//! From `linux.cgroupsPath` to the path of the container's cgroup in each hierarchy.
//!
//! Pure but for [`OwnCgroups::read`]. runtime-spec, config-linux.md, "Cgroups Path": absolute means
//! from the root of each hierarchy, relative means below the cgroup of the runtime, and without a
//! path the container's id is the relative path. Paths are cleaned, so that `..` never climbs.

use std::fmt;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::controller::Controller;
use crate::error::{Error, PathFault};
use crate::file;

/// Longest name of one directory (`NAME_MAX`), bytes.
const NAME_MAX: usize = 255;

/// A cleaned path of a cgroup from the root of its hierarchy: no leading slash, no empty component,
/// no `.` and no `..`. Empty for the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(try_from = "String", into = "String")]
pub struct GroupPath(String);

impl GroupPath {
    /// Cleans `path` as if it started at the root: `..` at the root stays there.
    #[must_use]
    pub fn clean(path: &str) -> Self {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                name => parts.push(name),
            }
        }
        Self(parts.join("/"))
    }

    /// The path without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root of the hierarchy.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// `self`, then `below`.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, below.0)),
        }
    }

    /// The cgroup above; the root's is itself.
    pub(crate) fn parent(&self) -> Self {
        let above = self.0.rsplit_once('/').map_or("", |(above, _)| above);
        Self(above.to_owned())
    }

    /// The paths of all ancestors and of the cgroup itself, outermost first, without the root.
    pub(crate) fn prefixes(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0
            .match_indices('/')
            .map(|(at, _)| &self.0[..at])
            .chain((!self.is_root()).then_some(self.as_str()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Whether this is `above`, or is below it.
    pub(crate) fn is_within(&self, above: &Self) -> bool {
        self.strip(above).is_some()
    }

    /// What is left of `self` below `root`, if it is below it.
    fn strip(&self, root: &Self) -> Option<Self> {
        if root.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(root.as_str())? {
            "" => Some(Self::default()),
            rest => rest.strip_prefix('/').map(|rest| Self(rest.to_owned())),
        }
    }

    /// Checks what the kernel would refuse in a name, before anything is made.
    fn check(self) -> Result<Self, PathFault> {
        if self.is_root() {
            return Err(PathFault::Root);
        }
        for part in self.0.split('/') {
            if part.len() > NAME_MAX {
                return Err(PathFault::TooLong);
            }
            if part.bytes().any(|b| b.is_ascii_control()) {
                return Err(PathFault::Control);
            }
        }
        Ok(self)
    }
}

impl TryFrom<String> for GroupPath {
    type Error = PathFault;

    /// Accepts only what [`GroupPath::clean`] leaves as it is, so that an edited record cannot
    /// name a directory outside its hierarchy.
    fn try_from(path: String) -> Result<Self, PathFault> {
        let clean = Self::clean(&path);
        if clean.0 != path {
            return Err(PathFault::Unclean);
        }
        clean.check()
    }
}

impl From<GroupPath> for String {
    fn from(path: GroupPath) -> Self {
        path.0
    }
}

impl fmt::Display for GroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// The cgroup of the runtime itself in each hierarchy, as seen from below `/sys/fs/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnCgroups {
    entries: Vec<(Vec<Controller>, GroupPath)>,
    /// In the unified hierarchy of v2.
    unified: Option<GroupPath>,
}

impl OwnCgroups {
    /// Reads `/proc/self/cgroup`, and `/proc/self/mountinfo` where that can matter.
    ///
    /// Inside a container without a cgroup namespace, `/proc/self/cgroup` shows paths of the host
    /// while only a part of each hierarchy is mounted: the root of the mount is then taken off.
    /// A cgroup that is not below that root counts as the root of what is mounted.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if one of the files cannot be read.
    pub fn read() -> Result<Self, Error> {
        let own = Self::parse(&read_proc("/proc/self/cgroup")?);
        let mut paths = own.entries.iter().map(|(_, path)| path).chain(&own.unified);
        if paths.all(GroupPath::is_root) {
            return Ok(own);
        }
        Ok(own.below_mounts(&read_proc("/proc/self/mountinfo")?))
    }

    /// Parses the text of `/proc/PID/cgroup`. Lines of unknown hierarchies are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let entries = text
            .lines()
            .filter_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (names, path) = rest.split_once(':')?;
                let controllers: Vec<_> =
                    names.split(',').filter_map(Controller::from_name).collect();
                (!controllers.is_empty()).then(|| (controllers, GroupPath::clean(path)))
            })
            .collect();
        let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
        Self {
            entries,
            unified: unified.map(GroupPath::clean),
        }
    }

    /// Takes the roots of the mounts below `/sys/fs/cgroup` off the paths.
    #[must_use]
    pub fn below_mounts(mut self, mountinfo: &str) -> Self {
        for line in mountinfo.lines() {
            if let Some(root) = unified_mount(line) {
                let root = GroupPath::clean(&root);
                self.unified = self
                    .unified
                    .map(|path| path.strip(&root).unwrap_or_default());
                continue;
            }
            let Some((root, dir)) = cgroup_mount(line) else {
                continue;
            };
            let root = GroupPath::clean(&root);
            let mounted: Vec<_> = dir.split(',').filter_map(Controller::from_name).collect();
            let entries = self.entries.iter_mut();
            for (_, path) in entries.filter(|(cs, _)| cs.iter().any(|c| mounted.contains(c))) {
                *path = path.strip(&root).unwrap_or_default();
            }
        }
        self
    }

    /// The cgroup in the hierarchy of v2.
    #[must_use]
    pub fn unified(&self) -> Option<&GroupPath> {
        self.unified.as_ref()
    }

    /// The cgroup in the hierarchy of `controller`.
    #[must_use]
    pub fn path(&self, controller: Controller) -> Option<&GroupPath> {
        self.entries
            .iter()
            .find(|(controllers, _)| controllers.contains(&controller))
            .map(|(_, path)| path)
    }
}

/// The cgroup of a process in the hierarchy of v2, as seen from ours.
///
/// # Errors
///
/// [`Error::Read`] if the process is gone.
pub(crate) fn unified_of(pid: Pid) -> Result<Option<GroupPath>, Error> {
    let text = read_proc(&format!("/proc/{}/cgroup", pid.as_raw_nonzero()))?;
    Ok(OwnCgroups::parse(&text).unified)
}

/// The root and the name below `/sys/fs/cgroup` of one mountinfo line, if it is a v1 cgroup there.
fn cgroup_mount(line: &str) -> Option<(String, &str)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    if !filesystem.starts_with("cgroup ") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let root = fields.next()?;
    let dir = fields.next()?.strip_prefix("/sys/fs/cgroup/")?;
    Some((unescape(root), dir))
}

/// The root of the mount that a mountinfo line shows, if it is that of v2 at `/sys/fs/cgroup`.
fn unified_mount(line: &str) -> Option<String> {
    let (mount, filesystem) = line.split_once(" - ")?;
    if !filesystem.starts_with("cgroup2 ") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let root = fields.next()?;
    (fields.next()? == "/sys/fs/cgroup").then(|| unescape(root))
}

/// Undoes the octal escapes of mountinfo (`\040` for a space).
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|d| u8::from_str_radix(d, 8).ok());
        match code {
            Some(code) if code.is_ascii() => {
                out.push(char::from(code));
                out.push_str(&part[3..]);
            }
            _ => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

fn read_proc(path: &str) -> Result<String, Error> {
    let read = || {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        file::read_all(&fd)
    };
    read().map_err(|source| Error::Read {
        path: path.into(),
        source,
    })
}

/// Where the container's cgroup is in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The runtime's own cgroups, if `inner` is relative to them.
    below: Option<OwnCgroups>,
    inner: GroupPath,
}

impl Paths {
    /// The path in the hierarchy of `controller`; none if the path is relative and the runtime
    /// has no cgroup in that hierarchy.
    #[must_use]
    pub fn path(&self, controller: Controller) -> Option<GroupPath> {
        match &self.below {
            None => Some(self.inner.clone()),
            Some(own) => own.path(controller).map(|own| own.join(&self.inner)),
        }
    }

    /// The path in the one hierarchy of v2; none if the path is relative and the runtime has no
    /// cgroup there.
    ///
    /// A relative path is beside the cgroup of the runtime and not below it: that has processes, and
    /// such a cgroup gives no controllers to those below it.
    #[must_use]
    pub fn unified(&self) -> Option<GroupPath> {
        match &self.below {
            None => Some(self.inner.clone()),
            Some(own) => own
                .unified
                .as_ref()
                .map(|own| own.parent().join(&self.inner)),
        }
    }
}

impl Paths {
    /// Whether `path` of v2's hierarchy is where the runtime itself is, reached by its own name from beside it.
    pub(crate) fn is_runtimes_own(&self, path: &GroupPath) -> bool {
        let own = self.below.as_ref();
        own.and_then(OwnCgroups::unified) == Some(path)
    }
}

/// Decides where a container's cgroup is.
///
/// `own` is only asked for a path that is not absolute: the caller gives `OwnCgroups::read`.
///
/// # Spec
///
/// config-linux.md, "Cgroups Path". A path that names the root of a hierarchy, or the cgroup of the
/// runtime itself, is refused: limits would hit, and delete would kill, what is not the container.
///
/// # Errors
///
/// [`Error::Path`] for such a path, for control characters and for names over 255 bytes; what `own`
/// returns.
pub fn resolve(
    cgroups_path: Option<&str>,
    id: &str,
    own: impl FnOnce() -> Result<OwnCgroups, Error>,
) -> Result<Paths, Error> {
    let asked = match cgroups_path {
        None | Some("") => id,
        Some(path) => path,
    };
    let inner = GroupPath::clean(asked)
        .check()
        .map_err(|fault| Error::Path {
            path: asked.to_owned(),
            fault,
        })?;
    let below = if asked.starts_with('/') {
        None
    } else {
        Some(own()?)
    };
    Ok(Paths { below, inner })
}

#[cfg(test)]
mod tests;
