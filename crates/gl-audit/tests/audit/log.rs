//! Writing.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use gl_audit::{Durability, Entry, Event, Hash, Log, Start};
use serde_json::{Value, json};

use crate::support::{Scratch, append, data, fault, filled, open, verified};

#[test]
fn a_line_has_its_keys_in_one_order_and_the_hash_at_the_end() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    let mut log = Log::open(&path, Durability::Disk).unwrap();
    let entry = Entry {
        event: Event::Start,
        id: "a\nb",
        profile_hash: None,
        tier: "container",
        mode: "permissive",
        data: &data(&json!({"z": 1.5, "a": ["ü", null]})),
    };
    let first = log.append(&entry).unwrap();
    let second = log.append(&entry).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let time = |line: &str| {
        let parsed: Value = serde_json::from_str(line).unwrap();
        parsed["time"].as_str().unwrap().to_owned()
    };
    let (none, hash) = ("0".repeat(64), first.to_string());
    let line = |time: &str, prev: &str, hash: Hash| {
        format!(
            r#"{{"time":"{time}","event":"start","id":"a\nb","profile_hash":null,"tier":"container","mode":"permissive","data":{{"a":["ü",null],"z":1.5}},"prev":"{prev}","hash":"{hash}"}}"#
        )
    };
    assert_eq!(
        lines,
        [
            line(&time(lines[0]), &none, first),
            line(&time(lines[1]), &hash, second),
        ]
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
}

#[test]
fn many_writers_make_one_chain() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    let write = |writer: u64| {
        let mut log = open(&path);
        let numbers = (0..200).map(|number| writer * 1000 + number);
        numbers
            .map(|number| append(&mut log, number).unwrap())
            .count()
    };
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || assert_eq!(write(writer), 200));
        }
    });
    let report = verified(&path);
    assert_eq!(
        (fault(&report), report.lines, report.start),
        (None, 1600, Start::New)
    );
    assert_eq!(report.torn, []);
}

#[test]
fn files_that_others_could_have_written_are_refused() {
    let scratch = Scratch::new();
    let said = |name: &str| {
        let path = scratch.join(name);
        let err = Log::open(&path, Durability::Kernel)
            .unwrap_err()
            .to_string();
        err.replace(path.to_str().unwrap(), "LOG")
    };
    filled(&scratch.join("log"), 1);
    symlink(scratch.join("log"), scratch.join("link")).unwrap();
    assert_eq!(said("link"), "use the audit log LOG: it is a symbolic link");
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(scratch.join("log"), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(said("log"), "use the audit log LOG: others may write to it");
    }
    fs::create_dir(scratch.join("dir")).unwrap();
    assert_eq!(
        said("dir"),
        "use the audit log LOG: it is not a regular file"
    );
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        scratch.join("pipe"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    assert_eq!(
        said("pipe"),
        "use the audit log LOG: it is not a regular file"
    );
    assert_eq!(said("missing/log"), "open the audit log LOG");
    if rustix::process::geteuid().is_root() {
        fs::write(scratch.join("others"), "").unwrap();
        std::os::unix::fs::chown(scratch.join("others"), Some(65534), None).unwrap();
        fs::set_permissions(scratch.join("others"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            said("others"),
            "use the audit log LOG: it belongs to another user"
        );
    }
}

#[test]
fn a_log_that_is_rotated_goes_on_with_its_chain() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    let mut log = open(&path);
    append(&mut log, 1).unwrap();
    let mut other = open(&path);
    let last = append(&mut other, 2).unwrap();
    // Under any name: the open file is known.
    fs::rename(&path, scratch.join("log-20260101")).unwrap();
    let third = append(&mut log, 3).unwrap();
    append(&mut other, 4).unwrap();
    let report = verified(&path);
    assert_eq!((fault(&report), report.lines), (None, 3));
    assert_eq!(report.start, Start::Continues(last));
    assert_eq!(verified(&scratch.join("log-20260101")).last, Some(last));
    assert_ne!(report.last, Some(third));
    // By a program that never saw the old file: it has the name that logrotate gives.
    let last = report.last.unwrap();
    fs::rename(&path, scratch.join("log.1")).unwrap();
    append(&mut open(&path), 5).unwrap();
    assert_eq!(verified(&path).start, Start::Continues(last));
    // An old file that is not known begins a new chain, as does one of somebody else.
    fs::rename(&path, scratch.join("log.old")).unwrap();
    fs::remove_file(scratch.join("log.1")).unwrap();
    symlink(scratch.join("log.old"), scratch.join("log.1")).unwrap();
    append(&mut open(&path), 6).unwrap();
    assert_eq!(verified(&path).start, Start::New);
}

#[test]
fn a_torn_line_is_told_and_the_chain_goes_on() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    for (what, rest, torn) in [
        ("half a line", r#"{"time":"2026-"#, true),
        ("zeros, as after a loss of power", "\0\0\0\0\0\0", true),
        ("two halves", "half\nhal", true),
        ("nothing", "", false),
    ] {
        fs::remove_file(&path).ok();
        let hashes = filled(&path, 3);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(rest.as_bytes()).unwrap();
        if torn {
            let report = verified(&path);
            assert_eq!(
                fault(&report),
                Some((4, "Torn".to_owned(), "the log ends in the middle of it")),
                "{what}"
            );
            assert_eq!(report.last, hashes.last().copied());
        }
        append(&mut open(&path), 4).unwrap();
        let report = verified(&path);
        let seen: Vec<_> = report
            .torn
            .iter()
            .map(|torn| (torn.line, torn.bytes))
            .collect();
        let want = if torn {
            vec![(4, rest.len() as u64)]
        } else {
            vec![]
        };
        assert_eq!((fault(&report), seen), (None, want), "{what}");
    }
    // A line that lacks nothing but its end is whole.
    fs::remove_file(&path).unwrap();
    filled(&path, 2);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 1]).unwrap();
    append(&mut open(&path), 3).unwrap();
    let report = verified(&path);
    assert_eq!(
        (fault(&report), report.lines, report.torn.len()),
        (None, 3, 0)
    );
}

#[test]
fn a_log_whose_last_line_was_changed_takes_no_more() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    filled(&path, 2);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(r#""number":2"#, r#""number":9"#)).unwrap();
    let err = append(&mut open(&path), 3).unwrap_err();
    let want = format!(
        "go on with the audit log {}: its last line is not as it was written",
        path.display()
    );
    assert_eq!(err.to_string(), want);
}

#[test]
fn an_entry_that_is_too_long_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    let mut log = open(&path);
    let mut entry = |len: usize| {
        log.append(&Entry {
            event: Event::Exit,
            id: "a",
            profile_hash: None,
            tier: "basic",
            mode: "enforcing",
            data: &data(&json!({"text": "x".repeat(len)})),
        })
    };
    let err = entry(1 << 20).unwrap_err().to_string();
    assert!(err.ends_with(" bytes: there may be 1048576"), "{err}");
    // The largest ones are found again at the end of the file.
    entry((1 << 20) - 1000).unwrap();
    entry((1 << 20) - 1000).unwrap();
    let report = verified(&path);
    assert_eq!((fault(&report), report.lines), (None, 2));
}
