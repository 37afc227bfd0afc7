//! A secret header for a bucket policy to match.

use thiserror::Error;

/// Why a secret is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SecretError {
    /// Nothing but a final newline: every request would be refused by S3.
    #[error("the secret is empty")]
    Empty,
    /// CR, LF, NUL or another control byte, which would end or break the header.
    #[error("the secret has a control byte (a second line, a CR of a Windows editor, a NUL)")]
    ControlByte,
    /// White space at either end, which HTTP drops, so that the policy never matches.
    #[error("the secret begins or ends with white space")]
    WhiteSpace,
    /// Not text in UTF-8: a bucket policy is JSON and cannot hold it.
    #[error("the secret is not UTF-8 text")]
    NotText,
}

/// A header and its value, neither of which is ever logged. It has no `Debug` on purpose.
#[derive(PartialEq, Eq)]
pub struct Secret {
    header: String,
    value: String,
    file: Option<String>,
}

impl Secret {
    /// Takes the bytes of a secret file or of `data:`, and the name of the header to send it in
    /// (see [`is_secret_header`]). One final newline is not part of the secret.
    ///
    /// # Errors
    /// The first reason of [`SecretError`] that applies.
    pub fn new(header: &str, bytes: &[u8]) -> Result<Self, SecretError> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(SecretError::Empty);
        }
        if bytes.iter().any(u8::is_ascii_control) {
            return Err(SecretError::ControlByte);
        }
        if bytes.first() == Some(&b' ') || bytes.last() == Some(&b' ') {
            return Err(SecretError::WhiteSpace);
        }
        let value = core::str::from_utf8(bytes).map_err(|_| SecretError::NotText)?;
        Ok(Secret { header: header.to_owned(), value: value.to_owned(), file: None })
    }

    /// The same secret, said to be from the file at `path`.
    pub fn in_file(self, path: String) -> Self {
        Secret { file: Some(path), ..self }
    }

    /// The path of the file that it is from, unless it stood in the configuration.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The name of the header.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// Returns whether a secret can be sent in the header `name`: a token of RFC 9110 that neither
/// nginx nor S3 uses for something else (an unsigned `x-amz-*` makes S3 refuse the request).
pub fn is_secret_header(name: &str) -> bool {
    const TAKEN: [&str; 15] = [
        "authorization",
        "connection",
        "content-length",
        "date",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let name = name.to_ascii_lowercase();
    is_token(&name) && !name.starts_with("x-amz-") && !TAKEN.contains(&name.as_str())
}

/// Returns whether a text can be the name of a header: a token of RFC 9110. With a `$` it would be a value of nginx
/// with a variable.
pub fn is_token(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_trimmed_of_one_newline() {
        for (bytes, value) in [
            (&b"abc"[..], "abc"),
            (b"abc\n", "abc"),
            (b"a b", "a b"),
            ("\u{fc}".as_bytes(), "\u{fc}"),
        ] {
            assert!(Secret::new("User-Agent", bytes).is_ok_and(|s| s.value() == value));
        }
        assert!(Secret::new("Referer", b"a").is_ok_and(|s| s.header() == "Referer"));
    }

    #[test]
    fn bad_secrets_are_refused() {
        for (bytes, expected) in [
            (&b""[..], SecretError::Empty),
            (b"\n", SecretError::Empty),
            (b"a\n\n", SecretError::ControlByte),
            (b"a\r\n", SecretError::ControlByte),
            (b"a\0", SecretError::ControlByte),
            (b"a\tb", SecretError::ControlByte),
            (b"a\x7f", SecretError::ControlByte),
            (b" a", SecretError::WhiteSpace),
            (b"a ", SecretError::WhiteSpace),
            (b"\xff", SecretError::NotText),
        ] {
            assert!(Secret::new("Referer", bytes).err() == Some(expected), "{bytes:?}");
        }
    }

    #[test]
    fn headers_with_another_use_are_refused() {
        for good in ["User-Agent", "Referer", "X-Secret"] {
            assert!(is_secret_header(good), "{good}");
        }
        for bad in ["", "Host", "range", "X-Amz-Date", "a b", "a:", "$x", "Authorization"] {
            assert!(!is_secret_header(bad), "{bad}");
        }
    }
}
