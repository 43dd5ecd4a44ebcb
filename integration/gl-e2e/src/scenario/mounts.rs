//! The container's filesystem: read-only root, tmpfs, binds, volumes, masks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::command::output;
use crate::engine::{Engine, text};

/// `--read-only` makes the root unwritable, for root as well; volumes and `/dev` stay writable.
pub fn read_only_root_refuses_writes(engine: &Engine) -> Outcome {
    let dir = engine.directory();
    let volume = format!("{}:/data", text(&dir));
    let script = "touch /root/x; mkdir /new; mount -o remount,rw /; touch /data/written && echo ok >/dev/null && echo done";
    let out = engine.sh(&["--read-only", "-v", &volume], script);
    assert_eq!(out.ok(), "done", "{out}");
    let refusals = out.stderr.matches("Read-only file system").count();
    assert_eq!(refusals, 2, "touch and mkdir are refused: {out}");
    assert!(dir.join("written").is_file(), "the volume was written");
    Ok(())
}

/// `--tmpfs` is a tmpfs with the options given.
pub fn tmpfs_has_its_options(engine: &Engine) -> Outcome {
    let options = [
        "--read-only",
        "--tmpfs",
        "/scratch:rw,noexec,size=1m,mode=1770",
    ];
    let script = "grep ' /scratch ' /proc/mounts; stat -c %a /scratch; cp /bin/busybox /scratch/b 2>/dev/null;
        cd /scratch; echo '#!/bin/sh' >run; chmod +x run; ./run; dd if=/dev/zero of=big bs=1M count=3";
    let out = engine.sh(&options, script);
    let mount = out.stdout.lines().next().unwrap_or_default();
    for option in ["tmpfs", "rw", "nosuid", "nodev", "noexec", "size=1024k"] {
        let has = mount.split([' ', ',']).any(|o| o == option);
        assert!(has, "no {option} in {mount:?}: {out}");
    }
    assert_eq!(out.stdout.lines().nth(1), Some("1770"), "{out}");
    assert!(
        out.stderr.contains("./run: Permission denied"),
        "noexec has no effect: {out}"
    );
    assert!(
        out.stderr.contains("No space left"),
        "the size has no effect: {out}"
    );
    Ok(())
}

/// `-v` shares a directory in both directions.
pub fn volume_is_shared_with_the_host(engine: &Engine) -> Outcome {
    let dir = engine.directory();
    fs::write(dir.join("from-host"), "hello").expect("write a file");
    let volume = format!("{}:/data", text(&dir));
    let out = engine.sh(
        &["-v", &volume],
        "cat /data/from-host; echo back >/data/from-container",
    );
    assert_eq!(out.ok(), "hello");
    let back = fs::read_to_string(dir.join("from-container")).unwrap_or_default();
    assert_eq!(back, "back\n");
    Ok(())
}

/// `-v …:ro` refuses writes and a remount, and leaves the host's own mount writable.
pub fn volume_read_only_refuses_writes(engine: &Engine) -> Outcome {
    let dir = engine.directory();
    let volume = format!("{}:/data:ro", text(&dir));
    let script = "mount -o remount,bind,rw /data; touch /data/x; grep ' /data ' /proc/mounts | awk '{print $4}' | cut -d, -f1";
    let out = engine.sh(&["-v", &volume], script);
    assert!(out.stderr.contains("Read-only file system"), "{out}");
    assert_eq!(out.ok(), "ro", "{out}");
    fs::write(dir.join("host-writes"), "").expect("the host can still write");
    Ok(())
}

/// A mount that the host makes later shows up below a `rslave` volume, and not below a private one.
pub fn volume_rslave_receives_mounts(engine: &Engine) -> Outcome {
    let dir = engine.directory();
    fs::create_dir(dir.join("later")).expect("make a directory");
    let slave = engine.sleeper(&["-v", &format!("{}:/data:rslave", text(&dir))]);
    let private = engine.sleeper(&["-v", &format!("{}:/data:rprivate", text(&dir))]);
    let later = Unmount::of(&dir.join("later"));
    fs::write(dir.join("later/seen"), "through").expect("write on the new mount");
    let shown = slave.exec(&[], &["cat", "/data/later/seen"]);
    assert_eq!(shown.ok(), "through", "{shown}");
    let hidden = private.exec(&[], &["cat", "/data/later/seen"]);
    assert!(
        hidden.refused().contains("No such file"),
        "a private volume got the mount: {hidden}"
    );
    drop(later);
    let gone = slave.exec(&[], &["cat", "/data/later/seen"]);
    assert!(
        gone.refused().contains("No such file"),
        "the unmount did not arrive: {gone}"
    );

    // The other direction: what the container mounts must not reach the host.
    let busy = engine.sleeper(&[
        "--cap-add=SYS_ADMIN",
        "--security-opt=seccomp=unconfined",
        "-v",
        &format!("{}:/data:rslave", text(&dir)),
    ]);
    busy.exec_sh("mount -t tmpfs tmpfs /data/later && touch /data/later/inner")
        .ok();
    assert!(
        !dir.join("later/inner").is_file(),
        "the container's mount reached the host"
    );
    Ok(())
}

