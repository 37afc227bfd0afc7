//! A page as XML: the form of nginx's autoindex, where folders have no time.

use super::page::Page;
use super::text::{push_markup, push_number};
use crate::s3::time::{digits, year_digits, Civil};

/// Appends the page.
pub fn write(page: &Page, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version=\"1.0\"?>\r\n<list>\r\n");
    for (name, file) in page.entries() {
        out.reserve(name.bytes.len() + 128);
        let Some(file) = file else {
            out.extend_from_slice(b"<directory>");
            push_markup(name, out);
            out.extend_from_slice(b"</directory>\r\n");
            continue;
        };
        out.extend_from_slice(b"<file");
        if let Some(at) = file.mtime {
            push_time(at, out);
        }
        out.extend_from_slice(b" size=\"");
        push_number::<0>(file.size, out);
        out.extend_from_slice(b"\">");
        push_markup(name, out);
        out.extend_from_slice(b"</file>\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
}

/// Appends the time as RFC 3339 has it.
fn push_time(at: Civil, out: &mut Vec<u8>) {
    let ([y1, y2, y3, y4], [m1, m2], [d1, d2]) =
        (year_digits(at.year), digits(at.month), digits(at.day));
    let ([h1, h2], [n1, n2], [s1, s2]) = (digits(at.hour), digits(at.minute), digits(at.second));
    out.extend_from_slice(b" mtime=\"");
    out.extend_from_slice(&[
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2,
    ]);
    out.extend_from_slice(b"Z\"");
}
