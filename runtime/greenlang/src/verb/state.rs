//! `state`: prints what is known about a container.

use gl_spec::ContainerId;

use crate::args::{Error, Given, Order};
use crate::command::Page;

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
    pub(crate) fn read(mut given: Given) -> Result<Self, Error> {
        let id = given.container_id()?;
        given.end()?;
        Ok(Self { id })
    }
}
