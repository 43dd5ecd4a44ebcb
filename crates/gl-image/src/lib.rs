//! Images on disk, unpacked safely and cached.
//!
//! An OCI image layout (a directory or a tar of one) or what `docker save` writes becomes a directory
//! tree and the image's config. [`Image::open`] reads and verifies manifest and config; [`Cache::unpack`]
//! verifies and unpacks the layers, once for each chain of layers, and [`unpack_to`] does so to a place
//! of one's own. Nothing in an image leads outside the tree: parents of names are looked up by
//! [`gl_rootfs::Root`], and last components are never followed.
#![forbid(unsafe_code)]

mod archive;
mod cache;
mod config;
mod digest;
mod document;
mod error;
mod image;
mod layer;
mod limits;
mod lock;
mod name;
mod place;
mod platform;
mod prune;
mod reference;
mod remove;
mod select;
mod source;
mod stream;
mod tree;
mod unpack;
mod whiteout;

pub use cache::{Cache, Cached, default_root};
pub use config::ImageConfig;
pub use digest::Digest;
pub use error::{CacheFault, Error, Fault};
pub use image::Image;
pub use limits::Limits;
pub use platform::Platform;
pub use prune::{Entry, Pruned};
pub use reference::Reference;
pub use stream::Progress;
pub use tree::{Note, Ownership};
pub use unpack::{Options, Unpacked, unpack_to};
