//! A profile to be written: its values with what was seen, and its text.

use std::fmt::Write as _;

use gl_profile::seccomp::Answers;
use gl_profile::{Format, Isolation, Layer, Profile};

use crate::error::Error;

/// The tiers that a recording can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// The host's own namespaces.
    Basic,
    /// Namespaces over a view of the host.
    Namespace,
}

impl Tier {
    /// The word of a profile.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Namespace => "namespace",
        }
    }

    /// The tier of a profile, if a recording can be for it.
    #[must_use]
    pub fn of(isolation: Isolation) -> Option<Self> {
        match isolation {
            Isolation::Basic => Some(Self::Basic),
            Isolation::Namespace => Some(Self::Namespace),
            _ => None,
        }
    }
}

/// A value, and what is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The value, without quotes.
    pub value: String,
    /// A comment of one line; empty for none.
    pub note: String,
}

impl Line {
    pub(crate) fn new(value: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            note: note.into(),
        }
    }
}

/// A number, and what was seen of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) value: u64,
    pub(crate) note: String,
}

/// What a program may use up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Wall clock, in seconds.
    pub(crate) timeout: Number,
    /// Bytes.
    pub(crate) memory: Number,
    /// Seconds.
    pub(crate) cpu: Number,
    pub(crate) files: Number,
    pub(crate) processes: Number,
    pub(crate) threads: Number,
}

/// A profile to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Comments at the beginning.
    pub(crate) head: Vec<String>,
    pub(crate) tier: Tier,
    /// Whether it runs without the layers that the host lacks; and why.
    pub(crate) degrade: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) network: bool,
    pub(crate) loopback: bool,
    /// Comments on the network.
    pub(crate) peers: Vec<String>,
    /// Whether something is made in a fresh temporary directory.
    pub(crate) temp: bool,
    pub(crate) read: Vec<Line>,
    pub(crate) written: Vec<Line>,
    /// Comments on paths.
    pub(crate) unlisted: Vec<String>,
    pub(crate) groups: Vec<Line>,
    pub(crate) deny_groups: Vec<String>,
    pub(crate) allow: Vec<Line>,
    /// Comments on calls.
    pub(crate) left_out: Vec<String>,
}

impl Draft {
    /// The name of the profile.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The calls that it allows, as `seccomp.allow` has them.
    #[must_use]
    pub fn calls(&self) -> &[Line] {
        &self.allow
    }

    /// How many paths it shows.
    #[must_use]
    pub fn paths(&self) -> usize {
        self.read.len() + self.written.len()
    }

    /// What it says of what it leaves out: calls, then paths.
    #[must_use]
    pub fn left_out(&self) -> (&[String], &[String]) {
        (&self.left_out, &self.unlisted)
    }

    /// Its text, as a file of TOML: the same for the same values.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = Text::default();
        out.comments(&self.head);
        out.line("version = 1");
        out.value("name", &quoted(&self.name), "");
        out.value("description", &quoted(&self.description), "");
        out.value("isolation", &quoted(self.tier.as_str()), "");
        out.value("mode", &quoted("enforcing"), "");
        match &self.degrade {
            Some(why) => out.value("on_missing", &quoted("degrade"), why),
            None => out.value("on_missing", &quoted("refuse"), ""),
        }
        let limits = &self.limits;
        out.number("execution_timeout", &limits.timeout);
        out.line("\n[limits]");
        out.value(
            "memory_limit_bytes",
            &bytes(limits.memory.value),
            &limits.memory.note,
        );
        out.number("cpu_time_limit_seconds", &limits.cpu);
        out.number("max_open_files", &limits.files);
        out.number("max_processes", &limits.processes);
        out.number("max_threads", &limits.threads);
        out.line("\n[network]");
        out.comments(&self.peers);
        out.value("allow_network", &self.network.to_string(), "");
        out.value("allow_loopback", &self.loopback.to_string(), "");
        out.line("\n[filesystem]");
        out.comments(&self.unlisted);
        if self.temp {
            out.value("create_temp_root", "true", "it makes files in /tmp");
        }
        out.list("read_only_paths", &self.read);
        if !self.written.is_empty() {
            out.list("read_write_paths", &self.written);
        }
        out.line("\n[process]\ncapabilities = []\nno_new_privileges = true");
        out.line("\n[seccomp]");
        out.comments(&self.left_out);
        out.value("default", &quoted("errno EPERM"), "");
        if !self.groups.is_empty() {
            out.list("groups", &self.groups);
        }
        let denied = self.deny_groups.iter().map(|name| Line::new(name, ""));
        out.list("deny_groups", &denied.collect::<Vec<_>>());
        out.list("allow", &self.allow);
        out.0
    }

    /// Makes sure that its text is a profile whose filter can be made.
    ///
    /// # Errors
    ///
    /// [`Error::Profile`] with the place in the text.
    pub fn check(&self) -> Result<Profile, Error> {
        let layer = Layer::parse(&self.name, &self.text(), Format::Toml)?;
        let profile = Profile::resolve(layer, &())?;
        Answers::new(&profile.seccomp, profile.mode.value)?;
        Ok(profile)
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn comments(&mut self, comments: &[String]) {
        for comment in comments {
            self.line(format!("# {}", tame(comment)).trim_end());
        }
    }

    fn value(&mut self, key: &str, value: &str, note: &str) {
        self.line(&noted(&format!("{key} = {value}"), note));
    }

    fn number(&mut self, key: &str, number: &Number) {
        self.value(key, &number.value.to_string(), &number.note);
    }

    fn list(&mut self, key: &str, items: &[Line]) {
        if items.iter().all(|item| item.note.is_empty()) && items.len() < 4 {
            let items: Vec<_> = items.iter().map(|item| quoted(&item.value)).collect();
            return self.value(key, &format!("[{}]", items.join(", ")), "");
        }
        self.line(&format!("{key} = ["));
        for item in items {
            let value = format!("    {},", quoted(&item.value));
            self.line(&noted(&value, &item.note));
        }
        self.line("]");
    }
}

