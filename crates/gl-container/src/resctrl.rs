//! `linux.intelRdt`: the container's group of the resctrl filesystem, by its files.
//!
//! A group is a directory; the kernel fills it, and moves its tasks to the root group when it is removed. So one that the
//! config names by `closID`, which others may use, is removed only if we made it and it has no task
//! left.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_spec::ContainerId;
use gl_spec::oci::{LinuxIntelRdt, Spec};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::store::{read_all, write_all};

/// What is stored of a container's group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Group {
    /// Where resctrl is mounted.
    mount: PathBuf,
    /// The directory there.
    name: String,
    /// Whether it is nobody else's.
    own: bool,
    /// Whether we make it: it may not be there yet.
    made: bool,
    /// The name of its monitoring group.
    monitored: Option<String>,
}

/// A group as a config wants it.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) group: Group,
    schemata: Vec<String>,
}

/// Reads what a config wants, and looks where resctrl is mounted.
///
/// # Errors
///
/// [`Error::Rdt`] if it is mounted nowhere.
pub(crate) fn decide(id: &ContainerId, spec: &Spec) -> Result<Option<Wanted>, Error> {
    let linux = spec.linux().as_ref();
    let Some(rdt) = linux.and_then(|linux| linux.intel_rdt().as_ref()) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string("/proc/self/mountinfo");
    let mount = text.ok().and_then(|text| mount_point(&text));
    let mount = mount.ok_or_else(|| Error::Rdt {
        problem: "no resctrl filesystem is mounted".to_owned(),
        remedy: "mount one at /sys/fs/resctrl on a processor that has it, or remove the field",
    })?;
    Ok(Some(wanted(id, rdt, mount)))
}

/// The first mount of resctrl in `mountinfo`. A path that is written with escapes is passed over.
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    let mut lines = mountinfo.lines();
    let path = lines.find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let path = mount.split(' ').nth(4)?;
        let is_it = kind.split(' ').next() == Some("resctrl");
        (is_it && !path.contains('\\')).then_some(path)
    });
    path.map(PathBuf::from)
}

fn wanted(id: &ContainerId, rdt: &LinuxIntelRdt, mount: PathBuf) -> Wanted {
    let bandwidth = rdt
        .mem_bw_schema()
        .as_deref()
        .filter(|text| !text.is_empty());
    let cache = rdt.l3_cache_schema().as_deref().unwrap_or_default();
    // SPEC: with a schema for the bandwidth of its own, those in the one for the cache do not count.
    let cache = cache
        .lines()
        .filter(|line| !line.is_empty() && (bandwidth.is_none() || !line.starts_with("MB:")));
    let schemata = rdt.schemata().iter().flatten().map(String::as_str);
    let all = cache.chain(bandwidth).chain(schemata);
    // SPEC: enableCMT and enableMBM, which 1.3 has deprecated, are not read.
    let monitors = *rdt.enable_monitoring() == Some(true);
    let named = rdt.clos_id().clone();
    Wanted {
        group: Group {
            mount,
            own: named.is_none(),
            name: named.unwrap_or_else(|| id.as_str().to_owned()),
            made: false,
            monitored: monitors.then(|| id.as_str().to_owned()),
        },
        schemata: all.map(str::to_owned).collect(),
    }
}

