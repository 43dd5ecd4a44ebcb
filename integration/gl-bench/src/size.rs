//! Size of a program on disk, alone and with the libraries that it needs.

use crate::error::Error;
use crate::peer::{Kind, Peer};
use crate::rows::Cell;

/// Bytes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// The program's file.
    pub(crate) binary: u64,
    /// The files of the loader and the shared libraries.
    pub(crate) libraries: u64,
}

/// Sizes of every runtime.
pub(crate) fn measure(peers: &mut [Peer]) -> Vec<Cell<Size>> {
    let size = |peer: &mut Peer| {
        let suits = matches!(peer.program.kind, Kind::Oci | Kind::Floor);
        suits.then(|| size(peer).map_err(|err| crate::error::chain(&err)))
    };
    peers.iter_mut().map(size).collect()
}

fn size(peer: &mut Peer) -> Result<Size, Error> {
    let path = peer.program.path.clone();
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // ldd fails on a static program, and that is an answer too.
    let listing = peer.output(vec!["ldd".to_owned(), path.clone()]);
    let libraries = listing.map(|text| libraries(&text)).unwrap_or_default();
    let mut command = words("stat --dereference --format=%s --");
    command.push(path);
    command.extend(libraries);
    let text = peer.output(command)?;
    let mut sizes = text.lines().map_while(|line| line.parse::<u64>().ok());
    let binary = sizes.next().ok_or_else(|| Error::Output {
        tool: "stat",
        output: text.clone(),
    })?;
    Ok(Size {
        binary,
        libraries: sizes.sum(),
    })
}

/// Paths in the output of `ldd`: after `=>`, or first for the loader.
fn libraries(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let path = line.split_once("=> ").map_or(line, |(_, path)| path);
            let path = path.split_whitespace().next()?;
            path.starts_with('/').then(|| path.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_output_gives_the_paths_and_not_the_vdso() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(
            libraries(text),
            ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }
}
