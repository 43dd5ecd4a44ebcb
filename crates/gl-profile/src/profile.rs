//! A resolved profile: every layer merged, every value typed and with its origin.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::check::check;
use crate::entry::{Entry, Shown};
use crate::error::Error;
use crate::keys::{FilesystemPolicy, General, Limits, NetworkPolicy, ProcessPolicy, SeccompPolicy};
use crate::layer::{Layer, SCHEMA_VERSION};
use crate::merge::Context;
use crate::resolve::{Source, Start, collect};
use crate::schema::Properties;
use crate::value::{Isolation, Level, Mode, Name, OnMissing, Setting};

/// A resolved profile.
///
/// What a level presets is always there; the rest only where some layer sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The name.
    pub name: Setting<Name>,
    /// What it is for.
    pub description: Option<Setting<String>>,
    /// The sources that it was merged from, each later one over the earlier; the presets first.
    pub sources: Vec<Arc<str>>,
    /// How much of a sandbox is built.
    pub isolation: Setting<Isolation>,
    /// What happens to an act that is not allowed.
    pub mode: Setting<Mode>,
    /// Whose presets filled what no layer set.
    pub level: Setting<Level>,
    /// What happens where the host lacks a layer.
    pub on_missing: Setting<OnMissing>,
    /// Wall clock of the setup.
    pub setup_timeout: Option<Setting<Duration>>,
    /// Wall clock of the run.
    pub execution_timeout: Setting<Duration>,
    /// What it may use up.
    pub limits: Limits,
    /// Whom it may reach.
    pub network: NetworkPolicy,
    /// What it sees of files.
    pub filesystem: FilesystemPolicy,
    /// What its program starts with.
    pub process: ProcessPolicy,
    /// Which system calls may be made.
    pub seccomp: SeccompPolicy,
}

impl Profile {
    /// Resolves a profile by its name, or one that was read from a file.
    ///
    /// The presets of its level are the lowest layer; then come the profiles that it extends, in
    /// order and each once; its own keys are last. Built-in profiles are found without `source`.
    ///
    /// # Errors
    ///
    /// [`Error`] with the place: a profile that is not there, that cannot be read or that extends
    /// itself, a variable that is not there, a path that variables make unclean, keys that
    /// contradict each other.
    pub fn resolve(start: impl Into<Start>, source: &dyn Source) -> Result<Self, Error> {
        Self::resolve_over(None, start, source)
    }

    /// As [`Profile::resolve`], with a layer between the presets and everything else: the words of
    /// the environment, that explicit settings win over.
    ///
    /// # Errors
    ///
    /// As [`Profile::resolve`].
    pub fn resolve_over(
        base: Option<Layer>,
        start: impl Into<Start>,
        source: &dyn Source,
    ) -> Result<Self, Error> {
        Self::resolve_between(base, start, None, source)
    }

    /// As [`Profile::resolve_over`], with one more layer over everything else.
    pub(crate) fn resolve_between(
        base: Option<Layer>,
        start: impl Into<Start>,
        top: Option<Layer>,
        source: &dyn Source,
    ) -> Result<Self, Error> {
        let layers = collect((base, top), start.into(), source)?;
        let mut merged = layers.presets;
        let level = Arc::clone(&merged.name.origin.file);
        let mut sources = vec![Arc::clone(&level)];
        for mut layer in layers.explicit {
            sources.push(Arc::clone(&layer.name.origin.file));
            merged.name = layer.name.clone();
            merged.description = layer.description.take();
            merged.put(layer);
        }
        let variables = std::mem::take(&mut merged.variables);
        let context = Context {
            variables: &variables,
            level: &level,
        };
        let General {
            isolation,
            mode,
            level,
            on_missing,
            setup_timeout,
            execution_timeout,
        } = merged.general.resolve(&context)?;
        let mut profile = Self {
            name: merged.name,
            description: merged.description,
            sources,
            isolation,
            mode,
            level,
            on_missing,
            setup_timeout,
            execution_timeout,
            limits: merged.limits.resolve(&context)?,
            network: merged.network.resolve(&context)?,
            filesystem: merged.filesystem.resolve(&context)?,
            process: merged.process.resolve(&context)?,
            seccomp: merged.seccomp.resolve(&context)?,
        };
        check(&mut profile)?;
        Ok(profile)
    }

    fn general(&self) -> General {
        General {
            isolation: self.isolation.clone(),
            mode: self.mode.clone(),
            level: self.level.clone(),
            on_missing: self.on_missing.clone(),
            setup_timeout: self.setup_timeout.clone(),
            execution_timeout: self.execution_timeout.clone(),
        }
    }

    /// Every value with its key and origin, in the order of the format; of lists every item.
    pub fn entries(&self) -> Vec<Entry> {
        let mut out = Vec::with_capacity(64);
        self.name.entries("name", &mut out);
        self.description.entries("description", &mut out);
        self.general().entries(&mut out);
        self.limits.entries(&mut out);
        self.network.entries(&mut out);
        self.filesystem.entries(&mut out);
        self.process.entries(&mut out);
        self.seccomp.entries(&mut out);
        out
    }

    /// The profile in its one spelling: JSON without blanks, keys sorted, no description.
    ///
    /// It can be read as a profile file again, and resolves to the same values, but for what layers say
    /// that another has overruled, which one file is refused for: lists of what may be reached where there
    /// is no network are left out, and there are no more processes than tasks.
    pub fn canonical_json(&self) -> String {
        let mut network = self.network.json();
        if !self.network.allow_network.value {
            network.retain(|key, _| !matches!(&**key, "allowed_hosts" | "allowed_ports"));
        }
        let mut limits = self.limits.json();
        if self.limits.max_processes.value > self.limits.max_threads.value
            && let Some(tasks) = limits.get("max_threads").cloned()
        {
            limits.insert("max_processes".to_owned(), tasks);
        }
        let mut top: Properties = self.general().json();
        top.insert("version".to_owned(), Json::from(SCHEMA_VERSION));
        top.insert("name".to_owned(), Json::from(self.name.value.as_str()));
        for (name, section) in [
            ("limits", limits),
            ("network", network),
            ("filesystem", self.filesystem.json()),
            ("process", self.process.json()),
            ("seccomp", self.seccomp.json()),
        ] {
            if !section.is_empty() {
                top.insert(name.to_owned(), section.into_iter().collect());
            }
        }
        Json::from_iter(top).to_string()
    }

    /// The SHA-256 of [`Profile::canonical_json`], in hexadecimal digits.
    pub fn hash(&self) -> String {
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(self.canonical_json()) {
            // Writing to a String cannot fail.
            write!(hex, "{byte:02x}").expect("String write");
        }
        hex
    }
}