fn noted(line: &str, note: &str) -> String {
    match note {
        "" => line.to_owned(),
        note => format!("{line} # {}", tame(note)),
    }
}

/// What a comment may hold.
fn tame(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                write!(out, "\\u{:04X}", u32::from(c)).expect("String write");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn bytes(number: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if number >> shift << shift == number && number >> shift > 0 {
            return quoted(&format!("{}{unit}", number >> shift));
        }
    }
    number.to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A draft of nothing.
    pub(crate) fn empty(name: &str) -> Draft {
        let number = |value| Number {
            value,
            note: String::new(),
        };
        Draft {
            name: name.to_owned(),
            description: "Recorded".to_owned(),
            head: Vec::new(),
            tier: Tier::Namespace,
            degrade: None,
            limits: Limits {
                timeout: number(30),
                memory: number(64 << 20),
                cpu: number(10),
                files: number(64),
                processes: number(4),
                threads: number(8),
            },
            network: false,
            loopback: false,
            peers: Vec::new(),
            temp: false,
            read: Vec::new(),
            written: Vec::new(),
            unlisted: Vec::new(),
            groups: Vec::new(),
            deny_groups: vec!["terminal-injection".to_owned()],
            allow: Vec::new(),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn text_is_a_profile_with_the_same_values() {
        let mut draft = empty("job");
        draft.head = vec!["two\nlines = 1".to_owned()];
        draft.read = vec![Line::new("/usr", ""), Line::new("/srv/a \"b\" \\c", "read")];
        draft.written = vec![Line::new("/srv/out", "")];
        draft.allow = vec![
            Line::new("read", ""),
            Line::new("openat@files-read", "3 times"),
        ];
        draft.temp = true;
        let profile = draft.check().unwrap();
        assert_eq!(profile.isolation.value, Isolation::Namespace);
        assert_eq!(profile.limits.memory_limit_bytes.value.0, 64 << 20);
        let read = profile.filesystem.read_only_paths.unwrap();
        let read: Vec<_> = read.items.iter().map(|item| item.value.as_str()).collect();
        assert_eq!(read, ["/usr", "/srv/a \"b\" \\c"]);
        let allow: Vec<_> = profile
            .seccomp
            .allow
            .iter()
            .map(|item| item.value.as_str())
            .collect();
        assert_eq!(allow, ["read", "openat@files-read"]);
        // Nothing comes along from anywhere else.
        assert_eq!(profile.seccomp.groups, []);
    }

    #[test]
    fn empty_lists_are_said() {
        let profile = empty("job").check().unwrap();
        let read = profile.filesystem.read_only_paths.unwrap();
        assert_eq!(read.items, []);
        assert_eq!(profile.filesystem.read_write_paths, None);
    }
}
