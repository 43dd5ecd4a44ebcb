//! The mount tree: kinds, options, targets, masks, devices. Propagation is in
//! `mounts_propagation.rs`.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;

use gl_e2e::bundle::kernel::{Mount, mount_at, mounts};
use gl_e2e::bundle::{self, Bundle, Host, known_elsewhere};
use gl_e2e::kernel::is_v2;
use gl_e2e::{Outcome, tests};
use rustix::mount::MountFlags;
use serde_json::json;

/// Asserts that nothing is at `path`; not being able to look is no proof of that.
fn assert_missing(path: impl AsRef<Path>) {
    let path = path.as_ref();
    let found = fs::symlink_metadata(path).map_err(|err| err.kind());
    assert_eq!(
        found.map(|meta| meta.file_type()),
        Err(std::io::ErrorKind::NotFound),
        "{}",
        path.display()
    );
}

fn main() -> ExitCode {
    bundle::main(tests![
        default_mounts_are_in_place_with_their_options,
        host_mounts_are_not_visible,
        bind_shows_the_source,
        bind_takes_one_mount_and_rbind_the_tree,
        bind_read_only_is_not_recursive_and_rro_is,
        bind_source_is_relative_to_the_bundle,
        bind_of_a_file_onto_a_missing_target,
        bind_of_a_file_onto_an_existing_target,
        bind_without_a_type_works,
        bind_of_a_missing_source_fails,
        bind_keeps_flags_that_it_does_not_name,
        options_become_mount_flags,
        options_of_the_filesystem_are_given_to_it,
        options_that_name_the_defaults_change_nothing,
        options_later_ones_win,
        remount_changes_the_mount_that_is_there,
        tmpfs_takes_data,
        tmpfs_copies_up,
        proc_is_that_of_the_pid_namespace,
        sysfs_is_that_of_the_network_namespace,
        mqueue_is_that_of_the_ipc_namespace,
        devpts_is_new,
        cgroup_shows_the_own_cgroup_only,
        cgroup_with_a_cgroup_namespace,
        cgroup_read_only_cannot_be_written,
        overlay_mounts_with_data,
        relative_paths_of_a_filesystem_are_not_of_the_image,
        targets_that_are_missing_are_made_inside,
        targets_behind_links_stay_inside,
        targets_in_a_volume_are_made_in_the_volume,
        mounts_are_made_in_order,
        root_read_only_cannot_be_written,
        root_relative_and_absolute_paths_work,
        root_on_its_own_mount_works,
        masked_files_are_empty_and_directories_too,
        masked_path_that_is_missing_is_ignored,
        masked_paths_are_not_writable,
        readonly_paths_cannot_be_written,
        devices_by_default_exist,
        devices_of_the_list_have_their_type_mode_and_owner,
        devices_replace_nothing_else,
        links_in_dev_lead_to_descriptors,
        mount_inside_proc_is_refused,
        no_pivot_works,
        old_root_is_gone,
        symlinks_are_not_followed_with_nosymfollow,
        id_mapped_mount_shifts_owners,
    ])
}

fn mountinfo() -> Bundle {
    Bundle::new().args(&["cat", "/proc/self/mountinfo"])
}

#[track_caller]
fn at(text: &str, target: &str) -> Mount {
    mount_at(text, target).unwrap_or_else(|| panic!("no mount at {target} in\n{text}"))
}

