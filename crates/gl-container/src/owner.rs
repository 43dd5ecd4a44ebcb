//! The name of a user of the host, for people to read.

use rustix::fs::{Mode, OFlags};

use crate::store::read_all;

/// The name by the host's `/etc/passwd`; empty if it has none.
pub(crate) fn name(uid: u32) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open("/etc/passwd", flags, Mode::empty()) else {
        return String::new();
    };
    let text = read_all(&file, 4096).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let wanted = uid.to_string();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == wanted).then(|| name.to_owned())
    });
    found.unwrap_or_default()
}
