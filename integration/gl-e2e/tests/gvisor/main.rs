//! Containers whose profile says `isolation = "gvisor"`: the same commands, a kernel of their own.
//!
//! Needs a runsc of the system and a greenlang that is linked statically.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

mod bounds;
mod crash;
mod life;
mod refused;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use bounds::{
    capabilities_and_ids_are_bounded, cpu_time_ends_the_container,
    filter_holds_for_the_program_and_for_exec, layers_are_told,
    limits_are_in_the_cgroup_and_inside, loopback_off_leaves_no_socket,
    memory_limit_ends_the_sandbox, network_off_leaves_loopback, paths_are_hidden,
    permissive_filter_lets_calls_pass, root_is_read_only, tasks_are_limited_inside,
    timeout_ends_the_container, too_many_processes_end_the_container, umask_is_set,
};
use crash::{
    container_leaves_nothing_behind, create_killed_anywhere_is_cleaned_up,
    delete_killed_anywhere_can_be_repeated, failed_create_leaves_nothing_behind,
    run_killed_while_the_program_runs_is_cleaned_up, sandbox_ends_with_the_runsc_that_waits_for_it,
    start_killed_anywhere_is_cleaned_up,
};
use gl_e2e::bundle::settings::Setting;
use gl_e2e::bundle::{self, Bundle};
use gl_e2e::{Skip, tests};
use life::{
    exec_detached_leaves_a_process_that_waits, exec_runs_in_the_sandbox,
    floor_of_the_host_gives_a_kernel_as_well, hooks_run_on_the_host, kernel_is_gvisors,
    life_is_that_of_any_container, missing_program_is_told_at_create,
    null_device_of_the_host_stays_roots, pause_stops_the_sandbox,
    processes_are_listed_inside_and_outside, signals_reach_the_program,
    state_root_may_be_without_exec, statuses_are_the_programs, terminal_goes_to_the_console_socket,
};
use refused::{
    degrading_profile_leaves_out_and_says_so, fields_that_gvisor_cannot_hold_are_refused,
    lines_that_gvisor_cannot_hold_are_refused, missing_runsc_is_refused, old_runsc_is_refused,
    runsc_of_somebody_else_is_refused, runsc_on_the_callers_path_is_not_used,
    runsc_without_a_platform_is_refused,
};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        kernel_is_gvisors,
        floor_of_the_host_gives_a_kernel_as_well,
        null_device_of_the_host_stays_roots,
        state_root_may_be_without_exec,
        life_is_that_of_any_container,
        statuses_are_the_programs,
        missing_program_is_told_at_create,
        signals_reach_the_program,
        exec_runs_in_the_sandbox,
        exec_detached_leaves_a_process_that_waits,
        pause_stops_the_sandbox,
        processes_are_listed_inside_and_outside,
        terminal_goes_to_the_console_socket,
        hooks_run_on_the_host,
        limits_are_in_the_cgroup_and_inside,
        tasks_are_limited_inside,
        memory_limit_ends_the_sandbox,
        capabilities_and_ids_are_bounded,
        umask_is_set,
        root_is_read_only,
        paths_are_hidden,
        network_off_leaves_loopback,
        loopback_off_leaves_no_socket,
        filter_holds_for_the_program_and_for_exec,
        permissive_filter_lets_calls_pass,
        timeout_ends_the_container,
        cpu_time_ends_the_container,
        too_many_processes_end_the_container,
        layers_are_told,
        lines_that_gvisor_cannot_hold_are_refused,
        fields_that_gvisor_cannot_hold_are_refused,
        degrading_profile_leaves_out_and_says_so,
        runsc_of_somebody_else_is_refused,
        missing_runsc_is_refused,
        runsc_on_the_callers_path_is_not_used,
        old_runsc_is_refused,
        runsc_without_a_platform_is_refused,
        container_leaves_nothing_behind,
        failed_create_leaves_nothing_behind,
        create_killed_anywhere_is_cleaned_up,
        start_killed_anywhere_is_cleaned_up,
        delete_killed_anywhere_can_be_repeated,
        run_killed_while_the_program_runs_is_cleaned_up,
        sandbox_ends_with_the_runsc_that_waits_for_it,
    ])
}

/// The profile of most tests.
const PLAIN: &str = "isolation = \"gvisor\"\n";

/// Skips where there is no runsc.
fn runsc() -> Result<(), Skip> {
    let dirs = ["/usr/local/bin", "/usr/bin"];
    match dirs
        .iter()
        .any(|dir| Path::new(dir).join("runsc").is_file())
    {
        true => Ok(()),
        false => Err(Skip("no runsc".to_owned())),
    }
}

/// A profile of the host's own, and a bundle that has it.
fn with(bundle: Bundle, text: &str) -> (Bundle, Setting) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("sandboxed-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let profile = Setting::profile(&name, text);
    (annotated(bundle, &name), profile)
}

fn annotated(bundle: Bundle, profile: &str) -> Bundle {
    bundle.set("/annotations", json!({"dev.greenlang.profile": profile}))
}

/// What a program prints in a sandbox that has this profile.
#[track_caller]
fn printed(script: &str, text: &str) -> String {
    let (box_, _profile) = with(Bundle::sh(script), text);
    box_.run().ok().stdout
}
