//! Sandboxes that outlive their caller: `gl run --detach`, and what is done with sandboxes that there are
//! (`gl ps`, `logs`, `kill`, `exec`, `wait`, `rm`, `prune`).
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::zombie_processes,
    reason = "a test fails by panicking with what was seen"
)]

mod enter;
mod life;
mod output;
mod states;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use enter::{
    exec_ends_with_the_sandbox, exec_has_its_own_environment_directory_and_status,
    exec_in_the_tier_basic_is_refused, exec_is_bound_as_the_program_is,
    exec_of_a_user_is_bound_as_the_program_is, exec_of_denied_calls_is_in_the_report,
    exec_on_a_terminal_has_its_size,
};
use gl_e2e::bundle::{self, Bundle};
use gl_e2e::command::{self as process, Output};
use gl_e2e::gl::{self, Who, left};
use gl_e2e::{Skip, tests};
use life::{
    audit_log_has_the_end_of_a_detached_run, caller_killed_while_it_starts_leaves_nothing,
    error_of_the_setup_is_told_and_leaves_nothing, gvisor_runs_on_without_its_caller,
    killed_worker_leaves_no_program, killed_worker_of_a_user_leaves_no_program,
    limits_end_it_with_their_reason, program_runs_on_without_its_caller,
    removed_at_its_end_if_so_wanted, report_is_written_at_the_end,
    user_program_runs_on_without_its_caller,
};
use output::{
    flood_does_not_fill_the_disk, input_is_empty, logs_are_followed_to_the_end,
    logs_are_nobody_elses, logs_show_one_stream_or_the_last_lines,
};
use serde_json::Value;
use states::{
    ended_sandbox_takes_nothing, foreground_is_listed_and_killed,
    half_of_a_record_holds_nothing_up, kill_while_it_starts_leaves_nothing,
    name_is_in_use_until_its_guard_is_through, name_of_one_that_ended_is_taken,
    names_may_be_cut_short, options_that_need_the_caller_are_refused, prune_leaves_the_young,
    removal_wants_force_while_it_runs, removals_at_once_leave_nothing,
    stop_and_cont_reach_the_program, unknown_names_are_refused, user_does_not_see_those_of_root,
    what_ends_while_it_is_listed, what_waits_for_the_start_waits_no_longer,
};

fn main() -> ExitCode {
    bundle::main(tests![
        program_runs_on_without_its_caller,
        user_program_runs_on_without_its_caller,
        gvisor_runs_on_without_its_caller,
        error_of_the_setup_is_told_and_leaves_nothing,
        limits_end_it_with_their_reason,
        report_is_written_at_the_end,
        audit_log_has_the_end_of_a_detached_run,
        removed_at_its_end_if_so_wanted,
        killed_worker_leaves_no_program,
        killed_worker_of_a_user_leaves_no_program,
        caller_killed_while_it_starts_leaves_nothing,
        input_is_empty,
        flood_does_not_fill_the_disk,
        logs_are_followed_to_the_end,
        logs_show_one_stream_or_the_last_lines,
        logs_are_nobody_elses,
        foreground_is_listed_and_killed,
        unknown_names_are_refused,
        ended_sandbox_takes_nothing,
        name_of_one_that_ended_is_taken,
        names_may_be_cut_short,
        user_does_not_see_those_of_root,
        options_that_need_the_caller_are_refused,
        stop_and_cont_reach_the_program,
        removal_wants_force_while_it_runs,
        removals_at_once_leave_nothing,
        kill_while_it_starts_leaves_nothing,
        what_ends_while_it_is_listed,
        what_waits_for_the_start_waits_no_longer,
        name_is_in_use_until_its_guard_is_through,
        half_of_a_record_holds_nothing_up,
        prune_leaves_the_young,
        exec_is_bound_as_the_program_is,
        exec_of_a_user_is_bound_as_the_program_is,
        exec_has_its_own_environment_directory_and_status,
        exec_on_a_terminal_has_its_size,
        exec_of_denied_calls_is_in_the_report,
        exec_in_the_tier_basic_is_refused,
        exec_ends_with_the_sandbox,
    ])
}

