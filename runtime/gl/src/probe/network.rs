//! The network, and sockets that have nothing to do with it.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, SocketAddrUnix, SocketFlags, SocketType, connect, ipproto,
    socket_with, sockopt,
};

use super::{Bait, Seen};

fn socket(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> Result<OwnedFd, Errno> {
    socket_with(
        family,
        kind,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        protocol,
    )
}

pub(super) fn packets(_: &Bait) -> Seen {
    Seen::of(socket(AddressFamily::PACKET, SocketType::RAW, None))
}

pub(super) fn raw_icmp(_: &Bait) -> Seen {
    Seen::of(socket(
        AddressFamily::INET,
        SocketType::RAW,
        Some(ipproto::ICMP),
    ))
}

pub(super) fn netlink(_: &Bait) -> Seen {
    Seen::of(socket(AddressFamily::NETLINK, SocketType::RAW, None))
}

pub(super) fn crypto(_: &Bait) -> Seen {
    Seen::of(socket(
        AddressFamily::from_raw(38),
        SocketType::SEQPACKET,
        None,
    ))
}

pub(super) fn virtual_machine(_: &Bait) -> Seen {
    Seen::of(socket(AddressFamily::VSOCK, SocketType::STREAM, None))
}

pub(super) fn bluetooth(_: &Bait) -> Seen {
    Seen::of(socket(AddressFamily::BLUETOOTH, SocketType::RAW, None))
}

/// Connects within half a second.
fn reach(address: SocketAddrV4) -> Seen {
    let fd = match socket(AddressFamily::INET, SocketType::STREAM, None) {
        Ok(fd) => fd,
        Err(errno) => return Seen::of(Err::<(), _>(errno)),
    };
    match connect(&fd, &address) {
        Err(Errno::INPROGRESS) => {}
        other => return answered(other),
    }
    let half = Timespec {
        tv_sec: 0,
        tv_nsec: 500_000_000,
    };
    let mut polled = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::OUT)];
    match poll(&mut polled, Some(&half)) {
        Ok(0) => Seen::Unable("nobody answered: dropped, or nobody there".to_owned()),
        Ok(_) => answered(sockopt::socket_error(&fd).and_then(|result| result)),
        Err(errno) => Seen::Unable(format!("wait for an answer: {errno}")),
    }
}

/// Whoever refuses a connection was reached.
fn answered(result: Result<(), Errno>) -> Seen {
    match result {
        Ok(()) => Seen::worked(),
        Err(errno) => Seen::of(Err::<(), _>(errno)),
    }
}

pub(super) fn host_loopback(bait: &Bait) -> Seen {
    reach(SocketAddrV4::new(Ipv4Addr::LOCALHOST, bait.tcp))
}

pub(super) fn metadata(_: &Bait) -> Seen {
    let seen = reach(SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80));
    match seen {
        Seen::Denied(how) if how == "ECONNREFUSED" => Seen::Worked(format!("{how}: it is reached")),
        seen => seen,
    }
}

/// Asks for a route to an address that nobody has, and sends nothing.
pub(super) fn route(_: &Bait) -> Seen {
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)));
    Seen::io(asked)
}

/// Network devices but the loopback.
pub(super) fn devices(_: &Bait) -> Seen {
    let text = match std::fs::read_to_string("/proc/self/net/dev") {
        Ok(text) => text,
        Err(err) => return Seen::io(Err::<(), _>(err)),
    };
    let names = text.lines().filter_map(|line| line.split_once(':'));
    let names: Vec<&str> = names.map(|(name, _)| name.trim()).collect();
    let others = names.iter().any(|name| *name != "lo");
    Seen::when(others, names.join(" "))
}

fn unix(address: Result<SocketAddrUnix, Errno>) -> Seen {
    let fd = match socket(AddressFamily::UNIX, SocketType::STREAM, None) {
        Ok(fd) => fd,
        Err(errno) => return Seen::of(Err::<(), _>(errno)),
    };
    let connected = address.and_then(|address| connect(&fd, &address));
    // Its queue is full: it is there.
    Seen::past(connected, &[Errno::AGAIN])
}

pub(super) fn abstract_socket(bait: &Bait) -> Seen {
    unix(SocketAddrUnix::new_abstract_name(
        bait.abstract_socket.as_bytes(),
    ))
}

pub(super) fn socket_by_path(bait: &Bait) -> Seen {
    unix(SocketAddrUnix::new(format!("{}/socket", bait.dir)))
}

/// Sockets that are as good as root on the host.
const ENGINES: [&str; 4] = [
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
];

pub(super) fn engine(_: &Bait) -> Seen {
    let mut last = Seen::Absent("none of them".to_owned());
    for path in ENGINES {
        last = unix(SocketAddrUnix::new(path));
        if matches!(last, Seen::Worked(_)) {
            return last;
        }
    }
    last
}

/// Listens at loopback, and connects to that.
pub(super) fn own_loopback(_: &Bait) -> Seen {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
        Ok(listener) => listener,
        Err(err) => return Seen::io(Err::<(), _>(err)),
    };
    match listener.local_addr() {
        Ok(address) => reach(SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port())),
        Err(err) => Seen::io(Err::<(), _>(err)),
    }
}

pub(super) fn pair(_: &Bait) -> Seen {
    let pair = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    Seen::of(pair.and_then(|(one, other)| {
        rustix::io::write(&one, b"x")?;
        rustix::io::read(&other, &mut [0])
    }))
}
