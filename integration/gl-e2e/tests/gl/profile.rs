//! `gl profile` list, show, explain, diff, score and schema.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::Stdio;

use gl_e2e::bundle::finish;
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

use crate::{Scratch, Setting, gl, run};

pub(crate) const TESTS: &[Test] = tests![
    list_names_the_built_in_profiles_and_those_of_the_host,
    list_says_what_is_wrong_with_a_profile,
    list_says_that_the_profiles_of_the_host_cannot_be_read,
    show_says_where_each_value_was_set,
    show_of_an_unknown_name_says_the_nearest,
    show_reads_a_file_by_its_path,
    show_spells_control_characters_out,
    explain_says_what_each_line_becomes,
    explain_ends_with_the_line_that_is_refused,
    explain_shows_every_line_in_every_tier,
    explain_says_by_tier_what_is_refused,
    check_notes_what_a_tier_lacks_with_and_without_a_cgroup,
    diff_of_a_profile_with_itself_is_empty,
    diff_ends_with_1_where_more_is_allowed,
    diff_is_the_reverse_of_the_other_direction,
    diff_fits_a_terminal,
    diff_shows_the_arguments_that_differ,
    score_grows_with_what_is_open,
    schema_is_the_file_that_is_shipped,
    wrong_usage_ends_with_2,
    reader_that_goes_away_is_no_error,
    disk_that_is_full_is_an_error,
];

pub(crate) const BUILT_IN: [&str; 9] = [
    "default",
    "compute_only",
    "data_processing",
    "network_client",
    "blocked_dangerous",
    "lenient",
    "standard",
    "high",
    "maximum",
];

fn listed() -> Result<Vec<Value>, gl_e2e::Skip> {
    let out = run(&["profile", "list", "--json"])?.ok().json();
    Ok(out.as_array().unwrap().clone())
}

fn list_names_the_built_in_profiles_and_those_of_the_host() -> Outcome {
    let _own = Setting::profile("own", "description = \"Of this host\"\n");
    let _twice = Setting::new(
        "greenlang/profiles/own.json",
        "{\"version\": 1, \"name\": \"own\"}",
    );
    let listed = listed()?;
    let names: Vec<_> = listed
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    let want: Vec<_> = BUILT_IN.into_iter().chain(["own"]).collect();
    assert_eq!(names, want, "each once, the built-in ones first");
    assert_eq!(
        listed.last().unwrap(),
        &json!({"name": "own", "description": "Of this host"})
    );
    let table = run(&["profile", "list"])?.ok();
    table.contains("\nown                Of this host\n");
    Ok(())
}

fn list_says_what_is_wrong_with_a_profile() -> Outcome {
    let _broken = Setting::profile("broken", "umask = 7\n");
    let listed = listed()?;
    let error = listed.last().unwrap()["error"].as_str().unwrap();
    assert!(
        error.contains("/etc/greenlang/profiles/broken.toml:3: umask"),
        "{error}"
    );
    run(&["profile", "list"])?.ok().contains("broken.toml:3");
    Ok(())
}

fn list_says_that_the_profiles_of_the_host_cannot_be_read() -> Outcome {
    let dir = crate::etc().join("greenlang");
    let (real, aside) = (dir.join("profiles"), dir.join("aside"));
    std::fs::rename(&real, &aside).unwrap();
    std::fs::write(&real, "").unwrap();
    let out = run(&["profile", "list"]);
    std::fs::remove_file(&real).unwrap();
    let without = run(&["profile", "list", "--json"]);
    std::fs::rename(&aside, &real).unwrap();
    let out = out?.status(1);
    assert_eq!(out.stdout, "");
    out.says("gl: list the profiles in /etc/greenlang/profiles: Not a directory");
    assert_eq!(
        without?.ok().json().as_array().unwrap().len(),
        BUILT_IN.len()
    );
    Ok(())
}

