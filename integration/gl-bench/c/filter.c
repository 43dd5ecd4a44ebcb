/* Builds the filter: see filter.h. */
#include "filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#define CALLS_MAX 1024
#define X32_BIT 0x40000000u
#define NAMESPACE_FLAGS 0x7E020000u

enum verdict { DENY, ALLOW, NOT_THERE, CLONE, PERSONALITY };

struct range {
    unsigned start;
    enum verdict verdict;
};

static struct sock_filter *program;
static size_t length;

static size_t emit(unsigned short code, unsigned k, unsigned jump_true, unsigned jump_false)
{
    if (length >= FILTER_MAX || jump_true > 255 || jump_false > 255)
        abort();
    program[length] = (struct sock_filter){code, (unsigned char)jump_true,
                                           (unsigned char)jump_false, k};
    return length++;
}

static void emit_return(unsigned action)
{
    emit(BPF_RET | BPF_K, action, 0, 0);
}

static void load(size_t offset)
{
    emit(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset, 0, 0);
}

static void emit_verdict(enum verdict verdict)
{
    static const unsigned personas[] = {0, 8, 0x20000, 0x20008, 0xffffffff};
    size_t i, count = sizeof(personas) / sizeof(personas[0]);

    switch (verdict) {
    case ALLOW:
        emit_return(SECCOMP_RET_ALLOW);
        return;
    case NOT_THERE:
        emit_return(SECCOMP_RET_ERRNO | ENOSYS);
        return;
    case CLONE:
        load(offsetof(struct seccomp_data, args[0]));
        emit(BPF_JMP | BPF_JSET | BPF_K, NAMESPACE_FLAGS, 1, 0);
        emit_return(SECCOMP_RET_ALLOW);
        break;
    case PERSONALITY:
        load(offsetof(struct seccomp_data, args[0]));
        for (i = 0; i < count; i++)
            emit(BPF_JMP | BPF_JEQ | BPF_K, personas[i], (unsigned)(count - i), 0);
        emit_return(SECCOMP_RET_ERRNO | EPERM);
        emit_return(SECCOMP_RET_ALLOW);
        return;
    case DENY:
        break;
    }
    emit_return(SECCOMP_RET_ERRNO | EPERM);
}

/* Emits the tree over ranges[from..to): the accumulator holds the call's number. */
static void emit_tree(const struct range *ranges, size_t from, size_t to)
{
    size_t middle, test, jump;

    if (to - from == 1) {
        emit_verdict(ranges[from].verdict);
        return;
    }
    middle = from + (to - from) / 2;
    test = emit(BPF_JMP | BPF_JGE | BPF_K, ranges[middle].start, 0, 1);
    jump = emit(BPF_JMP | BPF_JA, 0, 0, 0);
    emit_tree(ranges, from, middle);
    if (length - jump <= 250) {
        /* The right half is near enough for the test itself: drop the long jump. */
        memmove(program + jump, program + jump + 1, (length - jump - 1) * sizeof(*program));
        length--;
        program[test].jt = (unsigned char)(length - jump);
        program[test].jf = 0;
    } else {
        program[jump].k = (unsigned)(length - jump - 1);
    }
    emit_tree(ranges, middle, to);
}

static void emit_calls(const struct table *table)
{
    static unsigned char verdicts[CALLS_MAX];
    static struct range ranges[CALLS_MAX + 1];
    size_t i, count = 0;

    memset(verdicts, DENY, sizeof(verdicts));
    for (i = 0; i < table->count; i++)
        if (table->numbers[i] >= 0 && table->numbers[i] < CALLS_MAX)
            verdicts[table->numbers[i]] = ALLOW;
    verdicts[table->clone] = CLONE;
    verdicts[table->clone3] = NOT_THERE;
    verdicts[table->personality] = PERSONALITY;
    for (i = 0; i < CALLS_MAX; i++)
        if (count == 0 || ranges[count - 1].verdict != verdicts[i])
            ranges[count++] = (struct range){(unsigned)i, verdicts[i]};
    if (ranges[count - 1].verdict != DENY)
        ranges[count++] = (struct range){CALLS_MAX, DENY};
    load(offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    if (table == &native_calls)
        emit(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT, 0, 0);
#endif
    emit_tree(ranges, 0, count);
}

size_t build_filter(struct sock_filter *out)
{
#ifdef __x86_64__
    const unsigned native = AUDIT_ARCH_X86_64;
#else
    const unsigned native = AUDIT_ARCH_AARCH64;
#endif
    size_t test;

    program = out;
    length = 0;
    load(offsetof(struct seccomp_data, arch));
    emit(BPF_JMP | BPF_JEQ | BPF_K, native, 1, 0);
    test = emit(BPF_JMP | BPF_JA, 0, 0, 0);
    emit_calls(&native_calls);
    program[test].k = (unsigned)(length - test - 1);
#ifdef __x86_64__
    emit(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_I386, 1, 0);
    emit_return(SECCOMP_RET_KILL_PROCESS);
    emit_calls(&compat_calls);
#else
    emit_return(SECCOMP_RET_KILL_PROCESS);
#endif
    return length;
}
