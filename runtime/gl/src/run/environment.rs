//! The environment of a program: a clean one, and what the image and the caller add to it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use gl_sandbox::Terminal;

use crate::cli;
use crate::error::Error;

/// Where a variable comes from, and `NAME=value`; of the caller's also `NAME` alone.
type Given = (&'static str, String);

/// The largest file of variables, in bytes: the kernel takes no more for all of them together.
const LARGEST: u64 = 6 << 20;

/// What the program gets: `base`, then what the image says, then the caller.
pub(super) fn of(
    options: &cli::Run,
    (base, image): (Vec<String>, &[String]),
    terminal: Terminal,
) -> Result<Vec<String>, Error> {
    let mut env = base;
    let has_term = env.iter().any(|one| one.starts_with("TERM="));
    if terminal == Terminal::Yes && !has_term {
        env.push(term());
    }
    let of_image = image.iter().filter(|one| one.contains('='));
    let of_image = of_image.map(|one| ("--image", one.clone())).collect();
    let env = with(env, of_image)?;
    with_options(env, &options.env_file, &options.env)
}

/// An environment with what options add to it: files, then single variables.
pub(crate) fn with_options(
    env: Vec<String>,
    files: &[PathBuf],
    variables: &[String],
) -> Result<Vec<String>, Error> {
    let mut given: Vec<Given> = Vec::new();
    for file in files {
        given.extend(env_file(file)?.into_iter().map(|one| ("--env-file", one)));
    }
    given.extend(variables.iter().map(|one| ("--env", one.clone())));
    with(env, given)
}

/// What the caller's terminal is called.
pub(crate) fn term() -> String {
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
    format!("TERM={term}")
}

fn with(mut env: Vec<String>, given: Vec<Given>) -> Result<Vec<String>, Error> {
    for (source, one) in given {
        let (name, value) = match one.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => match std::env::var(&one) {
                Ok(value) => (one, value),
                // What the caller does not have cannot be passed on.
                Err(_) => continue,
            },
        };
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            return Err(Error::Usage {
                what: source.to_owned(),
                problem: format!("{name:?} is no name of a variable").into(),
            });
        }
        env.retain(|known| known.split_once('=').is_none_or(|(known, _)| known != name));
        env.push(format!("{name}={value}"));
    }
    Ok(env)
}

fn env_file(path: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(LARGEST + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(Error::Usage {
            what: format!("--env-file {}", path.display()),
            problem: format!("it is larger than {LARGEST} bytes").into(),
        });
    }
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}
