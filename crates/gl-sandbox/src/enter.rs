//! Another program in a sandbox that there is.

use gl_container::{ExecRequest, Paused};
use gl_spec::ContainerId;

use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::known::{State, over};
use crate::run::Terminal;

/// What is to be run in a sandbox that there is.
#[derive(Debug, Clone)]
pub struct More {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables beside those of the sandbox's own program, `NAME=value`.
    pub env: Vec<String>,
    /// Its working directory, if not that of the sandbox's own program.
    pub cwd: Option<String>,
    /// Whether it gets a terminal of its own.
    pub terminal: Terminal,
}

/// Runs another program in a sandbox, under the same profile; its status. The process may begin anew in it,
/// with the same arguments.
///
/// # Errors
///
/// [`Error::Unknown`], [`Error::Starting`], [`Error::Over`], [`Error::Tier`] for the tier `basic`, or what kept
/// it from running.
pub fn exec(id: &ContainerId, more: &More) -> Result<u8, Error> {
    let sandboxes = Sandboxes::open()?;
    let (_, known) = sandboxes.begun(id, "run in")?;
    if known.entry.tier == "basic" {
        return Err(Error::Tier {
            tier: "basic",
            problem: "it has no namespaces that another program could enter".into(),
            remedy: "start the sandbox with --tier namespace to enter it later",
        });
    }
    match known.state {
        State::Running => {}
        State::Starting => {
            return Err(Error::Starting {
                verb: "run in",
                id: id.as_str().to_owned(),
            });
        }
        State::Paused => {
            return Err(gl_container::Error::WrongStatus {
                verb: "exec in",
                id: id.as_str().to_owned(),
                status: gl_spec::Status::Paused,
            }
            .into());
        }
        State::Ending | State::Ended(_) | State::Died => return Err(over("run in", id)),
    }
    if sandboxes.container(id)?.is_none() {
        return Err(over("run in", id));
    }
    let store = sandboxes.into_store();
    let gone = |err| match err {
        gl_container::Error::NotRunning { .. } | gl_container::Error::Missing { .. } => {
            over("run in", id)
        }
        err => err.into(),
    };
    gl_container::prepare_exec(|| Ok(store), id).map_err(gone)?;
    let store = Sandboxes::open()?.into_store();
    let mut process = store.load(id).and_then(|one| one.process()).map_err(gone)?;
    process.set_args(Some(more.command.clone()));
    process.set_terminal(Some(more.terminal == Terminal::Yes));
    process.set_console_size(None);
    if let Some(cwd) = &more.cwd {
        process.set_cwd(cwd.into());
    }
    let mut env = process.env().clone().unwrap_or_default();
    for one in &more.env {
        let name = one.split_once('=').map_or(one.as_str(), |(name, _)| name);
        env.retain(|known| known.split_once('=').is_none_or(|(known, _)| known != name));
        env.push(one.clone());
    }
    process.set_env(Some(env));
    let request = ExecRequest {
        process,
        pid_file: None,
        console_socket: None,
        pidfd_socket: None,
        detach: false,
        preserve_fds: 0,
        paused: Paused::Refuse,
        sub_cgroups: Vec::new(),
    };
    match gl_container::exec(&store, id, &request).map_err(gone)? {
        gl_container::Outcome::Exited(status) => Ok(status),
        gl_container::Outcome::Detached => Ok(0),
    }
}
