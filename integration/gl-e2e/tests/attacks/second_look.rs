//! What a second look at the launch path found, each kept from coming back.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use gl_e2e::bundle::config::id_map;
use gl_e2e::bundle::{self, Bundle, Host, finish, known_elsewhere, rounds};
use gl_e2e::{Outcome, Skip, Test, tests};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use super::ground::with_capability;

/// Set for the process that looks for prey, see [`spy`].
const SPY: &str = "GL_E2E_SPY";

pub(crate) const TESTS: &[Test] = tests![
    exec_is_never_on_the_root_of_the_host_where_the_container_sees_it,
    helper_for_id_maps_is_closed_to_root_without_capabilities,
    masked_file_does_not_lead_to_the_null_device_of_the_host,
    stream_does_not_lead_to_the_null_device_of_the_host,
    stream_that_is_a_device_keeps_its_owner,
    session_keyring_of_the_caller_stays_outside,
    session_keyring_made_before_by_name_is_not_joined,
    pidfd_socket_without_a_listener_leaves_no_container,
    pidfd_socket_without_a_listener_leaves_no_exec,
    sysfs_of_the_host_shows_its_cgroups_read_only,
    recursive_read_only_of_a_cgroup_mount_is_heard,
    bind_on_proc_with_a_source_in_the_bundle_is_refused,
    root_as_a_masked_or_readonly_path_is_refused,
    passwd_behind_a_link_into_procfs_is_not_read,
    sysctl_of_a_joined_namespace_of_the_host_is_refused,
    name_of_a_joined_namespace_of_the_host_is_refused,
    hook_inside_the_container_runs_under_its_filter,
    root_moved_without_pivot_leaves_no_view_of_the_host,
    hook_that_left_its_group_ends_with_its_time,
    hook_with_the_longest_timeout_runs,
    cgroup_frozen_by_the_container_does_not_keep_it_from_deletion,
];

/// Does what this program was started for by one of its tests; nothing in the program itself.
pub(crate) fn helper() -> Option<ExitCode> {
    let path = std::env::var_os(SPY)?;
    spy(Path::new(&path))
}

fn exec_is_never_on_the_root_of_the_host_where_the_container_sees_it() -> Outcome {
    let box_ = with_capability(Bundle::new(), "CAP_SYS_PTRACE");
    let prey = box_.dir().join("config.json");
    let script = format!(
        "echo ready; while :; do for p in /proc/[0-9]*; do \
         [ -e $p/root{0} ] && echo \"LEAK $p\"; done; done 2>/dev/null",
        prey.display()
    );
    let box_ = box_.args(&["/bin/sh", "-c", &script]).ready();
    for _ in 0..rounds(50) {
        box_.exec(&[], &["true"]).ok();
    }
    box_.kill_and_wait();
    let seen = box_.rest_of_output();
    assert!(!seen.contains("LEAK"), "{seen}");
    Ok(())
}

/// Looks through the root of every process of the runtime that comes, for a file of the host; prints
/// the name of each process that let it. Never returns: its end is the end of its reader.
#[expect(clippy::print_stdout, reason = "it reports over its output")]
fn spy(prey: &Path) -> ! {
    let prey = prey.strip_prefix("/").unwrap();
    println!("ready");
    loop {
        let load = fs::read_to_string("/proc/loadavg").unwrap();
        let last: u32 = load.split_whitespace().last().unwrap().parse().unwrap();
        for pid in last.saturating_sub(6)..last + 3 {
            let dir = Path::new("/proc").join(pid.to_string());
            if pid != std::process::id() && fs::metadata(dir.join("root").join(prey)).is_ok() {
                let name = fs::read_to_string(dir.join("comm")).unwrap_or_default();
                println!("LEAK {}", name.trim_end());
            }
        }
    }
}

