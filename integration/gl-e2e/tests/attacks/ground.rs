//! What every attack stands on: a victim on the host that must stay as it is, and a co-tenant who
//! swaps names in a shared directory.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use gl_e2e::bundle::listener::Listener;
use gl_e2e::bundle::{self, Bundle, Host, Output, rounds};
use gl_e2e::{Outcome, Test};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};

/// What nothing in a container may ever print.
pub(crate) const SECRET: &str = "precious content of the host";

/// A setting of the UTS namespace: it stands for `core_pattern`, which an attack that succeeds would
/// change for the whole machine.
pub(crate) const SETTING: &str = "/proc/sys/kernel/domainname";

/// Runs a test between two snapshots of the victim, the host's mounts, settings such as
/// `core_pattern`, and the processes and cgroups of this program.
pub(crate) fn watched(test: &Test) -> Outcome {
    let host = Host::before_all(vec![victim()]);
    let outcome = (test.run)();
    if outcome.is_err() && !bundle::is_greenlang() {
        // What another runtime is known for may have hit the victim.
        fill(&victim());
    } else {
        host.unchanged_soon(test.name);
    }
    outcome
}

/// A directory of the host, outside of every bundle, with files as an attack wants them.
pub(crate) fn victim() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("{}victim", bundle::tag()));
        fs::create_dir(&dir).unwrap();
        fill(&dir);
        dir
    })
    .clone()
}

/// Puts in a directory what an attack finds there, and nothing else.
fn fill(dir: &Path) {
    fs::remove_dir_all(dir).unwrap();
    fs::create_dir_all(dir.join("dir")).unwrap();
    for name in [
        "file", "null", "console", "zero", "tty", "ptmx", "dir/null", "dir/file",
    ] {
        fs::write(dir.join(name), SECRET).unwrap();
    }
}

/// Removes the [`victim`].
pub(crate) fn remove_victim() {
    let dir = std::env::temp_dir().join(format!("{}victim", bundle::tag()));
    if dir.symlink_metadata().is_ok() {
        fs::remove_dir_all(dir).unwrap();
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Targets of links that lead to the victim from anywhere, and from an entry of the rootfs or of a
/// volume beside it.
pub(crate) fn links() -> [String; 4] {
    let victim = victim();
    let name = victim.file_name().unwrap().display();
    [
        text(&victim),
        format!("../../../../../../../../../..{}", victim.display()),
        format!("../../{name}"),
        format!("../../../{name}/dir"),
    ]
}

/// Runs the bundle, whatever comes of it, and asserts that the host is as it was.
#[track_caller]
pub(crate) fn harmless(box_: &Bundle, victims: &[&Path], what: &str) -> Output {
    let victim = victim();
    let mut all = vec![victim.as_path()];
    all.extend(victims);
    let host = Host::before(box_, &all);
    let out = box_.run();
    host.unchanged_soon(what);
    assert!(!out.stdout.contains(SECRET), "{what}: {out:?}");
    out
}

/// A shell script that prints the secret if its working directory is one of the host's.
pub(crate) fn probe() -> String {
    let up = "../".repeat(16);
    format!(
        "cat {up}{} 2>/dev/null; pwd",
        victim().join("file").display()
    )
}

/// A bundle whose `/dev` is that of the image.
pub(crate) fn with_dev_of_the_image(script: &str) -> Bundle {
    ["/dev/shm", "/dev/mqueue", "/dev/pts", "/dev"]
        .iter()
        .fold(Bundle::sh(script), |box_, target| {
            box_.without_mount(target)
        })
}

/// Creates with a terminal, whatever comes of it.
pub(crate) fn create_with_terminal(box_: &Bundle) -> Output {
    let listener = Listener::new(box_.dir(), "console.sock");
    let out = box_.create_with(&["--console-socket", listener.path()]);
    fs::remove_file(listener.path()).unwrap();
    out
}

/// A bundle that has capabilities beside the usual ones.
pub(crate) fn with_capability(box_: Bundle, name: &str) -> Bundle {
    ["bounding", "effective", "permitted"]
        .into_iter()
        .fold(box_, |box_, set| {
            box_.push(
                &format!("/process/capabilities/{set}"),
                serde_json::json!(name),
            )
        })
}

/// Makes a null device.
pub(crate) fn null_device(path: &Path) {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 3)).unwrap();
}

/// Two names that a co-tenant swaps: something harmless, and a link.
pub(crate) struct Pair {
    /// The name that the runtime is led to.
    pub(crate) one: PathBuf,
    /// What takes its place half of the time.
    pub(crate) two: PathBuf,
}

impl Pair {
    /// `dir/name`, made by `make`, and beside it a link to `target`.
    pub(crate) fn new(dir: &Path, name: &str, make: impl FnOnce(&Path), target: &str) -> Self {
        let (one, two) = (dir.join(name), dir.join(format!("{name}-link")));
        make(&one);
        symlink(target, &two).unwrap();
        Self { one, two }
    }

    /// The same for a directory.
    pub(crate) fn directory(dir: &Path, name: &str, target: &str) -> Self {
        Self::new(dir, name, |path| fs::create_dir_all(path).unwrap(), target)
    }
}

/// Calls `round` again and again while a co-tenant swaps the pair without a pause, and asserts that
/// the host is as it was. `round` gets its number; what it makes it must remove.
#[track_caller]
pub(crate) fn raced(box_: &Bundle, pair: Pair, short: usize, mut round: impl FnMut(usize)) {
    let victim = victim();
    let host = Host::before(box_, &[&victim]);
    let swapper = Swapper::new(pair);
    let wanted = rounds(short);
    for number in 0..wanted {
        round(number);
    }
    let swaps = swapper.stop();
    assert!(swaps > wanted, "only {swaps} swaps in {wanted} rounds");
    host.unchanged_soon("after the race");
}

/// A thread that swaps two paths without pause until dropped.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Swapper {
    fn new(pair: Pair) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let swap = move || {
            renameat_with(CWD, &pair.one, CWD, &pair.two, RenameFlags::EXCHANGE).unwrap();
        };
        let thread = std::thread::spawn(move || {
            let mut swaps = 0;
            while !seen.load(Ordering::Relaxed) {
                swap();
                swaps += 1;
            }
            // An even number leaves the two as they were.
            if swaps % 2 == 1 {
                swap();
            }
            swaps
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Stops, and returns how often it swapped.
    fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
