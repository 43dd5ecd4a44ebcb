//! A program of the host that serves this process over a socket, in a cgroup and with mounts of its own where
//! it is given those.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gl_plan::{IdMaps, Keyring, attr};
use gl_rootfs::{Bind, Leaf};
use gl_sys::{Batch, Depth, MountAttr};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::{DupFlags, Errno};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdGetfdFlags, Signal, pidfd_getfd};

use crate::child::join_cgroup;
use crate::error::Error;
use crate::fork::{Born, Place, fork};
use crate::identity;
use crate::idmap::user_namespace;
use crate::record::{Channel, Kind as Message, Record};
use crate::spawn::kill_and_reap;
use crate::stdio;

/// What becomes of the three streams of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// They are the runtime's.
    Shared,
    /// They are the null device.
    Null,
}

/// Mounts that only the service sees: below a directory of the host there is an empty filesystem, with
/// these in it.
#[derive(Debug)]
pub struct Stage {
    /// The directory, absolute. Nobody but root can have chosen it.
    pub at: PathBuf,
    /// An empty filesystem that is attached nowhere: see [`gl_rootfs::new_root`].
    pub empty: OwnedFd,
    /// Names in it, and what is mounted there.
    pub mounts: Vec<(String, Bind)>,
}

/// How a directory is shown to who lives in a user namespace, or is about to.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The ids that the owners of its files are shown as.
    pub maps: &'a IdMaps,
    /// How the names of files begin that everybody may read, each of at most 64 KiB: a process is nobody in
    /// particular in a new user namespace until somebody has written its maps.
    pub for_all: &'a str,
}

/// A program and where it runs. It has none of the runtime's environment.
#[derive(Debug)]
pub struct Service<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Its arguments. The number of its socket comes last.
    pub args: &'a [&'a str],
    /// What it has open beside its socket, by the numbers that these have now.
    pub files: &'a [OwnedFd],
    /// Directories that it has open by the numbers that these have now. With mounts of its own it has them as it
    /// sees them there: by a descriptor from outside nothing could be mounted in them.
    pub dirs: Vec<OwnedFd>,
    /// How the first directory is shown, where it has mounts of its own.
    pub shown: Option<Shown<'a>>,
    /// Files by which it joins its cgroup.
    pub join: Batch,
    /// The directory of cgroup v2 that it is born into.
    pub cgroup_dir: Option<OwnedFd>,
    /// Mounts of its own.
    pub stage: Option<Stage>,
    /// Its session keyring.
    pub keyring: Keyring,
    /// Its streams.
    pub streams: Streams,
}

/// A service that runs; it ends with this.
#[derive(Debug)]
pub struct Serving {
    pid: Pid,
    pidfd: OwnedFd,
    socket: Option<OwnedFd>,
}

/// The most of a file that is copied, bytes.
const LONGEST: u64 = 64 << 10;

/// What a service finds programs of the host with, such as those that set up the network.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a service failed before its program ran.
#[derive(Debug, Clone, Copy)]
#[repr(u16)]
enum At {
    Wait,
    Socket,
    Cgroup,
    Mounts,
    Keyring,
    Streams,
    Execute,
}

impl At {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Wait, "start a program of the host"),
        (Self::Socket, "take the socket of a program of the host"),
        (
            Self::Cgroup,
            "put a program of the host into the container's cgroup",
        ),
        (Self::Mounts, "make the mounts of a program of the host"),
        (
            Self::Keyring,
            "make a session keyring for a program of the host",
        ),
        (
            Self::Streams,
            "open the null device for a program of the host",
        ),
        (Self::Execute, "execute a program of the host"),
    ];

    fn what(number: u16) -> &'static str {
        let found = Self::ALL.iter().find(|(at, _)| *at as u16 == number);
        found.map_or("start a program of the host", |(_, what)| what)
    }
}