fn default_mounts_are_in_place_with_their_options() -> Outcome {
    let text = mountinfo().run().ok().stdout;
    for (target, kind, options) in [
        ("/proc", "proc", &["nosuid", "nodev", "noexec"][..]),
        ("/dev", "tmpfs", &["nosuid"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec"]),
    ] {
        let mount = at(&text, target);
        assert_eq!(mount.kind, kind, "{mount:?}");
        for option in options {
            assert!(mount.has(option), "{option} of {mount:?}");
        }
    }
    let dev = at(&text, "/dev");
    assert!(
        dev.filesystem_options.contains(&"size=65536k".to_owned()),
        "{dev:?}"
    );
    assert!(
        dev.filesystem_options.contains(&"mode=755".to_owned()),
        "{dev:?}"
    );
    assert!(!dev.has("relatime") && !dev.has("noatime"), "{dev:?}");
    Ok(())
}

fn host_mounts_are_not_visible() -> Outcome {
    let box_ = mountinfo();
    let secret = box_.outside("secret");
    rustix::mount::mount("tmpfs", &secret, "tmpfs", MountFlags::empty(), None).unwrap();
    let text = box_.run().ok().stdout;
    assert!(!text.contains("secret"), "{text}");
    let targets: Vec<_> = mounts(&text).into_iter().map(|m| m.target).collect();
    assert!(targets.iter().any(|t| t == "/"), "{targets:?}");
    Ok(())
}

fn bind_shows_the_source() -> Outcome {
    let box_ = Bundle::sh("cat /mnt/file; echo new > /mnt/written");
    let volume = box_.outside("volume");
    fs::write(volume.join("file"), "from the host\n").unwrap();
    let box_ = box_.mount("bind", volume.to_str().unwrap(), "/mnt", &["rbind"]);
    box_.run().ok().prints("from the host");
    assert_eq!(fs::read_to_string(volume.join("written")).unwrap(), "new\n");
    Ok(())
}

/// A volume with a second filesystem in `sub`.
fn nested(box_: &Bundle) -> String {
    let volume = box_.outside("volume");
    fs::create_dir(volume.join("sub")).unwrap();
    fs::write(volume.join("sub/below"), "").unwrap();
    let sub = volume.join("sub");
    rustix::mount::mount("tmpfs", &sub, "tmpfs", MountFlags::empty(), None).unwrap();
    fs::write(sub.join("file"), "nested\n").unwrap();
    volume.to_str().unwrap().to_owned()
}

fn bind_takes_one_mount_and_rbind_the_tree() -> Outcome {
    for (option, want) in [("bind", "below"), ("rbind", "file")] {
        let box_ = Bundle::sh("ls /mnt/sub");
        let volume = nested(&box_);
        box_.mount("bind", &volume, "/mnt", &[option])
            .run()
            .ok()
            .prints(want);
    }
    Ok(())
}

fn bind_read_only_is_not_recursive_and_rro_is() -> Outcome {
    let script = "touch /mnt/x && echo top; touch /mnt/sub/x && echo sub; true";
    for (option, want) in [("rw", "top\nsub"), ("ro", "sub"), ("rro", "")] {
        let box_ = Bundle::sh(script);
        let volume = nested(&box_);
        box_.mount("bind", &volume, "/mnt", &["rbind", option])
            .run()
            .ok()
            .prints(want);
    }
    Ok(())
}

fn bind_source_is_relative_to_the_bundle() -> Outcome {
    let box_ = Bundle::new()
        .args(&["cat", "/mnt/file"])
        .mount("bind", "volume", "/mnt", &["bind"]);
    fs::write(box_.outside("volume").join("file"), "relative\n").unwrap();
    box_.run().ok().prints("relative");
    Ok(())
}

fn bind_of_a_file_onto_a_missing_target() -> Outcome {
    let box_ = Bundle::new().args(&["cat", "/made/by/mount"]).mount(
        "bind",
        "source",
        "/made/by/mount",
        &["bind", "ro"],
    );
    fs::write(box_.dir().join("source"), "a file\n").unwrap();
    box_.run().ok().prints("a file");
    let target = box_.rootfs().join("made/by/mount");
    assert_eq!(
        fs::read_to_string(target).unwrap(),
        "",
        "the target is an empty file"
    );
    Ok(())
}

fn bind_of_a_file_onto_an_existing_target() -> Outcome {
    let box_ = Bundle::new().args(&["cat", "/etc/hosts"]).mount(
        "bind",
        "source",
        "/etc/hosts",
        &["rbind", "rprivate"],
    );
    fs::write(box_.dir().join("source"), "127.0.0.1 box\n").unwrap();
    box_.file("etc/hosts", "the image's\n");
    box_.run().ok().prints("127.0.0.1 box");
    assert_eq!(
        fs::read_to_string(box_.rootfs().join("etc/hosts")).unwrap(),
        "the image's\n"
    );
    Ok(())
}

fn bind_without_a_type_works() -> Outcome {
    let box_ = Bundle::new().args(&["cat", "/mnt/file"]);
    let volume = box_.outside("volume");
    fs::write(volume.join("file"), "untyped\n").unwrap();
    let mount = json!({"source": volume, "destination": "/mnt", "options": ["rbind"]});
    let box_ = box_.push("/mounts", mount);
    box_.run().ok().prints("untyped");
    let box_ = Bundle::new().args(&["cat", "/mnt/file"]);
    let volume = box_.outside("volume");
    fs::write(volume.join("file"), "none\n").unwrap();
    box_.mount("none", volume.to_str().unwrap(), "/mnt", &["bind"])
        .run()
        .ok()
        .prints("none");
    Ok(())
}

fn bind_of_a_missing_source_fails() -> Outcome {
    let box_ = Bundle::new().mount("bind", "/no/such/source", "/mnt", &["rbind"]);
    let host = Host::before(&box_, &[]);
    box_.create().failed().says("no such file or directory");
    host.unchanged("missing source");
    Ok(())
}

fn bind_keeps_flags_that_it_does_not_name() -> Outcome {
    let box_ = mountinfo();
    let volume = box_.outside("volume");
    let flags = MountFlags::NOEXEC | MountFlags::NOSUID;
    rustix::mount::mount("tmpfs", &volume, "tmpfs", flags, None).unwrap();
    let box_ = box_.mount("bind", volume.to_str().unwrap(), "/mnt", &["rbind"]);
    let text = box_.run().ok().stdout;
    let mount = at(&text, "/mnt");
    assert!(mount.has("noexec") && mount.has("nosuid"), "{mount:?}");
    Ok(())
}

fn options_become_mount_flags() -> Outcome {
    let table = [
        (&["ro"][..], "ro"),
        (&["rw"], "rw"),
        (&["nosuid"], "nosuid"),
        (&["nodev"], "nodev"),
        (&["noexec"], "noexec"),
        (&["noatime"], "noatime"),
        (&["relatime"], "relatime"),
        (&["nodiratime"], "nodiratime"),
    ];
    let mut box_ = mountinfo();
    box_.outside("volume");
    for (n, (options, _)) in table.iter().enumerate() {
        let mut bind = vec!["bind"];
        bind.extend(*options);
        box_ = box_.mount("bind", "volume", &format!("/b{n}"), &bind);
        box_ = box_.mount("tmpfs", "tmpfs", &format!("/t{n}"), options);
    }
    let text = box_.run().ok().stdout;
    for (n, (options, want)) in table.iter().enumerate() {
        for target in [format!("/b{n}"), format!("/t{n}")] {
            let mount = at(&text, &target);
            assert!(mount.has(want), "{options:?}: {mount:?}");
        }
    }
    Ok(())
}

fn options_of_the_filesystem_are_given_to_it() -> Outcome {
    const KNOWN: [&str; 3] = ["sync", "dirsync", "lazytime"];
    let mut box_ = mountinfo();
    for option in KNOWN {
        box_ = box_.mount("tmpfs", "tmpfs", &format!("/{option}"), &[option]);
    }
    let text = box_.run().ok().stdout;
    for option in KNOWN {
        let mount = at(&text, &format!("/{option}"));
        let seen: Vec<_> = mount.filesystem_options.iter().collect();
        for other in KNOWN {
            let has = seen.iter().any(|one| *one == other);
            assert_eq!(has, option == other, "{other} of {mount:?}");
        }
    }
    known_elsewhere("leaves it out", || {
        let box_ = Bundle::new().mount("tmpfs", "tmpfs", "/mnt", &["iversion"]);
        let host = Host::before(&box_, &[]);
        box_.create().status(1).says("mounts[7]");
        host.unchanged("a filesystem without iversion");
    })
}

fn options_that_name_the_defaults_change_nothing() -> Outcome {
    known_elsewhere("hands `defaults` to the filesystem", || {
        let none = [
            "defaults",
            "async",
            "dev",
            "diratime",
            "exec",
            "suid",
            "loud",
            "nomand",
            "symfollow",
            "noiversion",
            "nolazytime",
            "rw",
        ];
        let text = mountinfo()
            .mount("tmpfs", "tmpfs", "/none", &none)
            .run()
            .ok()
            .stdout;
        assert_eq!(at(&text, "/none").options, ["rw", "relatime"], "{text}");
    })
}

fn options_later_ones_win() -> Outcome {
    let box_ = mountinfo()
        .mount(
            "tmpfs",
            "tmpfs",
            "/a",
            &["ro", "rw", "nosuid", "suid", "exec", "noexec"],
        )
        .mount(
            "tmpfs",
            "tmpfs",
            "/b",
            &["rw", "ro", "noatime", "strictatime"],
        );
    let text = box_.run().ok().stdout;
    let (a, b) = (at(&text, "/a"), at(&text, "/b"));
    assert!(a.has("rw") && !a.has("nosuid") && a.has("noexec"), "{a:?}");
    assert!(
        b.has("ro") && !b.has("noatime") && !b.has("relatime"),
        "{b:?}"
    );
    Ok(())
}

fn remount_changes_the_mount_that_is_there() -> Outcome {
    known_elsewhere("resets the flags that a remount does not name", || {
        let box_ = Bundle::sh("touch /a/x; touch /b/x && echo b; cat /proc/self/mountinfo")
            .mount("tmpfs", "tmpfs", "/a", &["nosuid"])
            .mount("tmpfs", "tmpfs", "/b", &["ro", "nodev"])
            .mount("tmpfs", "tmpfs", "/a", &["remount", "ro", "noexec"])
            .mount("none", "", "/b", &["remount", "bind", "rw"]);
        let out = box_.run().ok();
        assert!(out.stdout.starts_with("b\n"), "{out:?}");
        assert_eq!(out.stderr.matches("Read-only file system").count(), 1);
        for (target, options) in [
            ("/a", ["ro", "nosuid", "noexec"]),
            ("/b", ["rw", "nodev", ""]),
        ] {
            let there: Vec<_> = mounts(&out.stdout)
                .into_iter()
                .filter(|mount| mount.target == target)
                .collect();
            let [mount] = &there[..] else {
                panic!("{there:?}")
            };
            for option in options.into_iter().filter(|option| !option.is_empty()) {
                assert!(mount.has(option), "{option}: {mount:?}");
            }
        }
    })
}

fn tmpfs_takes_data() -> Outcome {
    let box_ = Bundle::sh("stat -c %a:%u:%g /mnt; df -k /mnt | tail -1").mount(
        "tmpfs",
        "tmpfs",
        "/mnt",
        &[
            "size=2m",
            "mode=0711",
            "uid=5",
            "gid=6",
            "nr_inodes=100",
            "nosuid",
        ],
    );
    let out = box_.run().ok();
    assert!(out.stdout.starts_with("711:5:6\n"), "{out:?}");
    assert!(out.stdout.contains("2048"), "{out:?}");
    Ok(())
}

fn tmpfs_copies_up() -> Outcome {
    let box_ = Bundle::sh("cat /data/dir/file; stat -c %a /data/dir; touch /data/new").mount(
        "tmpfs",
        "tmpfs",
        "/data",
        &["tmpcopyup"],
    );
    box_.file("data/dir/file", "of the image\n");
    let mode = PermissionsExt::from_mode(0o750);
    fs::set_permissions(box_.rootfs().join("data/dir"), mode).unwrap();
    box_.run().ok().prints("of the image\n750");
    assert_missing(box_.rootfs().join("data/new"));
    Ok(())
}

fn proc_is_that_of_the_pid_namespace() -> Outcome {
    let box_ = Bundle::sh("echo /proc/[0-9]*; echo $$");
    box_.run().ok().prints("/proc/1\n1");
    Ok(())
}

fn sysfs_is_that_of_the_network_namespace() -> Outcome {
    let box_ = Bundle::new().args(&["ls", "/sys/class/net"]);
    let out = box_.run().ok();
    assert!(out.stdout.lines().all(|l| l != "eth0"), "{out:?}");
    assert!(out.stdout.lines().any(|l| l == "lo"), "{out:?}");
    Ok(())
}

fn mqueue_is_that_of_the_ipc_namespace() -> Outcome {
    let box_ = Bundle::sh("touch /dev/mqueue/queue && ls /dev/mqueue");
    box_.run().ok().prints("queue");
    let out = Bundle::new().args(&["ls", "/dev/mqueue"]).run().ok();
    out.prints("");
    Ok(())
}

fn devpts_is_new() -> Outcome {
    let box_ = Bundle::sh("ls /dev/pts; stat -c %a /dev/pts/ptmx; readlink /dev/ptmx");
    box_.run().ok().prints("ptmx\n666\npts/ptmx");
    Ok(())
}

/// Where a container of this host sees its pids controller.
fn pids_dir() -> &'static str {
    match is_v2() {
        true => "/sys/fs/cgroup",
        false => "/sys/fs/cgroup/pids",
    }
}

fn cgroup_shows_the_own_cgroup_only() -> Outcome {
    if is_v2() {
        let box_ = Bundle::sh("cat /sys/fs/cgroup/cgroup.procs; ls -d /sys/fs/cgroup/*-*");
        let out = box_.run();
        assert!(out.stdout.starts_with('1'), "{out:?}");
        assert!(!out.stdout.contains("gl-e2e"), "{out:?}");
        let text = mountinfo().run().ok().stdout;
        let own = at(&text, "/sys/fs/cgroup");
        assert!(own.kind == "cgroup2" && own.has("ro"), "{own:?}");
        return Ok(());
    }
    let box_ = Bundle::sh("cat /sys/fs/cgroup/pids/cgroup.procs; ls -d /sys/fs/cgroup/memory/*-*");
    let out = box_.run();
    assert!(out.stdout.starts_with('1'), "{out:?}");
    assert!(!out.stdout.contains("gl-e2e"), "{out:?}");
    let text = mountinfo().run().ok().stdout;
    let pids = at(&text, "/sys/fs/cgroup/pids");
    assert!(pids.kind == "cgroup" && pids.has("ro"), "{pids:?}");
    Ok(())
}

fn cgroup_with_a_cgroup_namespace() -> Outcome {
    let script = format!(
        "cat /proc/self/cgroup; cat {}/cgroup.procs | head -1",
        pids_dir()
    );
    let box_ = Bundle::sh(&script).namespace("cgroup", Some(json!({"type": "cgroup"})));
    let out = box_.run().ok();
    let want = match is_v2() {
        true => "0::/\n",
        false => ":pids:/\n",
    };
    assert!(out.stdout.contains(want), "{out:?}");
    assert!(!out.stdout.contains("gl-e2e"), "{out:?}");
    assert!(out.stdout.contains("\n1\n"), "{out:?}");
    Ok(())
}

fn cgroup_read_only_cannot_be_written() -> Outcome {
    for namespace in [None, Some(json!({"type": "cgroup"}))] {
        let dir = pids_dir();
        let script = format!("mkdir {dir}/x; echo 1 > {dir}/cgroup.procs");
        let box_ = Bundle::sh(&script).namespace("cgroup", namespace);
        let out = box_.run().failed();
        assert_eq!(
            out.stderr.matches("Read-only file system").count(),
            2,
            "{out:?}"
        );
    }
    Ok(())
}

fn overlay_mounts_with_data() -> Outcome {
    let box_ = Bundle::sh("cat /mnt/file; echo up > /mnt/file; cat /mnt/file");
    for dir in ["upper", "work"] {
        box_.outside(dir);
    }
    fs::write(box_.outside("lower").join("file"), "low\n").unwrap();
    let dir = box_.dir().to_str().unwrap().to_owned();
    let data = ["lower", "upper", "work"].map(|n| format!("{n}dir={dir}/{n}"));
    let box_ = box_.mount(
        "overlay",
        "overlay",
        "/mnt",
        &[&data[0], &data[1], &data[2]],
    );
    let out = box_.run();
    if out.stderr.contains("no such device") {
        return Err(gl_e2e::Skip("no overlay in this kernel".to_owned()));
    }
    out.ok().prints("low\nup");
    Ok(())
}

fn relative_paths_of_a_filesystem_are_not_of_the_image() -> Outcome {
    for option in ["rw", "ro"] {
        let box_ = Bundle::sh("cat /data/f");
        let secret = box_.outside("secret");
        fs::write(secret.join("f"), "the host's").unwrap();
        for name in ["lower", "lower2"] {
            fs::create_dir(box_.dir().join(name)).unwrap();
        }
        fs::write(box_.dir().join("lower/f"), "the bundle's").unwrap();
        // Where it goes, and where something else was mounted before it.
        for above in ["data", "before"] {
            fs::create_dir_all(box_.rootfs().join(above)).unwrap();
            for name in ["lower", "lower2"] {
                box_.link(&format!("{above}/{name}"), secret.to_str().unwrap());
            }
        }
        let options = ["lowerdir=lower:lower2", "nosuid", option];
        let box_ = box_.mount("tmpfs", "tmpfs", "/before", &[]);
        let ran = box_.mount("overlay", "overlay", "/data", &options).run();
        if ran.stderr.contains("no such device") {
            return Err(gl_e2e::Skip("no overlay in this kernel".to_owned()));
        }
        ran.ok().prints("the bundle's");
    }
    Ok(())
}

fn targets_that_are_missing_are_made_inside() -> Outcome {
    let box_ = Bundle::sh("test -d /a/b/c && stat -c %a:%u /a /a/b").mount(
        "tmpfs",
        "tmpfs",
        "/a/b/c",
        &[],
    );
    let victim = box_.outside("victim");
    let host = Host::before(&box_, &[&victim]);
    box_.run().ok().prints("755:0\n755:0");
    host.unchanged("missing target");
    assert!(fs::metadata(box_.rootfs().join("a/b/c")).unwrap().is_dir());
    assert_missing("/a/b/c");
    Ok(())
}

fn targets_behind_links_stay_inside() -> Outcome {
    let box_ = Bundle::new();
    let victim = box_.outside("victim");
    fs::write(victim.join("file"), "precious").unwrap();
    for (n, target) in [
        "/inside/one".to_owned(),
        "../../../../../../inside/two".to_owned(),
        victim.to_str().unwrap().to_owned(),
        format!("../../{}", victim.display()),
        "/link0".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let box_ = mountinfo().mount("tmpfs", "tmpfs", &format!("/link{n}/sub"), &[]);
        box_.dir_in("inside/one");
        box_.dir_in("inside/two");
        box_.link("link0", "/inside/one");
        if n != 0 {
            box_.link(&format!("link{n}"), target);
        }
        let host = Host::before(&box_, &[&victim]);
        let out = box_.run();
        host.unchanged(target);
        if out.code == 0 {
            let found = mounts(&out.stdout)
                .into_iter()
                .any(|m| m.target.ends_with("/sub"));
            assert!(found, "{target}: {out:?}");
        }
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1, "{target}");
    }
    Ok(())
}

