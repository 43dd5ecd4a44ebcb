//! `limits.disk_quota_bytes` on a root that can be written: one filesystem for all that a container writes,
//! in memory or on disk, gone with it.
//!
//! Seen from inside by writing until nothing more fits, and on the host by the loop devices in use.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitCode};

use gl_e2e::bundle::kernel::{eventually, mount_at, proc_file};
use gl_e2e::bundle::settings::Setting;
use gl_e2e::bundle::{self, Bundle, Host, finish, rounds};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        root_and_tmpfs_mounts_share_a_quota_in_memory,
        root_and_tmpfs_mounts_share_a_quota_on_disk,
        quota_holds_in_a_user_namespace,
        image_is_not_changed,
        root_directory_is_as_in_the_image,
        read_only_root_of_the_profile_stays_read_only,
        smaller_tmpfs_keeps_its_size,
        holes_take_no_space_and_small_files_are_limited,
        two_containers_have_a_quota_each,
        quota_that_is_too_small_is_refused,
        quota_without_a_disk_is_refused_by_name,
        mount_below_the_root_is_refused,
        root_of_too_many_layers_is_refused,
        create_killed_anywhere_leaves_no_loop_device,
        run_that_is_killed_leaves_no_loop_device,
    ])
}

const MIB: u64 = 1 << 20;

/// Small for the memory that there is.
const IN_MEMORY: &str = "[limits]\nmemory_limit_bytes = \"64MiB\"\ndisk_quota_bytes = \"8MiB\"\n\
    [filesystem]\ncreate_temp_root = true\n";
/// More than a quarter of it.
const ON_DISK: &str = "[limits]\nmemory_limit_bytes = \"64MiB\"\ndisk_quota_bytes = \"24MiB\"\n\
    [filesystem]\ncreate_temp_root = true\n";

/// Fills the root, then shows that nothing fits elsewhere; prints the sum of what was written, and what is
/// mounted at `/tmp` and `/`.
const FILL: &str = "for f in /a /tmp/b /dev/shm/c /usr/d; do \
    dd if=/dev/zero of=$f bs=4096 count=16384 2>&1 | grep -o 'No space left on device'; done; \
    cat /a /tmp/b /dev/shm/c /usr/d | wc -c; \
    while read -r a b c d at rest; do case $at in /|/tmp) set -- ${rest#* - }; echo $1;; esac; done </proc/self/mountinfo";

fn annotated(bundle: Bundle, profile: &str) -> Bundle {
    bundle.set("/annotations", json!({"dev.greenlang.profile": profile}))
}

fn with_dirs(bundle: Bundle) -> Bundle {
    for dir in ["tmp", "usr"] {
        bundle.dir_in(dir);
    }
    bundle
}

/// The files without a name that are behind loop devices.
fn images() -> BTreeSet<String> {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let file = |one: fs::DirEntry| fs::read_to_string(one.path().join("loop/backing_file")).ok();
    let files = devices.filter_map(file);
    files
        .filter(|path| path.starts_with("/var/lib/greenlang/"))
        .collect()
}

fn gone(before: &BTreeSet<String>, when: &str) {
    eventually(when, || images().is_subset(before).then_some(()));
}

fn loops_are_here() -> Outcome {
    match fs::metadata("/dev/loop-control") {
        Ok(_) => Ok(()),
        Err(_) => Err(Skip("no loop devices".to_owned())),
    }
}

/// What was written, after four times no space, and the filesystems of `/tmp` and `/`.
#[track_caller]
fn filled(out: &bundle::Output) -> (u64, Vec<&str>) {
    let lines: Vec<_> = out.stdout.lines().collect();
    let full = "No space left on device";
    assert_eq!(lines[..4], [full; 4], "{out:?}");
    (lines[4].parse().unwrap(), lines[5..].to_vec())
}

fn root_and_tmpfs_mounts_share_a_quota_in_memory() -> Outcome {
    let _profile = Setting::profile("memory", IN_MEMORY);
    let box_ = with_dirs(annotated(Bundle::sh(FILL), "memory"));
    let out = box_.run().ok();
    let (written, kinds) = filled(&out);
    // All but what /dev may hold.
    assert_eq!(written, 8 * MIB - (64 << 10), "{out:?}");
    assert_eq!(kinds, ["tmpfs", "overlay"], "{out:?}");
    Ok(())
}

