//! A container as runsc knows it, and runsc's verbs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gl_spec::oci::{Process, Spec};
use gl_spec::{Extras, Warning};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::bundle::{Lacking, Network, process};
use crate::error::Error;
use crate::find::Runsc;
use crate::log;
use crate::place::Place;
use crate::platform::Platform;

/// How long runsc has for a verb.
const PATIENCE: Duration = Duration::from_secs(30);

/// A container as runsc knows it. Stored with the container, so that every later command finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    runsc: PathBuf,
    dir: PathBuf,
    id: String,
    /// Its platform.
    pub platform: Platform,
    /// Its network.
    pub network: Network,
    /// Whether runsc was told to start it.
    pub started: bool,
}

/// Whom a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The container's first process.
    First,
    /// Every process of it.
    All,
}

/// How a further process is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExecOptions<'a> {
    /// Where its process id is written.
    pub pid_file: Option<&'a Path>,
    /// Where its terminal goes.
    pub console_socket: Option<&'a Path>,
    /// runsc returns once it runs, and leaves a process there that ends as it does.
    pub detach: bool,
}

impl Sandbox {
    /// A container that is to be made.
    pub fn new(runsc: &Runsc, place: &Place, platform: Platform, network: Network) -> Self {
        Self {
            runsc: runsc.path().to_owned(),
            dir: place.dir().to_owned(),
            id: place.id().to_owned(),
            platform,
            network,
            started: false,
        }
    }

    /// Where its files are.
    pub fn place(&self) -> Place {
        Place::stored(self.dir.clone(), self.id.clone())
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.runsc
    }

    /// Global options, which runsc wants before the verb.
    fn global(&self, log: &Path) -> Vec<OsString> {
        let place = self.place();
        let mut words: Vec<OsString> = vec!["--root".into(), place.state().into()];
        words.extend(["--log".into(), log.into()]);
        words.extend(["--log-format", "json", "--ignore-cgroups"].map(OsString::from));
        words.extend(["--platform", self.platform.as_str()].map(OsString::from));
        words.extend(["--network", self.network.as_str()].map(OsString::from));
        // Writes go to the root, where engines look for them: a newer runsc keeps them to itself.
        words.push("--overlay2=none".into());
        words
    }

    /// The arguments that create it.
    pub fn create(&self, console_socket: Option<&Path>) -> Vec<OsString> {
        self.make("create", console_socket)
    }

    /// The arguments that create and start it, and wait for its end.
    pub fn run(&self) -> Vec<OsString> {
        self.make("run", None)
    }

    fn make(&self, verb: &str, console_socket: Option<&Path>) -> Vec<OsString> {
        let place = self.place();
        let mut words = self.global(&place.log());
        words.push(verb.into());
        words.extend(["--bundle".into(), place.dir().into()]);
        words.extend(["--pid-file".into(), place.pid_file().into()]);
        if let Some(socket) = console_socket {
            words.extend(["--console-socket".into(), socket.into()]);
        }
        words.push(self.id.clone().into());
        words
    }

    /// What runsc said when it was to create the container, if it failed.
    pub fn creation_failure(&self) -> Option<String> {
        log::last_error(&self.place().log())
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::Late`].
    pub fn start(&self) -> Result<(), Error> {
        self.verb("start the container", &["start"], &[]).map(drop)
    }

    /// Signals its first process, or all.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::Late`].
    pub fn kill(&self, signal: Signal, reach: Reach) -> Result<(), Error> {
        let signal = log::number(signal);
        let words: &[&str] = match reach {
            Reach::All => &["kill", "--all"],
            Reach::First => &["kill"],
        };
        self.verb("signal the container", words, &[&signal])
            .map(drop)
    }

    /// The table of the processes that are in it, by the ids of its own kernel.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::Late`].
    pub fn ps_table(&self) -> Result<String, Error> {
        let out = self.verb("list the processes", &["ps", "--format", "table"], &[])?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// How many processes are in it.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], [`Error::Late`].
    pub fn process_count(&self) -> Result<usize, Error> {
        let out = self.verb("count the processes", &["ps", "--format", "json"], &[])?;
        let text = String::from_utf8_lossy(&out);
        let pids: Vec<i32> = serde_json::from_str(text.trim()).map_err(|err| Error::Failed {
            verb: "count the processes",
            said: err.to_string(),
        })?;
        Ok(pids.len())
    }

    /// The command that runs one more process, with our own streams, and what was left out of it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::File`].
    pub fn exec(
        &self,
        wanted: &Process,
        (spec, extras, lacking): (&Spec, &Extras, Lacking),
        options: ExecOptions<'_>,
    ) -> Result<(Exec, Vec<Warning>), Error> {
        let (document, warnings) = process(wanted, spec, extras, lacking)?;
        let place = self.place();
        let document = place.write_for_once("exec", document.as_bytes())?;
        let log = place.write_for_once("exec-log", b"")?;
        let mut command = log::command(&self.runsc)?;
        command
            .args(self.global(&log))
            .arg("exec")
            .arg("--process")
            .arg(&document);
        // Of 2022 it detaches only with one.
        let own = options.detach.then(|| place.dir().join("exec-pid"));
        if let Some(path) = options.pid_file.or(own.as_deref()) {
            command.arg("--pid-file").arg(path);
        }
        if let Some(path) = options.console_socket {
            command.arg("--console-socket").arg(path);
        }
        if options.detach {
            command.arg("--detach");
        }
        command
            .arg(&self.id)
            .stdin(Stdio::inherit())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit());
        let exec = Exec {
            command,
            document,
            log,
        };
        Ok((exec, warnings))
    }

    /// Runs a verb that prints or changes something and ends.
    fn verb(&self, verb: &'static str, words: &[&str], after: &[&str]) -> Result<Vec<u8>, Error> {
        let name = words.first().copied().unwrap_or_default();
        let log = self.place().write_for_once(name, b"")?;
        let mut command = log::command(&self.runsc)?;
        command
            .args(self.global(&log))
            .args(words)
            .arg(&self.id)
            .args(after);
        let done = log::finish(verb, &mut command, PATIENCE);
        let said = log::last_error(&log);
        // It was for this command alone; what it leaves goes with the container.
        drop(std::fs::remove_file(&log));
        let done = done?;
        match done.status.code() {
            Some(0) => Ok(done.stdout),
            _ => Err(Error::Failed {
                verb,
                said: said.unwrap_or_else(|| done.status.to_string()),
            }),
        }
    }
}

/// A process that is about to be run.
#[derive(Debug)]
pub struct Exec {
    /// The command.
    pub command: Command,
    document: PathBuf,
    log: PathBuf,
}

impl Exec {
    /// What runsc said if the process could not be run.
    pub fn failure(&self) -> Option<String> {
        log::last_error(&self.log)
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        for path in [&self.document, &self.log] {
            // They go with the container at the latest.
            drop(std::fs::remove_file(path));
        }
    }
}
