//! Which errors of S3 were logged just now.

use core::hash::{Hash, Hasher};
use core::mem;
use std::cell::Cell;
use std::hash::DefaultHasher;

/// The last errors that were logged, as hashes, and when, in seconds.
#[derive(Default)]
pub struct Reported(Cell<[(u64, i64); 8]>);

impl Reported {
    /// Whether an error is to be logged at the time `now`, in seconds: once in each.
    pub fn is_new(&self, error: impl Hash, now: i64) -> bool {
        let mut hasher = DefaultHasher::new();
        error.hash(&mut hasher);
        let hash = hasher.finish();
        let mut known = self.0.get();
        let slot = &mut known[hash as usize % known.len()];
        let is_new = mem::replace(slot, (hash, now)) != (hash, now);
        self.0.set(known);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_new_once_a_second() {
        let reported = Reported::default();
        assert!(reported.is_new(("bucket", 403), 1) && !reported.is_new(("bucket", 403), 1));
        assert!(reported.is_new(("bucket", 403), 2) && !reported.is_new(("bucket", 403), 2));
        assert!(reported.is_new(("bucket", 500), 2));
    }
}
