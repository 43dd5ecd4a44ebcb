//! `[filesystem]`: which of the host's files the program may read, execute and write.

use std::path::{Path, PathBuf};

use gl_profile::translate::{Effect, Refused};
use gl_profile::{AbsolutePath, Level, List, Origin, Setting};
use gl_spec::{Landlock, Links, PathRule};
use rustix::io::Errno;

use super::paths::{Mark, Marks, Unlisted};
use super::{Deciding, Lack, Request, is_preset, refused};
use crate::error::Error;
use crate::host::Files;

/// `LANDLOCK_ACCESS_FS_*`: execute, read a file, read a directory.
pub(super) const READ: u64 = 1 | 1 << 2 | 1 << 3;
/// Write, remove, make anything but a device, move between directories (ABI 2), truncate (3).
const CHANGE: u64 = 1 << 1 | 0b11 << 4 | 0b111 << 7 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 14;
/// What may be done below a path that can be written.
pub(crate) const WRITE: u64 = READ | CHANGE;
/// Read and write a file.
const DEVICE: u64 = 1 << 1 | 1 << 2;
/// `LANDLOCK_ACCESS_FS_IOCTL_DEV`, from ABI 5.
const IOCTL: u64 = 1 << 15;
/// What may be done with a terminal.
pub(crate) const TERMINAL: u64 = DEVICE | IOCTL;

/// All rights that each ABI knows.
const KNOWN: [(u32, u64); 4] = [(1, 0x1fff), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15)];

/// The first ABI that holds `truncate(2)`.
const TRUNCATE_ABI: u32 = 3;

/// What ordinary programs read to start, and where the host is known to have it. No secrets: all of it is
/// everybody's to read.
const NEEDED: [&str; 45] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld-musl-aarch64.path",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.alias",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/inputrc",
    "/etc/terminfo",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/python3",
    "/etc/java",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/random",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
];

/// Whether a path can be read in this tier whatever the profile lists, unless a line of it hides the path.
#[must_use]
pub fn is_always_shown(path: &Path) -> bool {
    NEEDED.iter().any(|shown| path.starts_with(shown))
}

/// Devices that are everybody's. Their drivers answer no `ioctl(2)`, or only with `CAP_SYS_ADMIN` (random(4));
/// without the right isatty(3), which many a runtime calls on each file that it opens, would be a denial.
const DEVICES: [(&str, u64); 6] = [
    ("/dev/null", DEVICE | IOCTL),
    ("/dev/zero", DEVICE | IOCTL),
    ("/dev/full", DEVICE | IOCTL),
    ("/dev/random", 1 << 2 | IOCTL),
    ("/dev/urandom", 1 << 2 | IOCTL),
    ("/dev/tty", TERMINAL),
];

/// What no program finds below an allowed path, as it is the kernel's: disks are in `/dev`, and the owner of
/// `/proc/sys` writes there without any capability.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

pub(super) fn apply(
    run: &mut Deciding<'_>,
    files: &dyn Files,
    request: &Request,
    landlock: &mut Landlock,
) -> Result<(), Error> {
    refuse_mounts(run)?;
    if !run.enforcing() {
        permissive(run);
        return Ok(());
    }
    let Some(abi) = known_abi(run)? else {
        return Ok(());
    };
    let marks = Marking {
        run,
        files,
        marks: Marks::default(),
    }
    .mark(request)?;
    let known = KNOWN.iter().filter(|(since, _)| *since <= abi);
    landlock.filesystem = known.fold(0, |all, (_, bits)| all | bits);
    let mut rules = marks.rules(files).map_err(split_refused(run))?;
    // Its own, whatever its process id: those of others are another directory.
    rules.push(PathRule {
        path: "/proc/self".to_owned(),
        access: READ,
        links: Links::Follow,
    });
    for rule in &mut rules {
        rule.access &= landlock.filesystem;
    }
    landlock.paths = rules;
    Ok(())
}

