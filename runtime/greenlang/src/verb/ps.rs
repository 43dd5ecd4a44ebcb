//! `ps`: lists the processes of a container.

use std::process::{Command, Stdio};

use gl_spec::ContainerId;

use crate::args::{self, Given, Order, value};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::{Context, print};

pub(crate) const PAGE: Page = Page {
    name: "ps",
    operands: "ID [PS-OPTION]...",
    about: "list the processes of a container",
    detail: "The table is the host's `ps` with the given options (default: -ef), cut down to the container's processes. Options behind ID belong to `ps`.",
    flags: &[value(
        &["format", "f"],
        "FORMAT",
        "print a table (default), or the process ids as json",
    )],
    order: Order::OptionsFirst,
};

/// How something is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For engines.
    Json,
}

impl Format {
    /// Understands `--format`.
    ///
    /// # Errors
    ///
    /// Another word.
    pub(crate) fn read(given: &Given) -> Result<Self, args::Error> {
        let format = given.parsed("format", "table or json", |word| match word {
            "table" | "" => Some(Self::Table),
            "json" => Some(Self::Json),
            _ => None,
        })?;
        Ok(format.unwrap_or(Self::Table))
    }
}

/// A container whose processes are listed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ps {
    /// Its id.
    pub(crate) id: ContainerId,
    /// How they are listed.
    pub(crate) format: Format,
    /// Options for the host's `ps`.
    pub(crate) options: Vec<String>,
}

impl Ps {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        Ok(Self {
            format: Format::read(&given)?,
            id: given.container_id()?,
            options: given.operands("option of ps")?,
        })
    }

    /// The text for these processes.
    ///
    /// # Errors
    ///
    /// The host's `ps` cannot be run, or its table has no process ids.
    fn text(&self, pids: &[i32]) -> Result<String, Error> {
        match self.format {
            Format::Json => Ok(format!("{}\n", serde_json::Value::from(pids))),
            Format::Table => rows(&self.host_table()?, pids),
        }
    }

    fn host_table(&self) -> Result<String, Error> {
        let mut ps = Command::new("ps");
        if self.options.is_empty() {
            ps.arg("-ef");
        }
        // Engines send all of them as one word.
        for word in self.options.iter().flat_map(|word| word.split_whitespace()) {
            ps.arg(word);
        }
        let output = ps
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Error::RunPs { source })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::PsFailed {
                said: said.lines().next().unwrap_or_default().to_owned(),
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        let container = context.store()?.load(&self.id)?;
        if self.format == Format::Table
            && let Some(table) = container.inner_processes()?
        {
            // The ids of json are the host's: engines look for them there.
            return print(&format!("{}\n", table.trim_end()));
        }
        print(&self.text(&container.pids()?)?)
    }
}

/// The header of a table of `ps`, and its rows for these processes.
fn rows(table: &str, pids: &[i32]) -> Result<String, Error> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|title| title == "PID")
        .ok_or(Error::NoPidColumn)?;
    let mut text = format!("{header}\n");
    for line in lines {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|cell| cell.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
UID          PID    PPID CMD
root           1       0 init
root          12       1 sh -c 1
root         121       1 12
";

    #[test]
    fn rows_are_chosen_by_the_column_pid_alone() {
        assert_eq!(
            rows(TABLE, &[12, 999]).unwrap(),
            "UID          PID    PPID CMD\nroot          12       1 sh -c 1\n"
        );
        assert_eq!(rows(TABLE, &[]).unwrap(), "UID          PID    PPID CMD\n");
    }

    #[test]
    fn a_table_without_process_ids_is_refused() {
        for table in ["", "UID CMD\nroot sh\n"] {
            assert_eq!(
                rows(table, &[1]).unwrap_err().to_string(),
                "read the table of ps: it has no column PID"
            );
        }
    }

    #[test]
    fn json_is_a_list_of_process_ids() {
        let ps = Ps {
            id: ContainerId::new("c1").unwrap(),
            format: Format::Json,
            options: Vec::new(),
        };
        assert_eq!(ps.text(&[3, 4]).unwrap(), "[3,4]\n");
    }

    #[test]
    fn the_hosts_ps_finds_this_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let ps = Ps {
            id: ContainerId::new("c1").unwrap(),
            format: Format::Table,
            options: vec!["-eo pid,ppid".to_owned()],
        };
        let text = ps.text(&[pid]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[1].trim_start().starts_with(&pid.to_string()),
            "{text}"
        );
    }
}
