//! containerd's CRI with the runtime under test behind its handlers: pods and their containers, as a
//! kubelet asks for them, and profiles chosen by annotation or by handler.

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use gl_e2e::command::{eventually, fail};
use gl_e2e::engine::cri::{self, ANNOTATED, Cri, Net, Pod, PodContainer, Refusal};
use gl_e2e::engine::write_profile;
use gl_e2e::kernel::{Traces, assert_gone, namespace, status};
use gl_e2e::{Outcome, Skip, Test, sandbox, tests};

static CRI: OnceLock<Cri> = OnceLock::new();

fn cri() -> &'static Cri {
    CRI.get().expect("main starts containerd before the tests")
}

const TESTS: &[Test] = tests![
    container_lives_from_create_to_remove,
    program_that_is_missing_fails_the_start,
    output_is_in_the_log,
    exec_has_its_output_and_status,
    containers_share_the_namespaces_of_their_pod,
    pod_has_a_network_of_its_own,
    limits_are_in_the_cgroup,
    profile_of_a_container_binds_it_and_its_execs,
    profile_of_a_pod_binds_its_containers,
    profile_cuts_the_network_of_the_pod_off,
    profile_of_a_handler_binds_its_containers,
    handler_without_annotations_passes_none,
    profile_limits_are_the_smaller_ones,
    profile_is_the_ceiling_of_an_update,
    profile_that_does_not_exist_fails_the_start,
    profile_timeout_ends_the_container,
    pods_leave_nothing_behind,
];

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// What `/proc/self/status` says about privileges.
const PRIVILEGES: &str = "grep -E '^(CapBnd|NoNewPrivs|Seccomp)' /proc/self/status";

fn profile(name: &str) -> String {
    format!("annotations {{ key: \"dev.greenlang.profile\" value: {name:?} }}")
}

fn memory(bytes: u64) -> String {
    format!("memory_limit_in_bytes: {bytes}")
}

#[track_caller]
fn pod(more: &str) -> Pod<'static> {
    let pod = cri().pod(ANNOTATED, Net::Host, more);
    pod.unwrap_or_else(|said| fail(&format!("no pod: {said:?}")))
}

#[track_caller]
fn ends(container: &PodContainer<'_>) -> i32 {
    let exited = || container.state().0 == "CONTAINER_EXITED";
    assert!(
        eventually(Duration::from_secs(20), exited),
        "{:?}",
        container.state()
    );
    container.state().1
}

/// The answer of a filter that lets one process be all there is.
#[track_caller]
fn assert_compute_only(container: &PodContainer<'_>) {
    let pid = container.pid();
    let fields = ["CapBnd", "NoNewPrivs", "Seccomp_filters"].map(|field| status(pid, field));
    assert_eq!(fields, ["0000000000000000", "1", "1"]);
    let out = container.exec(&["nc", "-l", "-p", "4000"]);
    assert!(out.refused().contains("Operation not permitted"), "{out}");
    let out = container.exec_sh("true; ls /; true");
    assert!(out.refused().contains("can't fork"), "{out}");
}

#[track_caller]
fn assert_not_filtered_so(container: &PodContainer<'_>) {
    let out = container.exec_sh("ls / >/dev/null; nc -w 1 127.0.0.1 4000; true");
    assert!(out.stderr.contains("Connection refused"), "{out}");
}

fn container_lives_from_create_to_remove() -> Outcome {
    let pod = pod("");
    assert_eq!(pod.state(), "SANDBOX_READY");
    let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let container = pod.create(&["sh", "-c", script], "", "");
    assert_eq!(container.state().0, "CONTAINER_CREATED");
    container
        .start()
        .unwrap_or_else(|said| fail(&format!("{said:?}")));
    assert_eq!(container.state().0, "CONTAINER_RUNNING");
    assert!(eventually(Duration::from_secs(10), || container
        .log()
        .contains("up")));
    let (pid, cgroup) = (container.pid(), container.cgroup());
    container.stop(10);
    assert_gone(pid);
    assert_eq!(container.state(), ("CONTAINER_EXITED".to_owned(), 7));
    cgroup.assert_removed();
    container.remove();
    let sandbox = pod.pid();
    pod.remove();
    assert_gone(sandbox);
    Ok(())
}

