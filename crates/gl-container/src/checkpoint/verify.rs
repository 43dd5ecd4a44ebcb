//! What is checked of a restored container before its processes run: CRIU gives them what its images say, and
//! that must not be less than what the config and the profiles say.

use std::path::{Path, PathBuf};

use gl_criu::mounts::Mount;
use gl_plan::{IdRange, Plan, UserNs, attr};
use gl_rootfs::Root;
use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::images::{From, Outside};
use super::outside::{list, open_root};
use crate::error::Error;
use crate::store::read_all;

/// What has to hold.
pub(crate) struct Wanted<'a> {
    pub(crate) plan: &'a Plan,
    /// What was restored of the config's mounts, and where.
    pub(crate) mounts: &'a [Outside],
    /// A filter of system calls.
    pub(crate) filtered: bool,
    /// The LSM label that was asked for in place of the config's, `TYPE:LABEL`.
    pub(crate) label: Option<&'a str>,
}

/// Checks the container whose first process is `init` and whose processes are `all`.
///
/// # Errors
///
/// [`Error::Weaker`] with the first thing that does not hold.
pub(crate) fn check(init: i32, all: &[i32], wanted: &Wanted<'_>) -> Result<(), Error> {
    for pid in all {
        check_process(*pid, wanted)?;
    }
    check_ids(init, wanted.plan)?;
    let seen = list(init)?;
    check_mounts(&seen, wanted.plan)?;
    check_moved(&seen, wanted)?;
    let root = open_root(init)?;
    for path in &wanted.plan.readonly_paths {
        check_readonly(&root, path)?;
    }
    for path in &wanted.plan.masked_paths {
        check_masked(&root, path)?;
    }
    Ok(())
}

/// Checks that processes are where the container's limits are.
///
/// # Errors
///
/// [`Error::Weaker`].
pub(crate) fn check_members(all: &[i32], members: &[i32]) -> Result<(), Error> {
    match all.iter().find(|pid| !members.contains(pid)) {
        None => Ok(()),
        Some(pid) => Err(weaker(
            "linux.cgroupsPath",
            format!("process {pid} is in another cgroup"),
        )),
    }
}

fn weaker(field: impl Into<String>, seen: impl Into<String>) -> Error {
    Error::Weaker {
        field: field.into(),
        seen: seen.into(),
    }
}

