//! Makes equal what differs from run to run: identities of namespaces, numbers of mounts, devices,
//! processes and pipes. Nothing is left out: an identity becomes the relation that it stands for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gl_e2e::bundle::kernel;
use serde_json::{Map, Value, json};

use crate::Failure;

/// Names of the namespaces that are there before the container: the host's, and those that were prepared.
#[derive(Debug)]
pub(crate) struct Names {
    known: BTreeMap<String, String>,
}

impl Names {
    /// Those of this process, and of the files `namespace-TYPE` of a bundle.
    pub(crate) fn of(bundle: &Path) -> Result<Self, Failure> {
        use std::os::unix::fs::MetadataExt;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/ns")? {
            let link = fs::read_link(entry?.path())?;
            known.insert(link.to_string_lossy().into_owned(), "the host's".to_owned());
        }
        for entry in fs::read_dir(bundle)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(kind) = name.strip_prefix("namespace-") {
                let inode = fs::metadata(entry.path())?.ino();
                known.insert(format!("{kind}:[{inode}]"), "the prepared one".to_owned());
            }
        }
        Ok(Self { known })
    }

    fn name(&self, link: &str) -> String {
        let kind = link.split(':').next().unwrap_or_default();
        match self.known.get(link) {
            Some(name) => name.clone(),
            None => format!("a new one of {kind}"),
        }
    }
}

/// Makes a world of the probe comparable.
pub(crate) fn world(world: &mut Map<String, Value>, names: &Names) {
    namespaces(world, names);
    mounts(world);
    processes(world);
    environment(world);
    if let Some(Value::Object(all)) = world.get_mut("descriptors") {
        all.values_mut()
            .for_each(|one| without_number(&mut one["target"]));
    }
    if let Some(own) = world.get_mut("self") {
        // Which group of the automatic scheduler it is; its nice value remains.
        let group = own["autogroup"].as_str().unwrap_or_default();
        let nice = group
            .split_once(' ')
            .map_or("", |(_, nice)| nice)
            .to_owned();
        own["autogroup"] = nice.into();
        let cgroups = own["cgroup"].as_str().unwrap_or_default().lines();
        let cgroups = cgroups.filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let cgroups = cgroups.map(|(names, path)| (format!("of {names}"), path.into()));
        own["cgroup"] = Value::Object(cgroups.collect());
    }
}

/// Variables by their names, so that one that is missing is seen whatever the order is, and their order.
fn environment(world: &mut Map<String, Value>) {
    let Some(seen) = world.get_mut("environment") else {
        return;
    };
    let order = seen["variables"].clone();
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for variable in order.as_array().into_iter().flatten() {
        let text = variable.as_str().unwrap_or_default();
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        values
            .entry(name.to_owned())
            .or_default()
            .push(value.to_owned());
    }
    seen["variables"] = json!(values);
    seen["order"] = order;
}

fn namespaces(world: &mut Map<String, Value>, names: &Names) {
    let Some(Value::Object(all)) = world.get_mut("namespaces") else {
        return;
    };
    // Whether children go elsewhere than the process itself is.
    for kind in ["pid", "time"] {
        let children = format!("{kind}_for_children");
        if all.get(&children) == all.get(kind) {
            all.insert(children, "the own one".into());
        }
    }
    for link in all.values_mut() {
        if let Some(text) = link.as_str().filter(|text| text.contains('[')) {
            *link = names.name(text).into();
        }
    }
}

/// `pipe:[12]`, `socket:[12]` and the like without the number.
fn without_number(target: &mut Value) {
    let text = target.as_str().unwrap_or_default();
    let known = ["pipe:[", "socket:[", "anon_inode:["];
    if let Some(start) = known.iter().find(|start| text.starts_with(**start)) {
        *target = start.trim_end_matches(":[").into();
    }
}

