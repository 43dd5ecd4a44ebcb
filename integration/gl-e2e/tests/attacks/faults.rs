//! Proof that each attack's test can fail: a runtime with the flaw, on purpose.
//!
//! A copy of this program, named `greenlang`, stands before the runtime under test, does what a
//! runtime with the flaw would do ([`flawed`]), and hands the rest on. On it the test of the attack
//! must fail, with the words that name the damage; without a fault the same tests must pass. Each
//! line of the list of attacks has one. What a flaw hits is the victim of the inner program, never
//! another file of the host.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use gl_e2e::bundle::{self, Bundle};
use gl_e2e::{Outcome, Skip, Test};

use super::ground::SECRET;

mod call;
mod flawed;

use call::Call;

/// Which fault the copy has, and the runtime behind it.
const FAULT: &str = "GL_E2E_FAULT";
const REAL: &str = "GL_E2E_REAL";
/// What the copy is called, here and where a test copies the runtime under test once more.
const NAMES: [&str; 2] = ["greenlang", "runtime"];

/// One fault, and the tests that must see it.
struct Fault {
    /// What the flawed runtime does with a call; returns its status.
    does: fn(&mut Call) -> i32,
    /// Tests, and what each says when it fails.
    seen_by: &'static [(&'static str, &'static str)],
}

/// Lists faults under the names of the tests that show them.
macro_rules! faults {
    ($($name:ident: $does:ident, [$($seen_by:expr),+ $(,)?];)*) => {
        pub(crate) const TESTS: &[Test] = &[
            Test { name: "faults_none_is_seen_where_there_is_none", run: none_is_seen },
            $(Test {
                name: stringify!($name),
                run: || is_seen(stringify!($name)),
            }),*
        ];
        const FAULTS: &[(&str, Fault)] = &[
            $((stringify!($name), Fault {
                does: flawed::$does,
                seen_by: &[$($seen_by),+],
            })),*
        ];
    };
}

