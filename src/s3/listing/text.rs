//! What the three forms of a page are written with: escaped names, numbers, and pairs of digits.

use crate::s3::object::is_unreserved;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// In which of the forms a name has bytes to be escaped.
#[derive(Clone, Copy)]
pub struct Needs(u8);

const LINK: u8 = 1;
const MARKUP: u8 = 2;
const JSON: u8 = 4;

/// In which of the forms each byte is to be escaped.
const NEEDS: [u8; 256] = {
    let mut needs = [0; 256];
    let mut at = 0;
    while at < 256 {
        let b = at as u8;
        if !is_unreserved(b) {
            needs[at] |= LINK;
        }
        if matches!(b, b'<' | b'>' | b'&' | b'"') {
            needs[at] |= MARKUP;
        }
        if matches!(b, b'\\' | b'"' | 0..=0x1f) {
            needs[at] |= JSON;
        }
        at += 1;
    }
    needs
};

impl Needs {
    /// Looks at a name: most need nothing.
    pub fn of(name: &[u8]) -> Self {
        Needs(name.iter().fold(0, |all, &b| all | NEEDS[usize::from(b)]))
    }

    /// Whether the name is ASCII letters, digits and `-._~`: itself everywhere, a column a byte.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Appends a name as one segment of a relative link: only unreserved characters are not encoded, so that
/// neither a scheme nor a query can be read into it.
pub fn push_link(name: &[u8], needs: Needs, out: &mut Vec<u8>) {
    push(name, needs, LINK, out, |b, out| {
        let digit = |b: u8| HEX[usize::from(b & 15)];
        out.extend_from_slice(&[b'%', digit(b >> 4), digit(b)]);
    });
}

/// Appends text between or in attributes of HTML or XML, as nginx escapes it.
pub fn push_markup(text: &[u8], needs: Needs, out: &mut Vec<u8>) {
    push(text, needs, MARKUP, out, |b, out| {
        out.extend_from_slice(match b {
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'&' => b"&amp;",
            _ => b"&quot;",
        });
    });
}

/// Appends text inside of a string of JSON, as nginx escapes it.
pub fn push_json(text: &[u8], needs: Needs, out: &mut Vec<u8>) {
    push(text, needs, JSON, out, |b, out| {
        let short = match b {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            0x20.. => b,
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
                return;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    });
}

/// Appends a text whose bytes are escaped where they are to be, if there are such.
#[inline]
fn push(text: &[u8], needs: Needs, form: u8, out: &mut Vec<u8>, escape: impl Fn(u8, &mut Vec<u8>)) {
    if needs.0 & form == 0 {
        out.extend_from_slice(text);
        return;
    }
    for &b in text {
        if NEEDS[usize::from(b)] & form != 0 {
            escape(b, out);
        } else {
            out.push(b);
        }
    }
}

/// The longest number, in digits.
const DIGITS: usize = 20;

/// Appends a number to the right of a column, whose width is at most that of the longest number.
pub fn push_number(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let (mut column, mut start) = ([b' '; DIGITS], DIGITS);
    for (at, byte) in column.iter_mut().enumerate().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
        start = at;
        if number == 0 {
            break;
        }
    }
    let start = start.min(DIGITS - width.min(DIGITS));
    out.extend_from_slice(column.get(start..).unwrap_or_default());
}
