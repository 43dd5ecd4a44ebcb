//! `exec`: what it takes from the command line or a process document, and what it inherits of the
//! container.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::config::{CAPABILITY_MASK, PATH};
use gl_e2e::bundle::kernel::{self, descriptors, eventually, fields, proc_file, wait_dead};
use gl_e2e::bundle::{self, Bundle, Host, finish, known_elsewhere};
use gl_e2e::kernel::is_v2;
use gl_e2e::{Outcome, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        exec_returns_the_status_of_the_process,
        exec_of_a_signalled_process_returns_128_plus_n,
        exec_passes_standard_streams,
        exec_inherits_the_environment_and_adds_to_it,
        exec_inherits_the_cwd_and_takes_another,
        exec_inherits_the_user_and_takes_another,
        exec_user_is_exactly_as_written,
        exec_user_that_is_no_number_is_refused,
        exec_takes_groups,
        exec_inherits_groups,
        exec_inherits_the_umask,
        exec_inherits_rlimits,
        exec_inherits_no_new_privileges,
        exec_takes_no_new_privileges,
        exec_inherits_the_oom_score,
        exec_inherits_seccomp,
        exec_home_is_that_of_its_user,
        exec_capabilities_are_those_of_the_container,
        exec_capability_is_added_to_three_sets,
        exec_as_a_plain_user_has_no_capabilities,
        exec_process_document_is_taken,
        exec_process_document_inherits_the_rest,
        exec_never_reads_the_bundle,
        exec_joins_the_cgroups,
        exec_into_a_sub_cgroup,
        exec_into_a_cgroup_outside_is_refused,
        exec_detach_returns_and_the_process_lives,
        exec_detach_with_a_pid_file,
        exec_detach_dies_with_the_container,
        exec_into_a_paused_container_is_refused,
        exec_ignore_paused_runs_after_resume,
        exec_into_a_stopped_container_fails,
        exec_into_a_missing_container_fails,
        exec_of_a_missing_program_is_255,
        exec_of_an_unexecutable_file_is_255,
        exec_without_a_command_fails,
        exec_descriptors_are_three,
        exec_preserves_exactly_n_descriptors,
        exec_cwd_that_is_missing,
        exec_forwards_signals,
        exec_sees_processes_of_the_container,
        exec_process_is_no_child_of_init_but_reaped,
        exec_with_a_long_argument_list,
        exec_many_at_once,
        exec_process_without_args_fails,
    ])
}

fn status(box_: &Bundle, flags: &[&str]) -> BTreeMap<String, String> {
    fields(&box_.exec(flags, &["cat", "/proc/self/status"]).ok().stdout)
}

fn exec_returns_the_status_of_the_process() -> Outcome {
    let box_ = Bundle::new().idle();
    for code in [0, 1, 42, 126, 127, 255] {
        box_.exec(&[], &["sh", "-c", &format!("exit {code}")])
            .status(code);
    }
    Ok(())
}

fn exec_of_a_signalled_process_returns_128_plus_n() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.exec(&[], &["sh", "-c", "kill -9 $$"]).status(137);
    box_.exec(&[], &["sh", "-c", "kill -15 $$"]).status(143);
    Ok(())
}

fn exec_passes_standard_streams() -> Outcome {
    let box_ = Bundle::new().idle();
    let (reader, writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut &writer, b"words\n").unwrap();
    let mut command = box_.command(&[
        "exec",
        box_.id(),
        "sh",
        "-c",
        "read x; echo out $x; echo err $x >&2",
    ]);
    let out = finish(command.stdin(reader)).ok().prints("out words");
    assert_eq!(out.stderr, "err words\n", "{out:?}");
    Ok(())
}

fn exec_inherits_the_environment_and_adds_to_it() -> Outcome {
    let box_ = Bundle::new()
        .set("/process/env", json!([PATH, "A=container", "B=container"]))
        .idle();
    let out = box_.exec(
        &["-e", "B=exec", "-e", "C=a b=c"],
        &["sh", "-c", "echo $A-$B-$C"],
    );
    out.ok().prints("container-exec-a b=c");
    Ok(())
}

fn exec_inherits_the_cwd_and_takes_another() -> Outcome {
    let box_ = Bundle::new().set("/process/cwd", json!("/tmp")).idle();
    box_.exec(&[], &["pwd"]).ok().prints("/tmp");
    box_.exec(&["--cwd", "/etc"], &["pwd"]).ok().prints("/etc");
    Ok(())
}

