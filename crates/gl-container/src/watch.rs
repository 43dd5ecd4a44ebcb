//! Limits that no kernel facility holds for a whole container: its wall-clock time and the CPU time of
//! all its processes together. A process of ours watches them from outside; it outlives the command
//! and the engine, and ends with the container.

mod here;

use std::borrow::Borrow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use gl_cgroup::{Cgroup, Depth};
use gl_launch::Watcher;
use gl_runsc::Reach;
use gl_spec::{EndReason, Extras};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::container::Container;
use crate::error::Error;
use crate::gvisor::Inside;
use crate::record::{END, End, Record};
use crate::signal::Whom;
use crate::store::{Store, read_all};

pub(crate) use here::Here;

/// How long a container has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long the end of this process is put off.
const ASIDE: Duration = Duration::from_millis(2);
/// How long until an end that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How often the end is tried: five minutes, for a cgroup that somebody else keeps from us.
const TRIES: u32 = 1500;
/// Processes are counted this often.
const COUNTED_EVERY: Duration = Duration::from_millis(100);
/// An init that ends, and all that it takes along, may take so long.
const ENDING: Duration = Duration::from_secs(2);
/// CPU time is looked at this often at most.
const SHORTEST: Duration = Duration::from_millis(5);
/// The processors that there may ever be.
const PROCESSORS: &str = "/sys/devices/system/cpu/possible";
/// As many are assumed where nobody knows.
const MANY: u32 = 8192;

/// Starts the process that will watch a container, before its program starts; none where there is nothing to
/// watch. `init` is the container's first process. The state that `create` has left is read when it is needed:
/// not for a program that ends within the first pause. Whatever cannot be read then ends the container.
///
/// # Errors
///
/// [`Error::NoCgroup`] for a limit that nothing counts without a cgroup;
/// [`Error::Launch`] if the process cannot be started.
pub(crate) fn prepare(
    store: &Store,
    record: &Record,
    extras: &Extras,
    init: BorrowedFd<'_>,
) -> Result<Option<Watcher>, Error> {
    check(record, extras)?;
    if !is_asked(extras) {
        return Ok(None);
    }
    let coming = Coming {
        store,
        record,
        extras,
        init,
    };
    let load = || {
        let begun = Instant::now();
        match &record.gvisor {
            // What outlives the runsc that ends is found by what was opened before.
            Some(_) => Some((begun, Some(coming.load(begun).ok()?))),
            None => Some((begun, None)),
        }
    };
    let watcher = Watcher::prepare(&[store.as_fd(), init], load, |loaded, signals| {
        coming.watch(loaded, &signals);
        // Who waits for the same end goes first, where both were to go on by the same processor.
        poll(&mut [], Some(&timespec(ASIDE))).ok();
        0
    })?;
    Ok(Some(watcher))
}

/// A container that is going to be watched.
struct Coming<'a> {
    store: &'a Store,
    record: &'a Record,
    extras: &'a Extras,
    init: BorrowedFd<'a>,
}

impl Coming<'_> {
    fn load(&self, begun: Instant) -> Result<Watch<Container>, Error> {
        // Loaded anew: the lock that a command holds must not live on in this process.
        Watch::new(self.store.load(&self.record.id)?, self.extras, begun)
    }

    fn watch(&self, (begun, loaded): (Instant, Option<Watch<Container>>), signals: &OwnedFd) {
        let ended = ends_within(self.init, first_pause(self.extras));
        match loaded {
            Some(watch) if ended => watch.end_orphans(),
            Some(watch) => watch.run(signals),
            None if ended => {}
            None => match self.load(begun) {
                // What was loaded may be of another container of the same id, if ours has ended meanwhile.
                Ok(_) if ends_within(self.init, Duration::ZERO) => {}
                Ok(watch) => watch.run(signals),
                Err(_) => self.end_unseen(),
            },
        }
    }

    /// Ends a container whose limits cannot be seen, or that has just ended by itself.
    fn end_unseen(&self) {
        for _ in 0..TRIES {
            let loaded = self.load(Instant::now());
            if ends_within(self.init, Duration::ZERO) {
                return;
            }
            if let Ok(watch) = loaded {
                return watch.end(EndReason::Unwatched);
            }
            self.kill_others();
            kill_init(self.init);
            if ends_within(self.init, AGAIN) {
                return;
            }
        }
    }

    /// Kills whoever is in the container's cgroup. Its path is in the record that we began with, and the container's
    /// own as long as init runs.
    fn kill_others(&self) {
        let Some(record) = self.record.cgroup.as_ref() else {
            return;
        };
        if self.record.private_pids {
            // They went with init.
            return;
        }
        let killed = Cgroup::open(record).and_then(|cgroup| {
            cgroup.kill_all(Signal::KILL)?;
            cgroup.thaw()
        });
        if killed.is_err() {
            // It is gone, or tried again as long as init is there.
        }
    }
}

/// Whether a container's first process ends before that much time is over.
fn ends_within(init: BorrowedFd<'_>, time: Duration) -> bool {
    let timespec = timespec(time);
    let mut fds = [PollFd::from_borrowed_fd(init, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&timespec)), Ok(1..))
}

