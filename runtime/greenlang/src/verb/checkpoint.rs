//! `checkpoint`: saves the processes of a container. Not in this version; its options are read, so
//! that engines find out by asking.

use crate::args::{Error, Flag, Given, Order, switch, value};
use crate::command::Page;

/// Where the saved processes are.
pub(crate) const IMAGE_PATH: Flag = value(
    &["image-path"],
    "DIR",
    "the directory of the saved processes (default: checkpoint)",
);
/// Where CRIU works.
pub(crate) const WORK_PATH: Flag = value(
    &["work-path"],
    "DIR",
    "the directory for logs and working files of CRIU",
);
/// What to do about open TCP connections.
pub(crate) const TCP_ESTABLISHED: Flag = switch(
    &["tcp-established"],
    "accept open TCP connections and keep them",
);
/// What to do about unix sockets.
pub(crate) const EXT_UNIX_SK: Flag = switch(
    &["ext-unix-sk"],
    "accept unix sockets that lead out of the container",
);
/// What to do about a terminal of the host.
pub(crate) const SHELL_JOB: Flag = switch(
    &["shell-job"],
    "accept a terminal that is not the container's",
);
/// What to do about file locks.
pub(crate) const FILE_LOCKS: Flag = switch(&["file-locks"], "save and restore file locks");
/// How cgroups are treated.
pub(crate) const CGROUPS_MODE: Flag = value(
    &["manage-cgroups-mode"],
    "MODE",
    "treat cgroups as soft (default), full, strict or ignore says",
);
/// Namespaces whose content is left out.
pub(crate) const EMPTY_NS: Flag = value(
    &["empty-ns"],
    "NAMESPACE",
    "make the namespace, but leave its content to others",
);
/// Pages on demand.
pub(crate) const LAZY_PAGES: Flag = switch(
    &["lazy-pages"],
    "transfer pages of memory only when they are needed",
);

pub(crate) const PAGE: Page = Page {
    name: "checkpoint",
    operands: "ID",
    about: "save the processes of a container (not in this version)",
    detail: "Not in this version: the command ends with an error. Its options are those that engines send.",
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        value(
            &["parent-path"],
            "DIR",
            "the directory of an earlier --pre-dump, relative to --image-path",
        ),
        switch(&["leave-running"], "let the container run on"),
        TCP_ESTABLISHED,
        switch(
            &["tcp-skip-in-flight"],
            "leave out TCP connections that are not established yet",
        ),
        switch(
            &["link-remap"],
            "link files that were deleted and are still open",
        ),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        value(
            &["status-fd"],
            "N",
            "write a NUL byte to descriptor N when --lazy-pages is ready",
        ),
        value(
            &["page-server"],
            "HOST:PORT",
            "send memory to a page server instead of writing it",
        ),
        FILE_LOCKS,
        switch(
            &["pre-dump"],
            "save the memory only, and let the container run on",
        ),
        CGROUPS_MODE,
        EMPTY_NS,
        switch(
            &["auto-dedup"],
            "drop pages of earlier images that are saved anew",
        ),
    ],
    order: Order::Mixed,
};

/// A container to be saved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint;

impl Checkpoint {
    pub(crate) fn read(mut given: Given) -> Result<Self, Error> {
        given.container_id()?;
        given.end()?;
        Ok(Self)
    }
}
