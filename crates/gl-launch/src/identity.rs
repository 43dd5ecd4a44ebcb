//! Who a process of the container is: limits, ids, capabilities, labels. For init and for exec.
//!
//! The order matters and each step says why. Capabilities that the last steps need are kept until
//! [`finish`], which runs after the seccomp filter where `no_new_privs` is not set: attaching one
//! needs `CAP_SYS_ADMIN` then.

use std::os::fd::OwnedFd;
use std::path::Path;

use gl_plan::Process;
use gl_rootfs::{Note, Procfs};
use gl_sys::SchedAttr;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, CpuSet, Gid, Uid};

use crate::label;
use crate::step::{Fault, Own};

/// Bit of `CAP_SYS_ADMIN`.
const SYS_ADMIN: u64 = 1 << 21;

/// How long `CAP_SYS_ADMIN` is kept for what comes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// Until the filter is attached, if that takes it: see [`finish`].
    UntilFilter,
    /// Until `start` at least, which changes a namespace: see [`settle`].
    UntilStart,
}

/// Scheduling and memory placement, while we still may.
pub(crate) fn set_scheduling(process: &Process) -> Result<(), Fault> {
    if let Some(policy) = &process.scheduling {
        let attr = SchedAttr {
            size: 0,
            policy: policy.policy,
            flags: policy.flags,
            nice: policy.nice,
            priority: policy.priority,
            runtime: policy.runtime,
            deadline: policy.deadline,
            period: policy.period,
        };
        gl_sys::sched_setattr(&attr).map_err(Fault::of(Own::Scheduler))?;
    }
    if let Some(priority) = process.io_priority {
        gl_sys::ioprio_set(priority.0).map_err(Fault::of(Own::IoPriority))?;
    }
    if let Some((mode, nodes)) = &process.memory_policy {
        gl_sys::set_mempolicy(*mode, nodes).map_err(Fault::of(Own::MemoryPolicy))?;
    }
    if let Some(persona) = process.personality {
        gl_sys::set_personality(persona).map_err(Fault::of(Own::Personality))?;
    }
    Ok(())
}

/// Moves this process to these CPUs.
pub(crate) fn set_affinity(cpus: Option<&[u32]>) -> Result<(), Fault> {
    let Some(cpus) = cpus else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu as usize);
    }
    rustix::thread::sched_setaffinity(None, &set).map_err(Fault::of(Own::Affinity))
}

/// Ids and groups, and the capability sets as far as they go before [`finish`].
pub(crate) fn become_user(process: &Process, late: Late) -> Result<(), Fault> {
    drop_bounding(process.capabilities.bounding).map_err(Fault::of(Own::Bounding))?;
    if !process.keep_groups {
        let groups: Vec<Gid> = process
            .groups
            .iter()
            .map(|gid| Gid::from_raw(*gid))
            .collect();
        rustix::thread::set_thread_groups(&groups).map_err(Fault::of(Own::Groups))?;
    }
    let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(Fault::of(Own::Ids))?;
    if process.uid != 0 {
        // Without this the change from root to another user would clear the permitted set.
        rustix::thread::set_keep_capabilities(true).map_err(Fault::of(Own::Ids))?;
    }
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(Fault::of(Own::Ids))?;
    // Group and user changes make the process dumpable by the rules of the host; take it back.
    hide()?;
    let late = match late {
        Late::UntilFilter if process.no_new_privileges => 0,
        _ => SYS_ADMIN,
    };
    let wanted = process.capabilities;
    let held = rustix::thread::capabilities(None).map_err(Fault::of(Own::Capabilities))?;
    let permitted = held.permitted.bits() & (wanted.permitted | late);
    let interim = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(permitted & (wanted.effective | late)),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(wanted.inheritable & held.permitted.bits()),
    };
    rustix::thread::set_capabilities(None, interim).map_err(Fault::of(Own::Capabilities))?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(Fault::of(Own::NoNewPrivileges))?;
        set_ambient(wanted.ambient & permitted)?;
    }
    Ok(())
}

/// Bit of `CAP_SETPCAP`.
const SETPCAP: u64 = 1 << 8;

