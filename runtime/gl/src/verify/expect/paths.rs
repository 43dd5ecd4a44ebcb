//! What must come of probes of files: by the paths that the profile shows and hides.

use std::path::{Path as HostPath, PathBuf};

use gl_profile::{Level, SourceKind};

use super::{Facts, Path, Stands};

/// How far a path is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    No,
    Read,
    Write,
}

impl Facts<'_> {
    fn place(&self, path: Path) -> PathBuf {
        match path {
            Path::At(path) | Path::Owned(path) => PathBuf::from(path),
            Path::Bait => self.bait.clone(),
            Path::Home => self.home.clone(),
            Path::Directory => self.bait.join("work"),
        }
    }

    /// How far the profile shows a path of the host.
    fn shown(&self, path: &HostPath) -> Shown {
        let files = &self.profile.filesystem;
        let mut best = (0, Shown::No);
        let mut say = |at: &HostPath, shown: Shown| {
            let depth = at.components().count();
            if path.starts_with(at) && (depth, shown) >= best {
                best = (depth, shown);
            }
        };
        for item in files.read_only_paths.iter().flat_map(|list| &list.items) {
            say(item.value.as_path(), Shown::Read);
        }
        for item in files.read_write_paths.iter().flat_map(|list| &list.items) {
            say(item.value.as_path(), Shown::Write);
        }
        for item in files.bind_mounts.iter().flat_map(|list| &list.items) {
            let shown = match item.value.read_only {
                true => Shown::Read,
                false => Shown::Write,
            };
            say(item.value.target.as_path(), shown);
        }
        let lists = files.read_only_paths.iter();
        let mut items = lists.flat_map(|list| &list.items);
        let asked =
            items.any(|item| !matches!(item.origin.kind, SourceKind::Level | SourceKind::BuiltIn));
        let lenient = self.profile.level.value == Level::Lenient;
        // There the list is for a root that is put together from it.
        if self.is_basic() && lenient && !asked {
            say(HostPath::new("/"), Shown::Read);
        }
        for line in &files.blocked_paths {
            let at = line.value.as_path();
            // What is hidden and shown at the same place is shown: the profile's own line wins.
            if path.starts_with(at) && at.components().count() > best.0 {
                return Shown::No;
            }
        }
        best.1
    }

    pub(super) fn read(&self, path: Path) -> Stands {
        if self.has_own_root() {
            return Stands::Yes("a root of its own");
        }
        let place = self.place(path);
        if path == Path::Home && place.parent().is_none() {
            return Stands::Open("the caller's home is /".to_owned());
        }
        match (self.shown(&place), path) {
            (Shown::No, _) if self.is_basic() => self.landlock(),
            (Shown::No, _) => Stands::Yes("it is not shown"),
            (_, Path::Owned(_)) => {
                Stands::Open("the profile shows it, and its mode decides".to_owned())
            }
            _ => Stands::No,
        }
    }

    pub(super) fn write(&self, path: Path) -> Stands {
        if self.has_own_root() {
            return Stands::Yes("a read-only root of its own");
        }
        match self.shown(&self.place(path)) {
            Shown::Write => Stands::Open("the profile shows it writable".to_owned()),
            _ if self.is_basic() => self.landlock(),
            Shown::Read => Stands::Yes("it is shown read-only"),
            Shown::No => Stands::Yes("it is not shown, or read-only"),
        }
    }
}
