//! New cpusets: empty in v1, and nothing can join an empty one (`ENOSPC`).

use std::os::fd::OwnedFd;

use crate::error::Error;
use crate::file;
use crate::layout::shown;
use crate::paths::GroupPath;

/// Gives a cpuset, and every one above it that has none, the processors and nodes of its parent.
///
/// The last `new` components of `path` are known to be empty and are not read first.
///
/// # Errors
///
/// [`Error::Read`] or [`Error::Write`].
pub(crate) fn fill(
    base: &OwnedFd,
    hierarchy: &GroupPath,
    path: &GroupPath,
    new: usize,
) -> Result<(), Error> {
    let chain: Vec<_> = path
        .prefixes()
        .map(|path| format!("{}/{path}", hierarchy.as_str()))
        .collect();
    let known = chain.len().saturating_sub(new);
    // From the lowest that has both, downwards.
    let mut from = known;
    let mut has = loop {
        let above = match from {
            0 => hierarchy.as_str(),
            n => chain[n - 1].as_str(),
        };
        let set = Set::read(base, above)?;
        if from == 0 || set.is_complete() {
            break set;
        }
        from -= 1;
    };
    for (at, dir) in chain.iter().enumerate().skip(from) {
        let own = if at < known {
            Set::read(base, dir)?
        } else {
            Set::default()
        };
        has = own.complete(base, dir, has)?;
    }
    Ok(())
}

/// Processors and memory nodes, as their files show them.
#[derive(Debug, Default)]
struct Set {
    cpus: String,
    mems: String,
}

impl Set {
    fn read(base: &OwnedFd, dir: &str) -> Result<Self, Error> {
        let read = |name| {
            let path = format!("{dir}/{name}");
            file::read_line(base, &path).map_err(|source| Error::Read {
                path: shown(&path),
                source,
            })
        };
        Ok(Self {
            cpus: read("cpuset.cpus")?,
            mems: read("cpuset.mems")?,
        })
    }

    fn is_complete(&self) -> bool {
        !self.cpus.is_empty() && !self.mems.is_empty()
    }

    /// Writes what is missing, taken from `above`.
    fn complete(self, base: &OwnedFd, dir: &str, above: Self) -> Result<Self, Error> {
        let pick = |name: &str, own: String, above: String| {
            if !own.is_empty() {
                return Ok(own);
            }
            let path = format!("{dir}/{name}");
            match file::write(base, &path, &above) {
                Ok(()) => Ok(above),
                Err(source) => Err(Error::Write {
                    path: shown(&path),
                    value: above,
                    source,
                }),
            }
        };
        Ok(Self {
            cpus: pick("cpuset.cpus", self.cpus, above.cpus)?,
            mems: pick("cpuset.mems", self.mems, above.mems)?,
        })
    }
}
