//! `resume`: thaws a paused container.

use gl_spec::ContainerId;

use crate::args::{self, Given, Order};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

pub(crate) const PAGE: Page = Page {
    name: "resume",
    operands: "ID",
    about: "thaw the processes of a paused container",
    detail: "",
    flags: &[],
    order: Order::Mixed,
};

/// A container to be thawed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Its id.
    pub(crate) id: ContainerId,
}

impl Resume {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let id = given.container_id()?;
        given.end()?;
        Ok(Self { id })
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        context.store()?.load(&self.id)?.resume()?;
        Ok(Outcome::Done)
    }
}
