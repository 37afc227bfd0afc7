//! Bytes that may be secret: bounded, never copied when they grow, zeroed before their memory is free again.

use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{compiler_fence, Ordering};

/// Bytes up to a length that is known from the beginning.
pub struct Wiped {
    /// It never holds more than its capacity, so that no copy stays elsewhere.
    bytes: Vec<u8>,
    limit: usize,
}

impl Wiped {
    /// No bytes, and room for `limit`.
    pub fn new(limit: usize) -> Self {
        Wiped { bytes: Vec::with_capacity(limit), limit }
    }

    /// As many bytes of zero, to be written to.
    pub fn zeroed(len: usize) -> Self {
        Wiped { bytes: vec![0; len], limit: len }
    }

    /// Adds bytes; false when there is no room for all of them, and then adds none.
    #[must_use]
    pub fn add(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.room();
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    /// For how many bytes more there is room.
    pub fn room(&self) -> usize {
        self.limit - self.bytes.len()
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        for byte in &mut self.bytes {
            // SAFETY: the byte is there; a volatile write is not left out because nobody reads it.
            unsafe { ptr::write_volatile(byte, 0) };
        }
        compiler_fence(Ordering::SeqCst);
    }
}
