//! What a profile costs a create before anything is made: medians of many rounds, for each built-in one.
//!
//!     cargo run --release -p gl-profile --example measure
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people, which fails by panicking"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use gl_profile::seccomp::Answers;
use gl_profile::translate::{self, Controllers, Host};
use gl_profile::{Profile, builtin};
use gl_seccomp::{Policy, assemble};
use gl_spec::oci::LinuxSeccomp;
use gl_spec::{Extras, Rootless};

const ROUNDS: usize = 500;

fn median(mut once: impl FnMut() -> Duration) -> f64 {
    let mut all: Vec<Duration> = (0..ROUNDS).map(|_| once()).collect();
    all.sort();
    all[ROUNDS / 2].as_secs_f64() * 1e6
}

fn main() {
    let host = Host {
        landlock_abi: Some(6),
        cgroup: Some(Controllers::ALL),
        ..Host::default()
    };
    let list = include_str!("../../gl-seccomp/tests/data/docker.json");
    let engine: LinuxSeccomp = serde_json::from_str(list).unwrap();
    println!(
        "{:<18} {:>8} {:>9} {:>7} {:>7} {:>8} µs {:>3}",
        "", "resolve", "translate", "seccomp", "merge", "assemble", "len"
    );
    for name in builtin::names() {
        let resolve = median(|| {
            let start = Instant::now();
            black_box(Profile::resolve(black_box(name), &()).unwrap());
            start.elapsed()
        });
        let profile = Profile::resolve(name, &()).unwrap();
        let translate = median(|| {
            let mut spec = gl_spec::default_spec(Rootless::No);
            let mut extras = Extras::default();
            let start = Instant::now();
            translate::tighten(&profile, &mut spec, &mut extras, &host, "id").unwrap();
            start.elapsed()
        });
        let policy = |profile: &Profile| {
            let answers = Answers::new(&profile.seccomp, profile.mode.value).unwrap();
            answers.policy(gl_seccomp::NATIVE).unwrap()
        };
        let merge = |own: &Policy| {
            gl_seccomp::policy_tightened_by(&engine, gl_seccomp::NATIVE, own).unwrap()
        };
        let seccomp = median(|| {
            let start = Instant::now();
            black_box(policy(black_box(&profile)));
            start.elapsed()
        });
        let own = policy(&profile);
        let merged = median(|| {
            let start = Instant::now();
            black_box(merge(black_box(&own)));
            start.elapsed()
        });
        let both = merge(&own);
        let assembled = median(|| {
            let start = Instant::now();
            black_box(assemble(black_box(&both)).unwrap());
            start.elapsed()
        });
        let len = assemble(&both).unwrap().insns().len();
        println!(
            "{name:<18} {resolve:>8.0} {translate:>9.0} {seccomp:>7.0} {merged:>7.0} {assembled:>8.0} {len:>6}"
        );
    }
}
