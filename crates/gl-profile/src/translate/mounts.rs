//! What the mounts of a config will be: an option wins over the type, a later word over an earlier one.

use std::path::Path;

use gl_spec::oci::Mount;

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Something of the host's.
    Bind,
    /// Other attributes for what is there.
    Remount,
    /// Files in memory.
    Tmpfs,
    /// The container's cgroups.
    Cgroup,
    /// A view of the kernel that stores nothing for long.
    View,
    /// Anything else.
    Other,
}

pub(super) fn what(mount: &Mount) -> What {
    let has = |names: &[&str]| words(mount).any(|word| names.contains(&word));
    match mount.typ().as_deref().unwrap_or_default() {
        _ if has(&["remount"]) => What::Remount,
        _ if has(&["bind", "rbind"]) => What::Bind,
        "" | "bind" | "none" => What::Bind,
        "tmpfs" => What::Tmpfs,
        "cgroup" | "cgroup2" => What::Cgroup,
        "proc" | "sysfs" | "devpts" | "mqueue" => What::View,
        _ => What::Other,
    }
}

/// Whether something can be written there, or below it.
pub(super) fn is_writable(mount: &Mount) -> bool {
    let last = |names: [&'static str; 2]| words(mount).filter(|word| names.contains(word)).last();
    match (last(["ro", "rw"]), last(["rro", "rrw"])) {
        (_, Some("rrw")) | (Some("rw"), _) | (None, None) => true,
        (Some(_), None) => words(mount).any(|word| word == "rbind"),
        (_, Some(_)) => false,
    }
}

/// Makes it read-only, with what is below it.
pub(super) fn make_read_only(mount: &mut Mount) {
    let deep = words(mount).any(|word| ["rbind", "rrw"].contains(&word));
    let mut options = mount.options().clone().unwrap_or_default();
    options.push("ro".to_owned());
    if deep {
        options.push("rro".to_owned());
    }
    mount.set_options(Some(options));
}

/// Whether it says read-only, if only of the mount itself.
pub(super) fn says_read_only(mount: &Mount) -> bool {
    let access = words(mount).filter(|word| ["ro", "rw"].contains(word));
    let deep = words(mount).any(|word| word == "rrw");
    access.last() == Some("ro") && !deep
}

/// Whether it is mounted below `path`.
pub(super) fn is_below(mount: &Mount, path: &str) -> bool {
    let whole = Path::new("/").join(mount.destination());
    whole.starts_with(path) && whole != Path::new(path)
}

fn words(mount: &Mount) -> impl Iterator<Item = &str> {
    let options = mount.options().as_deref().unwrap_or_default();
    options.iter().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(typ: &str, options: &[&str]) -> Mount {
        let mut mount = Mount::default();
        mount
            .set_typ(Some(typ.to_owned()))
            .set_options(Some(options.iter().map(|one| (*one).to_owned()).collect()));
        mount
    }

    #[test]
    fn later_words_and_those_for_all_below_decide() {
        for (options, want) in [
            (&[][..], true),
            (&["ro"], false),
            (&["ro", "rw"], true),
            (&["rw", "ro"], false),
            (&["rbind", "ro"], true),
            (&["rbind", "rro"], false),
            (&["rro", "rw"], true),
            (&["ro", "rro", "rrw"], true),
        ] {
            let mut one = mount("bind", options);
            assert_eq!(is_writable(&one), want, "{options:?}");
            make_read_only(&mut one);
            assert!(!is_writable(&one), "{options:?} -> {:?}", one.options());
        }
    }

    #[test]
    fn an_option_wins_over_the_type() {
        for (typ, options, want) in [
            ("tmpfs", &[][..], What::Tmpfs),
            ("tmpfs", &["rbind"], What::Bind),
            ("proc", &["bind"], What::Bind),
            ("tmpfs", &["remount", "rw"], What::Remount),
            ("overlay", &[], What::Other),
        ] {
            assert_eq!(what(&mount(typ, options)), want, "{typ} {options:?}");
        }
    }
}
