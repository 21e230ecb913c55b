//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use aaa_core::duration;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Load for the login and signing services.
#[derive(Parser)]
#[command(name = "aaa-load", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Has requests signed over connections that are kept open, each connection waiting for its answer before it asks again
    Sign(SignOptions),
    /// Logs users in, each login with a key of its own
    Login(LoginOptions),
    /// Does both at the same time, and tells how signing fares
    Mixed(MixedOptions),
    /// Writes keys, certificates, tokens, users and configurations to run the services with
    Site(SiteOptions),
    /// Starts a service and tells how long it took to be ready
    Start(StartOptions),
    /// Tells how much memory a process holds
    Memory(MemoryOptions),
    /// Measures the cryptography alone: what no service on this machine can exceed
    Bare(BareOptions),
    /// Serves the wire without what is behind it, to measure this generator with
    Blank(BlankOptions),
    /// Makes a table of the results of other commands
    Report(ReportOptions),
}

/// What is measured.
#[derive(Args)]
pub(crate) struct Target {
    /// The service: https://host:port, with or without the path of the call
    #[arg(long)]
    pub(crate) url: String,
    /// Believe holders of certificates by these authorities (PEM)
    #[arg(
        long,
        required_unless_present = "insecure",
        conflicts_with = "insecure"
    )]
    pub(crate) ca: Option<PathBuf>,
    /// Believe everybody
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// How much is asked.
#[derive(Args)]
pub(crate) struct Extent {
    /// Connections at the same time
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// For how long
    #[arg(long, default_value = "10s", value_parser = duration::parse)]
    pub(crate) duration: Duration,
    /// How many in all, however long it takes
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// Threads of the generator
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
}

/// What becomes of the result.
#[derive(Args)]
pub(crate) struct Output {
    /// Print one JSON object in a line
    #[arg(long)]
    pub(crate) json: bool,
    /// What the report knows the result by
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// The service's process, to tell how much of the machine it used
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

/// The way into the signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Front {
    /// POST /choria/v1/sign over HTTP/1.1
    Rest,
    /// `SignerService.SignStream`, one stream a connection
    Stream,
    /// `SignerService.Sign`
    Grpc,
    /// A call on the Choria network, in version 2
    Network,
}

/// The protocol of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// Signed with RSA
    V1,
    /// Signed with Ed25519
    V2,
}

/// Whose requests are signed, and what they are.
#[derive(Args)]
pub(crate) struct Caller {
    /// The protocol of the requests
    #[arg(long, value_enum, default_value = "v2")]
    pub(crate) version: Version,
    /// The caller's token
    #[arg(long)]
    pub(crate) token_file: PathBuf,
    /// The seed of the key that the token is bound to
    #[arg(long)]
    pub(crate) seed_file: PathBuf,
    /// The action of agent puppet that is asked for
    #[arg(long, default_value = "status")]
    pub(crate) action: String,
    /// What a node trusts: the organization issuer's public file (v2) or the CA certificate (v1). One answer in 1000 is verified
    #[arg(long)]
    pub(crate) trust: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SignOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) extent: Extent,
    #[command(flatten)]
    pub(crate) caller: Caller,
    /// The way in
    #[arg(long, value_enum, default_value = "rest")]
    pub(crate) front: Front,
    /// Requests that a connection of gRPC, or to the broker, has in flight
    #[arg(long, default_value_t = 16)]
    pub(crate) in_flight: usize,
    /// What the broker wants to see (with --front network, whose URL is tls://host:port)
    #[arg(long)]
    pub(crate) broker_token: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct LoginOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) extent: Extent,
    /// How many of the site's users log in, one after the other
    #[arg(long, default_value_t = crate::site::FEW_USERS)]
    pub(crate) users: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct MixedOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) extent: Extent,
    #[command(flatten)]
    pub(crate) caller: Caller,
    /// Connections that log in; `--connections` is those that have requests signed
    #[arg(long, default_value_t = 16)]
    pub(crate) login_connections: usize,
    /// How many of the site's users log in, one after the other
    #[arg(long, default_value_t = crate::site::FEW_USERS)]
    pub(crate) users: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct SiteOptions {
    /// An empty directory, or one that is not there yet
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Users of the large site
    #[arg(long, default_value_t = crate::site::MANY_USERS)]
    pub(crate) users: u64,
}

#[derive(Args)]
pub(crate) struct StartOptions {
    /// What tells that it is ready: http://host:port/path that answers 200, or tcp://host:port that can be connected to
    #[arg(long)]
    pub(crate) ready: String,
    /// Start it so many times, and end it again each time
    #[arg(long, default_value_t = 1)]
    pub(crate) repeat: u32,
    /// Leave it running after the last time, and print its process id
    #[arg(long)]
    pub(crate) keep: bool,
    /// What it prints goes here
    #[arg(long)]
    pub(crate) log: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct MemoryOptions {
    /// How many requests it has signed until now
    #[arg(long)]
    pub(crate) signatures: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct BareOptions {
    /// How long each is measured
    #[arg(long, default_value = "1s", value_parser = duration::parse)]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct BlankOptions {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
    /// The certificate to show (PEM)
    #[arg(long)]
    pub(crate) certificate: PathBuf,
    /// Its key (PEM)
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// The bytes of each answer's secure request
    #[arg(long, default_value_t = 3000)]
    pub(crate) bytes: usize,
}

#[derive(Args)]
pub(crate) struct ReportOptions {
    /// The JSON lines of the other commands
    #[arg(long)]
    pub(crate) results: PathBuf,
    /// Users of the large site that was measured
    #[arg(long, default_value_t = crate::site::MANY_USERS)]
    pub(crate) users: u64,
}
