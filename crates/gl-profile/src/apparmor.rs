//! The AppArmor profile of one container, as text for `apparmor_parser`.
//!
//! Everything is allowed that the other layers decide on, and what they must never let through is
//! denied once more: `deny` in AppArmor wins over every allowance.

use std::fmt::Write as _;

use crate::value::Mode;

/// What a container's AppArmor profile depends on.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The name of the profile, in letters, digits, `_`, `.`, `+` and `-`, with a namespace: `:a:b`.
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

/// What no container does.
const DENIED: &[&str] = &[
    "mount",
    "umount",
    "pivot_root",
    "ptrace",
    "network raw",
    "network packet",
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
    // A `deny` holds in complain mode as well, so there is none: what is not allowed is logged, and of the
    // files, all of which are, an `audit` logs those that would be denied.
    let files = match rules.mode {
        Mode::Enforcing => {
            for denied in DENIED {
                line(&mut out, format_args!("  deny {denied},"));
            }
            "deny"
        }
        Mode::Permissive => "audit",
    };
    let all = match rules.mode {
        Mode::Enforcing => "rwklx",
        // To allow `x` takes a word on the profile after it.
        Mode::Permissive => "rwkl",
    };
    match rules.name.starts_with(':') {
        // In a namespace of its own a profile sees no processes but those of its container.
        true => line(&mut out, format_args!("  signal,")),
        // Whoever is not confined may signal us: the engine stops its containers so.
        false => line(
            &mut out,
            format_args!(
                "  signal (receive) peer=unconfined,\n  signal (send,receive) peer={},",
                rules.name
            ),
        ),
    }
    line(
        &mut out,
        format_args!("  {files} /{{proc/sys,sys}}/** wkl,"),
    );
    line(
        &mut out,
        format_args!("  {files} /proc/{{kcore,kmem,mem,sysrq-trigger}} {all},"),
    );
    for secret in SECRETS {
        line(&mut out, format_args!("  {files} {secret} {all},"));
    }
    for path in rules.blocked_paths {
        let path = quoted(path.trim_end_matches('/'));
        line(
            &mut out,
            format_args!("  {files} \"{path}{{,/**}}\" {all},"),
        );
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
        name: ":greenlang-x:y",
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
        let head = "profile :greenlang-x:y flags=(attach_disconnected,mediate_deleted,complain) {";
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
