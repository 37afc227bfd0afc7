//! What is counted of connections to S3 and of its answers, in memory that all processes share.
//!
//! There is none, and nothing is counted, where no location shows it (`s3_private_bucket_status`).

pub mod counter;
pub mod names;
pub mod table;
