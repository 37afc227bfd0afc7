//! What `nginx -t` says of a wrong directive.

use thiserror::Error;

use crate::nginx::Failed;
use crate::s3::access_point::ArnError;
use crate::s3::auth::credentials::CredentialsError;
use crate::s3::auth::secret::SecretError;
use crate::s3::endpoint::EndpointError;

/// What `nginx -t` says of a wrong configuration; the directive's name goes before it.
#[derive(Debug, Error)]
pub enum ConfError {
    /// A second one on the same level.
    #[error("is duplicate")]
    Duplicate,
    /// Text that is not UTF-8 where a name is expected.
    #[error("has an argument that is not UTF-8 text")]
    NotText,
    /// A parameter that the directive does not have.
    #[error("has an unknown parameter \"{value}\"; {cure}")]
    Parameter { value: String, cure: &'static str },
    /// Neither of two words.
    #[error("has an unknown parameter \"{value}\"; use \"{yes}\" or \"{no}\"")]
    Word { value: String, yes: &'static str, no: &'static str },
    /// More or less than a file of AWS's tools.
    #[error("needs one file; write \"file=path [profile=name]\"")]
    NoFile,
    /// A value that means nothing.
    #[error("has an invalid value \"{value}\"; {cure}")]
    Value { value: String, cure: &'static str },
    /// A name that cannot be set.
    #[error("cannot set \"{name}\": {why}; remove it")]
    Name { name: String, why: &'static str },
    /// A directive that the block does not have.
    #[error(
        "is unknown in \"s3_private_bucket_credentials\"; use \"source\", \"from\", \"role_arn\", \
         \"external_id\", \"session_name\", \"duration\", \"region\", \"endpoint\", \"token_file\", \
         \"trusted_certificate\", \"resolver\", \"resolver_timeout\" or \"wait\""
    )]
    Line,
    /// Too many arguments, or none.
    #[error("has an invalid number of arguments")]
    Count,
    /// A bucket that AWS could not have.
    #[error(
        "has an invalid bucket name \"{0}\"; a bucket is named by 3 to 63 characters \
         a-z, 0-9, \".\" and \"-\""
    )]
    Bucket(String),
    /// An ARN that cannot be served.
    #[error("has an invalid ARN \"{arn}\": {error}")]
    Arn { arn: String, error: ArnError },
    /// A prefix that no key begins with, or that leaves itself.
    #[error("has an invalid prefix \"{value}\"; {cure}")]
    Prefix { value: String, cure: &'static str },
    /// A prefix that leaves no room for a key.
    #[error("has a prefix of {0} bytes; a key has at most 1024 bytes")]
    PrefixLength(usize),
    /// Not a region name.
    #[error("has an invalid region \"{0}\"; use a name such as \"eu-central-1\"")]
    Region(String),
    /// Not an endpoint.
    #[error("has an invalid URL \"{url}\": {error}")]
    Endpoint { url: String, error: EndpointError },
    /// A word of `s3_private_bucket_auth` that it does not have. It may be a secret in the wrong
    /// place: no message repeats it. The line of the configuration tells which one it is.
    #[error("has an unknown parameter; {0}")]
    AuthParameter(&'static str),
    /// Not a token, or a header with another use.
    #[error(
        "cannot send a secret in the header that \"header=\" names; use \"User-Agent\", \
         \"Referer\" or a header of your own"
    )]
    Header,
    /// A secret or credentials file that cannot be read.
    #[error("cannot read the {what} file ({error}); {cure}")]
    File { what: &'static str, error: std::io::Error, cure: &'static str },
    /// A secret that cannot be sent.
    #[error("cannot use the secret in {place}: {error}; write one line of text into it")]
    Secret { place: &'static str, error: SecretError },
    /// Credentials that are not there or not valid.
    #[error("cannot use the credentials in {place}: {error}")]
    Credentials { place: &'static str, error: CredentialsError },
    /// A variable that the environment lacks.
    #[error(
        "finds no {0} in the environment of nginx's master process; set it or use \"file=path\""
    )]
    Environment(&'static str),
    /// Nothing to sign with, or more than one key.
    #[error(
        "needs one key; write \"{0} file=path [profile=name]\", \"{0} env\", \
         \"{0} access_key_id=id secret_access_key=file\", \"{0} credentials=name\", or \"{0}\" with \
         \"instance\", \"container\", \"web_identity\" or \"default\""
    )]
    NoKey(&'static str),
    /// A role that is not named.
    #[error(
        "needs to know which role; define \"s3_private_bucket_credentials name {{ source assume_role; ... \
         }}\" in http{{}}, and write \"{0} credentials=name\""
    )]
    Role(&'static str),
    /// Not a word for the credential scope.
    #[error("has an invalid service behind \"service=\"; use a name such as \"s3\"")]
    Service,
    /// Not the name of an object in a folder.
    #[error("has an invalid name \"{0}\"; use one such as \"index.html\"")]
    Index(String),
    /// Not an account ID.
    #[error("has an invalid account \"{0}\"; use its 12 digits, or \"off\"")]
    Owner(String),
    /// Not a time that S3 accepts.
    #[error("has an invalid time \"{0}\"; use \"1s\" to \"7d\"")]
    Expires(String),
    /// An auth directive without its secret.
    #[error("needs a secret; write \"secret /path/of/file\" or \"secret data:text\"")]
    NoSecret,
    /// An argument that says nothing.
    #[error("has an empty argument; {0}")]
    Empty(&'static str),
    /// nginx has logged the reason, or memory ran out.
    #[error("could not be compiled")]
    Nginx,
}

impl From<Failed> for ConfError {
    fn from(_: Failed) -> Self {
        ConfError::Nginx
    }
}
