//! Keys that renew themselves: where they are from, how they are renewed off the request path, and a
//! worker's copy of them.

pub mod ask;
pub mod keys;
pub mod refresh;
pub mod report;
pub mod schedule;
pub mod slot;
pub mod source;
