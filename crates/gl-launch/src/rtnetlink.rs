//! As much of `rtnetlink(7)` as moving a network interface takes: requests to the kernel, one at a time,
//! over a socket that stays in the network namespace in which it was made.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const EXCL: u16 = 0x200;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// `NLA_TYPE_MASK`.
const TYPE: u16 = 0x3fff;

const IFF_UP: u32 = 1;
const PERMANENT: u32 = 0x80;
/// `IFA_F_NODAD`, `IFA_F_HOMEADDRESS`, `IFA_F_NOPREFIXROUTE`: what the administrator has chosen.
const CHOSEN: u32 = 0x02 | 0x10 | 0x200;
/// `RT_SCOPE_UNIVERSE`.
const UNIVERSE: u8 = 0;

/// Bytes of `struct nlmsghdr`, `struct ifinfomsg` and `struct ifaddrmsg`.
const HEADER: usize = 16;
const LINK: usize = 16;
const ADDRESS: usize = 8;
/// More than the kernel puts into one datagram.
const BUFFER: usize = 64 << 10;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) is_up: bool,
    pub(crate) name: Vec<u8>,
}

/// An address of an interface, as it can be given to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A connection to the kernel about one network namespace.
#[derive(Debug)]
pub(crate) struct Routes {
    socket: OwnedFd,
}

