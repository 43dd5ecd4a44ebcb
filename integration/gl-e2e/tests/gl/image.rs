//! `gl image`, on an image that is made here with tar, gzip and sha256sum.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gl_e2e::bundle::{self, finish};
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

use crate::{gl, run};

pub(crate) const TESTS: &[Test] = tests![
    unpack_makes_the_tree_of_an_image,
    unpack_refuses_a_layer_that_was_changed,
    unpack_refuses_a_directory_that_is_not_empty,
    ls_and_prune_of_an_empty_cache,
];

/// A directory of its own, gone when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{}image-{number}", bundle::tag()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn sh(dir: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    finish(command.args(["-euc", script]).current_dir(dir))
        .ok()
        .stdout
}

fn digest(dir: &Path, name: &str) -> String {
    sh(dir, &format!("sha256sum {name}"))[..64].to_owned()
}

/// Moves a file to the blobs of a layout; what describes it there.
fn blob(dir: &Path, name: &str, media_type: &str) -> Value {
    let hex = digest(dir, name);
    let size = fs::metadata(dir.join(name)).unwrap().len();
    fs::create_dir_all(dir.join("layout/blobs/sha256")).unwrap();
    fs::rename(dir.join(name), dir.join("layout/blobs/sha256").join(&hex)).unwrap();
    json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": size})
}

/// Makes `layout` with one layer, the blob of which is returned.
fn layout(dir: &Path) -> PathBuf {
    sh(
        dir,
        "mkdir -p root/etc root/bin; echo text >root/etc/file; ln -s ../etc/file root/bin/link
        chmod 750 root/bin; tar -C root -cf layer.tar .; gzip -kn layer.tar",
    );
    let diff_id = digest(dir, "layer.tar");
    let layer = blob(
        dir,
        "layer.tar.gz",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    );
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
    });
    fs::write(dir.join("config"), config.to_string()).unwrap();
    let config = blob(dir, "config", "application/vnd.oci.image.config.v1+json");
    let stored = layer["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "layout/blobs/sha256/");
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    fs::write(dir.join("manifest"), manifest.to_string()).unwrap();
    let manifest = blob(
        dir,
        "manifest",
        "application/vnd.oci.image.manifest.v1+json",
    );
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(dir.join("layout/index.json"), index.to_string()).unwrap();
    fs::write(
        dir.join("layout/oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    dir.join(stored)
}

const LIST: &str = r"find . -mindepth 1 -printf '%P %y %m %U:%G %T@ %l\n' | sort";

fn unpack_makes_the_tree_of_an_image() -> Outcome {
    let dir = Dir::new();
    layout(&dir.0);
    let out = run(&["image", "unpack", &dir.join("layout"), &dir.join("tree")])?.ok();
    out.contains(&format!("{}: 5 entries, ", dir.join("tree")));
    // GNU tar has cut the times to seconds.
    sh(
        &dir.0,
        "rm -rf root; mkdir root; tar -C root -xpf layer.tar",
    );
    assert_eq!(sh(&dir.0.join("tree"), LIST), sh(&dir.0.join("root"), LIST));
    Ok(())
}

fn unpack_refuses_a_layer_that_was_changed() -> Outcome {
    let dir = Dir::new();
    let layer = layout(&dir.0);
    let mut bytes = fs::read(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&layer, bytes).unwrap();
    let out = run(&["image", "unpack", &dir.join("layout"), &dir.join("tree")])?.status(1);
    assert!(
        out.stderr.starts_with("gl: read layer 1 (sha256:"),
        "{out:?}"
    );
    assert!(out.stderr.contains("its digest is sha256:"), "{out:?}");
    let hint = "    the image was changed or is not complete: fetch it again\n";
    assert!(out.stderr.ends_with(hint), "{out:?}");
    assert_eq!(sh(&dir.0, "ls -A"), "layer.tar\nlayout\nroot\n");
    Ok(())
}

fn unpack_refuses_a_directory_that_is_not_empty() -> Outcome {
    let dir = Dir::new();
    layout(&dir.0);
    let out = run(&["image", "unpack", &dir.join("layout"), &dir.join("root")])?.status(1);
    let want = "it is there and is not an empty directory";
    assert!(out.stderr.contains(want), "{out:?}");
    let out = run(&["image", "unpack", &dir.join("missing"), &dir.join("tree")])?.status(1);
    let want = "there is no such file or directory";
    assert!(out.stderr.contains(want), "{out:?}");
    Ok(())
}

fn ls_and_prune_of_an_empty_cache() -> Outcome {
    if rustix::process::geteuid().is_root() {
        // Root's cache is the host's; a user's is where the environment says.
        let dir = Dir::new();
        sh(&dir.0, "chown 65534:65534 .");
        let path = dir.join("");
        for (args, want) in [
            (["image", "ls", "--json"], "[]"),
            (
                ["image", "prune", "--json"],
                "{\n  \"removed\": [],\n  \"in_use\": [],\n  \"kept\": []\n}",
            ),
        ] {
            use std::os::unix::process::CommandExt as _;
            let mut command = gl(&args)?;
            command
                .env("XDG_CACHE_HOME", &path)
                .current_dir("/")
                .uid(65534)
                .gid(65534);
            finish(&mut command).ok().prints(want);
        }
        assert_eq!(
            sh(&dir.0, "stat -c '%n %a %u' greenlang/images"),
            "greenlang/images 700 65534\n"
        );
        return Ok(());
    }
    Err(gl_e2e::Skip("needs root to become a user".to_owned()))
}
