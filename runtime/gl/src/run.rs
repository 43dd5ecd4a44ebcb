//! `gl run`: a program in a sandbox.

mod text;
mod trail;

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gl_container::HostProfiles;
use gl_profile::{ENVIRONMENT_WORDS, Isolation, Options, Profile, environment};
use gl_sandbox::{Loosening, Report, Request, Root, Sandboxes, Terminal};
use gl_spec::{ContainerId, chain};

use self::trail::Trail;
use crate::cli::{self, Tty};
use crate::error::Error;
use crate::{output, profile};

/// The status of a run that never was.
const SETUP: u8 = 125;

/// Does what was asked; the status is the program's.
pub(crate) fn perform(options: &cli::Run) -> ExitCode {
    match attempt(options) {
        Ok(status) => ExitCode::from(status),
        Err(err) => {
            output::error(&chain(&err), err.hint().as_deref());
            ExitCode::from(SETUP)
        }
    }
}

fn attempt(options: &cli::Run) -> Result<u8, Error> {
    let (profile, loosened) = resolve(options)?;
    let root = root(options, &profile)?;
    // Before anything is made: the program may begin anew here.
    gl_sandbox::prepare(&root, profile.isolation.value)?;
    let request = Request {
        id: match &options.name {
            Some(name) => ContainerId::new(name).map_err(gl_sandbox::Error::from)?,
            None => gl_sandbox::id()?,
        },
        profile,
        loosened,
        command: options.command.clone(),
        env: environment_of(options)?,
        cwd: options.chdir.clone(),
        root,
        terminal: terminal(options.tty),
    };
    let report = Output::open(options.report.as_deref())?;
    let trail = options
        .audit
        .as_deref()
        .map(|target| Trail::new(target, &request));
    let sandboxes = Sandboxes::open()?;
    if let Some(trail) = &trail {
        trail.start()?;
    }
    let status = gl_sandbox::run(&sandboxes, &request, |result| {
        let written = match result {
            Ok(written) => written,
            Err((written, err)) => {
                let hint = gl_spec::Classify::hint(err);
                output::error(&chain(err), hint.as_deref());
                written
            }
        };
        let noted = trail.as_ref().map_or(Ok(()), |trail| trail.end(written));
        match report.write(written).and(noted) {
            Ok(()) => written.exit.status,
            Err(err) => {
                output::error(&chain(&err), None);
                SETUP
            }
        }
    })?;
    Ok(status)
}

fn resolve(options: &cli::Run) -> Result<(Profile, Vec<Loosening>), Error> {
    let words: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| ENVIRONMENT_WORDS.contains(&name.as_str()))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect();
    let words = words
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let words = environment(words)?;
    let start = profile::start(&options.profile)?;
    let settings = settings(&options.settings)?;
    let (profile, loosened) = settings.resolve(Some(words), start, &HostProfiles)?;
    if let (Some(first), false) = (loosened.first(), options.allow) {
        return Err(Error::Loosens {
            option: first.option,
            profile: profile.name.value.as_str().to_owned(),
            from: first.from.clone(),
            to: first.to.clone(),
        });
    }
    let loosened = loosened.into_iter().map(|one| Loosening {
        option: one.option.to_owned(),
        from: one.from,
        to: one.to,
    });
    Ok((profile, loosened.collect()))
}

fn settings(given: &cli::Settings) -> Result<Options, Error> {
    let mut options = Options::default();
    let single = [
        ("--tier", &given.tier),
        ("--level", &given.level),
        ("--mode", &given.mode),
        ("--on-missing", &given.on_missing),
        ("--memory", &given.memory),
        ("--virtual-memory", &given.virtual_memory),
        ("--cpus", &given.cpus),
        ("--cpu-time", &given.cpu_time),
        ("--timeout", &given.timeout),
        ("--pids", &given.pids),
        ("--threads", &given.threads),
        ("--files", &given.files),
        ("--file-size", &given.file_size),
        ("--disk", &given.disk),
        ("--net", &given.net),
    ];
    for (option, value) in single {
        if let Some(value) = value {
            options.push(option, value.clone());
        }
    }
    for (option, values) in [
        ("--ro", &given.ro),
        ("--rw", &given.rw),
        ("--bind", &given.bind),
        ("--hide", &given.hide),
    ] {
        for value in values {
            options.push(option, absolute(option, value)?);
        }
    }
    Ok(options)
}

