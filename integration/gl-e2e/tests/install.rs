//! `hack/install` in a scratch root: what it writes, keeps, refuses and undoes.
//!
//! Drives the script as a person would, with a small binary in place of the built one. No engine
//! is running and no file of the machine is touched.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it could not clean up"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use gl_e2e::{Outcome, Skip, Test, tests};
use serde_json::{Value, json};

const DAEMON: &str = "etc/docker/daemon.json";
const CONTAINERD: &str = "etc/containerd/config.toml";
const CONTAINERS: &str = "etc/containers/containers.conf";
const DROP_IN: &str = "etc/containers/containers.conf.d/greenlang.conf";
const BINARY: &str = "usr/local/bin/greenlang";
const GL: &str = "usr/local/bin/gl";

fn main() -> ExitCode {
    const TESTS: &[Test] = tests![
        install_into_an_empty_root_writes_a_file_for_each_engine,
        install_keeps_the_content_and_the_mode_of_daemon_json,
        install_twice_changes_nothing_the_second_time,
        install_with_a_new_binary_replaces_it_and_is_undone_whole,
        install_without_engines_touches_the_prefix_only,
        install_refuses_a_daemon_json_that_docker_would_not_read,
        install_refuses_a_greenlang_that_someone_else_registered,
        install_refuses_a_binary_that_it_did_not_put_there,
        install_refuses_a_configuration_that_is_a_symlink,
        install_without_podman_writes_the_drop_in,
        install_for_an_old_podman_edits_containers_conf,
        install_for_containerd_keeps_all_its_settings,
        install_puts_gl_beside_greenlang,
        install_puts_man_pages_and_completions_beside_gl,
        install_leaves_pages_of_others_as_they_are,
        install_leaves_gl_out_on_demand_and_where_there_is_none,
        install_refuses_a_gl_that_it_did_not_put_there,
        uninstall_takes_gl_even_where_an_engine_keeps_greenlang,
        uninstall_restores_every_byte,
        uninstall_keeps_what_others_added_since,
        uninstall_leaves_a_binary_that_was_changed_since,
        uninstall_leaves_the_default_runtime_of_docker,
        uninstall_without_a_manifest_is_refused,
    ];
    gl_e2e::main(TESTS)
}

// ---- the scratch root

/// A root directory that is removed when dropped.
struct Scratch {
    root: PathBuf,
    /// Put before PATH, for stand-ins of engines.
    path: PathBuf,
}

/// What every file and directory is: mode and content, a directory's being empty.
type Snapshot = BTreeMap<PathBuf, (u32, Vec<u8>)>;

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = format!("gl-install-{}-{number}", std::process::id());
        let base = std::env::temp_dir().join(base);
        let scratch = Self {
            root: base.join("root"),
            path: base.join("bin"),
        };
        fs::create_dir_all(&scratch.root).unwrap();
        fs::create_dir_all(&scratch.path).unwrap();
        scratch.program("greenlang", "#!/bin/sh\necho greenlang version 1\n");
        scratch.program("gl", "#!/bin/sh\necho gl 1\n");
        scratch
    }

    /// Writes an executable beside the root; `greenlang` and `gl` are those that get installed.
    fn program(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|err| panic!("read {path}: {err}"))
    }

    fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hack/install");
        let path = std::env::var("PATH").unwrap();
        Command::new(script)
            .arg("--root")
            .arg(&self.root)
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.path.display()))
            .output()
            .unwrap()
    }

    /// Installs the stand-in binary; fails the test if that fails.
    fn install(&self, arguments: &[&str]) -> String {
        let output = self.try_install(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_install(&self, arguments: &[&str]) -> Output {
        let binary = self.path.join("greenlang");
        let mut all = vec!["--binary", binary.to_str().unwrap()];
        all.extend(arguments);
        self.run(&all)
    }

    fn uninstall(&self) {
        let output = self.run(&["--uninstall"]);
        assert!(output.status.success(), "{output:?}");
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        let mut open = vec![self.root.clone()];
        while let Some(path) = open.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            let mut content = Vec::new();
            if meta.is_dir() {
                let entries = fs::read_dir(&path).unwrap();
                open.extend(entries.map(|entry| entry.unwrap().path()));
            } else if meta.is_file() {
                content = fs::read(&path).unwrap();
            }
            snapshot.insert(path, (meta.permissions().mode(), content));
        }
        snapshot
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(err) = fs::remove_dir_all(self.root.parent().unwrap()) {
            eprintln!("remove {}: {err}", self.root.display());
        }
    }
}

