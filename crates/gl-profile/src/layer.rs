//! One profile file, as it is written: every key open but `version` and `name`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::decode::Reader;
use crate::error::{Error, Place};
use crate::keys::{
    FilesystemLayer, GeneralLayer, LimitsLayer, NetworkLayer, ProcessLayer, SeccompLayer,
};
use crate::node::{Format, Kind, Member, Node, read};
use crate::value::{Name, Setting, SourceKind, Variables, is_variable};

/// The version of the profile format.
pub const SCHEMA_VERSION: u32 = 1;

/// One profile file, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The name of the profile.
    pub name: Setting<Name>,
    /// What it is for.
    pub description: Option<Setting<String>>,
    /// The profiles that it begins with, in order.
    pub extends: Vec<Setting<Name>>,
    /// What `${name}` stands for in paths.
    pub(crate) variables: Variables,
    pub(crate) general: GeneralLayer,
    pub(crate) limits: LimitsLayer,
    pub(crate) network: NetworkLayer,
    pub(crate) filesystem: FilesystemLayer,
    pub(crate) process: ProcessLayer,
    pub(crate) seccomp: SeccompLayer,
}

/// The keys that are not settings, and the sections.
const HEAD: &[&str] = &[
    "version",
    "name",
    "description",
    "extends",
    "variables",
    "limits",
    "network",
    "filesystem",
    "process",
    "seccomp",
];

impl Layer {
    /// A layer without keys.
    pub(crate) fn named(name: Setting<Name>) -> Self {
        Self {
            name,
            description: None,
            extends: Vec::new(),
            variables: Variables::new(),
            general: GeneralLayer::default(),
            limits: LimitsLayer::default(),
            network: NetworkLayer::default(),
            filesystem: FilesystemLayer::default(),
            process: ProcessLayer::default(),
            seccomp: SeccompLayer::default(),
        }
    }

    /// Reads one profile file. `file` names it in messages.
    ///
    /// # Errors
    ///
    /// [`Error`] with the place: a text too large or with broken syntax, an unknown key, a value
    /// that does not fit, no `version` or no `name`.
    pub fn parse(file: &str, text: &str, format: Format) -> Result<Self, Error> {
        Self::parse_as(SourceKind::File, file, text, format)
    }

    pub(crate) fn parse_as(
        kind: SourceKind,
        file: &str,
        text: &str,
        format: Format,
    ) -> Result<Self, Error> {
        let root = read(&Arc::from(file), text, format)?;
        Self::of(kind, file, &root)
    }

    /// What a file that was parsed says.
    pub(crate) fn of(kind: SourceKind, file: &str, root: &Node) -> Result<Self, Error> {
        let file: Arc<str> = Arc::from(file);
        let reader = Reader { file: &file, kind };
        let members = reader.members("", root)?;
        let mut layer = Self::named(head(&reader, members)?);
        for member in members {
            layer.take(&reader, member)?;
        }
        Ok(layer)
    }

    fn take(&mut self, reader: &Reader<'_>, member: &Member) -> Result<(), Error> {
        let node = &member.value;
        match member.key.as_str() {
            "version" | "name" => {}
            "description" => self.description = Some(reader.value("description", node)?),
            "extends" => self.extends = reader.list("extends", node)?.items,
            "variables" => self.variables = variables(reader, node)?,
            "limits" => self.limits = LimitsLayer::read(reader, "limits", node)?,
            "network" => self.network = NetworkLayer::read(reader, "network", node)?,
            "filesystem" => self.filesystem = FilesystemLayer::read(reader, "filesystem", node)?,
            "process" => self.process = ProcessLayer::read(reader, "process", node)?,
            "seccomp" => self.seccomp = SeccompLayer::read(reader, "seccomp", node)?,
            _ if self.general.take(reader, member)? => {}
            _ => {
                let known = [HEAD, GeneralLayer::KEYS].concat();
                return Err(reader.unknown("", member, &known));
            }
        }
        Ok(())
    }

    /// Puts the settings of a later layer over these; its name and what it extends stay out.
    pub(crate) fn put(&mut self, later: Self) {
        self.variables.extend(later.variables);
        self.general.put(later.general);
        self.limits.put(later.limits);
        self.network.put(later.network);
        self.filesystem.put(later.filesystem);
        self.process.put(later.process);
        self.seccomp.put(later.seccomp);
    }
}

/// Checks the version and reads the name, which every file has.
fn head(reader: &Reader<'_>, members: &[Member]) -> Result<Setting<Name>, Error> {
    let required = |key: &str, expected: &'static str| {
        let member = members.iter().find(|member| member.key == key);
        member.ok_or_else(|| Error::MissingKey {
            place: Place {
                file: Arc::clone(reader.file),
                line: 0,
                key: key.to_owned(),
            },
            expected,
        })
    };
    let version = &required("version", "version = 1")?.value;
    if version.kind != Kind::Integer(SCHEMA_VERSION.into()) {
        return Err(reader.mismatch("version", version, "1, the version of the profile format"));
    }
    reader.value("name", &required("name", "the name of the profile")?.value)
}

fn variables(reader: &Reader<'_>, node: &Node) -> Result<Variables, Error> {
    let members = reader.members("variables", node)?.iter();
    members
        .map(|member| {
            let key = format!("variables.{}", member.key);
            if !is_variable(&member.key) {
                return Err(Error::Value {
                    place: reader.place(member.line, key),
                    expected: "the name of a variable: at most 64 of a-z, 0-9 and _, beginning with a letter"
                        .to_owned(),
                    found: crate::node::quoted(&member.key),
                    nearest: None,
                });
            }
            let value = reader.value(Cow::Owned(key), &member.value)?;
            Ok((member.key.clone(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests;
