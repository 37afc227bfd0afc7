//! What a signature is of: the canonical request.

use sha2::{Digest, Sha256};

/// A header that is signed: its lower-case name and its value. One without a value is not sent.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// The names of those that are sent.
pub fn names<'a>(headers: &'a [Header]) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name)
}

/// Headers of two lists, sorted by name as they are signed.
pub fn merged<'a>(one: &[Header<'a>], other: &[Header<'a>]) -> Vec<Header<'a>> {
    let mut all = [one, other].concat();
    all.sort_unstable_by_key(|(name, _)| *name);
    all
}

/// The canonical request ("Create a signed AWS API request", IAM User Guide).
pub struct Canonical<'a> {
    pub method: &'a str,
    pub path: &'a [u8],
    /// The pieces of the canonical query.
    pub query: &'a [&'a [u8]],
    /// Sorted by name.
    pub headers: &'a [Header<'a>],
    pub payload: &'a str,
}

impl Canonical<'_> {
    /// Its SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.method);
        hash.update(b"\n");
        hash.update(self.path);
        hash.update(b"\n");
        for part in self.query {
            hash.update(part);
        }
        hash.update(b"\n");
        for (name, value) in self.headers {
            if let Some(value) = value {
                hash.update(name);
                hash.update(b":");
                hash.update(value);
                hash.update(b"\n");
            }
        }
        for (i, name) in names(self.headers).enumerate() {
            hash.update(if i == 0 { b"\n" } else { b";" });
            hash.update(name);
        }
        hash.update(b"\n");
        hash.update(self.payload);
        hash.finalize().into()
    }
}
