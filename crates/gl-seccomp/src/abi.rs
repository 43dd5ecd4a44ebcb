//! The system call ABIs that a filter can meet, and what is peculiar about each.

use gl_spec::oci::Arch;

/// One system call ABI. The order is that of the columns of the name table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Abi {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86 (`int 0x80`, `sysenter`).
    X86,
    /// x86-64 with 32-bit pointers: same `AUDIT_ARCH`, numbers marked with [`Abi::X32_BIT`].
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
}

/// How much of an argument a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// The low 32 bits, as libseccomp does on the 32-bit ABIs (x32 among them).
    Half,
    /// All 64 bits.
    Full,
}

impl Abi {
    /// Set in the number of every x32 call.
    pub const X32_BIT: u32 = 0x4000_0000;

    /// The ABI that an OCI name stands for; `None` if it cannot occur on a kernel for `native`.
    pub(crate) fn from_oci(arch: Arch, native: Arch) -> Option<Self> {
        let arch = match arch {
            Arch::ScmpArchNative => native,
            named => named,
        };
        match (arch, native) {
            (Arch::ScmpArchX86_64, Arch::ScmpArchX86_64) => Some(Self::X86_64),
            (Arch::ScmpArchX86, Arch::ScmpArchX86_64) => Some(Self::X86),
            (Arch::ScmpArchX32, Arch::ScmpArchX86_64) => Some(Self::X32),
            (Arch::ScmpArchAarch64, Arch::ScmpArchAarch64) => Some(Self::Aarch64),
            (Arch::ScmpArchArm, Arch::ScmpArchAarch64) => Some(Self::Arm),
            _ => None,
        }
    }

    /// `AUDIT_ARCH_*` of `linux/audit.h`.
    pub(crate) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    pub(crate) fn width(self) -> Width {
        match self {
            Self::X86_64 | Self::Aarch64 => Width::Full,
            Self::X86 | Self::X32 | Self::Arm => Width::Half,
        }
    }
}

/// A call of x86 that also goes through `socketcall` or `ipc`.
pub(crate) struct Multiplexed {
    /// Number of the multiplexing call.
    pub(crate) through: u32,
    /// The value of its first argument.
    pub(crate) selector: u64,
}

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// Which multiplexer of 32-bit x86 also reaches `name`.
///
/// Selectors are those of `linux/net.h` (`SYS_SOCKET`…) and `linux/ipc.h` (`SEMOP`…).
pub(crate) fn multiplexed_x86(name: &str) -> Option<Multiplexed> {
    let (through, selector) = match name {
        "socket" => (SOCKETCALL, 1),
        "bind" => (SOCKETCALL, 2),
        "connect" => (SOCKETCALL, 3),
        "listen" => (SOCKETCALL, 4),
        "accept" => (SOCKETCALL, 5),
        "getsockname" => (SOCKETCALL, 6),
        "getpeername" => (SOCKETCALL, 7),
        "socketpair" => (SOCKETCALL, 8),
        "send" => (SOCKETCALL, 9),
        "recv" => (SOCKETCALL, 10),
        "sendto" => (SOCKETCALL, 11),
        "recvfrom" => (SOCKETCALL, 12),
        "shutdown" => (SOCKETCALL, 13),
        "setsockopt" => (SOCKETCALL, 14),
        "getsockopt" => (SOCKETCALL, 15),
        "sendmsg" => (SOCKETCALL, 16),
        "recvmsg" => (SOCKETCALL, 17),
        "accept4" => (SOCKETCALL, 18),
        "recvmmsg" => (SOCKETCALL, 19),
        "sendmmsg" => (SOCKETCALL, 20),
        "semop" => (IPC, 1),
        "semget" => (IPC, 2),
        "semctl" => (IPC, 3),
        "semtimedop" => (IPC, 4),
        "msgsnd" => (IPC, 11),
        "msgrcv" => (IPC, 12),
        "msgget" => (IPC, 13),
        "msgctl" => (IPC, 14),
        "shmat" => (IPC, 21),
        "shmdt" => (IPC, 22),
        "shmget" => (IPC, 23),
        "shmctl" => (IPC, 24),
        _ => return None,
    };
    Some(Multiplexed { through, selector })
}