fn program_that_is_missing_fails_the_start() -> Outcome {
    let pod = pod("");
    let container = pod.create(&["no-such-program"], "", "");
    let Err(Refusal(said)) = container.start() else {
        fail("a program that is not there was started")
    };
    assert!(
        said.contains("executable file not found in $PATH"),
        "{said}"
    );
    assert_eq!(container.state().0, "CONTAINER_EXITED");
    container.remove();
    Ok(())
}

fn output_is_in_the_log() -> Outcome {
    let pod = pod("");
    let container = pod.start(&["sh", "-c", "echo out; echo err >&2; exit 3"], "", "");
    assert_eq!(ends(&container), 3);
    let log = container.log();
    for line in [" stdout F out", " stderr F err"] {
        assert!(
            log.lines().any(|seen| seen.ends_with(line)),
            "no {line:?}: {log}"
        );
    }
    Ok(())
}

fn exec_has_its_output_and_status() -> Outcome {
    let pod = pod("");
    let container = pod.start(&SLEEP, "", "");
    let out = container.exec_sh("echo out; echo err >&2; exit 9");
    assert_eq!(
        (out.status, &*out.stdout, &*out.stderr),
        (9, "out\n", "err\n"),
        "{out}"
    );
    let namespaces = "for n in ipc mnt net pid uts; do readlink /proc/$1/ns/$n; done";
    let of = |pid: &str| container.exec(&["sh", "-c", namespaces, "sh", pid]);
    assert_eq!(of("self").ok(), of("1").ok());
    Ok(())
}

fn containers_share_the_namespaces_of_their_pod() -> Outcome {
    let pod = pod("");
    let (one, two) = (pod.start(&SLEEP, "", ""), pod.start(&SLEEP, "", ""));
    let pids = [pod.pid(), one.pid(), two.pid()].map(|pid| pid.to_string());
    for (kind, shared) in [("ipc", true), ("net", true), ("mnt", false), ("pid", false)] {
        let [sandbox, one, two] = pids.each_ref().map(|pid| namespace(pid, kind));
        assert_eq!((one == sandbox, two == one), (shared, shared), "{kind}");
    }
    assert_ne!(namespace(&pids[0], "ipc"), namespace("self", "ipc"));
    assert_eq!(namespace(&pids[0], "net"), namespace("self", "net"));
    Ok(())
}

/// A pod on the bridge, or a skip where there is no plugin for it.
#[track_caller]
fn pod_on_the_bridge(more: &str) -> Result<Pod<'static>, Skip> {
    if !cri().has_pod_network() {
        return Err(Skip(
            "no CNI plugins (containernetworking-plugins)".to_owned(),
        ));
    }
    let pod = cri().pod(ANNOTATED, Net::Pod, more);
    Ok(pod.unwrap_or_else(|said| fail(&format!("no pod: {said:?}"))))
}

const DEVICES: &str = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";

fn pod_has_a_network_of_its_own() -> Outcome {
    let pod = pod_on_the_bridge("")?;
    let container = pod.start(&SLEEP, "", "");
    let out = container.exec_sh(DEVICES);
    assert_eq!(out.ok(), "lo\neth0", "{out}");
    for kind in ["net", "uts"] {
        let of = |pid: i32| namespace(&pid.to_string(), kind);
        assert_eq!(of(container.pid()), of(pod.pid()), "{kind}");
        assert_ne!(of(pod.pid()), namespace("self", kind), "{kind}");
    }
    let out = container.exec(&["hostname"]);
    assert!(out.ok().starts_with("pod"), "{out}");
    Ok(())
}

