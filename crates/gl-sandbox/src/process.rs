//! What a program starts with: its name in the world, its environment.

use gl_spec::ContainerId;

use crate::error::Error;

/// The variables that every program gets unless the caller says otherwise.
pub fn default_environment() -> Vec<String> {
    let mut env = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "HOME=/tmp".to_owned(),
        "TMPDIR=/tmp".to_owned(),
    ];
    // What a text looks like, and nothing about the caller.
    for name in ["LANG", "LC_ALL", "LC_CTYPE", "TZ"] {
        env.extend(
            std::env::var(name)
                .ok()
                .map(|value| format!("{name}={value}")),
        );
    }
    env
}

/// A new name for a sandbox: `gl-` and eight digits.
///
/// # Errors
///
/// [`Error::Host`] if the kernel has no random numbers.
pub fn id() -> Result<ContainerId, Error> {
    let mut bytes = [0_u8; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(Error::host("get a random number"))?;
    Ok(ContainerId::new(format!(
        "gl-{:08x}",
        u32::from_le_bytes(bytes)
    ))?)
}
