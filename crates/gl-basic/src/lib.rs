//! The `basic` tier: a program on the host's own namespaces, bound by what needs no others.
//!
//! [`plan`] decides from a profile and what is known of the host, line by line, and does no I/O but through
//! [`Files`]. [`run`] carries the plan out: seccomp, Landlock, limits, `no_new_privs`, capabilities, and a
//! cgroup where one can be had. It works for root and for others, without a user namespace and without a
//! helper.
//!
//! What is out of reach without namespaces is refused by the name of its line, or said to be missing.
#![forbid(unsafe_code)]

mod error;
mod group;
mod host;
mod intent;
mod plan;
mod run;
mod temp;
mod watch;

pub use error::Error;
pub use gl_launch::{Beside, Ended};
pub use host::{Entry, Files, Host, HostFiles};
pub use intent::Intent;
pub use plan::{Limits, Plan, Request, Terminal, is_always_shown, never_allowed, plan};
pub use run::{Companion, Finished, Reason, Times, Usage, run};
pub use temp::remove_entry;
