//! The command line of the oracle.

use std::path::{Path, PathBuf};

use crate::Failure;

/// Generated cases of a plain run, and of `--all`.
const GENERATED: u32 = 100;
const ALL: u32 = 1000;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// Where the corpus and the list of differences are.
    pub(crate) folder: PathBuf,
    /// The runtime that is tested.
    pub(crate) greenlang: PathBuf,
    /// Where the probe and libcontainer's program are.
    runtimes: PathBuf,
    /// A third runtime, whose value is printed beside a difference.
    pub(crate) judge: Option<PathBuf>,
    /// Where the generated part begins.
    pub(crate) seed: u64,
    /// How many cases are generated.
    pub(crate) generated: u32,
    /// Only print the names.
    pub(crate) list: bool,
    /// Only print the configuration of this case.
    pub(crate) print: Option<String>,
    /// Print the differences that are explained, too.
    pub(crate) explain: bool,
    /// Only cases with one of these in their names.
    pub(crate) words: Vec<String>,
}

impl Options {
    /// Reads the arguments of this process.
    ///
    /// # Errors
    ///
    /// If one is unknown or lacks its value.
    pub(crate) fn from_arguments() -> Result<Self, Failure> {
        let mut made = Self {
            folder: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
            greenlang: gl_e2e::bundle::runtime(),
            runtimes: PathBuf::new(),
            judge: None,
            seed: 1,
            generated: GENERATED,
            list: false,
            print: None,
            explain: false,
            words: Vec::new(),
        };
        let mut given = std::env::args().skip(1);
        while let Some(word) = given.next() {
            let mut value = || given.next().ok_or(format!("{word} takes a value"));
            match word.as_str() {
                "--runtimes" => made.runtimes = value()?.into(),
                "--judge" => made.judge = Some(value()?.into()),
                "--seed" => made.seed = value()?.parse()?,
                "--print" => made.print = Some(value()?),
                "--all" => made.generated = ALL,
                "--list" => made.list = true,
                "--explain" => made.explain = true,
                _ if word.starts_with('-') => return Err(format!("unknown option {word}").into()),
                _ => made.words.push(word),
            }
        }
        Ok(made)
    }

    /// The program that runs inside.
    pub(crate) fn probe(&self) -> PathBuf {
        self.runtimes.join("oracle-probe")
    }

    /// libcontainer's program.
    pub(crate) fn reference(&self) -> PathBuf {
        self.runtimes.join("oracle-runtime")
    }
}
