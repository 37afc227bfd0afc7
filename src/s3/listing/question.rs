//! What S3 is asked for a page of a folder (ListObjectsV2, Amazon S3 API Reference), and the only
//! argument of a client that goes into it.

use thiserror::Error;

use crate::s3::object::{decoded, encode_argument, Key};

/// Why a client's `after` is none.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the argument \"after\" is not the name of a file or a folder")]
pub struct AfterError;

/// The client's query: `after=<name>`.
const ARGUMENT: &[u8] = b"after";

/// Returns behind which name a page begins, decoded, from the client's query: the first `after` of it. A
/// final slash names a folder; other arguments are nothing to us. Empty for the first page, which has none.
///
/// # Errors
/// [`AfterError`] when no key of the folder `prefix` can have the name.
pub fn after(query: &[u8], prefix: &[u8]) -> Result<Vec<u8>, AfterError> {
    let found = query.split(|&b| b == b'&').find_map(|argument| {
        let mut parts = argument.splitn(2, |&b| b == b'=');
        let name = parts.next().unwrap_or_default();
        let is_it = decoded(name, b' ').eq(ARGUMENT.iter().copied());
        is_it.then(|| parts.next().unwrap_or_default())
    });
    let Some(value) = found else { return Ok(Vec::new()) };
    let name: Vec<u8> = decoded(value, b' ').collect();
    is_name(prefix, &name).then_some(name).ok_or(AfterError)
}

/// Whether a name is one segment, with or without a final slash, that a key behind `prefix` can have.
pub fn is_name(prefix: &[u8], name: &[u8]) -> bool {
    let segment = name.strip_suffix(b"/").unwrap_or(name);
    !segment.is_empty()
        && !segment.contains(&b'/')
        && Key::new(&[prefix, name].concat(), true).is_ok()
}

/// Appends the query that asks for a page: at most `max_keys` entries of the folder `prefix`, behind
/// the name `after`, if it is not empty; two on the first page at least. Its arguments are encoded and sorted as they are signed.
pub fn write(prefix: &[u8], after: &[u8], max_keys: u32, out: &mut Vec<u8>) {
    // The first page can begin with the folder's own object, behind which no page begins.
    let max_keys = if after.is_empty() { max_keys.max(2) } else { max_keys };
    out.extend_from_slice(b"delimiter=%2F&list-type=2&max-keys=");
    out.extend_from_slice(max_keys.to_string().as_bytes());
    out.extend_from_slice(b"&prefix=");
    let prefix = encode_argument(prefix);
    out.extend_from_slice(prefix.as_bytes());
    if !after.is_empty() {
        out.extend_from_slice(b"&start-after=");
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(encode_argument(after).as_bytes());
        if after.ends_with(b"/") {
            // U+10FFFF, behind all keys of the folder: some servers list it again otherwise.
            out.extend_from_slice(b"%F4%8F%BF%BF");
        }
    }
}

/// Appends the query of the page that begins behind `next`, as a link.
pub fn write_link(next: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"?after=");
    out.extend_from_slice(encode_argument(next).as_bytes());
}

/// The value of the header `Link` (RFC 8288) that leads to the page behind `next`.
pub fn link_header(next: &[u8]) -> Vec<u8> {
    let mut out = b"<".to_vec();
    write_link(next, &mut out);
    out.extend_from_slice(b">; rel=\"next\"");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_is_asked_for_one_folder() {
        for (prefix, after, expected) in [
            ("", "", "delimiter=%2F&list-type=2&max-keys=1000&prefix="),
            ("a b/&c+/", "", "delimiter=%2F&list-type=2&max-keys=1000&prefix=a%20b%2F%26c%2B%2F"),
            (
                "p/",
                "a&b=\u{e4}\u{1}",
                "delimiter=%2F&list-type=2&max-keys=1000&prefix=p%2F&start-after=p%2Fa%26b%3D%C3%A4%01",
            ),
            (
                "p/",
                "d/",
                "delimiter=%2F&list-type=2&max-keys=1000&prefix=p%2F&start-after=p%2Fd%2F%F4%8F%BF%BF",
            ),
        ] {
            let mut out = Vec::new();
            write(prefix.as_bytes(), after.as_bytes(), 1000, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        for (after, expected) in [("", "max-keys=2&"), ("a", "max-keys=1&")] {
            let mut out = Vec::new();
            write(b"p/", after.as_bytes(), 1, &mut out);
            assert!(String::from_utf8(out).unwrap().contains(expected));
        }
    }

    #[test]
    fn after_is_one_name() {
        let long = format!("after={}", "a".repeat(1023));
        let longest = "a".repeat(1021);
        let as_long = format!("after={longest}/");
        for (query, expected) in [
            ("", Some("")),
            ("x=1&prefix=other/&delimiter=&list-type=2&start-after=z&AFTER=a&after2=b", Some("")),
            ("after=b", Some("b")),
            ("x=1&after=b&after=../c", Some("b")),
            ("aft%65r=b", Some("b")),
            ("after=d%2F", Some("d/")),
            ("after=d/", Some("d/")),
            ("after=a+b%2Bc%20d%25", Some("a b+c d%")),
            ("after=.hidden", Some(".hidden")),
            ("after=%E6%97%A5", Some("\u{65e5}")),
            // What an entry's name may have: a page can end with it.
            ("after=a%01%0A", Some("a\u{1}\n")),
            ("after=a\\b", Some("a\\b")),
            ("after", None),
            ("after=", None),
            ("after=/", None),
            ("after=//", None),
            ("after=a/b", None),
            ("after=a//", None),
            ("after=/a", None),
            ("after=.", None),
            ("after=..", None),
            ("after=%2e%2e/", None),
            ("after=./", None),
            ("after=..%5Ca", None),
            ("after=a%00b", None),
            ("after=%FF", None),
            ("after=%C3", None),
            (&long, None),
            (&as_long, Some(&as_long["after=".len()..])),
        ] {
            let found = after(query.as_bytes(), b"p/").map(|name| String::from_utf8(name).unwrap());
            assert_eq!(found.as_deref().ok(), expected, "{query}");
        }
        assert_eq!(after(b"after=a", &[b'a'; 1024]), Err(AfterError));
        assert_eq!(
            link_header("a&\"\u{e4}/".as_bytes()),
            b"<?after=a%26%22%C3%A4%2F>; rel=\"next\""
        );
    }
}
