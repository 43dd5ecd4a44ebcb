//! A filter as the section of config.json.

use std::collections::HashSet;

use gl_spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder, LinuxSeccompOperator,
    LinuxSyscall,
};

use super::filter::{Cause, Filter, Rule};
use super::pieces::Piece;
use crate::value::{Mode, SeccompAction};

impl Filter {
    /// The filter as a section of config.json, for any OCI runtime.
    ///
    /// In permissive mode the other ABIs of the machine are listed, too, as a runtime would otherwise
    /// end what calls through them: rules for them are then those of the native one.
    pub fn oci(&self) -> LinuxSeccomp {
        let mut section = self.native_section();
        if self.mode == Mode::Permissive {
            section.set_architectures(Some(match self.native {
                Arch::ScmpArchX86_64 => {
                    vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]
                }
                Arch::ScmpArchAarch64 => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
                other => vec![other],
            }));
        }
        section
    }

    fn native_section(&self) -> LinuxSeccomp {
        let default = match self.mode {
            Mode::Enforcing => action(self.otherwise),
            Mode::Permissive => (LinuxSeccompAction::ScmpActLog, None),
        };
        let mut section = LinuxSeccomp::default();
        section.set_default_action(default.0);
        section.set_default_errno_ret(default.1);
        section.set_architectures(Some(vec![self.native]));
        section.set_syscalls(Some(self.syscalls(default)));
        section
    }

    fn syscalls(&self, default: (LinuxSeccompAction, Option<u32>)) -> Vec<LinuxSyscall> {
        let mut plain: Vec<(SeccompAction, Vec<String>)> = Vec::new();
        let mut conditional = Vec::new();
        for rule in &self.rules {
            let logged = self.mode == Mode::Permissive && rule.action != SeccompAction::Allow;
            if logged || action(rule.action) == default {
                continue;
            }
            if rule.arguments != Piece::ALL {
                conditional.push(entry(vec![rule.call.to_owned()], action(rule.action), rule));
                continue;
            }
            match plain.iter_mut().find(|group| group.0 == rule.action) {
                Some(group) if group.1.last().is_some_and(|last| last == rule.call) => {}
                Some(group) => group.1.push(rule.call.to_owned()),
                None => plain.push((rule.action, vec![rule.call.to_owned()])),
            }
        }
        let spoken: HashSet<&str> = plain
            .iter()
            .map(|group| &group.1[..])
            .chain(
                conditional
                    .iter()
                    .map(|rule: &LinuxSyscall| &rule.names()[..]),
            )
            .flatten()
            .map(String::as_str)
            .collect();
        let silent: Vec<String> = gl_seccomp::calls(self.native)
            .filter(|call| !spoken.contains(call))
            .map(str::to_owned)
            .collect();
        let all = Rule {
            call: "",
            arguments: Piece::ALL,
            action: self.otherwise,
            cause: Cause::Default,
        };
        let mut entries: Vec<_> = plain
            .into_iter()
            .map(|(said, names)| entry(names, action(said), &all))
            .collect();
        entries.extend(conditional);
        if !silent.is_empty() {
            entries.push(entry(silent, default, &all));
        }
        entries
    }
}

fn action(action: SeccompAction) -> (LinuxSeccompAction, Option<u32>) {
    match action {
        SeccompAction::Allow => (LinuxSeccompAction::ScmpActAllow, None),
        SeccompAction::Log => (LinuxSeccompAction::ScmpActLog, None),
        SeccompAction::Errno(errno) => (LinuxSeccompAction::ScmpActErrno, Some(errno.into())),
        SeccompAction::KillThread => (LinuxSeccompAction::ScmpActKillThread, None),
        SeccompAction::KillProcess => (LinuxSeccompAction::ScmpActKillProcess, None),
    }
}

/// One entry of `syscalls`, with the arguments of `rule`.
fn entry(
    names: Vec<String>,
    action: (LinuxSeccompAction, Option<u32>),
    rule: &Rule,
) -> LinuxSyscall {
    let args: Vec<_> = rule
        .arguments
        .0
        .iter()
        .enumerate()
        .filter(|(_, bits)| bits.mask != 0)
        .map(|(index, bits)| {
            let arg = LinuxSeccompArgBuilder::default().index(index);
            let arg = if bits.mask == u64::MAX {
                arg.op(LinuxSeccompOperator::ScmpCmpEq).value(bits.value)
            } else {
                arg.op(LinuxSeccompOperator::ScmpCmpMaskedEq)
                    .value(bits.mask)
                    .value_two(bits.value)
            };
            arg.build()
                .expect("every field of an argument has a default")
        })
        .collect();
    let mut syscall = LinuxSyscall::default();
    syscall.set_names(names);
    syscall.set_action(action.0);
    syscall.set_errno_ret(action.1);
    syscall.set_args((!args.is_empty()).then_some(args));
    syscall
}
