//! `SELinux`: a container's processes, keys and mounts have the labels of its config, or it is refused.
//!
//! Where the kernel has no `SELinux`, the only thing to see is the refusal. The rest runs on the test
//! host with the policy `integration/testhost/selinux.cil`, which is enforced there: the types are
//! its types, and it denies a container (`gl_box_t`) to write files of `gl_secret_t`.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gl_e2e::bundle::config::id_map;
use gl_e2e::bundle::kernel::proc_file;
use gl_e2e::bundle::{self, Bundle, Host, finish};
use gl_e2e::kernel::is_v2;
use gl_e2e::{Outcome, Skip, tests};
use serde_json::json;

fn main() -> ExitCode {
    if Path::new("/sys/fs/selinux").join("enforce").is_file() {
        return bundle::main(ENFORCED);
    }
    let refused = tests![labels_are_refused_without_selinux];
    bundle::main(&[refused, ENFORCED].concat())
}

const ENFORCED: &[gl_e2e::Test] = tests![
    label_is_that_of_init,
    without_a_label_init_has_the_callers,
    label_is_in_force,
    without_a_label_the_write_is_allowed,
    label_is_set_with_no_new_privileges,
    label_is_set_for_another_user,
    label_is_spelled_as_the_kernel_does,
    label_holds_for_hooks_at_start,
    label_that_the_policy_does_not_have_is_refused,
    exec_has_the_label,
    exec_may_name_another_label,
    exec_by_document_may_name_another_label,
    exec_with_a_label_that_the_policy_does_not_have_is_refused,
    keyring_has_the_label,
    without_a_label_the_keyring_has_the_callers,
    mounts_have_the_mount_label,
    mounts_without_a_mount_label_have_that_of_their_type,
    mounts_that_are_read_only_or_filled_have_the_label,
    mounts_in_a_user_namespace_have_the_label,
    mounts_in_a_joined_user_namespace_have_the_label,
    overlay_has_the_label,
    mount_with_a_context_of_its_own_keeps_it,
    mount_label_that_the_policy_does_not_have_is_refused,
    message_queues_of_the_host_are_not_labelled,
    message_queues_of_a_joined_namespace_keep_their_label,
];

/// A container's label, and that of the host's processes.
const LABEL: &str = "system_u:system_r:gl_box_t:s0:c1,c2";
const OTHER: &str = "system_u:system_r:gl_other_box_t:s0";
const HOST: &str = "system_u:system_r:gl_host_t:s0";

/// A container's mount label, and what the policy says of filesystems without one.
const MOUNT: &str = "system_u:object_r:gl_file_t:s0:c1,c2";
const DEFAULT: &str = "system_u:object_r:gl_default_t:s0";
const SECRET: &str = "system_u:object_r:gl_secret_t:s0:c1,c2";

/// Shows the label of the process without the NUL byte that some kernels end it with.
const SHOW: &str = "tr -d '\\000\\n' </proc/self/attr/current; echo";

/// Writes where the policy lets a container write, and where it does not.
const WRITES: &str = "echo x >/tmp/file && echo tmp; echo x >/secret/file && echo secret; true";

/// Whether the policy is the one that the labels here are of.
fn policy() -> Outcome {
    let Ok(enforced) = fs::read_to_string("/sys/fs/selinux/enforce") else {
        return Err(Skip("SELinux is off".to_owned()));
    };
    if fs::write("/sys/fs/selinux/context", LABEL).is_err() {
        return Err(Skip("the policy is not that of the test host".to_owned()));
    }
    assert_eq!(enforced, "1", "the policy of the test host is not enforced");
    Ok(())
}

fn labelled(bundle: Bundle) -> Bundle {
    bundle
        .set("/process/selinuxLabel", json!(LABEL))
        .set("/linux/mountLabel", json!(MOUNT))
}

/// With a tmpfs that the policy denies to a container.
fn with_secret(bundle: Bundle) -> Bundle {
    let context = format!("context=\"{SECRET}\"");
    bundle.mount("tmpfs", "tmpfs", "/secret", &[&context])
}

