//! Which files a program reads and writes, from the names in its calls.
//!
//! Each name is looked at before its call is made: what is not there is not read, and what is made is told from
//! what was there. A name stays as the program says it, links and all, since that is where it looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};

use gl_basic::{Files as _, HostFiles};
use rustix::fs::OFlags;

use crate::draft::Tier;
use crate::fold::{Listed, fold, is_never_whole, system};
use crate::program;

/// What is done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Did {
    Look,
    Open(OFlags),
    Execute,
    Make,
    Place,
    Remove,
    Change,
    Enter,
    /// Lists a directory that was opened.
    List,
}

/// What of the host no profile shows: the kernel's own, of which every sandbox has what is fit for it.
const KERNEL: [&str; 3] = ["/proc", "/dev", "/sys"];
/// What is fresh and empty in the tier `namespace`.
const FRESH: [&str; 2] = ["/tmp", "/var/tmp"];
/// Paths of one kind that are told, at most.
const TOLD: usize = 64;
/// Names of directories that are kept, at most.
const NAMES: usize = 65_536;

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    tier: Tier,
    /// How the names of the private temporary directory begin.
    temp: PathBuf,
    /// What the program made itself.
    made: BTreeSet<PathBuf>,
    read: BTreeSet<PathBuf>,
    written: BTreeSet<PathBuf>,
    fresh: bool,
    /// Directories that were asked about only.
    looked: BTreeSet<PathBuf>,
    /// Directories that were opened or entered, and not listed.
    entered: BTreeSet<PathBuf>,
    /// The names by which directories were opened, by where they are.
    names: BTreeMap<PathBuf, PathBuf>,
    /// What is read and cannot be shown.
    unshown: BTreeSet<PathBuf>,
}

impl Seen {
    /// Nothing yet; `temp` is how the names of the private temporary directory begin.
    pub(crate) fn new(tier: Tier, temp: PathBuf) -> Self {
        Self {
            tier,
            temp,
            made: BTreeSet::new(),
            read: BTreeSet::new(),
            written: BTreeSet::new(),
            fresh: false,
            looked: BTreeSet::new(),
            entered: BTreeSet::new(),
            names: BTreeMap::new(),
            unshown: BTreeSet::new(),
        }
    }

    /// A call names this path.
    pub(crate) fn touch(&mut self, path: &Path, did: Did) {
        let path = clean(path);
        if KERNEL.iter().any(|kernel| path.starts_with(kernel)) {
            if path.starts_with("/sys") && std::fs::metadata(&path).is_ok() {
                self.unshown(path);
            }
            return;
        }
        if self.is_temp(&path) {
            // Elsewhere it is the fresh /tmp.
            self.fresh |= self.tier == Tier::Namespace && changes(did);
            return;
        }
        match did {
            Did::Look => self.look(path),
            Did::Enter => self.enter(path),
            Did::List => {
                let named = self.names.get(&path).cloned().unwrap_or(path);
                if let Ok(found) = std::fs::metadata(&named) {
                    self.read(named, &found);
                }
            }
            Did::Execute => program::files(&path)
                .into_iter()
                .for_each(|one| self.look(one)),
            Did::Open(flags) => self.open(path, flags),
            Did::Make | Did::Place | Did::Remove => self.rename(path, did),
            Did::Change => match std::fs::metadata(&path) {
                Ok(_) if self.is_made(&path) => {}
                Ok(found) => self.write(path, &found),
                Err(_) => {}
            },
        }
    }