/// Asserts that the script failed, said `want` on standard error, and changed nothing.
fn assert_refused(scratch: &Scratch, arguments: &[&str], want: &str) {
    let before = scratch.snapshot();
    let output = scratch.try_install(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr.contains(want), "wanted {want:?} in {stderr:?}");
    assert_eq!(scratch.snapshot(), before, "after {stderr:?}");
}

// ---- installing

fn install_into_an_empty_root_writes_a_file_for_each_engine() -> Outcome {
    let scratch = Scratch::new();
    let said = scratch.install(&["--docker", "--podman"]);
    let daemon: Value = serde_json::from_str(&scratch.read(DAEMON)).unwrap();
    assert_eq!(
        daemon,
        json!({"runtimes": {"greenlang": {"path": "/usr/local/bin/greenlang"}}})
    );
    assert_eq!(
        scratch.read(DROP_IN),
        "[engine.runtimes]\ngreenlang = [\"/usr/local/bin/greenlang\"]\n"
    );
    let mode = fs::metadata(scratch.root.join(BINARY))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o7777, 0o755);
    for path in [BINARY, GL, DAEMON, DROP_IN] {
        assert!(
            said.contains(&format!("/{path}")),
            "{path} is not in {said:?}"
        );
    }
    assert!(said.contains("systemctl reload docker"), "{said:?}");
    Ok(())
}

fn install_keeps_the_content_and_the_mode_of_daemon_json() -> Outcome {
    for before in [
        "{}",
        "{ }\n",
        "{\"runtimes\":{}}",
        "{\"debug\": true}",
        "{\r\n\t\"log-opts\": {\"max-size\": \"1m\", \"runtimes\": {}}\r\n}\r\n",
        "{\"a\": [[], {}, [1, -2.5e+3, null, \"\\u00e9\\\"\", {\"runtimes\": 1}]], \"b\": \"\u{e9}\"}",
        "{\"runtimes\": {\"other\": {\"path\": \"/x\", \"runtimeArgs\": [\"--a\"]}}, \"c\": 1}",
    ] {
        let scratch = Scratch::new();
        scratch.write(DAEMON, before);
        let path = scratch.root.join(DAEMON);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        scratch.install(&["--docker"]);
        let mut want: Value = serde_json::from_str(before).unwrap();
        want["runtimes"]["greenlang"] = json!({"path": "/usr/local/bin/greenlang"});
        let after = scratch.read(DAEMON);
        let have: Value = serde_json::from_str(&after)
            .unwrap_or_else(|err| panic!("{before:?} became {after:?}: {err}"));
        assert_eq!(have, want, "{before:?} became {after:?}");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640, "{before:?}");
        scratch.uninstall();
        assert_eq!(scratch.read(DAEMON), before);
    }
    Ok(())
}

fn install_twice_changes_nothing_the_second_time() -> Outcome {
    let scratch = Scratch::new();
    scratch.write(DAEMON, "{\"debug\": true}");
    scratch.install(&["--docker", "--podman"]);
    let once = scratch.snapshot();
    let said = scratch.install(&["--docker", "--podman"]);
    assert_eq!(scratch.snapshot(), once, "{said}");
    assert_eq!(said.matches(": unchanged").count(), 4, "{said}");
    Ok(())
}

fn install_with_a_new_binary_replaces_it_and_is_undone_whole() -> Outcome {
    let scratch = Scratch::new();
    let before = scratch.snapshot();
    scratch.install(&["--binary-only"]);
    scratch.program("greenlang", "#!/bin/sh\necho greenlang version 2\n");
    scratch.install(&["--binary-only"]);
    assert!(scratch.read(BINARY).contains("version 2"));
    scratch.uninstall();
    assert_eq!(scratch.snapshot(), before);
    Ok(())
}

fn install_without_engines_touches_the_prefix_only() -> Outcome {
    let scratch = Scratch::new();
    scratch.install(&["--binary-only", "--prefix", "/opt/green"]);
    assert!(scratch.has("opt/green/bin/greenlang"));
    let top: Vec<_> = fs::read_dir(&scratch.root).unwrap().collect();
    assert_eq!(top.len(), 1, "{top:?}");
    Ok(())
}

