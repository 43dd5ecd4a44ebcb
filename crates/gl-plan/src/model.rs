//! The plan: everything a launch does, decided.

use std::path::PathBuf;

use gl_spec::Isolated;
use gl_spec::oci::{LinuxIdMapping, Spec};

use crate::device::{self, Device};
use crate::error::Refusal;
use crate::hook::{self, Hooks};
use crate::mount::{self, Labelling, Mount, MountKind, Place};
use crate::mount_option::{Propagation, Spread, rootfs_propagation};
use crate::namespace::{self, Kind, Namespaces};
use crate::process::{self, Process};
use crate::store::Store;

/// What a plan needs to know of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
    /// The runtime is not in the initial user namespace: its root is not the host's.
    pub in_user_namespace: bool,
    /// Whether groups can be set.
    pub setgroups: Setgroups,
}

/// Whether `setgroups(2)` works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Setgroups {
    /// It does.
    #[default]
    Allowed,
    /// The runtime's user namespace denies it for good (`user_namespaces(7)`).
    Denied,
}

/// How the root is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pivot {
    /// `pivot_root(2)`.
    #[default]
    Pivot,
    /// Move the root mount over `/` and `chroot(2)`: for a host that runs from an initramfs.
    MoveRoot,
}

/// What happens to the caller's session keyring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keyring {
    /// The container joins a new one.
    #[default]
    New,
    /// The container keeps the caller's.
    Keep,
}

/// What the command line adds to the config.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// How the root is changed.
    pub pivot: Pivot,
    /// What happens to the session keyring.
    pub keyring: Keyring,
    /// Descriptors to pass on beside stdio: 3 and the following, this many.
    pub preserve_fds: u32,
    /// When its program starts.
    pub starts: Starts,
}

/// When the program of a new container starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Starts {
    /// When somebody says so, who is told of the container and may set it up before.
    #[default]
    WhenTold,
    /// As soon as the container is there; nobody but hooks is told of it before.
    AtOnce,
}

/// One range of an id map, as a line of `/proc/PID/uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// The id maps of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// User ids.
    pub uid: Vec<IdRange>,
    /// Group ids.
    pub gid: Vec<IdRange>,
}

/// The user namespace of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserNs {
    /// The runtime's own.
    Shared,
    /// A new one with these maps.
    New(IdMaps),
    /// An existing one.
    Joined,
}

/// The root filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: PathBuf,
    /// Made read-only once everything is in place.
    pub readonly: bool,
    /// Propagation of `/` once everything is in place; also decides what bind mounts start with.
    pub propagation: Option<(Propagation, Spread)>,
}

/// One kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Path below `/proc/sys`, with slashes.
    pub path: String,
    /// The value to write.
    pub value: String,
}

/// An interface of the host that becomes the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Another one inside; with `%d` at its end the kernel chooses a number.
    pub name: Option<String>,
}

/// Offset of one clock of a new time namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds.
    pub nanoseconds: u32,
}

/// Everything that a launch does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Namespaces.
    pub namespaces: Namespaces,
    /// The user namespace.
    pub userns: UserNs,
    /// Clock offsets.
    pub time_offsets: Vec<TimeOffset>,
    /// Root filesystem.
    pub root: Root,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// The `SELinux` context of every filesystem that is made for the container.
    pub mount_label: Option<String>,
    /// Whether `/dev` gets its nodes and links: not when the host's is bound there.
    pub dev_setup: bool,
    /// Nodes to make when `dev_setup`.
    pub devices: Vec<Device>,
    /// Whether the host's devices are bound, as a user namespace cannot make nodes.
    pub bind_devices: bool,
    /// Paths that read as empty.
    pub masked_paths: Vec<PathBuf>,
    /// Paths that cannot be written.
    pub readonly_paths: Vec<PathBuf>,
    /// Kernel parameters.
    pub sysctl: Vec<Sysctl>,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// The process that becomes the container's init.
    pub process: Process,
    /// Interfaces that move into its network namespace, by their names on the host.
    pub net_devices: Vec<NetDevice>,
    /// A container that is to have no network, and what is up of it.
    pub network: Option<Isolated>,
    /// Whether somebody may set its network up before it starts: in another namespace then, that it leaves.
    pub network_shown: bool,
    /// Hooks.
    pub hooks: Hooks,
    /// What the command line adds.
    pub options: Options,
    /// The one filesystem that everything the container writes is on.
    pub store: Option<Store>,
    /// Whether groups can be set, in the runtime's user namespace and so in one below it.
    pub setgroups: Setgroups,
}

