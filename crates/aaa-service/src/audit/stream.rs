//! The settings of `jetstream_auditor`.

use std::sync::Arc;
use std::time::Duration;

use aaa_api::client::{Identity, Trust, client_config};
use aaa_audit::formats::{Format, RequestEncoding};
use aaa_audit::log::LogSink;
use aaa_audit::nats::{Connection, Login, Tls, check_server};
use aaa_audit::spool::{Opened, Spool};
use aaa_audit::stream::{Creation, StreamOptions, StreamSink, Wanted};
use aaa_audit::{Auditor, Delivery, Health, Sink};
use aaa_core::secret::Secret;

use jiff::Timestamp;

use super::{Given, Kept, scribe};
use crate::choria::{self, Network, Right};
use crate::config::{Document, FileContent, Kind, Section, Setting};
use crate::shell::{Answer, Dependency, Probe};

/// The section `jetstream_auditor`.
pub static JETSTREAM_AUDITOR: &[Setting] = &[
    Setting::new("servers", Kind::Words, "Where NATS is, as `nats://host:port` or `tls://host:port`; the first that answers is used. With `choria`, its `plugin.choria.middleware_hosts` when absent.")
        .example("\"nats://a.example.net:4222,nats://b.example.net:4222\""),
    Setting::new("topic", Kind::Text, "The subject that records are published on.").example("\"audit.london\""),
    Setting::new("stream", Kind::Section, "The stream that keeps them; when absent, whichever has the topic.")
        .example("{\"name\": \"AUDIT\", \"replicas\": 3}"),
    Setting::new("cluster_id", Kind::Obsolete("NATS Streaming had clusters with names, JetStream has not"), "Was the cluster of NATS Streaming."),
    Setting::new("choria", Kind::Bool, "Whether the servers are those of the Choria network, and this is who `choria_config` says: with its server token, which needs the `streams` permission, and its seed, or with its certificate.")
        .default("false")
        .example("true"),
    Setting::new("user", Kind::Text, "The user to be, with `password_file`.").example("\"aaa\""),
    Setting::new("password_file", Kind::Path, "The file with that user's password.").example("\"/etc/aaa/nats.password\""),
    Setting::new("token_file", Kind::Path, "The file with a token, where the server wants one.").example("\"/etc/aaa/nats.token\""),
    Setting::new("nkey_file", Kind::Path, "The file with the seed of a user nkey (`SU…`).").example("\"/etc/aaa/nats.nk\""),
    Setting::new("credentials", Kind::Path, "A credentials file, as `nsc` writes it.").example("\"/etc/aaa/nats.creds\""),
    Setting::new("tls_ca", Kind::Path, "Certificates in PEM that the server's must be issued by; those of the system when absent. With it, or a certificate, TLS is required.")
        .example("\"/etc/aaa/nats-ca.crt\""),
    Setting::new("tls_certificate", Kind::Path, "The certificate to show to the server, in PEM.").example("\"/etc/aaa/nats.crt\""),
    Setting::new("tls_key", Kind::Path, "The private key of `tls_certificate`, in PEM.").example("\"/etc/aaa/nats.key\""),
    Setting::new("spool_dir", Kind::Path, "Where records wait, on disk, while the stream does not take them. Without it nothing is signed in that time. Each service needs its own.")
        .example("\"/var/lib/aaa/spool\""),
    Setting::new("spool_max_bytes", Kind::Integer { min: 1 << 20, max: i64::MAX }, "How much the spool may hold, in bytes. When it is full nothing is signed.")
        .default("1073741824")
        .example("10737418240"),
    Setting::new("format", Kind::OneOf(Format::NAMES), "How a record is written: see `logfile_auditor`.")
        .default("signature_audit")
        .example("\"choria\""),
    Setting::new("request_encoding", Kind::OneOf(RequestEncoding::NAMES), "How `signature_audit` holds the request: see `logfile_auditor`.")
        .default("string")
        .example("\"object\""),
    Setting::new("chain_key", Kind::Path, "The key of the codes in records of the format `v2`: see `logfile_auditor`.")
        .example("\"/etc/aaa/audit.key\""),
    Setting::new("redact", Kind::Map, "Inputs that records of the format `v2` do not show: see `logfile_auditor`.")
        .example("{\"*.*.password\": \"drop\"}"),
    Setting::new("instance", Kind::Text, "The name of this service in records of the format `v2`: see `logfile_auditor`.")
        .example("\"signer-1\""),
    Setting::new("delivery", Kind::OneOf(&["required", "best_effort"]), "Whether a request whose record is kept neither in the stream nor in the spool is refused.")
        .default("required")
        .example("\"best_effort\""),
    Setting::new("timeout", Kind::Duration, "How long it may take until a record is kept, in the stream or in the spool.")
        .default("5s")
        .example("\"2s\""),
    Setting::new("ack_timeout", Kind::Duration, "How long the stream may take to acknowledge a record before it goes to the spool.")
        .default("1s")
        .example("\"300ms\""),
];

