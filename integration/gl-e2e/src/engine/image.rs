//! The root filesystem of the tests: static busybox under all its names, a few users, no libraries.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::command::{fail, output};

/// `/etc/passwd` of the image.
const PASSWD: &str = "\
root::0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home/user:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
";

/// `/etc/group` of the image.
const GROUP: &str = "\
root:x:0:
user:x:1000:
extra:x:2000:user
nogroup:x:65534:
";

/// Makes the root filesystem in an empty directory.
///
/// `/suid/su` is the same program owned by root with the set-user-id bit, for
/// `no_new_privs`. `/bin/not-executable` is a file that cannot be run.
///
/// # Panics
///
/// If busybox-static is not installed.
pub fn make_rootfs(dir: &Path) {
    for sub in [
        "bin",
        "dev",
        "etc",
        "home/user",
        "proc",
        "root",
        "suid",
        "sys",
        "tmp",
        "var",
    ] {
        fs::create_dir_all(dir.join(sub)).expect("make a directory of the image");
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let bin = dir.join("bin");
    let copied = busybox
        .iter()
        .any(|from| fs::copy(from, bin.join("busybox")).is_ok());
    assert!(copied, "no busybox in {busybox:?}: install busybox-static");
    for applet in applets()
        .split_whitespace()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", bin.join(applet)).expect("link a busybox applet");
    }
    fs::copy(bin.join("busybox"), dir.join("suid/su")).expect("copy busybox");
    write(&bin.join("not-executable"), "#!/bin/sh\n");
    write(&dir.join("etc/passwd"), PASSWD);
    write(&dir.join("etc/group"), GROUP);
    for (path, mode) in [("suid/su", 0o4755), ("bin/busybox", 0o755), ("tmp", 0o1777)] {
        fs::set_permissions(dir.join(path), fs::Permissions::from_mode(mode)).expect("set a mode");
    }
    std::os::unix::fs::chown(dir.join("home/user"), Some(1000), Some(1000)).expect("chown");
}

/// Packs a root filesystem as a tar file that engines import.
///
/// # Panics
///
/// If tar fails.
pub fn pack(rootfs: &Path, archive: &Path) {
    let mut tar = Command::new("tar");
    tar.arg("-C")
        .arg(rootfs)
        .arg("--numeric-owner")
        .arg("-cf")
        .arg(archive)
        .arg(".");
    output(tar).ok();
}

fn applets() -> String {
    let mut list = Command::new("busybox");
    list.arg("--list");
    output(list).ok().to_owned()
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap_or_else(|e| fail(&format!("write {}: {e}", path.display())));
}
