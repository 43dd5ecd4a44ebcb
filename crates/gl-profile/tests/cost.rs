//! What a built-in profile costs a create, in allocations: counted, not timed, and held in `cost.txt`.
//!
//! Where a count falls, or has to rise, the test prints the file as it is to be.

#![expect(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "an allocator cannot be written without, and a test fails by panicking"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;

use gl_profile::seccomp::Answers;
use gl_profile::translate::{self, Controllers, Host};
use gl_profile::{Profile, builtin};
use gl_spec::oci::{Arch, LinuxSeccomp};
use gl_spec::{Extras, Rootless};

/// The system's allocator, which counts what each thread asks it for.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and nobody asks.
    COUNT.try_with(|count| count.set(count.get() + 1)).ok();
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and `old` is from this allocator's system.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `old` is from this allocator's system.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations of `work`, and what it made.
fn counted<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = COUNT.get();
    let made = work();
    (COUNT.get() - before, made)
}

#[test]
fn built_in_profiles_allocate_no_more_than_they_did() {
    const NATIVE: Arch = Arch::ScmpArchX86_64;
    let dir = env!("CARGO_MANIFEST_DIR");
    let list = std::fs::read_to_string(format!("{dir}/../gl-seccomp/tests/data/docker.json"));
    let engine: LinuxSeccomp = serde_json::from_str(&list.unwrap()).unwrap();
    let host = Host {
        landlock_abi: Some(6),
        cgroup: Some(Controllers::ALL),
        ..Host::default()
    };
    let mut seen = String::from(
        "# Allocations of a built-in profile: resolved; translated; its filter; merged with Docker's list; \
         assembled.\n",
    );
    for name in builtin::names() {
        let (resolve, profile) = counted(|| Profile::resolve(name, &()).unwrap());
        let mut spec = gl_spec::default_spec(Rootless::No);
        let mut extras = Extras::default();
        let (translate, _) =
            counted(|| translate::tighten(&profile, &mut spec, &mut extras, &host, "id").unwrap());
        let answers = || Answers::new(&profile.seccomp, profile.mode.value).unwrap();
        let (filter, own) = counted(|| answers().policy(NATIVE).unwrap());
        let merge = || gl_seccomp::policy_tightened_by(&engine, NATIVE, &own).unwrap();
        let (merged, both) = counted(merge);
        let (assembled, program) = counted(|| gl_seccomp::assemble(&both).unwrap());
        let length = program.insns().len();
        writeln!(
            seen,
            "{name}: {resolve} {translate} {filter} {merged} {assembled}; {length} instructions"
        )
        .unwrap();
    }
    let held = std::fs::read_to_string(format!("{dir}/tests/cost.txt")).unwrap();
    assert_eq!(seen, held, "tests/cost.txt is to be:\n{seen}");
}
