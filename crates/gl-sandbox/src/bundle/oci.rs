//! An OCI bundle as the ground of a sandbox: its config, with what the caller says of the process, in a cgroup of
//! the sandbox's own and with its agent.

use std::path::{Path, PathBuf};

use gl_spec::HOOKS;
use gl_spec::oci::{LinuxNamespaceType, LinuxSeccompAction, Spec};
use rustix::io::Errno;
use serde_json::{Value as Json, json};

use super::{AGENT, cgroup_of, refuse_paths};
use crate::error::Error;
use crate::report::Loosening;
use crate::run::{Request, Terminal};

/// An OCI bundle that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    dir: PathBuf,
    config: Json,
}

impl Bundle {
    /// Reads the config of the bundle in `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Container`], [`Error::Spec`] for a config that cannot be read, [`Error::Bundle`] for one that a
    /// sandbox cannot hold to: without a process or without a pid namespace of its own, or with a seccomp
    /// agent of its own.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let dir = std::path::absolute(dir).map_err(Error::io("find the bundle", dir))?;
        let path = dir.join("config.json");
        let bytes = gl_container::read_document(&path)?;
        let spec = gl_spec::load(&bytes)?.spec;
        let refused = |(field, problem, remedy): Refusal| Error::Bundle {
            path: path.clone(),
            field,
            problem,
            remedy,
        };
        check(&spec).map_err(refused)?;
        let config = serde_json::from_str(&gl_spec::write(&spec))
            .map_err(|_err| Error::file("read", &path)(Errno::INVAL))?;
        Ok(Self { dir, config })
    }

    /// Its program and arguments.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        self.strings("/process/args")
    }

    /// Its variables, `NAME=value`.
    #[must_use]
    pub fn env(&self) -> Vec<String> {
        self.strings("/process/env")
    }

    /// What it asks of the host beside a container: its hooks, which are programs of the host.
    #[must_use]
    pub fn loosens(&self) -> Vec<Loosening> {
        let of = |kind: &str| {
            let paths = list(&self.config, &format!("/hooks/{kind}")).to_vec();
            let kind = kind.to_owned();
            paths.into_iter().enumerate().map(move |(index, hook)| {
                let path = hook["path"].as_str().unwrap_or_default();
                Loosening {
                    option: "--bundle".to_owned(),
                    from: "no program of the host runs".to_owned(),
                    to: format!("hooks.{kind}[{index}] {path}"),
                }
            })
        };
        HOOKS.iter().flat_map(|kind| of(kind)).collect()
    }

    fn strings(&self, pointer: &str) -> Vec<String> {
        let all = list(&self.config, pointer).iter();
        all.filter_map(Json::as_str).map(str::to_owned).collect()
    }
}

fn list<'a>(config: &'a Json, pointer: &str) -> &'a [Json] {
    let found = config.pointer(pointer).and_then(Json::as_array);
    found.map_or(&[], Vec::as_slice)
}

/// A field, what is wrong with it, what to do.
type Refusal = (String, &'static str, &'static str);

fn check(spec: &Spec) -> Result<(), Refusal> {
    if spec.process().is_none() {
        return Err((
            "process".to_owned(),
            "a run needs a process",
            "add one: greenlang spec writes a whole config",
        ));
    }
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    let own = |kind| {
        let mut all = namespaces.unwrap_or_default().iter();
        all.any(|one| one.typ() == kind && one.path().is_none())
    };
    if !own(LinuxNamespaceType::Pid) {
        return Err((
            "linux.namespaces".to_owned(),
            "it has no pid namespace of its own, without which processes may outlive the run",
            "add {\"type\": \"pid\"}, or use greenlang run",
        ));
    }
    let seccomp = linux.and_then(|linux| linux.seccomp().as_ref());
    let calls = seccomp.and_then(|section| section.syscalls().as_deref());
    let mut calls = calls.unwrap_or_default().iter();
    if let Some(index) = calls.position(|call| call.action() == LinuxSeccompAction::ScmpActNotify) {
        return Err((
            format!("linux.seccomp.syscalls[{index}].action"),
            "SCMP_ACT_NOTIFY is for an agent of the config's own, and the run has one already",
            "use another action, or greenlang run",
        ));
    }
    Ok(())
}

