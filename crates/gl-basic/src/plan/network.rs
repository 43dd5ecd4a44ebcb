//! `[network]`: all of the host's, or none. The rules of hosts and ports take a network namespace.

use gl_profile::Origin;
use gl_profile::translate::{Effect, Refused};
use gl_spec::Landlock;

use super::{Deciding, Lack};

/// `LANDLOCK_ACCESS_NET_BIND_TCP` and `LANDLOCK_ACCESS_NET_CONNECT_TCP`, from ABI 4.
const TCP: u64 = 0b11;
const TCP_ABI: u32 = 4;

pub(super) fn apply(run: &mut Deciding<'_>, landlock: &mut Landlock) -> Result<(), Refused> {
    let network = &run.profile.network;
    if network.allow_network.value {
        let setting = "the host's network".to_owned();
        run.applied(&network.allow_network, "namespaces", setting);
        return rules(run);
    }
    if !run.enforcing() {
        let setting = "sockets that would be denied are logged".to_owned();
        run.applied(&network.allow_network, "seccomp", setting);
        return Ok(());
    }
    let setting = "no socket can be made, but a connected pair".to_owned();
    run.applied(&network.allow_network, "seccomp", setting);
    if run.host.landlock_abi.is_some_and(|abi| abi >= TCP_ABI) {
        landlock.network = TCP;
        run.applied(&network.allow_network, "landlock", "no TCP".to_owned());
    }
    let loopback = &network.allow_loopback;
    if !loopback.value {
        run.applied(loopback, "seccomp", "no socket can be made".to_owned());
        return Ok(());
    }
    run.missing(
        &loopback.origin,
        Lack {
            layer: "seccomp",
            missing: "loopback alone cannot be allowed in the host's network",
            remedy: "choose the tier namespace, set allow_loopback = false, or on_missing = \"degrade\"",
            instead: "there is no loopback either",
        },
    )
}

fn rules(run: &mut Deciding<'_>) -> Result<(), Refused> {
    let network = &run.profile.network;
    let lists: [Option<&Origin>; 5] = [
        network.allowed_hosts.as_ref().map(|list| &list.origin),
        network.allowed_ports.as_ref().map(|list| &list.origin),
        network.blocked_hosts.first().map(|line| &line.origin),
        network.dns_servers.as_ref().map(|list| &list.origin),
        network
            .custom_iptables_rules
            .first()
            .map(|line| &line.origin),
    ];
    for origin in lists.into_iter().flatten() {
        let lack = Lack {
            layer: "network",
            missing: "hosts and ports cannot be told apart in the host's network",
            remedy: "choose the tier namespace, or set on_missing = \"degrade\"",
            instead: "",
        };
        run.lacking(origin, lack)?;
    }
    let loopback = &network.allow_loopback;
    match loopback.value {
        true => run.step(
            &loopback.origin,
            "namespaces",
            "the host's loopback".to_owned(),
            Effect::Applied,
        ),
        false => run.lacking(
            &loopback.origin,
            Lack {
                layer: "network",
                missing: "the host's network comes with its loopback",
                remedy: "choose the tier namespace, or set on_missing = \"degrade\"",
                instead: "",
            },
        )?,
    }
    Ok(())
}
