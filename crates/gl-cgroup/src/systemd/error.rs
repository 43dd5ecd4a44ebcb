//! Why systemd did not do what it was asked for.

use std::borrow::Cow;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

use super::bus::Manager;
use crate::controller::Controller;

/// Why systemd did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The driver is for cgroup v2.
    #[error("use the systemd cgroup driver: this host has cgroup v1, and the driver is for v2")]
    OldCgroups,
    /// Nothing says where the user's manager listens.
    #[error(
        "find the systemd of this user: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"
    )]
    NoAddress,
    /// Nobody listens there.
    #[error("reach {manager} at {address}")]
    Unreachable {
        /// Whose manager.
        manager: Manager,
        /// The sockets that were tried.
        address: String,
        /// What `connect` said to the first of them.
        #[source]
        source: Errno,
    },
    /// The connection was refused, or ended.
    #[error("talk to systemd at {address}")]
    Talk {
        /// The socket.
        address: String,
        /// What the kernel said; `ETIMEDOUT` for no answer in time.
        #[source]
        source: Errno,
    },
    /// Process ids mean something else there.
    #[error("use systemd at {address}: it is outside this pid namespace")]
    OtherPids {
        /// The socket.
        address: String,
    },
    /// What came over the connection is no D-Bus.
    #[error("understand systemd at {address}: {what}")]
    Protocol {
        /// The socket.
        address: String,
        /// What is wrong.
        what: &'static str,
    },
    /// systemd, or the bus, answered with an error.
    #[error("{action} unit {unit}: systemd says {said:?} ({name})")]
    Refused {
        /// What was to be done.
        action: &'static str,
        /// The unit.
        unit: String,
        /// The name of the error, such as `org.freedesktop.DBus.Error.InvalidArgs`.
        name: String,
        /// Its text.
        said: String,
    },
    /// The job to start or stop the unit did not succeed.
    #[error("{action} unit {unit}: the job of systemd ended as {result:?}")]
    Job {
        /// What was to be done.
        action: &'static str,
        /// The unit.
        unit: String,
        /// How the job ended, such as `failed` or `timeout`.
        result: String,
    },
    /// A unit of that name exists.
    #[error("start unit {unit}: it exists and is {state}")]
    InUse {
        /// The unit.
        unit: String,
        /// Its state.
        state: String,
    },
    /// systemd put the unit where no cgroup of a container can be.
    #[error("use unit {unit}: systemd has its cgroup at {path:?}")]
    Elsewhere {
        /// The unit.
        unit: String,
        /// The cgroup, as systemd names it.
        path: String,
    },
    /// An annotation cannot be used.
    #[error("set annotation {key}: {reason}")]
    Annotation {
        /// The annotation.
        key: String,
        /// What is wrong.
        reason: Cow<'static, str>,
    },
    /// The user's manager has no such controller.
    #[error("set {field}: systemd does not delegate the {controller} controller to this user")]
    NotDelegated {
        /// The config field.
        field: Cow<'static, str>,
        /// The controller.
        controller: Controller,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::OldCgroups
            | Self::NoAddress
            | Self::Unreachable { .. }
            | Self::OtherPids { .. }
            | Self::NotDelegated { .. } => Class::Unsupported,
            Self::Annotation { .. } => Class::Invalid,
            Self::InUse { .. } => Class::Conflict,
            Self::Refused { name, .. } if name.ends_with(".AccessDenied") => Class::Denied,
            Self::Refused { name, .. } if name.ends_with(".InvalidArgs") => Class::Invalid,
            _ => Class::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::OldCgroups => "E_CGROUP_UNSUPPORTED",
            Self::InUse { .. } => "E_CGROUP_IN_USE",
            Self::NotDelegated { .. } => "E_CGROUP_LIMIT",
            Self::Annotation { .. } => "E_ANNOTATION",
            _ => "E_SYSTEMD",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Annotation { key, .. } => Some(format!("annotations[{key:?}]").into()),
            Self::NotDelegated { field, .. } => Some(Cow::Borrowed(field)),
            Self::InUse { .. } => Some("linux.cgroupsPath".into()),
            _ => None,
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::OldCgroups => {
                "leave --systemd-cgroup out, or boot with systemd.unified_cgroup_hierarchy=1"
            }
            Self::NoAddress => {
                "set XDG_RUNTIME_DIR to /run/user/UID of a user with a session (loginctl enable-linger), or leave --systemd-cgroup out"
            }
            Self::Unreachable {
                manager: Manager::System,
                ..
            } => "leave --systemd-cgroup out where systemd is not process 1",
            Self::Unreachable {
                manager: Manager::User,
                ..
            } => {
                "have the user's manager running (loginctl enable-linger USER), or leave --systemd-cgroup out"
            }
            Self::OtherPids { .. } => {
                "call greenlang in the pid namespace of systemd, or leave --systemd-cgroup out"
            }
            Self::InUse { .. } => "choose another linux.cgroupsPath, or stop that unit",
            Self::Annotation { .. } => "correct the annotation, or leave it out",
            Self::NotDelegated { controller, .. } => {
                return Some(
                    format!(
                        "leave the limit out, or have root add a drop-in for user@.service with [Service] Delegate= that lists {controller}"
                    )
                    .into(),
                );
            }
            Self::Refused { name, .. } if name.ends_with(".InvalidArgs") => {
                "correct what systemd names: an annotation org.systemd.property.*, a limit in linux.resources, or linux.cgroupsPath"
            }
            Self::Refused { name, .. }
                if name.ends_with(".AccessDenied") || name.ends_with("AuthorizationRequired") =>
            {
                "call greenlang as root, or as a user who has a manager (loginctl enable-linger USER)"
            }
            Self::Refused { unit, .. } | Self::Job { unit, .. } => {
                return Some(format!("systemctl status {unit} tells more").into());
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
