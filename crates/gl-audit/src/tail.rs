//! How a log ends: with a line, or with what is left of one.

use std::io;
use std::os::fd::BorrowedFd;

use crate::hash::Hash;
use crate::line::{MAX_LINE, read};

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tail {
    /// There is nothing.
    Empty,
    /// A whole line.
    Line(Hash),
    /// A whole line but for the newline.
    Unended(Hash),
    /// Bytes that are no line, after a line with this hash.
    Torn(Hash, Vec<u8>),
    /// The last line is broken, though it has an end.
    Broken,
}

/// Bytes that are read at first; most lines are shorter.
const FIRST: u64 = 16 << 10;
/// Bytes in which the last whole line must be.
const MOST: u64 = 4 * MAX_LINE as u64;

impl Tail {
    /// Finds the end of a file that nobody else writes to now, and the file's length.
    pub(crate) fn of(file: BorrowedFd<'_>) -> io::Result<(Self, u64)> {
        let len = rustix::fs::fstat(file)?.st_size;
        let len = u64::try_from(len).unwrap_or_default();
        let mut window = FIRST;
        loop {
            let start = len.saturating_sub(window);
            let bytes = read_from(file, start, len)?;
            let whole = if start == 0 { Whole::Yes } else { Whole::No };
            if let Some(tail) = Self::find(&bytes, whole) {
                return Ok((tail, len));
            }
            if start == 0 || window >= MOST {
                return Ok((Self::Broken, len));
            }
            window *= 16;
        }
    }

    /// Looks at the last bytes of a log; `None` if more of them are needed.
    fn find(bytes: &[u8], whole: Whole) -> Option<Self> {
        let Some(last) = bytes.last() else {
            return Some(Self::Empty);
        };
        let starts: Vec<usize> = starts(bytes, whole);
        let at = *starts.last()?;
        if *last == b'\n' {
            return Some(
                read(&bytes[at..bytes.len() - 1])
                    .map_or(Self::Broken, |line| Self::Line(line.hash)),
            );
        }
        if let Ok(line) = read(&bytes[at..]) {
            return Some(Self::Unended(line.hash));
        }
        // Back to the last line that is one: more than one may be torn.
        for pair in starts.windows(2).rev() {
            if let Ok(line) = read(&bytes[pair[0]..pair[1] - 1]) {
                return Some(Self::Torn(line.hash, bytes[pair[1]..].to_vec()));
            }
        }
        (whole == Whole::Yes).then(|| Self::Torn(Hash::NONE, bytes.to_vec()))
    }
}

/// Whether bytes are all that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

/// Where lines begin whose beginning is there.
fn starts(bytes: &[u8], whole: Whole) -> Vec<usize> {
    let first = (whole == Whole::Yes).then_some(0);
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let after = ends.map(|(at, _)| at + 1).filter(|at| *at < bytes.len());
    first.into_iter().chain(after).collect()
}

fn read_from(file: BorrowedFd<'_>, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(end - start).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    let mut read = 0;
    while read < len {
        match rustix::io::pread(file, &mut bytes[read..], start + read as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => read += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Tail, Whole};
    use crate::entry::{Entry, Event};
    use crate::hash::Hash;
    use crate::line::write;

    fn line(prev: Hash) -> (String, Hash) {
        let data = serde_json::Map::new();
        let entry = Entry {
            event: Event::Start,
            id: "a",
            profile_hash: None,
            tier: "container",
            mode: "enforcing",
            data: &data,
        };
        write(&entry, std::time::SystemTime::UNIX_EPOCH.into(), prev)
    }

    #[test]
    fn every_way_to_end_is_told_apart() {
        let (one, first) = line(Hash::NONE);
        let (two, second) = line(first);
        let both = format!("{one}{two}");
        let cut = &both[..both.len() - 1];
        for (what, bytes, want) in [
            ("empty", "", Some(Tail::Empty)),
            ("one", &*one, Some(Tail::Line(first))),
            ("two", &*both, Some(Tail::Line(second))),
            ("no newline", cut, Some(Tail::Unended(second))),
            (
                "half a line",
                &both[..both.len() - 9],
                Some(Tail::Torn(first, two.as_bytes()[..two.len() - 9].to_vec())),
            ),
            (
                "two halves",
                &format!("{one}half\nhal"),
                Some(Tail::Torn(first, b"half\nhal".to_vec())),
            ),
            (
                "half of the first",
                &one[..9],
                Some(Tail::Torn(Hash::NONE, one.as_bytes()[..9].to_vec())),
            ),
            ("garbage", "garbage\n", Some(Tail::Broken)),
            (
                "garbage after",
                &format!("{one}garbage\n"),
                Some(Tail::Broken),
            ),
        ] {
            assert_eq!(Tail::find(bytes.as_bytes(), Whole::Yes), want, "{what}");
        }
        assert_eq!(Tail::find(&one.as_bytes()[1..], Whole::No), None);
        assert_eq!(
            Tail::find(&both.as_bytes()[1..], Whole::No),
            Some(Tail::Line(second))
        );
    }
}