fn targets_in_a_volume_are_made_in_the_volume() -> Outcome {
    let box_ = Bundle::sh("touch /vol/in/side/x && echo ok")
        .mount("bind", "volume", "/vol", &["rbind"])
        .mount("tmpfs", "tmpfs", "/vol/in/side", &[]);
    let volume = box_.outside("volume");
    box_.run().ok().prints("ok");
    assert!(fs::metadata(volume.join("in/side")).unwrap().is_dir());
    assert_missing(volume.join("in/side/x"));
    Ok(())
}

fn mounts_are_made_in_order() -> Outcome {
    let box_ = Bundle::sh("cat /vol/file")
        .mount("bind", "one", "/vol", &["rbind"])
        .mount("bind", "two", "/vol", &["rbind"]);
    fs::write(box_.outside("one").join("file"), "one\n").unwrap();
    fs::write(box_.outside("two").join("file"), "two\n").unwrap();
    box_.run().ok().prints("two");
    Ok(())
}

fn root_read_only_cannot_be_written() -> Outcome {
    let box_ = Bundle::sh("touch /x; touch /tmp/x; touch /dev/shm/x && echo shm")
        .set("/root/readonly", json!(true));
    let out = box_.run().ok().prints("shm");
    assert_eq!(
        out.stderr.matches("Read-only file system").count(),
        2,
        "{out:?}"
    );
    let text = mountinfo()
        .set("/root/readonly", json!(true))
        .run()
        .ok()
        .stdout;
    assert!(at(&text, "/").has("ro"), "{text}");
    Ok(())
}