/// Ends a helper process with its scope.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn helper_for_id_maps_is_closed_to_root_without_capabilities() -> Outcome {
    known_elsewhere("its helper can be looked into", || {
        let box_ = Bundle::new()
            .args(&["true"])
            .mount("bind", "volume", "/vol", &["rbind", "idmap"])
            .set("/mounts/7/uidMappings", id_map(100_000, 65536))
            .set("/mounts/7/gidMappings", id_map(100_000, 65536));
        box_.outside("volume");
        box_.write_config();
        // As root of a container that has the pid namespace of the host and no capability.
        let mut spy = Ending(
            Command::new("setpriv")
                .args(["--bounding-set=-all", "--inh-caps=-all", "--"])
                .arg(std::env::current_exe().unwrap())
                .env(SPY, box_.dir().join("config.json"))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(spy.0.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert_eq!(first, "ready\n");
        for _ in 0..rounds(60) {
            box_.call(&["run", box_.id()]).ok();
        }
        spy.0.kill().unwrap();
        let mut seen = String::new();
        lines.read_to_string(&mut seen).unwrap();
        // Others may run such processes on this machine; ours has the runtime's name.
        let runtime = bundle::runtime();
        let name = runtime.file_name().unwrap().to_str().unwrap();
        let leaks = seen
            .lines()
            .filter(|line| line.ends_with("greenlang") || line.ends_with(name));
        assert_eq!(leaks.count(), 0, "{seen}");
    })
}

/// Puts the host's null device right again should a test have failed.
struct Null;

impl Drop for Null {
    fn drop(&mut self) {
        chown("/dev/null", Some(0), Some(0)).unwrap();
        fs::set_permissions("/dev/null", fs::Permissions::from_mode(0o666)).unwrap();
    }
}

fn masked_file_does_not_lead_to_the_null_device_of_the_host() -> Outcome {
    let _null = Null;
    let script = "for f in /proc/keys /proc/timer_list /proc/kcore; do \
         chmod 0667 $f; chown 7 $f; echo x > $f; cat $f; done 2>/dev/null; true";
    let box_ = Bundle::sh(script);
    let host = Host::before(&box_, &[]);
    assert_eq!(box_.run().ok().stdout, "");
    host.unchanged_soon("mode of a masked file");
    Ok(())
}

fn stream_does_not_lead_to_the_null_device_of_the_host() -> Outcome {
    let _null = Null;
    let script = "chmod 0667 /proc/self/fd/0; chown 7 /proc/self/fd/0; \
         cat <&0 && echo x > /proc/self/fd/0 && echo works";
    let box_ = Bundle::sh(script);
    let host = Host::before(&box_, &[]);
    assert_eq!(box_.run().ok().stdout, "works\n");
    host.unchanged_soon("mode of stdin");
    let box_ = box_.idle();
    let host = Host::before(&box_, &[]);
    let seen = box_.exec(&[], &["/bin/sh", "-c", script]).ok().stdout;
    assert_eq!(seen, "works\n");
    host.unchanged_soon("mode of stdin of an exec");
    Ok(())
}

fn stream_that_is_a_device_keeps_its_owner() -> Outcome {
    known_elsewhere("gives it to the user", || {
        let box_ = Bundle::new()
            .args(&["true"])
            .set("/process/user", json!({"uid": 1234, "gid": 1234}));
        let zero = box_.outside("victim").join("zero");
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, &zero, FileType::CharacterDevice, mode, makedev(1, 5)).unwrap();
        box_.write_config();
        let mut command = box_.command(&["run", box_.id()]);
        finish(command.stdin(File::open(&zero).unwrap())).ok();
        assert_eq!(fs::metadata(&zero).unwrap().uid(), 0);
    })
}

/// Calls `keyctl(2)` or `add_key(2)`.
#[expect(unsafe_code, reason = "no wrapper of these calls is at hand")]
fn keys(call: libc::c_long, arguments: [usize; 5]) -> libc::c_long {
    let [a, b, c, d, e] = arguments;
    // SAFETY: every caller passes numbers, and pointers to string literals that live for ever.
    let got = unsafe { libc::syscall(call, a, b, c, d, e) };
    assert!(got >= 0, "{}", std::io::Error::last_os_error());
    got
}

/// Makes a session keyring of this name, with a key in it that only its possessors see.
fn join_session(name: &std::ffi::CStr) {
    let number = |value: libc::c_long| usize::try_from(value).unwrap();
    let keyctl = |a: u32, b: usize, c: usize| keys(libc::SYS_keyctl, [a as usize, b, c, 0, 0]);
    let pointer = |text: &std::ffi::CStr| text.as_ptr().expose_provenance();
    let session = keyctl(libc::KEYCTL_JOIN_SESSION_KEYRING, pointer(name), 0);
    keyctl(libc::KEYCTL_SETPERM, number(session), 0x3f3f_3f3f);
    let key = keys(
        libc::SYS_add_key,
        [
            pointer(c"user"),
            pointer(c"gl-e2e-secret"),
            pointer(c"s"),
            1,
            number(session),
        ],
    );
    keyctl(libc::KEYCTL_SETPERM, number(key), 0x3f00_0000);
}

const KEYS: [&str; 2] = ["cat", "/proc/keys"];

