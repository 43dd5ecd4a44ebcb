//! Plan to running process: the launch of a container's init, and of further processes in it.
//!
//! The runtime opens everything, forks once with all namespaces, and meets the child over one
//! socket with fixed-size records; the child executes the plan in its order and decides nothing.
//! What fails in the child arrives as step, position and errno, and becomes an [`Error`] here.
//! Where state is kept, and when, is the caller's business.

mod bare;
mod beside;
mod child;
mod deadline;
mod error;
mod exec;
mod foreground;
mod fork;
mod gate;
mod hook;
mod host;
mod identity;
mod idmap;
mod kernel;
mod label;
mod landlock;
mod lookup;
mod namespace;
mod netdevice;
mod network;
mod placeholder;
mod program;
mod reaper;
mod record;
pub mod rootless;
mod rtnetlink;
mod service;
mod spawn;
mod start;
mod stdio;
mod step;
mod tree;
mod watch;
mod worker;

pub use idmap::user_namespace;

pub use bare::{Bare, BareRequest, Companion, Finished, Orphaned, Usage, spawn_bare};
pub use beside::{Beside, wait_beside, wait_beside_until};
pub use deadline::Deadline;
pub use error::Error;
pub use exec::{ExecRequest, Executed, exec};
pub use foreground::{Ended, RawMode, Signals, copy, copy_size};
pub use gate::{GATE, Waiting, waiting};
pub use hook::{HookError, run as run_hook, run_all as run_hooks};
pub use host::{Namespace, capacity, facts, in_user_namespace, is_out_of_reach, reexec_readonly};
pub use kernel::check_kernel;
pub use label::{check_labels, check_plan_labels};
pub use network::raise_loopback_of;
pub use placeholder::Placeholder;
pub use program::{Held, HostProgram, hold};
pub use reaper::Init;
pub use service::{Service, Serving, Shown, Stage, Streams};
pub use spawn::{Launching, Request, Tie, spawn};
pub use start::{Agent, Listening, start};
pub use stdio::{keep_descriptors, own_null, send_fd, shielded_null};
pub use tree::{Task, descendants, task};
pub use watch::Watcher;
pub use worker::{worker, worker_with};
