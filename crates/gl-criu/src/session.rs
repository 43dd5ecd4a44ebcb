//! One process of CRIU (`criu swrk`) and the talk with it: a request, notices on the way that wait for our
//! consent, an answer. Messages are those of CRIU's `images/rpc.proto`, one packet each.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use gl_launch::{Service, Serving, Shown, Stage, Streams};
use gl_plan::{IdMaps, Keyring};
use gl_sys::Batch;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};

use crate::error::{Error, Operation};
use crate::find::{Criu, OLDEST, Version};
use crate::options::Options;
use crate::wire::{Message, Value, fields};

/// Where CRIU runs.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Files by which it joins a cgroup.
    pub join: Batch,
    /// The directory of cgroup v2 that it is born into.
    pub cgroup_dir: Option<OwnedFd>,
    /// Mounts that only it sees.
    pub stage: Option<Stage>,
    /// What it has open beside, by the same numbers.
    pub files: &'a [OwnedFd],
    /// Directories that it has open, by the same numbers.
    pub dirs: Vec<OwnedFd>,
    /// The ids by which it reads the first of them, that of the images, from a user namespace.
    pub maps: Option<&'a IdMaps>,
    /// Its session keyring, and that of all that it makes.
    pub keyring: Keyring,
    /// Its streams, and those of all that it makes.
    pub streams: Streams,
}

impl Default for Surroundings<'_> {
    fn default() -> Self {
        Self {
            join: Batch::default(),
            cgroup_dir: None,
            stage: None,
            files: &[],
            dirs: Vec::new(),
            maps: None,
            keyring: Keyring::Keep,
            streams: Streams::Null,
        }
    }
}

/// The images that the first process reads in its new user namespace while CRIU may not have written the
/// namespace's maps yet: how far the clocks were, which is no secret.
const BEFORE_MAPS: &str = "timens-";

/// What CRIU tells on the way, and waits for an answer to.
#[derive(Debug)]
pub struct Notice {
    /// The step: the name of its action script.
    pub step: String,
    /// The first process as the host numbers it, where the step has one.
    pub pid: Option<i32>,
    /// The other end of a terminal, with the step `orphan-pts-master`.
    pub terminal: Option<OwnedFd>,
}

/// What CRIU answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The first process that was restored.
    pub pid: Option<i32>,
    /// What the host can do.
    pub features: Features,
    version: Option<Version>,
}

/// What the host can do beside the plain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Track changes of memory.
    pub memory_tracking: bool,
    /// Transfer memory when it is needed.
    pub lazy_pages: bool,
}

/// A process of CRIU that waits for its one request; it ends with this.
#[derive(Debug)]
pub struct Session {
    serving: Serving,
}

/// How long it may go on after its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer at most: CRIU's are short.
const LONGEST: usize = 64 * 1024;

// `criu_req_type`.
const DUMP: u64 = 1;
const RESTORE: u64 = 2;
const PRE_DUMP: u64 = 4;
const NOTIFY: u64 = 6;
const FEATURE_CHECK: u64 = 9;
const VERSION: u64 = 10;

fn number(operation: Operation) -> u64 {
    match operation {
        Operation::Dump => DUMP,
        Operation::Restore => RESTORE,
        Operation::PreDump => PRE_DUMP,
        Operation::Features => FEATURE_CHECK,
        Operation::Version => VERSION,
    }
}

impl Criu {
    /// Which version it is.
    ///
    /// # Errors
    ///
    /// [`Error::TooOld`] for one before [`OLDEST`]; what kept it from answering.
    pub fn version(&self) -> Result<Version, Error> {
        let session = Session::start(self, Surroundings::default())?;
        let answer = session.ask(Operation::Version, None, &mut |_| Ok::<_, Error>(()))?;
        let version = answer.version.ok_or(Error::Answer {
            problem: "it does not say which version it is",
        })?;
        self.at_least(version, OLDEST, "anything at all")
    }

    /// Refuses a version that is too old for something.
    ///
    /// # Errors
    ///
    /// [`Error::TooOld`].
    pub fn at_least(
        &self,
        found: Version,
        needed: Version,
        what: &'static str,
    ) -> Result<Version, Error> {
        match found < needed {
            true => Err(Error::TooOld {
                found,
                needed,
                what,
            }),
            false => Ok(found),
        }
    }

    /// What the host can do.
    ///
    /// # Errors
    ///
    /// What kept it from answering.
    pub fn features(&self) -> Result<Features, Error> {
        let session = Session::start(self, Surroundings::default())?;
        let answer = session.ask(Operation::Features, None, &mut |_| Ok::<_, Error>(()))?;
        Ok(answer.features)
    }
}

