//! The bench's folder: the bundles, the C programs, and the list of programs to measure.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::calls;
use crate::error::Error;
use crate::peer::{Kind, Program, Slot, own_name};
use crate::rows::SHAPES;
use crate::shape::{Container, Shape, config};

/// Most containers that any row runs at once.
const SLOTS: usize = 128;

/// The C programs.
const TOOLS: [&str; 2] = ["peak", "floor"];

/// Sources of the C programs, and of the headers they include.
const SOURCES: [(&str, &str); 7] = [
    ("calls.c", include_str!("../c/calls.c")),
    ("cgroup2.c", include_str!("../c/cgroup2.c")),
    ("cgroup2.h", include_str!("../c/cgroup2.h")),
    ("filter.c", include_str!("../c/filter.c")),
    ("filter.h", include_str!("../c/filter.h")),
    ("floor.c", include_str!("../c/floor.c")),
    ("peak.c", include_str!("../c/peak.c")),
];

/// The bench's folder on the host. Removes it and the bench's cgroups when dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Its path.
    pub(crate) path: PathBuf,
}

impl Folder {
    /// Makes the folder with a root filesystem of busybox, and puts the C programs into it: those from `tools`, or
    /// new ones.
    pub(crate) fn make(tools: Option<&Path>) -> Result<Self, Error> {
        let folder = Self {
            path: std::env::temp_dir().join(own_name()),
        };
        let path = &folder.path;
        for directory in [
            "roots",
            "files",
            "bundles",
            "rootfs/bin",
            "rootfs/etc",
            "rootfs/volumes",
        ] {
            make_directory(&path.join(directory))?;
        }
        for directory in ["proc", "sys", "dev", "tmp"] {
            make_directory(&path.join("rootfs").join(directory))?;
        }
        for name in ["resolv.conf", "hostname", "hosts"] {
            write(&path.join("files").join(name), "bench\n")?;
            write(&path.join("rootfs/etc").join(name), "")?;
        }
        copy(&find("busybox")?, &path.join("rootfs/bin/busybox"))?;
        for applet in ["true", "sleep"] {
            let link = path.join("rootfs/bin").join(applet);
            symlink("busybox", &link).map_err(|source| file("make", &link, source))?;
        }
        for group in groups() {
            make_directory(&group)?;
        }
        match tools {
            None => build_tools(path)?,
            Some(tools) => {
                for name in TOOLS {
                    copy(&tools.join(name), &path.join(name))?;
                }
            }
        }
        Ok(folder)
    }

    /// Makes the mount point of a worker and, for a runtime, one bundle a slot.
    pub(crate) fn add(&self, program: &Program) -> Result<(), Error> {
        make_directory(&self.path.join("roots").join(&program.key))?;
        if program.kind != Kind::Oci {
            return Ok(());
        }
        let short = (0..SLOTS).map(Slot::Short);
        let shaped = SHAPES.map(Slot::Shaped);
        for slot in short.chain([Slot::Long]).chain(shaped) {
            self.bundle(program, slot)?;
        }
        Ok(())
    }

    /// Writes the bundle of a slot.
    pub(crate) fn bundle(&self, program: &Program, slot: Slot) -> Result<(), Error> {
        let (args, shape) = match slot {
            Slot::Short(_) => (["true"].as_slice(), Shape::Docker),
            Slot::Long => (["sleep", "86400"].as_slice(), Shape::Docker),
            Slot::Shaped(shape) => (["true"].as_slice(), shape),
        };
        let container = Container {
            shape,
            args,
            cgroup: &program.cgroup(slot),
            folder: "/tmp",
        };
        self.write_bundle(&program.id(slot), &config(&container))
    }

    /// Writes a bundle, which every worker sees as `/tmp/bundles/NAME`.
    pub(crate) fn write_bundle(&self, name: &str, config: &Value) -> Result<(), Error> {
        let bundle = self.path.join("bundles").join(name);
        make_directory(&bundle)?;
        write(&bundle.join("config.json"), &config.to_string())
    }

    /// Copies a binary into the folder, where every worker sees it as `/tmp/NAME`.
    pub(crate) fn bring(&self, binary: &Path, name: &str) -> Result<String, Error> {
        copy(binary, &self.path.join(name))?;
        Ok(format!("/tmp/{name}"))
    }
}

