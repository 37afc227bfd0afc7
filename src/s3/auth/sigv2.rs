//! AWS Signature Version 2 for objects of S3, for servers that know no newer one.
//!
//! Follows "Signing and authenticating REST requests" (Amazon S3 User Guide, appendix). The date is in the
//! header `Date`, which every such server reads; nginx sends none by itself.

use std::io::{self, Write};
use std::rc::Rc;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::credentials::Credentials;
use super::sigv4::stamp::Stamp;
use super::sigv4::{merged, split, Ask, Header, PAYS};
use crate::s3::object::{decoded, encode_argument};
use crate::s3::time::civil;
use crate::s3::zeroed::Zeroed;

/// Signs with one key.
pub struct Signer {
    credentials: Rc<Credentials>,
    encoded_id: String,
    encoded_token: Option<Zeroed>,
    /// The key, as the two states that HMAC begins with.
    key: Hmac<Sha1>,
}

/// A signature: 20 bytes in base64.
type Signature = [u8; 28];

const SCHEME: &[u8] = b"AWS ";
const ACCESS_KEY_ID: &[u8] = b"AWSAccessKeyId=";
const EXPIRES: &[u8] = b"&Expires=";
const OWNER: &[u8] = b"&x-amz-expected-bucket-owner=";
const PAYER: &[u8] = b"&x-amz-request-payer=requester";
const TOKEN: &[u8] = b"&x-amz-security-token=";
const SIGNATURE: &[u8] = b"&Signature=";

/// The longest number of seconds, in digits.
const DIGITS: usize = 20;

impl Signer {
    /// Takes a key.
    pub fn new(credentials: Rc<Credentials>) -> Self {
        let secret = credentials.secret_access_key().as_bytes();
        Signer {
            key: Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"),
            encoded_id: encode_argument(credentials.access_key_id().as_bytes()),
            encoded_token: credentials
                .session_token()
                .map(|t| encode_argument(t.as_bytes()).into()),
            credentials,
        }
    }

    /// Whether this is the signer that [`Signer::new`] would make.
    pub fn is_for(&self, credentials: &Credentials) -> bool {
        *self.credentials == *credentials
    }

    /// The session token of the key.
    pub fn session_token(&self) -> Option<&str> {
        self.credentials.session_token()
    }

    /// The length in bytes of what [`Signer::authorize`] writes.
    pub fn authorization_len(&self) -> usize {
        SCHEME.len() + self.credentials.access_key_id().len() + 1 + size_of::<Signature>()
    }

    /// Writes the value of `Authorization`. With it go `Date` (the stamp's, as HTTP has it), the ask's own headers
    /// and, where there is one, the owner and the session token.
    ///
    /// # Errors
    /// When `out` is shorter than [`Signer::authorization_len`].
    pub fn authorize(&self, ask: &Ask, stamp: &Stamp, mut out: &mut [u8]) -> io::Result<()> {
        let signature = self.sign(ask, &civil(stamp.seconds()).http_date(), ask.headers);
        out.write_all(SCHEME)?;
        out.write_all(self.credentials.access_key_id().as_bytes())?;
        out.write_all(b":")?;
        out.write_all(&signature)
    }

    /// The length in bytes of what [`Signer::presign`] writes at most.
    pub fn presigned_len(&self, ask: &Ask) -> usize {
        let token = self.encoded_token.as_ref().map_or(0, |token| TOKEN.len() + token.len());
        ask.host.len()
            + (ask.target.len() + 1)
            + (ACCESS_KEY_ID.len() + self.encoded_id.len())
            + (EXPIRES.len() + DIGITS)
            + ask.owner.map_or(0, |owner| OWNER.len() + owner.len())
            + (PAYER.len() + token)
            + (SIGNATURE.len() + 3 * size_of::<Signature>())
    }