faults! {
    fault_of_cve_2016_3697_is_seen: numeric_name, [
        ("cve_2016_3697_numeric_name_in_passwd", "0 0 0 0"),
        ("cve_2016_3697_passwd_swapped_in_a_race", "0\t0\t0\t0"),
    ];
    fault_of_cve_2016_9962_is_seen: open_while_it_joins, [
        ("cve_2016_9962_runtime_is_closed_to_the_container_during_exec", "LEAK"),
        ("exec_is_never_on_the_root_of_the_host_where_the_container_sees_it", "LEAK"),
    ];
    fault_of_cve_2019_5736_is_seen: joins_as_its_own_file, [
        ("cve_2019_5736_runtime_binary_cannot_be_overwritten_in_a_race", "overwritten"),
    ];
    fault_of_cve_2019_16884_is_seen: any_proc, [
        ("cve_2019_16884_proc_replaced_by_a_volume", "bind at /proc"),
        ("cve_2019_16884_proc_replaced_before_it_is_mounted", "/proc/self/attr"),
        ("cve_2019_19921_proc_attr_hidden", "bind at /proc/self/attr"),
    ];
    fault_of_cve_2019_18837_is_seen: names_followed_on_the_host, [
        ("cve_2019_18837_mount_target_is_a_link", "host changed"),
        ("cve_2021_30465_mount_target_swapped_for_a_link", "host changed"),
        ("cve_2024_45310_missing_target_swapped_for_a_link", "host changed"),
    ];
    fault_of_cve_2021_43784_is_seen: short_lengths, [
        ("cve_2021_43784_lists_over_64_kib", "512"),
        ("cve_2021_43784_arguments_of_100_kib", "65536"),
    ];
    fault_of_cve_2022_24769_is_seen: inheritable_capabilities, [
        ("cve_2022_24769_inheritable_capabilities_are_empty", "CapInh"),
        ("cve_2022_29162_exec_gives_no_inheritable_capabilities", "CapInh"),
        ("cve_2022_27650_plain_user_inherits_no_capabilities", "CapInh"),
        ("cve_2025_27612_added_capability_is_not_ambient", "CapInh"),
    ];
    fault_of_cve_2023_25809_is_seen: writable_cgroups, [
        ("cve_2023_25809_cgroups_of_the_host_in_a_user_namespace", "made"),
        ("cve_2023_25809_cgroups_of_the_host_in_exec", "made"),
    ];
    fault_of_cve_2022_0492_is_seen: writable_cgroups, [
        ("cve_2022_0492_release_agent_cannot_be_written", "wrote"),
        ("cve_2022_0492_release_agent_cannot_be_written_from_exec", "wrote"),
    ];
    fault_of_cve_2023_27561_is_seen: links_of_the_image_replaced, [
        ("cve_2023_27561_proc_is_a_link_in_the_image", "proc -> "),
        ("cve_2025_54867_sys_is_a_link_in_the_image", "sys -> "),
    ];
    fault_of_cve_2024_21626_is_seen: leaked_directory, [
        ("cve_2024_21626_exec_in_a_leaked_descriptor", SECRET),
        ("cve_2024_21626_cwd_swapped_for_a_leaked_descriptor", SECRET),
    ];
    fault_of_leaked_descriptors_is_seen: one_more_descriptor, [
        ("cve_2024_21626_program_has_three_descriptors", "4"),
        ("descriptors_of_the_caller_do_not_reach_programs", "4"),
        ("preserved_descriptors_are_exactly_those_asked_for", "4"),
    ];
    fault_of_cve_2024_3154_is_seen: systemd_not_asked, [
        ("cve_2024_3154_property_that_runs_a_program_is_refused", "ended with 0"),
    ];
    fault_of_cve_2025_31133_is_seen: names_followed_on_the_host, [
        ("cve_2025_31133_dev_null_of_the_image_is_a_link", "host changed"),
        ("cve_2025_31133_masked_path_swapped_in_a_race", "host changed"),
    ];
    fault_of_cve_2025_52565_is_seen: names_followed_on_the_host, [
        ("cve_2025_52565_dev_console_is_a_link", "host changed"),
        ("cve_2025_52565_dev_console_swapped_in_a_race", "host changed"),
    ];
    fault_of_cve_2025_52881_is_seen: settings_written_by_path, [
        ("cve_2025_52881_sysctl_written_through_a_volume", "host changed"),
        ("cve_2025_52881_sysctl_written_in_a_race", SECRET),
        ("cve_2025_52881_label_written_in_a_race", SECRET),
    ];
    fault_of_cve_2026_30892_is_seen: user_as_atoi_reads_it, [
        ("cve_2026_30892_user_of_exec_that_is_no_number_is_refused", "ended with 0"),
    ];
    fault_of_cve_2026_41579_is_seen: names_followed_on_the_host, [
        ("cve_2026_41579_dev_is_a_link_to_the_host", "host changed"),
        ("cve_2026_41579_dev_swapped_for_a_link_to_the_host", "host changed"),
    ];
    fault_of_cve_2026_88264_is_seen: names_followed_on_the_host, [
        ("cve_2026_88264_console_owner_changed_through_a_link", "host changed"),
        ("cve_2026_88264_console_owner_changed_in_a_race", "host changed"),
        ("cve_2026_88265_stdio_null_followed_through_a_link", "host changed"),
        ("cve_2026_88265_stdio_null_followed_in_a_race", "host changed"),
    ];
    fault_of_cve_2024_40635_is_seen: ids_that_wrap, [
        ("cve_2024_40635_user_ids_do_not_wrap", "4294967296"),
        ("cve_2026_46680_ids_of_maps_do_not_wrap", "ended with 0"),
    ];
    fault_of_names_is_seen: ids_as_paths, [
        ("ids_at_random_stay_inside", "host changed"),
        ("ids_of_the_table_are_taken_or_refused", "host changed"),
    ];
    fault_of_hooks_is_seen: hook_with_a_descriptor, [
        ("descriptors_of_the_caller_do_not_reach_hooks", "7"),
    ];
    fault_of_filters_is_seen: exec_without_the_filter, [
        ("filter_is_present_in_every_exec", "exec"),
    ];
    fault_of_a_shared_filter_is_seen: filter_of_the_first, [
        ("filters_that_differ_a_little_are_never_shared", "Operation not permitted"),
    ];
    fault_of_pid_reuse_is_seen: kill_by_number, [
        ("pid_that_was_used_again_is_no_container", "a stranger was killed"),
    ];
    fault_of_the_state_directory_is_seen: open_state, [
        ("state_directory_is_closed_to_others", "777"),
        ("state_directory_through_a_link_is_not_followed", "ended with 0"),
    ];
    fault_of_the_gate_is_seen: gate_that_opens, [
        ("gate_cannot_be_opened_by_a_container_that_sees_init", "is not seen"),
        ("gate_does_not_open_for_a_signal", "CONT: "),
    ];
    fault_of_the_log_is_seen: all_in_the_log, [
        ("log_is_not_flooded_by_a_hook", "bytes of log"),
    ];
    fault_of_profiles_is_seen: profile_not_read, [
        ("calls_of_exploits_fail_inside_every_profile", "DONE"),
    ];
}

