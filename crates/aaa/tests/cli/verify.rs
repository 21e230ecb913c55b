//! `aaa verify` of v1: certificates.

use aaa_core::caller::CallerId;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::SigningKey;
use aaa_core::request::Request;
use aaa_core::secure_request::RequestSigner;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::json;

use super::support::Home;

/// A v1 secure request by the holder of a certificate with this name, and the authority's certificate.
fn secure(name: &str) -> (String, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::from_params(&params, &authority_key);
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    let SigningKey::Rsa(key) = SigningKey::parse(key.serialize_pem().as_bytes()).unwrap() else {
        panic!("not RSA");
    };
    let request = json!({
        "protocol": "choria:request:1",
        "message": json!({"agent": "rpcutil", "action": "ping", "data": {}}).to_string(),
        "envelope": {
            "requestid": "06f6e517b5f340fa99e03fdba053bc00", "senderid": "dev1.example.net", "callerid": "up=x",
            "collective": "mcollective", "agent": "rpcutil", "ttl": 60, "time": SystemClock.now().as_second(), "filter": {},
        },
    });
    let request = Request::parse(request.to_string().as_bytes()).unwrap();
    let signer = RequestSigner::Certificate {
        key,
        pem: certificate.pem(),
    };
    let secure = signer
        .sign(&request.with_caller(&CallerId::new("up=alice")))
        .unwrap();
    (String::from_utf8(secure).unwrap(), authority.pem())
}

#[test]
fn a_privileged_certificate_may_speak_for_others() {
    let home = Home::new();
    let (request, authority) = secure("signer.privileged.mcollective");
    home.write("ca.pem", &authority);
    home.write("secure.json", &request);
    let run = home
        .aaa(&["verify", "--ca", "ca.pem", "secure.json"])
        .ends(0);
    assert!(
        run.stdout
            .starts_with("certificate ok · signer.privileged.mcollective · caller up=alice · "),
        "{}",
        run.stdout
    );
    // The same from the configuration of the client.
    home.write(".choriarc", "plugin.security.file.ca = ~/ca.pem\n");
    home.aaa(&["verify", "secure.json"]).ends(0);
    let (_, other) = secure("signer.privileged.mcollective");
    home.write("other.pem", &other);
    home.aaa(&["verify", "--ca", "other.pem", "secure.json"])
        .ends(1)
        .without_data()
        .says("not one of the CA's");
    home.aaa(&["verify", "--ca", "secure.json", "secure.json"])
        .ends(64)
        .says("holds no certificate");
    home.aaa(&["verify", "--issuer", &"ab".repeat(32), "secure.json"])
        .ends(64)
        .says("--ca FILE for v1");
}

#[test]
fn another_certificate_may_not() {
    let home = Home::new();
    let (request, authority) = secure("bob.mcollective");
    home.write("ca.pem", &authority);
    home.aaa_with(&["verify", "--ca", "ca.pem"], request)
        .ends(1)
        .without_data()
        .says("may not speak for others");
}