    /// Writes a presigned URL without its scheme, `host/path?query`, that S3 accepts for `expires` seconds from the
    /// stamp on. What would be headers that begin with `x-amz-` stands in the query. Returns its length.
    ///
    /// # Errors
    /// When `out` is shorter than [`Signer::presigned_len`], or `expires` is no number.
    pub fn presign(
        &self,
        ask: &Ask,
        expires: &str,
        stamp: &Stamp,
        out: &mut [u8],
    ) -> io::Result<usize> {
        let expires: i64 = expires.parse().map_err(io::Error::other)?;
        let end = stamp.seconds().saturating_add(expires).to_string();
        let pays = ask.headers.contains(&PAYS);
        let signature = self.sign(ask, end.as_bytes(), if pays { &[PAYS] } else { &[] });

        let len = out.len();
        let mut rest = out;
        let separator: &[u8] = if ask.target.contains(&b'?') { b"&" } else { b"?" };
        for part in [ask.host, ask.target, separator, ACCESS_KEY_ID, self.encoded_id.as_bytes()] {
            rest.write_all(part)?;
        }
        rest.write_all(EXPIRES)?;
        rest.write_all(end.as_bytes())?;
        if let Some(owner) = ask.owner {
            rest.write_all(OWNER)?;
            rest.write_all(owner.as_bytes())?;
        }
        if pays {
            rest.write_all(PAYER)?;
        }
        if let Some(token) = &self.encoded_token {
            rest.write_all(TOKEN)?;
            rest.write_all(token.as_bytes())?;
        }
        rest.write_all(SIGNATURE)?;
        rest.write_all(encode_argument(&signature).as_bytes())?;
        Ok(len - rest.len())
    }

    /// The signature of a request with a date and headers of the operator's own, or of a URL with the end of its
    /// time: of the "StringToSign".
    fn sign(&self, ask: &Ask, date: &[u8], own: &[Header]) -> Signature {
        let find = |name| own.iter().find(|header| header.0 == name).and_then(|header| header.1);
        let [md5, kind] = ["content-md5", "content-type"].map(|name| find(name).unwrap_or(b""));
        let mut mac = self.key.clone();
        for line in [ask.method.name().as_bytes(), md5, kind, date] {
            mac.update(line);
            mac.update(b"\n");
        }
        let fixed: [Header; 2] = [
            ("x-amz-expected-bucket-owner", ask.owner.map(str::as_bytes)),
            ("x-amz-security-token", self.credentials.session_token().map(str::as_bytes)),
        ];
        for (name, value) in merged(&fixed, own) {
            if let Some(value) = value.filter(|_| name.starts_with("x-amz-")) {
                for part in [name.as_bytes(), b":", value, b"\n"] {
                    mac.update(part);
                }
            }
        }
        each_of_resource(ask, |part| mac.update(part));
        base64(mac.finalize().into_bytes().into())
    }
}

/// Arguments that make a signature another one, sorted: what asks for something else than the object, or for
/// other headers with it. As AWS's own SDK has them (botocore's `HmacV1Auth`).
pub const SIGNED_ARGUMENTS: [&[u8]; 35] = [
    b"accelerate",
    b"acl",
    b"analytics",
    b"cors",
    b"defaultObjectAcl",
    b"delete",
    b"inventory",
    b"lifecycle",
    b"location",
    b"logging",
    b"metrics",
    b"notification",
    b"object-lock",
    b"partNumber",
    b"policy",
    b"replication",
    b"requestPayment",
    b"response-cache-control",
    b"response-content-disposition",
    b"response-content-encoding",
    b"response-content-language",
    b"response-content-type",
    b"response-expires",
    b"restore",
    b"select",
    b"select-type",
    b"storageClass",
    b"tagging",
    b"torrent",
    b"uploadId",
    b"uploads",
    b"versionId",
    b"versioning",
    b"versions",
    b"website",
];

/// The pieces of the "CanonicalizedResource": the bucket, the path as it is sent, and the arguments that are signed,
/// with their decoded values. The target's arguments are sorted already.
fn each_of_resource(ask: &Ask, mut f: impl FnMut(&[u8])) {
    if let Some(bucket) = ask.bucket {
        f(b"/");
        f(bucket);
    }
    let (path, query) = split(ask.target);
    f(path);
    let mut separator: &[u8] = b"?";
    for (name, value) in signed_arguments(query) {
        f(separator);
        f(name);
        separator = b"&";
        if !value.is_empty() {
            f(b"=");
            decoded(value, b'+').for_each(|b| f(&[b]));
        }
    }
}

