//! `gl verify`: measures what a profile and a tier promise, on this host.
//!
//! Each probe is done in a sandbox of `gl run`, and outside as well: one that is denied in both places shows
//! nothing, and is said to.

pub(crate) mod expect;
mod judge;
mod runs;
mod stage;
mod table;

use crate::status::Status;

use gl_profile::Isolation;
use gl_spec::chain;

use self::expect::{Facts, Must};
use self::judge::Verdict;
use self::runs::{Sandbox, Who};
use self::stage::Stage;
use crate::cli;
use crate::error::Error;
use crate::probe::{self, Company, Probe, Seen};
use crate::{output, run};

/// The status if nothing could be measured.
const SETUP: u8 = 125;

/// Does what was asked. Status 0: as the profile says. 1: something contradicts it. 125: nothing was measured.
pub(crate) fn perform(options: &cli::Measure) -> Status {
    let done = match options.list {
        true => table::list(options.format),
        false => measure(options),
    };
    done.unwrap_or_else(|err| {
        output::error(&chain(&err), err.hint().as_deref());
        Status::from(SETUP)
    })
}

fn measure(options: &cli::Measure) -> Result<Status, Error> {
    let (profile, _) = run::resolve(&options.profile, &options.settings)?;
    let probes = chosen(&options.only)?;
    let stage = Stage::new(&profile)?;
    let tier = profile.isolation.value;
    if matches!(tier, Isolation::Container | Isolation::Gvisor) {
        stage.root()?;
    }
    let sandbox = Sandbox {
        stage: &stage,
        profile: &options.profile,
        tier,
        options: run::words(&options.settings)?,
    };
    let (inside, layers) = match options.without_sandbox {
        true => (sandbox.none(&probes)?, Vec::new()),
        false => sandbox.inside(&probes)?,
    };
    let bait = &stage.bait;
    let mut facts = Facts::new(&profile)?;
    facts.bait = bait.dir.clone().into();
    facts.home = bait.home.clone().into();
    facts.host_name.clone_from(&bait.host_name);
    facts.told(layers);
    let mut findings = Vec::with_capacity(probes.len());
    for probe in probes {
        let seen = inside.iter().find(|(name, _)| *name == probe.name);
        let seen = seen.map_or_else(
            || Seen::Unable("nothing was heard of it".to_owned()),
            |(_, seen)| seen.clone(),
        );
        let must = facts.must(probe.walls, probe.otherwise);
        let control = match must {
            Must::Deny(_) => control(&sandbox, probe)?,
            _ => judge::Control::NotTried,
        };
        findings.push(judge::judge(probe, must, seen, control));
    }
    let failed = findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Contradicts);
    table::show(options.format, &profile, &findings)?;
    Ok(Status::from(u8::from(failed)))
}

/// The probes of these names or areas, or all.
fn chosen(names: &[String]) -> Result<Vec<Probe>, Error> {
    if names.is_empty() {
        return Ok(probe::all().collect());
    }
    let is = |probe: &Probe, name: &String| probe.name == name || probe.area == name;
    if let Some(name) = names
        .iter()
        .find(|name| !probe::all().any(|probe| is(&probe, name)))
    {
        return Err(Error::Usage {
            what: "--only".to_owned(),
            problem: format!("there is no probe or area {name:?}: see gl verify --list").into(),
        });
    }
    Ok(probe::all()
        .filter(|probe| names.iter().any(|name| is(probe, name)))
        .collect())
}

/// What comes of a probe outside.
fn control(sandbox: &Sandbox<'_>, probe: Probe) -> Result<judge::Control, Error> {
    if probe.company == Company::AloneInside {
        return Ok(judge::Control::NotTried);
    }
    let seen = sandbox.outside(probe, Who::Caller)?;
    if !seen.is_kept_off() {
        return Ok(judge::Control::Outside(seen));
    }
    match sandbox.outside(probe, Who::OwnNamespace)? {
        worked @ Seen::Worked(_) => Ok(judge::Control::OwnNamespace(worked)),
        _ => Ok(judge::Control::Outside(seen)),
    }
}
