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

use gl_profile::seccomp::Filter;
use gl_profile::translate::{self, Host};
use gl_profile::{Profile, builtin};
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
        cgroup: true,
        ..Host::default()
    };
    println!(
        "{:<18} {:>8} {:>9} {:>7} {:>7} µs",
        "", "resolve", "translate", "filter", "policy"
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
        let of = || Filter::of(black_box(&profile), gl_seccomp::NATIVE).unwrap();
        let filter = median(|| {
            let start = Instant::now();
            black_box(of());
            start.elapsed()
        });
        let filled = of();
        let policy = median(|| {
            let start = Instant::now();
            black_box(filled.as_ref().map(|filter| filter.policy().unwrap()));
            start.elapsed()
        });
        println!("{name:<18} {resolve:>8.0} {translate:>9.0} {filter:>7.0} {policy:>7.0}");
    }
}
