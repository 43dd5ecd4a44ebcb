//! Images that are made here, with tar, gzip and sha256sum.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use gl_e2e::bundle::{config, finish};
use gl_e2e::gl::Dir;
use serde_json::{Value, json};

/// A directory with an image under construction.
pub(crate) struct Made {
    dir: Dir,
}

pub(crate) fn sh(dir: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    finish(command.args(["-euc", script]).current_dir(dir))
        .ok()
        .stdout
}

pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Made {
    /// `root`, with busybox, accounts and a `/mark`; nothing of `/proc`, `/dev` and `/tmp`.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let made = Self {
            dir: Dir::new(&format!("image-{number}")),
        };
        let root = made.path("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in config::APPLETS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        made.write(
            "root/etc/passwd",
            "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n",
        );
        made.write("root/etc/group", "root:x:0:\nwww:x:34:\nlogs:x:4:web\n");
        made.write("root/mark", &format!("image {number}\n"));
        made
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name).into()
    }

    /// The path of something as an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.dir.path(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn sh(&self, script: &str) -> String {
        sh(&self.path(""), script)
    }

    fn digest(&self, name: &str) -> String {
        self.sh(&format!("sha256sum {name}"))[..64].to_owned()
    }

    fn config(&self, own: &Value) -> Value {
        if !self.path("layer.tar").is_file() {
            self.sh("tar --owner=0 --group=0 --numeric-owner -C root -cf layer.tar .");
        }
        json!({
            "architecture": architecture(), "os": "linux", "config": own,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", self.digest("layer.tar"))]},
        })
    }

    /// Moves a file to the blobs of the layout; what describes it there.
    fn blob(&self, name: &str, media_type: &str) -> Value {
        let hex = self.digest(name);
        let size = fs::metadata(self.path(name)).unwrap().len();
        let blobs = self.path("layout/blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::rename(self.path(name), blobs.join(&hex)).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": size})
    }

    /// An OCI layout of `root` with this config; its path and the digest of the manifest.
    pub(crate) fn layout(&self, own: &Value) -> (String, String) {
        let config = self.config(own);
        self.write("config", &config.to_string());
        self.sh("gzip -kn layer.tar");
        let layer = self.blob(
            "layer.tar.gz",
            "application/vnd.oci.image.layer.v1.tar+gzip",
        );
        let config = self.blob("config", "application/vnd.oci.image.config.v1+json");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        self.write("manifest", &manifest.to_string());
        let manifest = self.blob("manifest", "application/vnd.oci.image.manifest.v1+json");
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        self.write("layout/index.json", &index.to_string());
        self.write("layout/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        let digest = manifest["digest"].as_str().unwrap().to_owned();
        (self.arg("layout"), digest)
    }

    /// What `docker save` writes of `root` with this config; its path and the digest of the config.
    pub(crate) fn archive(&self, own: &Value) -> (String, String) {
        let config = self.config(own);
        self.write("config", &config.to_string());
        let hex = self.digest("config");
        let list = json!([{"Config": format!("{hex}.json"), "RepoTags": ["box:1"], "Layers": ["layer.tar"]}]);
        self.write("manifest.json", &list.to_string());
        self.sh(&format!(
            "mv config {hex}.json; tar -cf image.tar {hex}.json manifest.json layer.tar"
        ));
        (self.arg("image.tar"), format!("sha256:{hex}"))
    }
}

/// A cache that nobody else has, in the mount namespace of this program.
pub(crate) fn cache() -> PathBuf {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let args = ["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/cache"];
        drop(finish(Command::new("mount").args(args)).ok());
    });
    "/var/cache/greenlang/images".into()
}

/// The entries of the cache.
pub(crate) fn entries() -> Vec<String> {
    let found = fs::read_dir(cache());
    let names = found.into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".lock")).collect()
}

/// Everything of the trees in the cache: names, inodes, kinds, modes, owners, times, sizes.
pub(crate) fn trees() -> String {
    let list = r"find . -path '*/rootfs*' -printf '%P %i %y %m %U:%G %T@ %C@ %s %l\n' | sort";
    sh(&cache(), list)
}
