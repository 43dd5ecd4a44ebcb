//! The words of a profile under an engine, each looked at from inside or in the kernel.

use std::fs;
use std::path::Path;

use super::profiles::{Own, chosen};
use crate::command::fail;
use crate::engine::{Engine, Kind, text};
use crate::{Outcome, Skip};

/// Prints what a script sees, one line each.
const LOOK: &str = "ulimit -Hv; ulimit -Ht; umask; wc -c </etc/passwd; ls /suid | wc -l; \
    dd if=/dev/zero of=/tmp/big bs=1k count=200 2>/dev/null; wc -c </tmp/big; \
    echo x 2>&1 >/home/a | grep -o 'Read-only.*'; cat /proc/net/fib_trie | wc -c; \
    df -k /tmp | tail -1 | tr -s ' ' | cut -d' ' -f2";

/// Limits of each process, hidden paths, a read-only root, a fresh `/tmp`, no loopback.
pub fn profile_words_are_seen_inside(engine: &Engine) -> Outcome {
    let _own = Own::new(
        "e2e-small",
        "[limits]\nvirtual_memory_limit_bytes = \"512MiB\"\nmax_file_size_bytes = \"64KiB\"\n\
         cpu_time_limit_seconds = 77\n[network]\nallow_network = false\nallow_loopback = false\n\
         [filesystem]\nreadonly_root = true\ncreate_temp_root = true\n\
         blocked_paths = [\"/suid\"]\nmask_paths = [\"/etc/passwd\"]\n[process]\numask = \"077\"\n",
    );
    let plain = engine.sh(&[], "wc -c </etc/passwd; ls /suid | wc -l");
    let there = plain.ok().lines().filter(|count| count.trim() != "0");
    assert_eq!(there.count(), 2, "nothing to hide: {plain}");
    let out = engine.sh(&[&chosen(engine, "e2e-small")], LOOK);
    let lines: Vec<_> = out.stdout.lines().map(str::trim).collect();
    let want = [
        "524288",
        "77",
        "0077",
        "0",
        "0",
        "65536",
        "Read-only file system",
        "0",
        "65536",
    ];
    assert_eq!(lines, want, "{out}");
    Ok(())
}

/// What may be written to is only what the profile lists.
pub fn profile_writes_only_where_it_may(engine: &Engine) -> Outcome {
    let _own = Own::new("e2e-small", "[filesystem]\nread_write_paths = [\"/var\"]\n");
    let script = "for d in /var /home /etc; do echo x 2>/dev/null >$d/f && echo $d; done; \
        echo x >/dev/null && echo null";
    let out = engine.sh(&[&chosen(engine, "e2e-small")], script);
    assert_eq!(out.ok(), "/var\nnull", "{out}");
    Ok(())
}

/// A share of a CPU is in the cgroup, and the smaller one holds.
pub fn profile_share_of_a_cpu_is_the_smaller_one(engine: &Engine) -> Outcome {
    let _own = Own::new("e2e-small", "[limits]\ncpu_percent_limit = 50\n");
    let profile = chosen(engine, "e2e-small");
    for (cpus, want) in [("0.9", "50000 100000"), ("0.2", "20000 100000")] {
        let container = engine.sleeper(&[&format!("--cpus={cpus}"), &profile]);
        assert_eq!(container.cgroup().cpu_quota(), want, "--cpus={cpus}");
    }
    Ok(())
}