fn trimmed(label: &str) -> String {
    label.trim_end_matches(['\0', '\n']).to_owned()
}

/// The label of a process, as the kernel says it.
fn current(pid: i32) -> String {
    trimmed(&proc_file(pid, "attr/current"))
}

/// The label of a file.
fn label_of(path: &Path) -> String {
    let mut label = [0; 4096];
    let len = rustix::fs::lgetxattr(path, "security.selinux", &mut label)
        .map_err(|errno| format!("label of {}: {errno}", path.display()))
        .unwrap();
    trimmed(std::str::from_utf8(&label[..len]).unwrap())
}

/// The label of a file of the container.
fn label_in(box_: &Bundle, path: &str) -> String {
    label_of(&PathBuf::from(format!("/proc/{}/root{path}", box_.pid())))
}

/// Fails unless each of these files of the container has this label.
fn all_have(box_: &Bundle, paths: &[&str], label: &str) {
    for path in paths {
        assert_eq!(label_in(box_, path), label, "{path}");
    }
}

// ---- processes

fn label_is_that_of_init() -> Outcome {
    policy()?;
    labelled(Bundle::sh(SHOW)).run().ok().prints(LABEL);
    let box_ = labelled(Bundle::new()).idle();
    assert_eq!(current(box_.pid()), LABEL);
    Ok(())
}

fn without_a_label_init_has_the_callers() -> Outcome {
    policy()?;
    Bundle::sh(SHOW).run().ok().prints(HOST);
    Ok(())
}

fn label_is_in_force() -> Outcome {
    policy()?;
    let box_ = labelled(with_secret(Bundle::sh(WRITES)));
    box_.run().ok().prints("tmp");
    Ok(())
}

fn without_a_label_the_write_is_allowed() -> Outcome {
    policy()?;
    with_secret(Bundle::sh(WRITES))
        .run()
        .ok()
        .prints("tmp\nsecret");
    Ok(())
}

fn label_is_set_with_no_new_privileges() -> Outcome {
    policy()?;
    let script = format!("{SHOW}; grep NoNewPrivs /proc/self/status; {WRITES}");
    let box_ = labelled(with_secret(Bundle::sh(&script)));
    let box_ = box_.set("/process/noNewPrivileges", json!(true));
    let out = box_.run().ok();
    out.prints(&format!("{LABEL}\nNoNewPrivs:\t1\ntmp"));
    let idle = box_.idle();
    idle.exec(&[], &["/bin/sh", "-c", SHOW]).ok().prints(LABEL);
    Ok(())
}

fn label_is_set_for_another_user() -> Outcome {
    policy()?;
    let box_ = labelled(Bundle::sh(SHOW)).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    box_.run().ok().prints(LABEL);
    Ok(())
}

fn label_is_spelled_as_the_kernel_does() -> Outcome {
    policy()?;
    let (process, mount) = (format!("{LABEL},c3"), format!("{MOUNT},c3"));
    let box_ = Bundle::new()
        .set("/process/selinuxLabel", json!(process))
        .set("/linux/mountLabel", json!(mount))
        .idle();
    assert_eq!(current(box_.pid()), "system_u:system_r:gl_box_t:s0:c1.c3");
    all_have(
        &box_,
        &["/dev/shm", "/dev/mqueue"],
        "system_u:object_r:gl_file_t:s0:c1.c3",
    );
    Ok(())
}

fn label_holds_for_hooks_at_start() -> Outcome {
    policy()?;
    let script = format!("{{ {SHOW}; }} >/tmp/hook");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script],
                      "env": ["PATH=/bin"]});
    let box_ = labelled(Bundle::sh("cat /tmp/hook")).push("/hooks/startContainer", hook);
    box_.run().ok().prints(LABEL);
    Ok(())
}

