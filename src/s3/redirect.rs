//! Objects that stand for another address: website redirects.

use thiserror::Error;

use super::object::{decoded, encode_path, has_dot_segment};

/// The header of an object that redirects ("Configuring a webpage redirect", Amazon S3 User Guide), in lower
/// case. The REST API sends it with the object.
pub const HEADER: &[u8] = b"x-amz-website-redirect-location";

/// Why an object redirects nowhere.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RedirectError {
    /// No value.
    #[error("it is empty")]
    Empty,
    /// What could end the header, or what browsers read as a slash.
    #[error("it has a control byte or a backslash")]
    Byte,
    /// Another scheme, or none.
    #[error("it begins with neither \"/\", \"http://\" nor \"https://\"")]
    Form,
    /// A URL without a host, or with one that is no ASCII text.
    #[error("its host is not valid")]
    Host,
    /// A host without a scheme, or a key that could be read as one.
    #[error("its path begins with two slashes")]
    Slashes,
    /// A path that browsers resolve to another one.
    #[error("its path has a \".\" or \"..\" segment")]
    DotSegment,
    /// A key that the location does not serve.
    #[error("its key is outside of the location's prefix")]
    Outside,
    /// A key whose path only the operator knows.
    #[error("the location does not tell which path a key has, so that only a URL can be followed")]
    NoPath,
}

/// How the keys of a location and its paths go together.
#[derive(Clone, Copy)]
pub struct Paths<'a> {
    /// The literal prefix of the location, decoded, or `/`.
    pub location: &'a [u8],
    /// What the keys of the location begin with, decoded.
    pub prefix: &'a [u8],
}

/// The `Location` of a redirect, from the value of [`HEADER`] as S3 sends it.
///
/// A value that begins with a slash is the encoded path of a key in the bucket, maybe with a query and a
/// fragment: it becomes the path by which the location serves that key (`paths`; `None` where that is not known),
/// without a host. A URL with `http://` or `https://` stays. In both, what no URI has is encoded (RFC 3986,
/// section 2): the result is visible ASCII.
///
/// # Errors
/// The first of [`RedirectError`]'s reasons that applies.
pub fn target(value: &[u8], paths: Option<Paths>) -> Result<Vec<u8>, RedirectError> {
    if value.is_empty() {
        return Err(RedirectError::Empty);
    }
    if value.iter().any(|&b| b.is_ascii_control() || b == b'\\') {
        return Err(RedirectError::Byte);
    }
    match value {
        [b'/', b'/', ..] => Err(RedirectError::Slashes),
        [b'/', rest @ ..] => of_key(rest, paths.ok_or(RedirectError::NoPath)?),
        _ => of_url(value),
    }
}

fn of_key(value: &[u8], paths: Paths) -> Result<Vec<u8>, RedirectError> {
    let end = value.iter().position(|b| b"?#".contains(b)).unwrap_or(value.len());
    let (path, behind) = value.split_at(end);
    let key: Vec<u8> = decoded(path, b'+').collect();
    if key.iter().any(u8::is_ascii_control) {
        return Err(RedirectError::Byte);
    }
    if has_dot_segment(&key) {
        return Err(RedirectError::DotSegment);
    }
    let rest = key.strip_prefix(paths.prefix).ok_or(RedirectError::Outside)?;
    let location = paths.location;
    if rest.starts_with(b"/") || !location.starts_with(b"/") || location.starts_with(b"//") {
        return Err(RedirectError::Slashes);
    }
    let mut target = encode_path(location).into_bytes();
    if !location.ends_with(b"/") && !rest.is_empty() {
        target.push(b'/');
    }
    target.extend_from_slice(encode_path(rest).as_bytes());
    push_uri(behind, &mut target);
    Ok(target)
}

fn of_url(value: &[u8]) -> Result<Vec<u8>, RedirectError> {
    let is =
        |scheme: &&[u8]| value.get(..scheme.len()).is_some_and(|v| v.eq_ignore_ascii_case(scheme));
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let scheme = schemes.into_iter().find(is).ok_or(RedirectError::Form)?;
    let rest = &value[scheme.len()..];
    let end = rest.iter().position(|b| b"/?#".contains(b)).unwrap_or(rest.len());
    let host = &rest[..end];
    if host.is_empty() || !host.iter().all(|&b| in_uri(b)) {
        return Err(RedirectError::Host);
    }
    let mut target = value[..scheme.len() + end].to_vec();
    push_uri(&rest[end..], &mut target);
    Ok(target)
}

/// Appends a part of a URI, of which only what no URI has is encoded: escapes stay.
fn push_uri(text: &[u8], out: &mut Vec<u8>) {
    for &b in text {
        match in_uri(b) {
            true => out.push(b),
            false => out.extend_from_slice(encode_path(&[b]).as_bytes()),
        }
    }
}

