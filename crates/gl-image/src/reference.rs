//! What a person writes for an image: a path, and perhaps which image of it.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::Error;

/// A file or directory with images, and which of them is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reference {
    /// The layout or archive.
    pub path: PathBuf,
    /// The name of the image: a tag, or a repository and a tag.
    pub tag: Option<String>,
    /// The digest of its manifest; of its config where there is no manifest.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The only image at a path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            tag: None,
            digest: None,
        }
    }

    /// Reads `PATH`, `PATH:TAG`, `PATH@DIGEST` or `PATH:TAG@DIGEST`.
    ///
    /// A path may have colons in it, and so may a tag (`localhost:5000/a:1`): the shortest start of the
    /// text that is a file or directory is the path, but the whole text if that is one.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if no start of the text is there, [`Error::Selection`] for a digest that is
    /// none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_there = |path: &str| !path.is_empty() && std::fs::metadata(path).is_ok();
        if is_there(text) {
            return Ok(Self::new(Path::new(text)));
        }
        let (rest, digest) = match text.rsplit_once('@') {
            Some((rest, digest)) if digest.starts_with("sha256:") => (rest, Some(digest)),
            _ => (text, None),
        };
        let digest = digest.map(|digest| {
            digest.parse().map_err(|_fault| Error::Selection {
                text: digest.to_owned(),
            })
        });
        let digest = digest.transpose()?;
        if is_there(rest) {
            let path = PathBuf::from(rest);
            return Ok(Self {
                path,
                tag: None,
                digest,
            });
        }
        for (at, _) in rest.match_indices(':') {
            let (path, tag) = (&rest[..at], &rest[at + 1..]);
            if is_there(path) && !tag.is_empty() {
                return Ok(Self {
                    path: path.into(),
                    tag: Some(tag.to_owned()),
                    digest,
                });
            }
        }
        Err(Error::NotFound {
            text: text.to_owned(),
        })
    }

    /// The tag and digest for a message; `None` if any image will do.
    pub(crate) fn wanted(&self) -> Option<String> {
        match (&self.tag, self.digest) {
            (None, None) => None,
            (Some(tag), None) => Some(tag.clone()),
            (None, Some(digest)) => Some(digest.to_string()),
            (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
        }
    }

    /// Whether a name of an image is the one that was asked for: the whole of it, its end after a slash,
    /// or its tag alone.
    pub(crate) fn names(&self, name: &str) -> bool {
        let Some(tag) = &self.tag else {
            return true;
        };
        let end = name.strip_suffix(tag.as_str());
        end.is_some_and(|start| start.is_empty() || start.ends_with(['/', ':']))
    }
}
