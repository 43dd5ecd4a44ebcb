//! What was asked for and what holds, layer by layer: for reports.

use gl_spec::Extras;
use gl_spec::oci::Spec;
use serde::{Deserialize, Serialize};

use crate::bundle::Network;
use crate::sandbox::Sandbox;

/// One layer of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name, as in reports of the other tiers.
    pub layer: String,
    /// What was asked for.
    pub requested: String,
    /// Whether it is in force.
    pub applied: bool,
    /// By whom, and how.
    pub how: String,
}

/// The layers of a container in gVisor.
pub fn layers(spec: &Spec, extras: &Extras, sandbox: &Sandbox, version: &str) -> Vec<Layer> {
    let mut all = vec![layer(
        "kernel",
        "isolation = gvisor",
        &format!("{version}, platform {}", sandbox.platform.as_str()),
    )];
    all.push(layer(
        "network",
        match extras.network {
            Some(_) => "none beyond loopback",
            None => "the engine's",
        },
        match sandbox.network {
            Network::None => "runsc --network none: gVisor's stack has loopback alone",
            Network::Sandbox => {
                "runsc --network sandbox: gVisor's stack in the container's namespace"
            }
            Network::Host => "runsc --network host: the host's stack, as the engine asks",
        },
    ));
    all.push(layer(
        "cgroup",
        "limits of memory, CPU time and tasks",
        "the host's cgroup of sandbox and gofer; tasks also by gVisor's RLIMIT_NPROC",
    ));
    let linux = spec.linux().as_ref();
    if extras.filtered || linux.is_some_and(|linux| linux.seccomp().is_some()) {
        all.push(layer(
            "seccomp",
            "a filter of system calls",
            "attached inside by the launcher, and kept by gVisor's kernel; calls are not logged",
        ));
    }
    let process = spec.process().as_ref();
    if let Some(label) = process.and_then(|process| process.apparmor_profile().clone()) {
        all.push(Layer {
            layer: "apparmor".to_owned(),
            requested: label,
            applied: false,
            how: "no process of the container is a process of the host".to_owned(),
        });
    }
    all.push(layer(
        "process",
        "capabilities, ids, limits, umask, no_new_privs",
        "gVisor's kernel; the umask and no_new_privs by the launcher",
    ));
    all
}

fn layer(name: &str, requested: &str, how: &str) -> Layer {
    Layer {
        layer: name.to_owned(),
        requested: requested.to_owned(),
        applied: true,
        how: how.to_owned(),
    }
}
