//! Whether the engines that are installed know greenlang.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::Access;
use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::probe::{failure, finding};
use super::{Finding, State};

const RUNTIME: &str = "greenlang";

/// One name under which an engine would call greenlang.
struct Registered {
    name: String,
    program: String,
}

/// One finding for each engine that is installed, by its name among the findings of programs.
pub(super) fn all(programs: &[Finding]) -> Vec<Finding> {
    let installed = |name: &str| {
        let mut programs = programs.iter();
        programs.any(|one| one.name == name && one.state == State::Ok)
    };
    let mut findings = Vec::new();
    if installed("docker") {
        let path = Path::new("/etc/docker/daemon.json");
        findings.push(judge("docker runtime", &[path.to_owned()], docker));
    }
    if installed("podman") {
        findings.push(judge("podman runtime", &podman_files(), podman));
    }
    if installed("containerd") {
        let path = Path::new("/etc/containerd/config.toml");
        findings.push(judge("containerd runtime", &[path.to_owned()], containerd));
    }
    findings
}

/// Reads the files in order and judges what they register.
fn judge(
    name: &'static str,
    files: &[PathBuf],
    registered: fn(&str) -> Result<Vec<Registered>, String>,
) -> Finding {
    let found = |seen: String| finding("engines", name, seen);
    let engine = name.split(' ').next().unwrap_or(name);
    let fix = format!("hack/install --{engine}, and let the engine read its settings again");
    let mut all = Vec::new();
    for file in files {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            Err(err) => {
                return found(failure(format!("read {}", file.display()), err))
                    .but(State::Partly, "run gl doctor as root");
            }
        };
        match registered(&text) {
            Ok(here) => all.extend(here.into_iter().map(|one| (file, one))),
            Err(why) => {
                return found(format!("read {}: {why}", file.display()))
                    .but(State::Partly, "correct the file: the engine cannot read it");
            }
        }
    }
    let Some((file, last)) = all.last() else {
        let shown: Vec<_> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        return found(format!("not in {}", shown.join(" "))).but(State::Missing, fix);
    };
    let names: Vec<_> = all.iter().map(|(_, one)| one.name.as_str()).collect();
    let shown = format!("{} in {}", names.join(" "), file.display());
    match rustix::fs::access(&last.program, Access::EXEC_OK) {
        Ok(()) => found(format!("{shown}: {}", last.program)),
        Err(errno) => {
            found(failure(format!("{shown}: {}", last.program), errno)).but(State::Missing, fix)
        }
    }
}

fn is_ours(name: &str, program: &str) -> bool {
    name == RUNTIME || Path::new(program).file_name() == Some(OsStr::new(RUNTIME))
}

fn docker(text: &str) -> Result<Vec<Registered>, String> {
    let settings: Json = serde_json::from_str(text).map_err(|err| err.to_string())?;
    let runtimes = settings.get("runtimes").and_then(Json::as_object);
    let runtimes = runtimes.into_iter().flatten().filter_map(|(name, entry)| {
        let program = entry.get("path")?.as_str()?;
        is_ours(name, program).then(|| Registered {
            name: name.clone(),
            program: program.to_owned(),
        })
    });
    Ok(runtimes.collect())
}

/// Later files win over earlier ones.
fn podman_files() -> Vec<PathBuf> {
    let mut files = ["/usr/share/containers", "/etc/containers"]
        .map(|dir| Path::new(dir).join("containers.conf"))
        .to_vec();
    let parts = fs::read_dir("/etc/containers/containers.conf.d");
    let parts = parts.into_iter().flatten().flatten();
    let mut parts: Vec<_> = parts
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("conf")))
        .collect();
    parts.sort();
    files.extend(parts);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or(home);
    files.extend(config.map(|dir| dir.join("containers/containers.conf")));
    files
}

fn podman(text: &str) -> Result<Vec<Registered>, String> {
    let table = DeTable::parse(text).map_err(|err| err.to_string())?;
    let mut out = Vec::new();
    let runtimes = member(table.get_ref(), "engine").and_then(|engine| member(engine, "runtimes"));
    for (name, value) in runtimes.into_iter().flatten() {
        let DeValue::Array(programs) = value.get_ref() else {
            continue;
        };
        let mut programs = programs.iter().filter_map(|one| one.get_ref().as_str());
        if let Some(program) = programs.find(|program| is_ours(name.get_ref(), program)) {
            out.push(Registered {
                name: name.get_ref().to_string(),
                program: program.to_owned(),
            });
        }
    }
    Ok(out)
}

fn member<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<&'a DeTable<'i>> {
    let mut members = table.iter();
    let (_, value) = members.find(|(key, _)| key.get_ref() == name)?;
    value.get_ref().as_table()
}

/// Any table of options that names the program, under the name of the runtime around it: the path to it
/// changed with the versions of the format.
fn containerd(text: &str) -> Result<Vec<Registered>, String> {
    fn walk(name: &str, table: &DeTable<'_>, out: &mut Vec<Registered>) {
        for (key, value) in table {
            if let (true, Some(program)) = (key.get_ref() == "BinaryName", value.get_ref().as_str())
                && is_ours(name, program)
            {
                out.push(Registered {
                    name: name.to_owned(),
                    program: program.to_owned(),
                });
            }
            if let Some(inner) = value.get_ref().as_table() {
                let name = match key.get_ref().as_ref() {
                    "options" => name,
                    key => key,
                };
                walk(name, inner, out);
            }
        }
    }
    let table = DeTable::parse(text).map_err(|err| err.to_string())?;
    let mut out = Vec::new();
    walk("", table.get_ref(), &mut out);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{containerd, docker, podman};

    fn names(found: Result<Vec<super::Registered>, String>) -> Vec<String> {
        let found = found.unwrap().into_iter();
        found
            .map(|one| format!("{} {}", one.name, one.program))
            .collect()
    }

    #[test]
    fn docker_has_ours_by_name_or_by_program() {
        let text = r#"{"runtimes": {"a": {"path": "/b/greenlang"}, "greenlang": {"path": "/x"},
            "other": {"path": "/usr/bin/runc"}}}"#;
        assert_eq!(names(docker(text)), ["a /b/greenlang", "greenlang /x"]);
        assert_eq!(names(docker("{}")), [""; 0]);
    }

    #[test]
    fn podman_has_ours_in_its_table() {
        let text =
            "[engine]\nx = 1\n[engine.runtimes]\nrunc = [\"/r\"]\ngreenlang = [\"/a/greenlang\"]\n";
        assert_eq!(names(podman(text)), ["greenlang /a/greenlang"]);
        assert_eq!(names(podman("[engine]\n")), [""; 0]);
    }

    #[test]
    fn containerd_has_ours_in_any_version_of_its_file() {
        for table in [
            "plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes",
            "plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes",
        ] {
            let text = format!(
                "version = 2\n[{table}.gl]\nruntime_type = \"io.containerd.runc.v2\"\n\
                [{table}.gl.options]\nBinaryName = \"/a/greenlang\"\n\
                [{table}.runc.options]\nBinaryName = \"/usr/bin/runc\"\n"
            );
            assert_eq!(names(containerd(&text)), ["gl /a/greenlang"], "{table}");
        }
    }
}
