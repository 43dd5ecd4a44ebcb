//! `restore`: brings back what `checkpoint` saved. Not in this version; its options are read, so
//! that engines find out by asking.

use super::checkpoint::{
    CGROUPS_MODE, EMPTY_NS, EXT_UNIX_SK, FILE_LOCKS, IMAGE_PATH, LAZY_PAGES, SHELL_JOB,
    TCP_ESTABLISHED, WORK_PATH,
};
use super::launch::{BUNDLE, CONSOLE_SOCKET, NO_PIVOT, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS};
use crate::args::{Error, Given, Order, switch, value};
use crate::command::Page;

pub(crate) const PAGE: Page = Page {
    name: "restore",
    operands: "ID",
    about: "bring back the saved processes of a container (not in this version)",
    detail: "Not in this version: the command ends with an error. Its options are those that engines send.",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        PRESERVE_FDS,
        switch(&["detach", "d"], "do not wait for the container"),
        switch(
            &["no-subreaper"],
            "do not adopt processes whose parent in the container has ended",
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
pub(crate) struct Restore;

impl Restore {
    pub(crate) fn read(mut given: Given) -> Result<Self, Error> {
        given.container_id()?;
        given.end()?;
        Ok(Self)
    }
}
