//! From a request to an object: the key, and the bytes that ask for it.
//!
//! Keys are decoded bytes everywhere; only [`Encoder`] makes encoded ones. The encoding is AWS's
//! UriEncode ("Create a signed AWS API request", IAM User Guide): every byte but the unreserved
//! characters of RFC 3986 is sent as `%XY`.

use core::mem::MaybeUninit;

use thiserror::Error;

/// The longest key that S3 stores, in bytes ("Naming Amazon S3 objects", S3 User Guide).
pub const MAX_KEY: usize = 1024;

/// Why a key is refused before S3 is asked.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum KeyError {
    /// Nothing names an object; S3 would list the bucket.
    #[error("the object key is empty")]
    Empty,
    /// Longer than [`MAX_KEY`].
    #[error("the object key is longer than 1024 bytes")]
    TooLong,
    /// A NUL byte, which no S3 server stores and some take for the end of the key.
    #[error("the object key has a NUL byte")]
    Nul,
    /// A URI that goes on behind the location's prefix as another word.
    #[error("the URI goes on without a slash behind the location's prefix")]
    OtherWord,
    /// A `.` or `..` segment, which servers and proxies before S3 may resolve.
    #[error("the object key has a \".\" or \"..\" segment")]
    DotSegment,
    /// A backslash, where the server may read it as a slash: the key would be in another folder,
    /// which other access rules may be for.
    #[error("the object key has a backslash, which servers other than AWS's take for a slash")]
    Backslash,
    /// Not UTF-8, as all keys are ("Naming Amazon S3 objects", S3 User Guide).
    #[error("the object key is not UTF-8 text")]
    NotText,
}

/// Returns the part of a decoded URI that names an object.
///
/// `location` is the literal prefix of the location, or `/` where it has none (exact, regular
/// expression and named locations). One slash between it and the key is not part of the key. When the
/// URI does not begin with it (it was rewritten), the whole URI counts.
///
/// # Errors
/// [`KeyError::OtherWord`] for `/media-x` in `location /media`: whatever it named would have a second
/// URI there, which other access rules may be for.
pub fn key_in_uri<'a>(uri: &'a [u8], location: &[u8]) -> Result<&'a [u8], KeyError> {
    match uri.strip_prefix(location) {
        None => Ok(without_slash(uri)),
        Some(rest) if location.ends_with(b"/") => Ok(rest),
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => Ok(without_slash(rest)),
        Some(_) => Err(KeyError::OtherWord),
    }
}

/// Returns `key` without its first slash, if it has one.
pub fn without_slash(key: &[u8]) -> &[u8] {
    key.strip_prefix(b"/").unwrap_or(key)
}

/// Returns whether a decoded path has a `.` or `..` segment. Backslashes end segments too, as some
/// servers read them.
pub fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|&b| b == b'/' || b == b'\\').any(|s| s == b"." || s == b"..")
}

/// Returns whether a prefix that variables went into has an empty segment: it begins with a slash or
/// has two in a row, or is empty. A variable without a value leaves one, and the server may read
/// what the client wrote behind it as the segment's name.
pub fn has_empty_segment(prefix: &[u8]) -> bool {
    prefix.strip_suffix(b"/").unwrap_or(prefix).split(|&b| b == b'/').any(<[u8]>::is_empty)
}

/// A decoded key that S3 may have, and the length of its encoding.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    bytes: &'a [u8],
    encoded_len: usize,
}

impl<'a> Key<'a> {
    /// Checks a decoded key, prefix included. For AWS, `at_aws`, a backslash is a byte like others.
    ///
    /// # Errors
    /// The first of [`KeyError`]'s reasons that applies.
    pub fn new(bytes: &'a [u8], at_aws: bool) -> Result<Self, KeyError> {
        if bytes.is_empty() {
            Err(KeyError::Empty)
        } else if bytes.len() > MAX_KEY {
            Err(KeyError::TooLong)
        } else if is_plain(bytes) {
            Ok(Key { bytes, encoded_len: bytes.len() })
        } else if bytes.contains(&0) {
            Err(KeyError::Nul)
        } else if has_dot_segment(bytes) {
            Err(KeyError::DotSegment)
        } else if !at_aws && bytes.contains(&b'\\') {
            Err(KeyError::Backslash)
        } else if core::str::from_utf8(bytes).is_err() {
            Err(KeyError::NotText)
        } else {
            Ok(Self::of_any_bytes(bytes))
        }
    }

