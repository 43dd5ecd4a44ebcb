//! `hooks`: programs of the host, or of the container, around its life.

use super::field;
use crate::error::invalid;
use crate::{Error, Problem, oci};

pub(super) fn check(hooks: &oci::Hooks) -> Result<(), Error> {
    for (name, hooks) in [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ] {
        for (i, hook) in hooks.iter().flatten().enumerate() {
            one(&format!("hooks.{name}[{i}]"), hook)?;
        }
    }
    Ok(())
}

fn one(field: &str, hook: &oci::Hook) -> Result<(), Error> {
    field::absolute_path(&format!("{field}.path"), hook.path())?;
    for (i, arg) in hook.args().iter().flatten().enumerate() {
        field::no_nul(&format!("{field}.args[{i}]"), arg)?;
    }
    if let Some(env) = hook.env() {
        field::environment(&format!("{field}.env"), env)?;
    }
    match hook.timeout() {
        Some(seen) if seen <= 0 => Err(invalid(
            format!("{field}.timeout"),
            Problem::Range {
                seen: seen.into(),
                min: 1,
                max: i64::MAX.into(),
            },
        )),
        _ => Ok(()),
    }
}
