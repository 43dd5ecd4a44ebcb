//! AppArmor: a profile is in force for init and for exec, or its container is refused.
//!
//! Where the kernel has no AppArmor, the only thing to see is the refusal. The enforcement is shown
//! on the test host (`integration/testhost`).
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::kernel::proc_file;
use gl_e2e::bundle::{self, Bundle, Host, finish, tag};
use gl_e2e::{Outcome, tests};
use serde_json::json;

fn main() -> ExitCode {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|text| text.trim() == "Y") {
        return bundle::main(tests![profile_is_refused_without_apparmor]);
    }
    bundle::main(tests![
        profile_denies_init_a_write,
        without_a_profile_the_write_is_allowed,
        profile_denies_exec_a_write,
        exec_may_name_another_profile,
        exec_by_document_may_name_another_profile,
        profile_is_in_force_for_another_user,
        profile_in_complain_mode_is_set,
        profile_is_not_left_by_the_container,
        profile_that_is_not_loaded_is_refused,
        exec_with_a_profile_that_is_not_loaded_is_refused,
        profile_with_a_line_feed_is_refused,
        stacked_profiles_are_all_in_force,
        stacked_profiles_in_any_order_are_set,
        stack_of_two_modes_is_set,
        stack_on_top_of_the_callers_is_set,
        stack_with_one_that_is_not_loaded_is_refused,
        containers_of_one_id_have_their_own_profiles,
    ])
}

/// Writes where the profile of [`Profile::no_data`] allows it, and where it does not.
const WRITES: &str = "echo x >/tmp/file && echo tmp; echo x >/data/file && echo data; true";

/// A profile that is in the kernel, and leaves it when dropped.
struct Profile(String);

impl Profile {
    /// All is allowed but to write below `/data`.
    fn no_data(name: &str) -> Self {
        Self::load(name, "", "deny /data/** w,")
    }

    fn load(name: &str, flags: &str, rules: &str) -> Self {
        let name = format!("{}{name}", tag());
        let text = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted{flags}) {{
                 file, capability, network, mount, umount, pivot_root, signal, ptrace, {rules}
             }}\n"
        );
        parser("--replace", &text);
        Self(name)
    }

    /// What `/proc/PID/attr/current` says of a process that the profile binds.
    fn enforced(&self) -> String {
        format!("{} (enforce)", self.0)
    }
}

impl Drop for Profile {
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

fn with_profile(bundle: Bundle, profile: &str) -> Bundle {
    bundle.dir_in("data");
    bundle.set("/process/apparmorProfile", json!(profile))
}

/// The profile of a process, as the kernel says it.
fn current(pid: i32) -> String {
    proc_file(pid, "attr/current").trim_end().to_owned()
}

fn profile_denies_init_a_write() -> Outcome {
    let profile = Profile::no_data("init");
    let script = format!("cat /proc/self/attr/current; {WRITES}");
    let box_ = with_profile(Bundle::sh(&script), &profile.0);
    let out = box_.run().ok();
    out.prints(&format!("{}\ntmp", profile.enforced()));
    let none = fs::metadata(box_.rootfs().join("data/file")).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::NotFound, "{none}");
    Ok(())
}

fn without_a_profile_the_write_is_allowed() -> Outcome {
    let box_ = Bundle::sh(WRITES);
    box_.dir_in("data");
    box_.run().ok().prints("tmp\ndata");
    Ok(())
}

fn profile_denies_exec_a_write() -> Outcome {
    let profile = Profile::no_data("exec");
    let box_ = with_profile(Bundle::new(), &profile.0).idle();
    assert_eq!(current(box_.pid()), profile.enforced());
    let script = format!("cat /proc/self/attr/current; {WRITES}");
    let out = box_.exec(&[], &["/bin/sh", "-c", &script]).ok();
    out.prints(&format!("{}\ntmp", profile.enforced()));
    Ok(())
}

