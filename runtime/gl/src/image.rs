//! `gl image`.

use crate::status::Status;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use gl_image::{Cache, Image, Options, Platform, Progress, Reference};

use crate::cli;
use crate::error::Error;
use crate::output;

const DAY: Duration = Duration::from_secs(86_400);

/// Does what was asked.
pub(crate) fn perform(command: &cli::Image) -> Result<Status, Error> {
    match command {
        cli::Image::Ls(format) => list(format),
        cli::Image::Prune(options) => prune(options),
        cli::Image::Unpack(options) => unpack(options),
    }
}

/// The caller's images.
fn cache() -> Result<Cache, Error> {
    Ok(Cache::open(&gl_sandbox::cache_root()?)?)
}

fn list(format: &cli::Json) -> Result<Status, Error> {
    let entries = cache()?.entries()?;
    if format.json {
        output::json(&entries)?;
        return Ok(Status::SUCCESS);
    }
    let mut rows = vec![
        ["KEY", "SIZE", "UNPACKED", "FROM"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for entry in entries {
        rows.push(vec![
            entry.key[..12].to_owned(),
            size(entry.bytes),
            entry.created.whole_seconds().to_string(),
            entry.from,
        ]);
    }
    output::text(&output::columns(&rows))?;
    Ok(Status::SUCCESS)
}

/// Makes a user root of a namespace with all ids that the user owns, to whom files of images may belong; the
/// program may begin anew in it. Whoever owns no other ids has no such files.
fn enter_own_namespace() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    match gl_sandbox::prepare(gl_sandbox::Files::Anybodys) {
        // What cannot be removed is told when that is tried.
        Ok(()) | Err(_) => {}
    }
}

fn prune(options: &cli::Prune) -> Result<Status, Error> {
    enter_own_namespace();
    let pruned = cache()?.prune(DAY * options.unused_days)?;
    if options.format.json {
        output::json(&pruned)?;
        return Ok(Status::SUCCESS);
    }
    let mut text = String::new();
    for (what, keys) in [
        ("removed", &pruned.removed),
        ("in use", &pruned.in_use),
        ("used lately", &pruned.kept),
    ] {
        for key in keys {
            // Writing to a String cannot fail.
            writeln!(text, "{what}: {key}").unwrap_or_default();
        }
    }
    output::text(&text)?;
    Ok(Status::SUCCESS)
}

fn unpack(options: &cli::Unpack) -> Result<Status, Error> {
    let reference = Reference::parse(&options.image)?;
    let how = Options::of_caller();
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let image = Image::open(&reference, &platform, &how.limits)?;
    let mut shown = Shown::new(&options.image);
    let mut tell = |progress| shown.show(progress);
    let unpacked = gl_image::unpack_to(&image, &options.dir, &how, &mut tell);
    shown.end();
    let unpacked = unpacked?;
    for note in &unpacked.notes {
        output::note(&format!(
            "gl: left out of layer {}: {}: {}\n",
            note.layer, note.entry, note.what
        ));
    }
    output::text(&summary(&options.dir, &image, &unpacked))?;
    Ok(Status::SUCCESS)
}

fn summary(dir: &Path, image: &Image, unpacked: &gl_image::Unpacked) -> String {
    let (entries, bytes) = (unpacked.entries, size(unpacked.bytes));
    format!(
        "{}: {entries} entries, {bytes}, of {}\n",
        dir.display(),
        image.digest()
    )
}

/// Progress, once it has taken a second: on a terminal in a line that is written over, elsewhere in one
/// line. Standard output is not ours.
pub(crate) struct Shown {
    what: String,
    last: Instant,
    every: Duration,
    terminal: bool,
    said: bool,
}

impl Shown {
    pub(crate) fn new(what: &str) -> Self {
        // Short enough for a line.
        let name = Path::new(what).file_name();
        Self {
            what: name.map_or_else(
                || what.to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            last: Instant::now(),
            every: Duration::from_secs(1),
            terminal: std::io::stderr().is_terminal(),
            said: false,
        }
    }

    pub(crate) fn show(&mut self, progress: Progress) {
        if self.last.elapsed() < self.every || (self.said && !self.terminal) {
            return;
        }
        self.last = Instant::now();
        self.every = Duration::from_millis(250);
        self.said = true;
        match self.terminal {
            true => {
                let percent = (progress.done * 100).checked_div(progress.total);
                let percent = percent.unwrap_or(100).min(100);
                output::over(&format!("gl: unpacking {}: {percent} %", self.what));
            }
            false => output::note(&format!("gl: unpacking {}\n", self.what)),
        }
    }

    /// Leaves nothing of it on a terminal.
    pub(crate) fn end(self) {
        if self.said && self.terminal {
            output::over("");
        }
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}
