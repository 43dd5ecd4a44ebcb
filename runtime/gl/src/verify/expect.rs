//! What must come of a probe, by the profile and the tier: what people are told, not what is done for it.
//!
//! A probe names the walls that keep it from being done. One that stands is a promise that it is denied.
//! Where the report of a run says openly that a line of the profile is not in force, that is no promise.

mod paths;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use gl_profile::seccomp::{Answers, Filter};
use gl_profile::{Host, Isolation, Mode, OPTIONS, Profile};
use gl_sandbox::{Applied, Layer};
use gl_seccomp::{NATIVE, Policy, Syscall, Verdict};
use serde::Serialize;

use crate::error::Error;

/// Which numbers the calls of this machine have.
#[cfg(target_arch = "x86_64")]
const AUDIT: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT: u32 = 0xc000_00b7;

/// What keeps something from being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wall {
    /// The profile's filter: a call, and the arguments that matter.
    Call(&'static str, &'static [(usize, u64)]),
    /// A call of another interface than the native one, as every filter has it.
    SecondaryAbi,
    /// What the tier `basic` denies because Landlock does not hold it.
    Unmoved,
    /// A capability that is needed.
    Capability(&'static str),
    /// Any capability.
    AnyCapability,
    /// Any capability that could be gained.
    BoundingSet,
    NoNewPrivileges,
    /// Processes outside.
    Others(Other),
    /// A file is not to be read.
    Read(Path),
    /// A file or a directory is not to be written.
    Write(Path),
    /// Files of the kernel's about all of the host.
    KernelFile,
    /// Devices of the host.
    Device,
    /// Needs a `/dev` of the sandbox's own, and stands nowhere.
    OwnDevices,
    /// The network of the host.
    Network,
    /// The network devices of the host.
    Interfaces,
    /// Loopback inside.
    Loopback,
    /// The addresses of metadata services.
    MetadataHosts,
    /// Sockets by path or name.
    LocalSockets,
    Ipc,
    HostName,
    Environment,
    Descriptors,
    Limit(Key),
    /// Needs some memory, and stands nowhere.
    Room,
    /// Is about what gVisor's own kernel has, too: there it says nothing about the host.
    Guest,
}

/// What is done to a process outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Other {
    /// It is looked at.
    See,
    Signal,
    /// Its memory and what gives as much.
    Memory,
    /// Its limits and priority.
    Limits,
    Cpus,
}

/// A file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    At(&'static str),
    /// One that not everybody may read where it is shown.
    Owned(&'static str),
    /// What was made to be found.
    Bait,
    /// The caller's home.
    Home,
    /// The working directory, which is shown.
    Directory,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Threads,
    Processes,
    Memory,
    Files,
    FileSize,
    Disk,
    CpuTime,
    Time,
}

/// What must come of a probe that no wall keeps from being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    Work,
    /// Nothing is promised.
    Open,
}

/// What must come of a probe, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "must", content = "because")]
pub(crate) enum Must {
    Deny(String),
    Work(String),
    NotPromised(String),
}

/// Whether a wall stands.
enum Stands {
    Yes(&'static str),
    No,
    /// It would, and somebody says openly that it does not, or it is none of this tier's.
    Open(String),
}

/// What expectations follow from.
pub(crate) struct Facts<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) is_root: bool,
    /// Where the bait is.
    pub(crate) bait: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) host_name: String,
    /// What the report of a run says of each line.
    layers: Vec<Layer>,
    policy: Option<Policy>,
}

impl<'a> Facts<'a> {
    /// The facts of a profile, with the paths empty and no report.
    ///
    /// # Errors
    ///
    /// [`Error::Profile`]: its filter cannot be worked out.
    pub(crate) fn new(profile: &'a Profile) -> Result<Self, Error> {
        // Without namespaces there is always a filter.
        let floor = Profile::resolve("blocked_dangerous", &())?;
        let base = match (Filter::is_for(profile), profile.isolation.value) {
            (true, _) => Some(&profile.seccomp),
            (false, Isolation::Basic) => Some(&floor.seccomp),
            (false, _) => None,
        };
        let policy = match base {
            None => None,
            Some(seccomp) => {
                let policy = Answers::new(seccomp, profile.mode.value)?.policy(NATIVE);
                Some(policy.map_err(|err| Error::Usage {
                    what: "the profile's filter".to_owned(),
                    problem: err.to_string().into(),
                })?)
            }
        };
        Ok(Self {
            profile,
            is_root: rustix::process::geteuid().is_root(),
            bait: PathBuf::new(),
            home: PathBuf::new(),
            host_name: String::new(),
            layers: Vec::new(),
            policy,
        })
    }

    /// Takes what a run says openly. A line that an option has set is known there by the option's name.
    pub(crate) fn told(&mut self, mut layers: Vec<Layer>) {
        for layer in &mut layers {
            let named = OPTIONS
                .iter()
                .find(|(option, _)| *option == layer.requested);
            if let Some((_, key)) = named {
                (*key).clone_into(&mut layer.requested);
            }
        }
        self.layers = layers;
    }