fn exec_may_name_another_profile() -> Outcome {
    let (first, second) = (
        Profile::no_data("first"),
        Profile::load("second", "", "deny /tmp/** w,"),
    );
    let box_ = with_profile(Bundle::new(), &first.0).idle();
    let flags = ["--apparmor", second.0.as_str()];
    let out = box_.exec(&flags, &["/bin/sh", "-c", WRITES]).ok();
    out.prints("data");
    assert_eq!(current(box_.pid()), first.enforced());
    Ok(())
}

fn exec_by_document_may_name_another_profile() -> Outcome {
    let second = Profile::load("document", "", "deny /tmp/** w,");
    let box_ = Bundle::new();
    box_.dir_in("data");
    let box_ = box_.idle();
    let mut document = box_.config["process"].clone();
    document["args"] = json!(["/bin/sh", "-c", WRITES]);
    document["apparmorProfile"] = json!(second.0);
    box_.exec_process(&document).ok().prints("data");
    Ok(())
}

fn profile_is_in_force_for_another_user() -> Outcome {
    let profile = Profile::no_data("user");
    let box_ = with_profile(Bundle::sh("cat /proc/self/attr/current"), &profile.0)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    box_.run().ok().prints(&profile.enforced());
    Ok(())
}

fn profile_in_complain_mode_is_set() -> Outcome {
    let profile = Profile::load("complain", ",complain", "deny /never/** w,");
    let box_ = with_profile(Bundle::sh("cat /proc/self/attr/current"), &profile.0);
    box_.run().ok().prints(&format!("{} (complain)", profile.0));
    Ok(())
}

fn profile_is_not_left_by_the_container() -> Outcome {
    let profile = Profile::no_data("stay");
    let script = "for f in current exec; do echo unconfined >/proc/self/attr/$f && echo left $f; \
                  echo changeprofile unconfined >/proc/self/attr/$f && echo left $f; done; \
                  /bin/cat /proc/self/attr/current";
    let box_ = with_profile(Bundle::sh(script), &profile.0);
    box_.run().ok().prints(&profile.enforced());
    Ok(())
}

fn profile_that_is_not_loaded_is_refused() -> Outcome {
    let missing = format!("{}missing", tag());
    let box_ = with_profile(Bundle::new(), &missing);
    let host = Host::before(&box_, &[]);
    let out = box_.create().failed();
    assert!(out.stderr.to_lowercase().contains("apparmor"), "{out:?}");
    // The other runtimes do not say which profile.
    if bundle::is_greenlang() {
        out.says(&missing);
    }
    host.unchanged_soon("create with a profile that is not loaded");
    Ok(())
}

fn exec_with_a_profile_that_is_not_loaded_is_refused() -> Outcome {
    let box_ = Bundle::new().idle();
    let missing = format!("{}missing", tag());
    let mut command = box_.command(&["exec", "--apparmor", &missing, box_.id(), "echo", "ran"]);
    let out = finish(&mut command).failed();
    assert!(!out.stdout.contains("ran"), "{out:?}");
    assert!(out.stderr.to_lowercase().contains("apparmor"), "{out:?}");
    Ok(())
}

fn profile_with_a_line_feed_is_refused() -> Outcome {
    // One write is one request: what follows a line feed must not become a second one.
    let profile = Profile::no_data("line");
    let name = format!("unconfined\nexec {}", profile.0);
    let box_ = with_profile(Bundle::sh("echo ran"), &name);
    let out = box_.run().failed();
    assert!(!out.stdout.contains("ran"), "{out:?}");
    Ok(())
}

/// Two profiles that each deny one of the writes of [`WRITES`]: the first `/data`, the second `/tmp`.
fn two_profiles() -> (Profile, Profile) {
    (
        Profile::no_data("stack-a"),
        Profile::load("stack-b", "", "deny /tmp/** w,"),
    )
}

