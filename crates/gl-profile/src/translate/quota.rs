//! `limits.disk_quota_bytes`: everything that a container can write, together.

use std::path::Path;

use gl_spec::oci::{Mount, Spec};
use gl_spec::{DiskQuota, Extras, Kept};

use super::filesystem::tmpfs;
use super::mounts::{self, What};
use super::{Disk, Lack, Refused, Run, refused};
use crate::value::{Bytes, Setting};

/// The engine's own files of a container: made for it, and small.
const ENGINE_FILES: [&str; 4] = [
    "/etc/resolv.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/run/.containerenv",
];

/// The least that a root is made writable for: what is needed for its own files is a part of it.
const LEAST_BYTES: u64 = 1 << 20;

/// A quota of this share of the memory limit is kept in memory in any case: it costs nothing to make.
const SMALL: u64 = 4;
/// One of up to this share only where there is no disk for it: a program that needs the rest of its memory
/// is ended before its disk is full.
const BEARABLE: u64 = 2;

/// Holds everything writable within the quota. With a read-only root that is tmpfs mounts whose sizes add
/// up to no more; with another one a filesystem of its own, under the root and in the place of each tmpfs.
pub(super) fn apply(
    run: &mut Run<'_>,
    spec: &mut Spec,
    extras: &mut Extras,
    quota: &Setting<Bytes>,
) -> Result<(), Refused> {
    volumes(spec, quota)?;
    let files = &run.profile.filesystem;
    let profile = files.readonly_root.as_ref().is_some_and(|line| line.value);
    let config = spec.root().as_ref().and_then(|root| root.readonly());
    if profile || config == Some(true) {
        let setting = shares(spec, quota.value.0);
        run.applied(quota, "mounts", setting, true);
        return Ok(());
    }
    if quota.value.0 < LEAST_BYTES {
        return Err(refused(
            &quota.origin,
            format!(
                "{} bytes are less than the {LEAST_BYTES} that a writable root needs",
                quota.value.0
            ),
            "allow more, or set readonly_root = true",
        ));
    }
    let memory = memory(run, spec);
    let kept = match kept(quota.value.0, memory, run.host.disk) {
        Ok(kept) => kept,
        Err(lack) => {
            let instead = shares(spec, quota.value.0);
            run.lacking(&quota.origin, &lack, instead)?;
            let root = spec.root_mut().get_or_insert_default();
            root.set_readonly(Some(true));
            return Ok(());
        }
    };
    let before = extras.disk_quota.take();
    let stricter = before.filter(|before| before.bytes <= quota.value.0);
    let new = stricter.is_none();
    extras.disk_quota = stricter.or_else(|| {
        Some(DiskQuota {
            bytes: quota.value.0,
            kept,
            line: quota.origin.to_string(),
        })
    });
    let place = match kept {
        Kept::Memory => "in memory",
        Kept::Disk => "on disk",
    };
    let setting = format!(
        "the root and what is mounted empty together, {} bytes {place}",
        quota.value.0
    );
    run.applied(quota, "mounts", setting, new);
    Ok(())
}

/// The memory that its processes and files in memory have together.
fn memory(run: &Run<'_>, spec: &Spec) -> u64 {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let limit = resources.and_then(|all| all.memory().as_ref()?.limit());
    let limit = limit.and_then(|limit| u64::try_from(limit).ok());
    let own = run.profile.limits.memory_limit_bytes.value.0;
    limit.map_or(own, |limit| limit.min(own))
}

fn kept(bytes: u64, memory: u64, disk: Disk) -> Result<Kept, Lack> {
    let within = |share| bytes.saturating_mul(share) <= memory;
    match disk {
        _ if within(SMALL) => Ok(Kept::Memory),
        Disk::Available => Ok(Kept::Disk),
        Disk::Missing(_) if within(BEARABLE) => Ok(Kept::Memory),
        Disk::Missing(missing) => Err(Lack {
            layer: "mounts",
            missing,
            remedy: "install e2fsprogs and run as root on a host with loop devices, allow at most half of \
                     memory_limit_bytes, which fits in memory, or set readonly_root = true",
        }),
    }
}

/// Makes read-only what may be, and refuses what the quota could not hold.
fn volumes(spec: &mut Spec, quota: &Setting<Bytes>) -> Result<(), Refused> {
    for mount in spec.mounts_mut().get_or_insert_default() {
        let what = mounts::what(mount);
        let stores = [What::Bind, What::Remount, What::Other].contains(&what);
        if !stores || !mounts::is_writable(mount) {
            continue;
        }
        if what == What::Bind && mounts::says_read_only(mount) {
            // What is mounted below it on the host would stay writable.
            mounts::make_read_only(mount);
            continue;
        }
        // Podman binds a tmpfs that it has made: it counts as one of the container's own.
        if what == What::Bind && mount.destination() == Path::new("/dev/shm") {
            let noexec = mount
                .options()
                .iter()
                .flatten()
                .any(|word| word == "noexec");
            *mount = tmpfs("/dev/shm", quota.value.0);
            if noexec {
                // nosuid and nodev it has anyway.
                let mut options = mount.options().clone().unwrap_or_default();
                options.push("noexec".to_owned());
                mount.set_options(Some(options));
            }
            continue;
        }
        let is_own = |path: &&str| mount.destination() == Path::new(path);
        if what == What::Bind && ENGINE_FILES.iter().any(is_own) {
            mounts::make_read_only(mount);
            continue;
        }
        return Err(refused(
            &quota.origin,
            format!(
                "the volume at {} can be written and has no limit",
                mount.destination().display()
            ),
            "mount it read-only, or leave the quota out",
        ));
    }
    Ok(())
}

/// Gives each tmpfs a share of the quota; says so.
fn shares(spec: &mut Spec, quota: u64) -> String {
    let mounts = spec.mounts_mut().get_or_insert_default();
    let takes_space =
        |mount: &Mount| mounts::what(mount) == What::Tmpfs && mounts::is_writable(mount);
    let count = mounts.iter().filter(|mount| takes_space(mount)).count();
    let share = u64::try_from(count.max(1)).ok();
    let share = share
        .and_then(|count| quota.checked_div(count))
        .unwrap_or(0);
    for mount in mounts.iter_mut().filter(|mount| takes_space(mount)) {
        let mut options = mount.options().clone().unwrap_or_default();
        let smaller = options
            .iter()
            .find_map(|option| option.strip_prefix("size="));
        let asked = smaller
            .and_then(gl_spec::tmpfs_number)
            .filter(|size| *size <= share);
        options.retain(|option| !option.starts_with("size=") && !option.starts_with("nr_blocks="));
        options.push(format!("size={}", asked.unwrap_or(share).max(4096)));
        mount.set_options(Some(options));
    }
    format!("root read-only, {count} tmpfs of at most {share} bytes each")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn quota_is_kept_on_disk_where_it_is_no_small_part_of_the_memory() {
        let none = Disk::Missing("x");
        for (bytes, disk, want) in [
            (16 * MIB, Disk::Available, Some(Kept::Memory)),
            (16 * MIB, none, Some(Kept::Memory)),
            (17 * MIB, Disk::Available, Some(Kept::Disk)),
            (32 * MIB, none, Some(Kept::Memory)),
            (33 * MIB, none, None),
            (u64::MAX, Disk::Available, Some(Kept::Disk)),
        ] {
            let seen = kept(bytes, 64 * MIB, disk).map_err(|lack| lack.missing);
            assert_eq!(seen, want.ok_or("x"), "{bytes} {disk:?}");
        }
    }
}
