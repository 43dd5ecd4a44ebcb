//! The time that the set-up of a container has.

use std::time::{Duration, Instant};

/// When the set-up has to be done, if it has to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deadline {
    begun: Option<Instant>,
    end: Option<Instant>,
}

impl Deadline {
    /// So long after `begun`. One too far to tell is none.
    #[must_use]
    pub fn after(begun: Instant, time: Duration) -> Self {
        Self {
            begun: Some(begun),
            end: begun.checked_add(time),
        }
    }

    /// When that is.
    pub(crate) fn end(self) -> Option<Instant> {
        self.end
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.end.is_some_and(|end| end <= Instant::now())
    }

    /// How long it has taken so far; nothing where nobody asked.
    #[must_use]
    pub fn spent(self) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| begun.elapsed())
    }

    /// The earlier of this and the end of a time that begins now.
    pub(crate) fn or_after(self, time: Option<Duration>) -> Option<Instant> {
        // One too far to tell is none.
        let other = time.and_then(|time| Instant::now().checked_add(time));
        match (self.end, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}