impl Plan {
    /// Whether the launch writes to a procfs: kernel parameters, or the files of labels.
    #[must_use]
    pub fn writes_to_proc(&self) -> bool {
        let process = &self.process;
        !self.sysctl.is_empty() || process.apparmor.is_some() || process.selinux.is_some()
    }
}

pub(crate) fn build(spec: &Spec, options: &Options, facts: &Facts) -> Result<Plan, Refusal> {
    let linux = spec.linux().as_ref();
    let namespaces = namespace::build(
        linux
            .and_then(|l| l.namespaces().as_deref())
            .unwrap_or_default(),
    );
    if !namespaces.creates(Kind::Mount) {
        return Err(Refusal::Unenforceable {
            field: "linux.namespaces".to_owned(),
            missing: "a container without a mount namespace of its own would mount on the host",
            remedy: "add a namespace of type mount without a path",
        });
    }
    let userns = userns(spec, &namespaces);
    let place = Place {
        namespaces: &namespaces,
        userns: &userns,
        in_user_namespace: facts.in_user_namespace,
    };
    let mounts = mounts(spec, &place)?;
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| Refusal::value("process", "", "the config has no process"))?;
    unbuilt(spec)?;
    Ok(Plan {
        bind_devices: facts.in_user_namespace || userns != UserNs::Shared,
        userns,
        time_offsets: time_offsets(spec),
        root: root(spec)?,
        dev_setup: !mounts
            .iter()
            .any(|m| m.covers("/dev") && matches!(m.kind, MountKind::Bind { .. })),
        devices: device::build(
            linux
                .and_then(|l| l.devices().as_deref())
                .unwrap_or_default(),
        )?,
        masked_paths: paths(linux.and_then(|l| l.masked_paths().as_deref())),
        readonly_paths: paths(linux.and_then(|l| l.readonly_paths().as_deref())),
        sysctl: sysctl(spec),
        hostname: spec.hostname().clone().filter(|name| !name.is_empty()),
        domainname: spec.domainname().clone().filter(|name| !name.is_empty()),
        process: process::build(process, spec, facts)?,
        net_devices: net_devices(spec),
        network: None,
        network_shown: false,
        hooks: hook::build(spec.hooks().as_ref()),
        options: *options,
        store: None,
        mount_label: mount_label(spec, facts, &mounts, &namespaces)?,
        setgroups: facts.setgroups,
        namespaces,
        mounts,
    })
}

fn mounts(spec: &Spec, place: &Place<'_>) -> Result<Vec<Mount>, Refusal> {
    let list = spec.mounts().as_deref().unwrap_or_default().iter();
    list.enumerate()
        .map(|(index, entry)| mount::build(index, entry, place))
        .collect()
}

fn root(spec: &Spec) -> Result<Root, Refusal> {
    let root = spec
        .root()
        .as_ref()
        .ok_or_else(|| Refusal::value("root.path", "", "the config has no root"))?;
    let wanted = spec
        .linux()
        .as_ref()
        .and_then(|l| l.rootfs_propagation().as_deref());
    let propagation = match wanted.filter(|value| !value.is_empty()) {
        None => None,
        Some(value) => Some(rootfs_propagation(value).ok_or_else(|| {
            Refusal::value(
                "linux.rootfsPropagation",
                value,
                "it is one of shared, slave, private, unbindable and their r- forms",
            )
        })?),
    };
    Ok(Root {
        path: root.path().clone(),
        readonly: root.readonly().unwrap_or(false),
        propagation,
    })
}

fn userns(spec: &Spec, namespaces: &Namespaces) -> UserNs {
    if namespaces.joins(Kind::User).is_some() {
        return UserNs::Joined;
    }
    if !namespaces.creates(Kind::User) {
        return UserNs::Shared;
    }
    let linux = spec.linux().as_ref();
    UserNs::New(IdMaps {
        uid: ranges(linux.and_then(|l| l.uid_mappings().as_deref())),
        gid: ranges(linux.and_then(|l| l.gid_mappings().as_deref())),
    })
}

