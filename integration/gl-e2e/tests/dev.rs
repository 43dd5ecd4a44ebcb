//! What a runtime puts into `/dev`, also where that is to be read-only.

use std::fs;
use std::process::ExitCode;

use gl_e2e::bundle::{self, Bundle, known_elsewhere};
use gl_e2e::{Outcome, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        dev_that_is_read_only_has_everything_in_it,
        tmpfs_that_is_read_only_takes_mounts_and_devices_below,
        tmpfs_that_is_read_only_is_not_confused_with_what_covers_it,
        link_to_the_kernels_memory_is_there_only_with_it,
    ])
}

fn dev_that_is_read_only_has_everything_in_it() -> Outcome {
    let script = "test -c /dev/null && test -c /dev/ptmx && test -L /dev/stdin && \
                  test -d /dev/shm && touch /dev/shm/x && echo y > /dev/null && echo there; \
                  touch /dev/x 2>&1; mkdir /dev/y 2>&1";
    let mut box_ = Bundle::sh(script);
    let mounts = box_.config["mounts"].as_array_mut();
    let dev = mounts.and_then(|all| all.iter_mut().find(|m| m["destination"] == "/dev"));
    dev.expect("a mount at /dev")["options"] = json!(["nosuid", "mode=755", "ro"]);
    box_.run().status(1).prints(
        "there\ntouch: /dev/x: Read-only file system\n\
         mkdir: can't create directory '/dev/y': Read-only file system",
    );
    Ok(())
}

fn tmpfs_that_is_read_only_takes_mounts_and_devices_below() -> Outcome {
    let zero = json!({"path": "/data/own/zero", "type": "c", "major": 1, "minor": 5});
    let script = "test -c /data/own/zero && touch /data/in/x && echo there; \
                  touch /data/x 2>&1; touch /data/own/x 2>&1";
    let box_ = Bundle::sh(script)
        .mount("tmpfs", "tmpfs", "/data", &["ro"])
        .mount("tmpfs", "tmpfs", "/data/in", &[])
        .push("/linux/devices", zero);
    box_.run().status(1).prints(
        "there\ntouch: /data/x: Read-only file system\n\
         touch: /data/own/x: Read-only file system",
    );
    Ok(())
}

fn tmpfs_that_is_read_only_is_not_confused_with_what_covers_it() -> Outcome {
    known_elsewhere("the mount on top is made read-only in its place", || {
        let script = "touch /x && touch /data/x 2>&1; touch /over/x && echo over";
        Bundle::sh(script)
            .mount("tmpfs", "tmpfs", "/data", &["ro"])
            .mount("tmpfs", "tmpfs", "/over", &["ro"])
            .mount("tmpfs", "tmpfs", "/over", &["rw"])
            .run()
            .ok()
            .prints("touch: /data/x: Read-only file system\nover");
    })
}

fn link_to_the_kernels_memory_is_there_only_with_it() -> Outcome {
    let want = match fs::metadata("/proc/kcore") {
        Ok(_) => "/proc/kcore",
        Err(_) => "none",
    };
    let box_ = Bundle::sh("readlink /dev/core || echo none");
    box_.run().ok().prints(want);
    Ok(())
}
