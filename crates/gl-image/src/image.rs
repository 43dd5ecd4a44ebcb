//! An image whose manifest and config were read and verified.

use oci_spec::image::ImageConfiguration;

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::Error;
use crate::limits::Limits;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::select::Search;
use crate::source::Source;
use crate::stream::Section;

/// An image on disk. Its manifest and config are verified, its layers not yet.
#[derive(Debug)]
pub struct Image {
    reference: Reference,
    content: Content,
    config: ImageConfig,
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) digest: Digest,
    pub(crate) document: ImageConfiguration,
    pub(crate) layers: Vec<Layer>,
}

#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) section: Section,
    /// Of the layer as it is stored; the old form of `docker save` names none.
    pub(crate) digest: Option<Digest>,
    /// Of the layer unpacked.
    pub(crate) diff_id: Digest,
}

impl Image {
    /// Opens an image: finds it by tag, digest and platform, and reads and verifies manifest and config.
    ///
    /// # Spec
    ///
    /// image-spec 1.1, "Image Layout": `oci-layout` and `index.json`; digests are SHA-256. Without them
    /// `manifest.json`, as `docker save` of Docker 1.10 and later writes it. An archive may be
    /// compressed by gzip or Zstandard; it is then unpacked to a file without a name in the directory for
    /// temporary files.
    ///
    /// # Errors
    ///
    /// [`Error::Open`], [`Error::NotImage`] for what is no image; [`Error::NoSuch`],
    /// [`Error::Ambiguous`], [`Error::OtherPlatform`] if nothing or too much is chosen;
    /// [`Error::Part`] for a document that is missing, broken or not what its digest says.
    pub fn open(
        reference: &Reference,
        platform: &Platform,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let source = Source::open(&reference.path, limits)?;
        let search = Search {
            source: &source,
            reference,
            platform,
            limits,
        };
        let content = search.content()?;
        Ok(Self {
            reference: reference.clone(),
            config: ImageConfig::of(&content.document),
            content,
        })
    }

    /// The digest of the manifest, or of the config where the archive has no manifest with a digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.content.digest
    }

    /// What the image says about its program.
    #[must_use]
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Where the image was opened.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The digests of the layers unpacked, the lowest first.
    pub fn diff_ids(&self) -> impl Iterator<Item = Digest> {
        self.content.layers.iter().map(|layer| layer.diff_id)
    }

    /// Bytes of all layers as they are stored.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        let sizes = self.content.layers.iter().map(|layer| layer.section.len());
        sizes.sum()
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.content.layers
    }
}
