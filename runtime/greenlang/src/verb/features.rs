//! `features`: prints which parts of runtime-spec this version has.

use gl_spec::Facility;

use crate::args::Order;
use crate::command::Page;
use crate::json;
use crate::version::VERSION;

pub(crate) const PAGE: Page = Page {
    name: "features",
    operands: "",
    about: "print what this version can do, as JSON for engines",
    detail: "",
    flags: &[],
    order: Order::Mixed,
};

/// What this version has. Only what works is listed: engines rely on it.
const FACILITIES: &[Facility] = &[
    Facility::CgroupV1,
    Facility::CgroupV2,
    Facility::CgroupSystemd,
    Facility::CgroupSystemdUser,
    Facility::CgroupRdma,
    Facility::IdmapMounts,
    Facility::IntelRdt,
    Facility::NetDevices,
    Facility::Seccomp,
    Facility::Apparmor,
    Facility::Selinux,
    Facility::MemoryPolicy,
    Facility::Checkpoint,
];

/// The text of `features`.
pub(crate) fn text() -> String {
    let mut text = json::spread(&json::line(&gl_spec::features(VERSION, FACILITIES)), "    ");
    text.push('\n');
    text
}
