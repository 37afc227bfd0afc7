//! Which version of an object a part of it belongs to.

/// Returns whether the validator of an `If-Range` is one of those of an answer (RFC 9110, 13.1.5): the
/// same strong entity tag, or exactly the same date.
pub fn is_same(if_range: &[u8], etag: Option<&[u8]>, last_modified: Option<&[u8]>) -> bool {
    let validator = if if_range.starts_with(b"\"") { etag } else { last_modified };
    // A weak tag is neither, and does not begin with a quote.
    validator == Some(if_range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_to_their_own_version_only() {
        const DATE: &str = "Mon, 02 Nov 2026 10:00:00 GMT";
        for (if_range, etag, last_modified, same) in [
            ("\"a\"", "\"a\"", DATE, true),
            ("\"a\"", "\"b\"", DATE, false),
            ("\"a\"", "W/\"a\"", DATE, false),
            ("W/\"a\"", "W/\"a\"", DATE, false),
            ("\"a\"", "", DATE, false),
            (DATE, "\"a\"", DATE, true),
            (DATE, "\"a\"", "Mon, 02 Nov 2026 10:00:01 GMT", false),
            (DATE, "\"a\"", "", false),
            (DATE, DATE, "", false),
            ("", "", "", false),
            ("*", "\"a\"", DATE, false),
        ] {
            let there = |text: &'static str| (!text.is_empty()).then_some(text.as_bytes());
            let found = is_same(if_range.as_bytes(), there(etag), there(last_modified));
            assert_eq!(found, same, "{if_range} {etag} {last_modified}");
        }
    }
}