fn root_relative_and_absolute_paths_work() -> Outcome {
    let box_ = Bundle::new().args(&["echo", "hi"]);
    for path in [
        "rootfs",
        "./rootfs",
        "state/../rootfs",
        box_.rootfs().to_str().unwrap(),
    ] {
        let other = Bundle::new()
            .args(&["echo", "hi"])
            .set("/root/path", json!(path));
        other.run().ok().prints("hi");
    }
    Ok(())
}

fn root_on_its_own_mount_works() -> Outcome {
    let box_ = mountinfo();
    let root = box_.rootfs();
    rustix::mount::mount_bind_recursive(&root, &root).unwrap();
    rustix::mount::mount_change(&root, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let host = Host::before(&box_, &[]);
    let text = box_.run().ok().stdout;
    host.unchanged("root is a shared mount");
    assert!(mount_at(&text, "/").is_some(), "{text}");
    Ok(())
}

fn masked_files_are_empty_and_directories_too() -> Outcome {
    let script = "cat /etc/secret; ls -A /secrets; echo end; stat -c %F:%a /secrets; wc -c < /proc/timer_list";
    let box_ = Bundle::sh(script)
        .push("/linux/maskedPaths", json!("/etc/secret"))
        .push("/linux/maskedPaths", json!("/secrets"));
    box_.file("etc/secret", "secret\n");
    box_.file("secrets/one", "secret\n");
    let out = box_.run().ok();
    assert!(out.stdout.starts_with("end\ndirectory:"), "{out:?}");
    assert!(out.stdout.ends_with("\n0\n"), "{out:?}");
    Ok(())
}

fn masked_path_that_is_missing_is_ignored() -> Outcome {
    let box_ = Bundle::new()
        .args(&["echo", "ok"])
        .push("/linux/maskedPaths", json!("/no/such/file"))
        .push("/linux/readonlyPaths", json!("/no/such/dir"));
    box_.run().ok().prints("ok");
    assert_missing(box_.rootfs().join("no"));
    Ok(())
}

fn masked_paths_are_not_writable() -> Outcome {
    let box_ = Bundle::sh("touch /secrets/x; mkdir /secrets/d; rmdir /secrets; true")
        .push("/linux/maskedPaths", json!("/secrets"));
    box_.file("secrets/one", "secret\n");
    let out = box_.run().ok();
    assert_eq!(
        out.stderr.matches("Read-only file system").count(),
        2,
        "{out:?}"
    );
    assert_eq!(
        fs::read_to_string(box_.rootfs().join("secrets/one")).unwrap(),
        "secret\n"
    );
    Ok(())
}

fn readonly_paths_cannot_be_written() -> Outcome {
    let box_ =
        Bundle::sh("echo x > /proc/sys/kernel/domainname; touch /data/x; touch /etc/file; true")
            .push("/linux/readonlyPaths", json!("/data"))
            .push("/linux/readonlyPaths", json!("/etc/file"));
    box_.dir_in("data");
    box_.file("etc/file", "");
    let out = box_.run().ok();
    assert_eq!(
        out.stderr.matches("Read-only file system").count(),
        3,
        "{out:?}"
    );
    Ok(())
}

fn devices_by_default_exist() -> Outcome {
    let box_ = Bundle::sh(
        "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done; \
         echo x > /dev/null && head -c 3 /dev/zero | wc -c",
    );
    let out = box_.run().ok();
    for (name, number) in [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ] {
        let want = format!("/dev/{name} character special file {number} 666\n");
        assert!(out.stdout.contains(&want), "{want} in {out:?}");
    }
    assert!(out.stdout.ends_with("3\n"), "{out:?}");
    Ok(())
}

fn devices_of_the_list_have_their_type_mode_and_owner() -> Outcome {
    let box_ = Bundle::sh("stat -c '%n %F %t:%T %a %u:%g' /dev/my /opt/dev/loop /dev/pipe").set(
        "/linux/devices",
        json!([
            {"path": "/dev/my", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6},
            {"path": "/opt/dev/loop", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600, "uid": 0, "gid": 0},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o644, "uid": 1, "gid": 1},
        ]),
    );
    box_.run().ok().prints(
        "/dev/my character special file 1:3 640 5:6\n\
         /opt/dev/loop block special file 7:0 600 0:0\n\
         /dev/pipe fifo 0:0 644 1:1",
    );
    Ok(())
}

