//! Finds what a process starts: its program by `PATH`, its home by the container's passwd.
//!
//! Runs in the child as the container's user, inside the container's root: what is found is what
//! that user may see.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use gl_plan::Process;
use gl_rootfs::Root;
use rustix::fs::{Access, FileType, OFlags};
use rustix::io::Errno;

use crate::step::{Fault, Own};

/// Where programs are looked for if the container's environment has no `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longer passwd files are read up to here: a line beyond it is not found.
const PASSWD_LIMIT: usize = 1 << 20;

/// Finds the program: a name with a slash is a path, any other is looked for along `PATH`.
pub(crate) fn find_program(process: &Process) -> Result<CString, Fault> {
    let Some(name) = process.args.first() else {
        return Err(Fault::of(Own::LookupFile)(Errno::INVAL));
    };
    if name.as_bytes().contains(&b'/') {
        executable(name).map_err(Fault::of(Own::LookupFile))?;
        return Ok(name.clone());
    }
    let mut denied = false;
    let path = process.var("PATH").unwrap_or(DEFAULT_PATH);
    for dir in path.split(|byte| *byte == b':') {
        let dir = if dir.is_empty() { &b"."[..] } else { dir };
        let Ok(candidate) = CString::new([dir, b"/", name.as_bytes()].concat()) else {
            continue;
        };
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => denied = true,
            Err(_) => {}
        }
    }
    let errno = if denied { Errno::ACCESS } else { Errno::NOENT };
    Err(Fault::of(Own::LookupPath)(errno))
}

fn executable(path: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::ACCESS),
    }
    // Real and effective ids are the same by now.
    rustix::fs::access(path, Access::EXEC_OK)?;
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    Ok(())
}

/// The environment with `HOME`: the user's home by the container's `/etc/passwd`, or `/`.
///
/// Numbers only: the user is found by id, whatever names the file gives to it.
pub(crate) fn complete_environment(process: &Process, root: &Root) -> Result<Vec<CString>, Fault> {
    let mut env = process.env.clone();
    if process.var("HOME").is_some_and(|home| !home.is_empty()) {
        return Ok(env);
    }
    env.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
    let passwd = read_passwd(root).map_err(Fault::of(Own::Passwd))?;
    let home = home_of(process.uid, &passwd).unwrap_or(b"/");
    let entry = CString::new([b"HOME=", home].concat());
    env.push(entry.map_err(|_err: std::ffi::NulError| Fault::of(Own::Passwd)(Errno::INVAL))?);
    Ok(env)
}

/// Reads the file's beginning; a file that is missing, unreadable or no plain file reads as empty.
/// So does one of the kernel (size 0): to read `/proc/kmsg` takes the host's messages away.
fn read_passwd(root: &Root) -> Result<Vec<u8>, Errno> {
    // Without O_NONBLOCK a pipe in its place would hang us.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: OwnedFd = match root.open(Path::new("etc/passwd"), flags) {
        Ok(file) => file,
        Err(_) => return Ok(Vec::new()),
    };
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size == 0 {
        return Ok(Vec::new());
    }
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    while text.len() < PASSWD_LIMIT {
        match rustix::io::read(&file, &mut chunk)? {
            0 => break,
            len => text.extend_from_slice(chunk.get(..len).unwrap_or_default()),
        }
    }
    Ok(text)
}

fn home_of(uid: u32, passwd: &[u8]) -> Option<&[u8]> {
    let wanted = uid.to_string();
    let lines = passwd.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let id = fields.nth(2)?;
            let home = fields.nth(2)?;
            (id == wanted.as_bytes() && home.starts_with(b"/")).then_some(home)
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_found_by_id_and_never_by_name() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n1000:x:0:0::/evil:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\nshort:x:7\n";
        for (uid, want) in [
            (0, Some(&b"/root"[..])),
            (1000, Some(b"/home/u")),
            (7, None),
            (1, None),
        ] {
            assert_eq!(home_of(uid, passwd), want, "{uid}");
        }
    }

    #[test]
    fn relative_home_does_not_count() {
        assert_eq!(home_of(5, b"a:x:5:5::home:/bin/sh"), None);
    }
}
