//! The unit of one container: decided, started around a first process, changed and stopped.
//!
//! A scope that nothing is in ends at once, so it is started with a process that holds its place
//! until init is there. It begins without limits, which come when init is in: a first process that
//! counts against them could keep init out.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use gl_spec::oci::LinuxResources;
use rustix::process::Pid;

use super::annotation;
use super::bus::{Bus, JOB_LIMIT, MANAGER, MANAGER_PATH, Manager, Said, refused};
use super::error::Error;
use super::name::{self, Name};
use super::property::{Property, Value, of_settings, write_all};
use super::wire::Writer;
use crate::cgroup::{Applied, Cgroup, Parents};
use crate::controller::Controller;
use crate::layout::{Layout, Version};
use crate::paths::GroupPath;
use crate::record::Record;
use crate::v2;

/// What a container's unit will be, as the config asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    manager: Manager,
    name: Name,
    /// Those that annotations set.
    properties: Vec<Property>,
    /// The cgroup below the unit's that processes are in.
    leaf: Option<GroupPath>,
    description: String,
}

impl Unit {
    /// Decides the unit from `linux.cgroupsPath`, in the form `slice:prefix:name`, and annotations.
    ///
    /// # Errors
    ///
    /// [`Error::OldCgroups`] on cgroup v1, [`Error::Annotation`], and [`crate::Error::Path`] for a path
    /// that names no unit.
    pub fn decide<'a>(
        layout: &Layout,
        cgroups_path: Option<&str>,
        id: &str,
        annotations: impl Iterator<Item = (&'a str, &'a str)>,
        manager: Manager,
    ) -> Result<Self, crate::Error> {
        if layout.version() != Version::V2 {
            return Err(Error::OldCgroups.into());
        }
        let name = Name::read(cgroups_path, id, manager)?;
        let asked = annotation::read(annotations)?;
        Ok(Self {
            manager,
            name,
            properties: asked.properties,
            leaf: asked.leaf,
            description: format!("container {id}"),
        })
    }

    /// Connects to systemd and finds out where the unit's cgroup will be. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error`] if systemd cannot be reached or is in another pid namespace, [`crate::Error::InUse`] if the cgroup has processes.
    pub fn prepare(self, layout: &Layout) -> Result<Prepared, crate::Error> {
        let mut bus = Bus::connect(self.manager)?;
        bus.require_same_pids()?;
        let top = bus
            .property(MANAGER_PATH, MANAGER, "ControlGroup")?
            .map_err(|said| refused("place", &self.name.unit, said))?;
        let top = GroupPath::clean(&top);
        let prepared = Prepared {
            path: top.join(&self.name.path()),
            top,
            base: Arc::clone(layout.base()),
            bus: RefCell::new(Some(bus)),
            unit: self,
        };
        prepared.group(prepared.path.clone()).refuse_used()?;
        Ok(prepared)
    }

    /// The properties that it is started with.
    fn first_properties(&self, first: Pid) -> Vec<Property> {
        let text = |name, text: &str| Property::new(name, Value::Text(text.to_owned()));
        let on = |name| Property::new(name, Value::Bool(true));
        let mut all = vec![
            text("Description", &self.description),
            Property::new("DefaultDependencies", Value::Bool(false)),
            on("MemoryAccounting"),
            on("CPUAccounting"),
            on("IOAccounting"),
            on("TasksAccounting"),
            // No program of systemd's: ours decides, and nothing takes it off in a delegated cgroup.
            text("DevicePolicy", "auto"),
            text("CollectMode", "inactive-or-failed"),
        ];
        if let Some(slice) = &self.name.slice {
            let pid = first.as_raw_nonzero().get().cast_unsigned();
            all.push(text("Slice", slice));
            all.push(on("Delegate"));
            all.push(Property::new("PIDs", Value::Pids(vec![pid])));
        }
        let asked = |name: &str| self.properties.iter().any(|one| one.name == name);
        all.retain(|one| !asked(&one.name));
        all.extend(self.properties.iter().cloned());
        all
    }
}