fn label_that_the_policy_does_not_have_is_refused() -> Outcome {
    policy()?;
    for label in [
        "system_u:system_r:gl_missing_t:s0",
        "system_u:system_r:gl_box_t:s0:c9",
        "gl_box_t",
    ] {
        let box_ = Bundle::new().set("/process/selinuxLabel", json!(label));
        let host = Host::before(&box_, &[]);
        let out = box_.create().failed();
        if bundle::is_greenlang() {
            out.says("process.selinuxLabel").says(label);
        }
        host.unchanged_soon("create with a label that the policy does not have");
    }
    Ok(())
}

fn exec_has_the_label() -> Outcome {
    policy()?;
    let box_ = labelled(with_secret(Bundle::new())).idle();
    let script = format!("{SHOW}; {WRITES}");
    let out = box_.exec(&[], &["/bin/sh", "-c", &script]).ok();
    out.prints(&format!("{LABEL}\ntmp"));
    let free = Bundle::new().idle();
    free.exec(&[], &["/bin/sh", "-c", SHOW]).ok().prints(HOST);
    Ok(())
}

fn exec_may_name_another_label() -> Outcome {
    policy()?;
    let box_ = labelled(with_secret(Bundle::new())).idle();
    let script = format!("{SHOW}; {WRITES}");
    let flags = ["--process-label", OTHER];
    let out = box_.exec(&flags, &["/bin/sh", "-c", &script]).ok();
    out.prints(&format!("{OTHER}\ntmp\nsecret"));
    assert_eq!(current(box_.pid()), LABEL);
    Ok(())
}

fn exec_by_document_may_name_another_label() -> Outcome {
    policy()?;
    let box_ = labelled(Bundle::new()).idle();
    let mut document = box_.config["process"].clone();
    document["args"] = json!(["/bin/sh", "-c", SHOW]);
    document["selinuxLabel"] = json!(OTHER);
    box_.exec_process(&document).ok().prints(OTHER);
    Ok(())
}

fn exec_with_a_label_that_the_policy_does_not_have_is_refused() -> Outcome {
    policy()?;
    let box_ = Bundle::new().idle();
    let missing = "system_u:system_r:gl_missing_t:s0";
    let mut command = box_.command(&["exec", "--process-label", missing, box_.id(), "echo", "ran"]);
    let out = finish(&mut command).failed();
    assert!(!out.stdout.contains("ran"), "{out:?}");
    if bundle::is_greenlang() {
        out.says("process.selinuxLabel").says(missing);
    }
    Ok(())
}

// ---- keys

/// The ids of all session keyrings without a name that root may see.
fn session_keyrings() -> BTreeSet<u32> {
    let text = fs::read_to_string("/proc/keys").unwrap();
    let sessions = text.lines().filter(|line| line.contains(" _ses: "));
    sessions
        .map(|line| u32::from_str_radix(line.split_whitespace().next().unwrap(), 16).unwrap())
        .collect()
}

/// The label of a key.
fn label_of_key(id: u32) -> String {
    let mut label = [0u8; 4096];
    let buffer = label.as_mut_ptr().expose_provenance();
    let (call, size) = (libc::KEYCTL_GET_SECURITY, label.len());
    #[expect(unsafe_code, reason = "no library has this call")]
    // SAFETY: the buffer is alive and as long as is said; the kernel writes there and keeps nothing.
    let len = unsafe { libc::syscall(libc::SYS_keyctl, call, id, buffer, size) };
    assert!(
        len >= 0,
        "label of key {id:x}: {}",
        std::io::Error::last_os_error()
    );
    let len = usize::try_from(len).unwrap();
    trimmed(std::str::from_utf8(&label[..len]).unwrap())
}

/// The label of the one session keyring that there is now and was not before.
fn label_of_new_keyring(before: &BTreeSet<u32>) -> String {
    let new: Vec<u32> = session_keyrings().difference(before).copied().collect();
    assert_eq!(new.len(), 1, "new session keyrings: {new:x?}");
    label_of_key(new[0])
}

fn keyring_has_the_label() -> Outcome {
    policy()?;
    let before = session_keyrings();
    let box_ = labelled(Bundle::new()).idle();
    assert_eq!(label_of_new_keyring(&before), LABEL, "init");
    let before = session_keyrings();
    box_.exec(&["--detach", "--process-label", OTHER], &["sleep", "1000"])
        .ok();
    assert_eq!(label_of_new_keyring(&before), OTHER, "exec");
    Ok(())
}

