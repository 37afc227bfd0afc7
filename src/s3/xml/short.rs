//! Names of elements that are compared as one number: nearly all are short enough.

/// How many bytes the number has: those of a name and of the `>` behind it.
const WIDTH: usize = 16;

/// For each length, the bits of so many bytes.
const MASKS: [u128; WIDTH + 1] = {
    let mut masks = [0; WIDTH + 1];
    let mut len = 1;
    while len <= WIDTH {
        masks[len] = u128::MAX >> (8 * (WIDTH - len));
        len += 1;
    }
    masks
};

const fn each(byte: u8) -> u128 {
    u128::from_ne_bytes([byte; WIDTH])
}

/// A name of at most 15 bytes. Its first byte is the lowest of `text`, and `>` is behind the last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Short {
    text: u128,
    /// That of the name.
    len: usize,
}

impl Short {
    /// Takes a name, unless it is longer.
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; WIDTH];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        *bytes.get_mut(name.len())? = b'>';
        Some(Short { text: u128::from_le_bytes(bytes), len: name.len() })
    }

    /// The name in a start tag that some bytes begin with, and its length: if all of it are letters and
    /// nothing is behind it. Other tags are for [`super::token`].
    #[inline]
    pub fn in_start_tag(bytes: &[u8]) -> Option<(Self, usize)> {
        let behind = bytes.strip_prefix(b"<")?;
        let text = u128::from_le_bytes(*behind.first_chunk()?);
        // The highest bit of each byte that is a letter, and of no other.
        let seven = (text | each(0x20)) & each(0x7f);
        let letters =
            (seven + each(0x80 - b'a')) & !(seven + each(0x7f - b'z')) & !text & each(0x80);
        let len = ((letters ^ each(0x80)).trailing_zeros() / 8) as usize;
        if len == 0 || behind.get(len) != Some(&b'>') {
            return None;
        }
        Some((Short { text: text & MASKS.get(len + 1)?, len }, len))
    }

    /// What is behind the end tag of the name, where some bytes begin with it.
    #[inline]
    pub fn behind_end_tag<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let behind = bytes.strip_prefix(b"</")?;
        let text = u128::from_le_bytes(*behind.first_chunk()?);
        let len = self.len + 1;
        (text & MASKS.get(len)? == self.text).then(|| behind.get(len..))?
    }
}
