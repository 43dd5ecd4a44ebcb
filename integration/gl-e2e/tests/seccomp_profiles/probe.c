/* Makes raw calls and prints the errno of each; see probe.rs. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/net.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Calls that the headers of older distributions lack. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#endif
#ifndef SYS_listmount
#define SYS_listmount 458
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif
/* One that no kernel has yet. */
#define SYS_newest 1000

/* Zeros to point at, and an address that nothing is mapped at. */
static char zeros[4096] __attribute__((unused));
#define BAD 0x10

static __attribute__((unused)) void try_call(const char *name, long number, long a, long b, long c,
                                             long d, long e, long f)
{
    errno = 0;
    long result = syscall(number, a, b, c, d, e, f);
    int error = errno;
    /* The child of a clone or fork that was not stopped. */
    if (result == 0 && (number == SYS_clone || number == SYS_fork || number == SYS_clone3))
        _exit(0);
    printf("%s\t%d\n", name, result == -1 ? error : 0);
    fflush(stdout);
}

int main(void)
{
/* body */
    return 0;
}
