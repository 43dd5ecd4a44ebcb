#![no_std]
#![no_builtins]
//! The first instructions of the programs, before libc's: into the runtime's read-only copy at once, and all data
//! that is about to be relocated into memory at once.
//!
//! A runtime that makes a container starts twice: as the file on disk, and again from a read-only mount of
//! itself (`gl-launch/src/host.rs`). The start of a static glibc asks the processor some two hundred questions
//! (`cpuid`), each of which a virtual machine answers by a trip to its host. This spares the first of the two.
//!
//! A static program that can be loaded anywhere relocates itself, and so writes to each page of its constants that has
//! an address in it: some forty page faults, which one call to the kernel takes the place of.
//!
//! It decides nothing and is trusted with nothing: whatever fails here, or is not there yet, is left to
//! `host.rs`, which looks at where the program runs from in any case. Nothing of libc works yet, not even
//! relocations, so all is done with numbers on the stack; `no_builtins` keeps calls of `memcpy` and the like out, and
//! arithmetic wraps, as nothing of the kind can overflow here and there is nobody to panic to: the crate is linked
//! without `core`'s own code.
//!
//! # Kernel
//!
//! `open_tree(2)`, `mount_setattr(2)`, `execveat(2)`: 5.12; `MADV_POPULATE_WRITE`: 5.14. x86-64 only, where `cpuid`
//! is.
#![cfg(target_arch = "x86_64")]
#![expect(
    unsafe_code,
    reason = "before libc there are system calls and the stack, and nothing else"
)]

use core::arch::{asm, global_asm};

// The registers as the kernel or the loader left them are `_start`'s: the stack pointer, and in rdx a function to
// call at the end.
global_asm!(
    ".globl greenlang_entry",
    ".type greenlang_entry, @function",
    "greenlang_entry:",
    "    mov r12, rsp",
    "    mov r13, rdx",
    "    mov rdi, rsp",
    "    and rsp, -16",
    "    call {into_copy}",
    "    jmp 2f",
    ".globl gl_entry",
    ".type gl_entry, @function",
    "gl_entry:",
    "    mov r12, rsp",
    "    mov r13, rdx",
    "    and rsp, -16",
    "2:",
    "    lea rdi, [rip + __ehdr_start]",
    "    call {fetch_data}",
    "    mov rsp, r12",
    "    mov rdx, r13",
    "    jmp _start",
    ".hidden __ehdr_start",
    into_copy = sym into_copy,
    fetch_data = sym fetch_data,
);

const SYS_OPEN: usize = 2;
const SYS_CLOSE: usize = 3;
const SYS_MADVISE: usize = 28;
const SYS_FSTATFS: usize = 138;
const SYS_EXECVEAT: usize = 322;
const SYS_OPEN_TREE: usize = 428;
const SYS_MOUNT_SETATTR: usize = 442;

const O_PATH_CLOEXEC: usize = 0o1000_0000 | 0o200_0000;
const AT_EMPTY_PATH: usize = 0x1000;
const OPEN_TREE_CLONE: usize = 1;
const OPEN_TREE_CLOEXEC: usize = 0o200_0000;

/// `MOUNT_ATTR_RDONLY`, `_NOSUID`, `_NODEV` and `_NOSYMFOLLOW`: how `host.rs` knows its copy.
const MARK: u64 = 0x1 | 0x2 | 0x4 | 0x20_0000;
/// The same as `ST_` flags of `statfs(2)`.
const ST_MARK: u64 = 0x1 | 0x2 | 0x4 | 0x2000;

/// The size of `struct statfs` in words, and which of them has the flags.
const STATFS: usize = 15;
const STATFS_FLAGS: usize = 10;

/// Executes the copy if the command is one that starts again from it. Returns if it is not, if this is the copy
/// already, or if anything fails.
///
/// # Safety
///
/// `stack` is that of a new process: the number of arguments, their pointers, null, those of the environment, null.
unsafe extern "C" fn into_copy(stack: *const usize) {
    // SAFETY: the caller hands over the kernel's stack, which begins with the count.
    let count = unsafe { *stack };
    // SAFETY: the arguments follow the count.
    let args = unsafe { stack.add(1) };
    let mut starts_again = false;
    for number in 1..count {
        // SAFETY: there are `count` arguments, the program's name among them.
        let word = unsafe { args.add(number) };
        // SAFETY: as before; each is the address of a string.
        let word = unsafe { *word } as *const u8;
        // SAFETY: each is a string that ends with a zero.
        starts_again |= unsafe { makes_a_container(word) };
    }
    if !starts_again {
        return;
    }
    let own = call(
        SYS_OPEN,
        [c"/proc/self/exe".as_ptr() as usize, O_PATH_CLOEXEC, 0, 0, 0],
    );
    if own < 0 {
        return;
    }
    let own = own.cast_unsigned();
    // SAFETY: the environment follows the arguments and their null.
    execute_copy(
        own,
        args as usize,
        unsafe { args.add(count.wrapping_add(1)) } as usize,
    );
    call(SYS_CLOSE, [own, 0, 0, 0, 0]);
}