fn without_a_label_the_keyring_has_the_callers() -> Outcome {
    policy()?;
    let before = session_keyrings();
    let box_ = Bundle::new().idle();
    assert_eq!(label_of_new_keyring(&before), HOST);
    drop(box_);
    Ok(())
}

// ---- mounts

/// Every new filesystem that can have a label, and an empty directory that masks a path.
const NEW: [&str; 6] = [
    "/dev",
    "/dev/shm",
    "/dev/pts",
    "/dev/mqueue",
    "/data",
    "/sys/firmware",
];

fn mounts_have_the_mount_label() -> Outcome {
    policy()?;
    let box_ = labelled(Bundle::new().mount("tmpfs", "tmpfs", "/data", &["mode=755"])).idle();
    box_.inside("touch /data/file; mkdir /dev/shm/dir");
    all_have(&box_, &NEW, MOUNT);
    all_have(&box_, &["/dev/null", "/data/file", "/dev/shm/dir"], MOUNT);
    // The kernel labels these itself; the directory of v1 hierarchies is a tmpfs.
    let cgroup = if is_v2() { DEFAULT } else { MOUNT };
    all_have(&box_, &["/sys/fs/cgroup"], cgroup);
    all_have(&box_, &["/proc", "/sys", "/", "/bin/busybox"], DEFAULT);
    Ok(())
}

fn mounts_without_a_mount_label_have_that_of_their_type() -> Outcome {
    policy()?;
    let box_ = Bundle::new().mount("tmpfs", "tmpfs", "/data", &["mode=755"]);
    let box_ = box_.set("/process/selinuxLabel", json!(LABEL)).idle();
    all_have(&box_, &NEW, DEFAULT);
    Ok(())
}

fn mounts_that_are_read_only_or_filled_have_the_label() -> Outcome {
    policy()?;
    let box_ = Bundle::new().without_mount("/dev/mqueue");
    box_.file("filled/file", "x");
    let box_ = labelled(box_)
        .mount("mqueue", "mqueue", "/queues", &["ro"])
        .mount("tmpfs", "tmpfs", "/empty", &["ro"])
        .mount("tmpfs", "tmpfs", "/filled", &["ro", "tmpcopyup"])
        .idle();
    all_have(
        &box_,
        &["/queues", "/empty", "/filled", "/filled/file"],
        MOUNT,
    );
    let script =
        "for d in queues empty filled; do touch /$d/new 2>/dev/null && echo $d; done; true";
    assert_eq!(box_.inside(script), "", "written to");
    Ok(())
}

fn mounts_in_a_user_namespace_have_the_label() -> Outcome {
    policy()?;
    let box_ = Bundle::new().mount("tmpfs", "tmpfs", "/data", &["mode=755"]);
    box_.dir_in("data");
    let box_ = labelled(box_)
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", id_map(100_000, 65536))
        .set("/linux/gidMappings", id_map(100_000, 65536))
        .idle();
    assert_eq!(current(box_.pid()), LABEL);
    all_have(&box_, &NEW, MOUNT);
    Ok(())
}

fn mounts_in_a_joined_user_namespace_have_the_label() -> Outcome {
    policy()?;
    let mapped = |box_: Bundle| {
        box_.dir_in("data");
        labelled(box_).mount("tmpfs", "tmpfs", "/data", &["mode=755"])
    };
    let first = mapped(Bundle::new())
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", id_map(100_000, 65536))
        .set("/linux/gidMappings", id_map(100_000, 65536))
        .idle();
    // With message queues of its own, and with those of the other container.
    for shared in [&["user"][..], &["user", "ipc"]] {
        let mut box_ = mapped(Bundle::new());
        for kind in shared {
            let path = format!("/proc/{}/ns/{kind}", first.pid());
            box_ = box_.namespace(kind, Some(json!({"type": kind, "path": path})));
        }
        let box_ = box_
            .namespace("network", None)
            .without_mount("/sys/fs/cgroup");
        let box_ = box_.idle();
        all_have(
            &box_,
            &["/dev", "/dev/shm", "/dev/pts", "/dev/mqueue", "/data"],
            MOUNT,
        );
    }
    Ok(())
}

