//! The limits of a container whose end is tied to ours, watched by this process: beside what it waits for anyway.
//! Nothing has to outlive it, so no other process is made.
//!
//! Nothing is looked at before the first pause is over, and so nothing is opened for a program that ends within it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use gl_launch::Beside;
use gl_spec::{EndReason, Extras};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::{AGAIN, COUNTED_EVERY, GRACE, Look, Watch, first_pause, is_asked, timespec};
use crate::container::Container;
use crate::error::Error;

/// A watch that has begun.
pub(crate) struct Here<'a> {
    container: &'a Container,
    extras: &'a Extras,
    begun: Instant,
    timer: OwnedFd,
    watch: Option<Watch<&'a Container>>,
    state: State,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within its limits.
    Within,
    /// Over one, if it does not end now by itself.
    Over(EndReason),
    /// Asked to end, and killed from now on.
    Ending,
}

impl<'a> Here<'a> {
    /// Begins to watch a container that is about to start; none where there is nothing to watch.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] if the kernel has no timer for it.
    pub(crate) fn begin(
        container: &'a Container,
        extras: &'a Extras,
    ) -> Result<Option<Self>, Error> {
        if !is_asked(extras) {
            return Ok(None);
        }
        let failed = || Error::host("watch the container's limits");
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(failed())?;
        let here = Self {
            container,
            extras,
            begun: Instant::now(),
            timer,
            watch: None,
            state: State::Within,
        };
        here.wake_in(first_pause(extras)).map_err(failed())?;
        Ok(Some(here))
    }

    /// Somebody's work beside, and this.
    pub(crate) fn along<'w>(
        here: &'w mut Option<Self>,
        other: &'w mut dyn Beside,
    ) -> Along<'a, 'w> {
        Along { here, other }
    }

    fn wake_in(&self, time: Duration) -> Result<(), Errno> {
        let once = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            // Zero would stop it.
            it_value: timespec(time.max(Duration::from_nanos(1))),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).map(drop)
    }

    /// The timer has run out.
    fn look(&mut self) {
        // Set anew it is not ready any more, read or not.
        let next = match self.state {
            State::Within => self.look_at_limits(),
            State::Over(reason) => self.end(reason),
            State::Ending => self.kill(),
        };
        if self.wake_in(next).is_err() {
            // Nobody would look again.
            self.kill();
        }
    }

    fn look_at_limits(&mut self) -> Duration {
        if self.watch.is_none() {
            match Watch::new(self.container, self.extras, self.begun) {
                Ok(watch) => self.watch = Some(watch),
                // Whoever waits for its end will see it.
                Err(Error::NotRunning { .. }) => return COUNTED_EVERY,
                // What cannot be seen has to be taken as exceeded.
                Err(_) => return self.kill(),
            }
        }
        match self.watch.as_ref().map(Watch::look) {
            Some(Look::Within(pause)) => pause.unwrap_or(COUNTED_EVERY),
            Some(Look::Over(reason, Duration::ZERO)) => self.end(reason),
            Some(Look::Over(reason, moment)) => {
                self.state = State::Over(reason);
                moment
            }
            None => self.kill(),
        }
    }

    fn end(&mut self, reason: EndReason) -> Duration {
        self.state = State::Ending;
        match &self.watch {
            Some(watch) => match watch.ask_to_end(reason) {
                Err(Errno::SRCH) => AGAIN,
                _ => GRACE,
            },
            None => self.kill(),
        }
    }

    fn kill(&mut self) -> Duration {
        self.state = State::Ending;
        match &self.watch {
            Some(watch) => watch.kill(),
            None => super::kill_all(self.container),
        };
        AGAIN
    }
}

/// What is done beside, with a watch.
pub(crate) struct Along<'a, 'w> {
    here: &'w mut Option<Here<'a>>,
    other: &'w mut dyn Beside,
}

impl Beside for Along<'_, '_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = self.other.descriptors();
        // Last, so that it changes the positions of nobody.
        all.extend(self.here.iter().map(|here| here.timer.as_fd()));
        all
    }

    fn ready(&mut self, position: usize) {
        let others = self.other.descriptors().len();
        match &mut self.here {
            Some(here) if position >= others => here.look(),
            _ => self.other.ready(position),
        }
    }

    fn take_listener(&mut self, path: &Path, listener: OwnedFd) -> Option<OwnedFd> {
        self.other.take_listener(path, listener)
    }
}
