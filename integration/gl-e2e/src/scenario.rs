//! What a container engine must be able to do with the runtime under test.
//!
//! Each function is one test and runs on any [`Engine`](crate::engine::Engine). It looks from inside
//! the container or asks the kernel. A test program picks its functions with [`scenarios!`].
#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "a scenario that fails panics, one that cannot run here says why"
)]

pub mod build;
pub mod exec;
pub mod gvisor;
pub mod identity;
pub mod images;
pub mod interactive;
pub mod lifecycle;
pub mod limits;
pub mod mounts;
pub mod namespaces;
pub mod pods;
pub mod profile_words;
pub mod profiles;
pub mod security;
pub mod soak;
pub mod status;
pub mod userns;

/// Lists scenarios as [`Test`](crate::Test)s on the engine that `$engine` returns.
#[macro_export]
macro_rules! scenarios {
    ($engine:path; $($module:ident: $($name:ident)+;)*) => {
        &[$($($crate::Test {
            name: stringify!($name),
            run: || $crate::scenario::$module::$name($engine()),
        },)+)*]
    };
}
