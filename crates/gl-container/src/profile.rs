//! Which profile a container gets, and the config after it.
//!
//! The engine's annotation comes first, then what the runtime was told (`--profile`), then the host's
//! `/etc/greenlang/config.toml`, whose floor holds whatever the others say. With none of them
//! greenlang is a plain OCI runtime.

use std::path::{Path, PathBuf};

use gl_launch::rootless;
use gl_profile::seccomp::{Answers, Filter};
use gl_profile::translate::{self, Controllers, Disk, Gvisor, Host, Processes, Step, Users};
use gl_profile::{
    Format, Isolation, MAX_PROFILE_BYTES, Profile, Settings, Source, SourceText, builtin,
};
use gl_runsc::Wanted;
use gl_seccomp::{Policy, Program, Verdict};
use gl_spec::oci::{
    LinuxNamespaceType, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall, Spec,
};
use gl_spec::{Capacity, Extras, Isolated, Lost, Warning};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::AddressFamily;

use crate::create::{CreateRequest, Decision, Denials};
use crate::error::Error;
use crate::gvisor;
use crate::quota;
use crate::store::read_all;

/// The annotation that names a profile.
const ANNOTATION: &str = "dev.greenlang.profile";
/// Where the host says what it wants.
const DIRECTORY: &str = "/etc/greenlang";
/// The host's settings.
const SETTINGS: &str = "/etc/greenlang/config.toml";
/// What an id shows as that a user namespace does not map, unless the host says otherwise: then files of
/// root's are refused there.
const OVERFLOW_ID: u32 = 65_534;
/// The host's own profiles, `NAME.toml` or `NAME.json`.
const PROFILES: &str = "/etc/greenlang/profiles";

/// Where AppArmor takes profiles.
const APPARMOR: &str = "/sys/kernel/security/apparmor";

/// The annotation of a container's state that says which lines of its profiles are not in force as they
/// say.
pub(crate) const LOST: &str = "dev.greenlang.lost";

/// Whether a container with a profile can have a cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Had {
    /// It can, or nobody has asked.
    #[default]
    Yes,
    /// It cannot.
    No,
}

/// A config after its profiles.
#[derive(Debug, Default)]
pub(crate) struct Tightened {
    pub(crate) extras: Extras,
    pub(crate) cgroup: Had,
    /// The profiles, for their filters.
    pub(crate) profiles: Vec<Profile>,
    /// What became of each of their lines.
    pub(crate) steps: Vec<Step>,
    /// The runsc that the host's settings name.
    pub(crate) runsc: Option<PathBuf>,
    /// The platform that they want.
    pub(crate) platform: Wanted,
}

/// Whether a config names a profile.
pub(crate) fn is_named(spec: &Spec) -> bool {
    named(spec).is_some()
}

fn named(spec: &Spec) -> Option<&String> {
    let annotations = spec.annotations().as_ref()?;
    annotations.get(ANNOTATION)
}

/// Tightens `spec` by the profiles that it gets. What the container's cgroup can limit is asked only if
/// there is one.
///
/// # Errors
///
/// [`Error::Profile`] for one that is not there or cannot be read, [`Error::Unenforceable`] for a line of
/// one that cannot be enforced, [`Error::File`] for settings that are not to be trusted; what `cgroup` says.
pub(crate) fn tighten(
    spec: &mut Spec,
    request: &CreateRequest,
    instance: &str,
    cgroup: impl FnOnce(&Spec) -> Result<Option<Controllers>, Error>,
) -> Result<Tightened, Error> {
    let settings = settings()?;
    let annotation = named(spec).cloned();
    let resolved = request.resolved.as_ref();
    let chosen = annotation.or_else(|| request.profile.clone()).or_else(|| {
        let default = settings.profile.as_ref().filter(|_| resolved.is_none());
        default.map(|name| name.value.as_str().to_owned())
    });
    let floor = settings.minimum_profile.as_ref();
    let floor = floor.map(|name| name.value.as_str().to_owned());
    let mut tightened = Tightened::default();
    if chosen.is_none() && resolved.is_none() && floor.is_none() {
        return Ok(tightened);
    }
    let find = |name: Option<String>| {
        let found = name.map(|name| Profile::resolve(name.as_str(), &HostProfiles));
        found.transpose()
    };
    let profiles = [find(chosen)?, resolved.cloned(), find(floor)?];
    tightened.profiles = profiles.into_iter().flatten().collect();
    let runsc = settings.runsc.as_ref();
    tightened.runsc = runsc.map(|line| line.value.as_path().to_owned());
    let platform = settings.runsc_platform.as_ref();
    tightened.platform = platform.map_or_else(Wanted::default, |line| gvisor::wanted(line.value));
    let mut isolations = tightened.profiles.iter().map(|one| one.isolation.value);
    let host = Host {
        processes: processes(spec)?,
        // Whoever is to use runsc says what is wrong with it.
        gvisor: match isolations.any(|one| one == Isolation::Gvisor) {
            true => Gvisor::Wanted,
            false => Gvisor::Available,
        },
        disk: match tightened.profiles.iter().any(wants_a_quota) {
            true => quota::disk(),
            false => Disk::default(),
        },
        capacity: match tightened.profiles.iter().any(translate::states_amounts) {
            true => gl_launch::capacity(),
            false => Capacity::UNKNOWN,
        },
        ..layers(cgroup(spec)?)
    };
    if host.cgroup.is_none() {
        tightened.cgroup = Had::No;
    }
    for profile in &tightened.profiles {
        let steps = translate::tighten(profile, spec, &mut tightened.extras, &host, instance)?;
        tightened.steps.extend(steps);
    }
    let mark = &request.landlock_mark;
    tightened.extras.landlock_mark.clone_from(mark);
    Ok(tightened)
}