fn exec_inherits_the_user_and_takes_another() -> Outcome {
    let box_ = Bundle::new()
        .set("/process/user", json!({"uid": 12, "gid": 34}))
        .idle();
    let ids = ["sh", "-c", "echo $(id -u):$(id -g)"];
    box_.exec(&[], &ids).ok().prints("12:34");
    box_.exec(&["--user", "56:78"], &ids).ok().prints("56:78");
    box_.exec(&["-u", "0:0"], &ids).ok().prints("0:0");
    Ok(())
}

fn exec_user_is_exactly_as_written() -> Outcome {
    // CVE-2026-30892: a number that is misread as 0 runs as root.
    let box_ = Bundle::new()
        .set("/process/user", json!({"uid": 5, "gid": 6}))
        .idle();
    for (user, want) in [
        ("1", "1"),
        ("1:2", "1"),
        ("2147483647", "2147483647"),
        ("0", "0"),
    ] {
        let seen = status(&box_, &["-u", user]);
        assert_eq!(
            seen["Uid"].split(' ').next(),
            Some(want),
            "{user}: {seen:?}"
        );
    }
    Ok(())
}

fn exec_user_that_is_no_number_is_refused() -> Outcome {
    // CVE-2026-30892, CVE-2024-40635. SPEC: what is not a plain decimal id is an error.
    known_elsewhere("wraps or takes signs", || {
        let box_ = Bundle::new()
            .set("/process/user", json!({"uid": 5, "gid": 6}))
            .idle();
        for user in [
            "1x",
            "-1",
            "+0",
            " 0",
            "x",
            "1:",
            ":",
            "1:x",
            "4294967295",
            "4294967296",
            "0x0",
            "1:2:3",
        ] {
            let out = box_.exec(&["-u", user], &["id"]).failed();
            assert!(out.stderr.contains("user"), "{user}: {out:?}");
        }
    })
}

fn exec_takes_groups() -> Outcome {
    let box_ = Bundle::new().idle();
    let seen = status(&box_, &["-u", "5:6", "-g", "70", "-g", "80"]);
    assert_eq!(seen["Groups"], "70 80", "{seen:?}");
    Ok(())
}

fn exec_inherits_groups() -> Outcome {
    let user = json!({"uid": 5, "gid": 6, "additionalGids": [7, 8]});
    let box_ = Bundle::new().set("/process/user", user).idle();
    let seen = status(&box_, &[]);
    assert_eq!(seen["Groups"], "7 8", "{seen:?}");
    Ok(())
}

fn exec_inherits_the_umask() -> Outcome {
    known_elsewhere("leaves it at 022", || {
        let box_ = Bundle::new().set("/process/user/umask", json!(0o77)).idle();
        let seen = status(&box_, &[]);
        assert_eq!(seen["Umask"], "0077", "{seen:?}");
    })
}

