//! The exported section means the same to runtimes that use libseccomp: both programs are run for every
//! call and for values of arguments around those of the groups.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and the driver of libseccomp is shared with gl-seccomp"
)]

#[path = "../../gl-seccomp/tests/common/bpf.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared with gl-seccomp")]
mod bpf;
#[path = "../../gl-seccomp/tests/common/oracle.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared with gl-seccomp")]
mod oracle;

use bpf::{Data, run};
use gl_profile::seccomp::{Filter, Test, group, group_names};
use gl_profile::{Mode, Profile};
use gl_seccomp::{assemble, policy};
use gl_spec::oci::Arch;
use libseccomp::{ScmpArch, ScmpSyscall};

const X86_64: u32 = 0xc000_003e;

/// Around every value of every condition.
fn values() -> Vec<u64> {
    let mut values = vec![0, 1, u64::MAX, 0xffff_ffff, 1 << 32];
    for name in group_names() {
        let rules = &group(name).unwrap().rules;
        for condition in rules.iter().flat_map(|rule| &*rule.conditions) {
            let value = condition.value;
            values.extend([value, value + 1, value.wrapping_sub(1), value | 1 << 32]);
            if let Test::MaskedEqual(mask) | Test::MaskedNotEqual(mask) = condition.test {
                values.extend([mask, value | !mask]);
            }
        }
    }
    values.extend((0..64).map(|bit| 1 << bit));
    values.sort_unstable();
    values.dedup();
    values
}

#[test]
fn exported_section_means_the_same_to_libseccomp() {
    let values = values();
    let mut arguments: Vec<[u64; 6]> = vec![[0; 6]];
    for &value in &values {
        arguments.extend((0..3).map(|place| {
            let mut args = [0; 6];
            args[place] = value;
            args
        }));
        arguments.extend([
            [2, value, 0, 0, 0, 0],
            [value, 1, 0, 0, 0, 0],
            [16, 3, value, 0, 0, 0],
        ]);
    }
    // Only calls that this libseccomp knows; it leaves rules for others out.
    let is_known = |nr: &u32| {
        let call = ScmpSyscall::from_raw_syscall(i32::try_from(*nr).unwrap());
        call.get_name_by_arch(ScmpArch::X8664).is_ok()
    };
    let known: Vec<u32> = (0..600).filter(is_known).collect();
    assert!(known.len() > 340, "{} calls", known.len());
    for name in [
        "default",
        "compute_only",
        "data_processing",
        "network_client",
        "blocked_dangerous",
    ] {
        let profile = Profile::resolve(name, &()).unwrap();
        for mode in [Mode::Enforcing, Mode::Permissive] {
            let filter = Filter::new(&profile.seccomp, mode, Arch::ScmpArchX86_64).unwrap();
            let section = filter.oci();
            let ours = assemble(&policy(&section, Arch::ScmpArchX86_64).unwrap()).unwrap();
            let theirs = oracle::program(&section, Arch::ScmpArchX86_64)
                .unwrap_or_else(|| panic!("{name}: libseccomp refuses a rule"));
            for (nr, &args) in known
                .iter()
                .flat_map(|&nr| arguments.iter().map(move |args| (nr, args)))
            {
                let data = Data {
                    nr,
                    arch: X86_64,
                    args,
                };
                let (mine, other) = (run(ours.insns(), &data), run(&theirs, &data));
                assert_eq!(
                    mine, other,
                    "{name}, {mode:?}: {data:x?}: {mine:#x}, {other:#x}"
                );
            }
        }
    }
}
