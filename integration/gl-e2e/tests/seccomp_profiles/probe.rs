//! A program that makes raw calls inside and tells which of them the filter answered.
//!
//! Each errno of the filter is moved to one that the kernel gives for none of the calls, so that
//! the filter's answer cannot be mistaken for a missing capability or a fault of the arguments, which
//! are such that nothing would happen if the call were made.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use gl_e2e::bundle::Bundle;
use gl_e2e::{Outcome, Skip};
use serde_json::{Value, json};

use super::{ALL, calls, section};

/// What the filter answers instead of `EPERM` and of `ENOSYS`: `ECOMM` and `EBADFD`.
const REFUSED: u64 = 70;
const UNKNOWN: u64 = 77;
/// `ENOSYS`, which the runtime answers to what is newer than the filter, whatever the section says.
const ENOSYS: u64 = 38;

/// What a call is expected to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Refused by the filter.
    Refused,
    /// Said not to exist by the filter.
    Unknown,
    /// Left to the kernel.
    Reached,
}

/// Tries all that a profile must stop, and what is close to that and must not be stopped.
pub(crate) fn check(profile: &str) -> Outcome {
    let mut expected: Vec<(&str, Answer)> = Vec::new();
    for (calls, answer) in [
        (calls::stopped(profile), Answer::Refused),
        (vec![calls::UNKNOWN], Answer::Unknown),
        (calls::reached(profile), Answer::Reached),
    ] {
        let calls = calls.concat();
        expected.extend(calls.into_iter().map(|call| (call, answer)));
    }
    let made = expected.iter().map(|(call, _)| make(call));
    let bundle = with_program(&made.collect::<String>())?;
    let out = bundle
        .set("/linux/seccomp", moved(section(profile)))
        .run()
        .ok();
    let seen: Vec<(&str, Answer)> = out.stdout.lines().map(read).collect();
    let wrong: Vec<_> = expected
        .iter()
        .zip(&seen)
        .filter(|(wanted, got)| wanted != got)
        .collect();
    assert!(wrong.is_empty(), "{profile}, expected and seen: {wrong:#?}");
    assert_eq!(seen.len(), expected.len(), "{profile}: {out:?}");
    Ok(())
}

/// Calls through the two other ABIs of x86-64 end the process with `SIGSYS`.
pub(crate) fn other_abis() -> Outcome {
    for (abi, call) in [
        (
            "x86",
            "__asm__ volatile (\"int $0x80\" : \"=a\"(r) : \"a\"(20) : \"memory\");",
        ),
        ("x32", "r = syscall(0x40000000 | SYS_getpid);"),
    ] {
        for profile in ALL {
            let body = format!(
                "long r = 0; puts(\"before\"); fflush(stdout); {call} printf(\"%ld\\n\", r);"
            );
            let bundle = with_program(&body)?.set("/linux/seccomp", section(profile));
            let out = bundle.run();
            let sigsys = 128 + 31;
            assert_eq!(
                (out.code, out.stdout.as_str()),
                (sigsys, "before\n"),
                "{abi}, {profile}: {out:?}"
            );
        }
    }
    Ok(())
}

/// The C statement that makes a call such as `mount(0, 0, 0, 0, 0)` and prints what came of it.
fn make(call: &str) -> String {
    let (name, args) = call.trim_end_matches(')').split_once('(').unwrap();
    let args: Vec<&str> = args
        .split(',')
        .map(str::trim)
        .filter(|arg| !arg.is_empty())
        .collect();
    let args: String = (0..6)
        .map(|index| format!(", (long)({})", args.get(index).unwrap_or(&"0")))
        .collect();
    format!("    try_call(\"{call}\", SYS_{name}{args});\n")
}

/// A line that the program printed.
fn read(line: &str) -> (&str, Answer) {
    let (call, errno) = line.rsplit_once('\t').unwrap();
    let answer = match errno.parse::<u64>().unwrap() {
        REFUSED => Answer::Refused,
        UNKNOWN => Answer::Unknown,
        ENOSYS if call == calls::NEWEST => Answer::Unknown,
        _ => Answer::Reached,
    };
    (call, answer)
}

/// The same section with the errnos of the filter moved.
fn moved(mut section: Value) -> Value {
    let other = |errno: &mut Value| match errno.as_u64() {
        Some(1) => *errno = json!(REFUSED),
        Some(38) => *errno = json!(UNKNOWN),
        other => assert_eq!(other, None, "an errno that the test does not know"),
    };
    other(&mut section["defaultErrnoRet"]);
    for entry in section["syscalls"].as_array_mut().unwrap() {
        if let Some(errno) = entry.get_mut("errnoRet") {
            other(errno);
        }
    }
    section
}

/// A container whose init is a static program with this body of `main`.
fn with_program(body: &str) -> Result<Bundle, Skip> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Skip("the calls are those of x86-64".to_owned()));
    }
    let bundle = Bundle::new().args(&["/probe"]);
    let target = bundle.rootfs().join("probe");
    let source = include_str!("probe.c").replace("/* body */", body);
    let compiler = Command::new("cc")
        .args(["-static", "-O1", "-Wall", "-Werror", "-x", "c", "-", "-o"])
        .arg(&target)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut compiler) = compiler else {
        return Err(Skip("there is no cc".to_owned()));
    };
    let mut stdin = compiler.stdin.take().unwrap();
    stdin.write_all(source.as_bytes()).unwrap();
    drop(stdin);
    let out = compiler.wait_with_output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(
        fs::metadata(&target).unwrap().is_file(),
        "{}",
        target.display()
    );
    Ok(bundle)
}