/// Whatever is wrong with the cgroup or the state: this way needs neither.
fn kill_init(init: BorrowedFd<'_>) {
    let killed = gl_sys::pidfd_send_signal(init, Signal::KILL.as_raw());
    debug_assert!(matches!(killed, Ok(()) | Err(Errno::SRCH)), "{killed:?}");
}

/// Whether there is anything to watch.
fn is_asked(extras: &Extras) -> bool {
    let counted = extras.cpu_time_ms.is_some() || extras.max_processes.is_some();
    counted || extras.execution_timeout_ms.is_some()
}

/// Whether all of it can be seen.
///
/// # Errors
///
/// [`Error::NoCgroup`].
pub(crate) fn check(record: &Record, extras: &Extras) -> Result<(), Error> {
    let uncounted = extras.max_processes.is_some() && !record.private_pids;
    match record.cgroup.is_none() && (extras.cpu_time_ms.is_some() || uncounted) {
        true => Err(Error::NoCgroup),
        false => Ok(()),
    }
}

/// How many processors a container could keep busy: all that there may be, as neither our affinity nor our
/// cgroup says anything of it.
fn processors() -> u32 {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(PROCESSORS, flags, Mode::empty());
    let text = file.and_then(|file| read_all(&file, 64)).ok();
    let text = text.and_then(|text| String::from_utf8(text).ok());
    text.and_then(|text| last(&text)).unwrap_or(MANY)
}

/// One more than the last number of a list such as `0-3,8-11`.
fn last(list: &str) -> Option<u32> {
    let last = list.trim().rsplit([',', '-']).next()?;
    last.parse::<u32>().ok()?.checked_add(1)
}

struct Watch<C> {
    container: C,
    init: OwnedFd,
    deadline: Option<Instant>,
    cpu: Option<Cpu>,
    processes: Option<Processes>,
}

/// What a look at the limits has shown.
enum Look {
    /// All are kept, and for so long need not be looked at.
    Within(Option<Duration>),
    /// One is exceeded, unless the container ends within that time.
    Over(EndReason, Duration),
}

/// The processes of the whole container.
struct Processes {
    /// Where they are; without one they are those of its pid namespace.
    cgroup: Option<Cgroup>,
    max: usize,
    sandbox: Option<Inside>,
}

impl Processes {
    /// How long the container may go on as they are now, if not for good: not at all where there are too many,
    /// and a moment where they can no longer be counted.
    fn left(&self, container: &Container) -> Option<Duration> {
        let all = match (&self.sandbox, &self.cgroup) {
            (Some(inside), Some(cgroup)) => {
                return inside.exceeds(self.max, cgroup).then_some(Duration::ZERO);
            }
            // What runsc has started is not found by a pid namespace.
            (Some(_), None) => return Some(Duration::ZERO),
            (None, Some(cgroup)) => cgroup.pids(Depth::Tree).map_err(Error::from),
            (None, None) => container.pids(),
        };
        match all {
            Ok(all) => (all.len() > self.max).then_some(Duration::ZERO),
            // An init that ends has no pid namespace any more before it is seen to have ended.
            Err(_) => Some(ENDING),
        }
    }

    /// How long until they are counted again: without a cgroup all of the host's are looked at.
    fn pause(&self) -> Duration {
        match self.cgroup {
            Some(_) => COUNTED_EVERY,
            None => COUNTED_EVERY * 3,
        }
    }
}

/// The CPU time of the whole container.
struct Cpu {
    cgroup: Cgroup,
    limit: Duration,
    processors: u32,
}

impl Cpu {
    /// How long no number of busy processors can use up what is left; zero if nothing is.
    fn pause(&self) -> Duration {
        // Time that can no longer be read has to be taken as used up.
        let used = self.cgroup.cpu_time().unwrap_or(self.limit);
        let left = self.limit.saturating_sub(used);
        match left.is_zero() {
            true => left,
            false => share(left, self.processors),
        }
    }
}

/// How long all processors together need for so much time.
fn share(time: Duration, processors: u32) -> Duration {
    (time / processors.max(1)).max(SHORTEST)
}

