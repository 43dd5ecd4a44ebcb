//! The input of the compiler as bytes: two inputs have the same bytes only if they are the same.
//!
//! Every string and list goes with its length, every option with a mark, so that no two inputs can
//! run into each other: not by splitting names otherwise, nor by moving a value from one field to
//! the next. Order counts, because it does for the compiler.

use std::os::unix::ffi::OsStrExt as _;

use blake3::{Hash, Hasher};
use gl_spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

/// Counts changes of what the compiler makes of the same input. Raise it with each.
const COMPILER: u32 = 2;

/// The digest of everything that the program depends on.
pub(crate) fn digest(seccomp: &LinuxSeccomp, native: Arch) -> Hash {
    let mut bytes = Bytes(Vec::with_capacity(16 * 1024));
    bytes.text(concat!("gl-seccomp ", env!("CARGO_PKG_VERSION")).as_bytes());
    bytes.number(COMPILER.into());
    bytes.arch(native);
    bytes.action(seccomp.default_action());
    bytes.option(seccomp.default_errno_ret().map(u64::from));
    bytes.list(seccomp.architectures().as_deref(), |bytes, &arch| {
        bytes.arch(arch);
    });
    bytes.list(seccomp.flags().as_deref(), |bytes, &flag| bytes.flag(flag));
    bytes.optional_text(
        seccomp
            .listener_path()
            .as_deref()
            .map(|path| path.as_os_str().as_bytes()),
    );
    bytes.optional_text(seccomp.listener_metadata().as_deref().map(str::as_bytes));
    bytes.list(seccomp.syscalls().as_deref(), Bytes::syscall);
    Hasher::new().update(&bytes.0).finalize()
}

/// The bytes so far.
struct Bytes(Vec<u8>);

impl Bytes {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn option(&mut self, number: Option<u64>) {
        self.0.push(number.is_some().into());
        self.number(number.unwrap_or(0));
    }

    fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.0.extend_from_slice(text);
    }

    fn optional_text(&mut self, text: Option<&[u8]>) {
        self.0.push(text.is_some().into());
        self.text(text.unwrap_or_default());
    }

    fn list<T>(&mut self, list: Option<&[T]>, item: impl Fn(&mut Self, &T)) {
        self.0.push(list.is_some().into());
        let list = list.unwrap_or_default();
        self.length(list.len());
        for entry in list {
            item(self, entry);
        }
    }

    fn syscall(&mut self, syscall: &LinuxSyscall) {
        self.list(Some(syscall.names()), |bytes, name| {
            bytes.text(name.as_bytes());
        });
        self.action(syscall.action());
        self.option(syscall.errno_ret().map(u64::from));
        self.list(syscall.args().as_deref(), Self::arg);
    }

    fn arg(&mut self, arg: &LinuxSeccompArg) {
        self.length(arg.index());
        self.0.push(match arg.op() {
            LinuxSeccompOperator::ScmpCmpNe => 1,
            LinuxSeccompOperator::ScmpCmpLt => 2,
            LinuxSeccompOperator::ScmpCmpLe => 3,
            LinuxSeccompOperator::ScmpCmpEq => 4,
            LinuxSeccompOperator::ScmpCmpGe => 5,
            LinuxSeccompOperator::ScmpCmpGt => 6,
            LinuxSeccompOperator::ScmpCmpMaskedEq => 7,
        });
        self.number(arg.value());
        self.option(arg.value_two());
    }

    /// The OCI's own numbers for architectures are all different.
    fn arch(&mut self, arch: Arch) {
        self.number(arch as u64);
    }

    fn action(&mut self, action: LinuxSeccompAction) {
        self.0.push(match action {
            LinuxSeccompAction::ScmpActKill => 1,
            LinuxSeccompAction::ScmpActKillThread => 2,
            LinuxSeccompAction::ScmpActKillProcess => 3,
            LinuxSeccompAction::ScmpActTrap => 4,
            LinuxSeccompAction::ScmpActErrno => 5,
            LinuxSeccompAction::ScmpActNotify => 6,
            LinuxSeccompAction::ScmpActTrace => 7,
            LinuxSeccompAction::ScmpActLog => 8,
            LinuxSeccompAction::ScmpActAllow => 9,
        });
    }

    fn flag(&mut self, flag: LinuxSeccompFilterFlag) {
        self.0.push(match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 2,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 3,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 4,
        });
    }
}
