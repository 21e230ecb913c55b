//! Which authenticator is asked, what ends the asking, and what is held against whom.

use super::*;

fn known(name: &str) -> Verdict {
    Verdict::Known(Box::new(Identity {
        caller: CallerId::new(format!("up={name}")),
        rights: crate::authenticator::Rights::default(),
    }))
}

/// Says what it is told to say, and counts how often it is asked.
struct Probe {
    name: &'static str,
    says: Mutex<Vec<Result<Verdict, ApiError>>>,
    asked: Mutex<usize>,
    pretended: Mutex<usize>,
    certificate: bool,
}

impl Probe {
    fn new(name: &'static str, says: Vec<Result<Verdict, ApiError>>) -> Self {
        Self {
            name,
            says: Mutex::new(says),
            asked: Mutex::new(0),
            pretended: Mutex::new(0),
            certificate: false,
        }
    }
}

#[async_trait]
impl Authenticator for Probe {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn authenticate(&self, _: &Attempt<'_>) -> Result<Verdict, ApiError> {
        *self.asked.lock().unwrap() += 1;
        self.says.lock().unwrap().pop().unwrap()
    }

    async fn pretend(&self, _: &Attempt<'_>) {
        *self.pretended.lock().unwrap() += 1;
    }

    fn takes_passwords(&self) -> bool {
        !self.certificate
    }
}