/// Mounts of a profile's own cannot be had here, and are no more than the host has anyway.
fn refuse_mounts(run: &mut Deciding<'_>) -> Result<(), Refused> {
    let filesystem = &run.profile.filesystem;
    if let Some(list) = filesystem
        .bind_mounts
        .as_ref()
        .filter(|list| !list.items.is_empty())
    {
        return Err(refused(
            &list.origin,
            "nothing can be mounted without a mount namespace",
            "choose the tier namespace, or list the path in read_only_paths or read_write_paths",
        ));
    }
    if let Some(line) = &filesystem.create_temp_root {
        let setting = "a private temporary directory, removed after".to_owned();
        run.step(&line.origin, "files", setting, Effect::Applied);
    }
    if let Some(line) = &filesystem.temp_root_path {
        let path = line.value.as_str();
        let setting = format!("a private temporary directory in {path}, removed after");
        run.step(&line.origin, "files", setting, Effect::Applied);
    }
    Ok(())
}

/// The lines about files, each with whether it is a preset's.
fn lines(run: &Deciding<'_>) -> Vec<Origin> {
    let filesystem = &run.profile.filesystem;
    let lists = [&filesystem.read_only_paths, &filesystem.read_write_paths];
    let lists = lists.into_iter().flatten().map(|list| &list.origin);
    let hidden = filesystem
        .blocked_paths
        .iter()
        .chain(&filesystem.mask_paths);
    lists
        .chain(hidden.map(|line| &line.origin))
        .chain(filesystem.readonly_root.iter().map(|line| &line.origin))
        .cloned()
        .collect()
}

fn permissive(run: &mut Deciding<'_>) {
    let why = "Landlock cannot log without denying";
    for origin in lines(run) {
        run.step(&origin, "landlock", String::new(), Effect::Elsewhere(why));
    }
}

fn known_abi(run: &mut Deciding<'_>) -> Result<Option<u32>, Refused> {
    let Some(abi) = run.host.landlock_abi else {
        for origin in lines(run) {
            let lack = Lack {
                layer: "landlock",
                missing: "the kernel has no Landlock",
                remedy: "boot a kernel with Landlock (5.13), or set on_missing = \"degrade\"",
                instead: "",
            };
            run.lacking(&origin, lack)?;
        }
        return Ok(None);
    };
    if abi < TRUNCATE_ABI {
        let line = run.profile.filesystem.read_only_paths.as_ref();
        let origin = line.map_or(&run.profile.isolation.origin, |list| &list.origin);
        let lack = Lack {
            layer: "landlock",
            missing: "the kernel's Landlock does not hold truncate(2) (6.2): files of its user can be \
                      emptied",
            remedy: "choose the tier namespace, or set on_missing = \"degrade\"",
            instead: "opening to write is denied all the same",
        };
        run.lacking(&origin.clone(), lack)?;
    }
    Ok(Some(abi))
}

/// Paths marked one after the other.
struct Marking<'a, 'b> {
    run: &'a mut Deciding<'b>,
    files: &'a dyn Files,
    marks: Marks,
}

impl Marking<'_, '_> {
    fn mark(mut self, request: &Request) -> Result<Marks, Error> {
        let profile = self.run.profile;
        let filesystem = &profile.filesystem;
        let mut hidden = Vec::new();
        for line in filesystem
            .blocked_paths
            .iter()
            .chain(&filesystem.mask_paths)
        {
            hidden.extend(self.hide(line)?);
        }
        if let Some(list) = &filesystem.read_write_paths {
            self.list(list, WRITE, "can be written")?;
        }
        self.readable()?;
        self.directory(&request.cwd, &hidden)?;
        for path in KERNEL.map(Path::new) {
            if !self.marks.contains(path) {
                self.marks.hide(path, None);
            }
        }
        let needed = NEEDED.iter().map(|path| (*path, READ));
        for (path, access) in needed.chain(DEVICES) {
            self.need(path, access, &hidden)?;
        }
        if let Some(line) = filesystem.readonly_root.as_ref().filter(|line| line.value) {
            let setting = "nothing else can be written".to_owned();
            self.run.applied(line, "landlock", setting);
        }
        Ok(self.marks)
    }

    fn real(&self, path: &Path) -> Result<Option<PathBuf>, Error> {
        match self.files.real(path) {
            Ok(real) => Ok(Some(real)),
            // Who may not pass the directories above it cannot use it.
            Err(Errno::ACCESS | Errno::PERM) => Ok(None),
            Err(source) => Err(Error::file("look at", path)(source)),
        }
    }

