//! What `/proc/PID/cmdline` shows of this process.

use std::ptr;

use rustix::io::Errno;

/// The memory that the kernel shows as the arguments of this process, and of those that are forked from it.
#[derive(Debug, Clone, Copy)]
pub struct Arguments {
    start: usize,
    length: usize,
}

/// `arg_start` and `arg_end` in `/proc/PID/stat`, counted from the state, which comes after the name.
const START: usize = 45;

impl Arguments {
    /// Finds it, while `/proc` is still the host's.
    ///
    /// # Kernel
    ///
    /// `arg_start` in `proc_pid_stat(5)`, since 3.5.
    ///
    /// # Errors
    ///
    /// What reading the file gives; `EINVAL` if it has no such field.
    pub fn find() -> Result<Self, Errno> {
        let text = std::fs::read_to_string("/proc/self/stat");
        let text = text.map_err(|err| Errno::from_io_error(&err).unwrap_or(Errno::IO))?;
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut words = rest.split_whitespace().skip(START);
        let mut number = || words.next()?.parse::<usize>().ok();
        let (start, end) = number().zip(number()).ok_or(Errno::INVAL)?;
        match end.checked_sub(start) {
            Some(length) if start != 0 => Ok(Self { start, length }),
            _ => Err(Errno::INVAL),
        }
    }

    /// Puts a name in the place of the arguments, cut off where it does not fit.
    pub fn replace_by(self, name: &str) {
        let mut name = name.bytes();
        for at in 0..self.length {
            let byte = match at + 1 == self.length {
                true => 0,
                false => name.next().unwrap_or(0),
            };
            let to = ptr::with_exposed_provenance_mut::<u8>(self.start + at);
            // SAFETY: the kernel has told the range, in which `execve` has put the strings of this process, or of
            // the one that it was forked from: it is mapped and writable. Rust's standard library keeps pointers to
            // these strings and reads them when it is asked for arguments, which are C strings still: the last
            // byte stays zero. A process with one thread has nobody who reads them meanwhile.
            unsafe { to.write_volatile(byte) };
        }
    }
}
