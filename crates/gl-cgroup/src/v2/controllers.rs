//! Which controllers a cgroup has: those that every cgroup above it passes on.
//!
//! A cgroup passes on what is in its `cgroup.subtree_control`. One other than the root that has
//! processes may pass on nothing, and where it is not ours to say, the kernel refuses.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::layout::shown;
use crate::obtainable::{deepest, may_write};
use crate::paths::GroupPath;

/// Those that containers are limited by, or whose statistics engines read.
const WANTED: [Controller; 8] = [
    Controller::Cpuset,
    Controller::Cpu,
    Controller::Io,
    Controller::Memory,
    Controller::Hugetlb,
    Controller::Pids,
    Controller::Rdma,
    Controller::Misc,
];

/// Has all controllers of the host passed on to the cgroup at `path`, as far as the cgroups above
/// it do not refuse. Two reads where they are there, as below a parent that was used before.
///
/// A refusal is no error: a limit that needs the controller says so, see [`require`].
///
/// # Errors
///
/// [`Error::Read`].
pub(crate) fn offer(base: &OwnedFd, path: &GroupPath) -> Result<(), Error> {
    let wanted = read(base, "", "cgroup.controllers")?;
    let has = read(base, path.as_str(), "cgroup.controllers")?;
    if wanted.iter().all(|one| has.contains(one)) {
        return Ok(());
    }
    for above in above(path) {
        let offered = read(base, above, "cgroup.controllers")?;
        let passed = read(base, above, CONTROL)?;
        let missing: Vec<_> = offered
            .into_iter()
            .filter(|one| !passed.contains(one))
            .collect();
        if missing.is_empty() {
            continue;
        }
        let all: Vec<_> = missing.iter().map(|one| format!("+{one}")).collect();
        match pass_on(base, above, &all.join(" ")) {
            Ok(()) => {}
            // Nothing can be had below either.
            Err(Errno::BUSY) => break,
            // All or none: without the one that is refused the others may be had.
            Err(_) => {
                for one in &all {
                    pass_on(base, above, one).ok();
                }
            }
        }
    }
    Ok(())
}

/// The controllers that [`offer`] would have passed on to the cgroup at `path`, asked without a change.
///
/// # Errors
///
/// [`Error::Read`] or [`Error::Inspect`].
pub(crate) fn passed_on(base: &OwnedFd, path: &GroupPath) -> Result<Vec<Controller>, Error> {
    let mut all = read(base, "", "cgroup.controllers")?;
    let there = deepest(base, path)?;
    // What is made by us below that passes everything on.
    for at in std::iter::once("").chain(there.prefixes()) {
        if at == path.as_str() {
            break;
        }
        let passed = read(base, at, CONTROL)?;
        if all.iter().all(|one| passed.contains(one)) || can_pass_on(base, at)? {
            continue;
        }
        all.retain(|one| passed.contains(one));
    }
    Ok(all)
}

/// Whether [`pass_on`] would be let do it.
fn can_pass_on(base: &OwnedFd, above: &str) -> Result<bool, Error> {
    if !may_write(base, &join(above, CONTROL))? {
        return Ok(false);
    }
    if is_real_root(base, above) {
        return Ok(true);
    }
    let path = join(above, "cgroup.procs");
    match file::read_line(base, &path) {
        Ok(line) => Ok(line.is_empty()),
        Err(Errno::ACCESS | Errno::OPNOTSUPP) => Ok(false),
        Err(source) => Err(Error::Read {
            path: shown(&path),
            source,
        }),
    }
}

/// Whether this is the root of all cgroups, which passes on what it likes and has no type. That of a
/// namespace has one, as all others.
fn is_real_root(base: &OwnedFd, above: &str) -> bool {
    let kind = join(above, "cgroup.type");
    above.is_empty() && rustix::fs::statat(base, kind, AtFlags::SYMLINK_NOFOLLOW).is_err()
}

/// The controllers that the cgroup at `path` has.
///
/// # Errors
///
/// [`Error::Read`].
pub(crate) fn available(base: &OwnedFd, path: &GroupPath) -> Result<Vec<Controller>, Error> {
    read(base, path.as_str(), "cgroup.controllers")
}

/// Has one controller passed on to the cgroup at `path`, for the config field that needs it.
///
/// # Errors
///
/// [`Error::NoController`] if the host has none of the name, [`Error::NotEnabled`] with what the
/// kernel said if a cgroup above does not pass it on.
pub(crate) fn require(
    base: &OwnedFd,
    path: &GroupPath,
    controller: Controller,
    (field, file): (&Cow<'static, str>, &str),
) -> Result<(), Error> {
    if !read(base, "", "cgroup.controllers")?.contains(&controller) {
        return Err(Error::NoController {
            field: Cow::clone(field),
            controller,
            file: file.to_owned().into(),
        });
    }
    for above in above(path) {
        if read(base, above, CONTROL)?.contains(&controller) {
            continue;
        }
        pass_on(base, above, &format!("+{controller}")).map_err(|source| Error::NotEnabled {
            field: Cow::clone(field),
            controller,
            path: shown(&join(above, CONTROL)),
            source,
        })?;
    }
    Ok(())
}

/// Adds to what a cgroup passes on.
///
/// Refused for one with processes before the kernel is asked: it would take cpu, cpuset and pids, and
/// then let nothing but threads of these processes into the cgroups below.
fn pass_on(base: &OwnedFd, above: &str, change: &str) -> Result<(), Errno> {
    if !is_real_root(base, above)
        && !file::read_line(base, &join(above, "cgroup.procs"))?.is_empty()
    {
        return Err(Errno::BUSY);
    }
    file::write(base, &join(above, CONTROL), change)
}

const CONTROL: &str = "cgroup.subtree_control";

/// All cgroups above the one at `path`, the root first.
fn above(path: &GroupPath) -> impl Iterator<Item = &str> {
    let mut all: Vec<_> = std::iter::once("").chain(path.prefixes()).collect();
    all.pop();
    all.into_iter()
}

fn join(dir: &str, name: &str) -> String {
    match dir {
        "" => name.to_owned(),
        dir => format!("{dir}/{name}"),
    }
}

/// The controllers that a file lists. Those that nobody limits a container by are left out.
fn read(base: &OwnedFd, dir: &str, name: &str) -> Result<Vec<Controller>, Error> {
    let path = join(dir, name);
    match file::read_line(base, &path) {
        Ok(line) => Ok(line
            .split_ascii_whitespace()
            .filter_map(Controller::from_name)
            .filter(|one| WANTED.contains(one))
            .collect()),
        // Above the mount, as in a container's own view, there may be no such file.
        Err(Errno::NOENT) => Ok(Vec::new()),
        Err(source) => Err(Error::Read {
            path: shown(&path),
            source,
        }),
    }
}
