//! Minting and verifying, and what an attacker would try in between.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::time::Duration;

use aaa_core::claims::{ClientClaims, ClientPermissions, ServerPermissions};
use aaa_core::key::{Ed25519Key, SigningKey, VerifyingKey};
use aaa_core::token::{
    ChainIssuer, Grant, MintError, Minter, Rules, ServerGrant, TokenError, Verifier, unverified,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const NOW: i64 = 1_795_351_244;
const HOUR: Duration = Duration::from_hours(1);
const RULES: Rules = Rules {
    max_validity: Duration::from_hours(2),
};

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn later(seconds: i64) -> Timestamp {
    now()
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap()
}

fn key() -> Ed25519Key {
    Ed25519Key::generate().unwrap()
}

fn grant(validity: Duration) -> Grant {
    Grant {
        caller: "up=bob".into(),
        agents: vec!["rpcutil.*".into()],
        public_key: Some(key().public()),
        validity,
        ..Grant::default()
    }
}

fn trusting(key: &Ed25519Key) -> Verifier {
    Verifier::new(vec![VerifyingKey::Ed25519(key.public())])
}

/// The chain of a site: the organization issuer, and a login service that it lets issue for a day.
struct Chain {
    organization: Ed25519Key,
    login: Ed25519Key,
    login_token: String,
}

impl Chain {
    fn new() -> Self {
        let (organization, login) = (key(), key());
        let login_token = Minter::organization(organization.clone())
            .client(
                Grant {
                    caller: "aaa=login".into(),
                    public_key: Some(login.public()),
                    validity: Duration::from_hours(24),
                    ..Grant::default()
                },
                now(),
            )
            .unwrap();
        Self {
            organization,
            login,
            login_token,
        }
    }

    fn minter(&self) -> Minter {
        Minter::chain(ChainIssuer::new(self.login.clone(), &self.login_token, now()).unwrap())
    }
}

/// Signs claims as they are, as somebody with a key and bad intentions would.
fn forge(claims: &serde_json::Value, key: &Ed25519Key) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"JWT"}"#);
    let body = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(body.as_bytes()));
    format!("{body}.{signature}")
}

fn verdict(verifier: &Verifier, token: &str) -> Result<ClientClaims, TokenError> {
    let authentic = verifier.authenticate(token)?;
    Ok((*authentic.valid_at(now(), Some(RULES))?).clone())
}

#[test]
fn every_kind_of_issuer_makes_tokens_that_verify() {
    let chain = Chain::new();
    let (own, organization) = (key(), chain.organization.clone());
    for (minter, verifier, issuer) in [
        (
            Minter::named(
                SigningKey::Ed25519(own.clone()),
                "Choria Userlist Authenticator",
            ),
            trusting(&own),
            "Choria Userlist Authenticator".to_owned(),
        ),
        (
            Minter::organization(organization.clone()),
            trusting(&organization),
            format!("I-{}", organization.public().to_hex()),
        ),
        (
            chain.minter(),
            trusting(&organization),
            format!(
                "C-{}.{}",
                unverified::<ClientClaims>(&chain.login_token)
                    .unwrap()
                    .standard
                    .jti,
                chain.login.public().to_hex()
            ),
        ),
    ] {
        let token = minter.client(grant(HOUR), now()).unwrap();
        let claims = verdict(&verifier, &token).unwrap();
        assert_eq!(claims.callerid, "up=bob");
        assert_eq!(claims.ou, "choria");
        assert_eq!(claims.standard.iss, issuer);
        assert_eq!(claims.standard.exp, Some(NOW + 3_600));
        assert_eq!(claims.standard.iat, Some(NOW));
    }
}

#[test]
fn a_server_token_is_no_client_token_and_the_other_way_round() {
    let organization = key();
    let minter = Minter::organization(organization.clone());
    let server = minter
        .server(
            ServerGrant {
                identity: "aaa.example.net".into(),
                collectives: vec!["choria".into()],
                organization: String::new(),
                permissions: ServerPermissions {
                    service_host: true,
                    ..Default::default()
                },
                pub_subjects: vec![],
                public_key: key().public(),
                validity: HOUR,
            },
            now(),
        )
        .unwrap();
    let client = minter.client(grant(HOUR), now()).unwrap();
    let verifier = trusting(&organization);
    let claims = verifier
        .authenticate_server(&server)
        .unwrap()
        .valid_at(now(), None)
        .unwrap();
    assert_eq!(claims.identity, "aaa.example.net");
    assert!(claims.permissions.unwrap().service_host);
    assert_eq!(
        claims.standard.tcs, "",
        "a broker would take it for one in a chain"
    );
    assert_eq!(
        verdict(&verifier, &server).unwrap_err(),
        TokenError::Purpose("client")
    );
    assert_eq!(
        verifier.authenticate_server(&client).unwrap_err(),
        TokenError::Purpose("server")
    );
}

