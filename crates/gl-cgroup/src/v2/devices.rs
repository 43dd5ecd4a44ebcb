//! `linux.resources.devices` as a BPF program that the cgroup asks on every access.
//!
//! Of the rules, for each of the accesses that are asked for, the last one that names it decides;
//! unlike in v1 a rule may take a part out of a wider one. The program goes through them from the last
//! to the first, takes off what is allowed and ends when nothing is left or one denies. kernel
//! `BPF_PROG_TYPE_CGROUP_DEVICE`, `struct bpf_cgroup_dev_ctx`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_spec::oci::LinuxDeviceCgroup;
use gl_sys::EbpfInsn;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::group::Group;
use crate::device::{Access, DEFAULTS, Kind, Node, Otherwise, Parsed, refused};
use crate::error::Error;
use crate::file;
use crate::layout::shown;

/// Rules in their order, after the last one that was about everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    otherwise: Otherwise,
    some: Vec<(Otherwise, Node, Access)>,
}

impl Rules {
    /// Reads the rules of the config, on top of "nothing is allowed", and adds the devices that
    /// every container has.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] for a type, number or access that no device has.
    pub(crate) fn read(rules: &[LinuxDeviceCgroup]) -> Result<Self, Error> {
        let mut out = Self {
            otherwise: Otherwise::Deny,
            some: Vec::new(),
        };
        for (at, rule) in rules.iter().enumerate() {
            match Parsed::of(rule).map_err(|reason| refused(at, rule, reason))? {
                Parsed::Whole(otherwise) => {
                    out.otherwise = otherwise;
                    out.some.clear();
                }
                Parsed::Some {
                    verdict,
                    nodes,
                    access,
                } => {
                    let nodes = nodes.into_iter().filter(|_| access != Access::default());
                    out.some.extend(nodes.map(|node| (verdict, node, access)));
                }
            }
        }
        if !out.allow_all() {
            let allowed = DEFAULTS.map(|(node, access)| (Otherwise::Allow, node, access));
            out.some.extend(allowed);
        }
        Ok(out)
    }

    /// Whether no program is needed.
    fn allow_all(&self) -> bool {
        self.otherwise == Otherwise::Allow && self.some.is_empty()
    }

    /// The program: 1 for an access that is allowed, 0 for one that is not.
    pub(crate) fn program(&self) -> Vec<EbpfInsn> {
        let mut program = vec![
            load(ACCESS, 0),
            copy(KIND, ACCESS),
            operation(AND, KIND, 0xffff),
            operation(RIGHT_SHIFT, ACCESS, 16),
            load(MAJOR, 4),
            load(MINOR, 8),
        ];
        for (verdict, node, access) in self.some.iter().rev() {
            let decision = decision(*verdict, *access);
            let mut tests = vec![(KIND, kind_bit(node.kind))];
            tests.extend(node.major.map(|number| (MAJOR, number.cast_signed())));
            tests.extend(node.minor.map(|number| (MINOR, number.cast_signed())));
            for (at, (register, want)) in tests.iter().enumerate() {
                // Past the tests that are left and the decision.
                let skip = tests.len() - at - 1 + decision.len();
                program.push(jump(UNLESS_EQUAL, *register, *want, skip));
            }
            program.extend(decision);
        }
        program.extend(verdict(self.otherwise));
        program
    }
}

/// What a rule does to an access of a device that it names.
fn decision(allowed: Otherwise, access: Access) -> Vec<EbpfInsn> {
    let bits = access_bits(access);
    match allowed {
        Otherwise::Allow => {
            let mut part = vec![
                operation(AND, ACCESS, !bits),
                jump(UNLESS_EQUAL, ACCESS, 0, 2),
            ];
            part.extend(verdict(Otherwise::Allow));
            part
        }
        Otherwise::Deny => {
            let mut part = vec![jump(IF_ANY_BIT, ACCESS, bits, 1), jump(ALWAYS, 0, 0, 2)];
            part.extend(verdict(Otherwise::Deny));
            part
        }
    }
}

fn verdict(verdict: Otherwise) -> [EbpfInsn; 2] {
    let value = match verdict {
        Otherwise::Deny => 0,
        Otherwise::Allow => 1,
    };
    [operation(SET, RESULT, value), instruction(EXIT, 0, 0, 0, 0)]
}

/// `BPF_DEVCG_DEV_*`, the lower half of the first word.
fn kind_bit(kind: Kind) -> i32 {
    match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    }
}