fn execute_copy(own: usize, args: usize, environment: usize) {
    let mut statfs = [0_u64; STATFS];
    let read = call(SYS_FSTATFS, [own, statfs.as_mut_ptr() as usize, 0, 0, 0]);
    if read < 0 || statfs[STATFS_FLAGS] & ST_MARK == ST_MARK {
        return;
    }
    let empty = c"".as_ptr() as usize;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    let tree = call(SYS_OPEN_TREE, [own, empty, flags, 0, 0]);
    if tree < 0 {
        return;
    }
    let tree = tree.cast_unsigned();
    // struct mount_attr: what is set, what is cleared, propagation, a user namespace.
    let change = [MARK, 0, 0, 0];
    let change_at = change.as_ptr() as usize;
    let changed = call(
        SYS_MOUNT_SETATTR,
        [tree, empty, AT_EMPTY_PATH, change_at, size_of_val(&change)],
    );
    if changed == 0 {
        call(
            SYS_EXECVEAT,
            [tree, empty, args, environment, AT_EMPTY_PATH],
        );
    }
    call(SYS_CLOSE, [tree, 0, 0, 0, 0]);
}

/// Commands that work from the copy, each as the number that its bytes make: a table of texts would be one of
/// addresses, which are not right yet.
const COMMANDS: [u64; 4] = [
    u64::from_le_bytes(*b"create\0\0"),
    u64::from_le_bytes(*b"run\0\0\0\0\0"),
    u64::from_le_bytes(*b"exec\0\0\0\0"),
    u64::from_le_bytes(*b"restore\0"),
];

/// Whether the word is one of the commands. An option's value may be the same word: then the program starts again
/// for nothing.
///
/// # Safety
///
/// `word` points at a string that ends with a zero.
unsafe fn makes_a_container(word: *const u8) -> bool {
    let mut number = 0_u64;
    let mut place = 0;
    for at in 0..8 {
        // SAFETY: no byte before was the zero at the end.
        let byte = unsafe { word.add(at) };
        // SAFETY: as before.
        let byte = unsafe { *byte };
        if byte == 0 {
            return COMMANDS.contains(&number);
        }
        number |= u64::from(byte).wrapping_shl(place);
        place = place.wrapping_add(8);
    }
    false
}

const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PF_W: u32 = 2;
const MADV_POPULATE_WRITE: usize = 23;
const PAGE: usize = 4096;

/// The beginning of a program, as it is in memory: the first part of `Elf64_Ehdr`.
#[repr(C)]
struct Header {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: usize,
    segments_at: usize,
    sections_at: usize,
    flags: u32,
    size: u16,
    segment_size: u16,
    segments: u16,
}

/// `Elf64_Phdr`.
#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: usize,
    address: usize,
    physical: usize,
    file_size: usize,
    size: usize,
    align: usize,
}

/// Has the kernel make the pages present that are written to at the start. Where it does not know how, each comes when
/// it is written to.
///
/// # Safety
///
/// `header` is that of this program, which is loaded with all its segments.
unsafe extern "C" fn fetch_data(header: *const Header) {
    // SAFETY: the caller's promise.
    let Header {
        kind,
        segments_at,
        segments,
        ..
    } = unsafe { &*header };
    if *kind != ET_DYN {
        return;
    }
    let base = header as usize;
    let first = base.wrapping_add(*segments_at) as *const Segment;
    for number in 0..usize::from(*segments) {
        // SAFETY: the table of segments is loaded with the header, and has so many.
        let segment = unsafe { first.add(number) };
        // SAFETY: as before.
        let segment = unsafe { &*segment };
        if segment.kind == PT_LOAD && segment.flags & PF_W != 0 {
            let from = base.wrapping_add(segment.address);
            let to = from.wrapping_add(segment.size);
            let from = from & !(PAGE - 1);
            let size = to.wrapping_sub(from);
            call(SYS_MADVISE, [from, size, MADV_POPULATE_WRITE, 0, 0]);
        }
    }
}

/// A system call of at most five arguments; below zero is an errno.
fn call(number: usize, arguments: [usize; 5]) -> isize {
    let [first, second, third, fourth, fifth] = arguments;
    let result;
    // SAFETY: the calls of this file write to the one buffer that they are given, which its caller owns and whose
    // size they know; rcx and r11 are the kernel's to change.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number.cast_signed() => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
