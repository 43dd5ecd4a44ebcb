//! Words that a key chooses from.

use serde_json::Value as Json;

use super::{Mismatch, Value};
use crate::node::{Kind, Node};

/// An enumeration, each variant with its word and the other spellings of it.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            const WORDS: &[&str] = &[$($word, $($alias,)*)+];

            /// The word of `profiles/README.md`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The variant that a word or another spelling of it stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word $(| $alias)* => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl Value for $name {
            fn decode(node: &Node) -> Result<Self, Mismatch> {
                let wrong = || Mismatch {
                    words: Self::WORDS,
                    ..Mismatch::new(format!("one of {}", Self::WORDS.join(", ")))
                };
                match &node.kind {
                    Kind::Text(text) => Self::from_word(text),
                    _ => None,
                }
                .ok_or_else(wrong)
            }

            fn json(&self) -> Json {
                Json::from(self.as_str())
            }

            fn schema() -> Json {
                serde_json::json!({"enum": Self::WORDS})
            }
        }
    };
}

words! {
    /// How much of a sandbox is built.
    Isolation {
        /// The caller's namespaces.
        Basic = "basic",
        /// Own namespaces over a read-only view of the host.
        Namespace = "namespace" | "chroot",
        /// An OCI bundle or root filesystem.
        Container = "container",
        /// Handed to runsc.
        Gvisor = "gvisor",
    }
}

words! {
    /// How runsc intercepts system calls.
    RunscPlatform {
        /// The best that works on the host, without virtualization.
        Auto = "auto",
        /// By traps of seccomp.
        Systrap = "systrap",
        /// By `ptrace(2)`.
        Ptrace = "ptrace",
        /// By virtualization.
        Kvm = "kvm",
    }
}

words! {
    /// What happens to an act that the profile does not allow.
    Mode {
        /// It is denied.
        Enforcing = "enforcing",
        /// It is logged and allowed; namespaces, mounts and limits still hold.
        Permissive = "permissive" | "audit_only",
    }
}

words! {
    /// The level whose presets fill what a profile leaves open.
    Level {
        /// Little.
        Lenient = "lenient",
        /// The default.
        Standard = "standard" | "moderate",
        /// As standard, with every layer required.
        High = "high",
        /// Most.
        Maximum = "maximum" | "strict",
    }
}

words! {
    /// What happens where the host lacks a layer.
    OnMissing {
        /// The run is refused.
        Refuse = "refuse",
        /// The run goes on without it, and says so.
        Degrade = "degrade",
    }
}
