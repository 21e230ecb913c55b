//! What can keep a client from an answer, in words that say what to do.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::StatusCode;
use http_body_util::LengthLimitError;
use serde::Deserialize;
use thiserror::Error as ThisError;

/// Why there is no token, or no secure request.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum ClientError {
    /// No URL was given to try.
    #[error("no URL to ask is configured")]
    NoUrl,
    /// The URL is none, or of another kind.
    #[error("{url:?} is not an http:// or https:// URL")]
    Url {
        /// What was given.
        url: String,
    },
    /// The certificates, or the key, that were given for TLS cannot be used.
    #[error("{0}")]
    Trust(String),
    /// There is no connection to the service, or it broke.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// The other end is not one to be trusted, or does not trust us.
    #[error("no secure connection to {url}: {reason}")]
    Tls {
        /// Where.
        url: String,
        /// What the TLS library said.
        reason: String,
    },
    /// The answer did not come in time.
    #[error("{url} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// Where.
        url: String,
        /// The time waited.
        after: Duration,
    },
    /// The answer exceeds [`super::ANSWER_LIMIT`].
    #[error("the answer of {url} is longer than 1 MiB: is this a Choria AAA service?")]
    TooLong {
        /// Where.
        url: String,
    },
    /// The answer is not one of the API.
    #[error("the answer of {url} is none that a Choria AAA service gives: check the URL")]
    NoAnswer {
        /// Where.
        url: String,
    },
    /// The service did not work on the request.
    #[error("{url} answered {status}: {message}")]
    Status {
        /// Where.
        url: String,
        /// The HTTP status.
        status: StatusCode,
        /// The service's own words, or the beginning of whatever came.
        message: String,
    },
    /// The service decided: no.
    #[error("{error}{}{detail}", if detail.is_empty() { "" } else { ": " })]
    Refused {
        /// Why, in one line.
        error: String,
        /// More about it. May be empty.
        detail: String,
    },
}

impl ClientError {
    /// Nobody decided about the request: the service is out of reach, out of order, or another one than expected. One at
    /// another URL may do better.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::TooLong { .. }
            | Self::NoAnswer { .. } => true,
            Self::Status { status, .. } => status.is_server_error(),
            Self::NoUrl | Self::Url { .. } | Self::Trust(_) | Self::Refused { .. } => false,
        }
    }

    pub(super) fn transport(url: &str, source: hyper_util::client::legacy::Error) -> Self {
        let url = url.to_owned();
        let source: Box<dyn Error> = source.into();
        match tls_error(&*source) {
            Some(tls) => Self::Tls {
                url,
                reason: explain_tls(tls),
            },
            None => Self::Unreachable {
                url,
                reason: root(&*source),
            },
        }
    }

    pub(super) fn answer(url: &str, source: &(dyn Error + Send + Sync + 'static)) -> Self {
        let url = url.to_owned();
        if source.is::<LengthLimitError>() {
            return Self::TooLong { url };
        }
        Self::Unreachable {
            url,
            reason: root(source),
        }
    }

    pub(super) fn status(url: &str, status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Words {
            error: String,
            #[serde(default)]
            detail: String,
        }
        let message = match serde_json::from_slice::<Words>(body) {
            Ok(Words { error, detail }) if detail.is_empty() => error,
            Ok(Words { error, detail }) => format!("{error}: {detail}"),
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        Self::Status {
            url: url.to_owned(),
            status,
            message: printable(&message),
        }
    }
}

/// Text from outside, fit for a terminal: one line, no control characters, 400 characters at most.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 400;
    text.trim()
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An I/O error hides what it wraps behind the source of that.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        wrapped.map(|inner| inner as _).or_else(|| error.source())
    })
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn explain_tls(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error as Tls};
    let hint = match error {
        Tls::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "; name the authority that issued its certificate",
        // It has no name of its own among the errors.
        Tls::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            "; it shows the certificate of an authority: a service needs one with CA:FALSE"
        }
        Tls::InvalidMessage(_) => "; does it speak TLS on this port?",
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            "; it wants a client certificate"
        }
        _ => "",
    };
    format!("{error}{hint}")
}

fn root(error: &(dyn Error + 'static)) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_shown_on_one_clean_line() {
        let error = |body: &[u8]| {
            ClientError::status("https://a/", StatusCode::BAD_REQUEST, body).to_string()
        };
        assert_eq!(
            error(br#"{"error":"Malformed request","detail":"token must be a string"}"#),
            "https://a/ answered 400 Bad Request: Malformed request: token must be a string"
        );
        assert_eq!(
            error(br#"{"error":"No"}"#),
            "https://a/ answered 400 Bad Request: No"
        );
        assert_eq!(
            error(b"<html>\x1b[2J\n\xff"),
            "https://a/ answered 400 Bad Request: <html> [2J \u{fffd}"
        );
        assert!(error(&vec![b'x'; 100_000]).len() < 500);
    }

    #[test]
    fn only_an_outage_sends_a_client_elsewhere() {
        let status = |status| ClientError::status("https://a/", status, b"");
        assert!(status(StatusCode::SERVICE_UNAVAILABLE).is_outage());
        assert!(status(StatusCode::NOT_IMPLEMENTED).is_outage());
        assert!(!status(StatusCode::BAD_REQUEST).is_outage());
        assert!(!status(StatusCode::TOO_MANY_REQUESTS).is_outage());
        assert!(
            !ClientError::Refused {
                error: String::new(),
                detail: String::new()
            }
            .is_outage()
        );
        let untrusted = ClientError::Tls {
            url: String::new(),
            reason: String::new(),
        };
        assert!(untrusted.is_outage());
    }
}
