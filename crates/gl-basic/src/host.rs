//! What a plan has to know of the host.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use gl_cgroup::{Controller, GroupPath, Layout, OwnCgroups, Version};
use gl_profile::Profile;
use gl_profile::translate::states_amounts;
use gl_spec::Capacity;
use rustix::fs::{Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What is in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// It is a directory, and no link to one.
    pub is_directory: bool,
    /// It is a link.
    pub is_link: bool,
}

/// The host's files, as far as a plan looks at them.
pub trait Files {
    /// The path without links; what does not exist at its end stays as it is.
    ///
    /// # Errors
    ///
    /// What the kernel says, but for a path that does not exist.
    fn real(&self, path: &Path) -> Result<PathBuf, Errno>;

    /// What is in a directory.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn list(&self, dir: &Path) -> Result<Vec<Entry>, Errno>;
}

/// The files that are there.
#[derive(Debug, Default)]
pub struct HostFiles {
    /// The directory without links that was looked into last: paths come many to one.
    last: RefCell<Option<(PathBuf, OwnedFd)>>,
}

impl Files for HostFiles {
    fn real(&self, path: &Path) -> Result<PathBuf, Errno> {
        if self.is_plain(path) {
            return Ok(path.to_owned());
        }
        let mut rest = Vec::new();
        let mut existing = path;
        loop {
            match opened(existing) {
                Ok(mut found) => {
                    found.extend(rest.iter().rev());
                    return Ok(found);
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno),
            }
            let (Some(above), Some(name)) = (existing.parent(), existing.file_name()) else {
                return Err(Errno::NOENT);
            };
            rest.push(name);
            existing = above;
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(dir, flags, Mode::empty())?;
        let mut all = Vec::new();
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            all.push(Entry {
                name: OsString::from_vec(name.to_bytes().to_vec()),
                is_directory: kind == FileType::Directory,
                is_link: kind == FileType::Symlink,
            });
        }
        Ok(all)
    }
}

impl HostFiles {
    /// Whether a path exists and is without links and dots: for most this is all that has to be asked.
    fn is_plain(&self, path: &Path) -> bool {
        let (Some(above), Some(name), true) = (path.parent(), path.file_name(), is_clean(path))
        else {
            return false;
        };
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_none_or(|(dir, _)| dir != above) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::NO_SYMLINKS;
            let opened = rustix::fs::openat2(CWD, above, flags, Mode::empty(), resolve);
            *last = opened.ok().map(|fd| (above.to_owned(), fd));
        }
        // What is there and no link has no target.
        last.as_ref().is_some_and(|(_, dir)| {
            rustix::fs::readlinkat(dir, name, Vec::new()) == Err(Errno::INVAL)
        })
    }
}

/// Whether a path is absolute and has no part that the kernel would skip or follow upwards.
fn is_clean(path: &Path) -> bool {
    let mut parts = path.components();
    let from_root = parts.next() == Some(Component::RootDir);
    let length = |sum: usize, part: Component<'_>| sum + 1 + part.as_os_str().len();
    from_root
        && parts
            .clone()
            .all(|part| matches!(part, Component::Normal(_)))
        && parts.fold(0, length) == path.as_os_str().len()
}

/// Where a path leads that exists.
fn opened(path: &Path) -> Result<PathBuf, Errno> {
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let target = rustix::fs::readlink(link, Vec::new())?;
    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
    match target.is_absolute() {
        true => Ok(target),
        // A file that has no path.
        false => Err(Errno::XDEV),
    }
}

/// What a plan has to know of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The version of Landlock's interface, none where it is missing.
    pub landlock_abi: Option<u32>,
    /// We are the user 0, in whatever user namespace.
    pub root: bool,
    /// The absolute path of the cgroup below which one can be made whose limits hold; none where there is
    /// none.
    pub cgroup: Option<String>,
    /// The tasks of our user at the moment, where they are limited one by one.
    pub tasks: Option<u32>,
    /// How much there is of what limits are about.
    pub capacity: Capacity,
}

/// Root's cgroups are made below this one.
const ROOTS_CGROUP: &str = "/greenlang";

impl Host {
    /// Looks at the host: Landlock, ids and cgroups.
    #[must_use]
    pub fn detect() -> Self {
        let root = rustix::process::geteuid().is_root();
        let cgroup = cgroup(root);
        let tasks = match cgroup.is_none() && !root {
            true => tasks(),
            false => None,
        };
        Self {
            landlock_abi: gl_sys::landlock_abi().ok(),
            root,
            cgroup,
            tasks,
            capacity: Capacity::UNKNOWN,
        }
    }

