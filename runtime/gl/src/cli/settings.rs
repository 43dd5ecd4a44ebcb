//! The settings of a profile as options.

use clap::Args;

/// Settings of a profile as options.
#[derive(Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Settings of the profile")]
pub(crate) struct Settings {
    /// The tier: basic, namespace, container or gvisor.
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// The level whose presets fill what the profile leaves open.
    #[arg(long)]
    pub(crate) level: Option<String>,
    /// enforcing or permissive.
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// refuse or degrade, where the host lacks something.
    #[arg(long, value_name = "WORD")]
    pub(crate) on_missing: Option<String>,
    /// Memory, such as 256MiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Address space of each process.
    #[arg(long, value_name = "SIZE")]
    pub(crate) virtual_memory: Option<String>,
    /// CPUs, such as 0.5.
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<String>,
    /// CPU time of all processes, such as 30s.
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_time: Option<String>,
    /// Wall-clock time, such as 5m.
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// Processes.
    #[arg(long, value_name = "N")]
    pub(crate) pids: Option<String>,
    /// Threads of all processes.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<String>,
    /// Open files of each process.
    #[arg(long, value_name = "N")]
    pub(crate) files: Option<String>,
    /// Size of each file that is written.
    #[arg(long, value_name = "SIZE")]
    pub(crate) file_size: Option<String>,
    /// Everything writable together.
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<String>,
    /// on or off.
    #[arg(long, value_name = "WORD")]
    pub(crate) net: Option<String>,
    /// Show a path, read-only.
    #[arg(long, value_name = "PATH")]
    pub(crate) ro: Vec<String>,
    /// Show a path, writable.
    #[arg(long, value_name = "PATH")]
    pub(crate) rw: Vec<String>,
    /// Show a path of the host at another place: HOST:INSIDE, with :rw writable.
    #[arg(long, value_name = "HOST:INSIDE[:rw]")]
    pub(crate) bind: Vec<String>,
    /// Hide a path.
    #[arg(long, value_name = "PATH")]
    pub(crate) hide: Vec<String>,
}
