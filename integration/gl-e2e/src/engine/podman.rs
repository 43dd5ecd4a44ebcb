//! Podman with own storage and the runtime under test as its only runtime.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;

use super::{Engine, IMAGE, Kind, image, runtime, text};
use crate::command::output;
use crate::kernel::Scope;
use crate::sandbox::Sandbox;

/// Where runtimes keep their state when nobody says where.
const RUNTIME_ROOTS: [&str; 3] = ["/run/greenlang", "/run/runc", "/run/crun"];

/// Writes Podman's settings, checks that it works, and gives it the test image.
///
/// # Panics
///
/// If Podman is missing or cannot use its storage.
pub fn start(sandbox: &Sandbox) -> Engine {
    let dir = sandbox.dir.join("podman");
    fs::create_dir_all(dir.join("tmp")).expect("make a directory on tmpfs");
    fs::write(dir.join("containers.conf"), settings(sandbox)).expect("write containers.conf");
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        dir.join("storage"),
        dir.join("run")
    );
    fs::write(dir.join("storage.conf"), storage).expect("write storage.conf");
    let of = |name: &str| text(&dir.join(name)).to_owned();
    let engine = Engine {
        kind: Kind::Podman,
        sandbox: sandbox.clone(),
        // Podman leaves the choice to the runtime.
        state_roots: RUNTIME_ROOTS.map(PathBuf::from).to_vec(),
        scope: Scope {
            init: sandbox.init,
            cgroup: sandbox.cgroup.clone(),
            roots: vec![
                PathBuf::from(RUNTIME_ROOTS[0]),
                PathBuf::from(RUNTIME_ROOTS[1]),
                PathBuf::from(RUNTIME_ROOTS[2]),
                dir.join("storage/overlay-containers"),
                dir.join("run/overlay-containers"),
                PathBuf::from("/run/libpod/exits"),
                PathBuf::from("/run/netns"),
            ],
            engine_mounts: vec![format!("{} tmpfs", of("storage/overlay"))],
        },
        program: PathBuf::from("podman"),
        globals: Vec::new(),
        run_defaults: vec![format!("--cgroup-parent={}", sandbox.parent())],
        environment: BTreeMap::from([
            ("CONTAINERS_CONF".to_owned(), of("containers.conf")),
            ("CONTAINERS_STORAGE_CONF".to_owned(), of("storage.conf")),
            ("HOME".to_owned(), text(&dir).to_owned()),
            ("TMPDIR".to_owned(), of("tmp")),
        ]),
        next: AtomicU32::new(0),
    };
    import_image(&engine, &dir);
    engine
}

/// The file that Podman reads instead of the machine's.
///
/// The two limits are the highest that a root without `CAP_SYS_RESOURCE` can always set.
fn settings(sandbox: &Sandbox) -> String {
    let dir = sandbox.dir.join("podman");
    format!(
        r#"[containers]
cgroupns = "private"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"

[engine]
cgroup_manager = "{manager}"
events_logger = "file"
runtime = "under-test"
volume_path = {volumes:?}

[engine.runtimes]
under-test = [{runtime:?}]
"#,
        manager = sandbox.driver.word(),
        volumes = dir.join("volumes"),
        runtime = runtime(),
    )
}

fn import_image(engine: &Engine, dir: &Path) {
    let (rootfs, archive) = (dir.join("rootfs"), dir.join("rootfs.tar"));
    fs::create_dir(&rootfs).expect("make a directory on tmpfs");
    image::make_rootfs(&rootfs);
    image::pack(&rootfs, &archive);
    output(engine.command(&["import", text(&archive), IMAGE])).ok();
}