pub(crate) fn ranges(mappings: Option<&[LinuxIdMapping]>) -> Vec<IdRange> {
    let mappings = mappings.unwrap_or_default().iter();
    mappings
        .map(|mapping| IdRange {
            container: mapping.container_id(),
            host: mapping.host_id(),
            size: mapping.size(),
        })
        .collect()
}

fn time_offsets(spec: &Spec) -> Vec<TimeOffset> {
    let offsets = spec
        .linux()
        .as_ref()
        .and_then(|l| l.time_offsets().as_ref());
    let mut list: Vec<_> = offsets
        .into_iter()
        .flatten()
        .map(|(clock, offset)| TimeOffset {
            clock: clock.clone(),
            seconds: offset.secs().unwrap_or(0),
            nanoseconds: offset.nanosecs().unwrap_or(0),
        })
        .collect();
    list.sort_by(|a, b| a.clock.cmp(&b.clock));
    list
}

fn net_devices(spec: &Spec) -> Vec<NetDevice> {
    let linux = spec.linux().as_ref();
    let map = linux.and_then(|linux| linux.net_devices().as_ref());
    let mut list: Vec<_> = map
        .into_iter()
        .flatten()
        .map(|(host, device)| NetDevice {
            host: host.clone(),
            name: device.name().clone().filter(|name| !name.is_empty()),
        })
        .collect();
    list.sort_by(|a, b| a.host.cmp(&b.host));
    list
}

fn sysctl(spec: &Spec) -> Vec<Sysctl> {
    let map = spec.linux().as_ref().and_then(|l| l.sysctl().as_ref());
    let mut list: Vec<_> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| Sysctl {
            path: slashed(key),
            value: value.clone(),
        })
        .collect();
    list.sort_by(|a, b| a.path.cmp(&b.path));
    list
}

/// `net.ipv4.ip_forward` and `net/ipv4/ip_forward` as the path below `/proc/sys`, by the rule of
/// `sysctl(8)`: whichever separator comes first separates, and the other is a plain character.
fn slashed(key: &str) -> String {
    let first = key.find(['.', '/']);
    if first.and_then(|at| key.as_bytes().get(at)) == Some(&b'/') {
        return key.to_owned();
    }
    let swapped = key.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    swapped.collect()
}

fn paths(list: Option<&[String]>) -> Vec<PathBuf> {
    list.unwrap_or_default().iter().map(PathBuf::from).collect()
}

fn mount_label(
    spec: &Spec,
    facts: &Facts,
    mounts: &[Mount],
    namespaces: &Namespaces,
) -> Result<Option<String>, Refusal> {
    let linux = spec.linux().as_ref();
    let label = process::label(
        linux.and_then(|l| l.mount_label().as_deref()),
        "linux.mountLabel",
        facts.selinux,
        "SELinux is not enabled in this kernel",
    )?;
    let relabels = |mount: &&Mount| {
        matches!(
            mount.kind,
            MountKind::Filesystem {
                labelling: Labelling::RootDirectory,
                ..
            }
        )
    };
    if let (true, false, Some(mount)) = (
        label.is_some(),
        namespaces.has(Kind::Ipc),
        mounts.iter().find(relabels),
    ) {
        return Err(Refusal::Unenforceable {
            field: format!("{}.type", mount.field()),
            missing: "linux.mountLabel would change the label of the host's message queues",
            remedy: "give the container an IPC namespace, or bind /dev/mqueue of the host",
        });
    }
    Ok(label)
}

/// Fields that this version would have to ignore: it refuses them instead.
fn unbuilt(spec: &Spec) -> Result<(), Refusal> {
    let refused = |field: &str, missing| {
        Err(Refusal::Unenforceable {
            field: field.to_owned(),
            missing,
            remedy: "remove it from the config",
        })
    };
    let mut names = spec.annotations().iter().flatten().map(|(name, _)| name);
    if let Some(name) =
        names.find(|name| name.starts_with("dev.greenlang.") && *name != "dev.greenlang.profile")
    {
        return refused(
            &format!("annotations[{name:?}]"),
            "no such annotation is known; dev.greenlang.profile names a profile",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctl_separator_is_the_first_one_seen() {
        for (key, want) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            (
                "net.ipv4.conf.eth0/1.forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
            ),
            (
                "net/ipv4/conf/eth0.1/forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
            ),
        ] {
            assert_eq!(slashed(key), want, "{key}");
        }
    }
}
