//! What came of a probe.

use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What came of a probe, with what the kernel said or what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "how")]
pub(crate) enum Seen {
    /// It was done, or would have been: the kernel went past its question whether it may.
    Worked(String),
    /// It was denied.
    Denied(String),
    /// What it is about is not there.
    Absent(String),
    /// It ended the process.
    Killed(String),
    /// It could not be tried.
    Unable(String),
}

impl Seen {
    /// Whether it was kept from being done.
    pub(crate) fn is_kept_off(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Absent(_) | Self::Killed(_))
    }

    /// What is said beside the outcome.
    pub(crate) fn how(&self) -> &str {
        match self {
            Self::Worked(how)
            | Self::Denied(how)
            | Self::Absent(how)
            | Self::Killed(how)
            | Self::Unable(how) => how,
        }
    }

    pub(crate) fn worked() -> Self {
        Self::Worked(String::new())
    }

    /// What a call came to.
    pub(crate) fn of<T>(result: Result<T, Errno>) -> Self {
        match result {
            Ok(_) => Self::worked(),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::SRCH | Errno::NXIO | Errno::NODEV) => {
                Self::Absent(name(result.err()))
            }
            Err(errno) => Self::Denied(name(Some(errno))),
        }
    }

    /// As [`Seen::of`], where the kernel says one of `past` to whoever may do it.
    pub(crate) fn past<T>(result: Result<T, Errno>, past: &[Errno]) -> Self {
        match result {
            Err(errno) if past.contains(&errno) => {
                Self::Worked(format!("{}, after it was allowed", name(Some(errno))))
            }
            result => Self::of(result),
        }
    }

    pub(crate) fn io<T>(result: io::Result<T>) -> Self {
        Self::of(result.map_err(|err| errno(&err)))
    }

    /// Worked if so, else denied with what was found.
    pub(crate) fn when(is_so: bool, found: impl Into<String>) -> Self {
        match is_so {
            true => Self::Worked(found.into()),
            false => Self::Denied(found.into()),
        }
    }
}

pub(crate) fn errno(err: &io::Error) -> Errno {
    Errno::from_io_error(err).unwrap_or(Errno::IO)
}

/// The names of errnos that probes see.
const NAMES: &[(Errno, &str)] = &[
    (Errno::PERM, "EPERM"),
    (Errno::NOENT, "ENOENT"),
    (Errno::SRCH, "ESRCH"),
    (Errno::IO, "EIO"),
    (Errno::NXIO, "ENXIO"),
    (Errno::NOEXEC, "ENOEXEC"),
    (Errno::BADF, "EBADF"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::ACCESS, "EACCES"),
    (Errno::FAULT, "EFAULT"),
    (Errno::BUSY, "EBUSY"),
    (Errno::EXIST, "EEXIST"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOTDIR, "ENOTDIR"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::INVAL, "EINVAL"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NOTTY, "ENOTTY"),
    (Errno::TXTBSY, "ETXTBSY"),
    (Errno::FBIG, "EFBIG"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::ROFS, "EROFS"),
    (Errno::NOSYS, "ENOSYS"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
    (Errno::PROTONOSUPPORT, "EPROTONOSUPPORT"),
    (Errno::SOCKTNOSUPPORT, "ESOCKTNOSUPPORT"),
    (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (Errno::NETDOWN, "ENETDOWN"),
    (Errno::NETUNREACH, "ENETUNREACH"),
    (Errno::HOSTUNREACH, "EHOSTUNREACH"),
    (Errno::CONNREFUSED, "ECONNREFUSED"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::USERS, "EUSERS"),
    (Errno::NOKEY, "ENOKEY"),
    (Errno::DQUOT, "EDQUOT"),
    (Errno::XDEV, "EXDEV"),
];

fn name(errno: Option<Errno>) -> String {
    let Some(errno) = errno else {
        return String::new();
    };
    let known = NAMES.iter().find(|(known, _)| *known == errno);
    known.map_or_else(
        || format!("errno {}", errno.raw_os_error()),
        |(_, name)| (*name).to_owned(),
    )
}
