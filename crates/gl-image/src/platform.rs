//! The machine that an image is to run on.

use std::fmt;

/// An architecture of Linux in the words of the image spec.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Platform {
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`; any if it is not set.
    pub variant: Option<String>,
}

impl Platform {
    /// The machine that this program was built for.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// Reads `ARCH`, `linux/ARCH` or `linux/ARCH/VARIANT`; `None` for another system or an empty word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("linux/").unwrap_or(text);
        let (architecture, variant) = match text.split_once('/') {
            Some((architecture, variant)) => (architecture, Some(variant)),
            None => (text, None),
        };
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_word(architecture) || !variant.is_none_or(is_word) || architecture == "linux" {
            return None;
        }
        Some(Self {
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }

    /// Whether an image of that system, architecture and variant will do.
    pub(crate) fn takes(&self, os: &str, architecture: &str, variant: Option<&str>) -> bool {
        // Images of 64-bit ARM may or may not say that they are v8.
        let variant_fits = match (&self.variant, variant) {
            (Some(wanted), Some(found)) => wanted == found,
            (Some(wanted), None) => architecture == "arm64" && wanted == "v8",
            (None, _) => true,
        };
        os == "linux" && architecture == self.architecture && variant_fits
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
