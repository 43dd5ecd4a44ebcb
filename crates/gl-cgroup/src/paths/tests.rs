use std::path::{Component, Path};

use super::{GroupPath, OwnCgroups, resolve};
use crate::controller::Controller::{Cpu, Cpuacct, Memory, Pids, Systemd};
use crate::error::{Error, PathFault};

const OWN: &str = "9:name=systemd:/user.slice\n4:memory:/a/b\n3:cpu,cpuacct:/\n0::/x\n";

fn resolved(path: Option<&str>, id: &str) -> Result<String, PathFault> {
    let own = || Ok(OwnCgroups::parse(OWN));
    match resolve(path, id, own) {
        Ok(paths) => Ok(paths.path(Memory).unwrap().to_string()),
        Err(Error::Path { fault, .. }) => Err(fault),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn resolve_places_the_cgroup_as_the_specification_says() {
    for (path, want) in [
        (Some("/docker/x"), Ok("/docker/x")),
        (Some("docker/x"), Ok("/a/b/docker/x")),
        (Some("./docker//x/"), Ok("/a/b/docker/x")),
        (None, Ok("/a/b/id")),
        (Some(""), Ok("/a/b/id")),
        (Some("/../../x"), Ok("/x")),
        (Some("../../../x"), Ok("/a/b/x")),
        (Some("x/../../../y"), Ok("/a/b/y")),
        (Some("/x/../y"), Ok("/y")),
        (
            Some("system.slice:docker:x"),
            Ok("/a/b/system.slice:docker:x"),
        ),
        (Some("/"), Err(PathFault::Root)),
        (Some("."), Err(PathFault::Root)),
        (Some(".."), Err(PathFault::Root)),
        (Some("/x/.."), Err(PathFault::Root)),
        (Some("/a\nb"), Err(PathFault::Control)),
        (Some("/a\0b"), Err(PathFault::Control)),
    ] {
        assert_eq!(resolved(path, "id"), want.map(str::to_owned), "{path:?}");
    }
}

#[test]
fn resolve_refuses_a_name_that_no_directory_can_have() {
    let long = format!("/{}", "x".repeat(256));
    assert_eq!(resolved(Some(&long), "id"), Err(PathFault::TooLong));
    assert_eq!(
        resolved(Some(&long[..256]), "id"),
        Ok(long[..256].to_owned())
    );
}

#[test]
fn resolve_of_an_absolute_path_does_not_ask_for_the_own_cgroup() {
    let paths = resolve(Some("/x"), "id", || panic!("asked")).unwrap();
    assert_eq!(paths.path(Pids).unwrap().as_str(), "x");
}

#[test]
fn resolve_follows_each_hierarchy_and_skips_one_without_an_own_cgroup() {
    let paths = resolve(Some("x"), "id", || Ok(OwnCgroups::parse(OWN))).unwrap();
    let shown = [Cpu, Cpuacct, Memory, Systemd, Pids]
        .map(|c| paths.path(c).map(|path| path.as_str().to_owned()));
    let want = [
        Some("x"),
        Some("x"),
        Some("a/b/x"),
        Some("user.slice/x"),
        None,
    ];
    assert_eq!(shown, want.map(|path| path.map(str::to_owned)));
}

#[test]
fn resolve_never_leaves_the_hierarchy_for_any_string() {
    // xorshift: the same strings in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let pieces = [
        "/", "..", ".", "a", "\0", "\n", "é", ":", " ", "//", "\\", "-", "b.c", "\u{7f}",
    ];
    let mut accepted = 0;
    for _ in 0..10_000 {
        let text: String = (0..next(12))
            .map(|_| pieces[usize::try_from(next(pieces.len() as u64)).unwrap()])
            .collect();
        let Ok(path) = resolved(Some(&text), "id") else {
            continue;
        };
        accepted += 1;
        let normal = Path::new(&path[1..])
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let below = text.starts_with('/') || path.starts_with("/a/b/");
        let clean = !path.contains("//") && path.len() > 1 && !path.bytes().any(|b| b < 32);
        assert!(normal && below && clean, "{text:?} became {path:?}");
    }
    assert!(accepted > 1000, "only {accepted} strings were accepted");
}

#[test]
fn own_cgroups_are_taken_relative_to_what_is_mounted() {
    let own =
        OwnCgroups::parse("4:memory:/docker/abc/x\n3:cpu,cpuacct:/docker/abc\n8:pids:/else\n");
    let own = own.below_mounts(
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
         39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
         40 31 0:37 /docker /mnt/memory rw - cgroup cgroup rw,memory\n\
         41 31 0:38 /docker /sys/fs/cgroup/memory rw - tmpfs tmpfs rw\n",
    );
    let shown = [Memory, Cpuacct, Pids].map(|c| own.path(c).unwrap().as_str());
    assert_eq!(shown, ["x", "", ""]);
}

#[test]
fn own_cgroups_understand_escapes_in_mountinfo() {
    let own = OwnCgroups::parse("4:memory:/a b\\/x\n");
    let own = own.below_mounts(
        "35 31 0:32 /a\\040b\\134 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    );
    assert_eq!(own.path(Memory).unwrap().as_str(), "x");
}

#[test]
fn group_path_of_a_record_is_refused_unless_clean() {
    for (json, want) in [
        (r#""docker/x""#, Ok("docker/x")),
        (r#""/x""#, Err("it is not a cleaned path")),
        (r#""a/../../x""#, Err("it is not a cleaned path")),
        (r#""""#, Err("it names no cgroup of its own")),
    ] {
        let got = serde_json::from_str::<GroupPath>(json);
        let got = got
            .as_ref()
            .map(GroupPath::as_str)
            .map_err(ToString::to_string);
        assert_eq!(got, want.map_err(str::to_owned), "{json}");
    }
}

/// Found by fuzzing: on v2 a relative path is beside the runtime, and can have its name.
#[test]
fn path_of_v2_that_is_the_runtimes_own_is_known() {
    for (path, want) in [("x", true), ("/x", false), ("y", false), ("x/y", false)] {
        let paths = resolve(Some(path), "id", || Ok(OwnCgroups::parse(OWN))).unwrap();
        let place = paths.unified().unwrap();
        assert_eq!(paths.is_runtimes_own(&place), want, "{path} is {place}");
    }
}
