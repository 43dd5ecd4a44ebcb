//! Images that the engine saves, unpacked by `gl`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::build::parent;
use crate::bundle;
use crate::command::{output, output_of};
use crate::engine::{Engine, IMAGE, Kind, text};
use crate::{Outcome, Skip};

const DOCKERFILE: &str = "\
FROM gl-box
RUN mkdir -p /made/gone /made/kept && echo one >/made/gone/a && echo one >/made/kept/a
RUN rm -r /made/gone && ln /made/kept/a /made/hard && ln -s ../kept /made/link && chmod 4711 /made/hard
RUN rm -r /made/kept && mkdir /made/kept && echo two >/made/kept/b && chown 12:34 /made/kept/b
RUN rm -r /made/link && mkdir /made/link && mkfifo /made/link/pipe
";

/// What is seen of a tree; what engines put into every container is left out, and the times of
/// directories, which that changes.
const LIST: &str = "find . -mindepth 1 \\( -path ./dev -o -path ./proc -o -path ./sys -o -path ./run \
    -o -name .dockerenv -o -path ./etc/hostname -o -path ./etc/hosts -o -path ./etc/resolv.conf \
    -o -path ./etc/mtab \\) -prune -o \
    \\( -type d -printf '%P %y %m %U:%G\\n' -o -printf '%P %y %m %U:%G %s %n %T@ %l\\n' \\) | sort";

fn sh(dir: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-euc", script]).current_dir(dir);
    output(command).ok().to_owned()
}

/// One image saved in each form of the engine: the tree that `gl` makes is the one that `export` shows.
pub fn saved_image_unpacks_to_what_is_exported(engine: &Engine) -> Outcome {
    let gl = bundle::runtime().with_file_name("gl");
    if fs::metadata(&gl).is_err() {
        return Err(Skip("there is no gl beside this runtime".to_owned()));
    }
    let dir = engine.directory();
    let context = engine.directory();
    fs::write(
        context.join("Dockerfile"),
        DOCKERFILE.replace("gl-box", IMAGE),
    )
    .expect("write Dockerfile");
    let tag = "gl-e2e-saved:one";
    let parent = parent(engine);
    let build = [
        "build",
        "--no-cache",
        "--network=none",
        &parent,
        "-t",
        tag,
        text(&context),
    ];
    output_of(
        engine.command(&build),
        b"",
        std::time::Duration::from_secs(120),
    )
    .ok();
    let container = engine.name_one();
    engine
        .cli(&["create", "--name", &container.name, tag, "true"])
        .ok();
    let export = dir.join("export");
    engine
        .cli(&["export", "--output", text(&export), &container.name])
        .ok();
    sh(&dir, "mkdir exported && tar -C exported -xpf export");
    let wanted = sh(&dir.join("exported"), LIST);
    for word in [
        "made/hard f 4711",
        "made/kept/b f 644 12:34",
        "made/link/pipe p",
    ] {
        assert!(wanted.contains(word), "no {word:?} in {wanted}");
    }
    let formats: &[&str] = match engine.kind {
        Kind::Podman => &["docker-archive", "oci-archive", "oci-dir"],
        Kind::Docker => &[""],
    };
    for format in formats {
        let saved = dir.join(format!("saved{format}"));
        let mut save = vec!["save", "--output", text(&saved)];
        if !format.is_empty() {
            save.extend(["--format", format]);
        }
        save.push(tag);
        engine.cli(&save).ok();
        let tree = dir.join(format!("tree{format}"));
        let mut command = Command::new(&gl);
        command.args(["image", "unpack", text(&saved), text(&tree)]);
        output(command).ok();
        assert_eq!(sh(&tree, LIST), wanted, "{format}");
    }
    container.remove();
    engine.cli(&["rmi", "--force", tag]).ok();
    Ok(())
}