fn limits_are_in_the_cgroup() -> Outcome {
    let pod = pod("");
    let limits = "memory_limit_in_bytes: 67108864 cpu_period: 100000 cpu_quota: 30000";
    let container = pod.start(&SLEEP, limits, "");
    let cgroup = container.cgroup();
    assert_eq!(cgroup.memory_limit(), "67108864");
    assert_eq!(cgroup.cpu_quota(), "30000 100000");
    let changed =
        container.update("memory_limit_in_bytes: 50331648 cpu_period: 100000 cpu_quota: 20000");
    changed.unwrap_or_else(|said| fail(&format!("{said:?}")));
    assert_eq!(cgroup.memory_limit(), "50331648");
    assert_eq!(cgroup.cpu_quota(), "20000 100000");
    Ok(())
}

fn profile_of_a_container_binds_it_and_its_execs() -> Outcome {
    let pod = pod("");
    let bound = pod.start(&SLEEP, "", &profile("compute_only"));
    let beside = pod.start(&SLEEP, "", "");
    assert_compute_only(&bound);
    assert_not_filtered_so(&beside);
    // One filter for the profile's answers and those of CRI's default.
    let out = beside.exec_sh(PRIVILEGES);
    assert!(out.ok().ends_with("Seccomp_filters:\t1"), "{out}");
    Ok(())
}

fn profile_of_a_pod_binds_its_containers() -> Outcome {
    let pod = pod(&profile("compute_only"));
    assert_eq!(status(pod.pid(), "CapBnd"), "0000000000000000");
    let containers = [pod.start(&SLEEP, "", ""), pod.start(&SLEEP, "", "")];
    containers.iter().for_each(assert_compute_only);
    Ok(())
}

fn profile_cuts_the_network_of_the_pod_off() -> Outcome {
    let pod = pod_on_the_bridge("")?;
    let (open, cut) = (
        pod.start(&SLEEP, "", ""),
        pod.start(&SLEEP, "", &profile("data_processing")),
    );
    let out = open.exec_sh(DEVICES);
    assert_eq!(out.ok(), "lo\neth0", "{out}");
    let out = cut.exec_sh(DEVICES);
    assert_eq!(out.ok(), "lo", "{out}");
    Ok(())
}

/// A handler with the annotation in its base specification, as a runtime class for one profile.
fn profile_of_a_handler_binds_its_containers() -> Outcome {
    let pod = cri().pod("compute_only", Net::Host, "");
    let pod = pod.unwrap_or_else(|said| fail(&format!("no pod: {said:?}")));
    assert_compute_only(&pod.start(&SLEEP, "", ""));
    let pod = cri().pod("compute_olny", Net::Host, "");
    let pod = pod.unwrap_or_else(|said| fail(&format!("no pod: {said:?}")));
    let container = pod.create(&SLEEP, "", "");
    let Err(Refusal(said)) = container.start() else {
        fail("a profile that is not there was used")
    };
    assert!(said.contains("did you mean"), "{said}");
    Ok(())
}

fn handler_without_annotations_passes_none() -> Outcome {
    let pod = cri().pod("compute_only", Net::Host, &profile("lenient"));
    let pod = pod.unwrap_or_else(|said| fail(&format!("no pod: {said:?}")));
    assert_compute_only(&pod.start(&SLEEP, "", &profile("lenient")));
    Ok(())
}

const SMALL: &str = "[limits]\nmemory_limit_bytes = \"48MiB\"\nmax_open_files = 77\nmax_threads = 55\n\
    max_processes = 50\n";