/// Bounds a process that stays the user that it is: `no_new_privs`, and no capability beyond the wanted.
///
/// Without `CAP_SETPCAP` the bounding set stays as it is, which then bounds nothing: under `no_new_privs` an
/// execve adds none to the permitted set, not even for root.
pub(crate) fn bound(process: &Process) -> Result<(), Fault> {
    let failed = Fault::of(Own::Capabilities);
    let held = rustix::thread::capabilities(None).map_err(&failed)?;
    let wanted = process.capabilities;
    if held.effective.bits() & SETPCAP != 0 {
        drop_bounding(wanted.bounding).map_err(Fault::of(Own::Bounding))?;
    }
    rustix::thread::set_no_new_privs(true).map_err(Fault::of(Own::NoNewPrivileges))?;
    rustix::thread::clear_ambient_capability_set().map_err(Fault::of(Own::Ambient))?;
    let permitted = held.permitted.bits() & wanted.permitted;
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(permitted & wanted.effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(failed)
}

/// Drops what was kept until `start`. With `no_new_privs` that is now: a filter takes no capability
/// then, and may deny the call. Without, it is [`finish`] that does.
pub(crate) fn settle(process: &Process) -> Result<(), Fault> {
    match process.no_new_privileges {
        true => drop_late(process).map(drop),
        false => Ok(()),
    }
}

/// Makes this process's memory, descriptors and root unreadable to processes of the container.
pub(crate) fn hide() -> Result<(), Fault> {
    let no = rustix::process::DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(no).map_err(Fault::of(Own::Hide))
}

/// Drops what only attaching a filter without `no_new_privs` needed.
pub(crate) fn finish(process: &Process) -> Result<(), Fault> {
    if process.no_new_privileges {
        return Ok(());
    }
    let permitted = drop_late(process)?;
    set_ambient(process.capabilities.ambient & permitted)
}

/// Takes the sets that are wanted, of those that are held; returns what was permitted.
fn drop_late(process: &Process) -> Result<u64, Fault> {
    let held = rustix::thread::capabilities(None).map_err(Fault::of(Own::Capabilities))?;
    let wanted = process.capabilities;
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(wanted.effective & held.permitted.bits()),
        permitted: CapabilitySet::from_bits_retain(wanted.permitted & held.permitted.bits()),
        inheritable: held.inheritable,
    };
    rustix::thread::set_capabilities(None, sets).map_err(Fault::of(Own::Capabilities))?;
    Ok(held.permitted.bits())
}

fn set_ambient(wanted: u64) -> Result<(), Fault> {
    for number in bits(wanted) {
        let one = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::configure_capability_in_ambient_set(one, true)
            .map_err(Fault::at(Own::Ambient, number as usize))?;
    }
    Ok(())
}

fn drop_bounding(keep: u64) -> Result<(), Errno> {
    for number in (0..64).filter(|number| keep & (1 << number) == 0) {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // One past the last capability that this kernel has.
            Err(Errno::INVAL) if number > 0 => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |number| set & (1 << number) != 0)
}

/// Lowers limits to what the plan says. The runtime has raised hard limits from outside before,
/// which takes a privilege that this process may not have.
pub(crate) fn set_rlimits(process: &Process) -> Result<(), Fault> {
    for (index, limit) in process.rlimits.iter().enumerate() {
        let Some(resource) = resource(limit.resource) else {
            return Err(Fault::at(Own::Rlimit, index)(Errno::INVAL));
        };
        rustix::process::setrlimit(resource, kernel_limit(limit.soft, limit.hard))
            .map_err(Fault::at(Own::Rlimit, index))?;
    }
    bound_rlimits(process)
}

/// Lowers what was inherited, which takes no privilege.
fn bound_rlimits(process: &Process) -> Result<(), Fault> {
    for bound in &process.rlimit_bounds {
        let failed = Fault::of(Own::RlimitBound);
        let resource = resource(bound.resource).ok_or_else(|| failed(Errno::INVAL))?;
        let held = rustix::process::getrlimit(resource);
        let lower = |held: Option<u64>| held.map_or(bound.max, |held| held.min(bound.max));
        let limit = kernel_limit(lower(held.current), lower(held.maximum));
        rustix::process::setrlimit(resource, limit).map_err(failed)?;
    }
    Ok(())
}

/// The pair as rustix has it.
pub(crate) fn kernel_limit(soft: u64, hard: u64) -> Rlimit {
    let value = |limit| (limit != u64::MAX).then_some(limit);
    Rlimit {
        current: value(soft),
        maximum: value(hard),
    }
}

/// The resource with this `RLIMIT_*` number of `<asm-generic/resource.h>`.
pub(crate) fn resource(number: u32) -> Option<Resource> {
    [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ]
    .get(number as usize)
    .copied()
}

/// Security labels that take effect at the execve, each with its open attribute file.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    files: Vec<Label>,
}

/// Whose label it is; the number goes into a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    AppArmor = 0,
    SeLinux = 1,
}

#[derive(Debug)]
struct Label {
    module: Module,
    file: OwnedFd,
    label: Vec<u8>,
}

