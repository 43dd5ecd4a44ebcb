//! `resume`: thaws a paused container.

use gl_spec::ContainerId;

use crate::args::{Error, Given, Order};
use crate::command::Page;

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
    pub(crate) fn read(mut given: Given) -> Result<Self, Error> {
        let id = given.container_id()?;
        given.end()?;
        Ok(Self { id })
    }
}
