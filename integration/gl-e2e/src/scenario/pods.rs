//! Podman's pods: containers that share the namespaces of an infra container.

use std::path::PathBuf;

use crate::Outcome;
use crate::command::clean_up;
use crate::engine::{Container, Engine, IMAGE};
use crate::kernel::{Cgroup, Traces, assert_gone, namespace};

/// A pod, removed with its containers when dropped.
#[derive(Debug)]
struct Pod<'a> {
    engine: &'a Engine,
    name: &'static str,
}

impl<'a> Pod<'a> {
    #[track_caller]
    fn create(engine: &'a Engine, name: &'static str, options: &[&str]) -> Self {
        let parent = format!("--cgroup-parent={}", engine.sandbox.parent());
        let infra = ["--infra-image", IMAGE, "--infra-command", "sleep 1000"];
        let create = ["pod", "create", "--name", name, &parent];
        engine.cli(&[&create, &infra[..], options].concat()).ok();
        Self { engine, name }
    }

    #[track_caller]
    fn start(&self, program: &[&str]) -> Container<'a> {
        self.engine.start(&["--pod", self.name], program)
    }

    #[track_caller]
    fn infra_pid(&self) -> i32 {
        let template = "{{.InfraContainerID}}";
        let id = self
            .engine
            .cli(&["pod", "inspect", "--format", template, self.name]);
        let id = id.ok();
        let pid = self
            .engine
            .cli(&["inspect", "--format", "{{.State.Pid}}", id]);
        pid.ok().parse().unwrap_or(0)
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let remove = ["pod", "rm", "-f", "-t", "0", self.name];
        clean_up(self.engine.command(&remove));
    }
}

/// Two containers of a pod share network, ipc and uts with its infra container, and nothing else.
pub fn pod_shares_its_namespaces(engine: &Engine) -> Outcome {
    let pod = Pod::create(
        engine,
        "sharing",
        &["--network=none", "--hostname=pod-host"],
    );
    let (one, two) = (pod.start(&["sleep", "1000"]), pod.start(&["sleep", "1000"]));
    let infra = pod.infra_pid().to_string();
    for container in [&one, &two] {
        for kind in ["ipc", "net", "uts"] {
            let own = namespace(&container.pid().to_string(), kind);
            assert_eq!(own, namespace(&infra, kind), "{kind} of {container}");
            assert_ne!(own, namespace("self", kind), "{kind} of {container}");
        }
        assert_eq!(container.exec(&[], &["hostname"]).ok(), "pod-host");
    }
    for kind in ["mnt", "pid"] {
        let [a, b] = [&one, &two].map(|c| namespace(&c.pid().to_string(), kind));
        assert_ne!(a, b, "{kind}");
    }
    one.exec_sh("echo through the pod >/dev/shm/note").ok();
    assert_eq!(
        two.exec(&[], &["cat", "/dev/shm/note"]).ok(),
        "through the pod"
    );
    Ok(())
}

/// `--share pid`: the containers of a pod see each other's processes.
pub fn pod_shares_its_processes_when_asked(engine: &Engine) -> Outcome {
    let pod = Pod::create(engine, "seeing", &["--network=none", "--share=pid,ipc"]);
    let one = pod.start(&["sleep", "1234"]);
    let two = pod.start(&["sleep", "1000"]);
    let seen = two.exec_sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    assert!(
        seen.ok().contains("sleep 1234"),
        "{one} is not seen: {seen}"
    );
    Ok(())
}

/// Stopping, starting and removing a pod does so to each of its containers.
pub fn pod_life_is_its_containers_life(engine: &Engine) -> Outcome {
    let pod = Pod::create(engine, "living", &["--network=none"]);
    let container = pod.start(&["sleep", "1000"]);
    let (before, infra, cgroup) = (container.pid(), pod.infra_pid(), container.cgroup());
    engine.cli(&["pod", "pause", pod.name]).ok();
    assert!(cgroup.frozen(), "pod pause");
    engine.cli(&["pod", "unpause", pod.name]).ok();
    assert!(!cgroup.frozen(), "pod unpause");
    engine.cli(&["pod", "stop", "-t", "0", pod.name]).ok();
    assert_gone(before);
    assert_gone(infra);
    engine.cli(&["pod", "start", pod.name]).ok();
    assert_eq!(container.exec(&[], &["echo", "again"]).ok(), "again");
    let (pid, cgroup) = (container.pid(), container.cgroup());
    engine.cli(&["pod", "rm", "-f", "-t", "0", pod.name]).ok();
    assert_gone(pid);
    cgroup.assert_removed();
    Ok(())
}

/// The containers of a pod are in cgroups below the pod's.
pub fn pod_cgroup_holds_its_containers(engine: &Engine) -> Outcome {
    let pod = Pod::create(engine, "holding", &["--network=none"]);
    let container = pod.start(&["sleep", "1000"]);
    let parents: Vec<Option<PathBuf>> = [container.pid(), pod.infra_pid()]
        .iter()
        .map(|pid| Cgroup::of(*pid).dir("memory").parent().map(PathBuf::from))
        .collect();
    assert_eq!(parents.first(), parents.last(), "two containers, one pod");
    let parent = parents.first().cloned().flatten().unwrap_or_default();
    assert!(
        parent.to_string_lossy().contains(&engine.sandbox.cgroup),
        "{parent:?}"
    );
    Ok(())
}

/// A pod with three containers leaves no process, mount, cgroup or runtime state behind.
pub fn pod_leaves_nothing_behind(engine: &Engine) -> Outcome {
    drop(engine.sleeper(&[]));
    // The pod's own cgroup is Podman's, which forgets it in hierarchies that it does not know.
    // Those of the containers are the runtime's, and are looked at one by one.
    let mut scope = engine.scope.clone();
    scope.cgroup.push_str("/none");
    let before = Traces::settled(&scope);
    let pod = Pod::create(engine, "leaving", &["--network=none"]);
    let containers = [0, 1, 2].map(|_| pod.start(&["sh", "-c", "sleep 1001 & sleep 1000"]));
    let mut cgroups = vec![Cgroup::of(pod.infra_pid())];
    for container in &containers {
        container.exec(&[], &["true"]).ok();
        cgroups.push(container.cgroup());
    }
    drop(containers);
    drop(pod);
    before.assert_nothing_new(&scope);
    cgroups.iter().for_each(Cgroup::assert_removed);
    Ok(())
}
