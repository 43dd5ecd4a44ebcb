//! What a sandbox holds: looked at from inside.

use std::time::Instant;

use gl_e2e::Outcome;
use gl_e2e::bundle::Bundle;
use gl_e2e::bundle::kernel::{cgroup_value, eventually, fields};
use serde_json::{Value, json};

use super::{PLAIN, printed, runsc, with};

pub(super) fn limits_are_in_the_cgroup_and_inside() -> Outcome {
    runsc()?;
    let text = format!(
        "{PLAIN}[limits]\nmemory_limit_bytes = \"128MiB\"\nmax_open_files = 77\n\
        max_threads = 30\nmax_file_size_bytes = \"1MiB\"\n"
    );
    let (box_, _profile) = with(Bundle::new(), &text);
    let box_ = box_.idle();
    let memory = match gl_e2e::kernel::is_v2() {
        true => "memory.max",
        false => "memory.limit_in_bytes",
    };
    assert_eq!(
        cgroup_value("memory", box_.id(), memory),
        (128 << 20).to_string()
    );
    // As many as the platform may have for each on the processors here, and runsc's own threads.
    let processors = std::thread::available_parallelism().unwrap().get();
    let want = (30 * (8 + 4 * processors) + 96).to_string();
    assert_eq!(cgroup_value("pids", box_.id(), "pids.max"), want);
    let inside = box_
        .exec(&[], &["sh", "-c", "ulimit -n; ulimit -u; ulimit -f"])
        .ok();
    // The shell counts blocks of 512 bytes.
    assert_eq!(inside.stdout, "77\n30\n2048\n");
    Ok(())
}

pub(super) fn tasks_are_limited_inside() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}[limits]\nmax_threads = 8\nmax_processes = 8\n");
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 20 & done";
    let (box_, _profile) = with(Bundle::sh(script), &text);
    let out = box_.run();
    assert!(out.stderr.contains("can't fork"), "{out:?}");
    Ok(())
}

pub(super) fn memory_limit_ends_the_sandbox() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}[limits]\nmemory_limit_bytes = \"96MiB\"\n");
    let script = "head -c 400000000 /dev/zero | tail | wc -c; echo survived";
    let (box_, _profile) = with(Bundle::sh(script), &text);
    let out = box_.run();
    assert!(out.code != 0 && !out.stdout.contains("survived"), "{out:?}");
    Ok(())
}

pub(super) fn capabilities_and_ids_are_bounded() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}[process]\ncapabilities = [\"CAP_CHOWN\", \"CAP_SYS_ADMIN\"]\n");
    let (box_, _profile) = with(Bundle::sh("grep Cap /proc/self/status; id"), &text);
    let all = json!(["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_KILL"]);
    let sets = json!({"bounding": all, "effective": all, "permitted": all});
    let seen = box_.set("/process/capabilities", sets).run().ok().stdout;
    let caps = fields(&seen);
    // Above its limit of tasks nobody can be.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(caps[set], "0000000000000001", "{set} of {seen}");
    }
    let (box_, _profile) = with(Bundle::sh("id"), PLAIN);
    let user = json!({"uid": 1234, "gid": 56, "additionalGids": [78]});
    let seen = box_.set("/process/user", user).run().ok().stdout;
    assert_eq!(seen, "uid=1234 gid=56 groups=78\n");
    Ok(())
}

pub(super) fn umask_is_set() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}[process]\numask = \"027\"\n");
    let (box_, _profile) = with(Bundle::sh("echo ready; umask; sleep 1000"), &text);
    let box_ = box_.set("/process/user/umask", json!(0o072)).started();
    box_.wait_for("ready\n0077\n");
    box_.exec(&[], &["sh", "-c", "umask"]).ok().prints("0077");
    Ok(())
}

pub(super) fn root_is_read_only() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}[filesystem]\nreadonly_root = true\ncreate_temp_root = true\n");
    let (box_, _profile) = with(Bundle::sh("touch /x; touch /tmp/x && echo fresh"), &text);
    let out = box_.run().ok();
    assert_eq!(out.stdout, "fresh\n");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
    for path in ["x", "tmp/x"] {
        let found = box_.rootfs().join(path).symlink_metadata();
        assert!(found.is_err(), "{path}: {found:?}");
    }
    Ok(())
}

pub(super) fn paths_are_hidden() -> Outcome {
    runsc()?;
    let text = format!(
        "{PLAIN}[filesystem]\nblocked_paths = [\"/secrets\", \"/etc/token\", \"/data/keys\", \"/none\"]\n"
    );
    let script = "cat /etc/token /secrets/* /data/keys/* 2>&1; echo x >/etc/token; touch /secrets/x /data/keys/x";
    let (box_, _profile) = with(Bundle::sh(script), &text);
    box_.file("etc/token", "TOKEN");
    box_.file("secrets/a", "SECRET");
    let volume = box_.outside("volume");
    std::fs::create_dir(volume.join("keys")).unwrap();
    std::fs::write(volume.join("keys/k"), "KEY").unwrap();
    let box_ = box_.mount("bind", volume.to_str().unwrap(), "/data", &["rbind", "rw"]);
    let out = box_.run();
    for hidden in ["TOKEN", "SECRET", "KEY"] {
        assert!(!out.stdout.contains(hidden), "{hidden}: {out:?}");
    }
    assert_eq!(
        out.stderr.matches("Read-only file system").count(),
        3,
        "{out:?}"
    );
    for (path, want) in [("etc/token", "TOKEN"), ("secrets/a", "SECRET")] {
        assert_eq!(
            std::fs::read_to_string(box_.rootfs().join(path)).unwrap(),
            want
        );
    }
    Ok(())
}