fn devices_replace_nothing_else() -> Outcome {
    let box_ = Bundle::new().args(&["ls", "/dev"]);
    let out = box_.run().ok();
    let mut seen: Vec<_> = out
        .stdout
        .lines()
        .filter(|n| *n != "core" && *n != "kcore")
        .collect();
    seen.sort_unstable();
    let want = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    assert_eq!(seen, want, "{out:?}");
    Ok(())
}

fn links_in_dev_lead_to_descriptors() -> Outcome {
    let box_ = Bundle::sh("for l in fd stdin stdout stderr; do readlink /dev/$l; done");
    box_.run()
        .ok()
        .prints("/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2");
    Ok(())
}

fn proc_refuses(kind: &str, source: &str, target: &str) {
    let options = if kind == "bind" { &["rbind"][..] } else { &[] };
    let box_ = Bundle::new()
        .args(&["true"])
        .mount(kind, source, target, options);
    let host = Host::before(&box_, &[]);
    let out = box_.run().failed();
    assert!(out.stderr.contains("/proc"), "{target}: {out:?}");
    host.unchanged(target);
}

fn mount_inside_proc_is_refused() -> Outcome {
    for (source, target) in [
        ("/etc", "/proc/sys/kernel"),
        ("/etc", "/proc/self/attr"),
        ("/etc/passwd", "/proc/version"),
        ("/etc", "/proc"),
    ] {
        proc_refuses("bind", source, target);
    }
    // SPEC: what hides a part of procfs hides it from the runtime too.
    known_elsewhere("takes a tmpfs inside /proc", || {
        for target in ["/proc/self", "/proc/sys", "/proc/self/attr", "/proc"] {
            proc_refuses("tmpfs", "tmpfs", target);
        }
    })
}

