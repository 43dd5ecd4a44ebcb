//! Classic BPF as the kernel runs it for seccomp, instruction by instruction.

use gl_seccomp::Insn;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data {
    pub(crate) nr: u32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        let argument = |at: u32| self.args[at as usize / 8].to_le_bytes();
        match offset {
            0 => self.nr,
            4 => self.arch,
            8 | 12 => 0,
            16..64 => {
                let bytes = argument(offset - 16);
                let half = &bytes[(offset % 8) as usize..][..4];
                u32::from_le_bytes(half.try_into().unwrap())
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// Runs `program`, and panics where the kernel's verifier would have refused it.
pub(crate) fn run(program: &[Insn], data: &Data) -> u32 {
    walk(program, data).0
}

/// What it returns, and how many instructions that took.
pub(crate) fn walk(program: &[Insn], data: &Data) -> (u32, usize) {
    let (mut at, mut steps) = (0, 0);
    let mut accumulator = 0_u32;
    loop {
        let insn = program[at];
        at += 1;
        steps += 1;
        let holds = match insn.code {
            0x20 => {
                accumulator = data.word(insn.k);
                continue;
            }
            0x54 => {
                accumulator &= insn.k;
                continue;
            }
            0x05 => {
                at += insn.k as usize;
                continue;
            }
            0x06 => return (insn.k, steps),
            0x15 => accumulator == insn.k,
            0x25 => accumulator > insn.k,
            0x35 => accumulator >= insn.k,
            0x45 => accumulator & insn.k != 0,
            code => panic!("operation {code:#x} at {}", at - 1),
        };
        at += usize::from(if holds { insn.jt } else { insn.jf });
    }
}

/// Reads instructions as libseccomp exports them.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Insn> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty(), "{} stray bytes", rest.len());
    let insn = |c: &[u8; 8]| Insn {
        code: u16::from_le_bytes([c[0], c[1]]),
        jt: c[2],
        jf: c[3],
        k: u32::from_le_bytes([c[4], c[5], c[6], c[7]]),
    };
    chunks.iter().map(insn).collect()
}
