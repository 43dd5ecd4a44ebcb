//! Images made by the tests, unpacked to real directories. As root: owners and device nodes are kept.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod cache;
mod digests;
mod forms;
mod layers;
mod random;
mod support;
mod user;
mod user_namespace;
