//! What S3 is asked and what its answers mean: bytes in, bytes out. No nginx, no I/O, no clock.

pub mod answer;
pub mod auth;
pub mod endpoint;
pub mod error_body;
pub mod folder;
pub mod object;
pub mod reported;
// Until a worker asks them.
#[allow(dead_code)]
pub mod sources;
#[allow(dead_code)]
pub mod time;
pub mod version;
#[allow(dead_code)]
pub mod xml;
pub mod zeroed;
