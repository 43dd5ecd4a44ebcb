//! `events`: prints what a container uses, and when it runs out of memory.

use std::time::Duration;

use gl_spec::ContainerId;

use crate::args::{Error, Given, Order, parse_duration, switch, value};
use crate::command::Page;

/// How often statistics are printed unless it is said otherwise.
const INTERVAL: Duration = Duration::from_secs(5);

pub(crate) const PAGE: Page = Page {
    name: "events",
    operands: "ID",
    about: "print what a container uses, again and again, as JSON",
    detail: "One object a line: statistics at every interval, and a notice whenever the container runs out of memory. Ends with the container.",
    flags: &[
        value(
            &["interval"],
            "TIME",
            "print statistics at this interval, such as 500ms or 1m30s (default: 5s)",
        ),
        switch(&["stats"], "print statistics once and exit"),
    ],
    order: Order::Mixed,
};

/// A container to be watched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Events {
    /// Its id.
    pub(crate) id: ContainerId,
    /// Time between two lines; `None` for a single one.
    pub(crate) interval: Option<Duration>,
}

impl Events {
    pub(crate) fn read(mut given: Given) -> Result<Self, Error> {
        let interval = given.parsed("interval", "a time such as 5s", parse_duration)?;
        let once = given.switch("stats")?;
        let id = given.container_id()?;
        given.end()?;
        Ok(Self {
            id,
            interval: (!once).then(|| interval.unwrap_or(INTERVAL)),
        })
    }
}
