//! All probes, by area, each with what keeps it from being done.

use rustix::fs::OFlags;

use super::{Company, Probe, basics, files, identity, kernel, limits, network, processes, shared};
use crate::verify::expect::Wall::{
    self, AnyCapability, BoundingSet, Call, Capability, Descriptors, Device, Environment, Guest,
    HostName, Interfaces, Ipc, KernelFile, Limit, LocalSockets, Loopback, MetadataHosts, Network,
    NoNewPrivileges, Others, OwnDevices, Read, Room, SecondaryAbi, Unmoved, Write,
};
use crate::verify::expect::{Key, Other, Path};

const SYS_ADMIN: Wall = Capability("CAP_SYS_ADMIN");
const SYS_TIME: Wall = Capability("CAP_SYS_TIME");
const SYS_MODULE: Wall = Capability("CAP_SYS_MODULE");
const SYS_RAWIO: Wall = Capability("CAP_SYS_RAWIO");
const SYS_NICE: Wall = Capability("CAP_SYS_NICE");
const SYS_RESOURCE: Wall = Capability("CAP_SYS_RESOURCE");

const INET: u64 = 2;
const UNIX: u64 = 1;
const STREAM: u64 = 1;
const DATAGRAM: u64 = 2;
const RAW: u64 = 3;
const SEQPACKET: u64 = 5;
/// `SOCK_CLOEXEC` and `SOCK_NONBLOCK`, as the probes have them.
const FLAGS: u64 = 0o2_004_000;
const CLOEXEC: u64 = 0o2_000_000;
const TCP: Wall = Call("socket", &[(0, INET), (1, STREAM | FLAGS)]);
const UDP: Wall = Call("socket", &[(0, INET), (1, DATAGRAM | CLOEXEC)]);
const UNIX_STREAM: Wall = Call("socket", &[(0, UNIX), (1, STREAM | FLAGS)]);

const NEWNS: u64 = 0x0002_0000;
const NEWUSER: u64 = 0x1000_0000;
const NEWPID: u64 = 0x2000_0000;
const NEWNET: u64 = 0x4000_0000;
const SIGCHLD: u64 = 17;
const FORK: Wall = Call("clone", &[(0, SIGCHLD)]);
const CREATE: Wall = Call("openat", &[(2, OFlags::CREATE.bits() as u64 | 1)]);