/// One filter that is as strict as the config's own and those of all profiles together.
///
/// # Errors
///
/// [`Error::Profile`], [`Error::Seccomp`].
pub(crate) fn filter(
    section: Option<&LinuxSeccomp>,
    tightened: &Tightened,
    denials: Denials,
) -> Result<Option<Program>, Error> {
    let extras = &tightened.extras;
    let policy = match denials {
        // gVisor's kernel has no notices for an agent outside.
        Denials::Observed if extras.gvisor => {
            let section = section.map(without_agent);
            policy(section.as_ref(), &tightened.profiles)?
        }
        Denials::Silent => policy(section, &tightened.profiles)?,
        Denials::Observed => {
            let section = section.map(without_agent);
            let policy = policy(section.as_ref(), &tightened.profiles)?;
            policy.map(Policy::observed)
        }
    };
    // A sandbox in gVisor always has a loopback that is up.
    let policy = match extras.gvisor && extras.network == Some(Isolated::Nothing) {
        false => policy,
        true => Some(match policy {
            Some(policy) => policy.tightened_by(&no_sockets()?),
            None => no_sockets()?,
        }),
    };
    let program = policy.map(|policy| gl_seccomp::assemble(&policy));
    Ok(program.transpose()?)
}

/// A policy that allows everything but sockets that lead to a network.
fn no_sockets() -> Result<Policy, Error> {
    let mut section = LinuxSeccomp::default();
    section.set_default_action(LinuxSeccompAction::ScmpActAllow);
    section.set_architectures(Some(vec![gl_seccomp::NATIVE]));
    let families = [
        AddressFamily::INET,
        AddressFamily::INET6,
        AddressFamily::PACKET,
    ];
    let calls = families.map(|family| {
        let argument = LinuxSeccompArgBuilder::default()
            .index(0_usize)
            .op(LinuxSeccompOperator::ScmpCmpMaskedEq)
            .value(u64::from(u32::MAX))
            .value_two(u64::from(family.as_raw()))
            .build();
        let mut call = LinuxSyscall::default();
        call.set_names(vec!["socket".to_owned()]);
        call.set_action(LinuxSeccompAction::ScmpActErrno);
        call.set_errno_ret(Some(Errno::ACCESS.raw_os_error().unsigned_abs()));
        // Every field of an argument has a default.
        call.set_args(argument.ok().map(|argument| vec![argument]));
        call
    });
    section.set_syscalls(Some(calls.to_vec()));
    let policy = gl_seccomp::policy_with_foreign(&section, gl_seccomp::NATIVE, Verdict::ALLOW);
    Ok(policy?)
}

/// The agent's socket is none of the filter's business.
fn without_agent(section: &LinuxSeccomp) -> LinuxSeccomp {
    let mut section = section.clone();
    section.set_listener_path(None);
    section
}

impl Decision {
    /// What the filter of an observed container would answer by itself: what its agent returns. None if there
    /// is no filter.
    ///
    /// # Errors
    ///
    /// [`Error::Profile`], [`Error::Seccomp`].
    pub fn policy(&self) -> Result<Option<Policy>, Error> {
        let section = self.section.as_ref().map(without_agent);
        policy(section.as_ref(), &self.profiles)
    }
}

