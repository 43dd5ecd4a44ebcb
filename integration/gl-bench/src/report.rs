//! The report: Markdown tables that read well in a terminal too.

use std::fmt::Write;

use crate::peer::{Kind, Peer};
use crate::picture::{self, Bar, Group};
use crate::processes::{self, Rows};
use crate::profiles::Line;
use crate::rows::{Calls, Cell};
use crate::size::Size;
use crate::stats::{Rounds, Summary};
use crate::tiers::Table;
use crate::to_floor;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Rounds of the timed rows.
    pub(crate) rounds: Option<Rounds>,
    /// The folder of the pictures, beside the report.
    pub(crate) folder: String,
    /// Title and nanoseconds of each timed row.
    pub(crate) timed: Vec<(&'static str, Vec<Cell<Summary>>)>,
    /// With which profile, and nanoseconds; the first is without one.
    pub(crate) profiles: Option<Result<Vec<Line>, String>>,
    /// By whom, and nanoseconds; the first is runsc itself.
    pub(crate) gvisor: Option<Result<Vec<Line>, String>>,
    /// What `gl run` costs, by tier.
    pub(crate) tiers: Option<Vec<Table>>,
    /// Title and KiB of each memory row.
    pub(crate) memory: Vec<(&'static str, Vec<Cell<u64>>)>,
    /// Every process of a command, and its KiB.
    pub(crate) processes: Vec<Rows>,
    /// Title and KiB of the least memory limit.
    pub(crate) memory_floor: Vec<(&'static str, Vec<Cell<u64>>)>,
    /// Title and counts of each system-call row.
    pub(crate) calls: Vec<(&'static str, Vec<Cell<Calls>>)>,
    /// Sizes on disk.
    pub(crate) sizes: Option<Vec<Cell<Size>>>,
}

impl Results {
    /// Every row that a peer failed: `title, peer: reason`.
    pub(crate) fn failures(&self, peers: &[Peer]) -> Vec<String> {
        let mut failures = Vec::new();
        collect(&mut failures, peers, &self.timed);
        if let Some(Err(reason)) = &self.profiles {
            failures.push(format!("profiles: {reason}"));
        }
        if let Some(Err(reason)) = &self.gvisor {
            failures.push(format!("gvisor: {reason}"));
        }
        for (title, lines) in self.tiers.iter().flatten() {
            if let Err(reason) = lines {
                failures.push(format!("{title}: {reason}"));
            }
        }
        collect(&mut failures, peers, &self.memory);
        for (commands, cells) in &self.processes {
            let title = format!("processes of {}", commands.join(", "));
            collect(&mut failures, peers, &[(&title, cells.clone())]);
        }
        collect(&mut failures, peers, &self.memory_floor);
        collect(&mut failures, peers, &self.calls);
        if let Some(sizes) = &self.sizes {
            collect(&mut failures, peers, &[("size on disk", sizes.clone())]);
        }
        failures
    }
}

fn collect<T>(failures: &mut Vec<String>, peers: &[Peer], rows: &[(&str, Vec<Cell<T>>)]) {
    for (title, cells) in rows {
        for (peer, cell) in peers.iter().zip(cells) {
            if let Some(Err(reason)) = cell {
                failures.push(format!("{title}, {}: {reason}", peer.label));
            }
        }
    }
}

/// Titles of the tables and their pictures.
const TIME: &str = "Time in ms: median (ratio to the newest crun)";
const SPREAD: &str = "Spread in ms: 10th to 95th percentile";
const PROFILES: &str = "What a profile costs: greenlang's `run true` in ms";
const GVISOR: &str = "The tier gvisor: `run true` in ms";
const MEMORY: &str = "Peak memory in KiB";
const FLOOR: &str = "The least memory limit of a container that runs `true`, in KiB";
const CALLS: &str = "System calls";
const SIZE: &str = "Size on disk in KiB: program + shared libraries";

const METHOD: &str = "\
- One run measures all: in each round every runtime runs once, and another one goes first.
- A figure is the median of the rounds; the ratio is to the newest crun, below 1 is better.
- The clock is monotonic, from before the spawn (vfork and exec) to after the wait; no shell and no
  engine is in between. `create + start + delete` leaves out the wait for the process to end.
- The bundle has the shape that Docker 20.10 gives `docker run` with a memory, CPU and pids limit:
  five new namespaces, ten mounts, ten masks, five read-only paths, fourteen capabilities, two
  sysctls, and Docker's seccomp list of 350 allowed names and the conditional calls. Its program is
  a static busybox.
- Each runtime is called in a mount namespace of its own; all have the same mounts, and only the
  root directory differs.
- `floor` is a C program that makes the kernel calls which this bundle takes and no others: no
  configuration, no state, no checks. `bwrap` makes the mounts and namespaces, but no cgroups, no
  masks and no seccomp filter. A table of its own has every peer's ratio to the floor.
- What a profile costs is measured on the same bundle, with the same list, in rounds of their own: in each
  greenlang runs once without a profile and once with each of those named, and another one goes first.
- The tier gvisor is measured beside runsc itself, on the same bundle with the same options, in the same way. runsc
  makes a cgroup and takes no filter of system calls; greenlang makes the cgroup, and its profile adds a filter, a
  launcher and the process that watches.
- What `gl run` costs is measured on this host, with the built-in profile `compute_only`, in rounds of their own for
  each table. bubblewrap makes the same namespaces over a view of `/usr`, and no cgroup, filter, limit or report.
- The tier container is measured beside runtimes on a bundle equal to that of `gl run --rootfs`: the config that `gl
  profile export --oci` writes for the profile, with the mounts of `gl run`. They watch no limit and report nothing.
  The ratio is to the newest crun; `no sandbox` starts the same static program.
- Rows with other mounts: of the bundle, binds of a directory beside the ten; of the host, binds in the runtime's
  mount namespace. The least memory limit is found by halving, to a sixteenth; each try is a `run`.
- Peak memory is `ru_maxrss` of the runtime and all that it waits for, started by a static program
  of about 1 MiB, which is the least that can show.
- The peak of every process is `VmHWM`, read by a tracer where the process is about to exit or to exec, of
  greenlang and of the newest crun and runc; medians of five, or of as many as fit a given time. A process is one program in it: after an exec it is
  another one. A fork begins with the pages of its parent, which both share until one writes, so the peaks
  do not add up; for one in its parent's memory (`CLONE_VM`) it is the peak of that memory until its end. `of no
  file` is `RssAnon` at the end. The container's own program is left out.
- System calls are those that `strace -f` counts, the container's own process included; `execs`
  counts `execve` and `execveat`.
";

/// Writes the whole report.
pub(crate) fn markdown(results: &Results, peers: &[Peer], by: &str, machine: &[String]) -> String {
    let mut text = format!("# Benchmark\n\nWritten by `{by}`.\n\n## Machine\n\n");
    for line in machine {
        push(&mut text, format_args!("- {line}\n"));
    }
    push(&mut text, format_args!("- runtimes: {}\n", versions(peers)));
    push(&mut text, format_args!("\n## Method\n\n{METHOD}"));
    push(&mut text, format_args!("- Rounds: {}.\n", rounds(results)));
    text.push_str(&tables(results, peers));
    text
}

/// How many rounds there were, and which tables have fewer as their time was over.
fn rounds(results: &Results) -> String {
    let Some(rounds) = results.rounds else {
        return "0".to_owned();
    };
    let cells = results.timed.iter().map(|(title, cells)| {
        let counts = cells.iter().flatten().flatten().map(|cell| cell.count);
        (*title, counts.min())
    });
    let ways = [
        ("profiles", results.profiles.as_ref()),
        ("gvisor", results.gvisor.as_ref()),
    ];
    let ways = ways
        .into_iter()
        .filter_map(|(title, lines)| Some((title, lines?)));
    let tiers = results.tiers.iter().flatten();
    let ways = ways.chain(tiers.map(|(title, lines)| (*title, lines)));
    let ways = ways.map(|(title, lines)| {
        let lines = lines.iter().flatten();
        (title, lines.map(|(_, summary)| summary.count).min())
    });
    let fewer = cells.chain(ways).filter_map(|(title, count)| {
        let count = count.filter(|&count| count < rounds.most)?;
        Some(format!("{count} of {title}"))
    });
    let fewer: Vec<String> = fewer.collect();
    match fewer.as_slice() {
        [] => rounds.most.to_string(),
        fewer => format!(
            "{}, but as many as fit the time where that was short: {}",
            rounds.most,
            fewer.join(", ")
        ),
    }
}

/// Writes the tables alone.
pub(crate) fn tables(results: &Results, peers: &[Peer]) -> String {
    let mut text = String::new();
    let median = |summary: &Summary| summary.median;
    if !results.timed.is_empty() {
        heading(&mut text, results, TIME, "time");
        table(&mut text, peers, &results.timed, |cell, base| {
            let ratio = ratio(cell.median, base.map(median));
            format!("{}{ratio}", milliseconds(cell.median))
        });
        heading(&mut text, results, SPREAD, "spread");
        table(&mut text, peers, &results.timed, |cell, _| spread(cell));
        text.push_str(&harness(results, peers));
    }
    if let Some(lines) = to_floor::lines(results, peers) {
        heading(&mut text, results, to_floor::TITLE, "to-floor");
        align(&mut text, &lines);
    }
    if let Some(Ok(lines)) = &results.profiles {
        heading(&mut text, results, PROFILES, "profiles");
        profiles(&mut text, lines);
    }
    if let Some(Ok(lines)) = &results.gvisor {
        heading(&mut text, results, GVISOR, "gvisor");
        profiles(&mut text, lines);
    }
    for (number, (title, lines)) in results.tiers.iter().flatten().enumerate() {
        if let Ok(lines) = lines {
            heading(&mut text, results, title, &format!("tiers-{number}"));
            profiles(&mut text, lines);
        }
    }
    if !results.memory.is_empty() {
        heading(&mut text, results, MEMORY, "memory");
        table(&mut text, peers, &results.memory, |&cell, base| {
            format!("{cell}{}", ratio(cell, base.copied()))
        });
    }
    if !results.processes.is_empty() {
        heading(&mut text, results, processes::TITLE, "processes");
        align(&mut text, &processes::lines(&results.processes, peers));
    }
    if !results.memory_floor.is_empty() {
        heading(&mut text, results, FLOOR, "floor");
        table(&mut text, peers, &results.memory_floor, |&cell, base| {
            format!("{cell}{}", ratio(cell, base.copied()))
        });
    }
    if !results.calls.is_empty() {
        heading(&mut text, results, CALLS, "calls");
        table(&mut text, peers, &results.calls, |cell, base| {
            let ratio = ratio(cell.all, base.map(|base| base.all));
            format!("{}{ratio}, {} execs", cell.all, cell.execs)
        });
    }
    if let Some(sizes) = &results.sizes {
        heading(&mut text, results, SIZE, "size");
        let rows = [("size", sizes.clone())];
        table(&mut text, peers, &rows, |cell, _| {
            format!("{} + {}", cell.binary / 1024, cell.libraries / 1024)
        });
    }
    let failures = results.failures(peers);
    if !failures.is_empty() {
        text.push_str("\n## Failed\n\n");
    }
    for failure in failures {
        push(&mut text, format_args!("- {failure}\n"));
    }
    text
}

/// Begins a table: its title, and its picture in the folder beside the report.
fn heading(text: &mut String, results: &Results, title: &str, picture: &str) {
    let folder = &results.folder;
    let picture = format_args!("\n## {title}\n\n![{title}]({folder}/{picture}.svg)\n\n");
    push(text, picture);
}

/// Pictures of the tables: the name of each file, and what is in it.
pub(crate) fn pictures(results: &Results, peers: &[Peer]) -> Vec<(String, String)> {
    let mut pictures = Vec::new();
    let mut add = |name: &str, title: &str, groups: Vec<Group>| {
        if groups.iter().any(|group| !group.bars.is_empty()) {
            let name = format!("{name}.svg");
            pictures.push((name, picture::svg(title, &groups)));
        }
    };
    let median = |summary: &Summary| (summary.median, milliseconds(summary.median));
    add("time", TIME, groups(peers, &results.timed, median));
    let high = |summary: &Summary| (summary.p95, spread(summary));
    add("spread", SPREAD, groups(peers, &results.timed, high));
    let to_floor = to_floor::lines(results, peers).map(|lines| to_floor::groups(&lines));
    add("to-floor", to_floor::TITLE, to_floor.unwrap_or_default());
    if let Some(Ok(lines)) = &results.profiles {
        add("profiles", PROFILES, vec![ways(lines)]);
    }
    if let Some(Ok(lines)) = &results.gvisor {
        add("gvisor", GVISOR, vec![ways(lines)]);
    }
    for (number, (title, lines)) in results.tiers.iter().flatten().enumerate() {
        if let Ok(lines) = lines {
            add(&format!("tiers-{number}"), title, vec![ways(lines)]);
        }
    }
    let plain = |value: &u64| (*value, value.to_string());
    add("memory", MEMORY, groups(peers, &results.memory, plain));
    let processes = processes::groups(&results.processes, peers);
    add("processes", processes::TITLE, processes);
    let floor = groups(peers, &results.memory_floor, plain);
    add("floor", FLOOR, floor);
    let all = |calls: &Calls| plain(&calls.all);
    add("calls", CALLS, groups(peers, &results.calls, all));
    let whole = |size: &Size| plain(&((size.binary + size.libraries) / 1024));
    let sizes = results.sizes.clone().map(|sizes| ("", sizes));
    let sizes: Vec<_> = sizes.into_iter().collect();
    add("size", SIZE, groups(peers, &sizes, whole));
    pictures
}

/// A group of bars for each row of a table of peers.
fn groups<T>(
    peers: &[Peer],
    rows: &[(&'static str, Vec<Cell<T>>)],
    show: impl Fn(&T) -> (u64, String),
) -> Vec<Group> {
    let group = |(title, cells): &(&'static str, Vec<Cell<T>>)| {
        let measured = peers.iter().zip(cells);
        let bars = measured.filter(|(peer, _)| peer.program.kind != Kind::Nothing);
        let bars = bars.filter_map(|(peer, cell)| {
            let (value, text) = show(cell.as_ref()?.as_ref().ok()?);
            Some(Bar {
                name: peer.label.clone(),
                value,
                text,
            })
        });
        Group {
            title: (*title).to_owned(),
            bars: bars.collect(),
        }
    };
    rows.iter().map(group).collect()
}

/// The bars of ways to do the same.
fn ways(lines: &[Line]) -> Group {
    let bar = |(name, summary): &Line| Bar {
        name: name.clone(),
        value: summary.median,
        text: milliseconds(summary.median),
    };
    Group {
        title: String::new(),
        bars: lines.iter().map(bar).collect(),
    }
}

/// From the 10th to the 95th percentile.
fn spread(cell: &Summary) -> String {
    format!("{} – {}", milliseconds(cell.p10), milliseconds(cell.p95))
}

/// Appends formatted text.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    text.write_fmt(arguments).expect("String write");
}

fn versions(peers: &[Peer]) -> String {
    let measured = peers
        .iter()
        .filter(|peer| matches!(peer.program.kind, Kind::Oci | Kind::Bubblewrap));
    let labels: Vec<&str> = measured.map(|peer| peer.label.as_str()).collect();
    labels.join(", ")
}

/// One line for each way to run, with its ratio to the first.
fn profiles(text: &mut String, lines: &[Line]) {
    let base = lines.first().map(|(_, summary)| summary.median);
    let head = ["", "median", "ratio", "10th to 95th percentile"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    cells.extend(lines.iter().map(|(title, summary)| {
        vec![
            title.clone(),
            milliseconds(summary.median),
            thousandths(summary.median, base),
            format!(
                "{} – {}",
                milliseconds(summary.p10),
                milliseconds(summary.p95)
            ),
        ]
    }));
    align(text, &cells);
}

/// `1.042`: a budget of a few percent needs three decimals.
fn thousandths(value: u64, base: Option<u64>) -> String {
    let Some(base) = base.filter(|&base| base > 0) else {
        return String::new();
    };
    let thousandths = (value * 1000 + base / 2) / base;
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// What starting and waiting costs by itself.
fn harness(results: &Results, peers: &[Peer]) -> String {
    let index = peers
        .iter()
        .position(|peer| peer.program.kind == Kind::Nothing);
    let cell = index.and_then(|index| results.timed.first()?.1.get(index)?.as_ref());
    let Some(Ok(summary)) = cell else {
        return String::new();
    };
    format!(
        "\nThe harness alone, starting a dynamic `true` in the same way: {} ms ({} – {}). It is not \
         subtracted.\n",
        milliseconds(summary.median),
        milliseconds(summary.p10),
        milliseconds(summary.p95)
    )
}

/// Nanoseconds as milliseconds with two decimals.
fn milliseconds(nanos: u64) -> String {
    let hundredths = (nanos + 5_000) / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// ` (0.57)`, or nothing without a base.
fn ratio(value: u64, base: Option<u64>) -> String {
    hundredths(value, base).map_or_else(String::new, |ratio| format!(" ({ratio})"))
}

/// `0.57`, or nothing without a base.
pub(crate) fn hundredths(value: u64, base: Option<u64>) -> Option<String> {
    let base = base.filter(|&base| base > 0)?;
    let hundredths = (value * 100 + base / 2) / base;
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

/// Which peer the ratios are to: the first crun, as the newest comes first.
fn reference(peers: &[Peer]) -> Option<usize> {
    peers
        .iter()
        .position(|peer| peer.program.key.starts_with("crun"))
}

/// Appends one table: a column a peer that has any cell, aligned for a terminal.
fn table<T>(
    text: &mut String,
    peers: &[Peer],
    rows: &[(&'static str, Vec<Cell<T>>)],
    show: impl Fn(&T, Option<&T>) -> String,
) {
    let reference = reference(peers);
    let shown: Vec<usize> = (0..peers.len())
        .filter(|&index| peers[index].program.kind != Kind::Nothing)
        .filter(|&index| rows.iter().any(|(_, cells)| cells[index].is_some()))
        .collect();
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(shown.iter().map(|&index| peers[index].label.clone()));
    for (title, cells) in rows {
        let base = reference.and_then(|index| cells[index].as_ref()?.as_ref().ok());
        let mut line = vec![(*title).to_owned()];
        line.extend(shown.iter().map(|&index| match &cells[index] {
            None => "–".to_owned(),
            Some(Err(_)) => "failed".to_owned(),
            Some(Ok(cell)) => show(cell, base),
        }));
        lines.push(line);
    }
    align(text, &lines);
}

fn align(text: &mut String, lines: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default().max(3)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    for (number, line) in lines.iter().enumerate() {
        for (cell, &width) in line.iter().zip(&widths) {
            push(text, format_args!("| {cell:<width$} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for &width in &widths {
                push(text, format_args!("|{:-<1$}", "", width + 2));
            }
            text.push_str("|\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_to_two_decimals() {
        for (nanos, want) in [
            (0, "0.00"),
            (4_999, "0.00"),
            (5_000, "0.01"),
            (6_904_999, "6.90"),
        ] {
            assert_eq!(milliseconds(nanos), want, "{nanos}");
        }
    }

    #[test]
    fn ratio_needs_a_base() {
        for (value, base, want) in [
            (5, None, ""),
            (5, Some(0), ""),
            (57, Some(100), " (0.57)"),
            (3, Some(2), " (1.50)"),
        ] {
            assert_eq!(ratio(value, base), want, "{value} to {base:?}");
        }
    }

    #[test]
    fn ratio_of_a_profile_has_three_decimals() {
        for (value, base, want) in [
            (1042, Some(1000), "1.042"),
            (3, Some(0), ""),
            (2, Some(3), "0.667"),
            (5, None, ""),
        ] {
            assert_eq!(thousandths(value, base), want, "{value} to {base:?}");
        }
    }

    #[test]
    fn table_columns_are_as_wide_as_their_widest_cell() {
        let mut text = String::new();
        let line = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        align(&mut text, &[line(["", "a"]), line(["row", "1.00 – 2"])]);
        assert_eq!(
            text,
            "|     | a        |\n|-----|----------|\n| row | 1.00 – 2 |\n"
        );
    }
}
