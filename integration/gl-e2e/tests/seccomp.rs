//! The seccomp section as a process of the container meets it.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Instant;

use gl_e2e::bundle::kernel::{fields, readable};
use gl_e2e::bundle::listener::Listener;
use gl_e2e::bundle::{self, Bundle, Host, known_elsewhere};
use gl_e2e::{Outcome, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        filter_is_attached_once,
        filter_is_absent_without_a_section,
        errno_is_the_one_of_the_rule,
        errno_defaults_to_eperm,
        errno_of_the_default_action,
        errno_differs_between_two_containers,
        kill_process_ends_it_with_sigsys,
        trap_ends_it_with_sigsys,
        trace_without_a_tracer_is_enosys,
        log_lets_the_call_pass,
        operators_compare_an_argument,
        arguments_are_all_needed,
        argument_of_64_bits_is_compared_whole,
        rules_of_one_call_with_other_arguments_add_up,
        plain_user_gets_the_filter_without_no_new_privileges,
        plain_user_gets_the_filter_with_no_new_privileges,
        allow_list_lets_a_shell_work,
        flags_are_taken,
        architectures_may_be_left_out,
        unknown_names_of_calls_are_ignored,
        unknown_action_is_refused,
        unknown_architecture_is_refused,
        unknown_operator_is_refused,
        unknown_flag_is_refused,
        notify_sends_the_listener_and_the_state,
        notify_hands_calls_to_the_listener,
        notify_of_exec_has_its_own_listener,
        notify_without_a_listener_is_refused,
        notify_as_the_default_is_refused,
        notify_of_write_is_refused,
        notify_with_a_dead_listener_fails,
        names_split_over_rules_mean_the_same,
    ])
}

fn filter(rules: &Value) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}

fn with(box_: Bundle, rules: &Value) -> Bundle {
    box_.set("/linux/seccomp", filter(rules))
}

/// `mkdir` under one action.
fn mkdir_is(action: &str, errno: Option<u32>) -> Value {
    let mut rule = json!({"names": ["mkdir", "mkdirat"], "action": action});
    if let Some(errno) = errno {
        rule["errnoRet"] = json!(errno);
    }
    json!([rule])
}

fn filter_is_attached_once() -> Outcome {
    let box_ = with(Bundle::new(), &mkdir_is("SCMP_ACT_ERRNO", None));
    let seen = fields(&box_.args(&["cat", "/proc/self/status"]).run().ok().stdout);
    assert_eq!(seen["Seccomp"], "2", "{seen:?}");
    assert_eq!(seen["Seccomp_filters"], "1", "{seen:?}");
    Ok(())
}

fn filter_is_absent_without_a_section() -> Outcome {
    let out = Bundle::new().args(&["cat", "/proc/self/status"]).run().ok();
    let seen = fields(&out.stdout);
    assert_eq!(seen["Seccomp"], "0", "{seen:?}");
    Ok(())
}

#[track_caller]
fn mkdir_says(box_: Bundle, text: &str) {
    let out = box_.args(&["mkdir", "/tmp/x"]).run().status(1);
    assert!(out.stderr.contains(text), "no {text:?} in {out:?}");
}

fn errno_is_the_one_of_the_rule() -> Outcome {
    for (errno, text) in [
        (95, "Operation not supported"),
        (38, "Function not implemented"),
        (13, "Permission denied"),
        (28, "No space left on device"),
    ] {
        mkdir_says(
            with(Bundle::new(), &mkdir_is("SCMP_ACT_ERRNO", Some(errno))),
            text,
        );
    }
    Ok(())
}

fn errno_defaults_to_eperm() -> Outcome {
    let box_ = with(Bundle::new(), &mkdir_is("SCMP_ACT_ERRNO", None));
    mkdir_says(box_, "Operation not permitted");
    Ok(())
}