fn no_pivot_works() -> Outcome {
    let box_ = Bundle::new().args(&["/bin/sh", "-c", "echo ready; ls /; exec sleep 1000"]);
    let host = Host::before(&box_, &[]);
    box_.create_with(&["--no-pivot"]).ok();
    box_.start().ok();
    let seen = box_.wait_for("tmp");
    assert!(seen.contains("proc"), "{seen}");
    box_.delete_force().ok();
    host.unchanged("no pivot");
    Ok(())
}

fn old_root_is_gone() -> Outcome {
    let box_ = Bundle::sh("ls -A /; ls -A /..; cat /proc/self/mountinfo");
    let out = box_.run().ok();
    assert!(
        !out.stdout.contains("pivot") && !out.stdout.contains("put_old"),
        "{out:?}"
    );
    for left in fs::read_dir(box_.rootfs()).unwrap().flatten() {
        let name = left.file_name().into_string().unwrap();
        let known = ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "run"];
        assert!(known.contains(&name.as_str()), "left in the rootfs: {name}");
    }
    Ok(())
}

fn symlinks_are_not_followed_with_nosymfollow() -> Outcome {
    known_elsewhere("older spec", || {
        let box_ = Bundle::new().args(&["cat", "/mnt/link"]).mount(
            "bind",
            "volume",
            "/mnt",
            &["bind", "nosymfollow"],
        );
        let volume = box_.outside("volume");
        fs::write(volume.join("file"), "x\n").unwrap();
        std::os::unix::fs::symlink("file", volume.join("link")).unwrap();
        let out = box_.run().failed();
        assert!(
            out.stderr.contains("Too many levels of symbolic links"),
            "{out:?}"
        );
    })
}

fn id_mapped_mount_shifts_owners() -> Outcome {
    known_elsewhere("older spec", || {
        let box_ = Bundle::sh("stat -c %u:%g /mnt/file; touch /mnt/new; true");
        let volume = box_.outside("volume");
        fs::write(volume.join("file"), "x").unwrap();
        let shift = json!([{"containerID": 0, "hostID": 10_000, "size": 1000}]);
        let box_ = box_.push(
            "/mounts",
            json!({
                "type": "bind", "source": "volume", "destination": "/mnt", "options": ["bind"],
                "uidMappings": shift, "gidMappings": shift,
            }),
        );
        // `features` says whether it works; where it does not, it is refused by name.
        if !box_.has_feature("/linux/mountExtensions/idmap/enabled") {
            box_.run().status(1).says("mounts[7].uidMappings");
            return;
        }
        box_.run().ok().prints("10000:10000");
        assert_owner(&volume.join("new"));
    })
}

/// What root writes through the shifted mount would be owned by an id that the map does not know.
fn assert_owner(path: &Path) {
    if let Ok(meta) = fs::metadata(path) {
        assert_ne!(meta.uid(), 10_000, "{}", path.display());
    }
}
