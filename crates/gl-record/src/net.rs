//! Whom a program talks to, from the addresses in its calls.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::memory::Thread;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Peers that are told, at most.
const TOLD: usize = 64;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Net {
    /// Addresses of the machine itself were used.
    pub(crate) loopback: bool,
    /// Others were, or all addresses of the machine were listened at.
    pub(crate) outside: bool,
    /// All of those, as `verb address`.
    pub(crate) peers: BTreeSet<String>,
}

impl Net {
    /// A call has an address.
    pub(crate) fn call(&mut self, thread: Thread, call: &str, (pointer, len): (u64, u64)) {
        let Ok(len) = usize::try_from(len.min(128)) else {
            return;
        };
        if pointer == 0 || len < 4 {
            return;
        }
        if let Some(bytes) = thread.bytes(pointer, len) {
            self.address(call, &bytes);
        }
    }

    /// A message has an address, perhaps: `struct msghdr` begins with it and its length.
    pub(crate) fn message(&mut self, thread: Thread, call: &str, pointer: u64) {
        let Some(name) = thread.number(pointer).filter(|name| *name != 0) else {
            return;
        };
        let len = thread.number(pointer.wrapping_add(8)).unwrap_or(0);
        self.call(thread, call, (name, len & 0xffff_ffff));
    }

    fn address(&mut self, call: &str, bytes: &[u8]) {
        let Some((family, address, port)) = parse(bytes) else {
            return;
        };
        if family == AF_UNIX {
            self.tell(format!("{call} {address}"));
            return;
        }
        let Ok(ip) = address.parse::<IpAddr>() else {
            return;
        };
        let own = match ip {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        // A client's end is bound to any address and no port.
        let anybody = own.is_unspecified() && call == "bind" && port != 0;
        if anybody || !(own.is_loopback() || own.is_unspecified()) {
            self.outside = true;
        } else {
            self.loopback = true;
        }
        self.tell(format!("{call} {}", std::net::SocketAddr::new(ip, port)));
    }

    fn tell(&mut self, peer: String) {
        if self.peers.len() < TOLD {
            self.peers.insert(peer);
        }
    }
}

/// Family, address and port of a socket address.
fn parse(bytes: &[u8]) -> Option<(u16, String, u16)> {
    let two = |at: usize| -> Option<[u8; 2]> { bytes.get(at..at + 2)?.try_into().ok() };
    let family = u16::from_ne_bytes(two(0)?);
    let port = || Some(u16::from_be_bytes(two(2)?));
    match family {
        AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some((family, Ipv4Addr::from(ip).to_string(), port()?))
        }
        AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some((family, Ipv6Addr::from(ip).to_string(), port()?))
        }
        AF_UNIX => {
            let path = bytes.get(2..)?;
            let end = path
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(path.len());
            let path = String::from_utf8_lossy(path.get(..end)?).into_owned();
            Some((family, path, 0)).filter(|(_, path, _)| !path.is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(port: u16, ip: [u8; 4]) -> Vec<u8> {
        let mut bytes = AF_INET.to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend(ip);
        bytes.extend([0; 8]);
        bytes
    }

    #[test]
    fn loopback_is_told_from_others() {
        for (call, port, ip, loopback, outside) in [
            ("connect", 80, [127, 0, 0, 1], true, false),
            ("connect", 80, [10, 0, 0, 1], false, true),
            ("bind", 0, [0, 0, 0, 0], true, false),
            ("bind", 80, [0, 0, 0, 0], false, true),
            ("bind", 80, [127, 0, 0, 1], true, false),
            ("sendto", 53, [8, 8, 8, 8], false, true),
        ] {
            let mut net = Net::default();
            net.address(call, &v4(port, ip));
            assert_eq!(
                (net.loopback, net.outside),
                (loopback, outside),
                "{call} {port} {ip:?}"
            );
            assert_eq!(net.peers.len(), 1);
        }
        let mut v6 = AF_INET6.to_ne_bytes().to_vec();
        v6.extend(80_u16.to_be_bytes());
        v6.extend([0; 4]);
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        let mut net = Net::default();
        net.address("connect", &v6);
        assert_eq!((net.loopback, net.outside), (true, false));
        assert_eq!(
            net.peers.first().map(String::as_str),
            Some("connect [::1]:80")
        );
    }

    #[test]
    fn socket_by_path_is_told_and_is_no_network() {
        let mut bytes = AF_UNIX.to_ne_bytes().to_vec();
        bytes.extend(b"/run/x.sock\0");
        let mut net = Net::default();
        net.address("connect", &bytes);
        assert_eq!((net.loopback, net.outside), (false, false));
        assert_eq!(
            net.peers.first().map(String::as_str),
            Some("connect /run/x.sock")
        );
        net.address("connect", &[1]);
        assert_eq!(net.peers.len(), 1);
    }
}
