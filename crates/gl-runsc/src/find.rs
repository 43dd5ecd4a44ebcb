//! Finds runsc: where the host's settings say, or in fixed directories. Never by the caller's `$PATH`,
//! and never one that somebody else than root could have put there.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;

use crate::error::Error;

/// Where runsc is looked for, first match first.
pub const DIRECTORIES: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"];

/// A runsc that only root can have put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runsc {
    path: PathBuf,
    identity: String,
}

/// Whether there is a file that [`Runsc::find`] would look at, trusted or not.
pub fn is_there(configured: Option<&Path>) -> bool {
    candidates(configured)
        .iter()
        .any(|path| rustix::fs::stat(path).is_ok())
}

fn candidates(configured: Option<&Path>) -> Vec<PathBuf> {
    match configured {
        Some(path) => vec![path.to_owned()],
        None => DIRECTORIES
            .iter()
            .map(|dir| Path::new(dir).join("runsc"))
            .collect(),
    }
}

impl Runsc {
    /// Finds it: `configured`, or the first in [`DIRECTORIES`].
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::NotTrusted`] for the first that is there and is not a file of root's
    /// below directories of root's, writable by nobody else. No other one is taken in its place.
    pub fn find(configured: Option<&Path>) -> Result<Self, Error> {
        let candidates = candidates(configured);
        for path in &candidates {
            let stat = match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(source) => {
                    return Err(Error::File {
                        action: "inspect",
                        path: path.clone(),
                        source,
                    });
                }
            };
            trust(path, &stat)?;
            return Ok(Self {
                path: path.clone(),
                identity: format!(
                    "{:x}.{:x}.{:x}.{}.{}",
                    stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_ctime
                ),
            });
        }
        Err(Error::NotFound {
            looked: candidates
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells this file from every other, and from itself after a change.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }
}

/// Refuses a file that somebody else could have made, or could put another one in place of.
fn trust(path: &Path, stat: &Stat) -> Result<(), Error> {
    let refused = |path: &Path, problem| Error::NotTrusted {
        path: path.to_owned(),
        problem,
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => {
            return Err(refused(
                path,
                "it is a link: name the file itself in /etc/greenlang/config.toml",
            ));
        }
        _ => return Err(refused(path, "it is not a file")),
    }
    if stat.st_mode & 0o111 == 0 {
        return Err(refused(path, "it cannot be executed"));
    }
    roots_own(stat).map_err(|problem| refused(path, problem))?;
    for dir in path.ancestors().skip(1) {
        let stat = rustix::fs::stat(dir).map_err(|source| Error::File {
            action: "inspect",
            path: dir.to_owned(),
            source,
        })?;
        roots_own(&stat).map_err(|problem| refused(dir, problem))?;
    }
    Ok(())
}

fn roots_own(stat: &Stat) -> Result<(), &'static str> {
    if stat.st_uid != 0 {
        return Err("it belongs to somebody else than root");
    }
    match stat.st_mode & 0o022 {
        0 => Ok(()),
        _ => Err("others than root may write to it"),
    }
}

#[cfg(test)]
mod tests {
    use gl_spec::{Class, Classify as _};

    use super::*;

    #[test]
    fn missing_runsc_is_told_with_the_places_that_were_looked_at() {
        let err = Runsc::find(Some(Path::new("/nonexistent/runsc"))).unwrap_err();
        assert_eq!(
            err.to_string(),
            "find runsc: it is in none of /nonexistent/runsc"
        );
        assert_eq!(err.class(), Class::Unsupported);
        assert!(!is_there(Some(Path::new("/nonexistent/runsc"))));
    }

    #[test]
    fn file_below_a_directory_of_everybody_is_not_trusted() {
        // `/tmp` may be written by all, so whatever is there could be anybody's.
        let path = std::env::temp_dir().join(format!("gl-runsc-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let err = Runsc::find(Some(&path)).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(
            matches!(&err, Error::NotTrusted { problem, .. } if *problem == "it cannot be executed"),
            "{err:?}"
        );
    }
}
