//! A page as HTML: that of nginx's autoindex, but names are never cut, and a link leads to the next page.

use super::page::{Entry, Page};
use super::question::write_link;
use super::text::{push_link, push_markup, push_number, Needs};
use crate::s3::time::{civil, digits, month, year_digits};

/// How a page is shown.
pub struct View<'a> {
    /// The client's path, decoded.
    pub uri: &'a [u8],
    /// Whether it is that of the location, above which nothing is to be linked.
    pub is_root: bool,
    /// Whether sizes are in bytes, or rounded.
    pub exact_size: bool,
    /// By how many seconds the time that is shown is ahead of UTC.
    pub utc_offset: i64,
}

/// The columns of a name and a date, as autoindex has them; longer names move the others.
const NAME: usize = 50;
const DATE: usize = 19;

// Lines are broken, even inside of long names. On a telephone there are no columns, and room for a finger.
const HEAD: &[u8] = b"<!DOCTYPE html>\r\n<html>\r\n<head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width\">\
    <style>h1,pre{overflow-wrap:anywhere}pre{white-space:pre-wrap}\
    @media(max-width:45em){pre{white-space:pre-line;line-height:2}}</style>\r\n<title>Index of ";

/// Appends the page.
pub fn write(page: &Page, view: &View, out: &mut Vec<u8>) {
    let needs = Needs::of(view.uri);
    out.extend_from_slice(HEAD);
    push_markup(view.uri, needs, out);
    out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    push_markup(view.uri, needs, out);
    out.extend_from_slice(b"</h1><hr><pre>");
    if !view.is_root {
        out.extend_from_slice(b"<a href=\"../\">../</a>\r\n");
    }
    for (name, file) in page.entries() {
        write_entry(name, file, view, out);
    }
    out.extend_from_slice(b"</pre><hr>");
    if let Some(next) = page.next() {
        out.extend_from_slice(b"<a href=\"");
        write_link(next, out);
        out.extend_from_slice(b"\" rel=\"next\">Next page</a>\r\n");
    }
    out.extend_from_slice(b"</body>\r\n</html>\r\n");
}

fn write_entry(name: &[u8], file: Option<&Entry>, view: &View, out: &mut Vec<u8>) {
    let (needs, is_folder) = (Needs::of(name), file.is_none());
    out.reserve(2 * name.len() + 128);
    out.extend_from_slice(b"<a href=\"");
    push_link(name, needs, out);
    if is_folder {
        out.push(b'/');
    }
    out.extend_from_slice(b"\">");
    push_markup(name, needs, out);
    if is_folder {
        out.push(b'/');
    }
    out.extend_from_slice(b"</a>");
    let width =
        if needs.is_none() { name.len() } else { characters(name) } + usize::from(is_folder);
    let mut columns = [b' '; NAME + DATE];
    if let Some(date) = columns.last_chunk_mut() {
        write_date(file, view, date);
    }
    out.extend_from_slice(columns.get(width.min(NAME)..).unwrap_or_default());
    push_size(file, view, out);
}

/// How many characters there are in UTF-8: bytes that begin one.
fn characters(name: &[u8]) -> usize {
    name.iter().filter(|&&b| b & 0xc0 != 0x80).count()
}

/// Writes the column of the date, which is one of spaces.
fn write_date(file: Option<&Entry>, view: &View, column: &mut [u8; DATE]) {
    if let Some(mut at) = file.and_then(|file| file.mtime) {
        if view.utc_offset != 0 {
            at = civil(at.seconds() + view.utc_offset);
        }
        let ([d1, d2], [m1, m2, m3], [y1, y2, y3, y4]) =
            (digits(at.day), *month(at.month), year_digits(at.year));
        let ([h1, h2], [n1, n2]) = (digits(at.hour), digits(at.minute));
        *column = [
            b' ', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, y3, y4, b' ', h1, h2, b':', n1, n2, b' ',
        ];
    } else {
        column[1] = b'-';
    }
}

/// Appends the column of the size, to the right, and ends the line.
fn push_size(file: Option<&Entry>, view: &View, out: &mut Vec<u8>) {
    match file {
        None => {
            let width = if view.exact_size { 19 } else { 7 };
            out.resize(out.len() + width - 1, b' ');
            out.push(b'-');
        }
        Some(file) if view.exact_size => push_number(file.size, 19, out),
        Some(file) => match rounded(file.size) {
            (number, None) => push_number(number, 7, out),
            (number, Some(scale)) => {
                push_number(number, 6, out);
                out.push(scale);
            }
        },
    }
    out.extend_from_slice(b"\r\n");
}

/// A size as nginx rounds it, and its letter, if it has one.
fn rounded(size: u64) -> (u64, Option<u8>) {
    let (shift, scale) = match size {
        0..=9999 => return (size, None),
        10_000..=0xf_ffff => (10, b'K'),
        0x10_0000..=0x3fff_ffff => (20, b'M'),
        _ => (30, b'G'),
    };
    // Halves up.
    ((size >> shift) + (size >> (shift - 1) & 1), Some(scale))
}
