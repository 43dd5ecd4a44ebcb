//! What a seccomp filter does, and to which calls.

use std::fmt;

use serde_json::{Value as Json, json};

use super::{Mismatch, Name, Value, text};
use crate::node::Node;

/// Error numbers by name; the same on x86-64 and aarch64.
const ERRNOS: &[(&str, u16)] = &[
    ("EPERM", 1),
    ("ENOENT", 2),
    ("ESRCH", 3),
    ("EINTR", 4),
    ("EIO", 5),
    ("ENXIO", 6),
    ("E2BIG", 7),
    ("ENOEXEC", 8),
    ("EBADF", 9),
    ("ECHILD", 10),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("ENODEV", 19),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("EMFILE", 24),
    ("ENOTTY", 25),
    ("EFBIG", 27),
    ("ENOSPC", 28),
    ("EROFS", 30),
    ("ENOSYS", 38),
    ("EPROTONOSUPPORT", 93),
    ("EOPNOTSUPP", 95),
    ("EAFNOSUPPORT", 97),
];

/// What happens to a call that no group and no list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeccompAction {
    /// It goes on.
    Allow,
    /// It goes on and is logged.
    Log,
    /// It fails with this error number.
    Errno(u16),
    /// The thread ends.
    KillThread,
    /// The process ends.
    KillProcess,
}

impl SeccompAction {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "allow" => Some(Self::Allow),
            "log" => Some(Self::Log),
            "kill_thread" => Some(Self::KillThread),
            "kill_process" => Some(Self::KillProcess),
            _ => errno(text.strip_prefix("errno ")?).map(Self::Errno),
        }
    }
}

/// The number of an error by its name, such as `EPERM`.
pub(crate) fn errno(name: &str) -> Option<u16> {
    ERRNOS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

/// The names of the errors that [`errno`] knows.
pub(crate) fn errnos() -> impl Iterator<Item = &'static str> {
    ERRNOS.iter().map(|(name, _)| *name)
}

impl fmt::Display for SeccompAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Log => f.write_str("log"),
            Self::KillThread => f.write_str("kill_thread"),
            Self::KillProcess => f.write_str("kill_process"),
            Self::Errno(number) => match ERRNOS.iter().find(|(_, known)| known == number) {
                Some((name, _)) => write!(f, "errno {name}"),
                None => write!(f, "errno {number}"),
            },
        }
    }
}

impl Value for SeccompAction {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        const WORDS: &[&str] = &["allow", "log", "kill_thread", "kill_process", "errno EPERM"];
        text(node, "", Self::parse).map_err(|_wrong| Mismatch {
            words: WORDS,
            ..Mismatch::new(
                "allow, log, kill_thread, kill_process, or errno with a name, such as \"errno EPERM\"",
            )
        })
    }

    fn json(&self) -> Json {
        Json::from(self.to_string())
    }

    fn schema() -> Json {
        let words = ["allow", "log", "kill_thread", "kill_process"];
        let words = words.map(str::to_owned).into_iter();
        let errnos = ERRNOS.iter().map(|(name, _)| format!("errno {name}"));
        json!({"enum": words.chain(errnos).collect::<Vec<_>>()})
    }
}

/// A system call by its name, or with a group behind an `@` the part of it that the group speaks of, such as
/// `socket@sockets-client`. Whether there is such a call and group is for the filter to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyscallName(String);

impl SyscallName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the call.
    pub fn call(&self) -> &str {
        self.parts().0
    }

    /// The group whose conditions hold, if it is a part of the call.
    pub fn group(&self) -> Option<&str> {
        self.parts().1
    }

    fn parts(&self) -> (&str, Option<&str>) {
        match self.0.split_once('@') {
            Some((call, group)) => (call, Some(group)),
            None => (&self.0, None),
        }
    }
}

impl Value for SyscallName {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        const EXPECTED: &str = "the name of a system call, such as openat or openat@files-read";
        text(node, EXPECTED, |text| {
            let (call, group) = match text.split_once('@') {
                Some((call, group)) => (call, Some(group)),
                None => (text, None),
            };
            let fits = (1..=64).contains(&call.len())
                && call
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
                && group.is_none_or(|group| Name::new(group).is_some());
            fits.then(|| Self(text.to_owned()))
        })
    }

    fn json(&self) -> Json {
        Json::from(self.as_str())
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[a-z0-9_]{1,64}(@[a-z][a-z0-9_-]{0,63})?$"})
    }
}
