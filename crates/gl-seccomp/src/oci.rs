//! `linux.seccomp` of config.json to a policy, with the meaning that runc and libseccomp give it.
//!
//! # Spec
//!
//! runtime-spec `config-linux.md`, "Seccomp". What the spec leaves open is decided as runc and
//! libseccomp do, because engines write their lists for them:
//!
//! - The native architecture is always part of the filter. Listed architectures that cannot occur
//!   on this kernel change nothing; calls of an ABI that is not listed kill the thread.
//! - A rule whose action is the default action is left out. Unknown names are ignored.
//! - The conditions of a rule must all hold, unless one argument occurs twice: then each condition
//!   is a rule of its own.
//! - Of several rules for one call the first without conditions decides alone. Among rules with
//!   conditions the higher argument is asked first, then equality before ranges, then the narrower
//!   range; see `order`.
//! - On the 32-bit ABIs only the low half of an argument counts.
//! - On x86 the socket and System V calls are also reached through `socketcall` and `ipc`: there the
//!   selector takes the place of the condition on argument 0. The other conditions stay, though they
//!   then look at a pointer; a list that filters sockets by argument should deny `socketcall`.
//!
//! # Calls newer than the profile
//!
//! Programs probe for new calls and fall back on `ENOSYS`, not on `EPERM` (moby#42871). So if the
//! default action refuses calls (anything but ALLOW, LOG and TRACE), a number above the highest one
//! that the profile names, with whatever action, gets `ENOSYS`. runc does the same; unlike runc
//! we count the native architecture even if it is not listed, do not let x32's block from 512
//! to 547 or ARM's private calls pass for the newest, and leave -1 (a call that a tracer skips) alone.

use gl_spec::oci::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSyscall};

use crate::abi::Abi;
use crate::error::Error;
use crate::names;
use crate::policy::{Call, Policy, Space, Verdict};
use crate::program::{Flags, flag_of};
use crate::table::{Contradiction, Table};

/// `EPERM`, the errno of ERRNO and TRACE if none is given.
const EPERM: u16 = 1;
/// `MAX_ERRNO`: the kernel cuts larger ones down to it.
const MAX_ERRNO: u16 = 4095;

/// Reads a seccomp section for a kernel of the architecture `native`.
///
/// # Errors
///
/// What the spec or runc refuses, see [`Error`]; unknown names and architectures are not errors.
pub fn policy(seccomp: &LinuxSeccomp, native: Arch) -> Result<Policy, Error> {
    policy_with_foreign(seccomp, native, Verdict::KILL_THREAD)
}

/// As [`policy`], but calls of an ABI that is not listed get `foreign` instead of killing the thread.
///
/// # Errors
///
/// As [`policy`].
pub fn policy_with_foreign(
    seccomp: &LinuxSeccomp,
    native: Arch,
    foreign: Verdict,
) -> Result<Policy, Error> {
    of_abis(seccomp, &abis(seccomp, native)?, foreign)
}

/// As [`policy`], tightened by `other`, whose errno is taken only where the section refuses with none.
///
/// ABIs that `other` leaves to its foreign verdict are not read where that ends the process: nothing is
/// stricter, so no answer of the section could count.
///
/// # Errors
///
/// As [`policy`].
pub fn policy_tightened_by(
    seccomp: &LinuxSeccomp,
    native: Arch,
    other: &Policy,
) -> Result<Policy, Error> {
    let mut abis = abis(seccomp, native)?;
    if other.foreign == Verdict::KILL_PROCESS {
        let answers = |abi: &Abi| other.spaces.iter().any(|space| space.audit == abi.audit());
        // Of the two ABIs that share a space, x32 is answered as foreign where it is not listed.
        abis.retain(|abi| answers(abi) && (*abi != Abi::X32 || other.answers_x32()));
    }
    let own = of_abis(seccomp, &abis, Verdict::KILL_THREAD)?;
    Ok(own.tightened_by(other))
}

fn of_abis(seccomp: &LinuxSeccomp, abis: &[Abi], foreign: Verdict) -> Result<Policy, Error> {
    let default = verdict(seccomp.default_action(), seccomp.default_errno_ret(), None)?;
    let syscalls = seccomp.syscalls().as_deref().unwrap_or_default();
    let mut flags = flags(seccomp, syscalls)?;
    let mut tables: Vec<Table> = abis.iter().map(|&abi| Table::new(abi)).collect();
    for (index, syscall) in syscalls.iter().enumerate() {
        add(&mut tables, index, syscall, default)?;
    }
    if syscalls.iter().any(is_notify) {
        flags = flags.with(Flags::NEW_LISTENER);
    }
    Ok(Policy {
        spaces: spaces(tables, default, foreign),
        foreign,
        flags: flags.settled(),
    })
}

/// The ABIs of the filter, the native one first.
fn abis(seccomp: &LinuxSeccomp, native: Arch) -> Result<Vec<Abi>, Error> {
    let own = Abi::from_oci(native, native).ok_or(Error::NativeUnsupported { native })?;
    let mut abis = vec![own];
    for &arch in seccomp.architectures().iter().flatten() {
        if let Some(abi) = Abi::from_oci(arch, native)
            && !abis.contains(&abi)
        {
            abis.push(abi);
        }
    }
    Ok(abis)
}

