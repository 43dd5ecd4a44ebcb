//! The private temporary directory: made for one run, removed with all that is in it.

use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

use crate::error::Error;

/// One that is there.
#[derive(Debug)]
pub(crate) struct Temp {
    above: OwnedFd,
    name: String,
    dir: OwnedFd,
    path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Temp {
    /// Makes one in `above`, for us alone.
    pub(crate) fn make(above: &Path, name: &str) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(above, flags, Mode::empty()).map_err(Error::file(
            "open the directory for temporary files,",
            above,
        ))?;
        let name = format!(
            "gl-{name}-{}",
            random().map_err(Error::host("read random bytes"))?
        );
        let make = || {
            rustix::fs::mkdirat(&parent, &name, Mode::RWXU)?;
            let dir = rustix::fs::openat(&parent, &name, DIRECTORY, Mode::empty())?;
            // Without links, whatever `above` was.
            let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
            let path = rustix::fs::readlink(link, Vec::new())?;
            Ok((dir, path))
        };
        let made = make().and_then(|(dir, path)| {
            let path = path.into_string().or(Err(Errno::ILSEQ))?;
            Ok((dir, path.into()))
        });
        match made {
            Ok((dir, path)) => Ok(Self {
                above: parent,
                name,
                dir,
                path,
            }),
            Err(source) => {
                // What was not made is not there.
                rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR).ok();
                let what = "make a temporary directory in";
                Err(Error::file(what, above)(source))
            }
        }
    }

    /// Its path, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.above.as_fd(), self.dir.as_fd()]
    }

    /// Removes it. Nobody may be left who writes there. One that is gone is fine.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let unlink = || match rustix::fs::unlinkat(&self.above, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        };
        let removed = match unlink() {
            // Most programs leave nothing in it.
            Err(Errno::NOTEMPTY | Errno::EXIST) => empty(&self.dir).and_then(|()| unlink()),
            done => done,
        };
        removed.map_err(Error::file("remove the temporary directory", &self.path))
    }
}

/// Removes the directories of a run that nothing was put into, as no program has come to it.
pub(crate) fn remove_empty(above: &Path, name: &str) -> Result<(), Error> {
    let failed = || Error::file("remove temporary directories in", above);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(above, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir.map_err(failed())?,
    };
    let prefix = format!("gl-{name}-");
    for found in names(&dir).map_err(failed())? {
        let rest = found.to_bytes().strip_prefix(prefix.as_bytes());
        if !rest.is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit)) {
            continue;
        }
        match rustix::fs::unlinkat(&dir, &found, AtFlags::REMOVEDIR) {
            // With something in it, it is the guard's.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(errno) => return Err(failed()(errno)),
        }
    }
    Ok(())
}

fn random() -> Result<String, Errno> {
    let mut bytes = [0; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        match rustix::rand::getrandom(rest, GetRandomFlags::empty()) {
            Ok(len) => filled += len,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mut text = String::with_capacity(16);
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").expect("String write");
    }
    Ok(text)
}

/// Empties a directory, following no link.
///
/// Directories are taken out of one another first, so that no depth takes descriptors or stack.
fn empty(dir: &OwnedFd) -> Result<(), Errno> {
    let mut moved: u64 = 0;
    loop {
        let names = names(dir)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in &names {
            if !unlinked(dir, name)? {
                flatten((dir, name), &mut moved)?;
            }
        }
    }
}

/// Removes an entry of a directory, with all below it: no link is followed, and no depth takes descriptors or
/// stack. One that is gone is fine.
///
/// # Errors
///
/// What the kernel says of what cannot be removed.
pub fn remove_entry(dir: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    if unlinked(dir, name)? {
        return Ok(());
    }
    // Somebody else may be about to remove the same.
    let inner = match enter(dir, name) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    empty(&inner)?;
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Moves the directories in one to beside it, and removes it with the rest.
fn flatten((dir, name): (&OwnedFd, &CStr), moved: &mut u64) -> Result<(), Errno> {
    let inner = enter(dir, name)?;
    for below in names(&inner)? {
        if unlinked(&inner, &below)? {
            continue;
        }
        // To move a directory takes the right to write in it.
        enter(&inner, &below)?;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        loop {
            *moved += 1;
            let to = format!(".gl-removed-{moved}");
            match rustix::fs::renameat_with(&inner, &below, dir, to, flags) {
                Err(Errno::EXIST) => {}
                other => break other?,
            }
        }
    }
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

fn names(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut all = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if ![c".", c".."].contains(&name) {
            all.push(name.to_owned());
        }
    }
    Ok(all)
}

/// Removes a file or an empty directory; false for one that is not empty.
fn unlinked(dir: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory, whatever its mode is: it is ours.
fn enter(dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let link = format!("/proc/self/fd/{}", path.as_raw_fd());
    rustix::fs::chmodat(CWD, link, Mode::RWXU, AtFlags::empty())?;
    rustix::fs::openat(&path, ".", DIRECTORY, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn all_is_removed_and_no_link_followed() {
        let outside = Temp::make(Path::new("/tmp"), "outside").unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let temp = Temp::make(Path::new("/tmp"), "test").unwrap();
        let mode = fs::metadata(temp.path()).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o700, "{mode:o}");
        symlink(outside.path(), temp.path().join("link")).unwrap();
        let locked = temp.path().join("locked");
        fs::create_dir_all(locked.join("in/it")).unwrap();
        fs::write(locked.join("in/it/file"), "x").unwrap();
        fs::set_permissions(locked.join("in"), fs::Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
        let mut deep = fs::File::open(temp.path()).map(OwnedFd::from).unwrap();
        for _ in 0..300 {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            deep = rustix::fs::openat(&deep, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        temp.remove().unwrap();
        let gone = fs::symlink_metadata(temp.path()).unwrap_err().kind();
        assert_eq!(gone, std::io::ErrorKind::NotFound);
        assert_eq!(fs::read(outside.path().join("kept")).unwrap(), b"x");
        temp.remove().unwrap();
        outside.remove().unwrap();
    }
}