fn show_says_where_each_value_was_set() -> Outcome {
    let own = Scratch::profile("extends = [\"compute_only\"]\n\n[limits]\nmax_threads = 7\n");
    let shown = run(&["profile", "show", "--json", &own.path])?.ok().json();
    let entry = |key: &str| {
        let entries = shown["entries"].as_array().unwrap();
        entries
            .iter()
            .find(|one| one["key"] == key)
            .unwrap()
            .clone()
    };
    for (key, value, origin) in [
        ("limits.max_threads", json!(7), format!("{}:6", own.path)),
        (
            "network.allow_network",
            json!(false),
            "built-in compute_only:6".to_owned(),
        ),
        (
            "limits.memory_limit_bytes",
            json!(536_870_912),
            "level standard:12".to_owned(),
        ),
    ] {
        let want = json!({"key": key, "value": value, "origin": origin});
        assert_eq!(entry(key), want);
    }
    let hash = shown["hash"].as_str().unwrap();
    assert_eq!(hash.trim_start_matches("sha256:").len(), 64, "{hash}");
    let table = run(&["profile", "show", &own.path])?.ok().stdout;
    assert!(table.starts_with("KEY "), "{table}");
    let line = table
        .lines()
        .find(|line| line.starts_with("limits.max_threads"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    assert_eq!(
        words,
        ["limits.max_threads", &format!("{}:6", own.path), "7"]
    );
    Ok(())
}

fn show_of_an_unknown_name_says_the_nearest() -> Outcome {
    for command in ["show", "explain", "score"] {
        let out = run(&["profile", command, "compute_olny"])?.status(1);
        assert_eq!(out.stdout, "");
        assert_eq!(
            out.stderr.lines().next().unwrap(),
            "gl: find profile \"compute_olny\": there is none; did you mean \"compute_only\"?"
        );
    }
    Ok(())
}

fn show_reads_a_file_by_its_path() -> Outcome {
    let file = Scratch::new("other.json", br#"{"version": 1, "name": "other"}"#);
    run(&["profile", "show", &file.path])?
        .ok()
        .contains("other.json:1");
    let mut here = gl(&["profile", "show", "other.json"])?;
    finish(here.current_dir(&file.dir)).ok().contains("other");
    run(&["profile", "show", "/nowhere/x.toml"])?
        .status(1)
        .says("gl: read /nowhere/x.toml: no such file or directory");
    run(&["profile", "show", "/"])?
        .status(1)
        .says("gl: read /: ");
    Ok(())
}

fn show_spells_control_characters_out() -> Outcome {
    // A profile cannot hold one, the name of its file can.
    let own = Scratch::new("a\u{1b}[2Jb.toml", b"version = 1\nname = \"own\"\n");
    let out = run(&["profile", "show", &own.path])?.ok();
    assert!(!out.stdout.contains('\u{1b}'), "{out:?}");
    out.contains("a\\u{1b}[2Jb.toml:2");
    let missing = run(&["profile", "show", "/nowhere/\u{1b}[2J"])?.status(1);
    assert!(!missing.stderr.contains('\u{1b}'), "{missing:?}");
    missing.says("gl: read /nowhere/\\u{1b}[2J: ");
    Ok(())
}

fn explain_says_what_each_line_becomes() -> Outcome {
    let lines = run(&["profile", "explain", "--json", "compute_only"])?
        .ok()
        .json();
    let lines = lines.as_array().unwrap();
    let find = |key: &str, layer: &str| {
        let line = lines
            .iter()
            .find(|line| line["key"] == key && line["layer"] == layer);
        line.unwrap_or_else(|| panic!("no {key} {layer} in {lines:?}"))
    };
    assert_eq!(
        find("limits.memory_limit_bytes", "cgroup"),
        &json!({"key": "limits.memory_limit_bytes", "layer": "cgroup",
            "setting": "memory 536870912 bytes, no swap", "effect": "applied",
            "origin": "level standard:12"})
    );
    let blocked = find("filesystem.blocked_paths", "mounts");
    assert_eq!(blocked["effect"], "not here");
    assert!(blocked["why"].is_string(), "{blocked}");
    assert_eq!(find("seccomp", "seccomp")["effect"], "applied");
    let table = run(&["profile", "explain", "--tier", "container", "compute_only"])?.ok();
    assert!(table.stdout.starts_with("LINE "), "{table:?}");
    assert_eq!(table.stdout.lines().count(), lines.len() + 1);
    run(&["profile", "explain", "--tier", "moon", "compute_only"])?
        .status(2)
        .says("possible values: basic, namespace, container, gvisor");
    Ok(())
}

fn explain_ends_with_the_line_that_is_refused() -> Outcome {
    let own = Scratch::profile("[limits]\nmax_connections = 5\n");
    let out = run(&["profile", "explain", &own.path])?.status(1);
    out.says(&format!(
        "gl: enforce {}:4: limits.max_connections",
        own.path
    ))
    .says("leave it out");
    Ok(())
}

/// The lines of a profile in a tier, and whether all are in force.
fn explained(tier: &str, name: &str) -> Result<(Vec<Value>, bool), gl_e2e::Skip> {
    let out = run(&["profile", "explain", "--json", "--tier", tier, name])?;
    let lines = out.json().as_array().unwrap().clone();
    let refused = lines.iter().any(|line| line["effect"] == "refused by name");
    assert_eq!(out.code, i32::from(refused), "{tier} {name}: {out:?}");
    Ok((lines, !refused))
}

fn found<'a>(lines: &'a [Value], key: &str, layer: &str) -> &'a Value {
    let line = lines
        .iter()
        .find(|line| line["key"] == key && line["layer"] == layer);
    line.unwrap_or_else(|| panic!("no {key} {layer} in {lines:#?}"))
}

fn explain_shows_every_line_in_every_tier() -> Outcome {
    let limits = [
        ("limits.memory_limit_bytes", "cgroup"),
        ("limits.max_threads", "cgroup"),
        ("limits.max_open_files", "rlimit"),
        ("execution_timeout", "supervisor"),
    ];
    for name in BUILT_IN {
        for tier in ["basic", "namespace", "container", "gvisor"] {
            let (lines, _) = explained(tier, name)?;
            for (key, layer) in limits {
                let line = found(&lines, key, layer);
                let want = match tier {
                    "basic" => "possible",
                    _ => "applied",
                };
                assert_eq!(line["effect"], want, "{tier} {name}: {line}");
            }
            let why = |line: &Value| line["why"].as_str().is_some_and(|why| !why.is_empty());
            let said = |line: &&Value| line["effect"] != "refused by name" || why(line);
            assert_eq!(lines.iter().filter(said).count(), lines.len(), "{lines:?}");
            let mounts = lines.iter().any(|line| line["layer"] == "mounts");
            assert!(!(mounts && tier == "basic"), "{lines:#?}");
        }
    }
    Ok(())
}

fn explain_says_by_tier_what_is_refused() -> Outcome {
    let own = Scratch::profile(
        "[filesystem]\nread_write_paths = [\"/out\"]\nbind_mounts = [{ source = \"/srv\", target = \"/srv\" }]\n\
         [limits]\ndisk_quota_bytes = \"1MiB\"\n[network]\nallow_network = true\nallowed_hosts = [\"example.org\"]\n",
    );
    for (tier, want) in [
        (
            "basic",
            &[
                "filesystem.bind_mounts",
                "isolation",
                "limits.disk_quota_bytes",
                "network.allowed_hosts",
            ][..],
        ),
        ("namespace", &["network.allowed_hosts"]),
        (
            "container",
            &["filesystem.bind_mounts", "network.allowed_hosts"],
        ),
        (
            "gvisor",
            &[
                "filesystem.bind_mounts",
                "filesystem.read_write_paths",
                "limits.disk_quota_bytes",
                "network.allowed_hosts",
            ],
        ),
    ] {
        let (lines, _) = explained(tier, &own.path)?;
        let refused = lines
            .iter()
            .filter(|line| line["effect"] == "refused by name");
        // Where there is no runsc, that is refused as well.
        let refused = refused.filter(|line| line["key"] != "isolation" || tier == "basic");
        let mut refused: Vec<_> = refused.map(|line| line["key"].as_str().unwrap()).collect();
        refused.sort_unstable();
        assert_eq!(refused, want, "{tier}");
    }
    Ok(())
}

fn check_notes_what_a_tier_lacks_with_and_without_a_cgroup() -> Outcome {
    for (text, said) in [
        (
            "",
            "limits.memory_limit_bytes: refused by name: the container can have no cgroup",
        ),
        (
            "on_missing = \"degrade\"\n",
            "limits.memory_limit_bytes: lost: the container can have no cgroup; in its place: RLIMIT_AS 536870912",
        ),
    ] {
        let own = Scratch::profile(text);
        let out = run(&["profile", "check", "--tier", "container", &own.path])?.ok();
        let note = out.stdout.lines().find(|line| line.contains(said));
        let note = note.unwrap_or_else(|| panic!("no {said:?} in {out:?}"));
        assert!(
            note.starts_with("note: tier container, without a cgroup: level standard:"),
            "{note}"
        );
    }
    let own = Scratch::profile("[filesystem]\nread_write_paths = [\"/out\"]\n");
    let out = run(&["profile", "check", "--json", "--tier", "gvisor", &own.path])?.ok();
    let found = out.json();
    let note = |text: &str| {
        let notes = found.as_array().unwrap().iter();
        let mut messages = notes.map(|one| {
            (
                one["severity"].as_str().unwrap(),
                one["message"].as_str().unwrap(),
            )
        });
        messages.any(|(severity, message)| severity == "note" && message.contains(text))
    };
    assert!(
        note("filesystem.read_write_paths: refused by name: gVisor's kernel has no Landlock"),
        "{found:#}"
    );
    // What the file says is no fault of its own.
    run(&[
        "profile",
        "check",
        "--strict",
        "--tier",
        "container",
        &own.path,
    ])?
    .ok();
    Ok(())
}

fn diff_of_a_profile_with_itself_is_empty() -> Outcome {
    for name in BUILT_IN {
        let out = run(&["profile", "diff", name, name])?.ok();
        assert_eq!((&*out.stdout, &*out.stderr), ("", ""), "{name}");
    }
    run(&["profile", "diff", "--json", "high", "high"])?
        .ok()
        .prints("[]");
    Ok(())
}

fn diff_ends_with_1_where_more_is_allowed() -> Outcome {
    run(&["profile", "diff", "high", "maximum"])?
        .status(0)
        .contains("-  limits.max_threads             32 -> 16\n");
    run(&["profile", "diff", "maximum", "high"])?
        .status(1)
        .contains("+  limits.max_threads             16 -> 32\n");
    let own = Scratch::profile(
        "extends = [\"compute_only\"]\n[process]\ncapabilities = [\"CAP_KILL\"]\n",
    );
    let out = run(&["profile", "diff", "--json", "compute_only", &own.path])?.status(1);
    assert_eq!(
        out.json(),
        json!([{"key": "process.capabilities", "from": [], "to": ["CAP_KILL"], "beside": "more"}])
    );
    Ok(())
}

/// The changes by key and by what they are beside the first profile; one key may be there twice.
fn changes(from: &str, to: &str) -> Result<BTreeMap<(String, String), Value>, gl_e2e::Skip> {
    let out = run(&["profile", "diff", "--json", from, to])?;
    let changes = out.json();
    let changes = changes.as_array().unwrap();
    let more = changes.iter().any(|change| change["beside"] != "less");
    assert_eq!(out.code, i32::from(more), "{out:?}");
    let word = |change: &Value, key: &str| change[key].as_str().unwrap().to_owned();
    let keyed = changes.iter().map(|change| {
        (
            (word(change, "key"), word(change, "beside")),
            change.clone(),
        )
    });
    Ok(keyed.collect())
}

fn diff_is_the_reverse_of_the_other_direction() -> Outcome {
    let mut seen = 0;
    for from in BUILT_IN {
        for to in BUILT_IN.into_iter().filter(|to| *to < from) {
            let (there, back) = (changes(from, to)?, changes(to, from)?);
            assert_eq!(there.len(), back.len(), "{from} {to}: {there:?} {back:?}");
            for ((key, beside), change) in there {
                let reverse = match &*beside {
                    "more" => "less",
                    "less" => "more",
                    other => other,
                };
                let other = back.get(&(key.clone(), reverse.to_owned()));
                let other = other.unwrap_or_else(|| panic!("{from} {to}: {key} is not {reverse}"));
                assert_eq!(change["from"], other["to"], "{from} {to} {key}");
                assert_eq!(change["to"], other["from"], "{from} {to} {key}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen} changes");
    Ok(())
}

fn diff_fits_a_terminal() -> Outcome {
    let out = run(&["profile", "diff", "compute_only", "blocked_dangerous"])?.status(1);
    let lines: Vec<_> = out.stdout.lines().collect();
    assert!(lines.len() > 20, "{out:?}");
    for line in lines {
        assert!(line.len() <= 100, "{} columns: {line}", line.len());
    }
    Ok(())
}

fn diff_shows_the_arguments_that_differ() -> Outcome {
    let own = Scratch::profile("extends = [\"data_processing\"]\n[seccomp]\nallow = [\"clone\"]\n");
    let out = run(&["profile", "diff", "--json", "data_processing", &own.path])?.status(1);
    let changes = out.json();
    let change = &changes[0];
    assert_eq!(change["key"], "seccomp.arguments", "{changes}");
    assert_eq!(change["beside"], "more", "{changes}");
    assert_eq!(change["to"], json!(["clone: any arguments"]), "{changes}");
    let before = change["from"][0].as_str().unwrap();
    assert!(before.starts_with("clone: arg0 & 0x"), "{before}");
    let table = run(&["profile", "diff", "data_processing", &own.path])?.status(1);
    let words = table
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let want = format!("+ seccomp.arguments new: clone: any arguments gone: {before}");
    assert_eq!(words, want);
    Ok(())
}

fn score(name: &str) -> Result<u64, gl_e2e::Skip> {
    let score = run(&["profile", "score", "--json", name])?.ok().json();
    let points = score["points"].as_array().unwrap();
    let sum: u64 = points
        .iter()
        .map(|one| one["points"].as_u64().unwrap())
        .sum();
    let total = score["score"].as_u64().unwrap();
    assert_eq!(total, sum.min(100), "{score}");
    assert!(
        points
            .iter()
            .all(|one| !one["why"].as_str().unwrap().is_empty()),
        "{score}"
    );
    assert!(score["calls"].as_u64().unwrap() > 100, "{score}");
    Ok(total)
}

fn score_grows_with_what_is_open() -> Outcome {
    let names = [
        "compute_only",
        "data_processing",
        "network_client",
        "lenient",
    ];
    let mut last = 0;
    for name in names {
        let score = score(name)?;
        assert!(score > last, "{name} has {score}, the one before {last}");
        last = score;
    }
    let open = Scratch::profile("[seccomp]\ndefault = \"allow\"\n");
    assert!(score(&open.path)? > score("blocked_dangerous")?);
    run(&["profile", "score", "compute_only"])?
        .ok()
        .contains("of 100");
    Ok(())
}

fn schema_is_the_file_that_is_shipped() -> Outcome {
    let out = run(&["profile", "schema"])?.ok();
    assert_eq!(out.stdout, include_str!("../../../../profiles/schema.json"));
    assert_eq!(out.json()["type"], "object");
    Ok(())
}

fn wrong_usage_ends_with_2() -> Outcome {
    for (args, says) in [
        (&["profile", "list", "--jsn"][..], "'--json'"),
        (&["profile", "lst"], "'list'"),
        (&["doctr"], "'doctor'"),
        (&["profile", "diff", "high"], "<B>"),
        (&["profile", "check"], "<FILES>"),
        (&[], "Usage: gl"),
    ] {
        let out = run(args)?.status(2).says(says);
        assert_eq!(out.stdout, "", "{args:?}");
    }
    Ok(())
}

fn reader_that_goes_away_is_no_error() -> Outcome {
    let mut child = gl(&["profile", "schema"])?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((status.code(), &*said), (Some(0), ""));
    Ok(())
}

fn disk_that_is_full_is_an_error() -> Outcome {
    for args in [&["profile", "list"][..], &["profile", "schema"]] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = gl(args)?.stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert_eq!(
            said,
            "gl: write to standard output: no space left on device\n"
        );
    }
    Ok(())
}
