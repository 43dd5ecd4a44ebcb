//! `linux.sysctl`: only settings that belong to a namespace of the container's own.

use std::borrow::Cow;

use super::field::{Namespaces, no_nul};
use crate::error::invalid;
use crate::oci::LinuxNamespaceType;
use crate::{Error, Problem, oci};

/// Settings of the IPC namespace that have no prefix in common.
const IPC_SETTINGS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The key of a setting with dots between its parts, as in `net.ipv4.conf.eth0/100.forwarding`.
///
/// # Spec
///
/// `sysctl(8)`: the first separator says which of `.` and `/` separates; the other stands in names.
pub fn sysctl_name(key: &str) -> Cow<'_, str> {
    if key
        .find(['.', '/'])
        .is_none_or(|at| key[at..].starts_with('.'))
    {
        return Cow::Borrowed(key);
    }
    key.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect()
}

pub(super) fn check(linux: &oci::Linux, namespaces: Namespaces<'_>) -> Result<(), Error> {
    let Some(settings) = linux.sysctl() else {
        return Ok(());
    };
    // A map has no order, and the same config should always name the same field.
    let mut keys: Vec<&String> = settings.keys().collect();
    keys.sort();
    for key in keys {
        let field = format!("linux.sysctl[{key:?}]");
        one(&field, key, namespaces)?;
        no_nul(&field, &settings[key])?;
    }
    Ok(())
}

fn one(field: &str, key: &str, namespaces: Namespaces<'_>) -> Result<(), Error> {
    let name = sysctl_name(key);
    // A part is a file name: `/` in it stands for a dot, so that ".." can be spelled "//".
    let is_odd = name
        .split('.')
        .any(|part| part.is_empty() || part == "/" || part == "//" || part.contains(['\0', '\n']));
    if is_odd {
        return Err(invalid(
            field,
            Problem::Format {
                seen: key.to_owned(),
                expected: "a setting such as net.ipv4.ip_forward",
            },
        ));
    }
    if IPC_SETTINGS.contains(&name.as_ref()) || name.starts_with("fs.mqueue.") {
        return namespaces.require(field, LinuxNamespaceType::Ipc);
    }
    if name.starts_with("net.") {
        return namespaces.require(field, LinuxNamespaceType::Network);
    }
    match name.as_ref() {
        "kernel.domainname" => namespaces.require(field, LinuxNamespaceType::Uts),
        "kernel.hostname" => Err(invalid(
            field,
            Problem::Contradicts {
                seen: key.to_owned(),
                other: "the field hostname, which sets the same".to_owned(),
            },
        )),
        _ => Err(invalid(
            field,
            Problem::HostSysctl {
                seen: key.to_owned(),
            },
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctl_name_accepts_both_separators() {
        for (key, want) in [
            ("net.ipv4.ip_forward", "net.ipv4.ip_forward"),
            ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            (
                "net.ipv4.conf.eth0/100.forwarding",
                "net.ipv4.conf.eth0/100.forwarding",
            ),
            (
                "net/ipv4/conf/eth0.100/forwarding",
                "net.ipv4.conf.eth0/100.forwarding",
            ),
            ("kernel", "kernel"),
            ("", ""),
        ] {
            assert_eq!(sysctl_name(key), want, "{key}");
        }
    }
}
