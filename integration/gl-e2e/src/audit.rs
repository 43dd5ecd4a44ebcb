//! The kernel's audit, turned on while a test looks at what it tells: for the whole host, so one test at a time.

use std::fs::File;
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

/// Audit that is on; as it was before when dropped.
#[derive(Debug)]
pub struct Audit {
    socket: OwnedFd,
    was_on: bool,
    _lock: File,
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
        let lock = File::create(std::env::temp_dir().join("gl-e2e-audit.lock"));
        let lock = lock.expect("make a lock");
        flock(&lock, FlockOperation::LockExclusive).expect("wait for the lock");
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket =
            rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::AUDIT));
        let no = |errno: Errno| Skip(format!("the kernel's audit cannot be had: {errno}"));
        let socket = socket.map_err(no)?;
        let was_on = word(&ask(&socket, GET, &[]).map_err(no)?, 1) != 0;
        if !was_on {
            // AUDIT_FILTER_TASK and AUDIT_NEVER, for all.
            let mut rule = vec![0; RULE];
            rule[..4].copy_from_slice(&1_u32.to_ne_bytes());
            match ask(&socket, ADD_RULE, &rule) {
                Ok(_) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(no(errno)),
            }
        }
        let audit = Self {
            socket,
            was_on,
            _lock: lock,
        };
        audit.set(1).map_err(no)?;
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
        if !self.was_on {
            self.set(0).expect("turn audit off again");
        }
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