fn overlay_has_the_label() -> Outcome {
    policy()?;
    let box_ = labelled(Bundle::new());
    // An overlay does not take another one for its upper layer, which the bundle may be on.
    let layers = box_.outside("layers");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &layers, "tmpfs", flags, None).unwrap();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(layers.join(name)).unwrap();
    }
    fs::write(layers.join("lower/file"), "x").unwrap();
    let option = |key: &str| format!("{key}dir={}/{key}", layers.display());
    let (lower, upper, work) = (option("lower"), option("upper"), option("work"));
    let box_ = box_.mount("overlay", "overlay", "/layers", &[&lower, &upper, &work]);
    let box_ = box_.idle();
    box_.inside("touch /layers/new");
    all_have(&box_, &["/layers", "/layers/file", "/layers/new"], MOUNT);
    Ok(())
}

fn mount_with_a_context_of_its_own_keeps_it() -> Outcome {
    policy()?;
    let plain = format!("context={SECRET}");
    let box_ = labelled(with_secret(Bundle::new()));
    let box_ = box_.mount("tmpfs", "tmpfs", "/plain", &[&plain]).idle();
    all_have(&box_, &["/secret", "/plain"], SECRET);
    all_have(&box_, &["/dev/shm"], MOUNT);
    Ok(())
}

fn mount_label_that_the_policy_does_not_have_is_refused() -> Outcome {
    policy()?;
    let label = "system_u:object_r:gl_missing_t:s0";
    let box_ = Bundle::new().set("/linux/mountLabel", json!(label));
    let host = Host::before(&box_, &[]);
    let out = box_.create().failed();
    if bundle::is_greenlang() {
        out.says("linux.mountLabel").says(label);
    }
    host.unchanged_soon("create with a mount label that the policy does not have");
    Ok(())
}

fn message_queues_of_the_host_are_not_labelled() -> Outcome {
    policy()?;
    if !bundle::is_greenlang() {
        return Err(Skip("other runtimes relabel the host's queues".to_owned()));
    }
    let box_ = labelled(Bundle::new()).namespace("ipc", None);
    let host = Host::before(&box_, &[]);
    let out = box_.create().failed();
    out.says("mounts[5].type").says("linux.mountLabel");
    host.unchanged_soon("create with the host's message queues and a mount label");
    // Without the label, or without the queues, the same container is made.
    Bundle::sh("echo ran")
        .namespace("ipc", None)
        .run()
        .ok()
        .prints("ran");
    let none = labelled(Bundle::sh("echo ran")).namespace("ipc", None);
    none.without_mount("/dev/mqueue").run().ok().prints("ran");
    Ok(())
}

fn message_queues_of_a_joined_namespace_keep_their_label() -> Outcome {
    policy()?;
    let first = labelled(Bundle::new()).idle();
    let path = format!("/proc/{}/ns/ipc", first.pid());
    let second = labelled(Bundle::new())
        .namespace("ipc", Some(json!({"type": "ipc", "path": path})))
        .idle();
    for box_ in [&first, &second] {
        all_have(box_, &["/dev/mqueue"], MOUNT);
    }
    Ok(())
}

// ---- without the module

fn labels_are_refused_without_selinux() -> Outcome {
    for (pointer, field, label) in [
        ("/process/selinuxLabel", "process.selinuxLabel", LABEL),
        ("/linux/mountLabel", "linux.mountLabel", MOUNT),
    ] {
        let box_ = Bundle::new().set(pointer, json!(label));
        if !bundle::is_greenlang() {
            return Err(Skip("other runtimes leave the labels out".to_owned()));
        }
        let host = Host::before(&box_, &[]);
        box_.create()
            .failed()
            .says(field)
            .says("SELinux is not enabled");
        host.unchanged_soon("create with a label where there is no SELinux");
    }
    Ok(())
}
