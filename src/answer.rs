//! S3's answers: judged before nginx acts on them, filtered before a client sees them.

pub mod filter;
pub mod if_range;
pub mod judge;
pub mod listing;
pub mod page;
