//! Folders that are asked for without their final slash.

use super::object::decoded;

/// Where a request for a folder without its final slash is redirected: the last segment of the
/// client's path with a slash, relative to that path, and the client's query.
///
/// `target` is the client's request target, encoded; `key` the decoded key of the object that is
/// missing. The parts are to be joined. They begin with `./`, so that no host and no scheme can be
/// read into them.
///
/// `None` when the key is not a folder's (it ends in a slash, or its last segment has a dot), or the
/// path names something else than the key, so that a slash behind it would not help.
pub fn with_slash<'a>(target: &'a [u8], key: &[u8]) -> Option<[&'a [u8]; 4]> {
    let end = |bytes: &[u8], of| bytes.iter().position(|&b| b == of).unwrap_or(bytes.len());
    // nginx keeps a fragment that a client should not have sent.
    let target = &target[..end(target, b'#')];
    let (path, query) = target.split_at(end(target, b'?'));
    let last = |path: &'_ [u8]| path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    let (segment, name) = (&path[last(path)..], &key[last(key)..]);
    let is_folder = !name.is_empty()
        && !name.contains(&b'.')
        && decoded(segment, b'+').eq(name.iter().copied());
    is_folder.then_some([b"./", segment, b"/", query])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_get_a_slash() {
        for (target, key, location) in [
            ("/docs", "docs", Some("./docs/")),
            ("/m/docs", "prefix/of/docs", Some("./docs/")),
            ("/a/b%20c?x=1&y=/", "a/b c", Some("./b%20c/?x=1&y=/")),
            ("/a+b", "a+b", Some("./a+b/")),
            ("//evil", "evil", Some("./evil/")),
            ("/a:b", "a:b", Some("./a:b/")),
            ("/m/\\\\evil", "\\\\evil", Some("./\\\\evil/")),
            ("/docs#top", "docs", Some("./docs/")),
            ("/docs?a#top?b", "docs", Some("./docs/?a")),
            ("/docs#?a", "docs", Some("./docs/")),
            ("/docs/", "docs/", None),
            ("/docs/", "docs", None),
            ("/docs.d", "docs.d", None),
            ("/evil.example", "evil.example", None),
            // Another page's key: of an error page, of s3_private_bucket_key.
            ("/docs", "errors/404", None),
            ("/docs", "docs/", None),
            ("/docs", "", None),
            ("/", "docs", None),
            ("/?a", "a", None),
            ("", "", None),
            ("/a%2Fdocs", "a/docs", None),
        ] {
            let joined = with_slash(target.as_bytes(), key.as_bytes()).map(|parts| parts.concat());
            assert_eq!(joined.as_deref(), location.map(str::as_bytes), "{target} {key}");
        }
    }
}