fn errno_of_the_default_action() -> Outcome {
    for (errno, text) in [
        (Some(95), "Operation not supported"),
        (None, "Operation not permitted"),
    ] {
        let mut section = allow_list(&["mkdir", "mkdirat"]);
        if let Some(errno) = errno {
            section["defaultErrnoRet"] = json!(errno);
        }
        mkdir_says(Bundle::new().set("/linux/seccomp", section), text);
    }
    Ok(())
}

fn errno_differs_between_two_containers() -> Outcome {
    // A cache that forgot the value would give both the first one.
    for (errno, text) in [(95, "Operation not supported"), (13, "Permission denied")] {
        for _ in 0..2 {
            mkdir_says(
                with(Bundle::new(), &mkdir_is("SCMP_ACT_ERRNO", Some(errno))),
                text,
            );
        }
    }
    Ok(())
}

fn ends_with_sigsys(action: &str) {
    let script = "mkdir /tmp/x; echo status $?";
    let out = with(Bundle::sh(script), &mkdir_is(action, None)).run().ok();
    assert!(out.stdout.contains("status 159"), "{action}: {out:?}");
}

fn kill_process_ends_it_with_sigsys() -> Outcome {
    for action in [
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
    ] {
        ends_with_sigsys(action);
    }
    Ok(())
}

fn trap_ends_it_with_sigsys() -> Outcome {
    ends_with_sigsys("SCMP_ACT_TRAP");
    Ok(())
}

fn trace_without_a_tracer_is_enosys() -> Outcome {
    let box_ = with(Bundle::new(), &mkdir_is("SCMP_ACT_TRACE", Some(1)));
    mkdir_says(box_, "Function not implemented");
    Ok(())
}

fn log_lets_the_call_pass() -> Outcome {
    let box_ = with(
        Bundle::sh("mkdir /tmp/x && echo made"),
        &mkdir_is("SCMP_ACT_LOG", None),
    );
    box_.run().ok().prints("made");
    Ok(())
}

/// A rule on `kill`, seen by sending signals to a process that is not there.
fn kill_rule(args: &Value) -> Value {
    json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": args}])
}

/// Which of these signals `kill` may not send under the rule.
fn blocked(rules: &Value, signals: &[u32]) -> Vec<u32> {
    let list: Vec<String> = signals.iter().map(u32::to_string).collect();
    let script = format!(
        "for s in {}; do kill -$s 30000 2>&1 | grep -q 'not supported' && echo $s; done; true",
        list.join(" ")
    );
    let out = with(Bundle::sh(&script), rules).run().ok();
    out.stdout.lines().map(|l| l.parse().unwrap()).collect()
}

fn operators_compare_an_argument() -> Outcome {
    let signals = [1, 2, 9, 10, 12, 15, 31];
    for (op, value, value_two, want) in [
        ("SCMP_CMP_EQ", 10, 0, &[10][..]),
        ("SCMP_CMP_NE", 10, 0, &[1, 2, 9, 12, 15, 31]),
        ("SCMP_CMP_LT", 10, 0, &[1, 2, 9]),
        ("SCMP_CMP_LE", 10, 0, &[1, 2, 9, 10]),
        ("SCMP_CMP_GT", 10, 0, &[12, 15, 31]),
        ("SCMP_CMP_GE", 10, 0, &[10, 12, 15, 31]),
        ("SCMP_CMP_MASKED_EQ", 8, 8, &[9, 10, 12, 15, 31]),
        ("SCMP_CMP_MASKED_EQ", 3, 2, &[2, 10]),
    ] {
        let rule = json!([{"index": 1, "op": op, "value": value, "valueTwo": value_two}]);
        assert_eq!(
            blocked(&kill_rule(&rule), &signals),
            want,
            "{op} {value} {value_two}"
        );
    }
    Ok(())
}