fn session_keyring_of_the_caller_stays_outside() -> Outcome {
    join_session(c"gl-e2e-session");
    let box_ = || Bundle::new().unset("/linux/maskedPaths");
    let seen = box_().args(&KEYS).run().ok().stdout;
    assert!(!seen.contains("gl-e2e-secret"), "run: {seen}");
    let idle = box_().idle();
    let seen = idle.exec(&[], &KEYS).ok().stdout;
    assert!(!seen.contains("gl-e2e-secret"), "exec: {seen}");
    // Where the caller wants it, it is seen: the test would see it elsewhere, too.
    let kept = box_().args(&["sleep", "1000"]);
    kept.create_with(&["--no-new-keyring"]).ok();
    let seen = kept.exec(&[], &KEYS).ok().stdout;
    assert!(seen.contains("gl-e2e-secret"), "kept: {seen}");
    Ok(())
}

fn session_keyring_made_before_by_name_is_not_joined() -> Outcome {
    known_elsewhere("names it by the id", || {
        let box_ = Bundle::new()
            .with_id("gl-e2e-named-keyring")
            .unset("/linux/maskedPaths")
            .args(&KEYS);
        join_session(c"_ses.gl-e2e-named-keyring");
        let seen = box_.run().ok().stdout;
        assert!(!seen.contains("gl-e2e-secret"), "{seen}");
    })
}

fn pidfd_socket_without_a_listener_leaves_no_container() -> Outcome {
    known_elsewhere("leaves its init behind", || {
        let box_ = Bundle::new();
        let host = Host::before(&box_, &[]);
        box_.create_with(&["--pidfd-socket", "nobody.sock"])
            .failed();
        host.unchanged_soon("create with a dead pidfd socket");
    })
}

fn pidfd_socket_without_a_listener_leaves_no_exec() -> Outcome {
    known_elsewhere("runs it all the same", || {
        let box_ = Bundle::new().idle();
        let host = Host::before(&box_, &[]);
        let flags = ["--detach", "--pidfd-socket", "nobody.sock"];
        box_.exec(&flags, &["sleep", "1000"]).status(255);
        host.unchanged_soon("exec with a dead pidfd socket");
    })
}

fn sysfs_of_the_host_shows_its_cgroups_read_only() -> Outcome {
    known_elsewhere("cannot do without the network namespace", || {
        let box_ = Bundle::new();
        let script = format!(
            "for d in /sys/fs/cgroup/*/{}; do mkdir $d/made && echo made $d; done; true",
            box_.id()
        );
        // The owner of the host's cgroups is in the map: only the mounts can keep it from writing.
        let box_ = box_
            .args(&["/bin/sh", "-c", &script])
            .without_mount("/sys/fs/cgroup")
            .unset("/linux/resources")
            .namespace("network", None)
            .namespace("user", Some(json!({"type": "user"})))
            .set("/linux/uidMappings", id_map(0, 65536))
            .set("/linux/gidMappings", id_map(0, 65536));
        let out = box_.run().ok();
        assert!(!out.stdout.contains("made"), "{out:?}");
        assert!(out.stderr.contains("mkdir"), "{out:?}");
    })
}

fn recursive_read_only_of_a_cgroup_mount_is_heard() -> Outcome {
    known_elsewhere("knows rro of binds only", || {
        let box_ = Bundle::sh("for d in /sys/fs/cgroup/*/; do mkdir $d/x && echo made; done; true")
            .without_mount("/sys/fs/cgroup")
            .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rro", "nosuid"]);
        let out = box_.run().ok();
        assert_eq!(out.stdout, "", "{out:?}");
        assert!(out.stderr.contains("mkdir"), "{out:?}");
    })
}

fn bind_on_proc_with_a_source_in_the_bundle_is_refused() -> Outcome {
    let box_ = Bundle::new().args(&["true"]).without_mount("/proc").mount(
        "bind",
        "proc",
        "/proc",
        &["rbind"],
    );
    box_.outside("proc");
    box_.run().failed();
    Ok(())
}

fn root_as_a_masked_or_readonly_path_is_refused() -> Outcome {
    known_elsewhere("passes over it", || {
        for field in ["readonlyPaths", "maskedPaths"] {
            let box_ = Bundle::new().args(&["true"]);
            let box_ = box_.set(&format!("/linux/{field}"), json!(["/"]));
            box_.run().failed().says(field);
        }
    })
}

fn passwd_behind_a_link_into_procfs_is_not_read() -> Outcome {
    known_elsewhere("waits for messages of the kernel", || {
        let box_ = Bundle::sh("echo $HOME");
        fs::remove_file(box_.rootfs().join("etc/passwd")).unwrap();
        // What is read from this file is gone for everybody else.
        symlink("/proc/kmsg", box_.rootfs().join("etc/passwd")).unwrap();
        assert_eq!(box_.run().ok().stdout, "/\n");
    })
}

