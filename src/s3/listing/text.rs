//! What the three forms of a page are written with: escaped names, numbers, and pairs of digits.

use crate::s3::object::{escaped, is_unreserved};
use crate::s3::time::digits;

/// A text to be written, and what is in it.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub bytes: &'a [u8],
    pub found: Found,
}

/// What is among the bytes of a text: in which of the forms there are some to be escaped, and slashes.
#[derive(Clone, Copy)]
pub struct Found(u8);

const LINK: u8 = 1;
const MARKUP: u8 = 2;
const JSON: u8 = 4;
const SLASH: u8 = 8;

/// What each byte is.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut at = 0;
    while at < 256 {
        let b = at as u8;
        if !is_unreserved(b) {
            kinds[at] |= LINK;
        }
        if matches!(b, b'<' | b'>' | b'&' | b'"') {
            kinds[at] |= MARKUP;
        }
        if matches!(b, b'\\' | b'"' | 0..=0x1f) {
            kinds[at] |= JSON;
        }
        if b == b'/' {
            kinds[at] |= SLASH;
        }
        at += 1;
    }
    kinds
};

impl Found {
    /// Looks at a text: most have nothing.
    #[inline]
    pub fn of(text: &[u8]) -> Self {
        let look = |all, &b: &u8| all | KINDS[usize::from(b)];
        // Four in one turn of the loop.
        let mut fours = text.chunks_exact(4);
        let all = fours.by_ref().fold(0, |all, four| four.iter().fold(all, look));
        Found(fours.remainder().iter().fold(all, look))
    }

    /// Whether there is a slash.
    pub fn has_slash(self) -> bool {
        self.0 & SLASH != 0
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Text { bytes, found: Found::of(bytes) }
    }
}

impl Text<'_> {
    /// How many columns it has: its characters, each of which one byte of UTF-8 begins.
    #[inline]
    pub fn width(self) -> usize {
        match self.found.0 {
            // All of it is in ASCII.
            0 => self.bytes.len(),
            _ => self.bytes.iter().filter(|&&b| b & 0xc0 != 0x80).count(),
        }
    }
}

/// Appends a name as one segment of a relative link: only unreserved characters are not encoded, so that
/// neither a scheme nor a query can be read into it.
pub fn push_link(name: Text, out: &mut Vec<u8>) {
    push(name, LINK, out, |b, out| out.extend_from_slice(&escaped(b)));
}

/// Appends text between or in attributes of HTML or XML, as nginx escapes it.
pub fn push_markup(text: Text, out: &mut Vec<u8>) {
    push(text, MARKUP, out, |b, out| {
        out.extend_from_slice(match b {
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'&' => b"&amp;",
            _ => b"&quot;",
        });
    });
}

/// Appends text inside of a string of JSON, as nginx escapes it.
pub fn push_json(text: Text, out: &mut Vec<u8>) {
    push(text, JSON, out, |b, out| {
        let short = match b {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            0x20.. => b,
            _ => {
                let [_, high, low] = escaped(b);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                return;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    });
}

/// Appends a text whose bytes are escaped where they are to be, if there are such.
#[inline]
fn push(text: Text, form: u8, out: &mut Vec<u8>, escape: impl Fn(u8, &mut Vec<u8>)) {
    if text.found.0 & form == 0 {
        out.extend_from_slice(text.bytes);
        return;
    }
    for &b in text.bytes {
        if KINDS[usize::from(b)] & form != 0 {
            escape(b, out);
        } else {
            out.push(b);
        }
    }
}

/// The longest number, in digits.
const DIGITS: usize = 20;

/// Appends a number to the right of a column of so many bytes, at most those of the longest number.
pub fn push_number<const WIDTH: usize>(mut number: u64, out: &mut Vec<u8>) {
    let (mut column, mut len) = ([b' '; DIGITS], 0);
    let mut pairs = column.rchunks_exact_mut(2);
    while let (10.., Some(pair)) = (number, pairs.next()) {
        pair.copy_from_slice(&digits((number % 100) as u8));
        number /= 100;
        len += 2;
    }
    if number > 0 || len == 0 {
        len += 1;
        if let Some(digit) = column.iter_mut().nth_back(len - 1) {
            *digit = b'0' + number as u8;
        }
    }
    match column.last_chunk::<WIDTH>() {
        Some(column) if len <= WIDTH => out.extend_from_slice(column),
        _ => out.extend_from_slice(column.get(DIGITS - len..).unwrap_or_default()),
    }
}
