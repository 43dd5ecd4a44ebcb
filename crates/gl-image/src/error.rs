//! Why an image could not be read or unpacked.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use gl_spec::{Class, Classify};

use crate::digest::Digest;

/// Why an image could not be read, unpacked or cached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No file or directory has that name, with or without a tag behind it.
    #[error("find an image at {text}: there is no such file or directory")]
    NotFound {
        /// What was asked for.
        text: String,
    },
    /// A digest to select by is none.
    #[error("select an image by {text:?}: it is not sha256: and 64 hexadecimal digits")]
    Selection {
        /// What was given.
        text: String,
    },
    /// The file or directory could not be read.
    #[error("read {}", path.display())]
    Open {
        /// The image's file or directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file or directory holds no image of a known form.
    #[error("read {} as an image", path.display())]
    NotImage {
        /// The image's file or directory.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },
    /// No image in it has the tag or digest.
    #[error("find {wanted} in {}: it holds {}", path.display(), listed(known))]
    NoSuch {
        /// The image's file or directory.
        path: PathBuf,
        /// The tag or digest.
        wanted: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// There are several images, and nothing says which.
    #[error("choose an image of {}: it holds {}", path.display(), listed(known))]
    Ambiguous {
        /// The image's file or directory.
        path: PathBuf,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The image is made for other machines.
    #[error("find {wanted} in {}: it is for {}", path.display(), listed(known))]
    OtherPlatform {
        /// The image's file or directory.
        path: PathBuf,
        /// The platform that was asked for.
        wanted: String,
        /// The platforms that there are.
        known: Vec<String>,
    },
    /// A document or blob of the image is missing, broken, or not what its digest says.
    #[error("read {what} of {}", path.display())]
    Part {
        /// Such as `index.json` or `layer 2 (sha256:…)`.
        what: String,
        /// The image's file or directory.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },
    /// An entry of a layer was refused or could not be made.
    #[error("unpack {entry} of layer {layer} ({digest})")]
    Entry {
        /// The entry's name, bytes that are no text spelled out.
        entry: String,
        /// The layer, from 1.
        layer: usize,
        /// The layer's `diff_id`.
        digest: Box<Digest>,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },
    /// The directory for caches of a user without one.
    #[error("find the image cache: neither XDG_CACHE_HOME nor HOME is an absolute path")]
    NoHome,
    /// The cache's directory is not the caller's alone.
    #[error("use the image cache {}: {fault}", path.display())]
    CacheUnsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        fault: CacheFault,
    },
    /// Something in the cache or at the target could not be read or changed.
    #[error("{doing} {}", path.display())]
    Cache {
        /// The verb, such as `make`.
        doing: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The target of an unpacking has something in it.
    #[error("unpack to {}: it is there and is not an empty directory", path.display())]
    Occupied {
        /// The target.
        path: PathBuf,
    },
}

/// What is wrong with a directory of caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheFault {
    /// A file or a symbolic link.
    #[error("it is not a directory")]
    NotDirectory,
    /// Another user's.
    #[error("it belongs to another user")]
    Owner,
    /// Others may enter it.
    #[error("its mode lets others in")]
    Mode,
}

/// What is wrong with a part of an image, or with an entry of a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A file or blob that is named is not there.
    #[error("it is missing")]
    Missing,
    /// Neither `oci-layout` nor `manifest.json` is there.
    #[error("it has neither oci-layout nor manifest.json")]
    NoForm,
    /// `imageLayoutVersion` is not 1.0.0.
    #[error("image layout version {version:?} is not known")]
    LayoutVersion {
        /// What is there.
        version: String,
    },
    /// A document that is not the JSON that it should be.
    #[error("it does not hold what it should")]
    Json {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A document that could be read in two ways.
    #[error("it is a manifest and an index at once")]
    TwoDocuments,
    /// A media type that differs from the one by which it was named.
    #[error("it was named as {wanted} but calls itself {found}")]
    MediaTypes {
        /// The descriptor's.
        wanted: String,
        /// The document's own.
        found: String,
    },
    /// A media type that is not unpacked.
    #[error("media type {media_type:?} is not supported")]
    MediaType {
        /// The type.
        media_type: String,
    },
    /// Indexes in indexes, deeper than any real image.
    #[error("indexes are nested too deeply")]
    Nesting,
    /// A digest of an algorithm other than SHA-256.
    #[error("digest {text:?} is not sha256: and 64 hexadecimal digits")]
    DigestForm {
        /// What is there.
        text: String,
    },
    /// The content is not what was named.
    #[error("its digest is {found}, not {wanted}")]
    Digest {
        /// What was named.
        wanted: Box<Digest>,
        /// What was computed.
        found: Box<Digest>,
    },
    /// The content does not have the size that was named.
    #[error("it has {found} bytes, not {wanted}")]
    Size {
        /// What was named.
        wanted: u64,
        /// What was found.
        found: u64,
    },
    /// Manifest and config name different numbers of layers.
    #[error("the manifest has {layers} layers, the config {diff_ids}")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// One of the limits on images.
    #[error("it is over the limit of {limit} {of}")]
    Limit {
        /// What is limited.
        of: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// It unpacks to very much more than was stored.
    #[error("it unpacks to more than {ratio} times its size")]
    Bomb {
        /// The factor that is allowed.
        ratio: u64,
    },
    /// The archive ends in the middle of something.
    #[error("the archive ends too early")]
    Truncated,
    /// A block that should be a tar header is none.
    #[error("the archive has a broken header: {what}")]
    Header {
        /// The field.
        what: &'static str,
    },
    /// A kind of entry or a form of sparse file that is not unpacked.
    #[error("entries of type {kind:?} are not supported")]
    Kind {
        /// The type's letter.
        kind: char,
    },
    /// A name that begins with a slash.
    #[error("the name is absolute")]
    Absolute,
    /// A name with `..` in it.
    #[error("the name has .. in it")]
    Outside,
    /// A name without a component where there must be one.
    #[error("the name is empty")]
    Empty,
    /// A name with a zero byte in it.
    #[error("the name has a zero byte in it")]
    Nul,
    /// A name that no Linux file system takes.
    #[error("the name is too long")]
    TooLong,
    /// A name with more components, or a tree that is deeper, than is followed.
    #[error("it is nested too deeply")]
    TooDeep,
    /// A whiteout of nothing, of `.` or of `..`.
    #[error("the whiteout names no entry")]
    Whiteout,
    /// A hard link to something that is not there.
    #[error("the hard link's target {target} is not there")]
    LinkTarget {
        /// The target's name.
        target: String,
    },
    /// A hard link to a directory.
    #[error("the hard link's target {target} is a directory")]
    LinkDirectory {
        /// The target's name.
        target: String,
    },
    /// An id that means no user or group.
    #[error("id {id} is not valid")]
    Id {
        /// The number.
        id: u64,
    },
    /// An owner that does not exist in this user namespace.
    #[error("owner {uid}:{gid} has no mapping in this user namespace")]
    Unmapped {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// A call failed.
    #[error("{doing}")]
    Call {
        /// What was being done.
        doing: &'static str,
        /// What the kernel or the decompressor said.
        #[source]
        source: io::Error,
    },
}

impl Fault {
    /// For `map_err`: a failed call with what it was to do.
    pub(crate) fn call<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::from_io(doing, source.into())
    }

    /// Takes a fault out of the reader that met it, or wraps what a call said.
    pub(crate) fn from_io(doing: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Truncated;
        }
        match source.downcast::<Self>() {
            Ok(fault) => fault,
            Err(source) => Self::Call { doing, source },
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::NoSuch { .. } => Class::NotFound,
            Self::Selection { .. } | Self::Ambiguous { .. } | Self::NoHome => Class::Invalid,
            Self::OtherPlatform { .. } => Class::Unsupported,
            Self::Occupied { .. } => Class::Conflict,
            Self::CacheUnsafe { .. } => Class::Denied,
            Self::Open { source, .. } | Self::Cache { source, .. } => of_io(source),
            Self::Entry {
                fault: Fault::Call { source, .. },
                ..
            } if is_of_the_tree(source) => Class::Invalid,
            Self::NotImage { fault, .. } | Self::Part { fault, .. } | Self::Entry { fault, .. } => {
                match fault {
                    Fault::Call { source, .. } => of_io(source),
                    Fault::MediaType { .. } | Fault::Kind { .. } => Class::Unsupported,
                    _ => Class::Invalid,
                }
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::NoSuch { .. } => "E_IMAGE_NOT_FOUND",
            Self::Selection { .. } | Self::Ambiguous { .. } => "E_IMAGE_SELECTION",
            Self::OtherPlatform { .. } => "E_IMAGE_PLATFORM",
            Self::NoHome
            | Self::CacheUnsafe { .. }
            | Self::Cache { .. }
            | Self::Occupied { .. } => "E_IMAGE_CACHE",
            Self::Open { .. } | Self::NotImage { .. } | Self::Part { .. } | Self::Entry { .. } => {
                "E_IMAGE"
            }
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::NotFound { .. } => {
                "name an OCI image layout, a tar of one, or a file that docker save has written"
            }
            Self::Selection { .. } => "write PATH@sha256:DIGEST",
            Self::Ambiguous { .. } => "add :TAG or @DIGEST to the path",
            Self::NoHome => "set HOME, or name a directory for the cache",
            Self::CacheUnsafe { .. } => "give it to the user who runs gl, with mode 0700",
            Self::Occupied { .. } => "name a directory that does not exist yet",
            Self::NotImage {
                fault: Fault::NoForm,
                ..
            } => {
                "save one with docker save, or with skopeo copy to an oci: or docker-archive: name"
            }
            Self::NotImage { fault, .. } | Self::Part { fault, .. } | Self::Entry { fault, .. } => {
                return hint(fault).map(Cow::Borrowed);
            }
            Self::NoSuch { .. }
            | Self::OtherPlatform { .. }
            | Self::Open { .. }
            | Self::Cache { .. } => return None,
        };
        Some(Cow::Borrowed(hint))
    }
}

fn hint(fault: &Fault) -> Option<&'static str> {
    match fault {
        Fault::Digest { .. } | Fault::Size { .. } | Fault::Truncated => {
            Some("the image was changed or is not complete: fetch it again")
        }
        Fault::Limit { .. } | Fault::Bomb { .. } => Some("if you trust the image, raise the limit"),
        Fault::Unmapped { .. } => {
            Some("give the user more ids in /etc/subuid and /etc/subgid, or unpack without owners")
        }
        _ => None,
    }
}

/// Whether an entry asks for what the tree of the entries before does not allow: the archive is at fault.
fn is_of_the_tree(err: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::NotADirectory,
        io::ErrorKind::IsADirectory,
        io::ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists,
        io::ErrorKind::InvalidFilename,
    ];
    kinds.contains(&err.kind())
        || err.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn of_io(source: &io::Error) -> Class {
    match source.kind() {
        io::ErrorKind::NotFound => Class::NotFound,
        io::ErrorKind::PermissionDenied => Class::Denied,
        _ => Class::Internal,
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing with a name".to_owned();
    }
    names.join(", ")
}

/// A name of an archive for a message: no text is spelled out, and a long one is cut.
pub(crate) fn shown(name: &[u8]) -> String {
    const LONGEST: usize = 200;
    let cut = &name[..name.len().min(LONGEST)];
    let dots = if name.len() > LONGEST { "…" } else { "" };
    match std::str::from_utf8(cut) {
        Ok(text) if !text.contains(char::is_control) => format!("{text}{dots}"),
        _ => format!("{}{dots}", cut.escape_ascii()),
    }
}
