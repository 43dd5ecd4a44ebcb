/* The floor: runs /bin/true in a Docker-shaped container with only the kernel calls it takes.
 *
 *   floor ROOTFS FILES CGROUP
 *
 * ROOTFS is the root directory, FILES holds resolv.conf, hostname and hosts, CGROUP is a path below
 * every cgroup v1 hierarchy, or that of v2 where there is no other. Reads no configuration, checks nothing twice, keeps no state and
 * reports nothing but the failing step. It is no runtime: it shows what the kernel alone costs. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup2.h"
#include "filter.h"

#define CGROUPS "/sys/fs/cgroup"
#define HIERARCHIES_MAX 16
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct hierarchy {
    char *name;
    char *group; /* the new directory */
    int tasks;   /* its file `tasks` */
};

static struct hierarchy hierarchies[HIERARCHIES_MAX];
static size_t hierarchy_count;
static char *group2; /* the new directory of cgroup v2, where it is alone */

static void die(const char *step)
{
    fprintf(stderr, "%s: %s\n", step, strerror(errno));
    _exit(1);
}

static void must(long result, const char *step)
{
    if (result < 0)
        die(step);
}

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[1024];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd, path);
    must(write(fd, text, strlen(text)), path);
    close(fd);
}

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[1024], text[256];
    ssize_t size;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", from, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd, path);
    size = read(fd, text, sizeof(text) - 1);
    must(size, path);
    close(fd);
    text[size] = '\0';
    write_file(to, name, text);
}

/* ---- cgroups, in the parent */

static void set_limits(const struct hierarchy *one)
{
    static const char *const devices[] = {"c *:* m",     "b *:* m",     "c 1:3 rwm",
                                          "c 1:5 rwm",   "c 1:7 rwm",   "c 1:8 rwm",
                                          "c 1:9 rwm",   "c 5:0 rwm",   "c 5:1 rwm",
                                          "c 5:2 rwm",   "c 136:* rwm"};
    size_t i;

    if (strcmp(one->name, "memory") == 0) {
        write_file(one->group, "memory.limit_in_bytes", "536870912");
        write_file(one->group, "memory.memsw.limit_in_bytes", "1073741824");
    } else if (strcmp(one->name, "cpu") == 0) {
        write_file(one->group, "cpu.cfs_period_us", "100000");
        write_file(one->group, "cpu.cfs_quota_us", "100000");
    } else if (strcmp(one->name, "pids") == 0) {
        write_file(one->group, "pids.max", "100");
    } else if (strcmp(one->name, "devices") == 0) {
        write_file(one->group, "devices.deny", "a");
        for (i = 0; i < COUNT(devices); i++)
            write_file(one->group, "devices.allow", devices[i]);
    }
}

static void make_groups(const char *cgroup)
{
    char parent[512], path[1024];
    struct hierarchy *one;
    struct dirent *entry;
    DIR *directory = opendir(CGROUPS);

    if (!directory)
        die(CGROUPS);
    while ((entry = readdir(directory))) {
        /* `unified` is where cgroup v2 is mounted beside v1. */
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
            strcmp(entry->d_name, "unified") == 0)
            continue;
        if (hierarchy_count == HIERARCHIES_MAX) {
            errno = E2BIG;
            die(entry->d_name);
        }
        one = &hierarchies[hierarchy_count++];
        one->name = strdup(entry->d_name);
        if (!one->name || asprintf(&one->group, CGROUPS "/%s%s", one->name, cgroup) < 0)
            die("allocate");
        snprintf(parent, sizeof(parent), "%s", one->group);
        *strrchr(parent, '/') = '\0';
        if (mkdir(one->group, 0755) < 0) {
            if (errno != ENOENT || mkdir(parent, 0755) < 0 || mkdir(one->group, 0755) < 0)
                die(one->group);
            if (strcmp(one->name, "cpuset") == 0) {
                copy_file(CGROUPS "/cpuset", parent, "cpuset.cpus");
                copy_file(CGROUPS "/cpuset", parent, "cpuset.mems");
            }
        }
        if (strcmp(one->name, "cpuset") == 0) {
            copy_file(parent, one->group, "cpuset.cpus");
            copy_file(parent, one->group, "cpuset.mems");
        }
        set_limits(one);
        snprintf(path, sizeof(path), "%s/tasks", one->group);
        one->tasks = open(path, O_WRONLY | O_CLOEXEC);
        must(one->tasks, path);
    }
    closedir(directory);
}

