//! One entry of `mounts`, with every option decided.

use std::path::{Path, PathBuf};

use gl_spec::oci;

use crate::error::Refusal;
use crate::model::{IdMaps, UserNs, ranges};
use crate::mount_option::{Propagation, Spread, Word, attr, word};
use crate::namespace::{Kind, Namespaces};

/// `MOUNT_ATTR_*` bits to clear and to set, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear first.
    pub clear: u64,
}

impl AttrChange {
    /// Whether nothing changes.
    pub fn is_empty(self) -> bool {
        self.set == 0 && self.clear == 0
    }

    /// Adds a later option word: it wins over an earlier, opposite one.
    fn then(&mut self, set: u64, clear: u64) {
        self.set = (self.set & !clear) | set;
        self.clear |= clear;
        if clear & attr::ATIME == 0 {
            // Of a single-bit attribute only the last word counts; a mode keeps its field cleared.
            self.clear &= !set;
        }
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute, or relative to the bundle.
        source: PathBuf,
        /// With or without the mounts below it.
        spread: Spread,
    },
    /// A new instance of a filesystem.
    Filesystem {
        /// The name that `fsopen(2)` takes.
        fstype: String,
        /// The `source` parameter.
        source: String,
        /// Superblock flags, as `fsconfig(2)` keys.
        flags: Vec<&'static str>,
        /// The filesystem's own parameters: key, and value unless it is a flag.
        data: Vec<(String, Option<String>)>,
        /// Copy what is under the mount point into it.
        copy_up: bool,
        /// How it gets the label of `linux.mountLabel`.
        labelling: Labelling,
    },
    /// A directory of the container's own filesystem ([`Store`](crate::Store)), empty, in place of a tmpfs.
    Stored {
        /// Its mode; that of the directory which it covers otherwise.
        mode: Option<u32>,
        /// Its user, inside; the container's root otherwise.
        uid: Option<u32>,
        /// Its group, inside.
        gid: Option<u32>,
        /// Copy what is under the mount point into it.
        copy_up: bool,
    },
    /// The container's cgroup hierarchy, whichever version the host has.
    Cgroup,
    /// Other attributes for what is mounted there already.
    Remount,
}

/// How a new filesystem gets the label of `linux.mountLabel`, where the config has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labelling {
    /// Not at all: the kernel labels the files of proc, sysfs and cgroup itself, or the mount's
    /// options name a context of their own.
    Own,
    /// By the parameter `context`: all files have the label.
    Parameter,
    /// By the attribute of its root directory: the superblock of mqueue is as old as the IPC
    /// namespace and takes no `context` any more. New queues inherit the label.
    RootDirectory,
}

/// One mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Position in `mounts`.
    pub index: usize,
    /// Where, inside the container; taken from its root, whatever it begins with.
    pub target: PathBuf,
    /// What.
    pub kind: MountKind,
    /// Attributes of the mount itself.
    pub attr: AttrChange,
    /// Attributes of the mount and of all below it (`rro` and its kin).
    pub tree_attr: AttrChange,
    /// Propagation changes, in order.
    pub propagation: Vec<(Propagation, Spread)>,
    /// Ids of the source's files, shown as others.
    pub idmap: Option<Idmap>,
}

/// An id map of a bind mount (`MOUNT_ATTR_IDMAP`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idmap {
    /// The ids in the files, and the host's ids that they count as.
    pub maps: IdMaps,
    /// With or without the mounts below it.
    pub spread: Spread,
}

impl Mount {
    /// The config field.
    pub fn field(&self) -> String {
        format!("mounts[{}]", self.index)
    }

    /// Whether this hides the image's own directory at `path`.
    pub fn covers(&self, path: &str) -> bool {
        self.target == Path::new(path)
    }
}

/// What the option words of one mount add up to.
#[derive(Debug, Default)]
struct Words<'a> {
    bind: Option<Spread>,
    remount: bool,
    copy_up: bool,
    attr: AttrChange,
    tree_attr: AttrChange,
    propagation: Vec<(Propagation, Spread)>,
    idmap: Option<Spread>,
    flags: Vec<&'static str>,
    data: Vec<&'a str>,
}

