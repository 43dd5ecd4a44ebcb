//! A journald of the tests' own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSliceMut, Read as _, Seek as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use gl_audit::{Entry, Event, Journal};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::support::{Scratch, data};

/// Reads fields as journald does.
fn fields(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|b| *b == b'\n').unwrap();
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (name, value);
        if let Some(equals) = line.iter().position(|b| *b == b'=') {
            (name, value) = (text(&line[..equals]), text(&line[equals + 1..]));
            bytes = rest;
        } else {
            let len = u64::from_le_bytes(*rest.first_chunk().unwrap());
            let len = usize::try_from(len).unwrap();
            (name, value) = (text(line), text(&rest[8..8 + len]));
            assert_eq!(rest[8 + len], b'\n');
            bytes = &rest[9 + len..];
        }
        assert!(fields.insert(name, value).is_none());
    }
    fields
}

#[test]
fn entries_arrive_with_all_their_fields() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let server = UnixDatagram::bind(&path).unwrap();
    let journal = Journal::at(&path).unwrap();
    journal
        .send(&Entry {
            event: Event::Denial,
            id: "a\nGREENLANG_ID=b",
            profile_hash: Some("sha256:1"),
            tier: "container",
            mode: "enforcing",
            data: &data(&json!({"call": "mount"})),
        })
        .unwrap();
    let mut buffer = vec![0; 65536];
    let len = server.recv(&mut buffer).unwrap();
    let want = [
        ("MESSAGE", "a\nGREENLANG_ID=b denial (container, enforcing)"),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "gl"),
        ("GREENLANG_EVENT", "denial"),
        ("GREENLANG_ID", "a\nGREENLANG_ID=b"),
        ("GREENLANG_PROFILE_HASH", "sha256:1"),
        ("GREENLANG_TIER", "container"),
        ("GREENLANG_MODE", "enforcing"),
        ("GREENLANG_DATA", r#"{"call":"mount"}"#),
    ];
    let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(fields(&buffer[..len]), BTreeMap::from(want));
}

#[test]
fn an_entry_larger_than_a_datagram_comes_as_a_sealed_file() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let server = UnixDatagram::bind(&path).unwrap();
    let long = "x".repeat(4 << 20);
    Journal::at(&path)
        .unwrap()
        .send(&Entry {
            event: Event::Exit,
            id: "a",
            profile_hash: None,
            tier: "basic",
            mode: "enforcing",
            data: &data(&json!({ "long": long })),
        })
        .unwrap();
    let mut bytes = [0; 16];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg(&server, &mut parts, &mut control, RecvFlags::empty()).unwrap();
    assert_eq!(message.bytes, 0);
    let mut files = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => files.collect(),
        _ => Vec::new(),
    });
    let file = files.next().unwrap();
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
    let want = rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SHRINK;
    assert!(seals.contains(want), "{seals:?}");
    let mut file = File::from(file);
    file.rewind().unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    let fields = fields(&content);
    assert_eq!(fields["GREENLANG_DATA"], format!(r#"{{"long":"{long}"}}"#));
}

#[test]
fn no_journald_is_an_error() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let shown = path.display().to_string();
    let want = format!("send an audit entry to journald at {shown}");
    assert_eq!(Journal::at(&path).unwrap_err().to_string(), want);
    let server = UnixDatagram::bind(&path).unwrap();
    let journal = Journal::at(&path).unwrap();
    drop(server);
    let err = journal
        .send(&Entry {
            event: Event::Start,
            id: "a",
            profile_hash: None,
            tier: "basic",
            mode: "enforcing",
            data: &data(&json!({})),
        })
        .unwrap_err();
    assert_eq!(gl_spec::chain(&err), format!("{want}: connection refused"));
}

#[test]
fn the_hosts_journald_keeps_entries_with_their_fields() {
    let Ok(journal) = Journal::open() else {
        println!("SKIP the_hosts_journald_keeps_entries_with_their_fields: no journald runs");
        return;
    };
    let id = format!("gl-audit-test-{}", std::process::id());
    let long = "x".repeat(600_000);
    for text in ["short\nwith a newline", &long] {
        let entry = Entry {
            event: Event::Limit,
            id: &id,
            profile_hash: Some("sha256:1"),
            tier: "container",
            mode: "enforcing",
            data: &data(&json!({ "text": text })),
        };
        journal.send(&entry).unwrap();
    }
    let journalctl = |args: &[&str]| {
        let output = Command::new("journalctl").args(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "journalctl {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    journalctl(&["--sync"]);
    let kept = journalctl(&["--all", "--output=json", &format!("GREENLANG_ID={id}")]);
    let kept: Vec<Value> = kept
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(kept.len(), 2, "{} entries", kept.len());
    for (entry, text) in kept.iter().zip(["short\nwith a newline", &long]) {
        assert_eq!(
            entry["MESSAGE"],
            json!(format!("{id} limit (container, enforcing)"))
        );
        assert_eq!(entry["PRIORITY"], "4");
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "gl");
        assert_eq!(entry["GREENLANG_EVENT"], "limit");
        let data: Value = serde_json::from_str(entry["GREENLANG_DATA"].as_str().unwrap()).unwrap();
        assert!(data == json!({ "text": text }), "the text is another one");
    }
}
