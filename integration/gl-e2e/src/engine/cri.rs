//! containerd as a kubelet drives it: pods and containers by the Container Runtime Interface.
//!
//! CRI is gRPC: one HTTP/2 request a call, which curl sends, and a message of protocol buffers each way,
//! which protoc translates from and to text by `cri.proto`. The classes that a cluster would have are
//! containerd's runtime handlers, see [`HANDLERS`].

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::containerd::{Containerd, Daemon, launch};
use super::{IMAGE, image, runtime, text};
use crate::command::{Output, fail, output};
use crate::kernel::Cgroup;
use crate::sandbox::{Driver, Sandbox};

mod message;

use message::{field, or, pid_in};

/// The definition of the messages.
const PROTO: &str = include_str!("cri.proto");

/// Runtime handlers: the one that passes annotations on, and one for each of these profiles, which passes none.
pub const HANDLERS: [&str; 3] = [ANNOTATED, "compute_only", "compute_olny"];

/// The handler whose profile is that of the annotations.
pub const ANNOTATED: &str = "greenlang";

/// Where Debian puts the plugins for pods with a network of their own.
const CNI: &str = "/usr/lib/cni";

/// containerd's CRI.
#[derive(Debug)]
pub struct Cri {
    /// The daemon, and the machine it runs in.
    pub containerd: Containerd,
    dir: PathBuf,
    next: AtomicU32,
}

/// What a call that failed was answered with.
#[derive(Debug)]
pub struct Refusal(pub String);

/// Starts containerd with its CRI and the test image.
///
/// # Panics
///
/// If it does not come up; the end of its log is in the message.
pub fn start(sandbox: &Sandbox) -> (Daemon, Cri) {
    let dir = sandbox.dir.join("cri");
    fs::create_dir_all(dir.join("logs")).expect("make a directory on tmpfs");
    fs::create_dir(dir.join("cni")).expect("make a directory on tmpfs");
    write(&dir.join("cri.proto"), PROTO);
    write(&dir.join("cni/10-pods.conflist"), &pod_network());
    for profile in &HANDLERS[1..] {
        write(&base_spec(&dir, profile), &spec_with(profile));
    }
    let (daemon, mut containerd) = launch(sandbox, "", &settings(sandbox, &dir), "k8s.io");
    let plugin = sandbox
        .dir
        .join("containerd/state/io.containerd.grpc.v1.cri");
    let roots = &mut containerd.scope.roots;
    roots.extend([plugin.join("sandboxes"), plugin.join("containers")]);
    roots.extend(["/run/netns", "/var/lib/cni/networks/pods"].map(PathBuf::from));
    let cri = Cri {
        containerd,
        dir,
        next: AtomicU32::new(0),
    };
    cri.import_image();
    (daemon, cri)
}

/// A bridge of its own for pods, without a way out.
fn pod_network() -> String {
    let addresses = json!({"type": "host-local", "subnet": "10.213.0.0/24"});
    let bridge = json!({"type": "bridge", "bridge": "pods0", "ipam": addresses});
    json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}).to_string()
}

fn base_spec(dir: &Path, profile: &str) -> PathBuf {
    dir.join(format!("{profile}.json"))
}

/// containerd's own defaults with the annotation.
fn spec_with(profile: &str) -> String {
    let mut command = Command::new("ctr");
    command.args(["oci", "spec"]);
    let defaults = output(command);
    let mut spec: Value = serde_json::from_str(defaults.ok())
        .unwrap_or_else(|e| fail(&format!("no config.json: {e}: {defaults}")));
    spec["annotations"] = json!({"dev.greenlang.profile": profile});
    spec.to_string()
}

