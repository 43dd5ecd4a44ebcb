//! What `process`, `hostname`, `domainname` and `linux.sysctl` make of the first process: looked at
//! from inside, or in `/proc` of its pid.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::{Command, ExitCode};

use gl_e2e::bundle::config::{CAPABILITIES, CAPABILITY_MASK, PATH};
use gl_e2e::bundle::kernel::{self, fields};
use gl_e2e::bundle::{self, Bundle, finish, known_elsewhere};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        ids_are_those_of_the_config,
        supplementary_groups_are_exactly_those_listed,
        supplementary_groups_are_none_by_default,
        supplementary_groups_of_the_caller_are_kept_on_demand,
        umask_is_set,
        umask_defaults_to_022,
        home_comes_from_the_images_passwd,
        home_of_an_unknown_user_is_the_root,
        home_of_the_config_wins,
        numeric_names_in_passwd_change_nothing,
        environment_is_exactly_that_of_the_config,
        environment_with_odd_values_arrives_whole,
        long_argument_lists_arrive_whole,
        cwd_is_entered,
        cwd_that_is_missing_is_created,
        cwd_that_root_alone_may_enter_is_entered,
        capabilities_are_the_five_sets,
        capabilities_sets_differ_as_written,
        capabilities_of_a_plain_user_are_none,
        capabilities_ambient_reach_a_plain_user,
        capabilities_missing_means_none,
        capabilities_unknown_name_is_a_warning,
        rlimits_are_set,
        rlimits_untouched_are_inherited,
        no_new_privileges_is_set,
        no_new_privileges_is_off_by_default,
        oom_score_adj_is_set,
        oom_score_adj_is_inherited_when_unset,
        hostname_is_set_inside_only,
        domainname_is_set,
        sysctl_is_set_inside_only,
        sysctl_of_the_host_is_refused,
        session_is_new,
        parent_death_signal_is_none,
        signals_are_at_their_defaults,
        descriptors_are_three,
        descriptors_of_the_caller_do_not_leak,
        scheduler_is_set,
        io_priority_is_set,
        affinity_is_set_for_exec,
        personality_is_set,
        memory_policy_is_set,
        memory_policy_with_a_missing_node_is_refused,
        runtime_is_not_dumpable_to_the_container,
        cmdline_of_init_is_the_programs,
    ])
}

fn status(box_: &Bundle) -> std::collections::BTreeMap<String, String> {
    fields(&box_.run().ok().stdout)
}

fn self_status() -> Bundle {
    Bundle::new().args(&["cat", "/proc/self/status"])
}

fn ids_are_those_of_the_config() -> Outcome {
    let seen = status(&self_status().set("/process/user", json!({"uid": 1234, "gid": 4321})));
    assert_eq!(seen["Uid"], "1234 1234 1234 1234", "{seen:?}");
    assert_eq!(seen["Gid"], "4321 4321 4321 4321", "{seen:?}");
    let high = json!({"uid": 2_147_483_647_u32, "gid": 2_147_483_647_u32});
    let seen = status(&self_status().set("/process/user", high));
    assert_eq!(
        seen["Uid"].split(' ').next(),
        Some("2147483647"),
        "{seen:?}"
    );
    Ok(())
}

fn supplementary_groups_are_exactly_those_listed() -> Outcome {
    let user = json!({"uid": 5, "gid": 6, "additionalGids": [9, 7, 70000]});
    let seen = status(&self_status().set("/process/user", user));
    assert_eq!(seen["Groups"], "7 9 70000", "{seen:?}");
    Ok(())
}

fn supplementary_groups_are_none_by_default() -> Outcome {
    let seen = status(&self_status());
    assert!(
        seen["Groups"].is_empty() || seen["Groups"] == "0",
        "{seen:?}"
    );
    Ok(())
}

