//! Sockets that a service manager opened for the container: `LISTEN_FDS`, `sd_listen_fds(3)`.

use std::ffi::OsStr;

/// The sockets from descriptor 3 on that were meant for this process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// How many.
    pub(crate) count: u32,
    /// What the container's process is to find in its environment.
    pub(crate) env: Vec<String>,
}

/// Finds the sockets that were handed to this process.
pub(crate) fn inherited() -> Inherited {
    let var = |name| std::env::var_os(name);
    decide(
        var("LISTEN_FDS").as_deref(),
        var("LISTEN_PID").as_deref(),
        std::process::id(),
    )
}

fn decide(fds: Option<&OsStr>, pid: Option<&OsStr>, own_pid: u32) -> Inherited {
    let number = |text: Option<&OsStr>| text?.to_str()?.parse::<u32>().ok();
    match (number(fds), number(pid)) {
        (Some(count), Some(pid)) if count > 0 && pid == own_pid => Inherited {
            count,
            // In its own PID namespace the container's first process is 1.
            env: vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()],
        },
        _ => Inherited::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_taken_only_if_they_are_ours() {
        for (fds, pid, want) in [
            (Some("2"), Some("7"), 2),
            (Some("2"), Some("8"), 0),
            (Some("2"), None, 0),
            (None, Some("7"), 0),
            (Some("0"), Some("7"), 0),
            (Some("-1"), Some("7"), 0),
            (Some("x"), Some("7"), 0),
        ] {
            let got = decide(fds.map(OsStr::new), pid.map(OsStr::new), 7);
            assert_eq!(got.count, want, "{fds:?} {pid:?}");
            assert_eq!(got.env.is_empty(), want == 0, "{got:?}");
        }
    }

    #[test]
    fn the_container_finds_its_sockets() {
        let got = decide(Some(OsStr::new("3")), Some(OsStr::new("7")), 7);
        assert_eq!(got.env, ["LISTEN_FDS=3", "LISTEN_PID=1"]);
    }
}
