//! `create`: makes a container, ready to be started.

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
    name: "create",
    operands: "ID",
    about: "make a container from a bundle, ready to be started",
    detail: "Makes the container ID with everything its config.json asks for, up to the point where its program would run. `start` lets it run. The configuration is kept: later changes of the bundle have no effect.",
    flags: &[
        BUNDLE,
        CONFIG,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        switch(
            &["detach", "d"],
            "accepted for engines that send it: create never waits for the container",
        ),
    ],
    order: Order::Mixed,
};

/// A container to be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Create {
    /// Its id.
    pub(crate) id: ContainerId,
    /// How it is made.
    pub(crate) launch: Launch,
}

impl Create {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let command = Self {
            launch: Launch::read(&given)?,
            id: given.container_id()?,
        };
        given.end()?;
        Ok(command)
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        self.launch.prepare()?;
        let request = self.launch.request(context)?;
        let warnings = gl_container::create(&context.store()?, &self.id, &request)?;
        context.log.warnings(&warnings);
        Ok(Outcome::Done)
    }
}
