//! Images and bundles of a user without root, who owns a range of ids.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use gl_e2e::bundle::process::finish;
use gl_e2e::gl::gl;
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use crate::made::Made;

pub(crate) const TESTS: &[Test] = tests![
    user_runs_an_image_with_its_owners_and_prunes_it,
    user_without_ranges_is_told_about_them,
];

/// Becomes a user with an account, with ranges of ids if `$IDS` says so, in a mount namespace of its own.
const LOGIN: &str = "set -e; cd /; mount -t tmpfs -o mode=755 tmpfs /mnt; U=54321; \
    { cat /etc/passwd; echo gltest:x:$U:$U::/:/bin/sh; } >/mnt/passwd; \
    { cat /etc/group; echo gltest:x:$U:; } >/mnt/group; : >/mnt/ids; \
    if [ $IDS = yes ]; then echo gltest:300000:65536 >/mnt/ids; fi; \
    for file in subuid subgid; do mount --bind /mnt/ids /etc/$file; done; \
    for file in passwd group; do mount --bind /mnt/$file /etc/$file; done; \
    for dir in home run; do mkdir -m 700 /mnt/$dir; chown $U:$U /mnt/$dir; done; \
    export HOME=/mnt/home XDG_RUNTIME_DIR=/mnt/run; unset XDG_CACHE_HOME; cd /mnt/home; \
    exec setpriv --reuid $U --regid $U --clear-groups -- sh -c \"$SCRIPT\"";

/// A script of that user; `$G` is gl, `$I` an image with a directory that belongs to `web`.
fn as_user(made: &Made, ids: &str, script: &str) -> Result<gl_e2e::bundle::Output, gl_e2e::Skip> {
    let program = made.path("gl");
    fs::copy(gl()?, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    made.sh("mkdir root/own; echo own >root/own/f; chown -R 33:34 root/own; chmod 700 root/own");
    made.sh("tar --numeric-owner -C root -cf layer.tar .");
    let (image, _) = made.archive(&json!({"Cmd": ["sh"], "Env": ["PATH=/bin"], "User": "web"}));
    fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", LOGIN])
        .env("G", &program)
        .env("I", &image)
        .env("IDS", ids)
        .env("SCRIPT", script);
    Ok(finish(&mut command))
}

const RUN: &str = "\"$G\" run --allow --on-missing degrade --image \"$I\" --";

fn user_runs_an_image_with_its_owners_and_prunes_it() -> Outcome {
    let made = Made::new();
    let script = format!(
        "{RUN} sh -c 'id -u; cat /own/f; stat -c %u:%g /own /mark; touch /own/g; cat /proc/self/uid_map'; \
        {RUN} cat /own/f; \"$G\" image prune --json; find . -name f"
    );
    let out = as_user(&made, "yes", &script)?.ok();
    let words: Vec<&str> = out.stdout.split_whitespace().take(11).collect();
    let want = [
        "33", "own", "33:34", "0:0", "0", "54321", "1", "1", "300000", "65536", "own",
    ];
    assert_eq!(words, want, "{out:?}");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
    let rest = out.stdout.split_once('{').unwrap().1;
    assert!(rest.contains("\"in_use\": []"), "{out:?}");
    assert!(!rest.contains("\"removed\": []"), "{out:?}");
    // And find has found nothing.
    assert!(rest.trim_end().ends_with('}'), "{out:?}");
    Ok(())
}

fn user_without_ranges_is_told_about_them() -> Outcome {
    let made = Made::new();
    let out = as_user(&made, "no", &format!("{RUN} true; echo $?; ls -A"))?.ok();
    assert_eq!(out.stdout, "125\n", "{out:?}");
    assert!(out.stderr.contains("/etc/subuid"), "{out:?}");
    Ok(())
}
