//! Containers and execs on a terminal.

use std::time::Duration;

use crate::Outcome;
use crate::command::eventually;
use crate::engine::Engine;
use crate::terminal::Terminal;

/// Types a command whose output is told apart from its echo, and returns that output.
fn ask(terminal: &mut Terminal, command: &str) -> String {
    terminal.send(&format!("echo '<''<'$({command})'>''>'\n"));
    terminal.expect("<<");
    terminal.expect(">>").trim().to_owned()
}

/// A size takes its way through the client and the daemon, so it is asked for until it is there.
#[track_caller]
fn assert_size_becomes(terminal: &mut Terminal, want: &str) {
    let mut seen = String::new();
    eventually(Duration::from_secs(20), || {
        seen = ask(terminal, "stty size");
        seen == want
    });
    assert_eq!(seen, want, "size of the terminal in the container");
}

/// `run -it`: a shell on a terminal of its own, with its size, job control and exit status.
pub fn run_on_a_terminal(engine: &Engine) -> Outcome {
    let mut terminal = engine.run_on_terminal(&["--rm"], &["sh"]);
    terminal.expect("#");
    assert_eq!(ask(&mut terminal, "tty"), "/dev/pts/0");
    assert_eq!(
        ask(&mut terminal, "stat -c %t:%T /dev/console"),
        ask(&mut terminal, "stat -Lc %t:%T /proc/1/fd/0")
    );
    assert_eq!(
        ask(&mut terminal, "ps -o pid,comm | awk '$1==1{print $2}'"),
        "sh"
    );
    terminal.send("sh -c 'echo star''ted; while :; do :; done'\n");
    terminal.expect("started");
    terminal.send("\u{3}");
    assert_eq!(
        ask(&mut terminal, "echo $?"),
        "130",
        "Ctrl-C reaches the foreground process"
    );
    terminal.send("exit 7\n");
    assert_eq!(terminal.wait(), 7);
    Ok(())
}

/// A new size of the user's terminal reaches the container.
pub fn terminal_follows_a_resize(engine: &Engine) -> Outcome {
    let mut terminal = engine.run_on_terminal(&["--rm"], &["sh"]);
    terminal.expect("#");
    assert_size_becomes(&mut terminal, "24 80");
    resize(&mut terminal, (41, 123));
    terminal.send("exit\n");
    assert_eq!(terminal.wait(), 0);
    Ok(())
}

/// Resizes the terminal until the container sees it. A client asks for the size first and listens for
/// changes after that: one in between is lost on it, so it is made anew.
#[track_caller]
fn resize(terminal: &mut Terminal, (rows, columns): (u16, u16)) {
    let want = format!("{rows} {columns}");
    let mut seen = String::new();
    let mut tries = 0;
    eventually(Duration::from_secs(20), || {
        if tries % 8 == 0 {
            terminal.resize(rows, columns - 1);
            terminal.resize(rows, columns);
        }
        tries += 1;
        seen = ask(terminal, "stty size");
        seen == want
    });
    assert_eq!(seen, want, "size of the terminal in the container");
}

/// The detach keys leave the container running; `attach` comes back to the same shell.
pub fn detach_and_attach(engine: &Engine) -> Outcome {
    let container = engine.name_one();
    let mut terminal = engine.run_on_terminal(&["--name", &container.name], &["sh"]);
    terminal.expect("#");
    terminal.send("mark=here; echo do''ne\n");
    terminal.expect("done");
    terminal.expect("#");
    // Some clients only know the keys when each comes by itself.
    terminal.press("\u{10}");
    terminal.press("\u{11}");
    assert_eq!(terminal.wait(), 0, "status of a detached client");
    assert_eq!(container.inspect("{{.State.Running}}"), "true");

    let mut terminal = Terminal::start(&engine.command(&["attach", &container.name]));
    terminal.send("\n");
    terminal.expect("#");
    assert_eq!(ask(&mut terminal, "echo $mark"), "here");
    terminal.send("exit 4\n");
    // Podman's attach does not end with the container's status.
    let client = terminal.wait();
    assert_eq!(container.wait(), 4, "the client ended with {client}");
    Ok(())
}

/// `exec -it`: a terminal beside the container's own, and the exit status.
pub fn exec_on_a_terminal(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let mut terminal = container.exec_on_terminal(&["sh"]);
    terminal.expect("#");
    assert_eq!(ask(&mut terminal, "tty"), "/dev/pts/0");
    resize(&mut terminal, (33, 99));

    let mut second = container.exec_on_terminal(&["sh"]);
    second.expect("#");
    assert_eq!(ask(&mut second, "tty"), "/dev/pts/1");
    for (mut terminal, status) in [(terminal, 5), (second, 6)] {
        terminal.send(&format!("exit {status}\n"));
        assert_eq!(terminal.wait(), status);
    }
    Ok(())
}

/// `run -t` as another user: the terminal belongs to that user.
pub fn terminal_belongs_to_the_user(engine: &Engine) -> Outcome {
    let mut terminal = engine.run_on_terminal(&["--rm", "-u", "1000"], &["sh"]);
    terminal.expect("$");
    assert_eq!(ask(&mut terminal, "stat -c %u $(tty)"), "1000");
    assert_eq!(
        ask(&mut terminal, "echo ok >$(tty) && echo written")
            .replace("ok", "")
            .trim(),
        "written"
    );
    terminal.send("exit\n");
    assert_eq!(terminal.wait(), 0);
    Ok(())
}
