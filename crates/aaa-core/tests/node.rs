//! What a node that trusts a CA obeys, and what not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use aaa_core::caller::CallerId;
use aaa_core::claims::ClientPermissions;
use aaa_core::key::{Ed25519Key, SigningKey};
use aaa_core::request::Request;
use aaa_core::secure_request::{NodeTrust, NotAccepted, RequestSigner};
use aaa_core::token::{Grant, Minter};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

/// Somebody with a token of an organization issuer.
struct Bearer {
    key: Ed25519Key,
    token: String,
}

fn bearer(issuer: &Ed25519Key, caller: &str, ou: &str, rights: ClientPermissions) -> Bearer {
    let key = Ed25519Key::generate().unwrap();
    let grant = Grant {
        caller: caller.to_owned(),
        organization: ou.to_owned(),
        permissions: Some(rights),
        public_key: Some(key.public()),
        validity: std::time::Duration::from_hours(1),
        ..Grant::default()
    };
    let token = Minter::organization(issuer.clone())
        .client(grant, at(0))
        .unwrap();
    Bearer { key, token }
}

fn rights(change: impl FnOnce(&mut ClientPermissions)) -> ClientPermissions {
    let mut rights = ClientPermissions::default();
    change(&mut rights);
    rights
}

/// A secure request of v2 in this name, signed by one, with tokens beside it.
fn published(name: &str, by: &Bearer, caller: &str, signer: Option<&str>) -> Vec<u8> {
    let body = STANDARD.encode(r#"{"agent":"puppet","action":"status","data":{}}"#);
    let request = format!(
        r#"{{"protocol":"io.choria.protocol.v2.request","message":"{body}","id":"1","sender":"dev1","caller":"{name}",
           "collective":"choria","agent":"puppet","ttl":60,"time":{NOW}000000000,"filter":{{}}}}"#
    );
    let mut secure = serde_json::json!({
        "protocol": "io.choria.protocol.v2.secure_request", "request": STANDARD.encode(&request),
        "signature": STANDARD.encode(by.key.sign(request.as_bytes())), "caller": caller
    });
    if let Some(signer) = signer {
        secure["signer"] = signer.into();
    }
    secure.to_string().into_bytes()
}

#[test]
fn a_delegator_signs_for_whom_may_manage_the_fleet() {
    let issuer = Ed25519Key::generate().unwrap();
    let trust = NodeTrust {
        issuer: Some(issuer.public()),
        ..NodeTrust::default()
    };
    let delegator = rights(|rights| rights.authentication_delegator = true);
    let signer = bearer(&issuer, "aaa=signer", "choria", delegator);
    let check = |token: &str| {
        let secure = published("up=bob", &signer, token, Some(&signer.token));
        trust.check(&secure, at(0))
    };
    for may in [
        rights(|rights| rights.fleet_management = true),
        rights(|rights| rights.signed_fleet_management = true),
    ] {
        let accepted = check(&bearer(&issuer, "up=x", "choria", may).token).unwrap();
        assert_eq!(
            (accepted.caller.as_str(), accepted.signer.as_str()),
            ("up=bob", "aaa=signer")
        );
    }
    let may_not = bearer(&issuer, "up=bob", "choria", rights(|_| ()));
    assert_eq!(
        check(&may_not.token).unwrap_err(),
        NotAccepted::Permission("caller", "fleet_management")
    );
    // As the signer answers, before the client has put its own token there.
    let refused = check(&signer.token).unwrap_err();
    assert_eq!(refused, NotAccepted::NoCaller);
    assert!(
        refused.to_string().contains("put your own into \"caller\""),
        "{refused}"
    );
    let secure = published("up=bob", &may_not, &may_not.token, Some(&may_not.token));
    assert_eq!(
        trust.check(&secure, at(0)).unwrap_err(),
        NotAccepted::Permission("signer", "authentication_delegator")
    );
}

#[test]
fn who_may_manage_the_fleet_signs_in_their_own_name() {
    let issuer = Ed25519Key::generate().unwrap();
    let trust = NodeTrust {
        issuer: Some(issuer.public()),
        ..NodeTrust::default()
    };
    let bob = |may| bearer(&issuer, "up=bob", "choria", may);
    let fleet = bob(rights(|rights| rights.fleet_management = true));
    for signer in [None, Some("")] {
        let secure = published("up=bob", &fleet, &fleet.token, signer);
        let accepted = trust.check(&secure, at(0)).unwrap();
        assert_eq!(
            (accepted.caller.as_str(), accepted.signer.as_str()),
            ("up=bob", "up=bob")
        );
    }
    let refused = |by: &Bearer, name: &str, token: &str| {
        let secure = published(name, by, token, None);
        trust.check(&secure, at(0)).unwrap_err()
    };
    assert_eq!(
        refused(&fleet, "up=eve", &fleet.token),
        NotAccepted::AnotherName("up=eve".to_owned())
    );
    let plain = bob(rights(|_| ()));
    assert_eq!(
        refused(&plain, "up=bob", &plain.token),
        NotAccepted::Permission("caller", "fleet_management")
    );
    let signed = bob(rights(|rights| {
        rights.fleet_management = true;
        rights.signed_fleet_management = true;
    }));
    assert_eq!(
        refused(&signed, "up=bob", &signed.token),
        NotAccepted::NotDelegated
    );
    assert_eq!(
        refused(&plain, "up=bob", &fleet.token),
        NotAccepted::Signature("caller")
    );
}

#[test]
fn the_organization_of_who_signed_chooses_the_issuer() {
    let issuers = [(); 2].map(|()| Ed25519Key::generate().unwrap());
    let trust = NodeTrust {
        organizations: [("choria", &issuers[0]), ("acme", &issuers[1])]
            .map(|(name, issuer)| (name.to_owned(), issuer.public()))
            .into(),
        ..NodeTrust::default()
    };
    let check = |issuer: &Ed25519Key, ou: &str| {
        let may = rights(|rights| rights.fleet_management = true);
        let bob = bearer(issuer, "up=bob", ou, may);
        trust.check(&published("up=bob", &bob, &bob.token, None), at(0))
    };
    check(&issuers[0], "choria").unwrap();
    check(&issuers[1], "acme").unwrap();
    assert!(matches!(
        check(&issuers[1], "choria").unwrap_err(),
        NotAccepted::Token { who: "caller", .. }
    ));
    assert_eq!(
        check(&issuers[0], "other").unwrap_err(),
        NotAccepted::Organization("other".to_owned())
    );
}
