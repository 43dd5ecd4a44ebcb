//! A terminal for programs that insist on one: both ends of a pty and what was shown on it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::{LIMIT, eventually, fail, read_until, wait_child};

/// A program that runs on a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    seen: Vec<u8>,
}

impl Terminal {
    /// Starts a command with a new pty of 24 rows and 80 columns as its controlling terminal.
    ///
    /// # Panics
    ///
    /// If there is no pty or no such program.
    #[track_caller]
    pub fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("open a pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname").into_bytes();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .open(std::ffi::OsString::from_vec(name))
            .expect("open the other end of the pty");
        // A controlling terminal can only be taken by a session leader: setsid(1) becomes one.
        let mut on_terminal = Command::new("setsid");
        on_terminal
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(key, value),
                None => on_terminal.env_remove(key),
            };
        }
        let end = || slave.try_clone().expect("dup of a pty");
        let child = on_terminal
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap_or_else(|e| fail(&format!("start setsid (util-linux): {e}")));
        let terminal = Self {
            master: File::from(master),
            child,
            seen: Vec::new(),
        };
        terminal.resize(24, 80);
        terminal
    }

    /// Types text.
    ///
    /// # Panics
    ///
    /// If the program has closed its terminal.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        let written = self.master.write_all(text.as_bytes());
        written.unwrap_or_else(|e| fail(&format!("type {text:?}: {e}; shown: {}", self.shown())));
    }

    /// Types text and waits until the program has read it.
    ///
    /// # Panics
    ///
    /// If the program does not read.
    #[track_caller]
    pub fn press(&mut self, text: &str) {
        // What it still reads from elsewhere must not be taken for the key.
        let (mut before, mut same) = (self.bytes_read(), 0);
        eventually(LIMIT, || {
            let now = self.bytes_read();
            same = if now == before { same + 1 } else { 0 };
            before = now;
            same == 20
        });
        self.send(text);
        let read = eventually(LIMIT, || self.bytes_read() > before);
        assert!(read, "nobody reads {text:?}; shown: {}", self.shown());
    }

    /// Waits until `text` is shown; returns what was shown before it, and forgets both.
    ///
    /// # Panics
    ///
    /// If it does not come.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        if let Err(why) = read_until(&mut self.master, &mut self.seen, text) {
            fail(&format!(
                "terminal: {why} before {text:?}; shown: {}",
                self.shown()
            ));
        }
        let shown = self.shown();
        let (before, after) = shown.split_once(text).unwrap_or((&shown, ""));
        self.seen = after.as_bytes().to_vec();
        before.to_owned()
    }

    /// Sets the size of the terminal, which tells its program with SIGWINCH.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.master, size).expect("set the size of a pty");
    }

    /// Waits for the end of the program and returns its status.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        let status = wait_child(&mut self.child, LIMIT);
        status.unwrap_or_else(|| {
            fail(&format!(
                "still on its terminal after {LIMIT:?}; shown: {}",
                self.shown()
            ))
        })
    }

    /// Bytes that the program has read in its life, from the terminal and all else.
    fn bytes_read(&self) -> u64 {
        let counters = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()));
        let counters = counters.unwrap_or_default();
        let mut lines = counters.lines();
        lines
            .find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
            .unwrap_or(0)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Closing the master hangs up the session; the kill is for programs that ignore that.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
