//! A page as JSON: the form of nginx's autoindex, where folders have no time.

use super::page::Page;
use super::text::{push_json, push_number};

/// Appends the page.
pub fn write(page: &Page, out: &mut Vec<u8>) {
    out.push(b'[');
    let mut before: &[u8] = b"\r\n{ \"name\":\"";
    for (name, file) in page.entries() {
        out.reserve(name.bytes.len() + 128);
        out.extend_from_slice(before);
        before = b",\r\n{ \"name\":\"";
        push_json(name, out);
        let Some(file) = file else {
            out.extend_from_slice(b"\", \"type\":\"directory\" }");
            continue;
        };
        if let Some(at) = file.mtime {
            out.extend_from_slice(b"\", \"type\":\"file\", \"mtime\":\"");
            out.extend_from_slice(&at.http_date());
            out.extend_from_slice(b"\", \"size\":");
        } else {
            out.extend_from_slice(b"\", \"type\":\"file\", \"size\":");
        }
        push_number::<0>(file.size, out);
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
}
