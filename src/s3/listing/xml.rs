//! A page as XML: the form of nginx's autoindex, where folders have no time.

use super::page::Page;
use super::text::{four, push_markup, push_number, two, Needs};
use crate::s3::time::civil;

/// Appends the page.
pub fn write(page: &Page, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version=\"1.0\"?>\r\n<list>\r\n");
    for (name, file) in page.entries() {
        out.reserve(name.len() + 128);
        let needs = Needs::of(name);
        let Some(file) = file else {
            out.extend_from_slice(b"<directory>");
            push_markup(name, needs, out);
            out.extend_from_slice(b"</directory>\r\n");
            continue;
        };
        out.extend_from_slice(b"<file");
        if let Some(seconds) = file.mtime {
            push_time(seconds, out);
        }
        out.extend_from_slice(b" size=\"");
        push_number(file.size, 0, out);
        out.extend_from_slice(b"\">");
        push_markup(name, needs, out);
        out.extend_from_slice(b"</file>\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
}

/// Appends the time as RFC 3339 has it.
fn push_time(seconds: i64, out: &mut Vec<u8>) {
    let at = civil(seconds);
    let ([y1, y2, y3, y4], [m1, m2], [d1, d2]) = (four(at.year), two(at.month), two(at.day));
    let ([h1, h2], [n1, n2], [s1, s2]) = (two(at.hour), two(at.minute), two(at.second));
    out.extend_from_slice(b" mtime=\"");
    out.extend_from_slice(&[
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2,
    ]);
    out.extend_from_slice(b"Z\"");
}
