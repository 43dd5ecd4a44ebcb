//! The examples in `bundles/`: each prints what its README promises, and what it says is denied is
//! denied by the profile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gl_e2e::bundle::{self, Output, finish};
use gl_e2e::{Outcome, Skip, Test, tests};
use serde_json::Value;

pub(crate) const TESTS: &[Test] = tests![
    example_default_prints_what_it_promises,
    example_compute_only_prints_what_it_promises,
    example_data_processing_prints_what_it_promises,
    example_network_client_prints_what_it_promises,
    example_blocked_dangerous_prints_what_it_promises,
    every_profile_that_is_not_a_level_has_an_example,
    example_that_does_not_exist_is_refused,
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundles")
}

fn run(folder: &Path, name: &str) -> Output {
    let mut command = Command::new(folder.join("run"));
    finish(command.args([name, "--runtime"]).arg(bundle::runtime()))
}

/// A copy of all examples whose containers name no profile, gone when dropped.
struct Bare(PathBuf);

impl Bare {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("{}bundles", bundle::tag()));
        finish(Command::new("cp").arg("-r").args([&folder(), &dir])).ok();
        Self(dir)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn example(name: &str) -> Outcome {
    if !bundle::is_greenlang() {
        return Err(Skip("profiles are greenlang's".to_owned()));
    }
    let dir = folder().join(name);
    let expected = fs::read_to_string(dir.join("expected")).unwrap();
    assert!(expected.contains("\ndenied: "), "{expected}");
    let out = run(&folder(), name).ok();
    assert_eq!((&*out.stdout, &*out.stderr), (&*expected, ""));
    let readme = fs::read_to_string(dir.join("README.md")).unwrap();
    for line in expected.lines() {
        assert!(
            readme.contains(&format!("\n    {line}\n")),
            "{line:?} is not in {readme}"
        );
    }
    // The same without the profile does all of it.
    let bare = Bare::new();
    let path = bare.0.join(name).join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(config["annotations"]["dev.greenlang.profile"], name);
    config.as_object_mut().unwrap().remove("annotations");
    // As a file of many lines, like the one that it stands for.
    fs::write(&path, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
    let out = run(&bare.0, name).ok();
    let allowed = expected
        .lines()
        .filter(|line| !line.starts_with("denied: "));
    assert_eq!(
        out.stdout.lines().collect::<Vec<_>>(),
        allowed.collect::<Vec<_>>()
    );
    Ok(())
}

fn example_default_prints_what_it_promises() -> Outcome {
    example("default")
}

fn example_compute_only_prints_what_it_promises() -> Outcome {
    example("compute_only")
}

fn example_data_processing_prints_what_it_promises() -> Outcome {
    example("data_processing")
}

fn example_network_client_prints_what_it_promises() -> Outcome {
    example("network_client")
}

fn example_blocked_dangerous_prints_what_it_promises() -> Outcome {
    example("blocked_dangerous")
}

fn every_profile_that_is_not_a_level_has_an_example() -> Outcome {
    let listed = crate::run(&["profile", "list", "--json"])?.ok().json();
    let names = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap());
    let levels = ["lenient", "standard", "high", "maximum"];
    for name in names.filter(|name| !levels.contains(name)) {
        assert!(folder().join(name).join("config.json").is_file(), "{name}");
    }
    Ok(())
}

fn example_that_does_not_exist_is_refused() -> Outcome {
    for (name, says) in [
        (
            "compute",
            "run: there is no example compute, but: blocked_dangerous compute_only",
        ),
        (
            "../bundles/default",
            "run: there is no example ../bundles/default",
        ),
        ("--what", "run: unknown option --what"),
    ] {
        let out = run(&folder(), name).status(2).says(says);
        assert_eq!(out.stdout, "");
    }
    Ok(())
}
