//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs and checks sandboxes for programs that are not trusted.
#[derive(Debug, Parser)]
#[command(name = "gl", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what this host can enforce, what each profile would lose here, and how to fix it.
    ///
    /// Status 0: nothing that the default profile needs is missing. 1: something is.
    Doctor(Doctor),
    /// Make a user namespace and say how that went: what `gl doctor` starts to see it.
    #[command(hide = true)]
    TryNamespaces,
    /// List, show, check and explain profiles.
    #[command(subcommand)]
    Profile(Profile),
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
    /// An OCI container.
    Container,
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
