//! The keys of one profile file, all of them optional but `version` and `name`.

use std::sync::Arc;

use crate::decode::Section;
use crate::error::{Error, Place};
use crate::node::{Format, Kind, Node, read};
use crate::value::{
    Bytes, Count, Isolation, Level, Located, Mode, Name, OnMissing, Seconds, Value,
};

/// The version of the profile format.
pub const SCHEMA_VERSION: u32 = 1;

/// A section: its keys with their types, and the reading of them. `[T]` is a list of `T`.
macro_rules! section {
    (@type [$item:ty]) => { Option<Vec<Located<$item>>> };
    (@type $value:ty) => { Option<Located<$value>> };
    (@read $section:expr, $key:expr, $node:expr, [$item:ty]) => { $section.list::<$item>($key, $node) };
    (@read $section:expr, $key:expr, $node:expr, $value:ty) => { $section.value::<$value>($key, $node) };
    ($(#[$meta:meta])* $struct:ident $name:literal { $($(#[$doc:meta])* $key:ident: $type:tt,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $struct { $($(#[$doc])* pub $key: section!(@type $type),)+ }

        impl $struct {
            const KEYS: &[&str] = &[$(stringify!($key),)+];

            fn read(file: &Arc<str>, node: &Node) -> Result<Self, Error> {
                let top = Section { file, name: "" };
                let section = Section { file, name: $name };
                let mut out = Self::default();
                for member in top.members($name, node)? {
                    match member.key.as_str() {
                        $(stringify!($key) => {
                            out.$key = Some(section!(@read section, &member.key, &member.value, $type)?);
                        })+
                        _ => return Err(section.unknown(member, Self::KEYS)),
                    }
                }
                Ok(out)
            }
        }
    };
}

section! {
    /// `[limits]`
    Limits "limits" {
        /// Memory of the whole tree.
        memory_limit_bytes: Bytes,
        /// Address space of each process.
        virtual_memory_limit_bytes: Bytes,
        /// CPU seconds of the whole tree.
        cpu_time_limit_seconds: Seconds,
        /// Share of a CPU: 50 is half of one.
        cpu_percent_limit: Count,
        /// Open files of each process.
        max_open_files: Count,
        /// Size of each file.
        max_file_size_bytes: Bytes,
        /// Processes.
        max_processes: Count,
        /// Tasks, threads included.
        max_threads: Count,
        /// Everything writable together.
        disk_quota_bytes: Bytes,
        /// Bytes a second.
        network_bandwidth_limit: Bytes,
        /// Connections at a time.
        max_connections: Count,
    }
}

section! {
    /// `[network]`: the switches. The other keys of this section are not read yet, and refused.
    Network "network" {
        /// Whether there is a network beyond loopback.
        allow_network: bool,
        /// Whether there is a loopback.
        allow_loopback: bool,
    }
}

section! {
    /// `[process]`
    Process "process" {
        /// Whether no program gains privileges by being executed.
        no_new_privileges: bool,
    }
}

section! {
    /// `[seccomp]`
    Seccomp "seccomp" {
        /// The action for a call that no list names.
        default: String,
        /// Groups that are allowed.
        groups: [Name],
        /// Groups that are denied.
        deny_groups: [Name],
        /// Calls that are allowed.
        allow: [String],
        /// Calls that are denied, whatever allows them.
        deny: [String],
    }
}

/// One profile file, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The name of the profile.
    pub name: Located<Name>,
    /// What it is for.
    pub description: Option<Located<String>>,
    /// The profiles that it begins with, in order. Not resolved yet.
    pub extends: Vec<Located<Name>>,
    /// How much of a sandbox is built.
    pub isolation: Option<Located<Isolation>>,
    /// What happens to an act that is not allowed.
    pub mode: Option<Located<Mode>>,
    /// Whose presets fill what is open.
    pub level: Option<Located<Level>>,
    /// What happens where the host lacks a layer.
    pub on_missing: Option<Located<OnMissing>>,
    /// Wall clock of the setup.
    pub setup_timeout: Option<Located<Seconds>>,
    /// Wall clock of the run.
    pub execution_timeout: Option<Located<Seconds>>,
    /// `[limits]`
    pub limits: Limits,
    /// `[network]`
    pub network: Network,
    /// `[process]`
    pub process: Process,
    /// `[seccomp]`
    pub seccomp: Seccomp,
}

const KEYS: &[&str] = &[
    "version",
    "name",
    "description",
    "extends",
    "isolation",
    "mode",
    "level",
    "on_missing",
    "setup_timeout",
    "execution_timeout",
    "limits",
    "network",
    "process",
    "seccomp",
];

/// The version of a file: the one that this crate reads.
struct Version;

impl Value for Version {
    fn decode(node: &Node) -> Result<Self, crate::value::Mismatch> {
        match node.kind {
            Kind::Integer(1) => Ok(Self),
            _ => Err(crate::value::Mismatch::new(
                "1, the version of the profile format",
            )),
        }
    }
}

/// Reads one profile file. `file` names it in messages.
///
/// # Errors
///
/// [`Error`] with the place: a text too large or with broken syntax, an unknown key, a value that
/// does not fit, no `version` or no `name`.
pub fn parse(file: &str, text: &str, format: Format) -> Result<Layer, Error> {
    let file: Arc<str> = Arc::from(file);
    let root = read(&file, text, format)?;
    let top = Section {
        file: &file,
        name: "",
    };
    let members = top.members("", &root)?;
    let required = |key: &str, expected: &'static str| {
        members
            .iter()
            .find(|member| member.key == key)
            .ok_or_else(|| Error::MissingKey {
                place: Place {
                    file: Arc::clone(&file),
                    line: 0,
                    key: key.to_owned(),
                },
                expected,
            })
    };
    if let Some(member) = members
        .iter()
        .find(|member| !KEYS.contains(&member.key.as_str()))
    {
        return Err(top.unknown(member, KEYS));
    }
    top.value::<Version>("version", &required("version", "version = 1")?.value)?;
    let name = top.value("name", &required("name", "the name of the profile")?.value)?;
    let mut layer = Layer {
        name,
        description: None,
        extends: Vec::new(),
        isolation: None,
        mode: None,
        level: None,
        on_missing: None,
        setup_timeout: None,
        execution_timeout: None,
        limits: Limits::default(),
        network: Network::default(),
        process: Process::default(),
        seccomp: Seccomp::default(),
    };
    for member in members {
        let (key, node) = (member.key.as_str(), &member.value);
        match key {
            "description" => layer.description = Some(top.value(key, node)?),
            "extends" => layer.extends = top.list(key, node)?,
            "isolation" => layer.isolation = Some(top.value(key, node)?),
            "mode" => layer.mode = Some(top.value(key, node)?),
            "level" => layer.level = Some(top.value(key, node)?),
            "on_missing" => layer.on_missing = Some(top.value(key, node)?),
            "setup_timeout" => layer.setup_timeout = Some(top.value(key, node)?),
            "execution_timeout" => layer.execution_timeout = Some(top.value(key, node)?),
            "limits" => layer.limits = Limits::read(&file, node)?,
            "network" => layer.network = Network::read(&file, node)?,
            "process" => layer.process = Process::read(&file, node)?,
            "seccomp" => layer.seccomp = Seccomp::read(&file, node)?,
            _ => {}
        }
    }
    Ok(layer)
}

#[cfg(test)]
mod tests;
