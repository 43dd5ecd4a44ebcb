//! Landlock: the ruleset is made while the root is still held open, and put in force just before the
//! seccomp filter.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use gl_rootfs::Root;
use gl_spec::{Landlock, Links, PathRule};
use gl_sys::{LandlockRuleset, LandlockTells};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::step::{Fault, Own};

/// The rights that a file can have which is no directory: execute, write, read, truncate, ioctl.
const OF_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;

/// Makes the rulesets from paths of the container.
///
/// # Errors
///
/// A path that leads over a link where none is allowed (`ELOOP`), or what the kernel refuses.
pub(crate) fn prepare(all: &[Landlock], root: &Root) -> Result<Vec<OwnedFd>, Fault> {
    all.iter().map(|one| ruleset(one, root)).collect()
}

fn ruleset(landlock: &Landlock, root: &Root) -> Result<OwnedFd, Fault> {
    let taken = LandlockRuleset {
        filesystem: landlock.filesystem,
        network: landlock.network,
        scoped: landlock.scoped,
    };
    let ruleset = gl_sys::landlock_ruleset(&taken).map_err(Fault::of(Own::Landlock))?;
    for rule in &landlock.paths {
        allow_path(&ruleset, rule, root)
            .map_err(Fault::named(Own::LandlockPath, rule.path.as_bytes()))?;
    }
    for rule in &landlock.ports {
        gl_sys::landlock_allow_port(ruleset.as_fd(), rule.port, rule.access)
            .map_err(Fault::of(Own::Landlock))?;
    }
    Ok(ruleset)
}

fn allow_path(ruleset: &OwnedFd, rule: &PathRule, root: &Root) -> Result<(), Errno> {
    let path = Path::new(&rule.path);
    let found = match rule.links {
        Links::Follow => root.open(path, OFlags::PATH),
        Links::Refuse => root.open_plain(path, OFlags::PATH),
    };
    let found = match found {
        // Nothing is there that could be allowed.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    let stat = rustix::fs::fstat(&found)?;
    let access = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => rule.access,
        _ => rule.access & OF_FILES,
    };
    if access == 0 {
        return Ok(());
    }
    gl_sys::landlock_allow_beneath(ruleset.as_fd(), found.as_fd(), access)
}

/// Puts them in force. With a mark, the kernel tells its audit what they deny, and under which name they were
/// put in force: the next execve gives the process another one.
pub(crate) fn restrict(rulesets: &[OwnedFd], mark: Option<&CStr>) -> Result<(), Fault> {
    let failed = Fault::of(Own::Landlock);
    let tells = match (mark, rulesets) {
        (None, _) | (_, []) => LandlockTells::Usual,
        (Some(mark), _) => {
            rustix::thread::set_name(mark).map_err(&failed)?;
            LandlockTells::Program
        }
    };
    rulesets.iter().try_for_each(|ruleset| {
        gl_sys::landlock_restrict_self(ruleset.as_fd(), tells).map_err(&failed)
    })
}
