//! Which image of a layout or archive is meant: names, digests, platforms.

use std::path::Path;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde::Deserialize;

use crate::digest::Digest;
use crate::document::{check_shape, parse, read, verified};
use crate::error::{Error, Fault};
use crate::image::{Content, Layer};
use crate::limits::Limits;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::source::Source;

const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];
const LAYERS: [&str; 9] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];
/// Annotations that name an image in an index.
const NAMES: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];
/// Indexes in indexes.
const DEEPEST: usize = 4;

/// What to look for, and where.
pub(crate) struct Search<'s> {
    pub(crate) source: &'s Source,
    pub(crate) reference: &'s Reference,
    pub(crate) platform: &'s Platform,
    pub(crate) limits: &'s Limits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// A manifest that may be the one, and what leads to it from the top.
struct Candidate {
    descriptor: Descriptor,
    top: Digest,
}

impl Search<'_> {
    /// Finds the image.
    pub(crate) fn content(&self) -> Result<Content, Error> {
        match self.source.find("oci-layout") {
            Ok(section) => {
                let layout = read(section, self.limits.document_bytes);
                let layout = layout.and_then(|bytes| parse::<Layout>(&bytes));
                let version = layout
                    .map_err(|fault| self.part("oci-layout", fault))?
                    .image_layout_version;
                if version != "1.0.0" {
                    let fault = Fault::LayoutVersion { version };
                    return Err(self.not_image(fault));
                }
                self.in_layout()
            }
            Err(Fault::Missing) => self.saved(),
            Err(fault) => Err(self.part("oci-layout", fault)),
        }
    }

    fn path(&self) -> &Path {
        &self.reference.path
    }

    fn part(&self, what: impl Into<String>, fault: Fault) -> Error {
        Error::Part {
            what: what.into(),
            path: self.path().to_owned(),
            fault,
        }
    }

    fn not_image(&self, fault: Fault) -> Error {
        Error::NotImage {
            path: self.path().to_owned(),
            fault,
        }
    }

    /// No image, or several, for what was asked.
    fn not_one(&self, found: usize, known: Vec<String>) -> Error {
        let path = self.path().to_owned();
        match self.reference.wanted() {
            Some(wanted) if found == 0 => Error::NoSuch {
                path,
                wanted,
                known,
            },
            _ => Error::Ambiguous { path, known },
        }
    }

    fn in_layout(&self) -> Result<Content, Error> {
        let failed = |fault| self.part("index.json", fault);
        let section = self.source.find("index.json").map_err(failed)?;
        let bytes = read(section, self.limits.document_bytes).map_err(failed)?;
        check_shape(&bytes, None).map_err(failed)?;
        let index: ImageIndex = parse(&bytes).map_err(failed)?;
        let mut candidates = Vec::new();
        for descriptor in index.manifests() {
            if self.reference.tag.is_none() || names(descriptor).any(|n| self.reference.names(n)) {
                let top = digest(descriptor).map_err(failed)?;
                self.expand(descriptor, top, 0, &mut candidates)?;
            }
        }
        if let Some(wanted) = self.reference.digest {
            candidates.retain(|one| {
                one.top == wanted || digest(&one.descriptor).is_ok_and(|found| found == wanted)
            });
        }
        let known = || {
            let named = index.manifests().iter().flat_map(names).map(str::to_owned);
            let named: Vec<String> = named.collect();
            if named.is_empty() || self.reference.digest.is_some() {
                let digests = index.manifests().iter();
                return digests.map(|one| one.digest().to_string()).collect();
            }
            named
        };
        let mut tops: Vec<Digest> = candidates.iter().map(|one| one.top).collect();
        tops.sort_unstable();
        tops.dedup();
        if tops.is_empty() {
            return Err(self.not_one(0, known()));
        }
        let (found, others) = self.of_platform(&candidates)?;
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some((_, content)), None) => Ok(content),
            (Some((first, content)), Some((second, _))) if first == second => Ok(content),
            (Some(_), Some(_)) => Err(self.not_one(2, known())),
            (None, _) => Err(Error::OtherPlatform {
                path: self.path().to_owned(),
                wanted: self.platform.to_string(),
                known: others,
            }),
        }
    }

    /// Follows indexes down to manifests.
    fn expand(
        &self,
        descriptor: &Descriptor,
        top: Digest,
        depth: usize,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), Error> {
        let media_type = descriptor.media_type().as_ref();
        if MANIFESTS.contains(&media_type) {
            let descriptor = descriptor.clone();
            candidates.push(Candidate { descriptor, top });
            return Ok(());
        }
        if !INDEXES.contains(&media_type) {
            // Signatures and other things that are no image.
            return Ok(());
        }
        let failed = |fault| self.part(format!("index {}", descriptor.digest()), fault);
        if depth == DEEPEST {
            return Err(failed(Fault::Nesting));
        }
        let bytes = self.blob(descriptor).map_err(failed)?;
        let index: ImageIndex = parse(&bytes).map_err(failed)?;
        for inner in index.manifests() {
            self.expand(inner, top, depth + 1, candidates)?;
        }
        Ok(())
    }

    /// The images for the platform, each with its top, and the platforms of the others. The first one of
    /// each top is taken, as indexes list the best first.
    #[expect(clippy::type_complexity, reason = "two lists, used in one place")]
    fn of_platform(
        &self,
        candidates: &[Candidate],
    ) -> Result<(Vec<(Digest, Content)>, Vec<String>), Error> {
        let (mut found, mut others): (Vec<(Digest, Content)>, Vec<String>) = Default::default();
        for candidate in candidates {
            if found.iter().any(|(top, _)| *top == candidate.top) {
                continue;
            }
            let content = match self.named_platform(&candidate.descriptor) {
                Some(other) => Err(other),
                None => self.manifest(&candidate.descriptor)?,
            };
            match content {
                Ok(content) => found.push((candidate.top, content)),
                Err(other) => others.push(other),
            }
        }
        others.dedup();
        Ok((found, others))
    }

    /// The platform that an index names for a manifest, if it is another one.
    fn named_platform(&self, descriptor: &Descriptor) -> Option<String> {
        let platform = descriptor.platform().as_ref()?;
        let (os, arch) = (
            platform.os().to_string(),
            platform.architecture().to_string(),
        );
        let variant = platform.variant().as_deref();
        let fits = self.platform.takes(&os, &arch, variant);
        (!fits).then(|| format!("{os}/{arch}"))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Fault> {
        let digest = digest(descriptor)?;
        let section = self.source.find(&digest.blob())?;
        let limit = self.limits.document_bytes;
        let bytes = verified(section, digest, descriptor.size(), limit)?;
        let media_type = descriptor.media_type().as_ref();
        let is_config = CONFIGS.contains(&media_type);
        check_shape(&bytes, (!is_config).then_some(media_type)).or_else(|fault| match fault {
            // A config has members of these names with another meaning.
            Fault::TwoDocuments if is_config => Ok(()),
            fault => Err(fault),
        })?;
        Ok(bytes)
    }

    /// Reads a manifest and its config; the other platform if it is for one.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Result<Content, String>, Error> {
        let what = format!("manifest {}", descriptor.digest());
        let failed = |fault| self.part(what.as_str(), fault);
        let bytes = self.blob(descriptor).map_err(failed)?;
        let manifest: ImageManifest = parse(&bytes).map_err(failed)?;
        let config = manifest.config();
        let media_type = config.media_type().as_ref();
        if !CONFIGS.contains(&media_type) {
            let media_type = media_type.to_owned();
            return Err(failed(Fault::MediaType { media_type }));
        }
        let failed = |fault| self.part(format!("config {}", config.digest()), fault);
        let bytes = self.blob(config).map_err(failed)?;
        let document: ImageConfiguration = parse(&bytes).map_err(failed)?;
        if let Some(other) = self.other_platform(&document) {
            return Ok(Err(other));
        }
        let diff_ids = diff_ids(&document, manifest.layers().len(), self.limits).map_err(failed)?;
        let mut layers = Vec::new();
        for (index, (layer, diff_id)) in manifest.layers().iter().zip(diff_ids).enumerate() {
            let what = format!("layer {} ({})", index + 1, layer.digest());
            let layer = self.layer(layer, diff_id);
            layers.push(layer.map_err(|fault| self.part(what, fault))?);
        }
        let digest = digest(descriptor).map_err(failed)?;
        Ok(Ok(Content {
            digest,
            document,
            layers,
        }))
    }

    fn layer(&self, descriptor: &Descriptor, diff_id: Digest) -> Result<Layer, Fault> {
        let media_type = descriptor.media_type().as_ref();
        if !LAYERS.contains(&media_type) {
            let media_type = media_type.to_owned();
            return Err(Fault::MediaType { media_type });
        }
        let digest = digest(descriptor)?;
        let section = self.source.find(&digest.blob())?;
        if section.len() != descriptor.size() {
            let (wanted, found) = (descriptor.size(), section.len());
            return Err(Fault::Size { wanted, found });
        }
        Ok(Layer {
            section,
            digest: Some(digest),
            diff_id,
        })
    }

    fn other_platform(&self, document: &ImageConfiguration) -> Option<String> {
        let (os, arch) = (
            document.os().to_string(),
            document.architecture().to_string(),
        );
        let variant = document.variant().as_deref();
        let fits = self.platform.takes(&os, &arch, variant);
        (!fits).then(|| format!("{os}/{arch}"))
    }

    /// Finds the image in an archive of `docker save` without a layout in it.
    fn saved(&self) -> Result<Content, Error> {
        let failed = |fault| self.part("manifest.json", fault);
        let section = match self.source.find("manifest.json") {
            Ok(section) => section,
            Err(Fault::Missing) => return Err(self.not_image(Fault::NoForm)),
            Err(fault) => return Err(failed(fault)),
        };
        let bytes = read(section, self.limits.document_bytes).map_err(failed)?;
        let saved: Vec<Saved> = parse(&bytes).map_err(failed)?;
        let mut found = Vec::new();
        for image in &saved {
            let digest = named_digest(&image.config).map_err(failed)?;
            let mut tags = image.repo_tags.iter().flatten();
            let named = self.reference.tag.is_none() || tags.any(|tag| self.reference.names(tag));
            if named && self.reference.digest.is_none_or(|wanted| wanted == digest) {
                found.push((image, digest));
            }
        }
        let [(image, digest)] = *found else {
            let tags = saved
                .iter()
                .flat_map(|image| image.repo_tags.iter().flatten());
            let mut known: Vec<String> = tags.cloned().collect();
            if known.is_empty() {
                known = saved.iter().map(|image| image.config.clone()).collect();
            }
            return Err(self.not_one(found.len(), known));
        };
        self.saved_image(image, digest)
    }

    fn saved_image(&self, image: &Saved, digest: Digest) -> Result<Content, Error> {
        let failed = |fault| self.part(format!("config {}", image.config), fault);
        let section = self.source.find(&image.config).map_err(failed)?;
        let size = section.len();
        let bytes = verified(section, digest, size, self.limits.document_bytes).map_err(failed)?;
        let document: ImageConfiguration = parse(&bytes).map_err(failed)?;
        if let Some(other) = self.other_platform(&document) {
            return Err(Error::OtherPlatform {
                path: self.path().to_owned(),
                wanted: self.platform.to_string(),
                known: vec![other],
            });
        }
        let diff_ids = diff_ids(&document, image.layers.len(), self.limits).map_err(failed)?;
        let mut layers = Vec::new();
        for (index, (name, diff_id)) in image.layers.iter().zip(diff_ids).enumerate() {
            let section = self.source.find(name).map_err(|fault| {
                let what = format!("layer {} ({name})", index + 1);
                self.part(what, fault)
            })?;
            layers.push(Layer {
                section,
                digest: named_digest(name).ok(),
                diff_id,
            });
        }
        Ok(Content {
            digest,
            document,
            layers,
        })
    }
}

