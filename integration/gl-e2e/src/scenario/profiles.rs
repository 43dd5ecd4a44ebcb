//! greenlang's profiles under an engine: chosen as its users choose them, looked at from inside.
//!
//! The host's own profiles are written to `/etc/greenlang`, of which the sandbox has a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{fail, gone_within};
use crate::engine::{Engine, Kind, docker, write_profile};
use crate::kernel::{Traces, namespace, status};
use crate::{Outcome, Skip};

/// Everything that a container could be limited in, small enough to be told apart from defaults.
const SMALL: &str = "[limits]\nmemory_limit_bytes = \"48MiB\"\nmax_open_files = 77\n\
    max_threads = 55\nmax_processes = 50\n";

/// A profile of the host's own, gone when dropped. Its name is one of [`docker::PROFILES`].
pub(super) struct Own(PathBuf);

impl Own {
    #[track_caller]
    pub(super) fn new(name: &str, text: &str) -> Self {
        Self(write_profile(name, text))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap_or_else(|e| fail(&format!("remove a profile: {e}")));
    }
}

/// The option that gives a container a profile: the annotation, or for a Docker that has no
/// annotations the runtime that has the profile in its arguments.
pub(super) fn chosen(engine: &Engine, profile: &str) -> String {
    match engine.annotations() {
        true => format!("--annotation=dev.greenlang.profile={profile}"),
        false => by_runtime(profile),
    }
}

fn by_runtime(profile: &str) -> String {
    format!("--runtime={}", docker::runtime_with(profile))
}

/// A network that a container would have without a profile.
fn some_network(engine: &Engine) -> &'static str {
    match engine.kind {
        Kind::Docker => "--network=bridge",
        Kind::Podman => "--network=host",
    }
}

/// Without network in the profile there is none, whatever the engine connects the container to.
pub fn profile_cuts_the_network_off(engine: &Engine) -> Outcome {
    let network = some_network(engine);
    let devices = [
        "sh",
        "-c",
        "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '",
    ];
    let plain = engine.sleeper(&[network]);
    let open = plain.exec(&[], &devices);
    let container = engine.sleeper(&[network, &chosen(engine, "data_processing")]);
    let seen = container.exec(&[], &devices);
    assert_eq!(seen.ok(), "lo", "{seen}");
    match engine.kind {
        Kind::Docker => {
            assert!(open.ok().lines().any(|name| name == "eth0"), "{open}");
            let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
            assert!(!container.inspect(address).is_empty(), "no bridge at all");
        }
        Kind::Podman => {
            let of = |pid: i32| namespace(&pid.to_string(), "net");
            assert_eq!(of(plain.pid()), namespace("self", "net"));
            assert_ne!(of(container.pid()), namespace("self", "net"));
        }
    }
    Ok(())
}

/// Of the profile's limits and the engine's the smaller ones hold.
pub fn profile_limits_are_the_smaller_ones(engine: &Engine) -> Outcome {
    let _own = Own::new("e2e-small", SMALL);
    let profile = chosen(engine, "e2e-small");
    let files = ["sh", "-c", "ulimit -Hn"];
    for (memory, pids, nofile, want) in [
        ("128m", "200", "300:300", (48 << 20, "55", "77")),
        ("32m", "20", "60:60", (32 << 20, "20", "60")),
    ] {
        let options = [
            format!("--memory={memory}"),
            format!("--pids-limit={pids}"),
            format!("--ulimit=nofile={nofile}"),
            profile.clone(),
        ];
        let container = engine.sleeper(&options.each_ref().map(String::as_str));
        let cgroup = container.cgroup();
        assert_eq!(cgroup.memory_limit(), want.0.to_string(), "{memory}");
        assert_eq!(cgroup.pids_limit(), want.1, "{pids}");
        let seen = container.exec(&[], &files);
        assert_eq!(seen.ok(), want.2, "{nofile}: {seen}");
    }
    Ok(())
}

/// One filter answers for the engine's list and the profile's.
pub fn profile_filter_is_one_with_the_engines(engine: &Engine) -> Outcome {
    let script = "grep Seccomp_filters /proc/self/status; nc -w 1 127.0.0.1 4000 2>&1; unshare -U true 2>&1; true";
    let plain = engine.sh(&[], script);
    assert!(plain.ok().starts_with("Seccomp_filters:\t1\n"), "{plain}");
    assert!(plain.stdout.contains("Connection refused"), "{plain}");
    let out = engine.sh(&[&chosen(engine, "data_processing")], script);
    assert!(out.ok().starts_with("Seccomp_filters:\t1\n"), "{out}");
    for denied in ["nc: socket", "unshare: unshare"] {
        let line = out.stdout.lines().find(|line| line.starts_with(denied));
        let line = line.unwrap_or_else(|| fail(&format!("no {denied}: {out}")));
        assert!(line.ends_with("Operation not permitted"), "{line}");
    }
    Ok(())
}