/// A unit that can be started, and a connection to the systemd that will.
#[derive(Debug)]
pub struct Prepared {
    unit: Unit,
    base: Arc<OwnedFd>,
    /// The manager's cgroup.
    top: GroupPath,
    /// The unit's cgroup.
    path: GroupPath,
    bus: RefCell<Option<Bus>>,
}

impl Prepared {
    /// The record of what [`Prepared::start`] is about to make, to be stored before it is called.
    #[must_use]
    pub fn record(&self) -> Record {
        Record::Systemd {
            unit: self.unit.name.unit.clone(),
            manager: self.unit.manager,
            path: self.path.clone(),
            leaf: self.unit.leaf.clone(),
        }
    }

    /// The cgroup that init will be in.
    #[must_use]
    pub fn path(&self) -> GroupPath {
        match &self.unit.leaf {
            Some(leaf) => self.path.join(leaf),
            None => self.path.clone(),
        }
    }

    /// The controllers that the manager has, and so can give to the unit.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Read`].
    pub fn controllers(&self) -> Result<Vec<Controller>, crate::Error> {
        v2::available(&self.base, &self.top)
    }

    /// Starts the unit around the process `first`, which the caller ends once another is in.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Job`], [`Error::InUse`]; no unit is left then.
    pub fn start(&self, first: Pid) -> Result<Cgroup, crate::Error> {
        let bus = self.bus.borrow_mut().take();
        let mut bus = match bus {
            Some(bus) => bus,
            None => Bus::connect(self.unit.manager)?,
        };
        start_unit(&mut bus, &self.unit, first)?;
        let running = Running {
            manager: self.unit.manager,
            unit: self.unit.name.unit.clone(),
            leaf: self.unit.leaf.clone(),
            bus: RefCell::new(None),
        };
        let group = self.place(&mut bus).inspect_err(|_err| {
            // The first error is the one to tell.
            running.stop(JOB_LIMIT).ok();
        })?;
        *running.bus.borrow_mut() = Some(bus);
        Ok(Cgroup::of_unit(group, running))
    }

    /// Finds the cgroup of the started unit, and makes the one below it.
    fn place(&self, bus: &mut Bus) -> Result<v2::Group, crate::Error> {
        let unit = &self.unit.name.unit;
        let interface = match self.unit.name.slice {
            Some(_) => "org.freedesktop.systemd1.Scope",
            None => "org.freedesktop.systemd1.Slice",
        };
        let path = bus
            .property(&self.unit.name.object(), interface, "ControlGroup")?
            .map_err(|said| refused("find the cgroup of", unit, said))?;
        // Stored before, and told to whoever looks: another one could not be found again.
        if GroupPath::clean(&path) != self.path {
            return Err(Error::Elsewhere {
                unit: unit.clone(),
                path,
            }
            .into());
        }
        if let Some(leaf) = &self.unit.leaf {
            self.group(self.path.join(leaf)).make()?;
        }
        Ok(self.group(self.path.clone()))
    }

    fn group(&self, path: GroupPath) -> v2::Group {
        v2::Group {
            base: Arc::clone(&self.base),
            path,
            made: 1,
        }
    }
}

/// Starts a unit and waits until it runs. One that has failed before and lingers is put away first.
fn start_unit(bus: &mut Bus, unit: &Unit, first: Pid) -> Result<(), Error> {
    const ACTION: &str = "start";
    let name = &unit.name.unit;
    bus.watch_jobs()?;
    let mut body = Writer::default();
    body.string(name);
    body.string("replace");
    write_all(&unit.first_properties(first), &mut body);
    // Further units: none.
    body.array(8, |_| {});
    let signature = "ssa(sv)a(sa(sv))";
    let answer = match bus.ask("StartTransientUnit", signature, &body)? {
        Err(said) if said.name == "org.freedesktop.systemd1.UnitExists" => {
            put_away(bus, name)?;
            bus.ask("StartTransientUnit", signature, &body)?
        }
        other => other,
    };
    let answer = answer.map_err(|said| refused(ACTION, name, said))?;
    let job = answer.body().string();
    let job = bus.read(job)?;
    finish(bus, &job, (ACTION, name), JOB_LIMIT).inspect_err(|_err| {
        // It may linger as failed; the error to tell is the one above.
        call_unit(bus, "ResetFailedUnit", name).ok();
    })
}

