//! The lines of a profile as they come true in a sandbox of `gl run`, where that is something else than in a
//! container that an engine asks for.

use std::path::Path;

use gl_profile::translate::{Effect, Step};
use gl_profile::{BindMount, FilesystemPolicy, Origin};

use super::line;
use crate::report::{Applied, Layer};
use crate::root::Root;
use crate::run::Request;

/// What there is to be known of a sandbox.
#[derive(Debug)]
pub(crate) struct Told {
    tier: &'static str,
    /// Of a view of the host.
    files: Option<FilesystemPolicy>,
    /// Whether the config says which namespaces there are.
    by_config: bool,
}

impl Told {
    pub(crate) fn of(request: &Request) -> Self {
        let profile = &request.profile;
        Self {
            tier: request.root.tier(profile.isolation.value),
            files: (request.root == Root::Host).then(|| profile.filesystem.clone()),
            by_config: matches!(request.root, Root::Bundle(_)),
        }
    }

    /// The lines that a step becomes.
    pub(crate) fn lines(&self, step: &Step) -> Vec<Layer> {
        let own = |how: String| Layer {
            applied: Applied::Yes,
            how,
            ..line(step)
        };
        let key = step.origin.key.as_ref();
        match (step.layer, &step.effect) {
            ("namespaces", _) if is(key, "isolation", "--tier") && !self.by_config => {
                vec![own(format!("tier {}", self.tier))]
            }
            ("supervisor", Effect::Applied) if is(key, "limits.max_processes", "--pids") => {
                vec![self.counted(line(step))]
            }
            ("cgroup" | "rlimit", Effect::Applied)
                if is(key, "limits.max_threads", "--threads") =>
            {
                vec![self.counted(line(step))]
            }
            ("mounts", Effect::Elsewhere(_)) => match &self.files {
                Some(files) => in_view(files, step).unwrap_or_else(|| vec![line(step)]),
                None => vec![line(step)],
            },
            _ => vec![line(step)],
        }
    }

    /// The first process is not the program's, but counts.
    fn counted(&self, mut line: Layer) -> Layer {
        if self.tier != "gvisor" {
            line.how
                .push_str(", the sandbox's own first one among them");
        }
        line
    }

    /// What the sandbox shows at another place than the host.
    pub(crate) fn bound(&self) -> Vec<Layer> {
        let files = self.files.iter();
        let all = files.flat_map(|files| &files.bind_mounts);
        let all = all.flat_map(|list| &list.items);
        all.map(|item| shown(&item.origin, bind(&item.value)))
            .collect()
    }
}

fn is(key: &str, word: &str, option: &str) -> bool {
    key == word || key == option
}

/// The paths of a step that speaks of the host, as a view shows them.
fn in_view(files: &FilesystemPolicy, step: &Step) -> Option<Vec<Layer>> {
    if let Some(list) = &files.read_only_paths
        && list.origin == step.origin
    {
        let line = |item: &gl_profile::Setting<gl_profile::AbsolutePath>| {
            let path = item.value.as_path();
            match std::fs::symlink_metadata(path) {
                Ok(_) => shown(
                    &item.origin,
                    format!("{} of the host, read-only", path.display()),
                ),
                Err(_) => Layer {
                    applied: Applied::Elsewhere,
                    ..shown(&item.origin, format!("the host has no {}", path.display()))
                },
            }
        };
        return Some(list.items.iter().map(line).collect());
    }
    let blocked = files.blocked_paths.iter();
    let blocked = blocked.filter(|item| item.origin == step.origin);
    let mut blocked = blocked.filter(|item| item.value.as_path() == Path::new(&step.setting));
    let path = blocked.next()?.value.as_path();
    let how = format!("{} of the host is not to be seen", path.display());
    Some(vec![shown(&step.origin, how)])
}

fn bind(mount: &BindMount) -> String {
    let access = match mount.read_only {
        true => "read-only",
        false => "writable",
    };
    let (source, target) = (mount.source.as_str(), mount.target.as_str());
    format!("{source} of the host at {target}, {access}")
}

fn shown(origin: &Origin, how: String) -> Layer {
    Layer {
        layer: "mounts".to_owned(),
        requested: origin.key.clone().into_owned(),
        origin: origin.to_string(),
        applied: Applied::Yes,
        how,
    }
}