fn settings(sandbox: &Sandbox, dir: &Path) -> String {
    let plugin = r#"plugins."io.containerd.grpc.v1.cri""#;
    let systemd = sandbox.driver == Driver::Systemd;
    // Without CAP_SYS_RESOURCE nobody gets the score that CRI gives a sandbox.
    let mut text = format!(
        "[{plugin}]\nsandbox_image = \"{IMAGE_NAME}\"\nrestrict_oom_score_adj = true\n\
         [{plugin}.cni]\nbin_dir = {CNI:?}\nconf_dir = {cni:?}\n\
         [{plugin}.containerd]\ndefault_runtime_name = {ANNOTATED:?}\n",
        cni = dir.join("cni"),
    );
    for handler in HANDLERS {
        let profile = if handler == ANNOTATED {
            let patterns = r#"["dev.greenlang.*"]"#;
            format!("pod_annotations = {patterns}\ncontainer_annotations = {patterns}\n")
        } else {
            format!("base_runtime_spec = {:?}\n", base_spec(dir, handler))
        };
        let section = format!("{plugin}.containerd.runtimes.{handler}");
        write!(
            text,
            "[{section}]\nruntime_type = \"io.containerd.runc.v2\"\n{profile}\
             [{section}.options]\nBinaryName = {:?}\nSystemdCgroup = {systemd}\n",
            runtime()
        )
        .expect("String write");
    }
    text
}

/// The image as CRI spells names.
const IMAGE_NAME: &str = "example.org/gl-box:1";

impl Cri {
    fn import_image(&self) {
        let layer = self.dir.join("layer.tar");
        image::pack(&self.containerd.rootfs, &layer);
        let mut sum = Command::new("sha256sum");
        sum.arg(&layer);
        let sum = output(sum);
        let digest = sum.ok().split(' ').next().unwrap_or_default();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
            "config": {"Cmd": ["sleep", "1000"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        });
        let list =
            json!([{"Config": "config.json", "RepoTags": [IMAGE_NAME], "Layers": ["layer.tar"]}]);
        write(&self.dir.join("config.json"), &config.to_string());
        write(&self.dir.join("manifest.json"), &list.to_string());
        let archive = self.dir.join(format!("{IMAGE}.tar"));
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&self.dir).arg("-cf").arg(&archive);
        output({
            tar.args(["config.json", "manifest.json", "layer.tar"]);
            tar
        })
        .ok();
        let import = ["--namespace", "k8s.io", "images", "import", text(&archive)];
        self.containerd.ctr(&import).ok();
    }

    /// Whether pods can have a network of their own.
    pub fn has_pod_network(&self) -> bool {
        Path::new(CNI).join("bridge").is_file()
    }

    /// Calls a method with a message in the text format of protocol buffers, and returns the answer in it.
    ///
    /// # Errors
    ///
    /// The message of a call that was refused.
    ///
    /// # Panics
    ///
    /// If curl or protoc fails.
    #[track_caller]
    pub fn call(&self, method: &str, message: &str) -> Result<String, Refusal> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = |name: &str| self.dir.join(format!("call{number}.{name}"));
        write(&file("text"), message);
        let encode = format!("--encode=runtime.v1.{method}Request");
        self.translate(&encode, &file("text"), &file("encoded"));
        let encoded = read(&file("encoded"));
        let length = u32::try_from(encoded.len()).expect("a short message");
        // Not compressed, and how long it is.
        let request = [&[0][..], &length.to_be_bytes(), &encoded].concat();
        fs::write(file("request"), request).expect("write a file on tmpfs");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--http2-prior-knowledge"])
            .args([
                "--header",
                "content-type: application/grpc",
                "--header",
                "te: trailers",
            ])
            .arg("--unix-socket")
            .arg(&self.containerd.address)
            .arg("--data-binary")
            .arg(format!("@{}", text(&file("request"))))
            .arg("--dump-header")
            .arg(file("headers"))
            .arg("--output")
            .arg(file("answer"))
            .arg(format!(
                "http://localhost/runtime.v1.RuntimeService/{method}"
            ));
        output(curl).ok();
        let headers = fs::read_to_string(file("headers")).expect("read what curl wrote");
        let header = |name: &str| {
            let lines = headers.lines().map(str::trim_end);
            lines
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .next_back()
        };
        if header("grpc-status") != Some("0") {
            let said = header("grpc-message").unwrap_or(&headers);
            return Err(Refusal(said.to_owned()));
        }
        let answer = read(&file("answer"));
        fs::write(file("encoded"), answer.get(5..).unwrap_or_default())
            .expect("write a file on tmpfs");
        let decode = format!("--decode=runtime.v1.{method}Response");
        self.translate(&decode, &file("encoded"), &file("text"));
        Ok(fs::read_to_string(file("text")).expect("protoc writes text"))
    }

    #[track_caller]
    fn translate(&self, how: &str, from: &Path, to: &Path) {
        let script = r#"exec protoc --proto_path="$1" "$2" cri.proto <"$3" >"$4""#;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script, "protoc"])
            .arg(&self.dir)
            .arg(how)
            .arg(from)
            .arg(to);
        output(shell).ok();
    }

    /// Calls a method that must not be refused.
    ///
    /// # Panics
    ///
    /// With what it was answered.
    #[track_caller]
    pub fn done(&self, method: &str, message: &str) -> String {
        self.call(method, message)
            .unwrap_or_else(|said| fail(&format!("{method} {message}: {said:?}")))
    }

    /// Starts a pod of a handler. `more` are fields of its config, as `annotations { … }`.
    ///
    /// # Errors
    ///
    /// What containerd says if it does not start.
    #[track_caller]
    pub fn pod(&self, handler: &str, net: Net, more: &str) -> Result<Pod<'_>, Refusal> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (mode, hostname) = match net {
            Net::Host => ("NODE", String::new()),
            Net::Pod => ("POD", format!("hostname: \"pod{number}\"")),
        };
        let config = format!(
            "metadata {{ name: \"p{number}\" uid: \"u{number}\" namespace: \"tests\" }} {hostname} \
             log_directory: {logs:?} linux {{ cgroup_parent: {parent:?} security_context {{ \
             namespace_options {{ network: {mode} pid: CONTAINER }} }} }} {more}",
            logs = self.dir.join("logs"),
            parent = self.containerd.sandbox.parent(),
        );
        let asked = format!("config {{ {config} }} runtime_handler: {handler:?}");
        let answer = self.call("RunPodSandbox", &asked)?;
        Ok(Pod {
            cri: self,
            id: field(&answer, "pod_sandbox_id"),
            config,
            mode,
        })
    }
}

