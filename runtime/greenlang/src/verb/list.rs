//! `list`: lists containers.

use gl_spec::StateDocument;

use super::ps::Format;
use crate::args::{self, Given, Order, switch, value};
use crate::command::Page;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::{Context, print};

pub(crate) const PAGE: Page = Page {
    name: "list",
    operands: "",
    about: "list the containers below the state directory",
    detail: "",
    flags: &[
        value(
            &["format", "f"],
            "FORMAT",
            "print a table (default), or everything as json",
        ),
        switch(&["quiet", "q"], "print the ids only"),
    ],
    order: Order::Mixed,
};

/// How containers are listed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct List {
    /// In which format.
    pub(crate) format: Format,
    /// Whether only ids are printed.
    pub(crate) quiet: bool,
}

impl List {
    pub(crate) fn read(given: Given) -> Result<Self, args::Error> {
        let command = Self {
            format: Format::read(&given)?,
            quiet: given.switch("quiet")?,
        };
        given.end()?;
        Ok(command)
    }

    /// The text for these containers.
    fn text(&self, containers: &[StateDocument]) -> String {
        if self.quiet {
            return containers
                .iter()
                .map(|container| format!("{}\n", container.id))
                .collect();
        }
        match self.format {
            Format::Json => StateDocument::list_to_json(containers),
            Format::Table => table(containers),
        }
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        let mut containers = Vec::new();
        for container in context.store()?.list()? {
            match container.state() {
                Ok(state) => containers.push(state),
                // It may be gone since its name was read.
                Err(err) => context.log.passed_over(&err),
            }
        }
        print(&self.text(&containers))
    }
}

/// Narrowest column, and the space between two.
const COLUMN_MIN: usize = 12;
const COLUMN_GAP: usize = 3;

fn table(containers: &[StateDocument]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header)
        .chain(containers.iter().map(row))
        .collect();
    let mut widths = [COLUMN_MIN; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + COLUMN_GAP);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let padded: String = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

fn row(container: &StateDocument) -> [String; 6] {
    [
        container.id.to_string(),
        container.pid.to_string(),
        container.status.to_string(),
        container.bundle.display().to_string(),
        container.created.to_string(),
        container.owner.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use gl_spec::{ContainerId, Status};

    use super::*;

    fn container(id: &str, owner: &str) -> StateDocument {
        StateDocument {
            oci_version: "1.2.0".to_owned(),
            id: ContainerId::new(id).unwrap(),
            pid: 7,
            status: Status::Running,
            bundle: PathBuf::from("/b"),
            rootfs: PathBuf::from("/b/rootfs"),
            created: "2024-01-02T03:04:05Z".parse().unwrap(),
            annotations: BTreeMap::new(),
            owner: owner.to_owned(),
        }
    }

    #[test]
    fn table_has_columns_that_fit_their_widest_cell() {
        let all = [container("a", "root"), container("a-longer-one", "")];
        assert_eq!(
            table(&all),
            "\
ID             PID         STATUS      BUNDLE      CREATED                OWNER
a              7           running     /b          2024-01-02T03:04:05Z   root
a-longer-one   7           running     /b          2024-01-02T03:04:05Z
"
        );
    }

    #[test]
    fn quiet_prints_ids_in_any_format() {
        for format in [Format::Table, Format::Json] {
            let list = List {
                format,
                quiet: true,
            };
            assert_eq!(
                list.text(&[container("a", ""), container("b", "")]),
                "a\nb\n"
            );
            assert_eq!(list.text(&[]), "");
        }
    }

    #[test]
    fn nothing_is_listed_as_an_empty_table_or_array() {
        for (format, want) in [
            (Format::Json, "[]\n"),
            (
                Format::Table,
                "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n",
            ),
        ] {
            let list = List {
                format,
                quiet: false,
            };
            assert_eq!(list.text(&[]), want);
        }
    }
}
