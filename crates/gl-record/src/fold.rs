//! Many paths to few: system directories as they are, and directories of which much was read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Shown whole where anything of them is read: the system's programs and libraries, everybody's to read.
const SYSTEM: [&str; 7] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
];
/// Never shown whole: they hold what many programs keep for themselves.
const NEVER: [&str; 11] = [
    "/", "/boot", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var",
];
/// So many things read in one directory make it a directory that is read.
const MANY: usize = 8;

/// Paths for a profile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) read: Vec<PathBuf>,
    pub(crate) written: Vec<PathBuf>,
}

/// Whether a directory is never shown whole, read or not: the ones above, and homes.
pub(crate) fn is_never_whole(path: &Path) -> bool {
    let home = std::env::var_os("HOME");
    NEVER.iter().any(|never| path == Path::new(never))
        || path.parent() == Some(Path::new("/home"))
        || path.parent() == Some(Path::new("/var"))
        || home.is_some_and(|home| path == Path::new(&home))
}

/// Makes lists of what was read, of the system's directories as they are, and of what was written. `shown` is
/// what the tier shows anyway.
pub(crate) fn fold(
    read: BTreeSet<PathBuf>,
    written: BTreeSet<PathBuf>,
    shown: impl Fn(&Path) -> bool,
) -> Listed {
    let written = outermost(folded(written));
    let is_written = |path: &PathBuf| written.iter().any(|above| path.starts_with(above));
    let read = read
        .into_iter()
        .filter(|path| !is_written(path) && !shown(path));
    let read: BTreeSet<_> = read.map(|path| system(&path).unwrap_or(path)).collect();
    Listed {
        read: outermost(folded(read)),
        written,
    }
}

/// The system directory that a path is in.
pub(crate) fn system(path: &Path) -> Option<PathBuf> {
    let found = SYSTEM.iter().find(|system| path.starts_with(system));
    found.map(PathBuf::from)
}

/// The directories of much in the place of what is in them, the deepest first.
fn folded(paths: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut levels: BTreeMap<usize, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in paths {
        levels
            .entry(path.components().count())
            .or_default()
            .insert(path);
    }
    let deepest = levels.keys().next_back().copied().unwrap_or(0);
    for level in (1..=deepest).rev() {
        let Some(here) = levels.get(&level) else {
            continue;
        };
        let mut counts: BTreeMap<&Path, usize> = BTreeMap::new();
        for parent in here.iter().filter_map(|path| path.parent()) {
            *counts.entry(parent).or_default() += 1;
        }
        let many = counts
            .into_iter()
            .filter(|(dir, count)| *count > MANY && may_fold(dir));
        let many: BTreeSet<PathBuf> = many.map(|(dir, _)| dir.to_owned()).collect();
        levels.entry(level - 1).or_default().extend(many);
    }
    // What is below a directory of much is left out by the caller.
    levels.into_values().flatten().collect()
}

fn may_fold(dir: &Path) -> bool {
    dir.components().count() > 2 && !is_never_whole(dir) && !dir.starts_with("/etc")
}

/// Without what is below another one.
fn outermost(paths: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::with_capacity(paths.len());
    // Sorted by components, so that what is above comes first.
    for path in paths {
        if !all.iter().any(|above| path.starts_with(above)) {
            all.push(path);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> BTreeSet<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    fn folded_to(read: &[&str], written: &[&str]) -> (Vec<String>, Vec<String>) {
        let text = |all: Vec<PathBuf>| all.iter().map(|path| path.display().to_string()).collect();
        let listed = fold(set(read), set(written), |path| {
            path == Path::new("/etc/passwd")
        });
        (text(listed.read), text(listed.written))
    }

    #[test]
    fn system_directories_are_shown_whole() {
        let (read, _) = folded_to(
            &["/usr/lib/a.so", "/lib64/ld.so", "/usr/bin/x", "/etc/passwd"],
            &[],
        );
        assert_eq!(read, ["/lib64", "/usr"]);
    }

    #[test]
    fn much_of_a_directory_is_the_directory_and_little_is_not() {
        let many: Vec<String> = (0..9).map(|n| format!("/opt/app/lib/{n}.py")).collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        many.extend(["/opt/app/main.py", "/srv/data/one"]);
        let (read, _) = folded_to(&many, &[]);
        assert_eq!(read, ["/opt/app/lib", "/opt/app/main.py", "/srv/data/one"]);
    }

    #[test]
    fn many_directories_of_much_are_one_above() {
        let paths = (0..9).flat_map(|dir| (0..9).map(move |file| format!("/opt/app/{dir}/{file}")));
        let paths: Vec<String> = paths.collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        assert_eq!(folded_to(&paths, &[]).0, ["/opt/app"]);
    }

    #[test]
    fn homes_and_the_like_are_never_folded() {
        for above in ["/etc/ssl", "/home/user", "/root", "/var"] {
            let many: Vec<String> = (0..20).map(|n| format!("{above}/{n}")).collect();
            let many: Vec<&str> = many.iter().map(String::as_str).collect();
            assert_eq!(folded_to(&many, &[]).0.len(), 20, "{above}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_well() {
        let (read, written) = folded_to(&["/srv/out/a", "/srv/in"], &["/srv/out", "/srv/out/b"]);
        assert_eq!(
            (read, written),
            (vec!["/srv/in".to_owned()], vec!["/srv/out".to_owned()])
        );
    }
}
