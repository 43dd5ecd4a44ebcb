//! The cgroup of a container that is created: where it goes, who makes it, what it shows.

use std::os::fd::OwnedFd;

use gl_cgroup::systemd::{Manager, Prepared, Unit};
use gl_cgroup::{
    Asker, Cgroup, Controller, DeviceDefault, Driver, GroupPath, Layout, OwnCgroups, Place, Version,
};
use gl_launch::Placeholder;
use gl_plan::{Kind, MountKind, UserNs};
use gl_profile::translate::Controllers;
use gl_rootfs::{CgroupMounts, Hierarchy};
use gl_spec::oci::Spec;
use gl_spec::{Class, Classify, ContainerId};
use rustix::fs::{CWD, Uid};
use rustix::mount::OpenTreeFlags;
use rustix::process::Pid;

use crate::container::Container;
use crate::create::{Decided, encode};
use crate::error::Error;
use crate::limits;
use crate::record::RECORD;

/// Where the container's cgroup goes.
pub(crate) struct Group {
    layout: Layout,
    maker: Maker,
}

/// Who makes it.
enum Maker {
    Cgroupfs(gl_cgroup::Paths),
    Systemd(Box<Prepared>),
}

impl Group {
    /// Decides where the cgroup goes; for systemd also whether it can be had there. On v1 it has these controllers
    /// alone, if any are named.
    pub(crate) fn decide(
        id: &ContainerId,
        (driver, only): (Driver, Option<&[Controller]>),
        spec: &Spec,
    ) -> Result<Self, Error> {
        let linux = spec.linux().as_ref();
        let asked = linux.and_then(|linux| linux.cgroups_path().as_ref());
        let asked = asked.map(|path| path.to_string_lossy());
        let (asked, id) = (asked.as_deref(), id.as_str());
        let layout = only.map_or_else(Layout::detect, Layout::detect_for)?;
        let maker = match driver {
            Driver::Systemd => {
                let annotations = spec.annotations().iter().flatten();
                let annotations = annotations.map(|(key, value)| (key.as_str(), value.as_str()));
                let unit = Unit::decide(&layout, asked, id, annotations, manager())?;
                Maker::Systemd(Box::new(unit.prepare(&layout)?))
            }
            _ => Maker::Cgroupfs(gl_cgroup::resolve(asked, id, OwnCgroups::read)?),
        };
        Ok(Self { layout, maker })
    }

    /// What the cgroup can limit; none if the caller can have no cgroup there. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Cgroup`] if the kernel does not say.
    pub(crate) fn controllers(&self) -> Result<Option<Controllers>, Error> {
        let all = match &self.maker {
            Maker::Cgroupfs(paths) => {
                let root = rustix::process::geteuid().is_root() && !gl_launch::in_user_namespace();
                let asker = if root { Asker::Root } else { Asker::Anybody };
                gl_cgroup::obtainable(&self.layout, paths, asker)?
            }
            Maker::Systemd(unit) => Some(unit.controllers()?),
        };
        Ok(all.map(|all| Controllers {
            memory: all.contains(&Controller::Memory),
            cpu: all.contains(&Controller::Cpu),
            tasks: all.contains(&Controller::Pids),
        }))
    }

    /// The path of the cgroup that init is in, in the hierarchy of `controller`.
    fn path(&self, controller: Controller) -> Option<GroupPath> {
        match &self.maker {
            Maker::Cgroupfs(paths) => paths.path(controller),
            Maker::Systemd(unit) => Some(unit.path()),
        }
    }

    /// The same in the one hierarchy of v2.
    fn unified(&self) -> Option<GroupPath> {
        match &self.maker {
            Maker::Cgroupfs(paths) => paths.unified(),
            Maker::Systemd(unit) => Some(unit.path()),
        }
    }
}

/// Whose systemd is to make the cgroup: process 1 does as the host's root says, and nobody else.
fn manager() -> Manager {
    match rustix::process::geteuid().is_root() && !gl_launch::in_user_namespace() {
        true => Manager::System,
        false => Manager::User,
    }
}

/// A cgroup that was made, and what has to be there until init is in it.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) cgroup: Option<Cgroup>,
    placeholder: Option<Placeholder>,
}

