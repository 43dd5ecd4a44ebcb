//! The mount option words of the runtime-spec, as the bits that the kernel takes.
//!
//! `config.md`, "Linux mount options", and `mount(8)`. One table says what each word does; a word
//! that is not in it is data for the filesystem.

/// `MOUNT_ATTR_*` bits of `<linux/mount.h>`, for `mount_setattr(2)`.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// No set-user-id or file capabilities.
    pub const NOSUID: u64 = 0x2;
    /// No device files.
    pub const NODEV: u64 = 0x4;
    /// No program execution.
    pub const NOEXEC: u64 = 0x8;
    /// The field of access-time modes; cleared before a mode is set.
    pub const ATIME: u64 = 0x70;
    /// Access-time mode: relative (the mode with value zero).
    pub const RELATIME: u64 = 0x0;
    /// Access-time mode: never updated.
    pub const NOATIME: u64 = 0x10;
    /// Access-time mode: always updated.
    pub const STRICTATIME: u64 = 0x20;
    /// Directories' access times are not updated.
    pub const NODIRATIME: u64 = 0x80;
    /// The mount's ids are mapped.
    pub const IDMAP: u64 = 0x10_0000;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// How mount events travel: `MS_*` bits of `mount(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Propagation {
    /// Neither sent nor received, and cannot be bound.
    Unbindable = 1 << 17,
    /// Neither sent nor received.
    Private = 1 << 18,
    /// Received only.
    Slave = 1 << 19,
    /// Sent and received.
    Shared = 1 << 20,
}

impl Propagation {
    /// The `MS_*` bit.
    pub fn bit(self) -> u64 {
        self as u64
    }
}

/// Whether an option is for one mount or for all below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// The mount itself.
    Top,
    /// The mount and all below it.
    Tree,
}

/// What one option word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// `bind` or `rbind`.
    Bind(Spread),
    /// `remount`: change what is mounted there.
    Remount,
    /// Set these `MOUNT_ATTR_*` bits after clearing those.
    Attr {
        set: u64,
        clear: u64,
        spread: Spread,
    },
    /// Propagation of the mount.
    Propagation(Propagation, Spread),
    /// A flag of the superblock, by its `fsconfig(2)` key; also the negative one, which is the
    /// default of a new superblock.
    Superblock(&'static str),
    /// Known, and nothing to do: the default.
    Nothing,
    /// Copy what is under the mount point into the new tmpfs.
    CopyUp,
    /// Map the ids of the mount, or of the tree.
    Idmap(Spread),
}

const fn set(bits: u64) -> Word {
    Word::Attr {
        set: bits,
        clear: 0,
        spread: Spread::Top,
    }
}

const fn clear(bits: u64) -> Word {
    Word::Attr {
        set: 0,
        clear: bits,
        spread: Spread::Top,
    }
}

const fn mode(bits: u64) -> Word {
    Word::Attr {
        set: bits,
        clear: attr::ATIME,
        spread: Spread::Top,
    }
}

/// The word's meaning, or `None` if it is data for the filesystem.
pub(crate) fn word(option: &str) -> Option<Word> {
    if let Some(found) = plain(option) {
        return Some(found);
    }
    // The recursive forms of the attribute words: `rro`, `rnosuid`, ...
    match plain(option.strip_prefix('r')?) {
        Some(Word::Attr { set, clear, .. }) => Some(Word::Attr {
            set,
            clear,
            spread: Spread::Tree,
        }),
        _ => None,
    }
}

fn plain(option: &str) -> Option<Word> {
    Some(match option {
        "bind" => Word::Bind(Spread::Top),
        "rbind" => Word::Bind(Spread::Tree),
        "remount" => Word::Remount,
        "ro" => set(attr::RDONLY),
        "rw" => clear(attr::RDONLY),
        "nosuid" => set(attr::NOSUID),
        "suid" => clear(attr::NOSUID),
        "nodev" => set(attr::NODEV),
        "dev" => clear(attr::NODEV),
        "noexec" => set(attr::NOEXEC),
        "exec" => clear(attr::NOEXEC),
        "nodiratime" => set(attr::NODIRATIME),
        "diratime" => clear(attr::NODIRATIME),
        "nosymfollow" => set(attr::NOSYMFOLLOW),
        "symfollow" => clear(attr::NOSYMFOLLOW),
        "noatime" => mode(attr::NOATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => mode(attr::RELATIME),
        "strictatime" => mode(attr::STRICTATIME),
        "sync" => Word::Superblock("sync"),
        "dirsync" => Word::Superblock("dirsync"),
        "mand" => Word::Superblock("mand"),
        "lazytime" => Word::Superblock("lazytime"),
        "iversion" => Word::Superblock("iversion"),
        "async" | "nomand" | "nolazytime" | "noiversion" | "silent" | "loud" | "defaults" | "" => {
            Word::Nothing
        }
        "private" => Word::Propagation(Propagation::Private, Spread::Top),
        "rprivate" => Word::Propagation(Propagation::Private, Spread::Tree),
        "slave" => Word::Propagation(Propagation::Slave, Spread::Top),
        "rslave" => Word::Propagation(Propagation::Slave, Spread::Tree),
        "shared" => Word::Propagation(Propagation::Shared, Spread::Top),
        "rshared" => Word::Propagation(Propagation::Shared, Spread::Tree),
        "unbindable" => Word::Propagation(Propagation::Unbindable, Spread::Top),
        "runbindable" => Word::Propagation(Propagation::Unbindable, Spread::Tree),
        "tmpcopyup" => Word::CopyUp,
        "idmap" => Word::Idmap(Spread::Top),
        "ridmap" => Word::Idmap(Spread::Tree),
        _ => return None,
    })
}

/// Reads `linux.rootfsPropagation`.
pub(crate) fn rootfs_propagation(value: &str) -> Option<(Propagation, Spread)> {
    match plain(value)? {
        Word::Propagation(propagation, spread) => Some((propagation, spread)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recursive_forms_exist_for_attributes_only() {
        for (option, want) in [
            ("rro", Some((attr::RDONLY, 0))),
            ("rrw", Some((0, attr::RDONLY))),
            ("rnosuid", Some((attr::NOSUID, 0))),
            ("rnoatime", Some((attr::NOATIME, attr::ATIME))),
            ("rsync", None),
            ("rmode=755", None),
        ] {
            let seen = match word(option) {
                Some(Word::Attr {
                    set,
                    clear,
                    spread: Spread::Tree,
                }) => Some((set, clear)),
                _ => None,
            };
            assert_eq!(seen, want, "{option}");
        }
    }

    #[test]
    fn relatime_is_a_mode_and_not_the_recursive_form_of_something() {
        assert_eq!(word("relatime"), Some(mode(attr::RELATIME)));
    }

    #[test]
    fn unknown_words_are_data() {
        for option in ["size=64k", "mode=755", "gid=5", "newinstance", "roo"] {
            assert_eq!(word(option), None, "{option}");
        }
    }
}
