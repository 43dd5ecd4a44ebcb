//! Why a seccomp section cannot become a program, or a program cannot be used.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use gl_spec::oci::{Arch, LinuxSeccompAction, LinuxSeccompFilterFlag};
use gl_spec::{Class, Classify};

/// Why a filter could not be compiled, read back or cached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No filter can be made for this machine.
    #[error("compile seccomp filter: native architecture {native} is not supported")]
    NativeUnsupported {
        /// The architecture that the caller named.
        native: Arch,
    },
    /// NOTIFY as default would stop the runtime before it can hand the listener over.
    #[error("use SCMP_ACT_NOTIFY as default action: no call could reach the agent")]
    NotifyDefault,
    /// NOTIFY for `write` would stop the runtime while it hands the listener over.
    #[error(
        "use SCMP_ACT_NOTIFY for write in syscalls[{index}]: the runtime needs the call itself"
    )]
    NotifyWrite {
        /// Position in `syscalls`.
        index: usize,
    },
    /// NOTIFY needs somebody to notify.
    #[error("use SCMP_ACT_NOTIFY in syscalls[{index}]: listenerPath is not set")]
    NotifyWithoutListener {
        /// Position in `syscalls`.
        index: usize,
    },
    /// The spec allows metadata only beside a listener.
    #[error("set listenerMetadata: listenerPath is not set")]
    MetadataWithoutListener,
    /// The spec wants an error for an errno that the action cannot return.
    #[error("set errnoRet: {action} returns none")]
    ErrnoWithoutUse {
        /// Position in `syscalls`; `None` is the default action.
        index: Option<usize>,
        /// The action beside it.
        action: LinuxSeccompAction,
    },
    /// The kernel would replace the value by another.
    #[error("set errnoRet {errno}: the largest for {action} is {max}")]
    ErrnoTooLarge {
        /// Position in `syscalls`; `None` is the default action.
        index: Option<usize>,
        /// The action beside it.
        action: LinuxSeccompAction,
        /// The value given.
        errno: u32,
        /// The largest that the kernel takes as it is.
        max: u32,
    },
    /// A system call has six arguments.
    #[error("test argument {argument} in syscalls[{index}]: a call has six, counted from 0")]
    ArgumentIndex {
        /// Position in `syscalls`.
        index: usize,
        /// The argument named.
        argument: usize,
    },
    /// An empty name is a mistake, not an unknown call.
    #[error("find call in syscalls[{index}]: a name is empty")]
    EmptyName {
        /// Position in `syscalls`.
        index: usize,
    },
    /// Two rules ask the same and answer differently.
    #[error(
        "add rule for {call} in syscalls[{index}]: an earlier one with the same conditions has another action"
    )]
    Contradiction {
        /// Position in `syscalls` of the later rule.
        index: usize,
        /// Name of the call.
        call: &'static str,
    },
    /// The kernel takes at most 4096 instructions.
    #[error("compile seccomp filter: {len} instructions, and the kernel takes at most {max}")]
    TooLong {
        /// How many there would be.
        len: usize,
        /// `BPF_MAXINSNS`.
        max: usize,
    },
    /// This kernel lacks a flag.
    #[error("use seccomp flag {flag}: this kernel does not know it")]
    FlagUnsupported {
        /// The flag.
        flag: LinuxSeccompFilterFlag,
    },
    /// This kernel cannot make listeners.
    #[error("use SCMP_ACT_NOTIFY: this kernel makes no listener")]
    ListenerUnsupported,
    /// This kernel lacks an action.
    #[error("use seccomp action {action:#010x}: this kernel does not know it")]
    ActionUnsupported {
        /// `SECCOMP_RET_*`.
        action: u32,
    },
    /// Stored bytes are not a program.
    #[error("read stored seccomp program: {fault}")]
    Stored {
        /// What is wrong with them.
        fault: StoredFault,
    },
    /// The cache directory cannot be used.
    #[error("open seccomp cache {}", path.display())]
    CacheOpen {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The cache directory is open to others.
    #[error("open seccomp cache {}: {fault}", path.display())]
    CacheUnsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        fault: CacheFault,
    },
    /// An entry could not be stored. The program itself is good.
    #[error("write seccomp cache entry")]
    CacheWrite {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with a stored program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredFault {
    /// Shorter than its own header, or longer than it says.
    #[error("the length does not fit")]
    Length,
    /// Not a program at all.
    #[error("the magic is missing")]
    Magic,
    /// Written by another version.
    #[error("another version wrote it")]
    Version,
    /// Flags or header fields that no version writes.
    #[error("the header has unknown bits")]
    Header,
    /// A jump or an operation that the compiler never emits.
    #[error("an instruction is not one that the compiler emits")]
    Instruction,
}

/// What is wrong with a cache directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheFault {
    /// Somebody else's.
    #[error("another user owns it")]
    Owner,
    /// Group or others can enter it.
    #[error("others may enter it")]
    Mode,
    /// A file, a device, a symbolic link.
    #[error("it is not a directory")]
    NotDirectory,
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::NotifyDefault
            | Self::NotifyWrite { .. }
            | Self::NotifyWithoutListener { .. }
            | Self::MetadataWithoutListener
            | Self::ErrnoWithoutUse { .. }
            | Self::ErrnoTooLarge { .. }
            | Self::ArgumentIndex { .. }
            | Self::EmptyName { .. }
            | Self::Contradiction { .. }
            | Self::TooLong { .. } => Class::Invalid,
            Self::NativeUnsupported { .. }
            | Self::FlagUnsupported { .. }
            | Self::ListenerUnsupported
            | Self::ActionUnsupported { .. } => Class::Unsupported,
            Self::CacheUnsafe { .. } => Class::Denied,
            Self::Stored { .. } | Self::CacheOpen { .. } | Self::CacheWrite { .. } => {
                Class::Internal
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NativeUnsupported { .. } => "E_SECCOMP_ARCH",
            Self::NotifyDefault
            | Self::NotifyWrite { .. }
            | Self::NotifyWithoutListener { .. }
            | Self::MetadataWithoutListener => "E_SECCOMP_NOTIFY",
            Self::ErrnoWithoutUse { .. } | Self::ErrnoTooLarge { .. } => "E_SECCOMP_ERRNO",
            Self::ArgumentIndex { .. } | Self::EmptyName { .. } | Self::Contradiction { .. } => {
                "E_SECCOMP_RULE"
            }
            Self::TooLong { .. } => "E_SECCOMP_LENGTH",
            Self::FlagUnsupported { .. }
            | Self::ListenerUnsupported
            | Self::ActionUnsupported { .. } => "E_SECCOMP_KERNEL",
            Self::Stored { .. } => "E_SECCOMP_STORED",
            Self::CacheOpen { .. } | Self::CacheUnsafe { .. } | Self::CacheWrite { .. } => {
                "E_SECCOMP_CACHE"
            }
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        let field = match self {
            Self::NotifyDefault => "linux.seccomp.defaultAction".into(),
            Self::MetadataWithoutListener => "linux.seccomp.listenerMetadata".into(),
            Self::NotifyWithoutListener { .. } => "linux.seccomp.listenerPath".into(),
            Self::FlagUnsupported { .. } => "linux.seccomp.flags".into(),
            Self::TooLong { .. } => "linux.seccomp.syscalls".into(),
            Self::ErrnoWithoutUse { index: None, .. } | Self::ErrnoTooLarge { index: None, .. } => {
                "linux.seccomp.defaultErrnoRet".into()
            }
            Self::ErrnoWithoutUse {
                index: Some(index), ..
            }
            | Self::ErrnoTooLarge {
                index: Some(index), ..
            } => format!("linux.seccomp.syscalls[{index}].errnoRet").into(),
            Self::NotifyWrite { index } | Self::Contradiction { index, .. } => {
                format!("linux.seccomp.syscalls[{index}].action").into()
            }
            Self::ArgumentIndex { index, .. } => {
                format!("linux.seccomp.syscalls[{index}].args").into()
            }
            Self::EmptyName { index } => format!("linux.seccomp.syscalls[{index}].names").into(),
            _ => return None,
        };
        Some(field)
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::NotifyDefault => "name the calls to notify about and take another default action",
            Self::NotifyWrite { .. } => "take write out of the rule",
            Self::NotifyWithoutListener { .. } | Self::MetadataWithoutListener => {
                "set listenerPath to the agent's socket"
            }
            Self::ErrnoWithoutUse { .. } => "drop errnoRet or use SCMP_ACT_ERRNO or SCMP_ACT_TRACE",
            Self::Contradiction { .. } => "keep one of the two rules",
            Self::TooLong { .. } => "use fewer rules with argument conditions",
            Self::FlagUnsupported { .. }
            | Self::ListenerUnsupported
            | Self::ActionUnsupported { .. } => "use a newer kernel or drop it from the profile",
            Self::Stored { .. } => "delete the container and create it again",
            Self::CacheUnsafe { .. } => {
                "make it a directory of mode 0700 owned by the runtime's user"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
