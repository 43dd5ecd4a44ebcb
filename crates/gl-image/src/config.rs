//! What an image says about the program that it is for.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;

/// The part of an image's config that concerns running it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageConfig {
    /// `KEY=value`.
    pub env: Vec<String>,
    /// The program and its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that take the place of the user's, or the program if there is no entrypoint.
    pub cmd: Vec<String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// `user`, `uid`, `user:group` and so on, names meant as the image's passwd has them.
    pub user: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end.
    pub stop_signal: Option<String>,
    /// The architecture in the words of the image spec.
    pub architecture: String,
}

impl ImageConfig {
    pub(crate) fn of(document: &ImageConfiguration) -> Self {
        let architecture = document.architecture().to_string();
        let Some(config) = document.config() else {
            return Self {
                architecture,
                ..Self::default()
            };
        };
        let set = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
        let labels = config.labels().clone().unwrap_or_default();
        Self {
            env: config.env().clone().unwrap_or_default(),
            entrypoint: config.entrypoint().clone().unwrap_or_default(),
            cmd: config.cmd().clone().unwrap_or_default(),
            working_dir: set(config.working_dir()),
            user: set(config.user()),
            labels: labels.into_iter().collect(),
            stop_signal: set(config.stop_signal()),
            architecture,
        }
    }
}
