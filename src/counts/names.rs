//! Names in shared memory, each of which has a place that it keeps. None is ever taken out.

use core::sync::atomic::{AtomicU64, Ordering};

/// The longest name, in bytes: the ARN of an access point, and more than a bucket's.
const ROOM: usize = 256;

/// Nobody has the place.
const FREE: u64 = 0;
/// A process is writing the name. Where it was killed on the way, nobody gets the place.
const TAKEN: u64 = 1;
/// The name can be read.
const THERE: u64 = 2;

/// Places for so many names. Zeroed memory has none.
#[repr(C)]
pub struct Names<const N: usize> {
    places: [Name; N],
}

#[repr(C)]
struct Name {
    state: AtomicU64,
    len: AtomicU64,
    words: [AtomicU64; ROOM / 8],
}

impl<const N: usize> Names<N> {
    /// The place of a name, if it has one.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        for (i, place) in self.places.iter().enumerate() {
            match place.state.load(Ordering::Acquire) {
                FREE => return None,
                THERE if place.is(name) => return Some(i),
                _ => {}
            }
        }
        None
    }

    /// The place of a name, which it gets if it has none; `None` for a name that is too long, or when there is
    /// no place left.
    ///
    /// Of two processes that bring the same name at once each may get a place for it: who reads them all has to
    /// add up what belongs to one name.
    pub fn find_or_add(&self, name: &[u8]) -> Option<usize> {
        if name.len() > ROOM {
            return None;
        }
        self.places.iter().position(|place| match place.state.load(Ordering::Acquire) {
            THERE => place.is(name),
            FREE => place.take(name),
            _ => false,
        })
    }

    /// The name in a place, if there is one.
    pub fn get(&self, place: usize) -> Option<Vec<u8>> {
        let place = self.places.get(place)?;
        (place.state.load(Ordering::Acquire) == THERE).then(|| place.read())
    }
}

impl Name {
    /// Writes the name, unless another process was faster; returns whether the place is that name's.
    fn take(&self, name: &[u8]) -> bool {
        let taken = self.state.compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Acquire);
        match taken {
            Ok(_) => {
                for (word, bytes) in self.words.iter().zip(words(name)) {
                    word.store(bytes, Ordering::Relaxed);
                }
                self.len.store(name.len() as u64, Ordering::Relaxed);
                self.state.store(THERE, Ordering::Release);
                true
            }
            Err(state) => state == THERE && self.is(name),
        }
    }

    fn is(&self, name: &[u8]) -> bool {
        self.len.load(Ordering::Relaxed) == name.len() as u64
            && self.words.iter().zip(words(name)).all(|(a, b)| a.load(Ordering::Relaxed) == b)
    }

    fn read(&self) -> Vec<u8> {
        let words = self.words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        words.take(self.len.load(Ordering::Relaxed) as usize).collect()
    }
}

/// A name's bytes by eight, the last ones with zeros behind them.
fn words(name: &[u8]) -> impl Iterator<Item = u64> + '_ {
    name.chunks(8).map(|chunk| {
        let mut whole = [0; 8];
        whole[..chunk.len()].copy_from_slice(chunk);
        u64::from_ne_bytes(whole)
    })
}

#[cfg(test)]
mod tests {
    use std::alloc::{alloc_zeroed, Layout};
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    fn zeroed<const N: usize>() -> Arc<Names<N>> {
        // SAFETY: zeroed memory is a valid value.
        let boxed = unsafe { Box::from_raw(alloc_zeroed(Layout::new::<Names<N>>()).cast()) };
        Arc::<Names<N>>::from(boxed)
    }

    #[test]
    fn a_name_keeps_its_place() {
        let names = zeroed::<3>();
        assert_eq!((names.find(b"a"), names.get(0)), (None, None));
        let long = [b'x'; ROOM];
        for (place, name) in [&b"a"[..], b"a\0", &long].into_iter().enumerate() {
            assert_eq!(names.find(name), None);
            assert_eq!(names.find_or_add(name), Some(place));
            assert_eq!(names.find_or_add(name), Some(place));
            assert_eq!((names.find(name), names.get(place)), (Some(place), Some(name.to_vec())));
        }
        assert_eq!((names.find_or_add(b"b"), names.find(b"b")), (None, None), "all are taken");
        assert_eq!(names.find_or_add(&[b'x'; ROOM + 1]), None);
        assert_eq!(names.get(3), None);
    }

    #[test]
    fn a_writer_that_is_killed_on_the_way_costs_a_place() {
        let names = zeroed::<3>();
        names.places[0].state.store(TAKEN, Ordering::Relaxed);
        assert_eq!(names.find_or_add(b"a"), Some(1));
        assert_eq!((names.find(b"a"), names.get(0)), (Some(1), None));
    }

    #[test]
    fn names_that_come_at_once_are_all_whole() {
        let names = zeroed::<64>();
        let bring = |first: u8| {
            let names = names.clone();
            thread::spawn(move || {
                for round in 0..200u8 {
                    let name = [b'a' + (round + first) % 20; 20];
                    let place = names.find_or_add(&name).unwrap();
                    assert_eq!(names.get(place).unwrap(), name);
                }
            })
        };
        let threads: Vec<_> = [0, 7, 13].map(bring).into();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let all: BTreeSet<_> = (0..64).filter_map(|place| names.get(place)).collect();
        assert_eq!(all, (0..20).map(|i| vec![b'a' + i; 20]).collect());
    }
}
