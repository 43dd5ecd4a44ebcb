/* cgroup v2 has no file for devices: a program decides, which the kernel compiles and runs at each open and mknod. */
#define _GNU_SOURCE
#include "cgroup2.h"

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INSTRUCTIONS_MAX 64
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ANY (-1)

static struct bpf_insn program[INSTRUCTIONS_MAX];
static size_t length;

static void put(uint8_t code, uint8_t to, uint8_t from, int16_t offset, int32_t value)
{
    program[length++] = (struct bpf_insn){
        .code = code, .dst_reg = to, .src_reg = from, .off = offset, .imm = value};
}

static void answer(int32_t value)
{
    put(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value);
    put(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void skip_unless(uint8_t reg, int32_t value, int16_t count)
{
    put(BPF_JMP | BPF_JNE | BPF_K, reg, 0, count, value);
}

static void build(void)
{
    static const struct {
        int major, minor;
    } allowed[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}, {136, ANY}};
    const int16_t rule = offsetof(struct bpf_cgroup_dev_ctx, access_type);
    size_t i;

    /* r2: the kind of device, r3: the access, r4 and r5: its numbers. */
    put(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, rule, 0);
    put(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
    put(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
    put(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
    put(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1,
        offsetof(struct bpf_cgroup_dev_ctx, major), 0);
    put(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1,
        offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
    /* mknod of any. */
    skip_unless(BPF_REG_3, BPF_DEVCG_ACC_MKNOD, 2);
    answer(1);
    put(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 2, BPF_DEVCG_DEV_CHAR);
    answer(0);
    for (i = 0; i < COUNT(allowed); i++) {
        skip_unless(BPF_REG_4, allowed[i].major, allowed[i].minor == ANY ? 2 : 3);
        if (allowed[i].minor != ANY)
            skip_unless(BPF_REG_5, allowed[i].minor, 2);
        answer(1);
    }
    answer(0);
}

int limit_devices(int group)
{
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE};
    union bpf_attr attach = {.attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
    long fd;

    build();
    load.insns = (uintptr_t)program;
    load.insn_cnt = (uint32_t)length;
    load.license = (uintptr_t) "Apache-2.0";
    fd = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
    if (fd < 0)
        return -1;
    attach.target_fd = (uint32_t)group;
    attach.attach_bpf_fd = (uint32_t)fd;
    if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)) < 0)
        return -1;
    return close((int)fd);
}
