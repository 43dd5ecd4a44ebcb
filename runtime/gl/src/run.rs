//! `gl run`: a program in a sandbox.

pub(crate) mod environment;
mod ground;
mod target;
mod text;
mod trail;

use crate::status::Status;
use std::ffi::OsString;
use std::io::IsTerminal as _;

use gl_container::HostProfiles;
use gl_profile::{ENVIRONMENT_WORDS, Loosened, Options, Profile};
use gl_sandbox::{
    After, Detach, Loosening, Outcome, Report, Reporting, Request, Sandboxes, Terminal, Told,
};
use gl_spec::{ContainerId, chain};

use self::ground::{Ground, Wanted};
use self::target::Output;
use self::trail::Trail;
use crate::cli::{self, Tty};
use crate::error::Error;
use crate::{output, profile};

/// The status of a run that never was.
pub(crate) const SETUP: u8 = 125;

/// Does what was asked; the status is the program's.
pub(crate) fn perform(options: &cli::Run) -> Status {
    Status::from(attempt(options).unwrap_or_else(|err| failed(&err)))
}

/// Whether these arguments of the program ask for a run.
pub(crate) fn is_meant(mut args: impl Iterator<Item = OsString>) -> bool {
    args.nth(1).is_some_and(|first| first == "run")
}

/// Says what is wrong with the arguments of a run.
pub(crate) fn misread(err: &clap::Error) -> Status {
    // Nobody is left to be told that the standard error cannot be written.
    err.print().ok();
    Status::from(SETUP)
}

/// Says why a run never was; its status.
fn failed(err: &Error) -> u8 {
    output::error(&chain(err), err.hint().as_deref());
    SETUP
}

fn attempt(options: &cli::Run) -> Result<u8, Error> {
    gl_sys::stage("gl: options read");
    // Before all else: nobody takes an old report for that of a run that never was.
    let output = Output::open(options.report.as_deref())?;
    let (err, report) = match request(options) {
        // What it runs on is held to the end.
        Ok((request, _ground)) => match execute(&request, options, &output) {
            Ok(status) => return Ok(status),
            Err(err) => (err, Report::new(&request)),
        },
        Err(err) => {
            let report = Report::unresolved(&options.command, &options.profile);
            (err, report)
        }
    };
    // The first failure is the one to tell.
    if let Err(unwritten) = output.write(&report.failed(&err)) {
        output::error(&chain(&unwritten), None);
    }
    Err(err)
}

/// What is to be run, and what on. The program may begin anew here.
fn request(options: &cli::Run) -> Result<(Request, Ground), Error> {
    let wanted = Wanted::of(options)?;
    let detach = detach(options)?;
    let (profile, mut loosened) = allowed(options)?;
    let id = match &options.name {
        Some(name) => Some(ContainerId::new(name).map_err(gl_sandbox::Error::from)?),
        None => None,
    };
    // Before anything is made.
    gl_sandbox::prepare(wanted.files(profile.isolation.value)?)?;
    let ground = wanted.open()?;
    let allows = ground.loosens();
    if let (Some(first), false) = (allows.first(), options.allow) {
        return Err(Error::Loosens {
            option: "--bundle",
            profile: profile.name.value.as_str().to_owned(),
            from: first.from.clone(),
            to: first.to.clone(),
        });
    }
    loosened.extend(allows);
    let request = Request {
        id: match id {
            Some(id) => id,
            None => gl_sandbox::id()?,
        },
        profile,
        loosened,
        command: ground.command(&options.command)?,
        env: environment::of(options, ground.environment(), terminal(options))?,
        cwd: ground.working_directory(options.chdir.as_deref())?,
        root: ground.root(),
        terminal: terminal(options),
        detach,
        reporting: reporting(options, detach)?,
    };
    Ok((request, ground))
}

