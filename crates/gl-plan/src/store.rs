//! A container whose root can be written under a quota: what it writes goes to one filesystem of its own.
//!
//! That is the upper layer over the root, and has a directory in the place of each tmpfs. A tmpfs that is
//! smaller than the quota stays one, as it was asked for, and its size is taken from the quota: all together
//! hold no more than that.

use gl_spec::{DiskQuota, Kept};

use crate::error::Refusal;
use crate::mount::{Mount, MountKind};
use crate::mount_option::attr;

/// Enough for the nodes and links of `/dev`, which take no block.
const DEV_BYTES: u64 = 64 << 10;
/// The nodes and links of `/dev`, and some more.
const DEV_FILES: u64 = 1 << 10;
/// A page, and a block of every filesystem that is made.
const BLOCK: u64 = 4096;

/// The filesystem that everything a container writes is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// How much it holds, bytes; of whole blocks.
    pub bytes: u64,
    /// How many files it holds where nothing else limits them.
    pub files: u64,
    /// Where it stores them.
    pub kept: Kept,
    /// The line of the profile that says so, for errors.
    pub line: String,
}

/// Splits a quota between a store and the tmpfs mounts that stay.
pub(crate) fn place(mounts: &mut [Mount], quota: &DiskQuota) -> Result<Store, Refusal> {
    let mut left = quota.bytes;
    let mut own = Vec::new();
    for mount in mounts {
        let is_dev = mount.covers("/dev");
        let Some(tmpfs) = Tmpfs::of(mount) else {
            continue;
        };
        if is_dev {
            let bytes = tmpfs.size().map_or(DEV_BYTES, |size| size.min(DEV_BYTES));
            left = left.saturating_sub(bytes);
            tmpfs.limit(bytes, DEV_FILES);
        } else if tmpfs.is_plain() && tmpfs.size().is_none_or(|size| size >= quota.bytes) {
            tmpfs.become_stored();
        } else {
            own.push(tmpfs);
        }
    }
    let count = u64::try_from(own.len().max(1)).unwrap_or(u64::MAX);
    // What was asked for, unless that is most of the quota.
    let most = quota
        .bytes
        .checked_div(count.saturating_mul(2))
        .unwrap_or(0);
    for tmpfs in own {
        let bytes = tmpfs.size().map_or(most, |size| size.min(most));
        let bytes = bytes.max(BLOCK);
        left = left.saturating_sub(bytes);
        tmpfs.limit(bytes, files(bytes));
    }
    let bytes = left.saturating_sub(left.checked_rem(BLOCK).unwrap_or(0));
    if bytes < BLOCK.saturating_mul(16) {
        return Err(Refusal::Unenforceable {
            field: quota.line.clone(),
            missing: "nothing of the quota is left for the root beside the tmpfs mounts",
            remedy: "allow more, or mount fewer of them",
        });
    }
    Ok(Store {
        bytes,
        files: files(bytes),
        kept: quota.kept,
        line: quota.line.clone(),
    })
}

/// One for each block, and some where there are few.
fn files(bytes: u64) -> u64 {
    bytes.checked_div(BLOCK).unwrap_or(0).max(1 << 10)
}

/// The parameters of a tmpfs that can be written.
struct Tmpfs<'a> {
    kind: &'a mut MountKind,
}

impl<'a> Tmpfs<'a> {
    fn of(mount: &'a mut Mount) -> Option<Self> {
        let bits = (mount.tree_attr.set & !mount.attr.clear) | mount.attr.set;
        match &mount.kind {
            MountKind::Filesystem { fstype, .. }
                if fstype == "tmpfs" && bits & attr::RDONLY == 0 =>
            {
                Some(Self {
                    kind: &mut mount.kind,
                })
            }
            _ => None,
        }
    }

    fn data(&self) -> &[(String, Option<String>)] {
        match &*self.kind {
            MountKind::Filesystem { data, .. } => data,
            _ => &[],
        }
    }

    fn value(&self, key: &str) -> Option<&str> {
        let last = self.data().iter().rev().find(|(one, _)| one == key);
        last.and_then(|(_, value)| value.as_deref())
    }

    /// Whether another filesystem can stand in for it.
    fn is_plain(&self) -> bool {
        const KNOWN: [&str; 5] = ["mode", "uid", "gid", "size", "nr_blocks"];
        let known = |key: &str| KNOWN.contains(&key);
        self.data().iter().all(|(key, _)| known(key))
            && self.number("uid", 10).is_ok()
            && self.number("gid", 10).is_ok()
            && self.number("mode", 8).is_ok()
    }

    fn number(&self, key: &str, radix: u32) -> Result<Option<u32>, std::num::ParseIntError> {
        let value = self.value(key);
        value
            .map(|text| u32::from_str_radix(text, radix))
            .transpose()
    }