fn exec_inherits_rlimits() -> Outcome {
    let limits = json!([
        {"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 6_291_456},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]);
    let box_ = Bundle::new().set("/process/rlimits", limits).idle();
    let seen = box_.inside("ulimit -Ss; ulimit -Hs; ulimit -c");
    assert_eq!(seen, "4096\n6144\n0\n");
    Ok(())
}

fn exec_inherits_no_new_privileges() -> Outcome {
    let box_ = Bundle::new()
        .set("/process/noNewPrivileges", json!(true))
        .idle();
    let seen = status(&box_, &[]);
    assert_eq!(seen["NoNewPrivs"], "1", "{seen:?}");
    Ok(())
}

fn exec_takes_no_new_privileges() -> Outcome {
    let box_ = Bundle::new().idle();
    let seen = status(&box_, &["--no-new-privs"]);
    assert_eq!(seen["NoNewPrivs"], "1", "{seen:?}");
    let seen = status(&box_, &[]);
    assert_eq!(seen["NoNewPrivs"], "0", "{seen:?}");
    Ok(())
}

fn exec_inherits_the_oom_score() -> Outcome {
    let box_ = Bundle::new().set("/process/oomScoreAdj", json!(432)).idle();
    box_.exec(&[], &["cat", "/proc/self/oom_score_adj"])
        .ok()
        .prints("432");
    Ok(())
}

fn exec_inherits_seccomp() -> Outcome {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    });
    let box_ = Bundle::new().set("/linux/seccomp", filter).idle();
    assert_eq!(status(&box_, &[])["Seccomp"], "2");
    let out = box_.exec(&[], &["mkdir", "/tmp/x"]).status(1);
    assert!(out.stderr.contains("Operation not supported"), "{out:?}");
    let document = document(&["mkdir", "/tmp/x"]);
    let out = box_.exec_process(&document).status(1);
    assert!(out.stderr.contains("Operation not supported"), "{out:?}");
    Ok(())
}

fn exec_home_is_that_of_its_user() -> Outcome {
    let box_ = Bundle::new();
    box_.file(
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nu:x:77:0::/srv/u:/bin/sh\n",
    );
    let box_ = box_.idle();
    let home = ["sh", "-c", "echo $HOME"];
    box_.exec(&[], &home).ok().prints("/root");
    box_.exec(&["-u", "77"], &home).ok().prints("/srv/u");
    box_.exec(&["-u", "78"], &home).ok().prints("/");
    box_.exec(&["-e", "HOME=/mine"], &home).ok().prints("/mine");
    Ok(())
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
const NONE: &str = "0000000000000000";

fn sets(seen: &BTreeMap<String, String>) -> [&str; 5] {
    SETS.map(|k| seen[k].as_str())
}

fn exec_capabilities_are_those_of_the_container() -> Outcome {
    // CVE-2022-24769 and its kin: inheritable and ambient stay empty.
    let box_ = Bundle::new().idle();
    let seen = status(&box_, &[]);
    let all = CAPABILITY_MASK;
    assert_eq!(sets(&seen), [NONE, all, all, all, NONE], "{seen:?}");
    Ok(())
}

fn exec_capability_is_added_to_three_sets() -> Outcome {
    // CVE-2022-29162. CAP_SYS_ADMIN is number 21.
    known_elsewhere("adds it to more sets", || {
        let box_ = Bundle::new().idle();
        let with_admin = format!("{:016x}", 0xa804_25fb_u64 | 1 << 21);
        let all = with_admin.as_str();
        for flag in [["--cap", "CAP_SYS_ADMIN"], ["-c", "CAP_SYS_ADMIN"]] {
            let seen = status(&box_, &flag);
            assert_eq!(sets(&seen), [NONE, all, all, all, NONE], "{seen:?}");
        }
        let seen = status(&box_, &["--cap", "CAP_SYS_ADMIN", "-u", "1000"]);
        assert_eq!(seen["CapAmb"], NONE, "{seen:?}");
        assert_eq!(seen["CapInh"], NONE, "{seen:?}");
    })
}

fn exec_as_a_plain_user_has_no_capabilities() -> Outcome {
    let box_ = Bundle::new().idle();
    let seen = status(&box_, &["-u", "1000:1000"]);
    assert_eq!(
        sets(&seen),
        [NONE, NONE, NONE, CAPABILITY_MASK, NONE],
        "{seen:?}"
    );
    Ok(())
}

fn document(args: &[&str]) -> Value {
    json!({"user": {"uid": 0, "gid": 0}, "args": args, "env": [PATH], "cwd": "/"})
}

fn exec_process_document_is_taken() -> Outcome {
    let box_ = Bundle::new().idle();
    let mut process = document(&["cat", "/proc/self/status"]);
    process["user"] = json!({"uid": 3, "gid": 4, "additionalGids": [50], "umask": 0o70});
    process["noNewPrivileges"] = json!(true);
    let caps = json!(["CAP_KILL"]);
    process["capabilities"] = json!({"bounding": caps, "effective": caps, "permitted": caps});
    let seen = fields(&box_.exec_process(&process).ok().stdout);
    assert_eq!(seen["Uid"], "3 3 3 3", "{seen:?}");
    assert_eq!(seen["Gid"], "4 4 4 4", "{seen:?}");
    assert_eq!(seen["Groups"], "50", "{seen:?}");
    assert_eq!(seen["NoNewPrivs"], "1", "{seen:?}");
    assert_eq!(seen["CapBnd"], "0000000000000020", "{seen:?}");
    assert_eq!(seen["CapInh"], NONE, "{seen:?}");
    assert_eq!(seen["CapAmb"], NONE, "{seen:?}");
    let mut process = document(&[
        "sh",
        "-c",
        "pwd; ulimit -s; echo $X; cat /proc/self/oom_score_adj",
    ]);
    process["cwd"] = json!("/etc");
    process["env"] = json!([PATH, "X=y"]);
    process["rlimits"] = json!([{"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 4_194_304}]);
    box_.exec_process(&process).ok().prints("/etc\n4096\ny\n0");
    Ok(())
}

fn exec_process_document_inherits_the_rest() -> Outcome {
    // SPEC: a document that names no limits must not lift those of the container.
    known_elsewhere("lifts the limits", || {
        let limits = json!([{"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 6_291_456}]);
        let box_ = Bundle::new()
            .set("/process/rlimits", limits)
            .set("/process/oomScoreAdj", json!(345))
            .idle();
        let script = "ulimit -Ss; ulimit -Hs; cat /proc/self/oom_score_adj";
        let process = document(&["sh", "-c", script]);
        box_.exec_process(&process).ok().prints("4096\n6144\n345");
    })
}

fn exec_never_reads_the_bundle() -> Outcome {
    known_elsewhere("reads the bundle again", || {
        let box_ = Bundle::new()
            .set("/process/noNewPrivileges", json!(true))
            .set("/process/env", json!([PATH, "A=original"]))
            .idle();
        let config = box_.dir().join("config.json");
        let changed = fs::read_to_string(&config)
            .unwrap()
            .replace("original", "changed");
        fs::write(&config, changed.replace("true", "false")).unwrap();
        let script = "echo $A; grep NoNewPrivs /proc/self/status";
        assert_eq!(box_.inside(script), "original\nNoNewPrivs:\t1\n");
        fs::remove_file(&config).unwrap();
        assert_eq!(box_.inside(script), "original\nNoNewPrivs:\t1\n");
        fs::rename(box_.dir(), box_.dir().with_extension("moved")).unwrap();
        let mut command = Command::new(bundle::runtime());
        let root = box_.dir().with_extension("moved").join("state");
        command
            .arg("--root")
            .arg(root)
            .args(["exec", box_.id(), "echo", "hi"]);
        let out = finish(command.stdin(Stdio::null()));
        fs::rename(box_.dir().with_extension("moved"), box_.dir()).unwrap();
        out.ok().prints("hi");
    })
}

fn exec_joins_the_cgroups() -> Outcome {
    let box_ = Bundle::new().idle();
    let init = proc_file(box_.pid(), "cgroup");
    let seen = box_.inside("cat /proc/self/cgroup");
    let of = |text: &str, name: &str| text.lines().find(|l| l.contains(name)).map(str::to_owned);
    let controllers: &[&str] = match is_v2() {
        true => &["0::"],
        false => &[":memory:", ":pids:", ":freezer:", ":devices:", ":cpu:"],
    };
    for &controller in controllers {
        assert_eq!(
            of(&seen, controller),
            of(&init, controller),
            "{controller}: {seen}"
        );
        assert!(of(&seen, controller).unwrap().contains(box_.id()), "{seen}");
    }
    Ok(())
}

fn exec_into_a_sub_cgroup() -> Outcome {
    let box_ = Bundle::new().idle();
    let groups = bundle::host::cgroups_of(box_.id());
    for dir in &groups {
        fs::create_dir(dir.join("sub")).unwrap();
        // KERNEL: a cpuset of v1 without processors takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (false, Ok(set)) = (is_v2(), fs::read(dir.join(file))) {
                fs::write(dir.join("sub").join(file), set).unwrap();
            }
        }
    }
    for name in ["sub", "/sub"] {
        let seen = box_
            .exec(&["--cgroup", name], &["cat", "/proc/self/cgroup"])
            .ok()
            .stdout;
        let controllers: &[&str] = match is_v2() {
            true => &[""],
            false => &["pids", "memory"],
        };
        for controller in controllers {
            let want = format!(":{controller}:/{}/sub\n", box_.id());
            assert!(seen.contains(&want), "{name}: {seen}");
        }
    }
    // One controller alone: it works, or is refused by name.
    let out = box_.exec(&["--cgroup", "pids:sub"], &["cat", "/proc/self/cgroup"]);
    if out.code == 0 {
        assert!(
            out.stdout.contains(&format!(":pids:/{}/sub\n", box_.id())),
            "{out:?}"
        );
    } else {
        out.status(255).says("cgroup");
    }
    box_.kill_and_wait();
    box_.delete().ok();
    assert_eq!(
        bundle::host::cgroups_of(box_.id()),
        Vec::<std::path::PathBuf>::new()
    );
    Ok(())
}

fn exec_into_a_cgroup_outside_is_refused() -> Outcome {
    let box_ = Bundle::new().idle();
    for path in ["pids:../..", "pids:/..", "pids:a/../../.."] {
        let out = box_.exec(&["--cgroup", path], &["cat", "/proc/self/cgroup"]);
        if out.code == 0 {
            assert!(
                out.stdout.contains(&format!(":pids:/{}", box_.id())),
                "{path}: {out:?}"
            );
        }
    }
    Ok(())
}

fn exec_detach_returns_and_the_process_lives() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.exec(&["--detach"], &["sleep", "2345"]).ok();
    let list = eventually("process in the list", || {
        let list = box_.inside("ps");
        list.contains("sleep 2345").then_some(list)
    });
    assert_eq!(list.matches("sleep 2345").count(), 1, "{list}");
    Ok(())
}

fn exec_detach_with_a_pid_file() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.exec(&["-d", "--pid-file", "exec.pid"], &["sleep", "2345"])
        .ok();
    let text = fs::read_to_string(box_.dir().join("exec.pid")).unwrap();
    let pid: i32 = text.parse().unwrap();
    eventually("the program runs", || {
        (proc_file(pid, "comm") == "sleep\n").then_some(())
    });
    let seen = fields(&proc_file(pid, "status"));
    // It hangs below the caller that collects orphans, as engines ask.
    let me = rustix::process::getpid().as_raw_nonzero().to_string();
    assert_eq!(seen["PPid"], me, "{seen:?}");
    Ok(())
}

fn exec_detach_dies_with_the_container() -> Outcome {
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    let box_ = box_.idle();
    box_.exec(&["-d", "--pid-file", "exec.pid"], &["sleep", "2345"])
        .ok();
    let pid = fs::read_to_string(box_.dir().join("exec.pid")).unwrap();
    let pid = pid.parse().unwrap();
    // The pid namespace only ends once this orphan is reaped, which is for us to do.
    let reaper = std::thread::spawn(move || wait_dead(pid));
    box_.delete_force().ok();
    reaper.join().unwrap();
    host.unchanged("exec of a deleted container");
    Ok(())
}

fn exec_into_a_paused_container_is_refused() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.call(&["pause", box_.id()]).ok();
    box_.exec(&[], &["true"]).failed().says("paused");
    box_.call(&["resume", box_.id()]).ok();
    box_.exec(&[], &["true"]).ok();
    Ok(())
}

fn exec_ignore_paused_runs_after_resume() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.call(&["pause", box_.id()]).ok();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = box_.command(&["exec", "--ignore-paused", box_.id(), "echo", "thawed"]);
    command.stdout(writer);
    let child = bundle::process::start(&mut command);
    drop(command);
    eventually("exec is in the frozen cgroup", || {
        let procs = kernel::cgroup_value("freezer", box_.id(), "cgroup.procs");
        (procs.lines().count() > 1).then_some(())
    });
    box_.call(&["resume", box_.id()]).ok();
    kernel::read_until(&reader, "thawed");
    assert_eq!(bundle::process::wait(child, "exec").code(), Some(0));
    Ok(())
}

fn exec_into_a_stopped_container_fails() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.kill_and_wait();
    box_.exec(&[], &["true"]).status(255).says("stopped");
    Ok(())
}

fn exec_into_a_missing_container_fails() -> Outcome {
    let box_ = Bundle::new();
    box_.exec(&[], &["true"]).status(255).says("does not exist");
    Ok(())
}

fn exec_of_a_missing_program_is_255() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.exec(&[], &["no-such-program"])
        .status(255)
        .says("executable file not found in $PATH");
    box_.exec(&[], &["/no/such/program"])
        .status(255)
        .says("no such file or directory");
    let out = box_.exec(&["--detach"], &["no-such-program"]).failed();
    assert!(
        out.stderr.contains("executable file not found in $PATH"),
        "{out:?}"
    );
    Ok(())
}

