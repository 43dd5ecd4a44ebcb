//! The launcher: the first program in a sandbox, and of each exec. It does what runsc does not do for a
//! process: the umask, and the filter of system calls with all its verdicts, which holds in gVisor's
//! kernel as it would in the host's. Then it becomes the program.
//!
//! It is greenlang's own binary, bound read-only to [`DIRECTORY`] and called by that name. The
//! container's user runs it, so it has no rights that the program would not have.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use gl_seccomp::Program;
use gl_sys::CStrings;
use rustix::fs::{Access, FileType, Mode};
use rustix::io::Errno;

/// Where the sandbox sees what is for the launcher.
pub const DIRECTORY: &str = "/dev/.greenlang";
/// The launcher's own path there.
pub const LAUNCHER: &str = "/dev/.greenlang/launch";
/// The filter's name in the directory.
pub(crate) const FILTER: &str = "filter";
/// The name of the empty file that hides others.
pub(crate) const EMPTY: &str = "empty";
/// In place of a umask or a filter: none is set.
const NONE: &str = "-";
/// Where programs are looked for without `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the program did not start.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// One line for standard error.
    pub message: String,
    /// As a shell has it: 127 for what is not there, 126 for what cannot be executed.
    pub status: u8,
}

/// The words before a program's own that make the launcher set these.
pub(crate) fn words(umask: Option<u32>, filtered: bool) -> Vec<String> {
    let umask = umask.map_or_else(|| NONE.to_owned(), |bits| format!("{bits:o}"));
    let filter = match filtered {
        true => FILTER,
        false => NONE,
    };
    vec![LAUNCHER.to_owned(), umask, filter.to_owned()]
}

/// Becomes the program if this process was called as the launcher; none if it was not.
///
/// Called without anything to launch it succeeds: so a platform is tried.
pub fn launch_if_called() -> Option<Result<(), Failure>> {
    let mut words = std::env::args_os();
    if words.next()? != LAUNCHER {
        return None;
    }
    let words: Vec<OsString> = words.collect();
    match words.as_slice() {
        [] => Some(Ok(())),
        [umask, filter, program @ ..] => Some(Err(launch(umask, filter, program))),
        [_] => Some(Err(failure("launch", "words are missing", 126))),
    }
}

fn failure(what: &str, why: &str, status: u8) -> Failure {
    Failure {
        message: format!("greenlang: exec: {what:?}: {why}"),
        status,
    }
}

/// Returns only if the program could not be started.
fn launch(umask: &OsStr, filter: &OsStr, program: &[OsString]) -> Failure {
    let Some(name) = program.first() else {
        return failure("", "no program is named", 126);
    };
    let shown = name.to_string_lossy();
    let path = match find(name) {
        Ok(path) => path,
        Err(Errno::NOENT) if name.as_bytes().contains(&b'/') => {
            return failure(&shown, "no such file or directory", 127);
        }
        Err(Errno::NOENT) => return failure(&shown, "executable file not found in $PATH", 127),
        Err(_) => return failure(&shown, "permission denied", 126),
    };
    // Neither arguments nor environment can hold a NUL byte.
    let strings = |all: Vec<Vec<u8>>| {
        CStrings::new(
            all.into_iter()
                .filter_map(|s| CString::new(s).ok())
                .collect(),
        )
    };
    let args = strings(program.iter().cloned().map(OsString::into_vec).collect());
    let env =
        std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
    let env = strings(env.collect());
    if let Err(why) = restrict(umask, filter) {
        return failure(&shown, &why, 126);
    }
    match gl_sys::execve(&path, &args, &env) {
        Errno::NOENT => failure(&shown, "no such file or directory", 127),
        errno => failure(&shown, &gl_spec::chain(&errno), 126),
    }
}

/// All or nothing: what cannot be set keeps the program from running.
fn restrict(umask: &OsStr, filter: &OsStr) -> Result<(), String> {
    let said = |what: &str, errno: Errno| format!("{what}: {errno}");
    if umask != NONE {
        let bits = umask
            .to_str()
            .and_then(|text| u32::from_str_radix(text, 8).ok());
        let bits = bits.ok_or("the umask is not a number")?;
        rustix::process::umask(Mode::from_raw_mode(bits));
    }
    gl_sys::reset_for_exec().map_err(|errno| said("reset signals", errno))?;
    if filter == NONE {
        return Ok(());
    }
    let bytes = std::fs::read(Path::new(DIRECTORY).join(FILTER))
        .map_err(|err| format!("read the filter of system calls: {err}"))?;
    let program = Program::from_bytes(&bytes).map_err(|err| gl_spec::chain(&err))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| said("set no_new_privs", errno))?;
    gl_sys::seccomp_set_filter(0, program.insns())
        .map(drop)
        .map_err(|errno| said("attach the filter of system calls", errno))
}

/// Finds the program: a name with a slash is a path, any other is looked for along `PATH`.
fn find(name: &OsStr) -> Result<CString, Errno> {
    let text = |bytes: &[u8]| CString::new(bytes).or(Err(Errno::INVAL));
    if name.as_bytes().contains(&b'/') {
        let path = text(name.as_bytes())?;
        return executable(&path).map(|()| path);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut worst = Errno::NOENT;
    for dir in path.as_bytes().split(|byte| *byte == b':') {
        let dir = if dir.is_empty() { &b"."[..] } else { dir };
        let candidate = text(&[dir, b"/", name.as_bytes()].concat())?;
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => worst = Errno::ACCESS,
            Err(_) => {}
        }
    }
    Err(worst)
}

fn executable(path: &CString) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path.as_c_str())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    rustix::fs::access(path.as_c_str(), Access::EXEC_OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_is_to_be_set() {
        assert_eq!(words(None, false), [LAUNCHER, "-", "-"]);
        assert_eq!(words(Some(0o77), true), [LAUNCHER, "77", "filter"]);
    }

    #[test]
    fn another_program_is_not_the_launcher() {
        assert_eq!(launch_if_called(), None);
    }

    #[test]
    fn missing_programs_are_127_and_others_126() {
        for (name, status, says) in [
            ("/no/such", 127, "no such file or directory"),
            (
                "gl-no-such-program",
                127,
                "executable file not found in $PATH",
            ),
            ("/etc/passwd", 126, "permission denied"),
            ("/etc", 126, "permission denied"),
        ] {
            let failed = launch("-".as_ref(), "-".as_ref(), &[name.into()]);
            assert_eq!(failed.status, status, "{failed:?}");
            assert!(failed.message.ends_with(says), "{failed:?}");
        }
    }
}
