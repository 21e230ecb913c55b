//! Does whoever logs in hold the key that the token is to be bound to? And do they say so now?

use aaa_api::error::ApiError;
use aaa_api::rest::LoginRequest;
use aaa_core::duration;
use aaa_core::key::Ed25519Public;
use jiff::{SignedDuration, Timestamp};

use crate::authenticator::{Reason, Refusal};

/// The oldest that a login may be. Not older is also a replay's chance, which gives the same key another token.
const MAX_AGE: SignedDuration = SignedDuration::from_secs(60);

/// What a login proved.
pub(crate) enum Proof {
    /// That its sender holds this key.
    Key(Ed25519Public),
    /// Nothing: it came without a key.
    None,
}

/// Why a login does not get as far as its password.
pub(crate) enum Unproven {
    /// It is refused.
    Refused(Refusal),
    /// It is no login at all.
    Malformed(ApiError),
}

/// Checks the public key, the time and the signature, in this order.
pub(crate) fn check(
    request: &LoginRequest,
    now: Timestamp,
    allow_unsigned: bool,
) -> Result<Proof, Unproven> {
    if request.public_key.is_empty() {
        return if allow_unsigned {
            Ok(Proof::None)
        } else {
            Err(Unproven::Refused(no_public_key()))
        };
    }
    check_time(&request.timestamp, now)?;
    let key = Ed25519Public::from_hex(&request.public_key)
        .map_err(|_| malformed("public_key is no Ed25519 public key"))?;
    let mut signature = [0; 64];
    hex::decode_to_slice(&request.signature, &mut signature)
        .map_err(|_| malformed("signature must be 128 hexadecimal characters"))?;
    let message = LoginRequest::signed_bytes(
        &request.timestamp,
        &request.username,
        request.password.expose(),
    );
    if key.verify(&message, &signature) {
        Ok(Proof::Key(key))
    } else {
        Err(Unproven::Refused(Refusal {
            reason: Reason::BadSignature,
            advice: "the request is not signed by the key that it names".into(),
            detail: "invalid sig: wants the Ed25519 signature of public_key over <timestamp>:<username>:<password>"
                .into(),
            whose: None,
        }))
    }
}

fn check_time(timestamp: &str, now: Timestamp) -> Result<(), Unproven> {
    let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let dated = Some(timestamp)
        .filter(|_| digits)
        .and_then(|timestamp| timestamp.parse::<i64>().ok())
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| malformed("timestamp must be the seconds of the unix epoch"))?;
    let age = now.duration_since(dated);
    let away = duration::human(age.unsigned_abs());
    if age.is_negative() {
        Err(Unproven::Refused(Refusal {
            reason: Reason::Future,
            advice: format!("the request is dated {away} ahead of the login service's clock; set the clock of this computer right")
                .into(),
            detail: "future request".into(),
            whose: None,
        }))
    } else if age > MAX_AGE {
        Err(Unproven::Refused(Refusal {
            reason: Reason::Old,
            advice: format!("the request is dated {away} behind the login service's clock; set the clock of this computer right, or try again")
                .into(),
            detail: "old request".into(),
            whose: None,
        }))
    } else {
        Ok(())
    }
}

fn no_public_key() -> Refusal {
    Refusal {
        reason: Reason::NoPublicKey,
        advice: "this service wants a login that is signed with a key, as aaa login and current Choria clients make it"
            .into(),
        detail: "no public_key; the setting allow_unsigned_logins admits a name and a password alone".into(),
        whose: None,
    }
}

fn malformed(text: &'static str) -> Unproven {
    Unproven::Malformed(ApiError::malformed(text))
}

#[cfg(test)]
mod tests {
    use aaa_core::clock::{Clock as _, ManualClock};
    use aaa_core::key::Ed25519Key;
    use aaa_core::secret::Secret;

    use super::*;

    const NOW: i64 = 1_795_346_537;

    fn request() -> LoginRequest {
        let key = Ed25519Key::generate().unwrap();
        let password = Secret::new("secret".to_owned());
        LoginRequest::signed("bob", password, &key, ManualClock::at(NOW).now())
    }

    fn refused(request: &LoginRequest, now: i64) -> Refusal {
        match check(request, Timestamp::from_second(now).unwrap(), false) {
            Err(Unproven::Refused(refusal)) => refusal,
            Err(Unproven::Malformed(error)) => panic!("{error}"),
            Ok(_) => panic!("admitted"),
        }
    }

    #[test]
    fn a_login_is_good_for_a_minute() {
        let request = request();
        for age in [0, 1, 60] {
            let now = Timestamp::from_second(NOW + age).unwrap();
            assert!(
                matches!(check(&request, now, false), Ok(Proof::Key(_))),
                "{age}"
            );
        }
        let old = refused(&request, NOW + 61);
        assert_eq!((old.reason, &*old.detail), (Reason::Old, "old request"));
        assert!(old.advice.contains("1 min 1 s behind"), "{}", old.advice);
        let future = refused(&request, NOW - 34);
        assert_eq!(
            (future.reason, &*future.detail),
            (Reason::Future, "future request")
        );
        assert!(future.advice.contains("34 s ahead"), "{}", future.advice);
    }

    #[test]
    fn a_fraction_of_a_second_counts() {
        let at = |millis: i64| Timestamp::from_millisecond(NOW * 1_000 + millis).unwrap();
        assert!(check(&request(), at(60_000), false).is_ok());
        assert!(check(&request(), at(60_001), false).is_err());
        assert!(check(&request(), at(-1), false).is_err());
    }

    #[test]
    fn the_checks_come_in_order() {
        let nothing = LoginRequest::default();
        assert_eq!(refused(&nothing, NOW).reason, Reason::NoPublicKey);
        let mut request = request();
        request.signature = "00".repeat(64);
        assert_eq!(refused(&request, NOW + 90).reason, Reason::Old);
        assert_eq!(refused(&request, NOW).reason, Reason::BadSignature);
    }

    #[test]
    fn every_part_is_signed() {
        let good = request();
        let changes: [fn(&mut LoginRequest); 4] = [
            |r| r.username.push('x'),
            |r| r.password = Secret::new("other".to_owned()),
            |r| r.timestamp = (NOW - 1).to_string(),
            |r| r.public_key = Ed25519Key::generate().unwrap().public().to_hex(),
        ];
        for change in changes {
            let mut request = good.clone();
            change(&mut request);
            assert_eq!(refused(&request, NOW).reason, Reason::BadSignature);
        }
    }

    #[test]
    fn a_key_without_the_rest_is_no_login() {
        let now = Timestamp::from_second(NOW).unwrap();
        let changes: [fn(&mut LoginRequest); 4] = [
            |r| r.timestamp.clear(),
            |r| r.timestamp = "-5".to_owned(),
            |r| r.signature.clear(),
            |r| r.public_key = "zz".repeat(32),
        ];
        for change in changes {
            let mut request = request();
            change(&mut request);
            // Not even where logins without a key are admitted: a token is never bound to a key that was not shown.
            let outcome = check(&request, now, true);
            assert!(matches!(outcome, Err(Unproven::Malformed(_))));
        }
    }

    #[test]
    fn without_a_key_only_where_the_operator_says_so() {
        let now = Timestamp::from_second(NOW).unwrap();
        let unsigned = LoginRequest {
            username: "bob".to_owned(),
            ..LoginRequest::default()
        };
        assert!(matches!(check(&unsigned, now, true), Ok(Proof::None)));
        let refusal = refused(&unsigned, NOW);
        assert!(refusal.detail.contains("allow_unsigned_logins"));
        assert!(refusal.advice.contains("aaa login"));
    }
}
