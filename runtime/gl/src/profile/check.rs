//! `gl profile check`: what is wrong with files, and what may surprise.

use crate::status::Status;
use std::borrow::Cow;
use std::path::Path;

use gl_container::HostProfiles;
use gl_profile::builtin::DANGEROUS_GROUPS;
use gl_profile::seccomp::Filter;
use gl_profile::translate::{self, Controllers};
use gl_profile::{Isolation, Mode, OnMissing, Origin, Profile};
use gl_spec::{Extras, Rootless};
use serde::Serialize;

use crate::cli;
use crate::error::Error;
use crate::output::{self, Tone, tone};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
    /// Something to know, which is not wrong.
    Note,
}

/// Something about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    file: String,
    severity: Severity,
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn line(&self) -> String {
        let severity = match self.severity {
            Severity::Error => tone(Tone::Bad, "error"),
            Severity::Warning => tone(Tone::Partly, "warning"),
            Severity::Note => "note".to_owned(),
        };
        match &self.hint {
            Some(hint) => format!("{severity}: {}\n    {hint}\n", self.message),
            None => format!("{severity}: {}\n", self.message),
        }
    }
}

pub(super) fn perform(options: &cli::Check) -> Result<Status, Error> {
    let findings: Vec<_> = options
        .files
        .iter()
        .flat_map(|path| file(path, options.tier))
        .collect();
    if options.format.json {
        output::json(&findings)?;
    } else {
        let lines = findings.iter().map(Finding::line);
        output::text(&lines.collect::<String>())?;
    }
    let fails = |finding: &Finding| match finding.severity {
        Severity::Error => true,
        Severity::Warning => options.strict,
        Severity::Note => false,
    };
    Ok(Status::from(u8::from(findings.iter().any(fails))))
}

fn file(path: &Path, tier: Option<cli::Tier>) -> Vec<Finding> {
    let finding = |severity, message, hint: Option<Cow<'_, str>>| Finding {
        file: path.display().to_string(),
        severity,
        message,
        hint: hint.map(Cow::into_owned),
    };
    let resolved = super::read(path).and_then(|layer| Ok(Profile::resolve(layer, &HostProfiles)?));
    let profile = match resolved {
        Ok(profile) => profile,
        Err(err) => {
            return vec![finding(Severity::Error, gl_spec::chain(&err), err.hint())];
        }
    };
    let mut found: Vec<_> = warnings(&profile)
        .into_iter()
        .map(|message| finding(Severity::Warning, message, None))
        .collect();
    match would_be_refused(&profile) {
        Ok(()) => {}
        // What this host lacks another may have.
        Err(err @ Error::Refused(_)) => found.push(finding(
            Severity::Warning,
            format!(
                "{}: a container with it would be refused on this host",
                gl_spec::chain(&err)
            ),
            err.hint(),
        )),
        Err(err) => found.push(finding(Severity::Error, gl_spec::chain(&err), err.hint())),
    }
    if let Some(tier) = tier {
        let notes = notes(&profile, tier).into_iter();
        found.extend(notes.map(|note| finding(Severity::Note, note, None)));
    }
    found
}

/// Translates for a container of this host.
fn would_be_refused(profile: &Profile) -> Result<(), Error> {
    let mut spec = gl_spec::default_spec(Rootless::No);
    let host = gl_container::profile_host(Some(Controllers::ALL));
    translate::tighten(profile, &mut spec, &mut Extras::default(), &host, "ID")?;
    Filter::of(profile, gl_seccomp::NATIVE)?;
    Ok(())
}

/// What a tier would not enforce here: with the cgroup that a container of this user gets, and without.
fn notes(profile: &Profile, tier: cli::Tier) -> Vec<String> {
    let (_, here) = crate::doctor::cgroups();
    let lacking = |cgroup| super::explain::lacking(&super::tier::lines(profile, tier, cgroup));
    let had = lacking(here);
    let name = match tier {
        cli::Tier::Basic => "basic",
        cli::Tier::Namespace => "namespace",
        cli::Tier::Container => "container",
        cli::Tier::Gvisor => "gvisor",
    };
    let with = match here {
        Some(_) => "with the cgroup of this host",
        None => "here, where no cgroup can be had",
    };
    let mut notes: Vec<_> = had
        .iter()
        .map(|line| format!("tier {name}, {with}: {line}"))
        .collect();
    if here.is_some() {
        let without = lacking(None).into_iter().filter(|line| !had.contains(line));
        notes.extend(without.map(|line| format!("tier {name}, without a cgroup: {line}")));
    }
    notes
}

/// Capabilities with which a process can become the host's root or look into others.
const POWERFUL: &[&str] = &[
    "CAP_SYS_ADMIN",
    "CAP_SYS_MODULE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_DAC_READ_SEARCH",
    "CAP_BPF",
    "CAP_PERFMON",
    "CAP_MKNOD",
    "CAP_SYS_BOOT",
    "CAP_NET_ADMIN",
    "CAP_MAC_ADMIN",
];

fn warnings(profile: &Profile) -> Vec<String> {
    let mut out = Vec::new();
    let mut warn = |origin: &Origin, what: String| out.push(format!("{origin}: {what}"));
    if profile.mode.value == Mode::Permissive {
        warn(
            &profile.mode.origin,
            "what is not allowed is only logged".to_owned(),
        );
    }
    if profile.on_missing.value == OnMissing::Degrade {
        warn(
            &profile.on_missing.origin,
            "a layer that the host lacks is left out".to_owned(),
        );
    }
    if profile.isolation.value == Isolation::Basic {
        warn(
            &profile.isolation.origin,
            "other processes and the network are shared".to_owned(),
        );
    }
    grants(profile, &mut warn);
    contradictions(profile, &mut warn);
    out
}

/// What gives a program more than a sandbox should.
fn grants(profile: &Profile, warn: &mut impl FnMut(&Origin, String)) {
    for item in profile
        .process
        .capabilities
        .iter()
        .flat_map(|list| &list.items)
    {
        if POWERFUL.contains(&item.value.name()) {
            warn(
                &item.origin,
                format!("{} can be enough to leave a sandbox", item.value.name()),
            );
        }
    }
    let nnp = profile.process.no_new_privileges.as_ref();
    if let Some(line) = nnp.filter(|line| !line.value) {
        warn(
            &line.origin,
            "programs with set-user-ID may gain privileges".to_owned(),
        );
    }
    for group in &profile.seccomp.groups {
        if DANGEROUS_GROUPS.contains(&group.value.as_str()) {
            warn(
                &group.origin,
                format!(
                    "the group {} is for administering the system",
                    group.value.as_str()
                ),
            );
        }
    }
}

/// What can have no effect.
fn contradictions(profile: &Profile, warn: &mut impl FnMut(&Origin, String)) {
    for call in &profile.seccomp.deny {
        let again = profile
            .seccomp
            .allow
            .iter()
            .find(|allowed| allowed.value == call.value);
        if let Some(allowed) = again {
            warn(
                &allowed.origin,
                format!(
                    "{} is denied at {}, which wins",
                    call.value.as_str(),
                    call.origin
                ),
            );
        }
    }
    if !profile.network.allow_network.value {
        for host in profile
            .network
            .blocked_hosts
            .iter()
            .filter(|line| line.origin.kind == gl_profile::SourceKind::File)
        {
            warn(
                &host.origin,
                "there is no network, so the rule never matches".to_owned(),
            );
        }
    }
}
