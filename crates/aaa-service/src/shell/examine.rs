//! A service looked at and not started: what is wrong with its configuration, what it lives on that ends, and who should answer it.

use std::future::Future;

use aaa_api::handler::Handlers;

use super::{Boxed, Options, Prepared, Program, Shell};
use crate::config::{Document, Problems};
use crate::telemetry::Settings;

/// What there is to say about a service before it is started.
pub struct Examined {
    /// Its configuration.
    pub document: Document,
    /// What its start would say.
    pub problems: Problems,
    /// What it lives on that ends.
    pub ends: Vec<End>,
    /// Who should answer it.
    pub probes: Vec<Probe>,
}

/// Something that a service lives on, and that ends: a certificate, a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The full key of its setting.
    pub setting: String,
    /// When it ends, in unix seconds.
    pub at: i64,
}

/// What a service depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// A broker of the Choria network.
    Broker,
    /// The stream of audit records.
    Stream,
    /// A tenant that knows the people.
    Tenant,
}

/// Somebody who should answer, to be asked once. Asking changes nothing there.
pub struct Probe {
    /// What it is.
    pub dependency: Dependency,
    /// Which one: a host and port, the name of a stream.
    pub name: String,
    ask: Box<dyn FnOnce() -> Boxed<Result<Answer, String>> + Send>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// What is good about it.
    pub good: String,
    /// What is not as it should be.
    pub warnings: Vec<String>,
}

impl Probe {
    /// Somebody to be asked in this way.
    pub fn new<F>(
        dependency: Dependency,
        name: impl Into<String>,
        ask: impl FnOnce() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Answer, String>> + Send + 'static,
    {
        Self {
            dependency,
            name: name.into(),
            ask: Box::new(move || Box::pin(ask())),
        }
    }

    /// Asks. How long that may take is the caller's to say.
    ///
    /// # Errors
    /// Why there is no answer, or one that is no good.
    pub async fn ask(self) -> Result<Answer, String> {
        (self.ask)().await
    }
}

/// Builds a service as its start does, and keeps what there is to say.
pub fn examine<B>(program: &Program, document: Document, options: Options, build: B) -> Examined
where
    B: FnOnce(&Document, &mut Shell) -> Result<Handlers, Problems>,
{
    Settings::read(&document, program.name, false).check(&document);
    let options = Options {
        checking: true,
        ..options
    };
    let (prepared, problems) = Prepared::draft(program, document, options, None, build);
    let Prepared {
        shell, document, ..
    } = prepared;
    Examined {
        document,
        problems,
        ends: shell.ends,
        probes: shell.probes,
    }
}