fn arguments_are_all_needed() -> Outcome {
    let both = json!([
        {"index": 0, "op": "SCMP_CMP_EQ", "value": 30000},
        {"index": 1, "op": "SCMP_CMP_EQ", "value": 10},
    ]);
    assert_eq!(blocked(&kill_rule(&both), &[1, 10, 12]), [10]);
    let other = json!([
        {"index": 0, "op": "SCMP_CMP_EQ", "value": 30001},
        {"index": 1, "op": "SCMP_CMP_EQ", "value": 10},
    ]);
    assert!(blocked(&kill_rule(&other), &[1, 10, 12]).is_empty());
    Ok(())
}

fn argument_of_64_bits_is_compared_whole() -> Outcome {
    let high = json!([{"index": 1, "op": "SCMP_CMP_EQ", "value": (1_u64 << 32) + 10}]);
    assert!(blocked(&kill_rule(&high), &[10]).is_empty());
    let less = json!([{"index": 1, "op": "SCMP_CMP_LT", "value": 1_u64 << 32}]);
    assert_eq!(blocked(&kill_rule(&less), &[10]), [10]);
    Ok(())
}

fn rules_of_one_call_with_other_arguments_add_up() -> Outcome {
    let rule = |signal: u32| {
        json!({
            "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
            "args": [{"index": 1, "op": "SCMP_CMP_EQ", "value": signal}],
        })
    };
    let rules = json!([rule(10), rule(12)]);
    assert_eq!(blocked(&rules, &[1, 10, 12, 15]), [10, 12]);
    Ok(())
}

fn plain_user(no_new_privileges: bool) {
    let box_ = with(Bundle::new(), &mkdir_is("SCMP_ACT_ERRNO", Some(95)))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/noNewPrivileges", json!(no_new_privileges));
    mkdir_says(box_, "Operation not supported");
}

fn plain_user_gets_the_filter_without_no_new_privileges() -> Outcome {
    plain_user(false);
    Ok(())
}

fn plain_user_gets_the_filter_with_no_new_privileges() -> Outcome {
    plain_user(true);
    Ok(())
}

/// Enough for busybox.
const BUSYBOX_CALLS: &str = "access arch_prctl brk capget capset chdir clone clone3 close close_range dup dup2 dup3 \
    epoll_create1 epoll_ctl epoll_pwait epoll_wait execve execveat exit exit_group faccessat \
    faccessat2 fchdir fchown fcntl fork fstat fstatfs futex getcwd getdents64 getegid \
    geteuid getgid getgroups getpgrp getpid getppid getrandom gettid getuid ioctl kill lseek \
    lstat madvise mkdir mkdirat mmap mprotect munmap nanosleep clock_nanosleep newfstatat \
    open openat pipe pipe2 poll ppoll prctl pread64 prlimit64 read readlink readlinkat \
    recvmsg recvfrom rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity \
    sched_yield sendfile sendmsg sendto set_robust_list set_tid_address setgid setgroups \
    setresgid setresuid setsid setuid sigaltstack stat statx sysinfo tgkill tkill umask \
    uname unlink vfork wait4 waitid write writev seccomp getsockopt statfs openat2 connect \
    socket accept4 shutdown pidfd_open fsync rt_sigsuspend rt_sigtimedwait restart_syscall \
    time gettimeofday clock_gettime";

/// Allows [`BUSYBOX_CALLS`] less some names; everything else is refused.
fn allow_list(less: &[&str]) -> Value {
    let mut names: Vec<&str> = BUSYBOX_CALLS.split(' ').collect();
    names.retain(|n| !less.contains(n));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    })
}

fn allow_list_lets_a_shell_work() -> Outcome {
    for no_new_privileges in [false, true] {
        let script =
            "mkdir /tmp/x && ls -d /tmp/x && cat /proc/self/comm | tr a-z A-Z; chmod 1 /tmp/x";
        let box_ = Bundle::sh(script)
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/linux/seccomp", allow_list(&[]));
        let out = box_.run().status(1).prints("/tmp/x\nCAT");
        assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
    }
    Ok(())
}

