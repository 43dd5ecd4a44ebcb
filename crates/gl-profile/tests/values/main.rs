//! How the values of keys are written: what is taken, and what is refused with which words.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod network;

use gl_profile::{Error, Format, Layer, Profile, Umask, builtin};

/// A profile with `key = value`, in `section` unless that is empty: the value is in line 4.
fn layer(section: &str, key: &str, value: &str) -> Result<Layer, Error> {
    let section = match section {
        "" => String::new(),
        section => format!("[{section}]"),
    };
    let text = format!("version = 1\nname = \"p\"\n{section}\n{key} = {value}\n");
    Layer::parse("p.toml", &text, Format::Toml)
}

fn profile(section: &str, key: &str, value: &str) -> Profile {
    let layer = layer(section, key, value).unwrap_or_else(|error| panic!("{error}"));
    Profile::resolve(layer, &()).unwrap_or_else(|error| panic!("{error}"))
}

/// The one spelling of a value.
fn spelled(section: &str, key: &str, value: &str) -> String {
    let full = match section {
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    };
    let entries = profile(section, key, value).entries();
    let entries = entries
        .iter()
        .filter(|entry| entry.key == full && &*entry.origin.file == "p.toml");
    let values: Vec<_> = entries.map(|entry| entry.value.to_string()).collect();
    values.join(" ")
}

fn refused(section: &str, key: &str, value: &str) -> String {
    let message = layer(section, key, value).unwrap_err().to_string();
    let place = format!("read p.toml:4: {section}.{key}").replace(" .", " ");
    message.strip_prefix(&place).unwrap_or(&message).to_owned()
}

#[test]
fn sizes_times_and_numbers_have_one_spelling() {
    for (section, key, value, want) in [
        ("limits", "disk_quota_bytes", "1", "1"),
        ("limits", "disk_quota_bytes", "\"1B\"", "1"),
        ("limits", "disk_quota_bytes", "\"2 KiB\"", "2048"),
        (
            "limits",
            "disk_quota_bytes",
            "\"8388607TiB\"",
            "9223370937343148032",
        ),
        (
            "limits",
            "disk_quota_bytes",
            "9223372036854775807",
            "9223372036854775807",
        ),
        ("", "setup_timeout", "4294967295", "4294967295"),
        ("", "setup_timeout", "\"90s\"", "90"),
        ("", "setup_timeout", "\"2h\"", "7200"),
        ("limits", "cpu_percent_limit", "4294967295", "4294967295"),
        ("process", "umask", "\"022\"", "\"022\""),
        ("process", "umask", "\"0777\"", "\"777\""),
        (
            "process",
            "capabilities",
            "[\"CAP_SYS_ADMIN\", \"CAP_SYS_ADMIN\"]",
            "\"CAP_SYS_ADMIN\"",
        ),
        ("", "mode", "\"audit_only\"", "\"permissive\""),
        ("", "isolation", "\"chroot\"", "\"namespace\""),
        ("", "level", "\"moderate\"", "\"standard\""),
        ("seccomp", "default", "\"errno ENOSYS\"", "\"errno ENOSYS\""),
        ("seccomp", "default", "\"kill_process\"", "\"kill_process\""),
    ] {
        assert_eq!(spelled(section, key, value), want, "{key} = {value}");
    }
    assert_eq!(
        profile("process", "umask", "\"022\"")
            .process
            .umask
            .unwrap()
            .value,
        Umask(0o22)
    );
}

