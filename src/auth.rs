//! As whom S3 is asked.

pub mod secret;

use secret::Secret;

/// The argument of `s3_private_bucket_auth`.
pub enum Auth {
    /// The bucket policy lets this host in by its address or VPC endpoint.
    None,
    /// The bucket policy lets in whoever sends a secret header.
    Secret(Secret),
}
