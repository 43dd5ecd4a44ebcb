//! Puts right what runtime-spec or the engines' Go types allow and the OCI types refuse.
//!
//! Works on a document that failed to parse, so it costs a good one nothing. Nothing here guesses:
//! each step gives a document the meaning that a Go program reads from it.

use serde_json::{Map, Value};

use crate::{Document, Warning, oci};

/// Objects of the process, parents first. `[]` stands for each element of a list.
const PROCESS_OBJECTS: &[&str] = &[
    "",
    "user",
    "consoleSize",
    "capabilities",
    "rlimits[]",
    "ioPriority",
    "scheduler",
    "execCPUAffinity",
];

/// Objects of the resources.
const RESOURCE_OBJECTS: &[&str] = &[
    "",
    "devices[]",
    "memory",
    "cpu",
    "pids",
    "blockIO",
    "blockIO.weightDevice[]",
    "blockIO.throttleReadBpsDevice[]",
    "blockIO.throttleWriteBpsDevice[]",
    "blockIO.throttleReadIOPSDevice[]",
    "blockIO.throttleWriteIOPSDevice[]",
    "hugepageLimits[]",
    "network",
    "network.priorities[]",
    "rdma",
    "rdma.*",
    "unified",
];

/// Objects of a config.json outside of the two above.
const CONFIG_OBJECTS: &[&str] = &[
    "",
    "root",
    "annotations",
    "mounts[]",
    "mounts[].uidMappings[]",
    "mounts[].gidMappings[]",
    "hooks",
    "hooks.prestart[]",
    "hooks.createRuntime[]",
    "hooks.createContainer[]",
    "hooks.startContainer[]",
    "hooks.poststart[]",
    "hooks.poststop[]",
    "linux",
    "linux.uidMappings[]",
    "linux.gidMappings[]",
    "linux.sysctl",
    "linux.namespaces[]",
    "linux.devices[]",
    "linux.netDevices",
    "linux.netDevices.*",
    "linux.seccomp",
    "linux.seccomp.syscalls[]",
    "linux.seccomp.syscalls[].args[]",
    "linux.intelRdt",
    "linux.memoryPolicy",
    "linux.personality",
    "linux.timeOffsets",
    "linux.timeOffsets.*",
];

/// Sections for other systems. The spec has a runtime ignore them.
const FOREIGN_SECTIONS: &[&str] = &["windows", "solaris", "zos", "vm", "freebsd"];

/// Whether a field of that name takes a list.
pub(crate) fn takes_a_list(key: &str) -> bool {
    LISTS.contains(&key)
}

/// Fields that take a list.
const LISTS: &[&str] = &[
    "additionalGids",
    "ambient",
    "architectures",
    "args",
    "bounding",
    "createContainer",
    "createRuntime",
    "devices",
    "effective",
    "env",
    "flags",
    "gidMappings",
    "hugepageLimits",
    "inheritable",
    "maskedPaths",
    "mounts",
    "names",
    "namespaces",
    "options",
    "permitted",
    "poststart",
    "poststop",
    "prestart",
    "priorities",
    "readonlyPaths",
    "rlimits",
    "schemata",
    "startContainer",
    "syscalls",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "uidMappings",
    "weightDevice",
];

/// Where the process and the resources are in `document`, if it has them.
fn prefixes(document: Document) -> (Option<&'static str>, Option<&'static str>) {
    match document {
        Document::Config => (Some("process"), Some("linux.resources")),
        Document::Process => (Some(""), None),
        Document::Resources => (None, Some("")),
    }
}

/// Finds a field that holds a list where an object belongs.
pub(crate) fn find_list_for_object(document: Document, value: &mut Value) -> Option<String> {
    let (process, resources) = prefixes(document);
    let config = matches!(document, Document::Config).then_some("");
    let tables = [
        (config, CONFIG_OBJECTS),
        (process, PROCESS_OBJECTS),
        (resources, RESOURCE_OBJECTS),
    ];
    let mut found: Option<String> = None;
    let mut note = |field: &str, value: &mut Value| {
        if value.is_array() {
            found.get_or_insert_with(|| field.to_owned());
        }
    };
    for (prefix, objects) in tables {
        let Some(prefix) = prefix else { continue };
        for object in objects {
            each(value, &join(prefix, object), "", &mut note);
        }
    }
    found.map(|field| {
        if field.is_empty() {
            document.to_string()
        } else {
            field
        }
    })
}

/// Puts right what can be, and says what an engine should know about it.
pub(crate) fn repair(document: Document, value: &mut Value) -> Vec<Warning> {
    let mut warnings = Vec::new();
    drop_nulls(value);
    let (process, resources) = prefixes(document);
    if matches!(document, Document::Config) {
        repair_config(value);
    }
    if let Some(prefix) = process {
        each(value, prefix, "", &mut |field, value| {
            repair_process(field, value, &mut warnings);
        });
    }
    if let Some(prefix) = resources {
        each(value, prefix, "", &mut |_, value| repair_resources(value));
    }
    warnings
}