/// The arguments of a query that are signed: their names, and their values, encoded.
fn signed_arguments(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = query.split(|&b| b == b'&').map(|arg| match arg.iter().position(|&b| b == b'=') {
        Some(at) => (&arg[..at], &arg[at + 1..]),
        None => (arg, &[][..]),
    });
    pairs.filter(|(name, _)| SIGNED_ARGUMENTS.binary_search(name).is_ok())
}

/// The first argument of a target that must not stand in a URL, if there is one: values are signed decoded, so that
/// with `a&versionId=1` in one the signature is also that of a URL in which `versionId` is an argument of its own.
pub fn unsafe_argument(target: &[u8]) -> Option<&[u8]> {
    let is_name = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_unsafe = |value| {
        let value: Vec<u8> = decoded(value, b'+').collect();
        let mut behind = value.split(|&b| b == b'&').skip(1);
        behind.any(|arg| is_name(arg.split(|&b| b == b'=').next().unwrap_or_default()))
    };
    let found = signed_arguments(split(target).1).find(|(_, value)| is_unsafe(value));
    found.map(|(name, _)| name)
}

/// A digest in base64 (RFC 4648, section 4).
fn base64(digest: [u8; 20]) -> Signature {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = [b'='; size_of::<Signature>()];
    for (four, three) in out.chunks_exact_mut(4).zip(digest.chunks(3)) {
        let bits =
            three.iter().fold(0, |bits, &b| bits << 8 | u32::from(b)) << (24 - 8 * three.len());
        for (i, letter) in four.iter_mut().enumerate().take(three.len() + 1) {
            *letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::sigv4::Method;
    use super::*;

    fn signer(token: Option<&str>) -> Signer {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, token).ok().unwrap();
        Signer::new(Rc::new(credentials))
    }

    fn ask<'a>(bucket: Option<&'a str>, target: &'a str, headers: &'a [Header<'a>]) -> Ask<'a> {
        let (method, host, owner) = (Method::Get, b"s3.example.com", None);
        let bucket = bucket.map(str::as_bytes);
        Ask { method, host, bucket, target: target.as_bytes(), owner, headers }
    }

    fn resource(bucket: Option<&str>, target: &str) -> String {
        let mut out = Vec::new();
        each_of_resource(&ask(bucket, target, &[]), |part| out.extend_from_slice(part));
        String::from_utf8(out).unwrap()
    }

    /// "Signing and authenticating REST requests", examples: those that read something. Their dates are written with
    /// an offset, as no other is today.
    #[test]
    fn examples_of_the_s3_reference() {
        for (bucket, target, date, signature) in [
            (
                Some("awsexamplebucket1"),
                "/photos/puppy.jpg",
                "Tue, 27 Mar 2007 19:36:42 +0000",
                "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
            ),
            (
                Some("awsexamplebucket1"),
                "/?max-keys=50&marker=puppy&prefix=photos",
                "Tue, 27 Mar 2007 19:42:41 +0000",
                "m0WP8eCtspQl5Ahe6L1SozdX9YA=",
            ),
            (
                Some("awsexamplebucket1"),
                "/?acl",
                "Tue, 27 Mar 2007 19:44:46 +0000",
                "82ZHiFIjc+WbcwFKGUVEQspPn+0=",
            ),
            (None, "/", "Wed, 28 Mar 2007 01:29:59 +0000", "qGdzdERIC03wnaRNKh6OqZehG9s="),
            (
                None,
                "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
                "Wed, 28 Mar 2007 01:49:49 +0000",
                "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
            ),
            // The same requests for the bucket of earlier editions.
            (
                Some("johnsmith"),
                "/photos/puppy.jpg",
                "Tue, 27 Mar 2007 19:36:42 +0000",
                "bWq2s1WEIj+Ydj0vQ697zp+IXMU=",
            ),
            (
                Some("johnsmith"),
                "/?max-keys=50&marker=puppy&prefix=photos",
                "Tue, 27 Mar 2007 19:42:41 +0000",
                "htDYFYduRNen8P9ZfE/s9SuKy0U=",
            ),
            (
                Some("johnsmith"),
                "/?acl",
                "Tue, 27 Mar 2007 19:44:46 +0000",
                "c2WLPFtWHVgbEmeEG93a4cG37dM=",
            ),
            // A URL: the end of its time stands in the date's place. The later edition still has the signature of the
            // earlier one.
            (Some("johnsmith"), "/photos/puppy.jpg", "1175139620", "NpgCjnDzrM+WFzoENXmpNDUsSn8="),
        ] {
            let signed = signer(None).sign(&ask(bucket, target, &[]), date.as_bytes(), &[]);
            assert_eq!(core::str::from_utf8(&signed).unwrap(), signature, "{target} {date}");
        }
    }

    #[test]
    fn resources_have_the_bucket_and_signed_arguments() {
        for (bucket, target, expected) in [
            (None, "/b/k", "/b/k"),
            (Some("b"), "/k", "/b/k"),
            (Some("b"), "/", "/b/"),
            (None, "/b/?delimiter=%2F&list-type=2&prefix=a", "/b/"),
            (None, "/b/k?versionId=3%2FL4+kqtJ%2Bl", "/b/k?versionId=3/L4+kqtJ+l"),
            (None, "/b/k?versionId=", "/b/k?versionId"),
            (None, "/b/a%20%C3%BC?VersionId=1&x=2", "/b/a%20%C3%BC"),
            (
                None,
                "/b/k?A=1&partNumber=2&response-content-type=text%2Fplain&versionId=1&x=3",
                "/b/k?partNumber=2&response-content-type=text/plain&versionId=1",
            ),
        ] {
            assert_eq!(resource(bucket, target), expected);
        }
        assert!(SIGNED_ARGUMENTS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn values_that_read_as_arguments_are_found() {
        let twice = "/b/k?response-content-type=a&versionId=1";
        assert_eq!(
            resource(None, &twice.replace("a&versionId=", "a%26versionId%3D")),
            resource(None, twice)
        );
        for (value, is_unsafe) in [
            ("a%26versionId%3D1", true),
            ("a%26tagging", true),
            ("%26x-y%3D", true),
            ("a%26%26b", true),
            ("a=%3D", false),
            ("a%26", false),
            ("a%26%3Db", false),
            ("attachment%3B%20filename%3D%22Q%26A.txt%22", false),
            ("a%20%26%20b", false),
            ("a%2526b", false),
        ] {
            let target = format!("/b/%26x?A=a%26b&response-content-type={value}&x=a%26b");
            let expected = is_unsafe.then_some(&b"response-content-type"[..]);
            assert_eq!(unsafe_argument(target.as_bytes()), expected, "{value}");
        }
        assert_eq!(unsafe_argument(b"/b/a%26versionId"), None);
    }

    #[test]
    fn digests_are_written_in_base64() {
        let digest = core::array::from_fn(|i| (i * 13) as u8);
        assert_eq!(&base64(digest), b"AA0aJzRBTltodYKPnKm2w9Dd6vc=");
        assert_eq!(&base64([0xff; 20]), b"//////////////////////////8=");
    }

    #[test]
    fn a_url_has_what_headers_would_say() {
        let stamp = Stamp::new([2007, 3, 29, 3, 35, 20]);
        let headers: [Header; 2] = [("x-amz-other", Some(b"1")), PAYS];
        let owner = Some("111122223333");
        let ask = Ask { owner, ..ask(None, "/b/k?versionId=1", &headers) };
        let signer = signer(Some("t/+="));
        let mut out = vec![0; signer.presigned_len(&ask)];
        let len = signer.presign(&ask, "300", &stamp, &mut out).unwrap();
        let url = core::str::from_utf8(&out[..len]).unwrap();
        let end = stamp.seconds() + 300;
        let (url, signature) = url.split_once("&Signature=").unwrap();
        let expected = format!(
            "s3.example.com/b/k?versionId=1&AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires={end}\
             &x-amz-expected-bucket-owner=111122223333&x-amz-request-payer=requester\
             &x-amz-security-token=t%2F%2B%3D"
        );
        assert_eq!(url, expected);
        let signed = signer.sign(&ask, end.to_string().as_bytes(), &[PAYS]);
        assert_eq!(signature, encode_argument(&signed));
        let mut short = vec![0; len - 1];
        assert!(signer.presign(&ask, "300", &stamp, &mut short).is_err());
        let mut short = vec![0; signer.authorization_len() - 1];
        assert!(signer.authorize(&ask, &stamp, &mut short).is_err());
    }
}
