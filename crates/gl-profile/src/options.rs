//! The words of a command line, as the layer over all others, and whether they loosen what is below.

use std::borrow::Cow;
use std::sync::Arc;

use crate::decode::Reader;
use crate::environment::node;
use crate::error::Error;
use crate::layer::Layer;
use crate::node::{Kind, Member, Node};
use crate::profile::Profile;
use crate::resolve::{Source, Start};
use crate::value::{
    AbsolutePath, BindMount, Bytes, Count, Isolation, List, Mode, OnMissing, Setting, SourceKind,
    Value,
};

/// The options that are settings of a profile: name and, for messages, the key.
pub const OPTIONS: &[(&str, &str)] = &[
    ("--tier", "isolation"),
    ("--level", "level"),
    ("--mode", "mode"),
    ("--on-missing", "on_missing"),
    ("--timeout", "execution_timeout"),
    ("--setup-timeout", "setup_timeout"),
    ("--memory", "limits.memory_limit_bytes"),
    ("--virtual-memory", "limits.virtual_memory_limit_bytes"),
    ("--cpu-time", "limits.cpu_time_limit_seconds"),
    ("--cpus", "limits.cpu_percent_limit"),
    ("--files", "limits.max_open_files"),
    ("--file-size", "limits.max_file_size_bytes"),
    ("--pids", "limits.max_processes"),
    ("--threads", "limits.max_threads"),
    ("--disk", "limits.disk_quota_bytes"),
    ("--net", "network.allow_network"),
    ("--ro", "filesystem.read_only_paths"),
    ("--rw", "filesystem.read_write_paths"),
    ("--bind", "filesystem.bind_mounts"),
    ("--hide", "filesystem.blocked_paths"),
];

/// Options of a command line, each with its value, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(Vec<(&'static str, String)>);

/// Something that options allow and the profile does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loosened {
    /// The option.
    pub option: &'static str,
    /// What the profile says.
    pub from: String,
    /// What the option says.
    pub to: String,
}