/// CPU time of all processes together, and too many processes, end the container.
pub fn profile_ends_what_uses_too_much(engine: &Engine) -> Outcome {
    let profile = chosen(engine, "e2e-brief");
    // Each process stays below the limit that the kernel would hold it to.
    let burn = "while :; do sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done'; done";
    let fork = "for i in 1 2 3 4 5; do sleep 1000 & done; wait; sleep 1000";
    for (text, script) in [
        ("[limits]\ncpu_time_limit_seconds = 1\n", burn),
        ("[limits]\nmax_processes = 3\nmax_threads = 30\n", fork),
    ] {
        let _own = Own::new("e2e-brief", text);
        let container = engine.start(&[&profile], &["sh", "-c", script]);
        let status = container.wait();
        assert!([137, 143].contains(&status), "{text}: {status}");
    }
    let _own = Own::new(
        "e2e-brief",
        "[limits]\nmax_processes = 3\nmax_threads = 30\n",
    );
    let out = engine.sh(&[&profile], "sleep 1 & sleep 1 & wait; echo done");
    assert_eq!(out.ok(), "done", "{out}");
    Ok(())
}

/// In permissive mode calls that would be denied pass, and limits hold.
pub fn profile_permissive_lets_calls_pass(engine: &Engine) -> Outcome {
    let script = "ulimit -Hn; nc -w 1 127.0.0.1 4001 2>&1; true";
    for (mode, said) in [
        ("enforcing", "Operation not permitted"),
        ("permissive", "Connection refused"),
    ] {
        let text = format!(
            "extends = [\"data_processing\"]\nmode = \"{mode}\"\n[limits]\nmax_open_files = 77\n"
        );
        let _own = Own::new("e2e-small", &text);
        let out = engine.sh(&[&chosen(engine, "e2e-small")], script);
        let Some((files, answer)) = out.ok().split_once('\n') else {
            fail(&format!("two lines: {out}"))
        };
        assert_eq!(files, "77", "{mode}");
        assert!(answer.contains(said), "{mode}: {answer}");
    }
    Ok(())
}

/// The set-up of a container has its time; what hangs in it fails the run with the line. Docker takes no
/// hooks from its users.
pub fn profile_setup_has_its_time(engine: &Engine) -> Outcome {
    let own = Own::new("e2e-small", "setup_timeout = \"60s\"\n");
    let out = engine.run(&[&chosen(engine, "e2e-small")], &["echo", "ran"]);
    assert_eq!(out.ok(), "ran", "{out}");
    drop(own);
    if engine.kind == Kind::Docker {
        return Ok(());
    }
    let _own = Own::new("e2e-small", "setup_timeout = \"2s\"\n");
    let dir = std::env::temp_dir().join(format!("gl-e2e-hooks-{}", std::process::id()));
    let hook = r#"{"version": "1.0.0", "when": {"always": true}, "stages": ["createRuntime"],
        "hook": {"path": "/bin/sh", "args": ["sh", "-c", "exec sleep 1000"]}}"#;
    let written = fs::create_dir(&dir).and_then(|()| fs::write(dir.join("hang.json"), hook));
    written.unwrap_or_else(|e| fail(&format!("write a hook: {e}")));
    let hooks = format!("--hooks-dir={}", dir.display());
    let profile = chosen(engine, "e2e-small");
    let mut args = engine.run_args("run", &["--rm"], &[&profile], &["echo", "ran"]);
    args.insert(0, hooks);
    let out = engine.cli(&args);
    let removed = fs::remove_dir_all(&dir);
    removed.unwrap_or_else(|e| fail(&format!("remove a hook: {e}")));
    assert!(!out.stdout.contains("ran"), "{out}");
    assert!(out.refused().contains("setup_timeout"), "{out}");
    Ok(())
}

/// Whether the kernel has `SELinux`: the policy of the test host then, see `integration/testhost`.
fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux").join("enforce").is_file()
}