fn install_puts_gl_beside_greenlang() -> Outcome {
    let scratch = Scratch::new();
    let before = scratch.snapshot();
    let said = scratch.install(&["--docker"]);
    assert!(said.contains("put /usr/local/bin/gl in place"), "{said}");
    assert_eq!(scratch.read(GL), "#!/bin/sh\necho gl 1\n");
    let mode = fs::metadata(scratch.root.join(GL)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o755);
    scratch.program("gl", "#!/bin/sh\necho gl 2\n");
    scratch.install(&["--docker"]);
    assert!(scratch.read(GL).contains("gl 2"));
    scratch.uninstall();
    assert_eq!(scratch.snapshot(), before);
    Ok(())
}

/// A `gl` that writes pages and completions, as the real one does.
const TALKING: &str = "#!/bin/sh
case $1 in
man) mkdir -p \"$2\" && for page in gl gl-run; do echo \"page $page\" >\"$2/$page.1\"; done ;;
completions) echo \"for $2\" ;;
esac
";
const PAGES: [(&str, &str); 5] = [
    ("usr/local/share/man/man1/gl.1", "page gl\n"),
    ("usr/local/share/man/man1/gl-run.1", "page gl-run\n"),
    (
        "usr/local/share/bash-completion/completions/gl",
        "for bash\n",
    ),
    ("usr/local/share/zsh/site-functions/_gl", "for zsh\n"),
    (
        "usr/local/share/fish/vendor_completions.d/gl.fish",
        "for fish\n",
    ),
];

fn install_puts_man_pages_and_completions_beside_gl() -> Outcome {
    let scratch = Scratch::new();
    scratch.program("gl", TALKING);
    scratch.write("usr/local/share/man/man1/other.1", "other");
    let before = scratch.snapshot();
    let said = scratch.install(&["--binary-only"]);
    assert!(
        said.contains("man pages and completions are below /usr/local/share"),
        "{said}"
    );
    for (path, text) in PAGES {
        assert_eq!(scratch.read(path), text, "{path}");
        let mode = fs::metadata(scratch.root.join(path)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o644, "{path}");
    }
    let first = scratch.snapshot();
    scratch.install(&["--binary-only"]);
    assert_eq!(scratch.snapshot(), first, "a second time changes nothing");
    scratch.program("gl", &TALKING.replace("page $page", "new $page"));
    scratch.install(&["--binary-only"]);
    assert_eq!(scratch.read(PAGES[0].0), "new gl\n");
    scratch.uninstall();
    assert_eq!(scratch.snapshot(), before);
    Ok(())
}

fn install_leaves_pages_of_others_as_they_are() -> Outcome {
    let scratch = Scratch::new();
    scratch.program("gl", TALKING);
    scratch.write(PAGES[0].0, "somebody's");
    let before = scratch.snapshot();
    let said = scratch.install(&["--binary-only"]);
    assert!(
        said.contains("gl.1 is there and was not put there"),
        "{said}"
    );
    assert_eq!(scratch.read(PAGES[0].0), "somebody's");
    assert_eq!(scratch.read(PAGES[1].0), PAGES[1].1);
    scratch.uninstall();
    assert_eq!(scratch.snapshot(), before);
    // Without gl there is nothing of it.
    scratch.install(&["--binary-only", "--no-gl"]);
    assert!(!scratch.has(PAGES[1].0));
    Ok(())
}

fn install_leaves_gl_out_on_demand_and_where_there_is_none() -> Outcome {
    let scratch = Scratch::new();
    scratch.install(&["--binary-only", "--no-gl"]);
    assert!(scratch.has(BINARY) && !scratch.has(GL));
    let scratch = Scratch::new();
    fs::remove_file(scratch.path.join("gl")).unwrap();
    let said = scratch.install(&["--binary-only"]);
    assert!(
        said.contains("gl: not installed, as there is none beside "),
        "{said}"
    );
    assert!(scratch.has(BINARY) && !scratch.has(GL));
    Ok(())
}

// ---- refusing

fn install_refuses_a_gl_that_it_did_not_put_there() -> Outcome {
    let scratch = Scratch::new();
    scratch.write(GL, "someone's");
    assert_refused(&scratch, &["--docker"], "or leave ours out with --no-gl");
    scratch.install(&["--docker", "--no-gl"]);
    assert_eq!(scratch.read(GL), "someone's");
    scratch.uninstall();
    assert_eq!(scratch.read(GL), "someone's");
    Ok(())
}

