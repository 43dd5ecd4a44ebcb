//! The small controllers: pids, hugetlb, rdma, `net_cls` and `net_prio`.

use gl_spec::oci::{LinuxHugepageLimit, LinuxNetwork, LinuxPids, LinuxRdma};

use super::settings::{Absent, Setting, Settings};
use crate::controller::Controller::{Hugetlb, NetCls, NetPrio, Pids, Rdma};
use crate::error::Error;

/// 0 means "not set", and every negative number no limit.
pub(crate) fn pids(pids: LinuxPids, out: &mut Settings) {
    if let Some(value) = pids_max(pids) {
        let field = "linux.resources.pids.limit";
        out.one(Setting::new(field, Pids, "pids.max", value));
    }
}

/// What is written to `pids.max`, which both versions have.
pub(crate) fn pids_max(pids: LinuxPids) -> Option<String> {
    match pids.limit() {
        0 => None,
        limit if limit < 0 => Some("max".to_owned()),
        limit => Some(limit.to_string()),
    }
}

/// The limit on use, and the one on reservation where the kernel has it (5.7).
pub(crate) fn hugetlb(
    at: usize,
    limit: &LinuxHugepageLimit,
    out: &mut Settings,
) -> Result<(), Error> {
    let field = format!("linux.resources.hugepageLimits[{at}]");
    let size = limit.page_size();
    check_page_size(&field, size)?;
    out.one(Setting::new(
        field.clone(),
        Hugetlb,
        format!("hugetlb.{size}.limit_in_bytes"),
        limit.limit(),
    ));
    out.one(
        Setting::new(
            field,
            Hugetlb,
            format!("hugetlb.{size}.rsvd.limit_in_bytes"),
            limit.limit(),
        )
        .absent(Absent::Skip),
    );
    Ok(())
}

/// Refuses what is no size of a page.
pub(crate) fn check_page_size(field: &str, size: &str) -> Result<(), Error> {
    if is_page_size(size) {
        return Ok(());
    }
    Err(Error::Value {
        field: format!("{field}.pageSize").into(),
        value: size.to_owned(),
        reason: "a page size looks like 64KB, 2MB or 1GB",
    })
}

/// `^[1-9][0-9]*[KMG]B$`, as the specification has it. It becomes part of a file name.
fn is_page_size(size: &str) -> bool {
    let Some(digits) = ["KB", "MB", "GB"]
        .into_iter()
        .find_map(|unit| size.strip_suffix(unit))
    else {
        return false;
    };
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Handles and objects of one device.
pub(crate) fn rdma(device: &str, limit: &LinuxRdma, out: &mut Settings) -> Result<(), Error> {
    let field = format!("linux.resources.rdma[{device:?}]");
    if let Some(value) = rdma_max(&field, device, limit)? {
        out.one(Setting::new(field, Rdma, "rdma.max", value));
    }
    Ok(())
}

/// What is written to `rdma.max`, which both versions have.
pub(crate) fn rdma_max(
    field: &str,
    device: &str,
    limit: &LinuxRdma,
) -> Result<Option<String>, Error> {
    check_name(field, device)?;
    let mut value = device.to_owned();
    for (name, count) in [
        ("hca_handle", limit.hca_handles()),
        ("hca_object", limit.hca_objects()),
    ] {
        if let Some(count) = count {
            value.push_str(&format!(" {name}={count}"));
        }
    }
    Ok((value != device).then_some(value))
}

/// Class and priorities; a class of 0 means "not set".
pub(crate) fn network(network: &LinuxNetwork, out: &mut Settings) -> Result<(), Error> {
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        let field = "linux.resources.network.classID";
        out.one(Setting::new(field, NetCls, "net_cls.classid", class));
    }
    for (at, entry) in network.priorities().iter().flatten().enumerate() {
        let field = format!("linux.resources.network.priorities[{at}]");
        check_name(&field, entry.name())?;
        let value = format!("{} {}", entry.name(), entry.priority());
        out.one(Setting::new(field, NetPrio, "net_prio.ifpriomap", value));
    }
    Ok(())
}

/// The kernel splits these lines at white space, so a name cannot have any.
fn check_name(field: &str, name: &str) -> Result<(), Error> {
    if name.is_empty()
        || name
            .bytes()
            .any(|b| b.is_ascii_whitespace() || b.is_ascii_control())
    {
        return Err(Error::Value {
            field: field.to_owned().into(),
            value: name.to_owned(),
            reason: "a device name has no white space and is not empty",
        });
    }
    Ok(())
}
