//! A tenant that is away, that limits rates, or that is not itself.

use super::*;

#[tokio::test]
async fn another_users_record_lets_nobody_in() {
    let site = Site::new().await;
    for (name, fault) in [
        (BOB, Wrong::RecordOf("jill@example.net".to_owned())),
        ("bob", Wrong::RecordOf("00u2".to_owned())),
        (
            BOB,
            Wrong::Json(
                r#"{"id": "00u9", "status": "ACTIVE", "profile": {"login": "bob@example.net"}}"#
                    .to_owned(),
            ),
        ),
        (
            BOB,
            Wrong::Json(
                r#"{"id": "00u1", "status": "ACTIVE", "profile": {"login": "admin@example.net"}}"#
                    .to_owned(),
            ),
        ),
    ] {
        site.double.fail_once(Call::User, fault);
        let (cause, source) = site.undecided(name, PASSWORD).await;
        assert_eq!(
            (cause, source.as_str()),
            (
                Cause::Busy,
                "okta: gave no sensible answer: its record is of another user"
            )
        );
    }
    // The id of somebody is no name to log in with, whoever's password it is.
    assert!(!matches!(
        site.login("00u1", PASSWORD).await,
        Ok(Verdict::Known(_))
    ));
    // Without an id in the tokens only the whole name will do.
    site.double.fail(Call::Token, Wrong::OpaqueTokens);
    site.known(BOB, PASSWORD).await;
    site.undecided("bob", PASSWORD).await;
}

#[tokio::test]
async fn a_tenant_that_is_not_itself_lets_nobody_in() {
    let site = Site::new().await;
    let elsewhere = format!(
        "{}/api/v1/users/00u2/groups?after=0",
        site.double.endpoint()
    );
    for (call, fault, expected) in [
        (Call::Token, Wrong::Html, "what is not JSON"),
        (
            Call::Token,
            Wrong::Json("[]".to_owned()),
            "JSON of another form",
        ),
        (
            Call::Token,
            Wrong::Json("{}".to_owned()),
            "JSON of another form",
        ),
        (Call::Token, Wrong::Huge, "more than 1 MiB"),
        (
            Call::Token,
            Wrong::Redirect("https://evil.example.com/".to_owned()),
            "a redirect",
        ),
        (Call::Token, Wrong::Disconnect, "cannot be reached"),
        (Call::Token, Wrong::Status(500), "status 500"),
        (Call::Token, Wrong::Status(400), "not of OAuth"),
        (Call::User, Wrong::Html, "what is not JSON"),
        (Call::User, Wrong::Huge, "more than 1 MiB"),
        (Call::User, Wrong::Status(503), "status 503"),
        (Call::User, Wrong::Redirect("/x".to_owned()), "a redirect"),
        (Call::User, Wrong::Disconnect, "cannot be reached"),
        (Call::User, Wrong::Status(404), "no record of the user"),
        (Call::Groups, Wrong::Html, "what is not JSON"),
        (
            Call::Groups,
            Wrong::Json("{}".to_owned()),
            "JSON of another form",
        ),
        (Call::Groups, Wrong::Status(404), "status 404"),
        (
            Call::Groups,
            Wrong::Next("https://evil.example.com/x?y".to_owned()),
            "another address",
        ),
        (Call::Groups, Wrong::Next(elsewhere), "another address"),
        (
            Call::Groups,
            Wrong::Next(format!(
                "{}/api/v1/users/00u1/groups?limit=200",
                site.double.endpoint()
            )),
            "names itself",
        ),
    ] {
        site.double.fail(call, fault.clone());
        let (cause, source) = site.undecided(BOB, PASSWORD).await;
        assert_eq!(cause, Cause::Busy, "{fault:?}");
        assert!(source.contains(expected), "{call:?}: {source}");
        site.double.recover();
    }
    site.known(BOB, PASSWORD).await;
}