fn policy(section: Option<&LinuxSeccomp>, profiles: &[Profile]) -> Result<Option<Policy>, Error> {
    let mut own: Option<Policy> = None;
    for profile in profiles.iter().filter(|profile| Filter::is_for(profile)) {
        let answers = Answers::new(&profile.seccomp, profile.mode.value)?;
        let policy = answers.policy(gl_seccomp::NATIVE)?;
        own = Some(match own {
            Some(before) => before.tightened_by(&policy),
            None => policy,
        });
    }
    Ok(match (section, own) {
        // The engine's errnos are those that its users know.
        (Some(section), Some(own)) => Some(gl_seccomp::policy_tightened_by(
            section,
            gl_seccomp::NATIVE,
            &own,
        )?),
        (Some(section), None) => Some(gl_seccomp::policy(section, gl_seccomp::NATIVE)?),
        (None, own) => own,
    })
}

/// The lines of profiles that are not in force as they say, for the log.
pub(crate) fn warnings(extras: &Extras) -> Vec<Warning> {
    let lost = extras.lost.iter().map(|one| Warning {
        field: format!("profile {}: {}", one.profile, one.key),
        message: given_up(one),
    });
    lost.collect()
}

/// The same in one text; none if there are none.
pub(crate) fn lost(extras: &Extras) -> Option<String> {
    let lost = extras.lost.iter();
    let lost: Vec<_> = lost
        .map(|one| format!("{}: {}", one.key, given_up(one)))
        .collect();
    (!lost.is_empty()).then(|| lost.join("; "))
}

fn given_up(lost: &Lost) -> String {
    match lost.instead.as_str() {
        "" => format!("not in force: {}", lost.missing),
        instead => format!("{}; in its place: {instead}", lost.missing),
    }
}

fn wants_a_quota(profile: &Profile) -> bool {
    profile.limits.disk_quota_bytes.is_some()
}

/// What translating a profile has to know of this host, and of what the container's cgroup can limit;
/// none for no cgroup.
pub fn profile_host(cgroup: Option<Controllers>) -> Host {
    Host {
        gvisor: match gl_runsc::is_there(None) {
            true => Gvisor::Available,
            false => Gvisor::Missing,
        },
        disk: quota::disk(),
        capacity: gl_launch::capacity(),
        ..layers(cgroup)
    }
}

/// The same without what few profiles ask for: gVisor, and a filesystem on disk.
fn layers(cgroup: Option<Controllers>) -> Host {
    let facts = gl_launch::facts();
    Host {
        landlock_abi: gl_sys::landlock_abi().ok(),
        // A container's own profile has to be loaded, which a user of a user namespace cannot, nor anybody
        // where securityfs is not mounted, as in an engine's own container.
        apparmor: facts.apparmor
            && rustix::fs::stat(APPARMOR).is_ok()
            && rustix::process::geteuid().is_root()
            && !gl_launch::in_user_namespace(),
        selinux: facts.selinux,
        cgroup,
        processes: Processes::Own,
        gvisor: Gvisor::Missing,
        disk: Disk::default(),
        capacity: Capacity::UNKNOWN,
        users: match rootless::is_plain_user() || rootless::made_own_namespace() {
            true => Users::Own,
            false => Users::Shared,
        },
    }
}

/// Whether the container is to have our own pid namespace, by whatever path.
fn processes(spec: &Spec) -> Result<Processes, Error> {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    let mut all = namespaces.unwrap_or_default().iter();
    let Some(one) = all.find(|one| one.typ() == LinuxNamespaceType::Pid) else {
        return Ok(Processes::Hosts);
    };
    let Some(path) = one.path() else {
        return Ok(Processes::Own);
    };
    let identity = |path: &Path| {
        let stat = rustix::fs::stat(path).map_err(Error::file("inspect", path))?;
        Ok::<_, Error>((stat.st_dev, stat.st_ino))
    };
    Ok(
        match identity(path)? == identity(Path::new("/proc/self/ns/pid"))? {
            true => Processes::Hosts,
            false => Processes::Shared,
        },
    )
}

/// The profile that the host holds every container to, by `/etc/greenlang/config.toml`.
///
/// # Errors
///
/// [`Error::File`] for settings that are not to be trusted, [`Error::Profile`] for some that do not fit.
pub fn minimum_profile() -> Result<Option<String>, Error> {
    let floor = settings()?.minimum_profile;
    Ok(floor.map(|name| name.value.as_str().to_owned()))
}

