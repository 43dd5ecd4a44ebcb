//! Launches by a user without root: whose ids a container gets, and the way into its namespaces.

use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;

use gl_launch::Namespace;
use gl_launch::rootless::{self, User};
use gl_plan::{IdMaps, IdRange, ids};
use gl_spec::ContainerId;
use gl_spec::oci::{LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceType, Spec};

use crate::bundle::{absolute, read_document};
use crate::error::Error;
use crate::record::CONFIG;
use crate::store::Store;

/// Makes sure that this process can create a container: it runs from a read-only copy of its program
/// from here on, and a user without root is root of a user namespace.
///
/// # Errors
///
/// [`Error::Launch`] if the kernel lacks a system call, no such copy can be had, or the user cannot have such a
/// namespace.
pub fn prepare_create(bundle: &Path, config: Option<&Path>) -> Result<(), Error> {
    gl_launch::check_kernel()?;
    if !rootless::is_plain_user() {
        return Ok(gl_launch::reexec_readonly(Namespace::AsStarted)?);
    }
    let user = User::current().map_err(gl_launch::Error::from)?;
    let maps = match user.maps() {
        Ok(maps) => maps,
        Err(err) => match maps_user_alone(&user, bundle, config)? {
            true => user.own_maps(),
            false => return Err(gl_launch::Error::from(err).into()),
        },
    };
    rootless::become_root(&maps).map_err(gl_launch::Error::from)?;
    Ok(gl_launch::reexec_readonly(Namespace::Entered)?)
}

/// As [`prepare_create`], for containers whose files may belong to anybody: whatever there is of a bundle, the
/// user has to have been given ids.
///
/// # Errors
///
/// As [`prepare_create`].
pub fn prepare_ids() -> Result<(), Error> {
    gl_launch::check_kernel()?;
    if !rootless::is_plain_user() {
        return Ok(gl_launch::reexec_readonly(Namespace::AsStarted)?);
    }
    let user = User::current().map_err(gl_launch::Error::from)?;
    let maps = user.maps().map_err(gl_launch::Error::from)?;
    rootless::become_root(&maps).map_err(gl_launch::Error::from)?;
    Ok(gl_launch::reexec_readonly(Namespace::Entered)?)
}

/// As [`prepare_create`], for containers that have no ids but the user's own, so that nobody has to have given
/// the user any; where root's all have `ids` outside, and none other. If those cannot write to the program,
/// root needs no copy of it.
///
/// # Errors
///
/// As [`prepare_create`].
pub fn prepare_alone(ids: Range<u32>) -> Result<(), Error> {
    gl_launch::check_kernel()?;
    if !rootless::is_plain_user() {
        if gl_launch::is_out_of_reach(&ids)? {
            return Ok(());
        }
        return Ok(gl_launch::reexec_readonly(Namespace::AsStarted)?);
    }
    let user = User::current().map_err(gl_launch::Error::from)?;
    rootless::become_root(&user.own_maps()).map_err(gl_launch::Error::from)?;
    Ok(gl_launch::reexec_readonly(Namespace::Entered)?)
}

/// Makes sure that this process can enter a container, as [`prepare_create`].
///
/// # Errors
///
/// [`Error::NotRunning`], [`Error::Missing`]; [`Error::Launch`] if the container is not this user's.
pub fn prepare_exec(
    store: impl FnOnce() -> Result<Store, Error>,
    id: &ContainerId,
) -> Result<(), Error> {
    gl_launch::check_kernel()?;
    if !rootless::is_plain_user() {
        return Ok(gl_launch::reexec_readonly(Namespace::AsStarted)?);
    }
    let container = store()?.load(id)?;
    // Held until we are there: what has this number meanwhile is init, or nobody.
    let init = container.init()?;
    rootless::join_root(container.pid()?).map_err(gl_launch::Error::from)?;
    gl_sys::pidfd_send_signal(init.as_fd(), 0).map_err(|_gone| Error::NotRunning {
        status: gl_spec::Status::Stopped,
    })?;
    Ok(gl_launch::reexec_readonly(Namespace::Entered)?)
}

