//! A connection to the service manager: synchronous, one thread, with a time limit on everything.
//!
//! Over the bus, or over the manager's own socket where there is no bus. Whom we are is what the
//! kernel tells the other side about the socket (`EXTERNAL` without a name), which is right in a user
//! namespace too. D-Bus Specification, "Authentication Protocol"; org.freedesktop.systemd1(5).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::wire::{Call, FIXED, Kind, Message, Writer};

/// How long an answer may take, as everywhere on D-Bus.
const ANSWER_LIMIT: Duration = Duration::from_secs(25);

/// How long a job may take: stopping a unit waits for its processes, 90 s by default.
pub(crate) const JOB_LIMIT: Duration = Duration::from_secs(120);

pub(crate) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(crate) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(crate) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// Whose service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Process 1.
    System,
    /// The one of the user that we are.
    User,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "systemd",
            Self::User => "the systemd of this user",
        })
    }
}

/// What an error message of the other side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A socket, and whether a bus is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    name: String,
    has_bus: bool,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Bus {
    stream: UnixStream,
    address: Address,
    serial: u32,
    /// Jobs that have ended: path and result.
    ended: VecDeque<(String, String)>,
    watches: bool,
}

impl Bus {
    /// Connects and says hello.
    pub(crate) fn connect(manager: Manager) -> Result<Self, Error> {
        let addresses = addresses(manager, |name| std::env::var(name).ok());
        if addresses.is_empty() {
            return Err(Error::NoAddress);
        }
        let mut first = None;
        for address in &addresses {
            match open(&address.name) {
                Ok(stream) => return Self::greet(stream, address.clone()),
                Err(err) => first.get_or_insert(errno(&err)),
            };
        }
        let names: Vec<_> = addresses.into_iter().map(|one| one.name).collect();
        Err(Error::Unreachable {
            manager,
            address: names.join(" or "),
            source: first.unwrap_or(Errno::NOENT),
        })
    }

    fn greet(stream: UnixStream, address: Address) -> Result<Self, Error> {
        let mut bus = Self {
            stream,
            address,
            serial: 0,
            ended: VecDeque::new(),
            watches: false,
        };
        let deadline = Instant::now() + ANSWER_LIMIT;
        // In one piece: systemd's own socket takes what it reads together with `BEGIN` for done, and
        // a call that came with it would have to wait for the next one.
        bus.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", deadline)?;
        bus.expect_welcome(deadline)?;
        if bus.address.has_bus {
            bus.call_bus("Hello", "", &Writer::default())?;
        }
        Ok(bus)
    }

    /// Makes sure that a process id means the same to the other side as to us: in another pid namespace
    /// it would name somebody else's process.
    pub(crate) fn require_same_pids(&self) -> Result<(), Error> {
        match gl_sys::peer_pid(self.stream.as_fd()) {
            Ok(0) => Err(Error::OtherPids {
                address: self.address.name.clone(),
            }),
            Ok(_) => Ok(()),
            Err(source) => Err(self.talk(source)),
        }
    }

    /// Has the ends of jobs told to us from here on.
    pub(crate) fn watch_jobs(&mut self) -> Result<(), Error> {
        if self.watches {
            return Ok(());
        }
        if self.address.has_bus {
            let mut rule = Writer::default();
            rule.string(
                "type='signal',sender='org.freedesktop.systemd1',\
                 path='/org/freedesktop/systemd1',\
                 interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
            );
            self.call_bus("AddMatch", "s", &rule)?;
        }
        let none = Writer::default();
        self.ask("Subscribe", "", &none)?
            .map_err(|said| refused("watch the jobs of", SYSTEMD, said))?;
        self.watches = true;
        Ok(())
    }

    /// Calls a method of the bus itself.
    fn call_bus(&mut self, member: &str, signature: &str, body: &Writer) -> Result<(), Error> {
        let answer = self.call(&Call {
            destination: Some("org.freedesktop.DBus"),
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
            signature,
            body,
        })?;
        answer
            .map(drop)
            .map_err(|said| refused("reach the bus for", SYSTEMD, said))
    }

