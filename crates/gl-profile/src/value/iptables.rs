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

spelled! {
    /// How a packet stands to a connection.
    ConnectionState {
        /// It begins one.
        New = "NEW",
        /// It belongs to one.
        Established = "ESTABLISHED",
        /// It begins one that another one announced.
        Related = "RELATED",
        /// It belongs to none.
        Invalid = "INVALID",
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
    /// `-i`: the interface that it comes in by.
    pub input: Option<String>,
    /// `-o`: the interface that it goes out by.
    pub output: Option<String>,
    /// `-p`: its protocol.
    pub protocol: Option<Protocol>,
    /// `--sport`: the port that it comes from.
    pub source_ports: Option<Ports>,
    /// `--dport`: the port that it goes to.
    pub destination_ports: Option<Ports>,
    /// `--ctstate`: the states that it may have; none for any.
    pub states: Vec<ConnectionState>,
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
    "-i",
    "--in-interface",
    "-o",
    "--out-interface",
    "-p",
    "--protocol",
    "-m",
    "--match",
    "--sport",
    "--source-port",
    "--dport",
    "--destination-port",
    "--ctstate",
    "-j",
    "--jump",
];

#[derive(Default)]
struct Parts<'a> {
    chain: Option<Chain>,
    source: Option<Net>,
    destination: Option<Net>,
    input: Option<&'a str>,
    output: Option<&'a str>,
    protocol: Option<Protocol>,
    modules: Vec<&'a str>,
    source_ports: Option<Ports>,
    destination_ports: Option<Ports>,
    states: Option<Vec<ConnectionState>>,
    verdict: Option<Verdict>,
}

/// Puts a value where none is yet.
fn once<T>(place: &mut Option<T>, option: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{option} once")),
    }
}

/// The name of an interface: what the kernel takes, and no pattern.
fn interface<'a>(option: &str, name: &'a str) -> Result<&'a str, String> {
    let fits = name.len() <= 15
        && ![".", ".."].contains(&name)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte));
    match fits {
        true => Ok(name),
        false => Err(format!(
            "{option} with the name of an interface, such as lo"
        )),
    }
}

impl<'a> Parts<'a> {
    fn read(words: &mut SplitAsciiWhitespace<'a>) -> Result<Self, String> {
        let mut parts = Self::default();
        while let Some(option) = words.next() {
            if !OPTIONS.contains(&option) {
                let long = OPTIONS.iter().copied().filter(|known| known.len() > 2);
                let near = nearest(option, long)
                    .map_or_else(String::new, |word| format!("; did you mean {word:?}?"));
                return Err(format!(
                    "one of -A, -s, -d, -i, -o, -p, -m, --sport, --dport, --ctstate, -j where {option:?} is{near}"
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
            "-i" | "--in-interface" => once(&mut self.input, option, interface(option, value)?),
            "-o" | "--out-interface" => once(&mut self.output, option, interface(option, value)?),
            "-m" | "--match" if self.modules.contains(&value) => {
                Err(format!("{option} {value} once"))
            }
            "-m" | "--match" => {
                self.modules.push(value);
                Ok(())
            }
            "--ctstate" if !self.modules.contains(&"conntrack") => {
                Err("-m conntrack before --ctstate".to_owned())
            }
            "--ctstate" => {
                let states = value.split(',');
                let states = states.map(|state| ConnectionState::parse(option, state));
                once(&mut self.states, option, states.collect::<Result<_, _>>()?)
            }
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
        let protocol = self.protocol.filter(|_| ported).map(Protocol::as_str);
        for module in &self.modules {
            match *module {
                "conntrack" if self.states.is_none() => {
                    return Err("--ctstate after -m conntrack".to_owned());
                }
                "conntrack" => {}
                module if Some(module) == protocol => {}
                _ => return Err("-m with conntrack, or with the same tcp or udp as -p".to_owned()),
            }
        }
        match self.chain {
            Some(Chain::Input) if self.output.is_some() => {
                return Err("no -o with -A INPUT".to_owned());
            }
            Some(Chain::Output) if self.input.is_some() => {
                return Err("no -i with -A OUTPUT".to_owned());
            }
            _ => {}
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
            input: self.input.map(str::to_owned),
            output: self.output.map(str::to_owned),
            protocol: self.protocol,
            source_ports: self.source_ports,
            destination_ports: self.destination_ports,
            states: self.states.unwrap_or_default(),
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
        if let Some(name) = &self.input {
            write!(f, " -i {name}")?;
        }
        if let Some(name) = &self.output {
            write!(f, " -o {name}")?;
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
        if !self.states.is_empty() {
            let states: Vec<_> = self.states.iter().map(|state| state.as_str()).collect();
            write!(f, " -m conntrack --ctstate {}", states.join(","))?;
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
