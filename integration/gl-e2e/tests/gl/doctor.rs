//! `gl doctor`: what is said of the host is compared with the host.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use gl_e2e::bundle::{Output, finish};
use gl_e2e::{Outcome, Skip, Test, tests};
use serde_json::{Value, json};

use crate::{Setting, gl, run};

pub(crate) const TESTS: &[Test] = tests![
    doctor_looks_at_everything,
    doctor_says_how_to_fix_what_is_missing,
    doctor_leaves_no_cgroup,
    doctor_sees_user_namespaces_that_cannot_be_made,
    doctor_sees_what_a_user_without_root_lacks,
    doctor_sees_where_engines_know_greenlang,
    doctor_says_what_profiles_lose,
    doctor_ends_with_1_where_the_default_profile_is_refused,
];

fn report() -> Result<Value, Skip> {
    let out = run(&["doctor", "--json"])?;
    check_status(&out);
    Ok(out.json())
}

/// The status is what the help says: 1 if the default profile, or what all need, is not whole.
fn check_status(out: &Output) {
    let report = out.json();
    let whole = |list: &str, name: &str| entry(&report, list, name)["state"] != "missing";
    let needed = ["cgroups", "namespaces", "filter"].map(|name| whole("findings", name));
    let default = entry(&report, "profiles", "default")["state"] == "ok";
    let want = i32::from(!default || needed.contains(&false));
    assert_eq!(out.code, want, "{out:?}");
}

fn entry(report: &Value, list: &str, name: &str) -> Value {
    let list = report[list].as_array().unwrap();
    let found = list.iter().find(|one| one["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {list:?}"))
        .clone()
}

fn finding(report: &Value, name: &str) -> Value {
    entry(report, "findings", name)
}

fn doctor_looks_at_everything() -> Outcome {
    let report = report()?;
    for (name, path, holds) in [
        ("release", "/proc/sys/kernel/osrelease", true),
        ("filter", "/proc/sys/kernel/seccomp/actions_avail", true),
    ] {
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(
            finding(&report, name)["seen"] == text.trim(),
            holds,
            "{name}"
        );
    }
    let is = |name: &str, there: bool| {
        let found = finding(&report, name);
        assert_eq!(found["state"] != "missing", there, "{found}");
    };
    let mount = Path::new("/sys/fs/cgroup/cgroup.controllers").is_file();
    let generation = if mount { "v2: " } else { "v1: " };
    let cgroups = finding(&report, "cgroups");
    assert!(
        cgroups["seen"].as_str().unwrap().starts_with(generation),
        "{cgroups}"
    );
    is("selinux", Path::new("/sys/fs/selinux/enforce").is_file());
    is("systemd", Path::new("/run/systemd/system").is_dir());
    for program in ["nft", "pasta", "runsc", "docker", "podman", "containerd"] {
        let out = finish(Command::new("sh").args(["-c", &format!("{program} --version")]));
        is(program, out.code == 0);
    }
    for name in [
        "abi",
        "apparmor",
        "user",
        "unprivileged",
        "subuid",
        "newuidmap",
    ] {
        assert!(
            !finding(&report, name)["seen"].as_str().unwrap().is_empty(),
            "{name}"
        );
    }
    Ok(())
}

fn doctor_says_how_to_fix_what_is_missing() -> Outcome {
    let report = report()?;
    let table = run(&["doctor"])?.stdout;
    let mut fixes = 0;
    for found in report["findings"].as_array().unwrap() {
        assert_eq!(found["fix"].is_string(), found["state"] != "ok", "{found}");
        if let Some(fix) = found["fix"].as_str() {
            let word = |key: &str| found[key].as_str().unwrap();
            let line = format!("\n  {} {}: {fix}\n", word("area"), word("name"));
            assert!(table.contains(&line), "no {line:?} in {table}");
            fixes += 1;
        }
    }
    assert_eq!(table.contains("\nTo fix:\n"), fixes > 0, "{table}");
    assert!(table.contains("\nProfiles here:\n"), "{table}");
    Ok(())
}

