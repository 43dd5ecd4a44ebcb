//! What a sandbox cannot hold, and runscs that are not to be used: refused at create, never weaker.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use gl_e2e::Outcome;
use gl_e2e::bundle::settings::Setting;
use gl_e2e::bundle::{Bundle, finish};
use serde_json::json;

use super::{PLAIN, runsc, with};

pub(super) fn lines_that_gvisor_cannot_hold_are_refused() -> Outcome {
    runsc()?;
    for (line, said) in [
        (
            "[filesystem]\nread_write_paths = [\"/out\"]\n",
            "filesystem.read_write_paths: gVisor's kernel has no Landlock",
        ),
        (
            "[limits]\ndisk_quota_bytes = \"2MiB\"\n",
            "limits.disk_quota_bytes: gVisor gives /dev no size",
        ),
        (
            "[filesystem]\nblocked_paths = [\"/proc/uptime\"]\n",
            "filesystem.blocked_paths",
        ),
        (
            "[filesystem]\napparmor_profile = \"greenlang-sandbox\"\n",
            "filesystem.apparmor_profile",
        ),
        (
            "[filesystem]\nselinux_context = \"a:b:c:s0\"\n",
            "filesystem.selinux_context",
        ),
    ] {
        let (box_, _profile) = with(Bundle::new(), &format!("{PLAIN}{line}"));
        box_.create().failed().says(said);
    }
    Ok(())
}

pub(super) fn fields_that_gvisor_cannot_hold_are_refused() -> Outcome {
    runsc()?;
    let hook = json!([{"path": "/bin/true"}]);
    for (pointer, value, said) in [
        (
            "/process/selinuxLabel",
            json!("a:b:c:s0"),
            "process.selinuxLabel",
        ),
        (
            "/linux/sysctl",
            json!({"net.core.somaxconn": "9"}),
            "linux.sysctl[",
        ),
        (
            "/linux/readonlyPaths",
            json!(["/etc"]),
            "linux.readonlyPaths[0]",
        ),
        (
            "/hooks/createContainer",
            hook.clone(),
            "hooks.createContainer",
        ),
        ("/hooks/startContainer", hook, "hooks.startContainer"),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]),
            "linux.devices",
        ),
    ] {
        let (box_, _profile) = with(Bundle::new(), PLAIN);
        box_.set(pointer, value)
            .create()
            .failed()
            .says(said)
            .says("in gVisor");
    }
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    let shared = json!({"type": "ipc", "path": "/proc/1/ns/ipc"});
    let out = box_.namespace("ipc", Some(shared)).create().failed();
    out.says("linux.namespaces[3] in gVisor");
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    box_.with_global("--cgroup-manager=disabled")
        .create()
        .failed();
    Ok(())
}

pub(super) fn degrading_profile_leaves_out_and_says_so() -> Outcome {
    runsc()?;
    let text =
        format!("{PLAIN}on_missing = \"degrade\"\n[filesystem]\nread_write_paths = [\"/tmp\"]\n");
    let (box_, _profile) = with(Bundle::sh("echo ran"), &text);
    let box_ = box_.set("/linux/sysctl", json!({"net.core.somaxconn": "9"}));
    let out = box_.run().ok().prints("ran");
    assert!(out.stderr.contains("linux.sysctl"), "{out:?}");
    assert!(out.stderr.contains("left out"), "{out:?}");
    Ok(())
}

/// A directory of root's, whose parents are root's, too.
struct Own(PathBuf);

impl Own {
    fn new() -> Self {
        let dir = PathBuf::from(format!("/usr/local/{}runsc", gl_e2e::bundle::tag()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    /// A runsc of our own, and the settings that name it.
    fn runsc(&self, text: &str) -> (PathBuf, Setting) {
        let path = self.0.join("runsc");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let settings = setting(&path);
        (path, settings)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn setting(path: &Path) -> Setting {
    let text = format!("version = 1\nrunsc = \"{}\"\n", path.display());
    Setting::new("config.toml", &text)
}

/// Nothing was made, and nothing ran.
#[track_caller]
fn refused(said: &[&str]) {
    let (box_, _profile) = with(Bundle::sh("echo ran"), PLAIN);
    let mut out = box_.run().failed();
    for one in said {
        out = out.says(one);
    }
    assert_eq!(out.stdout, "");
    let left = fs::read_dir(box_.state_root()).unwrap();
    let left = left.filter(|one| {
        !one.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('@')
    });
    assert_eq!(left.count(), 0, "state is left");
}

pub(super) fn runsc_of_somebody_else_is_refused() -> Outcome {
    let own = Own::new();
    let (path, _settings) = own.runsc("#!/bin/sh\necho runsc version release-20240729.0\n");
    chown(&path, Some(1000), Some(1000)).unwrap();
    refused(&["as runsc: it belongs to somebody else than root"]);
    chown(&path, Some(0), Some(0)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o775)).unwrap();
    refused(&["as runsc: others than root may write to it"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&own.0, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&[&format!(
        "use {} as runsc: others than root",
        own.0.display()
    )]);
    Ok(())
}

pub(super) fn missing_runsc_is_refused() -> Outcome {
    let own = Own::new();
    let path = own.0.join("none");
    let _settings = setting(&path);
    refused(&["find runsc: it is in none of", "install runsc"]);
    // A link could be anybody's by now.
    std::os::unix::fs::symlink("/bin/true", &path).unwrap();
    refused(&["as runsc: it is a link"]);
    Ok(())
}

pub(super) fn runsc_on_the_callers_path_is_not_used() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::sh("cat /proc/version"), PLAIN);
    let dir = box_.outside("bin");
    fs::write(dir.join("runsc"), "#!/bin/sh\ntouch called\n").unwrap();
    fs::set_permissions(dir.join("runsc"), fs::Permissions::from_mode(0o755)).unwrap();
    box_.write_config();
    let mut command = box_.command(&["run", box_.id()]);
    let out = finish(command.env("PATH", &dir)).ok();
    assert!(out.stdout.starts_with("Linux version 4.4.0"), "{out:?}");
    let called = box_.dir().join("called").symlink_metadata();
    assert!(called.is_err(), "{called:?}");
    Ok(())
}

pub(super) fn old_runsc_is_refused() -> Outcome {
    let own = Own::new();
    for (version, seen) in [
        ("runsc version release-20200115.0", "release-20200115.0"),
        ("runsc version VERSION_MISSING", "VERSION_MISSING"),
    ] {
        let (_path, _settings) = own.runsc(&format!("#!/bin/sh\necho {version}\n"));
        refused(&[
            seen,
            "20221219 is the oldest that works",
            "install a newer runsc",
        ]);
    }
    Ok(())
}

pub(super) fn runsc_without_a_platform_is_refused() -> Outcome {
    let own = Own::new();
    let script = "#!/bin/sh\ncase $1 in --version) echo runsc version release-20240729.0;; *) exit 128;; esac\n";
    let (_path, _settings) = own.runsc(script);
    refused(&["no platform works here: systrap: exit status: 128; ptrace: exit status: 128"]);
    Ok(())
}