fn exec_of_an_unexecutable_file_is_255() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.exec(&[], &["/etc/passwd"])
        .status(255)
        .says("permission denied");
    Ok(())
}

fn exec_without_a_command_fails() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.exec(&[], &[]).failed();
    box_.call(&["exec"]).failed();
    Ok(())
}

fn exec_descriptors_are_three() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.exec(&["-d", "--pid-file", "exec.pid"], &["sleep", "2345"])
        .ok();
    let pid = fs::read_to_string(box_.dir().join("exec.pid"))
        .unwrap()
        .parse()
        .unwrap();
    eventually("the program runs", || {
        (proc_file(pid, "comm") == "sleep\n").then_some(())
    });
    let open = descriptors(pid);
    assert_eq!(
        open.keys().copied().collect::<Vec<_>>(),
        [0, 1, 2],
        "{open:?}"
    );
    Ok(())
}

fn exec_preserves_exactly_n_descriptors() -> Outcome {
    let box_ = Bundle::new().idle();
    for n in 0..4 {
        let script = format!(
            "exec 3</ 4<config.json 5</etc 6</etc/passwd 7</; exec '{}' --root state exec \
             --preserve-fds {n} -d --pid-file fd{n}.pid {} sleep 2345",
            bundle::runtime().display(),
            box_.id()
        );
        let mut shell = Command::new("sh");
        finish(
            shell
                .args(["-c", &script])
                .current_dir(box_.dir())
                .stdin(Stdio::null()),
        )
        .ok();
        let pid = fs::read_to_string(box_.dir().join(format!("fd{n}.pid"))).unwrap();
        let pid = pid.parse().unwrap();
        eventually("the program runs", || {
            (proc_file(pid, "comm") == "sleep\n").then_some(())
        });
        let open = descriptors(pid);
        let want: Vec<u32> = (0..3 + n).collect();
        assert_eq!(open.keys().copied().collect::<Vec<_>>(), want, "{open:?}");
    }
    Ok(())
}

