//! The smallest service: it signs by giving back what it got.
//!
//! ```text
//! cargo run -p aaa-service --example aaa_echo -- --config service.json --listen 127.0.0.1:8080 --disable-tls
//! ```

use std::process::ExitCode;
use std::sync::Arc;

use aaa_api::error::ApiError;
use aaa_api::handler::{Context, Handlers, SignHandler, SignOutcome};
use aaa_api::rest::SignRequest;
use aaa_service::config::{Document, Kind, Problems, Setting};
use aaa_service::shell::{self, Program, Shell};
use async_trait::async_trait;

static SIGNER: &[Setting] = &[Setting::new(
    "max_validity",
    Kind::Duration,
    "The longest validity that a token may have.",
)
.example("\"2h\"")];

struct Echo;

#[async_trait]
impl SignHandler for Echo {
    async fn sign(&self, _: &Context, request: SignRequest) -> Result<SignOutcome, ApiError> {
        tracing::info!(target: "aaa_echo", bytes = request.request.len(), "signed");
        Ok(SignOutcome::Signed(request.request))
    }
}

fn build(document: &Document, shell: &mut Shell) -> Result<Handlers, Problems> {
    if let Some(section) = document.section("basicjwt_signer", SIGNER) {
        section.required_duration("max_validity");
    }
    let ready = shell.readiness().register("echo");
    shell.on_start("echo", move || async move {
        ready.ready();
        Ok(())
    });
    shell.on_drain("echo", || async {
        tracing::info!(target: "aaa_echo", "drained");
    });
    document.finish()?;
    Ok(Handlers {
        login: None,
        sign: Some(Arc::new(Echo)),
    })
}

pub(crate) fn main() -> ExitCode {
    let program = Program {
        name: "aaa-echo",
        version: env!("CARGO_PKG_VERSION"),
        about: "Gives back what it got",
    };
    shell::run(&program, build)
}
