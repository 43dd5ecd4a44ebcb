//! Why a user without root cannot become root of a user namespace.

use std::borrow::Cow;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

/// Why a user without root cannot become root of a user namespace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The user has no subordinate ids.
    #[error("map ids for user {user}: {file} has no range of that user")]
    NoRanges {
        /// The user's name, or number.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// The tool that maps them is not installed.
    #[error("map ids for user {user}: {tool} is not installed")]
    NoTool {
        /// The user's name, or number.
        user: String,
        /// `newuidmap` or `newgidmap`.
        tool: &'static str,
    },
    /// The tool refused.
    #[error("map ids with {tool}: {said}")]
    Tool {
        /// `newuidmap` or `newgidmap`.
        tool: &'static str,
        /// What it wrote, or how it ended.
        said: String,
    },
    /// A list of subordinate ids.
    #[error("read {file}")]
    Read {
        /// Its path.
        file: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The kernel makes no user namespace for this user.
    #[error("make a user namespace")]
    Create {
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The user's own id could not be mapped.
    #[error("write {file} of a user namespace")]
    Map {
        /// The file's name.
        file: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The container is none of this user's.
    #[error("enter the container: its user namespace was not made by this user")]
    NotOurs,
    /// The namespace could not be entered.
    #[error("{what}")]
    Enter {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The host refused something else.
    #[error("{what}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::NoRanges { .. } | Self::NoTool { .. } => Class::Unsupported,
            Self::Tool { .. } | Self::NotOurs => Class::Denied,
            Self::Read { source, .. }
            | Self::Create { source }
            | Self::Map { source, .. }
            | Self::Enter { source, .. }
            | Self::Host { source, .. } => match *source {
                Errno::PERM | Errno::ACCESS => Class::Denied,
                Errno::NOSPC | Errno::NOSYS | Errno::INVAL => Class::Unsupported,
                _ => Class::Internal,
            },
        }
    }

    fn code(&self) -> &'static str {
        "E_ROOTLESS"
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::NoRanges { user, .. } => format!(
                "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; \
                 or write a config that maps that user alone: greenlang spec --rootless"
            )
            .into(),
            Self::NoTool { .. } => {
                "install it: package uidmap, or shadow-utils; or write a config \
                                    that maps the user alone: greenlang spec --rootless"
                    .into()
            }
            Self::Tool { .. } => {
                "it has to be set-uid root, or have cap_setuid or cap_setgid, and \
                                  the ranges of /etc/subuid and /etc/subgid must be the user's; \
                                  under no_new_privs it can do nothing"
                    .into()
            }
            Self::Create { source } if *source == Errno::NOSPC => {
                "raise user.max_user_namespaces with sysctl".into()
            }
            Self::Create { .. } | Self::Enter { .. } => {
                "have user namespaces allowed: sysctl kernel.unprivileged_userns_clone=1 and \
                 kernel.apparmor_restrict_unprivileged_userns=0, where the kernel has them"
                    .into()
            }
            Self::NotOurs => "run it as the user who made the container".into(),
            Self::Read { .. } | Self::Map { .. } | Self::Host { .. } => return None,
        })
    }
}
