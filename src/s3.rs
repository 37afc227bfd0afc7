//! What S3 is asked and what its answers mean: bytes in, bytes out. No nginx, no I/O, no clock.

pub mod access_point;
pub mod answer;
pub mod auth;
pub mod aws;
pub mod endpoint;
pub mod error_body;
pub mod folder;
pub mod listing;
pub mod metrics;
pub mod object;
pub mod own;
pub mod partition;
pub mod redirect;
pub mod reported;
pub mod sources;
pub mod time;
pub mod version;
pub mod xml;
pub mod zeroed;
