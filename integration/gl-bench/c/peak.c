/* Runs a command and prints the peak resident memory of it and its waited-for children, in KiB.
 *
 *   peak PROGRAM [ARGUMENT...]
 *
 * A separate small static program, since the kernel counts what a process used before its exec
 * towards ru_maxrss: forked from a big harness, every command would seem big. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rusage usage;
    int status;
    pid_t child;

    if (argc < 2) {
        fprintf(stderr, "usage: peak PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    child = fork();
    if (child < 0) {
        fprintf(stderr, "fork: %s\n", strerror(errno));
        return 1;
    }
    if (child == 0) {
        /* The command's output must not mix with the figure. */
        if (dup2(2, 1) < 0)
            _exit(126);
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    while (wait4(child, &status, 0, &usage) < 0) {
        if (errno != EINTR) {
            fprintf(stderr, "wait4: %s\n", strerror(errno));
            return 1;
        }
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "%s ended with wait status %d\n", argv[1], status);
        return 1;
    }
    printf("%ld\n", usage.ru_maxrss);
    return 0;
}