#[test]
fn a_chain_ends_with_its_issuer() {
    let chain = Chain::new();
    let token = chain
        .minter()
        .client(grant(Duration::from_hours(48)), now())
        .unwrap();
    let authentic = trusting(&chain.organization).authenticate(&token).unwrap();
    assert!(authentic.valid_at(later(23 * 3_600), None).is_ok());
    assert_eq!(
        authentic.valid_at(later(24 * 3_600), None).unwrap_err(),
        TokenError::Expired
    );
    assert_eq!(chain.minter().expires(), Some(NOW + 86_400));
    let ended = chain.minter().client(grant(HOUR), later(86_400));
    assert_eq!(ended.unwrap_err(), MintError::IssuerExpired);
}

#[test]
fn whoever_has_no_issuer_behind_them_cannot_make_a_chain() {
    // The reference checks the second link only: a key of one's own is then enough to be anybody.
    let organization = key();
    let mallory = Chain {
        organization: key(),
        ..Chain::new()
    };
    let token = {
        let foreign = Chain::new();
        foreign.minter().client(grant(HOUR), now()).unwrap()
    };
    assert_eq!(
        verdict(&trusting(&organization), &token).unwrap_err(),
        TokenError::Chain("the organization issuer does not vouch for the issuer")
    );

    let real = Chain::new();
    let good = real.minter().client(grant(HOUR), now()).unwrap();
    let mut claims: serde_json::Value =
        serde_json::to_value(unverified::<ClientClaims>(&good).unwrap()).unwrap();
    // Mallory keeps the first link of a real token and signs the rest.
    let (first, _) = claims["tcs"].as_str().unwrap().split_once('.').unwrap();
    let data = format!("{}.{first}", claims["jti"].as_str().unwrap());
    let tcs = format!(
        "{first}.{}",
        hex::encode(mallory.login.sign(data.as_bytes()))
    );
    claims["tcs"] = tcs.into();
    let token = forge(&claims, &mallory.login);
    assert!(matches!(
        verdict(&trusting(&real.organization), &token),
        Err(TokenError::Chain(_))
    ));
    // Or puts an own key into the issuer.
    let id = unverified::<ClientClaims>(&real.login_token)
        .unwrap()
        .standard
        .jti;
    claims["iss"] = format!("C-{id}.{}", mallory.login.public().to_hex()).into();
    let token = forge(&claims, &mallory.login);
    assert!(matches!(
        verdict(&trusting(&real.organization), &token),
        Err(TokenError::Chain(_))
    ));
}

#[test]
fn the_bearer_of_a_token_of_the_organization_cannot_issue_without_its_chain_signature() {
    let chain = Chain::new();
    let not_bound = Minter::named(SigningKey::Ed25519(chain.organization.clone()), "x")
        .client(
            Grant {
                public_key: Some(chain.login.public()),
                ..grant(HOUR)
            },
            now(),
        )
        .unwrap();
    let issuer =
        |key: &Ed25519Key, token: &str, at| ChainIssuer::new(key.clone(), token, at).err().unwrap();
    assert_eq!(
        issuer(&chain.login, &not_bound, now()).to_string(),
        "may not issue: it was not made by an organization issuer"
    );
    assert_eq!(
        issuer(&key(), &chain.login_token, now()).to_string(),
        "belongs to another key than signing_key"
    );
    assert_eq!(
        issuer(&chain.login, &chain.login_token, later(86_400)),
        MintError::IssuerExpired
    );
    assert!(matches!(
        issuer(&chain.login, "x", now()),
        MintError::NotAnIssuer(_)
    ));
    // A token in a chain may not extend the chain.
    let user = chain.minter().client(
        Grant {
            public_key: Some(chain.login.public()),
            ..grant(HOUR)
        },
        now(),
    );
    assert!(matches!(
        issuer(&chain.login, &user.unwrap(), now()),
        MintError::NotAnIssuer(_)
    ));
}

#[test]
fn a_changed_claim_breaks_the_signature() {
    let own = key();
    let token = Minter::named(SigningKey::Ed25519(own.clone()), "x")
        .client(grant(HOUR), now())
        .unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let changed = URL_SAFE_NO_PAD.encode(payload.replace("up=bob", "up=eve"));
    let forged = format!("{}.{changed}.{}", parts[0], parts[2]);
    assert_eq!(
        verdict(&trusting(&own), &forged).unwrap_err(),
        TokenError::Signature
    );
}

