//! What a profile becomes, on hosts that are made up.

use std::collections::BTreeMap;
use std::path::Path;

use gl_profile::{Format, Layer};
use gl_seccomp::Verdict;
use gl_spec::Capacity;
use rustix::io::Errno;

use super::*;
use crate::host::Entry;

/// Files of a host: directories with what is in them, and links.
#[derive(Debug, Default)]
struct Made {
    dirs: BTreeMap<&'static str, Vec<&'static str>>,
    links: BTreeMap<&'static str, &'static str>,
    locked: Vec<&'static str>,
}

impl Files for Made {
    fn real(&self, path: &Path) -> Result<PathBuf, Errno> {
        let mut real = PathBuf::from(path);
        for (from, to) in &self.links {
            if let Ok(rest) = path.strip_prefix(from) {
                real = Path::new(to).to_owned();
                real.extend(rest);
            }
        }
        Ok(real)
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>, Errno> {
        if self.locked.iter().any(|locked| Path::new(locked) == dir) {
            return Err(Errno::ACCESS);
        }
        let text = dir.to_str().unwrap();
        let names = self.dirs.get(text).ok_or(Errno::NOENT)?;
        let entry = |name: &&str| {
            let path = dir.join(name).to_str().unwrap().to_owned();
            Entry {
                name: (*name).into(),
                is_directory: self.dirs.contains_key(path.as_str()),
                is_link: self.links.contains_key(path.as_str()),
            }
        };
        Ok(names.iter().map(entry).collect())
    }
}

fn files() -> Made {
    let dirs = [
        (
            "/",
            vec![
                "usr", "etc", "home", "root", "srv", "dev", "proc", "sys", "bin", "tmp",
            ],
        ),
        ("/usr", vec!["bin", "lib"]),
        ("/home", vec!["u"]),
        ("/home/u", vec!["job"]),
        ("/home/u/job", vec![]),
        ("/root", vec![]),
        ("/etc", vec!["shadow", "passwd"]),
        ("/srv", vec!["a", "b", "link"]),
        ("/srv/a", vec!["x", "y"]),
        ("/srv/b", vec![]),
        ("/dev", vec!["null", "sda"]),
        ("/proc", vec!["cpuinfo"]),
        ("/sys", vec![]),
        ("/tmp", vec![]),
    ];
    Made {
        dirs: dirs.into(),
        links: [("/bin", "/usr/bin"), ("/srv/link", "/root")].into(),
        locked: Vec::new(),
    }
}

const HOST: Host = Host {
    landlock_abi: Some(7),
    root: true,
    cgroup: None,
    tasks: None,
    capacity: Capacity::UNKNOWN,
};

fn host() -> Host {
    Host {
        cgroup: Some("/greenlang".to_owned()),
        ..HOST
    }
}

fn profile(text: &str) -> Profile {
    let text = format!("version = 1\nname = \"t\"\n{text}");
    let layer = Layer::parse("t.toml", &text, Format::Toml).unwrap();
    Profile::resolve(layer, &()).unwrap()
}

fn request() -> Request {
    Request {
        args: vec![c"true".to_owned()],
        cwd: "/home/u/job".into(),
        name: "n".to_owned(),
        temp: "/tmp".into(),
        ..Request::default()
    }
}

fn planned(text: &str) -> Plan {
    plan(&profile(text), &host(), &files(), &request()).unwrap()
}

fn refusal(text: &str, host: &Host) -> String {
    let err = plan(&profile(text), host, &files(), &request()).unwrap_err();
    err.to_string()
}

/// What Landlock allows at a path: all rules at it and above it together.
fn access(plan: &Plan, path: &str) -> u64 {
    let landlock = &plan.landlock()[0];
    let rules = landlock.paths.iter();
    rules
        .filter(|rule| Path::new(path).starts_with(&rule.path))
        .fold(0, |all, rule| all | rule.access)
}

const READ: u64 = shown::READ;

#[test]
fn preset_shows_programs_and_the_working_directory_only() {
    let plan = planned("");
    for (path, want) in [
        ("/usr/bin/true", READ),
        ("/home/u/job/x", READ),
        ("/etc/passwd", READ),
        ("/etc/shadow", 0),
        ("/home/u/.ssh", 0),
        ("/root/x", 0),
        ("/srv/a", 0),
        ("/tmp/x", 0),
        ("/proc/1/environ", 0),
        ("/proc/self/status", READ),
        ("/dev/sda", 0),
        ("/dev/null", 1 << 1 | 1 << 2 | 1 << 15),
    ] {
        assert_eq!(access(&plan, path), want, "{path}");
    }
    assert_eq!(plan.landlock()[0].scoped, 3);
    assert_eq!(plan.landlock()[0].network, 3);
    assert_eq!(plan.landlock()[0].filesystem, 0xffff);
}

#[test]
fn hidden_path_is_cut_out_of_an_allowed_one() {
    let text = "[filesystem]\nread_only_paths = [\"/srv\"]\nblocked_paths = [\"/srv/a/x\"]\n";
    let plan = planned(text);
    for (path, want) in [
        ("/srv/a/x", 0),
        ("/srv/a/y", READ),
        ("/srv/b/z", READ),
        // Listing these would list what is hidden.
        ("/srv/a", 0),
        ("/srv", 0),
    ] {
        assert_eq!(access(&plan, path), want, "{path}");
    }
    let through = plan.landlock()[0].paths.iter();
    let links = through.filter(|rule| rule.path == "/srv/link").count();
    assert_eq!(links, 0, "a link allows what it leads to");
}

#[test]
fn path_that_is_read_only_is_cut_out_of_a_writable_one() {
    let text = "[filesystem]\nread_write_paths = [\"/srv\"]\nread_only_paths = [\"/srv/a\"]\n";
    let plan = planned(text);
    let writable = access(&plan, "/srv/b/new");
    assert_eq!(writable, WRITE & 0xffff);
    assert_eq!(access(&plan, "/srv/a/x"), READ);
}

#[test]
fn hidden_directory_that_cannot_be_listed_is_refused_by_its_line() {
    let text = "[filesystem]\nread_only_paths = [\"/srv\"]\nblocked_paths = [\"/srv/a/x\"]\n";
    let made = Made {
        locked: vec!["/srv/a"],
        ..files()
    };
    let err = plan(&profile(text), &host(), &made, &request()).unwrap_err();
    let said = err.to_string();
    let want = "enforce t.toml:5: filesystem.blocked_paths: Landlock can only allow, so that the rest of \
                /srv/a would have to be listed to leave /srv/a/x out, and it cannot be listed";
    assert!(said.starts_with(want), "{said}");
}

#[test]
fn lenient_level_shows_everything_but_what_is_hidden() {
    let plan =
        planned("level = \"lenient\"\nmode = \"enforcing\"\n[network]\nallow_network = false\n");
    for (path, want) in [
        ("/etc/shadow", READ),
        ("/srv/a/x", READ),
        ("/home/u/other", 0),
        ("/home/u/job/x", READ),
        ("/root/x", 0),
        ("/dev/sda", 0),
        ("/proc/1/environ", 0),
    ] {
        assert_eq!(access(&plan, path), want, "{path}");
    }
}

#[test]
fn working_directory_that_is_hidden_is_not_shown() {
    let text = "[filesystem]\nblocked_paths = [\"/home/u\"]\n";
    assert_eq!(access(&planned(text), "/home/u/job/x"), 0);
    let root = Request {
        cwd: "/".into(),
        ..request()
    };
    let plan = plan(&profile(""), &host(), &files(), &root).unwrap();
    assert_eq!(access(&plan, "/srv/a"), 0);
}

#[test]
fn line_without_means_is_refused_or_said() {
    let bare = HOST;
    let old = Host {
        landlock_abi: Some(5),
        ..host()
    };
    let none = Host {
        landlock_abi: None,
        ..host()
    };
    for (text, host, want) in [
        (
            "",
            &bare,
            "level standard:12: limits.memory_limit_bytes: no cgroup can be had",
        ),
        (
            "",
            &old,
            "isolation: the kernel's Landlock does not hold signals",
        ),
        (
            "",
            &none,
            "filesystem.read_only_paths: the kernel has no Landlock",
        ),
        (
            "[limits]\ndisk_quota_bytes = \"1MiB\"\n",
            &host(),
            "a quota of all files together",
        ),
        (
            "[network]\nallow_network = true\n",
            &host(),
            "network.blocked_hosts: hosts and ports cannot",
        ),
        (
            "[network]\nallow_loopback = true\n",
            &host(),
            "loopback alone cannot be allowed",
        ),
        (
            "[filesystem]\nbind_mounts = [{source = \"/a\", target = \"/b\"}]\n",
            &host(),
            "nothing can be mounted without a mount namespace",
        ),
        (
            "[filesystem]\napparmor_profile = \"x\"\n",
            &host(),
            "filesystem.apparmor_profile",
        ),
    ] {
        let said = refusal(text, host);
        assert!(
            said.starts_with("enforce ") && said.contains(want),
            "{text}: {said}"
        );
        if text.contains("bind_mounts") {
            continue;
        }
        let text = format!("on_missing = \"degrade\"\n{text}");
        let plan = plan(&profile(&text), host, &files(), &request()).unwrap();
        let steps = plan.steps().iter();
        let lost = steps.filter(|step| matches!(step.effect, Effect::Degraded(_)));
        assert!(lost.count() > 0, "{text}");
    }
}

#[test]
fn truncation_that_landlock_does_not_hold_is_named() {
    let old = Host {
        landlock_abi: Some(2),
        ..host()
    };
    let said = refusal("", &old);
    assert!(said.contains("does not hold truncate(2)"), "{said}");
    let text = "on_missing = \"degrade\"\n";
    let plan = plan(&profile(text), &old, &files(), &request()).unwrap();
    assert_eq!(plan.landlock()[0].filesystem, 0x3fff);
    assert_eq!(
        (plan.landlock()[0].network, plan.landlock()[0].scoped),
        (0, 0)
    );
}

#[test]
fn permissive_mode_leaves_landlock_out() {
    let plan = planned("mode = \"permissive\"\n");
    assert_eq!(plan.landlock(), &[]);
    assert_eq!(verdict(&plan, "chmod", [0; 6]), Said::Allowed);
}

/// What the filter says, but that LOG lets through as ALLOW does.
fn verdict(plan: &Plan, call: &str, arguments: [u64; 6]) -> Said {
    #[cfg(target_arch = "x86_64")]
    let (audit, numbers) = (
        0xc000_003e,
        [
            ("socket", 41),
            ("connect", 42),
            ("chmod", 90),
            ("socketpair", 53),
            ("prlimit64", 302),
            ("read", 0),
        ],
    );
    #[cfg(target_arch = "aarch64")]
    let (audit, numbers) = (
        0xc000_00b7,
        [
            ("socket", 198),
            ("connect", 203),
            ("chmod", 53),
            ("socketpair", 199),
            ("prlimit64", 261),
            ("read", 63),
        ],
    );
    let (_, number) = numbers.iter().find(|(name, _)| *name == call).unwrap();
    let said = plan.filter().unwrap().verdict(audit, *number, &arguments);
    match said {
        Verdict::ALLOW | Verdict::LOG => Said::Allowed,
        said => Said::Errno(said.as_errno()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Allowed,
    Errno(Option<u16>),
}

#[test]
fn sockets_follow_the_network() {
    let on = "on_missing = \"degrade\"\n[network]\nallow_network = true\n";
    let denied = || Said::Errno(Some(1));
    for (text, family, want) in [
        ("", 1, denied()),
        ("", 2, denied()),
        ("", 10, denied()),
        ("", 16, denied()),
        (on, 1, denied()),
        (on, 2, Said::Allowed),
        (on, 10, Said::Allowed),
        (on, 16, Said::Allowed),
        (on, 17, denied()),
        (on, 40, denied()),
    ] {
        let plan = planned(&format!("{text}[seccomp]\ndefault = \"allow\"\n"));
        let said = verdict(&plan, "socket", [family, 1, 0, 0, 0, 0]);
        assert_eq!(said, want, "{text} {family}");
    }
    let plan = planned("[seccomp]\ndefault = \"allow\"\n");
    for (call, arguments, want) in [
        (
            "socketpair",
            [1, 1 | 0o2_000_000, 0, 0, 0, 0],
            Said::Allowed,
        ),
        ("socketpair", [1, 5, 0, 0, 0, 0], Said::Allowed),
        ("socketpair", [1, 2, 0, 0, 0, 0], denied()),
        ("connect", [3, 0, 0, 0, 0, 0], denied()),
        ("chmod", [0; 6], denied()),
        ("prlimit64", [0; 6], Said::Allowed),
        ("prlimit64", [1, 0, 0, 0, 0, 0], denied()),
        ("read", [0; 6], Said::Allowed),
    ] {
        assert_eq!(
            verdict(&plan, call, arguments),
            want,
            "{call} {arguments:?}"
        );
    }
}

#[test]
fn no_capability_is_kept_that_is_not_listed() {
    let sets = planned("").process.capabilities;
    assert_eq!((sets.bounding, sets.permitted, sets.effective), (0, 0, 0));
    let sets = planned("[process]\ncapabilities = [\"CAP_CHOWN\"]\n")
        .process
        .capabilities;
    assert_eq!((sets.bounding, sets.permitted, sets.inheritable), (1, 1, 0));
}

#[test]
fn limits_become_cgroup_and_rlimits() {
    let plan = planned(
        "[limits]\nmax_open_files = 9\nmax_file_size_bytes = 77\nvirtual_memory_limit_bytes = 99\n\
         cpu_percent_limit = 50\n",
    );
    let bounds: Vec<_> = plan
        .process
        .rlimit_bounds
        .iter()
        .map(|one| (one.resource, one.max))
        .collect();
    for want in [(0, 300), (14, 0), (9, 99), (1, 77), (7, 9), (4, 0)] {
        assert!(bounds.contains(&want), "{want:?}: {bounds:?}");
    }
    let group = plan.group.as_ref().unwrap();
    assert_eq!(group.path, "/greenlang/gl-n");
    let resources = serde(&group.resources);
    assert_eq!(resources, (Some(512 << 20), 32, Some(50_000)));
}

fn serde(resources: &LinuxResources) -> (Option<i64>, i64, Option<i64>) {
    let memory = resources
        .memory()
        .as_ref()
        .and_then(|memory| memory.limit());
    let pids = resources.pids().as_ref().map_or(0, |pids| pids.limit());
    let quota = resources.cpu().as_ref().and_then(|cpu| cpu.quota());
    (memory, pids, quota)
}

#[test]
fn without_a_cgroup_the_user_is_limited_beside_its_others() {
    let user = Host {
        root: false,
        tasks: Some(40),
        ..HOST
    };
    let profile = profile("on_missing = \"degrade\"\n");
    let plan = plan(&profile, &user, &files(), &request()).unwrap();
    let bounds: Vec<_> = plan
        .process
        .rlimit_bounds
        .iter()
        .map(|one| (one.resource, one.max))
        .collect();
    assert!(
        bounds.contains(&(6, 72)) && bounds.contains(&(9, 512 << 20)),
        "{bounds:?}"
    );
    assert_eq!(plan.cgroup(), None);
}

#[test]
fn every_built_in_profile_has_a_plan_or_a_line_that_is_missing() {
    for name in gl_profile::builtin::names() {
        let profile = Profile::resolve(name, &()).unwrap();
        match plan(&profile, &host(), &files(), &request()) {
            Ok(plan) => assert!(!plan.steps().is_empty(), "{name}"),
            Err(err) => assert!(err.to_string().contains("hosts and ports"), "{name}: {err}"),
        }
    }
}