/* Makes the cgroup on v2 and returns its directory. */
static int make_group2(const char *cgroup)
{
    char parent[512];
    int fd;

    if (asprintf(&group2, CGROUPS "%s", cgroup) < 0)
        die("allocate");
    if (mkdir(group2, 0755) < 0) {
        snprintf(parent, sizeof(parent), "%s", group2);
        *strrchr(parent, '/') = '\0';
        if (errno != ENOENT || mkdir(parent, 0755) < 0)
            die(group2);
        write_file(parent, "cgroup.subtree_control", "+cpu +memory +pids");
        must(mkdir(group2, 0755), group2);
    }
    write_file(group2, "memory.max", "536870912");
    write_file(group2, "memory.swap.max", "536870912");
    write_file(group2, "cpu.max", "100000 100000");
    write_file(group2, "pids.max", "100");
    fd = open(group2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(fd, group2);
    must(limit_devices(fd), "limit the devices");
    return fd;
}

static void remove_groups(void)
{
    size_t i;

    if (group2)
        must(rmdir(group2), group2);

    for (i = 0; i < hierarchy_count; i++)
        must(rmdir(hierarchies[i].group), hierarchies[i].group);
}

/* ---- mounts, in the child, relative to the new root */

static void mount_cgroups(void)
{
    char target[512];
    size_t i;

    if (group2) {
        must(mount(group2, "sys/fs/cgroup", NULL, MS_BIND, NULL), "mount /sys/fs/cgroup");
        must(mount(NULL, "sys/fs/cgroup", NULL,
                   MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL),
             "remount /sys/fs/cgroup");
        return;
    }
    must(mount("tmpfs", "sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755"),
         "mount /sys/fs/cgroup");
    for (i = 0; i < hierarchy_count; i++) {
        snprintf(target, sizeof(target), "sys/fs/cgroup/%s", hierarchies[i].name);
        must(mkdir(target, 0755), target);
        must(mount(hierarchies[i].group, target, NULL, MS_BIND, NULL), target);
        must(mount(NULL, target, NULL,
                   MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL),
             target);
    }
    must(mount(NULL, "sys/fs/cgroup", NULL,
               MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL),
         "remount /sys/fs/cgroup");
}

static void make_devices(void)
{
    static const struct {
        const char *path;
        unsigned major, minor;
    } nodes[] = {{"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
                 {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
    static const struct {
        const char *target, *path;
    } links[] = {{"/proc/self/fd", "dev/fd"},
                 {"/proc/self/fd/0", "dev/stdin"},
                 {"/proc/self/fd/1", "dev/stdout"},
                 {"/proc/self/fd/2", "dev/stderr"},
                 {"pts/ptmx", "dev/ptmx"}};
    size_t i;

    for (i = 0; i < COUNT(nodes); i++)
        must(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)),
             nodes[i].path);
    for (i = 0; i < COUNT(links); i++)
        must(symlink(links[i].target, links[i].path), links[i].path);
}

static void make_mounts(const char *rootfs, const char *files)
{
    static const char *const etc[] = {"resolv.conf", "hostname", "hosts"};
    const unsigned long strict = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    char source[512], target[64];
    size_t i;

    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make / private");
    must(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), "bind the root");
    must(chdir(rootfs), rootfs);
    must(mount("proc", "proc", "proc", strict, NULL), "mount /proc");
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"),
         "mount /dev");
    must(mkdir("dev/pts", 0755), "mkdir /dev/pts");
    must(mkdir("dev/mqueue", 0755), "mkdir /dev/mqueue");
    must(mkdir("dev/shm", 0755), "mkdir /dev/shm");
    must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
               "newinstance,ptmxmode=0666,mode=0620,gid=5"),
         "mount /dev/pts");
    must(mount("sysfs", "sys", "sysfs", strict | MS_RDONLY, NULL), "mount /sys");
    mount_cgroups();
    must(mount("mqueue", "dev/mqueue", "mqueue", strict, NULL), "mount /dev/mqueue");
    must(mount("shm", "dev/shm", "tmpfs", strict, "mode=1777,size=67108864"), "mount /dev/shm");
    for (i = 0; i < COUNT(etc); i++) {
        snprintf(source, sizeof(source), "%s/%s", files, etc[i]);
        snprintf(target, sizeof(target), "etc/%s", etc[i]);
        must(mount(source, target, NULL, MS_BIND | MS_REC, NULL), target);
    }
    make_devices();
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "unmount the old root");
    must(chdir("/"), "chdir /");
}

