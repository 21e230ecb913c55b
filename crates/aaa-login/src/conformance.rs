//! What every authenticator keeps to, whatever it asks. A new one passes this before anything else.

use std::sync::Arc;
use std::time::Duration;

use aaa_api::handler::{Context, Front};
use aaa_core::secret::Secret;

use crate::authenticator::{Attempt, Authenticator, Identity, Refusal, Verdict};

/// An attempt, and how it came.
#[derive(Clone)]
pub(crate) struct Try {
    pub(crate) username: String,
    pub(crate) password: Secret<String>,
    pub(crate) context: Context,
}

/// An authenticator, and what it should say of whom.
pub(crate) struct Fixture {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// What stands before the name in its caller ids.
    pub(crate) provider: &'static str,
    /// Who is let in, and under which caller id.
    pub(crate) right: Vec<(Try, &'static str)>,
    /// Who is its own and is not let in.
    pub(crate) wrong: Vec<Try>,
    /// Who is none of its own.
    pub(crate) unknown: Vec<Try>,
}

/// A name and a password that came without a certificate.
pub(crate) fn words(username: &str, password: &str) -> Try {
    Try {
        username: username.to_owned(),
        password: Secret::new(password.to_owned()),
        context: Context::new("conformance", Front::Rest),
    }
}

/// Names that somebody might try to be somebody else with.
const HOSTILE: &[&str] = &[
    "*",
    "?",
    "%",
    "%00",
    "%2f",
    "%2e%2e%2f",
    "..",
    ".",
    "/",
    "//",
    "\\",
    "a/b",
    "../../etc/passwd",
    "a?b=c",
    "a#b",
    "a&b",
    "a;b",
    "a,b",
    "a=b",
    "up=root",
    "choria=root",
    "\0",
    "a\0b",
    "a\nb",
    "a\r\nX-Header: y",
    "\u{1b}[31m",
    "\u{202e}bob",
    "'",
    "' or '1'='1",
    "*)(uid=*",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "me",
    "null",
    "undefined",
    "true",
    "0",
    "-1",
    " ",
    "\u{feff}",
];

impl Fixture {
    /// Checks all of it.
    pub(crate) async fn check(&self) {
        self.is_sane();
        self.lets_the_right_in().await;
        self.refuses_the_wrong().await;
        self.knows_its_own().await;
        self.lets_no_hostile_name_in().await;
        self.keeps_attempts_apart().await;
        self.survives_those_who_hang_up().await;
        if self.authenticator.takes_passwords() {
            self.wants_the_whole_password().await;
            self.pretends().await;
        }
    }

    async fn ask(&self, attempt: &Try) -> Verdict {
        let attempt = attempt.attempt();
        let verdict = self.authenticator.authenticate(&attempt).await;
        verdict.unwrap_or_else(|error| panic!("{}: {error}", attempt.username))
    }

    fn is_sane(&self) {
        let name = self.authenticator.name();
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()));
        assert!(!self.right.is_empty() && !self.wrong.is_empty() && !self.unknown.is_empty());
    }

    async fn lets_the_right_in(&self) {
        for (attempt, caller) in &self.right {
            for _ in 0..2 {
                let identity = known(self.ask(attempt).await);
                assert_eq!(identity.caller.as_str(), *caller);
                let (provider, name) = caller.split_once('=').unwrap();
                assert_eq!(provider, self.provider);
                assert!(!name.is_empty() && !name.contains(char::is_control));
            }
        }
    }

    async fn refuses_the_wrong(&self) {
        for attempt in &self.wrong {
            match self.ask(attempt).await {
                Verdict::Refused(refusal) if refusal.reason.is_a_guess() => {
                    // Word for word what a name that nobody has is answered.
                    assert_eq!(refusal, Refusal::credentials(refusal.reason));
                }
                Verdict::Refused(refusal) => assert!(!refusal.detail.is_empty()),
                Verdict::Known(identity) => panic!("{identity:?}"),
                Verdict::Unknown | Verdict::Wrong(_) => panic!("{}: unknown", attempt.username),
            }
        }
    }

    async fn knows_its_own(&self) {
        for attempt in &self.unknown {
            let verdict = self.ask(attempt).await;
            assert!(matches!(verdict, Verdict::Unknown), "{}", attempt.username);
        }
    }

    async fn lets_no_hostile_name_in(&self) {
        let (template, _) = &self.right[0];
        let long = "x".repeat(256);
        for name in HOSTILE.iter().copied().chain([long.as_str()]) {
            let mut attempt = words(name, template.password.expose());
            let verdict = self.ask(&attempt).await;
            assert!(!matches!(verdict, Verdict::Known(_)), "{name:?}");
            // Not over a connection that is somebody else's, either.
            attempt.context = template.context.clone();
            let verdict = self.ask(&attempt).await;
            assert!(!matches!(verdict, Verdict::Known(_)), "{name:?}");
        }
    }

    /// Many at once, and each hears of their own.
    async fn keeps_attempts_apart(&self) {
        let mut all = Vec::new();
        for _ in 0..8 {
            for (attempt, caller) in &self.right {
                all.push((attempt, Some(*caller)));
            }
            all.extend(self.wrong.iter().map(|attempt| (attempt, None)));
        }
        let asked = all.iter().map(|(attempt, _)| self.ask(attempt));
        let verdicts = futures_util::future::join_all(asked).await;
        for ((_, expected), verdict) in all.iter().zip(verdicts) {
            let caller = match &verdict {
                Verdict::Known(identity) => Some(identity.caller.as_str()),
                _ => None,
            };
            assert_eq!(caller, *expected);
        }
    }

    async fn survives_those_who_hang_up(&self) {
        let (attempt, caller) = &self.right[0];
        for _ in 0..16 {
            let attempt = attempt.attempt();
            let mut abandoned = self.authenticator.authenticate(&attempt);
            let _ = futures_util::poll!(abandoned.as_mut());
        }
        assert_eq!(known(self.ask(attempt).await).caller.as_str(), *caller);
    }

    async fn wants_the_whole_password(&self) {
        for (attempt, _) in &self.right {
            let good = attempt.password.expose();
            let half = &good[..good.char_indices().nth(1).unwrap().0];
            let variants = [
                String::new(),
                half.to_owned(),
                format!("{good}x"),
                format!(" {good}"),
                format!("{good}\n"),
                format!("{good}\0"),
                good.to_uppercase(),
                "*".to_owned(),
            ];
            for password in variants.iter().filter(|password| *password != good) {
                let mut other = attempt.clone();
                other.password = Secret::new(password.clone());
                let verdict = self.ask(&other).await;
                assert!(matches!(verdict, Verdict::Refused(_)), "{password:?}");
                // Nor is it the password of nobody.
                other.username = String::new();
                let verdict = self.ask(&other).await;
                assert!(!matches!(verdict, Verdict::Known(_)), "{password:?}");
            }
        }
    }

    /// It ends, and does so for every name.
    async fn pretends(&self) {
        for attempt in self.unknown.iter().chain(&self.wrong) {
            let attempt = attempt.attempt();
            let pretended = self.authenticator.pretend(&attempt);
            tokio::time::timeout(Duration::from_secs(30), pretended)
                .await
                .unwrap();
        }
    }
}

impl Try {
    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            username: &self.username,
            password: &self.password,
            context: &self.context,
        }
    }
}

fn known(verdict: Verdict) -> Identity {
    match verdict {
        Verdict::Known(identity) => *identity,
        Verdict::Refused(refusal) => panic!("{refusal:?}"),
        Verdict::Unknown | Verdict::Wrong(_) => panic!("unknown"),
    }
}
