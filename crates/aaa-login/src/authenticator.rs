//! What every kind of authenticator has in common: it is asked who somebody is, and says.
//!
//! An authenticator does not mint tokens, count, log or audit, and it does not look at the proof of the key: [`crate::login`]
//! does that for all of them, so that a new kind is one file with one `impl`.

use std::borrow::Cow;
use std::sync::Arc;

use aaa_api::error::ApiError;
use aaa_api::handler::Context;
use aaa_core::caller::CallerId;
use aaa_core::claims::ClientPermissions;
use aaa_core::secret::Secret;
use async_trait::async_trait;

/// Says who somebody is.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Its name, as in the setting `authenticator` and in the metrics' label of the same name.
    fn name(&self) -> &'static str;

    /// Decides about one attempt.
    ///
    /// How long it takes and what it returns must not tell a stranger whether a name exists: see [`Verdict::Unknown`].
    ///
    /// # Errors
    /// When it cannot decide, because it is overloaded or what it depends on is away. That is no refusal, and another
    /// authenticator is asked instead only where the setting `fallback` says so.
    async fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Verdict, ApiError>;

    /// Takes as long as it would to find that this user is unknown here, and asks nobody.
    ///
    /// Called when another authenticator has refused a guess before this one's turn: how long the answer takes is not to tell
    /// which of them knows the name.
    async fn pretend(&self, attempt: &Attempt<'_>);

    /// Whether it looks at passwords, so that guessing has to be slow.
    fn takes_passwords(&self) -> bool {
        true
    }
}

/// One attempt to log in.
pub struct Attempt<'a> {
    /// The name that was given; may be empty.
    pub username: &'a str,
    /// The password that was given; may be empty.
    pub password: &'a Secret<String>,
    /// How the attempt came: the address, the client's certificates.
    pub context: &'a Context,
}

/// What an authenticator says.
pub enum Verdict {
    /// It is who they say they are.
    Known(Box<Identity>),
    /// The user is one of this authenticator's, and is not let in. No other authenticator is asked.
    Refused(Refusal),
    /// The user is none of this authenticator's. Another one may know them; if none does, the answer is that of a wrong
    /// password.
    Unknown,
    /// The password is that of nobody of this name here, and whether there is somebody cannot be said, for this reason. It is an
    /// outage, and a guess.
    Wrong(ApiError),
}

/// Somebody who is who they say.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The caller id, such as `up=bob`.
    pub caller: CallerId,
    /// What goes into the token.
    pub rights: Rights,
}

/// What somebody may do, as it goes into a token.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// The organization; empty for the default.
    pub organization: String,
    /// The action list.
    pub agents: Vec<String>,
    /// The Rego policy.
    pub policy: Option<Arc<str>>,
    /// Free-form facts, each name once. No map: an authenticator may keep these of many users, with one or two facts each.
    pub properties: Vec<(String, String)>,
    /// Rights on the network.
    pub permissions: Option<ClientPermissions>,
}

/// Why somebody is not let in, and what they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code, for metrics, log and record.
    pub reason: Reason,
    /// What the person can do about it, or empty when that would tell a stranger something.
    pub advice: Cow<'static, str>,
    /// More, for programs and those who look.
    pub detail: Cow<'static, str>,
    /// The name that they were found to have, whatever they called themselves: for log and record. It may hold anything.
    pub whose: Option<String>,
}

/// Why a login was refused. The set is closed: nothing from outside gets into a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No public key, and logins without are not allowed.
    NoPublicKey,
    /// Dated in the future.
    Future,
    /// Dated more than a minute ago.
    Old,
    /// Not signed by the key that the token was to be bound to.
    BadSignature,
    /// No name or no password.
    NoCredentials,
    /// Nobody has this name.
    UnknownUser,
    /// The password of another.
    WrongPassword,
    /// The directory has locked the user out.
    Locked,
    /// The directory demands a second factor.
    SecondFactor,
    /// The directory's policy does not let them in here.
    NotAllowed,
    /// The account is suspended, its password has ended, or it was never activated.
    Inactive,
    /// In none of the groups that have rights.
    NoGroup,
    /// The certificate of an open connection is good no more.
    Certificate,
    /// The certificate has no name that may log in.
    CertificateName,
    /// The certificate is one that speaks for others.
    Privileged,
    /// Nobody gave this name any rights.
    NoRights,
}

impl Reason {
    /// Every reason, for tables.
    pub const ALL: [Self; 16] = [
        Self::NoPublicKey,
        Self::Future,
        Self::Old,
        Self::BadSignature,
        Self::NoCredentials,
        Self::UnknownUser,
        Self::WrongPassword,
        Self::Locked,
        Self::SecondFactor,
        Self::NotAllowed,
        Self::Inactive,
        Self::NoGroup,
        Self::Certificate,
        Self::CertificateName,
        Self::Privileged,
        Self::NoRights,
    ];

    /// Whether somebody may have been guessing a name or a password.
    pub(crate) const fn is_a_guess(self) -> bool {
        matches!(self, Self::UnknownUser | Self::WrongPassword | Self::Locked)
    }

    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoPublicKey => "no_public_key",
            Self::Future => "future_request",
            Self::Old => "old_request",
            Self::BadSignature => "bad_signature",
            Self::NoCredentials => "no_credentials",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Locked => "locked",
            Self::SecondFactor => "second_factor",
            Self::NotAllowed => "not_allowed",
            Self::Inactive => "inactive",
            Self::NoGroup => "no_group",
            Self::Certificate => "certificate_refused",
            Self::CertificateName => "certificate_name",
            Self::Privileged => "privileged_certificate",
            Self::NoRights => "no_rights",
        }
    }

    /// The reason in words, for operators: in log and record, never in an answer.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoPublicKey => "no public key",
            Self::Future => "dated in the future",
            Self::Old => "dated more than a minute ago",
            Self::BadSignature => "not signed by its public key",
            Self::NoCredentials => "no name or no password",
            Self::UnknownUser => "unknown user",
            Self::WrongPassword => "wrong password",
            Self::Locked => "locked out by the directory",
            Self::SecondFactor => "the directory demands a second factor",
            Self::NotAllowed => "denied by policy of the directory",
            Self::Inactive => "the account is not active",
            Self::NoGroup => "in none of the groups that have rights",
            Self::Certificate => "the certificate has ended or was revoked",
            Self::CertificateName => "the certificate has no name that may log in",
            Self::Privileged => "a privileged certificate",
            Self::NoRights => "nobody gave this name any rights",
        }
    }
}

impl Refusal {
    /// An attempt without a name or a password.
    pub(crate) fn no_credentials() -> Self {
        Self {
            reason: Reason::NoCredentials,
            advice: "a name and a password are needed".into(),
            detail: "username or password is empty".into(),
            whose: None,
        }
    }

    /// A wrong password, or a name that nobody has: whoever asks is told the same.
    pub(crate) fn credentials(reason: Reason) -> Self {
        Self {
            reason,
            advice: Cow::Borrowed(""),
            detail: Cow::Borrowed("the name or the password is wrong"),
            whose: None,
        }
    }
}