fn read(path: &str) -> Result<String, Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let bytes = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|file| read_all(&file, 4096))
        .map_err(Error::file("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn check_process(pid: i32, wanted: &Wanted<'_>) -> Result<(), Error> {
    let process = &wanted.plan.process;
    let status = read(&format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("", str::trim)
    };
    // One that has ended keeps nothing.
    if field("State:").starts_with(['Z', 'X']) {
        return Ok(());
    }
    if wanted.filtered && field("Seccomp:") != "2" {
        return Err(weaker(
            "linux.seccomp",
            format!("process {pid} has no filter"),
        ));
    }
    if process.no_new_privileges && field("NoNewPrivs:") != "1" {
        let seen = format!("process {pid} can gain privileges");
        return Err(weaker("process.noNewPrivileges", seen));
    }
    for (name, bound) in [
        ("CapBnd:", process.capabilities.bounding),
        ("CapPrm:", process.capabilities.bounding),
    ] {
        let seen = u64::from_str_radix(field(name), 16).unwrap_or(u64::MAX);
        if seen & !bound != 0 {
            let seen = format!("process {pid} has {name} {seen:016x}");
            return Err(weaker("process.capabilities", seen));
        }
    }
    check_label(pid, wanted)
}

/// The label of a process is that of the config, or the one that was asked for instead.
fn check_label(pid: i32, wanted: &Wanted<'_>) -> Result<(), Error> {
    let process = &wanted.plan.process;
    let asked = |module: &str| {
        let label = wanted.label.and_then(|label| label.strip_prefix(module));
        label.and_then(|label| label.strip_prefix(':'))
    };
    let apparmor = process.apparmor.as_deref();
    let apparmor = apparmor.map(|label| label.strip_prefix("exec ").unwrap_or(label));
    for (field, module, own) in [
        ("process.apparmorProfile", "apparmor", apparmor),
        (
            "process.selinuxLabel",
            "selinux",
            process.selinux.as_deref(),
        ),
    ] {
        let Some(label) = asked(module).or(own) else {
            continue;
        };
        let path = match module {
            "apparmor" => format!("/proc/{pid}/attr/apparmor/current"),
            _ => format!("/proc/{pid}/attr/current"),
        };
        let seen = read(&path)?;
        let seen = seen.trim_end_matches(['\n', '\0']);
        let seen = seen.split_once(" (").map_or(seen, |(label, _)| label);
        if seen != label {
            return Err(weaker(
                field,
                format!("process {pid} has {seen:?} and not {label:?}"),
            ));
        }
    }
    Ok(())
}

/// The first process has the ids of the config's user namespace, if that has one.
fn check_ids(init: i32, plan: &Plan) -> Result<(), Error> {
    let UserNs::New(maps) = &plan.userns else {
        return Ok(());
    };
    for (file, field, ranges) in [
        ("uid_map", "linux.uidMappings", &maps.uid),
        ("gid_map", "linux.gidMappings", &maps.gid),
    ] {
        let seen = read(&format!("/proc/{init}/{file}"))?;
        let numbers = |line: &str| -> Vec<u32> {
            line.split_ascii_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect()
        };
        let mut seen: Vec<Vec<u32>> = seen.lines().map(numbers).collect();
        let row = |range: &IdRange| vec![range.container, range.host, range.size];
        let mut want: Vec<Vec<u32>> = ranges.iter().map(row).collect();
        seen.sort();
        want.sort();
        if seen != want {
            return Err(weaker(field, format!("the saved ids are {seen:?}")));
        }
    }
    Ok(())
}

const OPTIONS: [(u64, &str); 4] = [
    (attr::RDONLY, "ro"),
    (attr::NOSUID, "nosuid"),
    (attr::NODEV, "nodev"),
    (attr::NOEXEC, "noexec"),
];

/// What the config mounts has at least the options that the config gives it.
fn check_mounts(seen: &[Mount], plan: &Plan) -> Result<(), Error> {
    let top = |at: &Path| seen.iter().rev().find(|mount| mount.at == at);
    if plan.root.readonly && !top(Path::new("/")).is_some_and(|root| root.has("ro")) {
        return Err(weaker("root.readonly", "the root can be written to"));
    }
    for mount in &plan.mounts {
        // Where a link leads elsewhere, there is nothing at this name, and what is there was saved with the
        // options that it had.
        let Some(found) = top(&mount.target) else {
            continue;
        };
        let set = (mount.tree_attr.set & !mount.attr.clear) | mount.attr.set;
        check_options(mount, set, Some(found))?;
    }
    Ok(())
}

/// The same of mounts that were found elsewhere: a container that has moved directories about may have made
/// one of them look like another, with that one's options.
fn check_moved(seen: &[Mount], wanted: &Wanted<'_>) -> Result<(), Error> {
    for outside in wanted.mounts {
        let From::Bind { destination, below } = &outside.from else {
            continue;
        };
        let mut mounts = wanted.plan.mounts.iter().rev();
        let Some(mount) = mounts.find(|mount| mount.target == *destination) else {
            continue;
        };
        let set = match below.as_os_str().is_empty() {
            true => (mount.tree_attr.set & !mount.attr.clear) | mount.attr.set,
            false => mount.tree_attr.set,
        };
        let mut there = seen.iter().filter(|seen| seen.at == outside.at);
        check_options(mount, set, there.next_back())?;
    }
    Ok(())
}

fn check_options(mount: &gl_plan::Mount, set: u64, found: Option<&Mount>) -> Result<(), Error> {
    let lacking = OPTIONS
        .iter()
        .find(|(bit, option)| set & bit != 0 && !found.is_some_and(|found| found.has(option)));
    match lacking {
        None => Ok(()),
        Some((_, option)) => {
            let at = found.map_or(&mount.target, |found| &found.at);
            let seen = format!("{} is mounted without {option}", at.display());
            Err(weaker(format!("{}.options", mount.field()), seen))
        }
    }
}

fn open(root: &Root, path: &Path) -> Result<Option<std::os::fd::OwnedFd>, Error> {
    match root.open(path.strip_prefix("/").unwrap_or(path), OFlags::PATH) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(source) => Err(Error::file("open in the container", path)(source)),
    }
}

