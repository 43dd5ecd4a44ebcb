//! What `state` and `list` print about a container, and what its hooks read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ContainerId, Error, Timestamp};

/// Where a container is in its life.
///
/// # Spec
///
/// `runtime.md`, "State", and `paused` as every engine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` has not returned yet.
    Creating,
    /// Ready, and waiting for `start`.
    Created,
    /// The user's program runs.
    Running,
    /// All its processes are frozen.
    Paused,
    /// The first process has ended.
    Stopped,
}

impl Status {
    /// The word that engines read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            "creating" => Ok(Self::Creating),
            "created" => Ok(Self::Created),
            "running" => Ok(Self::Running),
            "paused" => Ok(Self::Paused),
            "stopped" => Ok(Self::Stopped),
            _ => Err(Error::Status {
                seen: word.to_owned(),
            }),
        }
    }
}

/// What is known about one container: the fields and their order as engines read them.
///
/// Annotations are sorted, so that the same container always prints the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateDocument {
    /// The version of runtime-spec that the container's config follows.
    pub oci_version: String,
    /// The container's id.
    pub id: ContainerId,
    /// Process id of the first process as the host sees it; 0 once it is stopped.
    pub pid: i32,
    /// Where the container is in its life.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// When it was created.
    pub created: Timestamp,
    /// The annotations of its config.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Name of the user who created it; empty if the host has no name for it.
    pub owner: String,
}

/// What a hook reads: the state of `runtime.md` and nothing else.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookState<'a> {
    oci_version: &'a str,
    id: &'a ContainerId,
    status: Status,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a PathBuf,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

impl StateDocument {
    /// The text that `state` prints, with a newline at its end.
    ///
    /// # Panics
    ///
    /// If the bundle's path is not UTF-8: `create` refuses such a bundle.
    pub fn to_pretty_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("paths in a state are UTF-8");
        text.push('\n');
        text
    }

    /// The bytes that a hook reads on its standard input.
    ///
    /// # Spec
    ///
    /// `config.md`, "POSIX-platform Hooks". Status is the moment's, which is why it is passed.
    ///
    /// # Panics
    ///
    /// If the bundle's path is not UTF-8: `create` refuses such a bundle.
    pub fn to_hook_json(&self, status: Status) -> Vec<u8> {
        serde_json::to_vec(&HookState {
            oci_version: &self.oci_version,
            id: &self.id,
            status,
            pid: if status == Status::Stopped {
                0
            } else {
                self.pid
            },
            bundle: &self.bundle,
            annotations: &self.annotations,
        })
        .expect("paths in a state are UTF-8")
    }

    /// The text that `list --format json` prints for all of `containers`: one line.
    ///
    /// # Panics
    ///
    /// If a bundle's path is not UTF-8: `create` refuses such a bundle.
    pub fn list_to_json(containers: &[Self]) -> String {
        let mut text = serde_json::to_string(containers).expect("paths in a state are UTF-8");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StateDocument {
        StateDocument {
            oci_version: "1.2.0".to_owned(),
            id: ContainerId::new("c1").unwrap(),
            pid: 42,
            status: Status::Running,
            bundle: PathBuf::from("/b"),
            rootfs: PathBuf::from("/b/rootfs"),
            created: "2024-01-02T03:04:05.6Z".parse().unwrap(),
            annotations: BTreeMap::new(),
            owner: String::new(),
        }
    }

    #[test]
    fn state_prints_the_fields_that_engines_read_in_their_order() {
        assert_eq!(
            sample().to_pretty_json(),
            r#"{
  "ociVersion": "1.2.0",
  "id": "c1",
  "pid": 42,
  "status": "running",
  "bundle": "/b",
  "rootfs": "/b/rootfs",
  "created": "2024-01-02T03:04:05.6Z",
  "owner": ""
}
"#
        );
    }

    #[test]
    fn state_is_read_back_with_its_annotations() {
        let mut state = sample();
        state.annotations.insert("a".to_owned(), "1".to_owned());
        let text = state.to_pretty_json();
        let back: StateDocument = serde_json::from_str(&text).unwrap();
        assert_eq!(back, state, "{text}");
    }

    #[test]
    fn list_of_none_is_an_empty_array() {
        assert_eq!(StateDocument::list_to_json(&[]), "[]\n");
    }

    #[test]
    fn hook_reads_the_specified_fields_only() {
        let state = sample();
        assert_eq!(
            String::from_utf8(state.to_hook_json(Status::Creating)).unwrap(),
            r#"{"ociVersion":"1.2.0","id":"c1","status":"creating","pid":42,"bundle":"/b"}"#
        );
        assert_eq!(
            String::from_utf8(state.to_hook_json(Status::Stopped)).unwrap(),
            r#"{"ociVersion":"1.2.0","id":"c1","status":"stopped","bundle":"/b"}"#
        );
    }

    #[test]
    fn status_words_are_read_back() {
        for status in [
            Status::Creating,
            Status::Created,
            Status::Running,
            Status::Paused,
            Status::Stopped,
        ] {
            assert_eq!(status.as_str().parse::<Status>().unwrap(), status);
            assert_eq!(
                serde_json::to_string(&status).unwrap(),
                format!("\"{status}\"")
            );
        }
        let err = "zombie".parse::<Status>().unwrap_err();
        assert_eq!(err.to_string(), r#"read container status "zombie""#);
    }
}
