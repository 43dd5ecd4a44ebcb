//! Rules of the packet filter as iptables writes them, the part of the language that has one meaning
//! in the sandbox's own network namespace.

use std::fmt;
use std::str::SplitAsciiWhitespace;

use serde_json::{Value as Json, json};

use super::{Mismatch, Net, Ports, Value};
use crate::node::{Kind, Node};
use crate::word::nearest;

macro_rules! spelled {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// The word of iptables.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            fn parse(option: &str, word: &str) -> Result<Self, String> {
                const WORDS: &[&str] = &[$($word,)+];
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("{option} with {}", WORDS.join(", "))),
                }
            }
        }
    };
}

spelled! {
    /// Which packets a rule sees.
    Chain {
        /// Those that come from outside.
        Input = "INPUT",
        /// Those that go out.
        Output = "OUTPUT",
    }
}

spelled! {
    /// The protocol of a packet.
    Protocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// ICMP.
        Icmp = "icmp",
        /// ICMP of IPv6.
        Icmpv6 = "icmpv6",
    }
}

spelled! {
    /// What happens to a packet.
    Verdict {
        /// It passes.
        Accept = "ACCEPT",
        /// It is lost.
        Drop = "DROP",
        /// It is refused, and the sender told.
        Reject = "REJECT",
    }
}

/// One rule: every condition that is there must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IptablesRule {
    /// `-A`: the chain that it is appended to.
    pub chain: Chain,
    /// `-s`: where the packet comes from.
    pub source: Option<Net>,
    /// `-d`: where it goes.
    pub destination: Option<Net>,
    /// `-p`: its protocol.
    pub protocol: Option<Protocol>,
    /// `--sport`: the port that it comes from.
    pub source_ports: Option<Ports>,
    /// `--dport`: the port that it goes to.
    pub destination_ports: Option<Ports>,
    /// `-j`: what happens to it.
    pub verdict: Verdict,
}

const OPTIONS: &[&str] = &[
    "-A",
    "--append",
    "-s",
    "--source",
    "-d",
    "--destination",
    "-p",
    "--protocol",
    "-m",
    "--match",
    "--sport",
    "--source-port",
    "--dport",
    "--destination-port",
    "-j",
    "--jump",
];

#[derive(Default)]
struct Parts<'a> {
    chain: Option<Chain>,
    source: Option<Net>,
    destination: Option<Net>,
    protocol: Option<Protocol>,
    module: Option<&'a str>,
    source_ports: Option<Ports>,
    destination_ports: Option<Ports>,
    verdict: Option<Verdict>,
}

/// Puts a value where none is yet.
fn once<T>(place: &mut Option<T>, option: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{option} once")),
    }
}

impl<'a> Parts<'a> {
    fn read(words: &mut SplitAsciiWhitespace<'a>) -> Result<Self, String> {
        let mut parts = Self::default();
        while let Some(option) = words.next() {
            if !OPTIONS.contains(&option) {
                let near = nearest(option, OPTIONS.iter().copied())
                    .map_or_else(String::new, |word| format!("; did you mean {word:?}?"));
                return Err(format!(
                    "one of -A, -s, -d, -p, -m, --sport, --dport, -j where {option:?} is{near}"
                ));
            }
            let value = words
                .next()
                .ok_or_else(|| format!("a value after {option}"))?;
            parts.take(option, value)?;
        }
        Ok(parts)
    }

    fn take(&mut self, option: &str, value: &'a str) -> Result<(), String> {
        let net = || {
            Net::parse(value).ok_or_else(|| {
                format!("{option} with an address or a network with no bit set behind the prefix")
            })
        };
        let ports = || {
            Ports::parse(value, ':')
                .ok_or_else(|| format!("{option} with a port or a range such as 8000:8100"))
        };
        match option {
            "-A" | "--append" => once(&mut self.chain, option, Chain::parse(option, value)?),
            "-s" | "--source" => once(&mut self.source, option, net()?),
            "-d" | "--destination" => once(&mut self.destination, option, net()?),
            "-p" | "--protocol" => {
                once(&mut self.protocol, option, Protocol::parse(option, value)?)
            }
            "-m" | "--match" => once(&mut self.module, option, value),
            "--sport" | "--source-port" => once(&mut self.source_ports, option, ports()?),
            "--dport" | "--destination-port" => once(&mut self.destination_ports, option, ports()?),
            _ => once(&mut self.verdict, option, Verdict::parse(option, value)?),
        }
    }

    fn rule(self) -> Result<IptablesRule, String> {
        let ported = matches!(self.protocol, Some(Protocol::Tcp | Protocol::Udp));
        if !ported && (self.source_ports.is_some() || self.destination_ports.is_some()) {
            return Err("-p tcp or -p udp with a port".to_owned());
        }
        if let Some(module) = self.module {
            let fits = ported && self.protocol.map(Protocol::as_str) == Some(module);
            if !fits {
                return Err("-m with the same tcp or udp as -p".to_owned());
            }
        }
        let families =
            [self.source, self.destination].map(|net| net.map(|net| net.address().is_ipv4()));
        if let [Some(source), Some(destination)] = families
            && source != destination
        {
            return Err("-s and -d both of IPv4 or both of IPv6".to_owned());
        }
        for ipv4 in families.into_iter().flatten() {
            let other = if ipv4 {
                Protocol::Icmpv6
            } else {
                Protocol::Icmp
            };
            if self.protocol == Some(other) {
                return Err(format!("addresses of the family of -p {}", other.as_str()));
            }
        }
        Ok(IptablesRule {
            chain: self.chain.ok_or("-A INPUT or -A OUTPUT")?,
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            source_ports: self.source_ports,
            destination_ports: self.destination_ports,
            verdict: self.verdict.ok_or("-j ACCEPT, -j DROP or -j REJECT")?,
        })
    }
}

impl fmt::Display for IptablesRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-A {}", self.chain.as_str())?;
        if let Some(net) = self.source {
            write!(f, " -s {net}")?;
        }
        if let Some(net) = self.destination {
            write!(f, " -d {net}")?;
        }
        if let Some(protocol) = self.protocol {
            write!(f, " -p {}", protocol.as_str())?;
        }
        if let Some(ports) = self.source_ports {
            write!(f, " --sport {}", ports.written(':'))?;
        }
        if let Some(ports) = self.destination_ports {
            write!(f, " --dport {}", ports.written(':'))?;
        }
        write!(f, " -j {}", self.verdict.as_str())
    }
}

impl Value for IptablesRule {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        let Kind::Text(text) = &node.kind else {
            return Err(Mismatch::new("an iptables rule"));
        };
        if text.chars().any(char::is_control) {
            return Err(Mismatch::new("an iptables rule of one line"));
        }
        Parts::read(&mut text.split_ascii_whitespace())
            .and_then(Parts::rule)
            .map_err(|wanted| Mismatch::new(format!("an iptables rule: {wanted}")))
    }

    fn json(&self) -> Json {
        Json::from(self.to_string())
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^ *-[^\\u0000-\\u001f]*$"})
    }
}
