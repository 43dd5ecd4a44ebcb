//! What a config asks for that nobody can enforce in gVisor: refused by name, or taken out and said so
//! where the profile degrades.

use gl_spec::Warning;
use serde_json::Value;

use crate::bundle::Lacking;
use crate::error::Error;

/// A field that runsc refuses, or takes and does nothing with.
struct Field {
    pointer: &'static str,
    name: &'static str,
    problem: &'static str,
    remedy: &'static str,
}

const NO_LABEL: &str = "runsc gives neither processes nor files an SELinux label";
const LABEL: &str = "turn labels off for this container: --security-opt label=disable";
const IGNORED: &str = "runsc takes it and does nothing with it";
const LEAVE: &str = "leave it out, or set on_missing = \"degrade\" in the profile";

/// Looked at in this order.
const FIELDS: [Field; 10] = [
    Field::new(
        "/process/selinuxLabel",
        "process.selinuxLabel",
        NO_LABEL,
        LABEL,
    ),
    Field::new("/linux/mountLabel", "linux.mountLabel", NO_LABEL, LABEL),
    Field::new("/process/scheduler", "process.scheduler", IGNORED, LEAVE),
    Field::new("/process/ioPriority", "process.ioPriority", IGNORED, LEAVE),
    Field::new(
        "/process/execCPUAffinity",
        "process.execCPUAffinity",
        IGNORED,
        LEAVE,
    ),
    Field::new("/linux/personality", "linux.personality", IGNORED, LEAVE),
    Field::new("/linux/intelRdt", "linux.intelRdt", IGNORED, LEAVE),
    Field::new("/linux/memoryPolicy", "linux.memoryPolicy", IGNORED, LEAVE),
    Field::new("/linux/netDevices", "linux.netDevices", IGNORED, LEAVE),
    Field::new(
        "/linux/devices",
        "linux.devices",
        "gVisor's kernel has no such device",
        LEAVE,
    ),
];

/// They allow what gVisor's kernel allows anyhow, and Docker always sets them.
const HARMLESS_SYSCTLS: [&str; 2] = [
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
];

impl Field {
    const fn new(
        pointer: &'static str,
        name: &'static str,
        problem: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self {
            pointer,
            name,
            problem,
            remedy,
        }
    }
}

/// Checks a config, or the part of one that has only a process, and takes out what is left to others.
///
/// # Errors
///
/// [`Error::Refused`] with the field's name.
pub fn check(config: &mut Value, lacking: Lacking) -> Result<Vec<Warning>, Error> {
    let mut warnings = Vec::new();
    for field in &FIELDS {
        if !asks(config.pointer(field.pointer)) {
            continue;
        }
        give_up(&mut warnings, lacking, field.name.to_owned(), field)?;
        take(config, field.pointer);
    }
    if asks(config.pointer("/process/apparmorProfile")) {
        warnings.push(Warning {
            field: "process.apparmorProfile".to_owned(),
            message: "left out: no process of the container is a process of the host".to_owned(),
        });
        take(config, "/process/apparmorProfile");
    }
    sysctls(config, lacking, &mut warnings)?;
    namespaces(config)?;
    mounts(config)?;
    hooks(config)?;
    read_only_paths(config)?;
    Ok(warnings)
}

/// Whether a value says anything.
fn asks(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(_) => true,
    }
}

fn give_up(
    warnings: &mut Vec<Warning>,
    lacking: Lacking,
    field: String,
    why: &Field,
) -> Result<(), Error> {
    match lacking {
        Lacking::Refuse => Err(Error::Refused {
            field,
            problem: why.problem,
            remedy: why.remedy,
        }),
        Lacking::Degrade => {
            warnings.push(Warning {
                field,
                message: format!("left out: {}", why.problem),
            });
            Ok(())
        }
    }
}

/// Removes the member that a pointer names.
pub(crate) fn take(config: &mut Value, pointer: &str) {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(Value::Object(map)) = config.pointer_mut(parent)
    {
        map.remove(name);
    }
}

fn sysctls(config: &mut Value, lacking: Lacking, warnings: &mut Vec<Warning>) -> Result<(), Error> {
    const POINTER: &str = "/linux/sysctl";
    let all = config.pointer(POINTER).and_then(Value::as_object);
    let names = all.into_iter().flatten().map(|(name, _)| name);
    let asked = names.filter(|name| !HARMLESS_SYSCTLS.contains(&name.as_str()));
    let why = Field::new(POINTER, "", "gVisor's kernel has its own settings", LEAVE);
    for name in asked {
        give_up(warnings, lacking, format!("linux.sysctl[{name:?}]"), &why)?;
    }
    take(config, POINTER);
    Ok(())
}

fn list<'a>(config: &'a Value, pointer: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    let all = config.pointer(pointer).and_then(Value::as_array);
    all.into_iter().flatten().enumerate()
}