/// The section `stream` in it.
pub static STREAM: &[Setting] = &[
    Setting::new("name", Kind::Text, "Its name.").example("\"AUDIT\""),
    Setting::new("create", Kind::Bool, "Whether it is made when it is not there.").default("true").example("false"),
    Setting::new("replicas", Kind::Integer { min: 1, max: 5 }, "How many servers keep a copy. With one, an acknowledged record can be lost with its disk.")
        .default("1")
        .example("3"),
    Setting::new("max_age", Kind::Duration, "How long records stay; for ever when absent.").example("\"8760h\""),
    Setting::new("max_bytes", Kind::Integer { min: 1 << 20, max: i64::MAX }, "How much it holds, in bytes; without limit when absent. A full stream takes no more: it never drops what it has.")
        .example("107374182400"),
];

/// Ways to log in to a server.
const WAYS: [&str; 4] = ["user", "token_file", "nkey_file", "credentials"];

/// What a section comes to.
pub(super) enum Built {
    /// The sink in the auditor, to be started.
    Sink(Arc<StreamSink>),
    /// Whom to ask, as a configuration that is only checked makes and reaches nothing.
    Checked(Probe),
}

/// Reads a section: the auditor, and what is to be done with it. What is wrong goes to the document.
pub(super) fn build(
    section: &Section<'_>,
    given: &Given<'_>,
    delivery: Delivery,
    on_health: Health,
) -> Option<(Auditor, Built)> {
    let topic = section.required_string("topic");
    let shown = topic.as_deref().unwrap_or_default();
    let connection = connection(
        section,
        given.document,
        given.now,
        format!("aaa {} {shown}", given.site),
    );
    let stream = wanted(section, shown.to_owned());
    let scribe = scribe(section);
    let seconds = |key: &str, default| {
        section
            .duration(key)
            .unwrap_or(Duration::from_secs(default))
    };
    let (timeout, ack_timeout) = (seconds("timeout", 5), seconds("ack_timeout", 1));
    if ack_timeout.is_zero() || ack_timeout >= timeout {
        section.problem(
            "ack_timeout",
            "must be more than nothing, and less than timeout",
        );
    }
    let spool = spool(section, delivery, given.checking);
    let (_, connection, scribe) = (topic?, connection?, scribe?);
    let auditor = |sink| Auditor::new(sink, delivery, timeout).heard_by(on_health);
    if given.checking {
        let checked = Built::Checked(probe(connection, stream));
        return Some((auditor(Arc::new(LogSink)), checked));
    }
    let options = StreamOptions {
        site: given.site.to_owned(),
        connection,
        stream,
        spool,
        ack_timeout,
    };
    let sink = Arc::new(StreamSink::new(options, scribe));
    let auditor = auditor(Arc::clone(&sink) as Arc<dyn Sink>);
    Some((auditor, Built::Sink(sink)))
}

/// Asks for the stream, and makes none.
fn probe(connection: Connection, stream: Wanted) -> Probe {
    let servers = connection.servers.join(", ");
    let name = stream.name.clone().unwrap_or_else(|| stream.topic.clone());
    Probe::new(Dependency::Stream, name, move || async move {
        let seen = stream.look(&connection).await?;
        Ok(Answer {
            good: format!("{servers} keeps {} in it", stream.topic),
            warnings: seen.warnings,
        })
    })
}

/// Where a section keeps its records.
pub(super) fn kept(section: &Section<'_>, document: &Document, now: Timestamp) -> Option<Kept> {
    let topic = section.string("topic").unwrap_or_default();
    let name = wanted(section, topic.clone()).name;
    Some(Kept::Stream {
        connection: connection(section, document, now, "aaa audit".to_owned())?,
        name,
        topic,
    })
}

/// How the server is reached, under a name that it lists.
fn connection(
    section: &Section<'_>,
    document: &Document,
    now: Timestamp,
    name: String,
) -> Option<Connection> {
    if section.boolean("choria") {
        return choria_connection(section, document, now, name);
    }
    section.require("servers");
    let servers = servers(section);
    let (login, tls) = (login(section), tls(section));
    Some(Connection {
        servers,
        login: login?,
        tls: tls?,
        name,
        ..Connection::default()
    })
}

/// The same, as whoever the Choria configuration says.
fn choria_connection(
    section: &Section<'_>,
    document: &Document,
    now: Timestamp,
    name: String,
) -> Option<Connection> {
    let own = WAYS
        .into_iter()
        .chain(["password_file", "tls_ca", "tls_certificate", "tls_key"]);
    for setting in own.filter(|setting| section.has(setting)) {
        section.problem(
            setting,
            "choria is on: who this is comes from choria_config",
        );
    }
    if !document.top().has("choria_config") {
        section.problem("choria", "needs choria_config, which says who this is");
    }
    if !section.has("stream") {
        section.problem(
            "stream",
            "missing; the name of a stream is needed where choria is on",
        );
    }
    let config = choria::config(document)?;
    let network = Network::read(document, &config, Right::Streams, now)?;
    let mut connection = network.connection(name);
    if section.has("servers") {
        connection.servers = servers(section);
    }
    Some(connection)
}

