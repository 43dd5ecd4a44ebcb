//! `restore`: brings back what `checkpoint` saved, in a container that is made anew.

use std::path::PathBuf;

use gl_container::{Accepted, CgroupMode, RestoreRequest};
use gl_spec::ContainerId;

use super::checkpoint::{
    CGROUPS_MODE, EMPTY_NS, EXT_UNIX_SK, FILE_LOCKS, IMAGE_PATH, LAZY_PAGES, SHELL_JOB,
    TCP_ESTABLISHED, WORK_PATH, accepted, cgroups_mode, empty_ns, image_path,
};
use super::launch::{
    BUNDLE, CONFIG, CONSOLE_SOCKET, Launch, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET,
    PRESERVE_FDS,
};
use crate::args::{self, Given, Order, switch, value};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

pub(crate) const PAGE: Page = Page {
    name: "restore",
    operands: "ID",
    about: "make a container with processes that were saved",
    detail: "Makes the container ID from its config as `create` does, and CRIU brings back its processes, which run on where they were saved. Without --detach it waits for them, as `run` does.",
    flags: &[
        BUNDLE,
        CONFIG,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        switch(&["detach", "d"], "do not wait for the container"),
        switch(
            &["no-subreaper"],
            "accepted for engines that send it: processes of the container are never adopted",
        ),
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        switch(&["tcp-close"], "restore TCP sockets as closed"),
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        CGROUPS_MODE,
        EMPTY_NS,
        switch(
            &["auto-dedup"],
            "drop pages of earlier images that are saved anew",
        ),
        LAZY_PAGES,
        value(
            &["lsm-profile"],
            "TYPE:NAME",
            "restore under this profile: apparmor:NAME or selinux:LABEL",
        ),
        value(
            &["lsm-mount-context"],
            "LABEL",
            "give mounts this SELinux label instead of the saved one",
        ),
    ],
    order: Order::Mixed,
};

/// A container to be brought back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Restore {
    /// Its id.
    pub(crate) id: ContainerId,
    /// How it is made.
    pub(crate) launch: Launch,
    images: PathBuf,
    work: Option<PathBuf>,
    accepted: Accepted,
    tcp_close: bool,
    cgroups: CgroupMode,
    lsm_profile: Option<String>,
    lsm_mount_context: Option<String>,
    detach: bool,
}

impl Restore {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        given.switch("no-subreaper")?;
        empty_ns(&given)?;
        let command = Self {
            launch: Launch::read(&given)?,
            images: image_path(&given),
            work: given.path("work-path"),
            accepted: accepted(&given)?,
            tcp_close: given.switch("tcp-close")?,
            cgroups: cgroups_mode(&given)?,
            lsm_profile: lsm_profile(&given)?,
            lsm_mount_context: given
                .text("lsm-mount-context")?
                .filter(|label| !label.is_empty()),
            detach: given.switch("detach")?,
            id: given.container_id()?,
        };
        given.end()?;
        Ok(command)
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        self.launch.prepare()?;
        let request = RestoreRequest {
            create: self.launch.request(context)?,
            images: self.images.clone(),
            work: self.work.clone(),
            accepted: self.accepted,
            tcp_close: self.tcp_close,
            cgroups: self.cgroups,
            lsm_profile: self.lsm_profile.clone(),
            lsm_mount_context: self.lsm_mount_context.clone(),
            detach: self.detach,
        };
        let store = context.store()?;
        let (outcome, warnings, failures) = gl_container::restore(&store, &self.id, &request)?;
        context.log.warnings(&warnings);
        for failure in failures {
            context.log.passed_over(&failure);
        }
        Ok(outcome.into())
    }
}

fn lsm_profile(given: &Given) -> Result<Option<String>, args::Error> {
    let value = given.parsed("lsm-profile", "apparmor:NAME or selinux:LABEL", |value| {
        let label = value
            .strip_prefix("apparmor:")
            .or_else(|| value.strip_prefix("selinux:"));
        let is_known = label.is_some_and(|label| !label.is_empty());
        (is_known || value.is_empty()).then(|| value.to_owned())
    })?;
    Ok(value.filter(|value| !value.is_empty()))
}
