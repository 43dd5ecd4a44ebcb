//! The mount tree of a container, built by file descriptor.
//!
//! Two halves. [`prepare`] runs in the runtime before the fork and opens every host object that
//! the tree needs, as detached mounts. The other functions run in the child, in the order in which
//! they stand in `stage`, and walk no path of the host but the root's own. Names inside the
//! container go through [`Root`].
#![forbid(unsafe_code)]

mod attach;
mod cgroupfs;
mod console;
mod copyup;
mod dev;
mod failure;
mod hide;
mod hostview;
mod label;
mod prepare;
mod procfs;
mod resolve;
mod stage;
mod store;

pub use cgroupfs::{CgroupMounts, Hierarchy};
pub use console::{Console, Terminal, open_terminal};
pub use failure::{Failure, Note, Step};
pub use label::label_new_queues;
pub use prepare::{Bind, Error, Prepared, new_root, prepare};
pub use procfs::Procfs;
pub use resolve::{Leaf, Made, Root};
pub use stage::{
    Mounted, attach_root, finish_root, hide, make_dev, mount_all, pivot, write_sysctls,
};
pub use store::{Privilege, Stored, build_store, disk_store, memory_store};
