//! `run`: makes a container, starts it and waits for it.

use gl_spec::ContainerId;

use super::launch::{
    BUNDLE, CONFIG, CONSOLE_SOCKET, Launch, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET,
    PRESERVE_FDS,
};
use crate::args::{Error, Given, Order, switch};
use crate::command::Page;

pub(crate) const PAGE: Page = Page {
    name: "run",
    operands: "ID",
    about: "create a container, start it, wait for it and delete it",
    detail: "Ends with the status of the container's program, or 128 and the number of the signal that ended it.",
    flags: &[
        BUNDLE,
        CONFIG,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        switch(&["detach", "d"], "do not wait for the container"),
        switch(&["keep"], "do not delete the container when it has ended"),
        switch(
            &["no-subreaper"],
            "do not adopt processes whose parent in the container has ended",
        ),
    ],
    order: Order::OptionsFirst,
};

/// A container to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its id.
    pub(crate) id: ContainerId,
    /// How it is made.
    pub(crate) launch: Launch,
    /// Whether to return as soon as it runs.
    pub(crate) detach: bool,
    /// Whether its state outlives it.
    pub(crate) keep: bool,
    /// Whether orphans of the container go to the host's first process.
    pub(crate) no_subreaper: bool,
}

impl Run {
    pub(crate) fn read(mut given: Given) -> Result<Self, Error> {
        let command = Self {
            launch: Launch::read(&given)?,
            detach: given.switch("detach")?,
            keep: given.switch("keep")?,
            no_subreaper: given.switch("no-subreaper")?,
            id: given.container_id()?,
        };
        given.end()?;
        Ok(command)
    }
}
