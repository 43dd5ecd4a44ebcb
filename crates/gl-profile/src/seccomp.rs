//! The seccomp part of a profile to a filter: groups and single calls, allowed and denied, to one
//! answer for each call and its arguments, and from where it comes.
//!
//! # What a filter answers
//!
//! The first of these that speaks of a call and its arguments:
//!
//! 1. `deny`, then `deny_groups` in their order: refused, with the errno of the rule or else as
//!    everything that is not allowed;
//! 2. `allow` and the rules of `groups` without an errno, or anything where `default = "allow"`:
//!    allowed;
//! 3. what `default` lets through with `log`: logged and allowed;
//! 4. rules of `groups` with an errno: refused with it;
//! 5. otherwise refused, as `default` says or with `EPERM`.
//!
//! The answer is worked out for each call by itself and written as rules that have no argument in
//! common where they differ, so it does not hang on the order in which a runtime asks them. In
//! particular no rule that allows a call whatever its arguments stands beside one that denies some.
//!
//! That is [`Filter`], for people and for other runtimes. What greenlang attaches is [`Answers`]: the same in
//! the order above, as its filters ask in order.
//!
//! # Calls that the profile does not know
//!
//! Every call that existed when this was written is named, the refused ones with the default action.
//! So a call that is known and not allowed is `EPERM`, and one that is newer is `ENOSYS`, on which
//! programs fall back (see `gl_seccomp`). With `default = "allow"` the same holds: what was
//! not known cannot have been judged harmless.
//!
//! # Other architectures
//!
//! Only the native ABI is part of the filter. A call of another one (32-bit, x32) ends the whole
//! process. Answering `ENOSYS` would be for programs that probe and fall back, and no honest program
//! probes for another ABI: it is a 32-bit program, which cannot work, or an attack on a less tested way
//! into the kernel. Ending only the thread, as libseccomp does, leaves programs hanging with a lock
//! held. A plain OCI runtime that gets the exported section still does that.

mod answers;
mod builtin;
mod constants;
mod filter;
mod group;
mod oci;
mod pieces;
#[rustfmt::skip]
mod tables;

pub use answers::Answers;
pub use builtin::{group, group_names};
pub use filter::{Cause, Filter, Rule};
pub use group::{Condition, Group, GroupRule, Test, parse_group};
pub use pieces::{Bits, Piece};

#[cfg(test)]
mod tests;
