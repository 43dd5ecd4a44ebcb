//! What a detached program writes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use gl_e2e::Outcome;
use gl_e2e::command::output;
use gl_e2e::gl::{BASIC, User};

use crate::{Detaching as _, Who};

pub(crate) fn input_is_empty() -> Outcome {
    for options in [&[][..], &BASIC] {
        let sandbox = Who::Root.detach("input", options, "cat; echo end; tty")?;
        assert_eq!(sandbox.wait()?, 0);
        let logs = sandbox.gl(&["logs"])?;
        assert_eq!(logs.ok(), "end\nnot a tty", "{logs}");
    }
    Ok(())
}

pub(crate) fn flood_does_not_fill_the_disk() -> Outcome {
    const TOTAL: u64 = 40_000_000;
    for options in [&[][..], &BASIC] {
        let script = format!("yes 123456789 | head -c {TOTAL}; echo last; echo one >&2");
        let sandbox = Who::Root.detach("flood", options, &script)?;
        assert_eq!(sandbox.wait()?, 0);
        let files = fs::read_dir(sandbox.dir()).unwrap();
        let size: u64 = files
            .map(|one| one.unwrap().metadata().unwrap().len())
            .sum();
        assert!((2 << 20..5 << 20).contains(&size), "{size} bytes are kept");
        let logs = sandbox.gl(&["logs", "--stdout"])?;
        let kept = logs.stdout.len() as u64;
        assert!(
            (2 << 20..=4 << 20).contains(&kept),
            "{kept} bytes are shown"
        );
        assert!(
            logs.stdout.ends_with("123456789\nlast\n"),
            "the end is not there"
        );
        let lost = TOTAL + 5 - kept;
        let want = format!("{lost} bytes of standard output are not kept any more\n");
        assert!(logs.stderr.ends_with(&want), "{want} in {:?}", logs.stderr);
        let tail = sandbox.gl(&["logs", "--tail", "2"])?;
        assert_eq!(tail.stdout, "123456789\nlast\n", "{tail}");
        assert_eq!(tail.stderr, "one\n", "{tail}");
    }
    Ok(())
}

pub(crate) fn logs_are_followed_to_the_end() -> Outcome {
    let script = "trap 'echo two; exit' USR1; echo one; while :; do sleep 0.05; done";
    let sandbox = Who::Root.detach("follow", &[], script)?;
    let (read, write) = std::io::pipe().unwrap();
    let mut command = Who::Root.command(&["logs", "--follow", &sandbox.name])?;
    let mut follower = command.stdout(write).spawn().unwrap();
    drop(command);
    assert_eq!(gl_e2e::bundle::kernel::read_until(&read, "one\n"), "one\n");
    assert_eq!(follower.try_wait().unwrap(), None);
    assert_eq!(sandbox.gl(&["kill", "-s", "USR1"])?.status, 0);
    assert_eq!(gl_e2e::bundle::kernel::read_until(&read, "two\n"), "two\n");
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    // Of one that has ended there is nothing to wait for.
    assert_eq!(sandbox.wait()?, 0);
    let again = sandbox.gl(&["logs", "-f"])?;
    assert_eq!(again.ok(), "one\ntwo", "{again}");
    // Nor of one that is killed with its worker.
    let sandbox = Who::Root.detach("follow-killed", &[], "echo one; sleep 1000")?;
    let mut command = Who::Root.command(&["logs", "--follow", &sandbox.name])?;
    let follower = command.stdout(Stdio::piped()).spawn().unwrap();
    rustix::process::kill_process(sandbox.worker(), rustix::process::Signal::KILL).unwrap();
    let followed = follower.wait_with_output().unwrap();
    assert_eq!(followed.status.code(), Some(0));
    Ok(())
}

pub(crate) fn logs_show_one_stream_or_the_last_lines() -> Outcome {
    let script = "echo a; echo b; echo c; echo x >&2; echo y >&2";
    let sandbox = Who::Root.detach("lines", &[], script)?;
    assert_eq!(sandbox.wait()?, 0);
    for (options, out, err) in [
        (&[][..], "a\nb\nc\n", "x\ny\n"),
        (&["--stdout"], "a\nb\nc\n", ""),
        (&["--stderr"], "", "x\ny\n"),
        (&["--tail", "1"], "c\n", "y\n"),
        (&["-n", "2", "--stdout"], "b\nc\n", ""),
        (&["--tail", "0"], "", ""),
        (&["--tail", "9"], "a\nb\nc\n", "x\ny\n"),
    ] {
        let logs = sandbox.gl(&[&["logs"], options].concat())?;
        assert_eq!(
            (logs.stdout.as_str(), logs.stderr.as_str()),
            (out, err),
            "{options:?}"
        );
        assert_eq!(logs.status, 0, "{logs}");
    }
    Ok(())
}

pub(crate) fn logs_are_nobody_elses() -> Outcome {
    let sandbox = Who::Root.detach(
        "private",
        &["--env", "KEY=secret"],
        "echo secret; sleep 1000",
    )?;
    sandbox.says("--stdout", "secret\n")?;
    let mut seen = Vec::new();
    for entry in fs::read_dir(sandbox.dir()).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        if meta.is_file() {
            assert_eq!(meta.mode() & 0o777, 0o600, "{}", entry.path().display());
            seen.push(entry.file_name());
        }
    }
    assert!(seen.contains(&"stdout.0".into()), "{seen:?}");
    let user = Who::User(User::new("reader")?);
    let Who::User(reader) = &user else {
        return Ok(());
    };
    for file in ["stdout.0", "sandbox.json", "bundle/config.json"] {
        let path = sandbox.dir().join(file);
        assert!(fs::exists(&path).unwrap(), "{}", path.display());
        let mut command = reader.bare(&[]);
        let args: Vec<_> = command.get_args().take(5).map(ToOwned::to_owned).collect();
        command = std::process::Command::new(command.get_program());
        command.args(args).arg("cat").arg(&path);
        let read = output(command);
        assert!(read.stderr.contains("Permission denied"), "{read}");
    }
    Ok(())
}
