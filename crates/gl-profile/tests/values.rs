//! How the values of keys are written: what is taken, and what is refused with which words.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use gl_profile::{Chain, Error, Format, Host, Layer, Profile, Protocol, Umask, Verdict};

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
            "[0]: expected the name of a system call, such as openat, found \"open at\"",
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
            ": expected a label: one word of at most 255 printable ASCII characters, found \"a b\"",
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
fn hosts_are_names_addresses_and_networks() {
    let hosts = "[\"a\", \"A.Example-1.org\", \"*.b\", \"1.2.3.4\", \"::1\", \"10.0.0.0/8\", \"0.0.0.0/0\", \"1.2.3.4/32\", \"fe80::/10\", \"::/0\", \"::FF/128\", \"xn--bcher-kva.example\", \"4.example\"]";
    assert_eq!(
        spelled("network", "allowed_hosts", hosts),
        "\"a\" \"a.example-1.org\" \"*.b\" \"1.2.3.4\" \"::1\" \"10.0.0.0/8\" \"0.0.0.0/0\" \"fe80::/10\" \"::/0\" \"::ff\" \"xn--bcher-kva.example\" \"4.example\""
    );
    let list = profile("network", "allowed_hosts", "[\"*.b\", \"A\"]")
        .network
        .allowed_hosts
        .unwrap();
    let hosts: Vec<_> = list.items.into_iter().map(|host| host.value).collect();
    assert_eq!(
        hosts,
        [Host::Below("b".to_owned()), Host::Name("a".to_owned())]
    );
    let long = format!("{}.a", "a".repeat(64));
    for host in [
        "",
        "*",
        "*.",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "-a",
        "a-",
        "*a",
        "a.*",
        "*.*.a",
        "*.1.2",
        "1.2.3",
        "1.2.3.4.5",
        "300.1.1.1",
        "1.2.3.4/33",
        "1.2.3.4/24",
        "1.2.3.4/",
        "1.2.3.4/-1",
        "1.2.3.4/08",
        "1.2.3.4/+8",
        "fe80::1/10",
        "::1/129",
        "*.::1",
        "[::1]",
        "a:80",
        "http://a",
        "\u{e4}.example",
        "a\\nb",
        &long,
    ] {
        let message = refused("network", "blocked_hosts", &format!("[\"{host}\"]"));
        let want = "[0]: expected a host name, *.name, an address, or a network such as 10.0.0.0/8 with no bit set behind the prefix, found ";
        assert!(message.starts_with(want), "{host}: {message}");
    }
}

#[test]
fn ports_and_servers_are_numbers_and_addresses() {
    assert_eq!(
        spelled(
            "network",
            "allowed_ports",
            "[1, 65535, \"80\", \"80-80\", \"8000-8100\"]"
        ),
        "1 65535 80 \"8000-8100\""
    );
    for port in [
        "0",
        "65536",
        "-1",
        "\"0\"",
        "\"080\"",
        "\"2-1\"",
        "\"1-\"",
        "\"-1\"",
        "\"1-2-3\"",
        "\"1-65536\"",
        "\"http\"",
        "\"+1\"",
        "true",
    ] {
        let want = format!(
            "[0]: expected a port from 1 to 65535, or a range such as \"8000-8100\", found {port}"
        );
        assert_eq!(
            refused("network", "allowed_ports", &format!("[{port}]")),
            want
        );
    }
    for server in ["\"dns.example\"", "\"1.1.1.1/32\"", "1"] {
        let want = format!("[0]: expected an address of IPv4 or IPv6, found {server}");
        assert_eq!(
            refused("network", "dns_servers", &format!("[{server}]")),
            want
        );
    }
}

