//! `gl record` and `gl profile merge`: what was recorded runs under its profile, and nothing else does.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use gl_e2e::bundle;
use gl_e2e::bundle::kernel::eventually;
use gl_e2e::command::{self as process, Output};
use gl_e2e::kernel::processes;
use gl_e2e::{Outcome, Skip, tests};
use serde_json::Value;

fn main() -> ExitCode {
    bundle::main(tests![
        recorded_programs_run_under_their_profiles,
        recorded_programs_run_in_the_tier_basic,
        user_records_and_runs_in_both_tiers,
        other_acts_are_denied_under_a_recorded_profile,
        paths_are_relative_to_the_same_directory,
        profile_has_no_call_that_was_not_made,
        union_of_two_runs_runs_both,
        union_of_what_differs_elsewhere_is_refused,
        status_and_signals_pass_through,
        killed_recorder_leaves_nothing,
        file_that_is_there_is_kept,
        calls_beyond_default_are_left_out_unless_included,
        directories_of_everybody_are_never_shown_whole,
        recording_has_no_capability_and_a_clean_environment,
        what_cannot_be_recorded_is_said_with_125,
    ])
}

const USER: u32 = 54_321;

/// A directory of this test, gone when dropped. Whoever runs a program may write to it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("{}{name}", bundle::tag()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A file that everybody may read and write.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        path
    }

    /// A directory that everybody may write to.
    fn dir(&self, name: &str) -> String {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The `gl` beside the runtime, as root or as somebody without root.
#[derive(Clone)]
struct Gl {
    program: PathBuf,
    /// The user's runtime directory.
    user: Option<PathBuf>,
}

impl Gl {
    fn root() -> Result<Self, Skip> {
        let program = bundle::runtime().with_file_name("gl");
        if !program.exists() {
            assert!(!bundle::is_greenlang(), "no {}", program.display());
            return Err(Skip("there is no gl beside this runtime".to_owned()));
        }
        Ok(Self {
            program,
            user: None,
        })
    }

    /// A copy that the user can execute, in this directory.
    fn user(dir: &Dir) -> Result<Self, Skip> {
        let program = dir.0.join("gl");
        fs::copy(Self::root()?.program, &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let runtime = dir.0.join("runtime");
        fs::create_dir(&runtime).unwrap();
        chown(&runtime, Some(USER), Some(USER)).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
        Ok(Self {
            program,
            user: Some(runtime),
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.user {
            None => Command::new(&self.program),
            Some(runtime) => {
                let mut command = Command::new("setpriv");
                let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
                command.args([&user, &group, "--clear-groups"]);
                command.arg(&self.program).env("XDG_RUNTIME_DIR", runtime);
                command
            }
        };
        command.args(args).current_dir("/usr").stdin(Stdio::null());
        command
    }

    fn call(&self, args: &[&str]) -> Output {
        process::output(self.command(args))
    }

    fn record(&self, tier: &str, out: &str, command: &[&str]) -> Output {
        let options = ["record", "--tier", tier, "--profile-out", out, "--"];
        self.call(&[&options, command].concat())
    }

    /// Runs a command under a profile, and reads the report of it.
    fn run(&self, profile: &str, command: &[&str]) -> (Output, Value) {
        let report = format!("{profile}.json");
        let options = ["run", "--profile", profile, "--report", &report, "--"];
        let output = self.call(&[&options, command].concat());
        let text = fs::read_to_string(&report);
        let text = text.unwrap_or_else(|err| panic!("read {report}: {err}: {output}"));
        let json = serde_json::from_str(&text);
        (output, json.unwrap_or_else(|err| panic!("{err} in {text}")))
    }
}

/// A program to be recorded, with what it needs in a directory.
struct Program {
    name: &'static str,
    command: Vec<String>,
}

fn python() -> Option<&'static str> {
    let found = Path::new("/usr/bin/python3").exists();
    found.then_some("/usr/bin/python3")
}

/// Programs of several kinds: what they make, they can make again.
fn programs(dir: &Dir) -> Vec<Program> {
    let input = dir.file("input", "some words\nand more\n");
    let out = dir.dir("out");
    let tree = dir.dir("tree");
    for name in ["a", "b", "c"] {
        fs::write(format!("{tree}/{name}.txt"), name).unwrap();
    }
    let perl_threads = "for my $n (1..3) { my $p = fork; if (!$p) { exit $n } } \
                        my $sum = 0; while (wait > 0) { $sum += $? >> 8 } print \"$sum\\n\"";
    let perl_net = "use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 1, \
                    LocalAddr => '127.0.0.1') or die $!; my $p = $s->sockport; if (!fork) { \
                    my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $p) or die $!; \
                    print $c \"hello\\n\"; exit 0 } my $c = $s->accept or die $!; print scalar <$c>; wait";
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let sh = |script: String| words(&["sh", "-c", &script]);
    let mut all = vec![
        Program {
            name: "pipeline",
            command: sh(format!(
                "cat {input} | tr a-z A-Z | sort > {out}/sorted; cat {out}/sorted"
            )),
        },
        Program {
            name: "temporary",
            command: sh("f=$(mktemp) && echo kept > $f && cat $f && rm $f; exit 3".to_owned()),
        },
        Program {
            name: "archive",
            command: sh(format!(
                "cd {tree} && tar cf - . | gzip -n > {out}/t.gz && gzip -dc {out}/t.gz | tar tf - | sort"
            )),
        },
        Program {
            name: "find",
            command: words(&["find", &tree, "-name", "*.txt"]),
        },
        Program {
            name: "processes",
            command: words(&["perl", "-e", perl_threads]),
        },
        Program {
            name: "network",
            command: words(&["perl", "-e", perl_net]),
        },
    ];
    if let Some(python) = python() {
        let script = format!(
            "import subprocess, threading, json\n\
             def work(): print(json.dumps(sorted(open({input:?}).read().split())))\n\
             t = threading.Thread(target=work); t.start(); t.join()\n\
             open({:?}, 'w').write('done')\n\
             print(subprocess.run(['cat', {:?}], capture_output=True, text=True).stdout)\n",
            format!("{out}/python"),
            format!("{out}/python"),
        );
        all.push(Program {
            name: "python",
            command: words(&[python, "-c", &script]),
        });
    }
    all
}

/// Records each program, and has it run under what was recorded: it does the same, and nothing is denied but
/// what `tier` denies everybody.
#[track_caller]
fn check_all(gl: &Gl, dir: &Dir, tier: &str) {
    let profiles = dir.dir(&format!("profiles-{tier}"));
    for Program { name, command } in programs(dir) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let profile = format!("{profiles}/{name}.toml");
        let recorded = gl.record(tier, &profile, &command);
        let wrote = format!("gl: wrote {profile}: profile {name}, ");
        assert!(recorded.stderr.contains(&wrote), "{name}: {recorded}");
        gl.call(&["profile", "check", &profile]).ok();
        // Root's files are nobody's in a sandbox where the file system cannot translate ids.
        for made in fs::read_dir(dir.0.join("out")).unwrap() {
            fs::remove_file(made.unwrap().path()).unwrap();
        }
        let (output, report) = gl.run(&profile, &command);
        let text = fs::read_to_string(&profile).unwrap();
        let seen = format!("{name} in {tier}: {output}\n{report:#}\n{text}");
        assert_eq!(output.status, recorded.status, "{seen}");
        assert_eq!(output.stdout, recorded.stdout, "{seen}");
        assert!(!output.stdout.is_empty(), "{seen}");
        assert_eq!(report["tier"], tier, "{seen}");
        let denials = report["denials"].as_array().unwrap();
        let by_tier = |denial: &Value| tier == "basic" && denial["what"] == "socket";
        let others: Vec<_> = denials.iter().filter(|one| !by_tier(one)).collect();
        assert!(others.is_empty(), "{seen}");
    }
    for name in ["out", "tree"] {
        fs::remove_dir_all(dir.0.join(name)).unwrap();
    }
}

fn recorded_programs_run_under_their_profiles() -> Outcome {
    let dir = Dir::new("namespace");
    check_all(&Gl::root()?, &dir, "namespace");
    Ok(())
}

fn recorded_programs_run_in_the_tier_basic() -> Outcome {
    let dir = Dir::new("basic");
    check_all(&Gl::root()?, &dir, "basic");
    Ok(())
}

fn user_records_and_runs_in_both_tiers() -> Outcome {
    let dir = Dir::new("user");
    let gl = Gl::user(&dir)?;
    for tier in ["namespace", "basic"] {
        check_all(&gl, &dir, tier);
    }
    Ok(())
}

/// `mount(2)` by its number.
const MOUNT: u32 = if cfg!(target_arch = "x86_64") {
    165
} else {
    40
};

fn other_acts_are_denied_under_a_recorded_profile() -> Outcome {
    let dir = Dir::new("other");
    let gl = Gl::root()?;
    let input = dir.file("input", "in\n");
    let secret = dir.file("secret", "secret\n");
    let shell = |script: &str| ["sh", "-c", script].map(str::to_owned);
    for tier in ["namespace", "basic"] {
        let profile = dir.path(&format!("{tier}.toml"));
        let own = shell(&format!("cat {input}; perl -e '1'"));
        let own = own.each_ref().map(String::as_str);
        gl.record(tier, &profile, &own).ok();
        let (output, _) = gl.run(&profile, &own);
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (0, "in\n"),
            "{output}"
        );
        for (act, why) in [
            (format!("cat {secret}"), "secret"),
            ("cat /etc/shadow".to_owned(), "/etc/shadow"),
            (format!("echo x > {input}"), "input"),
            (format!("echo x > {}", dir.path("new")), "new"),
            ("echo x > /usr/new".to_owned(), "/usr/new"),
        ] {
            let (output, _) = gl.run(&profile, &shell(&act).each_ref().map(String::as_str));
            assert!(output.refused().contains(why), "{tier}: {act}: {output}");
            assert_eq!(output.stdout, "", "{tier}: {act}: {output}");
        }
        for (call, script) in [
            (
                "socket",
                "use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0) and exit 0; exit 9".to_owned(),
            ),
            (
                "mount",
                format!("syscall({MOUNT}, 0, 0, 0, 0, 0) == -1 and $! == 1 and exit 9"),
            ),
            (
                "chmod",
                format!("chmod(0600, '{input}') and exit 0; exit 9"),
            ),
        ] {
            let act = shell(&format!("perl -e \"{}\"", script.replace('$', "\\$")));
            let (output, report) = gl.run(&profile, &act.each_ref().map(String::as_str));
            assert_eq!(output.status, 9, "{tier}: {call}: {output}\n{report:#}");
            let denials = report["denials"].as_array().unwrap();
            let named = |denial: &&Value| {
                let what = denial["what"].as_str().unwrap();
                what == call || what == format!("f{call}at")
            };
            let denial = denials.iter().find(named);
            let denial = denial.unwrap_or_else(|| panic!("{tier}: {call}: {report:#}"));
            assert_eq!(denial["answer"], "EPERM", "{denial:#}");
        }
    }
    assert_eq!(fs::read_to_string(&input).unwrap(), "in\n");
    assert!(!dir.0.join("new").exists());
    Ok(())
}

fn paths_are_relative_to_the_same_directory() -> Outcome {
    let dir = Dir::new("relative");
    let gl = Gl::root()?;
    let (there, profiles) = (dir.dir("there"), dir.dir("profiles"));
    let here = dir.0.join("there");
    fs::write(here.join("input"), "in\n").unwrap();
    fs::create_dir(here.join("out")).unwrap();
    fs::set_permissions(here.join("out"), fs::Permissions::from_mode(0o777)).unwrap();
    let script = "cat input > out/new && cat out/new && rm ./sub/../out/new";
    fs::create_dir(here.join("sub")).unwrap();
    for tier in ["namespace", "basic"] {
        let profile = format!("{profiles}/{tier}.toml");
        let call = |args: &[&str]| {
            let mut command = gl.command(&[args, &["--", "sh", "-c", script]].concat());
            command.current_dir(&there);
            process::output(command)
        };
        let recorded = call(&["record", "--tier", tier, "--profile-out", &profile]);
        assert_eq!(recorded.ok(), "in", "{recorded}");
        let ran = call(&["run", "--profile", &profile]);
        assert_eq!(ran.ok(), "in", "{ran}");
        let written = [format!("{there}/out")];
        assert_eq!(list(&profile, "read_write_paths"), written);
    }
    Ok(())
}

/// The items of a list in a profile, as the file has them.
fn list(profile: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(profile).unwrap();
    let begin = format!("{key} = [");
    let Some((_, rest)) = text.split_once(&begin) else {
        return Vec::new();
    };
    let (items, _) = rest.split_once(']').unwrap();
    let quoted = items.split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

fn profile_has_no_call_that_was_not_made() -> Outcome {
    let dir = Dir::new("minimal");
    let gl = Gl::root()?;
    let input = dir.file("input", "in\n");
    let profile = dir.path("cat.toml");
    gl.record("namespace", &profile, &["cat", &input]).ok();
    let calls = list(&profile, "allow");
    for call in ["read", "write", "execve", "exit_group", "openat@files-read"] {
        assert!(calls.iter().any(|one| one == call), "no {call}: {calls:?}");
    }
    for call in [
        "socket", "connect", "clone", "fork", "vfork", "openat", "unlink", "unlinkat", "mkdir",
        "kill", "chmod", "rename", "mount", "ptrace", "ioctl", "prctl",
    ] {
        let part = format!("{call}@");
        let has = calls
            .iter()
            .any(|one| one == call || one.starts_with(&part));
        assert!(
            call == "openat" && !calls.iter().any(|one| one == call) || !has,
            "{call}: {calls:?}"
        );
    }
    assert_eq!(list(&profile, "read_write_paths"), Vec::<String>::new());
    let read = list(&profile, "read_only_paths");
    assert!(read.contains(&input), "{read:?}");
    let system = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];
    let others: Vec<_> = read
        .iter()
        .filter(|path| !system.contains(&path.as_str()))
        .collect();
    assert_eq!(others, [&input]);
    // Twice the same is the same.
    let again = dir.path("again.toml");
    gl.record("namespace", &again, &["cat", &input]).ok();
    assert_eq!(list(&again, "allow"), calls);
    Ok(())
}

fn union_of_two_runs_runs_both() -> Outcome {
    let dir = Dir::new("union");
    let gl = Gl::root()?;
    let (one, two) = (dir.file("one", "first\n"), dir.dir("two"));
    let script = format!(
        "case $1 in a) cat {one};; b) mkdir {two}/x && rmdir {two}/x && echo second;; esac"
    );
    let command = |branch: &'static str| ["sh", "-c", &*script, "sh", branch].map(str::to_owned);
    let profile = |name: &str| dir.path(&format!("{name}.toml"));
    let outputs = [("a", "first\n"), ("b", "second\n")];
    for (branch, want) in outputs {
        let output = gl.record(
            "namespace",
            &profile(branch),
            &command(branch).each_ref().map(|w| &**w),
        );
        assert_eq!(output.ok().to_owned() + "\n", want, "{output}");
    }
    for (recorded, branch) in [("a", "b"), ("b", "a")] {
        let command = command(branch);
        let (output, _) = gl.run(&profile(recorded), &command.each_ref().map(|w| &**w));
        assert_ne!(output.status, 0, "{branch} under {recorded}: {output}");
    }
    let both = profile("both");
    let merge = |more: &[&str]| {
        let (a, b) = (profile("a"), profile("b"));
        gl.call(&[&["profile", "merge", &a, &b, "--output", &both], more].concat())
    };
    let merged = merge(&[]);
    let text = merged.ok().to_owned();
    let said = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("nothing of {name}: {text}"))
    };
    assert!(said("a").contains(&format!("reads {one}")), "{text}");
    assert!(
        said("b").contains("call mkdir") && said("b").contains(&format!("writes {two}")),
        "{text}"
    );
    gl.call(&["profile", "check", &both]).ok();
    for (branch, want) in outputs {
        let (output, report) = gl.run(&both, &command(branch).each_ref().map(|w| &**w));
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (0, want),
            "{output}\n{report:#}"
        );
        assert_eq!(report["denials"].as_array().unwrap().len(), 0, "{report:#}");
    }
    // It allows what either does, and no more.
    let mut calls = [list(&profile("a"), "allow"), list(&profile("b"), "allow")].concat();
    calls.sort();
    calls.dedup();
    assert_eq!(list(&both, "allow"), calls);
    let again = merge(&[]);
    assert!(again.refused().contains("it is there already"), "{again}");
    merge(&["--force"]).ok();
    Ok(())
}