/// The network of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// The host's: hostNetwork.
    Host,
    /// Its own, made by a CNI plugin.
    Pod,
}

/// A pod, stopped and removed with its containers when dropped.
#[derive(Debug)]
pub struct Pod<'a> {
    cri: &'a Cri,
    /// Id of the pod, which is that of its sandbox container.
    pub id: String,
    config: String,
    mode: &'static str,
}

impl<'a> Pod<'a> {
    /// Makes a container: `limits` are fields of its resources, `more` of its config.
    #[track_caller]
    pub fn create(&self, program: &[&str], limits: &str, more: &str) -> PodContainer<'a> {
        let number = self.cri.next.fetch_add(1, Ordering::Relaxed);
        let (mode, id, sandbox) = (self.mode, &self.id, &self.config);
        let security =
            format!("namespace_options {{ network: {mode} pid: CONTAINER }} seccomp {{ }}");
        let asked = format!(
            "pod_sandbox_id: {id:?} sandbox_config {{ {sandbox} }} config {{ \
             metadata {{ name: \"c{number}\" }} image {{ image: {IMAGE_NAME:?} }} command: {program:?} \
             log_path: \"c{number}.log\" linux {{ resources {{ {limits} }} security_context {{ {security} }} }} \
             {more} }}"
        );
        let answer = self.cri.done("CreateContainer", &asked);
        let id = field(&answer, "container_id");
        PodContainer {
            cri: self.cri,
            id,
            log: self.cri.dir.join(format!("logs/c{number}.log")),
        }
    }

    /// Makes and starts a container.
    #[track_caller]
    pub fn start(&self, program: &[&str], limits: &str, more: &str) -> PodContainer<'a> {
        let container = self.create(program, limits, more);
        let asked = container.asked();
        self.cri.done("StartContainer", &asked);
        container
    }

    /// State of the pod, such as `SANDBOX_READY`.
    #[track_caller]
    pub fn state(&self) -> String {
        let asked = format!("pod_sandbox_id: {:?}", self.id);
        let answer = self.cri.done("PodSandboxStatus", &asked);
        or(field(&answer, "state"), "SANDBOX_READY")
    }

    /// Process of the sandbox container.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let asked = format!("pod_sandbox_id: {:?} verbose: true", self.id);
        pid_in(&self.cri.done("PodSandboxStatus", &asked))
    }

    /// Stops and removes it, with its containers.
    #[track_caller]
    pub fn remove(&self) {
        let asked = format!("pod_sandbox_id: {:?}", self.id);
        self.cri.done("StopPodSandbox", &asked);
        self.cri.done("RemovePodSandbox", &asked);
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let asked = format!("pod_sandbox_id: {:?}", self.id);
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            // Both are done already where a test has removed it; what stays shows in the traces.
            drop(self.cri.call(method, &asked));
        }
    }
}

