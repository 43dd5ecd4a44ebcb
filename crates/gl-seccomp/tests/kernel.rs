//! Programs in the real kernel. Each is attached in a process of its own, which is this binary
//! again: a filter cannot be taken off, and the test runner has threads.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests"
)]

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use common::lists::{self, Rules};
use common::rng::Rng;
use gl_seccomp::{Insn, NATIVE, Program, check_kernel, compile, install};
use gl_spec::oci::{Arch, LinuxSeccomp};
use rustix::io::Errno;
use rustix::process::Pid;

const CHILD: &str = "GL_SECCOMP_TEST_CHILD";
/// What a child ends with if the kernel refuses the program; it can, as no filter holds it then.
const REFUSED: u8 = 77;
const SIGSYS: i32 = 31;

fn main() -> ExitCode {
    if let Some(name) = std::env::var_os(CHILD) {
        return child(name.to_str().unwrap());
    }
    let tests: [(&str, fn()); 6] = [
        (
            "verdicts_are_those_of_the_list",
            verdicts_are_those_of_the_list,
        ),
        (
            "both_halves_of_an_argument_count",
            both_halves_of_an_argument_count,
        ),
        (
            "killing_verdicts_kill_with_sigsys",
            killing_verdicts_kill_with_sigsys,
        ),
        ("notify_makes_a_listener", notify_makes_a_listener),
        (
            "flags_are_known_to_the_kernel",
            flags_are_known_to_the_kernel,
        ),
        ("kernel_takes_every_program", kernel_takes_every_program),
    ];
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let mut run = 0;
    for (name, test) in tests {
        if wanted
            .as_ref()
            .is_none_or(|part| name.contains(part.as_str()))
        {
            test();
            println!("test {name} ... ok");
            run += 1;
        }
    }
    println!("\ntest result: ok. {run} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    ExitCode::SUCCESS
}

/// Attaches the program from standard input and reports what it then sees.
fn child(what: &str) -> ExitCode {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let program = Program::from_bytes(&bytes).unwrap();
    let file = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::thread::set_no_new_privs(true).unwrap();
    let listener = match install(&program) {
        Ok(listener) => listener,
        Err(errno) => {
            eprintln!("refused: {errno}");
            return ExitCode::from(REFUSED);
        }
    };
    let line = match what {
        "attach" => String::new(),
        "getpgid" => {
            let one = |pid| rustix::process::getpgid(Pid::from_raw(pid));
            format!("{:?} {:?}", one(1).err(), one(0).err())
        }
        "ftruncate" => {
            let sizes = [
                0,
                1,
                0xffff_ffff,
                0x1_0000_0000,
                0x1_0000_0001,
                0x2_0000_0000,
            ];
            let errnos = sizes.map(|size| rustix::fs::ftruncate(&file, size).err());
            format!("{:?}", errnos.map(|errno| errno.map(Errno::raw_os_error)))
        }
        "listener" => {
            let flags = listener
                .as_ref()
                .map(|fd| rustix::io::fcntl_getfd(fd).unwrap());
            format!("{flags:?}")
        }
        "verify" => verify(),
        other => panic!("{other}"),
    };
    println!("{line}");
    ExitCode::SUCCESS
}

/// Runs a child with the list's program; returns how it ended and what it said.
fn observe(list: &LinuxSeccomp, what: &str) -> (ExitStatus, String) {
    let program = compile(list, NATIVE).unwrap();
    check_kernel(&program).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&program.to_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status, said.trim_end().to_owned())
}