fn union_of_what_differs_elsewhere_is_refused() -> Outcome {
    let dir = Dir::new("refused");
    let gl = Gl::root()?;
    let (one, two, out) = (
        dir.path("one.toml"),
        dir.path("two.toml"),
        dir.path("out.toml"),
    );
    gl.record("namespace", &one, &["true"]).ok();
    gl.record("basic", &two, &["true"]).ok();
    let merge =
        |more: &[&str]| gl.call(&[&["profile", "merge", &one, &two, "-o", &out], more].concat());
    let output = merge(&[]);
    assert!(
        output.refused().contains("say which is meant: --tier"),
        "{output}"
    );
    assert!(!Path::new(&out).exists());
    merge(&["--tier", "namespace"]).ok();
    let text = fs::read_to_string(&two).unwrap();
    let text = text.replace("isolation = \"basic\"", "isolation = \"namespace\"");
    fs::write(
        &two,
        text.replace("[limits]", "[limits]\nmax_connections = 3"),
    )
    .unwrap();
    let output = merge(&["--force"]);
    let want = format!("merge two: {two}:");
    assert!(output.refused().contains(&want), "{output}");
    assert!(
        output
            .stderr
            .contains("limits.max_connections: gl record does not write this key"),
        "{output}"
    );
    Ok(())
}