#[tokio::test]
async fn a_tenant_that_hangs_is_not_waited_for() {
    let site = Site::with(|section| section["timeout"] = json!("100ms")).await;
    for call in [Call::Token, Call::User, Call::Groups] {
        site.double.fail(call, Wrong::Hang);
        let (cause, source) = site.undecided(BOB, PASSWORD).await;
        assert_eq!(cause, Cause::Busy);
        assert!(source.starts_with("okta: no answer within"), "{source}");
        site.double.recover();
    }
}

#[tokio::test]
async fn a_wrong_password_is_a_guess_when_nobody_can_say_whose() {
    let site = Site::with(|section| section["timeout"] = json!("100ms")).await;
    for fault in [Wrong::Status(500), Wrong::Html, Wrong::Hang] {
        site.double.fail(Call::User, fault.clone());
        let verdict = site.login(BOB, "wrong").await;
        let Ok(Verdict::Wrong(error)) = verdict else {
            panic!("{fault:?}: no guess");
        };
        assert_eq!(error.cause(), Cause::Busy);
        // The right one was no guess, and lets nobody in either.
        assert!(site.login(BOB, PASSWORD).await.is_err());
        site.double.recover();
    }
}

#[tokio::test]
async fn groups_without_an_end_end() {
    let site = Site::new().await;
    site.double.page_size(1);
    site.double
        .change(|users| users[0].groups = (0..60).map(|n| n.to_string()).collect());
    let (_, source) = site.undecided(BOB, PASSWORD).await;
    assert!(source.contains("groups without an end"), "{source}");
}

#[tokio::test]
async fn what_changes_nothing_is_tried_again_once_and_a_password_never() {
    let site = Site::new().await;
    for call in [Call::User, Call::Groups] {
        for fault in [Wrong::Status(500), Wrong::Status(503), Wrong::Disconnect] {
            site.double.fail_once(call, fault);
            site.known(BOB, PASSWORD).await;
        }
        // What is wrong on purpose is not asked for again.
        let before = site.paths().len();
        site.double.fail(call, Wrong::Status(501));
        site.undecided(BOB, PASSWORD).await;
        let calls = site.paths().len() - before;
        assert_eq!(calls, if call == Call::User { 2 } else { 3 });
        site.double.recover();
    }
    let before = site.paths().len();
    site.double.fail_once(Call::Token, Wrong::Status(503));
    site.undecided(BOB, PASSWORD).await;
    assert_eq!(site.paths().len() - before, 1);
}

#[tokio::test]
async fn a_limit_on_rates_is_kept_for_as_long_as_the_tenant_says() {
    for (call, calls) in [(Call::Token, 1), (Call::User, 2), (Call::Groups, 3)] {
        for (reset, wait) in [
            (Some(NOW + 30), 30),
            (Some(NOW - 5), 1),
            (Some(i64::MAX), 120),
            (None, 10),
        ] {
            let site = Site::new().await;
            site.double.fail_once(call, Wrong::RateLimit(reset));
            let error = site.login(BOB, PASSWORD).await.err().unwrap();
            assert_eq!(
                (error.cause(), error.retry_after_seconds()),
                (Cause::Busy, Some(wait))
            );
            assert_eq!(site.paths().len(), calls);
            // The tenant is left alone, also with passwords whose owner could not be asked for.
            site.clock.set(NOW + i64::from(wait) - 1);
            let before = site.paths().len();
            assert!(site.login(BOB, PASSWORD).await.is_err() || wait == 1);
            let asked = site.paths().len() - before;
            assert!(wait == 1 || asked == 0, "{asked}");
            site.clock.set(NOW + i64::from(wait));
            site.known(BOB, PASSWORD).await;
        }
    }
}

#[tokio::test]
async fn credentials_of_ours_that_are_no_good_are_our_fault() {
    for (key, expected) in [
        ("client_secret", "client_id and client_secret"),
        ("api_token", "api_token"),
    ] {
        let site = Site::with(|section| section[key] = json!("other")).await;
        let (cause, source) = site.undecided(BOB, PASSWORD).await;
        assert_eq!(
            (cause, source),
            (Cause::Internal, format!("okta: does not accept {expected}"))
        );
    }
}