fn list(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn verdicts_are_those_of_the_list() {
    let list = list(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["getpgid"],"action":"SCMP_ACT_ERRNO","errnoRet":38,
             "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    let (status, said) = observe(&list, "getpgid");
    assert!(status.success(), "{status} {said}");
    let want = format!("{:?} None", Some(Errno::NOSYS));
    assert_eq!(said, want);
}

fn both_halves_of_an_argument_count() {
    // Lengths: 0, 1, 2^32-1, 2^32, 2^32+1, 2^33.
    for (op, value, two, want) in [
        (
            "EQ",
            0x1_0000_0001_u64,
            0_u64,
            "[None, None, None, None, Some(99), None]",
        ),
        (
            "NE",
            1,
            0,
            "[Some(99), None, Some(99), Some(99), Some(99), Some(99)]",
        ),
        (
            "GT",
            0xffff_ffff,
            0,
            "[None, None, None, Some(99), Some(99), Some(99)]",
        ),
        (
            "GE",
            0x1_0000_0001,
            0,
            "[None, None, None, None, Some(99), Some(99)]",
        ),
        (
            "LT",
            0x1_0000_0000,
            0,
            "[Some(99), Some(99), Some(99), None, None, None]",
        ),
        (
            "LE",
            0x1_0000_0000,
            0,
            "[Some(99), Some(99), Some(99), Some(99), None, None]",
        ),
        (
            "MASKED_EQ",
            0x1_0000_0001,
            0x1_0000_0000,
            "[None, None, None, Some(99), None, None]",
        ),
    ] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {{"names":["ftruncate"],"action":"SCMP_ACT_ERRNO","errnoRet":99,"args":[
                    {{"index":1,"op":"SCMP_CMP_{op}","value":{value},"valueTwo":{two}}}]}}]}}"#
        );
        let (status, said) = observe(&list(&json), "ftruncate");
        assert!(status.success(), "{op}: {status} {said}");
        assert_eq!(said, want, "{op} {value:#x}");
    }
}

fn killing_verdicts_kill_with_sigsys() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW",
                "syscalls":[{{"names":["getpgid"],"action":"{action}"}}]}}"#
        );
        let (status, said) = observe(&list(&json), "getpgid");
        assert_eq!(status.signal(), Some(SIGSYS), "{action}: {status} {said}");
    }
}

fn notify_makes_a_listener() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent.sock",
        "flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls":[{"names":["getpgid"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let (status, said) = observe(&list(json), "listener");
    assert!(status.success(), "{status} {said}");
    assert_eq!(said, "Some(FdFlags(CLOEXEC))");
    let (_, said) = observe(&list(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#), "listener");
    assert_eq!(said, "None");
}

fn flags_are_known_to_the_kernel() {
    for flag in ["LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV"] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_{flag}"],
                "syscalls":[{{"names":["getpgid"],"action":"SCMP_ACT_ERRNO"}}]}}"#
        );
        let (status, said) = observe(&list(&json), "attach");
        assert!(status.success(), "{flag}: {status} {said}");
    }
}

/// The kernel checks a program before it sees that a second listener is one too many, so in a
/// process with a listener `EBUSY` means that the program was good, and nothing is attached.
fn kernel_takes_every_program() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent.sock",
        "syscalls":[{"names":["getpgid"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let (status, said) = observe(&list(json), "verify");
    assert!(status.success(), "{status} {said}");
    let said: Vec<usize> = said.split(' ').map(|n| n.parse().unwrap()).collect();
    let [good, longest] = said[..] else {
        panic!("{said:?}");
    };
    println!("{good} programs, the longest of {longest} instructions");
    assert!(good > 300, "{good} programs");
}

/// In the child: offers programs to the kernel, and one that it must refuse.
fn verify() -> String {
    let busy = |insns: &[Insn]| gl_sys::seccomp_set_filter(1 << 3, insns).unwrap_err();
    let endless = [Insn {
        code: 0x05,
        jt: 0,
        jf: 0,
        k: 9,
    }];
    assert_eq!(busy(&endless), Errno::INVAL, "a jump past the end");
    let names = lists::names();
    let mut good = vec![
        lists::docker(),
        lists::podman(),
        lists::for_arm(lists::docker()),
    ];
    for seed in 0..600 {
        let mut rng = Rng(seed);
        let rules = rng.pick(&[Rules::OneAction, Rules::Equalities, Rules::Anything]);
        let all = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
        good.push(lists::generated(&mut rng, &names, &all, rules).0);
    }
    let programs: Vec<Program> = good
        .iter()
        .filter_map(|l| compile(l, NATIVE).ok())
        .collect();
    for (index, program) in programs.iter().enumerate() {
        assert_eq!(busy(program.insns()), Errno::BUSY, "program {index}");
    }
    let longest = programs.iter().map(|program| program.insns().len()).max();
    format!("{} {}", programs.len(), longest.unwrap())
}
