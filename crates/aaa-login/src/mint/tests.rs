use aaa_core::clock::{Clock as _, ManualClock};
use aaa_core::key::{Ed25519Key, VerifyingKey};
use aaa_core::token::Verifier;

use super::*;
use crate::authenticator::Rights;
use crate::testing::{Issuers, NOW, at, read, rsa_key};

fn identity() -> Identity {
    Identity {
        caller: aaa_core::caller::CallerId::new("up=bob"),
        rights: Rights {
            agents: vec!["puppet.*".to_owned()],
            policy: Some("package io.choria.aaasvc".into()),
            ..Rights::default()
        },
    }
}

fn files(dir: &Path, chain: bool) -> Files {
    Files {
        signing_key: dir.join("login.seed"),
        signing_token: chain.then(|| dir.join("login.jwt")),
        issuer: "Choria Userlist Authenticator",
    }
}

fn mint(files: &Files, now: i64) -> Result<Mint, String> {
    let contents = contents(files);
    let minter = files
        .minter(&contents, at(now))
        .map_err(|unfit| unfit.text)?;
    Ok(Mint::new(files.clone(), minter, Duration::from_hours(1)))
}

fn contents(files: &Files) -> Vec<FileContent> {
    files.paths().into_iter().map(read).collect()
}

#[test]
fn a_chain_issuers_tokens_verify_against_the_organization_issuer() {
    let dir = tempfile::tempdir().unwrap();
    let issuers = Issuers::write(dir.path(), 3_600 * 10);
    let mint = mint(&files(dir.path(), true), NOW).unwrap();
    let key = Ed25519Key::generate().unwrap().public();
    let minted = mint.issue(identity(), Some(key.clone()), at(NOW)).unwrap();
    let verifier = Verifier::new(vec![VerifyingKey::Ed25519(issuers.organization.public())]);
    let authentic = verifier.authenticate(&minted.token).unwrap();
    let claims = authentic.valid_at(at(NOW), None).unwrap();
    assert_eq!(claims.callerid, "up=bob");
    assert_eq!(claims.agents, ["puppet.*"]);
    assert_eq!(claims.opa_policy, "package io.choria.aaasvc");
    assert_eq!(claims.standard.public_key, key.to_hex());
    assert_eq!(
        (claims.standard.jti.as_str(), claims.standard.expires()),
        (minted.id.as_str(), Some(minted.expires))
    );
    assert_eq!(minted.expires, NOW + 3_600);
    assert!(claims.standard.iss.starts_with("C-"));
}

#[test]
fn a_token_ends_no_later_than_the_right_to_issue_it() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 600);
    let mint = mint(&files(dir.path(), true), NOW).unwrap();
    let key = Ed25519Key::generate().unwrap().public();
    let minted = mint.issue(identity(), Some(key.clone()), at(NOW)).unwrap();
    assert_eq!(minted.expires, NOW + 600);
    assert_eq!(mint.seconds_left(at(NOW)), Some(600));
    let ended = mint.issue(identity(), Some(key), at(NOW + 600));
    assert_eq!(ended.err(), Some(MintError::IssuerExpired));
}

#[test]
fn a_seed_or_an_rsa_key_alone_sign_under_the_authenticators_name() {
    let dir = tempfile::tempdir().unwrap();
    let issuers = Issuers::write(dir.path(), 600);
    let files = files(dir.path(), false);
    let rsa_key = rsa_key();
    let rsa = SigningKey::parse(rsa_key.as_bytes())
        .unwrap()
        .public()
        .unwrap();
    for (text, public) in [
        (
            issuers.login.seed_hex().expose().clone(),
            VerifyingKey::Ed25519(issuers.login.public()),
        ),
        (rsa_key, rsa),
    ] {
        std::fs::write(&files.signing_key, text).unwrap();
        let mint = mint(&files, NOW).unwrap();
        let minted = mint.issue(identity(), None, at(NOW)).unwrap();
        let authentic = Verifier::new(vec![public])
            .authenticate(&minted.token)
            .unwrap();
        let claims = authentic.valid_at(at(NOW), None).unwrap();
        assert_eq!(claims.standard.iss, "Choria Userlist Authenticator");
        assert_eq!(claims.standard.public_key, "");
        assert_eq!(mint.seconds_left(at(NOW)), None);
        assert_eq!(mint.warning(at(NOW)), None);
    }
}

