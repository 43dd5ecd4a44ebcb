//! The AppArmor profile that greenlang makes for a container with a profile.
//!
//! It is in the kernel for as long as the container, whatever happens to either, and in force for init
//! and for exec on top of the profile that the engine names.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::kernel::proc_file;
use gl_e2e::bundle::settings::Setting;
use gl_e2e::bundle::trace::places;
use gl_e2e::bundle::{self, Bundle, Host, rounds, tag};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        generated_profile_lives_as_long_as_the_container,
        generated_profile_is_stacked_with_the_engines,
        generated_profile_denies_a_mount,
        generated_profile_denies_a_write_to_sysctls,
        generated_profile_complains_in_permissive_mode,
        blocked_paths_are_denied_by_apparmor,
        signals_reach_processes_of_the_container,
        failed_create_unloads_the_profile,
        create_killed_anywhere_leaves_no_profile,
    ])
}

fn needs_apparmor() -> Outcome {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    match enabled {
        Ok(text) if text.trim() == "Y" => Ok(()),
        _ => Err(Skip("AppArmor is off".to_owned())),
    }
}

fn annotated(bundle: Bundle, profile: &str) -> Bundle {
    bundle.set("/annotations", json!({"dev.greenlang.profile": profile}))
}

/// The name of the profile that is made for a container, as the kernel shows it.
fn generated(box_: &Bundle, profile: &str) -> String {
    let root = fs::metadata(box_.state_root()).unwrap();
    let (dev, inode) = (root.dev(), root.ino());
    format!(
        ":greenlang-sandbox-{dev:x}.{inode:x}-{}:{profile}",
        box_.id()
    )
}

/// All profiles of greenlang's that the kernel has, with their modes.
fn loaded() -> Vec<String> {
    let all = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    let own = all
        .lines()
        .filter(|line| line.starts_with(":greenlang-sandbox-"));
    own.map(str::to_owned).collect()
}

fn current(pid: i32) -> String {
    proc_file(pid, "attr/current").trim_end().to_owned()
}

/// A profile as an engine has it, which denies to write below `/data`; unloaded when dropped.
struct Engines(String);

