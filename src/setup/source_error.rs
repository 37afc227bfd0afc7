//! Why the configuration has no keys where it names some.

use thiserror::Error;

use super::peer::PeerError;
use crate::s3::sources::uri::UriError;

/// Why a source cannot be used.
#[derive(Debug, Error)]
pub enum SourcesError {
    /// No block of that name.
    #[error(
        "there are none of that name; define them with \"s3_private_bucket_credentials {0} {{ ... }}\" in \
         http{{}}"
    )]
    Unknown(Box<str>),
    /// A block that does not say what it is.
    #[error(
        "it has no \"source\"; add \"source\" with \"instance\", \"container\", \"web_identity\", \
         \"assume_role\", \"default\" or \"file=path\""
    )]
    NoSource,
    /// A directive that means nothing for its source.
    #[error("\"{0}\" does not go with \"source {1}\"; remove it")]
    Surplus(&'static str, &'static str),
    /// A directive that its source needs.
    #[error("\"source {1}\" needs \"{0}\"; add it")]
    Missing(&'static str, &'static str),
    /// Keys that ask for themselves.
    #[error("it asks for its own keys: {0}; let one of them come from elsewhere")]
    Loop(String),
    /// A longer session than AWS gives.
    #[error(
        "\"duration\" is more than 1h, and STS gives no more to who asks with the keys of a role; use \
         at most \"1h\""
    )]
    Duration,
    /// The environment says that there is no metadata service.
    #[error(
        "AWS_EC2_METADATA_DISABLED is set in the environment of nginx's master process; unset it"
    )]
    Disabled,
    /// Neither IPv4 nor IPv6.
    #[error("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is \"{0}\"; set it to \"IPv4\" or \"IPv6\"")]
    Mode(String),
    /// What ECS and EKS set.
    #[error(
        "the environment of nginx's master process has neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI \
         nor AWS_CONTAINER_CREDENTIALS_FULL_URI, which ECS and EKS Pod Identity set; give the task or \
         the service account a role"
    )]
    NoContainer,
    /// What EKS sets, or a directive.
    #[error(
        "it has no \"{directive}\", and the environment of nginx's master process no {variable}; set one \
         of them"
    )]
    NoValue { directive: &'static str, variable: &'static str },
    /// A value of the environment.
    #[error("{0} in the environment of nginx's master process is not valid: {1}")]
    Environment(&'static str, String),
    /// Where it is asked.
    #[error("\"endpoint\" is \"{0}\": {1}")]
    Endpoint(Box<str>, UriError),
    /// How it is asked.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// A name, and why it cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the credentials \"{name}\": {error}")]
pub struct Refused {
    pub name: Box<str>,
    pub error: SourcesError,
}
