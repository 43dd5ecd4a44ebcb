//! "Run this under that profile": the facade behind `gl run`.
//!
//! A [`Request`] becomes a bundle whose root is a view of the host (tier `namespace`), or a directory, an
//! image or a bundle that the caller names (`container`, `gvisor`), and goes the way of every container from there. What is here:
//! the view ([`view`](mod@view)), the two processes that each look after the other ([`run()`](run())), the agent that sees denied
//! calls, and the [`Report`].
#![forbid(unsafe_code)]

mod basic;
mod bundle;
mod denials;
mod dirs;
mod error;
mod explain;
mod image;
mod layers;
mod met;
mod process;
mod report;
mod root;
mod run;
mod space;
mod usage;
mod user;
mod view;

pub use bundle::Bundle;
pub use dirs::Sandboxes;
pub use error::Error;
pub use image::{Image, Unpacked, cache_root, unpack};
pub use process::{default_environment, id};
pub use report::{Applied, Denial, Exit, Layer, Loosening, OfImage, Reason, Report, Times, Usage};
pub use root::{Files, Root, prepare};
pub use run::{Ended, Request, Terminal, run, wait as wait_for_worker};
pub use user::User;
pub use view::has_in_etc;
