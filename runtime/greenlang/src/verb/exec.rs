//! `exec`: runs one more process in a container.

use std::path::PathBuf;

use gl_spec::ContainerId;

use super::launch::{CONSOLE_SOCKET, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS};
use crate::args::{Error, Given, Order, User, switch, value};
use crate::command::Page;

pub(crate) const PAGE: Page = Page {
    name: "exec",
    operands: "ID COMMAND [ARGUMENT]...",
    about: "run one more process in a container",
    detail: "The process inherits what the container's own has: environment, ids, capabilities, limits, seccomp filter, labels. Options behind ID belong to COMMAND. Ends with the status of the process, or 128 and the number of the signal that ended it, or 255 if it could not be run.",
    flags: &[
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        PRESERVE_FDS,
        value(
            &["process", "p"],
            "FILE",
            "read the whole process from FILE: the object `process` of a config.json",
        ),
        switch(&["detach", "d"], "do not wait for the process"),
        switch(&["tty", "t"], "give the process a terminal"),
        value(&["cwd"], "DIR", "start in DIR of the container"),
        value(
            &["env", "e"],
            "NAME=VALUE",
            "add to the environment; may be given several times",
        ),
        value(
            &["user", "u"],
            "UID[:GID]",
            "run as this user and group, in numbers",
        ),
        value(
            &["additional-gids", "g"],
            "GID",
            "add a supplementary group; may be given several times",
        ),
        value(
            &["cap", "c"],
            "NAME",
            "add a capability to the bounding, permitted and effective sets; may be given several times",
        ),
        value(&["apparmor"], "PROFILE", "run under this AppArmor profile"),
        value(&["process-label"], "LABEL", "run under this SELinux label"),
        switch(
            &["no-new-privs"],
            "keep the process and its children from gaining privileges",
        ),
        value(
            &["cgroup"],
            "[CONTROLLER:]PATH",
            "run in this existing cgroup below the container's; may be given several times",
        ),
        switch(
            &["ignore-paused"],
            "start even if the container is paused; the process then waits for it to be resumed",
        ),
    ],
    order: Order::OptionsFirst,
};

/// What the process is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// As a file says.
    File(PathBuf),
    /// A command with its arguments: at least one word.
    Words(Vec<String>),
}

/// A process to be run in a container.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exec {
    /// The container.
    pub(crate) id: ContainerId,
    /// What to run.
    pub(crate) program: Program,
    /// Changes to the container's own process.
    pub(crate) changes: Changes,
    /// Where the terminal's master goes.
    pub(crate) console_socket: Option<PathBuf>,
    /// Where a pidfd of the process goes.
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Where the process id is written.
    pub(crate) pid_file: Option<PathBuf>,
    /// Number of descriptors handed on, without those of `$LISTEN_FDS`.
    pub(crate) preserve_fds: u32,
    /// Cgroups below the container's, each with its controller if one was named.
    pub(crate) cgroups: Vec<String>,
    /// Whether to return as soon as it runs.
    pub(crate) detach: bool,
    /// Whether a paused container is accepted.
    pub(crate) ignore_paused: bool,
}

/// What the process has otherwise than the container's own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Whether it has a terminal, if that was said.
    pub(crate) tty: Option<bool>,
    /// Where it starts.
    pub(crate) cwd: Option<String>,
    /// What is added to its environment.
    pub(crate) env: Vec<String>,
    /// Its ids.
    pub(crate) user: Option<User>,
    /// What is added to its groups.
    pub(crate) additional_gids: Vec<u32>,
    /// What is added to its capabilities.
    pub(crate) capabilities: Vec<String>,
    /// Its `AppArmor` profile.
    pub(crate) apparmor: Option<String>,
    /// Its `SELinux` label.
    pub(crate) process_label: Option<String>,
    /// Whether it is kept from gaining privileges, if that was said.
    pub(crate) no_new_privs: Option<bool>,
}

impl Exec {
    pub(crate) fn read(mut given: Given) -> Result<Self, Error> {
        let changes = Changes::read(&given)?;
        let file = given.path("process");
        let mut command = Self {
            changes,
            console_socket: given.path("console-socket"),
            pidfd_socket: given.path("pidfd-socket"),
            pid_file: given.path("pid-file"),
            preserve_fds: given.number("preserve-fds")?.unwrap_or(0),
            cgroups: given.all("cgroup")?,
            detach: given.switch("detach")?,
            ignore_paused: given.switch("ignore-paused")?,
            id: given.container_id()?,
            program: Program::Words(Vec::new()),
        };
        command.program = match file {
            Some(file) => {
                given.end()?;
                Program::File(file)
            }
            None => Program::Words(words(given)?),
        };
        Ok(command)
    }
}

fn words(given: Given) -> Result<Vec<String>, Error> {
    let words = given.operands("command")?;
    if words.is_empty() {
        return Err(Error::MissingOperand {
            operand: "command (or --process FILE)",
        });
    }
    Ok(words)
}

impl Changes {
    fn read(given: &Given) -> Result<Self, Error> {
        let user = given.parsed(
            "user",
            "UID or UID:GID in numbers from 0 to 4294967294",
            User::parse,
        )?;
        Ok(Self {
            tty: given.switch_if_given("tty")?,
            cwd: given.text("cwd")?,
            env: given.all("env")?,
            user,
            additional_gids: given.ids("additional-gids")?,
            capabilities: given.all("cap")?,
            apparmor: given.text("apparmor")?,
            process_label: given.text("process-label")?,
            no_new_privs: given.switch_if_given("no-new-privs")?,
        })
    }
}
