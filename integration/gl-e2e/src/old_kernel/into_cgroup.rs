//! A kernel whose `clone3` lacks `CLONE_INTO_CGROUP` and nothing else.
//!
//! The flag lies in memory, where no filter sees it, so the filter asks (seccomp user notification,
//! Linux 5.5): this process reads the flags of each `clone3` of the command, answers `ENOSYS` where the
//! flag is among them, and lets all others go on. It stays as the command's parent.
#![expect(
    clippy::unwrap_used,
    reason = "a harness fails by panicking with what was seen"
)]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::filter;

/// What the option `--without` calls it.
pub(super) const NAME: &str = "CLONE_INTO_CGROUP";

/// The flag, as the kernel's header has it.
const FLAG: u64 = 0x2_0000_0000;

/// Runs a command without the flag. Returns its status, and says how often the flag was refused.
pub(super) fn run(program: &str, args: &[String]) -> io::Result<i32> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(program);
    command.args(args);
    let before_exec = move || {
        let listener = ask_about_clone3()?;
        send(&theirs, listener.as_fd())
    };
    // SAFETY: this process has one thread, so that what the closure allocates is not locked by another.
    #[expect(unsafe_code, reason = "a filter comes between fork and exec")]
    let mut child = unsafe { command.pre_exec(before_exec) }.spawn()?;
    let listener = receive(&ours)?;
    let mut refused = 0;
    let pause = Timespec::try_from(Duration::from_millis(50)).map_err(io::Error::other)?;
    loop {
        let mut fds = [PollFd::new(&listener, PollFlags::IN)];
        poll(&mut fds, Some(&pause))?;
        if fds[0].revents().contains(PollFlags::IN) {
            refused += usize::from(answer(listener.as_fd())?);
        }
        if let Some(status) = child.try_wait()? {
            say(refused);
            return Ok(status.code().unwrap_or(137));
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test looks for it")]
fn say(refused: usize) {
    eprintln!("{NAME} was refused {refused} times");
}

/// Puts the filter on this process; returns where its questions arrive.
#[expect(unsafe_code, reason = "no wrapper of the call is at hand")]
fn ask_about_clone3() -> io::Result<OwnedFd> {
    let number = u32::try_from(libc::SYS_clone3).map_err(io::Error::other)?;
    let mut program = filter(&[number], libc::SECCOMP_RET_USER_NOTIF);
    let list = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `list` and the program that it points at live until the call is over, which copies both.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            std::ptr::from_ref(&list),
        )
    };
    match RawFd::try_from(fd) {
        // SAFETY: the call has made the descriptor, and nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn send(socket: &UnixStream, listener: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [listener];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(
        socket,
        &[IoSlice::new(b"x")],
        &mut ancillary,
        SendFlags::empty(),
    )?;
    Ok(())
}

fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let fds = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fds.ok_or_else(|| io::Error::other("no listener came"))
}

/// Answers one question; whether it was a refusal. One whose process has ended needs no answer.
#[expect(unsafe_code, reason = "no wrapper of the calls is at hand")]
fn answer(listener: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all zeroes are a value of this struct of numbers, and what the kernel asks for.
    let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let fd = listener.as_raw_fd();
    // SAFETY: the kernel writes one struct of this type, which lives until the call is over.
    let ret = unsafe {
        libc::ioctl(
            fd,
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            std::ptr::from_mut(&mut question),
        )
    };
    if ret != 0 {
        return Ok(false);
    }
    // The first member of `struct clone_args`.
    let mut flags = [0; 8];
    let memory = File::open(format!("/proc/{}/mem", question.pid));
    let read = memory.and_then(|memory| memory.read_exact_at(&mut flags, question.data.args[0]));
    let refused = read.is_ok() && u64::from_ne_bytes(flags) & FLAG != 0;
    let mut reply = libc::seccomp_notif_resp {
        id: question.id,
        val: 0,
        error: 0,
        flags: 0,
    };
    match refused {
        true => reply.error = -libc::ENOSYS,
        false => reply.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap(),
    }
    // SAFETY: the kernel reads one struct of this type, which lives until the call is over.
    let ret = unsafe {
        libc::ioctl(
            fd,
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            std::ptr::from_mut(&mut reply),
        )
    };
    Ok(refused && ret == 0)
}
