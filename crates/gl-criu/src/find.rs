//! Finds criu in fixed directories: never by the caller's `$PATH`, and never one that somebody else than
//! root could have put there.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::error::Error;

/// Where criu is looked for, first match first.
const DIRECTORIES: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// Where CRIU looks for programs itself.
const SEARCHED: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The oldest version that is used: before it there is no request for the version itself.
pub const OLDEST: Version = Version {
    major: 3,
    minor: 0,
    sublevel: 0,
};

/// A version of CRIU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub sublevel: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.sublevel {
            0 => Ok(()),
            sublevel => write!(f, ".{sublevel}"),
        }
    }
}

/// A criu that only root can have put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criu {
    path: PathBuf,
}

impl Criu {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::NotTrusted`] for the first that is there and is not root's, or could be
    /// replaced by somebody else. No other one is taken in its place.
    pub fn find() -> Result<Self, Error> {
        for dir in DIRECTORIES {
            let path = Path::new(dir).join("criu");
            // The file itself may be no link, which would lead to directories that nobody has looked at.
            let stat = match rustix::fs::lstat(&path) {
                Ok(stat) => stat,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(source) => return Err(inspect(&path)(source)),
            };
            let refused = |path: &Path, problem| Error::NotTrusted {
                path: path.to_owned(),
                problem,
            };
            trust(&stat, true).map_err(|problem| refused(&path, problem))?;
            for above in path.ancestors().skip(1) {
                let stat = rustix::fs::stat(above).map_err(inspect(above))?;
                trust(&stat, false).map_err(|problem| refused(above, problem))?;
            }
            return Ok(Self { path });
        }
        Err(Error::NotFound)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn inspect(path: &Path) -> impl FnOnce(Errno) -> Error {
    move |source| Error::File {
        action: "inspect",
        path: path.to_owned(),
        source,
    }
}

/// Whether the programs are there by which CRIU keeps packets off unless it is told otherwise.
pub fn has_iptables() -> bool {
    let there = |name: &str| {
        let mut dirs = SEARCHED.iter();
        dirs.any(|dir| rustix::fs::stat(Path::new(dir).join(name)).is_ok())
    };
    there("iptables-restore") && there("ip6tables-restore")
}

/// Refuses what somebody else could have made, or could put another one in place of.
fn trust(stat: &Stat, is_program: bool) -> Result<(), &'static str> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if is_program && (kind != FileType::RegularFile || stat.st_mode & 0o111 == 0) {
        return Err("it is not a program");
    }
    if stat.st_uid != 0 {
        return Err("it belongs to somebody else than root");
    }
    if stat.st_mode & 0o022 != 0 {
        return Err("others than root may write to it");
    }
    Ok(())
}

/// Refuses a config file of CRIU that others than the host's root could have written: it can name programs
/// that CRIU runs as root.
///
/// Being root's is not enough, as root of a container without a user namespace is the same user: the file
/// has to be in `/etc/criu`, and that directory root's.
///
/// # Errors
///
/// [`Error::Config`]; a file that is not there is none.
pub(crate) fn check_config(path: &Path) -> Result<(), Error> {
    let refused = |problem| Error::Config {
        path: path.to_owned(),
        problem,
    };
    let dir = Path::new("/etc/criu");
    if path.parent() != Some(dir) || path.file_name().is_none() {
        return Err(refused("it is not in /etc/criu itself"));
    }
    for part in [Path::new("/etc"), dir, path] {
        let stat = match rustix::fs::lstat(part) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Err(refused("there is no such file")),
            Err(source) => {
                return Err(Error::File {
                    action: "inspect",
                    path: part.to_owned(),
                    source,
                });
            }
        };
        let want = match part == path {
            true => FileType::RegularFile,
            false => FileType::Directory,
        };
        if FileType::from_raw_mode(stat.st_mode) != want {
            return Err(refused("it is a link, or not a file"));
        }
        trust(&stat, false).map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_files_are_taken_from_etc_criu_alone() {
        for path in [
            "/tmp/x.conf",
            "x.conf",
            "/etc/criu/../passwd",
            "/etc/criu/sub/x.conf",
            "/etc/criu",
            "/etc/criu/..",
            "",
        ] {
            let err = check_config(Path::new(path)).unwrap_err();
            let want = format!("use {path} as CRIU's config file: it is not in /etc/criu itself");
            assert_eq!(err.to_string(), want);
        }
    }

    #[test]
    fn versions_compare_by_number() {
        let version = |major, minor, sublevel| Version {
            major,
            minor,
            sublevel,
        };
        assert!(version(3, 17, 1) > OLDEST);
        assert!(version(4, 1, 0) > version(3, 19, 2));
        assert_eq!(version(4, 1, 1).to_string(), "4.1.1");
        assert_eq!(version(4, 0, 0).to_string(), "4.0");
    }
}
