//! A policy made call by call, without a section of config.json.

use gl_spec::oci::Arch;

use crate::abi::Abi;
use crate::error::Error;
use crate::merge;
use crate::oci::spaces;
use crate::policy::{Call, Policy, Verdict};
use crate::program::Flags;
use crate::syscall::Syscall;
use crate::table::Table;

/// Gathers the answers to the calls of the native ABI. Each call that is known here counts as named: what
/// is newer gets `ENOSYS` where the filter refuses.
#[derive(Debug)]
pub struct Builder {
    table: Table,
    otherwise: Verdict,
    foreign: Verdict,
}

impl Builder {
    /// A policy that answers `otherwise` to each call, and `foreign` to those of other ABIs.
    ///
    /// # Errors
    ///
    /// [`Error::NativeUnsupported`]: no filter can be made for this architecture.
    pub fn new(native: Arch, otherwise: Verdict, foreign: Verdict) -> Result<Self, Error> {
        let own = Abi::from_oci(native, native).ok_or(Error::NativeUnsupported { native })?;
        let mut table = Table::new(own);
        for call in Syscall::all(native) {
            table.note(call.row());
        }
        Ok(Self {
            table,
            otherwise,
            foreign,
        })
    }

    /// Says what happens with a call, whatever was said of it before. The rules may have arguments in common:
    /// the first match counts. What the native ABI lacks is left out.
    pub fn answer(&mut self, call: Syscall, mut answer: Call) {
        merge::tidy(&mut answer);
        self.table.answer(call.row(), answer);
    }

    /// The policy.
    pub fn finish(self) -> Policy {
        Policy {
            spaces: spaces(vec![self.table], self.otherwise, self.foreign),
            foreign: self.foreign,
            flags: Flags::default(),
        }
    }
}
