//! Which call of a command to kill it at, from what strace has written of it.
//!
//! strace counts the calls of each name for itself, so a place is a name and which one of that name.

use std::collections::HashMap;

/// One call of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line in the trace.
    pub line: String,
    name: String,
    number: usize,
}

impl Place {
    /// The value of strace's option `-e` that kills the command before this call.
    pub fn kill(&self) -> String {
        format!("inject={}:signal=SIGKILL:when={}", self.name, self.number)
    }
}

/// All calls of a trace, in order.
pub fn places(trace: &str) -> Vec<Place> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let calls = trace.lines().filter_map(|line| {
        let name = line.split_once('(')?.0;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.chars().all(is_name).then_some((line, name))
    });
    let mut all = Vec::new();
    for (line, name) in calls {
        let number = seen.entry(name).or_default();
        *number += 1;
        all.push(Place {
            line: line.to_owned(),
            name: name.to_owned(),
            number: *number,
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_name() {
        let trace = "openat(3) = 4\nread(4) = 1\n--- SIGCHLD {si_pid=(1)} ---\nread(4) = 0\n";
        let kills: Vec<_> = places(trace).iter().map(Place::kill).collect();
        assert_eq!(
            kills,
            [
                "inject=openat:signal=SIGKILL:when=1",
                "inject=read:signal=SIGKILL:when=1",
                "inject=read:signal=SIGKILL:when=2",
            ]
        );
    }
}
