//! Harness for black-box tests of an OCI runtime.
//!
//! Links no greenlang crate: a test drives the binary named by `$GL_RUNTIME` (or an engine that
//! calls it) and looks at the kernel. A test file is a `harness = false` target whose `main` hands
//! a list of [`Test`] to [`main`]; each test ends in `Ok(())`, in a [`Skip`] with its reason, or in
//! a panic that says what was seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

pub mod audit;
pub mod bundle;
pub mod command;
pub mod engine;
pub mod gl;
pub mod kernel;
pub mod machine;
pub mod old_kernel;
pub mod random;
pub mod sandbox;
pub mod scenario;
pub mod schema;
pub mod terminal;

/// Why a test cannot run on this machine.
#[derive(Debug)]
pub struct Skip(pub String);

/// What a test function returns: done, or skipped with a reason. Failure is a panic.
pub type Outcome = Result<(), Skip>;

/// One test: a sentence as its name, and its body.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// `subject_condition_result`.
    pub name: &'static str,
    /// The body.
    pub run: fn() -> Outcome,
}

/// Lists functions as [`Test`]s under their own names.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$($crate::Test { name: stringify!($name), run: $name }),*]
    };
}

/// Runs the tests whose name contains any of the command line's words (all without words).
///
/// Prints `ok`, `FAIL` or `SKIP name: reason` for each and closes with
/// `N passed, N failed, N skipped`. `--list` prints the names only.
pub fn main(tests: &[Test]) -> ExitCode {
    main_around(tests, |test| (test.run)())
}

/// [`main`], with `around` called for each test, to run it between what it does itself.
#[expect(clippy::print_stdout, reason = "the report of a test run")]
pub fn main_around(tests: &[Test], around: fn(&Test) -> Outcome) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (flags, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|w| w.starts_with("--"));
    let chosen = tests
        .iter()
        .filter(|t| words.is_empty() || words.iter().any(|w| t.name.contains(w)));
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    for test in chosen {
        if flags.iter().any(|f| f == "--list") {
            println!("{}", test.name);
            continue;
        }
        let begin = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| around(test)));
        let took = begin.elapsed().as_secs_f32();
        match result {
            Ok(Ok(())) => {
                println!("ok {} ({took:.1} s)", test.name);
                passed += 1;
            }
            Ok(Err(Skip(reason))) => {
                println!("SKIP {}: {reason}", test.name);
                skipped += 1;
            }
            Err(_) => {
                println!("FAIL {} ({took:.1} s)", test.name);
                failed.push(test.name);
            }
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!(
        "{passed} passed, {} failed, {skipped} skipped",
        failed.len()
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}