/// Whose a mount will be.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) userns: &'a UserNs,
    /// The runtime itself is in a user namespace.
    pub(crate) in_user_namespace: bool,
}

pub(crate) fn build(index: usize, mount: &oci::Mount, place: &Place<'_>) -> Result<Mount, Refusal> {
    let words = read_words(index, mount)?;
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let bound = words
        .bind
        .or(matches!(fstype, "bind" | "none").then_some(Spread::Top));
    let (mut attr, mut tree_attr) = (words.attr, words.tree_attr);
    let kind = match (bound, fstype) {
        _ if words.remount => remount(index, &words)?,
        (Some(spread), _) => bind(index, mount, &words, spread)?,
        (None, "") => {
            return Err(Refusal::value(
                format!("mounts[{index}].type"),
                "",
                "a mount without option bind or rbind needs a filesystem type",
            ));
        }
        (None, "cgroup" | "cgroup2") => {
            // Nothing is mounted below it but its own hierarchies, which get the same attributes.
            attr.set |= tree_attr.set & !attr.clear;
            MountKind::Cgroup
        }
        (None, "sysfs") if shares_network(place) => {
            // Only the owner of the network namespace may mount sysfs; its view is the host's.
            // Below it are the host's cgroups.
            let confined = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
            attr.then(confined, 0);
            tree_attr.then(confined, 0);
            MountKind::Bind {
                source: PathBuf::from("/sys"),
                spread: Spread::Tree,
            }
        }
        (None, fstype) => filesystem(fstype, mount, &words),
    };
    let idmap = idmap(mount, &words, place.userns);
    match (&kind, &idmap, words.idmap) {
        (MountKind::Bind { .. }, Some(_), _) | (_, None, None) => {}
        (MountKind::Bind { .. }, None, _) => {
            return Err(Refusal::value(
                format!("mounts[{index}].options"),
                "idmap",
                "there are no mappings, here or for the container's user namespace",
            ));
        }
        _ => {
            return Err(Refusal::value(
                format!("mounts[{index}].uidMappings"),
                fstype,
                "only a bind mount can have its ids mapped",
            ));
        }
    }
    Ok(Mount {
        index,
        idmap,
        target: mount.destination().clone(),
        kind,
        attr,
        tree_attr,
        propagation: words.propagation,
    })
}

fn shares_network(place: &Place<'_>) -> bool {
    let unprivileged = place.in_user_namespace || place.namespaces.has(Kind::User);
    unprivileged && !place.namespaces.creates(Kind::Network)
}

fn read_words(index: usize, mount: &oci::Mount) -> Result<Words<'_>, Refusal> {
    let mut words = Words::default();
    let options = mount.options().as_deref().unwrap_or_default();
    for (position, option) in options.iter().enumerate() {
        let field = || format!("mounts[{index}].options[{position}]");
        if option.contains('\0') {
            return Err(Refusal::Nul { field: field() });
        }
        match word(option) {
            None => words.data.push(option),
            Some(Word::Nothing) => {}
            Some(Word::Bind(spread)) => words.bind = Some(spread),
            Some(Word::Remount) => words.remount = true,
            Some(Word::CopyUp) => words.copy_up = true,
            Some(Word::Superblock(flag)) => words.flags.push(flag),
            Some(Word::Propagation(kind, spread)) => words.propagation.push((kind, spread)),
            Some(Word::Attr { set, clear, spread }) => match spread {
                Spread::Top => words.attr.then(set, clear),
                Spread::Tree => words.tree_attr.then(set, clear),
            },
            Some(Word::Idmap(spread)) => words.idmap = Some(spread),
        }
    }
    Ok(words)
}

/// The id map of a mount: its own mappings, or those of the container's user namespace.
fn idmap(mount: &oci::Mount, words: &Words<'_>, container: &UserNs) -> Option<Idmap> {
    let (uid, gid) = (mount.uid_mappings(), mount.gid_mappings());
    let maps = match (uid, gid, words.idmap) {
        (None, None, None) => return None,
        (None, None, Some(_)) => match container {
            UserNs::New(maps) => maps.clone(),
            UserNs::Shared | UserNs::Joined => return None,
        },
        _ => IdMaps {
            uid: ranges(uid.as_deref()),
            gid: ranges(gid.as_deref()),
        },
    };
    Some(Idmap {
        maps,
        spread: words.idmap.unwrap_or(Spread::Top),
    })
}

