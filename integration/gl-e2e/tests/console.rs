//! Terminals: console sockets, sizes, resizing, detaching, and `run` on a terminal.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::ExitCode;

use gl_e2e::bundle::kernel::{descriptors, eventually};
use gl_e2e::bundle::listener::{Console, Listener};
use gl_e2e::bundle::{self, Bundle, Host, finish, process};
use gl_e2e::{Outcome, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        console_socket_receives_the_terminal,
        console_is_the_controlling_terminal,
        console_has_the_size_of_the_config,
        console_resize_signals_the_process,
        console_survives_the_end_of_the_runtime,
        console_device_is_the_terminal,
        console_belongs_to_the_process_user,
        console_interrupt_reaches_the_foreground,
        console_socket_without_a_terminal_is_refused,
        terminal_without_a_console_socket_is_refused_when_detached,
        run_on_a_terminal_connects_it,
        exec_with_a_tty_and_a_socket,
        exec_with_a_tty_runs_on_the_callers_terminal,
        exec_with_a_tty_takes_the_size,
        terminal_of_the_host_is_restored_after_run,
        descriptors_of_the_process_are_the_terminal,
    ])
}

fn with_terminal(script: &str) -> Bundle {
    Bundle::sh(script).set("/process/terminal", json!(true))
}

/// Creates with a console socket and takes the terminal.
fn created(box_: &Bundle) -> Console {
    let listener = Listener::new(box_.dir(), "console.sock");
    box_.create_with(&["--console-socket", listener.path()])
        .ok();
    Console::from_message(listener.receive())
}

fn console_socket_receives_the_terminal() -> Outcome {
    let box_ = with_terminal("echo hello; read x; echo got $x");
    let console = created(&box_);
    box_.start().ok();
    console.wait_for("hello");
    console.line("words");
    console.wait_for("got words");
    Ok(())
}

fn console_is_the_controlling_terminal() -> Outcome {
    let box_ = with_terminal(
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all; echo x > /dev/tty; echo end",
    );
    let console = created(&box_);
    box_.start().ok();
    let seen = console.wait_for("end");
    assert!(
        seen.contains("all\r\n") && seen.contains("x\r\n"),
        "{seen:?}"
    );
    assert!(
        seen.contains("/dev/pts/0") || seen.contains("/dev/console"),
        "{seen:?}"
    );
    Ok(())
}

fn console_has_the_size_of_the_config() -> Outcome {
    let box_ = with_terminal("stty size; echo end")
        .set("/process/consoleSize", json!({"height": 33, "width": 101}));
    let console = created(&box_);
    assert_eq!(console.size(), (33, 101));
    box_.start().ok();
    let seen = console.wait_for("end");
    assert!(seen.contains("33 101"), "{seen:?}");
    Ok(())
}

fn console_resize_signals_the_process() -> Outcome {
    let box_ = with_terminal("trap 'stty size' WINCH; echo ready; while :; do read x; done");
    let console = created(&box_);
    box_.start().ok();
    console.wait_for("ready");
    console.resize(44, 111);
    console.line("");
    console.wait_for("44 111");
    Ok(())
}

fn console_survives_the_end_of_the_runtime() -> Outcome {
    let box_ = with_terminal("read x; echo first $x; read x; echo second $x");
    let console = created(&box_);
    box_.start().ok();
    console.line("a");
    console.wait_for("first a");
    console.line("b");
    console.wait_for("second b");
    eventually("stops", || (box_.status() == "stopped").then_some(()));
    Ok(())
}

fn console_device_is_the_terminal() -> Outcome {
    let box_ = with_terminal(
        "test -c /dev/console && echo through > /dev/console; echo end; exec sleep 1000",
    );
    let console = created(&box_);
    box_.start().ok();
    let seen = console.wait_for("end");
    assert!(seen.contains("through"), "{seen:?}");
    let path = format!("/proc/{}/root/dev/console", box_.pid());
    let meta = fs::metadata(path).unwrap();
    assert!(meta.file_type().is_char_device());
    assert_eq!(rustix::fs::major(meta.rdev()), 136, "a pts device");
    Ok(())
}

fn console_belongs_to_the_process_user() -> Outcome {
    let box_ = with_terminal("stat -c %u $(tty); echo end; exec sleep 1000")
        .set("/process/user", json!({"uid": 1234, "gid": 5}));
    let console = created(&box_);
    box_.start().ok();
    let seen = console.wait_for("end");
    assert!(seen.contains("1234"), "{seen:?}");
    Ok(())
}

fn console_interrupt_reaches_the_foreground() -> Outcome {
    let box_ =
        with_terminal("trap 'echo interrupted; exit 5' INT; echo ready; while :; do read x; done");
    let console = created(&box_);
    box_.start().ok();
    console.wait_for("ready");
    console.line("\u{3}");
    console.wait_for("interrupted");
    Ok(())
}