/// What these tests do with whose sandboxes they are.
trait Detaching {
    /// Where their sandboxes have their directories.
    fn directory(&self) -> PathBuf;

    /// Starts a script that is detached.
    fn detach(&self, name: &str, options: &[&str], script: &str) -> Result<Box<Sandbox<'_>>, Skip>;
}

impl Detaching for Who {
    fn directory(&self) -> PathBuf {
        match self {
            Self::Root => "/run/greenlang-sandboxes".into(),
            Self::User(user) => user.dir.path("runtime/greenlang/@sandboxes").into(),
        }
    }

    #[track_caller]
    fn detach(&self, name: &str, options: &[&str], script: &str) -> Result<Box<Sandbox<'_>>, Skip> {
        let name = format!("{}{name}", bundle::tag());
        // Its name is in its command, by which what is left of it is found.
        let script = format!("{script}\n: {name}");
        let args = [
            &["run", "--detach", "--name", &name][..],
            options,
            &["--", "sh", "-c", &script],
        ];
        let output = self.gl(&args.concat())?;
        assert_eq!(output.ok(), name, "{output}");
        Ok(Box::new(Sandbox { who: self, name }))
    }
}

/// A detached sandbox, removed when dropped; nothing is left of it then.
struct Sandbox<'a> {
    who: &'a Who,
    name: String,
}

impl Sandbox<'_> {
    fn gl(&self, verb: &[&str]) -> Result<Output, Skip> {
        self.who.gl(&[verb, &[&self.name]].concat())
    }

    /// What `gl ps` says of it.
    #[track_caller]
    fn seen(&self) -> Result<Value, Skip> {
        let output = self.who.gl(&["ps", "--all", "--format", "json"])?;
        let all: Vec<Value> = serde_json::from_str(output.ok()).unwrap();
        let own = all.iter().find(|one| one["id"] == self.name.as_str());
        Ok(own.cloned().unwrap_or(Value::Null))
    }

    /// Waits for its end; the status.
    fn wait(&self) -> Result<i32, Skip> {
        Ok(self.gl(&["wait"])?.status)
    }

    /// Waits until it has written this to a stream.
    #[track_caller]
    fn says(&self, stream: &str, text: &str) -> Result<(), Skip> {
        let mut command = self.who.command(&["logs", stream])?;
        command.arg(&self.name);
        bundle::kernel::eventually(&format!("{text:?} from {}", self.name), || {
            let again = clone(&command);
            (process::output(again).stdout + "")
                .contains(text)
                .then_some(())
        });
        Ok(())
    }

    fn dir(&self) -> PathBuf {
        self.who.directory().join(&self.name)
    }

    /// The process that looks after it.
    #[track_caller]
    fn worker(&self) -> rustix::process::Pid {
        let text = std::fs::read_to_string(self.dir().join("sandbox.json")).unwrap();
        let entry: Value = serde_json::from_str(&text).unwrap();
        let pid = i32::try_from(entry["worker"].as_i64().unwrap()).unwrap();
        rustix::process::Pid::from_raw(pid).unwrap()
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        let removed = self.gl(&["rm", "--force"]);
        if std::thread::panicking() {
            return;
        }
        assert_eq!(removed.unwrap().status, 0);
        let dir = self.dir();
        bundle::kernel::eventually(&format!("the end of what is left of {}", self.name), || {
            (left(&self.name).is_empty() && !dir.is_dir()).then_some(())
        });
    }
}

fn clone(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args());
    for (name, value) in command.get_envs() {
        again.env(name, value.unwrap_or_default());
    }
    again.current_dir("/");
    again
}

/// The tiers of root with their options. The root of the tier `container` is that of the bundle.
fn tiers(bundle: &Bundle) -> [(&'static str, Vec<String>); 3] {
    let owned = |options: &[&str]| options.iter().map(ToString::to_string).collect();
    let root = bundle.rootfs().to_str().unwrap().to_owned();
    [
        ("basic", owned(&gl::BASIC)),
        ("namespace", Vec::new()),
        ("container", owned(&["--rootfs", &root])),
    ]
}

/// The options of a tier for a user.
fn of_user(tier: &str) -> [&str; 5] {
    ["--allow", "--tier", tier, "--on-missing", "degrade"]
}

fn borrowed(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}
