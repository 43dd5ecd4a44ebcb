//! Images built by running commands in containers.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::command::{Output, output_of};
use crate::engine::{Engine, IMAGE, Kind, docker, text};
use crate::sandbox::Driver;
use crate::{Outcome, Skip};

const LIMIT: Duration = Duration::from_secs(120);

const DOCKERFILE: &str = "\
FROM gl-box
ENV FROM_BUILD=yes
RUN echo first >/built && echo builder:x:77:77::/:/bin/sh >>/etc/passwd
RUN [ \"sh\", \"-c\", \"id -u >>/built; pwd >>/built\" ]
WORKDIR /job
USER builder
RUN id -un >who && pwd >>who
COPY note /job/
RUN cat note >>who && echo $FROM_BUILD >>who
CMD [\"cat\", \"/built\", \"/job/who\"]
";

/// Where the cgroups of a build's steps go.
pub(super) fn parent(engine: &Engine) -> String {
    match (engine.kind, engine.sandbox.driver) {
        // Podman hands a slice over as the container's own cgroup, which is no scope's name.
        (Kind::Podman, Driver::Systemd) => "--cgroup-parent=".to_owned(),
        _ => format!("--cgroup-parent={}", engine.sandbox.parent_below("build")),
    }
}

fn context(engine: &Engine) -> PathBuf {
    let dir = engine.directory();
    fs::write(dir.join("Dockerfile"), DOCKERFILE.replace("gl-box", IMAGE))
        .expect("write Dockerfile");
    fs::write(dir.join("note"), "copied\n").expect("write a file");
    dir
}

#[track_caller]
fn build(engine: &Engine, tag: &str, buildkit: &str) -> Output {
    let dir = context(engine);
    // WORKDIR belongs to root; the user of the build may write there all the same.
    let dockerfile = fs::read_to_string(dir.join("Dockerfile")).unwrap_or_default();
    let writable = dockerfile.replace("USER builder", "RUN chmod 777 /job\nUSER builder");
    fs::write(dir.join("Dockerfile"), writable).expect("write Dockerfile");
    let network = "--network=none";
    let parent = parent(engine);
    let options = [
        "build",
        "--no-cache",
        network,
        parent.as_str(),
        "-t",
        tag,
        text(&dir),
    ];
    let mut command = engine.command(&options);
    command.env("DOCKER_BUILDKIT", buildkit);
    output_of(command, b"", LIMIT)
}

#[track_caller]
fn assert_image_works(engine: &Engine, tag: &str, built: &Output) {
    let out = engine.cli(&["run", "--rm", "--network=none", tag]);
    assert_eq!(
        out.ok(),
        "first\n0\n/\nbuilder\n/job\ncopied\nyes",
        "{out}\nbuilt by {built}"
    );
    engine.cli(&["rmi", "-f", tag]).ok();
}

/// `build` runs each step in a container of the runtime under test, and the image works.
pub fn build_runs_its_steps(engine: &Engine) -> Outcome {
    let built = build(engine, "gl-built", "0");
    built.ok();
    assert_image_works(engine, "gl-built", &built);
    Ok(())
}

/// A failing step fails the build with its status.
pub fn build_stops_at_a_failing_step(engine: &Engine) -> Outcome {
    let dir = engine.directory();
    let steps = format!("FROM {IMAGE}\nRUN echo before\nRUN exit 17\nRUN echo after\n");
    fs::write(dir.join("Dockerfile"), steps).expect("write Dockerfile");
    let parent = parent(engine);
    let options = ["build", "--no-cache", "--network=none", &parent, text(&dir)];
    let mut command = engine.command(&options);
    command.env("DOCKER_BUILDKIT", "0");
    let out = output_of(command, b"", LIMIT);
    out.refused();
    let said = format!("{}{}", out.stdout, out.stderr);
    assert!(
        said.contains("17") && said.contains("before\n") && !said.contains("\nafter\n"),
        "{out}"
    );
    Ok(())
}

/// `BuildKit` in the daemon runs each step with the runtime under test.
pub fn build_with_buildkit(engine: &Engine) -> Outcome {
    let log = docker::build_log(&engine.sandbox);
    let calls = || fs::read_to_string(&log).unwrap_or_default();
    let before = calls().matches(" run ").count();
    let built = build(engine, "gl-buildkit", "1");
    let built = if built.stderr.contains("buildx component is missing") {
        build_with_older_client(engine)?
    } else {
        built
    };
    built.ok();
    assert_image_works(engine, "gl-buildkit", &built);
    let runs = calls().matches(" run ").count() - before;
    assert_eq!(
        runs,
        5,
        "one `run` of the runtime for each step:\n{}",
        calls()
    );
    Ok(())
}

/// Clients before 23 have `BuildKit` built in; distributions install theirs in `/usr/bin`.
fn build_with_older_client(engine: &Engine) -> Result<Output, Skip> {
    let older = engine.with_program("/usr/bin/docker");
    let built = build(&older, "gl-buildkit", "1");
    if built.stderr.contains("buildx component is missing") {
        return Err(Skip(
            "no Docker client here can ask for BuildKit".to_owned(),
        ));
    }
    Ok(built)
}
