//! A page as JSON: the form of nginx's autoindex, where folders have no time.

use super::page::Page;
use super::text::{four, month, push_json, push_number, two, Needs};
use crate::s3::time::civil;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];

/// Appends the page.
pub fn write(page: &Page, out: &mut Vec<u8>) {
    out.push(b'[');
    let mut before: &[u8] = b"\r\n{ \"name\":\"";
    for (name, file) in page.entries() {
        out.reserve(name.len() + 128);
        out.extend_from_slice(before);
        before = b",\r\n{ \"name\":\"";
        push_json(name, Needs::of(name), out);
        let Some(file) = file else {
            out.extend_from_slice(b"\", \"type\":\"directory\" }");
            continue;
        };
        out.extend_from_slice(b"\", \"type\":\"file\"");
        if let Some(seconds) = file.mtime {
            push_time(seconds, out);
        }
        out.extend_from_slice(b", \"size\":");
        push_number(file.size, 0, out);
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
}

/// Appends the time as HTTP has it (RFC 9110, 5.6.7).
fn push_time(seconds: i64, out: &mut Vec<u8>) {
    let at = civil(seconds);
    let [w1, w2, w3] = *WEEKDAYS[(at.weekday % 7) as usize];
    let ([d1, d2], [m1, m2, m3], [y1, y2, y3, y4]) = (two(at.day), *month(at.month), four(at.year));
    let ([h1, h2], [n1, n2], [s1, s2]) = (two(at.hour), two(at.minute), two(at.second));
    out.extend_from_slice(b", \"mtime\":\"");
    out.extend_from_slice(&[
        w1, w2, w3, b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', h1, h2, b':',
        n1, n2, b':', s1, s2,
    ]);
    out.extend_from_slice(b" GMT\"");
}