/// A container of a pod; the pod removes it.
#[derive(Debug)]
pub struct PodContainer<'a> {
    cri: &'a Cri,
    /// Id of the container.
    pub id: String,
    log: PathBuf,
}

impl PodContainer<'_> {
    fn asked(&self) -> String {
        format!("container_id: {:?}", self.id)
    }

    /// Starts it: `StartContainer`.
    ///
    /// # Errors
    ///
    /// What containerd says if it does not start.
    #[track_caller]
    pub fn start(&self) -> Result<String, Refusal> {
        self.cri.call("StartContainer", &self.asked())
    }

    /// Stops it, with some time to end by itself.
    #[track_caller]
    pub fn stop(&self, seconds: u32) {
        let asked = format!("{} timeout: {seconds}", self.asked());
        self.cri.done("StopContainer", &asked);
    }

    /// Removes it.
    #[track_caller]
    pub fn remove(&self) {
        self.cri.done("RemoveContainer", &self.asked());
    }

    /// Changes limits: fields of `LinuxContainerResources`.
    ///
    /// # Errors
    ///
    /// What containerd says if they are refused.
    #[track_caller]
    pub fn update(&self, resources: &str) -> Result<String, Refusal> {
        let asked = format!("{} linux {{ {resources} }}", self.asked());
        self.cri.call("UpdateContainerResources", &asked)
    }

    /// Runs a program in it to its end: `ExecSync`.
    #[track_caller]
    pub fn exec(&self, program: &[&str]) -> Output {
        let asked = format!("{} cmd: {program:?} timeout: 60", self.asked());
        let answer = self.cri.done("ExecSync", &asked);
        Output {
            command: format!("ExecSync {program:?}"),
            status: or(field(&answer, "exit_code"), "0").parse().unwrap_or(-1),
            stdout: field(&answer, "stdout"),
            stderr: field(&answer, "stderr"),
        }
    }

    /// Runs a shell script in it.
    #[track_caller]
    pub fn exec_sh(&self, script: &str) -> Output {
        self.exec(&["sh", "-c", script])
    }

    /// State such as `CONTAINER_RUNNING`, and the exit code.
    #[track_caller]
    pub fn state(&self) -> (String, i32) {
        let answer = self.cri.done("ContainerStatus", &self.asked());
        let code = or(field(&answer, "exit_code"), "0");
        (
            or(field(&answer, "state"), "CONTAINER_CREATED"),
            code.parse().unwrap_or(-1),
        )
    }

    /// Process of the container.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let asked = format!("{} verbose: true", self.asked());
        pid_in(&self.cri.done("ContainerStatus", &asked))
    }

    /// Cgroups of the container.
    #[track_caller]
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::of(self.pid())
    }

    /// What it has printed, with CRI's mark before each line.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap_or_else(|e| fail(&format!("write {}: {e}", path.display())));
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| fail(&format!("read {}: {e}", path.display())))
}
