//! What is generated from the command line itself: completions for shells, man pages.

use crate::status::Status;

use clap::CommandFactory as _;

use crate::cli::{self, Cli};
use crate::error::Error;
use crate::output;

/// `gl completions`.
pub(crate) fn completions(options: &cli::Completions) -> Result<Status, Error> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "gl", &mut script);
    output::text(&String::from_utf8_lossy(&script))?;
    Ok(Status::SUCCESS)
}

/// `gl man`: one page a command, `gl.1`, `gl-run.1` and so on.
pub(crate) fn man(options: &cli::Man) -> Result<Status, Error> {
    let failed = |source| Error::File {
        path: options.dir.clone(),
        source,
    };
    std::fs::create_dir_all(&options.dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &options.dir).map_err(failed)?;
    Ok(Status::SUCCESS)
}