impl Engines {
    fn load() -> Self {
        let name = format!("{}engine", tag());
        parser(
            "--replace",
            &format!(
                "profile {name} flags=(attach_disconnected,mediate_deleted) {{
                     file, capability, network, mount, umount, ptrace, deny /data/** w,
                     signal (receive) peer=unconfined, signal (send,receive) peer={name},
                 }}\n"
            ),
        );
        Self(name)
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        parser("--remove", &format!("profile {} {{ }}\n", self.0));
    }
}

fn parser(verb: &str, text: &str) {
    let mut child = Command::new("apparmor_parser")
        .args([verb, "--skip-cache"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let status = child.wait().unwrap();
    assert!(status.success(), "apparmor_parser {verb}: {status}\n{text}");
}

/// A container whose capabilities let it mount.
fn mighty(script: &str) -> Bundle {
    let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let sets = json!({"bounding": all, "effective": all, "permitted": all});
    let box_ = Bundle::sh(script).set("/process/capabilities", sets);
    box_.dir_in("mnt");
    box_
}

fn generated_profile_lives_as_long_as_the_container() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aalife", "");
    let box_ = annotated(Bundle::new(), "aalife").idle();
    let name = format!("{} (enforce)", generated(&box_, "aalife"));
    assert_eq!(loaded(), [name.as_str()], "while it runs");
    assert_eq!(current(box_.pid()), name);
    box_.delete_force().ok();
    assert_eq!(loaded(), [""; 0], "after delete");
    let created = annotated(Bundle::new(), "aalife");
    created.create().ok();
    assert_eq!(loaded().len(), 1, "after create alone");
    created.delete().ok();
    assert_eq!(loaded(), [""; 0], "after delete of one that never ran");
    Ok(())
}

fn generated_profile_is_stacked_with_the_engines() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aastack", "[filesystem]\nblocked_paths = [\"/tmp/no\"]\n");
    let engine = Engines::load();
    let script = "cat /proc/self/attr/current; for f in /tmp/yes /tmp/no/x /data/x; do echo x >$f && echo $f; done; echo end";
    let box_ = annotated(Bundle::new(), "aastack");
    box_.dir_in("tmp/no");
    box_.dir_in("data");
    let box_ = box_.set("/process/apparmorProfile", json!(engine.0)).idle();
    let stack = format!("{}//&{} (enforce)", engine.0, generated(&box_, "aastack"));
    assert_eq!(current(box_.pid()), stack, "init");
    let out = box_.exec(&[], &["/bin/sh", "-c", script]).ok();
    // Inside, only the innermost namespace is seen.
    out.prints("aastack (enforce)\n/tmp/yes\nend");
    // An exec that names another profile is bound by the container's all the same.
    let flags = ["--apparmor", "unconfined"];
    let out = box_.exec(&flags, &["cat", "/proc/self/attr/current"]).ok();
    out.prints("aastack (enforce)");
    Ok(())
}

fn generated_profile_denies_a_mount() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aamount", "");
    let script = "mount -t tmpfs none /mnt 2>&1 && echo mounted; echo end";
    mighty(script).run().ok().prints("mounted\nend");
    let out = annotated(mighty(script), "aamount").run().ok();
    assert_eq!(
        out.stdout.to_lowercase(),
        "mount: mounting none on /mnt failed: permission denied\nend\n",
        "{out:?}"
    );
    Ok(())
}

fn generated_profile_denies_a_write_to_sysctls() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aasysctl", "");
    let script = "echo x >/proc/sys/kernel/domainname && echo written; echo end";
    let writable = || mighty(script).unset("/linux/readonlyPaths");
    writable().run().ok().prints("written\nend");
    let out = annotated(writable(), "aasysctl").run().ok();
    out.says("Permission denied").prints("end");
    Ok(())
}

fn generated_profile_complains_in_permissive_mode() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aalogs", "mode = \"permissive\"\n");
    let script = "cat /proc/self/attr/current; mount -t tmpfs none /mnt && echo mounted";
    let box_ = annotated(mighty(script), "aalogs");
    box_.run().ok().prints("aalogs (complain)\nmounted");
    Ok(())
}

fn blocked_paths_are_denied_by_apparmor() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aablock", "[filesystem]\nblocked_paths = [\"/secret\"]\n");
    // The mount over it alone would read as empty, without an error.
    let box_ = annotated(Bundle::sh("ls /secret 2>&1; echo end"), "aablock");
    box_.dir_in("secret");
    box_.file("secret/token", "x");
    box_.run()
        .ok()
        .prints("ls: can't open '/secret': Permission denied\nend");
    Ok(())
}

fn signals_reach_processes_of_the_container() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aasignal", "");
    let script = "sleep 1000 & kill $! && wait $!; echo $?";
    annotated(Bundle::sh(script), "aasignal")
        .run()
        .ok()
        .prints("143");
    let engine = Engines::load();
    let stacked = annotated(Bundle::sh(script), "aasignal");
    let stacked = stacked.set("/process/apparmorProfile", json!(engine.0));
    stacked.run().ok().prints("143");
    Ok(())
}

fn failed_create_unloads_the_profile() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aafail", "");
    let box_ = annotated(Bundle::new(), "aafail");
    let host = Host::before(&box_, &[]);
    let box_ = box_.mount("bind", "/no/such/source", "/mnt", &["bind"]);
    box_.create().failed().says("/no/such/source");
    assert_eq!(loaded(), [""; 0], "after a create that failed");
    host.unchanged_soon("create that failed");
    Ok(())
}

fn create_killed_anywhere_leaves_no_profile() -> Outcome {
    needs_apparmor()?;
    let _profile = Setting::profile("aakill", "");
    let box_ = annotated(Bundle::new(), "aakill");
    box_.write_config();
    let host = Host::before(&box_, &[]);
    box_.traced(&[], &["create", box_.id()]).ok();
    box_.delete_force().ok();
    host.unchanged_soon("not killed");
    let trace = fs::read_to_string(box_.dir().join("trace")).unwrap();
    let calls = places(&trace);
    // From the start of the compiler on, which is before the write of the profile.
    let is = |text: &str| calls.iter().position(|call| call.line.contains(text));
    let load = is("apparmor/.replace").expect("a write of a profile in the trace");
    let first = load.saturating_sub(60);
    let count = rounds(24).clamp(1, calls.len() - first);
    let mut left = 0;
    for point in (0..count).map(|n| first + n * (calls.len() - first) / count) {
        let when = format!("create killed at {}", calls[point].line);
        let out = box_.traced(&["-e", &calls[point].kill()], &["create", box_.id()]);
        assert_ne!(out.code, 0, "{when}");
        left += loaded().len();
        box_.delete_force().ok();
        assert_eq!(loaded(), [""; 0], "{when}");
        host.unchanged_soon(&when);
    }
    assert!(left > 0, "no create was killed with its profile loaded");
    Ok(())
}
