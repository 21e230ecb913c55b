//! The settings of a Choria configuration that a signer reads.

use aaa_core::choria_config::ChoriaConfig;
use aaa_service::config::{Kind, Setting, Table};

/// What is read of the file that `choria_config` names, and of `plugin.d` beside it. Examples are as they stand there.
pub static CHORIA: &Table = &[
    Setting::new("identity", Kind::Text, "The signer's name on the network.")
        .example("aaa1.example.net"),
    Setting::new(
        "collectives",
        Kind::Words,
        "The collectives to sign in, with commas between them; that of `main_collective` when absent.",
    )
    .example("mcollective,dev"),
    Setting::new("main_collective", Kind::Text, "The collective, where there is one.")
        .default("mcollective")
        .example("choria"),
    Setting::new(
        "plugin.choria.middleware_hosts",
        Kind::Words,
        "The brokers, as `host:port` with commas between them.",
    )
    .example("broker1.example.net:4222,broker2.example.net:4222"),
    Setting::new(
        "plugin.security.provider",
        Kind::OneOf(&["choria", "file"]),
        "Who the signer is: the bearer of a token (`choria`, v2), or of a certificate (`file`, v1). With `file`, the certificate also signs requests, \
         and must be a privileged one.",
    )
    .example("choria"),
    Setting::new(
        "plugin.security.choria.token_file",
        Kind::Path,
        "The server token with the right to host services, for the network.",
    )
    .example("/etc/aaa/server.jwt"),
    Setting::new(
        "plugin.security.choria.seed_file",
        Kind::Path,
        "The seed of the key that this token is bound to.",
    )
    .example("/etc/aaa/server.seed"),
    Setting::new(
        "plugin.security.choria.ca",
        Kind::Path,
        "Who vouches for the broker's certificate, in PEM. Without it that is not verified.",
    )
    .example("/etc/aaa/broker-ca.pem"),
    Setting::new(
        "plugin.security.choria.certificate",
        Kind::Path,
        "A certificate to show to the broker, in PEM, if it wants one beside the token.",
    )
    .example("/etc/aaa/aaa1.pem"),
    Setting::new(
        "plugin.security.choria.key",
        Kind::Path,
        "The key of that certificate, in PEM.",
    )
    .example("/etc/aaa/aaa1.key"),
    Setting::new(
        "plugin.security.file.certificate",
        Kind::Path,
        "The privileged certificate, in PEM.",
    )
    .example("/etc/aaa/aaa.privileged.pem"),
    Setting::new(
        "plugin.security.file.key",
        Kind::Path,
        "Its RSA key, in PEM.",
    )
    .example("/etc/aaa/aaa.privileged.key"),
    Setting::new(
        "plugin.security.file.ca",
        Kind::Path,
        "Who vouches for the broker's certificate, in PEM.",
    )
    .example("/etc/aaa/ca.pem"),
];

/// A setting, if it is there.
pub(crate) fn get<'a>(config: &'a ChoriaConfig, key: &str) -> Option<&'a str> {
    debug_assert!(
        CHORIA.iter().any(|setting| setting.key == key),
        "no setting {key} in the table"
    );
    config.get(key)
}
