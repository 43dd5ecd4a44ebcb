//! Security labels against the policy that is loaded, before anything is made.
//!
//! Whether a label can be used is the kernel's decision, and it is made when the label is written for
//! the execve. What can be asked earlier is asked here, so that a config with a label that is not
//! there is refused at create. Where the policy cannot be read, the kernel's word at start stands.

use std::collections::BTreeSet;

use gl_plan::{Plan, Process};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// The profiles that are loaded, one a line: `name (mode)`.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// Checks a context that is written to it, and gives it back as the kernel spells it.
const CONTEXT: &str = "/sys/fs/selinux/context";

/// Checks the labels of a process, as far as the policy can be read.
///
/// An `SELinux` context is replaced by the kernel's own spelling of it, which is what can be read
/// back: `c1,c2,c3` becomes `c1.c3`.
///
/// # Errors
///
/// [`Error::Profile`] if an `AppArmor` profile is not loaded, [`Error::Context`] if the `SELinux`
/// policy has no such context.
pub fn check_labels(process: &mut Process) -> Result<(), Error> {
    if let Some(label) = &process.apparmor {
        // Only root may read it, and it may not be mounted.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(PROFILES, flags, Mode::empty());
        if let Ok(loaded) = file.and_then(|file| read_to_end(&file)) {
            check_profile(label, &String::from_utf8_lossy(&loaded))?;
        }
    }
    if let Some(context) = &mut process.selinux {
        canonicalize("process.selinuxLabel", context)?;
    }
    Ok(())
}

/// Checks all labels of a plan: those of its process as [`check_labels`] does, and that of its mounts.
///
/// # Errors
///
/// As [`check_labels`].
pub fn check_plan_labels(plan: &mut Plan) -> Result<(), Error> {
    check_labels(&mut plan.process)?;
    match &mut plan.mount_label {
        Some(context) => canonicalize("linux.mountLabel", context),
        None => Ok(()),
    }
}

/// Replaces an `SELinux` context by the kernel's spelling of it, where selinuxfs may be used.
fn canonicalize(field: &'static str, context: &mut String) -> Result<(), Error> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(CONTEXT, flags, Mode::empty()) else {
        return Ok(());
    };
    let refused = |source| Error::Context {
        field,
        context: context.clone(),
        source,
    };
    match rustix::io::write(&file, context.as_bytes()) {
        Ok(_) => {}
        // The caller's own context may not ask; the kernel is asked again with the label itself.
        Err(Errno::ACCESS) => return Ok(()),
        Err(errno) => return Err(refused(errno)),
    }
    let mut seen = [0; 4096];
    let len = rustix::io::read(&file, &mut seen).map_err(&refused)?;
    let seen = seen.get(..len).unwrap_or_default();
    let seen = seen.strip_suffix(b"\0").unwrap_or(seen);
    let spelled = std::str::from_utf8(seen).map_err(|_err| refused(Errno::ILSEQ))?;
    spelled.clone_into(context);
    Ok(())
}

