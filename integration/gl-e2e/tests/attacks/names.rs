//! Names that a caller chooses and that become files of the host: ids, cgroup paths, unified keys.
//!
//! That ten thousand ids are accepted exactly where each character is, and that no cgroup path
//! leaves its hierarchy, is shown by the crates (`gl-spec`, `gl-cgroup`); here the files are seen.
#![expect(clippy::panic, reason = "a test fails by panicking with what was seen")]

use std::fs;

use gl_e2e::bundle::{self, Bundle, Host, host, known_elsewhere, rounds};
use gl_e2e::random::Random;
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{harmless, victim};

pub(crate) const TESTS: &[Test] = tests![
    ids_at_random_stay_inside,
    ids_and_cgroup_paths_at_random_stay_inside,
    ids_of_the_table_are_taken_or_refused,
    unified_keys_and_classes_of_the_cache_stay_in_their_directory,
];

fn string(random: &mut Random) -> String {
    let length = 1 + random.below(12);
    (0..length).map(|_| *random.pick(&ALPHABET)).collect()
}

const ALPHABET: [&str; 16] = [
    "a", ".", "..", "/", "-", "_", "+", " ", "\n", "~", "é", "../", "%", "\\", ":", "@",
];

fn valid(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    !id.is_empty() && id.chars().all(allowed) && id != "." && id != ".."
}

fn ids_at_random_stay_inside() -> Outcome {
    let mut random = Random::new(1);
    let box_ = Bundle::new();
    box_.write_config();
    let host = Host::before(&box_, &[&victim()]);
    // Ten thousand in the long form.
    for _ in 0..rounds(60) * 5 {
        let id = string(&mut random);
        // A leading dash would be an option.
        let out = box_.call(&["state", "--", &id]).failed();
        if valid(&id) {
            out.says("does not exist");
        }
    }
    host.unchanged_soon("state of ids at random");
    Ok(())
}

fn ids_and_cgroup_paths_at_random_stay_inside() -> Outcome {
    let mut random = Random::new(2);
    let box_ = Bundle::new();
    box_.write_config();
    let host = Host::before(&box_, &[&victim()]);
    for _ in 0..rounds(40) {
        let id = string(&mut random);
        for verb in [&["create"][..], &["delete", "--force"]] {
            let mut args = verb.to_vec();
            args.extend(["--", &id]);
            let out = box_.call(&args);
            if !valid(&id) && verb != ["delete", "--force"] {
                assert!(out.code > 0, "{id:?}: {out:?}");
            }
        }
        host.unchanged_soon(&id);
    }
    for _ in 0..rounds(30) {
        let path = format!("/{}{}/{}", bundle::tag(), "path", string(&mut random));
        let box_ = Bundle::new()
            .args(&["true"])
            .set("/linux/cgroupsPath", json!(path));
        let out = box_.run();
        assert!(out.code >= 0, "{path:?}: {out:?}");
    }
    remove_cgroups_of_this_test();
    Ok(())
}

fn remove_cgroups_of_this_test() {
    for dir in host::cgroups_of(&bundle::tag()).iter().rev() {
        fs::remove_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    }
}

fn ids_of_the_table_are_taken_or_refused() -> Outcome {
    let long = "a".repeat(1025);
    for id in [
        "", ".", "..", "a/b", "../x", "/", "a b", "a\n", "é", "a:b", &long,
    ] {
        let box_ = Bundle::new();
        box_.write_config();
        let host = Host::before(&box_, &[&victim()]);
        let out = box_.call(&["create", "--", id]).failed();
        assert_eq!(out.stdout, "", "{id:?}: {out:?}");
        host.unchanged_soon(id);
    }
    for id in ["-", "_+.-", "..a", "a..", "+"] {
        let box_ = Bundle::new().with_id(&format!("{}{id}", bundle::tag()));
        box_.create().ok();
        assert_eq!(box_.status(), "created", "{id}");
        box_.delete_force().ok();
    }
    Ok(())
}

fn unified_keys_and_classes_of_the_cache_stay_in_their_directory() -> Outcome {
    known_elsewhere("looks at them on cgroup v2 only", || {
        for key in [
            "../x",
            "/etc/x",
            "..",
            ".",
            "",
            "a/b",
            "a\0b",
            "memory.high/../x",
        ] {
            let unified = json!({ key: "1" });
            let box_ = Bundle::new().set("/linux/resources/unified", unified);
            harmless(&box_, &[], key).failed().says("unified");
        }
        for id in ["../x", "a/b", "..", ".", "/"] {
            let rdt = json!({"closID": id, "l3CacheSchema": "L3:0=f"});
            let box_ = Bundle::new().set("/linux/intelRdt", rdt);
            harmless(&box_, &[], id).failed().says("intelRdt");
        }
    })
}