#[test]
fn sizes_times_and_numbers_that_do_not_fit_are_refused() {
    const SIZE: &str =
        ": expected a size of at least 1 byte, such as 1048576 or \"512MiB\", found ";
    const TIME: &str = ": expected a time of at least 1 second, such as 300 or \"5m\", found ";
    const UMASK: &str =
        ": expected three octal digits or a zero and three, such as \"022\", found ";
    for (section, key, value, want) in [
        ("limits", "disk_quota_bytes", "0", SIZE),
        ("limits", "disk_quota_bytes", "-1", SIZE),
        ("limits", "disk_quota_bytes", "1.5", SIZE),
        ("limits", "disk_quota_bytes", "\"8388608TiB\"", SIZE),
        (
            "limits",
            "disk_quota_bytes",
            "\"18446744073709551617B\"",
            SIZE,
        ),
        ("limits", "disk_quota_bytes", "\"-1B\"", SIZE),
        ("limits", "disk_quota_bytes", "\"MiB\"", SIZE),
        ("limits", "disk_quota_bytes", "\"1\"", SIZE),
        ("limits", "disk_quota_bytes", "\"1 mib\"", SIZE),
        ("limits", "disk_quota_bytes", "\"\"", SIZE),
        ("", "setup_timeout", "4294967296", TIME),
        ("", "setup_timeout", "\"0m\"", TIME),
        ("", "setup_timeout", "\"1ms\"", TIME),
        ("", "setup_timeout", "\"1193047h\"", TIME),
        ("process", "umask", "18", UMASK),
        ("process", "umask", "\"22\"", UMASK),
        ("process", "umask", "\"1022\"", UMASK),
        ("process", "umask", "\"+22\"", UMASK),
        ("process", "umask", "\"888\"", UMASK),
    ] {
        let want = format!("{want}{value}");
        assert_eq!(refused(section, key, value), want, "{key} = {value}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn words_that_are_mistyped_get_the_nearest() {
    for (section, key, value, want) in [
        (
            "process",
            "capabilities",
            "[\"CAP_KILL\", \"CAP_NET_ADMN\"]",
            "[1]: expected the name of a capability, such as CAP_NET_BIND_SERVICE, found \"CAP_NET_ADMN\"; did you mean \"CAP_NET_ADMIN\"?",
        ),
        (
            "process",
            "capabilities",
            "[\"NET_RAW\"]",
            "[0]: expected the name of a capability, such as CAP_NET_BIND_SERVICE, found \"NET_RAW\"; did you mean \"CAP_NET_RAW\"?",
        ),
        (
            "process",
            "capabilities",
            "[1]",
            "[0]: expected the name of a capability, such as CAP_NET_BIND_SERVICE, found 1",
        ),
        (
            "seccomp",
            "default",
            "\"alow\"",
            ": expected allow, log, kill_thread, kill_process, or errno with a name, such as \"errno EPERM\", found \"alow\"; did you mean \"allow\"?",
        ),
        (
            "seccomp",
            "default",
            "\"errno 1\"",
            ": expected allow, log, kill_thread, kill_process, or errno with a name, such as \"errno EPERM\", found \"errno 1\"",
        ),
        (
            "seccomp",
            "deny",
            "[\"open at\"]",
            "[0]: expected the name of a system call, such as openat or openat@files-read, found \"open at\"",
        ),
        (
            "filesystem",
            "bind_mounts",
            "[{ source = \"/a\", traget = \"/b\" }]",
            "[0].traget: expected one of the keys source, target, read_only, found the key \"traget\"; did you mean \"target\"?",
        ),
        (
            "filesystem",
            "bind_mounts",
            "[{ source = \"/a\" }]",
            "[0]: expected a table with source, target and read_only: target is missing, found a table",
        ),
        (
            "filesystem",
            "bind_mounts",
            "[{ target = \"/a\" }]",
            "[0]: expected a table with source, target and read_only: source is missing, found a table",
        ),
        (
            "filesystem",
            "bind_mounts",
            "[\"/a:/b\"]",
            "[0]: expected a table with source, target and read_only, found \"/a:/b\"",
        ),
        (
            "filesystem",
            "bind_mounts",
            "[{ source = \"a\", target = \"/b\" }]",
            "[0].source: expected an absolute path without \"..\", \".\", \"//\" or a slash at its end, found \"a\"",
        ),
        (
            "filesystem",
            "bind_mounts",
            "[{ source = \"/a\", target = \"/b\", read_only = 1 }]",
            "[0].read_only: expected true or false, found 1",
        ),
        (
            "filesystem",
            "selinux_context",
            "\"a b\"",
            ": expected an SELinux context of at most 255 characters, such as system_u:system_r:container_t:s0, found \"a b\"",
        ),
    ] {
        assert_eq!(refused(section, key, value), want, "{key} = {value}");
    }
}

#[test]
fn paths_are_absolute_and_clean() {
    for path in [
        "/", "/a", "/a/b c", "/a/..b", "/a/.b", "/a/b..", "/$HOME", "/\u{e4}",
    ] {
        let want = serde_json::Value::from(path).to_string();
        assert_eq!(
            spelled("filesystem", "mask_paths", &format!("[\"{path}\"]")),
            want
        );
    }
    let long = "/a".repeat(2048);
    for path in [
        "",
        "a",
        ".",
        "./a",
        "~/a",
        "/a/",
        "//",
        "/a//b",
        "/..",
        "/a/../b",
        "/a/.",
        "/./a",
        "/a\\nb",
        "/a\\u0000",
        "/${",
        "/${}",
        "/${A}",
        "/${a b}",
        "/${a}/..",
        "${a}/",
        &long,
    ] {
        let message = refused("filesystem", "mask_paths", &format!("[\"{path}\"]"));
        let want = "[0]: expected an absolute path without \"..\", \".\", \"//\" or a slash at its end, found ";
        assert!(message.starts_with(want), "{path}: {message}");
    }
}

#[test]
fn list_of_too_many_items_and_deep_nesting_are_refused() {
    let items = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert_eq!(spelled("network", "allowed_ports", &items(1024)), "1");
    assert_eq!(
        refused("network", "allowed_ports", &items(1025)),
        ": expected a list of at most 1024 items, found 1025 of them"
    );
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let error = layer("network", "allowed_ports", &deep).unwrap_err();
    let Error::Syntax { place, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(place.line, 4, "{error}");
}

#[test]
fn labels_are_names_that_confine() {
    for (key, value, want) in [
        ("apparmor_profile", "a//b", None),
        (
            "apparmor_profile",
            "unconfined",
            Some(
                "the name of an AppArmor profile other than unconfined: at most 255 printable ASCII characters",
            ),
        ),
        (
            "apparmor_profile",
            "",
            Some(
                "the name of an AppArmor profile other than unconfined: at most 255 printable ASCII characters",
            ),
        ),
        ("selinux_context", "u:r:t", None),
        (
            "selinux_context",
            "system_u:system_r:container_t:s0:c1,c2",
            None,
        ),
        (
            "selinux_context",
            "u:r",
            Some(
                "an SELinux context of at most 255 characters, such as system_u:system_r:container_t:s0",
            ),
        ),
        (
            "selinux_context",
            "u::t",
            Some(
                "an SELinux context of at most 255 characters, such as system_u:system_r:container_t:s0",
            ),
        ),
        (
            "selinux_context",
            "u:r:t:",
            Some(
                "an SELinux context of at most 255 characters, such as system_u:system_r:container_t:s0",
            ),
        ),
    ] {
        let got = layer("filesystem", key, &format!("{value:?}"))
            .err()
            .map(|error| error.to_string());
        let want = want.map(|want| {
            format!("read p.toml:4: filesystem.{key}: expected {want}, found {value:?}")
        });
        assert_eq!(got, want, "{key} {value}");
    }
}

/// Numbers that are the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[test]
fn damaged_file_is_a_profile_or_an_error_with_a_place_in_it() {
    let mut random = Random(7);
    let json = Profile::resolve("network_client", &())
        .unwrap()
        .canonical_json();
    let json = json.replace(',', ",\n").replace("network_client", "p");
    let toml = builtin::text("maximum")
        .unwrap()
        .replace("name = \"maximum\"", "name = \"p\"");
    let bytes = b"\"\\[]{}=,.-09aZ\n #\t\0\x7f$";
    let (mut good, mut bad) = (0, 0);
    for (text, format) in [(json, Format::Json), (toml, Format::Toml)] {
        for _ in 0..4000 {
            let mut damaged = text.clone().into_bytes();
            for _ in 0..=random.below(3) {
                let (at, byte) = (
                    random.below(damaged.len()),
                    bytes[random.below(bytes.len())],
                );
                match random.below(3) {
                    0 => damaged[at] = byte,
                    1 => damaged.insert(at, byte),
                    _ => drop(damaged.remove(at)),
                }
            }
            let damaged = String::from_utf8(damaged).unwrap();
            match Layer::parse("p", &damaged, format).and_then(|layer| Profile::resolve(layer, &()))
            {
                Ok(_) => good += 1,
                Err(error) => {
                    let lines = u32::try_from(damaged.lines().count() + 1).unwrap();
                    // An `extends` that was damaged names a profile; all else is a place in the file.
                    let place = error.place().unwrap_or_else(|| panic!("{error}"));
                    assert!(
                        &*place.file == "p" && place.line <= lines,
                        "{error}\n{damaged}"
                    );
                    bad += 1;
                }
            }
        }
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad");
}
