//! The JSON documents of an image: read up to a limit, verified, and refused if they are ambiguous.

use std::io::Read as _;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::error::Fault;
use crate::stream::Section;

/// Reads a document whole.
pub(crate) fn read(section: Section, limit: u64) -> Result<Vec<u8>, Fault> {
    if section.len() > limit {
        let of = "bytes in one document";
        return Err(Fault::Limit { of, limit });
    }
    let mut bytes = Vec::new();
    let read = section.take(limit).read_to_end(&mut bytes);
    read.map_err(Fault::call("read it"))?;
    Ok(bytes)
}

/// Reads a document that must have a digest and a size.
pub(crate) fn verified(
    section: Section,
    digest: Digest,
    size: u64,
    limit: u64,
) -> Result<Vec<u8>, Fault> {
    if section.len() != size {
        let (wanted, found) = (size, section.len());
        return Err(Fault::Size { wanted, found });
    }
    let bytes = read(section, limit)?;
    digest.check(Digest::of(&bytes))?;
    Ok(bytes)
}

/// Reads JSON.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|source| Fault::Json { source })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

/// Refuses what one reader takes for a manifest and another one for an index, and a media type that is
/// not the one by which the document was named.
pub(crate) fn check_shape(bytes: &[u8], named: Option<&str>) -> Result<(), Fault> {
    let shape: Shape = parse(bytes)?;
    if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
        return Err(Fault::TwoDocuments);
    }
    match (named, shape.media_type) {
        (Some(wanted), Some(found)) if wanted != found => Err(Fault::MediaTypes {
            wanted: wanted.to_owned(),
            found,
        }),
        _ => Ok(()),
    }
}
