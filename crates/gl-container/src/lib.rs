//! Container lifecycle and state on disk.