/// Has systemd forget a unit that is not running; one that is, is somebody's.
fn put_away(bus: &mut Bus, unit: &str) -> Result<(), Error> {
    let interface = "org.freedesktop.systemd1.Unit";
    let state = bus.property(&name::object(unit), interface, "ActiveState")?;
    let state = state.map_err(|said| refused("look at", unit, said))?;
    match state.as_str() {
        "failed" | "inactive" => {
            let answer = call_unit(bus, "ResetFailedUnit", unit)?;
            gone_is_fine(answer).map_err(|said| refused("reset", unit, said))
        }
        _ => Err(Error::InUse {
            unit: unit.to_owned(),
            state,
        }),
    }
}

/// Calls a method that takes the name of a unit.
fn call_unit(
    bus: &mut Bus,
    member: &str,
    unit: &str,
) -> Result<Result<super::wire::Message, Said>, Error> {
    let mut body = Writer::default();
    body.string(unit);
    bus.ask(member, "s", &body)
}

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// A unit that systemd does not know any more needs nothing.
fn gone_is_fine<T>(answer: Result<T, Said>) -> Result<(), Said> {
    match answer {
        Err(said) if said.name != NO_SUCH_UNIT => Err(said),
        _ => Ok(()),
    }
}

fn finish(
    bus: &mut Bus,
    job: &str,
    (action, unit): (&'static str, &str),
    limit: Duration,
) -> Result<(), Error> {
    let result = bus.wait_job(job, limit)?;
    match result.as_str() {
        "done" => Ok(()),
        _ => Err(Error::Job {
            action,
            unit: unit.to_owned(),
            result,
        }),
    }
}

/// The unit of a container that there is.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) manager: Manager,
    pub(crate) unit: String,
    pub(crate) leaf: Option<GroupPath>,
    bus: RefCell<Option<Bus>>,
}

impl Running {
    pub(crate) fn new(manager: Manager, unit: &str, leaf: Option<&GroupPath>) -> Self {
        Self {
            manager,
            unit: unit.to_owned(),
            leaf: leaf.cloned(),
            bus: RefCell::new(None),
        }
    }

    fn with_bus<T>(&self, work: impl FnOnce(&mut Bus) -> Result<T, Error>) -> Result<T, Error> {
        let mut bus = self.bus.borrow_mut();
        match &mut *bus {
            Some(bus) => work(bus),
            none => work(none.insert(Bus::connect(self.manager)?)),
        }
    }

    /// Tells systemd the limits, then has them written to the files. A value that systemd does not
    /// know is in the files alone.
    pub(crate) fn limit(
        &self,
        group: &v2::Group,
        resources: &LinuxResources,
        write: impl FnOnce() -> Result<Applied, crate::Error>,
    ) -> Result<Applied, crate::Error> {
        let (settings, period) = group.decide(resources)?;
        self.set(&of_settings(&settings, period))?;
        write().map_err(|err| match (err, self.manager) {
            (
                crate::Error::NotEnabled {
                    field, controller, ..
                },
                Manager::User,
            ) => Error::NotDelegated { field, controller }.into(),
            (err, _) => err,
        })
    }

