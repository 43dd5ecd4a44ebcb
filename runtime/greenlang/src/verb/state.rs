//! `state`: prints what is known about a container.

use gl_spec::ContainerId;

use crate::args::{self, Given, Order};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::{Context, print};

pub(crate) const PAGE: Page = Page {
    name: "state",
    operands: "ID",
    about: "print what is known about a container, as JSON",
    detail: "",
    flags: &[],
    order: Order::Mixed,
};

/// A container to be described.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Its id.
    pub(crate) id: ContainerId,
}

impl State {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let id = given.container_id()?;
        given.end()?;
        Ok(Self { id })
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        let state = context.store()?.load(&self.id)?.state()?;
        print(&state.to_pretty_json())
    }
}
