//! The gVisor tier: a container is handed to `runsc`, which gives it a kernel of its own.
//!
//! What runsc enforces is written into a bundle that is made for it ([`Bundle`]); what it ignores is
//! enforced elsewhere: the cgroup by who calls this, the filter of system calls and the umask by a
//! launcher inside the sandbox ([`launcher`]); what nobody can enforce is refused by name. runsc itself
//! is found in places that only root can write to ([`Runsc`]), and its platform is tried before the
//! first container ([`Platform`]). Containers, their state on disk and their cgroups are the business
//! of `gl-container`.
#![forbid(unsafe_code)]

mod bundle;
mod check;
mod error;
mod find;
pub mod launcher;
mod layer;
mod log;
mod mask;
mod place;
mod platform;
mod sandbox;
mod version;

pub use bundle::{Bundle, Lacking, Network, network};
pub use check::check;
pub use error::Error;
pub use find::{DIRECTORIES, Runsc, is_there};
pub use layer::{Layer, layers};
pub use place::Place;
pub use platform::{Platform, Wanted};
pub use sandbox::{Exec, ExecOptions, Reach, Sandbox};
pub use version::{MINIMUM, Version};
