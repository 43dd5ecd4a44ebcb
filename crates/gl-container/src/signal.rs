//! Whom a signal goes to.

/// Whom a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The container's first process.
    Init,
    /// Every process of the container.
    All,
}
