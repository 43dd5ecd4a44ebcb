//! Images: what their config says, and the cache.

use std::fs;

use gl_e2e::bundle::{self, kernel::eventually};
use gl_e2e::command;
use gl_e2e::gl::{
    Dir, assert_nothing_left, assert_reason, command as gl, reported, run, sh, started,
};
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

use crate::made::{Made, cache, entries, trees};

pub(crate) const TESTS: &[Test] = tests![
    layout_runs_by_its_config,
    archive_of_docker_save_runs_as_well,
    command_goes_after_the_entry_point_and_takes_the_place_of_cmd,
    variables_of_the_image_are_over_the_clean_ones_and_under_the_callers,
    user_is_found_in_the_image_alone,
    working_directory_is_the_images_or_one_that_is_there,
    image_is_unpacked_once_and_never_written_to,
    image_in_use_is_not_pruned,
    limits_of_the_profile_hold,
    killed_caller_leaves_nothing_of_an_image,
    progress_is_not_on_standard_output,
];

fn reported_image(image: &str, options: &[&str], words: &[&str]) -> (command::Output, Value) {
    let dir = Dir::new("report");
    let file = dir.path("report.json");
    let args = [&["--image", image, "--report", &file], options, words].concat();
    let output = run(&args).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    (output, serde_json::from_str(&text).unwrap())
}

/// What `sh` is: the user of most images here.
fn shell() -> Value {
    json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]})
}

fn layout_runs_by_its_config() -> Outcome {
    cache();
    gl(&[])?;
    let made = Made::new();
    let (image, digest) = made.layout(&json!({
        "User": "web", "WorkingDir": "/app", "Env": ["PATH=/bin", "FROM=image"],
        "Entrypoint": ["sh", "-c"],
        "Cmd": ["cat /mark; id; pwd; echo $FROM; (echo x >/tmp/x) && cat /tmp/x; exit 7"],
    }));
    let (output, report) = reported_image(&image, &[], &[]);
    let mark = fs::read_to_string(made.path("root/mark")).unwrap();
    let want = format!("{mark}uid=33(web) gid=34(www) groups=4(logs)\n/app\nimage\nx\n");
    assert_eq!(output.stdout, want, "{output}");
    assert_reason(&output, &report, "exited", 7);
    assert_eq!(report["tier"], "container", "{report:#}");
    assert_eq!(report["image"]["digest"], digest, "{report:#}");
    assert_eq!(report["image"]["reference"], image, "{report:#}");
    assert_eq!(report["command"][0], "sh", "{report:#}");
    Ok(())
}

fn archive_of_docker_save_runs_as_well() -> Outcome {
    cache();
    gl(&[])?;
    let made = Made::new();
    let (image, digest) = made.archive(&shell());
    let script = "cat /mark; id -u; echo x >/new; grep CapBnd /proc/self/status; ls /usr";
    for reference in [image.clone(), format!("{image}:box:1")] {
        let (output, report) = reported_image(&reference, &[], &["--", "sh", "-c", script]);
        let mark = fs::read_to_string(made.path("root/mark")).unwrap();
        let want = format!("{mark}0\nCapBnd:\t0000000000000000\n");
        assert_eq!(output.stdout, want, "{output}");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        assert_eq!(report["image"]["digest"], digest, "{report:#}");
    }
    made.sh("gzip image.tar");
    let image = made.arg("image.tar.gz");
    let output = run(&["--image", &image, "--", "cat", "/mark"])?;
    assert_eq!(output.ok(), made.sh("cat root/mark").trim_end());
    Ok(())
}

fn command_goes_after_the_entry_point_and_takes_the_place_of_cmd() -> Outcome {
    cache();
    for (entry, cmd, given, want) in [
        (&["echo", "e"][..], &["c"][..], &[][..], "e c"),
        (&["echo", "e"], &["c"], &["g", "h"], "e g h"),
        (&["echo", "e"], &[], &[], "e"),
        (&[], &["echo", "c"], &[], "c"),
        (&[], &["echo", "c"], &["echo", "g"], "g"),
        (&[], &[], &["echo", "g"], "g"),
        (&["echo"], &["c"], &["--", "-x"], "-- -x"),
    ] {
        let made = Made::new();
        let (image, _) =
            made.archive(&json!({"Entrypoint": entry, "Cmd": cmd, "Env": ["PATH=/bin"]}));
        let words = [&["--image", &image, "--"], given].concat();
        let words = if given.is_empty() {
            &words[..2]
        } else {
            &words[..]
        };
        let output = run(words)?;
        assert_eq!(output.ok(), want, "{entry:?} {cmd:?} {given:?}: {output}");
    }
    Ok(())
}