impl Session {
    /// Starts CRIU.
    ///
    /// # Errors
    ///
    /// [`Error::Start`].
    pub fn start(criu: &Criu, surroundings: Surroundings<'_>) -> Result<Self, Error> {
        let serving = Serving::start(Service {
            path: criu.path(),
            args: &["swrk"],
            files: surroundings.files,
            dirs: surroundings.dirs,
            shown: surroundings.maps.map(|maps| Shown {
                maps,
                for_all: BEFORE_MAPS,
            }),
            join: surroundings.join,
            cgroup_dir: surroundings.cgroup_dir,
            stage: surroundings.stage,
            keyring: surroundings.keyring,
            streams: surroundings.streams,
        })?;
        Ok(Self { serving })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.serving.pid().as_raw_nonzero().get()
    }

    /// Sends the request and waits for its answer. `notified` is called at each step; what it refuses, CRIU
    /// gives up and takes back.
    ///
    /// # Errors
    ///
    /// What `notified` said; [`Error::Failed`] if CRIU says that it failed.
    pub fn ask<E: From<Error>>(
        self,
        operation: Operation,
        options: Option<&Options>,
        notified: &mut dyn FnMut(Notice) -> Result<(), E>,
    ) -> Result<Answer, E> {
        let mut request = Message::default();
        request.number(1, number(operation).cast_signed());
        if let Some(options) = options {
            request.message(2, &options.message);
        }
        if operation == Operation::Features {
            // Which of them it is asked about.
            let mut features = Message::default();
            features.number(1, 1);
            features.number(2, 1);
            request.message(5, &features);
        }
        self.send(&request)?;
        let mut refused = None;
        loop {
            let (bytes, terminal) = self.receive()?;
            let response = Response::read(&bytes)?;
            if response.kind != NOTIFY {
                let answer = response.answer(operation);
                self.let_end();
                // The first failure is the one to tell.
                return match refused {
                    Some(err) => Err(err),
                    None => Ok(answer?),
                };
            }
            let notice = response.notice(terminal)?;
            let result = match refused {
                // It is on its way back.
                Some(_) => Ok(()),
                None => notified(notice),
            };
            let mut reply = Message::default();
            reply.number(1, NOTIFY.cast_signed());
            reply.number(3, result.is_ok().into());
            refused = refused.or(result.err());
            let sent = self.send(&reply);
            match refused {
                Some(err) if sent.is_err() => return Err(err),
                _ => sent?,
            }
        }
    }

    /// Gives it time for what it does after its answer, such as taking back what it has made.
    fn let_end(self) {
        // After a pre-dump it would wait for the next request.
        self.serving.let_end(PATIENCE);
    }

    fn send(&self, message: &Message) -> Result<(), Error> {
        loop {
            match rustix::net::send(
                self.serving.socket(),
                message.as_bytes(),
                SendFlags::NOSIGNAL,
            ) {
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(gone()),
                Err(source) => return Err(Error::Talk { source }),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn receive(&self) -> Result<(Vec<u8>, Option<OwnedFd>), Error> {
        let mut bytes = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut whole = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(self.serving.socket(), &mut whole, &mut control, flags) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(gone()),
                Err(source) => return Err(Error::Talk { source }),
                Ok(received) => break received.bytes,
            }
        };
        match received {
            0 => return Err(gone()),
            LONGEST => {
                return Err(Error::Answer {
                    problem: "an answer is too long",
                });
            }
            len => bytes.truncate(len),
        }
        let terminal = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Ok((bytes, terminal))
    }
}

fn gone() -> Error {
    Error::Answer {
        problem: "it has ended without an answer",
    }
}

/// `criu_resp`, as much as is read of it.
#[derive(Debug, Default)]
struct Response<'a> {
    kind: u64,
    success: bool,
    restore: Option<&'a [u8]>,
    notify: Option<&'a [u8]>,
    errno: i32,
    features: Option<&'a [u8]>,
    said: &'a [u8],
    version: Option<&'a [u8]>,
}

