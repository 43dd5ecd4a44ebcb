//! Docker with `userns-remap`: every container in a user namespace, and `--userns host`.

use std::fs;
use std::process::ExitCode;
use std::sync::OnceLock;

use gl_e2e::engine::{Engine, docker};
use gl_e2e::scenario::userns::FIRST_ID;
use gl_e2e::{Test, sandbox, scenarios};
use serde_json::json;

static ENGINE: OnceLock<Engine> = OnceLock::new();

fn engine() -> &'static Engine {
    ENGINE
        .get()
        .expect("main starts the engine before the tests")
}

const TESTS: &[Test] = scenarios! { engine;
    userns:
        userns_maps_root_to_a_user userns_shifts_other_users userns_protects_the_hosts_files
        userns_has_a_complete_container userns_has_a_terminal userns_host_is_the_hosts;
    status:
        run_prints_both_streams run_passes_standard_input exit_status_is_the_programs
        exit_status_of_a_file_that_is_not_executable_is_126
        exit_status_of_a_missing_program_is_127 memory_limit_kills_and_is_reported;
    lifecycle:
        stop_kills_after_its_time restart_keeps_files_and_replaces_the_process
        rm_force_removes_everything pause_freezes_and_unpause_thaws;
    exec:
        exec_output_and_status exec_as_another_user exec_capabilities_follow_the_user
        exec_joins_namespaces_and_cgroups exec_inherits_restrictions;
    mounts:
        read_only_root_refuses_writes tmpfs_has_its_options masked_paths_are_empty
        proc_and_sys_are_read_only dev_has_the_usual_nodes;
    namespaces:
        namespaces_are_own_by_default network_of_another_container;
    soak:
        failed_starts_leave_nothing_behind;
};

fn main() -> ExitCode {
    sandbox::isolated(TESTS, |sandbox| {
        for file in ["/etc/subuid", "/etc/subgid"] {
            let range = format!("nobody:{FIRST_ID}:65536\nnogroup:{FIRST_ID}:65536\n");
            fs::write(file, range).expect("write to the layer on top of /etc");
        }
        let remap = json!({ "userns-remap": "nobody:nogroup" });
        let (daemon, engine) = docker::start(sandbox, remap);
        ENGINE.get_or_init(|| engine);
        let status = gl_e2e::main(TESTS);
        drop(daemon);
        status
    })
}