fn console_socket_without_a_terminal_is_refused() -> Outcome {
    let box_ = Bundle::new();
    let listener = Listener::new(box_.dir(), "console.sock");
    let host = Host::before(&box_, &[]);
    box_.create_with(&["--console-socket", listener.path()])
        .failed()
        .says("console");
    host.unchanged("console socket without a terminal");
    Ok(())
}

fn terminal_without_a_console_socket_is_refused_when_detached() -> Outcome {
    let box_ = with_terminal("true");
    let host = Host::before(&box_, &[]);
    box_.create().failed().says("console");
    host.unchanged("terminal without a console socket");
    box_.call(&["run", "--detach", box_.id()])
        .failed()
        .says("console");
    host.unchanged("detached terminal without a console socket");
    Ok(())
}

/// The runtime on a terminal of ours, without waiting for its end.
fn on_terminal(box_: &Bundle, args: &[&str]) -> (Console, std::process::Child, File) {
    let (console, slave) = Console::pair();
    let mut command = box_.command(args);
    command
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave.try_clone().unwrap());
    (console, process::start(&mut command), slave)
}

fn run_on_a_terminal_connects_it() -> Outcome {
    let box_ = with_terminal("tty; read x; echo got $x; exit 9");
    box_.write_config();
    let (console, child, _slave) = on_terminal(&box_, &["run", box_.id()]);
    console.wait_for("/dev/");
    console.line("words");
    console.wait_for("got words");
    assert_eq!(process::wait(child, "run").code(), Some(9));
    Ok(())
}

fn exec_with_a_tty_and_a_socket() -> Outcome {
    let box_ = Bundle::new().idle();
    let listener = Listener::new(box_.dir(), "exec.sock");
    let flags = ["-t", "-d", "--console-socket", listener.path()];
    box_.exec(&flags, &["sh", "-c", "tty; read x; echo got $x"])
        .ok();
    let console = Console::from_message(listener.receive());
    console.wait_for("/dev/pts/0");
    console.line("words");
    console.wait_for("got words");
    Ok(())
}

fn exec_with_a_tty_runs_on_the_callers_terminal() -> Outcome {
    let box_ = Bundle::new().idle();
    let script = "test -t 1 && echo terminal; read x; exit $x";
    let (console, child, _slave) =
        on_terminal(&box_, &["exec", "--tty", box_.id(), "sh", "-c", script]);
    console.wait_for("terminal");
    console.line("17");
    assert_eq!(process::wait(child, "exec").code(), Some(17));
    Ok(())
}

fn exec_with_a_tty_takes_the_size() -> Outcome {
    let box_ = Bundle::new().idle();
    let listener = Listener::new(box_.dir(), "exec.sock");
    let document = json!({
        "terminal": true, "consoleSize": {"height": 21, "width": 63},
        "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": [bundle::config::PATH],
        "args": ["sh", "-c", "stty size; read x"],
    });
    let path = box_.dir().join("process.json");
    fs::write(&path, serde_json::to_vec(&document).unwrap()).unwrap();
    let mut command = box_.command(&["exec", "--process", path.to_str().unwrap(), "--detach"]);
    finish(command.args(["--console-socket", listener.path(), box_.id()])).ok();
    let console = Console::from_message(listener.receive());
    console.wait_for("21 63");
    Ok(())
}

fn terminal_of_the_host_is_restored_after_run() -> Outcome {
    let box_ = with_terminal("echo hi");
    box_.write_config();
    let (console, slave) = Console::pair();
    let before = rustix::termios::tcgetattr(&slave).unwrap();
    let mut command = box_.command(&["run", box_.id()]);
    command
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave.try_clone().unwrap());
    let child = process::start(&mut command);
    console.wait_for("hi");
    process::wait(child, "run");
    let after = rustix::termios::tcgetattr(&slave).unwrap();
    assert_eq!(before.local_modes, after.local_modes);
    assert_eq!(before.input_modes, after.input_modes);
    assert_eq!(before.output_modes, after.output_modes);
    Ok(())
}

fn descriptors_of_the_process_are_the_terminal() -> Outcome {
    let box_ = with_terminal("echo ready; exec sleep 1000");
    let console = created(&box_);
    box_.start().ok();
    console.wait_for("ready");
    let open = descriptors(box_.pid());
    assert_eq!(
        open.keys().copied().collect::<Vec<_>>(),
        [0, 1, 2],
        "{open:?}"
    );
    for path in open.values() {
        let name = path.to_str().unwrap();
        assert!(
            name.starts_with("/dev/pts/") || name == "/dev/console",
            "{open:?}"
        );
    }
    Ok(())
}