    /// What must come of a probe with these walls.
    pub(crate) fn must(&self, walls: &[Wall], otherwise: Otherwise) -> Must {
        let is_gvisor = self.profile.isolation.value == Isolation::Gvisor;
        if is_gvisor && walls.contains(&Wall::Guest) {
            let why = "gVisor's own kernel has one, and it is not the host's";
            return Must::NotPromised(why.to_owned());
        }
        let mut open = None;
        for wall in walls {
            match self.stands(*wall) {
                Stands::Yes(why) => return Must::Deny(why.to_owned()),
                Stands::Open(why) => open = open.or(Some(why)),
                Stands::No => {}
            }
        }
        match (open, otherwise) {
            (Some(why), _) => Must::NotPromised(why),
            (None, Otherwise::Work) => Must::Work("nothing denies it".to_owned()),
            (None, Otherwise::Open) => {
                Must::NotPromised("the profile and the tier deny it nowhere".to_owned())
            }
        }
    }

    fn is_basic(&self) -> bool {
        self.profile.isolation.value == Isolation::Basic
    }

    fn has_own_root(&self) -> bool {
        matches!(
            self.profile.isolation.value,
            Isolation::Container | Isolation::Gvisor
        )
    }

    fn enforces(&self) -> bool {
        self.profile.mode.value == Mode::Enforcing
    }

    fn stands(&self, wall: Wall) -> Stands {
        match wall {
            Wall::Call(name, arguments) => self.call(name, arguments),
            Wall::SecondaryAbi if self.policy.is_some() && self.enforces() => {
                Stands::Yes("seccomp")
            }
            Wall::SecondaryAbi => Stands::No,
            Wall::Unmoved if self.is_basic() => self.in_basic("seccomp"),
            Wall::Unmoved => Stands::No,
            Wall::Capability(name) => self.capability(Some(name)),
            Wall::AnyCapability => self.capability(None),
            Wall::BoundingSet if self.is_basic() && !self.is_root => Stands::Open(
                "a user cannot drop what it could only gain, and no_new_privs keeps it from that"
                    .to_owned(),
            ),
            Wall::BoundingSet => self.capability(None),
            Wall::NoNewPrivileges => Stands::Yes("no_new_privs"),
            Wall::Environment => Stands::Yes("a clean environment"),
            Wall::Descriptors => Stands::Yes("three streams, and nothing else"),
            Wall::Read(path) => self.read(path),
            Wall::Write(path) => self.write(path),
            Wall::Limit(key) => self.limit(key),
            Wall::Network
            | Wall::Interfaces
            | Wall::Loopback
            | Wall::MetadataHosts
            | Wall::LocalSockets => self.network(wall),
            _ if self.is_basic() => self.on_the_host(wall),
            _ => self.in_namespaces(wall),
        }
    }

    fn call(&self, name: &'static str, given: &[(usize, u64)]) -> Stands {
        let Some(policy) = &self.policy else {
            return Stands::No;
        };
        let call = Syscall::named(name);
        let number = (0..1024).find(|number| {
            let found = Syscall::numbered(AUDIT, *number);
            found.is_some() && found == call
        });
        let Some(number) = number else {
            return Stands::No;
        };
        let mut arguments = [0; 6];
        for (position, value) in given {
            if let Some(place) = arguments.get_mut(*position) {
                *place = *value;
            }
        }
        match policy.verdict(AUDIT, number, &arguments) {
            Verdict::ALLOW | Verdict::LOG => Stands::No,
            _ => Stands::Yes("seccomp"),
        }
    }

    /// Whether a capability, or any, is out of reach.
    fn capability(&self, name: Option<&str>) -> Stands {
        let kept = self.profile.process.capabilities.as_ref();
        let kept = kept.map_or(&[][..], |list| &list.items);
        let is_kept = kept
            .iter()
            .any(|item| name.is_none_or(|name| item.value.name() == name));
        if self.is_basic() && self.is_root && is_kept {
            return Stands::No;
        }
        Stands::Yes("no capability is kept")
    }

    /// What is denied on the host's own namespaces, as long as anything is.
    fn in_basic(&self, how: &'static str) -> Stands {
        match self.enforces() {
            true => Stands::Yes(how),
            false => Stands::Open("permissive mode allows it in this tier".to_owned()),
        }
    }

    /// What Landlock holds of files in the tier `basic`, as long as it holds any.
    fn landlock(&self) -> Stands {
        let mut lines = self.layers.iter().filter(|one| one.layer == "landlock");
        let in_force = |one: &&Layer| one.applied == Applied::Yes;
        match lines.clone().find(in_force) {
            Some(_) => self.in_basic("Landlock"),
            None => match lines.next() {
                Some(lost) => Stands::Open(lost.how.clone()),
                None => self.in_basic("Landlock"),
            },
        }
    }

    /// What Landlock holds of signals.
    fn scope(&self) -> Stands {
        let mut lines = self.layers.iter();
        let lost = lines.find(|one| {
            one.layer == "landlock" && one.requested == "isolation" && one.applied != Applied::Yes
        });
        match lost {
            Some(lost) => Stands::Open(lost.how.clone()),
            None => self.landlock(),
        }
    }

