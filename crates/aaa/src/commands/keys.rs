//! `aaa keys`.

use std::path::PathBuf;

use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::files::{self, Mode};
use crate::screen;

/// Make keys
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Generate(GenerateArgs),
}

/// Make a key pair: a seed file that only you can read, and its public key
///
/// The public key is printed. Files that exist are left alone unless --force is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa keys generate --seed issuer.seed --public issuer.public
  aaa keys generate --rsa --seed login.pem --public login.public.pem")]
pub(crate) struct GenerateArgs {
    /// Where the private key goes (0600): an Ed25519 seed of 64 hexadecimal characters, or with --rsa a PEM file
    #[arg(long, visible_alias = "key", value_name = "FILE")]
    seed: PathBuf,
    /// Where the public key goes besides standard output
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// Make an RSA key (PKCS#8 PEM) instead of Ed25519: for tokens of a single login service, as older sites have them
    #[arg(long)]
    rsa: bool,
    /// The size of the RSA key
    #[arg(long, requires = "rsa", default_value = "2048", value_parser = ["2048", "3072", "4096"], hide_possible_values = false)]
    bits: String,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// What was made, for programs.
#[derive(Serialize)]
struct Made<'a> {
    kind: &'static str,
    public_key: &'a str,
    seed_file: &'a PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_file: Option<&'a PathBuf>,
}

/// A key pair as its files hold it.
struct Pair {
    kind: &'static str,
    private: Secret<String>,
    public: String,
}

pub(crate) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Generate(args) => generate(args),
    }
}

fn generate(args: &GenerateArgs) -> Result<Exit, Failure> {
    if args.public.as_ref() == Some(&args.seed) {
        return Err(Failure::usage("--seed and --public name the same file"));
    }
    // Both are looked at first, so that a refusal leaves no half of a pair behind.
    let files = [Some(&args.seed), args.public.as_ref()];
    if let Some(there) = files.into_iter().flatten().find(|file| file.exists())
        && !args.force
    {
        return Err(files::exists(there));
    }
    let pair = if args.rsa {
        Pair::rsa(&args.bits)?
    } else {
        Pair::ed25519()?
    };
    let write = if args.force {
        files::write
    } else {
        files::write_new
    };
    write(&args.seed, Mode::Private, pair.private.expose().as_bytes())?;
    if let Some(public) = &args.public {
        write(public, Mode::Public, pair.public.as_bytes())?;
    }
    if args.json {
        screen::json(&Made {
            kind: pair.kind,
            public_key: &pair.public,
            seed_file: &args.seed,
            public_file: args.public.as_ref(),
        })?;
    } else {
        screen::data(&format!("{}\n", pair.public.trim_end()))?;
    }
    Ok(Exit::Done)
}

impl Pair {
    fn ed25519() -> Result<Self, Failure> {
        let key = Ed25519Key::generate().map_err(|_| no_randomness())?;
        Ok(Self {
            kind: "ed25519",
            private: key.seed_hex(),
            public: key.public().to_hex(),
        })
    }

    fn rsa(bits: &str) -> Result<Self, Failure> {
        let size = match bits {
            "4096" => RsaKeySize::_4096,
            "3072" => RsaKeySize::_3072,
            _ => RsaKeySize::_2048,
        };
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).map_err(|_| no_randomness())?;
        Ok(Self {
            kind: "rsa",
            private: Secret::new(key.serialize_pem()),
            public: key.public_key_pem(),
        })
    }
}

fn no_randomness() -> Failure {
    Failure::failed("the system gave no random numbers to make a key from")
}
