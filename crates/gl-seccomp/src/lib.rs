#![forbid(unsafe_code)]
//! OCI seccomp rules to a BPF program, without libseccomp.
//!
//! [`compile`] is pure: section in, [`Program`] out. [`install`] attaches a program and works in a
//! child after a fork. Between the two forms stands [`Policy`], which can be compared and merged.
//! What a section means is decided in `oci`; who receives a listener is the launch's business.

mod abi;
mod assemble;
mod builder;
mod cache;
mod canonical;
mod error;
mod install;
mod merge;
mod names;
mod oci;
mod order;
mod policy;
mod program;
mod syscall;
mod table;

use gl_spec::oci::{Arch, LinuxSeccomp};

pub use abi::{Abi, Width};
pub use assemble::assemble;
pub use builder::Builder;
pub use cache::{Cache, Compiled, Origin};
pub use error::{CacheFault, Error, StoredFault};
pub use install::{check_kernel, install};
pub use names::{calls, known};
pub use oci::{policy, policy_tightened_by, policy_with_foreign};
pub use policy::{Call, Condition, Policy, Rule, Space, Span, Test, Verdict};
pub use program::{Flags, Insn, MAX_INSNS, Program};
pub use syscall::Syscall;

/// The architecture that this was built for, as the OCI names it.
#[cfg(target_arch = "x86_64")]
pub const NATIVE: Arch = Arch::ScmpArchX86_64;
/// The architecture that this was built for, as the OCI names it.
#[cfg(target_arch = "aarch64")]
pub const NATIVE: Arch = Arch::ScmpArchAarch64;

/// Compiles a seccomp section for a kernel of the architecture `native`, usually [`NATIVE`].
///
/// # Errors
///
/// What the spec or runc refuses, and [`Error::TooLong`] if the kernel would not take the program.
pub fn compile(seccomp: &LinuxSeccomp, native: Arch) -> Result<Program, Error> {
    assemble(&policy(seccomp, native)?)
}
