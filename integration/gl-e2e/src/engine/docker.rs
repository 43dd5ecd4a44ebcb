//! An own Docker daemon with the runtime under test as its default runtime.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Container, Engine, IMAGE, Kind, image, runtime, text};
use crate::command::{LIMIT, fail, output, wait_child};
use crate::kernel::Scope;
use crate::sandbox::Sandbox;

/// Name under which the daemon knows the runtime under test.
pub const RUNTIME_NAME: &str = "under-test";

/// Profiles that have a runtime of their own, see [`runtime_with`].
pub const PROFILES: [&str; 11] = [
    "compute_only",
    "compute_olny",
    "data_processing",
    "default",
    "maximum",
    "e2e-small",
    "e2e-brief",
    "e2e-quota",
    "e2e-quota-disk",
    "e2e-quota-ro",
    "e2e-gvisor",
];

/// Name under which the daemon knows the runtime under test with a profile in its arguments.
pub fn runtime_with(profile: &str) -> String {
    format!("with-{profile}")
}

/// A running daemon. It is stopped when dropped.
#[derive(Debug)]
pub struct Daemon {
    dockerd: Child,
}

/// Starts a daemon, with settings added to its `daemon.json`, and gives it the test image.
///
/// `BuildKit` in the daemon takes its runtime from `PATH` as `runc`. The daemon's own `PATH` leads
/// that name to a script that notes its arguments in [`build_log`] and becomes the runtime.
///
/// # Panics
///
/// If it does not come up; the end of its log is in the message.
pub fn start(sandbox: &Sandbox, more_settings: Value) -> (Daemon, Engine) {
    let dir = sandbox.dir.join("docker");
    fs::create_dir_all(dir.join("bin")).expect("make a directory on tmpfs");
    let socket = format!("unix://{}", text(&socket(sandbox)));
    let config = write_settings(sandbox, &dir, &socket, more_settings);
    write_build_runtime(sandbox, &dir);

    let log_path = dir.join("dockerd.log");
    let log = File::create(&log_path).expect("create a log on tmpfs");
    let dockerd = Command::new("dockerd")
        .arg("--config-file")
        .arg(config)
        .env("PATH", search_path(&dir.join("bin")))
        .env("TMPDIR", &sandbox.dir)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().expect("dup of a log"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| fail(&format!("start dockerd (docker.io): {e}")));
    let mut daemon = Daemon { dockerd };

    let engine = Engine {
        kind: Kind::Docker,
        sandbox: sandbox.clone(),
        state_roots: state_roots(&dir),
        scope: Scope {
            init: sandbox.init,
            cgroup: sandbox.cgroup.clone(),
            roots: trace_roots(&dir),
            engine_mounts: Vec::new(),
        },
        program: PathBuf::from("docker"),
        globals: vec!["--host".to_owned(), socket],
        run_defaults: Vec::new(),
        environment: BTreeMap::from([
            ("DOCKER_CONFIG".to_owned(), text(&dir).to_owned()),
            ("HOME".to_owned(), text(&dir).to_owned()),
        ]),
        next: AtomicU32::new(0),
    };
    wait_until_ready(&engine, &mut daemon, &log_path);
    import_image(&engine, &dir);
    (daemon, engine)
}

/// Where the runtime calls of image builds are noted.
pub fn build_log(sandbox: &Sandbox) -> PathBuf {
    sandbox.dir.join("docker/build-runtime.log")
}

/// Starts a container that sleeps, with settings that only the daemon's API can give it.
///
/// # Panics
///
/// If the daemon says no.
#[track_caller]
pub fn sleeper_by_api<'a>(engine: &'a Engine, host_config: &Value) -> Container<'a> {
    let container = engine.name_one();
    let body = json!({ "Image": IMAGE, "Cmd": ["sleep", "1000"], "HostConfig": host_config });
    let body = body.to_string();
    let request = format!(
        "POST /containers/create?name={} HTTP/1.0\r\nHost: docker\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        container.name,
        body.len()
    );
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket(&engine.sandbox))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_else(|e| fail(&format!("ask the daemon: {e}")));
    let status = answer.split(' ').nth(1);
    assert_eq!(status, Some("201"), "{request}\n--- answer\n{answer}");
    container.cli(&["start"]).ok();
    container
}

