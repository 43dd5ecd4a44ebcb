//! `run`: makes a container, starts it and waits for it.

use gl_container::RunRequest;
use gl_spec::ContainerId;

use super::launch::{
    BUNDLE, CONFIG, CONSOLE_SOCKET, Launch, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET,
    PRESERVE_FDS,
};
use crate::args::{self, Given, Order, switch};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

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
            "accepted for engines that send it: processes of the container are never adopted",
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
}

impl Run {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        given.switch("no-subreaper")?;
        let command = Self {
            launch: Launch::read(&given)?,
            detach: given.switch("detach")?,
            keep: given.switch("keep")?,
            id: given.container_id()?,
        };
        given.end()?;
        Ok(command)
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        self.launch.prepare()?;
        let request = RunRequest {
            create: self.launch.request(context)?,
            detach: self.detach,
            keep: self.keep,
        };
        let store = context.store()?;
        let (outcome, warnings, failures) = gl_container::run(&store, &self.id, &request)?;
        context.log.warnings(&warnings);
        for failure in failures {
            context.log.passed_over(&failure);
        }
        Ok(outcome.into())
    }
}
