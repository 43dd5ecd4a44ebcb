//! Runs a corpus of configurations through greenlang and through libcontainer, and compares the worlds
//! that a process sees in them.
//!
//!     gl-oracle --runtimes DIR [--all] [--seed N] [--judge PATH] [--print NAME] [--list] [WORD...]
//!
//! `$GL_RUNTIME` is greenlang; the probe and libcontainer's program are in DIR. A difference that
//! `differences.toml` does not list fails, and so does an entry that explains nothing any more.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the report of a test run"
)]

mod case;
mod cgroup;
mod difference;
mod grammar;
mod known;
mod normal;
mod options;
mod world;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use gl_e2e::bundle;
use serde_json::Value;

use crate::case::{Case, Expected};
use crate::difference::Difference;
use crate::known::Known;
use crate::options::Options;
use crate::world::{OUTCOME, RAN};

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    bundle::apart(|| {
        let whole = Options::from_arguments().and_then(|options| run(&options));
        whole.unwrap_or_else(|failure| {
            eprintln!("gl-oracle: {failure}");
            ExitCode::FAILURE
        })
    })
}

/// What becomes of the whole run.
#[derive(Default)]
struct Sum {
    passed: usize,
    failed: Vec<String>,
    ran: usize,
    refused: usize,
    explained: usize,
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let corpus = corpus(options)?;
    if options.list {
        corpus.iter().for_each(|case| println!("{}", case.name));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &options.print {
        let case = corpus.iter().find(|case| case.name == *name);
        let case = case.ok_or(format!("no case is called {name}"))?;
        let bundle = case.bundle(&options.greenlang, &options.probe())?;
        println!("{:#}", bundle.config);
        return Ok(ExitCode::SUCCESS);
    }
    if gl_e2e::kernel::is_v2() || cfg!(not(target_arch = "x86_64")) {
        println!("SKIP whole: the list of differences is for x86-64 with cgroup v1");
        println!("0 passed, 0 failed, 1 skipped");
        return Ok(ExitCode::SUCCESS);
    }
    // Panics of the harness are outcomes of a case.
    std::panic::set_hook(Box::new(|_| ()));
    let known = known::read(&options.folder.join("differences.toml"))?;
    let mut sum = Sum::default();
    for case in &corpus {
        compare(case, options, &known, &mut sum)?;
    }
    if options.words.is_empty() {
        unused(&known, &mut sum);
    }
    report(&corpus, &known, &sum);
    Ok(ExitCode::from(u8::from(!sum.failed.is_empty())))
}

/// The cases that were chosen: the hand-made ones in the order of their files, then the generated ones.
fn corpus(options: &Options) -> Result<Vec<Case>, Failure> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(options.folder.join("corpus"))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(case::read(&file)?);
    }
    all.extend(grammar::cases(options.seed, options.generated));
    let chosen = |case: &Case| {
        options.words.is_empty() || options.words.iter().any(|word| case.name.contains(word))
    };
    Ok(all.into_iter().filter(chosen).collect())
}

fn compare(case: &Case, options: &Options, known: &[Known], sum: &mut Sum) -> Result<(), Failure> {
    let begin = Instant::now();
    let of = |runtime: &Path| -> Result<Value, Failure> {
        world::of(case, runtime, &options.probe()).map_err(|e| format!("{}: {e}", case.name).into())
    };
    let (ours, theirs) = (of(&options.greenlang)?, of(&options.reference())?);
    let differences = difference::between(&ours, &theirs);
    let (explained, new): (Vec<_>, Vec<_>) = differences
        .into_iter()
        .partition(|found| known.iter().any(|entry| entry.explains(&case.name, found)));
    let wrong = verdict(case, &ours, &theirs, !explained.is_empty());
    sum.explained += explained.len();
    if ours[OUTCOME] == RAN && theirs[OUTCOME] == RAN {
        sum.ran += 1;
    } else {
        sum.refused += 1;
    }
    let took = begin.elapsed().as_secs_f32();
    if new.is_empty() && wrong.is_none() {
        println!("ok {} ({took:.1} s)", case.name);
        sum.passed += 1;
    } else {
        println!("FAIL {} ({took:.1} s)", case.name);
        sum.failed.push(case.name.clone());
    }
    if let Some(wrong) = wrong {
        println!("    {wrong}");
    }
    let judge = match &options.judge {
        Some(path) if !new.is_empty() || options.explain => Some(difference::leaves(&of(path)?)),
        _ => None,
    };
    let shown = new
        .iter()
        .chain(explained.iter().filter(|_| options.explain));
    for found in shown {
        print(found);
        if let Some(third) = &judge {
            let value = third
                .get(&found.path)
                .map_or(difference::MISSING, String::as_str);
            println!("        judge:        {value}");
        }
    }
    Ok(())
}

fn print(found: &Difference) {
    println!("    {}", found.path);
    println!("        greenlang:    {}", found.greenlang);
    println!("        libcontainer: {}", found.reference);
}

/// Why a case is wrong although both agree, or whatever the other does.
fn verdict(case: &Case, ours: &Value, theirs: &Value, explained: bool) -> Option<String> {
    let empty = serde_json::json!({"cgroups": [], "mounts": [], "state": 0});
    let left = &ours["left"];
    let (ours, theirs) = (ours[OUTCOME].as_str()?, theirs[OUTCOME].as_str()?);
    if ours.starts_with("breaks") {
        return Some(format!("greenlang {ours}; libcontainer {theirs}"));
    }
    if *left != empty {
        return Some(format!("greenlang leaves {left}"));
    }
    let agree = (ours == RAN) == (theirs == RAN);
    let wanted = (ours == RAN) == (case.expected == Expected::Runs);
    // What one refuses and the other runs is a difference, which has to be listed.
    (agree && !wanted && !explained)
        .then(|| format!("both: greenlang {ours}; libcontainer {theirs}"))
}

fn unused(known: &[Known], sum: &mut Sum) {
    for entry in known.iter().filter(|entry| entry.is_unused()) {
        let name = format!(
            "differences.toml explains nothing any more: {:?} {:?}",
            entry.cases, entry.paths
        );
        println!("FAIL {name}");
        sum.failed.push(name);
    }
}

fn report(corpus: &[Case], known: &[Known], sum: &Sum) {
    println!(
        "{} cases: {} ran on both, {} refused by one or both; {} differences explained by {} entries",
        corpus.len(),
        sum.ran,
        sum.refused,
        sum.explained,
        known.len()
    );
    for name in &sum.failed {
        println!("failed: {name}");
    }
    println!(
        "{} passed, {} failed, 0 skipped",
        sum.passed,
        sum.failed.len()
    );
}
