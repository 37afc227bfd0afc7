//! What the three forms of a page are written with: escaped names, numbers, and pairs of digits.

use crate::s3::object::is_unreserved;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// In which of the forms a name has bytes to be escaped.
#[derive(Clone, Copy)]
pub struct Needs {
    link: bool,
    markup: bool,
    json: bool,
}

impl Needs {
    /// Looks at a name: most need nothing.
    pub fn of(name: &[u8]) -> Self {
        if is_plain(name) {
            return Needs { link: false, markup: false, json: false };
        }
        let any = |is: fn(u8) -> bool| name.iter().any(|&b| is(b));
        Needs { link: any(in_link), markup: any(in_markup), json: any(in_json) }
    }

    /// Whether the name is ASCII letters, digits and `-._~`: itself everywhere, a column a byte.
    pub fn is_none(self) -> bool {
        !self.link
    }
}

fn in_link(b: u8) -> bool {
    !is_unreserved(b)
}

fn in_markup(b: u8) -> bool {
    matches!(b, b'<' | b'>' | b'&' | b'"')
}

fn in_json(b: u8) -> bool {
    matches!(b, b'\\' | b'"' | 0..=0x1f)
}

/// Whether all bytes of a name are unreserved: a look at many of them at a time, where the last
/// may be looked at twice. No short name is plain.
fn is_plain(name: &[u8]) -> bool {
    const STEP: usize = 16;
    let Some(last) = name.last_chunk::<STEP>() else { return false };
    // In two ranges, which the compiler looks at together: `-./` and the digits are next to each other.
    let is_odd = |chunk: &[u8; STEP]| {
        chunk.iter().fold(false, |odd, &b| {
            let is_plain =
                matches!(b, b'-'..=b'9') | b.is_ascii_alphabetic() | (b == b'_') | (b == b'~');
            odd | !is_plain | (b == b'/')
        })
    };
    let mut rest = name;
    while let Some((chunk, behind)) = rest.split_first_chunk() {
        if is_odd(chunk) {
            return false;
        }
        rest = behind;
    }
    !is_odd(last)
}

/// Appends a name as one segment of a relative link: only unreserved characters are not encoded, so that
/// neither a scheme nor a query can be read into it.
pub fn push_link(name: &[u8], needs: Needs, out: &mut Vec<u8>) {
    push(name, needs.link, in_link, out, |b, out| {
        let digit = |b: u8| HEX[usize::from(b & 15)];
        out.extend_from_slice(&[b'%', digit(b >> 4), digit(b)]);
    });
}

/// Appends text between or in attributes of HTML or XML, as nginx escapes it.
pub fn push_markup(text: &[u8], needs: Needs, out: &mut Vec<u8>) {
    push(text, needs.markup, in_markup, out, |b, out| {
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
    push(text, needs.json, in_json, out, |b, out| {
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
fn push(
    text: &[u8],
    has_some: bool,
    is_one: fn(u8) -> bool,
    out: &mut Vec<u8>,
    escape: impl Fn(u8, &mut Vec<u8>),
) {
    if !has_some {
        out.extend_from_slice(text);
        return;
    }
    for &b in text {
        if is_one(b) {
            escape(b, out);
        } else {
            out.push(b);
        }
    }
}

/// The two digits of a number below 100.
pub fn two(number: u32) -> [u8; 2] {
    let tens = number / 10;
    [b'0' + tens as u8, b'0' + (number - 10 * tens) as u8]
}

/// The four digits of a year.
pub fn four(year: u32) -> [u8; 4] {
    let ([a, b], [c, d]) = (two(year / 100), two(year % 100));
    [a, b, c, d]
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

/// The names of the months, as nginx writes them.
pub const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The name of a month, from 1 to 12.
pub fn month(number: u32) -> &'static [u8; 3] {
    MONTHS[(number.wrapping_sub(1) % 12) as usize]
}