/// Makes sure that this process can start a container and run its hooks: a user without root is root of
/// the container's user namespace, or of that around it.
///
/// # Errors
///
/// As [`prepare_exec`], but what has no init is left to the command itself.
pub fn prepare_start(
    store: impl FnOnce() -> Result<Store, Error>,
    id: &ContainerId,
) -> Result<(), Error> {
    if !rootless::is_plain_user() {
        return Ok(());
    }
    match prepare_exec(store, id) {
        Err(Error::NotRunning { .. } | Error::Missing { .. } | Error::Corrupt { .. }) => Ok(()),
        other => other,
    }
}

/// Makes sure that this process can remove what a container has made with ids that the user owns, and run
/// its hooks, as [`prepare_start`]; of one that has ended in a namespace of its like.
///
/// # Errors
///
/// As [`prepare_start`].
pub fn prepare_delete(
    store: impl FnOnce() -> Result<Store, Error>,
    id: &ContainerId,
) -> Result<(), Error> {
    if !rootless::is_plain_user() {
        return Ok(());
    }
    let container = store()?.load(id);
    match container.and_then(|container| Ok((container.init()?, container.pid()?))) {
        // Only from there its processes can be signalled, whosever they are.
        Ok((_held, init)) => rootless::join_root(init).map_err(gl_launch::Error::from)?,
        Err(Error::NotRunning { .. }) => {
            let user = User::current().map_err(gl_launch::Error::from)?;
            let maps = user.maps().unwrap_or_else(|_| user.own_maps());
            if rootless::become_root(&maps).is_err() {
                // Nothing is left that could be had back by keeping the state.
                return Ok(());
            }
        }
        // The command itself says what is wrong.
        Err(_) => return Ok(()),
    }
    Ok(gl_launch::reexec_readonly(Namespace::Entered)?)
}

/// Whether the container's user namespace has the user's own ids and no others.
fn maps_user_alone(user: &User, bundle: &Path, config: Option<&Path>) -> Result<bool, Error> {
    let config = match config {
        Some(config) => config.to_owned(),
        None => absolute(bundle)?.join(CONFIG),
    };
    let spec = gl_spec::load(&read_document(&config)?)?.spec;
    let Some(linux) = spec.linux() else {
        return Ok(false);
    };
    let alone = |mappings: &Option<Vec<LinuxIdMapping>>, own| matches!(mappings.as_deref(), Some([one]) if one.size() == 1 && one.host_id() == own);
    Ok(makes_user_namespace(&spec)
        && alone(linux.uid_mappings(), user.uid())
        && alone(linux.gid_mappings(), user.gid()))
}

fn makes_user_namespace(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    namespaces
        .unwrap_or_default()
        .iter()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::User && namespace.path().is_none())
}

/// Says the mappings of a config, which are in ids of outside, in ids of the user namespace that the
/// runtime has made for itself. A user namespace without mappings gets all that the runtime's has.
///
/// # Errors
///
/// [`Error::NotOwned`] with the mapping that names an id which the user does not own.
pub(crate) fn translate(spec: &mut Spec) -> Result<(), Error> {
    if !rootless::made_own_namespace() {
        return Ok(());
    }
    let own = rootless::current_maps().map_err(gl_launch::Error::from)?;
    translate_by(&own, spec)
}

fn translate_by(own: &IdMaps, spec: &mut Spec) -> Result<(), Error> {
    let makes = makes_user_namespace(spec);
    if let Some(linux) = spec.linux_mut() {
        let uids = linux.uid_mappings().clone().unwrap_or_default();
        let gids = linux.gid_mappings().clone().unwrap_or_default();
        if makes && uids.is_empty() && gids.is_empty() {
            linux.set_uid_mappings(Some(whole(&own.uid)?));
            linux.set_gid_mappings(Some(whole(&own.gid)?));
        } else {
            let uids = inside("linux.uidMappings", &own.uid, &uids)?;
            let gids = inside("linux.gidMappings", &own.gid, &gids)?;
            linux.set_uid_mappings(Some(uids).filter(|list| !list.is_empty()));
            linux.set_gid_mappings(Some(gids).filter(|list| !list.is_empty()));
        }
    }
    let mut mounts = spec.mounts().clone();
    for (index, mount) in mounts.iter_mut().flatten().enumerate() {
        if let Some(uids) = mount.uid_mappings() {
            let field = format!("mounts[{index}].uidMappings");
            let uids = inside(&field, &own.uid, uids)?;
            mount.set_uid_mappings(Some(uids));
        }
        if let Some(gids) = mount.gid_mappings() {
            let field = format!("mounts[{index}].gidMappings");
            let gids = inside(&field, &own.gid, gids)?;
            mount.set_gid_mappings(Some(gids));
        }
    }
    spec.set_mounts(mounts);
    Ok(())
}

