//! Whom a signal goes to, and whom it reached.

/// Whom a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The container's first process.
    Init,
    /// Every process of the container.
    All,
}

/// Whom a signal reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Reached {
    /// Whom it was for.
    Whom,
    /// Init, though it was for all: without a cgroup and a pid namespace of its own, the others of
    /// the container cannot be told from those of the host.
    InitAlone,
}
