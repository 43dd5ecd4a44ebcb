//! The hooks of a container's life: `hooks`.

use std::path::PathBuf;
use std::time::Duration;

use gl_spec::oci;

/// One program to run at a point of the container's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The config field, such as `hooks.prestart[0]`.
    pub field: String,
    /// Absolute path; of the host, but for `startContainer`.
    pub path: PathBuf,
    /// `argv`, the name first.
    pub args: Vec<String>,
    /// The whole environment, `NAME=value`.
    pub env: Vec<String>,
    /// How long it may take.
    pub timeout: Option<Duration>,
}

/// All hooks, each list in the order to run in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// In the runtime's namespaces, after the namespaces are made, before the root is changed.
    /// The deprecated `prestart` list, then `createRuntime`.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root is changed; paths are the host's.
    pub create_container: Vec<Hook>,
    /// In the container, as its user's program is about to start; paths are the container's.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the user's program has started.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after the container is deleted.
    pub poststop: Vec<Hook>,
}

pub(crate) fn build(hooks: Option<&oci::Hooks>) -> Hooks {
    let Some(hooks) = hooks else {
        return Hooks::default();
    };
    let prestart = hooks.prestart();
    let mut create_runtime = list("prestart", prestart.as_deref());
    create_runtime.extend(list("createRuntime", hooks.create_runtime().as_deref()));
    Hooks {
        create_runtime,
        create_container: list("createContainer", hooks.create_container().as_deref()),
        start_container: list("startContainer", hooks.start_container().as_deref()),
        poststart: list("poststart", hooks.poststart().as_deref()),
        poststop: list("poststop", hooks.poststop().as_deref()),
    }
}

fn list(name: &str, hooks: Option<&[oci::Hook]>) -> Vec<Hook> {
    let hooks = hooks.unwrap_or_default().iter().enumerate();
    hooks
        .map(|(index, hook)| {
            let path = hook.path().clone();
            let args = hook.args().clone().unwrap_or_default();
            Hook {
                field: format!("hooks.{name}[{index}]"),
                args: if args.is_empty() {
                    vec![path.to_string_lossy().into_owned()]
                } else {
                    args
                },
                path,
                env: hook.env().clone().unwrap_or_default(),
                timeout: hook
                    .timeout()
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .map(Duration::from_secs),
            }
        })
        .collect()
}