impl Serving {
    /// Starts a service, and returns once its program runs.
    ///
    /// # Errors
    ///
    /// [`Error::Fork`]; [`Error::Host`] with what kept the program from running. Nothing is left of it then.
    pub fn start(mut service: Service<'_>) -> Result<Self, Error> {
        identity::hide().map_err(|fault| Error::Host {
            what: "hide from other processes",
            source: fault.errno,
        })?;
        let (ours, theirs) = Channel::pair().map_err(|source| Error::Host {
            what: "make a socket pair",
            source,
        })?;
        let cgroup_dir = service.cgroup_dir.take();
        let place = Place {
            namespaces: match service.stage {
                Some(_) => gl_plan::Kind::Mount.bit(),
                None => 0,
            },
            cgroup: cgroup_dir.as_ref().map(AsFd::as_fd),
        };
        let given = Given {
            clones: service.clones()?,
            service,
            runtime: theirs,
        };
        let forked = fork(place, 0, given, descriptors, |given, born| {
            let (at, errno) = given
                .service
                .become_it(born, &given.clones, &given.runtime)
                .err()
                .unwrap_or((At::Wait, Errno::IO));
            let mut record = Record::new(Message::Failed, 0);
            record.step = at as u16;
            record.errno = errno.raw_os_error();
            i32::from(given.runtime.send(&record).is_err()) + 126
        });
        let (pid, pidfd) = forked.map_err(|source| Error::Fork { source })?;
        // From here on it ends with us.
        let mut serving = Self {
            pid,
            pidfd,
            socket: None,
        };
        let failed = |at: At| {
            move |source| Error::Host {
                what: At::what(at as u16),
                source,
            }
        };
        loop {
            match ours.receive().map_err(failed(At::Wait))? {
                // It has executed: its end of the connection is gone.
                None if serving.socket.is_some() => return Ok(serving),
                None => return Err(Error::Killed),
                Some(record) if record.kind == Message::Listener => {
                    let number = i32::try_from(record.value).unwrap_or(-1);
                    let flags = PidfdGetfdFlags::empty();
                    let socket = pidfd_getfd(&serving.pidfd, number, flags);
                    serving.socket = Some(socket.map_err(failed(At::Socket))?);
                    let go_on = ours.send(&Record::new(Message::Continue, 0));
                    go_on.map_err(failed(At::Socket))?;
                }
                Some(record) => {
                    return Err(Error::Host {
                        what: At::what(record.step),
                        source: Errno::from_raw_os_error(record.errno),
                    });
                }
            }
        }
    }

    /// Our end of its socket.
    ///
    /// # Panics
    ///
    /// Never: it is there until [`Serving::let_end`].
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("taken by let_end only").as_fd()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Closes its socket and waits for its end by itself, but no longer than this.
    pub fn let_end(mut self, patience: Duration) {
        drop(self.socket.take());
        let limit = Timespec::try_from(patience).ok();
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        while let Err(Errno::INTR) = rustix::event::poll(&mut fds, limit.as_ref()) {}
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        kill_and_reap(&self.pidfd);
    }
}

/// All that the child is given.
struct Given<'a> {
    service: Service<'a>,
    clones: Clones,
    runtime: Channel,
}

/// Mounts of a service's directories, to be seen among its own.
#[derive(Default)]
struct Clones {
    dirs: Vec<OwnedFd>,
    /// What is put over the first of them, which is seen at [`BELOW`] in it: see [`Shown`].
    view: Option<OwnedFd>,
}

/// Where a directory is in the view of it. No file of the directory is called that.
const BELOW: &str = ".shown";

