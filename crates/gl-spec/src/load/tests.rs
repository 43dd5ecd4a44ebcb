use serde_json::json;

use super::*;
use crate::{Class, Classify as _, chain, validate, validate_process, write};

/// Configs as engines write them: long lists cut short, host names and paths made neutral.
const ENGINES: &[(&str, &str)] = &[
    ("runc-spec", include_str!("../../tests/data/runc-spec.json")),
    ("ctr", include_str!("../../tests/data/ctr.json")),
    (
        "docker-limits",
        include_str!("../../tests/data/docker-limits.json"),
    ),
    (
        "docker-privileged",
        include_str!("../../tests/data/docker-privileged.json"),
    ),
    (
        "docker-readonly",
        include_str!("../../tests/data/docker-readonly.json"),
    ),
    ("podman", include_str!("../../tests/data/podman.json")),
    (
        "podman-limits",
        include_str!("../../tests/data/podman-limits.json"),
    ),
    (
        "podman-privileged",
        include_str!("../../tests/data/podman-privileged.json"),
    ),
    (
        "podman-userns",
        include_str!("../../tests/data/podman-userns.json"),
    ),
];

const MINIMAL: &str = r#"{
  "ociVersion": "1.2.0",
  "root": {"path": "rootfs"},
  "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
  "linux": {"namespaces": [{"type": "mount"}]}
}"#;

fn minimal() -> Value {
    serde_json::from_str(MINIMAL).unwrap()
}

/// The minimal config with one value put at a JSON pointer; the parents are made.
fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut config = minimal();
    let mut place = &mut config;
    for step in pointer.split('/').skip(1) {
        if place.is_null() {
            *place = json!({});
        }
        place = &mut place[step];
    }
    *place = value;
    serde_json::to_vec(&config).unwrap()
}

fn error(bytes: &[u8]) -> Error {
    match load(bytes) {
        Err(err) => err,
        Ok(loaded) => panic!(
            "accepted {}: {:?}",
            String::from_utf8_lossy(bytes),
            loaded.spec
        ),
    }
}

#[test]
fn configs_of_engines_are_read_on_the_short_path_and_valid() {
    for (name, text) in ENGINES {
        assert!(!needs_a_closer_look(text), "{name}");
        let loaded = load(text.as_bytes()).unwrap_or_else(|e| panic!("{name}: {}", chain(&e)));
        assert_eq!(loaded.warnings, [], "{name}");
        let warnings = validate(&loaded.spec).unwrap_or_else(|e| panic!("{name}: {}", chain(&e)));
        assert_eq!(warnings, [], "{name}");
    }
}

#[test]
fn configs_of_engines_survive_being_stored() {
    for (name, text) in ENGINES {
        let spec = load(text.as_bytes()).unwrap().spec;
        let stored = write(&spec);
        assert_eq!(load(stored.as_bytes()).unwrap().spec, spec, "{name}");
    }
}

#[test]
fn process_documents_of_engines_are_read_and_valid() {
    for (name, text) in [
        ("docker", include_str!("../../tests/data/docker-exec.json")),
        ("podman", include_str!("../../tests/data/podman-exec.json")),
        (
            "podman -t",
            include_str!("../../tests/data/podman-exec-tty.json"),
        ),
    ] {
        let (process, warnings) = load_process(text.as_bytes()).unwrap();
        assert_eq!(warnings, [], "{name}");
        validate_process(&process).unwrap_or_else(|e| panic!("{name}: {}", chain(&e)));
    }
}

#[test]
fn resources_documents_of_engines_are_read() {
    let podman = br#"{"memory":{"limit":83886080,"swap":167772160}}"#;
    let (resources, _) = load_resources(podman).unwrap();
    assert_eq!(
        resources.memory().unwrap().limit(),
        Some(83_886_080),
        "{resources:?}"
    );
    let docker = br#"{"devices":null,"memory":{"limit":1},"cpu":{"cpus":""},"pids":null}"#;
    let (resources, warnings) = load_resources(docker).unwrap();
    assert_eq!(resources.memory().unwrap().limit(), Some(1));
    assert_eq!(warnings, []);
}

