//! `exec`: runs one more process in a container.

use std::path::PathBuf;

use gl_container::{ExecRequest, Paused, Store};
use gl_spec::{ContainerId, oci};

use super::launch::{CONSOLE_SOCKET, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS};
use super::listen;
use crate::args::{self, Given, Order, User, switch, value};
use crate::command::Page;
use crate::document;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

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
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
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

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        gl_container::prepare_exec(|| context.open_store(), &self.id)?;
        let store = context.store()?;
        let mut process = self.process(&store, context)?;
        let sockets = listen::inherited();
        extend_env(&mut process, sockets.env);
        let request = ExecRequest {
            process,
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            detach: self.detach,
            preserve_fds: self.preserve_fds.saturating_add(sockets.count),
            paused: if self.ignore_paused {
                Paused::Ignore
            } else {
                Paused::Refuse
            },
            sub_cgroups: self.cgroups.clone(),
        };
        Ok(gl_container::exec(&store, &self.id, &request)?.into())
    }

    /// The process as a file says, or the container's own with what the options change.
    fn process(&self, store: &Store, context: &Context<'_>) -> Result<oci::Process, Error> {
        match &self.program {
            Program::Words(words) => {
                let mut process = store.load(&self.id)?.process()?;
                process.set_args(Some(words.clone()));
                self.changes.apply(&mut process)?;
                Ok(process)
            }
            Program::File(file) => {
                let (mut process, warnings) = gl_spec::load_process(&document::read(file)?)?;
                context.log.warnings(&warnings);
                if self.changes.tty == Some(true) {
                    process.set_terminal(Some(true));
                }
                Ok(process)
            }
        }
    }
}

fn words(given: Given) -> Result<Vec<String>, args::Error> {
    let words = given.operands("command")?;
    if words.is_empty() {
        return Err(args::Error::MissingOperand {
            operand: "command (or --process FILE)",
        });
    }
    Ok(words)
}

