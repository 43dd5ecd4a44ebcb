//! A compiled filter: instructions and flags, and its form on disk.

use gl_spec::oci::LinuxSeccompFilterFlag;
pub use gl_sys::BpfInsn as Insn;

use crate::error::{Error, StoredFault};
use crate::policy::Verdict;

/// `BPF_MAXINSNS`: the kernel refuses longer programs.
pub const MAX_INSNS: usize = 4096;

/// Operations that the compiler emits; nothing else is read back.
pub(crate) mod op {
    pub(crate) const LD_ABS: u16 = 0x20;
    pub(crate) const AND: u16 = 0x54;
    pub(crate) const JA: u16 = 0x05;
    pub(crate) const JEQ: u16 = 0x15;
    pub(crate) const JGT: u16 = 0x25;
    pub(crate) const JGE: u16 = 0x35;
    pub(crate) const RET: u16 = 0x06;
}

/// Flags for `seccomp(2)`: `SECCOMP_FILTER_FLAG_*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// All threads get the filter.
    pub const TSYNC: Self = Self(1);
    /// Actions other than ALLOW are logged.
    pub const LOG: Self = Self(1 << 1);
    /// No speculative store bypass mitigation.
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// Make a listener for NOTIFY.
    pub const NEW_LISTENER: Self = Self(1 << 3);
    /// Makes TSYNC possible beside a listener.
    pub const TSYNC_ESRCH: Self = Self(1 << 4);
    /// A process that waits for the agent can be killed.
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);

    const ALL: u32 = 0x3f;

    /// The kernel's value.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Both sets together, but `SPEC_ALLOW` only if both have it.
    pub(crate) fn tightened_by(self, other: Self) -> Self {
        let both = self.0 & other.0;
        let merged = (self.0 | other.0) & !Self::SPEC_ALLOW.0 | both & Self::SPEC_ALLOW.0;
        Self(merged).settled()
    }

    /// Makes the set one that the kernel accepts.
    ///
    /// Beside a listener TSYNC needs `TSYNC_ESRCH` (5.7), as both use the return value. Without one
    /// `WAIT_KILLABLE_RECV` has nothing to act on and is refused, so it is left out.
    pub(crate) fn settled(self) -> Self {
        if !self.contains(Self::NEW_LISTENER) {
            return Self(self.0 & !(Self::WAIT_KILLABLE_RECV.0 | Self::TSYNC_ESRCH.0));
        }
        if self.contains(Self::TSYNC) {
            return self.with(Self::TSYNC_ESRCH);
        }
        self
    }
}

/// A filter that the kernel can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    insns: Vec<Insn>,
    flags: Flags,
}

const MAGIC: [u8; 4] = *b"GLSP";
const VERSION: u16 = 1;
const HEADER: usize = 12;
const INSN: usize = 8;

impl Program {
    pub(crate) fn new(insns: Vec<Insn>, flags: Flags) -> Result<Self, Error> {
        match insns.len() {
            len if len > MAX_INSNS => Err(Error::TooLong {
                len,
                max: MAX_INSNS,
            }),
            _ => Ok(Self { insns, flags }),
        }
    }

    /// The instructions, as the kernel reads them.
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// The flags to attach it with.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether attaching it makes a listener that must be sent to the agent.
    pub fn needs_listener(&self) -> bool {
        self.flags.contains(Flags::NEW_LISTENER)
    }

    /// The same without flags, and with "allow" where it would log and allow: for a kernel that does
    /// not know `SECCOMP_RET_LOG`, and would kill instead (gVisor's).
    #[must_use]
    pub fn without_log(&self) -> Self {
        let insns = self.insns.iter().map(|insn| match insn {
            Insn {
                code: op::RET, k, ..
            } if *k == Verdict::LOG.bits() => Insn {
                k: Verdict::ALLOW.bits(),
                ..*insn
            },
            insn => *insn,
        });
        Self {
            insns: insns.collect(),
            flags: Flags::default(),
        }
    }

    /// The form on disk: magic, version, count, flags, then eight bytes an instruction, all little
    /// endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.insns.len() * INSN);
        let count = u16::try_from(self.insns.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.flags.0.to_le_bytes());
        for insn in &self.insns {
            bytes.extend_from_slice(&insn.code.to_le_bytes());
            bytes.extend_from_slice(&[insn.jt, insn.jf]);
            bytes.extend_from_slice(&insn.k.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Program::to_bytes`] wrote, and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Stored`] if the length, the magic, the version or the flags are others, or an
    /// instruction is not one that the compiler emits or jumps past the end.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        parse(bytes).map_err(|fault| Error::Stored { fault })
    }
}

fn parse(bytes: &[u8]) -> Result<Program, StoredFault> {
    let (header, body) = bytes
        .split_first_chunk::<HEADER>()
        .ok_or(StoredFault::Length)?;
    let [m0, m1, m2, m3, v0, v1, c0, c1, f0, f1, f2, f3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(StoredFault::Magic);
    }
    if u16::from_le_bytes([v0, v1]) != VERSION {
        return Err(StoredFault::Version);
    }
    let count = usize::from(u16::from_le_bytes([c0, c1]));
    let (chunks, rest) = body.as_chunks::<INSN>();
    if chunks.len() != count || !rest.is_empty() || count == 0 || count > MAX_INSNS {
        return Err(StoredFault::Length);
    }
    let flags = Flags(u32::from_le_bytes([f0, f1, f2, f3]));
    if flags.0 & !Flags::ALL != 0 || flags.settled() != flags {
        return Err(StoredFault::Header);
    }
    let mut insns = Vec::with_capacity(count);
    for (at, &[o0, o1, jt, jf, k0, k1, k2, k3]) in chunks.iter().enumerate() {
        let insn = Insn {
            code: u16::from_le_bytes([o0, o1]),
            jt,
            jf,
            k: u32::from_le_bytes([k0, k1, k2, k3]),
        };
        if !is_ours(insn, count - 1 - at) {
            return Err(StoredFault::Instruction);
        }
        insns.push(insn);
    }
    Ok(Program { insns, flags })
}

/// Whether the compiler could have emitted `insn` with `left` instructions after it.
fn is_ours(insn: Insn, left: usize) -> bool {
    let plain = insn.jt == 0 && insn.jf == 0;
    match insn.code {
        op::RET => plain,
        // `struct seccomp_data` is 64 bytes.
        op::LD_ABS => plain && left > 0 && insn.k < 64 && insn.k.is_multiple_of(4),
        op::AND => plain && left > 0,
        op::JA => plain && usize::try_from(insn.k).is_ok_and(|skip| skip < left),
        op::JEQ | op::JGT | op::JGE => usize::from(insn.jt.max(insn.jf)) < left,
        _ => false,
    }
}

/// The kernel flag of an OCI flag.
pub(crate) fn flag_of(flag: LinuxSeccompFilterFlag) -> Flags {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => Flags::LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => Flags::TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => Flags::SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => Flags::WAIT_KILLABLE_RECV,
    }
}