fn flags_are_taken() -> Outcome {
    known_elsewhere("knows no flags", || {
        let mut section = filter(&mkdir_is("SCMP_ACT_ERRNO", Some(95)));
        section["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]);
        mkdir_says(
            Bundle::new().set("/linux/seccomp", section),
            "Operation not supported",
        );
    })
}

fn architectures_may_be_left_out() -> Outcome {
    let mut section = filter(&mkdir_is("SCMP_ACT_ERRNO", Some(95)));
    section.as_object_mut().unwrap().remove("architectures");
    mkdir_says(
        Bundle::new().set("/linux/seccomp", section),
        "Operation not supported",
    );
    Ok(())
}

fn unknown_names_of_calls_are_ignored() -> Outcome {
    let rules = json!([{
        "names": ["mkdir", "mkdirat", "never_heard_of", "quantum_fork"],
        "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
    }]);
    mkdir_says(with(Bundle::new(), &rules), "Operation not supported");
    Ok(())
}

#[track_caller]
fn refused(section: Value, text: &str) {
    let box_ = Bundle::new().set("/linux/seccomp", section);
    let host = Host::before(&box_, &[]);
    let out = box_.create().failed();
    assert!(out.stderr.contains(text), "no {text:?} in {out:?}");
    host.unchanged(text);
}

fn unknown_action_is_refused() -> Outcome {
    refused(
        filter(&mkdir_is("SCMP_ACT_EXPLODE", None)),
        "SCMP_ACT_EXPLODE",
    );
    let mut section = filter(&json!([]));
    section["defaultAction"] = json!("SCMP_ACT_EXPLODE");
    refused(section, "SCMP_ACT_EXPLODE");
    Ok(())
}

fn unknown_architecture_is_refused() -> Outcome {
    let mut section = filter(&mkdir_is("SCMP_ACT_ERRNO", None));
    section["architectures"] = json!(["SCMP_ARCH_PDP11"]);
    refused(section, "SCMP_ARCH_PDP11");
    Ok(())
}

fn unknown_operator_is_refused() -> Outcome {
    let rule = json!([{"index": 1, "op": "SCMP_CMP_ALMOST", "value": 1}]);
    refused(filter(&kill_rule(&rule)), "SCMP_CMP_ALMOST");
    Ok(())
}

fn unknown_flag_is_refused() -> Outcome {
    let mut section = filter(&mkdir_is("SCMP_ACT_ERRNO", None));
    section["flags"] = json!(["SECCOMP_FILTER_FLAG_NEVER"]);
    let named = bundle::is_greenlang();
    refused(
        section,
        if named {
            "SECCOMP_FILTER_FLAG_NEVER"
        } else {
            "flags"
        },
    );
    Ok(())
}

/// A section that hands `mkdir` to the listener at `path`.
fn notify(path: &str) -> Value {
    let mut section = filter(&mkdir_is("SCMP_ACT_NOTIFY", None));
    section["listenerPath"] = json!(path);
    section["listenerMetadata"] = json!("meta data");
    section
}

fn notify_sends_the_listener_and_the_state() -> Outcome {
    let box_ = Bundle::new();
    let listener = Listener::new(box_.dir(), "agent.sock");
    let box_ = box_.set("/linux/seccomp", notify(listener.path()));
    box_.create().ok();
    let pid = box_.pid();
    // Some runtimes send it at start only.
    let started = box_.start();
    let message = listener.receive();
    started.ok();
    let document: Value = serde_json::from_str(&message.text).unwrap();
    assert_eq!(document["fds"], json!(["seccompFd"]), "{document}");
    assert_eq!(document["pid"], pid, "{document}");
    assert_eq!(document["metadata"], "meta data", "{document}");
    assert_eq!(document["state"]["id"], box_.id(), "{document}");
    assert_eq!(
        document["state"]["bundle"],
        box_.dir().to_str().unwrap(),
        "{document}"
    );
    assert!(
        document["ociVersion"].as_str().unwrap().starts_with("1."),
        "{document}"
    );
    let fd = message.one();
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    assert_eq!(link.to_str(), Some("anon_inode:seccomp notify"));
    Ok(())
}

fn notify_hands_calls_to_the_listener() -> Outcome {
    let script = "echo ready; mkdir /tmp/x 2>&1; echo status $?; exec sleep 1000";
    for no_new_privileges in [false, true] {
        let box_ = Bundle::sh(script).set("/process/noNewPrivileges", json!(no_new_privileges));
        let listener = Listener::new(box_.dir(), "agent.sock");
        let box_ = box_.set("/linux/seccomp", notify(listener.path()));
        box_.create().ok();
        box_.start().ok();
        let fd = listener.receive().one();
        // The call waits for an answer; a listener that is closed answers ENOSYS.
        let end = Instant::now() + bundle::process::LIMIT;
        assert!(readable(&fd, end), "no call arrived");
        drop(fd);
        let seen = box_.wait_for("status");
        assert!(seen.contains("Function not implemented"), "{seen}");
    }
    Ok(())
}

fn notify_of_exec_has_its_own_listener() -> Outcome {
    let box_ = Bundle::sh("echo ready; exec sleep 1000");
    let listener = Listener::new(box_.dir(), "agent.sock");
    let box_ = box_.set("/linux/seccomp", notify(listener.path()));
    box_.create().ok();
    box_.start().ok();
    let init = listener.receive().one();
    let mut command = box_.command(&["exec", box_.id(), "mkdir", "/tmp/x"]);
    command.stderr(std::process::Stdio::null());
    let child = bundle::process::start(&mut command);
    let message = listener.receive();
    let document: Value = serde_json::from_str(&message.text).unwrap();
    assert_ne!(document["pid"], box_.pid(), "{document}");
    let fd = message.one();
    assert!(
        readable(&fd, Instant::now() + bundle::process::LIMIT),
        "no call arrived"
    );
    assert!(
        !readable(&init, Instant::now()),
        "the call of exec went to init's listener"
    );
    drop(fd);
    assert_eq!(bundle::process::wait(child, "exec").code(), Some(1));
    Ok(())
}

fn notify_without_a_listener_is_refused() -> Outcome {
    let mut section = notify("");
    section.as_object_mut().unwrap().remove("listenerPath");
    section.as_object_mut().unwrap().remove("listenerMetadata");
    refused(section, "");
    Ok(())
}

fn notify_as_the_default_is_refused() -> Outcome {
    let box_ = Bundle::new();
    let listener = Listener::new(box_.dir(), "agent.sock");
    let mut section = notify(listener.path());
    section["defaultAction"] = json!("SCMP_ACT_NOTIFY");
    refused(section, "SCMP_ACT_NOTIFY");
    Ok(())
}

fn notify_of_write_is_refused() -> Outcome {
    // The runtime writes to its peer after the filter is attached: it would wait for ever.
    let box_ = Bundle::new();
    let listener = Listener::new(box_.dir(), "agent.sock");
    let mut section = notify(listener.path());
    section["syscalls"] = json!([{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]);
    refused(section, "write");
    Ok(())
}

fn notify_with_a_dead_listener_fails() -> Outcome {
    let box_ = Bundle::new();
    let path = box_.dir().join("nobody.sock");
    let box_ = box_.set("/linux/seccomp", notify(path.to_str().unwrap()));
    let host = Host::before(&box_, &[]);
    let out = box_.run().failed();
    assert!(
        out.stderr.contains("nobody.sock") || !bundle::is_greenlang(),
        "{out:?}"
    );
    host.unchanged("dead listener");
    Ok(())
}

fn names_split_over_rules_mean_the_same() -> Outcome {
    let one = |name: &str| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 95});
    let rules = json!([one("mkdir"), one("mkdirat"), one("mkdir")]);
    mkdir_says(with(Bundle::new(), &rules), "Operation not supported");
    Ok(())
}