/// Is the flawed runtime, where this program was started as that.
pub(crate) fn helper() -> Option<ExitCode> {
    let name = std::env::var(FAULT).ok()?;
    let me = std::env::current_exe().ok()?;
    if !NAMES.iter().any(|called| me.ends_with(called)) {
        return None;
    }
    let mut call = Call::new(Path::new(&std::env::var_os(REAL)?));
    let fault = FAULTS.iter().find(|(known, _)| *known == name);
    let status = match fault {
        Some((_, fault)) => (fault.does)(&mut call),
        None if name == flawed::STAYS => flawed::stays(),
        None => call.real(),
    };
    Some(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}

/// Runs tests of this program on a runtime with this fault.
fn run_with(fault: &str, tests: &[&str]) -> Output {
    let box_ = Bundle::new();
    let me = std::env::current_exe().unwrap();
    let copy = box_.outside("flawed").join(NAMES[0]);
    fs::copy(&me, &copy).unwrap();
    Command::new(me)
        .args(tests)
        .env("GL_RUNTIME", copy)
        .env(FAULT, fault)
        .env(REAL, bundle::runtime())
        .env("GL_ROUNDS", "10")
        .env("RUST_BACKTRACE", "0")
        .env_remove("GL_E2E_NAMESPACE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn greenlang_only() -> Outcome {
    match bundle::is_greenlang() {
        true => Ok(()),
        false => Err(Skip("the faults are put before greenlang".to_owned())),
    }
}

/// Each test must fail, and say what it saw.
fn is_seen(name: &str) -> Outcome {
    greenlang_only()?;
    let (_, fault) = FAULTS.iter().find(|(known, _)| *known == name).unwrap();
    for (test, says) in fault.seen_by {
        let output = run_with(name, &[test]);
        let report = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        if let Some(skip) = report.lines().find(|line| line.starts_with("SKIP ")) {
            return Err(Skip(skip.to_owned()));
        }
        let failed = report.contains(&format!("failed: {test}\n"));
        assert!(failed, "{test} does not see it:\n{report}{why}");
        assert!(why.contains(says), "{test} fails without {says:?}:\n{why}");
    }
    Ok(())
}

/// What stands before the runtime is no reason to fail.
fn none_is_seen() -> Outcome {
    greenlang_only()?;
    let tests: Vec<_> = FAULTS.iter().flat_map(|(_, fault)| fault.seen_by).collect();
    let tests: Vec<_> = tests.into_iter().map(|(test, _)| *test).collect();
    let output = run_with("none", &tests);
    let report = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}{why}");
    Ok(())
}