impl Made {
    /// Sets the limits now that init exists, and gives back what has to stay until it has joined.
    pub(crate) fn settle(self, init: Pid, decided: &Decided) -> Result<Option<Placeholder>, Error> {
        let Some(cgroup) = &self.cgroup else {
            return Ok(None);
        };
        let placeholder = match cgroup.adopt(init)? {
            // Before there are limits that it would count against.
            Place::Inside => None,
            Place::Outside => self.placeholder,
        };
        set_limits(cgroup, decided)?;
        if let Some(owner) = delegate_to(decided) {
            cgroup.delegate(owner)?;
        }
        Ok(placeholder)
    }
}

impl Made {
    /// Gives back the cgroup now that a process is in it that was started there.
    pub(crate) fn place(self, pid: Pid) -> Result<Option<Cgroup>, Error> {
        if let Some(cgroup) = &self.cgroup {
            cgroup.adopt(pid)?;
        }
        Ok(self.cgroup)
    }
}

/// Sets the limits of a cgroup, and gives it to whom the config says.
pub(crate) fn limit(cgroup: &Cgroup, decided: &Decided) -> Result<(), Error> {
    set_limits(cgroup, decided)?;
    match delegate_to(decided) {
        Some(owner) => Ok(cgroup.delegate(owner)?),
        None => Ok(()),
    }
}

/// The cgroup by which all processes of a container can be made to stand still.
pub(crate) struct Freezer {
    /// Its directory on the host.
    pub(crate) path: String,
    /// Whether it is one of v1.
    pub(crate) v1: bool,
}

/// The freezer of a stored cgroup, if it has one.
pub(crate) fn freezer(record: &gl_cgroup::Record) -> Option<Freezer> {
    let v2 = |path: &GroupPath| Freezer {
        path: format!("/sys/fs/cgroup{path}"),
        v1: false,
    };
    match record {
        gl_cgroup::Record::V1 { groups } => {
            let mut groups = groups.iter();
            let group = groups.find(|group| group.controllers().contains(&Controller::Freezer))?;
            Some(Freezer {
                path: group.host_path().to_string_lossy().into_owned(),
                v1: true,
            })
        }
        gl_cgroup::Record::V2 { path, .. } | gl_cgroup::Record::Systemd { path, .. } => {
            Some(v2(path))
        }
        _ => None,
    }
}

/// The cgroups of a process, each with the controllers of its hierarchy; none for v2.
pub(crate) fn of_process(pid: i32) -> Result<Vec<(Option<String>, String)>, Error> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).map_err(|err| {
        let errno = rustix::io::Errno::from_io_error(&err).unwrap_or(rustix::io::Errno::IO);
        Error::file("read", &path)(errno)
    })?;
    let lines = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((Some(controllers.to_owned()), path.to_owned()))
    });
    Ok(lines.collect())
}

/// Mounts of the container's own cgroup, by the names of their hierarchies' directories; empty for v2.
pub(crate) fn own_mounts(
    decided: &Decided,
    made: Option<&Cgroup>,
) -> Result<Vec<(String, OwnedFd)>, Error> {
    let wanted = decided
        .plan
        .mounts
        .iter()
        .any(|mount| mount.kind == MountKind::Cgroup);
    let Some(group) = decided.cgroup.as_ref().filter(|_| made.is_some() && wanted) else {
        return Ok(Vec::new());
    };
    if group.layout.version() == Version::V2 {
        let own = group
            .unified()
            .filter(|_| !decided.plan.namespaces.has(Kind::Cgroup));
        let own = own.map(|path| open_own(&format!("/sys/fs/cgroup{path}")));
        return Ok(own
            .transpose()?
            .map(|own| (String::new(), own))
            .into_iter()
            .collect());
    }
    let mut all = Vec::new();
    for hierarchy in group.layout.hierarchies() {
        if let Some(path) = hierarchy.controllers.iter().find_map(|c| group.path(*c)) {
            let own = open_own(&format!("/sys/fs/cgroup/{}{path}", hierarchy.dir))?;
            all.push((hierarchy.dir.clone(), own));
        }
    }
    Ok(all)
}

