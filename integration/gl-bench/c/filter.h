/* The seccomp filter of floor.c: a balanced tree of comparisons over ranges of call numbers. */
#ifndef FILTER_H
#define FILTER_H

#include <linux/filter.h>
#include <stddef.h>

struct table {
    const int *numbers; /* calls that are allowed, in any order */
    size_t count;
    int clone;       /* allowed without new namespaces */
    int clone3;      /* answered with ENOSYS */
    int personality; /* allowed for five values */
};

extern const struct table native_calls;
#ifdef __x86_64__
extern const struct table compat_calls;
#endif

#define FILTER_MAX 4096

/* Writes the program to `out` (room for FILTER_MAX) and returns its length; aborts if it has no room. */
size_t build_filter(struct sock_filter *out);

#endif