fn exec_cwd_that_is_missing() -> Outcome {
    let box_ = Bundle::new().idle();
    let out = box_.exec(&["--cwd", "/no/such/dir"], &["pwd"]);
    if out.code == 0 {
        // It may be made, but inside.
        assert_eq!(out.stdout, "/no/such/dir\n", "{out:?}");
    } else {
        out.status(255).says("/no/such/dir");
    }
    let none = fs::metadata("/no/such").unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::NotFound, "{none}");
    Ok(())
}

fn exec_forwards_signals() -> Outcome {
    let box_ = Bundle::new().idle();
    let (reader, writer) = std::io::pipe().unwrap();
    let script =
        "trap 'echo got it; kill $!; exit 7' USR1; echo ready; while :; do sleep 1000 & wait; done";
    let mut command = box_.command(&["exec", box_.id(), "sh", "-c", script]);
    command.stdout(writer);
    let child = bundle::process::start(&mut command);
    drop(command);
    kernel::read_until(&reader, "ready");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    kernel::read_until(&reader, "got it");
    assert_eq!(bundle::process::wait(child, "exec").code(), Some(7));
    Ok(())
}

fn exec_sees_processes_of_the_container() -> Outcome {
    let box_ = Bundle::new().idle();
    assert_eq!(box_.inside("cat /proc/1/comm"), "sleep\n");
    Ok(())
}