#[test]
fn a_field_of_the_wrong_kind_is_named_with_what_was_seen_and_where() {
    for (text, field, said) in [
        (
            MINIMAL.replace(r#""uid": 0"#, r#""uid": 4294967296"#),
            "process.user.uid",
            "read process.user.uid of config.json: invalid value: integer `4294967296`, \
             expected u32 at line 4 column 40",
        ),
        (
            MINIMAL.replace(r#""uid": 0"#, r#""uid": -1"#),
            "process.user.uid",
            "read process.user.uid of config.json: invalid value: integer `-1`, \
             expected u32 at line 4 column 32",
        ),
        (
            MINIMAL.replace(r#""uid": 0"#, r#""uid": "root""#),
            "process.user.uid",
            "read process.user.uid of config.json: invalid type: string \"root\", \
             expected u32 at line 4 column 36",
        ),
        (
            MINIMAL.replace(r#", "cwd": "/""#, ""),
            "process.cwd",
            "read process.cwd of config.json: missing field `cwd` at line 4 column 59",
        ),
        (
            MINIMAL.replace(r#""uid": 0"#, r#""uid": 0, "uid": 1000"#),
            "process.user.uid",
            "read process.user.uid of config.json: duplicate field `uid` at line 4 column 38",
        ),
    ] {
        let err = error(text.as_bytes());
        assert_eq!(chain(&err), said, "{text}");
        assert_eq!(err.field().as_deref(), Some(field), "{text}");
        assert_eq!(err.class(), Class::Invalid);
        assert_eq!(err.code(), "E_CONFIG");
        assert!(err.hint().is_some(), "{text}");
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_known_ones() {
    let err = error(&with(
        "/linux/namespaces",
        json!([{"type": "mount"}, {"type": "pit"}]),
    ));
    assert_eq!(err.field().as_deref(), Some("linux.namespaces[1].type"));
    let said = chain(&err);
    assert!(
        said.contains("unknown variant `pit`, expected one of `mount`"),
        "{said}"
    );
    let err = error(&with(
        "/process/rlimits",
        json!([{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}]),
    ));
    assert_eq!(err.field().as_deref(), Some("process.rlimits[0].type"));
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    for (bytes, said) in [
        (
            &b""[..],
            "parse config.json as JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            b"{\n  nonsense",
            "parse config.json as JSON: key must be a string at line 2 column 3",
        ),
        (
            b"{\"ociVersion\": \"1.0.0\"} x",
            "parse config.json as JSON: trailing characters at line 1 column 25",
        ),
        (
            b"{\"ociVersion\": \"1.0.",
            "parse config.json as JSON: EOF while parsing a string at line 1 column 20",
        ),
        (
            b"{\"ociVersion\": \"\xff\"}",
            "read config.json: the byte at offset 16 is not UTF-8",
        ),
    ] {
        let err = error(bytes);
        assert_eq!(chain(&err), said);
        assert_eq!(err.code(), "E_CONFIG_JSON");
    }
}

#[test]
fn a_document_over_the_limit_is_refused_unread() {
    let err = error(&vec![b' '; MAX_DOCUMENT_BYTES + 1]);
    assert_eq!(
        err.to_string(),
        "read config.json: 8388609 bytes are more than the 8388608 allowed"
    );
    assert_eq!(err.code(), "E_CONFIG_SIZE");
    let mut longest = MINIMAL.as_bytes().to_vec();
    longest.resize(MAX_DOCUMENT_BYTES, b' ');
    assert_eq!(load(&longest).unwrap().spec.version(), "1.2.0");
}

#[test]
fn unknown_capabilities_are_ignored_with_a_warning() {
    let loaded = load(&with(
        "/process/capabilities",
        json!({"bounding": ["CAP_CHOWN", "CAP_TIME_TRAVEL", "CAP_KILL"], "ambient": ["CAP_X"]}),
    ))
    .unwrap();
    let capabilities = loaded.spec.process().as_ref().unwrap().capabilities();
    let capabilities = capabilities.as_ref().unwrap();
    assert_eq!(
        capabilities.bounding().as_ref().unwrap(),
        &oci::Capabilities::from([oci::Capability::Chown, oci::Capability::Kill])
    );
    assert_eq!(capabilities.ambient().as_ref().unwrap().len(), 0);
    let said: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "process.capabilities.bounding[1]: capability \"CAP_TIME_TRAVEL\" is not known: ignored",
            "process.capabilities.ambient[0]: capability \"CAP_X\" is not known: ignored",
        ]
    );
}

#[test]
fn a_capability_that_is_no_string_is_refused() {
    let err = error(&with(
        "/process/capabilities",
        json!({"bounding": [7, "CAP_X"]}),
    ));
    assert_eq!(
        err.field().as_deref(),
        Some("process.capabilities.bounding[0]"),
        "{}",
        chain(&err)
    );
}

#[test]
fn a_fault_behind_a_repaired_one_is_named() {
    let mut config = minimal();
    config["process"]["capabilities"] = json!({"bounding": ["CAP_X"]});
    config["linux"]["namespaces"] = json!([{"type": "pit"}]);
    let err = error(&serde_json::to_vec(&config).unwrap());
    assert_eq!(err.field().as_deref(), Some("linux.namespaces[0].type"));
}

#[test]
fn a_fault_behind_a_repaired_one_is_said_without_a_place_in_the_repaired_text() {
    for (namespace, said) in [
        (
            json!({"type": "pit\nlike"}),
            "read linux.namespaces[1].type of config.json: unknown variant `pit\nlike`, expected one \
             of `mount`, `cgroup`, `uts`, `ipc`, `user`, `pid`, `network`, `time`",
        ),
        (
            json!({"path": "/x"}),
            "read linux.namespaces[1].type of config.json: missing field `type`",
        ),
        (
            json!({"type": "pid", "path": {}}),
            "read linux.namespaces[1].path of config.json: invalid type: map, \
             expected path string",
        ),
        (
            json!({"type": 5}),
            "read linux.namespaces[1].type of config.json: invalid type: expected string or map",
        ),
        (
            json!({"type": ["pid"]}),
            "read linux.namespaces[1].type of config.json: invalid type: expected string or map",
        ),
    ] {
        let mut config = minimal();
        config["annotations"] = json!({"a": null});
        config["linux"]["namespaces"] = json!([{"type": "mount"}, namespace]);
        let err = error(&serde_json::to_vec(&config).unwrap());
        assert_eq!(chain(&err), said);
        assert!(err.hint().is_some(), "{said}");
    }
}

#[test]
fn a_value_that_a_check_behind_the_parser_refuses_is_named() {
    for (affinity, field) in [
        (r#"{"initial": "x"}"#, "initial"),
        (r#"{"initial": "x" , "final": "0"}"#, "initial"),
        ("{\"final\": \"0\",\n\"initial\": \"x\"\n}", "initial"),
        (r#"{"initial": "0", "final": "x}"}"#, "final"),
    ] {
        let text = MINIMAL.replace(
            r#""cwd": "/""#,
            &format!(r#""execCPUAffinity": {affinity}, "cwd": "/""#),
        );
        let err = error(text.as_bytes());
        let want = format!("process.execCPUAffinity.{field}");
        assert_eq!(
            err.field().as_deref(),
            Some(want.as_str()),
            "{}",
            chain(&err)
        );
    }
}

#[test]
fn a_fault_of_the_whole_document_is_named_as_such() {
    assert_eq!(
        chain(&error(b"null")),
        "read the top level of config.json: invalid type: null, expected struct Spec \
         at line 1 column 4"
    );
}

#[test]
fn nulls_count_as_absent_wherever_go_writes_them() {
    for pointer in [
        "/hostname",
        "/domainname",
        "/mounts",
        "/hooks",
        "/annotations",
        "/process/env",
        "/process/terminal",
        "/process/user",
        "/process/user/uid",
        "/process/user/additionalGids",
        "/process/capabilities",
        "/process/rlimits",
        "/process/oomScoreAdj",
        "/linux/devices",
        "/linux/seccomp",
        "/linux/sysctl",
        "/linux/resources",
        "/linux/resources/devices",
        "/linux/resources/memory/limit",
        "/linux/resources/pids/limit",
        "/linux/resources/blockIO/weightDevice",
        "/linux/maskedPaths",
        "/windows",
    ] {
        let loaded = load(&with(pointer, Value::Null))
            .unwrap_or_else(|e| panic!("{pointer}: {}", chain(&e)));
        validate(&loaded.spec).unwrap_or_else(|e| panic!("{pointer}: {}", chain(&e)));
    }
}

#[test]
fn what_the_spec_allows_and_the_oci_types_refuse_is_read() {
    for (pointer, value) in [
        (
            "/process/execCPUAffinity",
            json!({"initial": "", "final": "0-1"}),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_DL_OVERRUN"]}),
        ),
        (
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 18_446_744_073_709_551_615_u64}]),
        ),
        (
            "/linux/resources/devices",
            json!([{"allow": false, "type": "", "access": "rwm"}]),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW",
                   "syscalls": [{"names": null, "action": "SCMP_ACT_ERRNO"}]}),
        ),
        ("/vm", json!({"hypervisor": {"path": "/usr/bin/qemu"}})),
        ("/windows", json!({"layerFolders": "x"})),
        ("/somethingNew", json!({"list": [[1], [2]]})),
    ] {
        let loaded =
            load(&with(pointer, value)).unwrap_or_else(|e| panic!("{pointer}: {}", chain(&e)));
        validate(&loaded.spec).unwrap_or_else(|e| panic!("{pointer}: {}", chain(&e)));
        let stored = write(&loaded.spec);
        assert_eq!(
            load(stored.as_bytes()).unwrap().spec,
            loaded.spec,
            "{pointer}"
        );
    }
}

#[test]
fn a_process_without_user_is_root_with_a_warning() {
    let mut config = minimal();
    config["process"].as_object_mut().unwrap().remove("user");
    let loaded = load(&serde_json::to_vec(&config).unwrap()).unwrap();
    assert_eq!(loaded.spec.process().as_ref().unwrap().user().uid(), 0);
    assert_eq!(
        loaded.warnings[0].to_string(),
        "process.user: is missing: taken as uid 0 and gid 0"
    );
}

#[test]
fn empty_strings_count_as_absent() {
    let mut config = minimal();
    config["hostname"] = json!("");
    config["process"]["apparmorProfile"] = json!("");
    config["linux"]["cgroupsPath"] = json!("");
    config["linux"]["rootfsPropagation"] = json!("");
    config["linux"]["namespaces"] = json!([{"type": "mount", "path": ""}]);
    config["mounts"] = json!([{"destination": "/a", "type": "", "source": ""}]);
    let spec = load(&serde_json::to_vec(&config).unwrap()).unwrap().spec;
    let linux = spec.linux().as_ref().unwrap();
    let mount = &spec.mounts().as_ref().unwrap()[0];
    assert_eq!(spec.hostname(), &None);
    assert_eq!(spec.process().as_ref().unwrap().apparmor_profile(), &None);
    assert_eq!(linux.cgroups_path(), &None);
    assert_eq!(linux.rootfs_propagation(), &None);
    assert_eq!(linux.namespaces().as_ref().unwrap()[0].path(), &None);
    assert_eq!((mount.typ(), mount.source()), (&None, &None));
}

#[test]
fn a_list_in_place_of_an_object_is_refused() {
    for (pointer, value, field) in [
        ("/root", json!([]), "root"),
        ("/root", json!(["/", false]), "root"),
        ("/process", json!([]), "process"),
        ("/process/user", json!([1000, 1000]), "process.user"),
        ("/process/capabilities", json!([]), "process.capabilities"),
        ("/linux", json!([]), "linux"),
        ("/linux/resources", json!([]), "linux.resources"),
        (
            "/linux/resources/memory",
            json!([1]),
            "linux.resources.memory",
        ),
        (
            "/linux/namespaces",
            json!([["mount"]]),
            "linux.namespaces[0]",
        ),
        (
            "/mounts",
            json!([{"destination": "/a"}, ["/b"]]),
            "mounts[1]",
        ),
        (
            "/linux/netDevices",
            json!({"eth0": ["eth1"]}),
            "linux.netDevices.eth0",
        ),
    ] {
        let err = error(&with(pointer, value.clone()));
        assert_eq!(
            err.field().as_deref(),
            Some(field),
            "{value}: {}",
            chain(&err)
        );
    }
    assert_eq!(error(b"[]").field().as_deref(), Some("config.json"));
    // The name of a member can be spelled with an escape.
    let text = MINIMAL.replace(r#""root": {"path": "rootfs"}"#, r#""r\u006fot": ["/"]"#);
    assert_eq!(error(text.as_bytes()).field().as_deref(), Some("root"));
}

#[test]
fn a_nul_byte_anywhere_is_refused_with_its_field() {
    for (pointer, value, field) in [
        ("/process/args", json!(["a", "b\0c"]), "process.args[1]"),
        ("/root/path", json!("/\0"), "root.path"),
        (
            "/mounts",
            json!([{"destination": "/a\0"}]),
            "mounts[0].destination",
        ),
        ("/linux/sysctl", json!({"net.a\0": "1"}), "linux.sysctl"),
    ] {
        let err = error(&with(pointer, value));
        assert_eq!(err.field().as_deref(), Some(field), "{}", chain(&err));
    }
    // A backslash and the text of an escape are no NUL byte.
    let text = MINIMAL.replace(r#"["sh"]"#, r#"["sh", "\\u0000"]"#);
    load(text.as_bytes()).unwrap();
}

/// A generator of numbers below a bound, the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

const PIECES: &[&[u8]] = &[
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"4294967295",
    b"18446744073709551616",
    b"1e400",
    b"\"\"",
    b"\"\\u0000\"",
    b"\"..\"",
    b"true",
    b",",
    b"\"",
    b"}",
    b"\xff",
];

/// Puts a piece before or in place of the token that begins somewhere.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let at = numbers.below(bytes.len());
    let length = bytes[at..]
        .iter()
        .position(|b| b",}]\n".contains(b))
        .unwrap_or(1);
    let end = if numbers.below(3) == 0 {
        at
    } else {
        at + length
    };
    let piece = PIECES[numbers.below(PIECES.len())];
    bytes.splice(at..end, piece.iter().copied());
}

/// Reads a damaged document: what is accepted can be stored and read again, what is not is refused
/// in one line.
fn is_accepted(bytes: &[u8]) -> bool {
    match load(bytes) {
        Ok(loaded) if validate(&loaded.spec).is_ok() => {
            let stored = write(&loaded.spec);
            assert_eq!(load(stored.as_bytes()).unwrap().spec, loaded.spec);
            true
        }
        Ok(_) => true,
        Err(err) => {
            assert!(!chain(&err).contains('\n'), "{}", chain(&err));
            false
        }
    }
}

#[test]
fn damaged_documents_never_panic() {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let (mut accepted, mut refused) = (0, 0);
    for (_, text) in ENGINES {
        for _ in 0..120 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=numbers.below(2) {
                damage(&mut bytes, &mut numbers);
            }
            if is_accepted(&bytes) {
                accepted += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(accepted > 50 && refused > 500, "{accepted} {refused}");
}

/// What `serde_path_to_error` says about a text that is JSON and no config: a field, and the error
/// of `serde_json`.
fn judged(text: &str) -> Option<(String, serde_json::Error)> {
    let mut json = serde_json::Deserializer::from_str(text);
    let err = serde_path_to_error::deserialize::<_, oci::Spec>(&mut json).err()?;
    let path = err.path().to_string();
    let source = err.into_inner();
    source.is_data().then_some((path, source))
}

#[test]
fn fields_at_fault_are_those_that_a_parser_which_keeps_the_path_names() {
    let mut numbers = Numbers(0x0dd_ba11_c0ff_ee11);
    let (mut values, mut members) = (0, 0);
    for round in 0..4000 {
        let (name, text) = ENGINES[numbers.below(ENGINES.len())];
        let mut bytes = text.as_bytes().to_vec();
        damage(&mut bytes, &mut numbers);
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        let Some((path, err)) = judged(&text) else {
            continue;
        };
        let said = err.to_string();
        // No error that a user sees: unknown capabilities are dropped.
        if said.starts_with("no variant for") {
            continue;
        }
        let (field, mismatch) = field_at_fault(&text, &err, &said);
        let want = match mismatch {
            Mismatch::Missing | Mismatch::Twice => {
                members += 1;
                let member = said.split('`').nth(1).unwrap();
                repair::join(path.trim_start_matches('.'), member)
            }
            _ => {
                values += 1;
                path
            }
        };
        assert_eq!(field, want, "{name}, round {round}: {said}");
    }
    assert!(values > 300 && members > 20, "{values} {members}");
}

/// Found by fuzzing: the message named no field.
#[test]
fn nul_below_a_key_that_is_empty_or_holds_it_is_named_all_the_same() {
    for (text, want) in [
        (
            r#"{"": "a\u0000b"}"#,
            r#"validate "": "a\0b" contains a NUL byte"#,
        ),
        (
            r#"{"a\u0000": 1}"#,
            r#"validate a\0: "a\0" contains a NUL byte"#,
        ),
    ] {
        let config = format!(
            "{}, {}",
            text.trim_end_matches('}'),
            &MINIMAL.trim_start()[1..]
        );
        let err = load(config.as_bytes()).unwrap_err();
        assert_eq!(err.to_string(), want, "{config}");
    }
}
