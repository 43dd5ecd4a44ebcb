//! The kernel: mounts, namespaces, administration, calls that have led out of sandboxes.

use gl_sys::{Attempt, Life, attempt, new_process};
use rustix::io::Errno;
use rustix::process::WaitOptions;
use rustix::thread::UnshareFlags;

use super::{Bait, Seen};

/// One function for each request, with what the kernel says to whoever may make it.
macro_rules! requests {
    ($($name:ident: $what:expr $(, $past:ident)*;)+) => {
        $(pub(super) fn $name(_: &Bait) -> Seen {
            Seen::past(attempt($what), &[$(Errno::$past),*])
        })+
    };
}

requests! {
    mount: Attempt::Mount, NODEV;
    bind_mount: Attempt::BindMount, INVAL;
    remount: Attempt::Remount, INVAL;
    unmount: Attempt::Unmount, INVAL;
    pivot_root: Attempt::PivotRoot, NOENT;
    clone_mount: Attempt::CloneMount;
    new_filesystem: Attempt::NewFilesystem;
    move_mount: Attempt::MoveMount, BADF;
    chroot: Attempt::Chroot;
    unshare_user: Attempt::Unshare(UnshareFlags::NEWUSER.bits());
    unshare_mount: Attempt::Unshare(UnshareFlags::NEWNS.bits());
    unshare_network: Attempt::Unshare(UnshareFlags::NEWNET.bits());
    unshare_processes: Attempt::Unshare(UnshareFlags::NEWPID.bits());
    set_host_name: Attempt::SetHostName, INVAL;
    set_domain_name: Attempt::SetDomainName, INVAL;
    set_time: Attempt::SetTime;
    adjust_time: Attempt::AdjustTime, INVAL;
    swap_on: Attempt::SwapOn, NOENT;
    swap_off: Attempt::SwapOff, NOENT;
    reboot: Attempt::Reboot, INVAL;
    init_module: Attempt::InitModule, NOEXEC;
    init_module_file: Attempt::InitModuleFile, BADF;
    delete_module: Attempt::DeleteModule, NOENT;
    load_kernel: Attempt::LoadKernel, INVAL;
    list_bpf: Attempt::ListBpf, NOENT;
    perf_counter: Attempt::PerfCounter;
    user_faults: Attempt::UserFaults;
    io_uring: Attempt::IoUring;
    add_key: Attempt::AddKey;
    session_keyring: Attempt::SessionKeyring, NOKEY;
    open_by_handle: Attempt::OpenByHandle;
    watch_opens: Attempt::WatchOpens;
    accounting: Attempt::Accounting, NOENT;
    io_privilege: Attempt::IoPrivilege;
    io_port: Attempt::IoPort;
    segments: Attempt::Segments;
    fixed_addresses: Attempt::FixedAddresses;
    call_32: Attempt::Call32;
    kernel_messages: Attempt::KernelMessages;
    type_character: Attempt::TypeCharacter, NOTTY, IO;
    paste_selection: Attempt::PasteSelection, NOTTY;
}

fn process(namespaces: UnshareFlags) -> Seen {
    match new_process(namespaces.bits(), Life::Ends) {
        Ok(pid) => Seen::of(rustix::process::waitpid(Some(pid), WaitOptions::empty())),
        Err(errno) => Seen::of(Err::<(), _>(errno)),
    }
}

pub(super) fn process_in_user_namespace(_: &Bait) -> Seen {
    process(UnshareFlags::NEWUSER)
}

pub(super) fn new_process_ends(_: &Bait) -> Seen {
    process(UnshareFlags::empty())
}
