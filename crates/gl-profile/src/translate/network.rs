//! `[network]`: all or nothing. Rules on hosts and ports are checked when a profile is read, and refused
//! here.

use gl_spec::oci::{LinuxNamespace, LinuxNamespaceType, Spec};
use gl_spec::{Extras, Isolated, Landlock};

use super::{Effect, Refused, Run, refused};
use crate::value::{Mode, Origin, SourceKind};

/// `LANDLOCK_ACCESS_NET_BIND_TCP` and `LANDLOCK_ACCESS_NET_CONNECT_TCP`, from ABI 4.
const TCP: u64 = 0b11;
const TCP_ABI: u32 = 4;

pub(super) fn apply(
    run: &mut Run<'_>,
    spec: &mut Spec,
    extras: &mut Extras,
) -> Result<(), Refused> {
    let network = &run.profile.network;
    if network.allow_network.value {
        rules(run)?;
        run.step(
            &network.allow_network.origin,
            "namespaces",
            "the network of the engine".to_owned(),
            Effect::Already,
        );
        return Ok(());
    }
    own_namespace(spec);
    let isolated = match network.allow_loopback.value {
        true => Isolated::Loopback,
        false => Isolated::Nothing,
    };
    let new = extras.network != Some(isolated);
    if extras.network != Some(Isolated::Nothing) {
        extras.network = Some(isolated);
    }
    run.applied(
        &network.allow_network,
        "namespaces",
        "a network namespace of its own".to_owned(),
        new,
    );
    let state = match isolated {
        Isolated::Loopback => "loopback up",
        Isolated::Nothing => "loopback down",
    };
    run.applied(&network.allow_loopback, "namespaces", state.to_owned(), new);
    if run.gvisor {
        // Loopback is always up there.
        if isolated == Isolated::Nothing {
            let setting = "no socket of IPv4, IPv6 or packets".to_owned();
            run.applied(&network.allow_loopback, "seccomp", setting, true);
        }
        return Ok(());
    }
    let enforced = run.profile.mode.value == Mode::Enforcing;
    let can = run.host.landlock_abi.is_some_and(|abi| abi >= TCP_ABI);
    if isolated == Isolated::Nothing && enforced && can {
        extras.landlock.push(Landlock {
            network: TCP,
            ..Landlock::default()
        });
        run.applied(
            &network.allow_loopback,
            "landlock",
            "no TCP".to_owned(),
            true,
        );
    }
    Ok(())
}

/// Replaces whatever network namespace the config has, or has not, by a new one.
fn own_namespace(spec: &mut Spec) {
    let linux = spec.linux_mut().get_or_insert_default();
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.retain(|one| one.typ() != LinuxNamespaceType::Network);
    let mut own = LinuxNamespace::default();
    own.set_typ(LinuxNamespaceType::Network);
    namespaces.push(own);
    linux.set_namespaces(Some(namespaces));
}

/// Refuses rules that are more than on and off.
fn rules(run: &mut Run<'_>) -> Result<(), Refused> {
    let network = &run.profile.network;
    let lists: [Option<&Origin>; 5] = [
        network.allowed_hosts.as_ref().map(|list| &list.origin),
        network.allowed_ports.as_ref().map(|list| &list.origin),
        // Those of a level say what a network that can be filtered will never reach.
        network
            .blocked_hosts
            .iter()
            .map(|line| &line.origin)
            .find(|origin| origin.kind != SourceKind::Level),
        network.dns_servers.as_ref().map(|list| &list.origin),
        network
            .custom_iptables_rules
            .first()
            .map(|line| &line.origin),
    ];
    if let Some(origin) = lists.into_iter().flatten().next() {
        return Err(refused(
            origin,
            "rules for the network are not enforceable yet",
            "leave it out, and let the engine's network decide",
        ));
    }
    if let Some(line) = network.blocked_hosts.first() {
        run.step(
            &line.origin,
            "network",
            String::new(),
            Effect::Elsewhere("hosts are not filtered yet: the engine's network decides"),
        );
    }
    Ok(())
}
