//! From "this may be done here, and this below it may not" to a list of what is allowed: all that Landlock
//! knows.
//!
//! The most specific path decides. Where something below an allowed directory is not allowed, its other
//! children are, one by one: what is made in it later is not, which is less than was asked for and never
//! more.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use gl_profile::Origin;
use gl_spec::{Links, PathRule};
use rustix::io::Errno;

use crate::host::Files;

/// What may be done at a path and below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub(super) access: u64,
    /// It also takes away what is allowed above it.
    pub(super) bounds: bool,
    /// The line that says so; none for what every program needs.
    pub(super) origin: Option<Origin>,
}

/// A path for many comparisons: a NUL before each component, so that the order of bytes is that of paths, and
/// what is below a path comes right after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Vec<u8>);

impl Key {
    fn of(path: &Path) -> Self {
        let mut bytes = Vec::with_capacity(path.as_os_str().len() + 1);
        let parts = path.components().filter(|part| *part != Component::RootDir);
        for part in parts {
            bytes.push(0);
            bytes.extend_from_slice(part.as_os_str().as_bytes());
        }
        Self(bytes)
    }

    fn path(&self) -> PathBuf {
        let slash = |byte: &u8| if *byte == 0 { b'/' } else { *byte };
        let mut bytes: Vec<u8> = self.0.iter().map(slash).collect();
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        OsString::from_vec(bytes).into()
    }

    /// Whether this is `above`, or below it.
    fn is_within(&self, above: &Self) -> bool {
        let rest = self.0.strip_prefix(above.0.as_slice());
        rest.is_some_and(|rest| rest.first().is_none_or(|first| *first == 0))
    }
}

/// Paths without links, each with its mark.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<Key, Mark>);

/// A directory that cannot be looked into, though something below it is not allowed.
#[derive(Debug)]
pub(super) struct Unlisted {
    pub(super) dir: PathBuf,
    /// What is not allowed.
    pub(super) below: PathBuf,
    pub(super) errno: Errno,
    /// The line of what is not allowed, or else of what is.
    pub(super) origin: Option<Origin>,
}

/// More children than this are too many for rules.
const MOST: usize = 4096;

impl Marks {
    /// Adds to what may be done at a path.
    pub(super) fn allow(&mut self, path: &Path, mark: Mark) {
        let key = Key::of(path);
        match self.0.get_mut(&key) {
            // What is hidden stays so.
            Some(before) if before.access == 0 => {}
            Some(before) => {
                before.access |= mark.access;
                before.bounds |= mark.bounds;
                before.origin = before.origin.take().or(mark.origin);
            }
            None => {
                self.0.insert(key, mark);
            }
        }
    }

    /// Hides a path, whatever was said of it.
    pub(super) fn hide(&mut self, path: &Path, origin: Option<Origin>) {
        let mark = Mark {
            access: 0,
            bounds: true,
            origin,
        };
        self.0.insert(Key::of(path), mark);
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.0.contains_key(&Key::of(path))
    }

    /// The rules.
    pub(super) fn rules(&self, files: &dyn Files) -> Result<Vec<PathRule>, Unlisted> {
        let mut rules = Vec::new();
        for (key, mark) in self.0.iter().filter(|(_, mark)| mark.access != 0) {
            self.add(files, key, mark, &mut rules)?;
        }
        Ok(without_covered(rules))
    }

