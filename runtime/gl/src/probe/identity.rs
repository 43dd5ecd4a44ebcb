//! Who the program is: users, capabilities, what it has from its caller.

use gl_sys::{Attempt, attempt};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Bait, SECRET_VARIABLE, Seen};

/// A line of `/proc/self/status`.
fn status(key: &str) -> Result<String, Seen> {
    let text = std::fs::read_to_string("/proc/self/status");
    let text = text.map_err(|err| Seen::Unable(format!("read /proc/self/status: {err}")))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let value = line.and_then(|line| line.strip_prefix(':'));
    let value = value.ok_or_else(|| Seen::Unable(format!("/proc/self/status has no {key}")))?;
    Ok(value.trim().to_owned())
}

/// Whether executing a program with set-user-id or file capabilities gives what it says.
pub(super) fn new_privileges(_: &Bait) -> Seen {
    match rustix::thread::no_new_privs() {
        Ok(set) => Seen::when(!set, if set { "no_new_privs" } else { "" }),
        Err(errno) => Seen::of(Err::<(), _>(errno)),
    }
}

fn has_capability(key: &str) -> Seen {
    match status(key) {
        Ok(bits) => Seen::when(
            bits.bytes().any(|digit| digit != b'0'),
            format!("{key} {bits}"),
        ),
        Err(seen) => seen,
    }
}

pub(super) fn effective(_: &Bait) -> Seen {
    has_capability("CapEff")
}

pub(super) fn permitted(_: &Bait) -> Seen {
    has_capability("CapPrm")
}

pub(super) fn bounding(_: &Bait) -> Seen {
    has_capability("CapBnd")
}

pub(super) fn raise_capability(_: &Bait) -> Seen {
    let mut sets = match rustix::thread::capabilities(None) {
        Ok(sets) => sets,
        Err(errno) => return Seen::of(Err::<CapabilitySets, _>(errno)),
    };
    sets.permitted |= CapabilitySet::SYS_ADMIN;
    sets.effective |= CapabilitySet::SYS_ADMIN;
    Seen::of(rustix::thread::set_capabilities(None, sets))
}

/// Somebody else: root for users, a user for root.
fn other() -> u32 {
    match rustix::process::geteuid().is_root() {
        true => 12_345,
        false => 0,
    }
}

pub(super) fn other_user(_: &Bait) -> Seen {
    Seen::of(attempt(Attempt::SetUser(other())))
}

pub(super) fn other_group(_: &Bait) -> Seen {
    Seen::of(attempt(Attempt::SetGroup(other())))
}

pub(super) fn drop_groups(_: &Bait) -> Seen {
    Seen::of(attempt(Attempt::DropGroups))
}

/// Lowers the hard limit of open files by one, and raises it again.
pub(super) fn raise_limit(_: &Bait) -> Seen {
    let before = getrlimit(Resource::Nofile);
    let high = before.maximum.unwrap_or(1 << 20);
    if high == 0 {
        return Seen::Unable("the limit is 0 already".to_owned());
    }
    let lower = Rlimit {
        current: before.current.map(|current| current.min(high - 1)),
        maximum: Some(high - 1),
    };
    if let Err(errno) = setrlimit(Resource::Nofile, lower) {
        return Seen::Unable(format!("lower a limit: {errno}"));
    }
    Seen::of(setrlimit(Resource::Nofile, before))
}

/// Makes it less likely than it is that the kernel ends this process when memory is short.
pub(super) fn survive_others(_: &Bait) -> Seen {
    let path = "/proc/self/oom_score_adj";
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) => return Seen::io(Err::<(), _>(err)),
    };
    let score: i32 = text.trim().parse().unwrap_or(0);
    if score <= -1000 {
        return Seen::Unable("it is never ended already".to_owned());
    }
    Seen::io(std::fs::write(path, (score - 1).to_string()))
}

pub(super) fn higher_priority(_: &Bait) -> Seen {
    Seen::of(attempt(Attempt::HigherPriority))
}

pub(super) fn real_time(_: &Bait) -> Seen {
    Seen::of(attempt(Attempt::RealTime))
}

pub(super) fn memory_map(_: &Bait) -> Seen {
    Seen::past(attempt(Attempt::SetMemoryMap), &[Errno::INVAL])
}

pub(super) fn variable(_: &Bait) -> Seen {
    Seen::when(std::env::var_os(SECRET_VARIABLE).is_some(), "")
}

/// Descriptors beyond the three streams.
pub(super) fn descriptors(_: &Bait) -> Seen {
    let entries = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries,
        Err(err) => return Seen::io(Err::<(), _>(err)),
    };
    let links = entries.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let link = std::fs::read_link(entry.path()).ok()?;
        (number > 2).then(|| link.display().to_string())
    });
    // The one that lists them is gone or shows that directory.
    let links = links.filter(|link| !(link.starts_with("/proc/") && link.ends_with("/fd")));
    let links: Vec<String> = links.collect();
    Seen::when(!links.is_empty(), links.join(" "))
}

pub(super) fn host_name(bait: &Bait) -> Seen {
    let own = rustix::system::uname();
    let own = own.nodename().to_string_lossy();
    Seen::when(own == bait.host_name, own)
}