fn status_and_signals_pass_through() -> Outcome {
    let dir = Dir::new("status");
    let gl = Gl::root()?;
    let profile = dir.path("p.toml");
    for (script, status) in [
        ("exit 7", 7),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let output = gl.record("namespace", &profile, &["sh", "-c", script]);
        assert_eq!(output.status, status, "{script}: {output}");
        // What was done until then is recorded.
        let calls = list(&profile, "allow");
        assert_eq!(
            calls.iter().any(|call| call == "kill"),
            status != 7,
            "{calls:?}"
        );
        fs::remove_file(&profile).unwrap();
    }
    let ready = dir.path("ready");
    let script = format!("trap 'echo got; exit 5' TERM; : > {ready}; while :; do sleep 0.05; done");
    let mut command = gl.command(&[
        "record",
        "--profile-out",
        &profile,
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    eventually("the program to be ready", || {
        Path::new(&ready).exists().then_some(())
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(5), &b"got\n"[..])
    );
    assert!(
        list(&profile, "allow")
            .iter()
            .any(|call| call == "rt_sigreturn")
    );
    Ok(())
}

/// Processes that have the name in their command lines.
fn left(name: &str) -> Vec<String> {
    let lines = processes().into_values();
    lines.filter(|line| line.contains(name)).collect()
}

/// Directories and cgroups of recordings.
fn made() -> Vec<PathBuf> {
    let hierarchies = gl_e2e::kernel::cgroup_hierarchies().into_iter();
    let cgroups = hierarchies.map(|dir| dir.join("greenlang"));
    let mut all = Vec::new();
    for dir in cgroups.chain([std::env::temp_dir()]) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let is_one = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("gl-record-gl-") || name.starts_with("gl-gl-")
        };
        all.extend(entries.map(|entry| entry.path()).filter(is_one));
    }
    all
}

