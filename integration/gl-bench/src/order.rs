//! `gl-bench order`: which functions of a program a command passes through, in the order of their first use.
//!
//! For the linker, which then puts them side by side (`hack/order`).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, WaitStatus};

use crate::error::Error;
use crate::ptrace;

/// A function of a program: where it is in the file as it is loaded, and its name.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    begin: u64,
    end: u64,
    name: String,
}

/// Runs a command that executes `program`, one instruction after the other, and all that it starts until its own
/// end; the names of the functions that were seen, a line for each. What is left of it then is ended.
pub(crate) fn functions(program: &Path, command: &[String]) -> Result<String, Error> {
    let functions = read(program)?;
    let own = fs::metadata(program).map_err(|source| Error::File {
        action: "look at",
        path: program.to_owned(),
        source,
    })?;
    let mut seen = Seen {
        functions,
        used: Vec::new(),
        known: HashSet::new(),
    };
    follow(own.ino(), command, &mut seen)?;
    let names = seen
        .used
        .iter()
        .filter_map(|&index| seen.functions.get(index));
    Ok(names
        .map(|function| format!("{}\n", function.name))
        .collect())
}

/// The functions of a program, by their addresses.
fn read(program: &Path) -> Result<Vec<Function>, Error> {
    let output = Command::new("nm")
        .args(["--defined-only", "--numeric-sort", "--print-size"])
        .arg(program)
        .output()
        .map_err(|source| Error::Start {
            program: "nm".to_owned(),
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let functions: Vec<_> = text.lines().filter_map(function).collect();
    match functions.is_empty() {
        true => Err(Error::Output {
            tool: "nm",
            output: format!("no functions in {}: is it stripped?", program.display()),
        }),
        false => Ok(functions),
    }
}

/// A line of `nm`: address, size, kind, name.
fn function(line: &str) -> Option<Function> {
    let mut words = line.split_whitespace();
    let begin = u64::from_str_radix(words.next()?, 16).ok()?;
    let size = u64::from_str_radix(words.next()?, 16).ok()?;
    let is_code = matches!(words.next()?, "t" | "T" | "w" | "W" | "i");
    is_code.then_some(Function {
        begin,
        end: begin + size,
        name: words.next()?.to_owned(),
    })
}

/// What was passed through.
struct Seen {
    functions: Vec<Function>,
    /// Indices, in the order of their first use.
    used: Vec<usize>,
    known: HashSet<usize>,
}

impl Seen {
    fn see(&mut self, address: u64) {
        let after = self.functions.partition_point(|one| one.begin <= address);
        let index = after.checked_sub(1);
        let Some(index) = index.filter(|&index| address < self.functions[index].end) else {
            return;
        };
        if self.known.insert(index) {
            self.used.push(index);
        }
    }
}

fn follow(inode: u64, command: &[String], seen: &mut Seen) -> Result<(), Error> {
    let failed = |action: &'static str| {
        move |source: Errno| Error::Trace {
            action,
            source: source.into(),
        }
    };
    let bench = std::env::current_exe().map_err(|source| Error::Start {
        program: "gl-bench".to_owned(),
        source,
    })?;
    let child = Command::new(bench)
        .arg("traced")
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|source| Error::Start {
            program: command.join(" "),
            source,
        })?;
    let called = Pid::from_child(&child);
    let waiting = ptrace::wait(Some(called)).map_err(failed("wait for the command"))?;
    let mut stopped = waiting.1.stopped().then_some(waiting);
    ptrace::follow(called).map_err(failed("follow the command"))?;
    // Where the program is in each process; none where it is another program.
    let mut bases: HashMap<Pid, Option<u64>> = HashMap::new();
    loop {
        let (pid, status) = match stopped.take() {
            Some(first) => first,
            None => ptrace::wait(None).map_err(failed("wait for a process"))?,
        };
        if !status.stopped() {
            bases.remove(&pid);
            if pid == called {
                return ended(command, status);
            }
            continue;
        }
        let event = status.as_raw() >> 16;
        if event == libc::PTRACE_EVENT_EXEC || !bases.contains_key(&pid) {
            bases.insert(pid, base(pid, inode));
        }
        let signal = status.stopping_signal().unwrap_or(0);
        let base = bases.get(&pid).copied().flatten();
        if let (0, libc::SIGTRAP, Some(base)) = (event, signal, base)
            && let Ok(at) = ptrace::instruction_pointer(pid)
        {
            seen.see(at.wrapping_sub(base));
        }
        let signal = match signal {
            libc::SIGTRAP | libc::SIGSTOP => 0,
            _ if event != 0 => 0,
            signal => signal,
        };
        let on = match base {
            Some(_) => ptrace::step(pid, signal),
            None => ptrace::resume(pid, signal),
        };
        on.map_err(failed("go on with a process"))?;
    }
}

fn ended(command: &[String], status: WaitStatus) -> Result<(), Error> {
    match status.exit_status() {
        Some(0) => Ok(()),
        _ => Err(Error::Failed {
            command: command.join(" "),
            status: format!("{status:?}"),
            stderr: String::new(),
        }),
    }
}

/// Where a process has the file with this inode, if it executes that.
fn base(pid: Pid, inode: u64) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", pid.as_raw_nonzero())).ok()?;
    maps.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let from = words.next()?.split('-').next()?;
        let offset = words.nth(1)?;
        let is_own = words.nth(1)?.parse() == Ok(inode) && u64::from_str_radix(offset, 16) == Ok(0);
        let from = u64::from_str_radix(from, 16).ok()?;
        is_own.then_some(from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_in_the_order_of_their_first_use() {
        let lines = [
            "0000000000001000 0000000000000010 t first",
            "0000000000001010 0000000000000008 T second",
            "0000000000002000 0000000000000004 d no_function",
        ];
        let functions: Vec<_> = lines.iter().filter_map(|line| function(line)).collect();
        assert_eq!(functions.len(), 2, "{functions:?}");
        let mut seen = Seen {
            functions,
            used: Vec::new(),
            known: HashSet::new(),
        };
        // Between two functions, and before and after all, there is none.
        for address in [0xfff, 0x1017, 0x1018, 0x100f, 0x1010, 0x2000] {
            seen.see(address);
        }
        assert_eq!(seen.used, [1, 0]);
    }
}
