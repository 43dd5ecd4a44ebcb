use super::{Heard, KINDS};

const MARK: &str = "gl-abcdef012345";

/// What is heard of records, each the text after the time.
fn heard(records: &[&str]) -> Heard {
    let mut heard = Heard::default();
    for record in records {
        heard.take(&format!("audit(1795988595.167:2): {record}"), MARK);
    }
    heard
}

fn lines(heard: &Heard) -> Vec<String> {
    let (denials, _) = heard.denials(&[]);
    let line = |one: &crate::report::Denial| {
        let allow = one.allow.as_deref().unwrap_or("nothing");
        format!(
            "{}({}) {} x{}: {allow}",
            one.what,
            one.arguments.join(", "),
            one.answer,
            one.count
        )
    };
    let mut lines: Vec<String> = denials.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

const OURS: &str =
    r#"domain=a1 status=allocated mode=enforcing pid=7 uid=0 exe="/x/gl" comm="gl-abcdef012345""#;

#[test]
fn denials_have_their_paths_and_the_lines_that_would_allow_them() {
    let heard = heard(&[
        r#"domain=a1 blockers=fs.write_file path="/srv/x" dev="vda" ino=5"#,
        OURS,
        r#"domain=a1 blockers=fs.write_file path="/srv/x" dev="vda" ino=5"#,
        r#"domain=a1 blockers=fs.read_file path="/etc/shadow" dev="vda" ino=6"#,
        "domain=a1 blockers=fs.make_reg path=2F612062 dev=\"vda\" ino=7",
        "domain=a1 blockers=scope.signal opid=1 ocomm=\"init\"",
        "domain=a1 blockers=net.connect_tcp daddr=127.0.0.1 dest=80",
        r#"domain=a1 blockers=fs.refer path="/srv" dev="vda" ino=8"#,
        "domain=a1 status=deallocated denials=7",
    ]);
    assert!(!heard.is_waiting());
    assert_eq!(heard.denials(&[]).1, 0);
    assert_eq!(
        lines(&heard),
        [
            r#"fs.make_reg(path=/a b) EACCES x1: filesystem.read_write_paths = ["/a b"]"#,
            r#"fs.read_file(path=/etc/shadow) EACCES x1: filesystem.read_only_paths = ["/etc/shadow"]"#,
            r#"fs.refer(path=/srv) EXDEV x1: filesystem.read_write_paths = ["/srv"]"#,
            r#"fs.write_file(path=/srv/x) EACCES x2: filesystem.read_write_paths = ["/srv/x"]"#,
            "net.connect_tcp(address=127.0.0.1, port=80) EACCES x1: network.allow_network = true",
            "scope.signal(pid=1, process=init) EPERM x1: nothing",
        ]
    );
}

#[test]
fn denials_of_others_are_theirs() {
    let heard = heard(&[
        r#"domain=b2 blockers=fs.write_file path="/theirs" dev="vda" ino=5"#,
        r#"domain=b2 status=allocated mode=enforcing pid=7 uid=0 exe="/x/gl" comm="gl-abcdef012346""#,
        r#"domain=b2 blockers=fs.write_file path="/theirs" dev="vda" ino=5"#,
        // Never told whose it is.
        r#"domain=c3 blockers=fs.write_file path="/nobodys" dev="vda" ino=5"#,
    ]);
    assert_eq!(lines(&heard), Vec::<String>::new());
    assert!(heard.has_unknown());
    assert!(!heard.is_waiting());
}

#[test]
fn denials_that_were_not_heard_are_counted() {
    let mut records = vec![OURS.to_owned()];
    let many = KINDS + 2;
    records.extend((0..many).map(|at| format!(r#"domain=a1 blockers=fs.execute path="/{at}""#)));
    records.push("domain=a1 status=deallocated denials=1000".to_owned());
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let heard = heard(&records);
    let (denials, more) = heard.denials(&[]);
    assert_eq!((denials.len(), more), (KINDS, 1000 - KINDS as u64));
}

#[test]
fn what_is_no_record_is_passed_over() {
    let heard = heard(&[
        "",
        "domain=",
        "domain=zz blockers=fs.execute",
        "domain=a1",
        "blockers=fs.execute path=\"/\"",
        "domain=a1 status=deallocated denials=many",
    ]);
    assert_eq!(lines(&heard), Vec::<String>::new());
}
