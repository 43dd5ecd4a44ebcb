//! The filesystem that a container's disk quota is: a tmpfs, or an ext4 in a file on the host's disk.
//!
//! The file never has a name and the loop device goes with its last user, so whoever is killed, and
//! whenever, leaves nothing of either.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gl_plan::{Plan, Store};
use gl_profile::translate::Disk;
use gl_spec::Kept;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// Where the files without a name are.
const DIRECTORY: &str = "/var/lib/greenlang";
/// Where distributions have the program: never by `$PATH`, which the caller chose.
const PROGRAMS: [&str; 4] = [
    "/usr/sbin/mkfs.ext4",
    "/sbin/mkfs.ext4",
    "/usr/bin/mkfs.ext4",
    "/bin/mkfs.ext4",
];
/// Gives out loop devices.
const CONTROL: &str = "/dev/loop-control";
/// How often somebody else may be faster in taking a free loop device.
const ATTEMPTS: u32 = 64;
/// The major number of loop devices.
const LOOP_MAJOR: u32 = 7;

/// Bytes for which there is one inode, of 256 bytes.
const PER_INODE: u64 = 8192;

/// Whether a filesystem on disk can be made here.
pub(crate) fn disk() -> Disk {
    if !rustix::process::geteuid().is_root() || gl_launch::in_user_namespace() {
        return Disk::Missing("without the host's root no loop device can be had");
    }
    if rustix::fs::stat(CONTROL).is_err() {
        return Disk::Missing("the host has no loop devices (/dev/loop-control)");
    }
    match program() {
        Some(_) => Disk::Available,
        None => Disk::Missing("the host has no mkfs.ext4 (e2fsprogs)"),
    }
}

fn program() -> Option<&'static str> {
    PROGRAMS
        .into_iter()
        .find(|path| rustix::fs::stat(*path).is_ok())
}

/// Makes the filesystem of a plan's store, as a detached mount: gone with whoever has it.
pub(crate) fn filesystem(plan: &Plan) -> Result<Option<OwnedFd>, Error> {
    let Some(store) = &plan.store else {
        return Ok(None);
    };
    let made = match store.kept {
        Kept::Memory => gl_rootfs::memory_store(plan, store).map_err(gl_launch::Error::from)?,
        Kept::Disk => on_disk(plan, store)?,
    };
    Ok(Some(made))
}

fn on_disk(plan: &Plan, store: &Store) -> Result<OwnedFd, Error> {
    let failed = |problem: String| Error::DiskQuota {
        line: store.line.clone(),
        problem,
    };
    let file = image(store.bytes).map_err(failed)?;
    make_ext4(&file).map_err(failed)?;
    let (device, path) =
        attach(&file).map_err(|errno| failed(format!("take a loop device: {errno}")))?;
    let mounted = gl_rootfs::disk_store(plan, store, &path).map_err(gl_launch::Error::from)?;
    // From here on it is in use by the mount.
    drop(device);
    Ok(mounted)
}

/// A file without a name, and without blocks.
fn image(bytes: u64) -> Result<OwnedFd, String> {
    let said = |what: &'static str| move |errno: Errno| format!("{what} {DIRECTORY}: {errno}");
    let dir = directory().map_err(said("use"))?;
    let seen = rustix::fs::fstatvfs(&dir).map_err(said("inspect"))?;
    let free = seen.f_bavail.saturating_mul(seen.f_frsize);
    if free < bytes {
        return Err(format!(
            "{bytes} bytes are more than the {free} that are free at {DIRECTORY}"
        ));
    }
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dir, ".", flags, Mode::RUSR | Mode::WUSR);
    let file = file.map_err(said("make a file without a name in"))?;
    // Inode tables, bitmaps, and the blocks that ext4 keeps for itself: at most 16 MiB of them.
    let more = bytes / (PER_INODE / 256) + bytes / 32 + (12 << 20);
    let size = bytes
        .checked_add(more)
        .ok_or_else(|| said("size the file in")(Errno::FBIG))?;
    rustix::fs::ftruncate(&file, size).map_err(said("size the file in"))?;
    Ok(file)
}

/// Opens the directory, and makes it if it is not there; it must be root's.
fn directory() -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdir(DIRECTORY, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(DIRECTORY, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&dir)?;
    match stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0 {
        true => Ok(dir),
        false => Err(Errno::PERM),
    }
}

fn make_ext4(file: &OwnedFd) -> Result<(), String> {
    let program = program().ok_or("the host has no mkfs.ext4; install e2fsprogs")?;
    let said = |err: std::io::Error| format!("run {program}: {err}");
    let input = file.try_clone().map_err(said)?;
    let inodes = PER_INODE.to_string();
    let output = Command::new(program)
        // No journal: nobody reads it after a crash. No blocks for root: the container's root is no other.
        .args([
            "-q", "-F", "-m", "0", "-b", "4096", "-I", "256", "-i", &inodes,
        ])
        .args(["-O", "^has_journal,^resize_inode"])
        .args(["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"])
        .arg("/proc/self/fd/0")
        .env_clear()
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(said)?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(format!("run {program}: {}", text.trim()))
        }
    }
}

/// Puts a file behind a loop device, which is free again when it is neither open nor mounted.
fn attach(file: &OwnedFd) -> Result<(OwnedFd, PathBuf), Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control = rustix::fs::open(CONTROL, flags, Mode::empty())?;
    for _ in 0..ATTEMPTS {
        let number = gl_sys::free_loop_device(control.as_fd())?;
        let path = Path::new("/dev").join(format!("loop{number}"));
        let device = rustix::fs::open(&path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&device)?;
        let expected = rustix::fs::makedev(LOOP_MAJOR, number);
        if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice
            || stat.st_rdev != expected
        {
            return Err(Errno::NODEV);
        }
        match gl_sys::configure_loop_device(device.as_fd(), file.as_fd()) {
            Err(Errno::BUSY) => {}
            other => return other.map(|()| (device, path)),
        }
    }
    Err(Errno::BUSY)
}