fn doctor_leaves_no_cgroup() -> Outcome {
    run(&["doctor"])?;
    let out = finish(Command::new("find").args([
        "/sys/fs/cgroup",
        "-maxdepth",
        "5",
        "-name",
        "gl-doctor-*",
    ]));
    assert_eq!(out.stdout, "");
    Ok(())
}

fn doctor_sees_user_namespaces_that_cannot_be_made() -> Outcome {
    let seen = finding(&report()?, "user");
    assert_eq!(seen["state"], "ok", "{seen}");
    let path = gl(&[])?.get_program().to_owned();
    // A limit of a user namespace holds for what is made in it.
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" doctor --json";
    let mut inside = Command::new("unshare");
    inside
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .arg(&path);
    let report = finish(&mut inside).json();
    let seen = finding(&report, "user");
    assert_eq!(seen["state"], "missing");
    assert_eq!(
        seen["seen"],
        "root: make a user namespace: no space left on device"
    );
    assert!(
        seen["fix"]
            .as_str()
            .unwrap()
            .contains("user.max_user_namespaces"),
        "{seen}"
    );
    // Namespaces in one are tried, too.
    let script = "echo 0 >/proc/sys/user/max_net_namespaces && exec \"$0\" doctor --json";
    let mut inside = Command::new("unshare");
    inside
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .arg(&path);
    let seen = finding(&finish(&mut inside).json(), "user");
    assert_eq!(
        seen["seen"],
        "root: make namespaces in a user namespace: no space left on device"
    );
    Ok(())
}

