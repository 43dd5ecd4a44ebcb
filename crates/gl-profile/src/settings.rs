//! The host's own word on profiles, `/etc/greenlang/config.toml`: which one a container gets that names
//! none, and the floor that none goes below; and where runs are noted.

use std::sync::Arc;

use crate::decode::Reader;
use crate::error::Error;
use crate::layer::SCHEMA_VERSION;
use crate::node::{Format, Kind, read};
use crate::value::{AbsolutePath, AuditTarget, Name, RunscPlatform, Setting, SourceKind};

/// What the host says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The profile of a container that names none; without it there is none.
    pub profile: Option<Setting<Name>>,
    /// The profile that every container is tightened by on top of its own.
    pub minimum_profile: Option<Setting<Name>>,
    /// The runsc of the tier `gvisor`; without it the one in a directory of the system.
    pub runsc: Option<Setting<AbsolutePath>>,
    /// How runsc intercepts system calls.
    pub runsc_platform: Option<Setting<RunscPlatform>>,
    /// Where every run of `gl` is noted, beside what its caller asks for.
    pub audit: Option<Setting<AuditTarget>>,
}

const KEYS: &[&str] = &[
    "version",
    "profile",
    "minimum_profile",
    "runsc",
    "runsc_platform",
    "audit",
];

impl Settings {
    /// Reads the file. `file` names it in messages.
    ///
    /// # Errors
    ///
    /// [`Error`] with the place.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let file: Arc<str> = Arc::from(file);
        let root = read(&file, text, Format::Toml)?;
        let reader = Reader {
            file: &file,
            kind: SourceKind::File,
        };
        let mut settings = Self::default();
        let mut version = None;
        for member in reader.members("", &root)? {
            let node = &member.value;
            match member.key.as_str() {
                "version" => version = Some(node.kind == Kind::Integer(SCHEMA_VERSION.into())),
                "profile" => settings.profile = Some(reader.value("profile", node)?),
                "minimum_profile" => {
                    settings.minimum_profile = Some(reader.value("minimum_profile", node)?);
                }
                "runsc" => settings.runsc = Some(reader.value("runsc", node)?),
                "runsc_platform" => {
                    settings.runsc_platform = Some(reader.value("runsc_platform", node)?);
                }
                "audit" => settings.audit = Some(reader.value("audit", node)?),
                _ => return Err(reader.unknown("", member, KEYS)),
            }
        }
        match version {
            Some(true) => Ok(settings),
            Some(false) => Err(reader.mismatch("version", &root, "1")),
            None => Err(Error::MissingKey {
                place: reader.place(0, "version"),
                expected: "version = 1",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_profiles_are_read() {
        let text = "version = 1\nprofile = \"default\"\nminimum_profile = \"blocked_dangerous\"\n";
        let settings = Settings::parse("config.toml", text).unwrap();
        let name =
            |one: &Option<Setting<Name>>| one.as_ref().map(|one| one.value.as_str().to_owned());
        assert_eq!(name(&settings.profile).as_deref(), Some("default"));
        assert_eq!(
            name(&settings.minimum_profile).as_deref(),
            Some("blocked_dangerous")
        );
    }

    #[test]
    fn runsc_and_its_platform_are_read() {
        let text = "version = 1\nrunsc = \"/opt/runsc\"\nrunsc_platform = \"kvm\"\n";
        let settings = Settings::parse("config.toml", text).unwrap();
        assert_eq!(settings.runsc.unwrap().value.as_str(), "/opt/runsc");
        assert_eq!(settings.runsc_platform.unwrap().value, RunscPlatform::Kvm);
        let err = Settings::parse("c", "version = 1\nrunsc = \"runsc\"\n").unwrap_err();
        assert!(
            err.to_string()
                .starts_with("read c:2: runsc: expected an absolute path"),
            "{err}"
        );
    }

    #[test]
    fn audit_is_a_file_or_the_journal() {
        let audit = |word: &str| Settings::parse("c", &format!("version = 1\naudit = {word:?}\n"));
        for word in ["/var/log/gl.jsonl", "journald"] {
            let settings = audit(word).unwrap();
            assert_eq!(settings.audit.unwrap().value.as_str(), word);
        }
        assert_eq!(
            audit("gl.jsonl").unwrap_err().to_string(),
            "read c:2: audit: expected an absolute path without . and .., or journald, found \"gl.jsonl\""
        );
    }

    #[test]
    fn unknown_key_is_refused_with_the_nearest() {
        let err = Settings::parse("c", "version = 1\nprofil = \"default\"\n").unwrap_err();
        assert_eq!(
            err.to_string(),
            "read c:2: profil: unknown key; did you mean \"profile\"?"
        );
    }

    #[test]
    fn file_without_a_version_is_refused() {
        let err = Settings::parse("c", "profile = \"default\"\n").unwrap_err();
        assert_eq!(
            err.to_string(),
            "read c: version: missing, expected version = 1"
        );
    }
}