fn root_and_tmpfs_mounts_share_a_quota_on_disk() -> Outcome {
    loops_are_here()?;
    let _profile = Setting::profile("disk", ON_DISK);
    let before = images();
    let box_ = with_dirs(annotated(Bundle::sh(FILL), "disk"));
    let out = box_.run().ok();
    let (written, kinds) = filled(&out);
    let most = 24 * MIB - (64 << 10);
    assert!((most - (64 << 10)..=most).contains(&written), "{out:?}");
    assert_eq!(kinds, ["ext4", "overlay"], "{out:?}");
    gone(&before, "the loop device is free");
    Ok(())
}

fn quota_holds_in_a_user_namespace() -> Outcome {
    loops_are_here()?;
    let _memory = Setting::profile("memory", IN_MEMORY);
    let _disk = Setting::profile("disk", ON_DISK);
    for (name, quota) in [("memory", 8 * MIB), ("disk", 24 * MIB)] {
        let map = bundle::config::id_map(100_000, 65536);
        let script = format!("stat -c '%u %a' / /tmp /dev/shm; {FILL}");
        let box_ = with_dirs(annotated(Bundle::sh(&script), name))
            .namespace("user", Some(json!({"type": "user"})))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
        let chown = ["-R", "100000:100000", box_.rootfs().to_str().unwrap()].map(str::to_owned);
        finish(Command::new("chown").args(chown)).ok();
        let out = box_.run().ok();
        let (owners, rest) = out.stdout.split_at(out.stdout.find("No space").unwrap());
        assert_eq!(owners, "0 755\n0 1777\n0 1777\n", "{out:?}");
        let written: u64 = rest.lines().nth(4).unwrap().parse().unwrap();
        let most = quota - (64 << 10);
        assert!(
            (most - (64 << 10)..=most).contains(&written),
            "{name}: {out:?}"
        );
    }
    Ok(())
}

fn image_is_not_changed() -> Outcome {
    let _profile = Setting::profile("memory", IN_MEMORY);
    let script = "echo new >/file; rm /gone; mkdir /dir/sub; chmod 700 /kept; cat /file /kept; ls / | grep gone; ls /dir";
    let box_ = annotated(Bundle::sh(script), "memory");
    box_.file("file", "old");
    box_.file("gone", "gone");
    let kept = box_.file("kept", "kept\n");
    let dir = box_.dir_in("dir");
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    box_.run().ok().prints("new\nkept\nsub");
    assert_eq!(
        fs::read_to_string(box_.rootfs().join("file")).unwrap(),
        "old"
    );
    assert_eq!(
        fs::read_to_string(box_.rootfs().join("gone")).unwrap(),
        "gone"
    );
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "entries of dir");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode(), mode);
    Ok(())
}

fn root_directory_is_as_in_the_image() -> Outcome {
    let _profile = Setting::profile("memory", IN_MEMORY);
    let box_ = annotated(
        Bundle::sh("stat -c '%u:%g %a' /; exec sleep 1000"),
        "memory",
    );
    let root = box_.rootfs();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o2751)).unwrap();
    std::os::unix::fs::chown(&root, Some(7), Some(9)).unwrap();
    let box_ = box_.started();
    box_.wait_for("7:9 2751");
    box_.exec(&[], &["sh", "-c", "echo x >/x && cat /x"])
        .ok()
        .prints("x");
    let mounts = proc_file(box_.pid(), "mountinfo");
    let top = mount_at(&mounts, "/").unwrap();
    assert!(!top.has("ro"), "{mounts}");
    box_.delete_force().ok();
    Ok(())
}

fn read_only_root_of_the_profile_stays_read_only() -> Outcome {
    let _profile = Setting::profile("ro", &format!("{IN_MEMORY}readonly_root = true\n"));
    let box_ = annotated(
        Bundle::sh("{ echo x >/file; } 2>&1; cat /proc/self/mountinfo"),
        "ro",
    );
    box_.dir_in("tmp");
    let out = box_.run().ok().contains("Read-only file system");
    assert!(!out.stdout.contains(" - overlay overlay "), "{out:?}");
    Ok(())
}

