//! `spec`: writes a config.json to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use gl_spec::{Rootless, default_spec};

use crate::args::{self, Given, Order, switch};
use crate::command::Page;
use crate::error::Error;
use crate::json;

use super::launch::BUNDLE;

pub(crate) const PAGE: Page = Page {
    name: "spec",
    operands: "",
    about: "write a config.json to start from",
    detail: "The container that it describes runs sh from the directory rootfs of the bundle, read-only, with a terminal and few privileges. An existing config.json is kept.",
    flags: &[
        BUNDLE,
        switch(
            &["rootless"],
            "write one that the calling user can run without root's privileges",
        ),
    ],
    order: Order::Mixed,
};

/// A config.json to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The bundle it is written to.
    pub(crate) bundle: PathBuf,
    /// Whether it is for the calling user.
    pub(crate) rootless: bool,
}

impl Spec {
    pub(crate) fn read(given: Given) -> Result<Self, args::Error> {
        let command = Self {
            bundle: given.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
            rootless: given.switch("rootless")?,
        };
        given.end()?;
        Ok(command)
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// It is there already, or cannot be written.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let rootless = if self.rootless {
            Rootless::Yes {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            }
        } else {
            Rootless::No
        };
        let text = json::spread(&gl_spec::write(&default_spec(rootless)), "\t");
        let path = self.bundle.join("config.json");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| Error::WriteConfig { path, source })
    }
}