fn in_uri(b: u8) -> bool {
    b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at<'a>(location: &'a str, prefix: &'a str) -> Option<Paths<'a>> {
        Some(Paths { location: location.as_bytes(), prefix: prefix.as_bytes() })
    }

    #[test]
    fn keys_become_paths_of_the_location() {
        for (location, prefix, value, expected) in [
            ("/", "", "/page2.html", "/page2.html"),
            ("/", "", "/", "/"),
            ("/media/", "", "/", "/media/"),
            ("/media/", "", "/a/b.html", "/media/a/b.html"),
            ("/media", "", "/a", "/media/a"),
            ("/media", "", "/", "/media"),
            ("/media/", "public/", "/public/x", "/media/x"),
            ("/media/", "public/", "/public/", "/media/"),
            ("/media/", "public/", "/public%2Fx", "/media/x"),
            ("/media/", "a-", "/a-x", "/media/x"),
            ("/m \u{fc}/", "", "/x", "/m%20%C3%BC/x"),
            // As it is sent by AWS's website endpoints: escapes, a query and a fragment are what they are.
            ("/", "", "/a%20b.html?x=%2F&y#top", "/a%20b.html?x=%2F&y#top"),
            ("/", "", "/a b\u{fc}?\u{fc} x", "/a%20b%C3%BC?%C3%BC%20x"),
            ("/", "", "/a+b", "/a%2Bb"),
            ("/", "", "/a%zz%4", "/a%25zz%254"),
            ("/", "", "/%5Cevil.example", "/%5Cevil.example"),
            ("/", "", "/evil:x@y", "/evil%3Ax%40y"),
            ("/", "", "/a//b", "/a//b"),
            ("/", "", "/?//evil.example", "/?//evil.example"),
            ("/", "", "/javascript:alert(1)", "/javascript%3Aalert%281%29"),
        ] {
            let target = target(value.as_bytes(), at(location, prefix)).unwrap();
            assert_eq!(String::from_utf8(target).unwrap(), expected, "{location} {prefix} {value}");
        }
    }

    #[test]
    fn urls_stay() {
        for (value, expected) in [
            ("https://www.example.com", "https://www.example.com"),
            ("http://www.example.com:8080/a?b#c", "http://www.example.com:8080/a?b#c"),
            ("HTTPS://www.example.com/%2F..//", "HTTPS://www.example.com/%2F..//"),
            ("https://[2001:db8::1]/", "https://[2001:db8::1]/"),
            ("https://x?a b", "https://x?a%20b"),
            ("https://x/\u{fc}\"<", "https://x/%C3%BC%22%3C"),
        ] {
            for paths in [None, at("/media/", "public/")] {
                let target = target(value.as_bytes(), paths).unwrap();
                assert_eq!(String::from_utf8(target).unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_leads_astray_is_told() {
        use RedirectError::*;
        for (location, prefix, value, expected) in [
            ("/", "", &b""[..], Empty),
            ("/", "", b"//evil.example", Slashes),
            ("/", "", b"///evil.example", Slashes),
            ("/", "", b"/%2Fevil.example", Slashes),
            ("/", "", b"/%2fevil.example", Slashes),
            ("/", "public", b"/public/evil.example", Slashes),
            ("//x/", "", b"/a", Slashes),
            ("x", "", b"/a", Slashes),
            ("/", "", b"/\\evil.example", Byte),
            ("/", "", b"\\\\evil.example", Byte),
            ("/", "", b"https:\\\\evil.example", Byte),
            ("/", "", b"https://good.example\\@evil.example", Byte),
            ("/", "", b"/a\r\nSet-Cookie: x", Byte),
            ("/", "", b"/a\0", Byte),
            ("/", "", b"/\t/evil.example", Byte),
            ("/", "", b"/a%0d%0aSet-Cookie:%20x", Byte),
            ("/", "", b"/a%00", Byte),
            ("/", "", b"/a\x7f", Byte),
            ("/", "", b"/../x", DotSegment),
            ("/", "", b"/a/%2e%2e/x", DotSegment),
            ("/", "", b"/a/..%5Cx", DotSegment),
            ("/", "", b"/.", DotSegment),
            ("/media/", "public/", b"/secret/x", Outside),
            ("/media/", "public/", b"/public", Outside),
            ("/media/", "public/", b"/", Outside),
            ("/media/", "public/", b"/Public/x", Outside),
            ("/", "", b"page2.html", Form),
            ("/", "", b"./page2.html", Form),
            ("/", "", b"?x", Form),
            ("/", "", b"javascript:alert(1)", Form),
            ("/", "", b"data:text/html,x", Form),
            ("/", "", b"ftp://example.com/", Form),
            ("/", "", b"https:/example.com", Form),
            ("/", "", b"https:example.com", Form),
            ("/", "", b" https://example.com", Form),
            ("/", "", b"\xff", Form),
            ("/", "", b"https://", Host),
            ("/", "", b"https:///x", Host),
            ("/", "", b"https://?x", Host),
            ("/", "", b"https://a b/", Host),
            ("/", "", b"https://\xc3\xbc.example/", Host),
        ] {
            let value_text = value.escape_ascii();
            assert_eq!(target(value, at(location, prefix)), Err(expected), "{value_text}");
        }
        assert_eq!(target(b"/x", None), Err(NoPath));
    }

    proptest! {
        #[test]
        fn a_target_is_a_path_or_a_url(
            value in proptest::collection::vec(any::<u8>(), 0..40),
            start in "(|/|//|/p/|https?://|HTTP://|/%2f|/%5c|\\\\)",
            location in "/([a-z \u{fc}]{1,3}/?)?",
        ) {
            let value = [start.as_bytes(), &value].concat();
            for prefix in ["", "p/"] {
                let Ok(target) = target(&value, at(&location, prefix)) else { continue };
                prop_assert!(target.iter().all(|&b| in_uri(b)));
                let is_path = target.starts_with(b"/") && !target.starts_with(b"//");
                let lower = target.to_ascii_lowercase();
                prop_assert!(is_path || lower.starts_with(b"http://") || lower.starts_with(b"https://"));
            }
        }
    }
}
