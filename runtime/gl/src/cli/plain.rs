//! The arguments of `gl run` where they are plainly right, read without clap.
//!
//! The first use of clap costs a start some 230 µs, most of it page faults. What `gl run` accepts is still defined by
//! the derives of [`Run`] and [`Settings`]: whatever is wrong, rare or a question (help, clusters such as `-dp`,
//! repeats, values that begin with `-`, what is not UTF-8) is `None` here, and clap's to answer.

use std::ffi::OsString;
use std::mem;
use std::path::PathBuf;

use clap::ValueEnum;

use super::{DEFAULT_PROFILE, Run, Settings, Tty};

/// Reads what follows the word `run`; `None` where clap has to.
pub(super) fn read(mut args: impl Iterator<Item = OsString>) -> Option<Run> {
    let mut reading = Reading::new();
    while let Some(arg) = args.next() {
        let arg = arg.into_string().ok()?;
        if arg == "--" {
            break;
        }
        if !is_option(&arg) {
            reading.run.command.push(arg);
            break;
        }
        reading.read_option(&arg, &mut args)?;
    }
    // Nothing after the first word of the command is an option, nor is a `--` there left out.
    for arg in args {
        reading.run.command.push(arg.into_string().ok()?);
    }
    Some(reading.finish())
}

/// Whether clap takes a word for an option or for `--`: a lone `-` is a value.
fn is_option(word: &str) -> bool {
    word.starts_with('-') && word != "-"
}

/// The long name of a short option.
fn long_of(short: &str) -> Option<&'static str> {
    match short {
        "-p" => Some("profile"),
        "-C" => Some("chdir"),
        "-e" => Some("env"),
        "-d" => Some("detach"),
        _ => None,
    }
}

/// Where an option is noted.
#[derive(Debug)]
enum Field<'r> {
    Flag(&'r mut bool),
    Text(&'r mut Option<String>),
    Texts(&'r mut Vec<String>),
    Path(&'r mut Option<PathBuf>),
    Paths(&'r mut Vec<PathBuf>),
    Tty(&'r mut Option<Tty>),
}

impl Field<'_> {
    /// Notes a value. `None` where it is not a right one, or the second where only one may be.
    fn set(self, value: String) -> Option<()> {
        match self {
            Self::Flag(_) => None,
            Self::Text(text) => set_once(text, value),
            Self::Texts(texts) => {
                texts.push(value);
                Some(())
            }
            Self::Path(path) => set_once(path, path_of(value)?),
            Self::Paths(paths) => {
                paths.push(path_of(value)?);
                Some(())
            }
            Self::Tty(tty) => set_once(tty, Tty::from_str(&value, false).ok()?),
        }
    }
}

/// Fills what is empty, and nothing else.
fn set_once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// A path, which clap does not accept empty.
fn path_of(value: String) -> Option<PathBuf> {
    (!value.is_empty()).then(|| PathBuf::from(value))
}

/// What has been read so far.
struct Reading {
    run: Run,
    /// Apart from `run`, as are the others that have a default: a value that equals it is still the first.
    profile: Option<String>,
    tty: Option<Tty>,
}

impl Reading {
    fn new() -> Self {
        let run = Run {
            profile: String::new(),
            allow: false,
            settings: Settings::default(),
            name: None,
            rootfs: None,
            image: None,
            bundle: None,
            chdir: None,
            env: Vec::new(),
            env_file: Vec::new(),
            tty: Tty::default(),
            report: None,
            detach: false,
            rm: false,
            audit: None,
            command: Vec::new(),
        };
        Self {
            run,
            profile: None,
            tty: None,
        }
    }

    /// Reads the option `arg`, and its value from `rest` where it needs one and has none attached.
    fn read_option(&mut self, arg: &str, rest: &mut impl Iterator<Item = OsString>) -> Option<()> {
        let (name, attached) = match arg.strip_prefix("--") {
            None => (long_of(arg)?, None),
            Some(long) => match long.split_once('=') {
                None => (long, None),
                Some((name, value)) => (name, Some(value.to_owned())),
            },
        };
        match (self.field(name)?, attached) {
            (Field::Flag(flag), None) => (!mem::replace(flag, true)).then_some(()),
            (field, Some(value)) => field.set(value),
            (field, None) => {
                let value = rest.next()?.into_string().ok()?;
                if is_option(&value) {
                    return None;
                }
                field.set(value)
            }
        }
    }

    /// Where the option with this long name is noted.
    fn field(&mut self, long: &str) -> Option<Field<'_>> {
        let Self { run, profile, tty } = self;
        let settings = &mut run.settings;
        Some(match long {
            "profile" => Field::Text(profile),
            "allow" => Field::Flag(&mut run.allow),
            "tier" => Field::Text(&mut settings.tier),
            "level" => Field::Text(&mut settings.level),
            "mode" => Field::Text(&mut settings.mode),
            "on-missing" => Field::Text(&mut settings.on_missing),
            "memory" => Field::Text(&mut settings.memory),
            "virtual-memory" => Field::Text(&mut settings.virtual_memory),
            "cpus" => Field::Text(&mut settings.cpus),
            "cpu-time" => Field::Text(&mut settings.cpu_time),
            "timeout" => Field::Text(&mut settings.timeout),
            "pids" => Field::Text(&mut settings.pids),
            "threads" => Field::Text(&mut settings.threads),
            "files" => Field::Text(&mut settings.files),
            "file-size" => Field::Text(&mut settings.file_size),
            "disk" => Field::Text(&mut settings.disk),
            "net" => Field::Text(&mut settings.net),
            "ro" => Field::Texts(&mut settings.ro),
            "rw" => Field::Texts(&mut settings.rw),
            "bind" => Field::Texts(&mut settings.bind),
            "hide" => Field::Texts(&mut settings.hide),
            "name" => Field::Text(&mut run.name),
            "rootfs" => Field::Path(&mut run.rootfs),
            "image" => Field::Text(&mut run.image),
            "bundle" => Field::Path(&mut run.bundle),
            "chdir" => Field::Text(&mut run.chdir),
            "env" => Field::Texts(&mut run.env),
            "env-file" => Field::Paths(&mut run.env_file),
            "tty" => Field::Tty(tty),
            "report" => Field::Text(&mut run.report),
            "detach" => Field::Flag(&mut run.detach),
            "rm" => Field::Flag(&mut run.rm),
            "audit" => Field::Text(&mut run.audit),
            _ => return None,
        })
    }

    fn finish(self) -> Run {
        Run {
            profile: self.profile.unwrap_or_else(|| DEFAULT_PROFILE.to_owned()),
            tty: self.tty.unwrap_or_default(),
            ..self.run
        }
    }
}

#[cfg(test)]
mod tests;
