//! Prints what Docker's and Podman's lists cost: `cargo run --release -p gl-seccomp --example measure`.
//!
//! Compiling and the cache are measured in this process. Attaching is measured in fresh processes,
//! this program again, as a filter stays for ever; each attaches once, so that no filter slows the
//! next. Medians, in microseconds.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use gl_seccomp::{Cache, NATIVE, Program, compile, install};
use gl_spec::oci::LinuxSeccomp;

const CHILD: &str = "GL_SECCOMP_MEASURE_CHILD";
const COMPILE_RUNS: usize = 2000;
const ATTACH_RUNS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::var_os(CHILD).is_some() {
        return attach_once();
    }
    for (name, json) in [
        ("docker", include_str!("../tests/data/docker.json")),
        ("podman", include_str!("../tests/data/podman.json")),
    ] {
        let list: LinuxSeccomp = serde_json::from_str(json)?;
        let program = compile(&list, NATIVE)?;
        let compiled = median(COMPILE_RUNS, || compile(&list, NATIVE).map(drop))?;
        let dir = std::env::temp_dir().join(format!("gl-seccomp-measure-{}", std::process::id()));
        let cache = Cache::open(&dir)?;
        let cached = median(COMPILE_RUNS, || cache.compile(&list, NATIVE).map(drop))?;
        std::fs::remove_dir_all(&dir)?;
        let mut attached = Vec::with_capacity(ATTACH_RUNS);
        for _ in 0..ATTACH_RUNS {
            attached.push(attach(&program)?);
        }
        attached.sort_by(f64::total_cmp);
        println!(
            "{name}: {} instructions, compile {compiled:.1} us, from the cache {cached:.1} us, \
             attach {:.1} us (fastest {:.1})",
            program.insns().len(),
            attached[ATTACH_RUNS / 2],
            attached[0],
        );
    }
    Ok(())
}

fn median<E>(runs: usize, mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[runs / 2])
}

/// Has a fresh process attach the program; returns the microseconds that it took.
fn attach(program: &Program) -> Result<f64, Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&program.to_bytes())?;
    }
    let output = child.wait_with_output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn attach_once() -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let program = Program::from_bytes(&bytes)?;
    rustix::thread::set_no_new_privs(true)?;
    let start = Instant::now();
    install(&program)?;
    println!("{}", start.elapsed().as_secs_f64() * 1e6);
    Ok(())
}
