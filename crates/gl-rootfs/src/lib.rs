//! The mount tree by file descriptor.
