//! From `linux.cgroupsPath` in the form `slice:prefix:name` to the name of a unit and its slice.
//!
//! systemd.unit(5) says which names there are, systemd.slice(5) where a slice is. Pure.

use super::bus::Manager;
use crate::error::{Error, PathFault};
use crate::paths::GroupPath;

/// Longest name of a unit, bytes.
const NAME_MAX: usize = 255;

/// Where a unit is and how it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// With its suffix, `.scope` or `.slice`.
    pub(crate) unit: String,
    /// The slice that it is in; none for a slice, whose name says where it is.
    pub(crate) slice: Option<String>,
}

impl Name {
    /// Reads `cgroupsPath`; without one the unit is `greenlang-ID.scope` in the default slice.
    pub(crate) fn read(path: Option<&str>, id: &str, manager: Manager) -> Result<Self, Error> {
        let default = format!(":greenlang:{id}");
        let path = path.filter(|path| !path.is_empty()).unwrap_or(&default);
        Self::parse(path, manager).map_err(|fault| Error::Path {
            path: path.to_owned(),
            fault,
        })
    }

    fn parse(path: &str, manager: Manager) -> Result<Self, PathFault> {
        let parts: Vec<_> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return Err(PathFault::Parts);
        };
        if name.is_empty() {
            return Err(PathFault::Parts);
        }
        if let Some(stem) = name.strip_suffix(".slice") {
            check_name(name)?;
            check_slice(stem)?;
            let unit = name.to_owned();
            return Ok(Self { unit, slice: None });
        }
        let slice = match (slice, manager) {
            ("", Manager::System) => "system.slice",
            ("", Manager::User) => "user.slice",
            (slice, _) => slice,
        };
        check_name(slice)?;
        let stem = slice.strip_suffix(".slice").ok_or(PathFault::Slice)?;
        if stem != "-" {
            check_slice(stem)?;
        }
        let unit = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        check_name(&unit)?;
        Ok(Self {
            unit,
            slice: Some(slice.to_owned()),
        })
    }

    /// The cgroup of the unit below that of the manager.
    pub(crate) fn path(&self) -> GroupPath {
        match &self.slice {
            Some(slice) => GroupPath::clean(&format!("{}/{}", expand(slice), self.unit)),
            None => GroupPath::clean(&expand(&self.unit)),
        }
    }

    /// The object of the unit: every byte but letters and digits as `_xx`.
    pub(crate) fn object(&self) -> String {
        object(&self.unit)
    }
}

/// The object of a unit on the bus.
pub(crate) fn object(unit: &str) -> String {
    let mut out = String::from("/org/freedesktop/systemd1/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => out.push(char::from(byte)),
            b'0'..=b'9' if at > 0 => out.push(char::from(byte)),
            byte => out.push_str(&format!("_{byte:02x}")),
        }
    }
    out
}

