//! Hosts, networks and ports.

use std::fmt;
use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::{Mismatch, Value, text};
use crate::node::{Kind, Node};

/// A network in CIDR notation, all bits behind the prefix zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

impl Net {
    /// The lowest address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits all addresses have in common.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// An address, or a network as `address/prefix`; nothing if a bit behind the prefix is set.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((address, prefix)) = text.split_once('/') else {
            let address: IpAddr = text.parse().ok()?;
            let prefix = bits(address);
            return Some(Self { address, prefix });
        };
        let address: IpAddr = address.parse().ok()?;
        let canonical = prefix == "0" || !prefix.starts_with('0');
        if !canonical || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= bits(address))?;
        let rest = bits(address).saturating_sub(prefix);
        let clean = match address {
            IpAddr::V4(address) => low_bits(u128::from(address.to_bits()), rest),
            IpAddr::V6(address) => low_bits(address.to_bits(), rest),
        } == 0;
        clean.then_some(Self { address, prefix })
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn low_bits(value: u128, count: u8) -> u128 {
    match 1_u128.checked_shl(count.into()) {
        Some(end) => value & end.wrapping_sub(1),
        None => value,
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.address) {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whom a network rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// The host of this name, in small letters.
    Name(String),
    /// Every host whose name ends in `.` and this name: `*.example.org`.
    Below(String),
    /// An address or a network.
    Net(Net),
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if text.contains([':', '/']) || text.parse::<IpAddr>().is_ok() {
            return Net::parse(text).map(Self::Net);
        }
        let below = text.strip_prefix("*.");
        let name = below.unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A last label of digits would make it a mistyped address.
        let last_is_number = name
            .rsplit('.')
            .next()?
            .bytes()
            .all(|byte| byte.is_ascii_digit());
        if name.len() > 253 || last_is_number || !name.split('.').all(label) {
            return None;
        }
        Some(if below.is_some() {
            Self::Below(name)
        } else {
            Self::Name(name)
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Net(net) => write!(f, "{net}"),
        }
    }
}

impl Value for Host {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(
            node,
            "a host name, *.name, an address, or a network such as 10.0.0.0/8 with no bit set behind the prefix",
            Self::parse,
        )
    }

    fn json(&self) -> Json {
        Json::from(self.to_string())
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(\\*\\.)?[0-9A-Za-z_.:/-]{1,253}$"})
    }
}

impl Value for IpAddr {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(node, "an address of IPv4 or IPv6", |text| text.parse().ok())
    }

    fn json(&self) -> Json {
        Json::from(self.to_string())
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9A-Fa-f.:]{2,45}$"})
    }
}

/// A port or a range of ports, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// The lowest port, at least 1.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// One port, or two with `between` between them.
    pub(crate) fn parse(text: &str, between: char) -> Option<Self> {
        let port = |text: &str| {
            let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<u16>().ok()).flatten()
        };
        let (first, last) = match text.split_once(between) {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        (first <= last).then_some(Self { first, last })
    }

    /// As it is written, with `between` between the ends.
    pub(crate) fn written(self, between: char) -> String {
        if self.first == self.last {
            return self.first.to_string();
        }
        format!("{}{between}{}", self.first, self.last)
    }
}

impl Value for Ports {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        match &node.kind {
            Kind::Integer(port) => u16::try_from(*port)
                .ok()
                .filter(|port| *port > 0)
                .map(|port| Self {
                    first: port,
                    last: port,
                }),
            Kind::Text(text) => Self::parse(text, '-'),
            _ => None,
        }
        .ok_or_else(|| Mismatch::new("a port from 1 to 65535, or a range such as \"8000-8100\""))
    }

    fn json(&self) -> Json {
        if self.first == self.last {
            return Json::from(self.first);
        }
        Json::from(self.written('-'))
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": u16::MAX},
            {"type": "string", "pattern": "^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$"},
        ]})
    }
}
