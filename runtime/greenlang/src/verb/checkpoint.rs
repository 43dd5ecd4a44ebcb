//! `checkpoint`: saves the processes of a container through CRIU.

use std::path::PathBuf;

use gl_container::{Accepted, After, CgroupMode, CheckpointRequest, Extent, PageServer};
use gl_spec::ContainerId;

use crate::args::{self, Flag, Given, Order, switch, value};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

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
    about: "save the processes of a container",
    detail: "Saves the container ID through CRIU, ends its processes and deletes it: `restore` makes it anew with the same processes. With --leave-running or --pre-dump it runs on.",
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
pub(crate) struct Checkpoint {
    /// Its id.
    pub(crate) id: ContainerId,
    /// How.
    pub(crate) request: CheckpointRequest,
}

impl Checkpoint {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        empty_ns(&given)?;
        let request = CheckpointRequest {
            images: image_path(&given),
            work: given.path("work-path"),
            parent: given.path("parent-path"),
            after: match given.switch("leave-running")? {
                true => After::Run,
                false => After::End,
            },
            extent: match given.switch("pre-dump")? {
                true => Extent::Memory,
                false => Extent::Whole,
            },
            accepted: accepted(&given)?,
            tcp_skip_in_flight: given.switch("tcp-skip-in-flight")?,
            link_remap: given.switch("link-remap")?,
            cgroups: cgroups_mode(&given)?,
            page_server: page_server(&given)?,
            status_fd: given.number("status-fd")?,
        };
        let command = Self {
            id: given.container_id()?,
            request,
        };
        given.end()?;
        Ok(command)
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        let failures = gl_container::checkpoint(&context.store()?, &self.id, &self.request)?;
        for failure in failures {
            context.log.passed_over(&failure);
        }
        Ok(Outcome::Done)
    }
}

/// Where the images are.
pub(crate) fn image_path(given: &Given) -> PathBuf {
    given
        .path("image-path")
        .unwrap_or_else(|| PathBuf::from("checkpoint"))
}

/// What CRIU is to accept.
///
/// # Errors
///
/// A switch with a value that is none.
pub(crate) fn accepted(given: &Given) -> Result<Accepted, args::Error> {
    Ok(Accepted {
        tcp_established: given.switch("tcp-established")?,
        ext_unix_sk: given.switch("ext-unix-sk")?,
        shell_job: given.switch("shell-job")?,
        file_locks: given.switch("file-locks")?,
        auto_dedup: given.switch("auto-dedup")?,
        lazy_pages: given.switch("lazy-pages")?,
    })
}

/// How cgroups are treated.
///
/// # Errors
///
/// A word that is none of the modes.
pub(crate) fn cgroups_mode(given: &Given) -> Result<CgroupMode, args::Error> {
    let wanted = "soft, full, strict or ignore";
    let mode = given.parsed("manage-cgroups-mode", wanted, |mode| {
        Some(match mode {
            "" => CgroupMode::Default,
            "soft" => CgroupMode::Soft,
            "full" => CgroupMode::Full,
            "strict" => CgroupMode::Strict,
            "ignore" => CgroupMode::Ignore,
            _ => return None,
        })
    })?;
    Ok(mode.unwrap_or_default())
}

/// Refuses namespaces whose content cannot be left out. That of a new network namespace always is: networks
/// are the engine's.
///
/// # Errors
///
/// Another namespace.
pub(crate) fn empty_ns(given: &Given) -> Result<(), args::Error> {
    let known = |kind: &str| matches!(kind, "" | "network").then_some(());
    given.parsed("empty-ns", "network", known).map(drop)
}

fn page_server(given: &Given) -> Result<Option<PageServer>, args::Error> {
    given.parsed("page-server", "HOST:PORT", |value| {
        let (host, port) = value.rsplit_once(':')?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| PageServer {
            host: host.to_owned(),
            port,
        })
    })
}
