//! What is made outside for probes to find: a process, files, sockets, shared memory. Gone when dropped.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gl_profile::Profile;
use rustix::io::FdFlags;

use crate::error::Error;
use crate::probe::{Bait, Shared, TARGET};

/// What was made, and what probes are told of it.
pub(super) struct Stage {
    dir: PathBuf,
    pub(super) bait: Bait,
    target: Child,
    _tcp: TcpListener,
    _abstract_socket: UnixListener,
    _socket: UnixListener,
    /// Not closed when a program is executed: what a caller may leave open.
    _left_open: File,
}

/// The program in the root of a container.
const PROGRAM: &str = "bin/gl";

impl Stage {
    /// Makes all of it.
    ///
    /// # Errors
    ///
    /// [`Error::Seen`] with what could not be made.
    pub(super) fn new(profile: &Profile) -> Result<Self, Error> {
        let dir = std::env::temp_dir().join(gl_sandbox::id()?.as_str());
        fs::create_dir(&dir).map_err(failed("make a directory"))?;
        let made = Self::in_dir(&dir, profile);
        if made.is_err() {
            // The first error is the one to tell.
            fs::remove_dir_all(&dir).unwrap_or_default();
        }
        made
    }

    fn in_dir(dir: &Path, profile: &Profile) -> Result<Self, Error> {
        // First, as it is what removes all that comes after it.
        let (target, shared) = begin_target(dir).map_err(failed("start a process to be found"))?;
        for (path, mode) in [("", 0o755), ("work", 0o755), ("root", 0o755)] {
            let path = dir.join(path);
            fs::create_dir_all(&path)
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
                .map_err(failed("make a directory"))?;
        }
        for (name, mode) in [("secret", 0o644), ("writable", 0o666), ("work/file", 0o666)] {
            let path = dir.join(name);
            fs::write(&path, "of the host\n")
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
                .map_err(failed("make a file"))?;
        }
        let program = dir.join("work/gl");
        fs::copy("/proc/self/exe", &program)
            .and_then(|_| fs::set_permissions(&program, Permissions::from_mode(0o755)))
            .map_err(failed("copy this program"))?;
        let name = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let tcp =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listen at loopback"))?;
        let port = tcp
            .local_addr()
            .map_err(failed("listen at loopback"))?
            .port();
        let listen = || UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?);
        let abstract_socket = listen().map_err(failed("listen at an abstract socket"))?;
        let socket =
            UnixListener::bind(dir.join("socket")).map_err(failed("listen at a socket"))?;
        fs::set_permissions(dir.join("socket"), Permissions::from_mode(0o777))
            .map_err(failed("listen at a socket"))?;
        let left_open = File::open(dir.join("secret")).map_err(failed("open a file"))?;
        rustix::io::fcntl_setfd(&left_open, FdFlags::empty())
            .map_err(|errno| failed("leave a file open")(errno.into()))?;
        let limits = &profile.limits;
        Ok(Self {
            dir: dir.to_owned(),
            bait: Bait {
                target: i32::try_from(target.id()).unwrap_or(0),
                init: fs::read("/proc/1/cmdline")
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                    .unwrap_or_default(),
                dir: dir.to_string_lossy().into_owned(),
                home: std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned()),
                disk: disk(),
                tcp: port,
                abstract_socket: name.clone(),
                segment: shared.segment,
                queue: shared.queue,
                host_name: rustix::system::uname()
                    .nodename()
                    .to_string_lossy()
                    .into_owned(),
                memory: limits.memory_limit_bytes.value.0,
                threads: limits.max_threads.value.0,
                processes: limits.max_processes.value.0,
                files: limits.max_open_files.value.0,
                file_size: limits.max_file_size_bytes.as_ref().map(|line| line.value.0),
                disk_quota: limits.disk_quota_bytes.as_ref().map(|line| line.value.0),
                cpu_seconds: limits.cpu_time_limit_seconds.value.as_secs(),
                seconds: profile.execution_timeout.value.as_secs(),
            },
            target,
            _tcp: tcp,
            _abstract_socket: abstract_socket,
            _socket: socket,
            _left_open: left_open,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A root that has this program and what every root has.
    ///
    /// # Errors
    ///
    /// [`Error::Seen`]: it could not be made.
    pub(super) fn root(&self) -> Result<PathBuf, Error> {
        let root = self.path("root");
        let make = || {
            for dir in ["bin", "dev", "etc", "proc", "tmp", "run", "var", "usr/bin"] {
                fs::create_dir_all(root.join(dir))?;
            }
            let accounts = "root:x:0:0:root:/tmp:/bin/sh\n";
            fs::write(root.join("etc/passwd"), accounts)?;
            fs::write(root.join("etc/hosts"), "127.0.0.1\tlocalhost\n")?;
            fs::copy(self.path("work/gl"), root.join(PROGRAM)).map(drop)
        };
        make().map_err(failed("make a root"))?;
        Ok(root)
    }

    /// The program, as the sandbox sees it.
    pub(super) fn program(&self, has_own_root: bool) -> String {
        match has_own_root {
            true => format!("/{PROGRAM}"),
            false => self.path("work/gl").to_string_lossy().into_owned(),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It removes everything when its standard input ends; nobody is left to tell of a failure here.
        drop(self.target.stdin.take());
        self.target.wait().map(drop).unwrap_or_default();
    }
}

/// Starts the process that is to be found, which also makes what has no end by itself, and removes that and the
/// directory when this process is gone, however it ends.
fn begin_target(dir: &Path) -> io::Result<(Child, Shared)> {
    let mut target = Command::new("/proc/self/exe")
        .arg(TARGET)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Signals of a terminal are not for it.
        .process_group(0)
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = target.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    Ok((target, serde_json::from_str(&line)?))
}

pub(super) fn failed(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Seen {
        what: what.to_owned(),
        source,
    }
}

/// The disk that the host's root is on, or any.
fn disk() -> Option<String> {
    let root = fs::metadata("/").ok()?.dev();
    let number = format!("{}:{}", rustix::fs::major(root), rustix::fs::minor(root));
    let by_number = format!("/sys/dev/block/{number}/uevent");
    let name = fs::read_to_string(by_number).ok().and_then(|text| {
        let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        name.map(str::to_owned)
    });
    let any = || {
        let text = fs::read_to_string("/proc/partitions").ok()?;
        let line = text.lines().nth(2)?;
        line.split_whitespace().last().map(str::to_owned)
    };
    Some(format!("/dev/{}", name.or_else(any)?))
}
