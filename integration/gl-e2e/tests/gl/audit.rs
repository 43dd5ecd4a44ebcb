//! `gl audit verify`. The logs are made here, hashes and all, by `sha256sum`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use gl_e2e::bundle::finish;
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

use crate::{Scratch, gl, run};

pub(crate) const TESTS: &[Test] = tests![
    verify_says_that_a_log_is_as_it_was_written,
    verify_names_the_first_bad_line,
    verify_sees_what_is_missing_at_the_end_by_a_known_hash,
    verify_tells_a_log_that_goes_on_after_another,
    verify_of_what_cannot_be_read_is_an_error,
];

const NONE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn sha256(bytes: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let out = child.wait_with_output().unwrap();
    String::from_utf8(out.stdout).unwrap()[..64].to_owned()
}

/// A line of the form that docs/audit.md gives, and its hash.
fn line(event: &str, number: u32, prev: &str) -> (String, String) {
    let head = format!(
        r#"{{"time":"2026-01-01T00:00:0{number}Z","event":"{event}","id":"box","profile_hash":null,"tier":"container","mode":"enforcing","data":{{"number":{number}}},"prev":"{prev}""#
    );
    let hash = sha256(format!("greenlang audit line 1\n{head}").as_bytes());
    (format!(r#"{head},"hash":"{hash}"}}"#), hash)
}

/// Four lines and the hash of the last.
fn log() -> (Vec<String>, String) {
    let (mut lines, mut prev) = (Vec::new(), NONE.to_owned());
    for (number, event) in ["start", "denial", "limit", "exit"].iter().enumerate() {
        let (line, hash) = line(event, number.try_into().unwrap(), &prev);
        lines.push(line);
        prev = hash;
    }
    (lines, prev)
}

fn file(lines: &[String]) -> Scratch {
    Scratch::new("audit.jsonl", (lines.join("\n") + "\n").as_bytes())
}

fn verify_says_that_a_log_is_as_it_was_written() -> Outcome {
    let (lines, last) = log();
    let log = file(&lines);
    let name = &log.path;
    run(&["audit", "verify", name])?.ok().prints(&format!(
        "{name}: 4 lines, as they were written\n{name}: last hash {last}"
    ));
    let report = run(&["audit", "verify", "--json", "--expect-last", &last, name])?
        .ok()
        .json();
    let want = json!({
        "lines": 4, "start": "new", "last": last, "torn": [], "expected": 4, "fault": null,
    });
    assert_eq!(report, want);
    Ok(())
}

fn verify_names_the_first_bad_line() -> Outcome {
    let (lines, _) = log();
    let mut changed = lines.clone();
    changed[1] = changed[1].replace("denial", "exit");
    let mut removed = lines.clone();
    removed.remove(2);
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let mut inserted = lines.clone();
    inserted.insert(3, lines[0].clone());
    for (lines, number, kind, says) in [
        (changed, 2, "changed", "its hash is of another line"),
        (
            removed,
            3,
            "removed",
            "the line that was before it is not in the file",
        ),
        (
            swapped,
            2,
            "reordered",
            "the line that was before it is now line 3",
        ),
        (
            inserted,
            4,
            "removed",
            "the line that was before it is not in the file",
        ),
    ] {
        let log = file(&lines);
        let out = run(&["audit", "verify", &log.path])?.status(1);
        out.contains(&format!("{}:{number}: error: {says}", log.path));
        let report = run(&["audit", "verify", "--json", &log.path])?
            .status(1)
            .json();
        assert_eq!(report["fault"]["line"], json!(number), "{report}");
        assert_eq!(report["fault"]["kind"], json!(kind), "{report}");
    }
    Ok(())
}

fn verify_sees_what_is_missing_at_the_end_by_a_known_hash() -> Outcome {
    let (lines, last) = log();
    let log = file(&lines[..3]);
    run(&["audit", "verify", &log.path])?.ok();
    let out = run(&["audit", "verify", "--expect-last", &last, &log.path])?.status(1);
    out.contains(&format!(
        "{}:3: error: the log ends with it, and has no line with the expected hash",
        log.path
    ));
    let out = run(&["audit", "verify", "--expect-last", "abc", &log.path])?.status(2);
    let want = "it is not 64 lower-case hexadecimal digits";
    assert!(out.stderr.contains(want), "{out:?}");
    Ok(())
}

fn verify_tells_a_log_that_goes_on_after_another() -> Outcome {
    let (_, last) = log();
    let (next, _) = line("rotated", 5, &last);
    let log = file(&[next]);
    let out = run(&["audit", "verify", &log.path])?.ok();
    out.contains(&format!(
        "{}: goes on after a log that ends with {last}",
        log.path
    ));
    let report = run(&["audit", "verify", "--json", &log.path])?.ok().json();
    assert_eq!(report["start"], json!({ "continues": last }));
    Ok(())
}

fn verify_of_what_cannot_be_read_is_an_error() -> Outcome {
    let out = run(&["audit", "verify", "/no/such/file"])?.status(1);
    let want = "gl: open the audit log /no/such/file: no such file or directory\n";
    assert_eq!((&*out.stdout, &*out.stderr), ("", want));
    let out = finish(&mut gl(&["audit", "verify"])?).status(2);
    assert_ne!(out.stderr, "");
    let empty = Scratch::new("audit.jsonl", b"");
    let report: Value = run(&["audit", "verify", "--json", &empty.path])?
        .ok()
        .json();
    assert_eq!(
        (&report["lines"], &report["start"]),
        (&json!(0), &json!("empty"))
    );
    Ok(())
}
