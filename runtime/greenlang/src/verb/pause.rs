//! `pause`: freezes a container.

use gl_spec::ContainerId;

use crate::args::{self, Given, Order};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

pub(crate) const PAGE: Page = Page {
    name: "pause",
    operands: "ID",
    about: "freeze all processes of a container",
    detail: "",
    flags: &[],
    order: Order::Mixed,
};

/// A container to be frozen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// Its id.
    pub(crate) id: ContainerId,
}

impl Pause {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let id = given.container_id()?;
        given.end()?;
        Ok(Self { id })
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        context.store()?.load(&self.id)?.pause()?;
        Ok(Outcome::Done)
    }
}
