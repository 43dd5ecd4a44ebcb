//! `docs/profiles.md`: what it tells to type works, and what it tells to write can be read.

use std::fs;
use std::path::Path;

use gl_e2e::{Outcome, Test, tests};

use crate::{Scratch, Setting, run};

pub(crate) const TESTS: &[Test] = tests![
    every_call_of_gl_in_the_guide_works,
    every_profile_in_the_guide_is_a_good_one,
];

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/profiles.md");
    fs::read_to_string(path).unwrap()
}

/// The blocks of TOML in the guide that are profiles, with their names.
fn profiles(guide: &str) -> Vec<(String, String)> {
    let blocks = guide.split("```toml\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
    let named = blocks.filter_map(|block| {
        let name = block
            .lines()
            .find_map(|line| line.strip_prefix("name = \""));
        let name = name?.trim_end_matches('"').to_owned();
        Some((name, block))
    });
    named.collect()
}

fn every_call_of_gl_in_the_guide_works() -> Outcome {
    let guide = guide();
    let own: Vec<_> = profiles(&guide)
        .into_iter()
        .map(|(name, text)| Setting::new(&format!("greenlang/profiles/{name}.toml"), &text))
        .collect();
    assert!(!own.is_empty(), "the guide has a profile");
    let blocks = guide
        .lines()
        .filter_map(|line| line.strip_prefix("    gl "));
    let inline = guide
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.strip_prefix("gl "));
    let mut seen = 0;
    for line in blocks.chain(inline) {
        let line = line.replace('\n', " ");
        // What follows two spaces and a sign is said about the call.
        let line = line.split("  #").next().unwrap();
        let args: Vec<_> = line.split_whitespace().collect();
        let out = run(&args)?;
        // A difference, or something that the host lacks, is an answer.
        let most = match args[..] {
            ["profile", "diff", ..] | ["doctor"] => 1,
            _ => 0,
        };
        assert!((0..=most).contains(&out.code), "{out:?}");
        assert!(out.stderr.is_empty(), "{out:?}");
        seen += 1;
    }
    assert!(seen >= 6, "{seen} calls");
    Ok(())
}

fn every_profile_in_the_guide_is_a_good_one() -> Outcome {
    for (name, text) in profiles(&guide()) {
        let file = Scratch::new(&format!("{name}.toml"), text.as_bytes());
        let out = run(&["profile", "check", "--strict", &file.path])?.ok();
        assert_eq!(out.stdout, "", "{name}");
    }
    Ok(())
}
