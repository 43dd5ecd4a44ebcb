//! `gl profile check`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use gl_e2e::bundle::finish;
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use crate::{Scratch, gl, run};

pub(crate) const TESTS: &[Test] = tests![
    check_of_a_good_file_says_nothing,
    check_says_file_and_line_of_each_fault,
    check_goes_on_after_a_broken_file,
    check_warns_and_is_strict_on_demand,
    check_reads_no_more_than_a_profile_may_have,
    file_that_others_choose_or_write_is_refused_for_root,
];

fn check_of_a_good_file_says_nothing() -> Outcome {
    let own = Scratch::profile("extends = [\"compute_only\"]\n");
    let out = run(&["profile", "check", "--strict", &own.path])?.ok();
    assert_eq!((&*out.stdout, &*out.stderr), ("", ""));
    run(&["profile", "check", "--json", &own.path])?
        .ok()
        .prints("[]");
    Ok(())
}

fn file_that_others_choose_or_write_is_refused_for_root() -> Outcome {
    let own = Scratch::profile("");
    let link = format!("{}.link.toml", own.path);
    std::os::unix::fs::symlink(&own.path, &link).unwrap();
    let linked = run(&["run", "--profile", &link, "--", "true"])?;
    let checked = run(&["profile", "check", &link])?;
    fs::remove_file(&link).unwrap();
    for (out, status) in [(linked, 125), (checked, 1)] {
        let out = out.status(status);
        let said = out.stdout + &out.stderr;
        assert!(said.contains("it is a symbolic link"), "{status}: {said}");
    }
    // What the caller hands over is a link, too, but none that others made.
    let mut command = gl(&["profile", "check", "/dev/stdin"])?;
    finish(command.stdin(fs::File::open(&own.path).unwrap())).ok();
    fs::set_permissions(&own.path, fs::Permissions::from_mode(0o646)).unwrap();
    let out = run(&["run", "--profile", &own.path, "--", "true"])?.status(125);
    assert!(out.stderr.contains("everybody may write to it"), "{out:?}");
    Ok(())
}

fn check_says_file_and_line_of_each_fault() -> Outcome {
    for (lines, place, says) in [
        ("umask = 7\n", ":3: ", "umask: unknown key"),
        ("[limits]\nmax_thread = 1\n", ":4: ", "max_threads"),
        ("[limits]\nmax_threads = 0\n", ":4: ", "limits.max_threads"),
        (
            "[limits]\nmemory_limit_bytes = -1\n",
            ":4: ",
            "limits.memory_limit_bytes",
        ),
        ("isolation = \"vm\"\n", ":3: ", "isolation"),
        ("[seccomp]\nallow = [\"raed\"]\n", ":4: ", "read"),
        ("name = \"again\"\n", ":3", "duplicate key"),
        ("x = [1,\n", ":", "own.toml"),
        ("extends = [\"own\"]\n", ":3: ", "extends"),
        (
            "[filesystem]\nmask_paths = [\"/a/../b\"]\n",
            ":4: ",
            "mask_paths",
        ),
    ] {
        let own = Scratch::profile(lines);
        let out = run(&["profile", "check", &own.path])?.status(1);
        assert!(out.stdout.starts_with("error: "), "{lines:?}: {out:?}");
        assert!(
            out.stdout.contains(&format!("{}{place}", own.path)),
            "{lines:?}: no place {place:?} in {out:?}"
        );
        out.contains(says);
        let found = run(&["profile", "check", "--json", &own.path])?
            .status(1)
            .json();
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        assert_eq!(found[0]["severity"], "error");
        assert_eq!(found[0]["file"], json!(own.path));
    }
    Ok(())
}

fn check_goes_on_after_a_broken_file() -> Outcome {
    let (broken, good) = (
        Scratch::profile("a = 1\n"),
        Scratch::profile("mode = \"permissive\"\n"),
    );
    let args = [
        "profile",
        "check",
        "--json",
        &broken.path,
        "/nowhere.toml",
        &good.path,
    ];
    let found = run(&args)?.status(1).json();
    let found: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["file"].as_str().unwrap(),
                one["severity"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (&*broken.path, "error"),
            ("/nowhere.toml", "error"),
            (&*good.path, "warning")
        ]
    );
    Ok(())
}

fn check_warns_and_is_strict_on_demand() -> Outcome {
    for (lines, line, says) in [
        (
            "mode = \"permissive\"\n",
            3,
            "what is not allowed is only logged",
        ),
        (
            "on_missing = \"degrade\"\n",
            3,
            "a layer that the host lacks is left out",
        ),
        (
            "[process]\ncapabilities = [\"CAP_SYS_ADMIN\"]\n",
            4,
            "CAP_SYS_ADMIN can be enough to leave a sandbox",
        ),
        (
            "[seccomp]\ndefault = \"errno EPERM\"\nallow = [\"read\"]\ndeny = [\"read\"]\n",
            5,
            "read is denied at",
        ),
        (
            "[seccomp]\ndefault = \"errno EPERM\"\ngroups = [\"mounts\"]\n",
            5,
            "the group mounts is for administering the system",
        ),
    ] {
        let own = Scratch::profile(lines);
        let out = run(&["profile", "check", &own.path])?.ok();
        let want = format!("warning: {}:{line}", own.path);
        assert!(out.stdout.starts_with(&want), "{want:?}: {out:?}");
        out.contains(says);
        run(&["profile", "check", "--strict", &own.path])?.status(1);
    }
    Ok(())
}

fn check_reads_no_more_than_a_profile_may_have() -> Outcome {
    let huge = Scratch::new("huge.toml", &vec![b'#'; 10 << 20]);
    run(&["profile", "check", &huge.path])?
        .status(1)
        .contains("huge.toml")
        .contains("262144");
    // Of /dev/zero there is no end.
    run(&["profile", "check", "/dev/zero"])?
        .status(1)
        .contains("/dev/zero");
    let wrong = Scratch::new("wrong.toml", b"version = 1\nname = \"\xff\"\n");
    run(&["profile", "check", &wrong.path])?
        .status(1)
        .contains("error: read ")
        .contains("invalid utf-8");
    Ok(())
}