impl Routes {
    /// About the one that this process is in.
    pub(crate) fn here() -> Result<Self, Errno> {
        // NETLINK_ROUTE is protocol 0.
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self { socket })
    }

    /// The interface of this name.
    pub(crate) fn link(&self, name: &str) -> Result<Option<Link>, Errno> {
        let mut request = Message::new(GETLINK, REQUEST);
        request.bytes(&[0; LINK]);
        request.attribute(IFLA_IFNAME, &terminated(name));
        match self.ask(&request) {
            Ok(answers) => Ok(answers.iter().find_map(|one| link(one))),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// All interfaces.
    pub(crate) fn links(&self) -> Result<Vec<Link>, Errno> {
        let mut request = Message::new(GETLINK, REQUEST | DUMP);
        request.bytes(&[0; LINK]);
        Ok(self
            .ask(&request)?
            .iter()
            .filter_map(|one| link(one))
            .collect())
    }

    /// The addresses of an interface that outlive a move: permanent ones of global scope.
    pub(crate) fn addresses(&self, index: u32) -> Result<Vec<Address>, Errno> {
        let mut request = Message::new(GETADDR, REQUEST | DUMP);
        request.bytes(&[0; ADDRESS]);
        let answers = self.ask(&request)?;
        Ok(answers
            .iter()
            .filter_map(|one| address(one, index))
            .collect())
    }

    /// Moves an interface to another network namespace, under another name if there is one.
    pub(crate) fn hand_over(
        &self,
        index: u32,
        to: BorrowedFd<'_>,
        name: Option<&str>,
    ) -> Result<(), Errno> {
        let mut request = Message::new(NEWLINK, REQUEST | ACK);
        request.link(index, 0);
        let fd = u32::try_from(to.as_raw_fd()).map_err(|_negative| Errno::BADF)?;
        request.attribute(IFLA_NET_NS_FD, &fd.to_ne_bytes());
        if let Some(name) = name {
            request.attribute(IFLA_IFNAME, &terminated(name));
        }
        self.ask(&request).map(drop)
    }

    /// Gives an interface an address.
    pub(crate) fn add(&self, index: u32, address: &Address) -> Result<(), Errno> {
        let mut request = Message::new(NEWADDR, REQUEST | ACK | CREATE | EXCL);
        // The flags of the header hold eight bits only.
        request.bytes(&[address.family, address.prefix, 0, UNIVERSE]);
        request.bytes(&index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            request.attribute(*kind, value);
        }
        request.attribute(IFA_FLAGS, &address.flags.to_ne_bytes());
        match self.ask(&request) {
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Brings an interface up.
    pub(crate) fn raise(&self, index: u32) -> Result<(), Errno> {
        let mut request = Message::new(NEWLINK, REQUEST | ACK);
        request.link(index, IFF_UP);
        self.ask(&request).map(drop)
    }

    /// Sends a request and returns the bodies of what answers it.
    fn ask(&self, request: &Message) -> Result<Vec<Vec<u8>>, Errno> {
        let bytes = request.finish();
        rustix::net::send(&self.socket, &bytes, SendFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let received = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty());
            let (_, len) = match received {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let datagram = buffer.get(..len).ok_or(Errno::MSGSIZE)?;
            if let Done::Yes = read(datagram, request, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

enum Done {
    Yes,
    No,
}

/// Reads one datagram of answers.
fn read(datagram: &[u8], request: &Message, answers: &mut Vec<Vec<u8>>) -> Result<Done, Errno> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let len = usize::try_from(number(rest, 0)?).map_err(|_large| Errno::PROTO)?;
        let kind = short(rest, 4)?;
        let body = rest.get(HEADER..len).ok_or(Errno::PROTO)?;
        match kind {
            ERROR => {
                let errno = number(body, 0)?.cast_signed();
                return match errno {
                    0 => Ok(Done::Yes),
                    errno => Err(Errno::from_raw_os_error(errno.saturating_neg())),
                };
            }
            DONE => return Ok(Done::Yes),
            _ => answers.push(body.to_vec()),
        }
        rest = rest.get(aligned(len)..).unwrap_or_default();
    }
    // A question for one thing has one answer, and nothing after it.
    match request.flags & (ACK | DUMP) {
        0 => Ok(Done::Yes),
        _ => Ok(Done::No),
    }
}

/// A request under construction.
struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let body = Vec::with_capacity(128);
        Self { kind, flags, body }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
    }

    /// `struct ifinfomsg`: flags to set.
    fn link(&mut self, index: u32, set: u32) {
        self.bytes(&[0; 4]);
        for number in [index, set, set] {
            self.bytes(&number.to_ne_bytes());
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        // Names and addresses: far below what the field holds.
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes(&len.to_ne_bytes());
        self.bytes(&kind.to_ne_bytes());
        self.bytes(value);
        self.body.resize(aligned(self.body.len()), 0);
    }

    fn finish(&self) -> Vec<u8> {
        let len = HEADER + self.body.len();
        let mut bytes = Vec::with_capacity(len);
        bytes.extend(u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(&self.body);
        bytes
    }
}

fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn short(bytes: &[u8], at: usize) -> Result<u16, Errno> {
    let field = bytes
        .get(at..at + 2)
        .and_then(|field| field.try_into().ok());
    field.map(u16::from_ne_bytes).ok_or(Errno::PROTO)
}

fn number(bytes: &[u8], at: usize) -> Result<u32, Errno> {
    let field = bytes
        .get(at..at + 4)
        .and_then(|field| field.try_into().ok());
    field.map(u32::from_ne_bytes).ok_or(Errno::PROTO)
}

/// The attributes of a message after its fixed part.
fn attributes(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while let (Ok(len), Ok(kind)) = (short(rest, 0), short(rest, 2)) {
        let len = usize::from(len);
        let Some(value) = rest.get(4..len) else {
            break;
        };
        all.push((kind & TYPE, value));
        rest = rest.get(aligned(len)..).unwrap_or_default();
    }
    all
}

fn link(body: &[u8]) -> Option<Link> {
    let all = attributes(body.get(LINK..)?);
    let name = all.iter().find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
    Some(Link {
        index: number(body, 4).ok()?,
        is_up: number(body, 8).ok()? & IFF_UP != 0,
        name: name.strip_suffix(b"\0").unwrap_or(name).to_vec(),
    })
}

fn address(body: &[u8], index: u32) -> Option<Address> {
    let [family, prefix, flags, scope] = *body.first_chunk()?;
    let all = attributes(body.get(ADDRESS..)?);
    let more = all.iter().find(|(kind, _)| *kind == IFA_FLAGS);
    let flags = more.map_or(Ok(u32::from(flags)), |(_, value)| number(value, 0));
    let flags = flags.ok()?;
    let outlives = scope == UNIVERSE && flags & PERMANENT != 0;
    if number(body, 4).ok()? != index || !outlives {
        return None;
    }
    let kept = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST];
    let all = all.into_iter().filter(|(kind, _)| kept.contains(kind));
    Some(Address {
        family,
        prefix,
        flags: flags & CHOSEN,
        attributes: all.map(|(kind, value)| (kind, value.to_vec())).collect(),
    })
}
