//! Directories, layers and images of the tests.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use gl_image::{Digest, Error, Image, Limits, Options, Ownership, Platform, Reference, Unpacked};
use serde_json::{Value, json};
use tar::{EntryType, Header};

/// A directory that is removed with all that is in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gl-image-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A layer in the making.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds whatever is asked for, names as they are.
    pub(crate) fn raw(mut self, kind: EntryType, name: &[u8], link: &[u8], data: &[u8]) -> Self {
        self.0 = long(self.0, b'L', name);
        self.0 = long(self.0, b'K', link);
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        let fits = name.len().min(100);
        old.name[..fits].copy_from_slice(&name[..fits]);
        let fits = link.len().min(100);
        old.linkname[..fits].copy_from_slice(&link[..fits]);
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.raw(EntryType::Regular, name.as_bytes(), b"", data.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.raw(EntryType::Directory, name.as_bytes(), b"", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Link, name.as_bytes(), target.as_bytes(), b"")
    }

    /// Adds an entry whose header is finished by the caller.
    pub(crate) fn with(
        mut self,
        name: &str,
        change: impl FnOnce(&mut Header),
        data: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    /// Adds pax records for the next entry.
    pub(crate) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0
            .append_pax_extensions(records.iter().copied())
            .unwrap();
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn long(mut builder: tar::Builder<Vec<u8>>, kind: u8, name: &[u8]) -> tar::Builder<Vec<u8>> {
    if name.len() > 100 {
        let mut header = Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.as_old_mut().linkflag = [kind];
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        builder
            .append(&header, &[name, b"\0"].concat()[..])
            .unwrap();
    }
    builder
}

/// An image layout in memory: files by name.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) manifest: Digest,
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What a config says beside its layers.
pub(crate) fn config_of(architecture: &str, layers: &[Vec<u8>]) -> Value {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["A=b"], "Cmd": ["sh"], "User": "", "WorkingDir": "/work",
                   "Labels": {"one": "1"}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

pub(crate) fn host() -> String {
    Platform::host().architecture
}

impl Layout {
    /// An image of these layers, stored as they are given.
    pub(crate) fn new(layers: &[Vec<u8>]) -> Self {
        let stored: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
        Self::stored(&stored, &config_of(&host(), layers), GZIP)
    }

    /// An image of layers as they are stored, and a config.
    pub(crate) fn stored(layers: &[Vec<u8>], config: &Value, media_type: &str) -> Self {
        let mut files = BTreeMap::new();
        let mut blob = |media_type: &str, bytes: &[u8]| {
            let name = Digest::of(bytes)
                .to_string()
                .replace("sha256:", "blobs/sha256/");
            files.insert(name, bytes.to_vec());
            descriptor(media_type, bytes)
        };
        let layers: Vec<Value> = layers.iter().map(|layer| blob(media_type, layer)).collect();
        let config = blob(CONFIG, config.to_string().as_bytes());
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let manifest = manifest.to_string();
        let mut named = blob(MANIFEST, manifest.as_bytes());
        named["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let index = json!({"schemaVersion": 2, "manifests": [named]});
        files.insert("index.json".to_owned(), index.to_string().into_bytes());
        let version = json!({"imageLayoutVersion": "1.0.0"});
        files.insert("oci-layout".to_owned(), version.to_string().into_bytes());
        Self {
            files,
            manifest: Digest::of(manifest.as_bytes()),
        }
    }

    pub(crate) fn index(&self) -> Value {
        serde_json::from_slice(&self.files["index.json"]).unwrap()
    }

    pub(crate) fn set_index(&mut self, index: &Value) {
        let index = index.to_string().into_bytes();
        self.files.insert("index.json".to_owned(), index);
    }

    /// Writes it as a directory.
    pub(crate) fn write(&self, dir: &Path) {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        for (name, bytes) in &self.files {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }

    /// Makes an archive of it.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut layer = Layer::new().dir("blobs/").dir("blobs/sha256/");
        for (name, bytes) in &self.files {
            layer = layer.raw(EntryType::Regular, name.as_bytes(), b"", bytes);
        }
        layer.done()
    }
}

pub(crate) fn open(path: &Path) -> Result<Image, Error> {
    Image::open(&Reference::new(path), &Platform::host(), &Limits::default())
}

pub(crate) fn options(ownership: Ownership) -> Options {
    let mut options = Options::of_caller();
    options.ownership = ownership;
    options
}

/// Unpacks layers to `scratch/root`.
pub(crate) fn unpack(scratch: &Scratch, layers: &[Vec<u8>]) -> Result<Unpacked, Error> {
    let layout = scratch.join("layout");
    if fs::metadata(&layout).is_ok() {
        fs::remove_dir_all(&layout).unwrap();
    }
    Layout::new(layers).write(&layout);
    let image = open(&layout)?;
    let options = options(Ownership::of_caller());
    gl_image::unpack_to(&image, &scratch.join("root"), &options, &mut |_| {})
}

/// An error with all that is behind it.
pub(crate) fn chain(err: &Error) -> String {
    gl_spec::chain(err)
}

/// The names in a directory.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// All that there is to see of a tree: one line an entry, with type and mode, owner, size or target, time
/// in nanoseconds, number of links and device.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap();
            let is_dir = meta.is_dir();
            let content = if meta.is_file() {
                Digest::of(&fs::read(&path).unwrap()).to_string()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().to_string_lossy().into_owned()
            } else {
                String::new()
            };
            lines.push(format!(
                "{} {:o} {}:{} links {} dev {} time {}.{} {content}",
                name.as_os_str().as_bytes().escape_ascii(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                if is_dir { 0 } else { meta.nlink() },
                meta.rdev(),
                meta.mtime(),
                meta.mtime_nsec(),
            ));
            if is_dir {
                dirs.push(path);
            }
        }
    }
    lines.sort();
    lines
}