#[test]
fn a_token_that_may_not_issue_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let issuers = Issuers::write(dir.path(), 600);
    let files = files(dir.path(), true);
    let refused = |key: &str, token: &str| {
        std::fs::write(&files.signing_key, key).unwrap();
        std::fs::write(files.signing_token.as_ref().unwrap(), token).unwrap();
        mint(&files, NOW).err().unwrap()
    };
    let seed = issuers.login.seed_hex();
    let seed = seed.expose();
    let other = Ed25519Key::generate().unwrap().seed_hex();
    let text = refused(&rsa_key(), &issuers.token);
    assert!(text.ends_with("login.seed: is an RSA key; with signing_token it must be the Ed25519 seed that the token is bound to"), "{text}");
    let text = refused(other.expose(), &issuers.token);
    assert!(
        text.ends_with("login.jwt: belongs to another key than signing_key"),
        "{text}"
    );
    let named = Minter::named(SigningKey::Ed25519(issuers.login.clone()), "somebody");
    let named = named
        .client(
            Grant {
                caller: "up=x".to_owned(),
                ..Grant::default()
            },
            at(NOW),
        )
        .unwrap();
    let text = refused(seed, &named);
    assert!(text.contains("login.jwt: may not issue"), "{text}");
    let text = refused(seed, "nonsense");
    assert!(text.contains("login.jwt: it is no token"), "{text}");
    let text = refused("abc", &issuers.token);
    assert!(
        text.ends_with("login.seed: 3 characters; a seed is 64 hexadecimal characters"),
        "{text}"
    );
    std::fs::write(&files.signing_key, seed).unwrap();
    std::fs::write(
        files.signing_token.as_ref().unwrap(),
        format!("{}\n", issuers.token),
    )
    .unwrap();
    assert!(mint(&files, NOW).is_ok());
    let text = mint(&files, NOW + 600).err().unwrap();
    assert!(text.contains("has expired"), "{text}");
}

#[test]
fn a_changed_key_is_used_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 600);
    let files = files(dir.path(), true);
    let mint = mint(&files, NOW).unwrap();
    let issuer = |mint: &Mint| {
        let key = Ed25519Key::generate().unwrap().public();
        let token = mint.issue(identity(), Some(key), at(NOW)).unwrap().token;
        unverified::<ClientClaims>(&token).unwrap().standard.iss
    };
    let first = issuer(&mint);
    std::fs::write(&files.signing_key, "broken").unwrap();
    let problem = mint.files_changed(&contents(&files), at(NOW)).unwrap_err();
    assert!(
        problem.starts_with("signing_key: ") && problem.contains("6 characters"),
        "{problem}"
    );
    assert_eq!(issuer(&mint), first);
    // A new key before its token has come does not belong to the old one.
    let seed = Ed25519Key::generate().unwrap().seed_hex();
    std::fs::write(&files.signing_key, seed.expose()).unwrap();
    assert!(mint.files_changed(&contents(&files), at(NOW)).is_err());
    assert_eq!(issuer(&mint), first);
    Issuers::write(dir.path(), 900);
    mint.files_changed(&contents(&files), at(NOW)).unwrap();
    assert_ne!(issuer(&mint), first);
    assert_eq!(mint.seconds_left(at(NOW)), Some(900));
}

#[test]
fn files_of_an_earlier_configuration_are_not_taken() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Issuers::write(old.path(), 600);
    Issuers::write(new.path(), 900);
    let (old, new) = (files(old.path(), true), files(new.path(), true));
    let mint = mint(&old, NOW).unwrap();
    let minter = new.minter(&contents(&new), at(NOW)).unwrap();
    mint.replace(new, minter, Duration::from_mins(1));
    mint.files_changed(&contents(&old), at(NOW)).unwrap();
    assert_eq!(mint.seconds_left(at(NOW)), Some(900));
}

#[test]
fn the_end_is_announced_once_at_each_stage() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOW);
    Issuers::write(dir.path(), 40 * DAY);
    let mint = mint(&files(dir.path(), true), NOW).unwrap();
    let mut told = Vec::new();
    for left in [40, 31, 30, 29, 8, 7, 6, 1] {
        clock.set(NOW + (40 - left) * DAY);
        told.extend(mint.warning(clock.now()).map(|text| (left, text)));
    }
    clock.set(NOW + 40 * DAY);
    told.extend(mint.warning(clock.now()).map(|text| (0, text)));
    assert_eq!(mint.warning(clock.now()), None);
    assert_eq!(
        told.iter().map(|(left, _)| *left).collect::<Vec<_>>(),
        [30, 7, 1, 0]
    );
    assert!(
        told[0].1.contains("login.jwt: expires in 30 d; "),
        "{}",
        told[0].1
    );
    assert!(told[3].1.contains("has expired"), "{}", told[3].1);
    // A new one that is near its end too is announced anew.
    Issuers::write(dir.path(), 45 * DAY);
    let files = files(dir.path(), true);
    mint.files_changed(&contents(&files), clock.now()).unwrap();
    assert!(
        mint.warning(clock.now())
            .unwrap()
            .contains("expires in 5 d")
    );
}

#[test]
fn a_process_that_was_asleep_tells_the_last_stage_only() {
    let told = Told::default();
    assert_eq!(told.next(31 * DAY), None);
    assert_eq!(told.next(DAY / 2), Some(3));
    assert_eq!(told.next(DAY / 3), None);
    assert_eq!(told.next(-5), Some(LAST));
}
