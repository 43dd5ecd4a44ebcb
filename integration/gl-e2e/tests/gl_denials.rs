//! What a sandbox of `gl run` denies, as its report has it: what Landlock keeps off, told by the kernel's audit
//! where that is on, and said to be unseen where it is not.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{ExitCode, Stdio};

use gl_e2e::audit::Audit;
use gl_e2e::bundle::{self, Bundle};
use gl_e2e::command as process;
use gl_e2e::gl::{BASIC, Dir, User, bare, command, ready, reported};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        denied_write_is_told_with_its_path_and_the_line_that_would_allow_it,
        allowed_writes_are_not_told,
        denials_of_another_sandbox_are_not_told,
        blocked_path_is_told_with_the_line_that_denies_it,
        many_denials_are_all_counted,
        writes_past_the_writable_paths_of_a_bundle_are_told,
        denials_of_a_program_that_came_later_are_told,
        writable_bind_mount_beside_writable_paths_can_be_written,
        devices_of_everybody_are_asked_whether_they_are_terminals,
        silent_audit_is_said_to_be_silent,
        user_is_told_that_nobody_listens,
        permissive_mode_says_that_landlock_is_not_in_force,
    ])
}

/// The denials of Landlock in a report.
fn of_landlock(report: &Value) -> Vec<Value> {
    let all = report["denials"].as_array().unwrap();
    let some = all.iter().filter(|one| one["layer"] == "landlock");
    some.cloned().collect()
}

/// What a report says about Landlock that is not observed.
fn unseen(report: &Value) -> Vec<String> {
    let all = report["not_observed"].as_array().unwrap();
    let texts = all.iter().map(|one| one.as_str().unwrap().to_owned());
    texts.filter(|one| one.contains("Landlock")).collect()
}

/// Runs a script with audit on.
fn heard(options: &[&str], script: &str) -> Result<Value, Skip> {
    let (output, report) = reported(options, script)?;
    if is_deaf(&report) {
        return Err(Skip(NOT_TOLD.to_owned()));
    }
    assert_eq!(unseen(&report), Vec::<String>::new(), "{output}");
    Ok(report)
}

const NOT_TOLD: &str = "this kernel does not tell of denials of Landlock";

fn is_deaf(report: &Value) -> bool {
    unseen(report)
        .iter()
        .any(|one| one.contains("since Linux 6.15"))
}

