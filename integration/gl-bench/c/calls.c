/* The table of allowed calls for one architecture: compiled once for the native numbers and, with
 * COMPAT, once for those of 32-bit x86. allowed.inc is written by the bench from its own list. */
#include <stddef.h>
#ifdef COMPAT
#include <asm/unistd_32.h>
#define TABLE compat_calls
#else
#include <asm/unistd.h>
#define TABLE native_calls
#endif

#include "filter.h"

static const int numbers[] = {
#include "allowed.inc"
};

const struct table TABLE = {
    .numbers = numbers,
    .count = sizeof(numbers) / sizeof(numbers[0]),
    .clone = __NR_clone,
    .clone3 = __NR_clone3,
    .personality = __NR_personality,
};
