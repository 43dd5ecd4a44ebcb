//! The steps of a launch that the child takes, as numbers for the records.

use gl_rootfs::{Failure, Note};
use rustix::io::Errno;

/// What the child was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Building the mount tree.
    Rootfs(gl_rootfs::Step),
    /// Anything else.
    Own(Own),
}

/// The child's steps beside the mount tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Own {
    Sync = 1000,
    Hide,
    JoinCgroup,
    JoinNamespace,
    CgroupNamespace,
    TimeNamespace,
    Loopback,
    ForkAgain,
    BecomeRoot,
    Session,
    Keyring,
    KeyringLabel,
    Hostname,
    Domainname,
    Hook,
    SendTerminal,
    ControllingTerminal,
    Stdio,
    StdioOwner,
    Cwd,
    CwdOutside,
    Affinity,
    Scheduler,
    IoPriority,
    MemoryPolicy,
    Personality,
    Rlimit,
    RlimitBound,
    NetworkRenewal,
    Bounding,
    Groups,
    Ids,
    Capabilities,
    Ambient,
    NoNewPrivileges,
    Landlock,
    LandlockPath,
    Label,
    LabelCheck,
    Passwd,
    LookupPath,
    LookupFile,
    Descriptors,
    Gate,
    Seccomp,
    Listener,
    Signals,
    Reaper,
    Execve,
}

const OWN: [(Own, &str); 49] = [
    (Own::Sync, "talk to the runtime"),
    (Own::Hide, "hide from other processes"),
    (Own::JoinCgroup, "join the cgroup"),
    (Own::JoinNamespace, "join the namespace"),
    (Own::CgroupNamespace, "create the cgroup namespace"),
    (
        Own::TimeNamespace,
        "create the time namespace with linux.timeOffsets",
    ),
    (Own::Loopback, "bring the loopback interface up"),
    (Own::ForkAgain, "start a process in the namespaces"),
    (Own::BecomeRoot, "become root of the user namespace"),
    (Own::Session, "start a session"),
    (Own::Keyring, "join a new session keyring"),
    (Own::KeyringLabel, "label the session keyring"),
    (Own::Hostname, "set the host name"),
    (Own::Domainname, "set the domain name"),
    (Own::Hook, "run the hook"),
    (Own::SendTerminal, "send the terminal to the console socket"),
    (Own::ControllingTerminal, "take the terminal"),
    (Own::Stdio, "set up stdin, stdout and stderr"),
    (Own::StdioOwner, "give stdin, stdout and stderr to the user"),
    (Own::Cwd, "change to the working directory"),
    (
        Own::CwdOutside,
        "use the working directory: it is outside the container",
    ),
    (Own::Affinity, "set the CPU affinity"),
    (Own::Scheduler, "set the scheduling policy"),
    (Own::IoPriority, "set the I/O priority"),
    (Own::MemoryPolicy, "set the memory policy"),
    (Own::Personality, "set the personality"),
    (Own::Rlimit, "set the resource limit"),
    (Own::RlimitBound, "lower the resource limit"),
    (
        Own::NetworkRenewal,
        "leave the network that the engine has set up",
    ),
    (Own::Bounding, "drop a capability from the bounding set"),
    (Own::Groups, "set the supplementary groups"),
    (Own::Ids, "set user and group"),
    (Own::Capabilities, "set the capabilities"),
    (Own::Ambient, "set the ambient capabilities"),
    (Own::NoNewPrivileges, "set no_new_privs"),
    (Own::Landlock, "give up rights by Landlock"),
    (Own::LandlockPath, "allow the path by Landlock"),
    (Own::Label, "set the security label"),
    (
        Own::LabelCheck,
        "use the security label: the kernel shows another one",
    ),
    (Own::Passwd, "read /etc/passwd of the container"),
    (Own::LookupPath, "executable file not found in $PATH"),
    (Own::LookupFile, "stat the executable"),
    (Own::Descriptors, "keep the descriptors from the program"),
    (Own::Gate, "wait for start"),
    (Own::Seccomp, "attach the seccomp filter"),
    (Own::Listener, "hand the seccomp listener over"),
    (Own::Signals, "reset the signals"),
    (Own::Reaper, "start the program below the first process"),
    (Own::Execve, "execute the program"),
];

impl Step {
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Rootfs(step) => step as u16,
            Self::Own(step) => step as u16,
        }
    }

    pub(crate) fn from_number(number: u16) -> Option<Self> {
        let own = OWN.iter().find(|(step, _)| *step as u16 == number);
        match own {
            Some((step, _)) => Some(Self::Own(*step)),
            None => gl_rootfs::Step::from_number(number).map(Self::Rootfs),
        }
    }

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Rootfs(step) => step.describe(),
            Self::Own(own) => OWN
                .iter()
                .find(|(step, _)| *step == own)
                .map_or("launch", |(_, text)| text),
        }
    }
}

/// A failed step of the child, fit for a record.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) step: Step,
    pub(crate) index: u16,
    pub(crate) errno: Errno,
    pub(crate) note: Note,
}

impl Fault {
    /// A fault of `step`, for `map_err`.
    pub(crate) fn of(step: Own) -> impl Fn(Errno) -> Self {
        Self::at(step, 0)
    }

    /// A fault of `step` at a position of the plan, for `map_err`.
    pub(crate) fn at(step: Own, index: usize) -> impl Fn(Errno) -> Self {
        move |errno| Self {
            step: Step::Own(step),
            index: u16::try_from(index).unwrap_or(u16::MAX),
            errno,
            note: Note::empty(),
        }
    }

    /// A fault of `step` that names something, for `map_err`.
    pub(crate) fn named(step: Own, what: &[u8]) -> impl Fn(Errno) -> Self {
        move |errno| Self {
            step: Step::Own(step),
            index: 0,
            errno,
            note: Note::new(what),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self {
            step: Step::Rootfs(failure.step),
            index: failure.index,
            errno: failure.errno,
            note: failure.note,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_one_number_and_a_text() {
        for (index, (step, text)) in OWN.iter().enumerate() {
            assert_eq!(*step as usize, 1000 + index, "{text}");
            assert_eq!(
                Step::from_number(*step as u16),
                Some(Step::Own(*step)),
                "{text}"
            );
        }
        let rootfs = Step::Rootfs(gl_rootfs::Step::Pivot);
        assert_eq!(Step::from_number(rootfs.number()), Some(rootfs));
        assert_eq!(Step::from_number(0), None);
    }
}