impl Wanted {
    /// Sees whether the group has to be made; to be stored before [`Wanted::make`].
    ///
    /// # Errors
    ///
    /// [`Error::Rdt`] for a group that is there and should not be, or the other way round.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let mount = open(CWD, &self.group.mount).map_err(self.group.failed("open"))?;
        let there = match open(mount.as_fd(), Path::new(&self.group.name)) {
            Ok(_) => true,
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(self.group.failed("open")(errno)),
        };
        let problem = match (there, self.group.own) {
            (true, true) => "is there already, and closID does not name it",
            (false, false) if self.schemata.is_empty() => {
                "is not there, and nothing says what it should be"
            }
            _ => {
                self.group.made = !there;
                return Ok(());
            }
        };
        Err(Error::Rdt {
            problem: format!("the group {} {problem}", self.group.name),
            remedy: "name a group that is there by closID, or give a schema for a new one",
        })
    }

    /// Makes the group with its schemata, or compares those of one that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Rdt`].
    pub(crate) fn make(&mut self) -> Result<(), Error> {
        let mount = open(CWD, &self.group.mount).map_err(self.group.failed("open"))?;
        if self.group.made {
            let mode = Mode::from_raw_mode(0o755);
            let made = rustix::fs::mkdirat(&mount, self.group.name.as_str(), mode);
            // One that somebody else has made meanwhile is theirs.
            self.group.made = made.is_ok();
            made.map_err(self.group.failed("make"))?;
        }
        let group = &self.group;
        let dir = open(mount.as_fd(), Path::new(&group.name)).map_err(group.failed("open"))?;
        if group.made && !self.schemata.is_empty() {
            let text = self.schemata.join("\n") + "\n";
            let written = write(&dir, "schemata", &text);
            written.map_err(group.failed("write the schemata of"))?;
        } else if !self.schemata.is_empty() {
            let has = read_below(&dir, "schemata");
            self.compare(&has.map_err(group.failed("read the schemata of"))?)?;
        }
        if let Some(name) = &group.monitored {
            let path = format!("mon_groups/{name}");
            let made = rustix::fs::mkdirat(&dir, path, Mode::from_raw_mode(0o755));
            made.map_err(group.failed("make a monitoring group in"))?;
        }
        Ok(())
    }

    fn compare(&self, has: &str) -> Result<(), Error> {
        let has = domains(&has.lines().collect::<Vec<_>>());
        let asked = domains(&self.schemata.iter().map(String::as_str).collect::<Vec<_>>());
        let other = asked
            .iter()
            .find(|(at, value)| has.get(*at) != Some(*value));
        let Some(((resource, domain), value)) = other else {
            return Ok(());
        };
        let mut problem = format!(
            "the group {} is there with another schema: {resource}:{domain} is ",
            self.group.name
        );
        let seen = has.get(&(resource.clone(), domain.clone()));
        let seen = seen.map_or("not there", String::as_str);
        // Writing to a String cannot fail.
        write!(problem, "{seen}, not {value}").unwrap_or_default();
        Err(Error::Rdt {
            problem,
            remedy: "leave the schema out, or name another closID",
        })
    }
}

/// The values of schemata by resource and domain, as the kernel writes them.
fn domains(lines: &[&str]) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for line in lines {
        let Some((resource, rest)) = line.trim().split_once(':') else {
            continue;
        };
        for domain in rest.split(';') {
            if let Some((name, value)) = domain.split_once('=') {
                let value = value.trim().trim_start_matches("0x").to_lowercase();
                let value = value.trim_start_matches('0').to_owned();
                all.insert((resource.trim().to_owned(), name.trim().to_owned()), value);
            }
        }
    }
    all
}

impl Group {
    fn failed(&self, what: &'static str) -> impl Fn(Errno) -> Error {
        let name = self.name.clone();
        move |errno| Error::Rdt {
            problem: format!("{what} the group {name}: {errno}"),
            remedy: "see info/last_cmd_status below the mount of resctrl",
        }
    }

    /// Puts a process into the group.
    ///
    /// # Errors
    ///
    /// [`Error::Rdt`].
    pub(crate) fn join(&self, pid: Pid) -> Result<(), Error> {
        let dir = open(CWD, &self.mount.join(&self.name)).map_err(self.failed("open"))?;
        let pid = pid.as_raw_nonzero().to_string();
        write(&dir, "tasks", &pid).map_err(self.failed("join"))?;
        match &self.monitored {
            Some(name) => {
                let tasks = format!("mon_groups/{name}/tasks");
                write(&dir, &tasks, &pid).map_err(self.failed("be monitored in"))
            }
            None => Ok(()),
        }
    }

    /// Removes what was made for a container that has no process any more.
    ///
    /// # Errors
    ///
    /// [`Error::Rdt`].
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let failed = self.failed("remove");
        let mount = match open(CWD, &self.mount) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(&failed)?,
        };
        let dir = match open(mount.as_fd(), Path::new(&self.name)) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(&failed)?,
        };
        if let Some(name) = &self.monitored {
            remove(dir.as_fd(), &format!("mon_groups/{name}")).map_err(&failed)?;
        }
        let unused = || read_below(&dir, "tasks").map(|tasks| tasks.trim().is_empty());
        match self.made && (self.own || unused().map_err(&failed)?) {
            true => remove(mount.as_fd(), &self.name).map_err(failed),
            false => Ok(()),
        }
    }
}

fn remove(dir: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn open(dir: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::empty())
}

fn read_below(dir: &OwnedFd, name: &str) -> Result<String, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    String::from_utf8(read_all(&file, 4096)?).or(Err(Errno::ILSEQ))
}

/// Writes in one call, as the kernel wants it.
fn write(dir: &OwnedFd, name: &str, text: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    write_all(&file, text.as_bytes())
}

#[cfg(test)]
mod tests;
