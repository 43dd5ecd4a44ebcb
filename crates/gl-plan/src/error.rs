//! Why a config cannot be launched on this host.

use std::borrow::Cow;

use gl_spec::{Class, Classify};

/// Why a config cannot be launched on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A value has no meaning to the kernel, or contradicts another.
    #[error("use {field}: {problem}")]
    Value {
        /// The config field, with its index.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
        /// The value as the config has it.
        value: String,
    },
    /// A string holds a NUL byte, which no system call can carry.
    #[error("use {field}: it contains a NUL byte")]
    Nul {
        /// The config field, with its index.
        field: String,
    },
    /// The host cannot enforce what the config asks.
    #[error("use {field}: {missing}")]
    Unenforceable {
        /// The config field.
        field: String,
        /// What the host lacks.
        missing: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
}

impl Refusal {
    pub(crate) fn value(
        field: impl Into<String>,
        value: impl Into<String>,
        problem: &'static str,
    ) -> Self {
        Self::Value {
            field: field.into(),
            problem,
            value: value.into(),
        }
    }
}

impl Classify for Refusal {
    fn class(&self) -> Class {
        match self {
            Self::Value { .. } | Self::Nul { .. } => Class::Invalid,
            Self::Unenforceable { .. } => Class::Unsupported,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Value { .. } | Self::Nul { .. } => "E_CONFIG",
            Self::Unenforceable { .. } => "E_UNENFORCEABLE",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Value { field, .. } | Self::Nul { field } | Self::Unenforceable { field, .. } => {
                Some(Cow::Borrowed(field))
            }
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Value { value, .. } => Some(Cow::Owned(format!("the config has {value:?}"))),
            Self::Nul { .. } => Some(Cow::Borrowed("remove the NUL byte")),
            Self::Unenforceable { remedy, .. } => Some(Cow::Borrowed(remedy)),
        }
    }
}
