//! Images as the root of sandboxes: unpacked into the caller's cache and kept there while they are used.

use std::path::{Path, PathBuf};

use gl_image::{Cache, Cached, ImageConfig, Options, Platform, Progress, Reference};
use gl_rootfs::Root as Tree;
use rustix::fs::{FileType, OFlags, Uid};
use rustix::io::Errno;

use crate::bundle::MOUNT_POINTS;
use crate::error::Error;
use crate::user::{self, User};

/// An image in the cache: what a worker needs to find it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// As the caller has named it.
    pub(crate) reference: String,
    /// Of its manifest, or of its config where the archive has no such manifest.
    pub(crate) digest: String,
    /// Whom its program runs as.
    pub(crate) user: User,
    cache: PathBuf,
    key: String,
}

/// An image that is unpacked. It is not removed from the cache while this value lives.
#[derive(Debug)]
pub struct Unpacked {
    image: Image,
    config: ImageConfig,
    cached: Cached,
}

/// Where the caller's images are kept.
///
/// # Errors
///
/// [`Error::Image`] if the caller has no directory for caches.
pub fn cache_root() -> Result<PathBuf, Error> {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    let (cache, home) = (set("XDG_CACHE_HOME"), set("HOME"));
    // Root of a user namespace of its own is no root.
    let user = Uid::from_raw(gl_launch::rootless::caller());
    Ok(gl_image::default_root(
        user,
        cache.as_deref(),
        home.as_deref(),
    )?)
}

/// Unpacks an image, or finds it unpacked. `reference` is a path of an OCI layout or of an archive, perhaps
/// with a tag or a digest; `tell` hears how far it has come.
///
/// # Errors
///
/// [`Error::Image`] for an image that is not there or is refused, [`Error::User`] for one whose user is not
/// known in it.
pub fn unpack(reference: &str, tell: &mut dyn FnMut(Progress)) -> Result<Unpacked, Error> {
    let mut options = Options::of_caller();
    let named = Reference::parse(reference)?;
    let opened = gl_image::Image::open(&named, &Platform::host(), &options.limits)?;
    let config = opened.config().clone();
    options.directories = MOUNT_POINTS.iter().map(PathBuf::from).collect();
    options
        .directories
        .push(gl_runsc::launcher::DIRECTORY.into());
    options.directories.extend(working_dir(&config));
    let cache = cache_root()?;
    let cached = Cache::open(&cache)?.unpack(&opened, &options, tell)?;
    let user = match &config.user {
        None => User::default(),
        Some(name) => user::find(name, &tree(&cached)?)?,
    };
    Ok(Unpacked {
        image: Image {
            reference: reference.to_owned(),
            digest: opened.digest().to_string(),
            user,
            cache,
            key: cached.key().to_owned(),
        },
        config,
        cached,
    })
}

/// The working directory that the image asks for, from the root.
fn working_dir(config: &ImageConfig) -> Option<PathBuf> {
    let dir = config.working_dir.as_ref()?;
    Some(Path::new("/").join(dir))
}

fn tree(cached: &Cached) -> Result<Tree, Error> {
    let root = cached.root().try_clone_to_owned();
    Ok(Tree::new(root.map_err(Error::io("open", cached.rootfs()))?))
}

impl Unpacked {
    /// What a sandbox is to run on.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The variables that the image sets, `NAME=value`.
    #[must_use]
    pub fn env(&self) -> &[String] {
        &self.config.env
    }

    /// The command: the image's entry point, and after it what is given, or what the image has for that
    /// place.
    #[must_use]
    pub fn command(&self, given: &[String]) -> Vec<String> {
        let rest = match given {
            [] => &self.config.cmd,
            given => given,
        };
        self.config.entrypoint.iter().chain(rest).cloned().collect()
    }

    /// The directory that its program begins in: the given one, or the image's.
    ///
    /// # Errors
    ///
    /// [`Error::Path`] for one that is not in the image: nobody may make it there.
    pub fn working_directory(&self, given: Option<&str>) -> Result<String, Error> {
        let Some(given) = given else {
            let own = working_dir(&self.config).unwrap_or_else(|| "/".into());
            // The config of an image is JSON, and so UTF-8.
            return Ok(own.to_string_lossy().into_owned());
        };
        let refused = |problem: &'static str| Error::Path {
            option: "--chdir".to_owned(),
            path: given.into(),
            problem: problem.into(),
        };
        let path = Path::new(given);
        if !path.is_absolute() {
            return Err(refused("it does not begin with a slash"));
        }
        // What is mounted there is empty, and takes a new directory.
        let goes_up = path.components().any(|one| one.as_os_str() == "..");
        let mounted = MOUNT_POINTS.iter().any(|point| path.starts_with(point));
        if mounted && !goes_up {
            return Ok(given.to_owned());
        }
        let found = tree(&self.cached)?.open(path, OFlags::PATH);
        let kind = found.and_then(|found| rustix::fs::fstat(&found));
        match kind.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) => Ok(given.to_owned()),
            Ok(_) => Err(refused("it is no directory of the image")),
            Err(Errno::NOENT) => Err(refused("the image has no such directory")),
            Err(errno) => Err(Error::file("open, in the image,", path)(errno)),
        }
    }
}

impl Image {
    /// Keeps it in the cache for this process as well.
    pub(crate) fn hold(&self) -> Result<Cached, Error> {
        Ok(Cache::open(&self.cache)?.hold(&self.key)?)
    }
}