impl Changes {
    fn read(given: &Given) -> Result<Self, args::Error> {
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

    /// Changes the container's own process to this one.
    fn apply(&self, process: &mut oci::Process) -> Result<(), Error> {
        // Whether the container's own process has a terminal says nothing about this one.
        process.set_terminal(Some(self.tty.unwrap_or(false)));
        process.set_console_size(None);
        if let Some(cwd) = &self.cwd {
            process.set_cwd(PathBuf::from(cwd));
        }
        if let Some(profile) = &self.apparmor {
            process.set_apparmor_profile(Some(profile.clone()));
        }
        if let Some(label) = &self.process_label {
            process.set_selinux_label(Some(label.clone()));
        }
        if let Some(no_new_privs) = self.no_new_privs {
            process.set_no_new_privileges(Some(no_new_privs));
        }
        extend_env(process, self.env.clone());
        self.apply_user(process.user_mut());
        self.add_capabilities(process)
    }

    fn apply_user(&self, user: &mut oci::User) {
        if let Some(ids) = self.user {
            user.set_uid(ids.uid);
            if let Some(gid) = ids.gid {
                user.set_gid(gid);
            }
        }
        if !self.additional_gids.is_empty() {
            let mut gids = user.additional_gids().clone().unwrap_or_default();
            gids.extend_from_slice(&self.additional_gids);
            user.set_additional_gids(Some(gids));
        }
    }

    /// Adds to the sets that make a capability usable, and to no set that children inherit from.
    fn add_capabilities(&self, process: &mut oci::Process) -> Result<(), Error> {
        if self.capabilities.is_empty() {
            return Ok(());
        }
        let mut added = oci::Capabilities::new();
        for name in &self.capabilities {
            added.insert(capability(name)?);
        }
        let mut sets = process
            .capabilities()
            .clone()
            .unwrap_or_else(no_capabilities);
        let with = |set: &Option<oci::Capabilities>| {
            let set = set.iter().flatten().chain(&added).copied();
            Some(set.collect::<oci::Capabilities>())
        };
        let bounding = with(sets.bounding());
        let permitted = with(sets.permitted());
        let effective = with(sets.effective());
        sets.set_bounding(bounding)
            .set_permitted(permitted)
            .set_effective(effective);
        process.set_capabilities(Some(sets));
        Ok(())
    }
}

fn capability(name: &str) -> Result<oci::Capability, args::Error> {
    // As a config is read: the type's own `FromStr` takes no `CAP_`.
    let text = serde_json::Value::from(name).to_string();
    serde_json::from_str(&text).map_err(|_unknown| args::Error::BadValue {
        flag: "cap",
        seen: name.to_owned(),
        expected: "a capability such as CAP_NET_RAW",
    })
}

/// Five empty sets: the default of the type has members.
fn no_capabilities() -> oci::LinuxCapabilities {
    let mut none = oci::LinuxCapabilities::default();
    none.set_bounding(None)
        .set_effective(None)
        .set_inheritable(None)
        .set_permitted(None)
        .set_ambient(None);
    none
}

fn extend_env(process: &mut oci::Process, extra: Vec<String>) {
    if !extra.is_empty() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(extra);
        process.set_env(Some(env));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own_process() -> oci::Process {
        let process = json!({
            "terminal": true,
            "consoleSize": {"height": 1, "width": 2},
            "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
            "args": ["init"],
            "env": ["A=1"],
            "cwd": "/w",
            "capabilities": {"bounding": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"]},
        });
        gl_spec::load_process(process.to_string().as_bytes())
            .unwrap()
            .0
    }

    fn changed(changes: &Changes) -> oci::Process {
        let mut process = own_process();
        changes.apply(&mut process).unwrap();
        process
    }

    #[test]
    fn a_process_without_changes_is_the_containers_own_without_its_terminal() {
        let process = changed(&Changes::default());
        let mut want = own_process();
        want.set_terminal(Some(false)).set_console_size(None);
        assert_eq!(process, want);
    }

    #[test]
    fn changes_are_laid_over_the_containers_own_process() {
        let process = changed(&Changes {
            tty: Some(true),
            cwd: Some("/x".to_owned()),
            env: vec!["A=2".to_owned()],
            user: Some(User { uid: 1, gid: None }),
            additional_gids: vec![8],
            apparmor: Some("p".to_owned()),
            process_label: Some("l".to_owned()),
            no_new_privs: Some(true),
            capabilities: Vec::new(),
        });
        assert_eq!(process.terminal(), Some(true));
        assert_eq!(process.cwd(), &PathBuf::from("/x"));
        assert_eq!(process.env().as_deref().unwrap(), ["A=1", "A=2"]);
        assert_eq!((process.user().uid(), process.user().gid()), (1, 6));
        assert_eq!(process.user().additional_gids().as_deref().unwrap(), [7, 8]);
        assert_eq!(process.apparmor_profile().as_deref(), Some("p"));
        assert_eq!(process.selinux_label().as_deref(), Some("l"));
        assert_eq!(process.no_new_privileges(), Some(true));
    }

    #[test]
    fn an_added_capability_is_never_inheritable_or_ambient() {
        let process = changed(&Changes {
            capabilities: vec!["CAP_NET_RAW".to_owned(), "sys_admin".to_owned()],
            ..Changes::default()
        });
        let sets = process.capabilities().as_ref().unwrap();
        let [a, b] = [oci::Capability::NetRaw, oci::Capability::SysAdmin];
        let usable = Some(oci::Capabilities::from([a, b]));
        assert_eq!(sets.permitted(), &usable);
        assert_eq!(sets.effective(), &usable);
        let bounding = oci::Capabilities::from([oci::Capability::Kill, a, b]);
        assert_eq!(sets.bounding(), &Some(bounding));
        let inheritable = oci::Capabilities::from([oci::Capability::Chown]);
        assert_eq!(sets.inheritable(), &Some(inheritable));
        assert_eq!(sets.ambient(), &None);
    }

    #[test]
    fn a_capability_added_to_none_is_the_only_one() {
        let mut process = own_process();
        process.set_capabilities(None);
        let changes = Changes {
            capabilities: vec!["CAP_KILL".to_owned()],
            ..Changes::default()
        };
        changes.apply(&mut process).unwrap();
        let sets = process.capabilities().as_ref().unwrap();
        let kill = Some(oci::Capabilities::from([oci::Capability::Kill]));
        assert_eq!(
            [sets.bounding(), sets.permitted(), sets.effective()],
            [&kill; 3]
        );
        assert_eq!([sets.inheritable(), sets.ambient()], [&None; 2]);
    }

    #[test]
    fn an_unknown_capability_is_refused() {
        let changes = Changes {
            capabilities: vec!["CAP_FLY".to_owned()],
            ..Changes::default()
        };
        assert_eq!(
            changes.apply(&mut own_process()).unwrap_err().to_string(),
            "read option --cap: \"CAP_FLY\" is not a capability such as CAP_NET_RAW"
        );
    }
}