fn check_name(name: &str) -> Result<(), PathFault> {
    if name.len() > NAME_MAX {
        return Err(PathFault::TooLong);
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\".contains(&b);
    match name.bytes().all(good) {
        true => Ok(()),
        false => Err(PathFault::UnitName),
    }
}

/// A dash leads to the slice above, so there is none at an end and no two in a row.
fn check_slice(stem: &str) -> Result<(), PathFault> {
    match stem.split('-').any(str::is_empty) {
        true => Err(PathFault::Slice),
        false => Ok(()),
    }
}

/// `a-b.slice` is in `a.slice`; `-.slice` is the root.
fn expand(slice: &str) -> String {
    let stem = slice.strip_suffix(".slice").unwrap_or(slice);
    if stem == "-" {
        return String::new();
    }
    let ends = stem.match_indices('-').map(|(at, _)| at);
    let parts: Vec<_> = ends
        .chain([stem.len()])
        .map(|end| format!("{}.slice", &stem[..end]))
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: Option<&str>, manager: Manager) -> Result<(String, String), String> {
        match Name::read(path, "id", manager) {
            Ok(name) => Ok((name.unit.clone(), name.path().as_str().to_owned())),
            Err(err) => Err(err.to_string()),
        }
    }

    #[test]
    fn path_becomes_a_unit_in_its_slice() {
        use Manager::{System, User};
        for (path, manager, unit, cgroup) in [
            (
                Some("system.slice:docker:x"),
                System,
                "docker-x.scope",
                "system.slice/docker-x.scope",
            ),
            (
                Some("a-b-c.slice:cri:x"),
                System,
                "cri-x.scope",
                "a.slice/a-b.slice/a-b-c.slice/cri-x.scope",
            ),
            (Some("-.slice::x"), System, "x.scope", "x.scope"),
            (Some("::x"), System, "x.scope", "system.slice/x.scope"),
            (Some(":p:x"), User, "p-x.scope", "user.slice/p-x.scope"),
            (
                Some("::pod-a.slice"),
                System,
                "pod-a.slice",
                "pod.slice/pod-a.slice",
            ),
            (
                None,
                System,
                "greenlang-id.scope",
                "system.slice/greenlang-id.scope",
            ),
        ] {
            let want = (unit.to_owned(), cgroup.to_owned());
            assert_eq!(read(path, manager), Ok(want), "{path:?}");
        }
    }

    #[test]
    fn path_that_names_no_unit_is_refused_with_its_fault() {
        let long = format!("a.slice:p:{}", "x".repeat(248));
        for (path, fault) in [
            ("/docker/x", PathFault::Parts),
            ("a.slice:x", PathFault::Parts),
            ("a.slice:p:", PathFault::Parts),
            ("a.slice:p:x:y", PathFault::Parts),
            ("a:p:x", PathFault::Slice),
            ("-a.slice:p:x", PathFault::Slice),
            ("a--b.slice:p:x", PathFault::Slice),
            (".slice:p:x", PathFault::Slice),
            ("a.slice:p:b-.slice", PathFault::Slice),
            ("a/b.slice:p:x", PathFault::UnitName),
            ("a.slice:p:../x", PathFault::UnitName),
            ("a.slice:p@q:x", PathFault::UnitName),
            (&long, PathFault::TooLong),
        ] {
            let want = format!("place the cgroup at {path:?}: {fault}");
            assert_eq!(read(Some(path), Manager::System), Err(want));
        }
    }

    /// Whatever is asked for, the unit is below its slice, and its object is one component of a path.
    #[test]
    fn pieces_at_random_are_a_unit_below_its_slice_or_refused() {
        const PIECES: [&str; 16] = [
            "a", "b.c", ":", ":", "-", ".", "..", "/", ".slice", ".scope", "_", "\\x2d", "0", "\0",
            "@", "\u{e9}",
        ];
        let (mut seed, mut taken) = (7_usize, 0);
        for _ in 0..40_000 {
            let mut path = String::new();
            for _ in 0..3 + seed % 7 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                path.push_str(PIECES[(seed >> 33) % PIECES.len()]);
            }
            let Ok(name) = Name::read(Some(&path), "id", Manager::System) else {
                continue;
            };
            taken += 1;
            let cgroup = name.path();
            let parts: Vec<_> = cgroup.as_str().split('/').collect();
            let (last, above) = parts.split_last().unwrap();
            assert_eq!(*last, name.unit, "{path:?}");
            assert!(
                above.iter().all(|part| part.ends_with(".slice")),
                "{path:?}"
            );
            assert!(
                !parts.iter().any(|part| matches!(*part, "" | "." | "..")),
                "{path:?}"
            );
            let object = name.object();
            let tail = object
                .strip_prefix("/org/freedesktop/systemd1/unit/")
                .unwrap();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            assert!(tail.bytes().all(plain), "{path:?} is {object}");
        }
        assert!(taken > 100, "{taken} units in 40,000");
    }

    #[test]
    fn object_escapes_all_but_letters_and_digits() {
        let name = Name {
            unit: "0a-b.1.scope".to_owned(),
            slice: None,
        };
        assert_eq!(
            name.object(),
            "/org/freedesktop/systemd1/unit/_30a_2db_2e1_2escope"
        );
    }
}