/// Mounts by their place; the second one there is `PLACE#2`.
fn mounts(world: &mut Map<String, Value>) {
    let Some(text) = world.get("mountinfo").and_then(Value::as_str) else {
        return;
    };
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let field =
        |line: &[&str], index: usize| line.get(index).copied().unwrap_or_default().to_owned();
    let mut places = BTreeMap::new();
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    for line in &lines {
        let target = field(line, 4);
        let before = count.entry(target.clone()).or_default();
        *before += 1;
        let place = match before {
            1 => target,
            n => format!("{target}#{n}"),
        };
        places.insert(field(line, 0), place);
    }
    // A device is named by the first place, in the order of names, where it is mounted.
    let mut devices: BTreeMap<String, String> = BTreeMap::new();
    let mut groups: BTreeMap<String, String> = BTreeMap::new();
    let mut sorted: Vec<&Vec<&str>> = lines.iter().collect();
    sorted.sort_by_key(|line| places.get(&field(line, 0)).cloned());
    for line in &sorted {
        let place = places.get(&field(line, 0)).cloned().unwrap_or_default();
        devices
            .entry(field(line, 2))
            .or_insert_with(|| place.clone());
        for word in line.iter().skip(6).take_while(|word| **word != "-") {
            if let Some((_, number)) = word.split_once(':') {
                groups
                    .entry(number.to_owned())
                    .or_insert_with(|| place.clone());
            }
        }
    }
    let parsed = kernel::mounts(text);
    let rows = lines.iter().zip(parsed).map(|(line, mount)| {
        let place = places.get(&field(line, 0)).cloned().unwrap_or_default();
        let propagation: Vec<String> = mount
            .propagation
            .iter()
            .map(|word| peers(word, &groups))
            .collect();
        (
            place,
            json!({
                "parent": places.get(&field(line, 1)).map_or("outside", String::as_str),
                "filesystem of": devices.get(&field(line, 2)),
                "root": mount.root,
                "options": sorted_list(mount.options),
                "propagation": propagation.join(","),
                "type": mount.kind,
                "source": mount.source,
                "filesystem options": sorted_list(mount.filesystem_options),
            }),
        )
    });
    let rows: Map<String, Value> = rows.collect();
    world.remove("mountinfo");
    world.insert("mounts".to_owned(), rows.into());
}

/// `shared:12` as the place of the first mount of that group; groups outside have no place.
fn peers(word: &str, groups: &BTreeMap<String, String>) -> String {
    match word.split_once(':') {
        Some((kind, number)) => {
            let place = groups.get(number).map_or("outside", String::as_str);
            format!("{kind} with {place}")
        }
        None => word.to_owned(),
    }
}

fn sorted_list(mut options: Vec<String>) -> String {
    options.sort();
    options.join(",")
}

/// Process ids as what they are to the process itself, where its pid namespace is the host's.
fn processes(world: &mut Map<String, Value>) {
    let session = world["session"].clone();
    let own = session["pid"].clone();
    let numbered = world["namespaces"]["pid"]
        .as_str()
        .is_some_and(|name| name.starts_with("a new"));
    let relation = |value: &Value| match value.as_i64() {
        Some(_) if *value == own => json!("the process itself"),
        Some(number) if number > 1 => json!("another process"),
        _ => value.clone(),
    };
    for name in ["session", "group", "parent"] {
        world["session"][name] = relation(&session[name]);
    }
    if numbered {
        return;
    }
    world["session"]["pid"] = "a number of the host".into();
    if let Some(status) = world.get_mut("status").filter(|status| status.is_object()) {
        status["PPid"] = "of the host".into();
        let levels = status["NSpid"]
            .as_str()
            .unwrap_or_default()
            .split_whitespace()
            .count();
        status["NSpid"] = format!("{levels} levels").into();
    }
}

/// What a hook wrote: JSON is the state, whose number of a process is replaced.
pub(crate) fn hook(text: &str) -> Value {
    let lines = text
        .lines()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(mut state)) => {
                if state
                    .get("pid")
                    .and_then(Value::as_i64)
                    .is_some_and(|pid| pid > 1)
                {
                    state.insert("pid".to_owned(), "a number".into());
                }
                Value::Object(state)
            }
            _ => line.into(),
        });
    let all: Map<String, Value> = lines
        .enumerate()
        .map(|(n, line)| (format!("{n:02}"), line))
        .collect();
    all.into()
}

/// Replaces parts of all strings and keys.
pub(crate) fn strings(value: &Value, pairs: &[(&str, &str)]) -> Value {
    let replaced = |text: &str| {
        pairs
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    match value {
        Value::String(text) => replaced(text).into(),
        Value::Array(list) => list.iter().map(|one| strings(one, pairs)).collect(),
        Value::Object(all) => {
            let all = all
                .iter()
                .map(|(key, one)| (replaced(key), strings(one, pairs)));
            Value::Object(all.collect())
        }
        _ => value.clone(),
    }
}
