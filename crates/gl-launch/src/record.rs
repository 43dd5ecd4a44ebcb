//! The records that cross between runtime and child, and between `start` and the waiting init.
//!
//! One `SOCK_SEQPACKET` message each, always [`SIZE`] bytes: kind, step, position,
//! errno, a number and a short text. Sent and received with `write` and `read` only, so that a
//! seccomp filter which is already in force needs to allow no more than those.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_rootfs::Note;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::process::Pid;

/// Bytes of a record on the wire.
const SIZE: usize = HEADER + Note::CAPACITY;
const HEADER: usize = 20;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Kind {
    /// To the child: id maps and the like are done; `value` is its process id on the host.
    Go = 1,
    /// From the child: the mount tree stands, the root is not changed yet.
    Mounted,
    /// From the child that only enters a user namespace: init has process id `value`.
    Forked,
    /// To the child: go on.
    Continue,
    /// From the child: everything is done but the wait at the gate and the execve.
    Ready,
    /// From the child: the seccomp listener is descriptor `value`.
    Listener,
    /// From the child: the next system call is execve.
    Executing,
    /// From the child: a step failed.
    Failed,
    /// From a guard: the program has ended; `value` is its wait status.
    Ended,
    /// From a guard: nobody is left; the note says what they have used.
    Empty,
}

impl Kind {
    fn from_number(number: u16) -> Option<Self> {
        [
            Self::Go,
            Self::Mounted,
            Self::Forked,
            Self::Continue,
            Self::Ready,
            Self::Listener,
            Self::Executing,
            Self::Failed,
            Self::Ended,
            Self::Empty,
        ]
        .into_iter()
        .find(|kind| *kind as u16 == number)
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// A step's number, for `Failed`.
    pub(crate) step: u16,
    /// Position in a list of the plan, for `Failed`.
    pub(crate) index: u16,
    /// For `Failed`.
    pub(crate) errno: i32,
    pub(crate) value: i64,
    pub(crate) note: Note,
}

impl Record {
    pub(crate) fn new(kind: Kind, value: i64) -> Self {
        Self {
            kind,
            step: 0,
            index: 0,
            errno: 0,
            value,
            note: Note::empty(),
        }
    }

    /// What a step failed with; `EPROTO` if the other end gave no errno of the kernel's (1 to 4095).
    pub(crate) fn failure(&self) -> Errno {
        match self.errno {
            1..=4095 => Errno::from_raw_os_error(self.errno),
            _ => Errno::PROTO,
        }
    }

    fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let note = self.note.as_bytes();
        let fields: [&[u8]; 6] = [
            &(self.kind as u16).to_ne_bytes(),
            &self.step.to_ne_bytes(),
            &self.index.to_ne_bytes(),
            &u16::try_from(note.len()).unwrap_or(0).to_ne_bytes(),
            &self.errno.to_ne_bytes(),
            &self.value.to_ne_bytes(),
        ];
        let all = fields.into_iter().flatten().chain(note);
        for (slot, byte) in bytes.iter_mut().zip(all) {
            *slot = *byte;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (header, text) = bytes.split_at_checked(HEADER)?;
        let short = |at: usize| {
            header
                .get(at..at + 2)?
                .try_into()
                .ok()
                .map(u16::from_ne_bytes)
        };
        let len = usize::from(short(6)?);
        Some(Self {
            kind: Kind::from_number(short(0)?)?,
            step: short(2)?,
            index: short(4)?,
            errno: i32::from_ne_bytes(header.get(8..12)?.try_into().ok()?),
            value: i64::from_ne_bytes(header.get(12..20)?.try_into().ok()?),
            note: Note::new(text.get(..len)?),
        })
    }
}

/// One end of a connection that carries records.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: OwnedFd,
}