/// An exec has the bounds of the profile, even one that the engine gives everything.
pub fn profile_binds_exec(engine: &Engine) -> Outcome {
    let _own = Own::new(
        "e2e-small",
        &format!("extends = [\"compute_only\"]\n{SMALL}"),
    );
    let container = engine.sleeper(&[&chosen(engine, "e2e-small")]);
    let fields = [
        "grep",
        "-E",
        "^(CapBnd|NoNewPrivs|Seccomp)",
        "/proc/self/status",
    ];
    let out = container.exec(&["--privileged"], &fields);
    let words: Vec<_> = out.ok().split_whitespace().collect();
    let want = [
        "CapBnd:",
        "0000000000000000",
        "NoNewPrivs:",
        "1",
        "Seccomp:",
        "2",
        "Seccomp_filters:",
        "1",
    ];
    assert_eq!(words, want, "{out}");
    let out = container.exec(
        &["--privileged"],
        &["sh", "-c", "ulimit -Hn; exec nc -l -p 4000"],
    );
    assert_eq!(out.stdout.trim(), "77", "{out}");
    assert!(out.refused().contains("Operation not permitted"), "{out}");
    // A shell that wants a second process gets none.
    let out = container.exec(&["--privileged"], &["sh", "-c", "true; ls /; true"]);
    assert!(out.refused().contains("can't fork"), "{out}");
    Ok(())
}

/// `update` above the profile is refused with greenlang's words, and changes nothing.
pub fn profile_is_the_ceiling_of_update(engine: &Engine) -> Outcome {
    let _own = Own::new("e2e-small", SMALL);
    let container = engine.sleeper(&["--memory=128m", &chosen(engine, "e2e-small")]);
    let cgroup = container.cgroup();
    let out = container.cli(&["update", "--pids-limit=40"]);
    // Podman has learnt the option with its version 5.
    if !out.stderr.contains("unknown flag") {
        out.ok();
        assert_eq!(cgroup.pids_limit(), "40");
    }
    let out = container.cli(&["update", "--memory=96m", "--memory-swap=96m"]);
    let said = "profile e2e-small allows at most";
    assert!(out.refused().contains(said), "{out}");
    assert!(out.stderr.contains("memory.limit"), "{out}");
    assert_eq!(cgroup.memory_limit(), (48 << 20).to_string());
    Ok(())
}

/// A name that does not exist fails the run, and the engine shows what greenlang says.
pub fn profile_that_does_not_exist_fails_the_run(engine: &Engine) -> Outcome {
    let out = engine.run(&[&chosen(engine, "compute_olny")], &["echo", "ran"]);
    assert!(!out.stdout.contains("ran"), "{out}");
    for said in ["compute_olny", "did you mean", "compute_only"] {
        assert!(out.refused().contains(said), "no {said:?}: {out}");
    }
    Ok(())
}

/// The time of the profile ends the container: by SIGTERM, or SIGKILL where nobody listens.
pub fn profile_timeout_ends_the_container(engine: &Engine) -> Outcome {
    let _own = Own::new("e2e-brief", "execution_timeout = 1\n");
    let profile = chosen(engine, "e2e-brief");
    let listens = "trap 'exit 143' TERM; while :; do sleep 0.1; done";
    for (program, want) in [
        (vec!["sh", "-c", listens], 143),
        (vec!["sleep", "1000"], 137),
    ] {
        let container = engine.start(&[&profile], &program);
        assert_eq!(container.wait(), want, "{program:?}");
        assert_eq!(container.inspect("{{.State.Running}}"), "false");
    }
    Ok(())
}

/// The same where nobody of the engine is left: Podman's monitor, all that there is of it, is killed. containerd ends
/// the container itself when its shim goes.
pub fn profile_timeout_outlives_the_engine(engine: &Engine) -> Outcome {
    let _own = Own::new("e2e-brief", "execution_timeout = 4\n");
    let container = engine.start(&[&chosen(engine, "e2e-brief")], &["sleep", "1000"]);
    let init = container.pid();
    let monitor: i32 = status(init, "PPid").parse().unwrap_or_default();
    assert_eq!(status(monitor, "Name"), "conmon", "above the container");
    let (Some(init), Some(monitor)) = (Pid::from_raw(init), Pid::from_raw(monitor)) else {
        fail("the container has no process");
    };
    kill_process(monitor, Signal::KILL).unwrap_or_else(|errno| fail(&format!("kill: {errno}")));
    assert!(
        gone_within(monitor, Duration::from_secs(10)),
        "conmon lives on"
    );
    assert!(
        !gone_within(init, Duration::from_secs(1)),
        "it ended with conmon"
    );
    assert!(
        gone_within(init, Duration::from_secs(20)),
        "it runs on without conmon"
    );
    container.remove().ok();
    Ok(())
}

