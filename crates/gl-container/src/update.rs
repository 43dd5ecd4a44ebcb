//! `update`: other limits for a container that runs.

use gl_spec::oci::LinuxResources;
use gl_spec::{ContainerId, Extras, Status};
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
        within(resources, &container.extras()?)?;
        let cgroup = container.cgroup()?;
        let before = container.resources()?;
        if let Err(err) = cgroup.update(resources) {
            // Some may have been written before the one that was refused.
            if let Some(before) = &before {
                cgroup.update(before)?;
            }
            return Err(err.into());
        }
        container.store_resources(before.as_ref(), resources)
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

    fn store_resources(
        &self,
        before: Option<&LinuxResources>,
        change: &LinuxResources,
    ) -> Result<(), Error> {
        let corrupt = |_err: serde_json::Error| Error::Corrupt {
            path: self.dir.path(RESOURCES),
        };
        let mut merged = match before {
            Some(before) => serde_json::to_value(before).map_err(corrupt)?,
            None => Value::Object(serde_json::Map::new()),
        };
        merge(&mut merged, serde_json::to_value(change).map_err(corrupt)?);
        self.dir.replace(RESOURCES, merged.to_string().as_bytes())
    }
}

/// Refuses limits above those of the container's profile. One that is not named, or unlimited, stays or
/// becomes what it was at create: see [`ResourceBounds`].
fn within(resources: &LinuxResources, extras: &Extras) -> Result<(), Error> {
    let bounds = &extras.resources;
    let check = |field: &'static str, asked: Option<i64>, bound: Option<i64>| match (asked, bound) {
        (Some(asked), Some(bound)) if asked > bound || asked < 0 => Err(Error::Bound {
            field,
            bound,
            profile: extras
                .profiles
                .first()
                .map(|one| one.name.clone())
                .unwrap_or_default(),
        }),
        _ => Ok(()),
    };
    if let Some(memory) = resources.memory() {
        check("memory.limit", memory.limit(), bounds.memory)?;
        check("memory.swap", memory.swap(), bounds.memory)?;
    }
    if let Some(pids) = resources.pids() {
        // No limit is written as 0 as well as by a negative number.
        let asked = if pids.limit() == 0 { -1 } else { pids.limit() };
        check("pids.limit", Some(asked), bounds.tasks)?;
    }
    if let (Some(cpu), Some(percent)) = (resources.cpu(), bounds.cpu_percent) {
        if let Some(period) = cpu.period() {
            let most = i64::try_from(period.saturating_mul(percent.into()) / 100);
            check("cpu.quota", cpu.quota().or(Some(-1)), most.ok())?;
        } else if cpu.quota().is_some() {
            check("cpu.quota", cpu.quota(), Some(i64::from(percent) * 1000))?;
        }
    }
    Ok(())
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
}