fn variables_of_the_image_are_over_the_clean_ones_and_under_the_callers() -> Outcome {
    cache();
    let made = Made::new();
    let env = ["PATH=/bin", "A=image", "B=image", "HOME=/app", "odd"];
    let (image, _) = made.archive(&json!({"Cmd": ["env"], "Env": env}));
    let mut command = gl(&[
        "--image", &image, "--env", "B=caller", "--env", "C", "--env", "D",
    ])?;
    command
        .env("C", "passed")
        .env("SECRET", "hidden")
        .env_remove("D");
    let output = command::output(command);
    let seen = output.ok();
    for want in [
        "A=image",
        "B=caller",
        "C=passed",
        "HOME=/app",
        "PATH=/bin",
        "TMPDIR=/tmp",
    ] {
        assert!(seen.lines().any(|line| line == want), "{want} in {seen}");
    }
    for hidden in ["SECRET", "D=", "odd", "B=image"] {
        assert!(!seen.contains(hidden), "{hidden} in {seen}");
    }
    Ok(())
}

fn user_is_found_in_the_image_alone() -> Outcome {
    cache();
    let made = Made::new();
    for (user, want) in [
        ("web", "uid=33(web) gid=34(www) groups=4(logs)"),
        ("33", "uid=33(web) gid=34(www) groups=4(logs)"),
        ("web:logs", "uid=33(web) gid=4(logs)"),
        ("4321:8765", "uid=4321 gid=8765"),
        ("4321", "uid=4321 gid=0(root)"),
        ("", "uid=0(root) gid=0(root)"),
    ] {
        let config = json!({"User": user, "Cmd": ["id"], "Env": ["PATH=/bin"]});
        let (image, _) = made.archive(&config);
        let output = run(&["--image", &image])?;
        // With itself among the groups, or not.
        let seen = output.ok().replace(" groups=0(root)", "");
        assert_eq!(seen, want, "{user:?}: {output}");
    }
    // The host has such a file, and the image a link to it.
    made.write("accounts", "mallory:x:77:77::/:/bin/sh\n");
    let outside = made.arg("accounts");
    let linked = Made::new();
    linked.sh(&format!(
        "rm root/etc/passwd; ln -s {outside} root/etc/passwd"
    ));
    for user in ["mallory", "web"] {
        let (image, _) = linked.archive(&json!({"User": user, "Cmd": ["id"]}));
        let output = run(&["--image", &image])?;
        assert_eq!(output.status, 125, "{output}");
        let want = format!("find the user {user:?} of the image");
        assert!(output.stderr.contains(&want), "{output}");
    }
    Ok(())
}

fn working_directory_is_the_images_or_one_that_is_there() -> Outcome {
    cache();
    let made = Made::new();
    made.sh("mkdir -p root/srv/data; ln -s /srv/data root/srv/link");
    let config = json!({"Cmd": ["pwd"], "Env": ["PATH=/bin"], "WorkingDir": "not/there/yet"});
    let (image, _) = made.archive(&config);
    for (options, want) in [
        (&[][..], "/not/there/yet"),
        (&["--chdir", "/srv/data"], "/srv/data"),
        (&["--chdir", "/srv/link"], "/srv/data"),
        (&["--chdir", "/tmp/new"], "/tmp/new"),
        (&["--chdir", "/"], "/"),
    ] {
        let output = run(&[&["--image", &image], options, &["--", "pwd"]].concat())?;
        assert_eq!(output.ok(), want, "{options:?}: {output}");
    }
    for (dir, want) in [
        ("/none", "the image has no such directory"),
        ("/tmp/../none", "the image has no such directory"),
        ("/mark", "it is no directory of the image"),
        ("srv", "it does not begin with a slash"),
    ] {
        let output = run(&["--image", &image, "--chdir", dir, "--", "pwd"])?;
        assert_eq!(output.status, 125, "{output}");
        let want = format!("gl: --chdir {dir}: {want}\n");
        assert!(output.stderr.starts_with(&want), "{want:?} in {output}");
    }
    Ok(())
}

