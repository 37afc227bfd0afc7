//! Bytes in shared memory that one process writes and all read, without a lock.

use core::sync::atomic::{fence, AtomicU64, Ordering};

/// How many bytes there is room for.
pub const ROOM: usize = 8 * 1024;

const WORDS: usize = ROOM / 8;

/// Bytes with a version. Zeroed memory is one that has none yet, of version 0.
///
/// The writer fills the half that nobody reads, and one store shows it: a writer that is killed on the way
/// harms no reader.
#[repr(C)]
pub struct Published {
    version: AtomicU64,
    halves: [Half; 2],
}

#[repr(C)]
struct Half {
    len: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Published {
    /// The version that is shown; 0 before the first.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Shows other bytes; returns their version, or `None` for more than [`ROOM`].
    ///
    /// Of two that write at once the bytes may be mixed: they have to tell by themselves whether they are
    /// whole.
    pub fn publish(&self, bytes: &[u8]) -> Option<u64> {
        if bytes.len() > ROOM {
            return None;
        }
        let next = self.version.load(Ordering::Acquire) + 1;
        let half = self.half(next);
        // No word is written before the version that its half had is no longer shown.
        fence(Ordering::SeqCst);
        half.len.store(bytes.len() as u64, Ordering::Relaxed);
        let mut words = half.words.iter();
        for (chunk, word) in bytes.chunks(8).zip(&mut words) {
            let mut whole = [0; 8];
            whole[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
        // Nothing of a writer that was killed stays behind shorter bytes.
        words.for_each(|word| word.store(0, Ordering::Relaxed));
        self.version.store(next, Ordering::Release);
        // Nor of older bytes. Who reads them meanwhile sees the new version behind.
        fence(Ordering::SeqCst);
        self.half(next + 1).words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        Some(next)
    }

    /// Copies what is shown into an empty `out`; returns its version, or `None` when there is none.
    pub fn read(&self, out: &mut Vec<u8>) -> Option<u64> {
        // Another write in the middle of a copy is rare, and two of them do not happen.
        for _ in 0..8 {
            let version = self.version();
            if version == 0 {
                return None;
            }
            let half = self.half(version);
            let len = (half.len.load(Ordering::Relaxed) as usize).min(ROOM);
            out.clear();
            out.reserve_exact(ROOM);
            for word in &half.words[..len.div_ceil(8)] {
                out.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
            }
            out.truncate(len);
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == version {
                return Some(version);
            }
        }
        None
    }

    fn half(&self, version: u64) -> &Half {
        &self.halves[(version & 1) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::{alloc_zeroed, Layout};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    fn zeroed() -> Arc<Published> {
        // SAFETY: zeroed memory is a valid value.
        let boxed = unsafe { Box::from_raw(alloc_zeroed(Layout::new::<Published>()).cast()) };
        Arc::<Published>::from(boxed)
    }

    fn read(from: &Published) -> Option<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        from.read(&mut out).map(|version| (version, out))
    }

    #[test]
    fn what_was_published_last_is_read() {
        let shared = zeroed();
        assert_eq!(read(&shared), None);
        for (i, len) in [0, 1, 7, 8, 9, ROOM, 3].into_iter().enumerate() {
            let bytes = vec![i as u8 + 1; len];
            assert_eq!(shared.publish(&bytes), Some(i as u64 + 1));
            assert_eq!(read(&shared), Some((i as u64 + 1, bytes)));
        }
        assert_eq!(shared.publish(&vec![0; ROOM + 1]), None);
        assert_eq!(shared.version(), 7);
    }

    #[test]
    fn nothing_of_older_bytes_stays() {
        let shared = zeroed();
        for version in 1..=3 {
            shared.publish(&[0xff; ROOM]);
            assert_eq!(read(&shared), Some((2 * version - 1, vec![0xff; ROOM])));
            shared.publish(b"a");
            let words = shared.halves.iter().flat_map(|half| &half.words);
            let left: Vec<_> =
                words.map(|word| word.load(Ordering::Relaxed)).filter(|&word| word != 0).collect();
            assert_eq!(left, [u64::from_ne_bytes(*b"a\0\0\0\0\0\0\0")]);
        }
    }

    #[test]
    fn a_writer_that_is_killed_on_the_way_harms_nobody() {
        let shared = zeroed();
        shared.publish(b"whole");
        let next = shared.half(2);
        next.len.store(u64::MAX, Ordering::Relaxed);
        next.words[0].store(u64::MAX, Ordering::Relaxed);
        assert_eq!(read(&shared), Some((1, b"whole".to_vec())));
        assert_eq!(shared.publish(b"next"), Some(2));
        assert_eq!(read(&shared), Some((2, b"next".to_vec())));
    }

    #[test]
    fn readers_see_whole_bytes_while_they_change() {
        let shared = zeroed();
        shared.publish(&[1; 100]);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let mut out = Vec::new();
                    while shared.version() < 20_000 {
                        if shared.read(&mut out).is_some() {
                            assert!(out.windows(2).all(|pair| pair[0] == pair[1]));
                        }
                    }
                })
            })
            .collect();
        for n in 2..=20_000u32 {
            shared.publish(&vec![n as u8; (n % 200) as usize + 1]);
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }
}