/// `BPF_DEVCG_ACC_*`, the upper half of it.
fn access_bits(access: Access) -> i32 {
    [(Access::MKNOD, 1), (Access::READ, 2), (Access::WRITE, 4)]
        .into_iter()
        .filter(|(bit, _)| access.0 & bit != 0)
        .map(|(_, kernel)| kernel)
        .sum()
}

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_LDX | BPF_MEM | BPF_W`.
const LOAD: u8 = 0x61;
/// `BPF_ALU64 | BPF_MOV | BPF_X`.
const COPY: u8 = 0xbf;
/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const SET: u8 = 0xb7;
/// `BPF_ALU64 | BPF_AND | BPF_K`: the operand is sign-extended.
const AND: u8 = 0x57;
/// `BPF_ALU64 | BPF_RSH | BPF_K`.
const RIGHT_SHIFT: u8 = 0x77;
/// `BPF_JMP | BPF_JNE | BPF_K`: the operand is sign-extended, so a number over 2^31, which no
/// device has, equals none.
const UNLESS_EQUAL: u8 = 0x55;
/// `BPF_JMP | BPF_JSET | BPF_K`.
const IF_ANY_BIT: u8 = 0x45;
/// `BPF_JMP | BPF_JA`.
const ALWAYS: u8 = 0x05;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u8 = 0x95;

fn instruction(code: u8, destination: u8, source: u8, off: i16, imm: i32) -> EbpfInsn {
    EbpfInsn {
        code,
        registers: EbpfInsn::registers(destination, source),
        off,
        imm,
    }
}

fn load(destination: u8, offset: i16) -> EbpfInsn {
    instruction(LOAD, destination, CONTEXT, offset, 0)
}

fn copy(destination: u8, source: u8) -> EbpfInsn {
    instruction(COPY, destination, source, 0, 0)
}

fn operation(code: u8, destination: u8, operand: i32) -> EbpfInsn {
    instruction(code, destination, 0, 0, operand)
}

fn jump(code: u8, register: u8, operand: i32, skip: usize) -> EbpfInsn {
    // At most two tests and a decision of four.
    let off = i16::try_from(skip).unwrap_or(i16::MAX);
    instruction(code, register, 0, off, operand)
}

/// In the program's head only; nothing in it is under another licence.
const LICENSE: &std::ffi::CStr = c"Apache-2.0";

impl Group {
    /// Has a new cgroup ask for devices.
    pub(crate) fn set_devices(&self, rules: &Rules) -> Result<(), Error> {
        if rules.allow_all() {
            return Ok(());
        }
        let dir = self.device_dir()?;
        let program = self.load(rules)?;
        self.attach(&dir, &program, None)
    }

    /// Puts other rules in the place of those that are there, in one step where the kernel can.
    ///
    /// Between two steps both hold, so that nothing is open meanwhile that neither allows.
    pub(crate) fn replace_devices(&self, rules: &Rules) -> Result<(), Error> {
        let dir = self.device_dir()?;
        let old = gl_sys::bpf_device_programs(dir.as_fd())
            .map_err(|source| self.failed("find the program", source))?;
        if rules.allow_all() && old.is_empty() {
            return Ok(());
        }
        let program = self.load(rules)?;
        if let [old] = old.as_slice()
            && gl_sys::bpf_attach_device_program(dir.as_fd(), program.as_fd(), Some(old.as_fd()))
                .is_ok()
        {
            return Ok(());
        }
        self.attach(&dir, &program, None)?;
        for old in &old {
            match gl_sys::bpf_detach_device_program(dir.as_fd(), old.as_fd()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(source) => return Err(self.failed("detach the former program", source)),
            }
        }
        Ok(())
    }

    fn device_dir(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        file::open(&self.base, self.path.as_str(), flags)
            .map_err(|source| self.failed("open the cgroup", source))
    }

    fn load(&self, rules: &Rules) -> Result<OwnedFd, Error> {
        gl_sys::bpf_load_device_program(&rules.program(), LICENSE)
            .map_err(|source| self.failed("load the program", source))
    }

    fn attach(
        &self,
        dir: &OwnedFd,
        program: &OwnedFd,
        instead: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error> {
        gl_sys::bpf_attach_device_program(dir.as_fd(), program.as_fd(), instead)
            .map_err(|source| self.failed("attach the program", source))
    }

    fn failed(&self, step: &'static str, source: Errno) -> Error {
        Error::Devices {
            step,
            path: shown(self.path.as_str()),
            source,
        }
    }
}

#[cfg(test)]
mod tests;
