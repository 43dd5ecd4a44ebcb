//! Finding the first line of a log that is not as it was written.
//!
//! The chain has no key: who can write the file can write a new chain. What shows that is a hash that was
//! kept elsewhere, such as the last one of every day.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::Serialize;

use crate::entry::Event;
use crate::error::Error;
use crate::hash::Hash;
use crate::line::{Broken, Line, MAX_LINE, read, torn};
use crate::log::lock;

/// What a verification has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Lines that are as they were written, up to the first fault.
    pub lines: u64,
    /// What the log begins with.
    pub start: Start,
    /// The hash of the last good line: the one to keep elsewhere.
    pub last: Option<Hash>,
    /// Remains of lines that were never finished, each followed by an entry that says so.
    pub torn: Vec<Torn>,
    /// The line of the hash that was expected, if one was.
    pub expected: Option<u64>,
    /// The first line that is not as it was written.
    pub fault: Option<Fault>,
}

/// What a log begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Nothing: there are no lines.
    Empty,
    /// The first line of a chain.
    New,
    /// The chain of an older file, which ends with this hash.
    Continues(Hash),
}

/// Remains of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Torn {
    /// Its number, from 1.
    pub line: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// A line that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// Its number, from 1.
    pub line: u64,
    /// What was done to it.
    pub kind: FaultKind,
    /// The same for people: a sentence without an end.
    pub what: String,
}

/// What was done to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The line's hash is not of the line.
    Changed,
    /// It is no line of an audit log.
    NotLine,
    /// The line before it is missing.
    Removed,
    /// There are lines before it that do not belong there.
    Inserted,
    /// The line before it comes later.
    Reordered,
    /// The log ends in the middle of a line, and nothing was written since.
    Torn,
    /// The expected hash is not there: lines at the end are missing.
    Truncated,
}

/// Verifies a log, while nobody writes to it.
///
/// `expected` is the hash of a line that must be there, at best the last one that was written: without one
/// nobody can see that lines at the end are missing.
///
/// # Errors
///
/// [`Error::Open`], [`Error::Read`] if the file cannot be read. A log that was changed is no error but a
/// [`Report`] with a fault.
pub fn verify(path: &Path, expected: Option<Hash>) -> Result<Report, Error> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::Open {
        path: path.to_owned(),
        source: errno.into(),
    })?;
    verify_open(file, expected).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

fn verify_open(file: OwnedFd, expected: Option<Hash>) -> io::Result<Report> {
    lock(&file, FlockOperation::LockShared)?;
    let mut lines = Lines::new(File::from(file));
    let mut walk = Walk::new(expected);
    while let Some((bytes, end)) = lines.next()? {
        if let Some(found) = walk.step(&bytes, end) {
            let map = match found.prev {
                Some(_) => positions(lines)?,
                None => HashMap::new(),
            };
            walk.report.fault = Some(found.explain(&map));
            return Ok(walk.report);
        }
    }
    walk.end();
    Ok(walk.report)
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Newline,
    Nothing,
}

/// The lines of a file, one at a time, none of them kept beyond what a line may be.
struct Lines {
    source: BufReader<File>,
}

impl Lines {
    fn new(file: File) -> Self {
        let source = BufReader::new(file);
        Self { source }
    }

    fn next(&mut self) -> io::Result<Option<(Vec<u8>, End)>> {
        let mut bytes = Vec::new();
        let mut limited = self.source.by_ref().take(MAX_LINE as u64 + 1);
        limited.read_until(b'\n', &mut bytes)?;
        Ok(match bytes.pop() {
            None => None,
            Some(b'\n') => Some((bytes, End::Newline)),
            Some(last) => {
                bytes.push(last);
                // A line that is too long: what is left of it is a line of its own, and as wrong.
                let end = if bytes.len() > MAX_LINE {
                    End::Newline
                } else {
                    End::Nothing
                };
                Some((bytes, end))
            }
        })
    }
}

/// Where each line is, by its hash.
fn positions(lines: Lines) -> io::Result<HashMap<Hash, u64>> {
    let mut file = lines.source.into_inner();
    file.seek(SeekFrom::Start(0))?;
    let mut lines = Lines::new(file);
    let (mut map, mut number) = (HashMap::new(), 0);
    while let Some((bytes, _)) = lines.next()? {
        number += 1;
        if let Ok(line) = read(&bytes) {
            map.entry(line.hash).or_insert(number);
        }
    }
    Ok(map)
}

/// A line that is wrong, before it is known why.
struct Found {
    line: u64,
    kind: FaultKind,
    /// The hash that it names as the one before it, where that is what is wrong.
    prev: Option<Hash>,
}

struct Walk {
    report: Report,
    number: u64,
    expected: Option<Hash>,
    /// Bytes that are no line, and the first of their lines: an entry that says so must follow.
    remains: Option<(u64, FaultKind, Vec<u8>)>,
}

