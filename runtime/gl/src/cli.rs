//! The command line.

mod plain;
mod sandboxes;
mod settings;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::sandboxes::{Exec, Forget, Kill, Listing, Logs, Ps, Rm, Wait};
pub(crate) use self::settings::Settings;

/// Runs and checks sandboxes for programs that are not trusted.
#[derive(Debug, Parser)]
#[command(name = "gl", version, disable_help_subcommand = true)]
// All of it on a screen of 24 lines.
#[command(help_template = "{about-with-newline}{usage-heading} {usage}\n{all-args}")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// `gl run` alone: all other commands need not be described to read it.
#[derive(Debug, Parser)]
struct OnlyRun {
    #[command(flatten)]
    run: Run,
}

/// The options of `gl run`, where that was called and nothing is wrong with it: read without clap where they are
/// plain. Whatever else there is to say is left to [`Cli`].
pub(crate) fn only_run() -> Option<Run> {
    let mut args = std::env::args_os();
    if args.nth(1)? != "run" {
        return None;
    }
    plain::read(args).or_else(|| {
        let args = std::env::args_os().skip(1);
        OnlyRun::try_parse_from(args).ok().map(|only| only.run)
    })
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program in a sandbox.
    ///
    /// Without --rootfs, --image or --bundle it sees the host's system directories and the working directory,
    /// read-only, and an empty /tmp. Status: the program's own, or 128 and the number of the signal that ended it; 119 disk full,
    /// 120 denied, 121 out of memory, 122 too many processes, 123 CPU time, 124 timeout, 125 it never ran.
    Run(Box<Run>),
    /// Run a program that is trusted, and write a profile of what it did.
    ///
    /// It runs on the host itself, unhindered but without any capability: its system calls, the paths in
    /// them, whom it talks to and how much it uses become a profile for somebody to read, and then for gl run.
    /// Status: the program's own, or 128 and the number of the signal that ended it; 125: it never ran, or no
    /// profile was written.
    Record(Box<Record>),
    /// Measure on this host what a profile and a tier promise.
    ///
    /// Probes are done in a sandbox, and outside as well: what must be denied, and what must work. Status 0: all
    /// is as the profile says. 1: something contradicts it. 125: nothing could be measured.
    Verify(Box<Measure>),
    /// Do probes and say what came of each: what `gl verify` starts inside and outside.
    #[command(hide = true)]
    Probe(Probe),
    /// Wait to be found: what probes look for.
    #[command(hide = true)]
    ProbeTarget(ProbeTarget),
    /// List sandboxes.
    Ps(Ps),
    /// Print what the program of a detached sandbox has written.
    ///
    /// Standard output to standard output, standard error to standard error. The newest 2 MiB of each are always
    /// there, and never more than 4; what is not kept any more is said.
    Logs(Logs),
    /// Signal the program of a sandbox.
    Kill(Kill),
    /// Run another program in a sandbox, under the same profile.
    ///
    /// Status: the program's own, or 128 and the number of the signal that ended it; 125 it never ran.
    Exec(Box<Exec>),
    /// Wait for the end of a detached sandbox, and end as it does.
    Wait(Wait),
    /// Remove what detached sandboxes have left.
    Rm(Rm),
    /// Remove what all detached sandboxes have left that have ended.
    Prune(Forget),
    /// Say in sentences what a report of gl run holds.
    ///
    /// Status 0: the program ended by itself, nothing was denied or given up. 1: something was.
    Why(Why),
    /// Say what this host can enforce, and how to fix the rest.
    ///
    /// Also what each profile would lose here.
    ///
    /// Status 0: nothing that the default profile needs is missing. 1: something is.
    Doctor(Doctor),
    /// Make a user namespace and say how that went: what `gl doctor` starts to see it.
    #[command(hide = true)]
    TryNamespaces,
    /// Print completions for a shell.
    Completions(Completions),
    /// Write man pages into a directory.
    Man(Man),
    /// List, show, check and explain profiles.
    #[command(subcommand)]
    Profile(Profile),
    /// Check audit logs.
    #[command(subcommand)]
    Audit(Audit),
    /// Unpack images on disk, and look after those that are kept.
    #[command(subcommand)]
    Image(Image),
}

/// What is to be done with audit logs.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Find the first line of a log that is not as it was written.
    ///
    /// Status 0: there is none. 1: there is one, or the file cannot be read. Lines that are missing at the
    /// end are seen with --expect-last alone.
    Verify(Verify),
}