fn servers(section: &Section<'_>) -> Vec<String> {
    let servers = section.list("servers");
    for problem in servers
        .iter()
        .filter_map(|server| check_server(server).err())
    {
        section.problem("servers", problem);
    }
    servers
}

fn wanted(section: &Section<'_>, topic: String) -> Wanted {
    let Some(stream) = section.section("stream", STREAM) else {
        return Wanted {
            topic,
            ..Wanted::default()
        };
    };
    let creation = Creation {
        replicas: stream
            .integer("replicas")
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(1),
        max_age: stream.duration("max_age").unwrap_or_default(),
        max_bytes: stream.integer("max_bytes").unwrap_or(-1),
    };
    Wanted {
        name: stream.required_string("name"),
        topic,
        create: stream.boolean("create").then_some(creation),
    }
}

/// The one way to log in that is configured.
fn login(section: &Section<'_>) -> Option<Login> {
    let chosen: Vec<&str> = WAYS.into_iter().filter(|way| section.has(way)).collect();
    if let [_, second, ..] = chosen.as_slice() {
        let text = format!(
            "there is {} already; a server is told one thing",
            chosen.join(" and ")
        );
        section.problem(second, text);
        return None;
    }
    if section.has("password_file") && !section.has("user") {
        section.problem(
            "user",
            "missing; password_file is the password of this user",
        );
        return None;
    }
    match chosen.first() {
        None => Some(Login::Anonymous),
        Some(&"user") => {
            section.require("password_file");
            Some(Login::Password(
                section.string("user")?,
                secret(section, "password_file")?,
            ))
        }
        Some(&"token_file") => secret(section, "token_file").map(Login::Token),
        Some(&"nkey_file") => secret(section, "nkey_file").map(Login::Nkey),
        Some(_) => secret(section, "credentials").map(Login::Credentials),
    }
}

/// The content of a file, without the line end that editors leave.
fn secret(section: &Section<'_>, key: &str) -> Option<Secret<String>> {
    let content = section.secret_file(key, "a secret for the NATS server")?;
    let Some(text) = content.text() else {
        section.problem(key, "is no text");
        return None;
    };
    Some(Secret::new(text.trim_end().to_owned()))
}

fn tls(section: &Section<'_>) -> Option<Tls> {
    let ca = section.file("tls_ca", "certificates in PEM");
    let certificate = section.file("tls_certificate", "a certificate in PEM");
    let key = section.secret_file("tls_key", "a private key in PEM");
    for (one, other, text) in [
        (
            "tls_certificate",
            "tls_key",
            "missing; it is the key of tls_certificate",
        ),
        (
            "tls_key",
            "tls_certificate",
            "missing; tls_key belongs to it",
        ),
    ] {
        if section.has(one) && !section.has(other) {
            section.problem(other, text);
            return None;
        }
    }
    let identity = certificate.zip(key).map(|(certificate, key)| Identity {
        certificates: certificate.bytes().to_vec(),
        key: key.bytes().to_vec().into(),
    });
    if ca.is_none() && identity.is_none() {
        return Some(Tls::Usual);
    }
    let config = |identity, setting| {
        let authorities = |ca: &FileContent| Trust::Authorities(ca.bytes().to_vec());
        let trust = ca.as_ref().map_or(Trust::System, authorities);
        client_config(trust, identity)
            .map_err(|error| section.problem(setting, error.to_string()))
            .ok()
    };
    // Alone first, so that it is known whose fault it is.
    config(None, "tls_ca")?;
    let config = config(identity, "tls_certificate")?;
    Some(Tls::Given(Box::new(config)))
}

fn spool(section: &Section<'_>, delivery: Delivery, checking: bool) -> Option<Spool> {
    let Some(directory) = section.path("spool_dir") else {
        if delivery == Delivery::Required {
            section.warn(
                "spool_dir",
                "missing: while the stream does not take records, nothing is signed",
            );
        }
        return None;
    };
    let bytes = section
        .integer("spool_max_bytes")
        .and_then(|n| u64::try_from(n).ok());
    let opened = if checking {
        Spool::probe(&directory).map(|()| None)
    } else {
        Spool::open(&directory, bytes.unwrap_or(1 << 30)).map(Some)
    };
    match opened {
        Ok(opened) => {
            let (spool, opened) = opened?;
            tell(section, &opened);
            Some(spool)
        }
        Err(error) => {
            section.problem("spool_dir", format!("{}: {error}", directory.display()));
            None
        }
    }
}

fn tell(section: &Section<'_>, opened: &Opened) {
    if opened.records > 0 {
        tracing::info!(records = opened.records, "records wait in the audit spool");
    }
    for (path, bytes) in &opened.damaged {
        let text = format!(
            "{bytes} bytes that are no record are kept aside in {}",
            path.display()
        );
        section.warn("spool_dir", text);
    }
}