    fn look(&mut self, path: PathBuf) {
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => tell(&mut self.looked, path),
            Ok(found) => self.read(path, &found),
            Err(_) => {}
        }
    }

    fn enter(&mut self, path: PathBuf) {
        if std::fs::metadata(&path).is_ok_and(|found| found.is_dir()) && !self.is_made(&path) {
            tell(&mut self.entered, path);
        }
    }

    /// A directory is opened, to be listed perhaps.
    fn open_dir(&mut self, path: PathBuf, found: &Metadata, flags: OFlags) {
        if flags.contains(OFlags::PATH) {
            return self.enter(path);
        }
        // Landlock asks for the right to list it at once.
        if self.tier == Tier::Basic {
            return self.read(path, found);
        }
        if let Ok(real) = HostFiles::default().real(&path)
            && real != path
            && self.names.len() < NAMES
        {
            self.names.insert(real, path.clone());
        }
        self.enter(path);
    }

    fn open(&mut self, path: PathBuf, flags: OFlags) {
        let found = std::fs::metadata(&path);
        match found {
            Err(_) if flags.contains(OFlags::CREATE) => self.rename(path, Did::Make),
            Err(_) => {}
            Ok(found) if flags.contains(OFlags::TMPFILE) && found.is_dir() => self.writable(&path),
            Ok(found) if found.is_dir() => self.open_dir(path, &found, flags),
            Ok(found) if writes(flags) && !self.is_made(&path) => self.write(path, &found),
            Ok(found) => self.read(path, &found),
        }
    }

    /// Names in a directory come and go.
    fn rename(&mut self, path: PathBuf, did: Did) {
        let there = std::fs::symlink_metadata(&path).is_ok();
        let Some(parent) = path.parent().map(Path::to_owned) else {
            return;
        };
        match (did, there) {
            (Did::Remove, false) => return,
            (Did::Make, true) => return self.look(path),
            _ => {}
        }
        if std::fs::metadata(&parent).is_ok_and(|found| found.is_dir()) {
            self.writable(&parent);
            if did != Did::Remove && !there {
                self.made.insert(path);
            }
        }
    }

    /// A directory in which names change.
    fn writable(&mut self, dir: &Path) {
        let mut dir = dir;
        while self.is_made(dir) {
            let Some(above) = dir.parent() else {
                return;
            };
            dir = above;
        }
        if self.tier == Tier::Namespace && FRESH.iter().any(|fresh| dir == Path::new(fresh)) {
            self.fresh = true;
        } else {
            self.written.insert(dir.to_owned());
        }
    }

    fn read(&mut self, path: PathBuf, found: &Metadata) {
        if self.is_made(&path) {
            return;
        }
        let whole = found.is_dir() && is_never_whole(&path);
        if !(found.is_dir() || found.is_file()) || whole || !is_sayable(&path) {
            return self.unshown(path);
        }
        let path = system(&path).unwrap_or(path);
        // Whoever lists a directory asks about much that is in it.
        if !path.ancestors().any(|above| self.read.contains(above)) {
            self.read.insert(path);
        }
    }

    fn write(&mut self, path: PathBuf, found: &Metadata) {
        if !(found.is_dir() || found.is_file()) || !is_sayable(&path) {
            return self.unshown(path);
        }
        self.written.insert(path);
    }

    /// A directory that a program goes to has to be there, if nothing below it is.
    fn show_entered(&mut self) {
        for path in std::mem::take(&mut self.entered) {
            let is_near = |shown: &PathBuf| path.starts_with(shown) || shown.starts_with(&path);
            if path == Path::new("/") || self.read.iter().chain(&self.written).any(is_near) {
                continue;
            }
            if let Ok(found) = std::fs::metadata(&path) {
                self.read(path, &found);
            }
        }
    }

    fn unshown(&mut self, path: PathBuf) {
        tell(&mut self.unshown, path);
    }

    fn is_made(&self, path: &Path) -> bool {
        !self.made.is_empty() && path.ancestors().any(|above| self.made.contains(above))
    }

    fn is_temp(&self, path: &Path) -> bool {
        let (path, temp) = (path.as_os_str(), self.temp.as_os_str());
        path.as_encoded_bytes().starts_with(temp.as_encoded_bytes())
    }

    /// What a profile has to show, and what it cannot.
    pub(crate) fn finish(mut self) -> Paths {
        self.show_entered();
        let there = |path: &&PathBuf| std::fs::metadata(path).is_ok();
        let written: BTreeSet<_> = self.written.iter().filter(there).cloned().collect();
        let read: BTreeSet<_> = self.read.iter().filter(there).cloned().collect();
        let shown = |path: &Path| match self.tier {
            Tier::Namespace => gl_sandbox::has_in_etc(path),
            Tier::Basic => gl_basic::is_always_shown(path),
        };
        let Listed { read, written } = fold(read, written, shown);
        let all: Vec<_> = read.iter().chain(&written).collect();
        let is_new = |path: &PathBuf| {
            let below = |shown: &&&PathBuf| path.starts_with(shown) || shown.starts_with(path);
            path != Path::new("/") && !shown(path) && !all.iter().any(|one| below(&one))
        };
        let looked = self.looked.into_iter().filter(is_new).collect();
        Paths {
            unshown: self.unshown.into_iter().collect(),
            looked,
            fresh: self.fresh,
            read,
            written,
        }
    }
}

/// What a profile has to show.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    pub(crate) read: Vec<PathBuf>,
    pub(crate) written: Vec<PathBuf>,
    /// Something is made in a fresh temporary directory.
    pub(crate) fresh: bool,
    /// Directories that were asked about only.
    pub(crate) looked: Vec<PathBuf>,
    /// What was opened, and cannot be shown.
    pub(crate) unshown: Vec<PathBuf>,
}

fn changes(did: Did) -> bool {
    match did {
        Did::Look | Did::Execute | Did::Enter | Did::List => false,
        Did::Open(flags) => writes(flags) || flags.contains(OFlags::CREATE),
        Did::Make | Did::Place | Did::Remove | Did::Change => true,
    }
}

fn writes(flags: OFlags) -> bool {
    flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC)
}

fn tell(told: &mut BTreeSet<PathBuf>, path: PathBuf) {
    if told.len() < TOLD {
        told.insert(path);
    }
}

/// Whether a profile can say this path.
fn is_sayable(path: &Path) -> bool {
    path.to_str().is_some_and(|text| {
        text.len() < 4096 && !text.contains("${") && !text.chars().any(char::is_control)
    })
}

