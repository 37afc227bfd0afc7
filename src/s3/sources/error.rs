//! Why a source has no keys, and what an operator can do about it.

use core::fmt;
use core::ops::Deref;

use thiserror::Error;

/// An error code of a source: 1 to 64 ASCII letters and digits, which can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code(Box<str>);

impl Code {
    /// Takes what stands where the code should, and returns `None` when it is none.
    pub fn new(text: &str) -> Option<Self> {
        let is_one =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        is_one.then(|| Code(text.into()))
    }
}

impl Deref for Code {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Why a source has no keys for us. Of an answer, messages have a status and a code at most.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// IMDS lists no role.
    #[error("the instance has no role; attach an instance profile to it")]
    NoProfile,
    /// IMDS is switched off, or a firewall answers.
    #[error(
        "the metadata service refuses (status 403); enable it in the instance's metadata options"
    )]
    MetadataOff,
    /// IMDS without tokens, or something else.
    #[error(
        "there is no metadata service with tokens (IMDSv2) at that address (status {0}); is this an \
         EC2 instance?"
    )]
    NoTokens(u16),
    /// IMDS refused a token that it had just given.
    #[error(
        "the metadata service refuses its own new token (status 401); is there a proxy in between?"
    )]
    TokenRefused,
    /// IMDS names a role and does not know it.
    #[error(
        "the metadata service has no keys of the role (status 404); was the role just changed?"
    )]
    NoRole,
    /// IMDS could not assume the role.
    #[error(
        "the metadata service could not get keys of the role{}; does the role exist, and does its trust \
         policy let ec2.amazonaws.com assume it?",
        in_brackets(None, .0.as_deref())
    )]
    NotAssumed(Option<Code>),
    /// The container's endpoint refused.
    #[error(
        "the endpoint for the container's keys refuses{}; has the task or pod a role, and is the \
         authorization token that of this container?",
        in_brackets(Some(*.status), .code.as_deref())
    )]
    Container {
        /// The answer's status.
        status: u16,
        /// What the endpoint says, as far as it can be shown.
        code: Option<Code>,
    },
    /// STS refused.
    #[error("STS refuses{}{}", in_brackets(Some(*.status), .code.as_deref()), sts_cure(.code.as_deref()))]
    Sts {
        /// The answer's status.
        status: u16,
        /// What STS says, as far as it can be shown.
        code: Option<Code>,
    },
    /// The source is in trouble, or asked too often.
    #[error("the source of the keys is in trouble or asked too often{}", in_brackets(Some(*.status), .code.as_deref()))]
    Busy {
        /// The answer's status.
        status: u16,
        /// What the source says, as far as it can be shown.
        code: Option<Code>,
    },
    /// A status that says nothing here: a redirect, or that of another server.
    #[error("the answer has the status {0}, which this source never has; is the address right?")]
    Status(u16),
    /// The answer is not what the source answers with.
    #[error("the answer is no {0}; is the address right?")]
    Answer(&'static str),
    /// A part of the answer.
    #[error("the answer has no valid \"{0}\"; is the address right?")]
    Field(&'static str),
    /// Old keys, or a wrong clock.
    #[error("the keys in the answer have expired already; is the clock of this machine right?")]
    Ended,
    /// What is sent to the container's endpoint.
    #[error(
        "the authorization token for the container's keys is empty or has bytes that no header can have; \
         see AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE and AWS_CONTAINER_AUTHORIZATION_TOKEN"
    )]
    Authorization,
    /// What is sent to STS.
    #[error(
        "the token file has no token: it is empty, too long, or has bytes that none has; is it written \
         by Kubernetes or your identity provider?"
    )]
    WebIdentity,
}

impl SourceError {
    /// Whether it is likely to pass, so that the source is asked again soon, after 1, 2, 4 ... seconds. After
    /// others, which somebody has to cure, it is asked each minute.
    pub fn passes(&self) -> bool {
        match self {
            SourceError::Busy { .. } | SourceError::NoRole | SourceError::TokenRefused => true,
            SourceError::Answer(_) | SourceError::Field(_) | SourceError::WebIdentity => true,
            SourceError::NoProfile
            | SourceError::MetadataOff
            | SourceError::NoTokens(_)
            | SourceError::NotAssumed(_)
            | SourceError::Container { .. }
            | SourceError::Sts { .. }
            | SourceError::Status(_)
            | SourceError::Ended
            | SourceError::Authorization => false,
        }
    }
}

