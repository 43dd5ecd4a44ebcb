//! Where the parts of an image are: a directory, or an archive whose members are found once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use gl_rootfs::Root;
use rustix::fs::{FileType, Mode, OFlags};

use crate::archive::{Archive, Kind};
use crate::error::{Error, Fault};
use crate::limits::Limits;
use crate::stream::{Bounds, Form, Section, spooled};

/// A directory or archive with an image.
#[derive(Debug)]
pub(crate) enum Source {
    Directory(Root),
    Archive(BTreeMap<Vec<u8>, Member>),
}

#[derive(Debug)]
pub(crate) enum Member {
    File(Section),
    /// A name relative to the link's own directory.
    Link(Vec<u8>),
}

impl Source {
    /// Opens an image's directory or archive.
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Open {
            path: path.to_owned(),
            source,
        };
        let not_image = |fault| Error::NotImage {
            path: path.to_owned(),
            fault,
        };
        // NONBLOCK: a pipe must not hold us up.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty());
        let fd = fd.map_err(|errno| failed(errno.into()))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed(errno.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Ok(Self::Directory(Root::new(fd))),
            FileType::RegularFile => {}
            _ => return Err(not_image(Fault::NoForm)),
        }
        let mut section = Section::whole(File::from(fd)).map_err(failed)?;
        if section.form().map_err(not_image)? != Form::Plain {
            let bounds = Bounds {
                left: limits.unpacked_bytes,
                limit: limits.unpacked_bytes,
                bomb: section
                    .len()
                    .saturating_mul(limits.ratio)
                    .max(limits.bomb_bytes),
                ratio: limits.ratio,
            };
            section = spooled(&section, bounds).map_err(not_image)?;
        }
        members(section, limits)
            .map(Self::Archive)
            .map_err(not_image)
    }

    /// Finds a file by its name from the top.
    pub(crate) fn find(&self, name: &str) -> Result<Section, Fault> {
        match self {
            Self::Directory(root) => in_directory(root, name),
            Self::Archive(members) => in_archive(members, name),
        }
    }
}

fn in_directory(root: &Root, name: &str) -> Result<Section, Fault> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let fd = match root.open(Path::new(name), flags) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Err(Fault::Missing),
        Err(errno) => return Err(Fault::call("open it")(errno)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(Fault::call("open it"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault::Missing);
    }
    Section::whole(File::from(fd)).map_err(Fault::call("open it"))
}

fn in_archive(members: &BTreeMap<Vec<u8>, Member>, name: &str) -> Result<Section, Fault> {
    let key = clean(name.as_bytes()).ok_or(Fault::Missing)?;
    let target = match members.get(&key).ok_or(Fault::Missing)? {
        Member::File(section) => return Ok(section.clone()),
        Member::Link(target) => target,
    };
    // Docker links layers that several images share: one step, to a file.
    let dir = key.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let joined = [&key[..dir], target.as_slice()].concat();
    let key = clean(&joined).ok_or(Fault::Missing)?;
    match members.get(&key) {
        Some(Member::File(section)) => Ok(section.clone()),
        Some(Member::Link(_)) | None => Err(Fault::Missing),
    }
}

/// Lists the files and links of an archive.
fn members(section: Section, limits: &Limits) -> Result<BTreeMap<Vec<u8>, Member>, Fault> {
    let mut archive = Archive::new(section);
    let mut members = BTreeMap::new();
    let mut count = 0;
    while let Some(entry) = archive.next()? {
        count += 1;
        if count > limits.members {
            let (of, limit) = ("files in the archive", limits.members as u64);
            return Err(Fault::Limit { of, limit });
        }
        let Some(name) = clean(&entry.name) else {
            continue;
        };
        let member = match entry.kind {
            Kind::File => Member::File(archive.source().next(entry.size)?),
            Kind::Symlink => Member::Link(entry.link),
            _ => continue,
        };
        members.insert(name, member);
    }
    Ok(members)
}

/// A name without `.`, `..` and doubled slashes; `None` if it leads out of the top.
fn clean(name: &[u8]) -> Option<Vec<u8>> {
    if name.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}