fn bind(
    index: usize,
    mount: &oci::Mount,
    words: &Words<'_>,
    spread: Spread,
) -> Result<MountKind, Refusal> {
    if let Some(option) = words.data.first() {
        return Err(Refusal::value(
            format!("mounts[{index}].options"),
            *option,
            "a bind mount takes no such option",
        ));
    }
    let source = mount.source().clone().unwrap_or_default();
    if source.as_os_str().is_empty() {
        return Err(Refusal::value(
            format!("mounts[{index}].source"),
            "",
            "a bind mount needs a source",
        ));
    }
    Ok(MountKind::Bind { source, spread })
}

/// What is mounted already: its attributes and propagation change, its filesystem does not, as that
/// may be the host's.
fn remount(index: usize, words: &Words<'_>) -> Result<MountKind, Refusal> {
    let (flag, data) = (words.flags.first(), words.data.first());
    match flag.or(data) {
        None => Ok(MountKind::Remount),
        Some(option) => Err(Refusal::value(
            format!("mounts[{index}].options"),
            *option,
            "remount changes flags of the mount, and none of its filesystem",
        )),
    }
}

fn filesystem(fstype: &str, mount: &oci::Mount, words: &Words<'_>) -> MountKind {
    const VIRTUAL: [&str; 5] = ["proc", "sysfs", "tmpfs", "mqueue", "devpts"];
    let mut flags = words.flags.clone();
    if words.attr.set & attr::RDONLY != 0 && !VIRTUAL.contains(&fstype) {
        // Also the superblock: a filesystem on a device must not be written at all.
        flags.push("ro");
    }
    let data = words
        .data
        .iter()
        .map(|option| match option.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(unquoted(key, value).to_owned())),
            None => ((*option).to_owned(), None),
        });
    let data: Vec<_> = data.collect();
    let names_context = data.iter().any(|(key, _)| CONTEXTS.contains(&key.as_str()));
    MountKind::Filesystem {
        fstype: fstype.to_owned(),
        source: mount
            .source()
            .as_ref()
            .map_or_else(|| fstype.to_owned(), |s| s.to_string_lossy().into_owned()),
        flags,
        labelling: match fstype {
            _ if names_context => Labelling::Own,
            "proc" | "sysfs" => Labelling::Own,
            "mqueue" => Labelling::RootDirectory,
            _ => Labelling::Parameter,
        },
        data,
        copy_up: words.copy_up,
    }
}

