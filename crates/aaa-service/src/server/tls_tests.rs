use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

use super::*;

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        files.write_pair(&KeyPair::generate().unwrap());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn write_pair(&self, key: &KeyPair) {
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(key)
            .unwrap();
        self.write("tls.crt", &certificate.pem());
        self.write("tls.key", &key.serialize_pem());
    }

    fn tls_files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("tls.crt"),
            key: self.path("tls.key"),
            clients: None,
        }
    }

    /// What is wrong with them, a line each, without the directory.
    fn problems(&self) -> String {
        let mut found = Problems::new("a.json");
        let loaded = Tls::load(self.tls_files(), &mut found);
        assert_eq!(loaded.is_none(), !found.is_empty());
        let text = found.to_string();
        text.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

#[test]
fn a_pair_that_belongs_together_is_taken() {
    let files = Files::new();
    assert_eq!(files.problems(), "a.json: 0 problems");
    files.write_pair(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
    assert_eq!(files.problems(), "a.json: 0 problems");
}

#[test]
fn a_key_of_another_certificate_is_named_with_both_keys() {
    let files = Files::new();
    let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    files.write("tls.key", &other.serialize_pem());
    let problems = files.problems();
    let wanted =
        "a.json: 1 problem\n  tls_key   does not belong to tls_certificate (certificate: EC 256 …";
    assert!(problems.starts_with(wanted), "{problems}");
    assert!(problems.contains(", key: Ed25519 …"), "{problems}");
    let same_kind = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    files.write("tls.key", &same_kind.serialize_pem());
    assert!(files.problems().contains("key: EC 256 …"));
}

#[test]
fn all_that_is_wrong_with_the_files_is_said_at_once() {
    let files = Files::new();
    files.write("tls.crt", "nothing here");
    files.write(
        "tls.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert_eq!(
        files.problems(),
        "a.json: 2 problems\n  \
         tls_certificate   tls.crt: holds no certificate; wants a certificate in PEM, with its chain\n  \
         tls_key           tls.key: is encrypted; wants a key without a passphrase"
    );
    let certificate = Files::new();
    std::fs::copy(certificate.path("tls.crt"), files.path("tls.key")).unwrap();
    files.write(
        "tls.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    assert_eq!(
        files.problems(),
        "a.json: 2 problems\n  \
         tls_certificate   tls.crt: certificate 1 of it is malformed; wants a certificate in PEM, with its chain\n  \
         tls_key           tls.key: holds no private key; wants the private key of tls_certificate in PEM"
    );
    std::fs::remove_file(files.path("tls.crt")).unwrap();
    std::fs::remove_file(files.path("tls.key")).unwrap();
    assert_eq!(
        files.problems(),
        "a.json: 2 problems\n  \
         tls_certificate   tls.crt: no such file; wants a certificate in PEM, with its chain\n  \
         tls_key           tls.key: no such file; wants the private key of tls_certificate in PEM"
    );
}

#[test]
fn a_key_that_everybody_can_read_is_warned_of() {
    let files = Files::new();
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(files.path("tls.key"), mode).unwrap();
    let mut found = Problems::new("a.json");
    assert!(Tls::load(files.tls_files(), &mut found).is_some());
    let warning = &found.warnings()[0];
    assert_eq!(warning.key, "tls_key");
    assert!(
        warning
            .text
            .ends_with("can be read by everybody (mode 0644); make it 0600")
    );
}

#[test]
fn a_bad_new_pair_leaves_the_old_one() {
    let files = Files::new();
    let tls = Tls::load(files.tls_files(), &mut Problems::default()).unwrap();
    let first = Arc::as_ptr(&tls.current().config);
    files.write("tls.key", &KeyPair::generate().unwrap().serialize_pem());
    let problems = tls.reload().unwrap_err();
    assert!(problems.errors()[0].text.starts_with("does not belong"));
    assert_eq!(Arc::as_ptr(&tls.current().config), first);
    files.write_pair(&KeyPair::generate().unwrap());
    tls.reload().unwrap();
    assert_ne!(Arc::as_ptr(&tls.current().config), first);
}

#[test]
fn missing_settings_are_required() {
    let document = Document::parse("a.json", br#"{"tls_key": "x"}"#).unwrap();
    assert!(TlsFiles::read(&document).is_none());
    assert_eq!(
        document.finish().unwrap_err().to_string(),
        "a.json: 1 problem\n  tls_certificate   required; or say --disable-tls behind a proxy that does TLS"
    );
}

#[test]
fn sessions_are_not_resumed_where_clients_show_certificates() {
    let files = Files::new();
    let mut with_ca = files.tls_files();
    let config = format!("{{\"tls_ca\": \"{}\"}}", files.path("tls.crt").display());
    let document = Document::parse("a.json", config.as_bytes()).unwrap();
    with_ca.clients = ClientFiles::read(&document.top());
    let tls = Tls::load(with_ca, &mut Problems::default()).unwrap();
    assert_eq!(tls.current().config.send_tls13_tickets, 0);
    assert!(!tls.current().config.session_storage.can_cache());
    assert_eq!(
        tls.current().config.alpn_protocols,
        [b"h2".to_vec(), b"http/1.1".to_vec()]
    );
}
