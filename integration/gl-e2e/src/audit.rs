//! The kernel's audit, turned on or off while a test looks at what it tells: for the whole host, so one test at a time.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::Skip;

const GET: u16 = 1000;
const SET: u16 = 1001;
const ADD_RULE: u16 = 1011;
const ERROR: u16 = 2;
/// `NLM_F_REQUEST` and `NLM_F_ACK`.
const FLAGS: u16 = 5;
const HEADER: usize = 16;
/// `AUDIT_STATUS_ENABLED`.
const ENABLED: u32 = 1;
/// `struct audit_rule_data` without strings.
const RULE: usize = 4 * (3 + 4 * 64 + 1);

/// Audit that is on, or off; as it was before when dropped.
#[derive(Debug)]
pub struct Audit {
    socket: OwnedFd,
    before: u32,
    lock: File,
}

impl Audit {
    /// Turns it on, or finds it on.
    ///
    /// Once it was on, the kernel looks at every system call of programs that are started later, whether it is
    /// on or not. A rule keeps it from that (`auditctl -a never,task`); it stays, so that the host is as fast
    /// as it was.
    ///
    /// # Errors
    ///
    /// [`Skip`] where the kernel has no audit, or none for us.
    ///
    /// # Panics
    ///
    /// If it cannot be set up for another reason.
    pub fn on() -> Result<Self, Skip> {
        Self::set_to(1)
    }

    /// Turns it off, or finds it off: somebody else on the host may have it on.
    ///
    /// # Errors
    ///
    /// As [`Self::on`].
    ///
    /// # Panics
    ///
    /// As [`Self::on`].
    pub fn off() -> Result<Self, Skip> {
        Self::set_to(0)
    }

    fn set_to(wanted: u32) -> Result<Self, Skip> {
        let mut options = File::options();
        let path = std::env::temp_dir().join("gl-e2e-audit.lock");
        let mut lock = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .expect("make a lock");
        flock(&lock, FlockOperation::LockExclusive).expect("wait for the lock");
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket =
            rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::AUDIT));
        let no = |errno: Errno| Skip(format!("the kernel's audit cannot be had: {errno}"));
        let socket = socket.map_err(no)?;
        // A test that was killed has left here what it found.
        let mut left = String::new();
        lock.read_to_string(&mut left).expect("read the lock");
        let before = match left.trim().parse() {
            Ok(before) => before,
            Err(_) => word(&ask(&socket, GET, &[]).map_err(no)?, 1),
        };
        if before == 0 && wanted != 0 {
            // AUDIT_FILTER_TASK and AUDIT_NEVER, for all.
            let mut rule = vec![0; RULE];
            rule[..4].copy_from_slice(&1_u32.to_ne_bytes());
            match ask(&socket, ADD_RULE, &rule) {
                Ok(_) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(no(errno)),
            }
        }
        let noted = lock.rewind().and_then(|()| writeln!(lock, "{before}"));
        noted.expect("note what audit was");
        let audit = Self {
            socket,
            before,
            lock,
        };
        audit.set(wanted).map_err(no)?;
        Ok(audit)
    }

    fn set(&self, on: u32) -> Result<(), Errno> {
        let mut status = [0; 44];
        status[..4].copy_from_slice(&ENABLED.to_ne_bytes());
        status[4..8].copy_from_slice(&on.to_ne_bytes());
        ask(&self.socket, SET, &status).map(drop)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.set(self.before).expect("set audit as it was");
        self.lock.set_len(0).expect("forget what audit was");
    }
}

/// Sends a request; what comes before its acknowledgement.
fn ask(socket: &OwnedFd, kind: u16, data: &[u8]) -> Result<Vec<u8>, Errno> {
    let length = u32::try_from(HEADER + data.len()).expect("a short message");
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(data);
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(socket, &message, SendFlags::empty(), &kernel)?;
    let (mut answer, mut acknowledged) = (Vec::new(), false);
    // The answer comes from a thread of the kernel, before or after the acknowledgement.
    while !acknowledged || (kind == GET && answer.is_empty()) {
        let mut space = [0; 8192];
        let (length, _) = rustix::net::recv(socket, &mut space, RecvFlags::empty())?;
        let data = space[HEADER..length].to_vec();
        match u16::from_ne_bytes([space[4], space[5]]) {
            ERROR if word(&data, 0) != 0 => {
                let errno = word(&data, 0).cast_signed();
                return Err(Errno::from_raw_os_error(-errno));
            }
            ERROR => acknowledged = true,
            other if other == kind => answer = data,
            _ => {}
        }
    }
    Ok(answer)
}

fn word(data: &[u8], index: usize) -> u32 {
    let bytes = data[index * 4..index * 4 + 4].try_into();
    u32::from_ne_bytes(bytes.expect("four bytes"))
}