pub(super) fn network_off_leaves_loopback() -> Outcome {
    runsc()?;
    let script = "tail -n +3 /proc/net/dev | cut -d: -f1; nc -l -p 4000 -e echo hello & sleep 0.5; nc 127.0.0.1 4000";
    let seen = printed(script, PLAIN);
    let words: Vec<_> = seen.split_whitespace().collect();
    assert_eq!(words, ["lo", "hello"]);
    Ok(())
}

pub(super) fn loopback_off_leaves_no_socket() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}[network]\nallow_network = false\nallow_loopback = false\n");
    let (box_, _profile) = with(
        Bundle::sh(
            "nc -w 1 127.0.0.1 4000 2>&1; nc -l -p 4000 2>&1; ip -6 a 2>&1 | head -0; echo end",
        ),
        &text,
    );
    let seen = box_.run().ok().stdout;
    assert_eq!(seen.matches("socket").count(), 2, "{seen}");
    assert_eq!(seen.matches("Permission denied").count(), 2, "{seen}");
    Ok(())
}

pub(super) fn filter_holds_for_the_program_and_for_exec() -> Outcome {
    runsc()?;
    // An errno that is not EPERM, which runsc by itself makes of every one.
    let engine = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["rmdir", "unlinkat"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    let script = "chmod 700 /tmp; nc -l -p 4000; grep -E '^(Seccomp|NoNew)' /proc/self/status; rmdir /tmp/x; echo $?";
    let text = format!("extends = [\"data_processing\"]\n{PLAIN}");
    let (box_, _profile) = with(Bundle::sh(&format!("({script}) 2>&1; sleep 1000")), &text);
    let box_ = box_.set("/linux/seccomp", engine).started();
    let check = |seen: &str, by: &str| {
        assert!(
            seen.contains("chmod: /tmp: No space left on device"),
            "{by}: {seen}"
        );
        assert!(
            seen.contains("nc: socket: Operation not permitted"),
            "{by}: {seen}"
        );
        assert!(seen.contains("Seccomp:\t2"), "{by}: {seen}");
        // 128 and SIGSYS.
        assert!(seen.trim_end().ends_with("159"), "{by}: {seen}");
    };
    check(&box_.wait_for("159"), "init");
    let out = box_
        .exec(&[], &["sh", "-c", &format!("({script}) 2>&1")])
        .ok();
    check(&out.stdout, "exec");
    Ok(())
}

pub(super) fn permissive_filter_lets_calls_pass() -> Outcome {
    runsc()?;
    let text = format!("extends = [\"compute_only\"]\nmode = \"permissive\"\n{PLAIN}");
    let seen = printed("true; ls -d /bin; true", &text);
    assert_eq!(seen, "/bin\n");
    Ok(())
}

/// The reason that the state of a stopped container tells.
fn reason(box_: &Bundle) -> Value {
    eventually("the end", || (box_.status() == "stopped").then_some(()));
    box_.state()["annotations"]["dev.greenlang.end-reason"].clone()
}

pub(super) fn timeout_ends_the_container() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}execution_timeout = 1\n");
    let asked = "trap 'echo asked; exit 3' TERM; while :; do sleep 0.1; done";
    let (box_, _profile) = with(Bundle::sh(asked), &text);
    let box_ = box_.started();
    box_.wait_for("asked");
    assert_eq!(reason(&box_), "timeout");
    // And in the foreground, one that does not listen.
    let (box_, _profile) = with(
        Bundle::sh("trap '' TERM; while :; do sleep 0.1; done"),
        &text,
    );
    let begin = Instant::now();
    box_.run().status(137);
    let took = begin.elapsed().as_secs_f32();
    assert!((2.9..20.0).contains(&took), "{took}");
    Ok(())
}

pub(super) fn cpu_time_ends_the_container() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}[limits]\ncpu_time_limit_seconds = 2\n");
    // Each of them for less than that.
    let (box_, _profile) = with(
        Bundle::sh("while :; do sh -c 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done'; done"),
        &text,
    );
    let box_ = box_.started();
    assert_eq!(reason(&box_), "cpu_time");
    Ok(())
}

pub(super) fn too_many_processes_end_the_container() -> Outcome {
    runsc()?;
    let text = format!("{PLAIN}[limits]\nmax_processes = 4\nmax_threads = 30\n");
    let script = "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait";
    let (box_, _profile) = with(Bundle::sh(script), &text);
    let box_ = box_.started();
    assert_eq!(reason(&box_), "pids");
    // As many as it may have live on.
    let (box_, _profile) = with(
        Bundle::sh("sleep 4 & sleep 4 & sleep 4 & wait; echo done"),
        &text,
    );
    box_.run().ok().prints("done");
    Ok(())
}

pub(super) fn layers_are_told() -> Outcome {
    runsc()?;
    let text = format!("extends = [\"data_processing\"]\n{PLAIN}");
    let (box_, _profile) = with(Bundle::new(), &text);
    box_.create().ok();
    let path = box_.state_root().join(box_.id()).join("layers.json");
    let layers: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let all = layers.as_array().unwrap();
    let find = |name: &str| all.iter().find(|one| one["layer"] == name).unwrap();
    for name in ["kernel", "network", "cgroup", "seccomp", "process"] {
        assert_eq!(find(name)["applied"], json!(true), "{layers}");
    }
    assert!(
        find("kernel")["how"]
            .as_str()
            .unwrap()
            .contains("runsc version"),
        "{layers}"
    );
    Ok(())
}