/// Without `.` and `..`; a `..` is followed as the kernel does, over links.
fn clean(path: &Path) -> PathBuf {
    let plain: PathBuf = path.components().collect();
    if !plain.components().any(|part| part == Component::ParentDir) {
        return plain;
    }
    let (above, name) = match (plain.parent(), plain.file_name()) {
        (Some(above), Some(name)) => (above, Some(name)),
        _ => (plain.as_path(), None),
    };
    let real = HostFiles::default()
        .real(above)
        .unwrap_or_else(|_errno| above.to_owned());
    match name {
        Some(name) => real.join(name),
        None => real,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = Path::new("/var").join(format!("gl-record-{name}-{}", std::process::id()));
            let dir = match fs::create_dir(&dir) {
                Ok(()) => dir,
                // Not root.
                Err(_) => {
                    let dir = std::env::current_dir()
                        .unwrap()
                        .join(dir.file_name().unwrap());
                    fs::create_dir(&dir).unwrap();
                    dir
                }
            };
            Self(dir)
        }

        fn file(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, "x").unwrap();
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn seen() -> Seen {
        Seen::new(Tier::Namespace, "/tmp/gl-me-".into())
    }

    const READ: Did = Did::Open(OFlags::RDONLY);
    const MADE: Did = Did::Open(OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::TRUNC));

    #[test]
    fn what_is_not_there_is_not_read_and_what_is_made_is_not_either() {
        let dir = Dir::new("made");
        let mut seen = seen();
        seen.touch(&dir.0.join("missing"), READ);
        let new = dir.0.join("new");
        seen.touch(&new, MADE);
        fs::write(&new, "").unwrap();
        seen.touch(&new, READ);
        seen.touch(&new, Did::Change);
        let inner = dir.0.join("dir");
        seen.touch(&inner, Did::Make);
        fs::create_dir(&inner).unwrap();
        seen.touch(&inner.join("in it"), MADE);
        let paths = seen.finish();
        assert_eq!(paths.read, Vec::<PathBuf>::new());
        assert_eq!(paths.written, std::slice::from_ref(&dir.0));
    }

    #[test]
    fn file_that_was_there_is_written_alone() {
        let dir = Dir::new("there");
        let (one, two) = (dir.file("one"), dir.file("two"));
        let mut seen = seen();
        seen.touch(&one, MADE);
        seen.touch(&two, READ);
        seen.touch(&dir.0.join("sub/../two"), Did::Look);
        let paths = seen.finish();
        assert_eq!((paths.written, paths.read), (vec![one], vec![two]));
    }

    #[test]
    fn directory_is_shown_by_its_name_if_it_is_listed_or_nothing_else_would_be_there() {
        let dir = Dir::new("dirs");
        let (listed, opened) = (dir.0.join("listed"), dir.0.join("opened"));
        let (above, link) = (dir.0.join("above"), dir.0.join("link"));
        for made in [&listed, &opened, &above] {
            fs::create_dir(made).unwrap();
        }
        std::os::unix::fs::symlink(&listed, &link).unwrap();
        let file = dir.file("above/file");
        let mut seen = seen();
        seen.touch(&link, READ);
        seen.touch(&listed, Did::List);
        seen.touch(&link.join("x"), Did::Look);
        seen.touch(&opened, READ);
        seen.touch(&above, READ);
        seen.touch(&above, Did::Enter);
        seen.touch(&file, READ);
        seen.touch(&dir.0, Did::Look);
        let paths = seen.finish();
        assert_eq!(paths.read, [file, link, opened]);
        assert_eq!(paths.looked, Vec::<PathBuf>::new());
    }

    #[test]
    fn own_and_fresh_temporary_files_are_no_paths() {
        let mut seen = seen();
        seen.touch(Path::new("/proc/self/maps"), READ);
        seen.touch(Path::new("/dev/null"), READ);
        seen.touch(Path::new("/tmp/gl-me-0123/x"), READ);
        assert!(!seen.fresh);
        seen.touch(Path::new("/tmp/gl-me-0123/x"), MADE);
        assert!(std::mem::take(&mut seen.fresh));
        let name = format!("/tmp/gl-record-fresh-{}", std::process::id());
        seen.touch(Path::new(&name), MADE);
        let paths = seen.finish();
        let want = Paths {
            fresh: true,
            ..Paths::default()
        };
        assert_eq!(paths, want);
    }

    #[test]
    fn secrets_are_shown_one_by_one_and_homes_never_whole() {
        let mut seen = seen();
        for dir in ["/", "/home"] {
            seen.touch(Path::new(dir), READ);
            seen.touch(Path::new(dir), Did::List);
        }
        seen.touch(Path::new("/usr"), Did::Enter);
        seen.touch(Path::new("/usr/bin/env"), Did::Execute);
        let paths = seen.finish();
        assert_eq!(paths.unshown, [Path::new("/"), Path::new("/home")]);
        assert!(paths.read.contains(&PathBuf::from("/usr")), "{paths:?}");
        assert_eq!(paths.looked, Vec::<PathBuf>::new());
    }
}
