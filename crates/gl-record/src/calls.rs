//! Calls that name paths, and those that every profile allows.

/// Calls that no filter tells of, as they are made too often, or now and then by chance: every program may
/// make them, and what they do hangs on no argument. Each profile allows them.
pub(crate) const SILENT: &[&str] = &[
    "brk",
    "clock_gettime",
    "close",
    "fstat",
    "futex",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "read",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "write",
];

/// What every program needs to begin and to end, seen or not.
pub(crate) const NEEDED: &[&str] = &["execve", "exit", "exit_group"];

/// What a call does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Asks about it.
    Look,
    /// Opens it, with the flags in this argument.
    Open(u8),
    /// Opens it, with the flags where this argument points.
    OpenHow(u8),
    /// Makes or empties a file, and opens it to write.
    Create,
    /// Executes it.
    Execute,
    /// Makes it; fails if it is there.
    Make,
    /// Gives it this name, whatever had it.
    Place,
    /// Takes its name away.
    Remove,
    /// Changes what it is, and not its name.
    Change,
    /// Goes there.
    Enter,
}

/// A path among the arguments of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    /// The argument with the directory, if it has one.
    pub(crate) directory: Option<u8>,
    /// The argument that points to the path.
    pub(crate) path: u8,
    pub(crate) act: Act,
}

const fn at(path: u8, act: Act) -> Named {
    Named {
        directory: None,
        path,
        act,
    }
}

const fn below(directory: u8, path: u8, act: Act) -> Named {
    Named {
        directory: Some(directory),
        path,
        act,
    }
}

/// The paths that a call names.
pub(crate) fn paths(call: &str) -> &'static [Named] {
    use Act::{Change, Create, Enter, Execute, Look, Make, Open, OpenHow, Place, Remove};
    match call {
        "open" => const { &[at(0, Open(1))] },
        "openat" => const { &[below(0, 1, Open(2))] },
        "openat2" => const { &[below(0, 1, OpenHow(2))] },
        "creat" => const { &[at(0, Create)] },
        "stat" | "lstat" | "access" | "readlink" | "statfs" | "getxattr" | "lgetxattr"
        | "listxattr" | "llistxattr" => const { &[at(0, Look)] },
        "newfstatat" | "statx" | "faccessat" | "faccessat2" | "readlinkat" | "getxattrat"
        | "listxattrat" | "name_to_handle_at" => const { &[below(0, 1, Look)] },
        "inotify_add_watch" => const { &[at(1, Look)] },
        "execve" => const { &[at(0, Execute)] },
        "execveat" => const { &[below(0, 1, Execute)] },
        "chdir" | "chroot" => const { &[at(0, Enter)] },
        "mkdir" | "mknod" => const { &[at(0, Make)] },
        "mkdirat" | "mknodat" => const { &[below(0, 1, Make)] },
        "unlink" | "rmdir" => const { &[at(0, Remove)] },
        "unlinkat" => const { &[below(0, 1, Remove)] },
        "rename" => const { &[at(0, Remove), at(1, Place)] },
        "renameat" | "renameat2" => const { &[below(0, 1, Remove), below(2, 3, Place)] },
        "link" => const { &[at(0, Look), at(1, Make)] },
        "linkat" => const { &[below(0, 1, Look), below(2, 3, Make)] },
        "symlink" => const { &[at(1, Make)] },
        "symlinkat" => const { &[below(1, 2, Make)] },
        "truncate" | "chmod" | "chown" | "lchown" | "utime" | "utimes" | "setxattr"
        | "lsetxattr" | "removexattr" | "lremovexattr" => const { &[at(0, Change)] },
        "fchmodat" | "fchmodat2" | "fchownat" | "utimensat" | "futimesat" | "setxattrat"
        | "removexattrat" | "file_setattr" => const { &[below(0, 1, Change)] },
        _ => &[],
    }
}

/// Where a call has the address of a socket: the argument that points to it, and the one with its length.
pub(crate) fn address(call: &str) -> Option<(usize, usize)> {
    match call {
        "connect" | "bind" => Some((1, 2)),
        "sendto" => Some((4, 5)),
        _ => None,
    }
}

/// Whether a call may make a descriptor.
pub(crate) fn makes_descriptor(call: &str) -> bool {
    matches!(
        call,
        "open"
            | "openat"
            | "openat2"
            | "creat"
            | "socket"
            | "socketpair"
            | "accept"
            | "accept4"
            | "pipe"
            | "pipe2"
            | "dup"
            | "dup2"
            | "dup3"
            | "fcntl"
            | "epoll_create"
            | "epoll_create1"
            | "eventfd"
            | "eventfd2"
            | "signalfd"
            | "signalfd4"
            | "timerfd_create"
            | "memfd_create"
            | "inotify_init"
            | "inotify_init1"
            | "pidfd_open"
            | "exit_group"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use gl_seccomp::Syscall;

    #[test]
    fn calls_that_are_named_here_exist() {
        for name in SILENT.iter().chain(NEEDED) {
            assert!(Syscall::named(name).is_some(), "{name}");
        }
        let named = Syscall::all(gl_seccomp::NATIVE).filter(|call| !paths(call.name()).is_empty());
        assert!(named.count() > 30);
    }

    #[test]
    fn silent_calls_name_no_path_and_make_no_descriptor() {
        for name in SILENT {
            assert!(paths(name).is_empty() && !makes_descriptor(name), "{name}");
        }
    }
}