/// A path as a profile has it: from the root.
fn absolute(option: &str, value: &str) -> Result<String, Error> {
    if value.starts_with('/') {
        return Ok(value.to_owned());
    }
    let (path, rest) = match option {
        "--bind" => value
            .split_once(':')
            .map_or((value, None), |(path, rest)| (path, Some(rest))),
        _ => (value, None),
    };
    let usage = |problem: String| Error::Usage {
        what: format!("{option} {value}"),
        problem: problem.into(),
    };
    let full = std::path::absolute(path).map_err(|err| usage(err.to_string()))?;
    let full = full
        .to_str()
        .ok_or_else(|| usage("it is not UTF-8".to_owned()))?;
    Ok(match rest {
        None => full.to_owned(),
        Some(rest) => format!("{full}:{rest}"),
    })
}

fn root(options: &cli::Run, profile: &Profile) -> Result<Root, Error> {
    let usage = |what: &str, problem: &'static str| Error::Usage {
        what: what.to_owned(),
        problem: problem.into(),
    };
    match (&options.rootfs, profile.isolation.value) {
        (
            Some(dir),
            Isolation::Basic | Isolation::Namespace | Isolation::Container | Isolation::Gvisor,
        ) => Ok(Root::Directory(dir.clone())),
        (None, Isolation::Namespace | Isolation::Basic) => Ok(Root::Host),
        (None, Isolation::Container) => Err(usage(
            "--tier container",
            "it needs the files of a container: --rootfs DIR",
        )),
        (None, Isolation::Gvisor) => Err(usage(
            "--tier gvisor",
            "it needs the files of a container: --rootfs DIR",
        )),
    }
}

fn terminal(tty: Tty) -> Terminal {
    let streams = || std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match tty {
        Tty::Always => Terminal::Yes,
        Tty::Auto if streams() => Terminal::Yes,
        Tty::Auto | Tty::Never => Terminal::No,
    }
}

/// A clean environment, and what the caller adds to it.
fn environment_of(options: &cli::Run) -> Result<Vec<String>, Error> {
    let mut env = gl_sandbox::default_environment();
    if terminal(options.tty) == Terminal::Yes {
        let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
        env.push(format!("TERM={term}"));
    }
    let mut given = Vec::new();
    for file in &options.env_file {
        given.extend(env_file(file)?);
    }
    given.extend(options.env.iter().cloned());
    for one in given {
        let (name, value) = match one.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => match std::env::var(&one) {
                Ok(value) => (one, value),
                // What the caller does not have cannot be passed on.
                Err(_) => continue,
            },
        };
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            return Err(Error::Usage {
                what: "--env".to_owned(),
                problem: format!("{name:?} is no name of a variable").into(),
            });
        }
        env.retain(|known| known.split_once('=').is_none_or(|(known, _)| known != name));
        env.push(format!("{name}={value}"));
    }
    Ok(env)
}

fn env_file(path: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// Where the report goes. Opened before anything runs, so that one that cannot be written keeps the program
/// from running.
enum Output {
    Nowhere,
    Text,
    Stdout,
    /// Opened anew to write: the process that does has none of our descriptors.
    File(PathBuf),
}

impl Output {
    fn open(target: Option<&str>) -> Result<Self, Error> {
        Ok(match target {
            None => Self::Nowhere,
            Some("text") => Self::Text,
            Some("-") => Self::Stdout,
            Some(path) => {
                let failed = |source| Error::File {
                    path: path.into(),
                    source,
                };
                drop(File::create(path).map_err(failed)?);
                Self::File(std::path::absolute(path).map_err(failed)?)
            }
        })
    }

    fn write(self, report: &Report) -> Result<(), Error> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Text => {
                output::note(&text::short(report));
                Ok(())
            }
            Self::Stdout => output::json(report),
            Self::File(path) => {
                let json = serde_json::to_vec_pretty(report);
                let write = |json: &[u8]| {
                    let mut file = File::create(&path)?;
                    file.write_all(json)?;
                    file.sync_data()
                };
                let written = json.map_err(Into::into).and_then(|json| write(&json));
                written.map_err(|source| Error::File { path, source })
            }
        }
    }
}