fn descriptors<'a>(given: &'a Given<'_>) -> Vec<BorrowedFd<'a>> {
    let service = &given.service;
    let mut all = vec![given.runtime.as_fd()];
    all.extend(given.clones.dirs.iter().map(AsFd::as_fd));
    all.extend(given.clones.view.iter().map(AsFd::as_fd));
    all.extend(service.files.iter().map(AsFd::as_fd));
    all.extend(service.dirs.iter().map(AsFd::as_fd));
    all.extend(service.join.iter().map(AsFd::as_fd));
    if let Some(stage) = &service.stage {
        all.push(stage.empty.as_fd());
        all.extend(stage.mounts.iter().map(|(_, bind)| bind.tree.as_fd()));
    }
    all
}

impl Service<'_> {
    /// Mounts of its directories, where it has mounts of its own: they can be made only from here.
    fn clones(&self) -> Result<Clones, Error> {
        if self.stage.is_none() {
            return Ok(Clones::default());
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let dirs = self
            .dirs
            .iter()
            .map(|dir| rustix::mount::open_tree(dir, "", flags));
        let dirs = dirs.collect::<Result<Vec<_>, _>>();
        let dirs = dirs.map_err(|source| Error::Host {
            what: "clone the mount of a directory",
            source,
        })?;
        let mut view = None;
        if let (Some(shown), Some(first)) = (self.shown, dirs.first()) {
            let failed = |what| move |source| Error::Host { what, source };
            map_ids(first, shown.maps).map_err(failed("map the ids of a directory"))?;
            let made = view_of(&self.dirs[0], shown.for_all);
            view = Some(made.map_err(failed("show a directory to a user namespace"))?);
        }
        Ok(Clones { dirs, view })
    }

    /// Returns only if it fails.
    fn become_it(
        mut self,
        born: Born,
        clones: &Clones,
        runtime: &Channel,
    ) -> Result<(), (At, Errno)> {
        let at = |at| move |errno| (at, errno);
        // Whoever kills the runtime does not leave it behind.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(at(At::Wait))?;
        if born == Born::Outside {
            join_cgroup(&self.join).map_err(|fault| (At::Cgroup, fault.errno))?;
        }
        if let Some(stage) = &self.stage {
            stage
                .build(&mut self.dirs, clones)
                .map_err(at(At::Mounts))?;
        }
        if self.keyring == Keyring::New {
            identity::join_keyring().map_err(|fault| (At::Keyring, fault.errno))?;
        }
        if self.streams == Streams::Null {
            stdio::null_streams().map_err(at(At::Streams))?;
        }
        let socket = make_socket(runtime).map_err(at(At::Socket))?;
        let execute = at(At::Execute);
        gl_sys::reset_for_exec().map_err(execute)?;
        for file in self.files.iter().chain(&self.dirs).chain([&socket]) {
            let number = file.as_raw_fd().cast_unsigned();
            gl_sys::keep_over_exec(number).map_err(execute)?;
        }
        let socket = socket.as_raw_fd().to_string();
        let err = Command::new(self.path)
            .args(
                self.args
                    .iter()
                    .map(OsStr::new)
                    .chain([OsStr::new(&socket)]),
            )
            .env_clear()
            .env("PATH", PATH)
            .exec();
        Err((At::Execute, Errno::from_io_error(&err).unwrap_or(Errno::IO)))
    }
}

/// Mounts the clone of a directory, or the view of it, over that directory, so that what is beside it is found
/// beside it, and opens it anew there.
fn put_over_itself(dir: &mut OwnedFd, clone: &OwnedFd) -> Result<(), Errno> {
    let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
    let path = rustix::fs::readlink(&*link, Vec::new())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::open(&*path, flags, Mode::empty())?;
    let (there, own) = (rustix::fs::fstat(&target)?, rustix::fs::fstat(&*dir)?);
    if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino) {
        return Err(Errno::STALE);
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(clone, "", &target, "", flags)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The clone is where it was put, and this its root.
    let here = rustix::fs::openat(clone, ".", flags, Mode::empty())?;
    rustix::io::dup3(&here, dir, DupFlags::CLOEXEC)
}