impl<'a> Response<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut response = Self::default();
        for field in fields(bytes).ok_or_else(malformed)? {
            match field {
                (1, Value::Number(kind)) => response.kind = kind,
                (2, Value::Number(success)) => response.success = success != 0,
                (4, Value::Bytes(bytes)) => response.restore = Some(bytes),
                (5, Value::Bytes(bytes)) => response.notify = Some(bytes),
                (7, Value::Number(errno)) => response.errno = int32(errno),
                (8, Value::Bytes(bytes)) => response.features = Some(bytes),
                (9, Value::Bytes(bytes)) => response.said = bytes,
                (10, Value::Bytes(bytes)) => response.version = Some(bytes),
                _ => {}
            }
        }
        Ok(response)
    }

    fn notice(&self, terminal: Option<OwnedFd>) -> Result<Notice, Error> {
        let all = fields(self.notify.unwrap_or_default()).ok_or_else(malformed)?;
        let mut notice = Notice {
            step: String::new(),
            pid: None,
            terminal,
        };
        for field in all {
            match field {
                (1, Value::Bytes(step)) => notice.step = String::from_utf8_lossy(step).into_owned(),
                (2, Value::Number(pid)) => notice.pid = Some(int32(pid)).filter(|pid| *pid > 0),
                _ => {}
            }
        }
        Ok(notice)
    }

    fn answer(&self, operation: Operation) -> Result<Answer, Error> {
        if !self.success {
            let said = String::from_utf8_lossy(self.said).trim().to_owned();
            let said = match (said.is_empty(), self.errno) {
                (true, 0) => said,
                (true, errno) => Errno::from_raw_os_error(errno).to_string(),
                (false, _) => said,
            };
            return Err(Error::Failed { operation, said });
        }
        if self.kind != number(operation) {
            return Err(Error::Answer {
                problem: "it answers another request",
            });
        }
        let numbers = |bytes: Option<&'a [u8]>| fields(bytes.unwrap_or_default());
        let find = |all: &[(u32, Value<'_>)], wanted: u32| {
            all.iter().find_map(|(field, value)| match value {
                Value::Number(number) if *field == wanted => Some(*number),
                _ => None,
            })
        };
        let restore = numbers(self.restore).ok_or_else(malformed)?;
        let features = numbers(self.features).ok_or_else(malformed)?;
        let version = numbers(self.version).ok_or_else(malformed)?;
        let part = |field| find(&version, field).and_then(|part| u32::try_from(part).ok());
        Ok(Answer {
            pid: find(&restore, 1).map(int32).filter(|pid| *pid > 0),
            features: Features {
                memory_tracking: find(&features, 1) == Some(1),
                lazy_pages: find(&features, 2) == Some(1),
            },
            version: part(1).map(|major| Version {
                major,
                minor: part(2).unwrap_or(0),
                sublevel: part(4).unwrap_or(0),
            }),
        })
    }
}

fn malformed() -> Error {
    Error::Answer {
        problem: "what it says is not in its own format",
    }
}

/// An `int32`, which is sign-extended on the wire.
fn int32(value: u64) -> i32 {
    i32::try_from(value.cast_signed()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Message {
        let mut version = Message::default();
        version.number(1, 4);
        version.number(2, 1);
        version.number(4, 1);
        let mut response = Message::default();
        response.number(1, VERSION.cast_signed());
        response.number(2, 1);
        response.message(10, &version);
        response
    }

    #[test]
    fn version_is_read_from_its_answer() {
        let response = version();
        let answer = Response::read(response.as_bytes()).unwrap();
        let answer = answer.answer(Operation::Version).unwrap();
        let want = Version {
            major: 4,
            minor: 1,
            sublevel: 1,
        };
        assert_eq!(answer.version, Some(want));
    }

    #[test]
    fn answer_to_another_request_is_an_error() {
        let response = version();
        let err = Response::read(response.as_bytes())
            .unwrap()
            .answer(Operation::Dump)
            .unwrap_err();
        assert_eq!(err.to_string(), "talk to criu: it answers another request");
    }

    #[test]
    fn failure_says_what_criu_said() {
        for (errno, said, want) in [
            (
                3,
                "",
                "criu could not save the container: No such process (os error 3)",
            ),
            (
                0,
                "no rights\n",
                "criu could not save the container: no rights",
            ),
            (0, "", "criu could not save the container"),
        ] {
            let mut response = Message::default();
            response.number(1, DUMP.cast_signed());
            response.number(2, 0);
            response.number(7, errno);
            response.text(9, said);
            let err = Response::read(response.as_bytes())
                .unwrap()
                .answer(Operation::Dump)
                .unwrap_err();
            assert_eq!(err.to_string(), want);
        }
    }

    #[test]
    fn notice_has_its_step_and_process() {
        let mut notify = Message::default();
        notify.text(1, "post-restore");
        notify.number(2, 77);
        let mut response = Message::default();
        response.number(1, NOTIFY.cast_signed());
        response.number(2, 1);
        response.message(5, &notify);
        let response = Response::read(response.as_bytes()).unwrap();
        let notice = response.notice(None).unwrap();
        assert_eq!((&*notice.step, notice.pid), ("post-restore", Some(77)));
    }
}
