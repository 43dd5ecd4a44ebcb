//! Giving a cgroup to the container's root, so that it can arrange its own below it.
//!
//! kernel Documentation/admin-guide/cgroup-v2.rst, "Delegation": the directory and the files that move
//! processes, never those that limit the cgroup itself.

use rustix::fs::{AtFlags, Uid};
use rustix::io::Errno;

use super::group::Group;
use crate::error::Error;
use crate::layout::shown;
use crate::paths::GroupPath;

/// What is given beside the directory.
const FILES: [&str; 3] = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

impl Group {
    /// Gives the cgroup, or the one at `leaf` below it, to `owner`.
    pub(crate) fn delegate(&self, leaf: Option<&GroupPath>, owner: Uid) -> Result<(), Error> {
        let dir = match leaf {
            Some(leaf) => self.path.join(leaf),
            None => self.path.clone(),
        };
        let files = FILES.map(|name| format!("{}/{name}", dir.as_str()));
        for path in std::iter::once(dir.as_str()).chain(files.iter().map(String::as_str)) {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::chownat(&self.base, path, Some(owner), None, flags) {
                // A kernel without one of the files has nothing to give there.
                Err(Errno::NOENT) if path != dir.as_str() => {}
                other => other.map_err(|source| Error::Give {
                    path: shown(path),
                    source,
                })?,
            }
        }
        Ok(())
    }
}
