//! `gl profile export`: what other programs make of it.

use std::path::Path;
use std::process::Command;

use gl_e2e::bundle::{Bundle, finish};
use gl_e2e::{Outcome, Skip, Test, tests};
use serde_json::{Value, json};

use crate::profile::BUILT_IN;
use crate::{Scratch, run};

pub(crate) const TESTS: &[Test] = tests![
    export_seccomp_is_a_section_that_runtimes_take,
    export_seccomp_without_a_filter_is_refused,
    export_oci_is_a_config_that_runtimes_run,
    export_apparmor_is_a_profile_with_the_name,
    export_wants_one_form,
];

/// Runtimes that are not ours, where they are installed.
fn others() -> impl Iterator<Item = &'static str> {
    let there = |name: &&str| {
        let dirs = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"];
        dirs.iter().any(|dir| Path::new(dir).join(name).is_file())
    };
    ["runc", "crun"].into_iter().filter(there)
}

/// Runs the bundle with another runtime, with state of its own. Crun refuses hosts with both versions
/// of cgroups, so it does not see the second one.
fn run_with(runtime: &str, bundle: &Bundle) -> gl_e2e::bundle::Output {
    bundle.write_config();
    let root = bundle.outside("other-state");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified; exec \"$@\"")
        .args(["sh", runtime, "--root"])
        .arg(root)
        .args(["run", bundle.id()]);
    finish(command.current_dir(bundle.dir()))
}

/// Under what a process runs, and one call that every profile denies: a mount.
const LOOK: &str =
    "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; mount -t tmpfs x /tmp || echo denied";

const SEEN: &str = "NoNewPrivs:\t1\nSeccomp:\t2\ndenied";

fn exported(name: &str, form: &str) -> Result<Value, Skip> {
    Ok(run(&["profile", "export", form, name])?.ok().json())
}

fn export_seccomp_is_a_section_that_runtimes_take() -> Outcome {
    for name in [
        "default",
        "data_processing",
        "network_client",
        "blocked_dangerous",
    ] {
        let section = exported(name, "--seccomp")?;
        let bundle = Bundle::sh(LOOK)
            .set("/linux/seccomp", section)
            .set("/process/noNewPrivileges", json!(true));
        bundle.run().ok().prints(SEEN);
        for runtime in others() {
            run_with(runtime, &bundle).ok().prints(SEEN);
        }
    }
    Ok(())
}

fn export_seccomp_without_a_filter_is_refused() -> Outcome {
    let own = Scratch::profile("");
    let out = run(&["profile", "export", "--seccomp", &own.path])?.status(1);
    assert_eq!(out.stdout, "");
    out.says("the profile has no key in [seccomp]");
    Ok(())
}

fn export_oci_is_a_config_that_runtimes_run() -> Outcome {
    for name in BUILT_IN {
        // Compute-only starts no second program, and lenient only logs what others deny.
        let (script, want) = match name {
            "compute_only" => ("read -r line </proc/self/limits; echo \"$line\"", None),
            "lenient" => ("echo ready", Some("ready")),
            _ => (LOOK, Some(SEEN)),
        };
        let mut bundle = Bundle::new();
        bundle.config = exported(name, "--oci")?;
        let bundle = bundle
            .set("/process/terminal", json!(false))
            .set("/process/args", json!(["/bin/sh", "-c", script]));
        let mut runs = vec![bundle.run()];
        // An older runtime takes nothing but versions that it knows.
        let bundle = bundle.set("/ociVersion", json!("1.0.2"));
        runs.extend(others().map(|runtime| run_with(runtime, &bundle)));
        for out in runs {
            match want {
                Some(want) => out.ok().prints(want),
                None => out.ok().contains("Limit"),
            };
        }
    }
    Ok(())
}

fn export_apparmor_is_a_profile_with_the_name() -> Outcome {
    let text = run(&["profile", "export", "--apparmor", "compute_only"])?.ok();
    text.clone()
        .contains("profile greenlang-sandbox-compute_only flags=")
        .contains("deny network raw");
    let parser = finish(Command::new("sh").args(["-c", "command -v apparmor_parser"]));
    if parser.code != 0 {
        return Ok(());
    }
    let file = Scratch::new("profile", text.stdout.as_bytes());
    let mut check = Command::new("apparmor_parser");
    finish(check.args(["--skip-kernel-load", "--skip-cache", &file.path])).ok();
    Ok(())
}

fn export_wants_one_form() -> Outcome {
    run(&["profile", "export", "default"])?
        .status(2)
        .says("--seccomp|--apparmor|--oci");
    run(&["profile", "export", "--oci", "--seccomp", "default"])?
        .status(2)
        .says("cannot be used with");
    Ok(())
}
