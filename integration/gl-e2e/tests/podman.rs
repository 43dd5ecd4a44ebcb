//! Podman with the runtime under test: own storage, busybox image, pods.

use std::process::ExitCode;
use std::sync::OnceLock;

use gl_e2e::engine::{Engine, podman};
use gl_e2e::{Test, sandbox, scenarios};

static ENGINE: OnceLock<Engine> = OnceLock::new();

fn engine() -> &'static Engine {
    ENGINE
        .get()
        .expect("main starts the engine before the tests")
}

const TESTS: &[Test] = scenarios! { engine;
    status:
        run_prints_both_streams run_passes_standard_input run_passes_much_output
        exit_status_is_the_programs exit_status_of_a_file_that_is_not_executable_is_126
        exit_status_of_a_missing_program_is_127 exit_status_after_kill_is_137
        exit_status_after_sigterm_is_143 kill_delivers_the_signal_asked_for
        wait_returns_the_status_at_the_end memory_limit_kills_and_is_reported;
    lifecycle:
        create_then_start runtime_under_test_has_the_container logs_keep_both_streams
        stop_asks_first stop_kills_after_its_time restart_keeps_files_and_replaces_the_process
        start_after_stop rm_force_removes_everything pause_freezes_and_unpause_thaws
        rm_force_of_a_paused_container top_lists_the_containers_processes stats_match_the_cgroup
        update_memory_reaches_the_kernel update_cpus_reaches_the_kernel;
    exec:
        exec_output_and_status exec_exit_statuses exec_passes_standard_input exec_as_another_user
        exec_capabilities_follow_the_user exec_in_a_directory exec_with_environment
        exec_joins_namespaces_and_cgroups exec_inherits_restrictions exec_detached
        exec_privileged exec_many_at_once;
    interactive:
        run_on_a_terminal terminal_follows_a_resize detach_and_attach exec_on_a_terminal
        terminal_belongs_to_the_user;
    identity:
        user_sets_all_ids unknown_user_is_refused group_add_adds_groups
        hostname_is_set_inside_only environment_and_directory init_reaps_orphans;
    limits:
        memory_limit_is_in_the_cgroup pids_limit_stops_forks cpus_throttle_a_busy_program
        cpu_shares_are_the_weight cpuset_restricts_processors ulimits_are_set oom_score_is_set
        shm_size_is_the_size block_throttle_is_in_the_cgroup cgroup_parent_holds_the_container;
    mounts:
        read_only_root_refuses_writes tmpfs_has_its_options volume_is_shared_with_the_host
        volume_read_only_refuses_writes volume_rslave_receives_mounts volume_of_a_single_file
        named_volume_outlives_the_container volume_is_recursive masked_paths_are_empty
        proc_and_sys_are_read_only
        dev_has_the_usual_nodes;
    security:
        capabilities_are_few_by_default cap_add_allows_the_call cap_drop_denies_the_call
        seccomp_default_is_in_force seccomp_file_denies_its_calls seccomp_kill_ends_the_process
        seccomp_unconfined_has_no_filter no_new_privileges_disarms_setuid
        device_is_usable_and_others_are_not device_rights_are_kept
        device_cgroup_rule_allows_a_number privileged_lifts_the_restrictions;
    namespaces:
        namespaces_are_own_by_default network_none_has_only_loopback network_host_is_the_hosts
        network_of_another_container pid_host_is_the_hosts pid_of_another_container ipc_modes
        uts_host_is_the_hosts cgroup_namespace_modes sysctl_is_set_in_the_container;
    build:
        build_runs_its_steps build_stops_at_a_failing_step;
    images:
        saved_image_unpacks_to_what_is_exported;
    soak:
        twenty_containers_leave_nothing_behind failed_starts_leave_nothing_behind;
    gvisor:
        gvisor_runs_a_program gvisor_lives_as_any_container gvisor_has_a_terminal
        gvisor_has_volumes_and_limits gvisor_leaves_nothing_behind;
    profile_words:
        profile_words_are_seen_inside profile_writes_only_where_it_may
        profile_share_of_a_cpu_is_the_smaller_one profile_ends_what_uses_too_much
        profile_permissive_lets_calls_pass profile_words_for_others_are_refused_by_name
        profile_layer_that_is_missing_is_refused_or_told profile_selinux_context_is_in_force
        profile_setup_has_its_time;
    profiles:
        profile_cuts_the_network_off profile_limits_are_the_smaller_ones
        profile_filter_is_one_with_the_engines profile_binds_exec profile_is_the_ceiling_of_update
        profile_that_does_not_exist_fails_the_run profile_timeout_ends_the_container profile_timeout_outlives_the_engine
        profiled_containers_leave_nothing_behind profile_default_runs_ordinary_programs
        profile_compute_only_runs_python profile_disk_quota_holds;
    pods:
        pod_shares_its_namespaces pod_shares_its_processes_when_asked
        pod_life_is_its_containers_life pod_cgroup_holds_its_containers pod_leaves_nothing_behind;
    userns:
        userns_maps_root_to_a_user userns_shifts_other_users userns_protects_the_hosts_files
        userns_has_a_complete_container userns_has_a_terminal userns_host_is_the_hosts;
};

fn main() -> ExitCode {
    sandbox::isolated(TESTS, |sandbox| {
        ENGINE.get_or_init(|| podman::start(sandbox));
        gl_e2e::main(TESTS)
    })
}