/// Options of `gl audit verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The log.
    pub(crate) file: PathBuf,
    /// The hash of a line that must be there: the last one that is known. Lines after it are no fault.
    #[arg(long, value_name = "HASH")]
    pub(crate) expect_last: Option<gl_audit::Hash>,
    #[command(flatten)]
    pub(crate) format: Json,
}

/// What is to be done with images.
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// List the images that are kept unpacked.
    Ls(Json),
    /// Remove kept images that nobody uses.
    Prune(Prune),
    /// Unpack an image to a directory that does not exist yet or is empty.
    ///
    /// IMAGE is the path of an OCI image layout (a directory or an archive) or of a file that docker save has
    /// written, with :TAG or @DIGEST where it holds several.
    Unpack(Unpack),
}

/// Options of `gl image prune`.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Leave those that were used within so many days.
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    pub(crate) unused_days: u32,
    #[command(flatten)]
    pub(crate) format: Json,
}

/// Options of `gl image unpack`.
#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// The image.
    pub(crate) image: String,
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The machine that it is for, such as linux/arm64, instead of this one.
    #[arg(long, value_parser = platform)]
    pub(crate) platform: Option<gl_image::Platform>,
}

fn platform(text: &str) -> Result<gl_image::Platform, String> {
    gl_image::Platform::parse(text)
        .ok_or_else(|| "it is not ARCH, linux/ARCH or linux/ARCH/VARIANT".to_owned())
}

/// Options of `gl doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is to be done with profiles. NAME is a built-in profile or one of /etc/greenlang/profiles; with a
/// slash or a suffix .toml or .json in it, a file.
#[derive(Debug, Subcommand)]
pub(crate) enum Profile {
    /// List the profiles that containers can name.
    List(Json),
    /// Show a profile with all that it extends, and where each value was set.
    Show(One),
    /// Check files: errors, and allowances that may surprise.
    ///
    /// Status 0: no errors. 1: errors, or with --strict warnings.
    Check(Check),
    /// Say which setting of the kernel each line becomes.
    Explain(Explain),
    /// Say what profile B allows that profile A does not.
    ///
    /// Status 0: nothing. 1: something.
    Diff(Diff),
    /// Score how much a profile leaves open, from 0 (little) to 100.
    Score(One),
    /// Make one profile that allows what any of several allows.
    ///
    /// It is looser than each of them: what each brings is printed. Keys that gl record does not write are
    /// refused.
    Merge(Merge),
    /// Print the JSON Schema of profile files.
    Schema,
    /// Print what a profile becomes for others: a seccomp section, an AppArmor profile, a config.json.
    Export(Export),
}

/// One profile.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The profile.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) format: Json,
}

/// The form of the output.
#[derive(Debug, Args)]
pub(crate) struct Json {
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `gl profile check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The files.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// End with 1 for warnings, too.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Note also what this tier would not enforce on this host, with a cgroup and without.
    #[arg(long, value_enum)]
    pub(crate) tier: Option<Tier>,
    #[command(flatten)]
    pub(crate) format: Json,
}

/// Options of `gl profile explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The profile.
    pub(crate) name: String,
    /// The tier that would enforce it.
    #[arg(long, value_enum, default_value_t = Tier::Container)]
    pub(crate) tier: Tier,
    #[command(flatten)]
    pub(crate) format: Json,
}

/// The tiers that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// A process with less rights: Landlock, resource limits, a filter of system calls.
    Basic,
    /// A view of the host's files, with namespaces of its own.
    Namespace,
    /// An OCI container.
    Container,
    /// A container with a kernel of its own.
    Gvisor,
}

/// Options of `gl profile diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The profile to compare with.
    #[arg(value_name = "A")]
    pub(crate) from: String,
    /// The profile to judge.
    #[arg(value_name = "B")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) format: Json,
}

/// Options of `gl profile merge`.
#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// The profiles: names, or files.
    #[arg(required = true, num_args = 2.., value_name = "PROFILE")]
    pub(crate) profiles: Vec<String>,
    /// The file to write.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The name of the profile; that of the file without.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The tier of the profile, where those of the others differ.
    #[arg(long, value_enum)]
    pub(crate) tier: Option<RecordTier>,
    /// Write over a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// The tiers that a recording can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordTier {
    /// The host's own namespaces.
    Basic,
    /// Namespaces over a view of the host.
    Namespace,
}

/// Options of `gl profile export`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("form").required(true))]
pub(crate) struct Export {
    /// The profile.
    pub(crate) name: String,
    /// The `linux.seccomp` section of a config.json.
    #[arg(long, group = "form")]
    pub(crate) seccomp: bool,
    /// An AppArmor profile, as its parser reads it.
    #[arg(long, group = "form")]
    pub(crate) apparmor: bool,
    /// The default config.json, tightened by the profile.
    #[arg(long, group = "form")]
    pub(crate) oci: bool,
}

