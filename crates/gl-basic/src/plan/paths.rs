//! From "this may be done here, and this below it may not" to a list of what is allowed: all that Landlock
//! knows.
//!
//! The most specific path decides. Where something below an allowed directory is not allowed, its other
//! children are, one by one: what is made in it later is not, which is less than was asked for and never
//! more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// Paths without links, each with its mark.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<PathBuf, Mark>);

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
    pub(super) fn allow(&mut self, path: PathBuf, mark: Mark) {
        match self.0.get_mut(&path) {
            // What is hidden stays so.
            Some(before) if before.access == 0 => {}
            Some(before) => {
                before.access |= mark.access;
                before.bounds |= mark.bounds;
                before.origin = before.origin.take().or(mark.origin);
            }
            None => {
                self.0.insert(path, mark);
            }
        }
    }

    /// Hides a path, whatever was said of it.
    pub(super) fn hide(&mut self, path: PathBuf, origin: Option<Origin>) {
        let mark = Mark {
            access: 0,
            bounds: true,
            origin,
        };
        self.0.insert(path, mark);
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// The rules.
    pub(super) fn rules(&self, files: &dyn Files) -> Result<Vec<PathRule>, Unlisted> {
        let mut rules = Vec::new();
        for (path, mark) in self.0.iter().filter(|(_, mark)| mark.access != 0) {
            self.add(files, path, mark, &mut rules)?;
        }
        Ok(rules)
    }

    fn add(
        &self,
        files: &dyn Files,
        path: &Path,
        mark: &Mark,
        rules: &mut Vec<PathRule>,
    ) -> Result<(), Unlisted> {
        let Some((below, cut)) = self.cut(path, mark.access) else {
            rules.extend(rule(path, mark.access));
            return Ok(());
        };
        let unlisted = |errno| Unlisted {
            dir: path.to_owned(),
            below: below.clone(),
            errno,
            origin: cut.origin.clone().or_else(|| mark.origin.clone()),
        };
        let children = match files.list(path) {
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
            if self.decides(&path) {
                continue;
            }
            match child.is_directory {
                true => self.add(files, &path, mark, rules)?,
                false => rules.extend(rule(&path, mark.access)),
            }
        }
        Ok(())
    }

    /// Whether what is allowed above a path stops at it.
    fn decides(&self, path: &Path) -> bool {
        self.0.get(path).is_some_and(|mark| mark.bounds)
    }

    /// A path below that takes some of these rights away.
    fn cut(&self, path: &Path, access: u64) -> Option<(&PathBuf, &Mark)> {
        let after = self
            .0
            .range::<Path, _>((std::ops::Bound::Excluded(path), std::ops::Bound::Unbounded));
        // Paths are ordered by component, so all that are below come first.
        after
            .take_while(|(below, _)| below.starts_with(path))
            .find(|(_, mark)| mark.bounds && access & !mark.access != 0)
    }
}

/// A path that is no text cannot be in a rule, and is not allowed.
fn rule(path: &Path, access: u64) -> Option<PathRule> {
    let path = path.to_str()?.to_owned();
    Some(PathRule {
        path,
        access,
        links: Links::Refuse,
    })
}
