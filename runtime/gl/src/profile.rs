//! `gl profile`: one file a subcommand.

mod check;
mod diff;
mod explain;
mod merge;
mod score;
mod tier;

use crate::status::Status;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use gl_container::HostProfiles;
use gl_profile::apparmor::{self, Access, Rules};
use gl_profile::seccomp::Filter;
use gl_profile::{Format, Layer, MAX_PROFILE_BYTES, Profile, Source as _, Start, translate};
use gl_spec::{Extras, Rootless};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::Value as Json;

use crate::cli;
use crate::error::Error;
use crate::output;

/// Does what was asked.
pub(crate) fn perform(command: &cli::Profile) -> Result<Status, Error> {
    match command {
        cli::Profile::List(format) => list(format),
        cli::Profile::Show(one) => show(one),
        cli::Profile::Check(options) => check::perform(options),
        cli::Profile::Explain(options) => explain::perform(options),
        cli::Profile::Diff(options) => diff::perform(options),
        cli::Profile::Merge(options) => merge::perform(options),
        cli::Profile::Score(one) => score::perform(one),
        cli::Profile::Schema => output::text(&gl_profile::schema()).map(|()| Status::SUCCESS),
        cli::Profile::Export(options) => export(options),
    }
}

/// Resolves what a person wrote: a name, or a file.
pub(crate) fn resolve(name: &str) -> Result<Profile, Error> {
    Ok(Profile::resolve(start(name)?, &HostProfiles)?)
}

/// What a person wrote: a name, or a file.
pub(crate) fn start(name: &str) -> Result<Start, Error> {
    let path = Path::new(name);
    let is_file = name.contains('/') || format(path).is_some();
    Ok(match is_file {
        true => read(path)?.into(),
        false => name.into(),
    })
}

/// The language that a file's name says.
fn format(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "toml" => Some(Format::Toml),
        "json" => Some(Format::Json),
        _ => None,
    }
}

fn read(path: &Path) -> Result<Layer, Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let file = open(path).map_err(failed)?;
    // One byte more than a profile may have: the parser then refuses it by its size.
    let mut limited = file.take(MAX_PROFILE_BYTES as u64 + 1);
    let mut bytes = Vec::new();
    limited.read_to_end(&mut bytes).map_err(failed)?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(err) if err.as_bytes().len() > MAX_PROFILE_BYTES => {
            String::from_utf8_lossy(err.as_bytes()).into_owned()
        }
        Err(err) => return Err(failed(io::Error::new(io::ErrorKind::InvalidData, err))),
    };
    let format = format(path).unwrap_or(Format::Toml);
    Ok(Layer::parse(&path.to_string_lossy(), &text, format)?)
}

/// Opens a profile file; root neither one behind a symbolic link nor one that everybody may write to. A
/// descriptor of the caller's, such as `/dev/stdin`, is a link of the kernel's.
fn open(path: &Path) -> io::Result<File> {
    if !rustix::process::geteuid().is_root() {
        return File::open(path);
    }
    let handed = ["/dev/stdin", "/dev/fd", "/proc/self/fd"];
    let links = match handed.iter().any(|own| path.starts_with(own)) {
        true => OFlags::empty(),
        false => OFlags::NOFOLLOW,
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | links;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => {
            let said = "it is a symbolic link, which root does not follow: name the file itself";
            return Err(io::Error::other(said));
        }
        Err(errno) => return Err(errno.into()),
    };
    let stat = file.metadata()?;
    match stat.is_file() && stat.mode() & 0o002 != 0 {
        true => Err(io::Error::other(
            "everybody may write to it: take that away (chmod o-w)",
        )),
        false => Ok(file),
    }
}

