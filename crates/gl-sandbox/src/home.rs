//! The directory of one sandbox: what is known of it while it runs, and what a detached one leaves.
//!
//! Its worker holds a lock on the file that describes it as long as it lives, so that nobody has to guess from
//! a process id whether a sandbox is looked after. All files are reached from the open directory, are regular
//! ones, and are no links: whatever else lies there is not read.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{Timespec, poll};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dirs::{empty_but, is_same};
use crate::error::Error;
use crate::logs::Stream;
use crate::report::Report;

/// What the sandbox is; locked by its worker.
const ENTRY: &str = "sandbox.json";
/// The process of its program.
const PROGRAM: &str = "program.json";
/// What it came to, of a detached one.
const REPORT: &str = "report.json";
/// Its worker was killed, and what it left was taken away.
const DIED: &str = "died";
/// The most that is read of a file, in bytes.
const MOST: u64 = 16 << 20;

/// How long the lock of a dead worker is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// What a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// `basic`, `namespace`, `container` or `gvisor`.
    pub tier: String,
    /// The profile's name.
    pub profile: String,
    /// `enforcing` or `permissive`.
    pub mode: String,
    /// The command.
    pub command: Vec<String>,
    /// When it began, RFC 3339.
    pub started: String,
    /// Whether it runs on by itself.
    pub detached: bool,
    /// The process that looks after it.
    pub worker: i32,
}

/// The process of a program: the first one of a tier that has such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Its id.
    pub(crate) pid: i32,
    /// When it was started, in ticks since boot.
    pub(crate) since: u64,
}

impl Program {
    /// The process of this id, as it is now.
    pub(crate) fn of(pid: Pid) -> Result<Self, Errno> {
        let task = gl_launch::task(pid)?;
        Ok(Self {
            pid: task.pid,
            since: task.started,
        })
    }

    /// A descriptor of it, if it is still there.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.pid)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Opened first and looked at then: the descriptor is of the process that is seen here.
        let task = gl_launch::task(pid).ok()?;
        (task.started == self.since && !task.ended).then_some(pidfd)
    }
}

/// The directory of a sandbox that this process looks after.
#[derive(Debug)]
pub(crate) struct Home {
    place: Place,
    /// Closed with the process.
    lock: OwnedFd,
}

impl Home {
    /// Describes the sandbox of a new directory, and takes its lock.
    pub(crate) fn begin(dir: &Path, entry: &Entry) -> Result<Self, Error> {
        let place = Place::open(dir)?.ok_or_else(|| Error::file("open", dir)(Errno::NOENT))?;
        // Nobody sees it half written, as nobody knows the directory by its name of now.
        let lock = place.create(ENTRY, entry)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(Error::file("lock", dir.join(ENTRY)))?;
        Ok(Self { place, lock })
    }

    /// The same by the name that the directory has now.
    pub(crate) fn called(mut self, path: PathBuf) -> Self {
        self.place.path = path;
        self
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.place.path
    }

    /// For who takes it away after the worker: it is looked after as long as that has the lock.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Notes that the program runs, and as which process.
    pub(crate) fn program_is(&self, program: Program) -> Result<(), Error> {
        // Once, in a directory of ours: half of it is as good as nothing to whoever reads it. Those that wait
        // for it look again when it is closed.
        self.place.create(PROGRAM, &program).map(drop)
    }

    /// Keeps what the sandbox came to.
    pub(crate) fn keep(&self, report: &Report) -> Result<(), Error> {
        self.place.write(REPORT, report)
    }
}

