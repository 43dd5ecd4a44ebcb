//! The AppArmor profile of one container, as text for `apparmor_parser`.
//!
//! Everything is allowed that the other layers decide on, and what they must never let through is
//! denied once more: `deny` in AppArmor wins over every allowance.

use std::fmt::Write as _;

use crate::value::Mode;

/// What a container's AppArmor profile depends on.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The name of the profile, in letters, digits, `_`, `.`, `+` and `-`.
    pub name: &'a str,
    /// Whether what is denied is only logged.
    pub mode: Mode,
    /// Paths that are denied with all below them, absolute.
    pub blocked_paths: &'a [String],
    /// Whether there is a network beyond loopback.
    pub network: Access,
}

/// Whether something is allowed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is, as other layers say.
    Allowed,
    /// It is not.
    Denied,
}

/// What no container reads: keys and tokens of people, the engines' sockets, systemd.
const SECRETS: &[&str] = &[
    "/{root,home/*}/.ssh/**",
    "/{root,home/*}/.aws/**",
    "/{root,home/*}/.gnupg/**",
    "/{root,home/*}/.kube/**",
    "/{root,home/*}/.docker/**",
    "/{root,home/*}/.azure/**",
    "/{root,home/*}/.config/gcloud/**",
    "/{,var/}run/docker.sock",
    "/{,var/}run/podman/podman.sock",
    "/{,var/}run/containerd/containerd.sock",
    "/{,var/}run/crio/crio.sock",
    "/{,var/}run/systemd/**",
];

/// Writes the profile.
pub fn profile(rules: &Rules<'_>) -> String {
    let mut out = String::from("abi <abi/3.0>,\n\n");
    let complain = match rules.mode {
        Mode::Enforcing => "",
        Mode::Permissive => ",complain",
    };
    line(
        &mut out,
        format_args!(
            "profile {} flags=(attach_disconnected,mediate_deleted{complain}) {{",
            rules.name
        ),
    );
    for allowed in [
        "file",
        "capability",
        "unix",
        "network unix",
        "network netlink",
    ] {
        line(&mut out, format_args!("  {allowed},"));
    }
    if rules.network == Access::Allowed {
        for family in ["inet", "inet6"] {
            for kind in ["stream", "dgram"] {
                line(&mut out, format_args!("  network {family} {kind},"));
            }
        }
    }
    for denied in [
        "mount",
        "umount",
        "pivot_root",
        "ptrace",
        "network raw",
        "network packet",
    ] {
        line(&mut out, format_args!("  deny {denied},"));
    }
    // Whoever is not confined may signal us: the engine stops its containers so.
    line(
        &mut out,
        format_args!("  signal (receive) peer=unconfined,"),
    );
    line(
        &mut out,
        format_args!("  signal (send,receive) peer={},", rules.name),
    );
    line(&mut out, format_args!("  deny /proc/sys/** wklx,"));
    line(
        &mut out,
        format_args!("  deny /proc/{{kcore,kmem,mem,sysrq-trigger}} rwklx,"),
    );
    line(&mut out, format_args!("  deny /sys/** wklx,"));
    for secret in SECRETS {
        line(&mut out, format_args!("  deny {secret} rwklx,"));
    }
    for path in rules.blocked_paths {
        let path = quoted(path.trim_end_matches('/'));
        line(&mut out, format_args!("  deny \"{path}{{,/**}}\" rwklx,"));
    }
    out.push_str("}\n");
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    out.write_fmt(text).expect("String write");
    out.push('\n');
}

/// A path without the characters that mean something in a rule.
fn quoted(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if r#"\"*?[]{}^@"#.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules<'_> = Rules {
        name: "greenlang-x",
        mode: Mode::Enforcing,
        blocked_paths: &[],
        network: Access::Denied,
    };

    #[test]
    fn complain_is_the_flag_of_permissive() {
        let rules = Rules {
            mode: Mode::Permissive,
            ..RULES
        };
        let head = "profile greenlang-x flags=(attach_disconnected,mediate_deleted,complain) {";
        assert!(profile(&rules).contains(head), "{}", profile(&rules));
    }

    #[test]
    fn network_is_there_where_it_is_allowed() {
        let rules = Rules {
            network: Access::Allowed,
            ..RULES
        };
        for (text, want) in [(profile(&RULES), false), (profile(&rules), true)] {
            assert_eq!(text.contains("  network inet stream,\n"), want, "{text}");
        }
    }

    #[test]
    fn characters_of_the_language_in_a_path_are_escaped() {
        let blocked = ["/da\"ta*/{x}/".to_owned()];
        let text = profile(&Rules {
            blocked_paths: &blocked,
            ..RULES
        });
        let want = r#"  deny "/da\"ta\*/\{x\}{,/**}" rwklx,"#;
        assert!(text.lines().any(|line| line == want), "{text}");
    }
}