/// Whether an answer says that the source is in trouble or is asked too often ("Common errors", AWS STS API
/// Reference).
pub fn is_busy(status: u16, code: Option<&str>) -> bool {
    const CODES: [&str; 5] = [
        "IDPCommunicationError",
        "InternalFailure",
        "RequestThrottled",
        "Throttling",
        "ThrottlingException",
    ];
    matches!(status, 408 | 429 | 500..) || code.is_some_and(|code| CODES.contains(&code))
}

/// A status and a code, as they stand in messages.
fn in_brackets(status: Option<u16>, code: Option<&str>) -> impl fmt::Display {
    match (status, code) {
        (Some(status), Some(code)) => format!(" (status {status}, {code})"),
        (Some(status), None) => format!(" (status {status})"),
        (None, Some(code)) => format!(" ({code})"),
        (None, None) => String::new(),
    }
}

/// What an operator can do about an error code of STS.
fn sts_cure(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDenied" | "AccessDeniedException") => {
            "; the role's trust policy has to let the caller assume it, and the caller's own policy \
             has to allow it too"
        }
        Some("InvalidIdentityToken") => {
            "; the token is not for this role: the account needs its identity provider, with the \
             token's audience"
        }
        Some("ExpiredTokenException" | "ExpiredToken") => {
            "; the token that was sent has expired: is its file still renewed, and is the clock of this \
             machine right?"
        }
        Some("IDPRejectedClaim") => "; the identity provider rejects the token",
        Some("InvalidClientTokenId" | "InvalidAccessKeyId") => {
            "; the access key ID that asks is unknown: was the key deleted?"
        }
        Some("SignatureDoesNotMatch" | "IncompleteSignature") => {
            "; the secret access key that asks does not belong to its ID, or the clock of this machine \
             is wrong"
        }
        Some("RequestExpired" | "RequestTimeTooSkewed") => "; the clock of this machine is wrong",
        Some("RegionDisabledException") => "; STS is not activated in that region for this account",
        Some("ValidationError" | "ValidationException") => {
            "; is the duration at most what the role allows, and at most 1h for a role that another \
             assumed role asks for?"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_can_be_shown() {
        for code in ["AccessDenied", "a", &"a".repeat(64)] {
            assert_eq!(Code::new(code).as_deref(), Some(code));
        }
        for text in ["", "a b", "a\n", "a\u{e9}", &"a".repeat(65)] {
            assert_eq!(Code::new(text), None);
        }
    }

    #[test]
    fn errors_tell_the_cure_and_when_to_ask_again() {
        let code = |text| Code::new(text);
        for (error, passes, message) in [
            (SourceError::NoProfile, false, "the instance has no role; attach an instance profile to it"),
            (
                SourceError::NotAssumed(code("AssumeRoleUnauthorizedAccess")),
                false,
                "the metadata service could not get keys of the role (AssumeRoleUnauthorizedAccess); does \
                 the role exist, and does its trust policy let ec2.amazonaws.com assume it?",
            ),
            (
                SourceError::Busy { status: 503, code: None },
                true,
                "the source of the keys is in trouble or asked too often (status 503)",
            ),
            (
                SourceError::Sts { status: 403, code: code("AccessDenied") },
                false,
                "STS refuses (status 403, AccessDenied); the role's trust policy has to let the caller \
                 assume it, and the caller's own policy has to allow it too",
            ),
            (
                SourceError::Sts { status: 400, code: code("Unheard") },
                false,
                "STS refuses (status 400, Unheard)",
            ),
        ] {
            assert_eq!((error.passes(), error.to_string().as_str()), (passes, message));
        }
        for (status, code, busy) in [
            (400, Some("IDPCommunicationError"), true),
            (400, Some("Throttling"), true),
            (429, None, true),
            (500, None, true),
            (503, Some("ServiceUnavailable"), true),
            (400, Some("AccessDenied"), false),
            (403, None, false),
        ] {
            assert_eq!(is_busy(status, code), busy, "{status} {code:?}");
        }
    }
}
