//! What ends.

use aaa_testing::pki::{Authority, Issued, Wanted};
use rcgen::{CertificateParams, KeyPair};

use super::*;

#[test]
fn what_ends_is_said_in_time() {
    let home = site();
    for (name, validity) in [("login.jwt", "490h"), ("signer.jwt", "970h")] {
        let kind = if name == "login.jwt" {
            "chain-issuer"
        } else {
            "delegator"
        };
        let seed = format!("site/{}", name.replace(".jwt", ".seed"));
        home.aaa(&[
            "token",
            "issue",
            kind,
            "--issuer-seed",
            "site/issuer.seed",
            "--public-key",
            &public(&home, &seed),
            "--validity",
            validity,
            "--force",
            "-o",
            &format!("site/{name}"),
        ])
        .ends(0);
    }
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    home.write("site/tls.pem", &params.self_signed(&key).unwrap().pem());
    home.write("site/tls.key", &key.serialize_pem());
    let run = offline(&home).ends(1);
    says(
        &run,
        "expiry",
        "userlist_authenticator.signing_token",
        "warn",
        "ends in 20 d",
    );
    says(
        &run,
        "expiry",
        "basicjwt_signer.signing_token",
        "ok",
        "is good for 40 d",
    );
    says(&run, "expiry", "tls_certificate", "fail", "ago; replace it");
    assert_eq!(said(&run, "expiry", "tls_certificate").len(), 1);
}

#[test]
fn lists_and_certificates_of_auditors_end_too() {
    let home = site();
    let authority = Authority::new(&home.path("site"), "ca").unwrap();
    let ended = Wanted {
        subject: "/CN=audit",
        names: "",
        purpose: "clientAuth",
        end: "20210101000000Z",
    };
    let ended = authority.issue(&ended).unwrap();
    let other = authority.client("other").unwrap();
    home.write(
        "site/ended.crl",
        &authority.list(Some("20210101000000Z")).unwrap(),
    );
    let file = |issued: &Issued, kind: &str| issued.path.with_extension(kind);
    change(&home, |config| {
        config["tls_ca"] = json!(authority.path());
        config["tls_crl"] = json!(home.path("site/ended.crl"));
        config["auditors"] = json!(["jetstream"]);
        config["jetstream_auditor"] = json!({
            "servers": "tls://127.0.0.1:1", "topic": "audit.home", "delivery": "best_effort", "tls_ca": authority.path(),
            "tls_certificate": file(&ended, "crt"), "tls_key": file(&ended, "key"),
        });
    });
    let run = offline(&home).ends(1);
    says(&run, "expiry", "tls_crl", "fail", "ago; replace it");
    assert_eq!(said(&run, "expiry", "tls_crl").len(), 1);
    let certificate = "jetstream_auditor.tls_certificate";
    says(&run, "expiry", certificate, "fail", "ago; replace it");
    home.write("site/ended.crl", &authority.list(None).unwrap());
    let run = offline(&home).ends(1);
    says(&run, "expiry", "tls_crl", "ok", "is good for");

    change(&home, |config| {
        config["jetstream_auditor"]["tls_key"] = json!(file(&other, "key"));
    });
    let run = offline(&home).ends(1);
    says(
        &run,
        "setting",
        certificate,
        "fail",
        "the private key does not belong to the certificate",
    );
}