impl Walk {
    fn new(expected: Option<Hash>) -> Self {
        Self {
            report: Report {
                lines: 0,
                start: Start::Empty,
                last: None,
                torn: Vec::new(),
                expected: None,
                fault: None,
            },
            number: 0,
            expected,
            remains: None,
        }
    }

    /// Looks at the next line.
    fn step(&mut self, bytes: &[u8], end: End) -> Option<Found> {
        self.number += 1;
        match read(bytes) {
            Ok(line) => {
                if end == End::Nothing {
                    return Some(self.found(FaultKind::Torn, None));
                }
                self.line(&line)
            }
            Err(broken) => self.no_line(bytes, end, broken),
        }
    }

    fn found(&self, kind: FaultKind, prev: Option<Hash>) -> Found {
        let line = self.number;
        Found { line, kind, prev }
    }

    fn line(&mut self, line: &Line) -> Option<Found> {
        if let Some((number, kind, bytes)) = self.remains.take() {
            let says_so = line.event == Event::Torn && line.data == torn(&bytes);
            if !says_so {
                let prev = None;
                return Some(Found {
                    line: number,
                    kind,
                    prev,
                });
            }
            self.report.torn.push(Torn {
                line: number,
                bytes: bytes.len() as u64,
            });
        } else if line.event == Event::Torn {
            // What it speaks of is gone.
            return Some(self.found(FaultKind::Removed, None));
        }
        match self.report.last {
            Some(last) if last != line.prev => {
                return Some(self.found(FaultKind::Removed, Some(line.prev)));
            }
            Some(_) => {}
            None if line.prev == Hash::NONE => self.report.start = Start::New,
            None if line.event == Event::Rotated => self.report.start = Start::Continues(line.prev),
            None => return Some(self.found(FaultKind::Removed, Some(line.prev))),
        }
        self.report.lines += 1;
        self.report.last = Some(line.hash);
        if self.expected == Some(line.hash) {
            self.report.expected = Some(self.number);
        }
        None
    }

    fn no_line(&mut self, bytes: &[u8], end: End, broken: Broken) -> Option<Found> {
        let kind = match broken {
            Broken::Hash => FaultKind::Changed,
            Broken::NoHash | Broken::NoEntry => FaultKind::NotLine,
        };
        let (_, _, remains) = match &mut self.remains {
            Some(remains) => {
                remains.2.push(b'\n');
                remains
            }
            none => none.insert((self.number, kind, Vec::new())),
        };
        remains.extend_from_slice(bytes);
        let too_many = remains.len() > 4 * MAX_LINE;
        if end == End::Nothing || too_many {
            let (line, _, _) = self.remains.take()?;
            let kind = if too_many { kind } else { FaultKind::Torn };
            return Some(Found {
                line,
                kind,
                prev: None,
            });
        }
        None
    }

    /// Ends the log.
    fn end(&mut self) {
        let found = match (&self.remains, self.expected) {
            (Some((line, kind, _)), _) => Found {
                line: *line,
                kind: *kind,
                prev: None,
            },
            (None, Some(_)) if self.report.expected.is_none() => Found {
                line: self.number,
                kind: FaultKind::Truncated,
                prev: None,
            },
            (None, _) => return,
        };
        self.report.fault = Some(found.explain(&HashMap::new()));
    }
}

impl Found {
    /// Says why, with the places of all lines where the chain is broken.
    fn explain(self, positions: &HashMap<Hash, u64>) -> Fault {
        let Self { line, kind, prev } = self;
        let place = prev.and_then(|prev| positions.get(&prev).copied());
        let (kind, what) = match (kind, place) {
            (FaultKind::Removed, Some(place)) if place >= line => (
                FaultKind::Reordered,
                format!("the line that was before it is now line {place}"),
            ),
            (FaultKind::Removed, Some(place)) => {
                let (from, to) = (place + 1, line - 1);
                let what = if from == to {
                    format!("line {from} was put in before it, or belongs elsewhere")
                } else {
                    format!("lines {from} to {to} were put in before it, or belong elsewhere")
                };
                (FaultKind::Inserted, what)
            }
            (FaultKind::Removed, None) => (
                kind,
                "the line that was before it is not in the file".to_owned(),
            ),
            (FaultKind::Changed, _) => (kind, "its hash is of another line".to_owned()),
            (FaultKind::NotLine, _) => (kind, "it is no line of an audit log".to_owned()),
            (FaultKind::Torn, _) => (kind, "the log ends in the middle of it".to_owned()),
            (_, _) => (
                kind,
                "the log ends with it, and has no line with the expected hash".to_owned(),
            ),
        };
        Fault { line, kind, what }
    }
}
