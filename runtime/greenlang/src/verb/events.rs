//! `events`: prints what a container uses, and when it runs out of memory.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use gl_cgroup::stats::Stats;
use gl_cgroup::{OomEvent, OomWatch};
use gl_container::Container;
use gl_spec::ContainerId;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde::Serialize;

use crate::args::{self, Given, Order, parse_duration, switch, value};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::json;
use crate::program::{Context, print};

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
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let interval = given.parsed("interval", "a time such as 5s", parse_duration)?;
        let once = given.switch("stats")?;
        let id = given.container_id()?;
        given.end()?;
        Ok(Self {
            id,
            interval: (!once).then(|| interval.unwrap_or(INTERVAL)),
        })
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        let container = context.store()?.load(&self.id)?;
        match self.interval {
            None => self.print_stats(&container),
            Some(interval) => self.watch(&container, interval),
        }
    }

    fn print_stats(&self, container: &Container) -> Result<Outcome, Error> {
        self.print_event("stats", Some(&container.stats()?))
    }

    fn print_event(&self, kind: &'static str, data: Option<&Stats>) -> Result<Outcome, Error> {
        let event = Event {
            kind,
            id: &self.id,
            data,
        };
        print(&format!("{}\n", json::line(&event)))
    }

    /// Prints until the container has ended.
    fn watch(&self, container: &Container, interval: Duration) -> Result<Outcome, Error> {
        let end = container.pidfd()?;
        let oom = container.watch_oom()?;
        let mut next = Instant::now() + interval;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            let mut fds = [
                PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(oom.as_fd(), PollFlags::IN),
            ];
            poll(&mut fds, wait)?;
            let [ended, short] = fds.map(|fd| !fd.revents().is_empty());
            if short && ran_out(&oom)? {
                self.print_event("oom", None)?;
            }
            if ended {
                return Ok(Outcome::Done);
            }
            if Instant::now() >= next {
                self.print_stats(container)?;
                next += interval;
            }
        }
    }
}

/// One line.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a ContainerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Stats>,
}

fn ran_out(oom: &OomWatch) -> Result<bool, Error> {
    let event = oom.take().map_err(gl_container::Error::from)?;
    Ok(matches!(event, OomEvent::OutOfMemory { .. }))
}

/// Waits for one of `fds` or until the time is over.
fn poll(fds: &mut [PollFd<'_>], time: Duration) -> Result<(), Error> {
    // A time that does not fit is longer than anybody waits.
    let time = Timespec::try_from(time).ok();
    match rustix::event::poll(fds, time.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(source) => Err(Error::Watch { source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_engines_read() {
        let id = ContainerId::new("c1").unwrap();
        let oom = Event {
            kind: "oom",
            id: &id,
            data: None,
        };
        assert_eq!(json::line(&oom), r#"{"type":"oom","id":"c1"}"#);
        let stats = Stats::default();
        let line = json::line(&Event {
            kind: "stats",
            id: &id,
            data: Some(&stats),
        });
        assert!(
            line.starts_with(r#"{"type":"stats","id":"c1","data":{"cpu":{"#),
            "{line}"
        );
        assert!(!line.contains('\n'), "{line}");
    }
}