/// A layer that the host lacks fails the run by its name, or is left out and told of; the rest holds.
pub fn profile_layer_that_is_missing_is_refused_or_told(engine: &Engine) -> Outcome {
    // No kernel has both.
    let (word, value, missing) = match has_selinux() {
        true => ("apparmor_profile", "e2e-none", "AppArmor is not enabled"),
        false => ("selinux_context", BOX, "SELinux is not enabled"),
    };
    let profile = |on_missing: &str| {
        let text = format!(
            "on_missing = {on_missing:?}\n[limits]\nmax_open_files = 77\n\
             [filesystem]\n{word} = {value:?}\n"
        );
        Own::new("e2e-small", &text)
    };
    let choice = chosen(engine, "e2e-small");
    let strict = profile("refuse");
    let out = engine.run(&[&choice], &["echo", "ran"]);
    assert!(!out.stdout.contains("ran"), "{out}");
    for said in [format!("filesystem.{word}"), missing.to_owned()] {
        assert!(out.refused().contains(&said), "no {said:?}: {out}");
    }
    drop(strict);
    let _loose = profile("degrade");
    let container = engine.sleeper(&[&choice]);
    let files = container.exec_sh("ulimit -Hn");
    assert_eq!(files.ok(), "77", "{files}");
    let state = container.runtime_state();
    let lost = state["annotations"]["dev.greenlang.lost"].as_str();
    let told = format!("filesystem.{word}: not in force: {missing} in this kernel");
    assert!(lost.is_some_and(|lost| lost.starts_with(&told)), "{state}");
    Ok(())
}

/// Labels that the policy of the test host has: a container's, and that of files it does not write.
const BOX: &str = "system_u:system_r:gl_box_t:s0:c1,c2";
const SECRET: &str = "system_u:object_r:gl_secret_t:s0:c1,c2";

/// The context of the profile is that of the container and of each exec, and the kernel goes by it.
pub fn profile_selinux_context_is_in_force(engine: &Engine) -> Outcome {
    if !has_selinux() {
        return Err(Skip("SELinux is off".to_owned()));
    }
    let secret = engine.directory();
    let context = format!("context=\"{SECRET}\"");
    let context = std::ffi::CString::new(context).expect("a label without NUL");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &secret, "tmpfs", flags, context.as_c_str())
        .unwrap_or_else(|e| fail(&format!("mount a labelled tmpfs: {e}")));
    let volume = format!("--volume={}:/secret", text(&secret));
    let script = "tr -d '\\000\\n' </proc/self/attr/current; echo; \
        echo x >/tmp/file && echo tmp; echo x >/secret/file && echo secret; true";
    let plain = engine.sh(&[&volume], script);
    assert!(plain.ok().ends_with("tmp\nsecret"), "{plain}");

    let text = format!("[filesystem]\nselinux_context = {BOX:?}\n");
    let _own = Own::new("e2e-small", &text);
    let container = engine.sleeper(&[&volume, &chosen(engine, "e2e-small")]);
    let label = fs::read_to_string(format!("/proc/{}/attr/current", container.pid()));
    let label = label.unwrap_or_else(|e| fail(&format!("no label: {e}")));
    assert_eq!(label.trim_end_matches(['\0', '\n']), BOX);
    let out = container.exec_sh(script);
    assert_eq!(out.ok(), format!("{BOX}\ntmp"), "{out}");
    assert!(
        out.stderr.contains("/secret/file: Permission denied"),
        "{out}"
    );
    Ok(())
}

/// A word that is not enforceable for containers fails the run by its name.
pub fn profile_words_for_others_are_refused_by_name(engine: &Engine) -> Outcome {
    for (text, said) in [
        (
            "[network]\nallow_network = true\nallowed_hosts = [\"example.org\"]\n",
            "network.allowed_hosts",
        ),
        ("[limits]\nmax_connections = 5\n", "limits.max_connections"),
        (
            "[filesystem]\nbind_mounts = [{ source = \"/srv\", target = \"/srv\" }]\n",
            "filesystem.bind_mounts",
        ),
        (
            "[filesystem]\ntemp_root_path = \"/tmp\"\n",
            "filesystem.temp_root_path",
        ),
    ] {
        let _own = Own::new("e2e-small", text);
        let out = engine.run(&[&chosen(engine, "e2e-small")], &["echo", "ran"]);
        assert!(!out.stdout.contains("ran"), "{out}");
        assert!(out.refused().contains(said), "no {said:?}: {out}");
    }
    Ok(())
}