/// Makes the cgroup, if there is to be one, and stores the record that says so.
pub(crate) fn make(container: &mut Container, decided: &Decided) -> Result<Made, Error> {
    let Some(group) = &decided.cgroup else {
        container
            .dir
            .write_new(RECORD, &encode(&container.record))?;
        return Ok(Made::default());
    };
    // Before the cgroup is made: whoever finds us killed from here on knows what to remove.
    container.record.cgroup = Some(match &group.maker {
        Maker::Cgroupfs(paths) => Cgroup::intent(&group.layout, paths)?,
        Maker::Systemd(unit) => unit.record(),
    });
    container
        .dir
        .write_new(RECORD, &encode(&container.record))?;
    let (created, placeholder) = match &group.maker {
        Maker::Cgroupfs(paths) => (Cgroup::create(&group.layout, paths), None),
        Maker::Systemd(unit) => {
            let placeholder = Placeholder::start()?;
            (unit.start(placeholder.pid()), Some(placeholder))
        }
    };
    // What it could not make it has removed, and what is left there is somebody else's.
    container.record.cgroup = created.as_ref().ok().map(Cgroup::record);
    match created {
        // Without root there may be none to be had, and nothing that it would be needed for.
        Err(err) if err.class() == Class::Denied && limits::dispensable(&decided.spec) => {
            let record = encode(&container.record);
            container.dir.replace(RECORD, &record)?;
            Ok(Made::default())
        }
        other => Ok(Made {
            cgroup: Some(other?),
            placeholder,
        }),
    }
}

/// Whom the cgroup is given to: root of the container, if that has its own user and cgroup namespaces
/// and mounts its cgroup to write to.
fn delegate_to(decided: &Decided) -> Option<Uid> {
    let plan = &decided.plan;
    let UserNs::New(maps) = &plan.userns else {
        return None;
    };
    let writable = decided.spec.mounts().iter().flatten().any(|mount| {
        let kind = mount.typ().as_deref();
        let read_only = mount
            .options()
            .iter()
            .flatten()
            .any(|option| option == "ro");
        matches!(kind, Some("cgroup" | "cgroup2")) && !read_only
    });
    if !plan.namespaces.creates(Kind::Cgroup) || !writable {
        return None;
    }
    let root = maps.uid.iter().find(|range| range.container == 0)?;
    Some(Uid::from_raw(root.host))
}

fn set_limits(cgroup: &Cgroup, decided: &Decided) -> Result<(), Error> {
    let linux = decided.spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().clone());
    let mut resources = resources.unwrap_or_default();
    let devices = match decided.plan.bind_devices {
        true => DeviceDefault::Keep,
        false => DeviceDefault::Deny,
    };
    if gl_launch::in_user_namespace() {
        // Only the host's root may set it, and nothing here can make a node.
        resources.set_devices(None);
    }
    cgroup.apply(&resources, devices)?;
    Ok(())
}

/// What a cgroup mount of the container will show, if it has one.
pub(crate) fn mounts(decided: &Decided, made: Option<&Cgroup>) -> Result<CgroupMounts, Error> {
    let wanted = decided
        .plan
        .mounts
        .iter()
        .any(|mount| mount.kind == MountKind::Cgroup);
    let group = decided.cgroup.as_ref().filter(|_| made.is_some());
    let (Some(group), true) = (group, wanted) else {
        return Ok(CgroupMounts::V1(Vec::new()));
    };
    let namespaced = decided.plan.namespaces.has(Kind::Cgroup);
    if group.layout.version() == Version::V2 {
        let own = match (namespaced, group.unified()) {
            (false, Some(path)) => Some(open_own(&format!("/sys/fs/cgroup{path}"))?),
            _ => None,
        };
        return Ok(CgroupMounts::V2 { own });
    }
    let mut hierarchies = Vec::new();
    for hierarchy in group.layout.hierarchies() {
        let path = hierarchy.controllers.iter().find_map(|c| group.path(*c));
        let Some(path) = path else {
            continue;
        };
        let own = match namespaced {
            true => None,
            false => Some(open_own(&format!(
                "/sys/fs/cgroup/{}{path}",
                hierarchy.dir
            ))?),
        };
        hierarchies.push(Hierarchy {
            name: hierarchy.dir.clone(),
            options: match hierarchy.dir.as_str() {
                "systemd" => "none,name=systemd".to_owned(),
                controllers => controllers.to_owned(),
            },
            own,
        });
    }
    Ok(CgroupMounts::V1(hierarchies))
}

fn open_own(path: &str) -> Result<OwnedFd, Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags).map_err(Error::file("open the cgroup", path))
}
