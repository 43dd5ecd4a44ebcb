//! The table of all keys: what each holds, and how layers meet.
//!
//! - `preset`: one value; a level has one for every profile.
//! - `optional`: one value, or none. The later layer wins, as with `preset`.
//! - `replaced`: a list that a later layer replaces whole.
//! - `joined`: a list that every layer adds to.

use std::net::IpAddr;
use std::time::Duration;

use crate::decode::Reader;
use crate::entry::{Entry, Shown};
use crate::error::Error;
use crate::merge::{Context, join, replace};
use crate::node::{Member, Node};
use crate::schema::{Properties, list_schema, property};
use crate::value::{
    AbsolutePath, ApparmorName, BindMount, Bytes, Capability, Count, Host, IptablesRule, Isolation,
    Level, List, Mode, Name, OnMissing, Ports, SeccompAction, SelinuxContext, Setting, SyscallName,
    Umask, Value,
};

/// A section: its keys as they are in a layer and as they are in a resolved profile.
macro_rules! keys {
    (@layer preset $type:ty) => { Option<Setting<$type>> };
    (@layer optional $type:ty) => { Option<Setting<$type>> };
    (@layer replaced $type:ty) => { Option<List<$type>> };
    (@layer joined $type:ty) => { Option<List<$type>> };
    (@resolved preset $type:ty) => { Setting<$type> };
    (@resolved optional $type:ty) => { Option<Setting<$type>> };
    (@resolved replaced $type:ty) => { Option<List<$type>> };
    (@resolved joined $type:ty) => { Vec<Setting<$type>> };
    (@read preset $reader:expr, $key:expr, $node:expr) => { $reader.value($key, $node)? };
    (@read optional $reader:expr, $key:expr, $node:expr) => { $reader.value($key, $node)? };
    (@read replaced $reader:expr, $key:expr, $node:expr) => { $reader.list($key, $node)? };
    (@read joined $reader:expr, $key:expr, $node:expr) => { $reader.list($key, $node)? };
    (@put preset $mine:expr, $later:expr) => { replace(&mut $mine, $later) };
    (@put optional $mine:expr, $later:expr) => { replace(&mut $mine, $later) };
    (@put replaced $mine:expr, $later:expr) => { replace(&mut $mine, $later) };
    (@put joined $mine:expr, $later:expr) => { join(&mut $mine, $later) };
    (@resolve preset $context:expr, $key:expr, $value:expr) => { $context.preset($key, $value)? };
    (@resolve optional $context:expr, $key:expr, $value:expr) => { $context.optional($value)? };
    (@resolve replaced $context:expr, $key:expr, $value:expr) => { $context.list($value)? };
    (@resolve joined $context:expr, $key:expr, $value:expr) => { $context.joined($value)? };
    (@schema preset $type:ty) => { <$type as Value>::schema() };
    (@schema optional $type:ty) => { <$type as Value>::schema() };
    (@schema replaced $type:ty) => { list_schema::<$type>() };
    (@schema joined $type:ty) => { list_schema::<$type>() };
    ($(#[doc = $about:literal])+ $vis:vis $resolved:ident from $layer:ident in $prefix:literal {
        $($(#[doc = $doc:literal])+ $key:ident: $rule:tt $type:ty,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $resolved { $($(#[doc = $doc])+ pub $key: keys!(@resolved $rule $type),)+ }

        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(crate) struct $layer { $(pub(crate) $key: keys!(@layer $rule $type),)+ }

        impl $layer {
            pub(crate) const KEYS: &[&str] = &[$(stringify!($key),)+];
            pub(crate) const ABOUT: &[&str] = &[$($about,)+];

            /// Reads one key, if the section has it.
            pub(crate) fn take(
                &mut self,
                reader: &Reader<'_>,
                member: &Member,
            ) -> Result<bool, Error> {
                match member.key.as_str() {
                    $(stringify!($key) => {
                        let key = concat!($prefix, stringify!($key));
                        self.$key = Some(keys!(@read $rule reader, key, &member.value));
                    })+
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// Puts the keys of a later layer over these.
            pub(crate) fn put(&mut self, later: Self) {
                $(keys!(@put $rule self.$key, later.$key);)+
            }

            pub(crate) fn resolve(self, context: &Context<'_>) -> Result<$resolved, Error> {
                Ok($resolved {
                    $($key: keys!(
                        @resolve $rule context, concat!($prefix, stringify!($key)), self.$key
                    ),)+
                })
            }

            pub(crate) fn properties() -> Properties {
                [$((
                    stringify!($key).to_owned(),
                    property(&[$($doc,)+], keys!(@schema $rule $type)),
                ),)+]
                .into_iter()
                .collect()
            }
        }

        impl $resolved {
            /// Each value with its key, in the order of the table.
            pub(crate) fn entries(&self, out: &mut Vec<Entry>) {
                $(self.$key.entries(concat!($prefix, stringify!($key)), out);)+
            }

            /// The keys that are set, as a file would have them.
            pub(crate) fn json(&self) -> Properties {
                let keys = [$((stringify!($key), self.$key.json()),)+].into_iter();
                keys.filter_map(|(key, json)| Some((key.to_owned(), json?))).collect()
            }
        }
    };
}

/// Reads a section whose keys are all in one table.
macro_rules! read_section {
    ($($layer:ident in $prefix:literal,)+) => {
        $(impl $layer {
            pub(crate) fn read(reader: &Reader<'_>, name: &str, node: &Node) -> Result<Self, Error> {
                let mut layer = Self::default();
                for member in reader.members(name, node)? {
                    if !layer.take(reader, member)? {
                        return Err(reader.unknown($prefix, member, Self::KEYS));
                    }
                }
                Ok(layer)
            }
        })+
    };
}

read_section! {
    LimitsLayer in "limits.",
    NetworkLayer in "network.",
    FilesystemLayer in "filesystem.",
    ProcessLayer in "process.",
    SeccompLayer in "seccomp.",
}

keys! {
    /// A GreenLang profile: one file that every layer of a sandbox is made from.
    pub(crate) General from GeneralLayer in "" {
        /// How much of a sandbox is built.
        isolation: preset Isolation,
        /// What happens to an act that is not allowed.
        mode: preset Mode,
        /// Whose presets fill what no layer sets.
        level: preset Level,
        /// What happens where the host lacks a layer.
        on_missing: preset OnMissing,
        /// Wall clock of the setup.
        setup_timeout: optional Duration,
        /// Wall clock of the run; then SIGTERM, a grace time, and SIGKILL for the whole tree.
        execution_timeout: preset Duration,
    }
}

keys! {
    /// `[limits]`: what a sandbox may use up.
    pub Limits from LimitsLayer in "limits." {
        /// Memory of the whole tree, without swap.
        memory_limit_bytes: preset Bytes,
        /// Address space of each process.
        virtual_memory_limit_bytes: optional Bytes,
        /// CPU seconds of the whole tree.
        cpu_time_limit_seconds: preset Duration,
        /// Share of a CPU: 50 is half of one.
        cpu_percent_limit: optional Count,
        /// Open files of each process.
        max_open_files: preset Count,
        /// Size of each file that is written.
        max_file_size_bytes: optional Bytes,
        /// Processes at a time.
        max_processes: preset Count,
        /// Tasks: the threads of all processes together.
        max_threads: preset Count,
        /// Everything writable inside together.
        disk_quota_bytes: optional Bytes,
        /// Bytes a second on the sandbox's interface.
        network_bandwidth_limit: optional Bytes,
        /// Connections at a time.
        max_connections: optional Count,
    }
}

keys! {
    /// `[network]`: whom a sandbox may reach.
    pub NetworkPolicy from NetworkLayer in "network." {
        /// Whether there is a network beyond loopback.
        allow_network: preset bool,
        /// Whether loopback is up.
        allow_loopback: preset bool,
        /// Hosts that may be reached; every host where there is no list. Private ranges only if
        /// they are listed.
        allowed_hosts: replaced Host,
        /// Ports that may be reached; every port where there is no list.
        allowed_ports: replaced Ports,
        /// Hosts that may not be reached, whatever allows them.
        blocked_hosts: joined Host,
        /// Servers that names are asked of.
        dns_servers: replaced IpAddr,
        /// Rules for the sandbox's own network namespace, in order.
        custom_iptables_rules: joined IptablesRule,
    }
}

keys! {
    /// `[filesystem]`: what a sandbox sees of files.
    pub FilesystemPolicy from FilesystemLayer in "filesystem." {
        /// Whether the root is fresh, and deleted after.
        create_temp_root: optional bool,
        /// Where the fresh root is.
        temp_root_path: optional AbsolutePath,
        /// Paths that can be read and not written.
        read_only_paths: replaced AbsolutePath,
        /// Paths that can be written.
        read_write_paths: replaced AbsolutePath,
        /// Paths of the host that are hidden.
        blocked_paths: joined AbsolutePath,
        /// Paths of the host that are seen inside.
        bind_mounts: replaced BindMount,
        /// The AppArmor profile to run under, by its name.
        apparmor_profile: optional ApparmorName,
        /// The SELinux context to run under.
        selinux_context: optional SelinuxContext,
        /// Whether the root is read-only.
        readonly_root: optional bool,
        /// Paths inside that are covered with something empty.
        mask_paths: joined AbsolutePath,
    }
}

keys! {
    /// `[process]`: what a program starts with.
    pub ProcessPolicy from ProcessLayer in "process." {
        /// Capabilities that it keeps at most; an empty list is none.
        capabilities: replaced Capability,
        /// Whether no program gains privileges by being executed.
        no_new_privileges: optional bool,
        /// The bits that new files do not get.
        umask: optional Umask,
    }
}

keys! {
    /// `[seccomp]`: which system calls may be made. What is denied is denied, whatever allows it.
    pub SeccompPolicy from SeccompLayer in "seccomp." {
        /// What happens to a call that no group and no list names.
        default: optional SeccompAction,
        /// Groups of `profiles/seccomp` that are allowed.
        groups: joined Name,
        /// Groups of `profiles/seccomp` that are denied.
        deny_groups: joined Name,
        /// Calls that are allowed; with `@group` behind one, the part of it that the group speaks of.
        allow: joined SyscallName,
        /// Calls that are denied; with `@group` behind one, the part of it that the group speaks of.
        deny: joined SyscallName,
    }
}
