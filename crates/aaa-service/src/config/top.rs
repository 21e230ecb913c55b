//! The settings at the top of the file: those that existing sites have, and our own.

use super::{Kind, Setting};

/// Every key at the top of the file, of login and signer alike.
pub static TOP: &[Setting] = &[
    Setting::new(
        "site",
        Kind::Text,
        "The name of this site, in metrics, audit records and as `input.site` of policies.",
    )
    .default("default")
    .example("\"london\""),
    Setting::new(
        "port",
        Kind::Port,
        "The port that clients connect to, on all addresses. See `listen` for one address only.",
    )
    .example("8443"),
    Setting::new(
        "listen",
        Kind::Text,
        "The address and port that clients connect to; takes the place of `port`. `--listen` overrides it.",
    )
    .example("\"10.1.2.3:8443\""),
    Setting::new(
        "monitor_port",
        Kind::Port,
        "The port of `/metrics`, `/healthz/live` and `/healthz/ready`, plain HTTP on all addresses.",
    )
    .example("8081"),
    Setting::new(
        "admin_listen",
        Kind::Text,
        "The address and port of metrics and health; takes the place of `monitor_port`. `--admin-listen` overrides it.",
    )
    .example("\"127.0.0.1:8081\""),
    Setting::new(
        "tls_certificate",
        Kind::Path,
        "The certificate that clients see, in PEM, with its chain. Followed: a changed file is taken without a restart.",
    )
    .example("\"/etc/aaa/tls.crt\""),
    Setting::new(
        "tls_key",
        Kind::Path,
        "The private key of `tls_certificate`, in PEM. Followed like it.",
    )
    .example("\"/etc/aaa/tls.key\""),
    Setting::new(
        "tls_ca",
        Kind::Path,
        "Certificates in PEM. When set, a client must show a certificate issued by one of them (see `tls_client_certificate`). Followed.",
    )
    .example("\"/etc/aaa/ca.crt\""),
    Setting::new(
        "tls_crl",
        Kind::Words,
        "Files with lists of revoked certificates in PEM. When set, each issuer of a client's certificate must have a list, and one that has not ended. Followed.",
    )
    .example("[\"/etc/aaa/ca_crl.pem\"]"),
    Setting::new(
        "tls_client_certificate",
        Kind::OneOf(&["required", "optional"]),
        "Whether clients can connect without a certificate where `tls_ca` is set. One that they show must be good either way.",
    )
    .default("required")
    .example("\"optional\""),
    Setting::new(
        "trusted_proxies",
        Kind::Words,
        "Networks of proxies, load balancers and ingresses that are believed when they say in `X-Forwarded-For` whom they speak for. Nobody is when absent.",
    )
    .example("[\"10.1.2.0/24\"]"),
    Setting::new(
        "logfile",
        Kind::Path,
        "Where the log goes instead of standard error. Reopened on SIGHUP.",
    )
    .example("\"/var/log/aaa/aaa.log\""),
    Setting::new(
        "loglevel",
        Kind::OneOf(&["debug", "info", "warn", "error", "fatal"]),
        "The least important lines that are logged.",
    )
    .default("info")
    .example("\"warn\""),
    Setting::new(
        "log_format",
        Kind::OneOf(&["auto", "json", "text"]),
        "One JSON object a line, or lines for people; `auto` is text on a terminal and JSON everywhere else.",
    )
    .default("auto")
    .example("\"json\""),
    Setting::new(
        "telemetry",
        Kind::Section,
        "OpenTelemetry traces; off unless `otlp_endpoint` is set.",
    )
    .example("{\"otlp_endpoint\": \"http://127.0.0.1:4317\"}"),
    Setting::new(
        "max_connections",
        Kind::Integer {
            min: 1,
            max: 1_000_000,
        },
        "How many clients are connected at most. More wait in the system's queue.",
    )
    .default("2048")
    .example("10000"),
    Setting::new(
        "header_timeout",
        Kind::Duration,
        "How long a client may take for its TLS handshake, and for the head of a request.",
    )
    .default("10s")
    .example("\"5s\""),
    Setting::new(
        "body_timeout",
        Kind::Duration,
        "How long a client may take to send the body of a request.",
    )
    .default("10s")
    .example("\"5s\""),
    Setting::new(
        "idle_timeout",
        Kind::Duration,
        "How long a connection without requests is kept open. Longer than that of a load balancer in front.",
    )
    .default("90s")
    .example("\"5m\""),
    Setting::new(
        "drain_timeout",
        Kind::Duration,
        "How long requests in flight may take to finish once the service is told to stop.",
    )
    .default("10s")
    .example("\"30s\""),
    Setting::new(
        "choria_config",
        Kind::Path,
        "A configuration file of Choria, for what connects to its network.",
    )
    .example("\"/etc/choria/client.conf\""),
    Setting::new(
        "authenticator",
        Kind::Words,
        "Who says who somebody is: `certificate`, `userlist`, `okta`. Of several each is asked in turn, until one knows the user.",
    )
    .example("\"userlist\""),
    Setting::new(
        "certificate_authenticator",
        Kind::Section,
        "Holders of certificates by `tls_ca`.",
    )
    .example("{\"validity\": \"1h\", \"rights\": [{\"certnames\": \"/\\\\.mcollective$/\", \"acls\": [\"puppet.*\"]}]}"),
    Setting::new(
        "userlist_authenticator",
        Kind::Section,
        "Users and passwords in the configuration or in a file.",
    )
    .example("{\"validity\": \"1h\", \"users_file\": \"/etc/aaa/users.json\"}"),
    Setting::new(
        "okta_authenticator",
        Kind::Section,
        "Users and groups of an Okta tenant.",
    )
    .example("{\"endpoint\": \"https://example.okta.com\", \"client_id\": \"0oa1gjh63g214q0Hq0g4\", \"acls\": {\"Operations\": [\"puppet.*\"]}}"),
    Setting::new(
        "login_throttle",
        Kind::Section,
        "How failed logins hold back the next ones, by name and by address.",
    )
    .example("{\"account_attempts\": 10}"),
    Setting::new(
        "signer",
        Kind::Text,
        "How requests are checked and signed: `basicjwt`.",
    )
    .example("\"basicjwt\""),
    Setting::new(
        "basicjwt_signer",
        Kind::Section,
        "Whose tokens are good, and what signs.",
    )
    .example("{\"max_validity\": \"2h\", \"signing_certificate\": \"/etc/aaa/issuer.public\"}"),
    Setting::new(
        "authorizer",
        Kind::Words,
        "What decides whether a caller may do a thing: `actionlist`, `opa`, `actionpolicy`. Of several all must allow.",
    )
    .example("\"opa\""),
    Setting::new(
        "guards",
        Kind::Section,
        "Rules that hold for every request before an authorizer is asked. They only take away.",
    )
    .example("{\"require_filter\": [\"puppet.disable\"], \"deny_agents\": [\"shell\"]}"),
    Setting::new(
        "tasks",
        Kind::Sections,
        "Rules about the inputs of Puppet Tasks, which hold whoever runs one.",
    )
    .example("[{\"task\": \"puppet_conf\", \"environments\": [\"production\"]}]"),
    Setting::new(
        "actionpolicy_authorizer",
        Kind::Section,
        "Where the rules of `actionpolicy` are.",
    )
    .example("{\"policies\": [\"/etc/aaa/policies\"]}"),
    Setting::new(
        "opa_authorizer",
        Kind::Section,
        "Rego of the site, which `opa` asks for every request beside the policy in its token.",
    )
    .example("{\"site_policies\": \"/etc/aaa/rego\"}"),
    Setting::new(
        "auditors",
        Kind::Words,
        "Where decisions are put on record: `logfile`, `jetstream`.",
    )
    .example("[\"logfile\"]"),
    Setting::new(
        "logfile_auditor",
        Kind::Section,
        "Records in a file, one a line.",
    )
    .example("{\"logfile\": \"/var/log/aaa/audit.log\"}"),
    Setting::new(
        "jetstream_auditor",
        Kind::Section,
        "Records in a NATS JetStream stream.",
    )
    .example("{\"servers\": \"nats://a:4222,nats://b:4222\", \"topic\": \"audit\"}"),
    Setting::new(
        "natsstream_auditor",
        Kind::Section,
        "Records in NATS Streaming, a server that no longer exists.",
    )
    .example("{\"servers\": \"nats://a:4222\", \"topic\": \"audit\"}"),
];

