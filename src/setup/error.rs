//! Why a location cannot serve a bucket.

use thiserror::Error;

use super::groups::Obstacle;
use super::source_error::Refused;
use crate::nginx::foreign::ForeignError;
use crate::nginx::Failed;
use crate::request::names::NameError;
use crate::s3::aws::NoEndpoint;

/// Why a location cannot serve a bucket, as `nginx -t` says it.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Sending nothing must be said, as forgetting it would look like a broken policy.
    #[error(
        "has no \"s3_private_bucket_auth\"; add \"sigv4 file=path\", \"secret /path/of/file\" \
         or \"none\""
    )]
    NoAuth,
    /// A second content handler.
    #[error(
        "shares its location with another handler of requests; remove that, or write \
         \"proxy_pass\" with \"$s3_private_bucket_uri\""
    )]
    Handler,
    /// A `proxy_pass` that would send the client's URI to S3.
    #[error(
        "shares its location with a \"proxy_pass\" without \"$s3_private_bucket_uri\"; add it"
    )]
    ProxyPass,
    /// A header or method that would differ from the one that is signed.
    #[error("shares its location with \"{0}\", which the signature covers; remove it")]
    Signed(String),
    /// An argument that S3 takes for another signature.
    #[error(
        "lets \"{0}\" of \"s3_private_bucket_pass_args\" reach S3, which takes it for a signature; \
         remove it"
    )]
    SignedArgument(String),
    /// A signature that AWS refuses, whatever the key.
    #[error("signs with \"sigv2\", which {0} does not take; use \"sigv4\"")]
    Sigv2(String),
    /// A header with two values.
    #[error("sends its secret in the header \"{0}\", which \"s3_private_bucket_set_header\" sets too; remove that")]
    SecretHeader(Box<str>),
    /// Keys that cannot be used.
    #[error(transparent)]
    Keys(#[from] Refused),
    /// A variable that cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A redirect to a folder that is not served.
    #[error(
        "has \"s3_private_bucket_append_slash\" without folders; add \"s3_private_bucket_index\" or \
         \"s3_private_bucket_autoindex\", or switch it off"
    )]
    NoIndex,
    /// Pages begin behind the last name of the one before.
    #[error(
        "cannot show the folders of \"{0}\", as a directory bucket lists them in no order; write \
         \"s3_private_bucket_autoindex off\""
    )]
    DirectoryBucket(String),
    /// A bucket in front of an address is not a host name.
    #[error(
        "cannot put the bucket before the address \"{0}\"; use \"s3_private_bucket_addressing \
         path\" or an endpoint with a host name"
    )]
    Address(String),
    /// An endpoint that AWS does not have.
    #[error("cannot go to that \"s3_private_bucket_endpoint\": {0}")]
    Endpoint(#[from] NoEndpoint),
    /// An access point is named by its host alone.
    #[error(
        "has an access point, which stands in the host name; remove \"s3_private_bucket_addressing \
         path\""
    )]
    AccessPointPath,
    /// An access point in front of an address is not a host name.
    #[error(
        "cannot put the access point before the address \"{0}\"; use an endpoint with a host name"
    )]
    AccessPointAddress(String),
    /// A bucket of the access point's name could be anybody's.
    #[error(
        "has an access point, which is not at \"{0}\"; write \"s3_private_bucket_endpoint aws\", or the URL of an \
         endpoint for access points"
    )]
    AccessPointUrl(String),
    /// A prefix that servers read differently.
    #[error(
        "has the prefix \"{0}\" with a backslash, which only AWS's own endpoints do not take for a slash; \
         remove it"
    )]
    Backslash(String),
    /// `upstream=` names nothing.
    #[error("needs the upstream group \"{0}\"; define it with \"upstream {0} {{ ... }}\"")]
    Upstream(String),
    /// Nothing to verify S3's certificate with.
    #[error(
        "finds no CA certificates of the system; install ca-certificates or set \
         \"proxy_ssl_trusted_certificate\""
    )]
    CaBundle,
    /// Nothing to resolve S3's name with.
    #[error(
        "finds no name server in /etc/resolv.conf; set \"resolver\", or use \"upstream=\" of \
         \"s3_private_bucket_endpoint\""
    )]
    Resolver,
    /// A directive of another module that could not be run.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// Connections that were to be kept cannot be.
    #[error("cannot keep connections open: {0}; or set \"s3_private_bucket_keepalive off\"")]
    Keepalive(Obstacle),
    /// A setting that another module refused.
    #[error("{error}, to {why}")]
    Setting { error: ForeignError, why: &'static str },
    /// nginx has logged the reason, or memory ran out.
    #[error(transparent)]
    Nginx(#[from] Failed),
}