    fn add(
        &self,
        files: &dyn Files,
        key: &Key,
        mark: &Mark,
        rules: &mut Vec<(Key, PathRule)>,
    ) -> Result<(), Unlisted> {
        let path = key.path();
        let Some((below, cut)) = self.cut(key, mark.access) else {
            rules.extend(rule(path, mark.access).map(|rule| (key.clone(), rule)));
            return Ok(());
        };
        let unlisted = |errno| Unlisted {
            dir: path.clone(),
            below: below.path(),
            errno,
            origin: cut.origin.clone().or_else(|| mark.origin.clone()),
        };
        let children = match files.list(&path) {
            Ok(children) if children.len() > MOST => return Err(unlisted(Errno::TOOBIG)),
            Ok(children) => children,
            // Nothing is there that could be allowed, or it is a file.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            // Of what every program needs, less will do.
            Err(_) if mark.origin.is_none() => return Ok(()),
            Err(errno) => return Err(unlisted(errno)),
        };
        // A link allows nothing: where it leads decides.
        for child in children.iter().filter(|child| !child.is_link) {
            let path = path.join(&child.name);
            let key = Key::of(&path);
            if self.decides(&key) {
                continue;
            }
            match child.is_directory {
                true => self.add(files, &key, mark, rules)?,
                false => rules.extend(rule(path, mark.access).map(|rule| (key, rule))),
            }
        }
        Ok(())
    }

    /// Whether what is allowed above a path stops at it.
    fn decides(&self, key: &Key) -> bool {
        self.0.get(key).is_some_and(|mark| mark.bounds)
    }

    /// A path below that takes some of these rights away.
    fn cut(&self, key: &Key, access: u64) -> Option<(&Key, &Mark)> {
        let after = self
            .0
            .range((std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded));
        after
            .take_while(|(below, _)| below.is_within(key))
            .find(|(_, mark)| mark.bounds && access & !mark.access != 0)
    }
}

/// The rules without those below another that allows as much: rights add up along a path.
fn without_covered(mut rules: Vec<(Key, PathRule)>) -> Vec<PathRule> {
    rules.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut kept: Vec<PathRule> = Vec::with_capacity(rules.len());
    // Those above the one looked at.
    let mut above: Vec<(Key, u64)> = Vec::new();
    for (key, rule) in rules {
        while above.last().is_some_and(|(last, _)| !key.is_within(last)) {
            above.pop();
        }
        let is_covered = above.iter().any(|(_, access)| rule.access & !access == 0);
        if !is_covered {
            above.push((key, rule.access));
            kept.push(rule);
        }
    }
    kept
}

/// A path that is no text cannot be in a rule, and is not allowed.
fn rule(path: PathBuf, access: u64) -> Option<PathRule> {
    let path = path.into_os_string().into_string().ok()?;
    Some(PathRule {
        path,
        access,
        links: Links::Refuse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rules: &[(&str, u64)]) -> Vec<String> {
        let rules = rules.iter().map(|(path, access)| {
            let rule = rule(path.into(), *access).unwrap();
            (Key::of(Path::new(path)), rule)
        });
        let kept = without_covered(rules.collect());
        kept.into_iter().map(|rule| rule.path).collect()
    }

    #[test]
    fn rule_below_one_that_allows_as_much_is_left_out() {
        let rules = [
            ("/usr", 5),
            ("/usr/bin", 5),
            ("/usr/bin/x", 7),
            ("/usr-b", 5),
            ("/usr/share", 1),
            ("/etc", 1),
        ];
        assert_eq!(kept(&rules), ["/etc", "/usr", "/usr/bin/x", "/usr-b"]);
        assert_eq!(kept(&[("/a/b", 1), ("/", 1)]), ["/"]);
        assert_eq!(kept(&[("/a", 3), ("/a/b", 1), ("/a/b/c", 2)]), ["/a"]);
    }

    #[test]
    fn key_is_the_path_again_and_orders_what_is_below_right_after() {
        for path in ["/", "/a", "/a/b.c"] {
            assert_eq!(Key::of(Path::new(path)).path(), Path::new(path));
        }
        let key = |path: &str| Key::of(Path::new(path));
        assert!(key("/a/z") < key("/a-b"));
        assert!(key("/a/z").is_within(&key("/a")) && key("/a").is_within(&key("/")));
        assert!(!key("/a-b").is_within(&key("/a")));
    }
}
