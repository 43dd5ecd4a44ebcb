//! Files of the host, kernel files, devices.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Bait, Seen};

pub(super) fn read(path: impl AsRef<Path>) -> Seen {
    let mut byte = [0];
    let read = File::open(path).and_then(|mut file| file.read(&mut byte));
    match read {
        Ok(0) => Seen::Denied("nothing in it".to_owned()),
        other => Seen::io(other),
    }
}

fn list(path: impl AsRef<Path>) -> Seen {
    match fs::read_dir(path).map(Iterator::count) {
        Ok(0) => Seen::Denied("nothing in it".to_owned()),
        other => Seen::io(other),
    }
}

/// Opens a file to write, and writes nothing.
fn open_to_write(path: impl AsRef<Path>) -> Seen {
    Seen::io(OpenOptions::new().write(true).open(path))
}

/// Makes a file without a name, or where there is no such thing one that is removed at once.
fn make_in(dir: &str) -> Seen {
    let mode = Mode::from_raw_mode(0o600);
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {}
        other => return Seen::of(other),
    }
    let path = format!("{dir}/.greenlang-probe-{}", std::process::id());
    let made = OpenOptions::new().write(true).create_new(true).open(&path);
    if made.is_ok() {
        return Seen::io(fs::remove_file(&path));
    }
    Seen::io(made)
}

pub(super) fn shadow(_: &Bait) -> Seen {
    read("/etc/shadow")
}

pub(super) fn secret(bait: &Bait) -> Seen {
    read(format!("{}/secret", bait.dir))
}

pub(super) fn secret_by_dots(bait: &Bait) -> Seen {
    let up = "../".repeat(16);
    read(format!("{up}.{}/secret", bait.dir))
}

pub(super) fn secret_by_init(bait: &Bait) -> Seen {
    read(format!("/proc/1/root{}/secret", bait.dir))
}

pub(super) fn secret_by_target(bait: &Bait) -> Seen {
    read(format!("/proc/{}/root{}/secret", bait.target, bait.dir))
}

/// Beside the working directory, which is shown.
pub(super) fn secret_beside(_: &Bait) -> Seen {
    read("../secret")
}

pub(super) fn home(bait: &Bait) -> Seen {
    list(&bait.home)
}

pub(super) fn keys(bait: &Bait) -> Seen {
    list(format!("{}/.ssh", bait.home))
}

pub(super) fn roots_home(_: &Bait) -> Seen {
    list("/root")
}

pub(super) fn boot(_: &Bait) -> Seen {
    list("/boot")
}

pub(super) fn logs(_: &Bait) -> Seen {
    list("/var/log")
}

pub(super) fn write_hosts(_: &Bait) -> Seen {
    open_to_write("/etc/hosts")
}

pub(super) fn write_passwd(_: &Bait) -> Seen {
    open_to_write("/etc/passwd")
}

pub(super) fn make_in_usr(_: &Bait) -> Seen {
    make_in("/usr/bin")
}

pub(super) fn make_in_root(_: &Bait) -> Seen {
    make_in("/")
}

pub(super) fn make_in_etc(_: &Bait) -> Seen {
    make_in("/etc")
}

pub(super) fn make_in_var(_: &Bait) -> Seen {
    make_in("/var")
}

pub(super) fn make_in_run(_: &Bait) -> Seen {
    make_in("/run")
}

pub(super) fn make_in_cwd(_: &Bait) -> Seen {
    make_in(".")
}

pub(super) fn write_shared(bait: &Bait) -> Seen {
    open_to_write(format!("{}/writable", bait.dir))
}

pub(super) fn write_in_cwd(_: &Bait) -> Seen {
    open_to_write("file")
}

/// The mode that it has already.
pub(super) fn change_mode(_: &Bait) -> Seen {
    let mode = match fs::metadata(".") {
        Ok(found) => found.permissions().mode() & 0o7777,
        Err(err) => return Seen::Unable(format!("look at the working directory: {err}")),
    };
    Seen::of(rustix::fs::chmod(".", Mode::from_raw_mode(mode)))
}