fn smaller_tmpfs_keeps_its_size() -> Outcome {
    let _profile = Setting::profile("memory", IN_MEMORY);
    let script = "dd if=/dev/zero of=/small/a bs=4096 2>/dev/null; dd if=/dev/zero of=/b bs=4096 2>/dev/null; \
        wc -c </small/a; wc -c </b";
    let box_ = annotated(Bundle::sh(script), "memory").mount(
        "tmpfs",
        "tmpfs",
        "/small",
        &["size=1m", "mode=755"],
    );
    box_.dir_in("tmp");
    let out = box_.run().ok();
    let want = format!("{MIB}\n{}\n", 7 * MIB - (64 << 10));
    assert_eq!(out.stdout, want, "{out:?}");
    Ok(())
}

fn holes_take_no_space_and_small_files_are_limited() -> Outcome {
    loops_are_here()?;
    let _memory = Setting::profile("memory", IN_MEMORY);
    let _disk = Setting::profile("disk", ON_DISK);
    let script = "truncate -s 100M /hole && echo hole; mkdir /many; i=0; \
        while [ $i -lt 30000 ] && true >/many/$i; do i=$((i + 1)); done; echo $i; \
        true >/tmp/more || echo no more";
    for (name, most) in [("memory", 3000), ("disk", 6000)] {
        let box_ = with_dirs(annotated(Bundle::sh(script), name));
        let out = box_.run().ok();
        let lines: Vec<_> = out.stdout.lines().collect();
        assert_eq!(lines[0], "hole", "{out:?}");
        let files: u32 = lines[1].parse().unwrap();
        assert!((1000..most).contains(&files), "{name}: {out:?}");
        assert!(out.stderr.contains("No space left on device"), "{out:?}");
    }
    Ok(())
}

fn two_containers_have_a_quota_each() -> Outcome {
    loops_are_here()?;
    let _profile = Setting::profile("disk", ON_DISK);
    let before = images();
    let one = with_dirs(annotated(Bundle::new(), "disk")).idle();
    let two = with_dirs(annotated(Bundle::new(), "disk")).idle();
    assert_eq!(images().difference(&before).count(), 2, "loop devices");
    let fill = [
        "sh",
        "-c",
        "dd if=/dev/zero of=/a bs=1M 2>&1 | grep -o 'No space.*'",
    ];
    one.exec(&[], &fill).ok().prints("No space left on device");
    two.exec(&[], &["sh", "-c", "echo x >/a && cat /a"])
        .ok()
        .prints("x");
    two.exec(&[], &["rm", "/a"]).ok();
    two.exec(&[], &fill).ok().prints("No space left on device");
    one.delete_force().ok();
    two.delete_force().ok();
    gone(&before, "both loop devices are free");
    Ok(())
}

fn quota_that_is_too_small_is_refused() -> Outcome {
    let _profile = Setting::profile("small", "[limits]\ndisk_quota_bytes = \"1023KiB\"\n");
    let out = annotated(Bundle::new(), "small").create().failed();
    out.says("limits.disk_quota_bytes")
        .says("1047552 bytes are less than the 1048576 that a writable root needs");
    Ok(())
}

fn quota_without_a_disk_is_refused_by_name() -> Outcome {
    let _disk = Setting::profile("disk", ON_DISK);
    let more = ON_DISK.replace("24MiB", "40MiB");
    let _more = Setting::profile("more", &more);
    let mount = |args: &[&str]| drop(finish(Command::new("mount").args(args)).ok());
    mount(&["-t", "tmpfs", "tmpfs", "/usr/sbin"]);
    let refused = annotated(Bundle::new(), "more").create();
    let fits = with_dirs(annotated(Bundle::sh(FILL), "disk"));
    let out = fits.run();
    drop(finish(Command::new("umount").arg("/usr/sbin")).ok());
    refused
        .failed()
        .says("limits.disk_quota_bytes: the host has no mkfs.ext4 (e2fsprogs)");
    let (_, kinds) = filled(&out);
    assert_eq!(kinds, ["tmpfs", "overlay"], "{out:?}");
    Ok(())
}

