//! Users by name, as the files of a tree that nobody trusts have them.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use gl_rootfs::Root as Tree;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// Whom a program runs as, by numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The other groups it is in.
    pub groups: Vec<u32>,
}

/// As much is read of a file of accounts.
const MOST_BYTES: u64 = 1 << 20;
/// The largest id: what is above means no user to some calls.
const LARGEST: u32 = i32::MAX.cast_unsigned();

/// Finds who `name` is: `USER` or `USER:GROUP`, each a name or a number.
///
/// Names are those of the tree's own `/etc/passwd` and `/etc/group`, which are found within it. With a group
/// named, the user is in no other.
///
/// # Errors
///
/// [`Error::User`] for a name that is not there, [`Error::File`] for a file that cannot be read.
pub(crate) fn find(name: &str, tree: &Tree) -> Result<User, Error> {
    let passwd = read(tree, "/etc/passwd")?;
    let group = read(tree, "/etc/group")?;
    among(name, &passwd, &group).map_err(|problem| Error::User {
        user: name.to_owned(),
        problem,
    })
}

fn among(name: &str, passwd: &str, group: &str) -> Result<User, &'static str> {
    let (user, wanted) = match name.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (name, None),
    };
    let number = id(user)?;
    // An empty word is nobody's name, and means root.
    let number = match user {
        "" => Some(0),
        _ => number,
    };
    let account = lines(passwd).find(|fields| match fields.as_slice() {
        [own, _, uid, ..] => *own == user || number.is_some_and(|id| uid.parse() == Ok(id)),
        _ => false,
    });
    let (uid, gid, known) = match (account.as_deref(), number) {
        (Some([own, _, uid, gid, ..]), _) => (
            id(uid)?.ok_or("its line in /etc/passwd has no number")?,
            id(gid)?.ok_or("its line in /etc/passwd has no number")?,
            *own,
        ),
        (_, Some(id)) => (id, 0, user),
        (_, None) => return Err("the image's /etc/passwd has no such user"),
    };
    let Some(wanted) = wanted else {
        let groups = lines(group).filter(|fields| match fields.as_slice() {
            [_, _, _, members, ..] => members.split(',').any(|one| one == known),
            _ => false,
        });
        let ids = groups.map(|fields| id(fields.get(2).copied().unwrap_or_default()));
        let ids: Vec<u32> = ids
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
        return Ok(User {
            uid,
            gid,
            groups: ids,
        });
    };
    let found = lines(group).find(|fields| fields.first() == Some(&wanted));
    let found = match found.as_deref() {
        Some([_, _, gid, ..]) => id(gid)?,
        _ => id(wanted)?,
    };
    let gid = found.ok_or("the image's /etc/group has no such group")?;
    let groups = Vec::new();
    Ok(User { uid, gid, groups })
}

/// A number that may be an id; none for what is no number.
fn id(word: &str) -> Result<Option<u32>, &'static str> {
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match word.parse() {
        Ok(id) if id <= LARGEST => Ok(Some(id)),
        _ => Err("the number is too large for a user or a group"),
    }
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.trim().split(':').collect())
}

/// Reads a file of the tree; one that is not there is empty.
fn read(tree: &Tree, path: &str) -> Result<String, Error> {
    let failed = || Error::file("read, in the image,", path);
    // Nothing but a file is opened to be read: to open a device may do something.
    let found = match tree.open(Path::new(path), OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        found => found.map_err(failed())?,
    };
    let stat = rustix::fs::fstat(&found).map_err(failed())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(failed()(Errno::INVAL));
    }
    let again = format!("/proc/self/fd/{}", found.as_raw_fd());
    let file = rustix::fs::open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let file = File::from(file.map_err(failed())?);
    let mut bytes = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(Error::io("read, in the image,", path))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(failed()(Errno::FBIG));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{User, among};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# web:x:1:1::/:\nweb:x:33:34::/srv:/bin/sh\n\
        broken\nbig:x:4294967295:0::/:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlogs:x:4:root,web\nmore:x:40:web\n";

    #[test]
    fn user_is_found_by_name_and_by_number() {
        for (name, uid, gid, groups) in [
            ("web", 33, 34, &[4, 40][..]),
            ("33", 33, 34, &[4, 40]),
            ("1234", 1234, 0, &[]),
            ("", 0, 0, &[4]),
            ("0", 0, 0, &[4]),
            ("web:logs", 33, 4, &[]),
            ("web:7", 33, 7, &[]),
            ("web:", 33, 34, &[4, 40]),
            ("1234:1235", 1234, 1235, &[]),
        ] {
            let groups = groups.to_vec();
            let want = User { uid, gid, groups };
            assert_eq!(among(name, PASSWD, GROUP), Ok(want), "{name:?}");
        }
    }

    #[test]
    fn user_that_is_not_there_is_refused() {
        for (name, want) in [
            ("nobody", "the image's /etc/passwd has no such user"),
            ("web:none", "the image's /etc/group has no such group"),
            ("-1", "the image's /etc/passwd has no such user"),
            (
                "4294967295",
                "the number is too large for a user or a group",
            ),
            ("big", "the number is too large for a user or a group"),
        ] {
            assert_eq!(among(name, PASSWD, GROUP), Err(want), "{name:?}");
        }
    }
}