/// Checks what concerns the listener, and collects the flags.
fn flags(seccomp: &LinuxSeccomp, syscalls: &[LinuxSyscall]) -> Result<Flags, Error> {
    if seccomp.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(Error::NotifyDefault);
    }
    // Engines written in Go may send "" for what is not set.
    let path = seccomp.listener_path().as_ref();
    let listener = path.is_some_and(|path| !path.as_os_str().is_empty());
    let metadata = seccomp.listener_metadata().as_deref().unwrap_or_default();
    if !metadata.is_empty() && !listener {
        return Err(Error::MetadataWithoutListener);
    }
    for (index, syscall) in syscalls.iter().enumerate() {
        if !is_notify(syscall) {
            continue;
        }
        if syscall.names().iter().any(|name| name == "write") {
            return Err(Error::NotifyWrite { index });
        }
        if !listener {
            return Err(Error::NotifyWithoutListener { index });
        }
    }
    let wanted = seccomp.flags().iter().flatten();
    Ok(wanted.fold(Flags::default(), |all, &flag| all.with(flag_of(flag))))
}

fn is_notify(syscall: &LinuxSyscall) -> bool {
    syscall.action() == LinuxSeccompAction::ScmpActNotify
}

/// What an action with its errno makes the filter return.
fn verdict(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    index: Option<usize>,
) -> Result<Verdict, Error> {
    let with_data = |max: u16| match errno {
        None => Ok(EPERM),
        Some(errno) => match u16::try_from(errno) {
            Ok(data) if data <= max => Ok(data),
            _ => Err(Error::ErrnoTooLarge {
                index,
                action,
                errno,
                max: max.into(),
            }),
        },
    };
    let plain = match action {
        LinuxSeccompAction::ScmpActErrno => return with_data(MAX_ERRNO).map(Verdict::errno),
        LinuxSeccompAction::ScmpActTrace => return with_data(u16::MAX).map(Verdict::trace),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            Verdict::KILL_THREAD
        }
        LinuxSeccompAction::ScmpActKillProcess => Verdict::KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => Verdict::TRAP,
        LinuxSeccompAction::ScmpActNotify => Verdict::NOTIFY,
        LinuxSeccompAction::ScmpActLog => Verdict::LOG,
        LinuxSeccompAction::ScmpActAllow => Verdict::ALLOW,
    };
    match errno {
        None => Ok(plain),
        Some(_) => Err(Error::ErrnoWithoutUse { index, action }),
    }
}

/// Adds one entry of `syscalls` to every table.
fn add(
    tables: &mut [Table],
    index: usize,
    syscall: &LinuxSyscall,
    default: Verdict,
) -> Result<(), Error> {
    let verdict = verdict(syscall.action(), syscall.errno_ret(), Some(index))?;
    let args = syscall.args().as_deref().unwrap_or_default();
    if let Some(arg) = args.iter().find(|arg| arg.index() > 5) {
        let argument = arg.index();
        return Err(Error::ArgumentIndex { index, argument });
    }
    for name in syscall.names() {
        let Some(row) = names::find(name) else {
            if name.is_empty() {
                return Err(Error::EmptyName { index });
            }
            continue;
        };
        for table in &mut *tables {
            table.note(row);
            if verdict == default {
                continue;
            }
            for args in alternatives(args) {
                table
                    .add(row, args, verdict)
                    .map_err(|Contradiction| Error::Contradiction {
                        index,
                        call: row.name(),
                    })?;
            }
        }
    }
    Ok(())
}

/// Splits conditions into rules as runc does: one rule, or one for each condition if two test the
/// same argument.
fn alternatives(args: &[LinuxSeccompArg]) -> impl Iterator<Item = &[LinuxSeccompArg]> {
    let mut seen = 0_u8;
    let twice = args.iter().any(|arg| {
        let bit = 1 << arg.index();
        let before = seen;
        seen |= bit;
        before & bit != 0
    });
    let (whole, each) = if twice {
        (None, args)
    } else {
        (Some(args), [].as_slice())
    };
    whole.into_iter().chain(each.chunks(1))
}

/// Joins the tables to spaces, one for each `AUDIT_ARCH_*`.
pub(crate) fn spaces(tables: Vec<Table>, default: Verdict, foreign: Verdict) -> Vec<Space> {
    let has_x32 = tables.iter().any(|table| table.abi() == Abi::X32);
    let mut spaces: Vec<Space> = Vec::with_capacity(tables.len());
    // x32 is the upper half of x86-64's numbers, so it comes last.
    let (x32, others): (Vec<_>, Vec<_>) = tables.into_iter().partition(|t| t.abi() == Abi::X32);
    for table in others {
        let native_x86 = table.abi() == Abi::X86_64;
        let mut space = Space::new(table.abi().audit());
        table.fill(&mut space, default);
        if native_x86 && !has_x32 {
            space.push(Abi::X32_BIT, Call::always(foreign));
        }
        spaces.push(space);
    }
    for table in x32 {
        if let Some(space) = spaces.iter_mut().find(|s| s.audit == Abi::X32.audit()) {
            table.fill(space, default);
        }
    }
    for space in &mut spaces {
        // A tracer writes -1 to skip a call; that is no call of any ABI.
        space.push(u32::MAX, Call::always(default));
    }
    spaces
}
