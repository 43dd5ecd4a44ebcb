//! Calls by their place in the table of names.

use std::fmt;

use gl_spec::oci::Arch;

use crate::abi::Abi;
use crate::names::{ROWS, Row, place};

/// A system call that one of the ABIs has. The order is that of the names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Syscall(u16);

impl Syscall {
    /// How many there are: every [`Syscall::index`] is below.
    pub const COUNT: usize = ROWS.len();

    /// The call of a name, if there is one.
    pub const fn named(name: &str) -> Option<Self> {
        match place(name) {
            Some(row) => Some(Self(row)),
            None => None,
        }
    }

    /// The calls of a native architecture; none where no filter can be made for it.
    pub fn all(native: Arch) -> impl Iterator<Item = Self> {
        let abi = Abi::from_oci(native, native);
        (0..).zip(ROWS).filter_map(move |(row, names)| {
            let exists = abi.is_some_and(|abi| names.number(abi).is_some());
            exists.then_some(Self(row))
        })
    }

    /// The call that has this number on the architecture `audit` (`AUDIT_ARCH_*`).
    pub fn numbered(audit: u32, number: u32) -> Option<Self> {
        let abis = [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm];
        let marked = number & Abi::X32_BIT != 0;
        let mut abis = abis.into_iter();
        let abi = abis.find(|abi| {
            abi.audit() == audit && (marked == (*abi == Abi::X32) || audit != Abi::X32.audit())
        })?;
        let mut rows = (0..).zip(ROWS);
        let found = rows.find(|(_, names)| names.number(abi) == Some(number));
        found.map(|(row, _)| Self(row))
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.row().name()
    }

    /// A number below [`Syscall::COUNT`] of its own.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn row(self) -> &'static Row {
        &ROWS[self.index()]
    }
}

impl fmt::Debug for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_own_call() {
        for (index, row) in ROWS.iter().enumerate() {
            let call = Syscall::named(row.name()).unwrap();
            assert_eq!((call.index(), call.name()), (index, row.name()));
        }
        assert_eq!(Syscall::named("frobnicate"), None);
        assert_eq!(Syscall::named(""), None);
    }

    #[test]
    fn calls_of_an_architecture_are_those_that_it_has_by_name() {
        for native in [Arch::ScmpArchX86_64, Arch::ScmpArchAarch64] {
            let names: Vec<_> = Syscall::all(native).map(Syscall::name).collect();
            assert_eq!(names, crate::calls(native).collect::<Vec<_>>());
            assert!(names.len() > 300, "{} calls", names.len());
        }
        assert_eq!(Syscall::all(Arch::ScmpArchRiscv64).next(), None);
    }
}
