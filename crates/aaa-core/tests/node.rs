//! What a node that trusts a CA obeys, and what not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use aaa_core::caller::CallerId;
use aaa_core::key::SigningKey;
use aaa_core::request::Request;
use aaa_core::secure_request::{NodeTrust, NotAccepted, RequestSigner};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PKCS_RSA_SHA256,
};

const NOW: i64 = 1_795_351_244;

fn rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap()
}

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, rsa_key()).unwrap())
    }

    fn trust(&self) -> NodeTrust {
        NodeTrust {
            authorities: vec![self.0.der().clone()],
            ..NodeTrust::default()
        }
    }

    /// A signer whose certificate has this common name, and this DNS name.
    fn signer(&self, common_name: &str, dns: &str) -> RequestSigner {
        let key = rsa_key();
        let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let SigningKey::Rsa(key) = SigningKey::parse(key.serialize_pem().as_bytes()).unwrap()
        else {
            panic!("no RSA key");
        };
        RequestSigner::Certificate {
            key,
            pem: certificate.pem(),
        }
    }
}

fn text(caller: &str) -> String {
    let body = r#"{\"agent\":\"puppet\",\"action\":\"status\",\"data\":{}}"#;
    format!(
        r#"{{"protocol":"choria:request:1","message":"{body}","envelope":{{"requestid":"1","senderid":"dev1",
           "callerid":"{caller}","collective":"mcollective","agent":"puppet","ttl":60,"time":{NOW},"filter":{{}}}}}}"#
    )
}

fn signed(signer: &RequestSigner, caller: &str) -> Vec<u8> {
    let request = Request::parse(text("up=eve").as_bytes()).unwrap();
    signer
        .sign(&request.with_caller(&CallerId::new(caller)))
        .unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

#[test]
fn a_privileged_certificate_of_the_ca_speaks_for_anybody() {
    let ca = Ca::new();
    for name in ["aaa.privileged.mcollective", "aaa.privileged.choria"] {
        let secure = signed(&ca.signer(name, name), "up=bob");
        let accepted = ca.trust().check(&secure, at(0)).unwrap();
        assert_eq!(
            (accepted.caller.as_str(), accepted.signer.as_str()),
            ("up=bob", name)
        );
    }
}

#[test]
fn the_common_name_alone_gives_no_privilege() {
    let ca = Ca::new();
    let signer = ca.signer("aaa.privileged.mcollective", "dev1.example.net");
    assert_eq!(
        ca.trust()
            .check(&signed(&signer, "up=bob"), at(0))
            .unwrap_err(),
        NotAccepted::NotPrivileged("aaa.privileged.mcollective".into())
    );
    // Another certificate speaks for itself, under its own name.
    let own = ca.signer("bob.mcollective", "bob.mcollective");
    let bob = text("choria=bob.mcollective");
    let accepted = ca
        .trust()
        .check(&own.sign(bob.as_bytes()).unwrap(), at(0))
        .unwrap();
    assert_eq!(accepted.caller, "choria=bob.mcollective");
    let eve = text("choria=eve.mcollective");
    assert!(
        ca.trust()
            .check(&own.sign(eve.as_bytes()).unwrap(), at(0))
            .is_err()
    );
}

#[test]
fn another_ca_is_nobody() {
    let signer = Ca::new().signer("aaa.privileged.mcollective", "aaa.privileged.mcollective");
    let secure = signed(&signer, "up=bob");
    assert_eq!(
        Ca::new().trust().check(&secure, at(0)).unwrap_err(),
        NotAccepted::Certificate
    );
    assert!(matches!(
        NodeTrust::default().check(&secure, at(0)).unwrap_err(),
        NotAccepted::NothingToCheckWith(_)
    ));
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    let ca = Ca::new();
    let signer = ca.signer("aaa.privileged.mcollective", "aaa.privileged.mcollective");
    let secure = String::from_utf8(signed(&signer, "up=bob")).unwrap();
    let changed = secure.replace("status", "runall");
    assert_eq!(
        ca.trust().check(changed.as_bytes(), at(0)).unwrap_err(),
        NotAccepted::Signature("certificate")
    );
    for garbage in [
        "",
        "{}",
        "[]",
        r#"{"protocol":"choria:secure:request:1"}"#,
        r#"{"protocol":"x"}"#,
    ] {
        assert!(matches!(
            ca.trust().check(garbage.as_bytes(), at(0)).unwrap_err(),
            NotAccepted::Malformed(_)
        ));
    }
}

#[test]
fn time_and_collective_count() {
    let ca = Ca::new();
    let signer = ca.signer("aaa.privileged.mcollective", "aaa.privileged.mcollective");
    let secure = signed(&signer, "up=bob");
    assert!(ca.trust().check(&secure, at(60)).is_ok());
    assert_eq!(
        ca.trust().check(&secure, at(61)).unwrap_err(),
        NotAccepted::Expired
    );
    assert_eq!(
        ca.trust().check(&secure, at(-61)).unwrap_err(),
        NotAccepted::Expired
    );
    let elsewhere = NodeTrust {
        collectives: vec!["choria".into()],
        ..ca.trust()
    };
    assert_eq!(
        elsewhere.check(&secure, at(0)).unwrap_err(),
        NotAccepted::Collective("mcollective".into())
    );
}
