//! Id maps: of the container's user namespace, and of mounts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use gl_plan::{IdMaps, IdRange, Kind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::fork::{Place, fork};
use crate::namespace::write_file;
use crate::record::Channel;
use crate::spawn::kill_and_reap;

/// Writes `uid_map` or `gid_map` of a process in a new user namespace, in one call as the kernel
/// insists.
pub(crate) fn write_maps(pid: Pid, file: &str, ranges: &[IdRange]) -> Result<(), Errno> {
    let lines: Vec<String> = ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.container, range.host, range.size))
        .collect();
    let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
    write_file(Path::new(&path), lines.concat().as_bytes())
}

/// Makes a user namespace with these maps that no process is in: what `MOUNT_ATTR_IDMAP` takes.
///
/// # Errors
///
/// As `clone3(2)`, and as `write(2)` for maps.
pub fn user_namespace(maps: &IdMaps) -> Result<OwnedFd, Errno> {
    namespace_of_child(
        |pid| {
            write_maps(pid, "uid_map", &maps.uid)?;
            write_maps(pid, "gid_map", &maps.gid)
        },
        |errno| errno,
    )
}

/// Makes a user namespace that `map` writes the maps of, through the one process in it, which is
/// gone when this returns.
pub(crate) fn namespace_of_child<E>(
    map: impl FnOnce(Pid) -> Result<(), E>,
    failed: impl Fn(Errno) -> E,
) -> Result<OwnedFd, E> {
    let (ours, theirs) = Channel::pair().map_err(&failed)?;
    let place = Place {
        namespaces: Kind::User.bit(),
        cgroup: None,
    };
    let (pid, pidfd) = fork(place, 0, theirs, descriptor, |theirs, _| {
        // There is nothing to do but to be there, until the other end is closed.
        i32::from(theirs.receive().is_err())
    })
    .map_err(&failed)?;
    let made = map(pid).and_then(|()| {
        let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
    });
    drop(ours);
    kill_and_reap(&pidfd);
    made
}

fn descriptor(channel: &Channel) -> Vec<BorrowedFd<'_>> {
    vec![channel.as_fd()]
}