fn doctor_sees_what_a_user_without_root_lacks() -> Outcome {
    // The program may be where only root can go.
    let dir = Path::new("/run").join(gl_e2e::bundle::tag());
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.join("gl");
    fs::copy(gl(&[])?.get_program(), &copy).unwrap();
    let as_user = |command: &str| {
        let mut setpriv = Command::new("setpriv");
        setpriv.args([
            "--reuid",
            "4242",
            "--regid",
            "4242",
            "--clear-groups",
            "env",
            "-i",
        ]);
        setpriv
            .args(["PATH=/usr/bin:/bin", "sh", "-c", command, "sh"])
            .arg(&copy);
        finish(&mut setpriv)
    };
    let none = as_user("exec \"$1\" doctor --json");
    check_status(&none);
    let report = none.json();
    let subuid = finding(&report, "subuid");
    assert_eq!(subuid["seen"], "none for 4242 in /etc/subuid");
    assert_eq!(finding(&report, "cgroups")["state"], "missing");
    let refused = entry(&report, "profiles", "default");
    assert_eq!(refused["state"], "missing");
    assert!(
        refused["refused"]
            .as_str()
            .unwrap()
            .contains("limits.cpu_time_limit_seconds: the container can have no cgroup"),
        "{refused}"
    );
    let lost = entry(&report, "profiles", "lenient");
    assert_eq!(lost["state"], "partly");
    assert_eq!(
        lost["lost"][1]["key"], "limits.memory_limit_bytes",
        "{lost}"
    );
    let manager = finding(&report, "systemd");
    assert_eq!(manager["seen"], "no manager of this user");
    // With ranges of its own.
    let old = ["subuid", "subgid"].map(|name| {
        let path = crate::etc().join(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{text}4242:700000:1000\n")).unwrap();
        (path, text)
    });
    let subuid = finding(&as_user("exec \"$1\" doctor --json").json(), "subuid");
    for (path, text) in old {
        fs::write(path, text).unwrap();
    }
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(subuid["seen"], "1000 in /etc/subuid, 1000 in /etc/subgid");
    assert_eq!(subuid["state"], "ok");
    Ok(())
}

fn doctor_sees_where_engines_know_greenlang() -> Outcome {
    for path in [
        "docker/daemon.json",
        "containers/containers.conf.d/greenlang.conf",
    ] {
        let path = crate::etc().join(path);
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
    }
    let runtime = gl_e2e::bundle::runtime();
    let program = runtime.to_str().unwrap();
    let report = report()?;
    let installed = |name: &str| finding(&report, name)["state"] == "ok";
    if !installed("docker") || !installed("podman") {
        return Err(Skip("docker or podman is not installed".to_owned()));
    }
    for engine in ["docker runtime", "podman runtime"] {
        let found = finding(&report, engine);
        assert_eq!(found["state"], "missing", "{found}");
        assert!(
            found["fix"]
                .as_str()
                .unwrap()
                .starts_with("hack/install --"),
            "{found}"
        );
    }
    let text = json!({"runtimes": {"greenlang": {"path": program}}}).to_string();
    let docker = Setting::new("docker/daemon.json", &text);
    let _podman = Setting::new(
        "containers/containers.conf.d/greenlang.conf",
        &format!("[engine.runtimes]\ngreenlang = [\"{program}\"]\n"),
    );
    let report = run(&["doctor", "--json"])?.json();
    assert_eq!(
        finding(&report, "docker runtime"),
        json!({"area": "engines", "name": "docker runtime", "state": "ok",
            "seen": format!("greenlang in /etc/docker/daemon.json: {program}")})
    );
    let podman = finding(&report, "podman runtime");
    assert_eq!(podman["state"], "ok", "{podman}");
    for (text, says) in [
        (
            "{\"runtimes\": {\"greenlang\": {\"path\": \"/nowhere\"}}}",
            "/nowhere: no such file",
        ),
        ("{", "/etc/docker/daemon.json: "),
    ] {
        fs::write(&docker.0, text).unwrap();
        let found = finding(&run(&["doctor", "--json"])?.json(), "docker runtime");
        assert!(found["seen"].as_str().unwrap().contains(says), "{found}");
        assert_ne!(found["state"], "ok", "{found}");
    }
    Ok(())
}

fn doctor_says_what_profiles_lose() -> Outcome {
    let context = "[filesystem]\nselinux_context = \"a:b:c:s0\"\n";
    let _never = Setting::profile("never", "[limits]\nmax_connections = 5\n");
    let _broken = Setting::profile("broken", "umask = 1\n");
    let _degrades = Setting::profile("degrades", &format!("on_missing = \"degrade\"\n{context}"));
    let _insists = Setting::profile("insists", context);
    let report = report()?;
    let on = finding(&report, "selinux")["state"] != "missing";
    let profile = |name: &str| entry(&report, "profiles", name);
    let never = profile("never");
    assert_eq!(never["state"], "missing");
    let refused = never["refused"].as_str().unwrap();
    assert!(
        refused.contains("never.toml:4: limits.max_connections"),
        "{never}"
    );
    assert!(
        never["fix"].as_str().unwrap().contains("leave it out"),
        "{never}"
    );
    assert!(
        profile("broken")["refused"]
            .as_str()
            .unwrap()
            .contains("umask")
    );
    let (degrades, insists) = (profile("degrades"), profile("insists"));
    if on {
        assert_eq!(degrades["state"], "ok", "{degrades}");
        return Ok(());
    }
    assert_eq!(degrades["state"], "partly");
    let lost = &degrades["lost"][0];
    assert_eq!(lost["key"], "filesystem.selinux_context", "{degrades}");
    assert_eq!(lost["origin"], "/etc/greenlang/profiles/degrades.toml:5");
    assert_eq!(insists["state"], "missing", "{insists}");
    // As the runtime answers.
    let container = gl_e2e::bundle::Bundle::sh("true")
        .set("/annotations", json!({"dev.greenlang.profile": "insists"}));
    container.run().failed().says("filesystem.selinux_context");
    let table = run(&["doctor"])?.stdout;
    let line = "degrades           partly   loses filesystem.selinux_context: ";
    assert!(table.contains(line), "no {line:?} in {table}");
    Ok(())
}

fn doctor_ends_with_1_where_the_default_profile_is_refused() -> Outcome {
    run(&["doctor"])?.ok();
    // Without cgroups no limit can be held.
    let mut hidden = Command::new("unshare");
    let script = "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" doctor";
    hidden.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    let out = finish(hidden.arg(gl(&[])?.get_program())).status(1);
    let table = out.stdout.lines();
    let line = table.clone().find(|line| line.starts_with("default "));
    assert!(line.unwrap().contains("refused: enforce "), "{line:?}");
    // The mount was not seen outside.
    assert_ne!(fs::metadata("/sys/fs/cgroup").unwrap().ino(), 0);
    run(&["doctor"])?.ok();
    Ok(())
}