impl Options {
    /// Adds an option, one of [`OPTIONS`].
    pub fn push(&mut self, option: &'static str, value: String) {
        self.0.push((option, value));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Resolves a profile with these options over it, and says what they loosen.
    ///
    /// # Errors
    ///
    /// As [`Profile::resolve`], and [`Error::Value`] with the name of an option whose value does not fit.
    pub fn resolve(
        &self,
        base: Option<Layer>,
        start: impl Into<Start>,
        source: &dyn Source,
    ) -> Result<(Profile, Vec<Loosened>), Error> {
        let start = start.into();
        if self.is_empty() {
            return Ok((Profile::resolve_over(base, start, source)?, Vec::new()));
        }
        let before = Profile::resolve_over(base.clone(), start.clone(), source)?;
        let top = self.layer(&before)?;
        let after = Profile::resolve_between(base, start, Some(top), source)?;
        let loosened = loosened(&before, &after);
        Ok((after, loosened))
    }

    fn layer(&self, below: &Profile) -> Result<Layer, Error> {
        let file: Arc<str> = Arc::from("command line");
        let reader = Reader {
            file: &file,
            kind: SourceKind::Option,
        };
        let mut layer = Layer::named(below.name.clone());
        for (option, value) in &self.0 {
            take(&mut layer, &reader, option, value)?;
        }
        let paths = &below.filesystem;
        let files = &mut layer.filesystem;
        put_below(&mut files.read_only_paths, paths.read_only_paths.as_ref());
        put_below(&mut files.read_write_paths, paths.read_write_paths.as_ref());
        put_below(&mut files.bind_mounts, paths.bind_mounts.as_ref());
        Ok(layer)
    }
}

/// An option adds to a list, and does not replace it.
fn put_below<T: Clone + PartialEq>(list: &mut Option<List<T>>, below: Option<&List<T>>) {
    if let (Some(list), Some(below)) = (list, below) {
        let new = std::mem::take(&mut list.items);
        list.items.clone_from(&below.items);
        for item in new {
            if list.items.iter().all(|known| known.value != item.value) {
                list.items.push(item);
            }
        }
    }
}

fn take(
    layer: &mut Layer,
    reader: &Reader<'_>,
    option: &'static str,
    text: &str,
) -> Result<(), Error> {
    let node = node(text);
    let general = &mut layer.general;
    let limits = &mut layer.limits;
    match option {
        "--tier" => general.isolation = Some(reader.value(option, &node)?),
        "--level" => general.level = Some(reader.value(option, &node)?),
        "--mode" => general.mode = Some(reader.value(option, &node)?),
        "--on-missing" => general.on_missing = Some(reader.value(option, &node)?),
        "--timeout" => general.execution_timeout = Some(reader.value(option, &node)?),
        "--setup-timeout" => general.setup_timeout = Some(reader.value(option, &node)?),
        "--memory" => limits.memory_limit_bytes = Some(reader.value(option, &node)?),
        "--virtual-memory" => {
            limits.virtual_memory_limit_bytes = Some(reader.value(option, &node)?);
        }
        "--cpu-time" => limits.cpu_time_limit_seconds = Some(reader.value(option, &node)?),
        "--cpus" => limits.cpu_percent_limit = Some(cpus(reader, option, &node, text)?),
        "--files" => limits.max_open_files = Some(reader.value(option, &node)?),
        "--file-size" => limits.max_file_size_bytes = Some(reader.value(option, &node)?),
        "--pids" => limits.max_processes = Some(reader.value(option, &node)?),
        "--threads" => limits.max_threads = Some(reader.value(option, &node)?),
        "--disk" => limits.disk_quota_bytes = Some(reader.value(option, &node)?),
        "--net" => {
            let value = match text {
                "on" | "host" => true,
                "off" | "none" => false,
                _ => return Err(reader.mismatch(option, &node, "on or off")),
            };
            let origin = reader.origin(0, Cow::Borrowed(option));
            layer.network.allow_network = Some(Setting { value, origin });
        }
        "--ro" => {
            add::<AbsolutePath>(&mut layer.filesystem.read_only_paths, reader, option, &node)?;
        }
        "--rw" => add::<AbsolutePath>(
            &mut layer.filesystem.read_write_paths,
            reader,
            option,
            &node,
        )?,
        "--bind" => add::<BindMount>(
            &mut layer.filesystem.bind_mounts,
            reader,
            option,
            &bind(text),
        )?,
        "--hide" => {
            add::<AbsolutePath>(&mut layer.filesystem.blocked_paths, reader, option, &node)?;
        }
        _ => return Err(reader.mismatch(option, &node, "an option that is a setting")),
    }
    Ok(())
}

fn add<T: Value>(
    list: &mut Option<List<T>>,
    reader: &Reader<'_>,
    option: &'static str,
    node: &Node,
) -> Result<(), Error> {
    let item = reader.value(option, node)?;
    let list = list.get_or_insert_with(|| List {
        items: Vec::new(),
        origin: reader.origin(0, Cow::Borrowed(option)),
    });
    list.items.push(item);
    Ok(())
}

/// `HOST`, `HOST:INSIDE` or `HOST:INSIDE:rw`, as the table that a profile has.
fn bind(text: &str) -> Node {
    let (paths, access) = match text.rsplit_once(':') {
        Some((paths, word @ ("ro" | "rw"))) => (paths, word),
        _ => (text, "ro"),
    };
    let (source, target) = paths.split_once(':').unwrap_or((paths, paths));
    let member = |key: &str, kind| Member {
        key: key.to_owned(),
        line: 0,
        value: Node { line: 0, kind },
    };
    let text = |text: &str| Kind::Text(text.to_owned());
    let members = vec![
        member("source", text(source)),
        member("target", text(target)),
        member("read_only", Kind::Bool(access == "ro")),
    ];
    Node {
        line: 0,
        kind: Kind::Table(members),
    }
}

/// A number of CPUs, such as 0.5.
fn cpus(
    reader: &Reader<'_>,
    option: &'static str,
    node: &Node,
    text: &str,
) -> Result<Setting<Count>, Error> {
    let wrong = || {
        reader.mismatch(
            option,
            node,
            "a number of CPUs with at most two decimals, such as 0.5",
        )
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() > 5 || part.len() > 2 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let percent = format!("{whole}{part:0<2}").parse::<u32>().unwrap_or(0);
    if percent == 0 {
        return Err(wrong());
    }
    Ok(Setting {
        value: Count(percent),
        origin: reader.origin(0, Cow::Borrowed(option)),
    })
}

fn loosened(before: &Profile, after: &Profile) -> Vec<Loosened> {
    let mut out = Vec::new();
    let mut note = |option, from: String, to: String| out.push(Loosened { option, from, to });
    let tier = |one: &Profile| match one.isolation.value {
        Isolation::Basic => 0,
        Isolation::Namespace => 1,
        Isolation::Container => 2,
        Isolation::Gvisor => 3,
    };
    if tier(after) < tier(before) {
        let word = |one: &Profile| one.isolation.value.as_str().to_owned();
        note("--tier", word(before), word(after));
    }
    if before.mode.value == Mode::Enforcing && after.mode.value == Mode::Permissive {
        note("--mode", "enforcing".to_owned(), "permissive".to_owned());
    }
    if before.on_missing.value == OnMissing::Refuse && after.on_missing.value == OnMissing::Degrade
    {
        note("--on-missing", "refuse".to_owned(), "degrade".to_owned());
    }
    if after.network.allow_network.value && !before.network.allow_network.value {
        note("--net", "off".to_owned(), "on".to_owned());
    }
    numbers(before, after, &mut note);
    paths(before, after, &mut note);
    out
}

fn numbers(before: &Profile, after: &Profile, note: &mut impl FnMut(&'static str, String, String)) {
    let count = |one: &Setting<Count>| Some(u64::from(one.value.0));
    let bytes = |one: &Option<Setting<Bytes>>| one.as_ref().map(|one| one.value.0);
    let (a, b) = (&before.limits, &after.limits);
    let seconds = |one: &Setting<std::time::Duration>| Some(one.value.as_secs());
    let percent = |one: &Option<Setting<Count>>| one.as_ref().map(|one| u64::from(one.value.0));
    for (option, from, to) in [
        (
            "--timeout",
            seconds(&before.execution_timeout),
            seconds(&after.execution_timeout),
        ),
        (
            "--cpu-time",
            seconds(&a.cpu_time_limit_seconds),
            seconds(&b.cpu_time_limit_seconds),
        ),
        (
            "--memory",
            Some(a.memory_limit_bytes.value.0),
            Some(b.memory_limit_bytes.value.0),
        ),
        (
            "--virtual-memory",
            bytes(&a.virtual_memory_limit_bytes),
            bytes(&b.virtual_memory_limit_bytes),
        ),
        (
            "--file-size",
            bytes(&a.max_file_size_bytes),
            bytes(&b.max_file_size_bytes),
        ),
        (
            "--disk",
            bytes(&a.disk_quota_bytes),
            bytes(&b.disk_quota_bytes),
        ),
        (
            "--cpus",
            percent(&a.cpu_percent_limit),
            percent(&b.cpu_percent_limit),
        ),
        (
            "--files",
            count(&a.max_open_files),
            count(&b.max_open_files),
        ),
        ("--pids", count(&a.max_processes), count(&b.max_processes)),
        ("--threads", count(&a.max_threads), count(&b.max_threads)),
    ] {
        // No limit at all allows most.
        if let Some(from) = from
            && to.is_none_or(|to| to > from)
        {
            let to = to.map_or_else(|| "none".to_owned(), |to| to.to_string());
            note(option, from.to_string(), to);
        }
    }
}

fn paths(before: &Profile, after: &Profile, note: &mut impl FnMut(&'static str, String, String)) {
    let list = |list: &Option<List<AbsolutePath>>| -> Vec<String> {
        let items = list.iter().flat_map(|list| &list.items);
        items.map(|item| item.value.as_str().to_owned()).collect()
    };
    let (a, b) = (&before.filesystem, &after.filesystem);
    for (option, from, to) in [
        ("--ro", list(&a.read_only_paths), list(&b.read_only_paths)),
        ("--rw", list(&a.read_write_paths), list(&b.read_write_paths)),
    ] {
        for path in to.into_iter().filter(|path| !from.contains(path)) {
            note(option, "not shown".to_owned(), path);
        }
    }
    let binds = |list: &Option<List<BindMount>>| -> Vec<BindMount> {
        let items = list.iter().flat_map(|list| &list.items);
        items.map(|item| item.value.clone()).collect()
    };
    let known = binds(&a.bind_mounts);
    for bind in binds(&b.bind_mounts) {
        if !known.contains(&bind) {
            note(
                "--bind",
                "not shown".to_owned(),
                bind.source.as_str().to_owned(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(options: &[(&'static str, &str)]) -> Result<(Profile, Vec<Loosened>), Error> {
        let mut all = Options::default();
        for (option, value) in options {
            all.push(option, (*value).to_owned());
        }
        all.resolve(None, "default", &())
    }

    #[test]
    fn tighter_values_are_taken_and_loosen_nothing() {
        let (profile, loosened) =
            resolve(&[("--memory", "64MiB"), ("--cpus", "0.5"), ("--hide", "/srv")]).unwrap();
        assert_eq!(profile.limits.memory_limit_bytes.value.0, 64 << 20);
        assert_eq!(
            profile.limits.cpu_percent_limit.as_ref().unwrap().value.0,
            50
        );
        assert!(
            profile
                .filesystem
                .blocked_paths
                .iter()
                .any(|one| one.value.as_str() == "/srv")
        );
        assert_eq!(loosened, []);
        assert_eq!(profile.name.value.as_str(), "default");
        assert_eq!(
            profile.limits.memory_limit_bytes.origin.to_string(),
            "command line: --memory"
        );
    }

    #[test]
    fn everything_looser_is_named() {
        let (_, loosened) = resolve(&[
            ("--memory", "2GiB"),
            ("--net", "on"),
            ("--rw", "/srv"),
            ("--bind", "/a:/b"),
            ("--mode", "permissive"),
            ("--tier", "basic"),
        ])
        .unwrap();
        let named: Vec<_> = loosened.iter().map(|one| one.option).collect();
        assert_eq!(
            named,
            ["--tier", "--mode", "--net", "--memory", "--rw", "--bind"]
        );
    }

    #[test]
    fn an_option_adds_to_a_list() {
        let (profile, _) = resolve(&[("--ro", "/srv")]).unwrap();
        let list = profile.filesystem.read_only_paths.unwrap();
        let shown: Vec<_> = list.items.iter().map(|item| item.value.as_str()).collect();
        assert_eq!(shown, ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/srv"]);
    }

    #[test]
    fn values_that_do_not_fit_are_named_by_their_option() {
        for (option, value) in [
            ("--memory", "0"),
            ("--memory", "lots"),
            ("--cpus", "0"),
            ("--cpus", "1.555"),
            ("--net", "maybe"),
            ("--ro", "relative"),
            ("--timeout", "-1"),
        ] {
            let err = resolve(&[(option, value)]).unwrap_err().to_string();
            assert!(err.contains(option), "{option} {value}: {err}");
        }
    }
}