    /// How much it was to hold; none for no limit or for a share of the memory.
    fn size(&self) -> Option<u64> {
        let blocks = self.value("nr_blocks").and_then(gl_spec::tmpfs_number);
        let blocks = blocks.map(|count| count.saturating_mul(BLOCK));
        let size = self.value("size").and_then(gl_spec::tmpfs_number);
        [size, blocks]
            .into_iter()
            .flatten()
            .filter(|size| *size > 0)
            .min()
    }

    fn limit(self, bytes: u64, files: u64) {
        let asked = self.value("nr_inodes").and_then(gl_spec::tmpfs_number);
        let files = asked
            .filter(|asked| *asked > 0)
            .map_or(files, |asked| asked.min(files));
        if let MountKind::Filesystem { data, .. } = self.kind {
            data.retain(|(key, _)| !["size", "nr_blocks", "nr_inodes"].contains(&key.as_str()));
            data.push(("size".to_owned(), Some(bytes.to_string())));
            data.push(("nr_inodes".to_owned(), Some(files.to_string())));
        }
    }

    fn become_stored(self) {
        // They were looked at before.
        let number = |key, radix| self.number(key, radix).ok().flatten();
        let copies = matches!(self.kind, MountKind::Filesystem { copy_up: true, .. });
        *self.kind = MountKind::Stored {
            mode: number("mode", 8).map(|mode| mode & 0o7777),
            uid: number("uid", 10),
            gid: number("gid", 10),
            copy_up: copies,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::mount::{AttrChange, Labelling};

    const MIB: u64 = 1 << 20;

    fn tmpfs(target: &str, data: &[(&str, &str)]) -> Mount {
        let data = data.iter();
        let data = data.map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())));
        Mount {
            index: 0,
            target: PathBuf::from(target),
            kind: MountKind::Filesystem {
                fstype: "tmpfs".to_owned(),
                source: "tmpfs".to_owned(),
                flags: Vec::new(),
                data: data.collect(),
                copy_up: false,
                labelling: Labelling::Parameter,
            },
            attr: AttrChange::default(),
            tree_attr: AttrChange::default(),
            propagation: Vec::new(),
            idmap: None,
        }
    }

    fn quota(bytes: u64) -> DiskQuota {
        DiskQuota {
            bytes,
            kept: Kept::Disk,
            line: "p.toml:1: limits.disk_quota_bytes".to_owned(),
        }
    }

    fn seen(mount: &Mount) -> String {
        match &mount.kind {
            MountKind::Filesystem { data, .. } => {
                let all = data.iter();
                let all = all.map(|(key, value)| format!("{key}={}", value.as_deref().unwrap()));
                all.collect::<Vec<_>>().join(",")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn tmpfs_of_the_quotas_size_or_more_is_a_part_of_the_store() {
        let mut mounts = [
            tmpfs("/dev", &[("mode", "755"), ("size", "65536k")]),
            tmpfs("/dev/shm", &[("mode", "1777"), ("size", "64m")]),
            tmpfs("/run", &[("uid", "7")]),
        ];
        let store = place(&mut mounts, &quota(16 * MIB)).unwrap();
        assert_eq!(store.bytes, 16 * MIB - (64 << 10));
        let want = [
            "mode=755,size=65536,nr_inodes=1024",
            "Stored { mode: Some(1023), uid: None, gid: None, copy_up: false }",
            "Stored { mode: None, uid: Some(7), gid: None, copy_up: false }",
        ];
        assert_eq!(mounts.each_ref().map(seen), want);
    }

    #[test]
    fn smaller_tmpfs_keeps_its_size_and_all_together_are_the_quota() {
        let mut mounts = [
            tmpfs("/dev", &[]),
            tmpfs("/dev/shm", &[("size", "64m")]),
            tmpfs("/odd", &[("huge", "always")]),
        ];
        let store = place(&mut mounts, &quota(1024 * MIB)).unwrap();
        let want = [
            "size=65536,nr_inodes=1024",
            "size=67108864,nr_inodes=16384",
            "huge=always,size=268435456,nr_inodes=65536",
        ];
        assert_eq!(mounts.each_ref().map(seen), want);
        assert_eq!(store.bytes + (64 + 256) * MIB + (64 << 10), 1024 * MIB);
    }

    #[test]
    fn read_only_tmpfs_is_left_alone() {
        let mut one = tmpfs("/x", &[]);
        one.attr.set = attr::RDONLY;
        let mut mounts = [one];
        assert_eq!(place(&mut mounts, &quota(MIB)).unwrap().bytes, MIB);
        assert_eq!(seen(&mounts[0]), "");
    }

    #[test]
    fn quota_that_is_used_up_by_tmpfs_mounts_is_refused_with_its_line() {
        let mut mounts: Vec<_> = (0..3000)
            .map(|at| tmpfs(&format!("/{at}"), &[("size", "4096")]))
            .collect();
        let err = place(&mut mounts, &quota(MIB)).unwrap_err();
        assert_eq!(
            err.to_string(),
            "use p.toml:1: limits.disk_quota_bytes: nothing of the quota is left for the root beside the tmpfs mounts"
        );
    }
}