/// The two processes of `gl record` that look after each other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Killed {
    First,
    Second,
}

fn killed_recorder_leaves_nothing() -> Outcome {
    let gl = Gl::root()?;
    let dir = Dir::new("killed");
    let moments = [0, 2, 4, 6, 9, 13, 20, 60, 200].map(|millis| (Killed::First, millis));
    for (killed, millis) in moments.into_iter().chain([(Killed::Second, 200)]) {
        let name = format!("{}killed-{killed:?}-{millis}", bundle::tag());
        let profile = dir.path(&format!("{millis}.toml"));
        let script = format!("sleep 1000 & sleep 1000 # {name}");
        let before = made();
        let mut child = gl
            .command(&[
                "record",
                "--profile-out",
                &profile,
                "--",
                "sh",
                "-c",
                &script,
            ])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        if killed == Killed::First {
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            let worker = eventually("the second process", || {
                let line = fs::read_to_string(&children).unwrap();
                line.split_whitespace().next()?.parse::<i32>().ok()
            });
            let worker = rustix::process::Pid::from_raw(worker).unwrap();
            rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(125));
        }
        eventually(&format!("the end of what is left of {name}"), || {
            left(&name).is_empty().then_some(())
        });
        eventually("its directories to be gone", || {
            made().iter().all(|one| before.contains(one)).then_some(())
        });
        let files: Vec<_> = fs::read_dir(&dir.0)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert_eq!(files, Vec::<PathBuf>::new());
    }
    // One that was killed before it had made anything has had its time by now.
    assert_eq!(left(&format!("{}killed-", bundle::tag())), [""; 0]);
    Ok(())
}