impl Labels {
    /// Opens the attribute files, while procfs can still be reached.
    pub(crate) fn open(process: &Process, proc: &Procfs) -> Result<Self, Fault> {
        let mut labels = Self::default();
        if let Some(profile) = &process.apparmor {
            let names = ["attr/apparmor/exec", "attr/exec"];
            labels.add(proc, &names, (Module::AppArmor, profile))?;
        }
        if let Some(context) = &process.selinux {
            labels.add(proc, &["attr/exec"], (Module::SeLinux, context))?;
        }
        Ok(labels)
    }

    fn add(
        &mut self,
        proc: &Procfs,
        names: &[&str],
        (module, label): (Module, &str),
    ) -> Result<(), Fault> {
        let mut errno = Errno::NOENT;
        for name in names {
            match proc.open(&Path::new("thread-self").join(name), OFlags::RDWR) {
                Ok(file) => {
                    let label = label.as_bytes().to_vec();
                    self.files.push(Label {
                        module,
                        file,
                        label,
                    });
                    return Ok(());
                }
                Err(seen) => errno = seen,
            }
        }
        Err(Fault::at(Own::Label, module as usize)(errno))
    }

    /// Writes the labels and reads them back.
    pub(crate) fn apply(&self) -> Result<(), Fault> {
        self.files.iter().try_for_each(Label::apply)
    }
}

impl Label {
    fn apply(&self) -> Result<(), Fault> {
        let (module, wanted) = (self.module, self.label.as_slice());
        let command: &[u8] = match module {
            Module::AppArmor => b"exec ",
            Module::SeLinux => b"",
        };
        let value = [command, wanted].concat();
        let written = rustix::io::write(&self.file, &value);
        let written = written.map_err(Fault::at(Own::Label, module as usize))?;
        let failed = Fault::at(Own::LabelCheck, module as usize);
        let mut seen = [0; 4096];
        let len = rustix::io::pread(&self.file, &mut seen, 0).map_err(&failed)?;
        let seen = seen.get(..len).unwrap_or_default();
        if written != value.len() || !shows(module, seen, wanted) {
            return Err(Fault {
                note: Note::new(seen),
                ..failed(Errno::ACCESS)
            });
        }
        Ok(())
    }
}

/// Joins a new session keyring that has this `SELinux` context.
///
/// The context is for this one key: the process makes none with it later.
pub(crate) fn join_labelled_keyring(context: &str, proc: &Procfs) -> Result<(), Fault> {
    let failed = Fault::at(Own::KeyringLabel, Module::SeLinux as usize);
    let path = Path::new("thread-self/attr/keycreate");
    let file = proc.open(path, OFlags::RDWR).map_err(&failed)?;
    let written = rustix::io::write(&file, context.as_bytes()).map_err(&failed)?;
    let mut seen = [0; 4096];
    let len = rustix::io::pread(&file, &mut seen, 0).map_err(&failed)?;
    let seen = seen.get(..len).unwrap_or_default();
    if written != context.len() || !shows(Module::SeLinux, seen, context.as_bytes()) {
        return Err(Fault {
            note: Note::new(seen),
            ..failed(Errno::ACCESS)
        });
    }
    join_keyring()?;
    // One byte, which is cut off: a write of nothing does not reach the module.
    rustix::io::write(&file, b"\n").map(drop).map_err(failed)
}

/// Leaves the caller's keys behind.
pub(crate) fn join_keyring() -> Result<(), Fault> {
    match gl_sys::join_new_session_keyring() {
        // A kernel without keys has none to leak.
        Ok(()) | Err(Errno::NOSYS) => Ok(()),
        Err(errno) => Err(Fault::of(Own::Keyring)(errno)),
    }
}

/// Whether what the attribute file shows is this label.
fn shows(module: Module, seen: &[u8], wanted: &[u8]) -> bool {
    let seen = seen.trim_ascii_end();
    let seen = seen.strip_suffix(b"\0").unwrap_or(seen);
    match (
        module,
        std::str::from_utf8(seen),
        std::str::from_utf8(wanted),
    ) {
        (Module::AppArmor, Ok(seen), Ok(wanted)) => label::shows_profile(seen, wanted),
        _ => seen == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_is_recognised_with_and_without_its_mode() {
        for (seen, apparmor, selinux) in [
            (&b"docker-default"[..], true, true),
            (b"docker-default (enforce)\n", true, false),
            (b"docker-default\0", true, true),
            (b"docker-default2", false, false),
            (b"unconfined", false, false),
            (b"", false, false),
        ] {
            for (module, want) in [(Module::AppArmor, apparmor), (Module::SeLinux, selinux)] {
                assert_eq!(
                    shows(module, seen, b"docker-default"),
                    want,
                    "{module:?} {}",
                    seen.escape_ascii()
                );
            }
        }
    }
}
