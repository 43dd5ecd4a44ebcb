//! What the arguments of a call point to, in the memory of the thread that waits.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A thread that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread(pub(crate) u32);

const PATH_MAX: usize = 4096;
const PAGE: u64 = 4096;
/// `AT_FDCWD`, of which the kernel reads the low half.
const CWD: u32 = (-100_i32).cast_unsigned();

impl Thread {
    /// Some bytes; none if they cannot be read.
    pub(crate) fn bytes(self, address: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        let memory = File::open(format!("/proc/{}/mem", self.0)).ok()?;
        memory.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    /// A text that ends with a zero byte.
    pub(crate) fn text(self, address: u64) -> Option<OsString> {
        let memory = File::open(format!("/proc/{}/mem", self.0)).ok()?;
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < PATH_MAX {
            // Never past the end of a page, behind which there may be nothing.
            let len = usize::try_from((PAGE - at % PAGE).min(256)).ok()?;
            let mut part = vec![0; len];
            memory.read_exact_at(&mut part, at).ok()?;
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                text.extend(part.get(..end)?);
                return Some(OsString::from_vec(text));
            }
            text.extend(part);
            at = at.checked_add(u64::try_from(len).ok()?)?;
        }
        None
    }

    /// An unsigned number of 64 bits.
    pub(crate) fn number(self, address: u64) -> Option<u64> {
        let bytes = self.bytes(address, 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// Where a path leads from that is relative to a directory: that of a descriptor, or the working one.
    pub(crate) fn directory(self, descriptor: Option<u64>) -> Option<PathBuf> {
        let low = descriptor.map(|number| (number & 0xffff_ffff) as u32);
        let link = match low {
            None | Some(CWD) => format!("/proc/{}/cwd", self.0),
            Some(number) => format!("/proc/{}/fd/{number}", self.0),
        };
        let target = std::fs::read_link(link).ok()?;
        target.is_absolute().then_some(target)
    }

    /// The path that a call names, from the root; none for an empty one, which names the descriptor itself.
    pub(crate) fn path(self, directory: Option<u64>, address: u64) -> Option<PathBuf> {
        let text = PathBuf::from(self.text(address)?);
        if text.as_os_str().is_empty() {
            return None;
        }
        match text.is_absolute() {
            true => Some(text),
            false => Some(self.directory(directory)?.join(text)),
        }
    }

    /// One line of `/proc/TID/status` that is a number of KiB.
    pub(crate) fn status_kib(self, key: &str) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let number = line.trim_start_matches(':').split_whitespace().next()?;
        number.parse().ok()
    }

    /// The highest number of its descriptors, and one.
    pub(crate) fn descriptors(self) -> Option<u64> {
        let entries = std::fs::read_dir(Path::new("/proc").join(self.0.to_string()).join("fd"));
        let numbers = entries.ok()?.flatten().filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.parse::<u64>().ok()
        });
        Some(numbers.max().map_or(0, |highest| highest + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn own() -> Thread {
        Thread(std::process::id())
    }

    #[test]
    fn texts_and_numbers_are_read_from_memory() {
        let long = CString::new(vec![b'a'; 700]).unwrap();
        let address = long.as_ptr().expose_provenance() as u64;
        assert_eq!(own().text(address).unwrap().len(), 700);
        let number = Box::new(0x0102_0304_0506_0708_u64);
        let address = std::ptr::from_ref(&*number).expose_provenance() as u64;
        assert_eq!(own().number(address), Some(*number));
        assert_eq!(own().text(1), None);
    }

    #[test]
    fn relative_path_begins_at_its_directory() {
        let name = CString::new("b/c").unwrap();
        let address = name.as_ptr().expose_provenance() as u64;
        let file = File::open("/usr").unwrap();
        let fd = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).unwrap();
        let path = own().path(Some(fd), address).unwrap();
        assert_eq!(path, Path::new("/usr/b/c"));
        let cwd = std::env::current_dir().unwrap();
        assert_eq!(own().path(None, address), Some(cwd.join("b/c")));
        assert_eq!(
            own().path(Some(u64::from(CWD)), address),
            Some(cwd.join("b/c"))
        );
    }
}