#[tokio::test]
async fn nothing_is_asked_for_what_proves_nothing() {
    let probe = Arc::new(Probe::new("probe", vec![]));
    let site = Site::with(probe.clone());
    let mut forged = signed("bob", "secret");
    forged.username = "jill".to_owned();
    for request in [forged, unsigned("bob", "secret"), LoginRequest::default()] {
        assert!(answer(&site, &request).await.is_err());
    }
    for request in [
        signed(&"x".repeat(257), "secret"),
        signed("bob", &"x".repeat(1_025)),
    ] {
        let error = outcome(&site, &request).await.err().unwrap();
        assert_eq!(error.cause(), Cause::Malformed);
    }
    assert_eq!(*probe.asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn authenticators_are_asked_in_order() {
    let refuses = || {
        Ok(Verdict::Refused(Refusal::credentials(
            Reason::WrongPassword,
        )))
    };
    let fails = || Err(ApiError::busy("away", Duration::from_secs(1)));
    for (first, reaches_second, expected) in [
        (
            Probe::new("first", vec![Ok(Verdict::Unknown)]),
            true,
            Ok("up=bob"),
        ),
        (
            Probe::new("first", vec![refuses()]),
            false,
            Err("Login failed | the name or the password is wrong"),
        ),
        (
            Probe::new("first", vec![fails()]),
            false,
            Err("Service unavailable: away"),
        ),
    ] {
        let mut site = Site::with(Arc::new(first));
        let second = Arc::new(Probe::new("second", vec![Ok(known("bob"))]));
        let door = door(second.clone(), mint(site.dir.path(), true));
        site.login.doors.push(door);
        let answer = answer(&site, &signed("bob", "secret")).await;
        let caller = answer.map(|token| unverified::<ClientClaims>(&token).unwrap().callerid);
        assert_eq!(caller.as_deref().map_err(String::as_str), expected);
        assert_eq!(*second.asked.lock().unwrap() == 1, reaches_second);
    }
}

#[tokio::test]
async fn who_guesses_has_to_wait_and_hears_the_same_for_every_name() {
    let site = Site::new(users());
    for name in ["bob", "eve"] {
        for _ in 0..5 {
            assert_eq!(
                answer(&site, &signed(name, "wrong")).await.unwrap_err(),
                "Login failed | the name or the password is wrong"
            );
        }
        // The right password would not help now.
        let error = outcome(&site, &signed(name, "secret")).await.err().unwrap();
        assert_eq!(error.cause(), Cause::TooManyRequests);
        assert_eq!(error.retry_after_seconds(), Some(1));
        assert_eq!(
            error.detail(),
            "too many logins failed; wait before you try again, and look that the password is right"
        );
        let records = site.records.records.lock().unwrap();
        assert!(matches!(
            &records.last().unwrap().outcome,
            Outcome::Refused { detail, .. } if detail == "too many logins failed under this name or from this address"
        ));
    }
    site.clock.set(NOW + 1);
    assert!(answer(&site, &signed("bob", "secret")).await.is_ok());
}

#[tokio::test]
async fn what_proves_no_key_is_held_against_nobody() {
    let site = Site::new(users());
    for _ in 0..60 {
        let mut forged = signed("bob", "secret");
        forged.password = Secret::new("guess".to_owned());
        let refused = answer(&site, &forged).await.unwrap_err();
        assert!(refused.contains("invalid sig"), "{refused}");
    }
    assert!(answer(&site, &signed("bob", "secret")).await.is_ok());
}

#[tokio::test]
async fn an_overloaded_service_holds_nothing_against_anybody() {
    let says = || {
        (0..60)
            .map(|_| Err(ApiError::busy("away", RETRY)))
            .collect()
    };
    let site = Site::with(Arc::new(Probe::new("away", says())));
    for _ in 0..60 {
        let error = outcome(&site, &signed("bob", "x")).await.err().unwrap();
        assert_eq!(error.cause(), Cause::Busy);
    }
}

/// A site with two authenticators, that say what they are told to.
struct Two {
    site: Site,
    first: Arc<Probe>,
    second: Arc<Probe>,
}

fn two(first: Probe, second: Probe) -> Two {
    let (first, second) = (Arc::new(first), Arc::new(second));
    let mut site = Site::with(first.clone());
    let mint = mint(site.dir.path(), true);
    site.login.doors.push(door(second.clone(), mint));
    Two {
        site,
        first,
        second,
    }
}

fn counts(probe: &Probe) -> (usize, usize) {
    (
        *probe.asked.lock().unwrap(),
        *probe.pretended.lock().unwrap(),
    )
}

fn away() -> Result<Verdict, ApiError> {
    Err(ApiError::busy("away", RETRY))
}

fn guess() -> Verdict {
    Verdict::Refused(Refusal::credentials(Reason::WrongPassword))
}

#[tokio::test]
async fn a_guess_that_is_refused_takes_as_long_as_one_that_nobody_knows() {
    let two = two(
        Probe::new("first", vec![Ok(guess())]),
        Probe::new("second", vec![]),
    );
    assert!(answer(&two.site, &signed("bob", "x")).await.is_err());
    assert_eq!((counts(&two.first), counts(&two.second)), ((1, 0), (0, 1)));
}

#[tokio::test]
async fn an_outage_is_passed_over_only_where_the_operator_says_so() {
    let probes = || {
        (
            Probe::new("first", vec![away()]),
            Probe::new("second", vec![Ok(known("bob"))]),
        )
    };
    let (first, second) = probes();
    let strict = two(first, second);
    let error = outcome(&strict.site, &signed("bob", "x"))
        .await
        .err()
        .unwrap();
    assert_eq!(error.cause(), Cause::Busy);
    assert_eq!(counts(&strict.second), (0, 0));

    let (first, second) = probes();
    let lenient = two(first, second);
    lenient.site.login.doors[0]
        .fallback
        .store(true, Ordering::SeqCst);
    assert!(answer(&lenient.site, &signed("bob", "x")).await.is_ok());

    // Where it falls back, nobody learns whom the next one knows: of those who are not let in, the one who was away might have
    // said otherwise, and each was a guess.
    let answers = [Ok(Verdict::Unknown), Ok(guess())];
    for (second, name) in answers.into_iter().zip(["eve", "bob"]) {
        let says = (0..5).map(|_| away()).collect();
        let mut seconds: Vec<_> = (0..4).map(|_| Ok(Verdict::Unknown)).collect();
        seconds.insert(0, second);
        let two = two(Probe::new("first", says), Probe::new("second", seconds));
        two.site.login.doors[0]
            .fallback
            .store(true, Ordering::SeqCst);
        for _ in 0..5 {
            let error = outcome(&two.site, &signed(name, "x")).await.err().unwrap();
            assert_eq!(error.cause(), Cause::Busy);
        }
        let error = outcome(&two.site, &signed(name, "x")).await.err().unwrap();
        assert_eq!(error.cause(), Cause::TooManyRequests);
    }

    // What is no guess stands.
    let inactive = Refusal {
        reason: Reason::Inactive,
        ..Refusal::credentials(Reason::Inactive)
    };
    let refused = two(
        Probe::new("first", vec![away()]),
        Probe::new("second", vec![Ok(Verdict::Refused(inactive))]),
    );
    refused.site.login.doors[0]
        .fallback
        .store(true, Ordering::SeqCst);
    assert!(
        answer(&refused.site, &signed("bob", "x"))
            .await
            .unwrap_err()
            .starts_with("Login failed")
    );
}

#[tokio::test]
async fn a_guess_counts_and_is_on_record_when_whose_it_was_cannot_be_said() {
    let says = (0..5).map(|_| Ok(Verdict::Wrong(ApiError::busy("away", RETRY))));
    let site = Site::with(Arc::new(Probe::new("probe", says.collect())));
    for _ in 0..5 {
        let error = outcome(&site, &signed("bob", "x")).await.err().unwrap();
        assert_eq!(error.cause(), Cause::Busy);
    }
    let records = site.records.records.lock().unwrap().len();
    assert_eq!(records, 5);
    let error = outcome(&site, &signed("bob", "x")).await.err().unwrap();
    assert_eq!(error.cause(), Cause::TooManyRequests);
}

#[tokio::test]
async fn what_shows_a_certificate_guesses_at_nothing() {
    let says = (0..10).map(|_| Ok(known("bob"))).collect();
    let mut certificate = Probe::new("certificate", says);
    certificate.certificate = true;
    let wrong = (0..5).map(|_| Ok(guess())).collect();
    let two = two(certificate, Probe::new("words", wrong));
    for _ in 0..5 {
        two.first.says.lock().unwrap().push(Ok(Verdict::Unknown));
        assert!(
            answer(&two.site, &signed("bob", "x"))
                .await
                .unwrap_err()
                .starts_with("Login failed")
        );
    }
    // Under this name nobody is asked for a password any more, and the certificate is as good as before.
    two.first.says.lock().unwrap().push(Ok(Verdict::Unknown));
    let error = outcome(&two.site, &signed("bob", "x")).await.err().unwrap();
    assert_eq!(error.cause(), Cause::TooManyRequests);
    assert!(answer(&two.site, &signed("bob", "x")).await.is_ok());
}
