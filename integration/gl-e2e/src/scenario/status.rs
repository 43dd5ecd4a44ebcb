//! How a container ends, and what the engine says about it.

use crate::Outcome;
use crate::command::Follow;
use crate::engine::{Engine, Kind};
use crate::kernel;

/// `run` prints what the program prints, each stream on its own.
pub fn run_prints_both_streams(engine: &Engine) -> Outcome {
    let out = engine.sh(&[], "echo to stdout; echo to stderr >&2");
    assert_eq!(
        (out.ok(), out.stderr.trim()),
        ("to stdout", "to stderr"),
        "{out}"
    );
    Ok(())
}

/// `run -i` hands its standard input to the program, to the last byte.
pub fn run_passes_standard_input(engine: &Engine) -> Outcome {
    let input = "0123456789abcdef\n".repeat(64 * 1024);
    let out = engine.run_with_input(&[], &["wc", "-c"], input.as_bytes());
    assert_eq!(out.ok(), input.len().to_string(), "{out}");
    Ok(())
}

/// A mebibyte of output arrives whole.
pub fn run_passes_much_output(engine: &Engine) -> Outcome {
    let out = engine.sh(&[], "yes 0123456789abcde | head -c 1048576");
    assert_eq!(
        out.status,
        0,
        "status, {} bytes, {}",
        out.stdout.len(),
        out.stderr
    );
    assert!(
        out.stdout.len() == 1 << 20 && out.stdout.lines().all(|line| line == "0123456789abcde"),
        "{} bytes came",
        out.stdout.len()
    );
    Ok(())
}

/// Exit statuses 0, 1 and 42 of the program are those of `run`, and `inspect` says the same.
pub fn exit_status_is_the_programs(engine: &Engine) -> Outcome {
    for status in [0, 1, 42] {
        let script = format!("exit {status}");
        let (container, out) = engine.run_and_keep(&[], &["sh", "-c", &script]);
        let inspected = container.inspect("{{.State.ExitCode}} {{.State.Running}}");
        assert_eq!(out.status, status, "{out}");
        assert_eq!(inspected, format!("{status} false"), "{out}");
    }
    Ok(())
}

/// A file without execute permission is status 126.
pub fn exit_status_of_a_file_that_is_not_executable_is_126(engine: &Engine) -> Outcome {
    let (container, out) = engine.run_and_keep(&[], &["/bin/not-executable"]);
    assert_eq!(out.status, 126, "{out}");
    assert!(
        out.stderr.to_lowercase().contains("permission denied"),
        "{out}"
    );
    if engine.kind == Kind::Docker {
        assert_eq!(container.inspect("{{.State.ExitCode}}"), "126", "{out}");
    }
    Ok(())
}

/// A program that the image does not have is status 127, by name or by path.
pub fn exit_status_of_a_missing_program_is_127(engine: &Engine) -> Outcome {
    for missing in ["no-such-program", "/no/such/program"] {
        let (container, out) = engine.run_and_keep(&[], &[missing]);
        assert_eq!(out.status, 127, "{out}");
        assert!(
            out.stderr.contains(missing),
            "the message names the program: {out}"
        );
        if engine.kind == Kind::Docker {
            assert_eq!(container.inspect("{{.State.ExitCode}}"), "127", "{out}");
        }
    }
    Ok(())
}

/// `kill` ends a container with SIGKILL: status 137.
pub fn exit_status_after_kill_is_137(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let pid = container.pid();
    container.cli(&["kill"]).ok();
    assert_eq!(container.wait(), 137);
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "137");
    kernel::assert_gone(pid);
    Ok(())
}

/// A process that SIGTERM ends is status 143. In the host's pid namespace it has no immunity as
/// the first process.
pub fn exit_status_after_sigterm_is_143(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--pid=host"]);
    container.cli(&["kill", "--signal", "TERM"]).ok();
    assert_eq!(container.wait(), 143);
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "143");
    Ok(())
}

/// `kill --signal` delivers that signal, by name and by number.
pub fn kill_delivers_the_signal_asked_for(engine: &Engine) -> Outcome {
    for signal in ["USR1", "10"] {
        let script = "trap 'echo got usr1; exit 7' USR1; echo ready; while :; do sleep 0.1; done";
        let container = engine.start(&[], &["sh", "-c", script]);
        container.expect_log("ready");
        container.cli(&["kill", "--signal", signal]).ok();
        assert_eq!(container.wait(), 7, "{}", container.cli(&["logs"]));
        container.expect_log("got usr1");
    }
    Ok(())
}

/// `wait` returns when the container ends, not before, and prints its status.
pub fn wait_returns_the_status_at_the_end(engine: &Engine) -> Outcome {
    let container = engine.start(
        &[],
        &[
            "sh",
            "-c",
            "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done",
        ],
    );
    container.expect_log("ready");
    let waiter = Follow::start(engine.command(&["wait", &container.name]));
    assert!(
        !crate::command::gone_within(waiter.pid(), std::time::Duration::from_millis(300)),
        "wait returned while the container runs"
    );
    container.cli(&["kill", "--signal", "TERM"]).ok();
    let mut waiter = waiter;
    let said = waiter.expect("\n");
    assert_eq!(said.trim(), "5");
    assert_eq!(waiter.wait(), 0);
    Ok(())
}

/// A container that outgrows its memory limit is killed, status 137, and reported as `OOMKilled`.
pub fn memory_limit_kills_and_is_reported(engine: &Engine) -> Outcome {
    let limits = ["--memory=32m", "--memory-swap=32m"];
    // dd fills a buffer of the size of a block.
    // The engine begins to watch for it when the container runs already.
    let hog = [
        "sh",
        "-c",
        "sleep 1; exec dd if=/dev/zero of=/dev/null bs=200M count=1",
    ];
    let (container, out) = engine.run_and_keep(&limits, &hog);
    let state = container.inspect("{{.State.ExitCode}} {{.State.OOMKilled}}");
    assert_eq!(out.status, 137, "{out}");
    // Podman's monitor before 2.1.7 leaves its note in the directory that the command ran in.
    let noted = std::fs::remove_file(engine.sandbox.dir.join("oom")).is_ok();
    assert!(
        state == "137 true" || (noted && state == "137 false"),
        "{state}, {out}"
    );

    let (container, out) = engine.run_and_keep(&["--memory=64m"], &["true"]);
    let state = container.inspect("{{.State.ExitCode}} {{.State.OOMKilled}}");
    assert_eq!(state, "0 false", "{out}");
    Ok(())
}
