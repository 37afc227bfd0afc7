//! A page as HTML: that of nginx's autoindex, but names are never cut, and a link leads to the next page.

use super::page::{Entry, Page};
use super::question::write_link;
use super::text::{push_link, push_markup, push_number, Text};
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

/// The column of a name, as autoindex has it; longer names move the others.
const NAME: usize = 50;

// Lines are broken, even inside of long names. On a telephone there are no columns, and room for a finger.
const HEAD: &[u8] = b"<!DOCTYPE html>\r\n<html>\r\n<head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width\">\
    <style>h1,pre{overflow-wrap:anywhere}pre{white-space:pre-wrap}\
    @media(max-width:45em){pre{white-space:pre-line;line-height:2}}</style>\r\n<title>Index of ";

/// Appends the page.
pub fn write(page: &Page, view: &View, out: &mut Vec<u8>) {
    let uri = Text::from(view.uri);
    out.extend_from_slice(HEAD);
    push_markup(uri, out);
    out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    push_markup(uri, out);
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

fn write_entry(name: Text, file: Option<&Entry>, view: &View, out: &mut Vec<u8>) {
    let is_folder = file.is_none();
    out.reserve(2 * name.bytes.len() + 128);
    out.extend_from_slice(b"<a href=\"");
    push_link(name, out);
    if is_folder {
        out.push(b'/');
    }
    out.extend_from_slice(b"\">");
    push_markup(name, out);
    if is_folder {
        out.push(b'/');
    }
    out.extend_from_slice(b"</a>");
    // All of the column, and what the name has taken of it off: so many bytes at once are cheap.
    let end = out.len() + NAME.saturating_sub(name.width() + usize::from(is_folder));
    out.extend_from_slice(&[b' '; NAME]);
    out.truncate(end);
    push_date(file, view, out);
    push_size(file, view, out);
}

/// Appends the column of the date.
fn push_date(file: Option<&Entry>, view: &View, out: &mut Vec<u8>) {
    let Some(mut at) = file.and_then(|file| file.mtime) else {
        out.extend_from_slice(b" -                 ");
        return;
    };
    if view.utc_offset != 0 {
        at = civil(at.seconds() + view.utc_offset);
    }
    out.extend_from_slice(b" 01-Jan-1970 00:00 ");
    let Some(column) = out.last_chunk_mut::<19>() else { return };
    column[1..3].copy_from_slice(&digits(at.day));
    column[4..7].copy_from_slice(month(at.month));
    column[8..12].copy_from_slice(&year_digits(at.year));
    column[13..15].copy_from_slice(&digits(at.hour));
    column[16..18].copy_from_slice(&digits(at.minute));
}

/// Appends the column of the size, to the right, and ends the line.
fn push_size(file: Option<&Entry>, view: &View, out: &mut Vec<u8>) {
    match file {
        None => {
            let width = if view.exact_size { 19 } else { 7 };
            out.resize(out.len() + width - 1, b' ');
            out.push(b'-');
        }
        Some(file) if view.exact_size => push_number::<19>(file.size, out),
        Some(file) => match rounded(file.size) {
            (number, None) => push_number::<7>(number, out),
            (number, Some(scale)) => {
                push_number::<6>(number, out);
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
