//! The groups that are built in: the files of `profiles/seccomp`, as the tables that are made of them.

use crate::seccomp::group::Group;
use crate::seccomp::tables::GROUPS;

/// The names of all groups, in order.
pub fn group_names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|group| &*group.name)
}

/// The group of a name, if there is one.
pub fn group(name: &str) -> Option<&'static Group> {
    let at = GROUPS.binary_search_by(|group| (*group.name).cmp(name));
    GROUPS.get(at.ok()?)
}
