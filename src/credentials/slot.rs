//! What all processes know of one source of keys: a place in shared memory.
//!
//! One task writes it, in worker 0; every worker reads it.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::nginx::published::{Published, ROOM};
use crate::s3::auth::credentials::Credentials;
use crate::s3::auth::packed::{pack, unpack};
use crate::s3::zeroed::zero;

/// The place. Zeroed memory is one that knows nothing yet.
#[repr(C)]
pub struct Slot {
    keys: Published,
    /// When the keys end, in Unix seconds; 0 when they do not say. Written before they are shown.
    expires: AtomicI64,
    /// When they are to be renewed, in Unix seconds; 0 before the first attempt.
    due: AtomicI64,
    /// How many attempts in a row failed; at least one for keys that were never there.
    failures: AtomicU64,
    /// How many attempts brought keys, and how many failed, since the place is there.
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// The newest task that writes here: an older one stops.
    generation: AtomicU64,
    /// The version of keys that S3 refused.
    refused: AtomicU64,
}

/// What a request finds where keys should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There were none yet, and the first attempt is under way.
    Awaited,
    /// There are none: the attempts failed.
    None,
    /// Keys, the last attempt to renew which may have failed.
    Stale,
    /// Keys, which are renewed in time.
    Ok,
}

impl Slot {
    /// The version of the keys; 0 before the first.
    #[inline]
    pub fn version(&self) -> u64 {
        self.keys.version()
    }

    /// The keys and their version; `None` before the first, or while they are being replaced.
    pub fn keys(&self) -> Option<(u64, Credentials)> {
        let mut bytes = Vec::new();
        let found = self.keys.read(&mut bytes).and_then(|v| Some((v, unpack(&bytes)?)));
        zero(&mut bytes);
        found
    }

    /// What requests find.
    pub fn state(&self) -> State {
        let failed = self.failures.load(Ordering::Relaxed) > 0;
        match (self.version() > 0, failed) {
            (false, false) => State::Awaited,
            (false, true) => State::None,
            (true, true) => State::Stale,
            (true, false) => State::Ok,
        }
    }

    /// When the keys end, in Unix seconds, if they are there and say so.
    pub fn expires(&self) -> Option<i64> {
        let expires = self.expires.load(Ordering::Relaxed);
        (self.version() > 0 && expires > 0).then_some(expires)
    }

    /// When they are to be renewed, in Unix seconds; 0 before the first attempt.
    pub fn due(&self) -> i64 {
        self.due.load(Ordering::Relaxed)
    }

    /// How many attempts in a row failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// An attempt brought keys, new ones or those that were there.
    pub fn succeed(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    /// How many attempts brought keys, and how many failed, since the place is there.
    pub fn attempts(&self) -> (u64, u64) {
        (self.succeeded.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// S3 refused the keys of this version.
    pub fn refuse(&self, version: u64) {
        self.refused.fetch_max(version, Ordering::Relaxed);
    }

    /// Whether S3 refused the keys that are there.
    pub fn is_refused(&self) -> bool {
        let version = self.version();
        version > 0 && self.refused.load(Ordering::Relaxed) >= version
    }

    /// Begins to write here; returns what tells this writer from older ones.
    pub fn take_over(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether no newer task writes here.
    pub fn is_mine(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Whether keys are not too long for it.
    pub fn has_room_for(keys: &Credentials) -> bool {
        pack(keys).len() <= ROOM
    }

    /// Shows new keys, which end at `expires` and are to be renewed at `due`. Returns false for keys that are
    /// too long.
    pub fn publish(&self, keys: &Credentials, expires: Option<i64>, due: i64) -> bool {
        let packed = pack(keys);
        if packed.len() > ROOM {
            return false;
        }
        self.keep(expires, due);
        self.keys.publish(packed.as_bytes()).is_some()
    }

    /// The keys are still the right ones.
    pub fn keep(&self, expires: Option<i64>, due: i64) {
        self.expires.store(expires.unwrap_or(0), Ordering::Relaxed);
        self.due.store(due, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }

    /// An attempt failed; the next one is at `due`.
    pub fn fail(&self, due: i64) {
        self.due.store(due, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}
