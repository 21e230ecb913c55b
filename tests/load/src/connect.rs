//! Connections to the service: TLS over TCP, each made once and kept.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cli::Target;
use crate::failure::{Failure, read};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// What is spoken over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Its name in ALPN (RFC 7301).
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Where a service is.
pub(crate) struct Endpoint {
    /// Host and port as in the URL.
    pub(crate) authority: String,
    path: String,
    address: SocketAddr,
    name: ServerName<'static>,
    protocol: Protocol,
    connector: TlsConnector,
}

impl Endpoint {
    pub(crate) fn new(target: &Target, protocol: Protocol) -> Result<Arc<Self>, Failure> {
        let wrong = |why: &str| Failure::while_doing(&target.url, why);
        let uri: Uri = target.url.parse().map_err(|_| wrong("it is no URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong("only https is spoken here"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let host = authority.host().trim_matches(['[', ']']);
        let address = (host, authority.port_u16().unwrap_or(443))
            .to_socket_addrs()
            .map_err(|error| Failure::while_doing(&target.url, error))?
            .next()
            .ok_or_else(|| wrong("the host has no address"))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("no such host"))?;
        Ok(Arc::new(Self {
            authority: authority.to_string(),
            path: uri.path().trim_end_matches('/').to_owned(),
            address,
            name,
            protocol,
            connector: TlsConnector::from(Arc::new(client_config(target, protocol)?)),
        }))
    }

    /// The path of the URL, or this one if it has none.
    pub(crate) fn path_or<'a>(&'a self, path: &'a str) -> &'a str {
        if self.path.is_empty() {
            path
        } else {
            &self.path
        }
    }

    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>, Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::while_doing(&self.authority, why);
        let connect = async {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            self.connector.connect(self.name.clone(), tcp).await
        };
        let stream = timeout(CONNECT, connect)
            .await
            .map_err(|_| failed(&"no connection in time"))?
            .map_err(|error| failed(&error))?;
        let spoken = stream.get_ref().1.alpn_protocol();
        if self.protocol == Protocol::Http2 && spoken != Some(self.protocol.name()) {
            return Err(failed(&"it does not speak HTTP/2"));
        }
        Ok(stream)
    }
}

fn client_config(target: &Target, protocol: Protocol) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::while_doing("TLS", error))?;
    let mut config = match &target.ca {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&read(file)?) {
                certificate
                    .map_err(|error| error.to_string())
                    .and_then(|found| roots.add(found).map_err(|error| error.to_string()))
                    .map_err(|error| Failure::while_doing(file.display(), error))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(algorithms))),
    }
    .with_no_client_auth();
    config.alpn_protocols = vec![protocol.name().to_vec()];
    Ok(config)
}

/// Believes everybody who holds the key of the certificate that they show.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
