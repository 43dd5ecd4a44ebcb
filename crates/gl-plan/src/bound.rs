//! What a profile holds every process of a container to, whatever its own document says.

use std::ffi::CString;

use gl_spec::{Extras, RlimitBound};

use crate::error::Refusal;
use crate::model::Facts;
use crate::process::{Process, Rlimit};

/// `SCHED_FIFO`, `SCHED_RR` and `SCHED_DEADLINE`.
const REAL_TIME: [u32; 3] = [1, 2, 6];

/// Tightens a process.
///
/// # Errors
///
/// [`Refusal`] for an AppArmor profile where there is no AppArmor, and for a policy of scheduling that
/// no limit of CPU time per second holds.
pub(crate) fn bind(process: &mut Process, extras: &Extras, facts: &Facts) -> Result<(), Refusal> {
    let bounds = &extras.process;
    process.landlock.clone_from(&extras.landlock);
    let mark = extras.landlock_mark.as_deref();
    process.landlock_mark = mark.and_then(|mark| CString::new(mark).ok());
    if let Some(kept) = bounds.capabilities {
        let sets = &mut process.capabilities;
        for set in [
            &mut sets.bounding,
            &mut sets.effective,
            &mut sets.permitted,
            &mut sets.inheritable,
            &mut sets.ambient,
        ] {
            *set &= kept;
        }
    }
    let real_time = process
        .scheduling
        .as_ref()
        .is_some_and(|scheduling| REAL_TIME.contains(&scheduling.policy));
    if real_time && extras.resources.cpu_percent.is_some() {
        return Err(Refusal::Unenforceable {
            field: "process.scheduler.policy".to_owned(),
            missing: "the container's profile limits its share of a CPU, which real-time processes are not under",
            remedy: "leave the policy out",
        });
    }
    process.no_new_privileges |= bounds.no_new_privileges;
    process.umask |= bounds.umask;
    for limit in &mut process.rlimits {
        lower(limit, &bounds.rlimits);
    }
    process.rlimit_bounds.clone_from(&bounds.rlimits);
    if bounds.apparmor.is_empty() {
        return Ok(());
    }
    if !facts.apparmor {
        return Err(Refusal::Unenforceable {
            field: "process.apparmorProfile".to_owned(),
            missing: "the container's profile asks for AppArmor, which is not enabled in this kernel",
            remedy: "boot with AppArmor",
        });
    }
    let unconfined = |label: &&String| label.as_str() != "unconfined";
    let own = process.apparmor.as_ref().filter(unconfined);
    let stack: Vec<&str> = own
        .into_iter()
        .chain(&bounds.apparmor)
        .map(String::as_str)
        .collect();
    process.apparmor = Some(stack.join("//&"));
    Ok(())
}

/// Lowers a limit to what every bound of its kind allows.
fn lower(limit: &mut Rlimit, bounds: &[RlimitBound]) {
    for bound in bounds
        .iter()
        .filter(|bound| bound.resource == limit.resource)
    {
        limit.soft = limit.soft.min(bound.max);
        limit.hard = limit.hard.min(bound.max);
    }
}

#[cfg(test)]
mod tests {
    use gl_spec::ProcessBounds;

    use super::*;

    fn bound(bounds: ProcessBounds, mut process: Process) -> Process {
        let extras = Extras {
            process: bounds,
            ..Extras::default()
        };
        let facts = Facts {
            apparmor: true,
            ..Facts::default()
        };
        bind(&mut process, &extras, &facts).unwrap();
        process
    }

    #[test]
    fn capabilities_are_what_both_allow() {
        let mut process = Process::default();
        process.capabilities.bounding = 0b110;
        process.capabilities.ambient = 0b100;
        let bounds = ProcessBounds {
            capabilities: Some(0b011),
            ..ProcessBounds::default()
        };
        let sets = bound(bounds, process).capabilities;
        assert_eq!((sets.bounding, sets.ambient), (0b010, 0));
    }

    #[test]
    fn limits_are_the_smallest() {
        let limit = |soft, hard| Rlimit {
            resource: 7,
            soft,
            hard,
        };
        let process = Process {
            rlimits: vec![limit(10, u64::MAX)],
            ..Process::default()
        };
        let max = |resource, max| RlimitBound { resource, max };
        let bounds = ProcessBounds {
            rlimits: vec![max(7, 100), max(7, 50), max(1, 5)],
            ..ProcessBounds::default()
        };
        assert_eq!(bound(bounds, process).rlimits, [limit(10, 50)]);
    }

    #[test]
    fn no_real_time_where_a_share_of_a_cpu_is_limited() {
        let bind_it = |policy, cpu_percent| {
            let mut process = Process {
                scheduling: Some(crate::process::Scheduling {
                    policy,
                    ..Default::default()
                }),
                ..Process::default()
            };
            let mut extras = Extras::default();
            extras.resources.cpu_percent = cpu_percent;
            let bound = bind(&mut process, &extras, &Facts::default());
            bound.map_err(|refusal| refusal.to_string())
        };
        for policy in REAL_TIME {
            assert_eq!(bind_it(policy, None), Ok(()), "{policy}");
            let said = bind_it(policy, Some(50)).unwrap_err();
            assert!(said.contains("real-time"), "{policy}: {said}");
        }
        assert_eq!(bind_it(0, Some(50)), Ok(()));
    }

    #[test]
    fn apparmor_profiles_are_stacked_on_that_of_the_process() {
        for (own, want) in [
            (None, "a//&b"),
            (Some("unconfined"), "a//&b"),
            (Some("docker-default"), "docker-default//&a//&b"),
        ] {
            let process = Process {
                apparmor: own.map(str::to_owned),
                ..Process::default()
            };
            let bounds = ProcessBounds {
                apparmor: vec!["a".to_owned(), "b".to_owned()],
                ..ProcessBounds::default()
            };
            assert_eq!(bound(bounds, process).apparmor.as_deref(), Some(want));
        }
    }
}
