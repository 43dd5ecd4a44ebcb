//! The file systems of its own that a program can write to, held open from outside: the kernel counts no write
//! that fails for want of space, but tells at the end whether there is some.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use gl_rootfs::Root;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// As much as the table of a sandbox's mounts usually takes.
const MOUNTS: usize = 8 << 10;

/// Those that are held.
#[derive(Debug, Default)]
pub(crate) struct Space {
    held: Vec<(PathBuf, OwnedFd)>,
}

/// One without space.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Where it is, inside.
    pub(crate) path: PathBuf,
    /// How much it holds.
    pub(crate) bytes: u64,
}

impl Space {
    /// Holds those that a process sees. Nothing is read from them, and nothing written.
    ///
    /// # Errors
    ///
    /// What the kernel says of a process that may not be looked at, or is gone.
    pub(crate) fn of(process: Pid) -> Result<Self, Errno> {
        let pid = process.as_raw_nonzero();
        let failed = |err: std::io::Error| Errno::from_io_error(&err).unwrap_or(Errno::IO);
        let mut mounts = String::with_capacity(MOUNTS);
        let mut file = File::open(format!("/proc/{pid}/mountinfo")).map_err(failed)?;
        file.read_to_string(&mut mounts).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
        let root = Root::new(root);
        let mut held = Vec::new();
        for path in mounts.lines().filter_map(writable) {
            // One that something else is mounted over is not to be written to.
            let Ok(fd) = root.open_plain(path, flags) else {
                continue;
            };
            if is_own(&fd) {
                held.push((path.to_owned(), fd));
            }
        }
        Ok(Self { held })
    }

    /// Those that are full.
    pub(crate) fn full(&self) -> Vec<Full> {
        let mut all = Vec::new();
        for (path, fd) in &self.held {
            let Ok(seen) = rustix::fs::fstatfs(fd) else {
                continue;
            };
            let no_blocks = seen.f_blocks > 0 && seen.f_bavail == 0;
            let no_files = seen.f_files > 0 && seen.f_ffree == 0;
            let block = u64::try_from(seen.f_bsize).unwrap_or(0);
            if no_blocks || no_files {
                all.push(Full {
                    path: path.clone(),
                    bytes: seen.f_blocks.saturating_mul(block),
                });
            }
        }
        all
    }
}

fn is_own(fd: &OwnedFd) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const OVERLAY: i64 = 0x794c_7630;
    rustix::fs::fstatfs(fd).is_ok_and(|seen| [TMPFS, OVERLAY].contains(&seen.f_type))
}

/// Where the mount of a line of `mountinfo` is, if it is a tmpfs, or a layer over the root, that can be written
/// to. A path that is
/// written with escapes is none that we have made.
fn writable(line: &str) -> Option<&Path> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut words = mount.split(' ').skip(4);
    let (path, options) = (words.next()?, words.next()?);
    let own = ["tmpfs", "overlay"]
        .map(Some)
        .contains(&kind.split(' ').next());
    let open = options.split(',').any(|option| option == "rw");
    (own && open && !path.contains('\\')).then(|| Path::new(path))
}

#[cfg(test)]
mod tests {
    use super::writable;
    use std::path::Path;

    #[test]
    fn tmpfs_that_can_be_written_to_is_found() {
        let line = "36 35 0:44 / /tmp rw,nosuid,nodev shared:1 - tmpfs tmpfs rw,size=4096k";
        assert_eq!(writable(line), Some(Path::new("/tmp")));
        let hidden = "37 35 0:45 / /boot ro,nosuid - tmpfs tmpfs rw,size=0k";
        assert_eq!(writable(hidden), None);
        let disk = "38 35 8:1 / /srv rw - ext4 /dev/sda1 rw";
        assert_eq!(writable(disk), None);
    }
}