/// How long nothing is looked at in the beginning: it is one process yet, and has had no time.
fn first_pause(extras: &Extras) -> Duration {
    let cpu = extras.cpu_time_ms.map(Duration::from_millis);
    let cpu = cpu.map(|limit| share(limit, processors()));
    let wall = extras.execution_timeout_ms.map(Duration::from_millis);
    let pauses = [cpu, wall].into_iter().flatten();
    pauses.fold(COUNTED_EVERY, Duration::min)
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Whether somebody wants this process to end: whoever stops the session or the service that the container
/// was started from. The container does not live on without its limits then.
fn asked_to_end(signals: &OwnedFd) -> bool {
    let ends = [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT].map(Signal::as_raw);
    let taken = std::iter::from_fn(|| gl_sys::read_signal(signals.as_fd()).ok().flatten());
    // All are taken, so that none wakes us again.
    taken.filter(|signal| ends.contains(signal)).count() > 0
}

impl<C: Borrow<Container>> Watch<C> {
    fn new(container: C, extras: &Extras, begun: Instant) -> Result<Self, Error> {
        let of = container.borrow();
        let init = of.init()?;
        let cpu = match extras.cpu_time_ms {
            None => None,
            Some(limit) => Some(Cpu {
                cgroup: of.cgroup()?,
                limit: Duration::from_millis(limit),
                processors: processors(),
            }),
        };
        let processes = match extras.max_processes {
            None => None,
            Some(max) => Some(Processes {
                cgroup: match of.cgroup() {
                    Err(Error::NoCgroup) if of.private_pids() => None,
                    other => Some(other?),
                },
                max: usize::try_from(max).unwrap_or(usize::MAX),
                sandbox: of.record.gvisor.clone().map(Inside::new),
            }),
        };
        let deadline = extras.execution_timeout_ms.map(Duration::from_millis);
        Ok(Self {
            init,
            deadline: deadline.and_then(|time| begun.checked_add(time)),
            cpu,
            processes,
            container,
        })
    }

    fn run(&self, signals: &OwnedFd) {
        match self.limit_reached(signals) {
            None => self.end_orphans(),
            Some(reason) => self.end(reason),
        }
    }

    /// Waits; none if the container ended by itself.
    fn limit_reached(&self, signals: &OwnedFd) -> Option<EndReason> {
        loop {
            let wait = match self.look() {
                Look::Over(reason, moment) => {
                    return (!ends_within(self.init.as_fd(), moment)).then_some(reason);
                }
                Look::Within(wait) => wait,
            };
            let timespec = timespec(wait.unwrap_or(Duration::MAX));
            let mut fds = [
                PollFd::new(&self.init, PollFlags::IN),
                PollFd::new(signals, PollFlags::IN),
            ];
            if poll(&mut fds, Some(&timespec)).is_err() {
                continue;
            }
            if !fds[0].revents().is_empty() {
                return None;
            }
            if !fds[1].revents().is_empty() && asked_to_end(signals) {
                return Some(EndReason::Unwatched);
            }
        }
    }

    fn look(&self) -> Look {
        let now = Instant::now();
        let wall = self.deadline.map(|at| at.saturating_duration_since(now));
        if wall == Some(Duration::ZERO) {
            return Look::Over(EndReason::Timeout, Duration::ZERO);
        }
        let pause = self.cpu.as_ref().map(Cpu::pause);
        if pause == Some(Duration::ZERO) {
            return Look::Over(EndReason::CpuTime, Duration::ZERO);
        }
        let processes = self.processes.as_ref();
        if let Some(left) = processes.and_then(|all| all.left(self.container.borrow())) {
            return Look::Over(EndReason::Pids, left);
        }
        let count = processes.map(Processes::pause);
        Look::Within([wall, pause, count].into_iter().flatten().min())
    }

    /// Notes why, and sends SIGTERM to the container's first process.
    fn ask_to_end(&self, reason: EndReason) -> Result<(), Errno> {
        let container = self.container.borrow();
        // What is written here only tells why; the end does not wait for it.
        let end = crate::create::encode(&End { reason });
        let told = container.dir.replace(END, &end);
        drop(told);
        match &container.record.gvisor {
            // The sandbox itself would end at once.
            Some(sandbox) => sandbox.kill(Signal::TERM, Reach::First).or(Err(Errno::IO)),
            None => gl_sys::pidfd_send_signal(self.init.as_fd(), Signal::TERM.as_raw()),
        }
    }

    /// A sandbox outlives a runsc that was killed while it waited for it.
    fn end_orphans(&self) {
        // By the descriptor: another container may have its path by now.
        if let (Some(_), Some(cpu)) = (&self.container.borrow().record.gvisor, &self.cpu)
            && cpu.cgroup.kill_all(Signal::KILL).is_err()
        {
            // It is gone, and all that was in it.
        }
    }

    /// Ends the container, however long that takes.
    fn end(&self, reason: EndReason) {
        let asked = self.ask_to_end(reason);
        let private = self.container.borrow().private_pids();
        if asked != Err(Errno::SRCH) && ends_within(self.init.as_fd(), GRACE) && private {
            return;
        }
        for _ in 0..TRIES {
            let done = self.kill();
            if ends_within(self.init.as_fd(), AGAIN) && done {
                return;
            }
        }
    }

    /// Kills it, and says whether everybody was reached.
    fn kill(&self) -> bool {
        let done = kill_all(self.container.borrow());
        if !done {
            kill_init(self.init.as_fd());
        }
        done
    }
}

fn kill_all(container: &Container) -> bool {
    let killed = container.kill(Signal::KILL.as_raw(), Whom::All);
    matches!(killed, Ok(_) | Err(Error::NotRunning { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_to_the_last() {
        for (list, want) in [
            ("0\n", Some(1)),
            ("0-3\n", Some(4)),
            ("0-3,8-11\n", Some(12)),
            ("0-1,5", Some(6)),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(last(list), want, "{list:?}");
        }
        assert!((1..MANY).contains(&processors()), "{}", processors());
    }
}
