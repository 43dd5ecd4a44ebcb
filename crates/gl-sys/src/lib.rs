//! System calls that rustix does not wrap: the only unsafe code of the workspace.
//!
//! One thin function each, no policy. Every unsafe operation argues for itself; everything that
//! calls in here is safe code, but for [`fork_into`], whose conditions only the launch can meet.
#![expect(unsafe_code, reason = "raw system calls, each argued where it stands")]

mod ahead;
mod arena;
mod arguments;
mod attempt;
mod attributes;
mod begin;
mod bpf;
mod check;
mod clone;
mod exec;
mod known;
mod landlock;
mod loopdev;
mod mountattr;
mod network;
mod notify;
mod nsfs;
mod peer;
mod pidfd;
mod seccomp;
mod signal;
mod spent;
mod stages;
mod usage;

pub use ahead::{Ahead, Loopback, Made};
pub use arena::Arena;
pub use arguments::Arguments;
pub use attempt::{Attempt, Life, attempt, new_process};
pub use attributes::{
    SchedAttr, ioprio_set, join_new_session_keyring, sched_setattr, set_mempolicy, set_personality,
    unshare,
};
pub use begin::begin;
pub use bpf::{
    EbpfInsn, bpf_attach_device_program, bpf_detach_device_program, bpf_device_programs,
    bpf_load_device_program,
};
pub use clone::{CloneArgs, Forked, Parent, fork_into, has_one_thread};
pub use exec::{
    CStrings, cloexec_from, close_all_but, execve, execve_fd, exit_now, keep_over_exec,
    stays_over_exec,
};
pub use known::{Call, is_known};
pub use landlock::{
    LandlockRuleset, LandlockTells, landlock_abi, landlock_allow_beneath, landlock_allow_port,
    landlock_restrict_self, landlock_ruleset,
};
pub use loopdev::{configure_loop_device, free_loop_device};
pub use mountattr::{Depth, MountAttr, mount_setattr};
pub use network::{network_namespace, raise_loopback};
pub use notify::{
    Answer, Notification, seccomp_answer, seccomp_hand_over_at_once, seccomp_is_waiting,
    seccomp_receive,
};
pub use nsfs::{namespace_type, parent_namespace};
pub use peer::peer_pid;
pub use pidfd::pidfd_send_signal;
pub use seccomp::{BpfInsn, seccomp_action_known, seccomp_flags_known, seccomp_set_filter};
pub use signal::{Sender, block_all, read_signal, read_signal_from, reset_for_exec};
pub use spent::{Batch, Spent};
pub use stages::{stage, time_stages, write_stages};
pub use usage::{ChildrenUsage, children_usage};
