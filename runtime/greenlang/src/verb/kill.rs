//! `kill`: sends a signal to a container.

use gl_container::{Reached, Whom};
use gl_spec::ContainerId;

use crate::args::{self, Given, Order, Signal, switch};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

pub(crate) const PAGE: Page = Page {
    name: "kill",
    operands: "ID [SIGNAL]",
    about: "send a signal to a container",
    detail: "SIGNAL is a number or a name such as KILL, SIGKILL or SIGRTMIN+3; TERM if it is left out. 0 sends nothing and tells whether the container has a process. Without a PID namespace of its own, all processes of the container get KILL, as nothing else would end them.",
    flags: &[switch(
        &["all", "a"],
        "send the signal to every process of the container, not just its first",
    )],
    order: Order::Mixed,
};

/// A signal to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    /// To which container.
    pub(crate) id: ContainerId,
    /// The signal.
    pub(crate) signal: Signal,
    /// To which of its processes.
    pub(crate) whom: Whom,
}

impl Kill {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let whom = if given.switch("all")? {
            Whom::All
        } else {
            Whom::Init
        };
        let id = given.container_id()?;
        let signal = match given.operand("signal")? {
            None => Signal::TERM,
            Some(word) => Signal::parse(&word).ok_or(args::Error::BadOperand {
                operand: "signal",
                seen: word,
                expected: "a signal: use a number from 0 to 64 or a name such as TERM",
            })?,
        };
        given.end()?;
        Ok(Self { id, signal, whom })
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        let container = context.store()?.load(&self.id)?;
        let reached = container.kill(self.signal.number(), self.whom)?;
        if reached == Reached::InitAlone {
            context.log.passed_over(&gl_container::Error::SharedPids);
        }
        Ok(Outcome::Done)
    }
}
