use std::os::unix::net::UnixStream;
use std::thread;

use super::*;
use crate::systemd::wire::Reader;

fn shown(manager: Manager, variables: &[(&str, &str)]) -> Vec<String> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    addresses(manager, variable)
        .into_iter()
        .map(|one| format!("{}{}", one.name, if one.has_bus { "" } else { " (own)" }))
        .collect()
}

#[test]
fn sockets_are_tried_in_their_order() {
    const SESSION: &str = "DBUS_SESSION_BUS_ADDRESS";
    const DIR: &str = "XDG_RUNTIME_DIR";
    for (manager, variables, want) in [
        (
            Manager::System,
            &[(DIR, "/run/user/1")][..],
            &["/run/dbus/system_bus_socket", "/run/systemd/private (own)"][..],
        ),
        (
            Manager::User,
            &[(SESSION, "unix:path=/a%20b,guid=1;tcp:host=x"), (DIR, "/r")],
            &["/a b", "/r/bus", "/r/systemd/private (own)"],
        ),
        (
            Manager::User,
            &[(SESSION, "unix:path=/r/bus"), (DIR, "/r")],
            &["/r/bus", "/r/systemd/private (own)"],
        ),
        (
            Manager::User,
            &[(SESSION, "unix:abstract=/t/x")],
            &["@/t/x"],
        ),
        (Manager::User, &[(SESSION, ""), (DIR, "")], &[]),
    ] {
        assert_eq!(shown(manager, variables), want, "{variables:?}");
    }
}

/// The other end of a connection: answers each call with the bytes of the next message.
fn serve(mut stream: UnixStream, lines: &'static str, answers: Vec<Vec<u8>>) {
    const LOGIN: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
    // With a single read: what stays behind would be lost on systemd.
    let mut seen = [0; 512];
    let len = stream.read(&mut seen).unwrap();
    assert_eq!(&seen[..len], LOGIN);
    stream.write_all(lines.as_bytes()).unwrap();
    for answer in answers {
        let mut start = vec![0; FIXED];
        stream.read_exact(&mut start).unwrap();
        let len = Message::length(&start).unwrap();
        stream.read_exact(&mut vec![0; len - FIXED]).unwrap();
        stream.write_all(&answer).unwrap();
    }
}

fn with_server(lines: &'static str, answers: Vec<Vec<u8>>, test: impl FnOnce(Result<Bus, Error>)) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || serve(theirs, lines, answers));
    let address = Address {
        name: "/test".to_owned(),
        has_bus: false,
    };
    test(Bus::greet(ours, address));
    server.join().unwrap();
}

/// A message with these fields, as the other side writes it.
fn message(kind: u8, fields: &[(u8, &str, &str)], reply_to: u32, body: &Writer) -> Vec<u8> {
    let mut out = Writer::default();
    for byte in [b'l', kind, 1, 1] {
        out.byte(byte);
    }
    out.u32(u32::try_from(body.bytes().len()).unwrap());
    out.u32(77);
    out.array(8, |out| {
        for (code, signature, value) in fields {
            out.align(8);
            out.byte(*code);
            out.signature(signature);
            match *signature {
                "g" => out.signature(value),
                _ => out.string(value),
            }
        }
        out.align(8);
        out.byte(5);
        out.signature("u");
        out.u32(reply_to);
    });
    out.align(8);
    [out.bytes(), body.bytes()].concat()
}

fn removed(job: &str, result: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.u32(1);
    for text in [job, "x.scope", result] {
        body.string(text);
    }
    let fields = [
        (1, "o", MANAGER_PATH),
        (2, "s", MANAGER),
        (3, "s", "JobRemoved"),
        (8, "g", "uoss"),
    ];
    message(4, &fields, 0, &body)
}

#[test]
fn the_end_of_a_job_that_comes_before_the_answer_is_kept() {
    let mut path = Writer::default();
    path.string("/job/2");
    let answer = message(2, &[(8, "g", "o")], 1, &path);
    let both = [
        removed("/job/1", "failed"),
        removed("/job/2", "done"),
        answer,
    ]
    .concat();
    with_server("DATA\r\nOK 12\r\n", vec![both], |bus| {
        let mut bus = bus.unwrap();
        let answer = bus.ask("StartTransientUnit", "", &Writer::default());
        let job = answer.unwrap().unwrap().body().string().unwrap();
        assert_eq!(job, "/job/2");
        assert_eq!(bus.wait_job(&job, JOB_LIMIT).unwrap(), "done");
        let err = bus
            .wait_job("/job/3", Duration::from_millis(20))
            .unwrap_err();
        let timed_out = matches!(err, Error::Talk { source, .. } if
            source == Errno::TIMEDOUT || source == Errno::CONNRESET);
        assert!(timed_out, "{err:?}");
    });
}

#[test]
fn an_error_answer_has_its_name_and_text() {
    let mut text = Writer::default();
    text.string("no such thing");
    let answer = message(3, &[(4, "s", "a.b.C"), (8, "g", "s")], 1, &text);
    with_server("DATA\r\nOK 12\r\n", vec![answer], |bus| {
        let said = bus.unwrap().ask("X", "", &Writer::default());
        let said = said.unwrap().unwrap_err();
        assert_eq!(
            (said.name.as_str(), said.text.as_str()),
            ("a.b.C", "no such thing")
        );
    });
}

#[test]
fn a_refused_login_is_an_error() {
    with_server("DATA\r\nREJECTED EXTERNAL\r\n", Vec::new(), |bus| {
        let err = bus.unwrap_err();
        assert_eq!(
            err.to_string(),
            "understand systemd at /test: it does not let us in"
        );
    });
}

#[test]
fn a_reader_of_nothing_is_at_its_end() {
    assert_eq!(Reader::new(b"").u32(), Err("a message ends too early"));
}