/// Options of `gl completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Options of `gl man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory; it is made if it is not there.
    pub(crate) dir: PathBuf,
}

/// Options of `gl why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The report, as `gl run --report FILE` wrote it.
    #[arg(required_unless_present = "schema")]
    pub(crate) report: Option<PathBuf>,
    /// Print the JSON Schema of reports instead.
    #[arg(long, conflicts_with = "report")]
    pub(crate) schema: bool,
}

/// The profile of a run that names none.
const DEFAULT_PROFILE: &str = "default";

/// Options of `gl run`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(crate) struct Run {
    /// The profile: a name, or a file.
    #[arg(long, short, default_value = DEFAULT_PROFILE)]
    pub(crate) profile: String,
    /// Let the options below loosen the profile; each that does is in the report.
    #[arg(long)]
    pub(crate) allow: bool,
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// The name of the sandbox; one that nobody has is made up without.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Run on the files of DIR instead of the host's, read-only.
    #[arg(long, value_name = "DIR")]
    pub(crate) rootfs: Option<PathBuf>,
    /// Run on an image that is on disk, read-only: an OCI image layout or what docker save has written, with
    /// :TAG or @DIGEST where it holds several. The command is added to its entry point, or takes the place of
    /// its Cmd.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Run an OCI bundle, as strictly as the profile says.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// The working directory inside.
    #[arg(long, short = 'C', value_name = "DIR")]
    pub(crate) chdir: Option<String>,
    /// Set a variable, or pass the caller's on.
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Set the variables of a file: lines NAME=VALUE, empty lines, and comments with #.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Give the program a terminal of its own: always, never, or where the streams are one.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tty: Tty,
    /// Write a report: JSON to FILE, JSON to standard output with -, or a few lines to standard error
    /// with text.
    #[arg(long, value_name = "FILE|-|text")]
    pub(crate) report: Option<String>,
    /// Print the name of the sandbox and return once the program runs: what it writes is kept for gl logs, its
    /// status for gl ps and gl wait.
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// With --detach, leave nothing after the end. Without it nothing is ever left.
    #[arg(long)]
    pub(crate) rm: bool,
    /// Note the run in an audit log: a file, or journald. A run that cannot be noted does not start.
    #[arg(long, value_name = "FILE|journald")]
    pub(crate) audit: Option<String>,
    /// The program and its arguments; an image or a bundle may have its own.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Options of `gl record`.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile_out: PathBuf,
    /// The name of the profile; that of the file without.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The tier that the profile is for.
    #[arg(long, value_enum, default_value_t = RecordTier::Namespace)]
    pub(crate) tier: RecordTier,
    /// Let the profile allow a call that the profile default denies, if the program makes it.
    #[arg(long, value_name = "CALL")]
    pub(crate) include: Vec<String>,
    /// Write over a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// The working directory.
    #[arg(long, short = 'C', value_name = "DIR")]
    pub(crate) chdir: Option<PathBuf>,
    /// Set a variable, or pass the caller's on.
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Set the variables of a file: lines NAME=VALUE, empty lines, and comments with #.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Options of `gl verify`.
#[derive(Debug, Args)]
pub(crate) struct Measure {
    /// The profile: a name, or a file.
    #[arg(long, short, default_value = "default")]
    pub(crate) profile: String,
    /// Do these probes, or all of these areas, instead of all.
    #[arg(long, value_name = "PROBE|AREA", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// List the probes.
    #[arg(long)]
    pub(crate) list: bool,
    /// Judge what comes of the probes outside, as if that were a sandbox: to see that this command can fail.
    #[arg(long)]
    pub(crate) without_sandbox: bool,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub(crate) format: Form,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A table.
    Text,
    /// JSON.
    Json,
}

/// What `gl verify` leaves to the process that outlives it.
#[derive(Debug, clap::Args)]
pub(crate) struct ProbeTarget {
    /// A directory that is removed in the end; a message queue of its name, too.
    pub(crate) dir: PathBuf,
}

/// Options of `gl probe`.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// As the root of a user namespace.
    #[arg(long)]
    pub(crate) user_namespace: bool,
    /// What there is to be found, JSON.
    pub(crate) bait: String,
    /// The probes.
    pub(crate) names: Vec<String>,
}

/// Whether a program gets a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tty {
    /// Where standard input and output are one.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
