//! The options of a request: `criu_opts` of CRIU's `images/rpc.proto`. Field numbers are those of that file
//! as of 3.0 to 4.1.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use crate::error::Error;
use crate::find::check_config;
use crate::wire::Message;

/// How CRIU treats cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// What this version of CRIU takes for best: `soft`.
    #[default]
    Default,
    /// Not at all: processes are where CRIU is.
    Ignore,
    /// Values of cgroups that CRIU makes are restored.
    Soft,
    /// Those of all.
    Full,
    /// All cgroups have to be made by CRIU.
    Strict,
}

/// Where memory is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageServer {
    /// The server's address or name.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// Options of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub(crate) message: Message,
}

/// Switches, by their field.
macro_rules! switches {
    ($($(#[$doc:meta])* $name:ident = $field:literal;)*) => {
        impl Options {
            $($(#[$doc])*
            pub fn $name(&mut self, on: bool) {
                // One that is not there is off.
                if on {
                    self.message.number($field, 1);
                }
            })*
        }
    };
}

switches! {
    /// Processes run on after the dump.
    leave_running = 3;
    /// Unix sockets that lead out are accepted.
    ext_unix_sk = 4;
    /// Open TCP connections are accepted and kept.
    tcp_established = 5;
    /// A device that is not at its path is looked for by its number.
    evasive_devices = 6;
    /// A terminal of somebody else's session is accepted.
    shell_job = 7;
    /// File locks are saved.
    file_locks = 8;
    /// The caller is told of each step, and can stop the request there.
    notify = 12;
    /// Changes of memory are tracked from here on.
    track_mem = 15;
    /// Pages of earlier images that are saved anew are dropped.
    auto_dedup = 16;
    /// Deleted files that are open are linked.
    link_remap = 18;
    /// The first process becomes the caller's child, not CRIU's.
    sibling = 26;
    /// TCP connections that are not established yet are left out.
    tcp_skip_in_flight = 46;
    /// Memory is transferred when it is needed.
    lazy_pages = 48;
    /// A terminal without its other end gets a new one, which the caller is sent.
    orphan_pts_master = 50;
    /// TCP connections are restored as closed.
    tcp_close = 52;
}

impl Options {
    /// Options with the directories that the session is given, of images and of logs and other working files,
    /// and the name of the log, which gets all but debugging.
    pub fn new(dirs: &[OwnedFd], log: &str) -> Self {
        let mut options = Self::default();
        for (field, dir) in [1, 17].into_iter().zip(dirs) {
            options.number(field, dir.as_raw_fd());
        }
        options.number(9, 4);
        options.message.text(10, log);
        options
    }

    fn number(&mut self, field: u32, value: impl Into<i64>) {
        self.message.number(field, value.into());
    }

    /// The process to be saved.
    pub fn pid(&mut self, pid: i32) {
        self.number(2, pid);
    }

    /// Where the root is on the host.
    pub fn root(&mut self, path: &Path) {
        self.message.text(13, path.as_os_str().as_encoded_bytes());
    }

    /// The directory of an earlier pre-dump, relative to that of images.
    pub fn parent(&mut self, path: &Path) {
        self.message.text(14, path.as_os_str().as_encoded_bytes());
    }

    /// A mount that comes from outside: at a dump where it is and the name that it gets, at a restore its name
    /// and where it comes from now.
    pub fn mount(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let mut pair = Message::default();
        pair.text(1, key);
        pair.text(2, value);
        self.message.message(23, &pair);
    }

    /// How cgroups are treated.
    pub fn cgroup_mode(&mut self, mode: CgroupMode) {
        // What versions before the modes had.
        self.number(24, i64::from(mode != CgroupMode::Ignore));
        self.number(
            34,
            match mode {
                CgroupMode::Ignore => 0,
                CgroupMode::Soft => 3,
                CgroupMode::Full => 4,
                CgroupMode::Strict => 5,
                CgroupMode::Default => 6,
            },
        );
    }

    /// The cgroup in place of the one that the saved processes were in, in one v1 hierarchy or, without a
    /// controller, in all.
    pub fn cgroup_root(&mut self, controller: Option<&str>, path: &str) {
        let mut root = Message::default();
        if let Some(controller) = controller {
            root.text(1, controller);
        }
        root.text(2, path);
        self.message.message(25, &root);
    }

    /// A descriptor of CRIU's in place of something that the images name.
    pub fn inherit(&mut self, key: &str, number: i32) {
        let mut pair = Message::default();
        pair.text(1, key);
        pair.number(2, number.into());
        self.message.message(27, &pair);
    }

    /// Something that comes from outside and is not saved, such as `net[4026531840]:NAME`.
    pub fn external(&mut self, what: &str) {
        self.message.text(37, what);
    }

    /// Namespaces, `CLONE_NEW*` bits, that are made without what is in them.
    pub fn empty_namespaces(&mut self, bits: u32) {
        self.number(38, bits);
    }

    /// A namespace that is joined by its path.
    pub fn join_namespace(&mut self, kind: &str, path: &str) {
        let mut namespace = Message::default();
        namespace.text(1, kind);
        namespace.text(2, path);
        self.message.message(39, &namespace);
    }

    /// The cgroup by which processes are made to stand still.
    pub fn freeze_cgroup(&mut self, path: &str) {
        self.message.text(44, path);
    }

    /// Where memory is sent.
    pub fn page_server(&mut self, server: &PageServer) {
        let mut message = Message::default();
        message.text(1, &server.host);
        message.number(2, server.port.into());
        self.message.message(11, &message);
    }

    /// Packets are kept off with nftables, for which CRIU needs no program of the host.
    pub fn lock_network_with_nftables(&mut self) {
        self.number(64, 2);
    }

    /// A config file whose settings come before these.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for one that others than the host's root could have written.
    pub fn config_file(&mut self, path: &Path) -> Result<(), Error> {
        check_config(path)?;
        self.message.text(51, path.as_os_str().as_encoded_bytes());
        Ok(())
    }

    /// The LSM profile in place of the saved one: `apparmor:NAME` or `selinux:CONTEXT`.
    pub fn lsm_profile(&mut self, profile: &str) {
        self.message.text(53, profile);
    }

    /// The `SELinux` context of mounts in place of the saved one.
    pub fn lsm_mount_context(&mut self, context: &str) {
        self.message.text(63, context);
    }
}