fn profile_limits_are_the_smaller_ones() -> Outcome {
    write_profile("e2e-small", SMALL);
    let pod = pod("");
    for (asked, want) in [(128 << 20, 48 << 20), (32 << 20, 32 << 20)] {
        let container = pod.start(&SLEEP, &memory(asked), &profile("e2e-small"));
        let cgroup = container.cgroup();
        assert_eq!(
            cgroup.memory_limit(),
            u64::to_string(&want),
            "{asked} asked for"
        );
        assert_eq!(cgroup.pids_limit(), "55");
        let out = container.exec_sh("ulimit -Hn");
        assert_eq!(out.ok(), "77", "{out}");
    }
    Ok(())
}

fn profile_is_the_ceiling_of_an_update() -> Outcome {
    write_profile("e2e-small", SMALL);
    let pod = pod("");
    let container = pod.start(&SLEEP, &memory(32 << 20), &profile("e2e-small"));
    let Err(Refusal(said)) = container.update("memory_limit_in_bytes: 100663296") else {
        fail("a limit went above the profile")
    };
    assert!(said.contains("profile e2e-small allows at most"), "{said}");
    assert_eq!(container.cgroup().memory_limit(), (32 << 20).to_string());
    Ok(())
}

fn profile_that_does_not_exist_fails_the_start() -> Outcome {
    let before_that = pod("");
    let container = before_that.create(&SLEEP, "", &profile("compute_olny"));
    let asked = cri().pod(ANNOTATED, Net::Host, &profile("compute_olny"));
    let pod_said = match asked {
        Err(Refusal(said)) => said,
        Ok(pod) => fail(&format!("a pod came up: {pod:?}")),
    };
    let Err(Refusal(said)) = container.start() else {
        fail("a profile that is not there was used")
    };
    for said in [pod_said, said] {
        for word in ["compute_olny", "did you mean", "compute_only"] {
            assert!(said.contains(word), "no {word:?}: {said}");
        }
    }
    assert_eq!(container.state().0, "CONTAINER_EXITED");
    Ok(())
}

fn profile_timeout_ends_the_container() -> Outcome {
    write_profile("e2e-brief", "execution_timeout = 1\n");
    let pod = pod("");
    // Nobody listens to SIGTERM.
    let container = pod.start(&SLEEP, "", &profile("e2e-brief"));
    assert_eq!(ends(&container), 137);
    let listens = "trap 'exit 5' TERM; while :; do sleep 0.1; done";
    let container = pod.start(&["sh", "-c", listens], "", &profile("e2e-brief"));
    assert_eq!(ends(&container), 5);
    Ok(())
}

fn pods_leave_nothing_behind() -> Outcome {
    let has_network = cri().has_pod_network();
    let one_of_each = |net: Net| {
        for (more, program) in [
            ("", &SLEEP[..]),
            (&profile("data_processing"), &["true"][..]),
        ] {
            let pod = cri().pod(ANNOTATED, net, "");
            let pod = pod.unwrap_or_else(|said| fail(&format!("no pod: {said:?}")));
            pod.start(program, "", more);
            pod.start(
                &["sh", "-c", "sleep 1001 & sleep 1002"],
                &memory(64 << 20),
                "",
            );
            // A start that fails is cleaned up with the rest.
            let refused = pod.create(&["no-such-program"], "", "").start();
            assert!(matches!(refused, Err(Refusal(_))), "{refused:?}");
        }
    };
    let nets = if has_network {
        &[Net::Host, Net::Pod][..]
    } else {
        &[Net::Host]
    };
    // The first ones leave what containerd keeps: its bridge, for one.
    nets.iter().copied().for_each(one_of_each);
    let before = Traces::settled(&cri().containerd.scope);
    nets.iter().copied().for_each(one_of_each);
    before.assert_nothing_new(&cri().containerd.scope);
    Ok(())
}

fn main() -> ExitCode {
    sandbox::isolated(TESTS, |sandbox| {
        let (daemon, cri) = cri::start(sandbox);
        CRI.get_or_init(|| cri);
        let status = gl_e2e::main(TESTS);
        drop(daemon);
        status
    })
}