/// The parameters of `SELinux` that every filesystem takes; their values are contexts.
const CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// A context without the quotes that keep its commas together in a list of options, as `mount(8)`
/// and `mount(2)` take it. `fsconfig(2)` takes one value and would count them as part of it.
fn unquoted<'a>(key: &str, value: &'a str) -> &'a str {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    match inner {
        Some(inner) if CONTEXTS.contains(&key) => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gl_spec::oci::MountBuilder;

    fn mount(typ: &str, options: &[&str]) -> oci::Mount {
        MountBuilder::default()
            .destination("/x")
            .typ(typ)
            .source("/src")
            .options(options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
            .build()
            .unwrap()
    }

    fn plan(typ: &str, options: &[&str]) -> Result<Mount, Refusal> {
        build(
            2,
            &mount(typ, options),
            &Place {
                namespaces: &Namespaces::default(),
                userns: &UserNs::Shared,
                in_user_namespace: false,
            },
        )
    }

    #[test]
    fn later_option_wins_over_its_opposite() {
        for (options, set, clear) in [
            (&["ro", "rw"][..], 0, attr::RDONLY),
            (&["rw", "ro"], attr::RDONLY, 0),
            (&["nosuid", "nodev", "dev"], attr::NOSUID, attr::NODEV),
            (&["noatime", "strictatime"], attr::STRICTATIME, attr::ATIME),
            (&["strictatime", "relatime"], 0, attr::ATIME),
        ] {
            let seen = plan("tmpfs", options).unwrap().attr;
            assert_eq!(seen, AttrChange { set, clear }, "{options:?}");
        }
    }

    #[test]
    fn bind_option_wins_over_the_type() {
        let seen = plan("ext4", &["rbind", "rprivate"]).unwrap();
        assert_eq!(
            seen.kind,
            MountKind::Bind {
                source: "/src".into(),
                spread: Spread::Tree
            }
        );
        assert_eq!(seen.propagation, [(Propagation::Private, Spread::Tree)]);
    }

    #[test]
    fn bind_with_an_unknown_option_is_refused_with_its_field() {
        let err = plan("bind", &["bind", "qwerty"]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "use mounts[2].options: a bind mount takes no such option"
        );
    }

    #[test]
    fn sysfs_of_the_host_is_read_only_with_all_below() {
        for (new, userns, in_user_namespace) in [
            (Kind::User.bit(), &UserNs::Joined, false),
            (0, &UserNs::Shared, true),
        ] {
            let place = Place {
                namespaces: &Namespaces {
                    new,
                    ..Namespaces::default()
                },
                userns,
                in_user_namespace,
            };
            let seen = build(2, &mount("sysfs", &["rw", "rrw"]), &place).unwrap();
            assert_eq!(seen.attr.set & attr::RDONLY, attr::RDONLY, "{seen:?}");
            assert_eq!(seen.tree_attr.set & attr::RDONLY, attr::RDONLY, "{seen:?}");
        }
    }

    #[test]
    fn recursive_words_of_a_cgroup_mount_count() {
        for (options, want) in [(&["rro"][..], attr::RDONLY), (&["rro", "rw"], 0)] {
            assert_eq!(
                plan("cgroup", options).unwrap().attr.set,
                want,
                "{options:?}"
            );
        }
    }

    #[test]
    fn label_goes_to_filesystems_that_have_none_of_their_own() {
        for (fstype, options, want) in [
            ("tmpfs", &["mode=755"][..], Labelling::Parameter),
            ("devpts", &["newinstance"], Labelling::Parameter),
            ("overlay", &["lowerdir=/a"], Labelling::Parameter),
            ("mqueue", &[], Labelling::RootDirectory),
            ("proc", &[], Labelling::Own),
            ("sysfs", &[], Labelling::Own),
            ("tmpfs", &["context=u:r:t:s0"], Labelling::Own),
            ("tmpfs", &["rootcontext=u:r:t:s0"], Labelling::Own),
        ] {
            let seen = plan(fstype, options).unwrap().kind;
            assert!(
                matches!(seen, MountKind::Filesystem { labelling, .. } if labelling == want),
                "{fstype} {options:?}: {seen:?}"
            );
        }
    }

    #[test]
    fn quotes_of_a_context_are_left_out_and_no_others() {
        for (option, want) in [
            ("context=\"u:r:t:s0:c1,c2\"", "u:r:t:s0:c1,c2"),
            ("defcontext=\"u:r:t:s0\"", "u:r:t:s0"),
            ("context=u:r:t:s0:c1,c2", "u:r:t:s0:c1,c2"),
            ("context=\"u:r:t:s0", "\"u:r:t:s0"),
            ("lowerdir=\"/a\"", "\"/a\""),
        ] {
            let seen = plan("tmpfs", &[option]).unwrap().kind;
            let MountKind::Filesystem { data, .. } = seen else {
                panic!("{seen:?}")
            };
            assert_eq!(data[0].1.as_deref(), Some(want), "{option}");
        }
    }

    #[test]
    fn data_words_keep_order_and_values() {
        let seen = plan("tmpfs", &["nosuid", "size=64k", "mode=1777", "noswap"]).unwrap();
        let MountKind::Filesystem { data, .. } = seen.kind else {
            panic!("{:?}", seen.kind)
        };
        assert_eq!(
            data,
            [
                ("size".to_owned(), Some("64k".to_owned())),
                ("mode".to_owned(), Some("1777".to_owned())),
                ("noswap".to_owned(), None)
            ]
        );
    }
}
