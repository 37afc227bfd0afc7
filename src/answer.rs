//! S3's answers: judged before nginx acts on them, filtered before a client sees them.

pub mod act;
pub mod filter;
pub mod folder;
pub mod judge;
pub mod listing;
pub mod page;
pub mod redirect;
pub mod report;
pub mod whole;