/// Where the host wants every run noted, by `/etc/greenlang/config.toml`: a path, or `journald`.
///
/// # Errors
///
/// As [`minimum_profile`].
pub fn audit_target() -> Result<Option<String>, Error> {
    let audit = settings()?.audit;
    Ok(audit.map(|target| target.value.as_str().to_owned()))
}

fn settings() -> Result<Settings, Error> {
    match trusted(Path::new(SETTINGS), OFlags::empty()) {
        Ok(text) => Ok(Settings::parse(SETTINGS, &text)?),
        // A link that leads nowhere was to lead to settings, perhaps a floor.
        Err(Errno::NOENT | Errno::NOTDIR) if !is_link(SETTINGS) && !is_link(DIRECTORY) => {
            Ok(Settings::default())
        }
        Err(source) => Err(Error::file("read", SETTINGS)(source)),
    }
}

fn is_link(path: &str) -> bool {
    let stat = rustix::fs::lstat(path);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Reads a file that only root, or we, can have written, or taken away.
///
/// `links` is `NOFOLLOW` where the file may be none itself.
fn trusted(path: &Path, links: OFlags) -> Result<String, Errno> {
    if let Some(dir) = path.parent() {
        check_owner(&rustix::fs::stat(dir)?)?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags | links, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    check_owner(&stat)?;
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > MAX_PROFILE_BYTES {
        return Err(Errno::FBIG);
    }
    String::from_utf8(read_all(&file, size)?).or(Err(Errno::ILSEQ))
}

fn check_owner(stat: &Stat) -> Result<(), Errno> {
    let own = rustix::process::geteuid().as_raw();
    // In a user namespace the host's root has no id of its own.
    let unmapped = gl_launch::in_user_namespace() && stat.st_uid == OVERFLOW_ID;
    let owned = stat.st_uid == 0 || stat.st_uid == own || unmapped;
    match owned && stat.st_mode & 0o022 == 0 {
        true => Ok(()),
        false => Err(Errno::PERM),
    }
}

/// The host's own profiles, beside those that are built in.
#[derive(Debug, Clone, Copy)]
pub struct HostProfiles;

impl HostProfiles {
    /// Where they are, `NAME.toml` or `NAME.json`.
    pub const DIR: &str = PROFILES;

    fn path(name: &str, extension: &str) -> PathBuf {
        Path::new(PROFILES).join(format!("{name}.{extension}"))
    }
}

impl Source for HostProfiles {
    fn find(&self, name: &str) -> Result<Option<SourceText>, gl_profile::Error> {
        // A name is all that an annotation may give: never a path.
        if gl_profile::Name::new(name).is_none() {
            return Ok(None);
        }
        for (extension, format) in [("toml", Format::Toml), ("json", Format::Json)] {
            let path = Self::path(name, extension);
            match trusted(&path, OFlags::NOFOLLOW) {
                Ok(text) => {
                    return Ok(Some(SourceText {
                        file: path.display().to_string(),
                        text,
                        format,
                    }));
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => {
                    return Err(gl_profile::Error::Unreadable {
                        name: name.to_owned(),
                        reason: format!("{}: {}", path.display(), reason(errno)),
                    });
                }
            }
        }
        Ok(None)
    }

    fn names(&self) -> Result<Vec<String>, gl_profile::Error> {
        let mut names: Vec<_> = builtin::names().map(str::to_owned).collect();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let unreadable = |errno: Errno| gl_profile::Error::Unlisted {
            place: PROFILES.to_owned(),
            reason: errno.to_string(),
        };
        let dir = match rustix::fs::open(PROFILES, flags, Mode::empty()) {
            Ok(dir) => Dir::read_from(&dir).map_err(unreadable)?,
            Err(Errno::NOENT) => return Ok(names),
            Err(errno) => return Err(unreadable(errno)),
        };
        for entry in dir {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy();
            let stem = name
                .strip_suffix(".toml")
                .or_else(|| name.strip_suffix(".json"));
            names.extend(stem.map(str::to_owned));
        }
        Ok(names)
    }
}

/// What the numbers of [`trusted`] mean.
fn reason(errno: Errno) -> String {
    match errno {
        Errno::PERM => {
            "it, or its directory, belongs to somebody else than root, or others may write to it"
                .to_owned()
        }
        Errno::FBIG => format!("it has more than {MAX_PROFILE_BYTES} bytes"),
        Errno::ILSEQ => "it is not UTF-8".to_owned(),
        Errno::INVAL => "it is not a file".to_owned(),
        Errno::LOOP => "it is a symbolic link".to_owned(),
        errno => errno.to_string(),
    }
}