fn supplementary_groups_of_the_caller_are_kept_on_demand() -> Outcome {
    known_elsewhere("does not know the annotation", || {
        for (annotation, want) in [(None, ""), (Some("1"), "1234 2345"), (Some("0"), "")] {
            let mut box_ = self_status();
            if let Some(value) = annotation {
                box_ = box_.set(
                    "/annotations",
                    json!({"run.oci.keep_original_groups": value}),
                );
            }
            box_.write_config();
            let mut command = Command::new("setpriv");
            command
                .args(["--groups", "1234,2345", "--"])
                .arg(bundle::runtime())
                .args(["--root", "state", "run", box_.id()])
                .current_dir(box_.dir());
            let seen = fields(&finish(&mut command).ok().stdout);
            assert_eq!(seen["Groups"], want, "{annotation:?}: {seen:?}");
        }
    })
}

fn umask_is_set() -> Outcome {
    let seen = status(&self_status().set("/process/user/umask", json!(0o27)));
    assert_eq!(seen["Umask"], "0027", "{seen:?}");
    let seen = status(&self_status().set("/process/user/umask", json!(0)));
    assert_eq!(seen["Umask"], "0000", "{seen:?}");
    Ok(())
}

fn umask_defaults_to_022() -> Outcome {
    let seen = status(&self_status());
    assert_eq!(seen["Umask"], "0022", "{seen:?}");
    Ok(())
}

fn home_comes_from_the_images_passwd() -> Outcome {
    let box_ = Bundle::sh("echo $HOME").set("/process/user", json!({"uid": 77, "gid": 0}));
    box_.file(
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nx:x:77:0::/srv/x:/bin/sh\n",
    );
    box_.run().ok().prints("/srv/x");
    Bundle::sh("echo $HOME").run().ok().prints("/root");
    Ok(())
}

fn home_of_an_unknown_user_is_the_root() -> Outcome {
    let box_ = Bundle::sh("echo $HOME").set("/process/user", json!({"uid": 78, "gid": 0}));
    box_.run().ok().prints("/");
    let box_ = Bundle::sh("echo $HOME");
    fs::remove_file(box_.rootfs().join("etc/passwd")).unwrap();
    box_.run().ok().prints("/");
    Ok(())
}

fn home_of_the_config_wins() -> Outcome {
    let box_ = Bundle::sh("echo $HOME").set("/process/env", json!([PATH, "HOME=/mine"]));
    box_.run().ok().prints("/mine");
    Ok(())
}

fn numeric_names_in_passwd_change_nothing() -> Outcome {
    let user = json!({"uid": 1000, "gid": 0});
    let box_ = Bundle::sh("id -u; echo $HOME").set("/process/user", user);
    box_.file(
        "etc/passwd",
        "1000:x:0:0::/evil:/bin/sh\nu:x:1000:0::/good:/bin/sh\n",
    );
    box_.run().ok().prints("1000\n/good");
    Ok(())
}

fn environment_is_exactly_that_of_the_config() -> Outcome {
    let box_ = Bundle::new()
        .args(&["cat", "/proc/self/environ"])
        .set("/process/env", json!([PATH, "HOME=/h", "A=1", "B="]));
    let out = box_.run().ok();
    assert_eq!(out.stdout, format!("{PATH}\0HOME=/h\0A=1\0B=\0"), "{out:?}");
    Ok(())
}

fn environment_with_odd_values_arrives_whole() -> Outcome {
    let values = [
        "SPACE=a b  c",
        "NEWLINE=a\nb",
        "QUOTE='\"$x",
        "EQUALS=a=b=c",
        "UTF=äöü",
    ];
    let mut env = vec![PATH, "HOME=/"];
    env.extend(values);
    let box_ = Bundle::new()
        .args(&["cat", "/proc/self/environ"])
        .set("/process/env", json!(env));
    let out = box_.run().ok();
    assert_eq!(out.stdout, env.join("\0") + "\0", "{out:?}");
    Ok(())
}

fn long_argument_lists_arrive_whole() -> Outcome {
    // CVE-2021-43784: lengths that do not fit a 16-bit field.
    let word = "x".repeat(100_000);
    let out = Bundle::new().args(&["echo", &word]).run().ok();
    assert_eq!(out.stdout.trim_end(), word, "{} bytes", out.stdout.len());
    let many = vec!["y"; 20_000];
    let mut args = vec!["echo"];
    args.extend(&many);
    let out = Bundle::new().args(&args).run().ok();
    assert_eq!(
        out.stdout.trim_end(),
        many.join(" "),
        "{} bytes",
        out.stdout.len()
    );
    Ok(())
}

