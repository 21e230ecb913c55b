//! The wire without what is behind it: a server that answers every request with the same bytes. What a run against it does not
//! reach, no service will be seen to reach.

use std::io::Write as _;
use std::sync::Arc;

use aaa_api::error::ApiError;
use aaa_api::handler::{Context, Handlers, LoginHandler, LoginOutcome, SignHandler, SignOutcome};
use aaa_api::rest::{LoginRequest, SignRequest};
use aaa_api::server::router;
use async_trait::async_trait;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::cli::BlankOptions;
use crate::failure::{Failure, read};

/// `aaa-load blank`. It ends with its process.
pub(crate) fn run(options: &BlankOptions) -> Result<(), Failure> {
    let tls = server_config(&read(&options.certificate)?, &read(&options.key)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::while_doing("threads", error))?;
    let failed = |error| Failure::while_doing(&options.listen, error);
    runtime.block_on(async {
        let listener = TcpListener::bind(&options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        writeln!(std::io::stdout(), "https://{address}").map_err(failed)?;
        let blank = Arc::new(Blank(vec![b' '; options.bytes]));
        let handlers = Handlers {
            login: Some(Arc::clone(&blank) as _),
            sign: Some(blank),
        };
        serve(listener, tls, handlers).await;
        Ok(())
    })
}

/// Serves everybody until it is dropped.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, handlers: Handlers) {
    let router = router(handlers);
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            // Whoever breaks off, breaks off.
            let _ = connection(tcp, acceptor, router).await;
        });
    }
}

async fn connection(tcp: TcpStream, acceptor: TlsAcceptor, router: axum::Router) -> Option<()> {
    tcp.set_nodelay(true).ok()?;
    let io = TokioIo::new(acceptor.accept(tcp).await.ok()?);
    let service = TowerToHyperService::new(router);
    let builder = Builder::new(TokioExecutor::new());
    builder.serve_connection(io, service).await.ok()
}

pub(crate) fn server_config(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::while_doing("TLS", error);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| failed(&error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Answers everything with so many blanks.
struct Blank(Vec<u8>);

#[async_trait]
impl SignHandler for Blank {
    async fn sign(&self, _: &Context, _: SignRequest) -> Result<SignOutcome, ApiError> {
        Ok(SignOutcome::Signed(self.0.clone()))
    }
}

#[async_trait]
impl LoginHandler for Blank {
    async fn login(&self, _: &Context, _: LoginRequest) -> Result<LoginOutcome, ApiError> {
        Ok(LoginOutcome::Refused {
            error: "nobody is at home".to_owned(),
            detail: String::new(),
        })
    }
}
