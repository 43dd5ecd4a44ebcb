//! Hosts, ports, servers and rules of the packet filter.

use gl_profile::{Chain, Host, Protocol, Verdict};

use crate::{profile, refused, spelled};

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
        (
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -i eth0 -p tcp -m tcp -j ACCEPT",
            "-A INPUT -i eth0 -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ),
        (
            "-A OUTPUT --out-interface lo -j ACCEPT",
            "-A OUTPUT -o lo -j ACCEPT",
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
            "one of -A, -s, -d, -i, -o, -p, -m, --sport, --dport, --ctstate, -j where \"-I\" is",
        ),
        (
            "-A OUTPUT ! -d 10.0.0.0/8 -j DROP",
            "one of -A, -s, -d, -i, -o, -p, -m, --sport, --dport, --ctstate, -j where \"!\" is",
        ),
        (
            "-A OUTPUT -p tcp --dprot 1 -j DROP",
            "one of -A, -s, -d, -i, -o, -p, -m, --sport, --dport, --ctstate, -j where \"--dprot\" is; did you mean \"--dport\"?",
        ),
        (
            "-t nat -A OUTPUT -j DROP",
            "one of -A, -s, -d, -i, -o, -p, -m, --sport, --dport, --ctstate, -j where \"-t\" is",
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
            "-m with conntrack, or with the same tcp or udp as -p",
        ),
        (
            "-A OUTPUT -m owner -j DROP",
            "-m with conntrack, or with the same tcp or udp as -p",
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