fn cwd_is_entered() -> Outcome {
    let box_ = Bundle::new()
        .args(&["pwd"])
        .set("/process/cwd", json!("/tmp"));
    box_.run().ok().prints("/tmp");
    Ok(())
}

fn cwd_that_is_missing_is_created() -> Outcome {
    let box_ = Bundle::sh("pwd; stat -c %a .").set("/process/cwd", json!("/not/yet/there"));
    box_.run().ok().prints("/not/yet/there\n755");
    Ok(())
}

fn cwd_that_root_alone_may_enter_is_entered() -> Outcome {
    let box_ = Bundle::new()
        .args(&["pwd"])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/cwd", json!("/private/dir"));
    box_.dir_in("private/dir");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(box_.rootfs().join("private"), mode).unwrap();
    box_.run().ok().prints("/private/dir");
    Ok(())
}

fn sets(box_: &Bundle) -> [String; 5] {
    let seen = status(box_);
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|k| seen[k].clone())
}

const NONE: &str = "0000000000000000";

fn capabilities_are_the_five_sets() -> Outcome {
    let seen = sets(&self_status());
    let all = CAPABILITY_MASK;
    assert_eq!(seen, [NONE, all, all, all, NONE].map(str::to_owned));
    Ok(())
}

fn capabilities_sets_differ_as_written() -> Outcome {
    // chown 0, kill 5, setuid 7, net_bind_service 10. The program has no file capabilities, and
    // root gets the bounding and inheritable sets at exec; a plain user shows the difference.
    let box_ = self_status().set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_BIND_SERVICE"],
            "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "inheritable": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN"],
            "ambient": ["CAP_CHOWN"],
        }),
    );
    let plain = box_.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let seen = sets(&plain);
    assert_eq!(seen[0], "0000000000000021", "inheritable {seen:?}");
    assert_eq!(seen[1], "0000000000000001", "permitted {seen:?}");
    assert_eq!(seen[2], "0000000000000001", "effective {seen:?}");
    assert_eq!(seen[3], "00000000000004a1", "bounding {seen:?}");
    assert_eq!(seen[4], "0000000000000001", "ambient {seen:?}");
    Ok(())
}

fn capabilities_of_a_plain_user_are_none() -> Outcome {
    let box_ = self_status().set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let seen = sets(&box_);
    assert_eq!(
        seen,
        [NONE, NONE, NONE, CAPABILITY_MASK, NONE].map(str::to_owned)
    );
    Ok(())
}

fn capabilities_ambient_reach_a_plain_user() -> Outcome {
    let one = json!(["CAP_NET_BIND_SERVICE"]);
    let mut box_ = self_status().set("/process/user", json!({"uid": 1000, "gid": 1000}));
    for set in [
        "bounding",
        "permitted",
        "inheritable",
        "effective",
        "ambient",
    ] {
        box_ = box_.set(&format!("/process/capabilities/{set}"), one.clone());
    }
    assert_eq!(sets(&box_), ["0000000000000400"; 5].map(str::to_owned));
    Ok(())
}

fn capabilities_missing_means_none() -> Outcome {
    let seen = sets(&self_status().unset("/process/capabilities"));
    assert_eq!(seen, [NONE; 5].map(str::to_owned));
    let seen = sets(&self_status().set("/process/capabilities", json!({})));
    assert_eq!(seen, [NONE; 5].map(str::to_owned));
    Ok(())
}

fn capabilities_unknown_name_is_a_warning() -> Outcome {
    let mut names: Vec<&str> = CAPABILITIES.to_vec();
    names.push("CAP_NEVER_HEARD_OF");
    let box_ = self_status()
        .set("/process/capabilities/bounding", json!(names))
        .set("/process/capabilities/effective", json!(names))
        .set("/process/capabilities/permitted", json!(names));
    let out = box_.run().ok();
    assert!(out.stderr.contains("CAP_NEVER_HEARD_OF"), "{out:?}");
    assert_eq!(fields(&out.stdout)["CapBnd"], CAPABILITY_MASK, "{out:?}");
    Ok(())
}

