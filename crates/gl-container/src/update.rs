//! `update`: other limits for a container that runs.

use gl_spec::oci::{LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use gl_spec::{BOUND_FILES, ContainerId, Extras, ResourceBounds, StatedLimits, Status};
use serde_json::Value;

use crate::container::Container;
use crate::error::Error;
use crate::record::RESOURCES;
use crate::store::Store;

impl Container {
    /// Changes the limits that `resources` names; the others stay.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if it is stopped; [`Error::Cgroup`] with the limits as they were before.
    pub fn update(
        store: &Store,
        id: &ContainerId,
        resources: &LinuxResources,
    ) -> Result<(), Error> {
        let container = store.load_locked(id)?;
        match container.status()? {
            Status::Stopped | Status::Creating => {
                return Err(Error::NotRunning {
                    status: Status::Stopped,
                });
            }
            Status::Created | Status::Running | Status::Paused => {}
        }
        gl_spec::validate_resources(resources)?;
        if container.record.gvisor.is_some() && resources.pids().is_some() {
            return Err(gl_runsc::Error::Refused {
                field: "pids.limit".to_owned(),
                problem: "gVisor's kernel counts tasks by what was set at create",
                remedy: "leave it out of the update, or create the container anew",
            }
            .into());
        }
        let extras = container.extras()?;
        let resources = &container.repeated(resources, &extras)?;
        let cgroup = container.cgroup()?;
        let before = container.resources()?;
        let merged = container.merged(before.as_ref(), resources)?;
        within(
            resources,
            &gl_spec::load_resources(merged.as_bytes())?.0,
            &extras,
        )?;
        if let Err(err) = cgroup.update(resources) {
            // Some may have been written before the one that was refused.
            if let Some(before) = &before {
                cgroup.update(before)?;
            }
            return Err(err.into());
        }
        container.dir.replace(RESOURCES, merged.as_bytes())
    }

    /// `change` with the limits that a profile made smaller at create, where it asks for the same once
    /// more: Podman 5 sends all limits of its own with each update.
    fn repeated(&self, change: &LinuxResources, extras: &Extras) -> Result<LinuxResources, Error> {
        let mut change = change.clone();
        if let Some(asked) = &extras.asked {
            let spec = self.spec()?;
            let linux = spec.linux().as_ref();
            if let Some(given) = linux.and_then(|linux| linux.resources().as_ref()) {
                as_given(&mut change, asked, &StatedLimits::of(given));
            }
        }
        Ok(change)
    }

    /// The limits in force: of the last update, or of the config.
    fn resources(&self) -> Result<Option<LinuxResources>, Error> {
        if let Some(bytes) = self.dir.read(RESOURCES)? {
            return Ok(Some(gl_spec::load_resources(&bytes)?.0));
        }
        let spec = self.spec()?;
        let mut resources = spec.linux().as_ref().and_then(|l| l.resources().clone());
        if let Some(resources) = &mut resources {
            // No update changes these, so none has to put them back.
            resources.set_devices(None);
        }
        Ok(resources)
    }

    /// The limits before and what changes them, as one document.
    fn merged(
        &self,
        before: Option<&LinuxResources>,
        change: &LinuxResources,
    ) -> Result<String, Error> {
        let corrupt = |_err: serde_json::Error| Error::Corrupt {
            path: self.dir.path(RESOURCES),
        };
        let mut merged = match before {
            Some(before) => serde_json::to_value(before).map_err(corrupt)?,
            None => Value::Object(serde_json::Map::new()),
        };
        let mut change = serde_json::to_value(change).map_err(corrupt)?;
        leave_out_zeros(&mut change);
        merge(&mut merged, change);
        Ok(merged.to_string())
    }
}

/// Where `change` asks for what create `asked` for, it gets what create has `given`.
fn as_given(change: &mut LinuxResources, asked: &StatedLimits, given: &StatedLimits) {
    let new = StatedLimits::of(change);
    if let Some(memory) = change.memory_mut() {
        if new.memory.is_some() && new.memory == asked.memory {
            memory.set_limit(given.memory);
        }
        if new.swap.is_some() && new.swap == asked.swap {
            memory.set_swap(given.swap);
        }
    }
    if let Some(pids) = change.pids_mut()
        && new.tasks == asked.tasks
        && let Some(tasks) = given.tasks
    {
        pids.set_limit(tasks);
    }
    // A quota says nothing without its period.
    if let Some(cpu) = change.cpu_mut()
        && new.quota.is_some()
        && (new.quota, new.period) == (asked.quota, asked.period)
    {
        cpu.set_quota(given.quota);
        cpu.set_period(given.period);
    }
}

/// Refuses limits that come out above those of the container's profile.
fn within(change: &LinuxResources, merged: &LinuxResources, extras: &Extras) -> Result<(), Error> {
    let bounds = &extras.resources;
    if *bounds == ResourceBounds::default() {
        return Ok(());
    }
    let refused = |field: &str, bound: String| Error::Bound {
        field: field.to_owned(),
        bound,
        profile: extras
            .profiles
            .first()
            .map(|one| one.name.clone())
            .unwrap_or_default(),
    };
    // Zero and a negative number are no limit.
    let above =
        |asked: Option<i64>, bound: i64| asked.is_none_or(|asked| asked <= 0 || asked > bound);
    let memory = merged.memory().as_ref();
    let pids = merged.pids().as_ref();
    for (field, asked, bound) in [
        (
            "memory.limit",
            memory.and_then(LinuxMemory::limit),
            bounds.memory,
        ),
        (
            "memory.swap",
            memory.and_then(LinuxMemory::swap),
            bounds.memory,
        ),
        ("pids.limit", pids.map(LinuxPids::limit), bounds.tasks),
    ] {
        if let Some(bound) = bound.filter(|bound| above(asked, *bound)) {
            return Err(refused(field, bound.to_string()));
        }
    }
    if let Some(percent) = bounds.cpu_percent {
        let cpu = merged.cpu().as_ref();
        let period = cpu.and_then(LinuxCpu::period).filter(|period| *period > 0);
        let most = u128::from(period.unwrap_or(100_000)) * u128::from(percent);
        let quota = cpu.and_then(LinuxCpu::quota).filter(|quota| *quota > 0);
        if quota.is_none_or(|quota| u128::from(quota.unsigned_abs()) * 100 > most) {
            return Err(refused("cpu.quota", format!("{percent} % of the period")));
        }
    }
    let mut files = change.unified().iter().flatten();
    match files.find(|(file, _)| BOUND_FILES.contains(&file.as_str())) {
        Some((file, _)) => Err(refused(
            &format!("unified[{file:?}]"),
            "its own limit, in the field for it".to_owned(),
        )),
        None => Ok(()),
    }
}

/// Takes out what changes nothing: of memory and processor time a zero, which Docker sends for all
/// that it was not asked to update.
fn leave_out_zeros(change: &mut Value) {
    for part in ["memory", "cpu"] {
        if let Some(Value::Object(fields)) = change.get_mut(part) {
            fields.retain(|_, value| value.as_i64() != Some(0));
        }
    }
}

/// Lays the fields of `change` over those of `base`, object by object.
fn merge(base: &mut Value, change: Value) {
    match (base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, change) => *base = change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_keeps_what_the_change_does_not_name() {
        let mut base = serde_json::json!({"memory": {"limit": 1, "swap": 2}, "pids": {"limit": 3}});
        merge(&mut base, serde_json::json!({"memory": {"limit": 9}}));
        let want = serde_json::json!({"memory": {"limit": 9, "swap": 2}, "pids": {"limit": 3}});
        assert_eq!(base, want);
    }

    fn resources(document: &Value) -> LinuxResources {
        serde_json::from_value(document.clone()).unwrap()
    }

    #[test]
    fn limit_asked_for_again_is_the_one_that_was_given() {
        let asked = serde_json::json!({
            "memory": {"limit": 200, "swap": 400}, "pids": {"limit": 90},
            "cpu": {"quota": 80_000, "period": 100_000}});
        let given = serde_json::json!({
            "memory": {"limit": 100, "swap": 100}, "pids": {"limit": 55},
            "cpu": {"quota": 50_000, "period": 100_000}});
        let limits = |document| StatedLimits::of(&resources(document));
        for (change, want) in [
            (asked.clone(), given.clone()),
            (serde_json::json!({}), serde_json::json!({})),
            (
                serde_json::json!({"memory": {"limit": 150, "swap": 400}, "pids": {"limit": 40}}),
                serde_json::json!({"memory": {"limit": 150, "swap": 100}, "pids": {"limit": 40}}),
            ),
            (
                serde_json::json!({"memory": {}, "cpu": {"quota": 80_000, "period": 50_000}}),
                serde_json::json!({"memory": {}, "cpu": {"quota": 80_000, "period": 50_000}}),
            ),
        ] {
            let mut changed = resources(&change);
            as_given(&mut changed, &limits(&asked), &limits(&given));
            assert_eq!(changed, resources(&want), "{change}");
        }
        let mut unlimited = resources(&serde_json::json!({"memory": {"limit": -1, "swap": 7}}));
        as_given(&mut unlimited, &StatedLimits::default(), &limits(&given));
        let want = serde_json::json!({"memory": {"limit": -1, "swap": 7}});
        assert_eq!(unlimited, resources(&want), "what was not asked for before");
    }

    #[test]
    fn zero_of_memory_and_processor_time_changes_nothing() {
        let mut change = serde_json::json!({
            "memory": {"limit": 0, "swap": 0, "checkBeforeUpdate": false}, "cpu": {"quota": 0, "cpus": ""},
            "pids": {"limit": 0}});
        leave_out_zeros(&mut change);
        let want = serde_json::json!({
            "memory": {"checkBeforeUpdate": false}, "cpu": {"cpus": ""}, "pids": {"limit": 0}});
        assert_eq!(change, want);
    }
}
