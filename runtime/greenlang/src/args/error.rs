//! What can be wrong with a command line.

use std::borrow::Cow;

use gl_spec::{Class, Classify};

/// Why the arguments cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// An option that is in no table.
    #[error("read option {flag:?}: flag provided but not defined")]
    UnknownFlag {
        /// The argument as it was typed.
        flag: String,
    },
    /// An option at the end of the line that takes a value.
    #[error("read option --{flag}: flag needs an argument")]
    NeedsValue {
        /// Its first name.
        flag: &'static str,
    },
    /// An option with a value that does not fit.
    #[error("read option --{flag}: {seen:?} is not {expected}")]
    BadValue {
        /// Its first name.
        flag: &'static str,
        /// The value.
        seen: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// Two options that exclude each other.
    #[error("read option --{flag}: it excludes {other}")]
    Excludes {
        /// The one option.
        flag: &'static str,
        /// The other.
        other: &'static str,
    },
    /// An argument that has to be text and is not.
    #[error("read {what}: {seen:?} is not UTF-8")]
    NotUtf8 {
        /// The option or operand.
        what: &'static str,
        /// The value, as well as it can be shown.
        seen: String,
    },
    /// No verb at all.
    #[error("read command: {verb:?} is not one")]
    UnknownVerb {
        /// The word in its place.
        verb: String,
    },
    /// An operand is missing.
    #[error("read {operand}: it is missing")]
    MissingOperand {
        /// What is missing.
        operand: &'static str,
    },
    /// An operand that does not fit.
    #[error("read {operand}: {seen:?} is not {expected}")]
    BadOperand {
        /// Which operand.
        operand: &'static str,
        /// The value.
        seen: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// More operands than the verb takes.
    #[error("read arguments: {operand:?} is one too many")]
    ExtraOperand {
        /// The first that is too many.
        operand: String,
    },
    /// The container id is not accepted.
    #[error(transparent)]
    Id {
        /// Why.
        source: gl_spec::Error,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Invalid
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Id { source } => source.code(),
            _ => "E_USAGE",
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Id { source } => source.hint(),
            _ => Some(Cow::Borrowed(
                "see `greenlang --help` and `greenlang COMMAND --help`",
            )),
        }
    }
}