    /// What the report says of a line that is not in force.
    fn given_up(&self, key: &str) -> Option<String> {
        let mut lines = self.layers.iter().filter(|one| one.requested == key);
        let lost = lines.find(|one| one.applied != Applied::Yes)?;
        Some(lost.how.clone())
    }

    fn on_the_host(&self, wall: Wall) -> Stands {
        let open = |why: &str| Stands::Open(why.to_owned());
        match wall {
            Wall::Others(Other::See | Other::Memory) => self.landlock(),
            Wall::Others(Other::Signal) => self.scope(),
            Wall::Others(Other::Limits) | Wall::Ipc => self.in_basic("seccomp"),
            Wall::Others(Other::Cpus) => {
                open("the tier basic does not keep a program from its user's other processes' CPUs")
            }
            Wall::KernelFile | Wall::Device => self.landlock(),
            Wall::OwnDevices => open("the tier basic has the host's /dev"),
            Wall::HostName => open("the tier basic has the host's names"),
            other => self.in_namespaces(other),
        }
    }

    fn in_namespaces(&self, wall: Wall) -> Stands {
        match wall {
            Wall::Others(_) => Stands::Yes("a pid namespace of its own"),
            Wall::KernelFile => Stands::Yes("a /proc of its own, and no /sys"),
            Wall::Device => Stands::Yes("a /dev of its own"),
            Wall::Ipc => Stands::Yes("an ipc namespace of its own"),
            Wall::HostName if self.host_name == "sandbox" => {
                Stands::Open("the host has the name that sandboxes have".to_owned())
            }
            Wall::HostName => Stands::Yes("a name of its own"),
            Wall::Room => {
                let limits = &self.profile.limits;
                let space = limits.virtual_memory_limit_bytes.as_ref();
                let small = limits.memory_limit_bytes.value.0 < 64 << 20
                    || space.is_some_and(|line| line.value.0 < 256 << 20);
                match small {
                    true => Stands::Open("the profile's limits are smaller".to_owned()),
                    false => Stands::No,
                }
            }
            _ => Stands::No,
        }
    }

    fn network(&self, wall: Wall) -> Stands {
        let network = &self.profile.network;
        let allowed = network.allow_network.value;
        let is_gvisor = self.profile.isolation.value == Isolation::Gvisor;
        match wall {
            Wall::Network | Wall::Interfaces if allowed && is_gvisor => {
                Stands::Open("gVisor has a network of its own behind the host's".to_owned())
            }
            Wall::Network if !allowed && self.is_basic() => self.in_basic("seccomp"),
            Wall::Interfaces if !allowed && self.is_basic() => {
                Stands::Open("the tier basic has the host's network devices".to_owned())
            }
            Wall::Network | Wall::Interfaces if !allowed => Stands::Yes("a network of its own"),
            Wall::Loopback if allowed => Stands::No,
            Wall::Loopback if !network.allow_loopback.value => Stands::Yes("no loopback"),
            Wall::Loopback if self.is_basic() => {
                Stands::Open("loopback alone cannot be had in the host's network".to_owned())
            }
            Wall::MetadataHosts => self.metadata(),
            Wall::LocalSockets if self.is_basic() => self.in_basic("seccomp"),
            Wall::LocalSockets if allowed => {
                Stands::Open("sockets of the host's network come with it".to_owned())
            }
            _ => Stands::No,
        }
    }

    fn metadata(&self) -> Stands {
        let blocked = &self.profile.network.blocked_hosts;
        let covers = |host: &Host| host.to_string().starts_with("169.254.");
        if !blocked.iter().any(|line| covers(&line.value)) {
            return Stands::No;
        }
        match self.given_up("network.blocked_hosts") {
            Some(why) => Stands::Open(why),
            None => Stands::Yes("blocked_hosts"),
        }
    }

    fn limit(&self, key: Key) -> Stands {
        let limits = &self.profile.limits;
        let (line, how) = match key {
            Key::Threads => ("limits.max_threads", "pids of the cgroup"),
            Key::Processes => ("limits.max_processes", "whoever watches"),
            Key::Memory => ("limits.memory_limit_bytes", "memory of the cgroup"),
            Key::Files => ("limits.max_open_files", "RLIMIT_NOFILE"),
            Key::FileSize if limits.max_file_size_bytes.is_none() => {
                return Stands::Open("the profile sets none".to_owned());
            }
            Key::Disk if limits.disk_quota_bytes.is_none() => {
                return Stands::Open("the profile sets none".to_owned());
            }
            Key::Disk => ("limits.disk_quota_bytes", "the size of what is writable"),
            Key::FileSize => ("limits.max_file_size_bytes", "RLIMIT_FSIZE"),
            Key::CpuTime => ("limits.cpu_time_limit_seconds", "whoever watches"),
            Key::Time => ("execution_timeout", "whoever watches"),
        };
        match self.given_up(line) {
            Some(why) => Stands::Open(why),
            None => Stands::Yes(how),
        }
    }
}