fn limit_line(text: &str, name: &str) -> Vec<String> {
    let line = text.lines().find(|l| l.starts_with(name)).unwrap();
    line[name.len()..]
        .split_whitespace()
        .take(2)
        .map(str::to_owned)
        .collect()
}

fn rlimits_are_set() -> Outcome {
    let box_ = Bundle::new().args(&["cat", "/proc/self/limits"]).set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_CPU", "soft": 50, "hard": 60},
            {"type": "RLIMIT_FSIZE", "soft": 1_000_000, "hard": 2_000_000},
            {"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608},
            {"type": "RLIMIT_NPROC", "soft": 300, "hard": 400},
            {"type": "RLIMIT_MEMLOCK", "soft": 4096, "hard": 8192},
            {"type": "RLIMIT_SIGPENDING", "soft": 10, "hard": 20},
            {"type": "RLIMIT_MSGQUEUE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_LOCKS", "soft": 10, "hard": 20},
        ]),
    );
    let seen = box_.run().ok().stdout;
    for (name, soft, hard) in [
        ("Max open files", "100", "200"),
        ("Max core file size", "0", "0"),
        ("Max cpu time", "50", "60"),
        ("Max file size", "1000000", "2000000"),
        ("Max stack size", "4194304", "8388608"),
        ("Max processes", "300", "400"),
        ("Max locked memory", "4096", "8192"),
        ("Max pending signals", "10", "20"),
        ("Max msgqueue size", "100", "200"),
        ("Max file locks", "10", "20"),
    ] {
        assert_eq!(limit_line(&seen, name), [soft, hard], "{name}: {seen}");
    }
    Ok(())
}

fn rlimits_untouched_are_inherited() -> Outcome {
    let ours = fs::read_to_string("/proc/self/limits").unwrap();
    let seen = Bundle::new()
        .args(&["cat", "/proc/self/limits"])
        .run()
        .ok()
        .stdout;
    for name in [
        "Max open files",
        "Max processes",
        "Max stack size",
        "Max core file size",
    ] {
        assert_eq!(
            limit_line(&seen, name),
            limit_line(&ours, name),
            "{name}: {seen}"
        );
    }
    Ok(())
}

fn no_new_privileges_is_set() -> Outcome {
    let seen = status(&self_status().set("/process/noNewPrivileges", json!(true)));
    assert_eq!(seen["NoNewPrivs"], "1", "{seen:?}");
    Ok(())
}

fn no_new_privileges_is_off_by_default() -> Outcome {
    let seen = status(&self_status());
    assert_eq!(seen["NoNewPrivs"], "0", "{seen:?}");
    Ok(())
}

fn oom_score_adj_is_set() -> Outcome {
    let box_ = Bundle::new()
        .args(&["cat", "/proc/self/oom_score_adj"])
        .set("/process/oomScoreAdj", json!(321));
    box_.run().ok().prints("321");
    Ok(())
}

fn oom_score_adj_is_inherited_when_unset() -> Outcome {
    let ours = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let box_ = Bundle::new().args(&["cat", "/proc/self/oom_score_adj"]);
    box_.run().ok().prints(ours.trim_end());
    Ok(())
}

fn hostname_is_set_inside_only() -> Outcome {
    let ours = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let box_ = Bundle::new()
        .args(&["hostname"])
        .set("/hostname", json!("inside"));
    box_.run().ok().prints("inside");
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        ours
    );
    Ok(())
}

fn domainname_is_set() -> Outcome {
    known_elsewhere("older spec", || {
        let box_ = Bundle::new()
            .args(&["cat", "/proc/sys/kernel/domainname"])
            .set("/domainname", json!("example.org"));
        box_.run().ok().prints("example.org");
    })
}

fn sysctl_is_set_inside_only() -> Outcome {
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let ours = fs::read_to_string(path).unwrap();
    let box_ = Bundle::sh(&format!("cat {path} /proc/sys/kernel/msgmax")).set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "9000"}),
    );
    box_.run().ok().prints("77\n9000");
    assert_eq!(fs::read_to_string(path).unwrap(), ours);
    Ok(())
}