pub(super) fn kernel_memory(_: &Bait) -> Seen {
    read("/proc/kcore")
}

pub(super) fn interrupts(_: &Bait) -> Seen {
    read("/proc/interrupts")
}

pub(super) fn sysrq(_: &Bait) -> Seen {
    open_to_write("/proc/sysrq-trigger")
}

pub(super) fn core_pattern(_: &Bait) -> Seen {
    open_to_write("/proc/sys/kernel/core_pattern")
}

pub(super) fn host_name_setting(_: &Bait) -> Seen {
    open_to_write("/proc/sys/kernel/hostname")
}

pub(super) fn drop_caches(_: &Bait) -> Seen {
    open_to_write("/proc/sys/vm/drop_caches")
}

pub(super) fn sysfs(_: &Bait) -> Seen {
    list("/sys/kernel")
}

/// Where cgroups are mounted, of both generations.
const CGROUPS: [&str; 5] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/pids",
    "/sys/fs/cgroup/memory",
    "/sys/fs/cgroup/cpu",
    "/sys/fs/cgroup/unified",
];

/// What came of the best of several.
fn best(all: impl Iterator<Item = Seen>) -> Seen {
    let mut best = Seen::Absent("none of them".to_owned());
    for seen in all {
        match (&seen, &best) {
            (Seen::Worked(_), _) => return seen,
            (Seen::Denied(_), Seen::Absent(_)) => best = seen,
            _ => {}
        }
    }
    best
}

pub(super) fn make_cgroup(_: &Bait) -> Seen {
    best(CGROUPS.iter().map(|dir| {
        let dir = format!("{dir}/greenlang-probe-{}", std::process::id());
        match fs::create_dir(&dir) {
            Ok(()) => Seen::io(fs::remove_dir(&dir)),
            Err(err) => Seen::io(Err::<(), _>(err)),
        }
    }))
}

pub(super) fn leave_cgroup(_: &Bait) -> Seen {
    best(
        CGROUPS
            .iter()
            .map(|dir| open_to_write(format!("{dir}/cgroup.procs"))),
    )
}

fn device(path: &str) -> Seen {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    // The device is there, and somebody else has it.
    Seen::past(opened, &[Errno::BUSY])
}

pub(super) fn disk(bait: &Bait) -> Seen {
    match &bait.disk {
        Some(disk) => device(disk),
        None => Seen::Unable("no disk of the host was found".to_owned()),
    }
}

pub(super) fn memory_device(_: &Bait) -> Seen {
    best(
        ["/dev/mem", "/dev/kmem", "/dev/port"]
            .into_iter()
            .map(device),
    )
}

pub(super) fn message_device(_: &Bait) -> Seen {
    device("/dev/kmsg")
}

pub(super) fn loop_device(_: &Bait) -> Seen {
    device("/dev/loop-control")
}

pub(super) fn fuse_device(_: &Bait) -> Seen {
    device("/dev/fuse")
}

pub(super) fn tunnel_device(_: &Bait) -> Seen {
    device("/dev/net/tun")
}

pub(super) fn machine_device(_: &Bait) -> Seen {
    device("/dev/kvm")
}

/// A device like `/dev/null`, removed at once.
pub(super) fn make_device(_: &Bait) -> Seen {
    let path = temp("device");
    let null = rustix::fs::makedev(1, 3);
    let mode = Mode::from_raw_mode(0o600);
    let made = rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, null);
    if made.is_ok() {
        return Seen::io(fs::remove_file(&path));
    }
    Seen::of(made)
}

/// A path in the directory for temporary files.
pub(super) fn temp(name: &str) -> String {
    let dir = std::env::temp_dir();
    format!(
        "{}/greenlang-probe-{name}-{}",
        dir.display(),
        std::process::id()
    )
}