fn install_refuses_a_daemon_json_that_docker_would_not_read() -> Outcome {
    for (text, want) in [
        ("", "no object"),
        ("[]", "no object"),
        ("{\"a\": 1,}", "a string is missing"),
        ("{\"a\": 1} x", "text after the end"),
        ("{\"a\": 01}", "a comma is missing"),
        ("{\"a\": tru}", "a value is missing"),
        ("{\"a\" 1}", "a colon is missing"),
        ("{\"a\": \"b\n\"}", "a string does not end"),
        ("{\"a\": \"\\x\"}", "an unknown escape"),
        ("{\"a\": [1, 2}", "a comma is missing"),
        ("{// a comment\n}", "a string is missing"),
        ("{\"a\": 1\0}", "a zero byte in it"),
        ("{\"runtimes\": []}", "runtimes is not an object"),
        ("{\"runtimes\": {}, \"runtimes\": {}}", "a key twice"),
        ("{\"Runtimes\": {}}", "only in case"),
        ("{\"run\\u0074imes\": {}}", "an escape in a key"),
        ("{\"a\": {\"b\": [}}", "a value is missing"),
    ] {
        let scratch = Scratch::new();
        scratch.write(DAEMON, text);
        assert_refused(&scratch, &["--podman", "--docker"], want);
    }
    Ok(())
}

fn install_refuses_a_greenlang_that_someone_else_registered() -> Outcome {
    for (path, text, engine) in [
        (
            DAEMON,
            "{\"runtimes\": {\"greenlang\": {\"path\": \"/x\"}}}",
            "--docker",
        ),
        (
            DROP_IN,
            "[engine.runtimes]\ngreenlang = [\"/x\"]\n",
            "--podman",
        ),
    ] {
        let scratch = Scratch::new();
        scratch.write(path, text);
        assert_refused(&scratch, &[engine], "remove");
    }
    Ok(())
}

fn install_refuses_a_binary_that_it_did_not_put_there() -> Outcome {
    let scratch = Scratch::new();
    scratch.write(BINARY, "someone's");
    assert_refused(&scratch, &["--docker"], "was not put there by this script");
    Ok(())
}

fn install_refuses_a_configuration_that_is_a_symlink() -> Outcome {
    let scratch = Scratch::new();
    scratch.write("etc/docker/real.json", "{}");
    std::os::unix::fs::symlink("real.json", scratch.root.join(DAEMON)).unwrap();
    assert_refused(&scratch, &["--docker"], "is a symbolic link");
    Ok(())
}

// ---- the other engines

fn install_without_podman_writes_the_drop_in() -> Outcome {
    let scratch = Scratch::new();
    scratch.program("podman", "#!/bin/sh\nexit 127\n");
    scratch.install(&["--podman"]);
    assert!(scratch.has(DROP_IN));
    assert!(!scratch.has(CONTAINERS));
    Ok(())
}

fn install_for_an_old_podman_edits_containers_conf() -> Outcome {
    const LINE: &str = "greenlang = [\"/usr/local/bin/greenlang\"]\n";
    const HEADER: &str = "[engine.runtimes]\n";
    for (before, after) in [
        (
            "[engine]\nx = 1\n".to_owned(),
            format!("[engine]\nx = 1\n\n{HEADER}{LINE}"),
        ),
        (
            "[engine.runtimes]\nrunc = []\n[network]\n".to_owned(),
            format!("{HEADER}{LINE}runc = []\n[network]\n"),
        ),
        ("[engine.runtimes]".to_owned(), format!("{HEADER}{LINE}")),
    ] {
        let scratch = Scratch::new();
        scratch.program("podman", "#!/bin/sh\necho podman version 3.0.1\n");
        scratch.write(CONTAINERS, &before);
        scratch.install(&["--podman"]);
        assert_eq!(scratch.read(CONTAINERS), after, "{before:?}");
        scratch.uninstall();
        assert_eq!(scratch.read(CONTAINERS), before);
    }
    Ok(())
}

