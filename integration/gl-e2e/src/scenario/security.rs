//! Capabilities, seccomp, `no_new_privs`, devices, privileged containers.

use std::fs;

use serde_json::json;

use crate::command::fail;
use crate::engine::{Container, Engine, Kind, is_greenlang, text};
use crate::kernel::status;
use crate::{Outcome, Skip};

const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const CHOWN: u64 = 1;

/// A capability set of the container's first process, by its name in `/proc/PID/status`.
#[track_caller]
fn set(container: &Container<'_>, name: &str) -> u64 {
    let hex = status(container.pid(), name);
    u64::from_str_radix(&hex, 16).unwrap_or_else(|e| fail(&format!("{name} is {hex}: {e}")))
}

/// Without options root has a small set, the same in all three, and passes none on.
pub fn capabilities_are_few_by_default(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let effective = set(&container, "CapEff");
    assert_eq!(effective & (SYS_ADMIN | NET_ADMIN), 0, "{effective:#x}");
    assert_eq!(effective & CHOWN, CHOWN, "{effective:#x}");
    assert_eq!(set(&container, "CapPrm"), effective);
    assert_eq!(set(&container, "CapBnd"), effective);
    assert_eq!(
        (set(&container, "CapInh"), set(&container, "CapAmb")),
        (0, 0)
    );
    Ok(())
}

/// `--cap-add` gives the capability, and the call that needs it works.
pub fn cap_add_allows_the_call(engine: &Engine) -> Outcome {
    let without = engine.sh(&[], "ip link set lo down");
    assert!(without.refused().contains("not permitted"), "{without}");
    engine
        .sh(&["--cap-add=NET_ADMIN"], "ip link set lo down")
        .ok();
    let container = engine.sleeper(&["--cap-add=NET_ADMIN"]);
    for name in ["CapEff", "CapPrm", "CapBnd"] {
        let bits = set(&container, name);
        assert_eq!(bits & NET_ADMIN, NET_ADMIN, "{name} {bits:#x}");
    }
    Ok(())
}

/// `--cap-drop` takes it away, from the bounding set too, and the call fails.
pub fn cap_drop_denies_the_call(engine: &Engine) -> Outcome {
    let script = "touch /tmp/f; chown 1 /tmp/f";
    engine.sh(&[], script).ok();
    let out = engine.sh(&["--cap-drop=CHOWN"], script);
    assert!(out.refused().contains("not permitted"), "{out}");
    let container = engine.sleeper(&["--cap-drop=ALL"]);
    for name in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        assert_eq!(set(&container, name), 0, "{name}");
    }
    Ok(())
}

/// The engine's own seccomp list is in force, for an exec too. Docker's has no user namespaces.
pub fn seccomp_default_is_in_force(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    assert_eq!(status(container.pid(), "Seccomp"), "2");
    let exec = container.exec(&[], &["grep", "Seccomp:", "/proc/self/status"]);
    assert_eq!(exec.ok(), "Seccomp:\t2", "{exec}");
    if engine.kind == Kind::Docker {
        let out = container.exec(&[], &["unshare", "-U", "true"]);
        assert!(out.refused().contains("not permitted"), "{out}");
        engine
            .run(
                &["--security-opt=seccomp=unconfined"],
                &["unshare", "-U", "true"],
            )
            .ok();
    }
    Ok(())
}

/// `seccomp=FILE`: the calls that the file denies fail with its errno, for exec too; others work.
pub fn seccomp_file_denies_its_calls(engine: &Engine) -> Outcome {
    let file = engine.directory().join("seccomp.json");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
            { "names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO" },
        ],
    });
    fs::write(&file, profile.to_string()).expect("write a seccomp profile");
    let option = format!("--security-opt=seccomp={}", text(&file));
    let script = "mkdir /tmp/d; chmod 700 /tmp; touch /tmp/works && echo done";
    let out = engine.sh(&[&option], script);
    let container = engine.sleeper(&[&option]);
    let exec = container.exec_sh(script);
    for out in [out, exec] {
        assert_eq!(out.ok(), "done", "{out}");
        assert!(
            out.stderr
                .contains("mkdir: can't create directory '/tmp/d': No space left"),
            "errnoRet 28: {out}"
        );
        assert!(
            out.stderr.contains("chmod: /tmp: Operation not permitted"),
            "{out}"
        );
    }
    Ok(())
}

