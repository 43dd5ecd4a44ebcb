//! The exit status of the whole program.

/// An exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(u8);

impl Status {
    /// All is well.
    pub(crate) const SUCCESS: Self = Self(0);
    /// It is not.
    pub(crate) const FAILURE: Self = Self(1);
}

impl From<u8> for Status {
    fn from(number: u8) -> Self {
        Self(number)
    }
}

impl From<Status> for i32 {
    fn from(status: Status) -> Self {
        status.0.into()
    }
}
