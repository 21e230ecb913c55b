//! How the servers are reached that have the records.

use std::path::PathBuf;

use aaa_audit::nats::Connection;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_service::audit::Kept;
use aaa_service::config::{Document, Problems};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// How to reach NATS
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How to reach NATS")]
pub(super) struct ServerArgs {
    /// NATS servers, nats://host:port with commas between them
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
    /// A credentials file, as nsc writes it
    #[arg(long, value_name = "FILE", requires = "server")]
    credentials: Option<PathBuf>,
    /// The user to be
    #[arg(long, requires_all = ["server", "password_file"])]
    user: Option<String>,
    /// The file with that user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Certificates in PEM that the server's must be issued by
    #[arg(long, value_name = "FILE", requires = "server")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show to the server, in PEM
    #[arg(long, value_name = "FILE", requires_all = ["server", "tls_key"])]
    tls_certificate: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl ServerArgs {
    /// The connection that they say.
    pub(super) fn connection(&self, stream: &str) -> Result<Connection, Failure> {
        match kept(&self.document(stream)?)? {
            Some(Kept::Stream { connection, .. }) => Ok(connection),
            _ => Err(Failure::usage("which server? Give --server URL")),
        }
    }

    /// The words of the configuration, so that there is one reading of them.
    pub(super) fn document(&self, stream: &str) -> Result<Document, Failure> {
        let mut settings = Map::new();
        settings.insert("stream".to_owned(), json!({"name": stream}));
        for (key, text) in [("servers", &self.server), ("user", &self.user)] {
            if let Some(text) = text {
                settings.insert(key.to_owned(), json!(text));
            }
        }
        for (key, path) in [
            ("credentials", &self.credentials),
            ("password_file", &self.password_file),
            ("tls_ca", &self.tls_ca),
            ("tls_certificate", &self.tls_certificate),
            ("tls_key", &self.tls_key),
        ] {
            if let Some(path) = path {
                settings.insert(key.to_owned(), json!(path.display().to_string()));
            }
        }
        let document = json!({"jetstream_auditor": Value::Object(settings)});
        Document::parse("the command line", document.to_string().as_bytes())
            .map_err(|problems| usage(&problems))
    }
}

/// Where a configuration keeps its records.
pub(super) fn kept(document: &Document) -> Result<Option<Kept>, Failure> {
    let kept = Kept::find(document, SystemClock.now());
    document.finish().map_err(|problems| usage(&problems))?;
    Ok(kept)
}

pub(super) fn usage(problems: &Problems) -> Failure {
    Failure::usage(problems.to_string())
}
