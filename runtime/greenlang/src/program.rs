//! The whole program but for its end: read the arguments, open the log, do what was asked.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gl_container::Store;
use gl_spec::{Classify as _, chain};

use crate::args::{self, CgroupManager, Error as UsageError, Global, Order, Rootless};
use crate::command::{Command, Verb};
use crate::error::Error;
use crate::exit::Outcome;
use crate::log::{Format, Level, Log};
use crate::verb::features;
use crate::{help, version};

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The verb, once it was known.
    pub(crate) verb: Option<Verb>,
    /// What came of it.
    pub(crate) result: Result<Outcome, Error>,
}

/// Does what `arguments` ask for and logs a failure: once to the log, and to standard error.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> Ended {
    let timed = gl_container::time_stages();
    gl_sys::stage("runtime: begins");
    let mut log = Log::to_stderr(Format::Text, Level::Info);
    let mut verb = None;
    let result = attempt(arguments, timed, (&mut log, &mut verb));
    if let Err(err) = &result {
        report(&log, err);
    }
    gl_sys::stage("runtime: ends");
    if let Err(err) = gl_container::write_stages() {
        report(&log, &err.into());
    }
    Ended { verb, result }
}

fn report(log: &Log, err: &Error) {
    let field = err.field();
    let hint = err.hint();
    let mut fields = vec![("code", err.code())];
    fields.extend(field.as_deref().map(|field| ("field", field)));
    fields.extend(hint.as_deref().map(|hint| ("hint", hint)));
    log.error(&chain(err), &fields);
}

fn attempt(
    arguments: impl IntoIterator<Item = OsString>,
    timed: Result<(), gl_container::Error>,
    (log, verb): (&mut Log, &mut Option<Verb>),
) -> Result<Outcome, Error> {
    let given = args::split(arguments, args::FLAGS, Order::OptionsFirst)?;
    let wants_help = given.wants_help();
    let global = Global::read(&given)?;
    *log = match &global.log {
        Some(path) => Log::to_file(path, global.log_format, global.log_level)?,
        None => Log::to_stderr(global.log_format, global.log_level),
    };
    timed?;
    let mut rest = given.raw_operands().into_iter();
    let command = match rest.next() {
        _ if global.wants_version => Command::Version,
        None => Command::Help(None),
        _ if wants_help => Command::Help(None),
        Some(word) if word == "help" => Command::Help(topic(rest.next())?),
        Some(word) => {
            let found = find(&word)?;
            *verb = Some(found);
            found.read(rest)?
        }
    };
    gl_sys::stage("runtime: options read");
    perform(command, &Context::new(global, log))
}

/// The verb that `help` is to explain.
fn topic(word: Option<OsString>) -> Result<Option<Verb>, UsageError> {
    word.map(|word| find(&word)).transpose()
}

fn find(word: &OsStr) -> Result<Verb, UsageError> {
    word.to_str()
        .and_then(Verb::parse)
        .ok_or_else(|| UsageError::UnknownVerb {
            verb: word.to_string_lossy().into_owned(),
        })
}

/// What a verb works with besides its own arguments.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// Where the state of containers is kept.
    pub(crate) root: PathBuf,
    /// The user's own directory that it is below, unless it was named.
    pub(crate) user_dir: Option<PathBuf>,
    /// Who sets limits.
    pub(crate) cgroup_manager: CgroupManager,
    /// The profile of containers that name none.
    pub(crate) profile: Option<String>,
    /// Where log lines go.
    pub(crate) log: &'a Log,
}

impl<'a> Context<'a> {
    fn new(global: Global, log: &'a Log) -> Self {
        let is_root = match global.rootless {
            Rootless::Auto => {
                rustix::process::geteuid().is_root() && !gl_container::in_user_namespace()
            }
            Rootless::Yes => false,
            Rootless::No => true,
        };
        let user_dir =
            std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !is_root && !dir.is_empty());
        let user_dir = user_dir
            .map(PathBuf::from)
            .filter(|_| global.root.is_none());
        let root = global
            .root
            .unwrap_or_else(|| default_root(user_dir.as_deref()));
        Self {
            root,
            user_dir,
            cgroup_manager: global.cgroup_manager,
            profile: global.profile,
            log,
        }
    }
}

impl Context<'_> {
    /// Opens the directory of all containers' state.
    ///
    /// # Errors
    ///
    /// It cannot be made or opened, or is not safe to use.
    pub(crate) fn store(&self) -> Result<Store, Error> {
        Ok(self.open_store()?)
    }

    /// The same, for the container's crate.
    pub(crate) fn open_store(&self) -> Result<Store, gl_container::Error> {
        if let Some(dir) = &self.user_dir {
            gl_container::check_user_dir(dir)?;
        }
        Store::open(&self.root)
    }
}

/// Where state is kept unless it is said otherwise.
fn default_root(user_dir: Option<&Path>) -> PathBuf {
    user_dir.map_or_else(|| "/run/greenlang".into(), |dir| dir.join("greenlang"))
}

fn perform(command: Command, context: &Context<'_>) -> Result<Outcome, Error> {
    match command {
        Command::Help(None) => print(&help::program()),
        Command::Help(Some(verb)) => print(&help::verb(verb)),
        Command::Version => print(&version::text()),
        Command::Features => print(&features::text()),
        Command::Spec(spec) => spec.write().map(|()| Outcome::Done),
        Command::Create(create) => create.perform(context),
        Command::Start(start) => start.perform(context),
        Command::Run(run) => run.perform(context),
        Command::State(state) => state.perform(context),
        Command::Kill(kill) => kill.perform(context),
        Command::Delete(delete) => delete.perform(context),
        Command::Exec(exec) => exec.perform(context),
        Command::Ps(ps) => ps.perform(context),
        Command::List(list) => list.perform(context),
        Command::Pause(pause) => pause.perform(context),
        Command::Resume(resume) => resume.perform(context),
        Command::Update(update) => update.perform(context),
        Command::Events(events) => events.perform(context),
        Command::Checkpoint(checkpoint) => checkpoint.perform(context),
        Command::Restore(restore) => restore.perform(context),
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<Outcome, Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::Output { source })?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_a_user_is_kept_in_the_users_runtime_directory() {
        for (dir, want) in [
            (Some("/run/user/7"), "/run/user/7/greenlang"),
            (None, "/run/greenlang"),
        ] {
            let got = default_root(dir.map(Path::new));
            assert_eq!(got, PathBuf::from(want), "{dir:?}");
        }
    }
}
