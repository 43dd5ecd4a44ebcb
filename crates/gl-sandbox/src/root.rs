//! What a sandbox runs on, and what the caller's process needs for it.

use std::path::{Path, PathBuf};

use gl_profile::Isolation;

use crate::bundle::Bundle;
use crate::error::Error;
use crate::image::Image;
use crate::report::OfImage;

/// What the root of a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A view of the host: what the profile shows of it.
    Host,
    /// A directory, read-only.
    Directory(PathBuf),
    /// An image that was unpacked, read-only.
    Image(Image),
    /// What the config of an OCI bundle says.
    Bundle(Bundle),
}

impl Root {
    /// The tier of a sandbox on this root, by its profile's isolation.
    #[must_use]
    pub fn tier(&self, isolation: Isolation) -> &'static str {
        match (isolation, self) {
            (Isolation::Gvisor, _) => "gvisor",
            (_, Self::Directory(_) | Self::Image(_) | Self::Bundle(_)) => "container",
            (Isolation::Basic, Self::Host) => "basic",
            (_, Self::Host) => "namespace",
        }
    }
}

impl Root {
    /// The image that it is, for the report.
    pub(crate) fn image(&self) -> Option<OfImage> {
        match self {
            Self::Image(image) => Some(OfImage {
                reference: image.reference.clone(),
                digest: image.digest.clone(),
            }),
            Self::Host | Self::Directory(_) | Self::Bundle(_) => None,
        }
    }
}

/// Whose files a sandbox will run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files<'a> {
    /// The host's, and in the tier `basic` where they are.
    Host(Isolation),
    /// Anybody's: those of a directory or of an image.
    Anybodys,
    /// Those that the bundle in this directory names.
    Bundle(&'a Path),
}

/// Makes sure that this process can run a sandbox; the program may begin anew in it, with the same arguments.
///
/// # Errors
///
/// [`Error::Container`] with what keeps it from that.
pub fn prepare(files: Files<'_>) -> Result<(), Error> {
    match files {
        // It stays where it is, and its program cannot write to ours.
        Files::Host(Isolation::Basic) => Ok(()),
        Files::Host(_) => Ok(gl_container::prepare_alone(crate::bundle::ids())?),
        Files::Anybodys => Ok(gl_container::prepare_ids()?),
        Files::Bundle(dir) => Ok(gl_container::prepare_create(dir, None)?),
    }
}
