//! `delete`: removes what is left of a container.

use gl_spec::ContainerId;

use crate::args::{Error, Given, Order, switch};
use crate::command::Page;

pub(crate) const PAGE: Page = Page {
    name: "delete",
    operands: "ID",
    about: "remove what is left of a stopped container",
    detail: "",
    flags: &[switch(
        &["force", "f"],
        "kill the container first if it runs, and succeed if there is none of that id",
    )],
    order: Order::Mixed,
};

/// A container to be removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delete {
    /// Its id.
    pub(crate) id: ContainerId,
    /// Whether one that runs is killed, and one that is missing is no error.
    pub(crate) force: bool,
}

impl Delete {
    pub(crate) fn read(mut given: Given) -> Result<Self, Error> {
        let force = given.switch("force")?;
        let id = given.container_id()?;
        given.end()?;
        Ok(Self { id, force })
    }
}
