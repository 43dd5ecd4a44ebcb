//! Finding what was changed.

use std::fs;

use gl_audit::{Hash, Start, verify};

use crate::support::{Scratch, fault, filled, verified};

/// Verifies the lines of a log after a change.
fn after(change: impl FnOnce(&mut Vec<String>)) -> Option<(u64, String, String)> {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    filled(&path, 8);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let report = verified(&path);
    fault(&report).map(|(line, kind, what)| (line, kind, what.to_owned()))
}

fn is(line: u64, kind: &str, what: &str) -> Option<(u64, String, String)> {
    Some((line, kind.to_owned(), what.to_owned()))
}

#[test]
fn the_first_bad_line_is_named_with_what_was_done() {
    assert_eq!(after(|_| {}), None);
    let changed = "its hash is of another line";
    assert_eq!(
        after(|lines| lines[4] = lines[4].replace("enforcing", "permissive")),
        is(5, "Changed", changed)
    );
    assert_eq!(
        after(|lines| lines[7] = lines[7].replace("box", "bax")),
        is(8, "Changed", changed)
    );
    let no_line = "it is no line of an audit log";
    assert_eq!(
        after(|lines| lines[2] = "{}".to_owned()),
        is(3, "NotLine", no_line)
    );
    assert_eq!(after(|lines| lines[2].clear()), is(3, "NotLine", no_line));
    let removed = "the line that was before it is not in the file";
    assert_eq!(
        after(|lines| drop(lines.remove(4))),
        is(5, "Removed", removed)
    );
    assert_eq!(
        after(|lines| drop(lines.drain(2..5))),
        is(3, "Removed", removed)
    );
    assert_eq!(
        after(|lines| drop(lines.remove(0))),
        is(1, "Removed", removed)
    );
    assert_eq!(
        after(|lines| lines.insert(4, lines[1].clone())),
        is(
            5,
            "Inserted",
            "lines 2 to 4 were put in before it, or belong elsewhere"
        )
    );
    assert_eq!(
        after(|lines| lines.swap(2, 3)),
        is(3, "Reordered", "the line that was before it is now line 4")
    );
    assert_eq!(
        after(|lines| {
            let line = lines.remove(2);
            lines.push(line);
        }),
        is(3, "Reordered", "the line that was before it is now line 8")
    );
    let inserted = "line 5 was put in before it, or belongs elsewhere";
    assert_eq!(forged_at_five(), is(6, "Inserted", inserted));
}

/// Puts a line with a right hash after line 4, which it names as the one before it.
fn forged_at_five() -> Option<(u64, String, String)> {
    let scratch = Scratch::new();
    let (whole, short) = (scratch.join("log"), scratch.join("short"));
    filled(&whole, 8);
    let text = fs::read_to_string(&whole).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&short, lines[..4].join("\n") + "\n").unwrap();
    rustix::fs::chmod(&short, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    crate::support::append(&mut crate::support::open(&short), 99).unwrap();
    let start = fs::read_to_string(&short).unwrap();
    fs::write(&whole, start + &lines[4..].join("\n") + "\n").unwrap();
    let report = verified(&whole);
    fault(&report).map(|(line, kind, what)| (line, kind, what.to_owned()))
}

#[test]
fn every_change_of_one_byte_is_found() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    filled(&path, 20);
    let good = fs::read(&path).unwrap();
    let line_of = |at: usize| 1 + good[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
    for at in 0..good.len() {
        let mut changed = good.clone();
        // Another bit each time, so that digits become digits as well as other things.
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let report = verified(&path);
        let found = report.fault.as_ref().map(|fault| fault.line);
        assert_eq!(found, Some(line_of(at)), "byte {at}: {report:?}");
    }
}

#[test]
fn every_byte_that_is_missing_or_added_is_found() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    filled(&path, 4);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut missing = good.clone();
        missing.remove(at);
        let mut added = good.clone();
        added.insert(at, b' ');
        for changed in [missing, added] {
            fs::write(&path, &changed).unwrap();
            let report = verified(&path);
            assert!(report.fault.is_some(), "byte {at}: {report:?}");
        }
    }
}

#[test]
fn lines_missing_at_the_end_are_seen_by_a_known_hash_alone() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    let hashes = filled(&path, 6);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&path, lines[..4].join("\n") + "\n").unwrap();
    assert_eq!(verified(&path).fault, None);
    let report = verify(&path, hashes.last().copied()).unwrap();
    assert_eq!(
        fault(&report),
        Some((
            4,
            "Truncated".to_owned(),
            "the log ends with it, and has no line with the expected hash"
        ))
    );
    let report = verify(&path, Some(hashes[3])).unwrap();
    assert_eq!((report.fault, report.expected), (None, Some(4)));
    // Lines that came after the known one are no fault.
    let report = verify(&path, Some(hashes[1])).unwrap();
    assert_eq!(
        (report.fault, report.expected, report.lines),
        (None, Some(2), 4)
    );
    fs::write(&path, "").unwrap();
    let report = verified(&path);
    assert_eq!(
        (report.fault, report.start, report.last),
        (None, Start::Empty, None)
    );
    let report = verify(&path, Some(Hash::NONE)).unwrap();
    assert_eq!(report.fault.map(|fault| fault.line), Some(0));
}

#[test]
fn a_torn_entry_speaks_only_of_what_is_before_it() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    filled(&path, 2);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}half")).unwrap();
    filled(&path, 1);
    let good = fs::read_to_string(&path).unwrap();
    assert_eq!(verified(&path).torn.len(), 1);
    fs::write(&path, good.replace("half\n", "haLf\n")).unwrap();
    assert_eq!(
        fault(&verified(&path)),
        Some((3, "NotLine".to_owned(), "it is no line of an audit log"))
    );
    fs::write(&path, good.replace("half\n", "")).unwrap();
    assert_eq!(
        fault(&verified(&path)),
        Some((
            3,
            "Removed".to_owned(),
            "the line that was before it is not in the file"
        ))
    );
}
