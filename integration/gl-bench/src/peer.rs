//! A program under measurement: how it is called, and the worker that calls it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::error::Error;
use crate::protocol::{Answer, Request};
use crate::shape::Shape;
use crate::trace::{Process, Step};

/// Name of this run's folder below the temporary one, and of its group in every cgroup hierarchy.
///
/// `hack/bench` knows it too, and cleans up after a run that was cut short.
pub(crate) fn own_name() -> String {
    format!("gl-bench-{}", std::process::id())
}

/// What a program understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// runc's command line.
    Oci,
    /// bubblewrap's command line: the same mounts, no cgroups, no seccomp.
    Bubblewrap,
    /// The bench's own C program, which makes only the unavoidable calls.
    Floor,
    /// `/bin/true`: what the bench itself costs.
    Nothing,
}

/// Which program, and in which root directory.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Unique name without spaces: a file name and part of container ids.
    pub(crate) key: String,
    /// How it is called.
    pub(crate) kind: Kind,
    /// The root directory its worker runs in.
    pub(crate) root: PathBuf,
    /// Its path in that root directory.
    pub(crate) path: String,
}

/// A running worker and its program.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The program.
    pub(crate) program: Program,
    /// Name and version for the tables.
    pub(crate) label: String,
    worker: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts the worker in a mount namespace of its own and waits until its mounts are made.
    pub(crate) fn start(program: Program, work: &Path) -> Result<Self, Error> {
        let start = |source| Error::Start {
            program: format!("the worker of {}", program.key),
            source,
        };
        let mut worker = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(own_binary()?)
            .args(["worker", &program.key])
            .arg(&program.root)
            .arg(work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let (Some(requests), Some(answers)) = (worker.stdin.take(), worker.stdout.take()) else {
            return Err(start(std::io::ErrorKind::BrokenPipe.into()));
        };
        let mut peer = Self {
            label: program.key.clone(),
            program,
            worker,
            requests,
            answers: BufReader::new(answers),
        };
        peer.answer()?;
        peer.label = peer.version()?;
        Ok(peer)
    }

    /// Name and version, as the program itself says.
    fn version(&mut self) -> Result<String, Error> {
        match self.program.kind {
            Kind::Floor => return Ok("floor".to_owned()),
            Kind::Nothing => return Ok("harness".to_owned()),
            Kind::Oci | Kind::Bubblewrap => {}
        }
        let text = self.output(vec![self.program.path.clone(), "--version".to_owned()])?;
        let line = text.lines().next().unwrap_or_default();
        Ok(line.replacen(" version ", " ", 1))
    }

    /// Runs all commands at once; the nanoseconds until the last one ended.
    pub(crate) fn time(&mut self, commands: Vec<Vec<String>>) -> Result<u64, Error> {
        match self.ask(&Request::Time { commands })? {
            Answer::Nanos(nanos) => Ok(nanos),
            other => Err(self.surprise(&other)),
        }
    }

    /// Runs one command; what it printed.
    pub(crate) fn output(&mut self, command: Vec<String>) -> Result<String, Error> {
        match self.ask(&Request::Output { command })? {
            Answer::Text(text) => Ok(text),
            other => Err(self.surprise(&other)),
        }
    }

    /// Runs commands one after another; the runtime's processes with their peak memory.
    pub(crate) fn trace(&mut self, steps: Vec<Step>) -> Result<Vec<Process>, Error> {
        match self.ask(&Request::Trace { steps })? {
            Answer::Processes(processes) => Ok(processes),
            other => Err(self.surprise(&other)),
        }
    }

    /// Waits for the end of a created container's process.
    pub(crate) fn reap(&mut self, pid_file: String) -> Result<(), Error> {
        self.ask(&Request::Reap { pid_file }).map(drop)
    }

    /// Has this many mounts more than at the start.
    pub(crate) fn mounts(&mut self, count: usize) -> Result<(), Error> {
        self.ask(&Request::Mounts { count }).map(drop)
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, Error> {
        let lost = |reason: String| Error::Worker {
            peer: self.program.key.clone(),
            answer: reason,
        };
        let mut line = serde_json::to_vec(request).map_err(|err| lost(err.to_string()))?;
        line.push(b'\n');
        let sent = self.requests.write_all(&line);
        sent.map_err(|err| lost(err.to_string()))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer, Error> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        let lost = |answer: String| Error::Worker {
            peer: self.program.key.clone(),
            answer,
        };
        read.map_err(|err| lost(err.to_string()))?;
        match serde_json::from_str(&line) {
            Ok(Answer::Failed(reason)) => Err(Error::Measure { reason }),
            Ok(answer) => Ok(answer),
            Err(err) => Err(lost(format!("{line:?} ({err})"))),
        }
    }

    fn surprise(&self, answer: &Answer) -> Error {
        Error::Worker {
            peer: self.program.key.clone(),
            answer: format!("{answer:?}"),
        }
    }

    /// Ends the worker, and with it its mount namespace.
    pub(crate) fn stop(self) -> Result<(), Error> {
        let Self {
            program,
            mut worker,
            requests,
            ..
        } = self;
        drop(requests);
        let status = worker.wait().map_err(|source| Error::Start {
            program: program.key.clone(),
            source,
        })?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Worker {
            peer: program.key,
            answer: status.to_string(),
        })
    }
}

