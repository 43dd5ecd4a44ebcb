//! Names of entries: what is refused before anything is looked up.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use crate::error::Fault;

/// The longest name that `openat2` takes, without its zero byte.
const LONGEST: usize = 4095;
/// The longest component of Linux file systems.
const LONGEST_COMPONENT: usize = 255;
/// Components that a name may have.
const DEEPEST: usize = 256;

/// A name that is relative, has no `..` and is short enough: parents and a last component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    parts: Vec<OsString>,
}

impl Name {
    /// Checks an entry's name.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.starts_with(b"/") {
            return Err(Fault::Absolute);
        }
        if bytes.len() > LONGEST {
            return Err(Fault::TooLong);
        }
        if bytes.contains(&0) {
            return Err(Fault::Nul);
        }
        let mut parts = Vec::new();
        for part in bytes.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(Fault::Outside),
                part if part.len() > LONGEST_COMPONENT => return Err(Fault::TooLong),
                part => parts.push(OsString::from_vec(part.to_vec())),
            }
        }
        if parts.len() > DEEPEST {
            return Err(Fault::TooDeep);
        }
        Ok(Self { parts })
    }

    /// Checks a hard link's target: as a name, but a slash before it means the image's root.
    pub(crate) fn target(bytes: &[u8]) -> Result<Self, Fault> {
        let name = Self::new(bytes.strip_prefix(b"/").unwrap_or(bytes))?;
        if name.parts.is_empty() {
            return Err(Fault::Empty);
        }
        Ok(name)
    }

    /// The last component; `None` for the root itself.
    pub(crate) fn leaf(&self) -> Option<&OsStr> {
        self.parts.last().map(OsString::as_os_str)
    }

    /// The components before the last.
    pub(crate) fn parents(&self) -> &[OsString] {
        self.parts.split_last().map_or(&[], |(_, parents)| parents)
    }

    /// What a whiteout's last component means.
    pub(crate) fn whiteout(&self) -> Result<Option<Whiteout<'_>>, Fault> {
        let Some(rest) = self
            .leaf()
            .and_then(|leaf| leaf.as_bytes().strip_prefix(b".wh."))
        else {
            return Ok(None);
        };
        match rest {
            b".wh..opq" => Ok(Some(Whiteout::Opaque)),
            b"" | b"." | b".." => Err(Fault::Whiteout),
            rest if rest.starts_with(b".wh.") => Ok(Some(Whiteout::Foreign)),
            rest => Ok(Some(Whiteout::One(OsStr::from_bytes(rest)))),
        }
    }
}

/// What a name that begins with `.wh.` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whiteout<'n> {
    /// Nothing of lower layers is seen in the directory.
    Opaque,
    /// One entry of lower layers is gone.
    One(&'n OsStr),
    /// Bookkeeping of another file system.
    Foreign,
}

/// Components as a path.
pub(crate) fn path(parts: &[OsString]) -> PathBuf {
    parts.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{Name, Whiteout};
    use std::ffi::OsStr;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "n".repeat(256);
        let longer = "n/".repeat(2048);
        let deep = "n/".repeat(257);
        for (name, want) in [
            ("/etc/passwd", "the name is absolute"),
            ("..", "the name has .. in it"),
            ("a/../b", "the name has .. in it"),
            ("./../b", "the name has .. in it"),
            ("a\0b", "the name has a zero byte in it"),
            (&*long, "the name is too long"),
            (&*longer, "the name is too long"),
            (&*deep, "it is nested too deeply"),
        ] {
            assert_eq!(Name::new(name.as_bytes()).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn names_are_split_into_parents_and_leaf() {
        for (name, parents, leaf) in [
            ("./a//b/./c/", vec!["a", "b"], Some("c")),
            ("a", vec![], Some("a")),
            ("a/..b/c..", vec!["a", "..b"], Some("c..")),
            ("./", vec![], None),
        ] {
            let name = Name::new(name.as_bytes()).unwrap();
            assert_eq!(name.parents(), parents, "{name:?}");
            assert_eq!(name.leaf(), leaf.map(OsStr::new), "{name:?}");
        }
    }

    #[test]
    fn whiteouts_name_one_entry_or_a_directory() {
        let one = |name| Some(Whiteout::One(OsStr::new(name)));
        for (name, want) in [
            ("d/.wh.x", one("x")),
            ("d/.wh..hidden", one(".hidden")),
            ("d/.wh..wh..opq", Some(Whiteout::Opaque)),
            ("d/.wh..wh.plnk", Some(Whiteout::Foreign)),
            ("d/wh.x", None),
            ("", None),
        ] {
            let parsed = Name::new(name.as_bytes()).unwrap();
            assert_eq!(parsed.whiteout().unwrap(), want, "{name}");
        }
        for name in [".wh.", "d/.wh..", "d/.wh..."] {
            let parsed = Name::new(name.as_bytes()).unwrap();
            let err = parsed.whiteout().unwrap_err();
            assert_eq!(err.to_string(), "the whiteout names no entry", "{name}");
        }
    }
}
