//! How services are reached: over TLS, and only those that can show who they are.

use std::path::PathBuf;

use aaa_api::client::{Client, ClientError, Identity, Settings, Trust};
use clap::Args;

use crate::client_config::ClientConfig;
use crate::failure::{Exit, Failure};
use crate::{files, screen};

/// The options that say whom to believe.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ReachArgs {
    /// Trust the certificate authorities in this PEM file, besides those of the machine and of the configuration
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust whoever answers: anybody between here and there can then read the password and use the token
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
}

impl ReachArgs {
    /// A client that trusts whom it may, and shows the certificate of the configuration where one is asked for.
    pub(crate) fn client(&self, config: &ClientConfig) -> Result<Client, Failure> {
        let identity = config.certificate_files().and_then(|files| {
            // Those who do not ask for it can do without.
            let read = read_identity(&files);
            read.inspect_err(|failure| screen::warn(&failure.to_string()))
                .ok()
        });
        self.client_with(config, identity)
    }

    /// A client that shows the certificate in these files: the certificate, then its key.
    pub(crate) fn client_as(
        &self,
        config: &ClientConfig,
        files: &[PathBuf; 2],
    ) -> Result<Client, Failure> {
        let identity = read_identity(files).map_err(|failure| failure.with(Exit::Usage))?;
        self.client_with(config, Some(identity))
    }

    fn client_with(
        &self,
        config: &ClientConfig,
        identity: Option<Identity>,
    ) -> Result<Client, Failure> {
        let trust = self.trust(config)?;
        let settings = Settings {
            trust,
            identity,
            ..Settings::default()
        };
        Client::new(settings).map_err(|error| match &self.ca_file(config) {
            Some(file) => Failure::usage(format!("{}: {error}", file.display())),
            None => Failure::usage(error.to_string()),
        })
    }

    /// Refuses a URL that would send secrets in the clear, unless that was asked for. This machine itself may be one.
    pub(crate) fn check(&self, url: &str) -> Result<(), Failure> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Ok(());
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let address = host.parse::<std::net::IpAddr>();
        if self.insecure || host == "localhost" || address.is_ok_and(|ip| ip.is_loopback()) {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{url} would send secrets in the clear: use https://, or --insecure if you must"
        )))
    }

    fn trust(&self, config: &ClientConfig) -> Result<Trust, Failure> {
        if self.insecure {
            screen::warn("--insecure: it is not checked who answers");
            return Ok(Trust::InsecureAnybody);
        }
        match self.ca_file(config) {
            Some(file) => {
                let pem = files::read(&file)?;
                Ok(Trust::SystemAnd(pem))
            }
            None => Ok(Trust::System),
        }
    }

    fn ca_file(&self, config: &ClientConfig) -> Option<PathBuf> {
        self.ca.clone().or_else(|| config.authorities())
    }
}

fn read_identity([certificate, key]: &[PathBuf; 2]) -> Result<Identity, Failure> {
    Ok(Identity {
        certificates: files::read(certificate)?,
        key: files::read_secret(key)?,
    })
}

/// Why a service did not answer as hoped, and what to do about it.
pub(crate) fn explain(error: &ClientError) -> Failure {
    let advice = match error {
        // The line that the stock client shows has the detail in it already.
        ClientError::Refused { error, detail } if error.contains(detail) => {
            return Failure::failed(error);
        }
        ClientError::NoUrl | ClientError::Url { .. } => {
            return Failure::usage(error.to_string());
        }
        ClientError::Tls { .. } => {
            "\n     give its authority with --ca FILE or plugin.security.choria.ca in the configuration; --insecure trusts anybody"
        }
        ClientError::Unreachable { .. } | ClientError::Timeout { .. } => {
            "\n     check the URL in the configuration, and that the service runs"
        }
        _ => "",
    };
    Failure::failed(format!("{error}{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_travel_in_the_clear() {
        let careful = ReachArgs::default();
        for fine in [
            "https://login.example.net/choria/v1/login",
            "http://127.0.0.1:8080/choria/v1/login",
            "http://localhost/choria/v1/login",
            "http://[::1]:80/",
        ] {
            assert!(careful.check(fine).is_ok(), "{fine}");
        }
        for refused in [
            "http://login.example.net/choria/v1/login",
            "http://localhost.example.net/",
            "http://127.0.0.1.example.net/",
        ] {
            assert_eq!(
                careful.check(refused).unwrap_err().exit,
                Exit::Usage,
                "{refused}"
            );
        }
        let insecure = ReachArgs {
            insecure: true,
            ..ReachArgs::default()
        };
        assert!(insecure.check("http://login.example.net/").is_ok());
    }
}