    /// Looks as well at how much there is of what the limits of this profile are about.
    #[must_use]
    pub fn with_capacity_for(self, profile: &Profile) -> Self {
        match states_amounts(profile) {
            true => Self {
                capacity: gl_launch::capacity(),
                ..self
            },
            false => self,
        }
    }
}

/// The cgroup below which one of ours can be made.
fn cgroup(root: bool) -> Option<String> {
    let controllers = [Controller::Memory, Controller::Pids];
    let layout = Layout::detect_for(&controllers).ok()?;
    if root {
        let dirs = match layout.version() {
            Version::V1 => layout.hierarchies().iter(),
            _ => [].iter(),
        };
        let v1 = layout.version() == Version::V1;
        let mut held = dirs.filter(|one| controllers.iter().any(|c| one.controllers.contains(c)));
        let writable = match v1 {
            true => held.all(|one| is_writable(&format!("/sys/fs/cgroup/{}", one.dir))),
            false => is_writable("/sys/fs/cgroup"),
        };
        return writable.then(|| ROOTS_CGROUP.to_owned());
    }
    if layout.version() == Version::V1 {
        return None;
    }
    delegated(&OwnCgroups::read().ok()?)
}

/// The outermost cgroup above ours that was given to us, and has no processes of its own.
fn delegated(own: &OwnCgroups) -> Option<String> {
    let own = own.unified()?.as_str();
    let ends = own.match_indices('/').map(|(at, _)| at);
    let paths = ends
        .filter_map(|end| own.get(..end))
        .filter(|path| !path.is_empty());
    for path in paths {
        let dir = format!("/sys/fs/cgroup/{path}");
        let files = ["cgroup.procs", "cgroup.subtree_control"];
        let ours = is_writable(&dir)
            && files
                .iter()
                .all(|file| is_writable(&format!("{dir}/{file}")));
        if !ours {
            continue;
        }
        let controllers = read(&format!("{dir}/cgroup.controllers")).ok()?;
        let has = |name: &&str| controllers.split_ascii_whitespace().any(|one| one == *name);
        return ["memory", "pids"]
            .iter()
            .all(has)
            .then(|| GroupPath::clean(path).to_string());
    }
    None
}

fn is_writable(path: &str) -> bool {
    rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

fn read(path: &str) -> Result<String, Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = vec![0; 4096];
    let len = rustix::io::read(&file, &mut text)?;
    text.truncate(len);
    String::from_utf8(text).or(Err(Errno::ILSEQ))
}

/// How many tasks our user has, as `RLIMIT_NPROC` counts them.
fn tasks() -> Option<u32> {
    let own = rustix::process::getuid().as_raw();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty()).ok()?;
    let mut count: u32 = 0;
    for entry in Dir::read_from(&proc).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Its owner is that of the process; threads are the links of its directory of tasks, less two.
        let stat = rustix::fs::statat(&proc, format!("{name}/task"), AtFlags::empty());
        if let Ok(stat) = stat
            && stat.st_uid == own
        {
            let threads = u32::try_from(stat.st_nlink).unwrap_or(u32::MAX);
            count = count.saturating_add(threads.saturating_sub(2).max(1));
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn real_path_is_without_links_and_dots_whether_it_exists_or_not() {
        let dir = Path::new("/tmp").join(format!("gl-basic-real-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("a")).unwrap();
        std::fs::write(dir.join("a/file"), "").unwrap();
        symlink("a", dir.join("link")).unwrap();
        symlink("a/file", dir.join("leaf")).unwrap();
        let files = HostFiles::default();
        for (path, want) in [
            ("a", "a"),
            ("a/file", "a/file"),
            ("link", "a"),
            ("link/file", "a/file"),
            ("leaf", "a/file"),
            ("a/../a/file", "a/file"),
            ("a/./file", "a/file"),
            ("none/at/all", "none/at/all"),
            ("link/none", "a/none"),
        ] {
            let real = files.real(&dir.join(path));
            assert_eq!(real, Ok(dir.join(want)), "{path}");
        }
        assert_eq!(files.real(Path::new("/")), Ok("/".into()));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