fn check_readonly(root: &Root, path: &PathBuf) -> Result<(), Error> {
    let Some(file) = open(root, path)? else {
        return Ok(());
    };
    let seen = rustix::fs::fstatvfs(file).map_err(Error::file("inspect in the container", path))?;
    match seen.f_flag.contains(StatVfsMountFlags::RDONLY) {
        true => Ok(()),
        false => Err(weaker(
            "linux.readonlyPaths",
            format!("{} can be written to", path.display()),
        )),
    }
}

fn check_masked(root: &Root, path: &PathBuf) -> Result<(), Error> {
    let Some(file) = open(root, path)? else {
        return Ok(());
    };
    let failed = || Error::file("inspect in the container", path);
    let stat = rustix::fs::fstat(&file).map_err(failed())?;
    let hidden = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::openat(&file, ".", flags, Mode::empty()).map_err(failed())?;
            let entries = rustix::fs::Dir::new(dir).map_err(failed())?;
            let names = entries.filter_map(Result::ok);
            names
                .filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
                .count()
                == 0
        }
        _ => false,
    };
    match hidden {
        true => Ok(()),
        false => Err(weaker(
            "linux.maskedPaths",
            format!("{} can be seen", path.display()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(list: &str) -> Vec<Mount> {
        gl_criu::mounts::parse(list.as_bytes()).unwrap()
    }

    fn plan(mounts: &str) -> Plan {
        let config = format!(
            r#"{{"ociVersion":"1.2.0","root":{{"path":"r","readonly":true}},"mounts":{mounts},
            "process":{{"user":{{"uid":0,"gid":0}},"args":["x"],"cwd":"/"}},
            "linux":{{"namespaces":[{{"type":"mount"}}]}}}}"#
        );
        let spec = gl_spec::load(config.as_bytes()).unwrap().spec;
        let (extras, options) = (gl_spec::Extras::default(), gl_plan::Options::default());
        gl_plan::plan(&spec, &extras, &options, &gl_plan::Facts::default()).unwrap()
    }

    #[test]
    fn mounts_have_to_have_the_options_of_the_config() {
        let plan = plan(
            r#"[{"destination":"/v","type":"bind","source":"/x","options":["bind","ro","nosuid"]}]"#,
        );
        let root = "1 0 0:1 / / ro - t s rw\n";
        for (list, want) in [
            (
                format!("{root}2 1 0:2 / /v ro,nosuid,noexec - t s rw\n"),
                None,
            ),
            (
                format!("{root}2 1 0:2 / /v rw,nosuid - t s rw\n"),
                Some("mounts[0].options: /v is mounted without ro"),
            ),
            (
                format!("{root}2 1 0:2 / /v ro,nosuid - t s rw\n3 2 0:2 / /v ro - t s rw\n"),
                Some("mounts[0].options: /v is mounted without nosuid"),
            ),
            (
                "1 0 0:1 / / rw - t s rw\n".to_owned(),
                Some("root.readonly: the root can be written to"),
            ),
        ] {
            let got = check_mounts(&mounts(&list), &plan)
                .err()
                .map(|err| err.to_string());
            let want = want.map(|what| {
                format!("restore the container: it would be weaker than its config in {what}")
            });
            assert_eq!(got, want, "{list}");
        }
    }
}
