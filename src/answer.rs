//! S3's answers: judged before nginx acts on them, filtered before a client sees them.

pub mod filter;
pub mod judge;
pub mod whole;