/// `-v FILE:FILE` binds a single file over one of the image, or to a new place.
pub fn volume_of_a_single_file(engine: &Engine) -> Outcome {
    let dir = engine.directory();
    let file = dir.join("motd");
    fs::write(&file, "from the host\n").expect("write a file");
    let over = format!("{}:/etc/group:ro", text(&file));
    let new = format!("{}:/some/new/place", text(&file));
    let out = engine.sh(
        &["-v", &over, "-v", &new],
        "cat /etc/group /some/new/place; echo x >/etc/group; echo more >>/some/new/place",
    );
    assert!(out.stderr.contains("Read-only file system"), "{out}");
    assert_eq!(out.stdout, "from the host\nfrom the host\n", "{out}");
    assert_eq!(
        fs::read_to_string(&file).unwrap_or_default(),
        "from the host\nmore\n"
    );
    Ok(())
}

/// A named volume keeps its content from one container to the next, and starts with the image's.
pub fn named_volume_outlives_the_container(engine: &Engine) -> Outcome {
    engine.cli(&["volume", "create", "keep"]).ok();
    let out = engine.sh(
        &["-v", "keep:/home/user"],
        "stat -c %u /home/user; echo kept >/home/user/f",
    );
    assert_eq!(
        out.ok(),
        "1000",
        "the volume starts with the owner of the image's directory"
    );
    let out = engine.sh(&["-v", "keep:/elsewhere"], "cat /elsewhere/f");
    assert_eq!(out.ok(), "kept");
    engine.cli(&["volume", "rm", "keep"]).ok();
    Ok(())
}

/// Mounts below the source of a volume come with it.
pub fn volume_is_recursive(engine: &Engine) -> Outcome {
    let dir = engine.directory();
    fs::create_dir(dir.join("sub")).expect("make a directory");
    let sub = Unmount::of(&dir.join("sub"));
    fs::write(dir.join("sub/inner"), "below").expect("write on the mount");
    let out = engine.run(
        &["-v", &format!("{}:/data", text(&dir))],
        &["cat", "/data/sub/inner"],
    );
    assert_eq!(out.ok(), "below");
    drop(sub);
    Ok(())
}

/// Files and directories that every engine masks, where the kernel has them.
const MASKED: [&str; 8] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// Masked files and directories are empty, and no program of the container can uncover them.
pub fn masked_paths_are_empty(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let mut checked = 0;
    for path in MASKED
        .iter()
        .filter(|path| Path::new(path).symlink_metadata().is_ok())
    {
        let script =
            format!("umount {path} 2>/dev/null; [ -d {path} ] && ls -A {path} || cat {path}");
        let out = container.exec_sh(&script);
        assert_eq!(out.stdout, "", "{path} is not empty: {out}");
        checked += 1;
    }
    assert!(checked > 0, "this kernel has none of {MASKED:?}");
    Ok(())
}

/// Settings of the machine in `/proc/sys`, `/sys` and the cgroup tree cannot be written.
pub fn proc_and_sys_are_read_only(engine: &Engine) -> Outcome {
    let cgroup = if crate::kernel::is_v2() { "" } else { "/pids" };
    let script = format!(
        "echo 77 >/proc/sys/kernel/panic; touch /sys/x; mkdir /sys/fs/cgroup{cgroup}/x;
         echo 1 >/proc/irq/default_smp_affinity"
    );
    let out = engine.sh(&[], &script);
    // In a user namespace the cgroup's owner comes before its mount.
    let refused = ["Read-only file system", "Permission denied"];
    let refused = refused
        .iter()
        .map(|why| out.stderr.matches(why).count())
        .sum::<usize>();
    // With ids of its own the container owns its own cgroup (runtime-spec, "Cgroup ownership"), and Docker mounts
    // it writable then; runc does the same.
    let ids = engine.sh(&[], "cat /proc/self/uid_map");
    let is_remapped = ids.stdout.split_whitespace().nth(1) != Some("0");
    let most = if is_remapped && crate::kernel::is_v2() {
        3
    } else {
        4
    };
    assert_eq!(refused, most, "writes that are refused: {out} {ids}");
    Ok(())
}

/// `/dev` has the devices and links that programs expect, and no others of the host's.
pub fn dev_has_the_usual_nodes(engine: &Engine) -> Outcome {
    let script = "cd /dev; stat -c '%n %t:%T %a' null zero full random urandom tty; for l in fd stdin stdout stderr ptmx; do readlink $l; done; ls | wc -l; df -k /dev/shm | tail -1 | awk '{print $2}'; [ -d mqueue ] && echo mqueue; ls vda sda loop0 kmsg mem 2>/dev/null";
    let out = engine.sh(&[], script);
    let said = out.stdout.replace('\n', " ");
    for node in [
        "null 1:3 666",
        "zero 1:5 666",
        "full 1:7 666",
        "random 1:8 666",
        "urandom 1:9 666",
        "tty 5:0 666",
        "/proc/self/fd /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 pts/ptmx",
        "mqueue",
    ] {
        assert!(said.contains(node), "no {node:?} in {said:?}");
    }
    for device in ["vda", "sda", "loop0", "kmsg", "mem"] {
        assert!(
            !said.split(' ').any(|word| word == device),
            "/dev/{device} is there: {said}"
        );
    }
    Ok(())
}

/// A tmpfs of a test on the host, gone when dropped.
#[derive(Debug)]
struct Unmount(PathBuf);

impl Unmount {
    #[track_caller]
    fn of(dir: &Path) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "tmpfs"]).arg(dir);
        output(mount).ok();
        Self(dir.to_owned())
    }
}

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
