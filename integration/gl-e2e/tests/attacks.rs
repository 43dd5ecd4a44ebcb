//! Attacks on the runtime by an image, a volume's co-tenant or the container's process, each named
//! by its CVE. Static variants, and races of a bounded number of rounds (`$GL_ROUNDS` for more).
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gl_e2e::bundle::config::CAPABILITY_MASK;
use gl_e2e::bundle::host::digest;
use gl_e2e::bundle::kernel::{fields, mount_at, proc_file, wait_dead};
use gl_e2e::bundle::listener::Listener;
use gl_e2e::bundle::{self, Bundle, Host, finish, known_elsewhere, rounds};
use gl_e2e::{Outcome, Skip, tests};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        cve_2016_3697_numeric_name_in_passwd,
        cve_2016_9962_runtime_is_closed_to_the_container_during_exec,
        cve_2019_5736_runtime_binary_cannot_be_overwritten_from_args,
        cve_2019_5736_runtime_binary_cannot_be_overwritten_in_a_race,
        cve_2019_16884_proc_replaced_by_a_volume,
        cve_2019_19921_proc_attr_hidden,
        cve_2019_18837_mount_target_is_a_link,
        cve_2021_30465_mount_target_swapped_for_a_link,
        cve_2024_45310_missing_target_swapped_for_a_link,
        cve_2021_43784_lists_over_64_kib,
        cve_2022_24769_inheritable_capabilities_are_empty,
        cve_2023_25809_cgroups_of_the_host_in_a_user_namespace,
        cve_2023_27561_proc_is_a_link_in_the_image,
        cve_2025_54867_sys_is_a_link_in_the_image,
        cve_2024_21626_cwd_in_a_leaked_descriptor,
        cve_2024_21626_args_in_a_leaked_descriptor,
        cve_2024_21626_exec_in_a_leaked_descriptor,
        cve_2025_31133_dev_null_of_the_image_is_a_link,
        cve_2025_31133_dev_null_swapped_in_a_race,
        cve_2025_52565_dev_console_is_a_link,
        cve_2025_52881_sysctl_written_through_a_volume,
        cve_2026_41579_dev_is_a_link_to_the_host,
        cve_2026_88264_console_owner_changed_through_a_link,
        cve_2026_88265_stdio_null_followed_through_a_link,
        cve_2022_0492_release_agent_cannot_be_written,
        cve_2024_40635_user_ids_do_not_wrap,
        masked_and_readonly_paths_are_links,
        device_target_is_a_link_to_the_host,
        working_directory_is_a_link_to_the_host,
        passwd_of_the_image_is_hostile,
        ids_and_cgroup_paths_at_random_stay_inside,
        pid_that_was_used_again_is_no_container,
        mount_source_of_the_image_is_no_source_of_the_host,
        hook_inside_cannot_reach_the_host,
        state_directory_is_closed_to_others,
    ])
}

const SECRET: &str = "precious content of the host";