impl Channel {
    /// Two connected ends, close-on-exec.
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { fd: a }, Self { fd: b }))
    }

    /// Takes a connected `SOCK_SEQPACKET` socket.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Another descriptor of the same end.
    pub(crate) fn try_clone(&self) -> Result<Self, Errno> {
        Ok(Self {
            fd: rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)?,
        })
    }

    /// Sends one record.
    pub(crate) fn send(&self, record: &Record) -> Result<(), Errno> {
        let bytes = record.to_bytes();
        loop {
            match rustix::io::write(&self.fd, &bytes) {
                Err(Errno::INTR) => {}
                Ok(len) if len == bytes.len() => return Ok(()),
                Ok(_) => return Err(Errno::IO),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Receives one record; `None` once the other end is closed.
    pub(crate) fn receive(&self) -> Result<Option<Record>, Errno> {
        let mut bytes = [0; SIZE];
        loop {
            match rustix::io::read(&self.fd, &mut bytes) {
                Err(Errno::INTR) => {}
                Ok(0) | Err(Errno::CONNRESET) => return Ok(None),
                Ok(_) => return Record::from_bytes(&bytes).map(Some).ok_or(Errno::PROTO),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Lets the kernel say of every record that is sent from now on who sent it.
    pub(crate) fn name_senders(&self) -> Result<(), Errno> {
        rustix::net::sockopt::set_socket_passcred(&self.fd, true)
    }

    /// As [`Channel::receive`], with the process that sent it, as our pid namespace numbers it, where
    /// [that is said](Self::name_senders).
    pub(crate) fn receive_from(&self) -> Result<Option<(Record, Option<Pid>)>, Errno> {
        let mut bytes = [0; SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut whole = [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&self.fd, &mut whole, &mut control, RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                other => break other?.bytes,
            }
        };
        if received == 0 {
            return Ok(None);
        }
        let mut messages = control.drain();
        let sender = messages.find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
            _ => None,
        });
        let record = Record::from_bytes(&bytes).ok_or(Errno::PROTO)?;
        Ok(Some((record, sender)))
    }

    /// Receives a record of exactly this kind; anything else, the end included, is `EPIPE`.
    pub(crate) fn expect(&self, kind: Kind) -> Result<Record, Errno> {
        match self.receive()? {
            Some(record) if record.kind == kind => Ok(record),
            _ => Err(Errno::PIPE),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_arrives_as_it_was_sent() {
        let (a, b) = Channel::pair().unwrap();
        let sent = Record {
            kind: Kind::Failed,
            step: 513,
            index: 7,
            errno: -3,
            value: i64::MIN + 5,
            note: Note::new([b'n'; 400]),
        };
        a.send(&sent).unwrap();
        assert_eq!(b.receive().unwrap(), Some(sent));
    }

    #[test]
    fn closed_end_is_none() {
        let (a, b) = Channel::pair().unwrap();
        drop(a);
        assert_eq!(b.receive().unwrap(), None);
    }

    #[test]
    fn garbage_is_a_protocol_error() {
        let (a, b) = Channel::pair().unwrap();
        rustix::io::write(&a.fd, &[0xff; SIZE]).unwrap();
        assert_eq!(b.receive().unwrap_err(), Errno::PROTO);
        for len in [1, 19, 21] {
            assert_eq!(Record::from_bytes(&vec![0xff; len]), None, "{len}");
        }
    }

    /// The other end may be a program that has taken over the child.
    #[test]
    fn bytes_at_random_are_a_record_or_none() {
        let mut seed = 1_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        };
        let mut taken = 0;
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = (0..SIZE).flat_map(|_| next()).take(SIZE).collect();
            // Kind and length of the note, small as real ones are, half of the time.
            if round % 2 == 0 {
                bytes[0] %= 12;
                bytes[6] %= 210;
                (bytes[1], bytes[7]) = (0, 0);
            }
            let [len, ..] = next();
            let bytes = &bytes[..SIZE.min(usize::from(len) * 2)];
            let Some(record) = Record::from_bytes(bytes) else {
                continue;
            };
            taken += 1;
            let Some(again) = Record::from_bytes(&record.to_bytes()) else {
                panic!("{record:?} is not read again");
            };
            assert_eq!(again, record);
            // Whatever it says, there are words for it.
            let err = crate::Error::from_record(&record, &[], None);
            assert_ne!(err.to_string(), "");
        }
        assert!(taken > 100, "{taken} records in 20,000");
    }
}