fn sysctl_of_a_joined_namespace_of_the_host_is_refused() -> Outcome {
    for (kind, file, key) in [
        ("network", "net", "net.ipv4.ip_local_port_range"),
        ("ipc", "ipc", "kernel.msgmax"),
    ] {
        let host = format!("/proc/{}/ns/{file}", std::process::id());
        let setting = format!("/proc/sys/{}", key.replace('.', "/"));
        // Should it be written all the same, nothing changes.
        let value = fs::read_to_string(setting).unwrap().trim().to_owned();
        let box_ = Bundle::new()
            .args(&["true"])
            .namespace(kind, Some(json!({"type": kind, "path": host})))
            .set("/linux/sysctl", json!({key: value}));
        let out = box_.run();
        if out.code == 0 && kind == "ipc" && !bundle::is_greenlang() {
            // Only that of the network is looked at elsewhere.
            continue;
        }
        out.failed().says(key);
    }
    Ok(())
}

fn name_of_a_joined_namespace_of_the_host_is_refused() -> Outcome {
    known_elsewhere("sets it for the host", || {
        for key in ["hostname", "domainname"] {
            // The host's own name, so that nothing changes if it is set all the same.
            let own = fs::read_to_string(format!("/proc/sys/kernel/{key}")).unwrap();
            let host = format!("/proc/{}/ns/uts", std::process::id());
            let box_ = Bundle::new()
                .args(&["true"])
                .unset("/hostname")
                .namespace("uts", Some(json!({"type": "uts", "path": host})))
                .set(&format!("/{key}"), json!(own.trim()));
            box_.run().failed().says(key);
        }
    })
}

fn hook_inside_the_container_runs_under_its_filter() -> Outcome {
    known_elsewhere("runs hooks before the filter", || {
        let script = "grep -w Seccomp /proc/self/status > /seen; mkdir /made 2>> /seen; true";
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let box_ = Bundle::sh("cat /seen; ls -d /made")
            .set("/root/readonly", json!(false))
            .set("/hooks", json!({"startContainer": [hook]}))
            .set(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
                }),
            );
        let seen = box_.run().stdout;
        assert!(seen.starts_with("Seccomp:\t2\n"), "{seen}");
        assert!(seen.contains("Operation not permitted"), "{seen}");
    })
}

fn root_moved_without_pivot_leaves_no_view_of_the_host() -> Outcome {
    // A user namespace gets a procfs without masks where it finds a complete one.
    const SCRIPT: &str =
        "unshare -Urpmf mount -t proc proc /mnt && echo seen; echo end; exec sleep 1000";
    known_elsewhere("hides less", || {
        let box_ = with_capability(Bundle::new(), "CAP_SYS_ADMIN").args(&["/bin/sh", "-c", SCRIPT]);
        box_.dir_in("mnt");
        box_.create_with(&["--no-pivot"]).ok();
        box_.start().ok();
        let output = box_.wait_for("end");
        assert!(!output.contains("seen"), "{output}");
    })
}

fn hook_that_left_its_group_ends_with_its_time() -> Outcome {
    const PERL: &str = "/usr/bin/perl";
    if fs::metadata(PERL).is_err() {
        return Err(Skip(format!(
            "no {PERL}, with which a hook changes its group"
        )));
    }
    known_elsewhere("waits for it", || {
        // Its child makes a group, and the hook moves there.
        let script = "if (!($p = fork)) { setpgrp; sleep 2; exit } \
             select undef, undef, undef, .2; setpgrp 0, $p; sleep 1000";
        let hook = json!({"path": PERL, "args": ["perl", "-e", script], "timeout": 1});
        let box_ = Bundle::new()
            .args(&["true"])
            .set("/hooks", json!({"createRuntime": [hook]}));
        box_.run().failed().says("not done after 1 s");
    })
}

fn hook_with_the_longest_timeout_runs() -> Outcome {
    let hook = json!({"path": "/bin/true", "timeout": i64::MAX});
    let box_ = Bundle::new().args(&["true"]).set(
        "/hooks",
        json!({"createRuntime": [hook], "poststop": [hook]}),
    );
    let out = box_.run();
    if out.code != 0 && !bundle::is_greenlang() {
        return Err(Skip("another runtime's timeouts are shorter".to_owned()));
    }
    out.ok();
    Ok(())
}

fn cgroup_frozen_by_the_container_does_not_keep_it_from_deletion() -> Outcome {
    known_elsewhere("waits for it", || {
        let script = "cd /sys/fs/cgroup/freezer && mkdir sub && { sleep 1000 & } && \
             echo $! > sub/cgroup.procs && echo FROZEN > sub/freezer.state && echo ready; wait";
        let box_ = Bundle::sh(script)
            .without_mount("/sys/fs/cgroup")
            .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid"])
            .ready();
        box_.delete_force().ok();
        let left = bundle::host::cgroups_of(box_.id());
        assert!(left.is_empty(), "{left:?}");
    })
}
