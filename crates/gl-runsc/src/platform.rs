//! How runsc intercepts system calls on this host. A platform is tried with a container that does
//! nothing, once for each runsc, host boot and state root: what came of it is kept there.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::find::Runsc;
use crate::log;
use crate::place::{Place, boot_id};
use crate::version::{MINIMUM, Version};

/// A platform of runsc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Traps of seccomp; from 2023 on.
    Systrap,
    /// `ptrace(2)`: slower, and works everywhere.
    Ptrace,
    /// Virtualization; only where it is asked for.
    Kvm,
}

/// Which platform is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Systrap where runsc has it and it works, else ptrace.
    #[default]
    Any,
    /// This one, or none.
    This(Platform),
}

impl Platform {
    /// The word of runsc's `--platform`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Systrap => "systrap",
            Self::Ptrace => "ptrace",
            Self::Kvm => "kvm",
        }
    }

    /// The platform of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Systrap, Self::Ptrace, Self::Kvm]
            .into_iter()
            .find(|one| one.as_str() == word)
    }
}

/// How long a platform has to run a program that does nothing: kvm may hang.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long runsc has to say its version.
const QUICK: Duration = Duration::from_secs(10);

/// What was found out about one runsc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    runsc: String,
    boot: String,
    version: String,
    works: Vec<Platform>,
}

impl Runsc {
    /// The platform to use, and the version as runsc tells it.
    ///
    /// # Errors
    ///
    /// [`Error::Version`], [`Error::Platform`] with what each platform said.
    pub fn platform(&self, root: &Path, wanted: Wanted) -> Result<(Platform, String), Error> {
        let order: &[Platform] = match wanted {
            Wanted::Any => &[Platform::Systrap, Platform::Ptrace],
            Wanted::This(Platform::Systrap) => &[Platform::Systrap],
            Wanted::This(Platform::Ptrace) => &[Platform::Ptrace],
            Wanted::This(Platform::Kvm) => &[Platform::Kvm],
        };
        let boot = boot_id()?;
        let known = Place::read_known(root)
            .and_then(|bytes| serde_json::from_str::<Known>(&String::from_utf8(bytes).ok()?).ok());
        let known = known.filter(|known| known.runsc == self.identity() && known.boot == boot);
        let mut known = match known {
            Some(known) => known,
            None => Known {
                runsc: self.identity().to_owned(),
                boot,
                version: self.ask_version()?,
                works: Vec::new(),
            },
        };
        let version = self.checked(&known.version)?;
        if let Some(works) = order.iter().find(|one| known.works.contains(one)) {
            return Ok((*works, known.version));
        }
        let works = self.first_that_works(root, order, version)?;
        known.works.push(works);
        Place::write_known(root, &serde_json::to_vec(&known).unwrap_or_default())?;
        Ok((works, known.version))
    }

    fn first_that_works(
        &self,
        root: &Path,
        order: &[Platform],
        version: Version,
    ) -> Result<Platform, Error> {
        let mut said = Vec::new();
        for one in order {
            if *one == Platform::Systrap && !version.knows_systrap() {
                said.push(format!("systrap: runsc {version} does not have it"));
                continue;
            }
            match self.probe(root, *one) {
                Ok(()) => return Ok(*one),
                Err(Error::Failed { said: why, .. }) => {
                    said.push(format!("{}: {why}", one.as_str()));
                }
                Err(Error::Late { seconds, .. }) => {
                    said.push(format!("{}: no answer within {seconds} s", one.as_str()));
                }
                Err(err) => return Err(err),
            }
        }
        Err(Error::Platform {
            path: self.path().to_owned(),
            said,
        })
    }

    fn ask_version(&self) -> Result<String, Error> {
        let mut command = log::command(self.path())?;
        let done = log::finish("ask the version", command.arg("--version"), QUICK)?;
        let text = String::from_utf8_lossy(&done.stdout);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    fn checked(&self, text: &str) -> Result<Version, Error> {
        let version = Version::parse(text).filter(|version| *version >= MINIMUM);
        version.ok_or_else(|| Error::Version {
            path: self.path().to_owned(),
            seen: text.to_owned(),
        })
    }

    /// Runs a container of nothing but the launcher.
    fn probe(&self, root: &Path, platform: Platform) -> Result<(), Error> {
        let place = Place::for_probe(root)?;
        let run = || {
            place.make()?;
            place.write_probe()?;
            let mut command = log::command(self.path())?;
            command
                .arg("--root")
                .arg(place.state())
                .arg("--log")
                .arg(place.log())
                .args([
                    "--log-format",
                    "json",
                    "--network",
                    "none",
                    "--ignore-cgroups",
                ])
                .args(["--platform", platform.as_str(), "run", "--bundle"])
                .arg(place.dir())
                .arg(place.id());
            let done = log::finish("try a platform", &mut command, PATIENCE)?;
            match done.status.code() {
                Some(0) => Ok(()),
                _ => Err(Error::Failed {
                    verb: "try a platform",
                    said: log::last_error(&place.log()).unwrap_or_else(|| done.status.to_string()),
                }),
            }
        };
        let result = run();
        place.remove().and(result)
    }
}