/// A filter that kills ends the program with SIGSYS.
pub fn seccomp_kill_ends_the_process(engine: &Engine) -> Outcome {
    let file = engine.directory().join("seccomp.json");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }],
    });
    fs::write(&file, profile.to_string()).expect("write a seccomp profile");
    let option = format!("--security-opt=seccomp={}", text(&file));
    let out = engine.sh(&[&option], "mkdir /tmp/d; echo $?");
    assert_eq!(out.ok(), "159", "128 and SIGSYS: {out}");
    Ok(())
}

/// `seccomp=unconfined`: no filter.
pub fn seccomp_unconfined_has_no_filter(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--security-opt=seccomp=unconfined"]);
    assert_eq!(status(container.pid(), "Seccomp"), "0");
    let exec = container.exec(&[], &["grep", "Seccomp:", "/proc/self/status"]);
    assert_eq!(exec.ok(), "Seccomp:\t0", "{exec}");
    Ok(())
}

/// `no-new-privileges`: a set-user-id program gains nothing, in an exec neither.
pub fn no_new_privileges_disarms_setuid(engine: &Engine) -> Outcome {
    let become_root = ["/suid/su", "root", "-c", "id -u"];
    let without = engine.run(&["--user=1000"], &become_root);
    assert_eq!(
        without.ok(),
        "0",
        "the program of the test must work without the option: {without}"
    );
    let options = ["--user=1000", "--security-opt=no-new-privileges"];
    let with = engine.run(&options, &become_root);
    assert!(!with.stdout.contains('0'), "became root: {with}");
    assert!(with.refused().contains("suid"), "{with}");
    let container = engine.sleeper(&options);
    assert_eq!(status(container.pid(), "NoNewPrivs"), "1");
    let exec = container.exec(&[], &become_root);
    assert!(exec.refused().contains("suid"), "{exec}");
    Ok(())
}

/// So that the cgroup alone denies a device: Podman 5 gives no container this capability by default.
const MKNOD: &str = "--cap-add=MKNOD";

/// `--device` makes a node that can be used; the cgroup denies a node that was not given.
pub fn device_is_usable_and_others_are_not(engine: &Engine) -> Outcome {
    let Some(device) = some_device() else {
        return Err(Skip(
            "none of fuse, net/tun, loop-control in /dev".to_owned(),
        ));
    };
    let option = format!("--device={device}:/dev/given");
    let script = "stat -c %t:%T /dev/given; exec 3<>/dev/given && echo opened; exec 3>&-;
         mknod /tmp/kmsg c 1 11; exec 4<>/tmp/kmsg && echo opened kmsg";
    let out = engine.sh(&[MKNOD, &option], script);
    let here = fs::metadata(&device).unwrap_or_else(|e| fail(&format!("{device}: {e}")));
    let number = std::os::unix::fs::MetadataExt::rdev(&here);
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    assert_eq!(
        out.stdout,
        format!("{major:x}:{minor:x}\nopened\n"),
        "{out}"
    );
    assert!(
        out.stderr.contains("/tmp/kmsg: Operation not permitted"),
        "{out}"
    );

    let script = format!("mknod /tmp/n c {major} {minor}; exec 3<>/tmp/n && echo opened");
    let out = engine.sh(&[MKNOD], &script);
    assert!(
        out.refused().contains("/tmp/n: Operation not permitted"),
        "without --device: {out}"
    );
    Ok(())
}