    /// Hides a path; where it is hidden by a line that is no preset, that.
    fn hide(&mut self, line: &Setting<AbsolutePath>) -> Result<Option<PathBuf>, Error> {
        let path = line.value.as_path();
        let real = self.real(path)?.unwrap_or_else(|| path.to_owned());
        let setting = format!("{} cannot be opened", line.value.as_str());
        self.run.applied(line, "landlock", setting);
        self.marks.hide(&real, Some(line.origin.clone()));
        Ok((!is_preset(&line.origin)).then_some(real))
    }

    fn list(&mut self, list: &List<AbsolutePath>, access: u64, what: &str) -> Result<(), Error> {
        for line in &list.items {
            let path = line.value.as_str();
            self.run.applied(line, "landlock", format!("{path} {what}"));
            if let Some(real) = self.real(line.value.as_path())? {
                let mark = Mark {
                    access,
                    bounds: true,
                    origin: Some(line.origin.clone()),
                };
                self.marks.allow(&real, mark);
            }
        }
        if list.items.is_empty() {
            let setting = format!("nothing {what}");
            let origin = &list.origin;
            self.run.step(origin, "landlock", setting, Effect::Applied);
        }
        Ok(())
    }

    /// What can be read: the listed paths, or everything where the profile lists none.
    fn readable(&mut self) -> Result<(), Error> {
        let profile = self.run.profile;
        let list = profile.filesystem.read_only_paths.as_ref();
        let lenient = profile.level.value == Level::Lenient;
        // The list of that level is for a root that is put together from it.
        let is_listed = |list: &&List<AbsolutePath>| {
            !lenient || list.items.iter().any(|one| !is_preset(&one.origin))
        };
        if let Some(list) = list.filter(is_listed) {
            return self.list(list, READ, "can be read");
        }
        let origin = list.map_or(&profile.level.origin, |list| &list.origin);
        let setting = "everything can be read that is not hidden".to_owned();
        self.run.step(origin, "landlock", setting, Effect::Applied);
        let mark = Mark {
            access: READ,
            bounds: false,
            origin: None,
        };
        self.marks.allow(Path::new("/"), mark);
        Ok(())
    }

    /// The working directory can be read, unless it is hidden, or everything.
    fn directory(&mut self, cwd: &Path, hidden: &[PathBuf]) -> Result<(), Error> {
        let Some(real) = self.real(cwd)? else {
            return Ok(());
        };
        let is_hidden = hidden.iter().any(|path| real.starts_with(path));
        let origin = &self.run.profile.isolation.origin;
        if is_hidden || real == Path::new("/") {
            let setting = format!("the working directory, {}, cannot be read", cwd.display());
            self.run.step(origin, "landlock", setting, Effect::Applied);
            return Ok(());
        }
        let setting = format!("the working directory, {}, can be read", cwd.display());
        self.run.step(origin, "landlock", setting, Effect::Applied);
        let mark = Mark {
            access: READ,
            bounds: false,
            origin: Some(origin.clone()),
        };
        self.marks.allow(&real, mark);
        Ok(())
    }

    /// What every program needs, unless a line hides it that is no preset.
    fn need(&mut self, path: &str, access: u64, hidden: &[PathBuf]) -> Result<(), Error> {
        let Some(real) = self.real(Path::new(path))? else {
            return Ok(());
        };
        let is_hidden = |by: &PathBuf| real.starts_with(by) || Path::new(path).starts_with(by);
        if !hidden.iter().any(is_hidden) {
            let mark = Mark {
                access,
                bounds: false,
                origin: None,
            };
            self.marks.allow(&real, mark);
        }
        Ok(())
    }
}

fn split_refused(run: &Deciding<'_>) -> impl Fn(Unlisted) -> Error {
    let isolation = run.profile.isolation.origin.clone();
    move |unlisted| {
        let (dir, below) = (unlisted.dir.display(), unlisted.below.display());
        let why = match unlisted.errno {
            Errno::TOOBIG => "has too many entries".to_owned(),
            errno => format!("cannot be listed ({errno})"),
        };
        let missing = format!(
            "Landlock can only allow, so that the rest of {dir} would have to be listed to leave {below} \
             out, and it {why}"
        );
        let remedy = "allow less than that directory, or choose the tier namespace";
        refused(
            unlisted.origin.as_ref().unwrap_or(&isolation),
            missing,
            remedy,
        )
        .into()
    }
}