/// What containerd makes of a configuration, one setting a line.
fn containerd_dump(path: &Path) -> Vec<String> {
    let output = Command::new("containerd")
        .arg("--config")
        .arg(path)
        .args(["config", "dump"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("imports"));
    lines.map(str::to_owned).collect()
}

fn install_for_containerd_keeps_all_its_settings() -> Outcome {
    if Command::new("containerd")
        .arg("--version")
        .output()
        .is_err()
    {
        return Err(Skip("containerd is not installed".to_owned()));
    }
    let runtime = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.other]\n\
                   runtime_type = \"io.containerd.runc.v2\"\n";
    for before in [
        "version = 2\n".to_owned(),
        "version = 2\noom_score = -5".to_owned(),
        format!("version = 2\n{runtime}"),
    ] {
        let scratch = Scratch::new();
        scratch.write(CONTAINERD, &before);
        let path = scratch.root.join(CONTAINERD);
        let settings = containerd_dump(&path);
        scratch.install(&["--containerd"]);
        let after = containerd_dump(&path);
        let lost: Vec<_> = settings
            .iter()
            .filter(|line| !after.contains(line))
            .collect();
        assert!(lost.is_empty(), "{before:?} lost {lost:?}");
        let binary = |line: &&String| line.contains("/usr/local/bin/greenlang");
        assert_eq!(after.iter().filter(binary).count(), 1, "{after:?}");
        for annotations in ["pod_annotations", "container_annotations"] {
            let passed = format!("{annotations} = [\"dev.greenlang.*\"]");
            assert!(after.contains(&passed), "no {passed}: {after:?}");
        }
        scratch.uninstall();
        assert_eq!(scratch.read(CONTAINERD), before);
    }
    let scratch = Scratch::new();
    scratch.write(CONTAINERD, "version = [\n");
    assert_refused(&scratch, &["--containerd"], "/etc/containerd/config.toml");
    Ok(())
}

// ---- undoing

fn uninstall_takes_gl_even_where_an_engine_keeps_greenlang() -> Outcome {
    let scratch = Scratch::new();
    scratch.install(&["--docker"]);
    let text = scratch.read(DAEMON);
    scratch.write(DAEMON, &text.replace("\"path\"", "\"path\" "));
    let output = scratch.run(&["--uninstall"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(scratch.has(BINARY) && !scratch.has(GL), "{output:?}");
    // Once the engine has let go, the rest goes, too.
    fs::remove_file(scratch.root.join(DAEMON)).unwrap();
    scratch.uninstall();
    assert!(!scratch.has(BINARY));
    Ok(())
}

fn uninstall_restores_every_byte() -> Outcome {
    let scratch = Scratch::new();
    scratch.write(DAEMON, "{\n\t\"debug\": true }\n\n");
    scratch.write("usr/local/bin/other", "other");
    let before = scratch.snapshot();
    scratch.install(&["--docker", "--podman"]);
    scratch.uninstall();
    assert_eq!(scratch.snapshot(), before);
    Ok(())
}

fn uninstall_keeps_what_others_added_since() -> Outcome {
    let scratch = Scratch::new();
    scratch.write(DAEMON, "{\"debug\": true}");
    scratch.install(&["--docker"]);
    let edited = scratch
        .read(DAEMON)
        .replace("true}", "true, \"ipv6\": false}");
    scratch.write(DAEMON, &edited);
    scratch.uninstall();
    assert_eq!(scratch.read(DAEMON), "{\"debug\": true, \"ipv6\": false}");
    Ok(())
}

/// Asserts that undoing fails, says `want`, and leaves `path` as `text`.
fn assert_left(scratch: &Scratch, path: &str, text: &str, want: &str) {
    scratch.write(path, text);
    let output = scratch.run(&["--uninstall"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains(want), "wanted {want:?} in {said:?}");
    assert_eq!(scratch.read(path), text);
    assert!(scratch.has("usr/local/lib/greenlang/install/manifest"));
}

fn uninstall_leaves_a_binary_that_was_changed_since() -> Outcome {
    let scratch = Scratch::new();
    scratch.install(&["--docker"]);
    assert_left(&scratch, BINARY, "another", "it was changed since");
    assert!(!scratch.has(DAEMON), "the rest is undone all the same");
    Ok(())
}

fn uninstall_leaves_the_default_runtime_of_docker() -> Outcome {
    let scratch = Scratch::new();
    scratch.write(DAEMON, "{\"debug\": true}");
    scratch.install(&["--docker"]);
    let text = scratch.read(DAEMON);
    let text = text.replace("true}", "true, \"default-runtime\": \"greenlang\"}");
    assert_left(&scratch, DAEMON, &text, "the default runtime");
    assert!(scratch.has(BINARY), "Docker still needs the binary");
    Ok(())
}

fn uninstall_without_a_manifest_is_refused() -> Outcome {
    let scratch = Scratch::new();
    let output = scratch.run(&["--uninstall"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("there is nothing to undo"), "{stderr:?}");
    Ok(())
}