/// A directory beside the rootfs that must stay as it is, with files in it.
fn victim(box_: &Bundle) -> PathBuf {
    let dir = box_.outside("victim");
    fs::write(dir.join("file"), SECRET).unwrap();
    fs::create_dir(dir.join("dir")).unwrap();
    fs::write(dir.join("dir/null"), SECRET).unwrap();
    for name in ["null", "console", "zero", "tty", "ptmx"] {
        fs::write(dir.join(name), SECRET).unwrap();
    }
    dir
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Runs the bundle, whatever comes of it, and asserts that the host is as it was.
#[track_caller]
fn harmless(box_: &Bundle, victims: &[&Path], what: &str) -> bundle::Output {
    let host = Host::before(box_, victims);
    let out = box_.run();
    host.unchanged_soon(what);
    assert!(!out.stdout.contains(SECRET), "{what}: {out:?}");
    out
}

/// A thread that swaps two paths without pause until dropped.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Swapper {
    fn new(one: PathBuf, two: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut swaps = 0;
            while !seen.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            // An even number leaves the two as they were.
            if swaps % 2 == 1 {
                renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
            }
            swaps
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Stops, and returns how often it swapped.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn cve_2016_3697_numeric_name_in_passwd() -> Outcome {
    let box_ = Bundle::new();
    box_.file(
        "etc/passwd",
        "1000:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n",
    );
    box_.file("etc/group", "1000:x:0:\n");
    let box_ = box_.idle();
    let ids = ["sh", "-c", "grep -E '^(Uid|Gid)' /proc/self/status"];
    let seen = box_.exec(&["-u", "1000:1000"], &ids).ok();
    let seen = fields(&seen.stdout);
    assert_eq!(seen["Uid"], "1000 1000 1000 1000", "{seen:?}");
    assert_eq!(seen["Gid"], "1000 1000 1000 1000", "{seen:?}");
    Ok(())
}

fn cve_2016_9962_runtime_is_closed_to_the_container_during_exec() -> Outcome {
    // Whatever process appears, its exe is readable only once it is a program of the image.
    let script = "echo ready; while :; do for p in /proc/[0-9]*; do \
         x=$(readlink $p/exe) && [ \"$x\" != /bin/busybox ] && echo \"LEAK $p $x\"; \
         ls $p/root/victim 2>/dev/null | grep -q . && echo \"LEAK $p root\"; \
         done; done 2>/dev/null";
    let box_ = Bundle::sh(script).ready();
    for _ in 0..rounds(50) {
        box_.exec(&[], &["true"]).ok();
    }
    box_.kill_and_wait();
    let seen = box_.rest_of_output();
    assert!(!seen.contains("LEAK"), "{seen}");
    Ok(())
}

/// A copy of the runtime, so that a successful attack hits no one else.
fn copy_of_the_runtime(box_: &Bundle) -> PathBuf {
    let copy = box_.dir().join("runtime");
    fs::copy(bundle::runtime(), &copy).unwrap();
    copy
}

fn with_copy(box_: &Bundle, copy: &Path, args: &[&str]) -> bundle::Output {
    let mut command = Command::new(copy);
    command.arg("--root").arg(box_.state_root()).args(args);
    finish(command.current_dir(box_.dir()).stdin(Stdio::null()))
}

fn cve_2019_5736_runtime_binary_cannot_be_overwritten_from_args() -> Outcome {
    for (program, args) in [
        ("/proc/self/exe", &["/proc/self/exe", "--version"][..]),
        ("/evil", &["/evil"]),
    ] {
        let box_ = Bundle::new().args(args);
        box_.script("evil", "#!/proc/self/exe\n");
        let copy = copy_of_the_runtime(&box_);
        let before = digest(&fs::read(&copy).unwrap());
        box_.write_config();
        with_copy(&box_, &copy, &["run", box_.id()]);
        assert_eq!(digest(&fs::read(&copy).unwrap()), before, "{program}");
        with_copy(&box_, &copy, &["delete", "--force", box_.id()]);
        let box_ = box_.idle();
        with_copy(&box_, &copy, &["exec", box_.id(), program]);
        assert_eq!(
            digest(&fs::read(&copy).unwrap()),
            before,
            "exec of {program}"
        );
    }
    Ok(())
}

fn cve_2019_5736_runtime_binary_cannot_be_overwritten_in_a_race() -> Outcome {
    // Holds every exe that appears, and writes to it once it is no longer busy.
    let script = "echo ready; while :; do for p in /proc/[0-9]*; do \
         [ $p = /proc/1 ] && continue; exec 9< $p/exe || continue; \
         [ \"$(readlink /proc/self/fd/9)\" = /bin/busybox ] && continue; \
         echo pwned > /proc/self/fd/9; echo pwned > $p/exe; done; done 2>/dev/null";
    let box_ = Bundle::sh(script).ready();
    box_.link("bin/evil", "/proc/self/exe");
    let copy = copy_of_the_runtime(&box_);
    let before = digest(&fs::read(&copy).unwrap());
    for n in 0..rounds(40) {
        let program = ["true", "/bin/evil", "/proc/self/exe"][n % 3];
        with_copy(&box_, &copy, &["exec", box_.id(), program]);
    }
    assert_eq!(digest(&fs::read(&copy).unwrap()), before);
    let mode = fs::metadata(&copy).unwrap().mode();
    assert_eq!(
        mode,
        fs::metadata(bundle::runtime()).unwrap().mode(),
        "{mode:o}"
    );
    Ok(())
}

/// A mount that would hide a part of procfs from the runtime.
fn proc_hidden(kind: &str, target: &str) {
    let (source, options) = match kind {
        "bind" => ("fake", &["rbind"][..]),
        _ => ("tmpfs", &[][..]),
    };
    let mut box_ = Bundle::new().args(&["true"]);
    if target == "/proc" {
        box_ = box_.without_mount("/proc");
    }
    let fake = box_.outside("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    fs::write(fake.join("self/attr/exec"), "").unwrap();
    symlink("/proc/self", box_.outside("volume").join("link")).unwrap();
    box_.link("link", "/proc/self");
    let box_ = box_
        .mount("bind", "volume", "/vol", &["rbind"])
        .mount(kind, source, target, options);
    let out = harmless(&box_, &[&fake], target);
    assert!(out.code > 0, "{kind} at {target}: {out:?}");
}

fn cve_2019_16884_proc_replaced_by_a_volume() -> Outcome {
    proc_hidden("bind", "/proc");
    known_elsewhere("takes a tmpfs as /proc", || proc_hidden("tmpfs", "/proc"))
}

fn cve_2019_19921_proc_attr_hidden() -> Outcome {
    let targets = [
        "/proc/self/attr",
        "/proc/thread-self/attr",
        "/proc/1/attr",
        "/proc/sys/net",
    ];
    for target in targets {
        proc_hidden("bind", target);
    }
    known_elsewhere("takes a tmpfs inside /proc", || {
        // The last two are the same through a link of the image, and through one of a volume.
        for target in [
            "/proc/self/attr",
            "/proc/1/attr",
            "/proc/sys/net",
            "/link/attr",
            "/vol/link/attr",
        ] {
            proc_hidden("tmpfs", target);
        }
    })
}

fn links_to(victim: &Path) -> [String; 4] {
    [
        text(victim),
        format!("../../../../../../../../../..{}", victim.display()),
        "../victim".to_owned(),
        "../../victim/dir".to_owned(),
    ]
}

fn cve_2019_18837_mount_target_is_a_link() -> Outcome {
    for n in 0..4 {
        for target in ["/d", "/d/new", "/vol/d", "/vol/d/deep/new"] {
            let mut box_ =
                Bundle::new()
                    .args(&["true"])
                    .mount("bind", "volume", "/vol", &["rbind"]);
            let victim = victim(&box_);
            let link = &links_to(&victim)[n];
            symlink(link, box_.outside("volume").join("d")).unwrap();
            box_.link("d", link);
            box_ = box_.mount("tmpfs", "tmpfs", target, &[]);
            harmless(&box_, &[&victim], &format!("{link} at {target}"));
        }
    }
    Ok(())
}

/// A volume with a directory and a link out of it, swapped all the time while containers mount on
/// it.
fn raced_mounts(target: &str, short: usize) {
    let box_ = Bundle::new()
        .args(&["true"])
        .mount("bind", "volume", "/vol", &["rbind"])
        .mount("tmpfs", "tmpfs", target, &[]);
    let victim = victim(&box_);
    let volume = box_.outside("volume");
    let (dir, link) = (volume.join("d"), volume.join("link"));
    fs::create_dir(&dir).unwrap();
    let up = "../".repeat(12);
    symlink(format!("{up}{}", victim.display()), &link).unwrap();
    let host = Host::before(&box_, &[&victim]);
    box_.write_config();
    let swapper = Swapper::new(dir, link);
    for _ in 0..rounds(short) {
        // It may fail, as the directory is a link half of the time.
        box_.call(&["run", box_.id()]);
        box_.delete_force();
    }
    let swaps = swapper.stop();
    assert!(swaps > 100, "only {swaps} swaps");
    host.unchanged_soon("raced mount target");
}

fn cve_2021_30465_mount_target_swapped_for_a_link() -> Outcome {
    known_elsewhere("resolves and mounts in two steps", || {
        raced_mounts("/vol/d", 60);
    })
}

fn cve_2024_45310_missing_target_swapped_for_a_link() -> Outcome {
    known_elsewhere("makes directories by path", || {
        raced_mounts("/vol/d/a/b", 60);
    })
}

fn cve_2021_43784_lists_over_64_kib() -> Outcome {
    let mut box_ = Bundle::sh("grep -c ' /m' /proc/self/mountinfo");
    for n in 0..600 {
        let target = format!("/m{n}-{}", "x".repeat(100));
        box_ = box_.mount("bind", "volume", &target, &["bind", "ro"]);
    }
    box_.outside("volume");
    let host = Host::before(&box_, &[]);
    box_.run().ok().prints("600");
    host.unchanged("many mounts");
    let masks: Vec<String> = (0..2000)
        .map(|n| format!("/etc/{n}/{}", "y".repeat(60)))
        .collect();
    let box_ = Bundle::new()
        .args(&["echo", "ok"])
        .set("/linux/maskedPaths", json!(masks));
    box_.run().ok().prints("ok");
    Ok(())
}

fn cve_2022_24769_inheritable_capabilities_are_empty() -> Outcome {
    // Also CVE-2022-27650, CVE-2022-29162, CVE-2025-27612.
    let box_ = Bundle::new().idle();
    let init = fields(&proc_file(box_.pid(), "status"));
    let document = json!({
        "user": {"uid": 0, "gid": 0}, "args": ["cat", "/proc/self/status"], "cwd": "/",
        "env": [bundle::config::PATH],
        "capabilities": {
            "bounding": bundle::config::CAPABILITIES,
            "effective": bundle::config::CAPABILITIES,
            "permitted": bundle::config::CAPABILITIES,
        },
    });
    let exec = fields(&box_.exec(&[], &["cat", "/proc/self/status"]).ok().stdout);
    let process = fields(&box_.exec_process(&document).ok().stdout);
    for seen in [init, exec, process] {
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(seen[set], "0000000000000000", "{set}: {seen:?}");
        }
        assert_eq!(seen["CapBnd"], CAPABILITY_MASK, "{seen:?}");
    }
    Ok(())
}

fn cve_2023_25809_cgroups_of_the_host_in_a_user_namespace() -> Outcome {
    let map = bundle::config::id_map(100_000, 65536);
    let script =
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x && echo made $d; done; true";
    let box_ = Bundle::sh(script)
        .without_mount("/sys/fs/cgroup")
        .without_mount("/sys")
        .mount(
            "bind",
            "/sys",
            "/sys",
            &["rbind", "ro", "nosuid", "nodev", "noexec"],
        )
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    chown_tree(&box_.rootfs());
    let out = harmless(&box_, &[], "cgroups of the host");
    assert!(!out.stdout.contains("made"), "{out:?}");
    assert!(out.stderr.contains("mkdir"), "{out:?}");
    Ok(())
}

fn chown_tree(path: &Path) {
    std::os::unix::fs::lchown(path, Some(100_000), Some(100_000)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap().flatten() {
            chown_tree(&entry.path());
        }
    }
}

fn image_directory_is_a_link(name: &str) {
    for target in ["/tmp/fake", "../victim", "tmp/fake", "/nowhere"] {
        let box_ = Bundle::new().args(&["true"]);
        let victim = victim(&box_);
        box_.dir_in("tmp/fake");
        fs::remove_dir(box_.rootfs().join(name)).unwrap();
        box_.link(name, target);
        let out = harmless(&box_, &[&victim], target);
        assert!(out.code > 0, "{name} -> {target}: {out:?}");
    }
}

fn cve_2023_27561_proc_is_a_link_in_the_image() -> Outcome {
    // Also CVE-2023-28642.
    image_directory_is_a_link("proc");
    Ok(())
}

fn cve_2025_54867_sys_is_a_link_in_the_image() -> Outcome {
    image_directory_is_a_link("sys");
    Ok(())
}

/// Prints the secret if the working directory is one of the host's.
fn probe(box_: &Bundle) -> String {
    let up = "../".repeat(16);
    format!(
        "cat {up}{} 2>/dev/null; pwd",
        box_.dir().join("victim/file").display()
    )
}

fn descriptors_to_try() -> u32 {
    u32::try_from(rounds(24)).unwrap().min(1020)
}

fn cve_2024_21626_cwd_in_a_leaked_descriptor() -> Outcome {
    for n in 3..3 + descriptors_to_try() {
        for prefix in ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"] {
            if prefix != "/proc/self/fd" && n > 10 {
                continue;
            }
            let box_ = Bundle::new();
            let victim = victim(&box_);
            let script = probe(&box_);
            let box_ = box_
                .args(&["/bin/sh", "-c", &script])
                .set("/process/cwd", json!(format!("{prefix}/{n}")));
            let out = harmless(&box_, &[&victim], &format!("{prefix}/{n}"));
            // R5: a working directory outside the root is refused.
            assert!(!out.stdout.contains("(unreachable)"), "{n}: {out:?}");
            assert!(!out.stdout.contains("gl-e2e"), "{n}: {out:?}");
        }
    }
    Ok(())
}

fn cve_2024_21626_args_in_a_leaked_descriptor() -> Outcome {
    for n in 3..3 + descriptors_to_try() {
        let box_ = Bundle::new();
        let victim = victim(&box_);
        let escape = format!("/proc/self/fd/{n}/../../../../../../../../bin/sh");
        let script = probe(&box_);
        let box_ = box_.args(&[&escape, "-c", &script]);
        let out = harmless(&box_, &[&victim], &escape);
        assert!(out.code > 0, "{out:?}");
    }
    Ok(())
}

fn cve_2024_21626_exec_in_a_leaked_descriptor() -> Outcome {
    let box_ = Bundle::new();
    let victim = victim(&box_);
    let script = probe(&box_);
    box_.link("tmp/link", "/proc/self/fd/7");
    let box_ = box_.idle();
    let host = Host::before(&box_, &[&victim]);
    for n in 3..3 + descriptors_to_try() {
        for cwd in [format!("/proc/self/fd/{n}"), "/tmp/link".to_owned()] {
            let out = box_.exec(&["--cwd", &cwd], &["sh", "-c", &script]);
            assert!(!out.stdout.contains(SECRET), "{cwd}: {out:?}");
            assert!(!out.stdout.contains("(unreachable)"), "{cwd}: {out:?}");
        }
        let escape = format!("/proc/self/fd/{n}/../../../../../../bin/sh");
        box_.exec(&[], &[&escape, "-c", &script]).failed();
    }
    host.unchanged_soon("exec in leaked descriptors");
    Ok(())
}

/// A bundle whose `/dev` is that of the image.
fn with_dev_of_the_image(script: &str) -> Bundle {
    ["/dev/shm", "/dev/mqueue", "/dev/pts", "/dev"]
        .iter()
        .fold(Bundle::sh(script), |box_, target| {
            box_.without_mount(target)
        })
}

const MASK_PROBE: &str = "stat -c '%F %t:%T' /proc/timer_list /etc/masked";

/// A setting of the UTS namespace: it stands for `core_pattern`, which an attack that succeeds would
/// change for the whole machine.
const SETTING: &str = "/proc/sys/kernel/domainname";

/// Masked files show `/dev/null`, never what a link of the image leads to; or create refused.
#[track_caller]
fn masked_right(out: &bundle::Output, what: &str) {
    if out.code == 0 {
        let lines: Vec<_> = out.stdout.lines().collect();
        let right = lines.len() == 2 && lines.iter().all(|l| *l == "character special file 1:3");
        assert!(right, "{what}: {out:?}");
    }
}

fn cve_2025_31133_dev_null_of_the_image_is_a_link() -> Outcome {
    known_elsewhere("binds what the link leads to", || {
        for target in [SETTING, "/etc/passwd", "../../victim/file", "/etc"] {
            let box_ =
                with_dev_of_the_image(MASK_PROBE).push("/linux/maskedPaths", json!("/etc/masked"));
            let victim = victim(&box_);
            box_.file("etc/masked", "masked");
            box_.link("dev/null", target);
            let out = harmless(&box_, &[&victim], target);
            masked_right(&out, target);
        }
    })
}

fn cve_2025_31133_dev_null_swapped_in_a_race() -> Outcome {
    known_elsewhere("checks and binds in two steps", || {
        let box_ = with_dev_of_the_image(MASK_PROBE)
            .push("/linux/maskedPaths", json!("/etc/masked"))
            .mount("bind", "volume", "/dev", &["rbind"]);
        let victim = victim(&box_);
        box_.file("etc/masked", "masked");
        let volume = box_.outside("volume");
        let (null, link) = (volume.join("null"), volume.join("link"));
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let device = rustix::fs::makedev(1, 3);
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(CWD, &null, kind, mode, device).unwrap();
        symlink(SETTING, &link).unwrap();
        let host = Host::before(&box_, &[&victim]);
        box_.write_config();
        let swapper = Swapper::new(null, link);
        for _ in 0..rounds(40) {
            let out = box_.call(&["run", box_.id()]);
            masked_right(&out, "raced");
            box_.delete_force();
        }
        swapper.stop();
        host.unchanged_soon("raced /dev/null");
    })
}

/// Creates with a terminal, whatever comes of it.
fn create_with_terminal(box_: &Bundle) -> bundle::Output {
    let listener = Listener::new(box_.dir(), "console.sock");
    let out = box_.create_with(&["--console-socket", listener.path()]);
    fs::remove_file(listener.path()).unwrap();
    out
}

fn console_behind(target: &str) {
    let box_ = with_dev_of_the_image("exec sleep 1000").set("/process/terminal", json!(true));
    let victim = victim(&box_);
    box_.link("dev/console", target);
    let host = Host::before(&box_, &[&victim]);
    let passwd = fs::read(box_.rootfs().join("etc/passwd")).unwrap();
    if create_with_terminal(&box_).code == 0 {
        let text = proc_file(box_.pid(), "mountinfo");
        let hit = |path: &&str| mount_at(&text, path).is_some();
        let hits: Vec<_> = [SETTING, "/etc/passwd", "/tmp/new"]
            .into_iter()
            .filter(hit)
            .collect();
        assert!(hits.is_empty(), "{target}: terminal at {hits:?}");
    }
    box_.delete_force().ok();
    let after = fs::read(box_.rootfs().join("etc/passwd")).unwrap();
    assert_eq!(after, passwd, "{target}");
    host.unchanged_soon(target);
}

fn cve_2025_52565_dev_console_is_a_link() -> Outcome {
    known_elsewhere("binds onto what the link leads to", || {
        for target in [SETTING, "../../victim/file", "/etc/passwd", "/tmp/new"] {
            console_behind(target);
        }
    })
}

fn cve_2025_52881_sysctl_written_through_a_volume() -> Outcome {
    // The volume's link leads the mount onto a directory of /proc/sys, where a write would then go.
    let key = "net.ipv4.ip_unprivileged_port_start";
    for target in ["/proc/sys/net/ipv4", "/vol/ipv4", "/ipv4"] {
        let box_ = Bundle::new()
            .args(&["true"])
            .mount("bind", "volume", "/vol", &["rbind"])
            .mount("bind", "fake", target, &["rbind"])
            .set("/linux/sysctl", json!({key: "5"}));
        let fake = box_.outside("fake");
        fs::write(fake.join("ip_unprivileged_port_start"), SECRET).unwrap();
        symlink("/proc/sys/net/ipv4", box_.outside("volume").join("ipv4")).unwrap();
        box_.link("ipv4", "/proc/sys/net/ipv4");
        let out = harmless(&box_, &[&fake], target);
        assert!(out.code > 0, "{target}: {out:?}");
    }
    Ok(())
}

fn dev_behind(make: fn() -> Bundle, n: usize) {
    let box_ = make();
    let victim = victim(&box_);
    let dangling = "/no/where".to_owned();
    let link = links_to(&victim).get(n).cloned().unwrap_or(dangling);
    fs::remove_dir(box_.rootfs().join("dev")).unwrap();
    box_.link("dev", &link);
    harmless(&box_, &[&victim], &format!("/dev -> {link}"));
}

fn cve_2026_41579_dev_is_a_link_to_the_host() -> Outcome {
    // Also CVE-2026-47766. The fifth link dangles.
    known_elsewhere("follows it", || {
        for n in 0..5 {
            dev_behind(|| Bundle::new().args(&["true"]), n);
            dev_behind(|| with_dev_of_the_image("true"), n);
        }
    })
}

fn cve_2026_88264_console_owner_changed_through_a_link() -> Outcome {
    for name in ["console", "tty", "ptmx"] {
        for n in 0..3 {
            let box_ = with_dev_of_the_image("exec sleep 1000")
                .set("/process/terminal", json!(true))
                .set("/process/user", json!({"uid": 1234, "gid": 1234}));
            let victim = victim(&box_);
            let link = format!("{}/{name}", links_to(&victim)[n]);
            box_.link(&format!("dev/{name}"), &link);
            let host = Host::before(&box_, &[&victim]);
            create_with_terminal(&box_);
            box_.delete_force().ok();
            host.unchanged_soon(&format!("{name} -> {link}"));
        }
    }
    Ok(())
}

fn cve_2026_88265_stdio_null_followed_through_a_link() -> Outcome {
    let link_of = |box_: &Bundle, n: usize| format!("{}/null", links_to(&victim(box_))[n]);
    for n in 0..3 {
        let box_ = with_dev_of_the_image("cat; true")
            .set("/process/user", json!({"uid": 1234, "gid": 1234}));
        let link = link_of(&box_, n);
        box_.link("dev/null", &link);
        let victim = box_.outside("victim");
        harmless(&box_, &[&victim], &link);
        assert_eq!(fs::metadata("/dev/null").unwrap().uid(), 0);
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }
    Ok(())
}

fn cve_2022_0492_release_agent_cannot_be_written() -> Outcome {
    let script = "for d in /sys/fs/cgroup/*/; do echo /evil > $d/release_agent && echo wrote; \
         echo 1 > $d/notify_on_release && echo wrote; done; \
         mkdir /tmp/c; mount -t cgroup -o memory x /tmp/c && echo mounted; \
         unshare -Ur sh -c 'mount -t cgroup -o memory x /tmp/c' && echo mounted; true";
    for namespace in [None, Some(json!({"type": "cgroup"}))] {
        let box_ = Bundle::sh(script).namespace("cgroup", namespace);
        let out = harmless(&box_, &[], "release_agent");
        assert_eq!(out.stdout, "", "{out:?}");
    }
    Ok(())
}

fn cve_2024_40635_user_ids_do_not_wrap() -> Outcome {
    // Also CVE-2026-46680.
    for id in [4_294_967_296_u64, 4_294_967_297, 1 << 63] {
        for key in ["uid", "gid"] {
            let box_ = Bundle::new()
                .args(&["id"])
                .set(&format!("/process/user/{key}"), json!(id));
            let out = harmless(&box_, &[], &id.to_string());
            assert!(out.code > 0, "{key} {id}: {out:?}");
        }
    }
    Ok(())
}

fn masked_and_readonly_paths_are_links() -> Outcome {
    for list in ["maskedPaths", "readonlyPaths"] {
        for n in 0..4 {
            let box_ = Bundle::sh("cat /link/file /link/null; true")
                .push(&format!("/linux/{list}"), json!("/link"));
            let victim = victim(&box_);
            box_.link("link", &links_to(&victim)[n]);
            harmless(&box_, &[&victim], &format!("{list} {n}"));
        }
    }
    Ok(())
}

fn device_target_is_a_link_to_the_host() -> Outcome {
    for n in 0..4 {
        for path in ["/link/new", "/link/file"] {
            let device = json!([{"path": path, "type": "c", "major": 1, "minor": 3, "uid": 1234}]);
            let box_ = Bundle::new().args(&["true"]).set("/linux/devices", device);
            let victim = victim(&box_);
            box_.link("link", &links_to(&victim)[n]);
            harmless(&box_, &[&victim], &format!("device {path} {n}"));
        }
    }
    Ok(())
}

fn working_directory_is_a_link_to_the_host() -> Outcome {
    for n in 0..4 {
        let box_ = Bundle::new();
        let victim = victim(&box_);
        let script = probe(&box_);
        let box_ = box_
            .args(&["/bin/sh", "-c", &script])
            .set("/process/cwd", json!("/link/new/dir"));
        box_.link("link", &links_to(&victim)[n]);
        harmless(&box_, &[&victim], &format!("cwd {n}"));
    }
    Ok(())
}

fn passwd_of_the_image_is_hostile() -> Outcome {
    // A link to a file of the host, a fifo, a device that never ends, a huge file.
    let secret = "gl:x:0:0::/precious:/bin/sh\n";
    let box_ = Bundle::sh("echo home $HOME");
    fs::remove_file(box_.rootfs().join("etc/passwd")).unwrap();
    let target = box_.outside("victim").join("passwd");
    fs::write(&target, secret).unwrap();
    box_.link("etc/passwd", &text(&target));
    let out = box_.run();
    assert!(!out.stdout.contains("precious"), "{out:?}");
    let box_ = Bundle::sh("echo home $HOME");
    let lines = "x".repeat(100) + "\n";
    fs::write(box_.rootfs().join("etc/passwd"), lines.repeat(100_000)).unwrap();
    let out = box_.run().ok();
    assert!(
        matches!(out.stdout.trim_end(), "home" | "home /"),
        "{out:?}"
    );
    known_elsewhere("reads without an end", || {
        let box_ = Bundle::sh("echo home $HOME");
        let path = box_.rootfs().join("etc/passwd");
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(CWD, &path, rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
        let out = box_.run();
        assert!(out.code > 0 || out.stdout == "home /\n", "{out:?}");
    })
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn string(&mut self, alphabet: &[&str]) -> String {
        let length = 1 + self.next() % 12;
        let mut pick = || {
            let index = self.next() % u64::try_from(alphabet.len()).unwrap();
            alphabet[usize::try_from(index).unwrap()]
        };
        (0..length).map(|_| pick()).collect()
    }
}

fn ids_and_cgroup_paths_at_random_stay_inside() -> Outcome {
    let alphabet = [
        "a", ".", "..", "/", "-", "_", "+", " ", "\n", "~", "é", "../", "%", "\\", ":", "@",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let box_ = Bundle::new();
    let victim = victim(&box_);
    box_.write_config();
    let host = Host::before(&box_, &[&victim]);
    for _ in 0..rounds(60) {
        let id = random.string(&alphabet);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        let valid = id.chars().all(allowed) && id != "." && id != "..";
        for verb in [
            &["state"][..],
            &["delete", "--force"],
            &["create"],
            &["delete", "--force"],
        ] {
            let mut args = verb.to_vec();
            // A leading dash would be an option.
            args.extend(["--", &id]);
            let out = box_.call(&args);
            if !valid && verb != ["delete", "--force"] {
                assert!(out.code > 0, "{id:?}: {out:?}");
            }
        }
        host.unchanged_soon(&id);
    }
    for _ in 0..rounds(30) {
        let path = format!("/{}{}/{}", bundle::tag(), "path", random.string(&alphabet));
        let box_ = Bundle::new()
            .args(&["true"])
            .set("/linux/cgroupsPath", json!(path));
        let out = box_.run();
        assert!(out.code >= 0, "{path:?}: {out:?}");
    }
    remove_cgroups_of_this_test();
    Ok(())
}

fn remove_cgroups_of_this_test() {
    for dir in bundle::host::cgroups_of(&bundle::tag()).iter().rev() {
        fs::remove_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    }
}

fn pid_that_was_used_again_is_no_container() -> Outcome {
    let box_ = Bundle::new().started();
    let pid = box_.pid();
    box_.kill("KILL").ok();
    wait_dead(pid);
    if !has_pidfs() {
        // Two processes that start in one tick of the clock cannot be told apart there.
        std::thread::park_timeout(Duration::from_millis(30));
    }
    let Some(mut stranger) = process_with_pid(pid) else {
        return Err(Skip("the kernel gave the pid to nobody of ours".to_owned()));
    };
    let seen = (box_.status(), box_.kill("KILL"), box_.delete());
    let alive = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(alive, "a stranger was killed: {seen:?}");
    assert_eq!(seen.0, "stopped", "{seen:?}");
    seen.1.status(1).says("container not running");
    seen.2.ok();
    Ok(())
}

/// Whether a pidfd tells its process from all others: since Linux 6.9.
fn has_pidfs() -> bool {
    let own = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::fs::fstatfs(&pidfd).unwrap().f_type == 0x5049_4446
}

/// Starts processes until one has the pid.
fn process_with_pid(pid: i32) -> Option<std::process::Child> {
    for _ in 0..200 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        if i32::try_from(child.id()).unwrap() == pid {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    None
}

fn mount_source_of_the_image_is_no_source_of_the_host() -> Outcome {
    // A relative source is below the bundle, never below the caller's directory.
    let box_ =
        Bundle::new()
            .args(&["cat", "/mnt/file"])
            .mount("bind", "volume", "/mnt", &["rbind"]);
    let victim = victim(&box_);
    fs::create_dir(victim.join("volume")).unwrap();
    fs::write(victim.join("volume/file"), SECRET).unwrap();
    fs::write(box_.outside("volume").join("file"), "of the bundle").unwrap();
    box_.write_config();
    let dir = text(box_.dir());
    let mut command = box_.command(&["run", "--bundle", &dir, box_.id()]);
    finish(command.current_dir(&victim))
        .ok()
        .prints("of the bundle");
    Ok(())
}

fn hook_inside_cannot_reach_the_host() -> Outcome {
    // SPEC: a hook that runs inside is a program of the image, so it gets nothing of the host.
    known_elsewhere("hooks inside inherit the gate", || {
        let box_ = Bundle::new().args(&["true"]);
        let victim = victim(&box_);
        let script = format!(
            "for f in /proc/self/fd/*; do cat $f/../victim/file $f/../../victim/file $f{}; done \
             2>/dev/null >> /tmp/seen; ls -l /proc/self/fd >> /tmp/seen",
            victim.join("file").display()
        );
        let hook: Value = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let box_ = box_.push("/hooks/startContainer", hook);
        harmless(&box_, &[&victim], "hook");
        let seen = fs::read_to_string(box_.rootfs().join("tmp/seen")).unwrap();
        assert!(
            !seen.contains(SECRET) && !seen.contains(box_.id()),
            "{seen}"
        );
    })
}

fn state_directory_is_closed_to_others() -> Outcome {
    let box_ = Bundle::new();
    box_.create().ok();
    let dir = box_.state_root().join(box_.id());
    let mode = fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o066, 0, "{mode:o}");
    known_elsewhere("lets anyone write to the gate", || {
        let box_ = Bundle::new();
        box_.create().ok();
        for entry in fs::read_dir(box_.state_root().join(box_.id()))
            .unwrap()
            .flatten()
        {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o002, 0, "{} {mode:o}", entry.path().display());
        }
    })
}