    /// Calls a method of the manager.
    pub(crate) fn ask(
        &mut self,
        member: &str,
        signature: &str,
        body: &Writer,
    ) -> Result<Result<Message, Said>, Error> {
        self.call(&Call {
            destination: Some(SYSTEMD),
            path: MANAGER_PATH,
            interface: MANAGER,
            member,
            signature,
            body,
        })
    }

    /// Reads a property that is a string.
    pub(crate) fn property(
        &mut self,
        path: &str,
        interface: &str,
        name: &str,
    ) -> Result<Result<String, Said>, Error> {
        let mut body = Writer::default();
        body.string(interface);
        body.string(name);
        let answer = self.call(&Call {
            destination: Some(SYSTEMD),
            path,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            signature: "ss",
            body: &body,
        })?;
        match answer {
            Ok(message) => Ok(Ok(self.read(message.body().variant_string())?)),
            Err(said) => Ok(Err(said)),
        }
    }

    /// Returns once the manager has done what the calls before have left for later: it does so before
    /// it takes the next message.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let answer = self.call(&Call {
            destination: Some(SYSTEMD),
            path: MANAGER_PATH,
            interface: "org.freedesktop.DBus.Peer",
            member: "Ping",
            signature: "",
            body: &Writer::default(),
        })?;
        answer
            .map(drop)
            .map_err(|said| refused("wait for", SYSTEMD, said))
    }

    fn call(&mut self, call: &Call<'_>) -> Result<Result<Message, Said>, Error> {
        self.serial += 1;
        let serial = self.serial;
        let deadline = Instant::now() + ANSWER_LIMIT;
        // There is nobody to address where there is no bus.
        let destination = call.destination.filter(|_| self.address.has_bus);
        let call = Call {
            destination,
            ..*call
        };
        self.send(&call.encode(serial), deadline)?;
        loop {
            let message = self.receive(deadline)?;
            match message.kind {
                Kind::Reply if message.reply_to == serial => return Ok(Ok(message)),
                Kind::Error if message.reply_to == serial => {
                    let text = message.body().string().unwrap_or_default();
                    let name = message.error;
                    return Ok(Err(Said { name, text }));
                }
                _ => self.note(&message),
            }
        }
    }

    /// Waits until the job has ended, and says how.
    pub(crate) fn wait_job(&mut self, job: &str, limit: Duration) -> Result<String, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.ended.iter().position(|(path, _)| path == job) {
                return Ok(self.ended.remove(at).unwrap_or_default().1);
            }
            let message = self.receive(deadline)?;
            self.note(&message);
        }
    }

    /// Keeps what a signal says of a job. Only the manager may send to us what begins so: the rule
    /// names it, and on its own socket there is nobody else.
    fn note(&mut self, message: &Message) {
        if message.kind == Kind::Signal
            && message.interface == MANAGER
            && message.member == "JobRemoved"
            && message.signature == "uoss"
        {
            let read = || {
                let mut body = message.body();
                body.u32()?;
                let job = body.string()?;
                body.string()?;
                Ok::<_, &str>((job, body.string()?))
            };
            self.ended.extend(read().ok());
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message, Error> {
        let mut bytes = vec![0; FIXED];
        self.fill(&mut bytes, deadline)?;
        let len = self.read(Message::length(&bytes))?;
        bytes.resize(len, 0);
        self.fill(&mut bytes[FIXED..], deadline)?;
        self.read(Message::decode(&bytes))
    }

    /// Makes what the reader of a message found wrong an error.
    pub(crate) fn read<T>(&self, read: Result<T, &'static str>) -> Result<T, Error> {
        read.map_err(|what| Error::Protocol {
            address: self.address.name.clone(),
            what,
        })
    }

    /// Reads the two lines that let us in. Nothing more comes before our first call.
    fn expect_welcome(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut text = [0; 512];
        let mut len = 0;
        while len < text.len() && text[..len].windows(2).filter(|end| end == b"\r\n").count() < 2 {
            len += self.read_some(&mut text[len..], deadline)?;
        }
        match text[..len].starts_with(b"DATA\r\nOK ") {
            true => Ok(()),
            false => self.read(Err("it does not let us in")),
        }
    }

    fn fill(&mut self, bytes: &mut [u8], deadline: Instant) -> Result<(), Error> {
        let mut done = 0;
        while done < bytes.len() {
            done += self.read_some(&mut bytes[done..], deadline)?;
        }
        Ok(())
    }

    fn read_some(&mut self, bytes: &mut [u8], deadline: Instant) -> Result<usize, Error> {
        loop {
            let read = left(deadline).and_then(|left| {
                self.stream.set_read_timeout(Some(left))?;
                self.stream.read(bytes)
            });
            match read {
                Ok(0) => return Err(self.talk(Errno::CONNRESET)),
                Ok(len) => return Ok(len),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.talk(errno(&err))),
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        while !bytes.is_empty() {
            let written = left(deadline).and_then(|left| {
                self.stream.set_write_timeout(Some(left))?;
                self.stream.write(bytes)
            });
            match written {
                Ok(len) => bytes = &bytes[len..],
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.talk(errno(&err))),
            }
        }
        Ok(())
    }

    fn talk(&self, source: Errno) -> Error {
        Error::Talk {
            address: self.address.name.clone(),
            source,
        }
    }
}

pub(crate) fn refused(action: &'static str, unit: &str, said: Said) -> Error {
    Error::Refused {
        action,
        unit: unit.to_owned(),
        name: said.name,
        said: said.text,
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

fn errno(err: &io::Error) -> Errno {
    match (Errno::from_io_error(err), err.kind()) {
        // What a time limit on a socket gives.
        (Some(Errno::AGAIN), _) | (None, io::ErrorKind::TimedOut) => Errno::TIMEDOUT,
        (Some(errno), _) => errno,
        (None, _) => Errno::IO,
    }
}

/// Connects to a path, or to an abstract name behind `@`.
fn open(name: &str) -> io::Result<UnixStream> {
    match name.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(name),
    }
}

/// The sockets of a manager, the one to try first in front.
fn addresses(manager: Manager, variable: impl Fn(&str) -> Option<String>) -> Vec<Address> {
    let bus = |name: String| Address {
        name,
        has_bus: true,
    };
    let private = |name: String| Address {
        name,
        has_bus: false,
    };
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    match manager {
        Manager::System => vec![
            bus("/run/dbus/system_bus_socket".to_owned()),
            private("/run/systemd/private".to_owned()),
        ],
        Manager::User => {
            let session = variable("DBUS_SESSION_BUS_ADDRESS");
            let mut all: Vec<_> = session.iter().flat_map(|one| sockets(one)).collect();
            if let Some(dir) = variable("XDG_RUNTIME_DIR") {
                all.push(format!("{dir}/bus"));
                all.dedup();
                let own = private(format!("{dir}/systemd/private"));
                return all.into_iter().map(bus).chain([own]).collect();
            }
            all.into_iter().map(bus).collect()
        }
    }
}

/// The unix sockets of a D-Bus address, `unix:path=…` and `unix:abstract=…`; others are left out.
fn sockets(address: &str) -> impl Iterator<Item = String> {
    address.split(';').filter_map(|one| {
        let keys = one.strip_prefix("unix:")?;
        keys.split(',')
            .find_map(|pair| match pair.split_once('=')? {
                ("path", value) => unescape(value),
                ("abstract", value) => unescape(value).map(|name| format!("@{name}")),
                _ => None,
            })
    })
}

/// Undoes `%xx` of a D-Bus address.
fn unescape(value: &str) -> Option<String> {
    let mut parts = value.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        out.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests;
