//! The kernel's names for values of arguments.
//!
//! Facts from the kernel's exported headers; all of these are the same on x86-64 and aarch64.

/// Names that a condition may use, in no order.
const VALUES: &[(&str, u64)] = &[
    // The low half: what the kernel looks at where the argument is an `int`.
    ("INT", 0xffff_ffff),
    // Families of sockets.
    ("AF_UNSPEC", 0),
    ("AF_UNIX", 1),
    ("AF_INET", 2),
    ("AF_INET6", 10),
    ("AF_KEY", 15),
    ("AF_NETLINK", 16),
    ("AF_PACKET", 17),
    ("AF_RDS", 21),
    ("AF_CAN", 29),
    ("AF_TIPC", 30),
    ("AF_BLUETOOTH", 31),
    ("AF_ALG", 38),
    ("AF_NFC", 39),
    ("AF_VSOCK", 40),
    ("AF_QIPCRTR", 42),
    ("AF_SMC", 43),
    ("AF_XDP", 44),
    // Types of sockets; flags share the argument.
    ("SOCK_TYPE_MASK", 0xf),
    ("SOCK_STREAM", 1),
    ("SOCK_DGRAM", 2),
    ("SOCK_RAW", 3),
    ("SOCK_SEQPACKET", 5),
    // Protocols of netlink.
    ("NETLINK_ROUTE", 0),
    ("NETLINK_SOCK_DIAG", 4),
    ("NETLINK_AUDIT", 9),
    ("NETLINK_NETFILTER", 12),
    ("NETLINK_KOBJECT_UEVENT", 15),
    ("NETLINK_GENERIC", 16),
    // Flags of clone and unshare.
    ("CLONE_NEWTIME", 0x0000_0080),
    ("CLONE_VM", 0x0000_0100),
    ("CLONE_FS", 0x0000_0200),
    ("CLONE_FILES", 0x0000_0400),
    ("CLONE_SIGHAND", 0x0000_0800),
    ("CLONE_VFORK", 0x0000_4000),
    ("CLONE_THREAD", 0x0001_0000),
    ("CLONE_NEWNS", 0x0002_0000),
    ("CLONE_SYSVSEM", 0x0004_0000),
    ("CLONE_NEWCGROUP", 0x0200_0000),
    ("CLONE_NEWUTS", 0x0400_0000),
    ("CLONE_NEWIPC", 0x0800_0000),
    ("CLONE_NEWUSER", 0x1000_0000),
    ("CLONE_NEWPID", 0x2000_0000),
    ("CLONE_NEWNET", 0x4000_0000),
    // All namespaces that clone makes. CLONE_NEWTIME shares its bit with the signal at the end of a
    // process there, and is a flag of unshare and clone3 only.
    ("CLONE_NAMESPACES", 0x7e02_0000),
    // Flags of open.
    ("O_RDONLY", 0),
    ("O_WRONLY", 1),
    ("O_RDWR", 2),
    ("O_ACCMODE", 3),
    ("O_CREAT", 0o100),
    ("O_TRUNC", 0o1000),
    ("O_APPEND", 0o2000),
    // Requests to terminals and other devices.
    ("TCGETS", 0x5401),
    ("TIOCGPGRP", 0x540f),
    ("TIOCSPGRP", 0x5410),
    ("TIOCSTI", 0x5412),
    ("TIOCGWINSZ", 0x5413),
    ("TIOCSWINSZ", 0x5414),
    ("FIONREAD", 0x541b),
    ("TIOCLINUX", 0x541c),
    ("TIOCCONS", 0x541d),
    ("FIONBIO", 0x5421),
    ("TIOCSETD", 0x5423),
    ("FIONCLEX", 0x5450),
    ("FIOCLEX", 0x5451),
    ("TCGETS2", 0x802c_542a),
    // Operations of prctl.
    ("PR_SET_PDEATHSIG", 1),
    ("PR_GET_PDEATHSIG", 2),
    ("PR_GET_DUMPABLE", 3),
    ("PR_SET_DUMPABLE", 4),
    ("PR_GET_KEEPCAPS", 7),
    ("PR_SET_KEEPCAPS", 8),
    ("PR_SET_NAME", 15),
    ("PR_GET_NAME", 16),
    ("PR_GET_SECCOMP", 21),
    ("PR_SET_SECCOMP", 22),
    ("PR_CAPBSET_READ", 23),
    ("PR_CAPBSET_DROP", 24),
    ("PR_GET_SECUREBITS", 27),
    ("PR_SET_SECUREBITS", 28),
    ("PR_SET_TIMERSLACK", 29),
    ("PR_GET_TIMERSLACK", 30),
    ("PR_SET_MM", 35),
    ("PR_SET_CHILD_SUBREAPER", 36),
    ("PR_GET_CHILD_SUBREAPER", 37),
    ("PR_SET_NO_NEW_PRIVS", 38),
    ("PR_GET_NO_NEW_PRIVS", 39),
    ("PR_SET_THP_DISABLE", 41),
    ("PR_GET_THP_DISABLE", 42),
    ("PR_CAP_AMBIENT", 47),
    ("PR_SVE_SET_VL", 50),
    ("PR_SVE_GET_VL", 51),
    ("PR_GET_SPECULATION_CTRL", 52),
    ("PR_SET_SPECULATION_CTRL", 53),
    ("PR_PAC_RESET_KEYS", 54),
    ("PR_SET_TAGGED_ADDR_CTRL", 55),
    ("PR_GET_TAGGED_ADDR_CTRL", 56),
    ("PR_SET_VMA", 0x5356_4d41),
    ("PR_SET_PTRACER", 0x5961_6d61),
    // Personalities and their flags.
    ("PER_LINUX", 0),
    ("PER_LINUX32", 8),
    ("PER_QUERY", 0xffff_ffff),
    ("ADDR_NO_RANDOMIZE", 0x0004_0000),
    ("MMAP_PAGE_ZERO", 0x0010_0000),
    ("READ_IMPLIES_EXEC", 0x0040_0000),
];

/// The value of one name.
pub(crate) fn value(name: &str) -> Option<u64> {
    let mut rows = VALUES.iter();
    rows.find(|row| row.0 == name).map(|row| row.1)
}

/// All names of values.
pub(crate) fn values() -> impl Iterator<Item = &'static str> {
    VALUES.iter().map(|row| row.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<_> = values().collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn namespaces_are_all_flags_of_clone() {
        let all = [
            "CLONE_NEWNS",
            "CLONE_NEWCGROUP",
            "CLONE_NEWUTS",
            "CLONE_NEWIPC",
            "CLONE_NEWUSER",
            "CLONE_NEWPID",
            "CLONE_NEWNET",
        ];
        let joined = all.iter().fold(0, |bits, name| bits | value(name).unwrap());
        assert_eq!(value("CLONE_NAMESPACES"), Some(joined));
    }
}
