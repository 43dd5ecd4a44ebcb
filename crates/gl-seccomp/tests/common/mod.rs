//! What the tests share: a BPF interpreter, lists, and a small generator of random numbers.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::panic,
    clippy::unwrap_used,
    reason = "every test binary compiles this module and uses its own part of it; all of it is test code"
)]

pub(crate) mod bpf;
pub(crate) mod lists;
pub(crate) mod oracle;
pub(crate) mod rng;