fn read_to_end(file: &std::os::fd::OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    let mut part = [0; 16384];
    loop {
        match rustix::io::read(file, &mut part) {
            Ok(0) => return Ok(all),
            Ok(len) => all.extend_from_slice(part.get(..len).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Looks for every profile of a label: `a`, `:namespace:a`, `a//&b`, `&a` (on top of the caller's).
fn check_profile(label: &str, loaded: &str) -> Result<(), Error> {
    let stacked = label.strip_prefix('&').unwrap_or(label);
    for profile in stacked.split("//&") {
        let wanted = Name::parse(profile);
        let mut names = loaded.lines().map(|line| {
            let name = line.rsplit_once(" (").map_or(line, |(name, _)| name);
            Name::parse(name)
        });
        // Of another namespace the list says nothing if that is empty.
        if !wanted.is_default() && !names.any(|name| name == wanted) {
            return Err(Error::Profile {
                profile: profile.to_owned(),
            });
        }
    }
    Ok(())
}

/// Whether a profile that the kernel shows is the one that was written.
///
/// The kernel shows a stack sorted, each profile once, without `unconfined`, which adds nothing to
/// it, and with `(mode)` at the end. A label on top of the caller's (`&a`) has the caller's in it.
pub(crate) fn shows_profile(seen: &str, wanted: &str) -> bool {
    let seen = seen.rsplit_once(" (").map_or(seen, |(names, _)| names);
    let on_top = wanted.strip_prefix('&');
    let seen = shown(seen);
    let wanted = confining(on_top.unwrap_or(wanted));
    match on_top {
        Some(_) => wanted.is_subset(&seen),
        None => wanted == seen,
    }
}

/// The profiles of a stack that confine; none if all are `unconfined`.
fn confining(stack: &str) -> BTreeSet<Name<'_>> {
    let names = stack.split("//&").map(Name::parse);
    names.filter(|name| !name.is_default()).collect()
}

/// [`confining`] of what the kernel shows: of neighbours in one namespace it names that with the first.
fn shown(stack: &str) -> BTreeSet<Name<'_>> {
    let mut namespace = "";
    let names = stack.split("//&").map(|text| {
        let mut name = Name::parse(text);
        match text.starts_with(':') {
            true => namespace = name.namespace,
            false => name.namespace = namespace,
        }
        name
    });
    names.filter(|name| !name.is_default()).collect()
}

/// A profile and the policy namespace that it is in, from the reader's.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a> {
    namespace: &'a str,
    profile: &'a str,
}

impl<'a> Name<'a> {
    /// Whether it is the profile that every namespace has, which confines nothing and is not listed.
    fn is_default(&self) -> bool {
        self.profile == "unconfined" || self.profile.is_empty() && !self.namespace.is_empty()
    }

    /// Reads `name`, `:namespace:name` or `:namespace://name`.
    fn parse(text: &'a str) -> Self {
        match text.strip_prefix(':').and_then(|rest| rest.split_once(':')) {
            Some((namespace, profile)) => Self {
                namespace,
                profile: profile.strip_prefix("//").unwrap_or(profile),
            },
            None => Self {
                namespace: "",
                profile: text,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADED: &str = "docker-default (enforce)\nsnap name (complain)\nparent (enforce)\n\
                          parent//child (enforce)\n:guest://inner (enforce)\n:a//b://deep (kill)\n";

    #[test]
    fn profiles_are_found_in_the_list() {
        for label in [
            "docker-default",
            "snap name",
            "parent//child",
            ":guest:inner",
            ":guest://inner",
            ":a//b:deep",
            "unconfined",
            ":guest:unconfined",
            ":guest:",
            "&docker-default",
            "docker-default//&parent//child",
            "parent//&:guest:inner",
        ] {
            assert!(check_profile(label, LOADED).is_ok(), "{label}");
        }
    }

    #[test]
    fn stack_is_recognised_in_the_order_of_the_kernel() {
        for (seen, wanted, want) in [
            ("a", "a", true),
            ("a (enforce)", "a", true),
            ("snap name (complain)", "snap name", true),
            ("a2 (enforce)", "a", false),
            ("a//&b (enforce)", "a//&b", true),
            ("d//&:n:a//&b (enforce)", "d//&:n:b//&:n:a", true),
            ("d//&:n:a//&b (enforce)", "b//&d//&:n:a", false),
            ("a//&b (enforce)", "b//&a//&b", true),
            ("a//&b (mixed)", "a//&:guest:b", false),
            ("a//&:guest://b (enforce)", ":guest:b//&a", true),
            ("a (enforce)", "a//&unconfined", true),
            ("a (enforce)", "a//&b", false),
            ("a//&b (enforce)", "a", false),
            ("a (enforce)", "&a", true),
            ("a//&caller (enforce)", "&a", true),
            ("caller (enforce)", "&a", false),
            ("unconfined", "unconfined", true),
            ("unconfined", "a", false),
            ("a (enforce)", "unconfined", false),
            ("", "a", false),
        ] {
            assert_eq!(shows_profile(seen, wanted), want, "{seen:?} {wanted:?}");
        }
    }

    #[test]
    fn what_is_not_loaded_is_refused_by_its_name() {
        for (label, missing) in [
            ("docker", "docker"),
            ("docker-default (enforce)", "docker-default (enforce)"),
            ("docker-default ", "docker-default "),
            ("inner", "inner"),
            (":guest:docker-default", ":guest:docker-default"),
            ("docker-default//&nothing", "nothing"),
            ("docker-default//&", ""),
            ("&", ""),
            ("unconfined\nexec parent", "unconfined\nexec parent"),
        ] {
            let err = check_profile(label, LOADED).unwrap_err();
            assert_eq!(
                err.to_string(),
                format!("use process.apparmorProfile: the profile {missing:?} is not loaded")
            );
        }
    }
}