/// The areas, in the order of the table.
pub(crate) const AREAS: &[(&str, &[Probe])] = &[
    ("files", FILES),
    ("kernel files", KERNEL_FILES),
    ("devices", DEVICES),
    ("processes", PROCESSES),
    ("mounts", MOUNTS),
    ("namespaces", NAMESPACES),
    ("administration", ADMINISTRATION),
    ("attack surface", SURFACE),
    ("network", NETWORK),
    ("shared", SHARED),
    ("identity", IDENTITY),
    ("limits", LIMITS),
    ("basics", BASICS),
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = Probe> {
    let all = AREAS.iter();
    all.flat_map(|(area, probes)| probes.iter().map(|probe| Probe { area, ..*probe }))
}

const FILES: &[Probe] = &[
    Probe::deny("read_shadow", "read /etc/shadow", files::shadow, &[Read(Path::Owned("/etc/shadow"))]),
    Probe::work("read_secret", "read a file of the host's, by its name", files::secret, &[Read(Path::Bait)]),
    Probe::work("read_secret_by_dots", "read it by way of ../..", files::secret_by_dots, &[Read(Path::Bait)]),
    Probe::deny("read_secret_beside", "read it from beside the working directory", files::secret_beside, &[Read(Path::Bait)]),
    Probe::deny("read_secret_by_init", "read it by /proc/1/root", files::secret_by_init, &[Read(Path::Bait)]),
    Probe::deny("read_secret_by_process", "read it by /proc/PID/root of a host's process", files::secret_by_target, &[Read(Path::Bait)]),
    Probe::deny("list_home", "list the caller's home directory", files::home, &[Read(Path::Home)]),
    Probe::deny("list_keys", "list the caller's ssh keys", files::keys, &[Read(Path::Home)]),
    Probe::deny("list_roots_home", "list /root", files::roots_home, &[Read(Path::At("/root"))]),
    Probe::deny("list_boot", "list /boot", files::boot, &[Read(Path::At("/boot"))]),
    Probe::deny("list_logs", "list /var/log", files::logs, &[Read(Path::At("/var/log"))]),
    Probe::deny("write_hosts", "open /etc/hosts to write", files::write_hosts, &[Write(Path::At("/etc/hosts"))]),
    Probe::deny("write_passwd", "open /etc/passwd to write", files::write_passwd, &[Write(Path::At("/etc/passwd"))]),
    Probe::deny("make_in_usr", "make a file in /usr/bin", files::make_in_usr, &[Write(Path::At("/usr/bin"))]),
    Probe::deny("make_in_root", "make a file in /", files::make_in_root, &[Write(Path::At("/"))]),
    Probe::deny("make_in_etc", "make a file in /etc", files::make_in_etc, &[Write(Path::At("/etc"))]),
    Probe::deny("make_in_var", "make a file in /var", files::make_in_var, &[Write(Path::At("/var"))]),
    Probe::deny("make_in_run", "make a file in /run", files::make_in_run, &[Write(Path::At("/run"))]),
    Probe::deny("make_in_directory", "make a file in the working directory", files::make_in_cwd, &[Write(Path::Directory)]),
    Probe::deny("write_shared", "open a file of the host's to write that everybody may write", files::write_shared, &[Write(Path::Bait)]),
    Probe::deny("write_in_directory", "open a file of the working directory to write", files::write_in_cwd, &[Write(Path::Directory)]),
    Probe::deny("change_mode", "change the mode of the working directory", files::change_mode, &[Write(Path::Directory), Call("chmod", &[])]),
];

const KERNEL_FILES: &[Probe] = &[
    Probe::deny("kernel_memory", "read /proc/kcore", files::kernel_memory, &[KernelFile]),
    Probe::deny("interrupts", "read /proc/interrupts", files::interrupts, &[KernelFile]),
    Probe::deny("sysrq", "open /proc/sysrq-trigger to write", files::sysrq, &[KernelFile, Guest]),
    Probe::deny("core_pattern", "open /proc/sys/kernel/core_pattern to write", files::core_pattern, &[KernelFile]),
    Probe::deny("host_name_setting", "open /proc/sys/kernel/hostname to write", files::host_name_setting, &[KernelFile]),
    Probe::deny("drop_caches", "open /proc/sys/vm/drop_caches to write", files::drop_caches, &[KernelFile]),
    Probe::deny("sysfs", "list /sys/kernel", files::sysfs, &[KernelFile]),
    Probe::deny("make_cgroup", "make a cgroup", files::make_cgroup, &[KernelFile]),
    Probe::deny("leave_cgroup", "open a cgroup's list of processes to write", files::leave_cgroup, &[KernelFile]),
];

const DEVICES: &[Probe] = &[
    Probe::deny("disk", "open a disk of the host's", files::disk, &[Device]),
    Probe::deny("memory_device", "open /dev/mem, /dev/kmem or /dev/port", files::memory_device, &[Device]),
    Probe::deny("message_device", "open /dev/kmsg", files::message_device, &[Device]),
    Probe::deny("loop_device", "open /dev/loop-control", files::loop_device, &[Device]),
    Probe::deny("fuse_device", "open /dev/fuse", files::fuse_device, &[Device, Guest]),
    Probe::deny("tunnel_device", "open /dev/net/tun", files::tunnel_device, &[Device, Guest]),
    Probe::deny("machine_device", "open /dev/kvm", files::machine_device, &[Device]),
    Probe::deny("make_device", "make a device file", files::make_device, &[Capability("CAP_MKNOD")]),
];

const PROCESSES: &[Probe] = &[
    Probe::deny("see_process", "read the arguments of a host's process", processes::see, &[Others(Other::See)]),
    Probe::deny("find_process", "find a host's process in /proc", processes::find, &[Others(Other::See)]),
    Probe::deny("see_init", "read the arguments of the host's first process", processes::see_init, &[Others(Other::See)]),
    Probe::deny("signal_process", "signal a host's process", processes::signal, &[Others(Other::Signal)]),
    Probe::deny("signal_by_descriptor", "signal it by a descriptor", processes::signal_by_descriptor, &[Others(Other::Signal), Call("pidfd_open", &[])]),
    Probe::deny("take_descriptor", "take a descriptor from it", processes::take_descriptor, &[Others(Other::Memory), Call("pidfd_getfd", &[])]),
    Probe::deny("trace_process", "trace it", processes::trace, &[Others(Other::Memory), Call("ptrace", &[])]),
    Probe::deny("read_memory", "read its memory by process_vm_readv", processes::read_memory, &[Others(Other::Memory), Call("process_vm_readv", &[])]),
    Probe::deny("write_memory", "write its memory by process_vm_writev", processes::write_memory, &[Others(Other::Memory), Call("process_vm_writev", &[])]),
    Probe::deny("memory_file", "open /proc/PID/mem", processes::memory_file, &[Others(Other::Memory)]),
    Probe::deny("memory_map_of_process", "read /proc/PID/maps", processes::memory_map, &[Others(Other::Memory)]),
    Probe::deny("environment_of_process", "open /proc/PID/environ", processes::environment, &[Others(Other::Memory)]),
    Probe::deny("limits_of_process", "read its limits", processes::limits, &[Others(Other::Limits)]),
    Probe::deny("priority_of_process", "set its priority", processes::priority, &[Others(Other::Limits), Call("setpriority", &[])]),
    Probe::deny("cpus_of_process", "set its CPUs", processes::cpus, &[Others(Other::Cpus), Call("sched_setaffinity", &[])]),
    Probe::deny("enter_namespace", "enter its namespace of names", processes::enter_namespace, &[SYS_ADMIN, Call("setns", &[])]),
];

const MOUNTS: &[Probe] = &[
    Probe::deny("mount", "mount a filesystem", kernel::mount, &[SYS_ADMIN, Call("mount", &[])]),
    Probe::deny("bind_mount", "bind-mount", kernel::bind_mount, &[SYS_ADMIN, Call("mount", &[])]),
    Probe::deny("remount", "make a mount writable", kernel::remount, &[SYS_ADMIN, Call("mount", &[])]),
    Probe::deny("unmount", "unmount", kernel::unmount, &[SYS_ADMIN, Call("umount2", &[])]),
    Probe::deny("pivot_root", "pivot_root", kernel::pivot_root, &[SYS_ADMIN, Call("pivot_root", &[])]),
    Probe::deny("clone_mount", "copy a mount by open_tree", kernel::clone_mount, &[SYS_ADMIN, Call("open_tree", &[])]),
    Probe::deny("new_filesystem", "make a filesystem by fsopen", kernel::new_filesystem, &[SYS_ADMIN, Call("fsopen", &[])]),
    Probe::deny("move_mount", "attach a mount by move_mount", kernel::move_mount, &[SYS_ADMIN, Call("move_mount", &[])]),
    Probe::deny("chroot", "chroot", kernel::chroot, &[Capability("CAP_SYS_CHROOT"), Call("chroot", &[])]),
];

const NAMESPACES: &[Probe] = &[
    Probe::deny("user_namespace", "enter a new user namespace", kernel::unshare_user, &[Call("unshare", &[(0, NEWUSER)])]),
    Probe::deny("mount_namespace", "enter a new mount namespace", kernel::unshare_mount, &[SYS_ADMIN, Call("unshare", &[(0, NEWNS)])]),
    Probe::deny("network_namespace", "enter a new network namespace", kernel::unshare_network, &[SYS_ADMIN, Call("unshare", &[(0, NEWNET)])]),
    Probe::deny("process_namespace", "make a new pid namespace", kernel::unshare_processes, &[SYS_ADMIN, Call("unshare", &[(0, NEWPID)])]),
    Probe::deny("process_in_user_namespace", "start a process in a new user namespace", kernel::process_in_user_namespace, &[Call("clone", &[(0, NEWUSER | SIGCHLD)])]),
];

const ADMINISTRATION: &[Probe] = &[
    Probe::deny("set_host_name", "set the host name", kernel::set_host_name, &[SYS_ADMIN, Call("sethostname", &[])]),
    Probe::deny("set_domain_name", "set the domain name", kernel::set_domain_name, &[SYS_ADMIN, Call("setdomainname", &[])]),
    Probe::deny("set_time", "set the clock", kernel::set_time, &[SYS_TIME, Call("settimeofday", &[])]),
    Probe::deny("adjust_time", "adjust the clock", kernel::adjust_time, &[SYS_TIME]),
    Probe::deny("swap_on", "add swap", kernel::swap_on, &[SYS_ADMIN, Call("swapon", &[])]),
    Probe::deny("swap_off", "remove swap", kernel::swap_off, &[SYS_ADMIN, Call("swapoff", &[])]),
    Probe::deny("reboot", "reboot", kernel::reboot, &[Capability("CAP_SYS_BOOT"), Call("reboot", &[])]),
    Probe::deny("load_module", "load a kernel module", kernel::init_module, &[SYS_MODULE, Call("init_module", &[])]),
    Probe::deny("load_module_file", "load a kernel module from a file", kernel::init_module_file, &[SYS_MODULE, Call("finit_module", &[])]),
    Probe::deny("remove_module", "remove a kernel module", kernel::delete_module, &[SYS_MODULE, Call("delete_module", &[])]),
    Probe::deny("load_kernel", "load another kernel", kernel::load_kernel, &[Capability("CAP_SYS_BOOT"), Call("kexec_load", &[])]),
    Probe::deny("accounting", "turn process accounting on", kernel::accounting, &[Capability("CAP_SYS_PACCT"), Call("acct", &[])]),
    Probe::deny("watch_opens", "hold up what others open (fanotify)", kernel::watch_opens, &[SYS_ADMIN, Call("fanotify_init", &[])]),
    Probe::deny("kernel_messages", "read the kernel's messages", kernel::kernel_messages, &[Call("syslog", &[(0, 3)])]),
    Probe::deny("io_privilege", "get at all ports of the machine", kernel::io_privilege, &[SYS_RAWIO, Call("iopl", &[])]),
    Probe::deny("io_port", "get at a port of the machine", kernel::io_port, &[SYS_RAWIO, Call("ioperm", &[])]),
];

const SURFACE: &[Probe] = &[
    Probe::deny("list_bpf", "list the loaded BPF programs", kernel::list_bpf, &[SYS_ADMIN, Call("bpf", &[])]),
    Probe::deny("perf_counter", "count events of the CPU", kernel::perf_counter, &[Call("perf_event_open", &[])]),
    Probe::deny("user_faults", "handle page faults", kernel::user_faults, &[Call("userfaultfd", &[])]),
    Probe::deny("io_uring", "make an io_uring", kernel::io_uring, &[Call("io_uring_setup", &[]), Unmoved]),
    Probe::deny("add_key", "add a key to a keyring", kernel::add_key, &[Call("add_key", &[]), Unmoved]),
    Probe::deny("session_keyring", "find the session's keyring", kernel::session_keyring, &[Call("keyctl", &[]), Unmoved]),
    Probe::deny("open_by_handle", "open a file by its handle", kernel::open_by_handle, &[Capability("CAP_DAC_READ_SEARCH"), Call("open_by_handle_at", &[])]),
    Probe::deny("local_segments", "read the table of local segments", kernel::segments, &[Call("modify_ldt", &[])]),
    Probe::deny("fixed_addresses", "turn random addresses off", kernel::fixed_addresses, &[Call("personality", &[(0, 0x0004_0000)])]),
    Probe::deny("call_32", "make a 32-bit system call", kernel::call_32, &[SecondaryAbi]),
    Probe::deny("type_character", "type a character into the terminal", kernel::type_character, &[Call("ioctl", &[(1, 0x5412)])]),
    Probe::deny("paste_selection", "paste into the console", kernel::paste_selection, &[Call("ioctl", &[(1, 0x541c)])]),
];

const NETWORK: &[Probe] = &[
    Probe::deny("packets", "open a packet socket", network::packets, &[Capability("CAP_NET_RAW"), Call("socket", &[(0, 17), (1, RAW | FLAGS)])]),
    Probe::deny("raw_icmp", "open a raw socket", network::raw_icmp, &[Capability("CAP_NET_RAW"), Call("socket", &[(0, INET), (1, RAW | FLAGS)])]),
    Probe::deny("netlink", "open a netlink socket", network::netlink, &[Call("socket", &[(0, 16), (1, RAW | FLAGS)])]),
    Probe::deny("crypto_socket", "open a socket of the kernel's ciphers", network::crypto, &[Call("socket", &[(0, 38), (1, SEQPACKET | FLAGS)])]),
    Probe::deny("machine_socket", "open a socket to the hypervisor", network::virtual_machine, &[Call("socket", &[(0, 40), (1, STREAM | FLAGS)])]),
    Probe::deny("bluetooth_socket", "open a bluetooth socket", network::bluetooth, &[Call("socket", &[(0, 31), (1, RAW | FLAGS)])]),
    Probe::deny("metadata", "connect to 169.254.169.254, where clouds tell secrets", network::metadata, &[TCP, Network, MetadataHosts]),
    Probe::deny("route", "find a route to an address outside", network::route, &[UDP, Network]),
    Probe::deny("interfaces", "see network devices but the loopback", network::devices, &[Interfaces]),
    Probe::work("host_loopback", "connect to what listens at the host's loopback", network::host_loopback, &[TCP, Network]),
    Probe::deny("abstract_socket", "connect to an abstract socket of the host's", network::abstract_socket, &[UNIX_STREAM, Network, LocalSockets]),
    Probe::deny("socket_by_path", "connect to a socket file of the host's", network::socket_by_path, &[UNIX_STREAM, Read(Path::Bait), LocalSockets]),
    Probe::deny("engine_socket", "connect to a container engine", network::engine, &[UNIX_STREAM, Read(Path::At("/run/docker.sock")), LocalSockets]),
    Probe::work("own_loopback", "listen at loopback, and connect", network::own_loopback, &[TCP, Call("listen", &[]), Loopback]),
    Probe::work("socket_pair", "make a pair of connected sockets", network::pair, &[Call("socketpair", &[(0, UNIX), (1, STREAM | CLOEXEC)])]),
];

const SHARED: &[Probe] = &[
    Probe::deny("attach_segment", "attach shared memory of the host's", shared::segment, &[Ipc, Call("shmat", &[])]),
    Probe::deny("open_queue", "open a message queue of the host's", shared::queue, &[Ipc, Call("mq_open", &[])]),
    Probe::work("own_segment", "make shared memory of one's own", shared::own_segment, &[Call("shmget", &[]), Unmoved]),
    Probe::deny("see_host_name", "see the host's name", identity::host_name, &[HostName]),
];

const IDENTITY: &[Probe] = &[
    Probe::deny("new_privileges", "gain rights by a set-user-id program", identity::new_privileges, &[NoNewPrivileges]),
    Probe::deny("effective_capabilities", "have an effective capability", identity::effective, &[AnyCapability]),
    Probe::deny("permitted_capabilities", "have a permitted capability", identity::permitted, &[AnyCapability]),
    Probe::deny("bounding_capabilities", "have a capability in the bounding set", identity::bounding, &[BoundingSet]),
    Probe::deny("raise_capability", "raise CAP_SYS_ADMIN", identity::raise_capability, &[SYS_ADMIN]),
    Probe::deny("other_user", "become another user", identity::other_user, &[Capability("CAP_SETUID"), Call("setresuid", &[])]),
    Probe::deny("other_group", "become another group", identity::other_group, &[Capability("CAP_SETGID"), Call("setresgid", &[])]),
    Probe::deny("drop_groups", "drop groups, which may deny things", identity::drop_groups, &[Capability("CAP_SETGID"), Call("setgroups", &[])]),
    Probe::deny("raise_limit", "raise a hard limit", identity::raise_limit, &[SYS_RESOURCE]),
    Probe::deny("survive_others", "survive others when memory is short", identity::survive_others, &[SYS_RESOURCE, Guest]),
    Probe::deny("higher_priority", "take a higher priority", identity::higher_priority, &[SYS_NICE, Call("setpriority", &[])]),
    Probe::deny("real_time", "take a real-time priority", identity::real_time, &[SYS_NICE, Call("sched_setscheduler", &[])]),
    Probe::deny("move_code", "say that one's code is elsewhere", identity::memory_map, &[SYS_RESOURCE, Call("prctl", &[(0, 35)])]),
    Probe::deny("variable", "read a variable of the caller's", identity::variable, &[Environment]),
    Probe::deny("descriptors", "use a descriptor of the caller's", identity::descriptors, &[Descriptors]),
];

const LIMITS: &[Probe] = &[
    Probe::deny("threads", "start more tasks than max_threads", limits::threads, &[Limit(Key::Threads)]).alone(Company::Alone),
    Probe::deny("processes", "start more processes than max_processes", limits::processes, &[FORK, Limit(Key::Processes)]).alone(Company::Alone),
    Probe::deny("memory", "use more than memory_limit_bytes", limits::memory, &[Limit(Key::Memory)]).alone(Company::Alone),
    Probe::deny("open_files", "open more files than max_open_files", limits::open_files, &[Limit(Key::Files)]),
    Probe::deny("file_size", "write past max_file_size_bytes", limits::file_size, &[Limit(Key::FileSize)]).alone(Company::Alone),
    Probe::deny("disk_quota", "write more than disk_quota_bytes", limits::disk, &[Limit(Key::Disk)]).alone(Company::AloneInside),
    Probe::deny("cpu_time", "use more than cpu_time_limit_seconds", limits::cpu_time, &[Limit(Key::CpuTime)]).alone(Company::AloneInside),
    Probe::deny("time", "run longer than execution_timeout", limits::time, &[Limit(Key::Time)]).alone(Company::AloneInside),
];

const BASICS: &[Probe] = &[
    Probe::work("own_program", "read its own program", basics::own_program, &[]),
    Probe::work("working_directory", "look at its working directory", basics::working_directory, &[]),
    Probe::work("temporary_file", "write and read a file in its temporary directory", basics::temporary_file, &[CREATE, Call("unlink", &[])]),
    Probe::work("temporary_directory", "make a directory there, rename, list and remove", basics::temporary_directory, &[CREATE, Call("mkdir", &[]), Call("rename", &[])]),
    Probe::work("temporary_link", "make a symbolic link there", basics::temporary_link, &[Call("symlink", &[])]),
    Probe::work("locked_file", "lock a file", basics::locked_file, &[CREATE, Call("flock", &[])]),
    Probe::work("shared_memory_file", "use /dev/shm", basics::shared_memory, &[CREATE, OwnDevices]),
    Probe::work("null", "write to /dev/null", basics::null, &[Call("openat", &[(2, 1)])]),
    Probe::work("zero", "read /dev/zero", basics::zero, &[]),
    Probe::work("random_device", "read /dev/urandom", basics::random_device, &[]),
    Probe::work("random", "get random numbers", basics::random, &[Call("getrandom", &[])]),
    Probe::work("own_status", "read /proc/self/status", basics::own_status, &[]),
    Probe::work("cpus", "read /proc/cpuinfo", basics::cpus, &[]),
    Probe::work("memory_figures", "read /proc/meminfo", basics::memory_figures, &[]),
    Probe::work("accounts", "read /etc/passwd", basics::accounts, &[]),
    Probe::work("pipe", "use a pipe", basics::pipe, &[Call("pipe2", &[])]),
    Probe::work("events", "wait for an event", basics::events, &[Call("epoll_create1", &[]), Call("eventfd2", &[])]),
    Probe::work("poll", "poll descriptors", basics::polled, &[Call("poll", &[])]),
    Probe::work("timer", "make a timer", basics::timer, &[Call("timerfd_create", &[])]),
    Probe::work("some_threads", "start threads", basics::threads, &[Call("clone", &[(0, 0x0001_0000)])]),
    Probe::work("process", "start a process and wait for it", kernel::new_process_ends, &[FORK, Call("wait4", &[])]),
    Probe::work("some_memory", "use 32 MiB of memory", basics::memory, &[Call("mmap", &[]), Room]),
    Probe::work("sealed_memory", "make a file in memory", basics::sealed_memory, &[Call("memfd_create", &[])]),
    Probe::work("clock", "read the clocks", basics::clock, &[]),
    Probe::work("sleep", "sleep", basics::sleep, &[Call("nanosleep", &[])]),
    Probe::work("signal_itself", "signal itself", basics::signal_itself, &[Call("kill", &[])]),
    Probe::work("system_name", "ask for the system's name", basics::names, &[Call("uname", &[])]),
    Probe::work("system_figures", "ask for the system's memory", basics::figures, &[Call("sysinfo", &[])]),
    Probe::work("lower_limit", "lower a limit of its own", basics::lower_limit, &[Call("prlimit64", &[])]),
    Probe::work("many_files", "open dozens of files", basics::many_files, &[]),
    Probe::work("processors", "ask for the CPUs that it may use", basics::processors, &[Call("sched_getaffinity", &[])]),
    Probe::work("thread_name", "name its thread", basics::thread_name, &[Call("prctl", &[(0, 15)])]),
    Probe::work("watched_files", "watch a directory", basics::watched_files, &[Call("inotify_add_watch", &[]), Unmoved]),
];
