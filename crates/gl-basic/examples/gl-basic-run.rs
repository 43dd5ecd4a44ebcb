//! Runs a program in the tier basic: `gl-basic-run PROFILE.toml [--tty] PROGRAM ARGS…`. For the tests, which
//! read how it ended from stderr.
#![expect(
    clippy::print_stderr,
    reason = "a program for tests, which tells how a run ended"
)]

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use gl_basic::{Host, HostFiles, Request, Terminal, plan, run};
use gl_profile::{Format, Layer, Profile};

fn main() -> ExitCode {
    match execute() {
        Ok(status) => status.into(),
        Err(said) => {
            eprintln!("gl-basic-run: {said}");
            125.into()
        }
    }
}

fn execute() -> Result<u8, String> {
    let mut args = std::env::args_os().skip(1);
    let file = args.next().ok_or("no profile")?;
    let file = file.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(&file).map_err(|err| err.to_string())?;
    let layer = Layer::parse(&file, &text, Format::Toml).map_err(|err| err.to_string())?;
    let profile = Profile::resolve(layer, &()).map_err(|err| err.to_string())?;
    let mut args: Vec<CString> = args.flat_map(|arg| CString::new(arg.into_vec())).collect();
    let terminal = match args.first().is_some_and(|arg| arg.as_bytes() == b"--tty") {
        true => {
            args.remove(0);
            Terminal::Own
        }
        false => Terminal::Inherit,
    };
    let env = std::env::vars_os().filter(|(name, _)| name != "TMPDIR");
    let env = env.map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
    let request = Request {
        args,
        env: env.flat_map(CString::new).collect(),
        cwd: std::env::current_dir().map_err(|err| err.to_string())?,
        name: format!("test-{}", std::process::id()),
        terminal,
        temp: std::env::temp_dir(),
    };
    let said = |err: gl_basic::Error| gl_spec::chain(&err);
    let plan = plan(&profile, &Host::detect(), &HostFiles::default(), &request).map_err(said)?;
    let finished = run(&plan, &mut ()).map_err(said)?;
    let reason = finished.reason.map_or("exited", gl_basic::Reason::as_str);
    eprintln!(
        "END reason={reason} ended={:?} cpu_ms={} peak={} left={:?}",
        finished.ended,
        finished
            .usage
            .cpu
            .unwrap_or(finished.usage.user)
            .as_millis(),
        finished.usage.memory_peak,
        finished.left,
    );
    Ok(finished.ended.status())
}