/// Shows the owners of files as they are seen by who lives in a user namespace with these maps.
fn map_ids(mount: &OwnedFd, maps: &IdMaps) -> Result<(), Errno> {
    let userns = user_namespace(maps)?;
    let change = MountAttr {
        set: attr::IDMAP,
        userns_fd: u64::from(userns.as_raw_fd().cast_unsigned()),
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(mount.as_fd(), &change, Depth::Top)
}

/// A directory of links to where that of `dir` will be, [`BELOW`] in it, and of copies of what everybody may read.
/// It is reached by everybody, whatever the modes of `dir` are.
fn view_of(dir: &OwnedFd, for_all: &str) -> Result<OwnedFd, Errno> {
    let view = gl_rootfs::new_root()?;
    rustix::fs::mkdirat(&view, BELOW, Mode::from_raw_mode(0o755))?;
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let bytes = name.to_bytes();
        if [".", "..", BELOW].iter().any(|own| bytes == own.as_bytes()) {
            continue;
        }
        if bytes.starts_with(for_all.as_bytes()) {
            copy(dir, &view, name)?;
            continue;
        }
        match rustix::fs::readlinkat(dir, name, Vec::new()) {
            // It leads from here to where it led from there.
            Ok(target) => rustix::fs::symlinkat(&*target, &view, name)?,
            Err(Errno::INVAL) => {
                let target = [BELOW.as_bytes(), b"/", bytes].concat();
                rustix::fs::symlinkat(&*target, &view, name)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(view)
}

/// Copies a small file, and lets everybody read it.
fn copy(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let failed = |err: std::io::Error| Errno::from_io_error(&err).unwrap_or(Errno::IO);
    let mut bytes = Vec::new();
    let mut source = File::from(source).take(LONGEST + 1);
    source.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Errno::FBIG);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::openat(to, name, flags, Mode::empty())?;
    // Whatever the umask is.
    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o444))?;
    File::from(made).write_all(&bytes).map_err(failed)
}

/// Makes the service's socket, and has the runtime take the other end. It is made here so that the service finds
/// itself behind it (`SO_PEERCRED`), and its own descriptors by their numbers.
fn make_socket(runtime: &Channel) -> Result<OwnedFd, Errno> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    runtime.send(&Record::new(Message::Listener, theirs.as_raw_fd().into()))?;
    runtime.expect(Message::Continue)?;
    Ok(ours)
}

impl Stage {
    fn build(&self, dirs: &mut [OwnedFd], clones: &Clones) -> Result<(), Errno> {
        // What happens on the host still reaches us, and nothing of ours the host.
        let change = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", change)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        // The first comes last: its view is a directory of its own, and another may be the same.
        for (index, (dir, clone)) in dirs.iter_mut().zip(&clones.dirs).enumerate().rev() {
            match &clones.view {
                Some(view) if index == 0 => {
                    put_over_itself(dir, view)?;
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let below = rustix::fs::openat(view, BELOW, flags, Mode::empty())?;
                    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
                        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                    rustix::mount::move_mount(clone, "", &below, "", flags)?;
                }
                _ => put_over_itself(dir, clone)?,
            }
        }
        rustix::mount::move_mount(&self.empty, "", CWD, &self.at, flags)?;
        for (name, bind) in &self.mounts {
            let target = self.place(name, bind.leaf)?;
            let flags = flags | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            rustix::mount::move_mount(&bind.tree, "", &target, "", flags)?;
        }
        Ok(())
    }

    fn place(&self, name: &str, leaf: Leaf) -> Result<OwnedFd, Errno> {
        match leaf {
            Leaf::Directory => {
                rustix::fs::mkdirat(&self.empty, name, Mode::from_raw_mode(0o755))?;
            }
            Leaf::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                drop(rustix::fs::openat(
                    &self.empty,
                    name,
                    flags,
                    Mode::from_raw_mode(0o644),
                )?);
            }
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.empty, name, flags, Mode::empty())
    }
}
