//! Streams, statuses, terminals, images, bundles, and what is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use gl_e2e::bundle::kernel::eventually;
use gl_e2e::bundle::process::descendants;
use gl_e2e::bundle::{self, Bundle, finish};
use gl_e2e::gl::{Dir, assert_nothing_left, assert_reason, command, ready, run, sh, started};
use gl_e2e::terminal::Terminal;
use gl_e2e::{Outcome, Test, command as process, tests};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{on, reported, root};

pub(crate) const TESTS: &[Test] = tests![
    program_has_a_kernel_of_its_own_and_gives_its_status,
    program_gets_its_streams_and_signals,
    program_on_a_terminal_is_interrupted,
    image_runs_and_its_tree_is_not_written_to,
    bundle_runs_and_its_hooks_before_the_start_are_refused,
    killed_caller_leaves_no_sandbox,
    killed_worker_leaves_no_sandbox_and_is_told,
];

fn program_has_a_kernel_of_its_own_and_gives_its_status() -> Outcome {
    let root = root()?;
    let script = "cat /proc/version; id -u; set -- /proc/[0-9]*; echo $#; exit 7";
    let (output, report) = reported(&root, &[], script);
    let own = fs::read_to_string("/proc/version").unwrap();
    let mut lines = output.stdout.lines();
    let inside = lines.next().unwrap();
    assert!(inside.starts_with("Linux version 4.4.0 "), "{output}");
    assert_ne!(inside, own.trim_end());
    // The shell alone; greenlang's first process has become it.
    assert_eq!(lines.collect::<Vec<_>>(), ["0", "1"], "{output}");
    assert_reason(&output, &report, "exited", 7);
    assert_eq!(report["tier"], "gvisor", "{report:#}");
    let (output, report) = reported(&root, &[], "kill -TERM $$");
    assert_reason(&output, &report, "signal", 143);
    assert_eq!(report["exit"]["signal"], 15, "{report:#}");
    let own = on(&root);
    let args: Vec<&str> = own.iter().map(String::as_str).collect();
    let output = run(&[&args[..], &["--", "no-such-program"]].concat())?;
    assert_eq!(output.status, 125, "{output}");
    assert!(output.stderr.contains("no-such-program"), "{output}");
    Ok(())
}

fn program_gets_its_streams_and_signals() -> Outcome {
    let root = root()?;
    let own = on(&root);
    let args: Vec<&str> = own.iter().map(String::as_str).collect();
    let script = "cat; echo err >&2; exit 4";
    let filter = command(&[&args[..], &["--", "sh", "-c", script]].concat())?;
    let output = process::output_of(filter, b"in\n", Duration::from_secs(40));
    assert_eq!(output.stdout, "in\n", "{output}");
    assert_eq!(output.stderr, "err\n", "{output}");
    assert_eq!(output.status, 4, "{output}");
    let script = "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.1; done";
    let (mut child, _stdout) = ready(command(&[&args[..], &["--", "sh", "-c", script]].concat())?);
    kill_process(Pid::from_child(&child), Signal::USR1).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    Ok(())
}

fn program_on_a_terminal_is_interrupted() -> Outcome {
    let root = root()?;
    let own = on(&root);
    let args: Vec<&str> = own.iter().map(String::as_str).collect();
    let script = "test -t 0 && test -t 1 && echo begun; sleep 60";
    let more = ["--tty", "always", "--", "sh", "-c", script];
    let mut terminal = Terminal::start(&command(&[&args[..], &more].concat())?);
    terminal.expect("begun");
    terminal.press("\u{3}");
    assert_eq!(terminal.wait(), 130);
    Ok(())
}

/// What `docker save` writes of the root.
fn archive(root: &Bundle) -> String {
    let dir = root.dir();
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let script = format!(
        "rmdir rootfs/proc rootfs/dev rootfs/tmp; echo 'web:x:33:34::/:' >>rootfs/etc/passwd
        tar --owner=0 --group=0 -C rootfs -cf layer.tar .; d=$(sha256sum layer.tar | cut -c1-64)
        echo '{{\"architecture\":\"{architecture}\",\"os\":\"linux\",\"config\":{{\"User\":\"web\",\"WorkingDir\":\"/w\",\"Env\":[\"PATH=/bin\"]}},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:'$d'\"]}}}}' >c
        echo '[{{\"Config\":\"c\",\"RepoTags\":[\"a:b\"],\"Layers\":[\"layer.tar\"]}}]' >manifest.json
        h=$(sha256sum c | cut -c1-64); mv c $h.json; sed -i s/\\\"c\\\"/\\\"$h.json\\\"/ manifest.json
        tar -cf image.tar $h.json manifest.json layer.tar"
    );
    let mut command = std::process::Command::new("sh");
    drop(finish(command.args(["-euc", &script]).current_dir(dir)).ok());
    dir.join("image.tar").to_str().unwrap().to_owned()
}

