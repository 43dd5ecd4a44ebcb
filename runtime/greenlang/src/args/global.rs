//! Options before the verb, which every verb shares.

use std::path::PathBuf;

use super::{Error, Flag, Given, switch, value};
use crate::log::{Format, Level};

/// Who sets the limits of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupManager {
    /// This program, in the cgroup file system.
    Cgroupfs,
    /// systemd, over D-Bus.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup.
    Disabled,
}

/// Whether the caller's lack of privileges is taken into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rootless {
    /// As the caller's uid says.
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

/// The options before the verb, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Global {
    /// Where the state of containers is kept, if it was said.
    pub(crate) root: Option<PathBuf>,
    /// The log file, if one was named.
    pub(crate) log: Option<PathBuf>,
    /// How log lines are written.
    pub(crate) log_format: Format,
    /// The least important level that is logged.
    pub(crate) log_level: Level,
    /// Who sets limits.
    pub(crate) cgroup_manager: CgroupManager,
    /// How privileges are judged.
    pub(crate) rootless: Rootless,
    /// The profile of containers that name none.
    pub(crate) profile: Option<String>,
    /// Whether only the version was asked for.
    pub(crate) wants_version: bool,
}

/// The table of options before the verb.
pub(crate) const FLAGS: &[Flag] = &[
    value(
        &["root"],
        "DIR",
        "keep the state of containers in DIR (default: /run/greenlang, or $XDG_RUNTIME_DIR/greenlang without root)",
    ),
    value(
        &["log"],
        "FILE",
        "append log lines to FILE instead of writing them to standard error",
    ),
    value(
        &["log-format"],
        "FORMAT",
        "write log lines as text (default) or json",
    ),
    value(
        &["log-level"],
        "LEVEL",
        "log at LEVEL and above: trace, debug, info (default), warn, error, fatal or panic",
    ),
    switch(&["debug"], "log everything, as --log-level debug"),
    switch(
        &["systemd-cgroup"],
        "let systemd set the limits, as --cgroup-manager systemd",
    ),
    value(
        &["cgroup-manager"],
        "NAME",
        "set limits by cgroupfs (default) or systemd, or keep cgroups disabled",
    ),
    value(
        &["rootless"],
        "CHOICE",
        "work without root's privileges: true, false or auto (default)",
    ),
    value(
        &["profile"],
        "NAME",
        "tighten containers by the profile NAME, unless their annotation dev.greenlang.profile names another",
    ),
    switch(&["version", "v"], "print the version and exit"),
];

impl Global {
    /// Understands the options before the verb.
    ///
    /// # Errors
    ///
    /// A value that is not in its list.
    pub(crate) fn read(given: &Given) -> Result<Self, Error> {
        let log_level = given.parsed(
            "log-level",
            "trace, debug, info, warn, error, fatal or panic",
            Level::parse,
        )?;
        let manager =
            given.parsed(
                "cgroup-manager",
                "cgroupfs, systemd or disabled",
                |text| match text {
                    "cgroupfs" => Some(CgroupManager::Cgroupfs),
                    "systemd" => Some(CgroupManager::Systemd),
                    "disabled" => Some(CgroupManager::Disabled),
                    _ => None,
                },
            )?;
        let systemd = given.switch("systemd-cgroup")?;
        if systemd && manager.is_some_and(|manager| manager != CgroupManager::Systemd) {
            return Err(Error::Excludes {
                flag: "systemd-cgroup",
                other: "another --cgroup-manager",
            });
        }
        Ok(Self {
            root: given.path("root"),
            log: given.path("log"),
            log_format: given
                .parsed("log-format", "text or json", Format::parse)?
                .unwrap_or(Format::Text),
            log_level: if given.switch("debug")? {
                Level::Debug
            } else {
                log_level.unwrap_or(Level::Info)
            },
            cgroup_manager: if systemd {
                CgroupManager::Systemd
            } else {
                manager.unwrap_or(CgroupManager::Cgroupfs)
            },
            rootless: given
                .parsed("rootless", "true, false or auto", |text| match text {
                    "auto" | "" => Some(Rootless::Auto),
                    text => super::bool_text::parse(text.as_ref())
                        .map(|yes| if yes { Rootless::Yes } else { Rootless::No }),
                })?
                .unwrap_or(Rootless::Auto),
            profile: given.text("profile")?,
            wants_version: given.switch("version")?,
        })
    }
}