fn inside(
    field: &str,
    own: &[IdRange],
    mappings: &[LinuxIdMapping],
) -> Result<Vec<LinuxIdMapping>, Error> {
    let mut all = Vec::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let range = IdRange {
            container: mapping.container_id(),
            host: mapping.host_id(),
            size: mapping.size(),
        };
        let pieces = ids::within(own, range).map_err(|id| Error::NotOwned {
            field: format!("{field}[{index}]"),
            id,
            owned: words(own),
        })?;
        for piece in pieces {
            all.push(mapping_of(piece)?);
        }
    }
    Ok(all)
}

/// The runtime's own namespace, id for id.
fn whole(own: &[IdRange]) -> Result<Vec<LinuxIdMapping>, Error> {
    let lines = own.iter().map(|line| {
        mapping_of(IdRange {
            host: line.container,
            ..*line
        })
    });
    lines.collect()
}

fn mapping_of(range: IdRange) -> Result<LinuxIdMapping, Error> {
    LinuxIdMappingBuilder::default()
        .container_id(range.container)
        .host_id(range.host)
        .size(range.size)
        .build()
        .map_err(|_all_are_set| Error::Host {
            what: "map the ids of the container",
            source: rustix::io::Errno::INVAL,
        })
}

fn words(own: &[IdRange]) -> String {
    let ranges = own.iter().map(|line| match line.size {
        1 => line.host.to_string(),
        size => format!("{}-{}", line.host, line.host.saturating_add(size - 1)),
    });
    ranges.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> IdMaps {
        IdMaps {
            uid: ids::own_map(1000, std::slice::from_ref(&(100_000..165_536))),
            gid: ids::own_map(100, std::slice::from_ref(&(200_000..265_536))),
        }
    }

    fn spec(linux: &str) -> Spec {
        let text = format!(
            r#"{{"ociVersion":"1.0.0","root":{{"path":"r"}},"linux":{{"namespaces":[{{"type":"user"}}]{linux}}}}}"#
        );
        gl_spec::load(text.as_bytes()).unwrap().spec
    }

    fn uids(spec: &Spec) -> Vec<[u32; 3]> {
        let linux = spec.linux().as_ref().unwrap();
        let list = linux.uid_mappings().as_deref().unwrap();
        list.iter()
            .map(|one| [one.container_id(), one.host_id(), one.size()])
            .collect()
    }

    #[test]
    fn mappings_of_the_host_become_those_of_the_runtimes_namespace() {
        let mut spec = spec(
            r#","uidMappings":[{"containerID":0,"hostID":1000,"size":1},{"containerID":1,"hostID":100000,"size":9}],"gidMappings":[{"containerID":0,"hostID":100,"size":1}]"#,
        );
        translate_by(&own(), &mut spec).unwrap();
        assert_eq!(uids(&spec), [[0, 0, 1], [1, 1, 9]]);
    }

    #[test]
    fn user_namespace_without_mappings_gets_all_ids() {
        let mut spec = spec("");
        translate_by(&own(), &mut spec).unwrap();
        assert_eq!(uids(&spec), [[0, 0, 1], [1, 1, 65_536]]);
    }

    #[test]
    fn id_of_somebody_else_is_refused_with_its_mapping() {
        let mut spec = spec(
            r#","uidMappings":[{"containerID":0,"hostID":1000,"size":2}],"gidMappings":[{"containerID":0,"hostID":100,"size":1}]"#,
        );
        let err = translate_by(&own(), &mut spec).unwrap_err();
        assert_eq!(
            err.to_string(),
            "use linux.uidMappings[0]: id 1001 is not the user's, who owns 1000, 100000-165535"
        );
    }
}