/// `--device …:r` allows reading alone.
pub fn device_rights_are_kept(engine: &Engine) -> Outcome {
    let Some(device) = some_device() else {
        return Err(Skip(
            "none of fuse, net/tun, loop-control in /dev".to_owned(),
        ));
    };
    let option = format!("--device={device}:/dev/given:r");
    let out = engine.sh(
        &[&option],
        "exec 3</dev/given && echo read; exec 4>/dev/given && echo wrote",
    );
    assert_eq!(out.stdout, "read\n", "{out}");
    assert!(
        out.stderr.contains("/dev/given: Operation not permitted"),
        "{out}"
    );
    Ok(())
}

/// `--device-cgroup-rule` lets the container make and use a device by number.
pub fn device_cgroup_rule_allows_a_number(engine: &Engine) -> Outcome {
    let script = "mknod /tmp/kmsg c 1 11 && exec 3>/tmp/kmsg && echo opened";
    let out = engine.sh(&[MKNOD, "--device-cgroup-rule=c 1:11 rwm"], script);
    assert_eq!(out.ok(), "opened", "{out}");
    Ok(())
}

/// `--privileged`: all capabilities, no filter, all devices, writable `/proc/sys` and `/sys`.
pub fn privileged_lifts_the_restrictions(engine: &Engine) -> Outcome {
    all_capabilities_or_skip()?;
    let container = engine.sleeper(&["--privileged"]);
    assert_all_capabilities(&status(container.pid(), "CapEff"));
    assert_eq!(status(container.pid(), "Seccomp"), "0");
    let script = "mkdir /tmp/m && mount -t tmpfs tmpfs /tmp/m && echo mounted;
        exec 3>/dev/kmsg && echo kmsg;
        grep -E ' (/proc/sys|/proc/kcore|/sys/firmware) ' /proc/mounts;
        grep ' /sys sysfs ' /proc/mounts | awk '{print $4}' | cut -d, -f1;
        echo 5 >/proc/sys/net/ipv4/ip_default_ttl && cat /proc/sys/net/ipv4/ip_default_ttl";
    let out = container.exec_sh(script);
    assert_eq!(out.ok(), "mounted\nkmsg\nrw\n5", "{out}");
    Ok(())
}

/// An engine asks for all capabilities that the kernel knows, which this machine may lack. The
/// specification has the runtime warn and go on; some runtimes end with an error.
pub(super) fn all_capabilities_or_skip() -> Outcome {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    let last: u32 = last.trim().parse().unwrap_or(63);
    let here = u64::from_str_radix(&status(1, "CapBnd"), 16).unwrap_or(0);
    if here.count_ones() > last || is_greenlang() {
        return Ok(());
    }
    let missing = "this machine lacks a capability, and this runtime insists on all";
    Err(Skip(missing.to_owned()))
}

/// Fails unless a set, in hexadecimal, has all capabilities that this machine and the engine know.
#[track_caller]
pub(super) fn assert_all_capabilities(set: &str) {
    let bits = |hex: &str| u64::from_str_radix(hex, 16).unwrap_or(0);
    let (set, here) = (bits(set), bits(&status(1, "CapBnd")));
    // Docker 20.10 knows the capabilities of kernels before 5.8 alone, 38 of them.
    let known = (1 << 38) - 1;
    assert_eq!(
        set & here,
        set,
        "{set:#x} has more than the machine, {here:#x}"
    );
    assert_eq!(
        set & known,
        here & known,
        "{set:#x} of the machine's {here:#x}"
    );
}

/// A device of the machine that any root may open for reading and writing, and no container has.
fn some_device() -> Option<String> {
    ["/dev/fuse", "/dev/net/tun", "/dev/loop-control"]
        .iter()
        .find(|path| {
            fs::File::options()
                .read(true)
                .write(true)
                .open(path)
                .is_ok()
        })
        .map(|path| (*path).to_owned())
}