/// The config for a bundle.
pub(super) fn config_of(bundle: &Bundle, dir: &Path, request: &Request) -> Result<Json, Error> {
    refuse_paths(
        request,
        "put it into the bundle's mounts, and leave the option out",
    )?;
    let mut config = bundle.config.clone();
    absolute_paths(&mut config, &bundle.dir)?;
    let process = &mut config["process"];
    process["args"] = json!(request.command);
    process["env"] = json!(request.env);
    if let Some(cwd) = &request.cwd {
        process["cwd"] = json!(cwd);
    }
    process["terminal"] = json!(request.terminal == Terminal::Yes);
    let linux = &mut config["linux"];
    linux["cgroupsPath"] = cgroup_of(request);
    if !linux["seccomp"].is_object() {
        linux["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    }
    if let Some(section) = linux["seccomp"].as_object_mut() {
        section.remove("listenerMetadata");
        section.insert("listenerPath".to_owned(), json!(dir.join(AGENT)));
    }
    Ok(config)
}

/// Paths that are relative to the bundle, which the sandbox's own is not.
fn absolute_paths(config: &mut Json, bundle: &Path) -> Result<(), Error> {
    let absolute = |path: &mut Json| -> Result<(), Error> {
        let Some(text) = path.as_str() else {
            return Ok(());
        };
        let full = bundle.join(text);
        let text = full.to_str().ok_or_else(|| Error::Path {
            option: "--bundle".to_owned(),
            path: full.clone(),
            problem: "it is not UTF-8".into(),
        })?;
        *path = json!(text);
        Ok(())
    };
    if let Some(path) = config.pointer_mut("/root/path") {
        absolute(path)?;
    }
    let mounts = config.get_mut("mounts").and_then(Json::as_array_mut);
    for mount in mounts.into_iter().flatten() {
        let is_bind = mount["type"] == "bind"
            || list(mount, "/options")
                .iter()
                .any(|option| option == "bind" || option == "rbind");
        if is_bind {
            absolute(&mut mount["source"])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::{Bundle, absolute_paths, check};

    fn refused(linux: &str) -> Option<String> {
        let text = format!(
            r#"{{"ociVersion":"1.0.0","root":{{"path":"r"}},"process":{{"cwd":"/","user":{{"uid":0,"gid":0}}}},"linux":{linux}}}"#
        );
        let spec = gl_spec::load(text.as_bytes()).unwrap().spec;
        check(&spec).err().map(|(field, ..)| field)
    }

    #[test]
    fn config_that_a_run_cannot_hold_to_is_refused_by_its_field() {
        for (linux, want) in [
            (r#"{"namespaces":[{"type":"pid"}]}"#, None),
            (r#"{"namespaces":[]}"#, Some("linux.namespaces")),
            (
                r#"{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}]}"#,
                Some("linux.namespaces"),
            ),
            (
                r#"{"namespaces":[{"type":"pid"}],"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/s","syscalls":[{"names":["mount"],"action":"SCMP_ACT_NOTIFY"}]}}"#,
                Some("linux.seccomp.syscalls[0].action"),
            ),
        ] {
            assert_eq!(refused(linux).as_deref(), want, "{linux}");
        }
    }

    #[test]
    fn paths_of_the_bundle_stay_where_they_are() {
        let mut config = json!({"root": {"path": "rootfs"}, "mounts": [
            {"destination": "/a", "type": "bind", "source": "a"},
            {"destination": "/b", "type": "none", "source": "/b", "options": ["rbind"]},
            {"destination": "/c", "type": "tmpfs", "source": "tmpfs"}]});
        absolute_paths(&mut config, Path::new("/x")).unwrap();
        assert_eq!(config["root"]["path"], "/x/rootfs");
        let sources = [0, 1, 2].map(|index: usize| config["mounts"][index]["source"].clone());
        assert_eq!(sources, [json!("/x/a"), json!("/b"), json!("tmpfs")]);
    }

    #[test]
    fn hooks_are_programs_of_the_host() {
        let config = json!({"hooks": {"poststop": [{"path": "/p"}], "prestart": [{"path": "/q"}]}});
        let bundle = Bundle {
            dir: "/x".into(),
            config,
        };
        let told: Vec<String> = bundle.loosens().into_iter().map(|one| one.to).collect();
        assert_eq!(told, ["hooks.prestart[0] /q", "hooks.poststop[0] /p"]);
    }
}
