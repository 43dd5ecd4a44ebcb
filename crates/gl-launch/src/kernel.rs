//! The system calls without which no container is made: asked for before anything is begun.
//!
//! What the kernel may lack all the same has its fallback where it is used; docs/kernel.md lists
//! both.

use gl_sys::Call;
use rustix::io::Errno;

use crate::error::Error;

/// What there is no other way for, and the version of Linux that has it; the youngest first, so that
/// the one that is named says which kernel would do.
const NEEDED: [(Call, &str); 8] = [
    (Call::MountSetattr, "5.12"),
    // 5.9 without `CLOSE_RANGE_CLOEXEC`.
    (Call::CloseRange, "5.11"),
    (Call::Openat2, "5.6"),
    (Call::PidfdOpen, "5.3"),
    (Call::OpenTree, "5.2"),
    (Call::MoveMount, "5.2"),
    (Call::Fsopen, "5.2"),
    (Call::PidfdSendSignal, "5.1"),
];

/// Makes sure that the kernel has what a container takes, so that nothing ends half-way.
///
/// # Errors
///
/// [`Error::Kernel`] with the first call that is not there.
pub fn check_kernel() -> Result<(), Error> {
    let missing = NEEDED.iter().find(|(call, _)| !gl_sys::is_known(*call));
    match missing {
        None => Ok(()),
        Some((call, since)) => Err(Error::Kernel {
            call: call.name(),
            since,
            source: Errno::NOSYS,
        }),
    }
}
