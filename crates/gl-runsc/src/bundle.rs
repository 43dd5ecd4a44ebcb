//! The bundle that runsc gets: the container's config, tightened, without what is enforced elsewhere.

use std::path::Path;

use gl_profile::translate;
use gl_rootfs::Root;
use gl_spec::oci::{LinuxNamespaceType, Process, Spec};
use gl_spec::{Extras, Warning};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::check::{check, take};
use crate::error::Error;
use crate::launcher::{self, DIRECTORY};
use crate::mask;
use crate::place::Place;

/// What happens to a field that nobody can enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// It is refused by name.
    Refuse,
    /// It is left out, and a warning says so.
    Degrade,
}

/// What a sandbox has of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Loopback in gVisor's own stack, and nothing of the host.
    None,
    /// gVisor's own stack over the interfaces of the container's network namespace.
    Sandbox,
    /// The host's stack: only where the engine gives the container the host's network.
    Host,
}

impl Network {
    /// The word of runsc's `--network`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sandbox => "sandbox",
            Self::Host => "host",
        }
    }
}

/// The network that a container gets.
pub fn network(spec: &Spec, extras: &Extras) -> Network {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    let mut own = namespaces.unwrap_or_default().iter();
    match extras.network {
        Some(_) => Network::None,
        None if own.any(|one| one.typ() == LinuxNamespaceType::Network) => Network::Sandbox,
        None => Network::Host,
    }
}

/// A bundle for runsc.
#[derive(Debug)]
pub struct Bundle {
    /// Its config.json.
    pub config: String,
    /// Whether the launcher has to be there.
    pub launched: bool,
    /// What was left out.
    pub warnings: Vec<Warning>,
}

impl Bundle {
    /// Makes it of a config that profiles have tightened. `bundle` is what its relative paths are
    /// relative to.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for what nobody can enforce, [`Error::NoProgram`], [`Error::NoFile`],
    /// [`Error::File`].
    pub fn new(
        spec: &Spec,
        extras: &Extras,
        place: &Place,
        (bundle, lacking): (&Path, Lacking),
    ) -> Result<Self, Error> {
        let filtered = is_filtered(spec, extras);
        let (mut config, umask) = document(spec, extras)?;
        let warnings = check(&mut config, lacking)?;
        let rootfs = absolute_paths(&mut config, bundle);
        let rootfs = Path::new(&rootfs);
        find_program(&config, rootfs)?;
        let masked = strings(config.pointer("/linux/maskedPaths"));
        let mut more = mask::mounts(&config, rootfs, &place.empty(), &masked)?;
        let launched = umask.is_some() || filtered;
        if launched {
            launch(&mut config["process"], umask, filtered);
            more.push(json!({
                "destination": DIRECTORY, "type": "bind", "source": place.inside(),
                "options": ["bind", "ro", "nosuid", "nodev"],
            }));
        }
        match config.get_mut("mounts").and_then(Value::as_array_mut) {
            Some(mounts) => mounts.append(&mut more),
            None => config["mounts"] = Value::Array(more),
        }
        for left_to_others in [
            "/linux/maskedPaths",
            "/linux/seccomp",
            "/linux/cgroupsPath",
            "/linux/rootfsPropagation",
            "/linux/resources/devices",
            "/linux/resources/unified",
            "/process/oomScoreAdj",
            "/hooks",
            // Some of them are settings of runsc.
            "/annotations",
        ] {
            take(&mut config, left_to_others);
        }
        Ok(Self {
            config: config.to_string(),
            launched,
            warnings,
        })
    }
}

/// Whether a filter of system calls is asked for.
fn is_filtered(spec: &Spec, extras: &Extras) -> bool {
    let linux = spec.linux().as_ref();
    extras.filtered || linux.is_some_and(|linux| linux.seccomp().is_some())
}

/// The config within the bounds of its profiles, and the umask that it asks for.
fn document(spec: &Spec, extras: &Extras) -> Result<(Value, Option<u32>), Error> {
    let mut spec = spec.clone();
    translate::show(&mut spec, extras);
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(None);
    }
    let asked = spec
        .process()
        .as_ref()
        .and_then(|process| process.user().umask());
    let umask = match (asked, extras.process.umask) {
        (None, 0) => None,
        // runsc's own default for a config without one.
        (asked, more) => Some(asked.unwrap_or(0o022) | more),
    };
    let config = serde_json::from_str(&gl_spec::write(&spec)).map_err(|_err| Error::Failed {
        verb: "make a bundle",
        said: "the config could not be read again".to_owned(),
    })?;
    Ok((config, umask))
}