fn sysctl_of_the_host_is_refused() -> Outcome {
    for (key, value) in [
        ("kernel.core_pattern", "/tmp/evil"),
        ("vm.swappiness", "1"),
        ("net.ipv4.../../../kernel/sysrq", "1"),
        ("kernel.msgmax/../sysrq", "1"),
        ("fs.file-max", "1000"),
    ] {
        let box_ = Bundle::new()
            .args(&["true"])
            .set("/linux/sysctl", json!({key: value}));
        let host = bundle::Host::before(&box_, &[]);
        box_.run().failed();
        host.unchanged(key);
    }
    for (key, kind) in [("net.ipv4.ip_forward", "network"), ("kernel.shmmax", "ipc")] {
        let box_ = Bundle::new()
            .args(&["true"])
            .namespace(kind, None)
            .without_mount("/dev/mqueue")
            .set("/linux/sysctl", json!({key: "1"}));
        box_.run().failed();
    }
    Ok(())
}

/// Numbers of `/proc/PID/stat` after the name: index 0 is the state.
fn stat(pid: i32) -> Vec<String> {
    let text = kernel::proc_file(pid, "stat");
    let rest = text.rsplit_once(')').unwrap().1;
    rest.split_whitespace().map(str::to_owned).collect()
}

fn session_is_new() -> Outcome {
    let box_ = Bundle::new().idle();
    let pid = box_.pid();
    let seen = stat(pid);
    assert_eq!(seen[3], pid.to_string(), "session of {seen:?}");
    assert_eq!(seen[2], pid.to_string(), "process group of {seen:?}");
    Ok(())
}

fn parent_death_signal_is_none() -> Outcome {
    // The runtime has ended since create, and init still runs.
    let box_ = Bundle::new().idle();
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn signals_are_at_their_defaults() -> Outcome {
    let seen = status(&self_status());
    for key in ["SigBlk", "SigIgn", "SigCgt"] {
        // 32 and 33 belong to the C library, and come from whoever started the test.
        let mask = u64::from_str_radix(&seen[key], 16).unwrap() & !(3 << 31);
        assert_eq!(mask, 0, "{key}: {seen:?}");
    }
    Ok(())
}

fn descriptors_are_three() -> Outcome {
    let box_ = Bundle::new().idle();
    let open = kernel::descriptors(box_.pid());
    assert_eq!(
        open.keys().copied().collect::<Vec<_>>(),
        [0, 1, 2],
        "{open:?}"
    );
    Ok(())
}

fn descriptors_of_the_caller_do_not_leak() -> Outcome {
    // A shell opens host directories as 3 to 60 without close-on-exec.
    let box_ = Bundle::sh("ls -l /proc/1/fd");
    box_.write_config();
    let opens: String = (3..10).map(|n| format!("exec {n}</ ; ")).collect();
    let script = format!(
        "{opens} exec '{}' --root state run {}",
        bundle::runtime().display(),
        box_.id()
    );
    let out = finish(
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(box_.dir()),
    )
    .ok();
    let numbers: Vec<_> = out
        .stdout
        .lines()
        .filter(|l| l.starts_with('l'))
        .filter_map(|l| {
            l.split(" -> ")
                .next()?
                .rsplit(' ')
                .next()?
                .parse::<u32>()
                .ok()
        })
        .collect();
    // `ls` is init here and has its own descriptor of the directory.
    assert_eq!(numbers, [0, 1, 2, 3], "{out:?}");
    assert!(!out.stdout.contains("-> /\n"), "{out:?}");
    Ok(())
}

fn scheduler_is_set() -> Outcome {
    known_elsewhere("older spec", || {
        let box_ = Bundle::new()
            .set(
                "/process/scheduler",
                json!({"policy": "SCHED_BATCH", "nice": 7}),
            )
            .idle();
        let seen = stat(box_.pid());
        assert_eq!(
            (seen[38].as_str(), seen[16].as_str()),
            ("3", "7"),
            "{seen:?}"
        );
        let mut box_ = Bundle::new().set(
            "/process/scheduler",
            json!({"policy": "SCHED_FIFO", "priority": 5}),
        );
        // KERNEL: with RT_GROUP_SCHED a v1 cgroup has no time for such processes unless it is given.
        if fs::metadata("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").is_ok() {
            let cpu = json!({"realtimePeriod": 1_000_000, "realtimeRuntime": 10_000});
            box_ = box_.set("/linux/resources/cpu", cpu);
        }
        let box_ = box_.idle();
        let seen = stat(box_.pid());
        assert_eq!(
            (seen[38].as_str(), seen[37].as_str()),
            ("1", "5"),
            "{seen:?}"
        );
    })
}

fn io_priority_is_set() -> Outcome {
    known_elsewhere("older spec", || {
        let box_ = Bundle::new().args(&["ionice"]).set(
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
        );
        box_.run().ok().prints("best-effort: prio 6");
    })
}

fn affinity_is_set_for_exec() -> Outcome {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if cpus < 2 {
        return Err(Skip("one cpu only".to_owned()));
    }
    known_elsewhere("older spec", || {
        let box_ = Bundle::new()
            .set(
                "/process/execCPUAffinity",
                json!({"initial": "0", "final": "1"}),
            )
            .idle();
        let seen = fields(&box_.inside("cat /proc/self/status"));
        assert_eq!(seen["Cpus_allowed_list"], "1", "{seen:?}");
    })
}

fn personality_is_set() -> Outcome {
    let box_ = Bundle::new()
        .args(&["uname", "-m"])
        .set("/linux/personality", json!({"domain": "LINUX32"}));
    known_elsewhere("older spec", || {
        let box_ = Bundle::new()
            .args(&["uname", "-m"])
            .set("/linux/personality", json!({"domain": "LINUX32"}));
        box_.run().ok().prints("i686");
    })?;
    box_.set("/linux/personality", json!({"domain": "LINUX"}))
        .run()
        .ok()
        .prints("x86_64");
    Ok(())
}

/// The policies that a `numa_maps` names.
fn policies(text: &str) -> std::collections::BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect()
}