    /// Has systemd stop the unit, and removes the cgroup where systemd is not there to do so.
    pub(crate) fn remove(&self, group: &v2::Group, limit: Duration) -> Result<(), crate::Error> {
        // Ours have ended: what runs there now is of somebody who has the same name for a unit.
        group.wait_empty(limit)?;
        let stopped = self.stop(limit);
        group.remove(Parents::Keep, limit)?;
        match stopped {
            Err(Error::Unreachable { .. } | Error::NoAddress) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Tells systemd the limits, and returns once it has written to the cgroup what it will.
    pub(crate) fn set(&self, properties: &[Property]) -> Result<(), Error> {
        if properties.is_empty() {
            return Ok(());
        }
        let mut body = Writer::default();
        body.string(&self.unit);
        body.bool(true);
        write_all(properties, &mut body);
        self.with_bus(|bus| {
            bus.ask("SetUnitProperties", "sba(sv)", &body)?
                .map_err(|said| refused("set limits of", &self.unit, said))?;
            bus.settle()
        })
    }

    /// Has systemd move a process into the cgroup that init is to be in, where we may not.
    pub(crate) fn attach(&self, pid: Pid) -> Result<(), Error> {
        let mut body = Writer::default();
        body.string(&self.unit);
        body.string(&match &self.leaf {
            Some(leaf) => leaf.to_string(),
            None => String::new(),
        });
        body.array(4, |out| {
            out.u32(pid.as_raw_nonzero().get().cast_unsigned());
        });
        self.with_bus(|bus| {
            bus.require_same_pids()?;
            bus.ask("AttachProcessesToUnit", "ssau", &body)?
                .map(drop)
                .map_err(|said| refused("move init to", &self.unit, said))
        })
    }

    /// Stops the unit and has it forgotten. Its processes are gone already, or are ended by it.
    pub(crate) fn stop(&self, limit: Duration) -> Result<(), Error> {
        const ACTION: &str = "stop";
        self.with_bus(|bus| {
            bus.watch_jobs()?;
            let mut body = Writer::default();
            body.string(&self.unit);
            body.string("replace");
            match bus.ask("StopUnit", "ss", &body)? {
                Ok(answer) => {
                    let job = answer.body().string();
                    let job = bus.read(job)?;
                    finish(bus, &job, (ACTION, &self.unit), limit)?;
                }
                // Gone and forgotten.
                Err(said) if said.name == NO_SUCH_UNIT => return Ok(()),
                Err(said) => return Err(refused(ACTION, &self.unit, said)),
            }
            gone_is_fine(call_unit(bus, "ResetFailedUnit", &self.unit)?)
                .map_err(|said| refused("reset", &self.unit, said))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str, annotations: &[(&str, &str)]) -> Unit {
        let asked = annotation::read(annotations.iter().copied()).unwrap();
        Unit {
            manager: Manager::System,
            name: Name::read(Some(path), "id", Manager::System).unwrap(),
            properties: asked.properties,
            leaf: asked.leaf,
            description: "container id".to_owned(),
        }
    }

    fn names(unit: &Unit) -> Vec<(String, Value)> {
        unit.first_properties(Pid::from_raw(7).unwrap())
            .into_iter()
            .map(|property| (property.name, property.value))
            .collect()
    }

    #[test]
    fn a_scope_is_delegated_and_begins_with_one_process() {
        let all = names(&unit("a.slice:p:x", &[]));
        for (name, value) in [
            ("Slice", Value::Text("a.slice".to_owned())),
            ("Delegate", Value::Bool(true)),
            ("PIDs", Value::Pids(vec![7])),
            ("DevicePolicy", Value::Text("auto".to_owned())),
            ("DefaultDependencies", Value::Bool(false)),
        ] {
            assert!(all.contains(&(name.to_owned(), value)), "{name}: {all:?}");
        }
    }

    #[test]
    fn a_slice_has_neither_processes_nor_a_delegation() {
        let all = names(&unit("::a-b.slice", &[]));
        let wrong = all
            .iter()
            .find(|(name, _)| ["Slice", "Delegate", "PIDs"].contains(&name.as_str()));
        assert_eq!(wrong, None);
    }

    #[test]
    fn an_annotation_takes_the_place_of_a_default() {
        let annotations = [("org.systemd.property.Description", "'mine'")];
        let all = names(&unit("a.slice:p:x", &annotations));
        let found: Vec<_> = all
            .iter()
            .filter(|(name, _)| name == "Description")
            .collect();
        let want = ("Description".to_owned(), Value::Text("mine".to_owned()));
        assert_eq!(found, [&want]);
    }
}