/// Containers of all these kinds are removed whole, those who watch them included.
pub fn profiled_containers_leave_nothing_behind(engine: &Engine) -> Outcome {
    let _own = Own::new(
        "e2e-brief",
        "execution_timeout = 100\n[limits]\nmax_processes = 20\ncpu_time_limit_seconds = 50\n",
    );
    drop(engine.sleeper(&[]));
    let before = Traces::settled(&engine.scope);
    for profile in ["e2e-brief", "compute_only", "data_processing", "maximum"] {
        let container = engine.sleeper(&[&chosen(engine, profile), some_network(engine)]);
        assert_eq!(status(container.pid(), "NoNewPrivs").len(), 1);
        container.remove().ok();
    }
    let brief = chosen(engine, "e2e-brief");
    engine.run(&[&brief], &["true"]).ok();
    engine.run(&[&brief], &["no-such-program"]).refused();
    before.assert_nothing_new(&engine.scope);
    Ok(())
}

/// What ordinary programs do goes on under `default`.
pub fn profile_default_runs_ordinary_programs(engine: &Engine) -> Outcome {
    let profile = chosen(engine, "default");
    let script = "echo one >/tmp/a && cp /tmp/a /tmp/b && cat /tmp/b | tr a-z A-Z; \
        (sleep 0 & wait) && nc -l -p 4000 -e true & \
        until nc -w 1 127.0.0.1 4000 </dev/null 2>/dev/null; do sleep 0.1; done; echo net; \
        chown 1000 /tmp/a && su user -c 'id -u'";
    let out = engine.sh(&[&profile], script);
    assert_eq!(out.ok(), "ONE\nnet\n1000", "{out}");
    Ok(())
}

/// Python of the machine computes under `compute_only`, and cannot start a process there.
pub fn profile_compute_only_runs_python(engine: &Engine) -> Outcome {
    let python = "/usr/bin/python3";
    if !Path::new(python).is_file() {
        return Err(Skip(format!("no {python}")));
    }
    let mounts = ["/usr", "/lib", "/lib64"].map(|dir| format!("--volume={dir}:{dir}:ro"));
    let profile = chosen(engine, "compute_only");
    let mut options: Vec<_> = mounts.iter().map(String::as_str).collect();
    options.push(&profile);
    let compute = "import json, threading\nout = []\n\
        t = threading.Thread(target=lambda: out.append(sum(range(1000)))); t.start(); t.join()\n\
        print(json.dumps(out))";
    let out = engine.run(&options, &[python, "-c", compute]);
    assert_eq!(out.ok(), "[499500]", "{out}");
    let start = "import os, socket\n\
        for name, call in [('fork', os.fork), ('socket', socket.socket)]:\n \
        try: call(); print(name, 'worked')\n \
        except PermissionError as e: print(name, e.errno)";
    let out = engine.run(&options, &[python, "-c", start]);
    assert_eq!(out.ok(), "fork 1\nsocket 1", "{out}");
    Ok(())
}

/// A disk quota holds over all that can be written together: in memory or on disk, on a root of its own or
/// beside one that cannot be written.
pub fn profile_disk_quota_holds(engine: &Engine) -> Outcome {
    let tables = |bytes: &str, more: &str| {
        format!(
            "[limits]\nmemory_limit_bytes = \"64MiB\"\ndisk_quota_bytes = \"{bytes}\"\n\
             [filesystem]\ncreate_temp_root = true\n{more}"
        )
    };
    let _memory = Own::new("e2e-quota", &tables("2MiB", ""));
    let _disk = Own::new("e2e-quota-disk", &tables("20MiB", ""));
    let _readonly = Own::new("e2e-quota-ro", &tables("2MiB", "readonly_root = true\n"));
    let script = "for f in /tmp/a /dev/shm/a /a; do dd if=/dev/zero of=$f bs=4k count=8192 2>&1 | grep -oE 'No space left.*|Read-only.*'; done; \
        cat /tmp/a /dev/shm/a /a 2>/dev/null | wc -c";
    let (full, readonly) = ("No space left on device", "Read-only file system");
    for (profile, root, least, most) in [
        ("e2e-quota", full, 1984 << 10, 2 << 20),
        ("e2e-quota-disk", full, 19 << 20, 20 << 20),
        ("e2e-quota-ro", readonly, 512 << 10, 2 << 20),
    ] {
        let out = engine.sh(&[&chosen(engine, profile)], script);
        let lines: Vec<_> = out.ok().lines().collect();
        let [tmp, shm, seen, written] = lines[..] else {
            fail(&format!("four lines: {out}"))
        };
        assert_eq!([tmp, shm, seen], [full, full, root], "{profile}: {out}");
        let written: u64 = written.parse().unwrap_or(0);
        assert!((least..=most).contains(&written), "{profile}: {out}");
    }
    Ok(())
}

/// One name of a runtime for each profile, by `runtimeArgs`, on every version of Docker.
pub fn runtime_name_stands_for_its_profile(engine: &Engine) -> Outcome {
    let option = by_runtime("compute_only");
    let container = engine.sleeper(&[&option, "--network=bridge"]);
    assert_eq!(status(container.pid(), "CapBnd"), "0000000000000000");
    let devices = container.exec(&[], &["cat", "/proc/net/dev"]);
    assert_eq!(
        devices.ok().lines().count(),
        3,
        "headings and lo: {devices}"
    );
    let out = engine.run(&[&by_runtime("compute_olny")], &["echo", "ran"]);
    assert!(out.refused().contains("did you mean"), "{out}");
    Ok(())
}
