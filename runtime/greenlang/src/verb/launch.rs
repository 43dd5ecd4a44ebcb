//! The options that `create` and `run` share.

use std::path::PathBuf;

use gl_cgroup::Driver;
use gl_container::{CreateRequest, Denials, Init, Owner, Tie};
use gl_plan::{Keyring, Pivot};

use super::listen;
use crate::args::{self, CgroupManager, Flag, Given, switch, value};
use crate::error::Error;
use crate::program::Context;

/// The bundle to run.
pub(crate) const BUNDLE: Flag = value(
    &["bundle", "b"],
    "DIR",
    "use the bundle in DIR (default: the current directory)",
);
/// Another config.json.
pub(crate) const CONFIG: Flag = value(
    &["config", "f"],
    "FILE",
    "read FILE instead of config.json in the bundle",
);
/// Where the terminal's master goes.
pub(crate) const CONSOLE_SOCKET: Flag = value(
    &["console-socket"],
    "SOCKET",
    "send the master of the container's terminal to the unix socket SOCKET",
);
/// Where a descriptor of the process goes.
pub(crate) const PIDFD_SOCKET: Flag = value(
    &["pidfd-socket"],
    "SOCKET",
    "send a pidfd of the container's process to the unix socket SOCKET",
);
/// Where the process id goes.
pub(crate) const PID_FILE: Flag = value(
    &["pid-file"],
    "FILE",
    "write the id of the container's process to FILE",
);
/// Do without `pivot_root`.
pub(crate) const NO_PIVOT: Flag = switch(
    &["no-pivot"],
    "move the root mount instead of pivoting: for a root on a ramdisk only, as it is weaker",
);
/// Do without a keyring.
pub(crate) const NO_NEW_KEYRING: Flag = switch(
    &["no-new-keyring"],
    "keep the caller's session keyring instead of making one for the container",
);
/// Descriptors to hand on.
pub(crate) const PRESERVE_FDS: Flag = value(
    &["preserve-fds"],
    "N",
    "hand N further descriptors to the process, from 3 on ($LISTEN_FDS come on top)",
);

/// What `create` and `run` have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The bundle's directory, as given.
    pub(crate) bundle: PathBuf,
    /// A file in place of the bundle's `config.json`.
    pub(crate) config: Option<PathBuf>,
    /// Where the terminal's master goes.
    pub(crate) console_socket: Option<PathBuf>,
    /// Where a pidfd of the process goes.
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Where the process id is written.
    pub(crate) pid_file: Option<PathBuf>,
    /// Whether the root mount is moved instead of pivoted.
    pub(crate) no_pivot: bool,
    /// Whether the caller's session keyring is kept.
    pub(crate) no_new_keyring: bool,
    /// Number of descriptors handed on, without those of `$LISTEN_FDS`.
    pub(crate) preserve_fds: u32,
}

impl Launch {
    /// Understands the shared options.
    ///
    /// # Errors
    ///
    /// A value that does not fit.
    pub(crate) fn read(given: &Given) -> Result<Self, args::Error> {
        Ok(Self {
            bundle: given.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
            config: given.path("config"),
            console_socket: given.path("console-socket"),
            pidfd_socket: given.path("pidfd-socket"),
            pid_file: given.path("pid-file"),
            no_pivot: given.switch("no-pivot")?,
            no_new_keyring: given.switch("no-new-keyring")?,
            preserve_fds: given.number("preserve-fds")?.unwrap_or(0),
        })
    }

    /// Makes sure that this process can create a container; the program may begin anew in it.
    ///
    /// # Errors
    ///
    /// What keeps it from that.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        Ok(gl_container::prepare_create(
            &self.bundle,
            self.config.as_deref(),
        )?)
    }

    /// What the container's crate is asked for.
    ///
    /// # Errors
    ///
    /// A cgroup manager that this version does not have.
    pub(crate) fn request(&self, context: &Context<'_>) -> Result<CreateRequest, Error> {
        let sockets = listen::inherited();
        Ok(CreateRequest {
            root: None,
            bundle: self.bundle.clone(),
            config: self.config.clone(),
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            pivot: if self.no_pivot {
                Pivot::MoveRoot
            } else {
                Pivot::Pivot
            },
            keyring: if self.no_new_keyring {
                Keyring::Keep
            } else {
                Keyring::New
            },
            preserve_fds: self.preserve_fds.saturating_add(sockets.count),
            cgroups: driver(context.cgroup_manager),
            controllers: None,
            profile: context.profile.clone(),
            resolved: None,
            denials: Denials::Silent,
            landlock_mark: None,
            tie: Tie::Nobody,
            network: Owner::Container,
            init: Init::Program,
            extra_env: sockets.env,
        })
    }
}

fn driver(manager: CgroupManager) -> Option<Driver> {
    match manager {
        CgroupManager::Cgroupfs => Some(Driver::Cgroupfs),
        CgroupManager::Systemd => Some(Driver::Systemd),
        CgroupManager::Disabled => None,
    }
}
