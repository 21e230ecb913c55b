//! The command line that every service has.

use std::path::PathBuf;

use clap::Args;

/// Arguments of a service, to be flattened into a command.
#[derive(Debug, Clone, Default, Args)]
pub struct ServiceArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// Listen for clients on this address (HOST:PORT or :PORT) instead of the configured port
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// Serve metrics and health on this address instead of the configured `monitor_port`
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,

    /// Speak plain HTTP to clients: for use behind a proxy that does TLS
    #[arg(long)]
    pub disable_tls: bool,

    /// Check the configuration and all that it names, and start nothing
    #[arg(long)]
    pub check_config: bool,

    /// Write the process id to this file while running
    #[arg(long = "pid", value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Log at level debug whatever the configuration says
    #[arg(long)]
    pub debug: bool,
}