fn image_is_unpacked_once_and_never_written_to() -> Outcome {
    cache();
    gl(&[])?;
    let made = Made::new();
    let (image, _) = made.layout(&json!({"Cmd": ["sh"], "Env": ["PATH=/bin"], "WorkingDir": "/w"}));
    let before = entries();
    let script =
        "touch /a /bin/a /w/a; mkdir /proc/a /b; chmod 777 /mark; rm /mark; echo x >>/mark; true";
    sh(&["--image", &image], script)?.ok();
    let mut new = entries();
    new.retain(|entry| !before.contains(entry));
    assert_eq!(new.len(), 1, "{new:?}");
    let first = trees();
    // Its layers are not read again: they may even be something else.
    made.sh("cd layout/blobs/sha256; f=$(ls -S | head -1); s=$(stat -c %s $f); head -c $s /dev/zero >$f");
    for _ in 0..2 {
        sh(&["--image", &image], script)?.ok();
    }
    assert_eq!(trees(), first);
    let (output, _) = reported(&["--image", &image], "cat /mark")?;
    assert_eq!(output.ok(), made.sh("cat root/mark").trim_end());
    Ok(())
}

/// What `gl image prune` says.
fn prune() -> Value {
    let mut command = std::process::Command::new(gl(&[]).unwrap().get_program());
    command.args(["image", "prune", "--json"]);
    serde_json::from_str(command::output(command).ok()).unwrap()
}

fn image_in_use_is_not_pruned() -> Outcome {
    cache();
    gl(&[])?;
    let made = Made::new();
    let (image, _) = made.archive(&shell());
    let before = entries();
    let name = format!("{}pruned", bundle::tag());
    let mut child = started(&name, &["--image", &image])?;
    let mut new = entries();
    new.retain(|entry| !before.contains(entry));
    let pruned = prune();
    assert_eq!(pruned["in_use"], json!(new), "{pruned:#}");
    assert_eq!(entries(), new);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_left(&name);
    eventually("the end of the lock", || {
        (prune()["removed"] == json!(new)).then_some(())
    });
    assert_eq!(entries(), Vec::<String>::new());
    Ok(())
}

fn limits_of_the_profile_hold() -> Outcome {
    cache();
    gl(&[])?;
    let made = Made::new();
    let (image, _) = made.archive(&shell());
    let options = ["--image", &image, "--timeout", "1s"];
    let (output, report) = reported(&options, "sleep 60")?;
    assert_reason(&output, &report, "timeout", 124);
    let options = ["--image", &image, "--memory", "32MiB"];
    let (output, report) = reported(&options, "head -c 200000000 /dev/zero | tail")?;
    assert_reason(&output, &report, "oom", 121);
    let (output, report) = reported(
        &["--image", &image, "--hide", "/mark"],
        "cat /mark; unshare -r true",
    )?;
    assert!(!output.stdout.contains("image"), "{output}");
    let denials = report["denials"].as_array().unwrap();
    let all: Vec<_> = denials.iter().map(|one| &one["what"]).collect();
    assert!(all.contains(&&json!("unshare")), "{report:#}");
    Ok(())
}

fn killed_caller_leaves_nothing_of_an_image() -> Outcome {
    cache();
    let made = Made::new();
    let (image, _) = made.archive(&shell());
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let name = format!("{}killed-image", bundle::tag());
    let mut child = started(&name, &["--image", &image])?;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_left(&name);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    Ok(())
}

fn progress_is_not_on_standard_output() -> Outcome {
    cache();
    let made = Made::new();
    // Some seconds of work, in a debug build and in another.
    made.sh("head -c 30000000 /dev/urandom >root/large");
    let (image, _) = made.archive(&shell());
    let output = run(&["--image", &image, "--", "echo", "out"])?;
    assert_eq!(output.ok(), "out", "{output}");
    let said = output.stderr.lines().collect::<Vec<_>>();
    assert!(
        said.is_empty() || said == ["gl: unpacking image.tar"],
        "{output}"
    );
    let mut command = std::process::Command::new(gl(&[])?.get_program());
    command.args(["image", "prune"]);
    command::output(command).ok();
    Ok(())
}
