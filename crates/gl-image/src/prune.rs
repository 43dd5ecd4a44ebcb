//! What is in the cache, and what of it can go.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, SystemTime};

use gl_spec::Timestamp;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use serde::Serialize;

use crate::cache::{Cache, failed, read_stored, work_name};
use crate::digest::Digest;
use crate::error::Error;
use crate::lock::Lock;
use crate::remove::{discard, names};
use crate::tree::OPEN_DIR;

/// One image in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its name there.
    pub key: String,
    /// The digest of the image that it was unpacked for.
    pub image: Digest,
    /// Where that was.
    pub from: String,
    /// Bytes of its layers, unpacked.
    pub bytes: u64,
    /// Entries of its layers.
    pub entries: u64,
    /// When it was unpacked.
    pub created: Timestamp,
}

/// What a pruning has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pruned {
    /// Entries that are gone.
    pub removed: Vec<String>,
    /// Entries that somebody uses now.
    pub in_use: Vec<String>,
    /// Entries that were used too lately.
    pub kept: Vec<String>,
}

impl Cache {
    /// Lists what is in the cache. Entries that cannot be read are left out; a pruning removes them.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the directory cannot be listed.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for key in self.keys()? {
            let dir = rustix::fs::openat(&self.dir, key.as_str(), OPEN_DIR, Mode::empty());
            let stored = dir
                .map_err(io::Error::from)
                .and_then(|dir| read_stored(&dir));
            let Ok(stored) = stored else {
                continue;
            };
            entries.push(Entry {
                key,
                image: stored.image,
                from: stored.from,
                bytes: stored.bytes,
                entries: stored.entries,
                created: stored.created,
            });
        }
        Ok(entries)
    }

    /// Removes entries that nobody uses and nobody has used for so long, and what unpackings that were
    /// killed have left.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if one of them cannot be removed; those before it are gone.
    pub fn prune(&self, unused_for: Duration) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let before = now.unwrap_or_default().saturating_sub(unused_for).as_secs();
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        for key in self.all_keys()? {
            let path = self.path.join(&key);
            let name = format!("{key}.lock");
            let lock = Lock::exclusive(self.dir.as_fd(), &name);
            let Some(lock) = lock.map_err(failed("lock", &path))? else {
                pruned.in_use.push(key);
                continue;
            };
            let dir = self.dir.as_fd();
            discard(dir, &work_name(&key)).map_err(failed("remove", &path))?;
            let is_entry = rustix::fs::statat(dir, key.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
            if is_entry && lock.last_use().map_err(failed("look at", &path))? > before {
                pruned.kept.push(key);
                continue;
            }
            self.remove(&key).map_err(failed("remove", &path))?;
            if is_entry {
                pruned.removed.push(key);
            }
            drop(lock);
        }
        Ok(pruned)
    }

    /// Removes an entry, the lock last: who waits for it sees that it is gone and makes another.
    fn remove(&self, key: &str) -> io::Result<()> {
        let work = work_name(key);
        match rustix::fs::renameat(&self.dir, key, &self.dir, work.as_str()) {
            Ok(()) => discard(self.dir.as_fd(), &work)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let lock = format!("{key}.lock");
        match rustix::fs::unlinkat(&self.dir, lock.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn keys(&self) -> Result<Vec<String>, Error> {
        let mut keys = self.all_names()?;
        keys.retain(|name| is_key(name));
        Ok(keys)
    }

    /// Keys of entries, of unfinished ones, and of locks.
    fn all_keys(&self) -> Result<Vec<String>, Error> {
        let names = self.all_names()?;
        let keys = names.iter().map(|name| {
            let name = name.strip_prefix(".work-").unwrap_or(name);
            name.strip_suffix(".lock").unwrap_or(name)
        });
        let mut keys: Vec<String> = keys
            .filter(|name| is_key(name))
            .map(str::to_owned)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    fn all_names(&self) -> Result<Vec<String>, Error> {
        let list = failed("list", &self.path);
        // Listing moves a descriptor's position: one of its own.
        let dir = rustix::fs::openat(&self.dir, ".", OPEN_DIR, Mode::empty());
        let found = dir
            .map_err(io::Error::from)
            .and_then(|dir| names(dir.as_fd()));
        let found = found.map_err(list)?;
        let mut names: Vec<String> = found
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}