/// The names that a container can choose, the built-in ones first, each once.
///
/// # Errors
///
/// [`Error::Profile`] if the host's own cannot be seen.
pub(crate) fn names() -> Result<Vec<String>, Error> {
    let mut seen = BTreeSet::new();
    let mut names = HostProfiles.names()?;
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

#[derive(Serialize)]
struct Listed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn list(format: &cli::Json) -> Result<Status, Error> {
    let listed: Vec<Listed> = names()?
        .into_iter()
        .map(
            |name| match Profile::resolve(name.as_str(), &HostProfiles) {
                Ok(profile) => Listed {
                    name,
                    description: profile.description.map(|line| line.value),
                    error: None,
                },
                Err(err) => Listed {
                    name,
                    description: None,
                    error: Some(gl_spec::chain(&err)),
                },
            },
        )
        .collect();
    if format.json {
        output::json(&listed)?;
        return Ok(Status::SUCCESS);
    }
    let rows: Vec<_> = listed
        .into_iter()
        .map(|one| vec![one.name, one.error.or(one.description).unwrap_or_default()])
        .collect();
    output::text(&output::columns(&rows))?;
    Ok(Status::SUCCESS)
}

#[derive(Serialize)]
struct Shown {
    key: &'static str,
    value: Json,
    origin: String,
}

fn show(one: &cli::One) -> Result<Status, Error> {
    let profile = resolve(&one.name)?;
    let entries = profile.entries().into_iter().map(|entry| Shown {
        key: entry.key,
        value: entry.value,
        origin: place(&entry.origin),
    });
    if one.format.json {
        #[derive(Serialize)]
        struct Document {
            hash: String,
            entries: Vec<Shown>,
        }
        output::json(&Document {
            hash: profile.hash(),
            entries: entries.collect(),
        })?;
        return Ok(Status::SUCCESS);
    }
    let mut rows = vec![["KEY", "SET AT", "VALUE"].map(str::to_owned).to_vec()];
    rows.extend(entries.map(|entry| vec![entry.key.to_owned(), entry.origin, plain(&entry.value)]));
    output::text(&output::columns(&rows))?;
    Ok(Status::SUCCESS)
}

/// Where a value was set, without its key.
pub(crate) fn place(origin: &gl_profile::Origin) -> String {
    match origin.line {
        0 => origin.file.to_string(),
        line => format!("{}:{line}", origin.file),
    }
}

/// The same of a place in an error.
fn shown_place(place: &gl_profile::Place) -> String {
    match place.line {
        0 => place.file.to_string(),
        line => format!("{}:{line}", place.file),
    }
}

/// A value as people write it.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) if items.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}

fn export(options: &cli::Export) -> Result<Status, Error> {
    let profile = resolve(&options.name)?;
    if options.apparmor {
        output::text(&apparmor_text(&profile))?;
        return Ok(Status::SUCCESS);
    }
    let filter = Filter::of(&profile, gl_seccomp::NATIVE)?;
    let section = filter.as_ref().map(Filter::oci);
    if options.seccomp {
        let section = section.ok_or_else(|| Error::NoFilter {
            name: options.name.clone(),
        })?;
        output::json(&section)?;
        return Ok(Status::SUCCESS);
    }
    let mut spec = gl_spec::default_spec(Rootless::No);
    let mut extras = Extras::default();
    translate::tighten(
        &profile,
        &mut spec,
        &mut extras,
        &gl_container::profile_host(Some(translate::Controllers::ALL)),
        "export",
    )?;
    translate::show(&mut spec, &extras);
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(section);
    }
    output::json(&spec)?;
    Ok(Status::SUCCESS)
}

fn apparmor_text(profile: &Profile) -> String {
    let name = format!("greenlang-sandbox-{}", profile.name.value.as_str());
    let network = &profile.network;
    let blocked = translate::blocked_paths(profile);
    apparmor::profile(&Rules {
        name: &name,
        mode: profile.mode.value,
        blocked_paths: &blocked,
        network: match network.allow_network.value || network.allow_loopback.value {
            true => Access::Allowed,
            false => Access::Denied,
        },
    })
}
