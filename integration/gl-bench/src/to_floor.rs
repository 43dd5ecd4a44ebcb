//! How far each peer is above the floor program: a row wherever that has a figure.

use crate::peer::{Kind, Peer};
use crate::picture::{Bar, Group};
use crate::report::{Results, hundredths};
use crate::rows::Cell;

/// Title of the table.
pub(crate) const TITLE: &str = "Ratio to the floor";

/// A row: its title, and the figure of each peer that has one.
type Row = (String, Vec<Option<u64>>);

/// The lines of the table, its head first; `None` where the floor has no figure at all.
pub(crate) fn lines(results: &Results, peers: &[Peer]) -> Option<Vec<Vec<String>>> {
    let of_kind = |kind| peers.iter().position(|peer| peer.program.kind == kind);
    let floor = of_kind(Kind::Floor)?;
    let mut rows = rows(&results.timed, "", |cell| cell.median);
    rows.extend(rows_of(results));
    // What the harness does is no container.
    if let Some(harness) = of_kind(Kind::Nothing) {
        rows.iter_mut().for_each(|(_, row)| row[harness] = None);
    }
    let labels: Vec<&str> = peers.iter().map(|peer| peer.label.as_str()).collect();
    ratios(&labels, floor, &rows)
}

/// The rows that are not of time.
fn rows_of(results: &Results) -> Vec<Row> {
    let mut all = rows(&results.memory, ": peak memory", |&cell| cell);
    all.extend(rows(&results.calls, ": system calls", |cell| cell.all));
    all
}

fn rows<T>(
    table: &[(&'static str, Vec<Cell<T>>)],
    what: &str,
    figure: impl Fn(&T) -> u64,
) -> Vec<Row> {
    let row = |(title, cells): &(&'static str, Vec<Cell<T>>)| {
        let figures = cells
            .iter()
            .map(|cell| Some(figure(cell.as_ref()?.as_ref().ok()?)));
        (format!("{title}{what}"), figures.collect())
    };
    table.iter().map(row).collect()
}

/// Divides each figure by that of the column `floor`, and leaves out the rows and columns that are then empty.
fn ratios(labels: &[&str], floor: usize, rows: &[Row]) -> Option<Vec<Vec<String>>> {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|(_, row)| row[floor].is_some())
        .collect();
    let shown = (0..labels.len())
        .filter(|&column| column != floor && rows.iter().any(|(_, row)| row[column].is_some()));
    let shown: Vec<usize> = shown.collect();
    if shown.is_empty() {
        return None;
    }
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(shown.iter().map(|&column| labels[column].to_owned()));
    for (title, row) in rows {
        let mut line = vec![title.clone()];
        line.extend(shown.iter().map(|&column| {
            let ratio = row[column].and_then(|value| hundredths(value, row[floor]));
            ratio.unwrap_or_else(|| "–".to_owned())
        }));
        lines.push(line);
    }
    Some(lines)
}

/// The table's picture: a group of bars for each line, as long as the ratio in hundredths.
pub(crate) fn groups(lines: &[Vec<String>]) -> Vec<Group> {
    let Some((head, rows)) = lines.split_first() else {
        return Vec::new();
    };
    let group = |row: &Vec<String>| {
        let bars = head.iter().zip(row).skip(1).filter_map(|(name, text)| {
            let value = text.replace('.', "").parse().ok()?;
            Some(Bar {
                name: name.clone(),
                value,
                text: text.clone(),
            })
        });
        Group {
            title: row.first().cloned().unwrap_or_default(),
            bars: bars.collect(),
        }
    };
    rows.iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(title: &str, figures: [Option<u64>; 4]) -> Row {
        (title.to_owned(), figures.to_vec())
    }

    #[test]
    fn ratios_are_of_the_rows_and_peers_that_have_figures() {
        let rows = [
            row("run", [Some(131), Some(390), Some(100), None]),
            row("exec", [Some(5), Some(5), None, None]),
            row("calls", [Some(7), None, Some(2), None]),
        ];
        let lines = ratios(&["greenlang", "crun", "floor", "harness"], 2, &rows);
        let want = [
            vec!["", "greenlang", "crun"],
            vec!["run", "1.31", "3.90"],
            vec!["calls", "3.50", "–"],
        ];
        assert_eq!(lines.unwrap(), want);
    }

    #[test]
    fn picture_has_a_bar_for_each_ratio() {
        let lines = [
            vec!["", "greenlang", "crun"],
            vec!["run", "1.31", "3.90"],
            vec!["calls", "3.50", "–"],
        ];
        let lines = lines.map(|line| line.into_iter().map(str::to_owned).collect());
        let groups = groups(&lines);
        let seen: Vec<(&str, Vec<u64>)> = groups
            .iter()
            .map(|group| {
                let values = group.bars.iter().map(|bar| bar.value);
                (group.title.as_str(), values.collect())
            })
            .collect();
        assert_eq!(seen, [("run", vec![131, 390]), ("calls", vec![350])]);
    }

    #[test]
    fn ratios_without_a_figure_of_the_floor_are_no_table() {
        let rows = [row("exec", [Some(5), Some(5), None, None])];
        assert_eq!(ratios(&["a", "b", "floor", "d"], 2, &rows), None);
    }
}
