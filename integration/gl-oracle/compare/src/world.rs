//! A case run on one runtime: what the probe saw inside, what the kernel says of the container's cgroups
//! from outside, what hooks wrote, and what was left in the image.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gl_e2e::bundle::{Bundle, host, kernel};
use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::normal::{self, Names};
use crate::{Failure, cgroup};

/// The key of the verdict on a whole case.
pub(crate) const OUTCOME: &str = "outcome";
/// Its value where the container ran; any other is a reason.
pub(crate) const RAN: &str = "runs";

/// Runs a case; a runtime that hangs or a probe that says nothing is an outcome like any other.
pub(crate) fn of(case: &Case, runtime: &Path, probe: &Path) -> Result<Value, Failure> {
    let bundle = case.bundle(runtime, probe)?;
    let seen = catch_unwind(AssertUnwindSafe(|| run(case, &bundle)));
    let mut world = match seen {
        Ok(world) => world?,
        Err(panic) => {
            bundle.delete_force();
            json!({OUTCOME: format!("breaks: {}", message(panic.as_ref()))})
        }
    };
    if world[OUTCOME] == RAN {
        world["image"] = image(&bundle)?;
        world["hooks"] = written(&bundle)?;
    }
    world["left"] = left(&bundle);
    let world = normal::strings(
        &world,
        &[
            (&bundle.dir().to_string_lossy(), "$BUNDLE"),
            (bundle.id(), "$ID"),
        ],
    );
    Ok(world)
}

/// What a harness said when it gave up.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn run(case: &Case, bundle: &Bundle) -> Result<Value, Failure> {
    let names = Names::of(bundle.dir())?;
    let pid_file = bundle.dir().join("pid");
    let flags = ["--pid-file", &pid_file.to_string_lossy()];
    let created = case.create(bundle, &flags);
    if created.code != 0 {
        bundle.delete_force();
        return Ok(refused("create", &created.stderr));
    }
    let pid: i32 = fs::read_to_string(&pid_file)?.trim().parse()?;
    let cgroups = cgroup::values(pid)?;
    let started = bundle.start();
    if started.code != 0 {
        bundle.delete_force();
        return Ok(refused("start", &started.stderr));
    }
    let text = bundle.wait_for("}\n");
    kernel::wait_dead(pid);
    bundle.delete_force();
    let mut world: Map<String, Value> = serde_json::from_str(&text)?;
    normal::world(&mut world, &names);
    world.insert("cgroups".to_owned(), cgroups);
    world.insert(OUTCOME.to_owned(), RAN.into());
    Ok(world.into())
}

fn refused(by: &str, stderr: &str) -> Value {
    let line = stderr.lines().rfind(|line| !line.trim().is_empty());
    json!({OUTCOME: format!("refused by {by}: {}", line.unwrap_or("without a word"))})
}

/// Every entry of the root that was not there before the runtime, or not so.
fn image(bundle: &Bundle) -> Result<Value, Failure> {
    let mut found = BTreeMap::new();
    let mut rest = vec![bundle.rootfs()];
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = format!("/{}", path.strip_prefix(bundle.rootfs())?.display());
            if name == "/bin" || name == "/probe" {
                continue;
            }
            let meta = fs::symlink_metadata(&path)?;
            let text = format!("{:06o} {}:{}", meta.mode(), meta.uid(), meta.gid());
            found.insert(name, text);
            if meta.is_dir() {
                rest.push(path);
            }
        }
    }
    Ok(json!(found))
}

/// What hooks wrote to `out`.
fn written(bundle: &Bundle) -> Result<Value, Failure> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(bundle.dir().join("out"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.insert(name, normal::hook(&fs::read_to_string(&path)?));
    }
    Ok(json!(found))
}

/// What is still there after the container was deleted: cgroups and mounts.
fn left(bundle: &Bundle) -> Value {
    let cgroups: Vec<PathBuf> = host::cgroups_of(bundle.id());
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = kernel::mounts(&text).into_iter().map(|m| m.target);
    let own = bundle.rootfs();
    let mounts: Vec<String> = mounts.filter(|t| Path::new(t).starts_with(&own)).collect();
    let state = fs::read_dir(bundle.state_root()).map(|list| list.flatten().count());
    json!({"cgroups": cgroups, "mounts": mounts, "state": state.unwrap_or(0)})
}
