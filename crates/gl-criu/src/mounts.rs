//! The mounts of a container as the kernel lists them (`proc_pid_mountinfo(5)`), and which of them come from
//! outside: CRIU saves those that were made for the container, and has to be told of all others.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its id, unique while it is there.
    pub id: u64,
    /// That of the one it is mounted on.
    pub parent: u64,
    /// The device number of its filesystem, `major:minor`.
    pub device: String,
    /// What of the filesystem is mounted.
    pub root: PathBuf,
    /// Where, below the process's root.
    pub at: PathBuf,
    /// Its own options.
    pub options: Vec<String>,
    /// The filesystem's type.
    pub kind: String,
}

impl Mount {
    /// Whether it has this option, such as `ro`.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }
}

/// Reads a list; none if it is not one.
pub fn parse(list: &[u8]) -> Option<Vec<Mount>> {
    let lines = list.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty()).map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let text = |word: &[u8]| String::from_utf8(word.to_vec()).ok();
    let id = text(words.next()?)?.parse().ok()?;
    let parent = text(words.next()?)?.parse().ok()?;
    let device = text(words.next()?)?;
    let root = path(words.next()?);
    let at = path(words.next()?);
    let options = text(words.next()?)?;
    // Any number of tags before a hyphen.
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    Some(Mount {
        id,
        parent,
        device,
        root,
        at,
        options: options.split(',').map(str::to_owned).collect(),
        kind: text(kind)?,
    })
}

/// A path in which blanks and backslashes are written as `\040` and the like.
fn path(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'\\')
            .then(|| tail.split_at_checked(3))
            .flatten();
        let octal = escaped.and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 8).ok()?, after))
        });
        let (byte, after) = octal.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    OsString::from_vec(bytes).into()
}

/// Those of a container's mounts that come from the host: their filesystem is mounted there, too. Not its
/// root, which CRIU is told of in another way.
///
/// A filesystem of the container's own can be on the host's list only if somebody has put it there, and is
/// the host's then.
pub fn from_outside<'a>(container: &'a [Mount], host: &[Mount]) -> Vec<&'a Mount> {
    let devices: BTreeSet<&str> = host.iter().map(|mount| &*mount.device).collect();
    let others = container.iter().filter(|mount| mount.at != Path::new("/"));
    others
        .filter(|mount| devices.contains(&*mount.device))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &[u8] = b"103 106 0:51 /b/rootfs / ro,relatime - tmpfs tmpfs rw\n\
        104 103 0:51 /b/my\\040vol /etc/vol ro,nosuid,relatime master:7 - tmpfs tmpfs rw\n\
        105 159 0:6 /null /proc/interrupts ro,relatime shared:1 master:2 - devtmpfs devtmpfs rw\n\
        159 103 0:53 / /proc rw,relatime - proc proc rw\n";
    const HOST: &[u8] =
        b"22 1 0:51 / / rw shared:1 - tmpfs tmpfs rw\n23 22 0:6 / /dev rw - devtmpfs d rw\n";

    #[test]
    fn lines_are_read_with_tags_and_escapes() {
        let mounts = parse(CONTAINER).unwrap();
        assert_eq!(
            mounts[1],
            Mount {
                id: 104,
                parent: 103,
                device: "0:51".to_owned(),
                root: "/b/my vol".into(),
                at: "/etc/vol".into(),
                options: ["ro", "nosuid", "relatime"].map(str::to_owned).to_vec(),
                kind: "tmpfs".to_owned(),
            }
        );
        assert!(mounts[1].has("ro") && !mounts[1].has("rw"));
        assert_eq!(mounts[2].kind, "devtmpfs");
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for (word, want) in [
            ("a\\040b", "a b"),
            ("a\\04", "a\\04"),
            ("\\999", "\\999"),
            ("\\134", "\\"),
        ] {
            assert_eq!(path(word.as_bytes()), Path::new(want), "{word}");
        }
    }

    #[test]
    fn a_line_that_is_short_is_no_list() {
        assert_eq!(parse(b"103 106 0:51 / / rw\n"), None);
        assert_eq!(parse(b"x 106 0:51 / / rw - a b c\n"), None);
    }

    #[test]
    fn mounts_of_the_hosts_filesystems_come_from_outside() {
        let container = parse(CONTAINER).unwrap();
        let host = parse(HOST).unwrap();
        let found: Vec<u64> = from_outside(&container, &host)
            .iter()
            .map(|m| m.id)
            .collect();
        assert_eq!(found, [104, 105]);
    }
}
