//! The file systems of its own that a program can write to, held open from outside: the kernel counts no write
//! that fails for want of space, but tells at the end whether there is some.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use gl_rootfs::Root;
use gl_spec::oci::{Mount, Spec};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::process::Pid;

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
    /// Holds those that the first process of a config sees. Nothing is read from them, and nothing written.
    ///
    /// # Errors
    ///
    /// What the kernel says of a process that may not be looked at, or is gone.
    pub(crate) fn of(process: Pid, spec: &Spec) -> Result<Self, Errno> {
        let pid = process.as_raw_nonzero();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
        let root = Root::new(root);
        let mut held = Vec::new();
        for path in [Path::new("/")].into_iter().chain(own(spec)) {
            // One that something else is mounted over is not to be written to.
            let Ok(fd) = root.open(path, flags) else {
                continue;
            };
            if is_own(&fd) && is_writable(&fd) {
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

fn is_writable(fd: &OwnedFd) -> bool {
    let seen = rustix::fs::fstatvfs(fd);
    seen.is_ok_and(|seen| !seen.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Where a config mounts a new tmpfs, or a layer over something else, and nothing over it.
fn own(spec: &Spec) -> Vec<&Path> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mut all: Vec<&Path> = Vec::new();
    for mount in mounts {
        let path = mount.destination().as_path();
        all.retain(|one| *one != path);
        all.extend(is_new(mount).then_some(path));
    }
    all
}

/// Whether a mount is a filesystem of its own. An option that names another way to mount comes before its type.
fn is_new(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    let of_another = ["bind", "rbind", "remount"];
    let kind = mount.typ().as_deref();
    kind.is_some_and(|kind| ["tmpfs", "overlay"].contains(&kind))
        && !options
            .iter()
            .any(|option| of_another.contains(&option.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(at: &str, kind: &str, option: &str) -> Mount {
        let mut mount = Mount::default();
        mount.set_destination(at.into());
        mount.set_typ(Some(kind.to_owned()));
        mount.set_options(Some(vec![option.to_owned()]));
        mount
    }

    #[test]
    fn file_systems_of_the_sandbox_alone_are_found() {
        let mut spec = Spec::default();
        spec.set_mounts(Some(vec![
            mount("/tmp", "tmpfs", "nosuid"),
            mount("/shm", "tmpfs", "nosuid"),
            mount("/shm", "bind", "rbind"),
            mount("/over", "overlay", "rw"),
            mount("/proc", "proc", "nosuid"),
            mount("/host", "tmpfs", "rbind"),
            mount("/again", "bind", "bind"),
            mount("/again", "tmpfs", "rw"),
        ]));
        assert_eq!(own(&spec), ["/tmp", "/over", "/again"].map(Path::new));
    }
}