fn mount_below_the_root_is_refused() -> Outcome {
    let _profile = Setting::profile("memory", IN_MEMORY);
    let box_ = annotated(Bundle::new(), "memory");
    let below = box_.dir_in("with space");
    let below = below.to_str().unwrap();
    drop(finish(Command::new("mount").args(["-t", "tmpfs", "tmpfs", below])).ok());
    let out = box_.create();
    drop(finish(Command::new("umount").arg(below)).ok());
    out.failed()
        .says("limits.disk_quota_bytes: there is a mount at ")
        .says("with space, below the root");
    Ok(())
}

fn root_of_too_many_layers_is_refused() -> Outcome {
    let _profile = Setting::profile("memory", IN_MEMORY);
    let box_ = annotated(Bundle::sh("echo ran"), "memory");
    let root = box_.rootfs();
    let store = box_.outside("layers");
    let run = |program: &str, args: &[&str]| drop(finish(Command::new(program).args(args)).ok());
    run("mount", &["-t", "tmpfs", "tmpfs", store.to_str().unwrap()]);
    for depth in 0..2 {
        let [upper, work] = ["upper", "work"].map(|name| store.join(format!("{name}{depth}")));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        let options = format!(
            "lowerdir={0},upperdir={1},workdir={2}",
            root.display(),
            upper.display(),
            work.display()
        );
        let root = root.to_str().unwrap();
        run("mount", &["-t", "overlay", "overlay", "-o", &options, root]);
        if depth == 0 {
            // Over one overlay, as engines make it, it is fine.
            box_.run().ok().prints("ran");
        }
    }
    let out = box_.create();
    run("umount", &[root.to_str().unwrap()]);
    run("umount", &[root.to_str().unwrap()]);
    run("umount", &[store.to_str().unwrap()]);
    out.failed()
        .says("make the layer over the root of /etc/greenlang/profiles/memory.toml:5: limits.disk_quota_bytes")
        .says("a layer over the engine's root is one too many");
    Ok(())
}

fn create_killed_anywhere_leaves_no_loop_device() -> Outcome {
    loops_are_here()?;
    let _profile = Setting::profile("disk", ON_DISK);
    let before = images();
    let box_ = with_dirs(annotated(Bundle::new(), "disk"));
    box_.write_config();
    let host = Host::before(&box_, &[]);
    box_.traced(&[], &["create", box_.id()]).ok();
    let trace = fs::read_to_string(box_.dir().join("trace")).unwrap();
    let total = trace.lines().filter(|line| line.contains('(')).count();
    box_.delete_force().ok();
    gone(&before, "the loop device is free");
    // The calls around the loop device, and some others.
    for name in [
        "ioctl",
        "fsopen",
        "move_mount",
        "unshare",
        "setns",
        "open_tree",
    ] {
        box_.traced(
            &["-e", &format!("inject={name}:signal=SIGKILL:when=1")],
            &["create", box_.id()],
        );
        box_.delete_force().ok();
        gone(&before, &format!("free after a kill at {name}"));
        host.unchanged_soon(name);
    }
    let wanted = rounds(12).clamp(1, total);
    for point in (0..wanted).map(|n| 1 + n * total / wanted) {
        box_.traced(
            &["-e", &format!("inject=all:signal=SIGKILL:when={point}")],
            &["create", box_.id()],
        );
        box_.delete_force().ok();
        gone(&before, &format!("free after a kill at {point} of {total}"));
        host.unchanged_soon(&format!("create killed at call {point} of {total}"));
    }
    Ok(())
}

fn run_that_is_killed_leaves_no_loop_device() -> Outcome {
    loops_are_here()?;
    let _profile = Setting::profile("disk", ON_DISK);
    let before = images();
    let box_ = with_dirs(annotated(Bundle::sh("echo ready; exec sleep 1000"), "disk"));
    box_.write_config();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = box_.command(&["run", box_.id()]);
    command.stdout(writer);
    let mut child = bundle::process::start(&mut command);
    drop(command);
    bundle::kernel::read_until(&reader, "ready");
    assert_eq!(images().difference(&before).count(), 1, "loop devices");
    child.kill().unwrap();
    child.wait().unwrap();
    box_.delete_force().ok();
    gone(&before, "the loop device is free");
    Ok(())
}