fn socket(sandbox: &Sandbox) -> PathBuf {
    sandbox.dir.join("docker/docker.sock")
}

fn write_settings(sandbox: &Sandbox, dir: &Path, socket: &str, more: Value) -> PathBuf {
    let mut runtimes = json!({ RUNTIME_NAME: { "path": runtime() } });
    for profile in PROFILES {
        let args = ["--profile", profile];
        runtimes[runtime_with(profile)] = json!({ "path": runtime(), "runtimeArgs": args });
    }
    let mut settings = json!({
        "data-root": dir.join("data"),
        "exec-root": dir.join("exec"),
        "pidfile": dir.join("docker.pid"),
        "hosts": [socket],
        "runtimes": runtimes,
        "default-runtime": RUNTIME_NAME,
        "cgroup-parent": sandbox.parent(),
        "exec-opts": [format!("native.cgroupdriver={}", sandbox.driver.word())],
        "shutdown-timeout": 5,
        "log-level": "warn",
    });
    if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
        settings.extend(more);
    }
    let path = dir.join("daemon.json");
    fs::write(&path, settings.to_string()).expect("write daemon.json");
    path
}

fn write_build_runtime(sandbox: &Sandbox, dir: &Path) {
    let (log, runtime) = (build_log(sandbox), runtime());
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>{}\nexec {} \"$@\"\n",
        text(&log),
        text(&runtime)
    );
    let path = dir.join("bin/runc");
    fs::write(&path, script).expect("write a script on tmpfs");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, executable).expect("make a script executable");
}

fn search_path(first: &Path) -> String {
    format!(
        "{}:{}",
        text(first),
        std::env::var("PATH").unwrap_or_default()
    )
}

/// Older daemons have one root for all runtimes, under the name of the one that they default to.
fn state_roots(dir: &Path) -> Vec<PathBuf> {
    let own = PROFILES.iter().map(|profile| runtime_with(profile));
    let names = [RUNTIME_NAME, "runc"].map(str::to_owned).into_iter();
    names
        .chain(own)
        .map(|name| dir.join(format!("exec/runtime-{name}/moby")))
        .collect()
}

fn trace_roots(dir: &Path) -> Vec<PathBuf> {
    let mut roots: Vec<_> = [
        "data/containers",
        "exec/containerd",
        "exec/containerd/daemon/io.containerd.runtime.v2.task/moby",
        "exec/containerd/io.containerd.runtime.v2.task/moby",
    ]
    .iter()
    .map(|sub| dir.join(sub))
    .collect();
    roots.extend(state_roots(dir));
    roots.push(PathBuf::from("/run/containerd/s"));
    roots
}

fn wait_until_ready(engine: &Engine, daemon: &mut Daemon, log: &Path) {
    let socket = socket(&engine.sandbox);
    let up = crate::command::eventually(Duration::from_secs(30), || {
        let ended = daemon
            .dockerd
            .try_wait()
            .is_ok_and(|status| status.is_some());
        ended || UnixStream::connect(&socket).is_ok()
    });
    let version = engine.cli(&["version"]);
    if !up || version.status != 0 {
        let log = fs::read_to_string(log).unwrap_or_default();
        fail(&format!(
            "dockerd does not answer: {version}\n--- its log\n{log}"
        ));
    }
}

fn import_image(engine: &Engine, dir: &Path) {
    let (rootfs, archive) = (dir.join("rootfs"), dir.join("rootfs.tar"));
    fs::create_dir(&rootfs).expect("make a directory on tmpfs");
    image::make_rootfs(&rootfs);
    image::pack(&rootfs, &archive);
    output(engine.command(&["import", text(&archive), IMAGE])).ok();
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.dockerd);
        if self.dockerd.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        kill_process(pid, Signal::TERM).ok();
        if wait_child(&mut self.dockerd, Duration::from_secs(30)).is_none() {
            drop(self.dockerd.kill());
            drop(self.dockerd.wait());
        }
    }
}
