//! Connections to S3 that are kept: an upstream group that no configuration names, whose addresses follow
//! DNS.

pub mod addresses;
pub mod group;
pub mod peer;
