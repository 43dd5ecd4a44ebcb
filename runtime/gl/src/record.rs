//! `gl record`: a program run once, and a profile of what it did.

use crate::status::Status;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use gl_record::{Existing, Prepared, Recorded, Request, Tier};
use gl_sandbox::Ended;
use gl_spec::chain;

use crate::cli;
use crate::error::Error;
use crate::output;
use crate::run::environment;

/// The status of a run that never was.
const SETUP: u8 = 125;

impl From<cli::RecordTier> for Tier {
    fn from(tier: cli::RecordTier) -> Self {
        match tier {
            cli::RecordTier::Basic => Self::Basic,
            cli::RecordTier::Namespace => Self::Namespace,
        }
    }
}

/// Does what was asked; the status is the program's.
pub(crate) fn perform(options: &cli::Record) -> Status {
    match attempt(options) {
        Ok(status) => Status::from(status),
        Err(err) => {
            output::error(&chain(&err), err.hint().as_deref());
            Status::from(SETUP)
        }
    }
}

fn attempt(options: &cli::Record) -> Result<u8, Error> {
    let out = &options.profile_out;
    let existing = existing(options.force);
    // Before the program runs; a file that comes meanwhile is noticed as well.
    if existing == Existing::Keep && std::fs::symlink_metadata(out).is_ok() {
        return Err(gl_record::Error::Exists { path: out.clone() }.into());
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    let here = PathBuf::from(".");
    let cwd = options.chdir.as_ref().unwrap_or(&here);
    let cwd = std::path::absolute(cwd).map_err(failed(cwd))?;
    let out = std::path::absolute(out).map_err(failed(out))?;
    let mut env = gl_sandbox::default_environment();
    // It has a directory of its own for both, as it is to leave nothing in the host's.
    env.retain(|one| !one.starts_with("HOME=") && !one.starts_with("TMPDIR="));
    let id = gl_sandbox::id()?;
    let temp = std::env::temp_dir().join(format!("gl-record-{}", id.as_str()));
    let request = Request {
        id: id.as_str().replace(['.', '+'], "_"),
        name: name(options.name.as_deref(), &out),
        tier: options.tier.into(),
        command: options.command.clone(),
        env: environment::with_options(env, &options.env_file, &options.env)?,
        cwd,
        temp: temp.clone(),
        include: options.include.clone(),
    };
    let prepared = gl_record::prepare(&request)?;
    let status = in_worker(&prepared, &temp, (&out, existing));
    removed(&temp).and(status)
}

/// Records in a process of its own, as this one looks after that and that after this one: whichever of the two
/// is killed, nothing is left.
fn in_worker(prepared: &Prepared<'_>, temp: &Path, to: (&Path, Existing)) -> Result<u8, Error> {
    let worker = gl_launch::worker(|front| {
        let recorded = work(prepared, front, (temp, to));
        let removed = removed(temp);
        let status = recorded.and_then(|status| removed.map(|()| status));
        i32::from(status.unwrap_or_else(|err| {
            output::error(&chain(&err), err.hint().as_deref());
            SETUP
        }))
    });
    let (_, worker) = worker.map_err(gl_sandbox::Error::from)?;
    let ended = gl_sandbox::wait_for_worker(&worker).map_err(|errno| Error::Seen {
        what: "wait for the recording".to_owned(),
        source: errno.into(),
    })?;
    match ended {
        Ended::Exited(status) => Ok(status),
        Ended::Signalled(signal) => {
            prepared.clean_up()?;
            Err(gl_sandbox::Error::Killed { signal }.into())
        }
    }
}

/// The worker.
fn work(
    prepared: &Prepared<'_>,
    front: OwnedFd,
    (temp, to): (&Path, (&Path, Existing)),
) -> Result<u8, Error> {
    let (out, existing) = to;
    let made = DirBuilder::new().mode(0o700).create(temp);
    made.map_err(|source| Error::Seen {
        what: format!("make {}", temp.display()),
        source,
    })?;
    let recorded = prepared.record(front)?;
    gl_record::write(out, &recorded.draft.text(), existing)?;
    output::note(&told(&recorded, out));
    for left in &recorded.left {
        output::error(&chain(left), None);
    }
    match recorded.left.is_empty() {
        true => Ok(recorded.ended.status()),
        false => Ok(SETUP),
    }
}

/// Removes the directory of a run. Nobody of the program's is left.
fn removed(temp: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(temp) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| Error::Seen {
            what: format!("remove {}", temp.display()),
            source,
        }),
    }
}

fn told(recorded: &Recorded, out: &Path) -> String {
    let draft = &recorded.draft;
    let mut text = format!(
        "gl: wrote {}: profile {}, {} calls, {} paths; read it before it is used\n",
        out.display(),
        draft.name(),
        draft.calls().len(),
        draft.paths()
    );
    let (calls, paths) = draft.left_out();
    for line in calls.iter().chain(paths) {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// What becomes of a file that is there.
pub(crate) fn existing(force: bool) -> Existing {
    match force {
        true => Existing::Replace,
        false => Existing::Keep,
    }
}

/// The name of a profile: the one that was given, or that of its file as far as it is one.
pub(crate) fn name(given: Option<&str>, file: &Path) -> String {
    if let Some(given) = given {
        return given.to_owned();
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let name: String = stem
        .unwrap_or_default()
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' => c,
            _ => '-',
        })
        .take(48)
        .collect();
    let taken = gl_profile::builtin::is_taken(&name);
    match name.starts_with(|c: char| c.is_ascii_lowercase()) && !taken {
        true => name,
        false => format!("recorded-{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::name;
    use std::path::Path;

    #[test]
    fn profile_has_the_name_of_its_file() {
        for (file, want) in [
            ("/x/job.toml", "job"),
            ("/x/My Job.v2.toml", "my-job-v2"),
            ("/x/default.toml", "recorded-default"),
            ("/x/1.toml", "recorded-1"),
        ] {
            assert_eq!(name(None, Path::new(file)), want, "{file}");
        }
        assert_eq!(
            name(Some("Any thing"), Path::new("/x/job.toml")),
            "Any thing"
        );
    }
}
