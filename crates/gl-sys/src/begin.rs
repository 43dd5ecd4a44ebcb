//! What std does at a program's start and libc does not, as far as the programs need it.

use std::io;

/// The standard streams.
const STREAMS: [libc::c_int; 3] = [0, 1, 2];

/// Opens the null device in place of each standard stream that is closed, as the next file to be opened would have its
/// number, and has a write to a pipe that nobody reads fail instead of ending the process. To be called first, in place
/// of std's start, which asks the kernel some eighteen questions more: for a guard below the stack that the
/// kernel has anyway, and a message when it is hit.
///
/// Ends the process where a stream cannot be opened.
pub fn begin() {
    let mut asked = STREAMS.map(|fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    let answered = loop {
        // SAFETY: there are three to be asked after, and the kernel writes to no other.
        let answer = unsafe { libc::poll(asked.as_mut_ptr(), 3, 0) };
        if answer >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break answer >= 0;
        }
    };
    for stream in asked {
        let is_closed = match answered {
            true => stream.revents & libc::POLLNVAL != 0,
            false => {
                // SAFETY: reads the flags of a number; no memory is involved.
                let flags = unsafe { libc::fcntl(stream.fd, libc::F_GETFD) };
                flags < 0
            }
        };
        if is_closed {
            // SAFETY: a path that ends with a zero. The lowest number that is free is this one: those below are open.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            if opened != stream.fd {
                std::process::abort();
            }
        }
    }
    // SAFETY: to ignore a signal runs no code of ours.
    if unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) } == libc::SIG_ERR {
        std::process::abort();
    }
}

/// The `main` of a program, which libc's start calls in place of std's own: [`begin`], then the function that is named,
/// which takes nothing and returns the exit status as what becomes an `i32`. For a crate without another
/// (`#![no_main]`).
#[macro_export]
macro_rules! main {
    ($perform:path) => {
        #[unsafe(no_mangle)]
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a program ends"
        )]
        extern "C" fn main() -> ! {
            $crate::begin();
            ::std::process::exit($perform().into())
        }
    };
}
