//! `[filesystem]`: what is writable, what is hidden, and how much may be written.

use std::path::Path;

use gl_spec::oci::{Mount, Root, Spec};
use gl_spec::{Extras, Landlock, Links, PathRule};

use super::mounts;
use super::{Effect, Lack, Refused, Run, quota, refused};
use crate::value::{Bytes, Mode, Setting, SourceKind};

/// `LANDLOCK_ACCESS_FS_*` that change something: write, remove and make of each kind (ABI 1), move
/// between directories (2), truncate (3).
const CHANGES: [(u32, u64); 3] = [(1, 0b1_1111_1111_0010), (2, 1 << 13), (3, 1 << 14)];

const NO_LANDLOCK: Lack = Lack {
    layer: "landlock",
    missing: "the kernel has no Landlock",
    remedy: "boot a kernel with Landlock (5.13), or set on_missing = \"degrade\"",
};

/// A fresh `/tmp` has this size where no quota says otherwise.
const TMP_BYTES: u64 = 64 << 20;

pub(super) fn apply(
    run: &mut Run<'_>,
    spec: &mut Spec,
    extras: &mut Extras,
) -> Result<(), Refused> {
    refuse_mounts(run)?;
    let quota = run.profile.limits.disk_quota_bytes.clone();
    temp_root(run, spec, quota.as_ref())?;
    match &quota {
        Some(quota) if run.gvisor => run.lacking(
            &quota.origin,
            &Lack {
                layer: "mounts",
                missing: "gVisor gives /dev no size, which root of the container can write to",
                remedy: "leave the quota out: memory_limit_bytes bounds what is not on a volume",
            },
            "",
        )?,
        Some(quota) => quota::apply(run, spec, extras, quota)?,
        None => {}
    }
    readonly_root(run, spec);
    hidden(run, spec)?;
    writable(run, extras)
}

fn refuse_mounts(run: &mut Run<'_>) -> Result<(), Refused> {
    let filesystem = &run.profile.filesystem;
    if let Some(list) = filesystem
        .bind_mounts
        .as_ref()
        .filter(|list| !list.items.is_empty())
    {
        return Err(refused(
            &list.origin,
            "a profile only tightens what the engine asked for, and this would show the container more of the host",
            "let the engine bind it (docker run --volume SOURCE:TARGET:ro, podman likewise), or use gl run, \
             which has no engine",
        ));
    }
    if let Some(path) = &filesystem.temp_root_path {
        return Err(refused(
            &path.origin,
            "the root of a container is its image's",
            "leave it out for containers",
        ));
    }
    if let Some(line) = filesystem.read_only_paths.as_ref() {
        let why = "an image's files are visible, and read-only where the root is";
        run.step(
            &line.origin,
            "mounts",
            String::new(),
            Effect::Elsewhere(why),
        );
    }
    Ok(())
}

fn is_fresh(run: &Run<'_>) -> bool {
    let create = run.profile.filesystem.create_temp_root.as_ref();
    create.is_some_and(|line| line.value)
}

/// A fresh `/tmp`, unless the engine has mounted something there.
fn temp_root(
    run: &mut Run<'_>,
    spec: &mut Spec,
    quota: Option<&Setting<Bytes>>,
) -> Result<(), Refused> {
    let Some(line) = run.profile.filesystem.create_temp_root.as_ref() else {
        return Ok(());
    };
    let mounts = spec.mounts_mut().get_or_insert_default();
    let taken = mounts
        .iter()
        .any(|mount| mount.destination() == Path::new("/tmp"));
    if !line.value || taken {
        run.applied(line, "mounts", "what the engine mounts".to_owned(), false);
        return Ok(());
    }
    let bytes = quota.map_or(TMP_BYTES, |quota| quota.value.0);
    // Before what the engine mounts below it, which it would hide.
    let at = mounts
        .iter()
        .position(|mount| mounts::is_below(mount, "/tmp"));
    mounts.insert(at.unwrap_or(mounts.len()), tmpfs("/tmp", bytes));
    run.applied(
        line,
        "mounts",
        format!("/tmp: a tmpfs of {bytes} bytes"),
        true,
    );
    Ok(())
}