fn image_runs_and_its_tree_is_not_written_to() -> Outcome {
    let root = root()?;
    let mount = ["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/cache"];
    drop(finish(std::process::Command::new("mount").args(mount)).ok());
    let image = archive(&root);
    let trees = || {
        let list =
            "find /var/cache -path '*/rootfs*' -printf '%P %i %y %m %U:%G %T@ %C@ %s\\n' | sort";
        let mut command = std::process::Command::new("sh");
        finish(command.args(["-euc", list])).ok().stdout
    };
    let options = ["--tier", "gvisor", "--image", &image];
    // Unpacked by another tier.
    sh(&options[2..], "true")?.ok();
    let before = trees();
    let script =
        "id; pwd; touch /w/a /a; echo x >/tmp/x && cat /tmp/x; cat /proc/version >/dev/null";
    let output = sh(&options, script)?;
    assert_eq!(output.stdout, "uid=33(web) gid=34\n/w\nx\n", "{output}");
    assert_eq!(output.status, 0, "{output}");
    assert_eq!(trees(), before);
    drop(finish(std::process::Command::new("umount").arg("/var/cache")).ok());
    Ok(())
}

fn bundle_runs_and_its_hooks_before_the_start_are_refused() -> Outcome {
    let root = root()?.args(&["sh", "-c", "cat /proc/version; id -u; exit 3"]);
    let root = root.set("/process/user", json!({"uid": 12, "gid": 12}));
    root.write_config();
    let dir = root.dir().to_str().unwrap().to_owned();
    let output = run(&["--tier", "gvisor", "--bundle", &dir])?;
    assert_eq!(output.status, 3, "{output}");
    let mut lines = output.stdout.lines();
    let kernel = lines.next().unwrap();
    assert!(kernel.starts_with("Linux version 4.4.0 "), "{output}");
    assert_eq!(lines.next(), Some("12"), "{output}");
    for (hook, want) in [
        ("createRuntime", "prestart and createRuntime hooks"),
        ("startContainer", "hooks.startContainer"),
    ] {
        let hooked = Bundle::new().set(&format!("/hooks/{hook}"), json!([{"path": "/bin/true"}]));
        hooked.write_config();
        let dir = hooked.dir().to_str().unwrap().to_owned();
        let output = run(&["--allow", "--tier", "gvisor", "--bundle", &dir])?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
    }
    // After the start they run on the host.
    let mark = root.dir().join("mark");
    let hook = root.dir().join("hook");
    fs::write(&hook, format!("#!/bin/sh\necho ran >{}\n", mark.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let root = root.set("/hooks/poststop", json!([{"path": hook}]));
    root.write_config();
    let output = run(&["--allow", "--tier", "gvisor", "--bundle", &dir])?;
    assert_eq!(output.status, 3, "{output}");
    assert_eq!(fs::read_to_string(mark).unwrap(), "ran\n");
    Ok(())
}

/// runsc's processes that this test has started, and what they have mounted where it sees it.
fn sandboxes() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains("@gvisor"));
    let processes = descendants().into_values();
    let processes = processes.filter(|line| line.contains("runsc"));
    processes.chain(mounts.map(str::to_owned)).collect()
}

fn killed_caller_leaves_no_sandbox() -> Outcome {
    let root = root()?;
    let own = on(&root);
    let args: Vec<&str> = own.iter().map(String::as_str).collect();
    let name = format!("{}gvisor-killed", bundle::tag());
    let mut child = started(&name, &args)?;
    assert_ne!(sandboxes(), Vec::<String>::new());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_left(&name);
    eventually("the end of runsc", || sandboxes().is_empty().then_some(()));
    // At other moments of the setup.
    for millis in [5, 20, 40, 60, 80, 110, 150, 200] {
        let name = format!("{}gvisor-early-{millis}", bundle::tag());
        let more = ["--name", &name, "--", "sleep", "1000"];
        let mut child = command(&[&args[..], &more].concat())?.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_nothing_left(&name);
        eventually("the end of runsc", || sandboxes().is_empty().then_some(()));
    }
    Ok(())
}

fn killed_worker_leaves_no_sandbox_and_is_told() -> Outcome {
    let root = root()?;
    let own = on(&root);
    let args: Vec<&str> = own.iter().map(String::as_str).collect();
    let name = format!("{}gvisor-worker", bundle::tag());
    let mut child = started(&name, &args)?;
    let below = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let worker: i32 = below.split_whitespace().next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(125));
    assert_nothing_left(&name);
    eventually("the end of runsc", || sandboxes().is_empty().then_some(()));
    // Its files, too: what is below the state root is what every sandbox shares.
    let dir = Dir::new("gvisor-again");
    let again = sh(&args, "echo again")?;
    assert_eq!(again.ok(), "again");
    drop(dir);
    Ok(())
}