/// The `telemetry` section.
pub static TELEMETRY: &[Setting] = &[
    Setting::new(
        "otlp_endpoint",
        Kind::Text,
        "Where traces are sent: an OTLP collector, over gRPC.",
    )
    .example("\"http://127.0.0.1:4317\""),
    Setting::new(
        "service_name",
        Kind::Text,
        "The `service.name` of the traces. The program's name when absent.",
    )
    .example("\"aaa-signer-london\""),
    Setting::new(
        "sample_ratio",
        Kind::Ratio,
        "The part of requests that are traced, from 0 to 1. A caller's `traceparent` decides for its own requests.",
    )
    .default("1")
    .example("0.01"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Document;

    #[test]
    fn every_example_is_json_and_every_default_reads() {
        for table in [TOP, TELEMETRY] {
            for setting in table {
                let example: serde_json::Value = serde_json::from_str(setting.example)
                    .unwrap_or_else(|e| panic!("example of {}: {e}", setting.key));
                assert!(
                    !example.is_null() && !setting.doc.is_empty(),
                    "{}",
                    setting.key
                );
            }
        }
        let document = Document::parse("a.json", b"{}").unwrap();
        let top = document.top();
        for setting in TOP.iter().filter(|setting| setting.default.is_some()) {
            match setting.kind {
                Kind::Duration => assert!(top.duration(setting.key).is_some()),
                Kind::Integer { .. } => assert!(top.integer(setting.key).is_some()),
                _ => assert!(top.string(setting.key).is_some()),
            }
        }
        document.finish().unwrap();
    }

    #[test]
    fn the_file_of_an_existing_site_reads() {
        let document = Document::parse(
            "config.json",
            br#"{
                "choria_config": "/dev/null", "logfile": "", "loglevel": "info", "site": "london", "port": "443",
                "monitor_port": 8081, "tls_certificate": "/etc/aaasvc/ssl/https.pem", "tls_key": "/etc/aaasvc/ssl/https.key",
                "tls_ca": "/etc/aaasvc/ssl/https-ca.pem", "authenticator": "userlist", "authorizer": "opa",
                "auditors": ["logfile", "natsstream"], "signer": "basicjwt",
                "userlist_authenticator": {"anything": 1}, "okta_authenticator": {}, "basicjwt_signer": {},
                "logfile_auditor": {}, "natsstream_auditor": {"cluster_id": "x"}, "jetstream_auditor": {}
            }"#,
        )
        .unwrap();
        let top = document.top();
        assert_eq!(
            (top.port("port"), top.port("monitor_port")),
            (Some(443), Some(8081))
        );
        assert_eq!(top.path("logfile"), None);
        assert_eq!(top.list("authorizer"), ["opa"]);
        assert_eq!(top.list("auditors"), ["logfile", "natsstream"]);
        document.finish().unwrap();
        assert_eq!(document.problems().warnings(), []);
    }
}