    /// The decoded key.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn of_any_bytes(bytes: &'a [u8]) -> Self {
        Key { bytes, encoded_len: bytes.iter().map(|&b| if plain(b) { 1 } else { 3 }).sum() }
    }

    /// A path of AWS's test vectors, which S3 need not have.
    #[cfg(test)]
    pub fn unchecked(bytes: &'a [u8]) -> Self {
        Self::of_any_bytes(bytes)
    }
}

/// Whether UriEncode leaves a byte alone, `/` apart.
pub const fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// Bytes of a key that are not encoded. `-./` and the digits are next to each other: with two
/// ranges the compiler looks at many bytes at a time.
const fn plain(b: u8) -> bool {
    matches!(b, b'-'..=b'9') | b.is_ascii_alphabetic() | (b == b'_') | (b == b'~')
}

/// Whether a key is its own encoding and no segment of it begins with a dot, as in most requests:
/// a look without branches, where the last bytes may be looked at twice. No short key is plain.
fn is_plain(key: &[u8]) -> bool {
    const STEP: usize = 16;
    let Some(last) = key.len().checked_sub(STEP + 1) else { return false };
    let mut odd = [!plain(key[0]) | (key[0] == b'.'); STEP];
    let mut at = 0;
    loop {
        let pairs = key[at..][..STEP].iter().zip(&key[at + 1..][..STEP]);
        for (odd, (&before, &this)) in odd.iter_mut().zip(pairs) {
            *odd |= !plain(this) | ((before == b'/') & (this == b'.'));
        }
        if at == last {
            return odd == [false; STEP];
        }
        at = last.min(at + STEP);
    }
}

/// What a request asks S3 for, before it is written: the pieces of the request target.
pub struct Target<'a> {
    /// The bucket, when the addressing style puts it into the path.
    pub bucket_in_path: Option<&'a [u8]>,
    /// The object key.
    pub key: Key<'a>,
    /// The client's query, encoded, without `?`.
    pub args: &'a [u8],
    /// The names of the arguments that may pass, decoded, in the order of [`sorted_arguments`].
    pub pass_args: &'a [Box<[u8]>],
    /// Those of them that the client has no say in: which one, and its value, decoded. One without a value is
    /// not sent.
    pub own: &'a [(usize, &'a [u8])],
}

/// The value of an argument.
#[derive(Clone, Copy)]
enum Argument<'a> {
    /// As the client wrote it.
    Encoded(&'a [u8]),
    Decoded(&'a [u8]),
}

impl Argument<'_> {
    fn for_each(self, f: impl FnMut(u8)) {
        match self {
            Argument::Encoded(raw) => decoded(raw, b' ').for_each(f),
            Argument::Decoded(value) => value.iter().copied().for_each(f),
        }
    }
}