impl Program {
    /// A command of the runtime on container `slot`: `runtime --root DIR verb… id`.
    pub(crate) fn verb(&self, verb: &[&str], slot: Slot, rest: &[&str]) -> Vec<String> {
        let root = format!("/run/{}", self.key);
        let mut command = vec![self.path.clone(), "--root".to_owned(), root];
        command.extend(verb.iter().map(|&word| word.to_owned()));
        command.push(self.id(slot));
        command.extend(rest.iter().map(|&word| word.to_owned()));
        command
    }

    /// The command that runs `true` in a container from start to end.
    pub(crate) fn run(&self, slot: Slot) -> Vec<String> {
        match self.kind {
            Kind::Oci => self.verb(&["run", "--bundle", &self.bundle(slot)], slot, &[]),
            Kind::Nothing => vec![self.path.clone()],
            Kind::Floor => vec![
                self.path.clone(),
                "/tmp/rootfs".to_owned(),
                "/tmp/files".to_owned(),
                self.cgroup(slot),
            ],
            Kind::Bubblewrap => self.bubblewrap(),
        }
    }

    fn bubblewrap(&self) -> Vec<String> {
        let options = "--unshare-pid --unshare-net --unshare-uts --unshare-ipc --hostname bench \
            --bind /tmp/rootfs / --proc /proc --dev /dev --ro-bind /sys /sys \
            --bind /tmp/files/resolv.conf /etc/resolv.conf --bind /tmp/files/hosts /etc/hosts \
            --bind /tmp/files/hostname /etc/hostname /bin/true";
        let words = options.split_whitespace().map(str::to_owned);
        [self.path.clone()].into_iter().chain(words).collect()
    }

    /// Id of the container in `slot`.
    pub(crate) fn id(&self, slot: Slot) -> String {
        format!("{}-{}", self.key, slot.name())
    }

    /// The bundle of `slot`, as the worker sees it.
    pub(crate) fn bundle(&self, slot: Slot) -> String {
        format!("/tmp/bundles/{}", self.id(slot))
    }

    /// The file that `create` writes the pid of the container in `slot` to.
    pub(crate) fn pid_file(&self, slot: Slot) -> String {
        format!("/run/{}.pid", self.id(slot))
    }

    /// The cgroup of `slot`, below every hierarchy.
    pub(crate) fn cgroup(&self, slot: Slot) -> String {
        format!("/{}/{}", own_name(), self.id(slot))
    }
}

/// A place for a container: each has its own bundle, id and cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Runs `true`; several at once have different numbers.
    Short(usize),
    /// Sleeps until it is killed.
    Long,
    /// Runs `true` in a bundle of another shape.
    Shaped(Shape),
}

impl Slot {
    fn name(self) -> String {
        match self {
            Self::Short(number) => number.to_string(),
            Self::Long => "long".to_owned(),
            Self::Shaped(shape) => shape.name(),
        }
    }
}

/// Path of this program: the worker is another instance of it.
fn own_binary() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|source| Error::File {
        action: "find",
        path: "/proc/self/exe".into(),
        source,
    })
}