pub(super) fn tmpfs(destination: &str, bytes: u64) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some("tmpfs".to_owned()))
        .set_source(Some("tmpfs".into()))
        .set_options(Some(vec![
            "nosuid".to_owned(),
            "nodev".to_owned(),
            "mode=1777".to_owned(),
            format!("size={bytes}"),
        ]));
    mount
}

fn readonly_root(run: &mut Run<'_>, spec: &mut Spec) {
    let Some(line) = run
        .profile
        .filesystem
        .readonly_root
        .as_ref()
        .filter(|line| line.value)
    else {
        return;
    };
    let root = spec.root_mut().get_or_insert_with(Root::default);
    let new = root.readonly() != Some(true);
    root.set_readonly(Some(true));
    run.applied(line, "mounts", "the root is read-only".to_owned(), new);
}

/// Paths that read as empty. Those of a level are about the host, of which a container sees nothing.
fn hidden(run: &mut Run<'_>, spec: &mut Spec) -> Result<(), Refused> {
    let filesystem = &run.profile.filesystem;
    let linux = spec.linux_mut().get_or_insert_default();
    let mut masked = linux.masked_paths().clone().unwrap_or_default();
    for line in filesystem
        .blocked_paths
        .iter()
        .chain(&filesystem.mask_paths)
    {
        if line.origin.kind == SourceKind::Level {
            let why = "it is about the host, of which a container sees nothing";
            run.step(
                &line.origin,
                "mounts",
                line.value.as_str().to_owned(),
                Effect::Elsewhere(why),
            );
            continue;
        }
        let path = line.value.as_str().to_owned();
        if run.gvisor
            && ["/proc", "/sys"]
                .iter()
                .any(|dir| line.value.as_path().starts_with(dir))
        {
            run.lacking(
                &line.origin,
                &Lack {
                    layer: "mounts",
                    missing: "gVisor's own /proc and /sys cannot be hidden",
                    remedy: "leave it out: they show nothing of the host",
                },
                "",
            )?;
            continue;
        }
        let new = !masked.contains(&path);
        if new {
            masked.push(path.clone());
        }
        run.applied(line, "mounts", format!("{path} reads as empty"), new);
    }
    if !masked.is_empty() {
        linux.set_masked_paths(Some(masked));
    }
    Ok(())
}

/// Landlock: nothing is changed but below the listed paths, where a list is given.
fn writable(run: &mut Run<'_>, extras: &mut Extras) -> Result<(), Refused> {
    let Some(list) = run.profile.filesystem.read_write_paths.as_ref() else {
        return Ok(());
    };
    if run.profile.mode.value == Mode::Permissive {
        let why = "Landlock cannot log without denying";
        run.step(
            &list.origin,
            "landlock",
            String::new(),
            Effect::Elsewhere(why),
        );
        return Ok(());
    }
    if run.gvisor {
        return run.lacking(
            &list.origin,
            &Lack {
                layer: "landlock",
                missing: "gVisor's kernel has no Landlock",
                remedy: "use readonly_root, and let the engine mount what may be written",
            },
            "",
        );
    }
    let Some(abi) = run.host.landlock_abi else {
        return run.lacking(&list.origin, &NO_LANDLOCK, "");
    };
    let known = CHANGES.iter().filter(|(since, _)| *since <= abi);
    let changes = known.fold(0, |all, (_, bits)| all | bits);
    let rule = |path: &str, links| PathRule {
        path: path.to_owned(),
        access: changes,
        links,
    };
    let mut paths: Vec<_> = list
        .items
        .iter()
        .map(|item| rule(item.value.as_str(), Links::Refuse))
        .collect();
    if is_fresh(run) {
        paths.push(rule("/tmp", Links::Refuse));
    }
    // Devices and a process's own files, on mounts that greenlang has made: what may be written there
    // is decided by them.
    paths.extend(["/dev", "/proc"].map(|path| rule(path, Links::Refuse)));
    let shown: Vec<_> = paths.iter().map(|rule| rule.path.as_str()).collect();
    let setting = format!("writing below {} only", shown.join(" "));
    extras.landlock.push(Landlock {
        filesystem: changes,
        paths,
        ..Landlock::default()
    });
    run.step(&list.origin, "landlock", setting, Effect::Applied);
    Ok(())
}