fn file_that_is_there_is_kept() -> Outcome {
    let dir = Dir::new("kept");
    let gl = Gl::root()?;
    let (profile, ran) = (dir.file("p.toml", "mine"), dir.path("ran"));
    let output = gl.record("namespace", &profile, &["touch", &ran]);
    assert_eq!(output.status, 125, "{output}");
    assert!(output.stderr.contains("it is there already"), "{output}");
    assert_eq!(fs::read_to_string(&profile).unwrap(), "mine");
    assert!(!Path::new(&ran).exists(), "the program ran");
    let forced = [
        "record",
        "--force",
        "--profile-out",
        &profile,
        "--",
        "touch",
        &ran,
    ];
    gl.call(&forced).ok();
    assert!(
        fs::read_to_string(&profile)
            .unwrap()
            .contains("version = 1")
    );
    assert!(Path::new(&ran).exists());
    Ok(())
}

fn calls_beyond_default_are_left_out_unless_included() -> Outcome {
    let dir = Dir::new("beyond");
    let gl = Gl::root()?;
    let profile = dir.path("p.toml");
    let script = format!("syscall({MOUNT}, 0, 0, 0, 0, 0); exit 0");
    let output = gl.record("namespace", &profile, &["perl", "-e", &script]);
    output.ok();
    assert!(output.stderr.contains("    mount: once\n"), "{output}");
    let text = fs::read_to_string(&profile).unwrap();
    assert!(text.contains("#     mount: once\n"), "{text}");
    assert!(
        !list(&profile, "allow").contains(&"mount".to_owned()),
        "{text}"
    );
    let options = [
        "record",
        "--force",
        "--include",
        "mount",
        "--profile-out",
        &profile,
        "--",
    ];
    let output = gl.call(&[&options[..], &["perl", "-e", &script]].concat());
    output.ok();
    assert!(!output.stderr.contains("mount: once"), "{output}");
    assert!(list(&profile, "allow").contains(&"mount".to_owned()));
    gl.call(&["profile", "check", &profile]).ok();
    for (call, why) in [
        ("mont", "there is no such call"),
        ("ioctl", "only some arguments are denied"),
    ] {
        let options = [
            "record",
            "--force",
            "--include",
            call,
            "--profile-out",
            &profile,
            "--",
            "true",
        ];
        let output = gl.call(&options);
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(why), "{output}");
    }
    Ok(())
}