impl<'a> Target<'a> {
    /// The name of an argument whose value has a control byte: servers send `response-*` as headers, some of them
    /// behind the status line of another answer.
    pub fn odd_argument(&self) -> Option<&'a [u8]> {
        let mut odd = None;
        self.each_arg(|name, value| {
            let mut is_odd = false;
            value.for_each(|b| is_odd |= b.is_ascii_control());
            if is_odd {
                odd = Some(name);
            }
        });
        odd
    }

    /// The length in bytes of what [`Target::write`] writes.
    pub fn len(&self) -> usize {
        let bucket = self.bucket_in_path.map_or(0, |b| 1 + b.len());
        let mut len = bucket + 1 + self.key.encoded_len;
        self.each_arg(|name, value| {
            len += 2 + name.iter().map(|&b| query_width(b)).sum::<usize>();
            value.for_each(|b| len += query_width(b));
        });
        len
    }

    /// Writes the request target, `/` first: the path encoded once, then the arguments that may
    /// pass, encoded and sorted by name (of several with one name, the first).
    ///
    /// Returns the number of bytes written.
    ///
    /// # Panics
    /// When `out` is shorter than [`Target::len`].
    pub fn write(&self, out: &mut [MaybeUninit<u8>]) -> usize {
        let mut e = Encoder { out, at: 0 };
        if let Some(bucket) = self.bucket_in_path {
            e.raw(b'/');
            e.copy(bucket);
        }
        e.raw(b'/');
        let key = self.key.bytes;
        if self.key.encoded_len == key.len() {
            // Its own encoding, as most keys are.
            e.copy(key);
        } else {
            key.iter().for_each(|&b| e.path(b));
        }

        let mut separator = b'?';
        self.each_arg(|name, value| {
            e.raw(separator);
            separator = b'&';
            name.iter().for_each(|&b| e.query(b));
            e.raw(b'=');
            value.for_each(|b| e.query(b));
        });
        e.at
    }

    /// The request target, whose length is exact.
    #[cfg(test)]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![MaybeUninit::new(0); self.len()];
        assert_eq!(self.write(&mut out), out.len());
        // SAFETY: all of it was there from the beginning.
        out.into_iter().map(|b| unsafe { b.assume_init() }).collect()
    }

    fn each_arg(&self, mut f: impl FnMut(&'a [u8], Argument<'a>)) {
        if self.args.is_empty() && self.own.is_empty() {
            return;
        }
        for (i, wanted) in self.pass_args.iter().enumerate() {
            if let Some((_, value)) = self.own.iter().find(|(at, _)| *at == i) {
                if !value.is_empty() {
                    f(wanted, Argument::Decoded(value));
                }
                continue;
            }
            let found = self.args.split(|&b| b == b'&').find_map(|arg| {
                let (name, value) = match arg.iter().position(|&b| b == b'=') {
                    Some(at) => (&arg[..at], &arg[at + 1..]),
                    None => (arg, &[][..]),
                };
                decoded(name, b' ').eq(wanted.iter().copied()).then_some(value)
            });
            if let Some(value) = found {
                f(wanted, Argument::Encoded(value));
            }
        }
    }
}

/// Sorts names of arguments as they are signed, by their encoded bytes, and drops duplicates.
pub fn sorted_arguments(mut names: Vec<Box<[u8]>>) -> Vec<Box<[u8]>> {
    names.sort_by_cached_key(|name| encode_argument(name));
    names.dedup();
    names
}

/// Encodes a name or value of a query argument: UriEncode, with `/` as `%2F`.
pub fn encode_argument(bytes: &[u8]) -> String {
    encode(bytes, is_unreserved)
}

/// Encodes a path, as keys are in a request target.
pub fn encode_path(bytes: &[u8]) -> String {
    encode(bytes, plain)
}

fn encode(bytes: &[u8], stays: fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &b in bytes {
        match stays(b) {
            true => out.push(b.into()),
            false => out.extend(escaped(b).map(char::from)),
        }
    }
    out
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A byte as UriEncode writes those that it does not leave alone.
pub fn escaped(b: u8) -> [u8; 3] {
    [b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]
}

fn query_width(b: u8) -> usize {
    if is_unreserved(b) {
        1
    } else {
        3
    }
}

/// Decodes a component of a request target: `%XY`, and `+` as `plus`, which is the space that S3 reads in
/// a query and itself in a path. An incomplete escape stands for itself.
pub fn decoded(raw: &[u8], plus: u8) -> impl Iterator<Item = u8> + '_ {
    let hex = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let mut rest = raw;
    core::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        rest = tail;
        match (first, tail) {
            (b'+', _) => Some(plus),
            (b'%', [h, l, after @ ..]) => match (hex(*h), hex(*l)) {
                (Some(h), Some(l)) => {
                    rest = after;
                    Some(h << 4 | l)
                }
                _ => Some(b'%'),
            },
            _ => Some(first),
        }
    })
}

/// Writes encoded bytes into a buffer of known size.
struct Encoder<'a> {
    out: &'a mut [MaybeUninit<u8>],
    at: usize,
}