fn exec_process_is_no_child_of_init_but_reaped() -> Outcome {
    let box_ = Bundle::new().idle();
    for _ in 0..5 {
        box_.exec(&[], &["true"]).ok();
    }
    let list = box_.inside("cat /proc/[0-9]*/stat | cut -d' ' -f3");
    assert!(!list.contains('Z'), "{list}");
    Ok(())
}

fn exec_with_a_long_argument_list() -> Outcome {
    // CVE-2021-43784: lengths that do not fit a 16-bit field.
    let box_ = Bundle::new().idle();
    let word = "x".repeat(100_000);
    let out = box_.exec(&[], &["echo", &word]).ok();
    assert_eq!(out.stdout.trim_end(), word, "{} bytes", out.stdout.len());
    let env = format!("LONG={word}");
    let out = box_
        .exec(&["-e", &env], &["sh", "-c", "echo ${#LONG}"])
        .ok();
    out.prints("100000");
    Ok(())
}

fn exec_many_at_once() -> Outcome {
    let box_ = Bundle::new().idle();
    let children: Vec<_> = (0..8)
        .map(|n| {
            let code = format!("exit {n}");
            let mut command = box_.command(&["exec", box_.id(), "sh", "-c", &code]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            bundle::process::start(&mut command)
        })
        .collect();
    for (n, child) in children.into_iter().enumerate() {
        let code = bundle::process::wait(child, "exec").code();
        assert_eq!(code, Some(i32::try_from(n).unwrap()));
    }
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn exec_process_without_args_fails() -> Outcome {
    let box_ = Bundle::new().idle();
    let host = Host::before(&box_, &[]);
    for text in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"args": 5}"#,
        r#"{"cwd":"/","args":[]}"#,
    ] {
        fs::write(box_.dir().join("bad.json"), text).unwrap();
        let out = box_
            .call(&["exec", "--process", "bad.json", box_.id()])
            .failed();
        assert!(!out.stderr.is_empty(), "{text}: {out:?}");
    }
    box_.call(&["exec", "--process", "no-such.json", box_.id()])
        .failed();
    host.unchanged("bad process documents");
    Ok(())
}