fn directories_of_everybody_are_never_shown_whole() -> Outcome {
    let dir = Dir::new("whole");
    let gl = Gl::root()?;
    let profile = dir.path("p.toml");
    let output = gl.record("namespace", &profile, &["ls", "/", "/etc", "/home"]);
    output.ok();
    let shown = [
        list(&profile, "read_only_paths"),
        list(&profile, "read_write_paths"),
    ]
    .concat();
    for path in ["/", "/etc", "/home"] {
        assert!(!shown.contains(&path.to_owned()), "{shown:?}");
        let told = format!("#     {path}\n");
        assert!(
            fs::read_to_string(&profile).unwrap().contains(&told),
            "{path}"
        );
    }
    Ok(())
}

fn recording_has_no_capability_and_a_clean_environment() -> Outcome {
    let dir = Dir::new("clean");
    let gl = Gl::root()?;
    let profile = dir.path("p.toml");
    let script = "grep -h -e CapEff -e NoNewPrivs /proc/self/status; echo $SECRET$GIVEN; \
                  test \"$HOME\" = \"$TMPDIR\" && test -w $HOME && echo own";
    let options = [
        "record",
        "--env",
        "GIVEN=given",
        "--profile-out",
        &profile,
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut command = gl.command(&options);
    command.env("SECRET", "secret");
    let output = process::output(command);
    let want = "CapEff:\t0000000000000000\nNoNewPrivs:\t1\ngiven\nown\n";
    assert_eq!(output.stdout, want, "{output}");
    let text = fs::read_to_string(&profile).unwrap();
    assert!(!text.contains("given"), "{text}");
    Ok(())
}

fn what_cannot_be_recorded_is_said_with_125() -> Outcome {
    let dir = Dir::new("cannot");
    let gl = Gl::root()?;
    let profile = dir.path("p.toml");
    for (args, why) in [
        (
            vec!["--profile-out", &profile, "--", "/nowhere"],
            "/nowhere",
        ),
        (
            vec!["--name", "default", "--profile-out", &profile, "--", "true"],
            "name the profile \"default\"",
        ),
        (
            vec!["--profile-out", "/nowhere/p.toml", "--", "true"],
            "write /nowhere/p.toml",
        ),
    ] {
        let output = gl.call(&[&["record"], &args[..]].concat());
        assert_eq!(output.status, 125, "{args:?}: {output}");
        assert!(output.stderr.contains(why), "{args:?}: {output}");
    }
    assert!(!Path::new(&profile).exists());
    Ok(())
}