impl Encoder<'_> {
    fn raw(&mut self, b: u8) {
        self.out[self.at].write(b);
        self.at += 1;
    }

    fn copy(&mut self, bytes: &[u8]) {
        for (to, &b) in self.out[self.at..][..bytes.len()].iter_mut().zip(bytes) {
            to.write(b);
        }
        self.at += bytes.len();
    }

    fn path(&mut self, b: u8) {
        if plain(b) {
            self.raw(b);
        } else {
            self.escape(b);
        }
    }

    fn query(&mut self, b: u8) {
        if is_unreserved(b) {
            self.raw(b);
        } else {
            self.escape(b);
        }
    }

    fn escape(&mut self, b: u8) {
        self.copy(&escaped(b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(bucket: Option<&str>, key: &[u8], args: &str, pass: &[&str]) -> String {
        wire_with(bucket, key, args, pass, &[])
    }

    fn wire_with(
        bucket: Option<&str>,
        key: &[u8],
        args: &str,
        pass: &[&str],
        own: &[(usize, &[u8])],
    ) -> String {
        let pass_args = sorted_arguments(pass.iter().map(|n| n.as_bytes().into()).collect());
        let bucket_in_path = bucket.map(str::as_bytes);
        let decoded = key;
        let key = Key::new(decoded, true).unwrap();
        assert_eq!(key.as_bytes(), decoded);
        let args = args.as_bytes();
        let t = Target { bucket_in_path, key, args, pass_args: &pass_args, own };
        String::from_utf8(t.to_bytes()).unwrap()
    }

    #[test]
    fn keys_are_encoded_byte_by_byte() {
        for (key, expected) in [
            (&b"index.html"[..], "/index.html"),
            (b"a b+c.txt", "/a%20b%2Bc.txt"),
            (b"a%2Fb", "/a%252Fb"),
            (b"dir//x", "/dir//x"),
            (b"/x", "//x"),
            ("\u{fc}.txt".as_bytes(), "/%C3%BC.txt"),
            (b"-._~!$&'()*,;=:@", "/-._~%21%24%26%27%28%29%2A%2C%3B%3D%3A%40"),
        ] {
            assert_eq!(wire(None, key, "", &[]), expected);
        }
        assert_eq!(wire(Some("my.bucket"), b"a", "", &[]), "/my.bucket/a");
        for text in 128..=0x7ff_u16 {
            let text = char::from_u32(text.into()).unwrap().to_string();
            let [a, b] = text.as_bytes().try_into().unwrap();
            assert_eq!(wire(None, text.as_bytes(), "", &[]), format!("/%{a:02X}%{b:02X}"));
        }
    }

    #[test]
    fn every_byte_has_one_encoding() {
        for b in 1..=127u8 {
            // Alone, and at both ends of what is looked at in one step.
            for (before, after) in [(0, 1), (1, 0), (1, 15), (1, 16), (15, 1), (16, 15), (30, 1)] {
                let (before, after) = ("a".repeat(before), "z".repeat(after));
                let key = [before.as_bytes(), &[b], after.as_bytes()].concat();
                let w = wire(None, &key, "", &[]);
                if b.is_ascii_alphanumeric() || b"-._~/".contains(&b) {
                    assert_eq!(w.as_bytes()[1..], key);
                } else {
                    assert_eq!(w, format!("/{before}%{b:02X}{after}"));
                }
            }
        }
    }

    #[test]
    fn only_named_arguments_pass() {
        let pass = &["partNumber", "versionId"];
        for (args, expected) in [
            ("", "/k"),
            ("acl", "/k"),
            ("policy&list-type=2&uploads", "/k"),
            ("versionId=a/b+c%2Bd&acl", "/k?versionId=a%2Fb%20c%2Bd"),
            ("versionId=2&partNumber=1", "/k?partNumber=1&versionId=2"),
            ("versionId=1&versionId=2", "/k?versionId=1"),
            ("version%49d=1", "/k?versionId=1"),
            ("VersionId=1", "/k"),
            ("versionId", "/k?versionId="),
            ("versionId=%zz%4", "/k?versionId=%25zz%254"),
            ("versionId=1=2%26acl", "/k?versionId=1%3D2%26acl"),
        ] {
            assert_eq!(wire(None, b"k", args, pass), expected, "{args}");
        }
        assert_eq!(wire(None, b"k", "versionId=1", &[]), "/k");
        // "~" is not encoded, and "%" comes before it.
        let sorted = "/k?%C3%BC=4&a=2&a-b=3&~=1";
        assert_eq!(
            wire(None, b"k", "~=1&a=2&a-b=3&%c3%bc=4", &["\u{fc}", "~", "a-b", "a"]),
            sorted
        );
    }

    #[test]
    fn arguments_with_control_bytes_are_told() {
        let pass = &[Box::from(*b"a"), Box::from(*b"b")];
        for (args, own, expected) in [
            ("a=1&b=%C3%BC+%7E", &[][..], None),
            ("a=1&b=%0d%0aX:1", &[], Some(&b"b"[..])),
            ("a=%7f&b=1", &[], Some(b"a")),
            ("c=%0a&b=1&b=%0a", &[], None),
            ("a=%0a", &[(0, &b"x"[..])], None),
            ("", &[(0, b"x\n")], Some(b"a")),
        ] {
            let (key, args) = (Key::of_any_bytes(b"k"), args.as_bytes());
            let target = Target { bucket_in_path: None, key, args, pass_args: pass, own };
            assert_eq!(target.odd_argument(), expected);
        }
    }

    #[test]
    fn the_operators_arguments_win() {
        let pass = &["a", "b", "c"];
        for (args, own, expected) in [
            ("", &[(1, &b"x y+%"[..])][..], "/k?b=x%20y%2B%25"),
            ("b=2&c=3&a=1", &[(1, b"x")], "/k?a=1&b=x&c=3"),
            ("b=2&c=3", &[(2, b"z"), (1, b"")], "/k?c=z"),
            ("", &[(1, b"")], "/k"),
        ] {
            assert_eq!(wire_with(None, b"k", args, pass, own), expected, "{args}");
        }
    }

    #[test]
    fn keys_follow_the_location() {
        for (uri, location, key) in [
            ("/media/a/b", "/media/", "a/b"),
            ("/media//a", "/media/", "/a"),
            ("/media/a", "/media", "a"),
            ("/media//a", "/media", "/a"),
            ("/media", "/media", ""),
            ("/media/", "/media/", ""),
            ("/other/a", "/media/", "other/a"),
            ("/a", "/", "a"),
            ("//a", "/", "/a"),
            ("relative", "/media/", "relative"),
        ] {
            let found = key_in_uri(uri.as_bytes(), location.as_bytes());
            assert_eq!(found, Ok(key.as_bytes()), "{uri}");
        }
        assert_eq!(key_in_uri(b"/media-x", b"/media"), Err(KeyError::OtherWord));
    }

    #[test]
    fn bad_keys_are_refused() {
        let long = [b'a'; MAX_KEY + 1];
        for (key, expected) in [
            (&b""[..], Err(KeyError::Empty)),
            (&long, Err(KeyError::TooLong)),
            (&long[..MAX_KEY], Ok(())),
            (b"a\0b", Err(KeyError::Nul)),
            (b".", Err(KeyError::DotSegment)),
            (b"a/../b", Err(KeyError::DotSegment)),
            (b"a/..", Err(KeyError::DotSegment)),
            (b"./a", Err(KeyError::DotSegment)),
            (b"a/...", Ok(())),
            (b"..a/b..", Ok(())),
            (b"a//b/", Ok(())),
            (b"a\\b", Err(KeyError::Backslash)),
            (b"\\", Err(KeyError::Backslash)),
            (b"a/b\\", Err(KeyError::Backslash)),
            (b"a\\..\\b", Err(KeyError::DotSegment)),
            (b"..\\b", Err(KeyError::DotSegment)),
            (b"a/b\\.", Err(KeyError::DotSegment)),
            (b"a\xff", Err(KeyError::NotText)),
            (b"\xc3", Err(KeyError::NotText)),
            (b"\xed\xa0\x80", Err(KeyError::NotText)),
        ] {
            assert_eq!(Key::new(key, false).map(|_| ()), expected);
            let at_aws = if expected == Err(KeyError::Backslash) { Ok(()) } else { expected };
            assert_eq!(Key::new(key, true).map(|_| ()), at_aws);
            // The same at any place of a long key.
            for n in 1..40 {
                let long = ["x".repeat(n).as_bytes(), b"/", key].concat();
                if !matches!(expected, Ok(()) | Err(KeyError::Empty | KeyError::TooLong)) {
                    assert_eq!(Key::new(&long, false).map(|_| ()), expected, "{n}");
                }
            }
        }
    }

    #[test]
    fn empty_segments_are_seen() {
        for prefix in ["", "/", "//", "/a/", "a//", "a//b/", "a/b//"] {
            assert!(has_empty_segment(prefix.as_bytes()), "{prefix}");
        }
        for prefix in ["a", "a/", "a/b/", "a/b"] {
            assert!(!has_empty_segment(prefix.as_bytes()), "{prefix}");
        }
    }
}
