//! "Run this under that profile": the facade behind `gl run`.
//!
//! A [`Request`] becomes a bundle whose root is a view of the host (tier `namespace`), or a directory, an
//! image or a bundle that the caller names (`container`, `gvisor`), and goes the way of every container from there. What is here:
//! the view ([`view`](mod@view)), the two processes that each look after the other ([`run()`](run())), the agent that sees denied
//! calls, and the [`Report`].
#![forbid(unsafe_code)]

mod basic;
mod begun;
mod bundle;
mod denials;
mod detach;
mod dirs;
mod enter;
mod error;
mod explain;
mod home;
mod image;
mod known;
mod landlock;
mod layers;
mod logs;
mod met;
mod process;
mod report;
mod root;
mod run;
mod space;
mod usage;
mod user;
mod view;
mod written;

pub use bundle::Bundle;
pub use detach::{After, Detach};
pub use dirs::Sandboxes;
pub use enter::{More, exec};
pub use error::Error;
pub use home::Entry;
pub use image::{Image, Unpacked, cache_root, unpack};
pub use known::{Force, Known, State};
pub use logs::{Piece, SEGMENT, Stream};
pub use process::{default_environment, id};
pub use report::{Applied, Denial, Exit, Layer, Loosening, OfImage, Reason, Report, Times, Usage};
pub use root::{Files, Root, prepare};
pub use run::{Ended, Outcome, Reporting, Request, Terminal, Told, run, wait as wait_for_worker};
pub use user::User;
pub use view::has_in_etc;
pub use written::{Waited, Written};