fn stacked_profiles_are_all_in_force() -> Outcome {
    let (first, second) = two_profiles();
    let stack = format!("{}//&{}", first.0, second.0);
    let script = format!("cat /proc/self/attr/current; {WRITES} && echo end");
    let box_ = with_profile(Bundle::sh(&script), &stack);
    box_.run().ok().prints(&format!("{stack} (enforce)\nend"));
    let idle = box_.idle();
    let out = idle.exec(&[], &["/bin/sh", "-c", &script]).ok();
    out.prints(&format!("{stack} (enforce)\nend"));
    // Each alone leaves one of the writes: it is the stack that denies both.
    for (profile, want) in [(&first, "tmp"), (&second, "data")] {
        let out = idle.exec(&["--apparmor", &profile.0], &["/bin/sh", "-c", WRITES]);
        out.ok().prints(want);
    }
    Ok(())
}

fn stacked_profiles_in_any_order_are_set() -> Outcome {
    // The kernel sorts a stack: what it shows is not what was written.
    let (first, second) = two_profiles();
    let given = format!("{}//&{}//&{}", second.0, first.0, second.0);
    let shown = format!("{}//&{} (enforce)", first.0, second.0);
    let box_ = with_profile(Bundle::sh("cat /proc/self/attr/current"), &given);
    box_.run().ok().prints(&shown);
    Ok(())
}

fn stack_of_two_modes_is_set() -> Outcome {
    let profile = Profile::no_data("mode-a");
    let complains = Profile::load("mode-b", ",complain", "deny /never/** w,");
    let stack = format!("{}//&{}", profile.0, complains.0);
    let script = format!("cat /proc/self/attr/current; {WRITES}");
    let box_ = with_profile(Bundle::sh(&script), &stack);
    box_.run().ok().prints(&format!("{stack} (mixed)\ntmp"));
    Ok(())
}

fn stack_on_top_of_the_callers_is_set() -> Outcome {
    let profile = Profile::no_data("top");
    let script = format!("cat /proc/self/attr/current; {WRITES}");
    let box_ = with_profile(Bundle::sh(&script), &format!("&{}", profile.0));
    let out = box_.run().ok();
    assert!(out.stdout.contains(&profile.0), "{out:?}");
    assert!(out.stdout.ends_with("\ntmp\n"), "{out:?}");
    Ok(())
}

fn stack_with_one_that_is_not_loaded_is_refused() -> Outcome {
    let profile = Profile::no_data("half");
    let missing = format!("{}missing", tag());
    let box_ = with_profile(Bundle::new(), &format!("{}//&{missing}", profile.0));
    let host = Host::before(&box_, &[]);
    let out = box_.create().failed();
    assert!(out.stderr.to_lowercase().contains("apparmor"), "{out:?}");
    if bundle::is_greenlang() {
        out.says(&missing);
    }
    host.unchanged_soon("create with a stack of which one profile is not loaded");
    Ok(())
}

fn profile_is_refused_without_apparmor() -> Outcome {
    let box_ = with_profile(Bundle::new(), "docker-default");
    let host = Host::before(&box_, &[]);
    let out = box_.create().failed();
    assert!(out.stderr.to_lowercase().contains("apparmor"), "{out:?}");
    if bundle::is_greenlang() {
        out.says("process.apparmorProfile");
    }
    host.unchanged_soon("create with a profile where there is no AppArmor");
    Ok(())
}

fn containers_of_one_id_have_their_own_profiles() -> Outcome {
    let box_ = || {
        let profile = json!({"dev.greenlang.profile": "default"});
        let box_ = Bundle::new().set("/annotations", profile);
        let path = box_.id().to_owned();
        // In a state root of its own.
        let box_ = box_.set("/linux/cgroupsPath", json!(format!("/{path}")));
        box_.with_id(&format!("{}one", tag())).idle()
    };
    let (one, two) = (box_(), box_());
    let (first, second) = (current(one.pid()), current(two.pid()));
    assert!(first.starts_with(":greenlang-sandbox-"), "{first}");
    assert_ne!(first, second);
    two.delete_force().ok();
    assert_eq!(current(one.pid()), first, "once the other is deleted");
    let loaded = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    let lines = loaded
        .lines()
        .filter(|line| line.ends_with("one:default (enforce)"));
    assert_eq!(lines.collect::<Vec<_>>(), [first.as_str()]);
    Ok(())
}
