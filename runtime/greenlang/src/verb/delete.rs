//! `delete`: removes what is left of a container.

use gl_container::Force;
use gl_spec::ContainerId;

use crate::args::{self, Given, Order, switch};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

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
    pub(crate) force: Force,
}

impl Delete {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let force = if given.switch("force")? {
            Force::Yes
        } else {
            Force::No
        };
        let id = given.container_id()?;
        given.end()?;
        Ok(Self { id, force })
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        gl_container::prepare_delete(|| context.open_store(), &self.id)?;
        for failure in gl_container::delete(&context.store()?, &self.id, self.force)? {
            context.log.passed_over(&failure);
        }
        Ok(Outcome::Done)
    }
}
