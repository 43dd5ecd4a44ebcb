//! What a program runs on, by the options that name it, and what that says about its process.

use std::path::Path;

use gl_profile::Isolation;
use gl_sandbox::{Bundle, Files, Loosening, Root, Unpacked};

use crate::cli;
use crate::error::Error;
use crate::image::Shown;

/// What the options name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Nothing: a view of the host.
    Host,
    Directory(&'a Path),
    Image(&'a str),
    Bundle(&'a Path),
}

/// The same, found and read. An image is kept in the cache while this value lives.
pub(super) enum Ground {
    Host,
    Directory(Root),
    Image(Box<Unpacked>),
    Bundle(Box<Bundle>),
}

/// The tiers whose sandboxes have no root of their own, as `--tier` takes them.
const OF_HOST: [&str; 3] = ["basic", "namespace", "chroot"];

fn usage(what: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::Usage {
        what: what.into(),
        problem: problem.into().into(),
    }
}

impl<'a> Wanted<'a> {
    /// Reads the options, and refuses those that contradict each other.
    pub(super) fn of(options: &'a cli::Run) -> Result<Self, Error> {
        let directory = options.rootfs.as_deref().map(Self::Directory);
        let image = options.image.as_deref().map(Self::Image);
        let bundle = options.bundle.as_deref().map(Self::Bundle);
        let named: Vec<Self> = [directory, image, bundle].into_iter().flatten().collect();
        let wanted = match named.as_slice() {
            [] => Self::Host,
            [one] => *one,
            [one, other, ..] => {
                return Err(usage(
                    format!("{} and {}", one.option(), other.option()),
                    "a program runs on one of them",
                ));
            }
        };
        let tier = options.settings.tier.as_deref();
        match (wanted, tier) {
            (Self::Host, Some(tier @ ("container" | "gvisor"))) => Err(needs_files(tier)),
            (Self::Host, _) => Ok(wanted),
            (_, Some(tier)) if OF_HOST.contains(&tier) => Err(usage(
                format!("--tier {tier} and {}", wanted.option()),
                "that tier has no files but the host's: choose container or gvisor, or leave one out",
            )),
            _ => Ok(wanted),
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Host => "COMMAND",
            Self::Directory(_) => "--rootfs",
            Self::Image(_) => "--image",
            Self::Bundle(_) => "--bundle",
        }
    }

    /// Whose files they are.
    pub(super) fn files(self, isolation: Isolation) -> Result<Files<'a>, Error> {
        match (self, isolation) {
            (Self::Host, Isolation::Container | Isolation::Gvisor) => {
                Err(needs_files(isolation.as_str()))
            }
            (Self::Host, isolation) => Ok(Files::Host(isolation)),
            (Self::Directory(_) | Self::Image(_), _) => Ok(Files::Anybodys),
            (Self::Bundle(dir), _) => Ok(Files::Bundle(dir)),
        }
    }

    /// Finds it; an image is unpacked.
    pub(super) fn open(self) -> Result<Ground, Error> {
        Ok(match self {
            Self::Host => Ground::Host,
            Self::Directory(dir) => Ground::Directory(Root::Directory(dir.to_owned())),
            Self::Image(reference) => {
                let mut shown = Shown::new(reference);
                let unpacked = gl_sandbox::unpack(reference, &mut |progress| shown.show(progress));
                shown.end();
                Ground::Image(Box::new(unpacked?))
            }
            Self::Bundle(dir) => Ground::Bundle(Box::new(Bundle::open(dir)?)),
        })
    }
}

fn needs_files(tier: &str) -> Error {
    usage(
        format!("--tier {tier}"),
        "it needs the files of a container: --rootfs DIR, --image IMAGE or --bundle DIR",
    )
}

impl Ground {
    /// The root of the sandbox.
    pub(super) fn root(&self) -> Root {
        match self {
            Self::Host => Root::Host,
            Self::Directory(root) => root.clone(),
            Self::Image(unpacked) => Root::Image(unpacked.image().clone()),
            Self::Bundle(bundle) => Root::Bundle(bundle.as_ref().clone()),
        }
    }

    /// What it allows beyond any profile.
    pub(super) fn loosens(&self) -> Vec<Loosening> {
        match self {
            Self::Bundle(bundle) => bundle.loosens(),
            Self::Host | Self::Directory(_) | Self::Image(_) => Vec::new(),
        }
    }

    /// The program and its arguments.
    pub(super) fn command(&self, given: &[String]) -> Result<Vec<String>, Error> {
        let (command, missing) = match self {
            Self::Host | Self::Directory(_) => {
                (given.to_vec(), "there is no program to run: -- PROGRAM")
            }
            Self::Image(unpacked) => (
                unpacked.command(given),
                "there is no program to run, and --image has none in its config: -- PROGRAM",
            ),
            Self::Bundle(bundle) if given.is_empty() => (
                bundle.args(),
                "there is no program to run, and --bundle has none in process.args: -- PROGRAM",
            ),
            Self::Bundle(_) => (given.to_vec(), ""),
        };
        match command.is_empty() {
            true => Err(usage("COMMAND", missing)),
            false => Ok(command),
        }
    }

    /// The variables to begin with, and those of an image.
    pub(super) fn environment(&self) -> (Vec<String>, &[String]) {
        match self {
            Self::Host | Self::Directory(_) => (gl_sandbox::default_environment(), &[]),
            Self::Image(unpacked) => (gl_sandbox::default_environment(), unpacked.env()),
            Self::Bundle(bundle) => (bundle.env(), &[]),
        }
    }

    /// The directory that it begins in, where that is known by now.
    pub(super) fn working_directory(&self, given: Option<&str>) -> Result<Option<String>, Error> {
        match self {
            Self::Host | Self::Directory(_) | Self::Bundle(_) => Ok(given.map(str::to_owned)),
            Self::Image(unpacked) => Ok(Some(unpacked.working_directory(given)?)),
        }
    }
}