fn execute(request: &Request, options: &cli::Run, output: &Output) -> Result<u8, Error> {
    gl_sys::stage("gl: profile resolved");
    let trail = Trail::new(options.audit.as_deref(), request)?;
    let sandboxes = Sandboxes::open()?;
    trail.start()?;
    let outcome = gl_sandbox::run(&sandboxes, request, |result| {
        let report = match result {
            Ok(report) => report,
            Err((report, err)) => {
                let hint = gl_spec::Classify::hint(err);
                output::error(&chain(err), hint.as_deref());
                report
            }
        };
        let noted = trail.end(report);
        // Both are tried.
        match output.write(report).and(noted) {
            Ok(()) => Told {
                status: report.exit.status,
                problem: None,
            },
            Err(err) => {
                let problem = chain(&err);
                output::error(&problem, None);
                Told {
                    status: SETUP,
                    problem: Some(problem),
                }
            }
        }
    })?;
    match outcome {
        Outcome::Ended(status) => Ok(status),
        Outcome::Detached => output::text(&format!("{}\n", request.id.as_str()))
            .map(|()| 0)
            .inspect_err(|_| {
                // It runs, and its name must not be lost.
                output::note(&format!("gl: the sandbox {} runs\n", request.id.as_str()));
            }),
    }
}

/// Whether it outlives this command; what could not be told to anybody then is refused.
fn detach(options: &cli::Run) -> Result<Detach, Error> {
    if !options.detach {
        return Ok(Detach::No);
    }
    let usage = |what: &str, problem: &'static str| Error::Usage {
        what: what.to_owned(),
        problem: problem.into(),
    };
    if options.tty == Tty::Always {
        return Err(usage(
            "--tty always",
            "with --detach nobody has the other end of the terminal",
        ));
    }
    if matches!(options.report.as_deref(), Some("-" | "text")) {
        return Err(usage(
            "--report",
            "with --detach it is written when nobody has these streams any more: name a file",
        ));
    }
    Ok(Detach::Yes(match options.rm {
        true => After::Remove,
        false => After::Keep,
    }))
}

/// Whether somebody keeps more of a run than its status.
fn reporting(options: &cli::Run, detach: Detach) -> Result<Reporting, Error> {
    let asked = options.report.is_some() || options.audit.is_some() || detach != Detach::No;
    if asked {
        return Ok(Reporting::Whole);
    }
    let host = gl_container::audit_target().map_err(gl_sandbox::Error::from)?;
    Ok(host.map_or(Reporting::End, |_| Reporting::Whole))
}

/// The profile with the options, refused where they loosen it and nobody says that they may.
fn allowed(options: &cli::Run) -> Result<(Profile, Vec<Loosening>), Error> {
    let (profile, loosened) = resolve(&options.profile, &options.settings)?;
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

/// The profile with the words of the environment and the options, and what the options loosen.
pub(crate) fn resolve(
    name: &str,
    given: &cli::Settings,
) -> Result<(Profile, Vec<Loosened>), Error> {
    let words: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| ENVIRONMENT_WORDS.contains(&name.as_str()))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect();
    let words = words
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let words = gl_profile::environment(words)?;
    let mut options = Options::default();
    for (option, value) in self::words(given)? {
        options.push(option, value);
    }
    Ok(options.resolve(Some(words), profile::start(name)?, &HostProfiles)?)
}

/// Settings as options with their values, paths absolute.
pub(crate) fn words(given: &cli::Settings) -> Result<Vec<(&'static str, String)>, Error> {
    let mut options = Vec::new();
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
            options.push((option, value.clone()));
        }
    }
    for (option, values) in [
        ("--ro", &given.ro),
        ("--rw", &given.rw),
        ("--bind", &given.bind),
        ("--hide", &given.hide),
    ] {
        for value in values {
            options.push((option, absolute(option, value)?));
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

fn terminal(options: &cli::Run) -> Terminal {
    let streams = || std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match options.tty {
        _ if options.detach => Terminal::No,
        Tty::Always => Terminal::Yes,
        Tty::Auto if streams() => Terminal::Yes,
        Tty::Auto | Tty::Never => Terminal::No,
    }
}
