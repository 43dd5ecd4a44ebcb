//! What is refused once layers are merged, and with which words.

use gl_profile::environment;

use crate::{items, message, one};

#[test]
fn variable_that_is_missing_or_leads_out_is_refused() {
    for (variables, path, want) in [
        (
            "work = \"/w\"",
            "${wrok}/x",
            "resolve p.toml:6: filesystem.mask_paths: no variable \"wrok\" is set in [variables]; did you mean \"work\"?",
        ),
        (
            "work = \"w\"",
            "${work}/x",
            "read p.toml:6: filesystem.mask_paths: expected an absolute path without \"..\", \".\", \"//\" or a slash at its end once variables are put in, found \"w/x\"",
        ),
        (
            "work = \"/w/\"",
            "${work}/x",
            "read p.toml:6: filesystem.mask_paths: expected an absolute path without \"..\", \".\", \"//\" or a slash at its end once variables are put in, found \"/w//x\"",
        ),
        (
            "work = \".\"",
            "/a/${work}${work}",
            "read p.toml:6: filesystem.mask_paths: expected an absolute path without \"..\", \".\", \"//\" or a slash at its end once variables are put in, found \"/a/..\"",
        ),
        (
            "work = \"/a/../b\"",
            "/x",
            "read p.toml:4: variables.work: expected a part of a path, without \"..\" and without variables, found \"/a/../b\"",
        ),
        (
            "work = \"${a}\"",
            "/x",
            "read p.toml:4: variables.work: expected a part of a path, without \"..\" and without variables, found \"${a}\"",
        ),
        (
            "Work = \"a\"",
            "/x",
            "read p.toml:4: variables.Work: expected the name of a variable: at most 64 of a-z, 0-9 and _, beginning with a letter, found \"Work\"",
        ),
    ] {
        let body = format!("[variables]\n{variables}\n[filesystem]\nmask_paths = [\"{path}\"]");
        assert_eq!(message(one(&body)), want, "{variables} {path}");
    }
    // Nowhere but in paths.
    let profile = one("[filesystem]\napparmor_profile = \"${a}\"").unwrap();
    assert_eq!(
        items(&profile, "filesystem.apparmor_profile"),
        ["\"${a}\" p.toml"]
    );
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    for (body, want) in [
        (
            "[limits]\nmax_processes = 9\nmax_threads = 8",
            "resolve p.toml:4: limits.max_processes: contradicts p.toml:5: limits.max_threads: each of 9 processes has a thread, and there are 8 at most; set both",
        ),
        (
            "[limits]\nmax_processes = 33",
            "resolve p.toml:4: limits.max_processes: contradicts level standard:16: limits.max_threads: each of 33 processes has a thread, and there are 32 at most; set both",
        ),
        (
            "[network]\nallow_network = false\nallowed_hosts = [\"a\"]",
            "resolve p.toml:5: network.allowed_hosts: contradicts p.toml:4: network.allow_network: something may be reached, and there is no network",
        ),
        (
            "[network]\nallowed_ports = [1]\nallow_network = false",
            "resolve p.toml:4: network.allowed_ports: contradicts p.toml:5: network.allow_network: something may be reached, and there is no network",
        ),
        (
            "[seccomp]\ngroups = [\"memory\"]\ndeny_groups = [\"memory\"]",
            "resolve p.toml:5: seccomp.deny_groups: contradicts p.toml:4: seccomp.groups: \"memory\" is allowed and denied",
        ),
        (
            "[filesystem]\nread_only_paths = [\"/a\"]\nread_write_paths = [\"/a\"]",
            "resolve p.toml:5: filesystem.read_write_paths: contradicts p.toml:4: filesystem.read_only_paths: /a is read-only and can be written",
        ),
        (
            "[filesystem]\nread_write_paths = [\"/a/b\"]\nblocked_paths = [\"/a\"]",
            "resolve p.toml:4: filesystem.read_write_paths: contradicts p.toml:5: filesystem.blocked_paths: /a/b is to be seen, and /a is to be hidden",
        ),
        (
            "[filesystem]\nbind_mounts = [{ source = \"/x\", target = \"/a\" }]\nblocked_paths = [\"/a\"]",
            "resolve p.toml:4: filesystem.bind_mounts: contradicts p.toml:5: filesystem.blocked_paths: /a is to be seen, and /a is to be hidden",
        ),
        (
            "[filesystem]\ncreate_temp_root = false\ntemp_root_path = \"/a\"",
            "resolve p.toml:5: filesystem.temp_root_path: contradicts p.toml:4: filesystem.create_temp_root: a fresh root has a place, and there is none",
        ),
    ] {
        assert_eq!(message(one(body)), want, "{body}");
    }
}

#[test]
fn environment_word_that_does_not_fit_is_refused() {
    for (word, value, want) in [
        (
            "GL_FORCE_OS_SANDBOX",
            "yes",
            "read environment: GL_FORCE_OS_SANDBOX: expected 1 or 0, found \"yes\"",
        ),
        (
            "GL_FORCE_OS_SANDBOX",
            "",
            "read environment: GL_FORCE_OS_SANDBOX: expected 1 or 0, found \"\"",
        ),
        (
            "GL_SECURITY_LEVEL",
            "strikt",
            "read environment: GL_SECURITY_LEVEL: expected one of lenient, standard, moderate, high, maximum, strict, found \"strikt\"; did you mean \"strict\"?",
        ),
        (
            "GL_MEMORY_LIMIT_MB",
            "0",
            "read environment: GL_MEMORY_LIMIT_MB: expected a whole number from 1 to 4294967295, found 0",
        ),
        (
            "GL_CPU_LIMIT_SECONDS",
            "-1",
            "read environment: GL_CPU_LIMIT_SECONDS: expected a time of at least 1 second, such as 300 or \"5m\", found \"-1\"",
        ),
    ] {
        let got = environment([(word, value)]).unwrap_err().to_string();
        assert_eq!(got, want, "{word}={value}");
    }
}