static void hide_paths(void)
{
    static const char *const masked[] = {
        "/proc/asound",     "/proc/acpi",        "/proc/kcore",       "/proc/keys",
        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
        "/proc/scsi",       "/sys/firmware"};
    static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                           "/proc/sysrq-trigger"};
    size_t i;

    for (i = 0; i < COUNT(masked); i++) {
        if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) == 0 || errno == ENOENT)
            continue;
        if (errno != ENOTDIR)
            die(masked[i]);
        must(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL), masked[i]);
    }
    for (i = 0; i < COUNT(readonly); i++) {
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0) {
            if (errno == ENOENT)
                continue;
            die(readonly[i]);
        }
        must(mount(NULL, readonly[i], NULL,
                   MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL),
             readonly[i]);
    }
}

/* ---- the process, in the child */

static void bring_loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    must(fd, "socket");
    must(ioctl(fd, SIOCSIFFLAGS, &request), "bring lo up");
    close(fd);
}

static void drop_privileges(void)
{
    static const int kept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FSETID,  CAP_FOWNER,
                               CAP_MKNOD,  CAP_NET_RAW,      CAP_SETGID,  CAP_SETUID,
                               CAP_SETFCAP, CAP_SETPCAP,     CAP_NET_BIND_SERVICE,
                               CAP_SYS_CHROOT, CAP_KILL,     CAP_AUDIT_WRITE};
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {0};
    static struct sock_filter filter[FILTER_MAX];
    struct sock_fprog program = {.filter = filter};
    const gid_t group = 0;
    uint64_t mask = 0;
    size_t i;
    int cap;

    program.len = (unsigned short)build_filter(filter);
    for (i = 0; i < COUNT(kept); i++)
        mask |= (uint64_t)1 << kept[i];
    must(setgroups(1, &group), "setgroups");
    must(setresgid(0, 0, 0), "setresgid");
    must(setresuid(0, 0, 0), "setresuid");
    /* Before the capabilities go: there is no no_new_privs in this shape. */
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
    for (cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (!(mask >> cap & 1))
            must(prctl(PR_CAPBSET_DROP, cap), "drop a capability");
    for (i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(mask >> (32 * i));
        data[i].permitted = data[i].effective;
    }
    must(syscall(SYS_capset, &header, data), "capset");
}

static void become_container(const char *rootfs, const char *files)
{
    static char *const arguments[] = {"true", NULL};
    static char *const environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=bench",
        NULL};
    size_t i;

    umask(0);
    must(setsid(), "setsid");
    for (i = 0; i < hierarchy_count; i++)
        must(write(hierarchies[i].tasks, "0", 1), hierarchies[i].group);
    make_mounts(rootfs, files);
    must(sethostname("bench", 5), "sethostname");
    bring_loopback_up();
    write_file("/proc/sys/net/ipv4", "ip_unprivileged_port_start", "0");
    write_file("/proc/sys/net/ipv4", "ping_group_range", "0 2147483647");
    write_file("/proc/self", "oom_score_adj", "0");
    hide_paths();
    umask(0022);
    must(syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */), "close_range");
    drop_privileges();
    execve("/bin/true", arguments, environment);
    die("execve /bin/true");
}

int main(int argc, char **argv)
{
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWIPC,
        .exit_signal = SIGCHLD};
    struct statfs cgroups;
    int status;
    long child;

    if (argc != 4) {
        fprintf(stderr, "usage: floor ROOTFS FILES CGROUP\n");
        return 2;
    }
    must(statfs(CGROUPS, &cgroups), CGROUPS);
    if (cgroups.f_type == CGROUP2_SUPER_MAGIC) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)make_group2(argv[3]);
    } else {
        make_groups(argv[3]);
    }
    child = syscall(SYS_clone3, &args, sizeof(args));
    must(child, "clone3");
    if (child == 0)
        become_container(argv[1], argv[2]);
    must(waitpid((pid_t)child, &status, 0), "waitpid");
    remove_groups();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