fn memory_policy_is_set() -> Outcome {
    if fs::metadata("/proc/self/numa_maps").is_err() {
        return Err(Skip("this kernel has no NUMA".to_owned()));
    }
    known_elsewhere("older spec", || {
        for (policy, want) in [
            (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
            (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
            (json!({"mode": "MPOL_LOCAL"}), "local"),
            (json!({"mode": "MPOL_DEFAULT"}), "default"),
            (
                json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
                "interleave=static:0",
            ),
        ] {
            let box_ = Bundle::new()
                .set("/linux/memoryPolicy", policy.clone())
                .idle();
            let init = kernel::proc_file(box_.pid(), "numa_maps");
            assert_eq!(Vec::from_iter(policies(&init)), [want], "{policy}: {init}");
            let exec = box_.inside("cat /proc/self/numa_maps");
            assert_eq!(Vec::from_iter(policies(&exec)), [want], "{policy}: {exec}");
        }
    })
}

fn memory_policy_with_a_missing_node_is_refused() -> Outcome {
    known_elsewhere("older spec", || {
        let policy = json!({"mode": "MPOL_BIND", "nodes": "1000"});
        let box_ = Bundle::new().set("/linux/memoryPolicy", policy);
        let host = bundle::Host::before(&box_, &[]);
        box_.create().status(1).says("linux.memoryPolicy");
        host.unchanged("a node that is not there");
    })
}

fn runtime_is_not_dumpable_to_the_container() -> Outcome {
    // CVE-2016-9962: what waits at the gate is not open to a process with the same ids.
    let box_ = Bundle::new();
    box_.create().ok();
    let owner = fs::metadata(format!("/proc/{}/environ", box_.pid())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    Ok(())
}

fn cmdline_of_init_is_the_programs() -> Outcome {
    let box_ = Bundle::new().args(&["cat", "/proc/self/cmdline", "/proc/self/comm"]);
    box_.run()
        .ok()
        .prints("cat\0/proc/self/cmdline\0/proc/self/comm\0cat");
    Ok(())
}