/// A sandbox has one kernel: what it shares with another container it cannot have, but the network.
fn namespaces(config: &Value) -> Result<(), Error> {
    for (index, one) in list(config, "/linux/namespaces") {
        let kind = one.get("type").and_then(Value::as_str).unwrap_or_default();
        let shared = asks(one.get("path"));
        let problem = match kind {
            "user" => "a user namespace around the sandbox is not supported yet",
            "time" => "gVisor has no time namespaces",
            "network" => continue,
            _ if shared => {
                "the sandbox has a kernel of its own, and shares it with no other container"
            }
            _ => continue,
        };
        return Err(Error::Refused {
            field: format!("linux.namespaces[{index}]"),
            problem,
            remedy: "let the engine give the container namespaces of its own, and no user namespace",
        });
    }
    Ok(())
}

fn mounts(config: &Value) -> Result<(), Error> {
    for (index, mount) in list(config, "/mounts") {
        let mut options = mount
            .get("options")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let mapped = asks(mount.get("uidMappings"))
            || asks(mount.get("gidMappings"))
            || options.any(|option| matches!(option.as_str(), Some("idmap" | "ridmap")));
        if mapped {
            return Err(Error::Refused {
                field: format!("mounts[{index}]"),
                problem: "runsc maps no ids of mounts",
                remedy: "mount it without id mappings",
            });
        }
    }
    Ok(())
}

fn hooks(config: &Value) -> Result<(), Error> {
    for name in ["createContainer", "startContainer"] {
        if asks(config.pointer(&format!("/hooks/{name}"))) {
            return Err(Error::Refused {
                field: format!("hooks.{name}"),
                problem: "it would run in the container's namespaces, and gVisor's kernel runs nothing of the host",
                remedy: "use a hook that runs on the host: createRuntime, poststart or poststop",
            });
        }
    }
    Ok(())
}

fn read_only_paths(config: &mut Value) -> Result<(), Error> {
    const POINTER: &str = "/linux/readonlyPaths";
    for (index, path) in list(config, POINTER) {
        if !path.as_str().is_some_and(is_kernels) {
            return Err(Error::Refused {
                field: format!("linux.readonlyPaths[{index}]"),
                problem: "runsc takes it and does nothing with it",
                remedy: "use a read-only root, or mount the path read-only",
            });
        }
    }
    take(config, POINTER);
    Ok(())
}

/// Whether a path shows a kernel, which is gVisor's own: it has nothing of the host.
pub(crate) fn is_kernels(path: &str) -> bool {
    ["/proc", "/sys"].iter().any(|dir| {
        path.strip_prefix(dir)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_nobody_enforces_are_refused_by_name() {
        for (config, want) in [
            (
                json!({"process": {"selinuxLabel": "a:b:c"}}),
                "process.selinuxLabel",
            ),
            (
                json!({"process": {"scheduler": {"policy": "SCHED_FIFO"}}}),
                "process.scheduler",
            ),
            (
                json!({"linux": {"devices": [{"path": "/dev/x"}]}}),
                "linux.devices",
            ),
            (
                json!({"linux": {"sysctl": {"net.core.somaxconn": "9"}}}),
                "linux.sysctl[\"net.core.somaxconn\"]",
            ),
            (
                json!({"linux": {"namespaces": [{"type": "pid"}, {"type": "user"}]}}),
                "linux.namespaces[1]",
            ),
            (
                json!({"linux": {"namespaces": [{"type": "ipc", "path": "/p"}]}}),
                "linux.namespaces[0]",
            ),
            (
                json!({"linux": {"readonlyPaths": ["/proc/sys", "/etc"]}}),
                "linux.readonlyPaths[1]",
            ),
            (
                json!({"mounts": [{"destination": "/a", "options": ["idmap"]}]}),
                "mounts[0]",
            ),
            (
                json!({"hooks": {"startContainer": [{"path": "/h"}]}}),
                "hooks.startContainer",
            ),
        ] {
            let mut asked = config.clone();
            let err = check(&mut asked, Lacking::Refuse).unwrap_err();
            assert!(
                matches!(&err, Error::Refused { field, .. } if field == want),
                "{config}: {err:?}"
            );
        }
    }

    #[test]
    fn profile_that_degrades_leaves_out_and_says_so() {
        let mut config = json!({"process": {"selinuxLabel": "a:b:c", "args": ["x"]}});
        let warnings = check(&mut config, Lacking::Degrade).unwrap();
        assert_eq!(config, json!({"process": {"args": ["x"]}}));
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].field, "process.selinuxLabel");
    }

    #[test]
    fn what_engines_always_send_is_taken() {
        let mut config = json!({
            "process": {"apparmorProfile": "docker-default", "selinuxLabel": ""},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/n"}],
                "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"}, "devices": [],
                "readonlyPaths": ["/proc/sys"]}});
        let warnings = check(&mut config, Lacking::Refuse).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(config.pointer("/linux/sysctl"), None);
        assert_eq!(config.pointer("/process/apparmorProfile"), None);
    }

    #[test]
    fn paths_of_the_kernel_are_told_from_others() {
        for (path, want) in [
            ("/proc", true),
            ("/sys/a", true),
            ("/process", false),
            ("/etc", false),
        ] {
            assert_eq!(is_kernels(path), want, "{path}");
        }
    }
}