/// Builds the C programs into a folder, from sources in its folder `c`.
pub(crate) fn build_tools(folder: &Path) -> Result<(), Error> {
    let c = folder.join("c");
    make_directory(&c)?;
    for (name, text) in SOURCES {
        write(&c.join(name), text)?;
    }
    write(&c.join("allowed.inc"), &calls::include_file())?;
    cc(&c, "-o ../peak peak.c")?;
    cc(&c, "-c -o native.o calls.c")?;
    let mut objects = "native.o".to_owned();
    if cfg!(target_arch = "x86_64") {
        cc(&c, "-c -DCOMPAT -o compat.o calls.c")?;
        objects.push_str(" compat.o");
    }
    cc(
        &c,
        &format!("-o ../floor floor.c cgroup2.c filter.c {objects}"),
    )
}

fn cc(directory: &Path, arguments: &str) -> Result<(), Error> {
    let arguments = format!("-std=gnu11 -O2 -static {arguments}");
    let output = Command::new("cc")
        .args(arguments.split(' '))
        .current_dir(directory)
        .output()
        .map_err(|source| Error::Start {
            program: "cc".to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        command: format!("cc {arguments}"),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed must not hide why the bench ends; both name the bench.
        drop(fs::remove_dir_all(&self.path));
        for group in groups() {
            for inner in fs::read_dir(&group).into_iter().flatten().flatten() {
                drop(fs::remove_dir(inner.path()));
            }
            drop(fs::remove_dir(group));
        }
    }
}

/// The cgroups that those of all containers are in, one in each hierarchy: engines have theirs there before they have
/// the first container made.
fn groups() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    if fs::File::open(top.join("cgroup.controllers")).is_ok() {
        return vec![top.join(own_name())];
    }
    let entries = fs::read_dir(top).into_iter().flatten().flatten();
    let hierarchies = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let v1 = hierarchies.filter(|entry| entry.file_name() != "unified");
    v1.map(|entry| entry.path().join(own_name())).collect()
}

/// The programs on this machine and in the `sid` root, the one under test first.
pub(crate) fn programs(
    folder: &Folder,
    greenlang: Option<&Path>,
    sid: Option<&Path>,
) -> Result<Vec<Program>, Error> {
    let here = Path::new("/");
    let mut programs = Vec::new();
    let mut add = |key: &str, kind, root: &Path, path: String| {
        programs.push(Program {
            key: key.to_owned(),
            kind,
            root: root.to_owned(),
            path,
        });
    };
    if let Some(binary) = greenlang {
        let beside = binary.with_file_name("gl");
        match folder.bring(&beside, "gl").map(drop) {
            Err(Error::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
        add(
            "greenlang",
            Kind::Oci,
            here,
            folder.bring(binary, "greenlang")?,
        );
    }
    if let Some(sid) = sid {
        add("crun-sid", Kind::Oci, sid, "/usr/bin/crun".to_owned());
        add("runc-sid", Kind::Oci, sid, "/usr/sbin/runc".to_owned());
    }
    for name in ["crun", "runc"] {
        if let Ok(path) = find(name) {
            add(name, Kind::Oci, here, path.display().to_string());
        }
    }
    add("floor", Kind::Floor, here, "/tmp/floor".to_owned());
    match sid {
        Some(sid) => add("bwrap", Kind::Bubblewrap, sid, "/usr/bin/bwrap".to_owned()),
        None => {
            if let Ok(path) = find("bwrap") {
                add("bwrap", Kind::Bubblewrap, here, path.display().to_string());
            }
        }
    }
    add("harness", Kind::Nothing, here, "/bin/true".to_owned());
    Ok(programs)
}

/// Finds a program in PATH.
fn find(name: &str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(name));
    let executable = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    found.find(executable).ok_or_else(|| Error::Usage {
        reason: format!("{name} is not in PATH; install it"),
    })
}

fn file(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File {
        action,
        path: path.to_owned(),
        source,
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| file("make", path, source))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| file("write", path, source))
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map_err(|source| file("copy", from, source))?;
    Ok(())
}