/// Removes members that are `null`: for a Go program they are as good as not there.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn repair_config(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|key, _| !FOREIGN_SECTIONS.contains(&key.as_str()));
    }
    // Go writes an entry without names as null, which is gone by now.
    each(value, "linux.seccomp.syscalls[]", "", &mut |_, entry| {
        if let Value::Object(members) = entry {
            members
                .entry("names")
                .or_insert_with(|| Value::Array(Vec::new()));
        }
    });
}

fn repair_process(field: &str, process: &mut Value, warnings: &mut Vec<Warning>) {
    if let Value::Object(members) = process
        && !members.contains_key("user")
    {
        members.insert("user".to_owned(), Value::Object(Map::new()));
        warnings.push(Warning {
            field: join(field, "user"),
            message: "is missing: taken as uid 0 and gid 0".to_owned(),
        });
    }
    for set in [
        "bounding",
        "effective",
        "inheritable",
        "permitted",
        "ambient",
    ] {
        let path = join("capabilities", set);
        each(process, &path, field, &mut |field, names| {
            drop_unknown_capabilities(field, names, warnings);
        });
    }
    each(process, "execCPUAffinity", field, &mut |_, affinity| {
        if let Value::Object(members) = affinity {
            members.retain(|_, cpus| cpus.as_str() != Some(""));
        }
    });
    each(process, "scheduler.flags[]", field, &mut |_, flag| {
        // SPEC: the OCI types spell this one name otherwise than runtime-spec.
        if flag.as_str() == Some("SCHED_FLAG_DL_OVERRUN") {
            *flag = serde_json::to_value(oci::LinuxSchedulerFlag::SchedFlagDLOverrun)
                .unwrap_or_default();
        }
    });
}

/// # Spec
///
/// `config.md`, "Linux Process": a runtime that does not know a capability warns and goes on.
fn drop_unknown_capabilities(field: &str, names: &mut Value, warnings: &mut Vec<Warning>) {
    let Value::Array(names) = names else { return };
    let mut index = 0;
    names.retain(|name| {
        let here = index;
        index += 1;
        let Some(text) = name.as_str() else {
            return true;
        };
        let known = serde_json::from_str::<oci::Capability>(&name.to_string()).is_ok();
        if !known {
            warnings.push(Warning {
                field: format!("{field}[{here}]"),
                message: format!("capability {text:?} is not known: ignored"),
            });
        }
        known
    });
}

fn repair_resources(resources: &mut Value) {
    each(resources, "hugepageLimits[].limit", "", &mut |_, limit| {
        // The spec has 64 bits without a sign here, the OCI types one bit less: no machine has so
        // much memory, so both mean "no limit".
        if limit.as_u64().is_some_and(|n| i64::try_from(n).is_err()) {
            *limit = Value::from(i64::MAX);
        }
    });
    each(resources, "devices[]", "", &mut |_, device| {
        if let Value::Object(members) = device
            && members.get("type").and_then(Value::as_str) == Some("")
        {
            members.remove("type");
        }
    });
}

/// The name of the field `rest` of `prefix`, where either may be empty.
pub(crate) fn join(prefix: &str, rest: &str) -> String {
    if prefix.is_empty() || rest.is_empty() {
        format!("{prefix}{rest}")
    } else {
        format!("{prefix}.{rest}")
    }
}

/// Calls `action` with every value that `pattern` leads to from `value` on, and its full name.
///
/// A pattern is member names joined with dots; `name[]` stands for the elements of a list and `*`
/// for every member. `here` is the name of `value` itself.
fn each(value: &mut Value, pattern: &str, here: &str, action: &mut dyn FnMut(&str, &mut Value)) {
    if pattern.is_empty() {
        action(here, value);
        return;
    }
    let (step, rest) = pattern.split_once('.').unwrap_or((pattern, ""));
    let Value::Object(members) = value else {
        return;
    };
    if step == "*" {
        for (name, member) in members {
            each(member, rest, &join(here, name), action);
        }
        return;
    }
    let (name, is_list) = step
        .strip_suffix("[]")
        .map_or((step, false), |name| (name, true));
    let Some(member) = members.get_mut(name) else {
        return;
    };
    let name = join(here, name);
    if !is_list {
        each(member, rest, &name, action);
        return;
    }
    let Value::Array(items) = member else { return };
    for (i, item) in items.iter_mut().enumerate() {
        each(item, rest, &format!("{name}[{i}]"), action);
    }
}
