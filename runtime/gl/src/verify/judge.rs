//! What came of a probe against what must.

use serde::Serialize;

use super::expect::Must;
use crate::probe::{Probe, Seen};

/// What came of a probe outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub(super) enum Control {
    /// As the caller.
    Outside(Seen),
    /// As the caller it was denied; it worked in a user namespace of the caller's making.
    OwnNamespace(Seen),
    /// It would take too long, or harm.
    NotTried,
}

impl Control {
    fn works(&self) -> bool {
        matches!(self, Self::Outside(Seen::Worked(_)) | Self::OwnNamespace(_))
    }
}

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It is denied, as it must be, and works outside: the sandbox is what keeps it off.
    Denied,
    /// It is denied, as it must be, and was not seen to work outside: that shows nothing of the sandbox.
    Unproved,
    /// It works, as it must.
    Works,
    /// It is not as it must be.
    Contradicts,
    /// Nothing is promised.
    NotPromised,
    /// It could not be tried.
    NotProvable,
}

/// What was found of a probe.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) area: &'static str,
    pub(super) what: &'static str,
    #[serde(flatten)]
    pub(super) must: Must,
    pub(super) inside: Seen,
    pub(super) control: Control,
    pub(super) verdict: Verdict,
    /// Whether a denial was shown to be the sandbox's: outside it works.
    pub(super) two_sided: bool,
}

pub(super) fn judge(probe: Probe, must: Must, inside: Seen, control: Control) -> Finding {
    let verdict = match (&must, &inside) {
        (Must::NotPromised(_), _) => Verdict::NotPromised,
        (_, Seen::Unable(_)) => Verdict::NotProvable,
        (Must::Deny(_), seen) if seen.is_kept_off() => match control.works() {
            true => Verdict::Denied,
            false => Verdict::Unproved,
        },
        (Must::Work(_), Seen::Worked(_)) => Verdict::Works,
        _ => Verdict::Contradicts,
    };
    Finding {
        name: probe.name,
        area: probe.area,
        what: probe.what,
        two_sided: inside.is_kept_off() && control.works(),
        must,
        inside,
        control,
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe;

    fn judged(must: Must, inside: Seen) -> Finding {
        let probe = probe::all().next().unwrap();
        judge(probe, must, inside, Control::Outside(Seen::worked()))
    }

    #[test]
    fn every_outcome_is_judged_by_what_must_come_of_it() {
        let deny = || Must::Deny("seccomp".to_owned());
        let work = || Must::Work(String::new());
        let open = || Must::NotPromised(String::new());
        let text = || "EPERM".to_owned();
        for (must, seen, want) in [
            (deny(), Seen::Worked(text()), Verdict::Contradicts),
            (deny(), Seen::Denied(text()), Verdict::Denied),
            (deny(), Seen::Absent(text()), Verdict::Denied),
            (deny(), Seen::Killed(text()), Verdict::Denied),
            (deny(), Seen::Unable(text()), Verdict::NotProvable),
            (work(), Seen::Worked(text()), Verdict::Works),
            (work(), Seen::Denied(text()), Verdict::Contradicts),
            (work(), Seen::Absent(text()), Verdict::Contradicts),
            (work(), Seen::Killed(text()), Verdict::Contradicts),
            (work(), Seen::Unable(text()), Verdict::NotProvable),
            (open(), Seen::Worked(text()), Verdict::NotPromised),
            (open(), Seen::Denied(text()), Verdict::NotPromised),
        ] {
            let finding = judged(must.clone(), seen.clone());
            assert_eq!(finding.verdict, want, "{must:?} {seen:?}");
        }
    }

    #[test]
    fn denial_is_shown_if_it_works_outside() {
        let probe = probe::all().next().unwrap();
        let denied = || Seen::Denied(String::new());
        for (control, want) in [
            (Control::Outside(Seen::worked()), Verdict::Denied),
            (Control::OwnNamespace(Seen::worked()), Verdict::Denied),
            (Control::Outside(denied()), Verdict::Unproved),
            (Control::NotTried, Verdict::Unproved),
        ] {
            let must = Must::Deny(String::new());
            let finding = judge(probe, must, denied(), control.clone());
            assert_eq!(finding.verdict, want, "{control:?}");
            assert_eq!(finding.two_sided, want == Verdict::Denied, "{control:?}");
        }
    }
}