/// Puts the launcher before a process's own program.
fn launch(process: &mut Value, umask: Option<u32>, filtered: bool) {
    let own = process.get_mut("args").map(Value::take);
    let mut args: Vec<Value> = launcher::words(umask, filtered)
        .into_iter()
        .map(Value::from)
        .collect();
    if let Some(Value::Array(own)) = own {
        args.extend(own);
    }
    process["args"] = Value::Array(args);
}

/// The document of one more process in the sandbox, and what was left out of it.
///
/// # Errors
///
/// As [`Bundle::new`].
pub(crate) fn process(
    process: &Process,
    spec: &Spec,
    extras: &Extras,
    lacking: Lacking,
) -> Result<(String, Vec<Warning>), Error> {
    let filtered = is_filtered(spec, extras);
    let mut alone = Spec::default();
    alone.set_process(Some(process.clone()));
    let (config, umask) = document(&alone, extras)?;
    let mut config = json!({"process": config.get("process")});
    let warnings = check(&mut config, lacking)?;
    take(&mut config, "/process/oomScoreAdj");
    if umask.is_some() || filtered {
        launch(&mut config["process"], umask, filtered);
    }
    Ok((config["process"].to_string(), warnings))
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Makes paths of the host independent of the bundle, which runsc finds elsewhere; gives the root's.
fn absolute_paths(config: &mut Value, bundle: &Path) -> String {
    let absolute = |path: &str| bundle.join(path).display().to_string();
    let root = absolute(config["root"]["path"].as_str().unwrap_or("rootfs"));
    config["root"]["path"] = Value::from(root.clone());
    let mounts = config.get_mut("mounts").and_then(Value::as_array_mut);
    for mount in mounts
        .into_iter()
        .flatten()
        .filter(|one| mask::is_bind(one))
    {
        if let Some(source) = mount["source"].as_str() {
            mount["source"] = Value::from(absolute(source));
        }
    }
    root
}

/// Refuses a program that is not there, before anything is started, where that can be told: not where
/// something is mounted that is yet empty, or that begins with the sandbox.
fn find_program(config: &Value, rootfs: &Path) -> Result<(), Error> {
    let args = strings(config.pointer("/process/args"));
    let Some(name) = args.first() else {
        return Ok(());
    };
    let cwd = config.pointer("/process/cwd").and_then(Value::as_str);
    let from = |path: &str| Path::new("/").join(cwd.unwrap_or("/")).join(path);
    if name.contains('/') {
        return match is_program(config, rootfs, &from(name))? {
            true => Ok(()),
            false => Err(Error::NoFile {
                program: name.clone(),
            }),
        };
    }
    let env = strings(config.pointer("/process/env"));
    let path = env.iter().rev().find_map(|one| one.strip_prefix("PATH="));
    let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for dir in path.split(':') {
        if is_program(config, rootfs, &from(dir).join(name))? {
            return Ok(());
        }
    }
    Err(Error::NoProgram {
        program: name.clone(),
    })
}

/// Whether a file is there, or may be: what only the sandbox sees cannot be told from here.
fn is_program(config: &Value, rootfs: &Path, path: &Path) -> Result<bool, Error> {
    let mounts = config.get("mounts").and_then(Value::as_array);
    let covered = mounts.into_iter().flatten().any(|mount| {
        let destination = mount.get("destination").and_then(Value::as_str);
        destination.is_some_and(|destination| destination != "/" && path.starts_with(destination))
    });
    if covered {
        return Ok(true);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top =
        rustix::fs::openat(CWD, rootfs, flags, Mode::empty()).map_err(|source| Error::File {
            action: "open the root",
            path: rootfs.to_owned(),
            source,
        })?;
    let found = Root::new(top).open(path, OFlags::PATH);
    let found = found.and_then(|file| rustix::fs::fstat(&file));
    // A link into a mount leads nowhere yet.
    let linked = || mounts_anything_below(config);
    Ok(match found {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode) != FileType::Directory,
        Err(_) => linked() && is_link(rootfs, path),
    })
}

fn mounts_anything_below(config: &Value) -> bool {
    let mounts = config.get("mounts").and_then(Value::as_array);
    mounts.is_some_and(|all| all.iter().any(mask::is_bind))
}

fn is_link(rootfs: &Path, path: &Path) -> bool {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let stat = rustix::fs::lstat(rootfs.join(relative));
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn spec(text: &Value) -> Spec {
        gl_spec::load(text.to_string().as_bytes()).unwrap().spec
    }

    fn rootfs(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("gl-runsc-b-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("rootfs/bin")).unwrap();
        std::fs::write(dir.join("rootfs/bin/sh"), "").unwrap();
        dir
    }

    fn base() -> Value {
        json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"], "env": ["PATH=/bin"]},
            "annotations": {"dev.gvisor.flag.network": "host"},
            "mounts": [{"destination": "/v", "type": "bind", "source": "vol", "options": ["bind"]}],
            "linux": {"namespaces": [{"type": "network"}], "maskedPaths": ["/bin/sh", "/proc/kcore"],
                "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}, "cgroupsPath": "/x"}})
    }

    fn made(name: &str, config: &Value, extras: &Extras) -> Result<(Bundle, PathBuf), Error> {
        let dir = rootfs(name);
        let place = Place::new(Path::new("/run/x"), "i").unwrap();
        let bundle = Bundle::new(&spec(config), extras, &place, (&dir, Lacking::Refuse));
        std::fs::remove_dir_all(&dir).unwrap();
        bundle.map(|bundle| (bundle, dir))
    }

    #[test]
    fn bundle_has_absolute_paths_and_nothing_that_is_enforced_elsewhere() {
        let (bundle, dir) = made("paths", &base(), &Extras::default()).unwrap();
        let config: Value = serde_json::from_str(&bundle.config).unwrap();
        assert_eq!(config["root"]["path"], json!(dir.join("rootfs")));
        assert_eq!(config["mounts"][0]["source"], json!(dir.join("vol")));
        for gone in [
            "/annotations",
            "/linux/seccomp",
            "/linux/cgroupsPath",
            "/linux/maskedPaths",
        ] {
            assert_eq!(config.pointer(gone), None, "{gone}");
        }
        // The mask, and the launcher for the filter.
        let all = config["mounts"].as_array().unwrap();
        let destinations: Vec<_> = all.iter().map(|one| one["destination"].as_str()).collect();
        assert_eq!(destinations, [Some("/v"), Some("/bin/sh"), Some(DIRECTORY)]);
        let args = json!([launcher::LAUNCHER, "-", "filter", "sh"]);
        assert_eq!(config["process"]["args"], args);
        assert!(bundle.launched);
    }

    #[test]
    fn nothing_is_launched_where_nothing_is_to_be_set() {
        let mut config = base();
        take(&mut config, "/linux/seccomp");
        let (bundle, _) = made("plain", &config, &Extras::default()).unwrap();
        let text: Value = serde_json::from_str(&bundle.config).unwrap();
        assert_eq!(text["process"]["args"], json!(["sh"]));
        assert!(!bundle.launched);
    }

    #[test]
    fn missing_program_is_told_before_the_start() {
        for (args, want) in [
            (
                json!(["nope"]),
                "exec: \"nope\": executable file not found in $PATH",
            ),
            (
                json!(["/bin/nope"]),
                "exec: \"/bin/nope\": no such file or directory",
            ),
        ] {
            let mut config = base();
            config["process"]["args"] = args;
            let err = made("missing", &config, &Extras::default()).unwrap_err();
            assert_eq!(err.to_string(), want);
        }
        let mut config = base();
        config["process"]["args"] = json!(["/v/own"]);
        assert!(made("volume", &config, &Extras::default()).is_ok());
    }

    #[test]
    fn network_is_the_least_that_was_asked_for() {
        let own = spec(&base());
        let mut none = Extras::default();
        assert_eq!(network(&own, &none), Network::Sandbox);
        none.network = Some(gl_spec::Isolated::Loopback);
        assert_eq!(network(&own, &none), Network::None);
        let mut config = base();
        config["linux"]["namespaces"] = json!([{"type": "pid"}]);
        assert_eq!(network(&spec(&config), &Extras::default()), Network::Host);
    }
}
