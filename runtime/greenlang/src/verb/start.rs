//! `start`: lets the program of a created container run.

use gl_container::Container;
use gl_spec::ContainerId;

use crate::args::{self, Given, Order};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

pub(crate) const PAGE: Page = Page {
    name: "start",
    operands: "ID",
    about: "let the program of a created container run",
    detail: "Fails if the program cannot be executed.",
    flags: &[],
    order: Order::Mixed,
};

/// A container to be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Its id.
    pub(crate) id: ContainerId,
}

impl Start {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let id = given.container_id()?;
        given.end()?;
        Ok(Self { id })
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        gl_container::prepare_start(|| context.open_store(), &self.id)?;
        Container::start(&context.store()?, &self.id)?;
        Ok(Outcome::Done)
    }
}
