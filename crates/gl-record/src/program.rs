//! What the kernel opens to execute a file: an interpreter, or the loader.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Interpreters of interpreters, at most; the kernel has five.
const DEPTH: usize = 5;
const PT_INTERP: u32 = 3;

/// All files that executing one takes, itself first.
pub(crate) fn files(program: &Path) -> Vec<PathBuf> {
    let mut all = vec![program.to_owned()];
    for _ in 0..DEPTH {
        let next = all.last().and_then(|last| interpreter(last));
        match next {
            Some(next) if next.is_absolute() && !all.contains(&next) => all.push(next),
            _ => break,
        }
    }
    all
}

fn interpreter(path: &Path) -> Option<PathBuf> {
    // A pipe is not waited for, and a terminal not taken.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut head = Vec::new();
    file.by_ref().take(256).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let mut words = line.split(|byte| b" \t".contains(byte));
        let word = words.find(|word| !word.is_empty())?;
        return Some(std::ffi::OsStr::from_bytes(word).into());
    }
    loader(&file, &head)
}

/// `PT_INTERP` of an ELF file of 64 bits in the machine's own order.
fn loader(file: &File, head: &[u8]) -> Option<PathBuf> {
    if !head.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let offset = number(head, 32, 8)?;
    let size = number(head, 54, 2)?;
    let count = number(head, 56, 2)?.min(256);
    for index in 0..count {
        let at = offset.checked_add(index.checked_mul(size)?)?;
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, at).ok()?;
        if number(&entry, 0, 4)? != u64::from(PT_INTERP) {
            continue;
        }
        let len = usize::try_from(number(&entry, 32, 8)?.min(4096)).ok()?;
        let mut text = vec![0; len];
        file.read_exact_at(&mut text, number(&entry, 8, 8)?).ok()?;
        let end = text.iter().position(|byte| *byte == 0)?;
        return Some(std::ffi::OsStr::from_bytes(text.get(..end)?).into());
    }
    None
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(len)?)?;
    let mut all = [0; 8];
    all.get_mut(..len)?.copy_from_slice(part);
    Some(u64::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_takes_its_interpreter_and_that_its_loader() {
        let dir = std::env::temp_dir().join(format!("gl-record-program-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let script = dir.join("script");
        std::fs::write(&script, "#! /bin/sh -e\ntrue\n").unwrap();
        let all = files(&script);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(all[..2], [script, PathBuf::from("/bin/sh")]);
        let loader = all.get(2).and_then(|path| path.file_name()?.to_str());
        assert!(
            loader.is_some_and(|name| name.starts_with("ld-")),
            "{all:?}"
        );
        assert_eq!(files(Path::new("/dev/null")).len(), 1);
    }
}