/// A directory that everybody can write to.
fn open(name: &str) -> Dir {
    let dir = Dir::new(name);
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

fn denied_write_is_told_with_its_path_and_the_line_that_would_allow_it() -> Outcome {
    let _audit = Audit::on()?;
    let (inside, outside) = (open("inside"), open("outside"));
    let (inside, outside) = (inside.path(""), outside.path(""));
    let (inside, outside) = (inside.trim_end_matches('/'), outside.trim_end_matches('/'));
    fs::write(format!("{outside}/there"), "").unwrap();
    let options = [&BASIC[..], &["--rw", inside]].concat();
    let script = format!(
        "echo x >{inside}/fine; for i in 1 2 3; do (echo x >{outside}/there); done; mkdir '{outside}/a b'; exit 0"
    );
    let report = heard(&options, &script)?;
    let denial = |what: &str, path: &str, count: u32| {
        json!({
            "layer": "landlock", "what": what, "arguments": [format!("path={path}")], "answer": "EACCES",
            "process": "", "count": count,
            "allow": format!("filesystem.read_write_paths = [\"{path}\"]"), "denied_by": null,
        })
    };
    let want = [
        denial("fs.write_file", &format!("{outside}/there"), 3),
        denial("fs.make_dir", outside, 1),
    ];
    let seen = of_landlock(&report);
    // A shell that truncates asks for that as well.
    let what = seen[0]["what"].as_str().unwrap().to_owned();
    assert!(what.starts_with("fs.write_file"), "{report:#}");
    let mut told = seen.clone();
    told[0]["what"] = json!("fs.write_file");
    assert_eq!(told, want, "{report:#}");
    assert!(fs::exists(format!("{inside}/fine")).unwrap(), "{report:#}");
    // The line does allow it.
    let options = [&BASIC[..], &["--rw", inside, "--rw", outside]].concat();
    let report = heard(&options, &script)?;
    assert_eq!(of_landlock(&report), Vec::<Value>::new(), "{report:#}");
    Ok(())
}

fn allowed_writes_are_not_told() -> Outcome {
    let _audit = Audit::on()?;
    let inside = open("inside");
    let path = inside.path("");
    let options = [&BASIC[..], &["--rw", &path]].concat();
    let report = heard(
        &options,
        &format!("echo x >{path}fine; cat {path}fine; ls /usr"),
    )?;
    assert_eq!(of_landlock(&report), Vec::<Value>::new(), "{report:#}");
    Ok(())
}

fn denials_of_another_sandbox_are_not_told() -> Outcome {
    let _audit = Audit::on()?;
    let dir = Dir::new("both");
    let (mine, theirs) = (dir.path("mine.json"), dir.path("theirs.json"));
    // Each is denied something while the other runs.
    let begin = |report: &str, secret: &str| {
        let script = format!("echo ready; read line; cat {secret}; echo done; read line");
        let args = [&BASIC[..], &["--report", report, "--", "sh", "-c", &script]].concat();
        command(&args).map(|mut command| {
            command.stdin(Stdio::piped());
            ready(command)
        })
    };
    let (mut first, first_says) = begin(&mine, "/etc/shadow")?;
    let (mut second, second_says) = begin(&theirs, "/etc/gshadow")?;
    for (child, says) in [(&mut first, &first_says), (&mut second, &second_says)] {
        use std::io::Write as _;
        let stdin = child.stdin.as_mut().unwrap();
        stdin.write_all(b"go\n").unwrap();
        bundle::kernel::read_until(says, "done\n");
    }
    for mut child in [first, second] {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    for (file, want) in [(&mine, "path=/etc/shadow"), (&theirs, "path=/etc/gshadow")] {
        let report: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        if is_deaf(&report) {
            return Err(Skip(NOT_TOLD.to_owned()));
        }
        let seen = of_landlock(&report);
        let seen: Vec<&Value> = seen.iter().map(|one| &one["arguments"][0]).collect();
        assert_eq!(seen, [want], "{report:#}");
    }
    Ok(())
}

fn blocked_path_is_told_with_the_line_that_denies_it() -> Outcome {
    let _audit = Audit::on()?;
    let report = heard(&BASIC, "ls /root; exit 0")?;
    let seen = of_landlock(&report);
    assert_eq!(seen.len(), 1, "{report:#}");
    assert_eq!(seen[0]["what"], "fs.read_dir", "{report:#}");
    let by = seen[0]["denied_by"].as_str().unwrap_or_default();
    assert!(
        by.contains("filesystem.blocked_paths \"/root\""),
        "{report:#}"
    );
    Ok(())
}

/// More than the kernel keeps for its audit at a time: the rest is counted.
fn many_denials_are_all_counted() -> Outcome {
    let _audit = Audit::on()?;
    let script = "exec python3 -c '
for at in range(3000):
    try: open(\"/etc/shadow\")
    except PermissionError: pass
for at in range(300):
    try: open(\"/root/%d\" % at)
    except PermissionError: pass
'";
    let report = heard(&BASIC, script)?;
    let seen = of_landlock(&report);
    let counts = seen.iter().map(|one| one["count"].as_u64().unwrap());
    let all = counts.sum::<u64>() + report["denials_not_listed"].as_u64().unwrap();
    // Files of /root that are not there are not denied.
    assert!(all >= 3000, "{all} in {report:#}");
    assert!(seen.len() <= 257, "{}", seen.len());
    Ok(())
}

/// A profile by which only `/tmp` can be written.
const NARROW: &str = "version = 1\nname = \"narrow\"\nextends = [\"default\"]\n\
    [filesystem]\nread_write_paths = [\"/tmp\"]\n";

fn writes_past_the_writable_paths_of_a_bundle_are_told() -> Outcome {
    let _audit = Audit::on()?;
    let dir = Dir::new("narrow");
    let profile = dir.path("narrow.toml");
    fs::write(&profile, NARROW).unwrap();
    let root = Bundle::new();
    root.file("there", "");
    root.write_config();
    let options = [
        "--profile",
        &profile,
        "--bundle",
        root.dir().to_str().unwrap(),
    ];
    let script = "echo x >/tmp/fine; echo x >/there; exit 0";
    let report = heard(&options, script)?;
    let seen = of_landlock(&report);
    assert_eq!(seen.len(), 1, "{report:#}");
    assert_eq!(seen[0]["arguments"], json!(["path=/there"]), "{report:#}");
    let allow = "filesystem.read_write_paths = [\"/there\"]";
    assert_eq!(seen[0]["allow"], allow, "{report:#}");
    Ok(())
}

/// `gl exec` is bound by the same, and what it is denied is told of the sandbox.
fn denials_of_a_program_that_came_later_are_told() -> Outcome {
    let _audit = Audit::on()?;
    let dir = Dir::new("later");
    let (profile, file) = (dir.path("narrow.toml"), dir.path("report.json"));
    fs::write(&profile, NARROW).unwrap();
    let root = Bundle::new();
    root.file("there", "");
    root.write_config();
    let name = format!("{}later", bundle::tag());
    let options = [
        "--name",
        &name,
        "--report",
        &file,
        "--profile",
        &profile,
        "--bundle",
        root.dir().to_str().unwrap(),
        "--",
        "sh",
        "-c",
        "echo ready; exec cat",
    ];
    let mut command = command(&options)?;
    command.stdin(Stdio::piped());
    let (mut child, _says) = ready(command);
    let later = bare(&["exec", &name, "--", "sh", "-c", "echo x >/there; exit 4"])?;
    let later = process::output(later);
    assert_eq!(later.status, 4, "{later}");
    assert!(later.stderr.contains("ermission denied"), "{later}");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    if is_deaf(&report) {
        return Err(Skip(NOT_TOLD.to_owned()));
    }
    let seen = of_landlock(&report);
    assert_eq!(seen.len(), 1, "{report:#}");
    assert_eq!(seen[0]["arguments"], json!(["path=/there"]), "{report:#}");
    Ok(())
}

fn writable_bind_mount_beside_writable_paths_can_be_written() -> Outcome {
    let (listed, bound) = (open("listed"), open("bound"));
    let (listed, bound) = (listed.path(""), bound.path(""));
    let bind = format!("{}:/bound:rw", bound.trim_end_matches('/'));
    let options = [
        "--allow",
        "--rw",
        listed.trim_end_matches('/'),
        "--bind",
        &bind,
    ];
    let script = format!("echo x >{listed}file && echo x >/bound/file && echo done");
    let (output, report) = reported(&options, &script)?;
    assert_eq!(output.ok(), "done", "{output}\n{report:#}");
    assert!(fs::exists(format!("{bound}file")).unwrap(), "{report:#}");
    Ok(())
}

fn devices_of_everybody_are_asked_whether_they_are_terminals() -> Outcome {
    let _audit = Audit::on()?;
    let script = "for f in null zero full random urandom; do test -t 7 7</dev/$f; done; \
                  echo asked >/dev/null && cat /etc/shadow; exit 0";
    let report = heard(&BASIC, script)?;
    let seen = of_landlock(&report);
    let paths: Vec<_> = seen.iter().map(|one| &one["arguments"]).collect();
    assert_eq!(paths, [&json!(["path=/etc/shadow"])], "{report:#}");
    Ok(())
}

fn silent_audit_is_said_to_be_silent() -> Outcome {
    let _audit = Audit::off()?;
    let (output, report) = reported(&BASIC, "cat /etc/shadow; exit 0")?;
    let unseen = unseen(&report);
    assert_eq!(unseen.len(), 1, "{output}\n{report:#}");
    let told = unseen[0].contains("auditctl -e 1") || unseen[0].contains("since Linux 6.15");
    assert!(told, "{report:#}");
    assert_eq!(of_landlock(&report), Vec::<Value>::new(), "{report:#}");
    // Where it is not in force nobody has to be told.
    let (_, report) = reported(&[], "true")?;
    assert_eq!(self::unseen(&report), Vec::<String>::new(), "{report:#}");
    Ok(())
}

fn user_is_told_that_nobody_listens() -> Outcome {
    let _audit = Audit::on()?;
    let user = User::new("user")?;
    let (output, report) = user.reported(&BASIC, "cat /etc/shadow; exit 0");
    let unseen = unseen(&report);
    assert_eq!(unseen.len(), 1, "{output}\n{report:#}");
    let told =
        unseen[0].contains("root of the host alone") || unseen[0].contains("since Linux 6.15");
    assert!(told, "{report:#}");
    Ok(())
}

fn permissive_mode_says_that_landlock_is_not_in_force() -> Outcome {
    let options = [&BASIC[..], &["--mode", "permissive"]].concat();
    let (output, report) = reported(&options, "cat /etc/shadow >/dev/null && echo read")?;
    assert_eq!(output.ok(), "read", "{output}");
    let unseen = unseen(&report);
    assert_eq!(unseen.len(), 1, "{report:#}");
    assert!(
        unseen[0].contains("in permissive mode it is not in force"),
        "{report:#}"
    );
    let why = process::output(bare(&["why", "--help"])?);
    assert_eq!(why.status, 0, "{why}");
    Ok(())
}