/// The digest of a descriptor, which must be of SHA-256.
fn digest(descriptor: &Descriptor) -> Result<Digest, Fault> {
    descriptor.digest().as_ref().parse()
}

/// The names that an index gives an image.
fn names(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    let annotations = descriptor.annotations().as_ref();
    let named = NAMES.iter().filter_map(move |key| annotations?.get(*key));
    named.map(String::as_str)
}

/// The digest in `HEX.json` or `blobs/sha256/HEX`.
fn named_digest(name: &str) -> Result<Digest, Fault> {
    let hex = name
        .strip_suffix(".json")
        .or_else(|| name.strip_prefix("blobs/sha256/"));
    hex.and_then(Digest::from_hex)
        .ok_or_else(|| Fault::DigestForm {
            text: name.to_owned(),
        })
}

/// The digests of the unpacked layers, as many as there are layers.
fn diff_ids(
    document: &ImageConfiguration,
    layers: usize,
    limits: &Limits,
) -> Result<Vec<Digest>, Fault> {
    let diff_ids = document.rootfs().diff_ids();
    if diff_ids.len() != layers {
        let diff_ids = diff_ids.len();
        return Err(Fault::LayerCount { layers, diff_ids });
    }
    if layers > limits.layers {
        let (of, limit) = ("layers", limits.layers as u64);
        return Err(Fault::Limit { of, limit });
    }
    diff_ids.iter().map(|text| text.parse()).collect()
}
