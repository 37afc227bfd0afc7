//! A page as JSON: the form of nginx's autoindex, where folders have no time.

use super::page::Page;
use super::text::{push_json, push_number, Needs};

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
        if let Some(at) = file.mtime {
            out.extend_from_slice(b", \"mtime\":\"");
            out.extend_from_slice(&at.http_date());
            out.push(b'"');
        }
        out.extend_from_slice(b", \"size\":");
        push_number(file.size, 0, out);
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
}
