//! What must hold for any input: one function a fuzz target.
//!
//! A function panics where something does not hold. `hack/fuzz` feeds them by libFuzzer, first with what was
//! found once (`regressions/`) and with documents that the crates' own tests use.

#[path = "../../../crates/gl-seccomp/tests/common/bpf.rs"]
#[allow(dead_code, reason = "the crate's own tests use more of it")]
mod bpf;
mod bus;
mod bytes;
mod cgroup;
mod config;
mod documents;
mod profile;
mod seccomp;
mod stored;
mod tighter;
#[path = "../../../crates/gl-cgroup/src/systemd/wire.rs"]
#[allow(
    dead_code,
    reason = "the crate's own module, of which only the reader is fuzzed"
)]
mod wire;
mod words;

pub use bus::bus;
pub use cgroup::cgroup_path;
pub use config::{config, config_fields};
pub use profile::{profile, profile_fields};
pub use seccomp::{seccomp, seccomp_section};
pub use stored::stored;
pub use words::words;