/// The directory of a sandbox, open.
#[derive(Debug)]
pub(crate) struct Place {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Place {
    /// Opens it; none if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self {
                fd,
                path: path.to_owned(),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::file("open", path)(errno)),
        }
    }

    /// The path that it was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it still has the name that it was opened by.
    pub(crate) fn has_its_name(&self) -> Result<bool, Error> {
        is_same(&self.fd, &self.path).map_err(Error::file("inspect", &self.path))
    }

    /// Whether its worker lives.
    pub(crate) fn is_held(&self) -> Result<bool, Error> {
        let Some(file) = self.file(ENTRY)? else {
            return Ok(false);
        };
        // Shared: those that look do not keep each other from it.
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(Error::file("lock", self.path.join(ENTRY))(errno)),
        }
    }

    /// Waits until nobody has the lock of its worker, which is dead: what that had just forked has it
    /// as well, until it closes its descriptors or ends, and who takes a program of the tier `basic` away.
    ///
    /// # Errors
    ///
    /// [`Error::File`], also if somebody has it for long.
    pub(crate) fn wait_until_released(&self) -> Result<(), Error> {
        let until = Instant::now().checked_add(PATIENCE);
        while self.is_held()? {
            if until.is_none_or(|until| Instant::now() > until) {
                return Err(Error::file("lock", self.path.join(ENTRY))(Errno::TIMEDOUT));
            }
            // Nobody tells who waits for a lock only so long.
            rustix::io::retry_on_intr(|| poll(&mut [], Some(&MOMENT)))
                .map_err(Error::host("wait for a lock"))?;
        }
        Ok(())
    }

    /// What the sandbox is; none if that cannot be read.
    pub(crate) fn entry(&self) -> Result<Option<Entry>, Error> {
        self.read(ENTRY)
    }

    /// The process of its program, once that runs.
    pub(crate) fn program(&self) -> Result<Option<Program>, Error> {
        self.read(PROGRAM)
    }

    /// What it came to, of a detached one.
    pub(crate) fn report(&self) -> Result<Option<Report>, Error> {
        self.read(REPORT)
    }

    /// Notes that its worker was killed, and all that it left taken away.
    pub(crate) fn bury(&self) -> Result<(), Error> {
        self.write(DIED, &true)
    }

    /// Whether that was noted.
    pub(crate) fn is_buried(&self) -> Result<bool, Error> {
        Ok(self.file(DIED)?.is_some())
    }

    /// When the end was noted.
    pub(crate) fn ended_at(&self) -> Result<Option<SystemTime>, Error> {
        for name in [REPORT, DIED] {
            if let Some(file) = self.file(name)? {
                let meta = File::from(file).metadata();
                let at = meta.and_then(|meta| meta.modified());
                return at
                    .map(Some)
                    .map_err(Error::io("inspect", self.path.join(name)));
            }
        }
        Ok(None)
    }

    /// Removes everything that does not stay after the end.
    pub(crate) fn strip(&self) -> Result<(), Error> {
        let stays = |name: &str| {
            [ENTRY, PROGRAM, REPORT, DIED].contains(&name) || Stream::of_file(name).is_some()
        };
        empty_but(&self.fd, stays).map_err(Error::file("clean up", &self.path))
    }

    /// A descriptor of the worker; none if that is gone.
    pub(crate) fn worker(&self) -> Result<Option<OwnedFd>, Error> {
        let pid = self.entry()?.and_then(|entry| Pid::from_raw(entry.worker));
        let Some(pid) = pid else {
            return Ok(None);
        };
        let worker = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(worker) => worker,
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::host("open the worker of the sandbox")(errno)),
        };
        // If the lock is still held, the number was the worker's when it was opened.
        Ok(self.is_held()?.then_some(worker))
    }

    /// Opens a regular file.
    pub(crate) fn file(&self, name: &str) -> Result<Option<OwnedFd>, Error> {
        let failed = || Error::file("open", self.path.join(name));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(failed())?,
        };
        let stat = rustix::fs::fstat(&file).map_err(failed())?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some(file)),
            _ => Err(failed()(Errno::INVAL)),
        }
    }

    /// What a file holds; none also if it is not what was written there.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(file) = self.file(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        File::from(file)
            .take(MOST)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", self.path.join(name)))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Writes a file that appears at once, for us alone: nobody else has to know what runs here.
    fn write(&self, name: &str, document: &impl Serialize) -> Result<(), Error> {
        let new = format!("{name}.new");
        self.create(&new, document)?;
        rustix::fs::renameat(&self.fd, &new, &self.fd, name)
            .map_err(Error::file("write", self.path.join(name)))
    }

    /// Writes a new file, for us alone, and returns it.
    fn create(&self, name: &str, document: &impl Serialize) -> Result<OwnedFd, Error> {
        let failed = || Error::io("write", self.path.join(name));
        let json = serde_json::to_vec(document).map_err(|err| failed()(err.into()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.fd, name, flags, mode)
            .map_err(Error::file("write", self.path.join(name)))?;
        let mut file = File::from(file);
        file.write_all(&json).map_err(failed())?;
        Ok(file.into())
    }
}
