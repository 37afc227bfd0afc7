//! As whom S3 is asked.

pub mod credentials;
pub mod secret;
pub mod sigv4;

use std::rc::Rc;

use credentials::Credentials;
use secret::Secret;

/// The argument of `s3_private_bucket_auth`.
pub enum Auth {
    /// The bucket policy lets this host in by its address or VPC endpoint.
    None,
    /// The bucket policy lets in whoever sends a secret header.
    Secret(Secret),
    /// Requests are signed for AWS's Signature Version 4.
    Sigv4 {
        /// Whose signature it is.
        credentials: Rc<Credentials>,
        /// The service in the credential scope.
        service: Box<str>,
    },
}

/// A literal text as an argument of `proxy_set_header`, where `$` begins a variable: each one is
/// written as `dollar`, a variable that holds just that.
pub fn proxy_value(text: &str, dollar: &str) -> String {
    text.replace('$', dollar)
}