#[test]
fn iptables_rules_have_one_spelling() {
    for (rule, want) in [
        (
            "-A OUTPUT -d 10.0.0.0/8 -j REJECT",
            "-A OUTPUT -d 10.0.0.0/8 -j REJECT",
        ),
        ("  -j  DROP   --append INPUT", "-A INPUT -j DROP"),
        (
            "-A OUTPUT -p tcp -m tcp --dport 443 -j ACCEPT",
            "-A OUTPUT -p tcp --dport 443 -j ACCEPT",
        ),
        (
            "-A INPUT --protocol udp --source-port 1:9 --destination-port 53 --source ::1 --jump DROP",
            "-A INPUT -s ::1 -p udp --sport 1:9 --dport 53 -j DROP",
        ),
        (
            "-A OUTPUT -p icmp -d 1.2.3.4/32 -j DROP",
            "-A OUTPUT -d 1.2.3.4 -p icmp -j DROP",
        ),
        (
            "-A OUTPUT -p icmpv6 -s fe80::/10 -j DROP",
            "-A OUTPUT -s fe80::/10 -p icmpv6 -j DROP",
        ),
    ] {
        let got = spelled("network", "custom_iptables_rules", &format!("[\"{rule}\"]"));
        assert_eq!(got, format!("\"{want}\""), "{rule}");
    }
    let profile = profile(
        "network",
        "custom_iptables_rules",
        "[\"-A INPUT -p udp --dport 53 -j DROP\"]",
    );
    let rule = &profile.network.custom_iptables_rules[0].value;
    assert_eq!(
        (rule.chain, rule.protocol, rule.verdict),
        (Chain::Input, Some(Protocol::Udp), Verdict::Drop)
    );
    let ports = rule.destination_ports.unwrap();
    assert_eq!((ports.first(), ports.last()), (53, 53));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn iptables_rules_that_do_not_parse_are_refused_with_what_is_wrong() {
    for (rule, want) in [
        ("", "-A INPUT or -A OUTPUT"),
        ("-A OUTPUT", "-j ACCEPT, -j DROP or -j REJECT"),
        ("-j DROP", "-A INPUT or -A OUTPUT"),
        ("-A FORWARD -j DROP", "-A with INPUT, OUTPUT"),
        ("-A output -j DROP", "-A with INPUT, OUTPUT"),
        (
            "-I OUTPUT -j DROP",
            "one of -A, -s, -d, -p, -m, --sport, --dport, -j where \"-I\" is; did you mean \"-A\"?",
        ),
        (
            "-A OUTPUT ! -d 10.0.0.0/8 -j DROP",
            "one of -A, -s, -d, -p, -m, --sport, --dport, -j where \"!\" is",
        ),
        (
            "-A OUTPUT -p tcp --dprot 1 -j DROP",
            "one of -A, -s, -d, -p, -m, --sport, --dport, -j where \"--dprot\" is; did you mean \"--dport\"?",
        ),
        (
            "-t nat -A OUTPUT -j DROP",
            "one of -A, -s, -d, -p, -m, --sport, --dport, -j where \"-t\" is; did you mean \"-A\"?",
        ),
        ("-A OUTPUT -j LOG", "-j with ACCEPT, DROP, REJECT"),
        ("-A OUTPUT -j", "a value after -j"),
        ("-A OUTPUT -j DROP -j ACCEPT", "-j once"),
        (
            "-A OUTPUT -d 10.0.0.1/8 -j DROP",
            "-d with an address or a network with no bit set behind the prefix",
        ),
        (
            "-A OUTPUT -d example.org -j DROP",
            "-d with an address or a network with no bit set behind the prefix",
        ),
        (
            "-A OUTPUT --dport 80 -j DROP",
            "-p tcp or -p udp with a port",
        ),
        (
            "-A OUTPUT -p icmp --dport 80 -j DROP",
            "-p tcp or -p udp with a port",
        ),
        (
            "-A OUTPUT -p tcp --dport 0 -j DROP",
            "--dport with a port or a range such as 8000:8100",
        ),
        (
            "-A OUTPUT -p tcp --dport 80-90 -j DROP",
            "--dport with a port or a range such as 8000:8100",
        ),
        (
            "-A OUTPUT -p sctp -j DROP",
            "-p with tcp, udp, icmp, icmpv6",
        ),
        (
            "-A OUTPUT -p tcp -m udp -j DROP",
            "-m with the same tcp or udp as -p",
        ),
        (
            "-A OUTPUT -m owner -j DROP",
            "-m with the same tcp or udp as -p",
        ),
        (
            "-A OUTPUT -s ::1 -d 1.2.3.4 -j DROP",
            "-s and -d both of IPv4 or both of IPv6",
        ),
        (
            "-A OUTPUT -p icmpv6 -d 1.2.3.4 -j DROP",
            "addresses of the family of -p icmpv6",
        ),
        (
            "-A OUTPUT -p icmp -s ::1 -j DROP",
            "addresses of the family of -p icmp",
        ),
        ("-A OUTPUT -j DROP; reboot", "-j with ACCEPT, DROP, REJECT"),
    ] {
        let got = refused("network", "custom_iptables_rules", &format!("[\"{rule}\"]"));
        let want = format!("[0]: expected an iptables rule: {want}, found {rule:?}");
        assert_eq!(got, want, "{rule}");
    }
    assert_eq!(
        refused(
            "network",
            "custom_iptables_rules",
            "[\"-A OUTPUT\\n-j DROP\"]"
        ),
        "[0]: expected an iptables rule of one line, found \"-A OUTPUT\\n-j DROP\""
    );
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