#[test]
fn the_key_decides_the_algorithm() {
    let own = key();
    let token = Minter::named(SigningKey::Ed25519(own.clone()), "x")
        .client(grant(HOUR), now())
        .unwrap();
    let rest = token.split_once('.').unwrap().1;
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"PS256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"eddsa"}"#,
        r#"{"alg":["EdDSA"]}"#,
        r"{}",
        r#"{"alg":"EdDSA","typ":"JWE"}"#,
        r#"{"alg":"EdDSA","crit":["x"],"x":1}"#,
    ] {
        let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
        assert!(verdict(&trusting(&own), &forged).is_err(), "{header}");
    }
}

#[test]
fn keys_can_rotate() {
    let (old, new) = (key(), key());
    let verifier = Verifier::new(vec![
        VerifyingKey::Ed25519(old.public()),
        VerifyingKey::Ed25519(new.public()),
    ]);
    for own in [old, new] {
        let minter = Minter::named(SigningKey::Ed25519(own), "x");
        verdict(&verifier, &minter.client(grant(HOUR), now()).unwrap()).unwrap();
    }
}

#[test]
fn times_have_rules() {
    let own = key();
    let verifier = trusting(&own);
    let minter = Minter::named(SigningKey::Ed25519(own.clone()), "x");
    let at = |grant: Grant, now: Timestamp| {
        let token = minter.client(grant, now).unwrap();
        verdict(&verifier, &token)
    };
    assert!(at(grant(Duration::from_hours(2)), now()).is_ok());
    assert_eq!(
        at(grant(Duration::from_secs(7_201)), now()).unwrap_err(),
        TokenError::TooLong
    );
    assert_eq!(
        at(grant(HOUR), later(-3_600)).unwrap_err(),
        TokenError::Expired
    );
    assert_eq!(at(grant(HOUR), later(1)).unwrap_err(), TokenError::NotYet);
    let service = ClientPermissions {
        service: true,
        ..Default::default()
    };
    let long = Grant {
        permissions: Some(service),
        ..grant(Duration::from_hours(10_000))
    };
    assert!(at(long, now()).is_ok());

    let mut claims = serde_json::json!({
        "purpose": "choria_client_id", "callerid": "up=bob", "iat": NOW, "nbf": NOW, "jti": "x"
    });
    assert_eq!(
        verdict(&verifier, &forge(&claims, &own)).unwrap_err(),
        TokenError::Endless
    );
    // A service without an end is endless too.
    claims["permissions"] = serde_json::json!({"service": true});
    assert_eq!(
        verdict(&verifier, &forge(&claims, &own)).unwrap_err(),
        TokenError::Endless
    );
    claims["exp"] = i64::MAX.into();
    assert!(verdict(&verifier, &forge(&claims, &own)).is_ok());
    claims["callerid"] = "".into();
    assert_eq!(
        verdict(&verifier, &forge(&claims, &own)).unwrap_err(),
        TokenError::Anonymous
    );
}

#[test]
fn callers_have_a_provider_and_a_name() {
    let minter = Minter::named(SigningKey::Ed25519(key()), "x");
    for caller in ["", "bob", "=bob", "up="] {
        let grant = Grant {
            caller: caller.into(),
            ..grant(HOUR)
        };
        assert_eq!(
            minter.client(grant, now()).unwrap_err(),
            MintError::Caller,
            "{caller}"
        );
    }
}

#[test]
fn a_chain_binds_every_token_to_a_key() {
    let unbound = Grant {
        public_key: None,
        ..grant(HOUR)
    };
    let minted = Chain::new().minter().client(unbound.clone(), now());
    assert_eq!(minted.unwrap_err(), MintError::Unbound);
    let minted = Minter::organization(key()).client(unbound, now());
    assert_eq!(minted.unwrap_err(), MintError::Unbound);
}

proptest! {
    #[test]
    fn no_text_is_a_token(text in "[A-Za-z0-9_.=-]{0,200}") {
        let _ = trusting(&key()).authenticate(&text).unwrap_err();
    }

    #[test]
    fn no_other_claims_pass_under_the_same_signature(at in 0_usize..400, byte in any::<u8>()) {
        let own = Ed25519Key::from_seed_hex(&"07".repeat(32)).unwrap();
        let token = Minter::named(SigningKey::Ed25519(own.clone()), "x").client(grant(HOUR), now()).unwrap();
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(changed) = String::from_utf8(bytes)
            && let Ok(claims) = verdict(&trusting(&own), &changed)
        {
            // Base64 may write the same bytes in two ways; what is read must be the same.
            prop_assert_eq!(claims, unverified::<ClientClaims>(&token).unwrap());
        }
    }
}
