//! AWS Signature Version 4 for objects of S3.
//!
//! Follows "Signature Calculations for the Authorization Header" and "Authenticating Requests:
//! Using Query Parameters" (Amazon S3 API Reference). For S3 the path is encoded once and never
//! normalised: what is signed is the request target as it goes on the wire.

mod canonical;
pub mod form;
pub mod stamp;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub(super) use canonical::merged;
pub use canonical::Header;
use canonical::{names, Canonical};
use stamp::Stamp;

use super::credentials::Credentials;
use crate::s3::object::encode_argument;
use crate::s3::zeroed::Zeroed;

/// The value of `x-amz-content-sha256`: the requests have no body.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// A method that is signed. Nothing else is: no other can change a bucket by our signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
}

impl Method {
    /// The method of that name, as it stands in a request line.
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"GET" => Some(Method::Get),
            b"HEAD" => Some(Method::Head),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
        }
    }
}

/// What is asked of S3.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The method that is sent.
    pub method: Method,
    /// The `Host` header.
    pub host: &'a [u8],
    /// The bucket, where its name stands in the host and not in the target, for signatures that have it.
    pub bucket: Option<&'a [u8]>,
    /// The request target: the encoded path and the arguments, encoded and sorted by name.
    pub target: &'a [u8],
    /// The account that has to own the bucket (`x-amz-expected-bucket-owner`).
    pub owner: Option<&'a str>,
    /// The operator's own headers, lower-case and sorted. In a URL stands of them only who pays.
    pub headers: &'a [Header<'a>],
}

/// Signs with one key for one region and service.
///
/// It belongs to one thread, as a worker process of nginx does.
pub struct Signer {
    credentials: Rc<Credentials>,
    /// `/region/service/aws4_request`
    scope: String,
    /// The credential scope in a query behind the day, encoded.
    encoded_scope: String,
    encoded_id: String,
    encoded_token: Option<Zeroed>,
    /// The day's signing key, as the two states that HMAC begins with.
    key: RefCell<Option<([u8; 8], Hmac<Sha256>)>>,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CREDENTIAL: &str = " Credential=";
const SIGNED_HEADERS: &str = ", SignedHeaders=";
const SIGNATURE: &str = ", Signature=";

impl Signer {
    /// Takes the names of a region and a service, which have no byte to encode.
    pub fn new(credentials: Rc<Credentials>, region: &str, service: &str) -> Self {
        Signer {
            scope: scope(region, service),
            encoded_scope: encode_argument(scope(region, service).as_bytes()),
            encoded_id: encode_argument(credentials.access_key_id().as_bytes()),
            encoded_token: credentials
                .session_token()
                .map(|t| encode_argument(t.as_bytes()).into()),
            key: RefCell::default(),
            credentials,
        }
    }

    /// Whether this is the signer that [`Signer::new`] would make.
    pub fn is_for(&self, credentials: &Credentials, region: &str, service: &str) -> bool {
        *self.credentials == *credentials && self.scope == scope(region, service)
    }

    /// The session token of the keys.
    pub fn session_token(&self) -> Option<&str> {
        self.credentials.session_token()
    }

    /// The length in bytes of what [`Signer::authorize`] writes, with headers of the operator's `own`.
    pub fn authorization_len(&self, owner: Option<&str>, own: &[Header]) -> usize {
        let own: usize = names(own).map(|name| name.len() + 1).sum();
        self.value_len(&self.headers(b"", b"", owner)) + own
    }

    /// Writes the value of `Authorization`. With it go `x-amz-date` (the stamp),
    /// `x-amz-content-sha256` ([`UNSIGNED_PAYLOAD`]), the ask's own headers and, where there is one, the
    /// owner and the session token.
    ///
    /// # Errors
    /// When `out` is shorter than [`Signer::authorization_len`].
    pub fn authorize(&self, ask: &Ask, stamp: &Stamp, out: &mut [u8]) -> io::Result<()> {
        let fixed = self.headers(ask.host, stamp.as_bytes(), ask.owner);
        let all;
        let headers = match ask.headers {
            // Most of the time: nothing is allocated.
            [] => &fixed[..],
            own => {
                all = merged(&fixed, own);
                &all[..]
            }
        };
        let (path, query) = split(ask.target);
        let canonical = Canonical {
            method: ask.method.name(),
            path,
            query: &[query],
            headers,
            payload: UNSIGNED_PAYLOAD,
        };
        let signature = self.sign(&canonical, stamp);
        self.write_value(headers, stamp, &signature, out)
    }

    fn value_len(&self, headers: &[Header]) -> usize {
        let names = names(headers).map(|n| n.len() + 1).sum::<usize>() - 1;
        let id = self.credentials.access_key_id().len();
        ALGORITHM.len()
            + CREDENTIAL.len()
            + (id + "/YYYYMMDD".len() + self.scope.len())
            + (SIGNED_HEADERS.len() + names)
            + (SIGNATURE.len() + 64)
    }

    fn write_value(
        &self,
        headers: &[Header],
        stamp: &Stamp,
        signature: &[u8; 64],
        mut out: &mut [u8],
    ) -> io::Result<()> {
        out.write_all(ALGORITHM.as_bytes())?;
        out.write_all(CREDENTIAL.as_bytes())?;
        out.write_all(self.credentials.access_key_id().as_bytes())?;
        out.write_all(b"/")?;
        out.write_all(&stamp.day())?;
        out.write_all(self.scope.as_bytes())?;
        out.write_all(SIGNED_HEADERS.as_bytes())?;
        for (i, name) in names(headers).enumerate() {
            out.write_all(if i > 0 { b";" } else { b"" })?;
            out.write_all(name.as_bytes())?;
        }
        out.write_all(SIGNATURE.as_bytes())?;
        out.write_all(signature)
    }

    fn headers<'a>(
        &'a self,
        host: &'a [u8],
        date: &'a [u8],
        owner: Option<&'a str>,
    ) -> [Header<'a>; 5] {
        [
            ("host", Some(host)),
            ("x-amz-content-sha256", Some(UNSIGNED_PAYLOAD.as_bytes())),
            ("x-amz-date", Some(date)),
            ("x-amz-expected-bucket-owner", owner.map(str::as_bytes)),
            ("x-amz-security-token", self.credentials.session_token().map(str::as_bytes)),
        ]
    }

    /// The length in bytes of what [`Signer::presign`] writes.
    pub fn presigned_len(&self, ask: &Ask, expires: &str) -> usize {
        let (path, _) = split(ask.target);
        let query = self.presigned_query(ask, expires, &[0; 8], &[0; 16]);
        let query: usize = query.iter().map(|part| part.len()).sum();
        ask.host.len() + path.len() + 1 + query + PRESIGNED_SIGNATURE.len() + 64
    }

    /// Writes a presigned URL without its scheme, `host/path?query`, that S3 accepts for `expires`
    /// seconds from the stamp on.
    ///
    /// # Errors
    /// When `out` is shorter than [`Signer::presigned_len`].
    pub fn presign(
        &self,
        ask: &Ask,
        expires: &str,
        stamp: &Stamp,
        mut out: &mut [u8],
    ) -> io::Result<()> {
        let day = stamp.day();
        let query = self.presigned_query(ask, expires, &day, stamp.as_bytes());
        let (path, _) = split(ask.target);
        let canonical = Canonical {
            method: ask.method.name(),
            path,
            query: &query,
            headers: &[("host", Some(ask.host))],
            payload: UNSIGNED_PAYLOAD,
        };
        let signature = self.sign(&canonical, stamp);

        for part in [ask.host, path, b"?"].iter().chain(&query) {
            out.write_all(part)?;
        }
        out.write_all(PRESIGNED_SIGNATURE)?;
        out.write_all(&signature)
    }

    /// The query of a presigned URL, without its signature, sorted as it is signed: the ask's own
    /// arguments, none of which begins with `X-Amz-`, stand on either side of S3's.
    fn presigned_query<'a>(
        &'a self,
        ask: &Ask<'a>,
        expires: &'a str,
        day: &'a [u8; 8],
        date: &'a [u8; 16],
    ) -> [&'a [u8]; 19] {
        let (_, args) = split(ask.target);
        let earlier = |arg: &&[u8]| arg.split(|&b| b == b'=').next() < Some(b"X-Amz-");
        let at = args.split(|&b| b == b'&').take_while(earlier).map(|arg| arg.len() + 1).sum();
        let (before, after) = args.split_at(args.len().min(at));
        let before = before.strip_suffix(b"&").unwrap_or(before);
        let when = |present: bool, text: &'static [u8]| if present { text } else { b"" };
        [
            before,
            when(!before.is_empty(), b"&"),
            b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=",
            self.encoded_id.as_bytes(),
            b"%2F",
            day,
            self.encoded_scope.as_bytes(),
            b"&X-Amz-Date=",
            date,
            when(ask.owner.is_some(), b"&X-Amz-Expected-Bucket-Owner="),
            ask.owner.unwrap_or_default().as_bytes(),
            b"&X-Amz-Expires=",
            expires.as_bytes(),
            when(ask.headers.contains(&PAYS), b"&X-Amz-Request-Payer=requester"),
            when(self.encoded_token.is_some(), b"&X-Amz-Security-Token="),
            self.encoded_token.as_deref().unwrap_or_default().as_bytes(),
            b"&X-Amz-SignedHeaders=host",
            when(!after.is_empty(), b"&"),
            after,
        ]
    }

    /// The signature of a canonical request, in hexadecimal digits.
    fn sign(&self, request: &Canonical, stamp: &Stamp) -> [u8; 64] {
        let digest = request.digest();
        let mut mac = self.key(stamp.day());
        mac.update(ALGORITHM.as_bytes());
        mac.update(b"\n");
        mac.update(stamp.as_bytes());
        mac.update(b"\n");
        mac.update(&stamp.day());
        mac.update(self.scope.as_bytes());
        mac.update(b"\n");
        mac.update(&hex(&digest));
        hex(&mac.finalize().into_bytes().into())
    }

    /// The signing key of a day, derived when the day is another than the last one's.
    fn key(&self, day: [u8; 8]) -> Hmac<Sha256> {
        let mut known = self.key.borrow_mut();
        match &*known {
            Some((of, key)) if *of == day => key.clone(),
            _ => {
                let mut secret = Zeroed::from("AWS4");
                secret.push_str(self.credentials.secret_access_key());
                let mut key = keyed(secret.as_bytes());
                key.update(&day);
                for part in self.scope.split('/').skip(1) {
                    key = keyed(&key.finalize().into_bytes());
                    key.update(part.as_bytes());
                }
                let key = keyed(&key.finalize().into_bytes());
                *known = Some((day, key.clone()));
                key
            }
        }
    }
}

/// That the requester pays, which no other value says ("GetObject", Amazon S3 API Reference).
pub(super) const PAYS: Header = ("x-amz-request-payer", Some(b"requester"));

const PRESIGNED_SIGNATURE: &[u8] = b"&X-Amz-Signature=";

fn scope(region: &str, service: &str) -> String {
    format!("/{region}/{service}/aws4_request")
}

/// The path and the query of a request target.
pub(super) fn split(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|&b| b == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

#[cfg(test)]
mod tests {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::time::{Duration, SystemTime};

    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
        SigningSettings, UriPathNormalizationMode,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::s3::object::{sorted_arguments, Key, Target};

    /// Counts allocations, so that none can slip into a signature.
    struct Counting;

    thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

    // SAFETY: everything is passed to the system's allocator.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            ALLOCATIONS.set(ALLOCATIONS.get() + 1);
            // SAFETY: the caller's promise.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
            // SAFETY: the caller's promise.
            unsafe { System.dealloc(ptr, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    /// SHA-256 of nothing.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signer(id: &str, secret: &str, token: Option<&str>, region: &str, service: &str) -> Signer {
        let credentials = Credentials::new(id, secret, token).ok().unwrap();
        Signer::new(Rc::new(credentials), region, service)
    }

    fn authorization(signer: &Signer, ask: &Ask, stamp: &Stamp) -> String {
        let mut out = vec![0; signer.authorization_len(ask.owner, ask.headers)];
        signer.authorize(ask, stamp, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn presigned(signer: &Signer, ask: &Ask, expires: &str, stamp: &Stamp) -> String {
        let mut out = vec![0; signer.presigned_len(ask, expires)];
        signer.presign(ask, expires, stamp, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn text(signature: [u8; 64]) -> String {
        String::from_utf8(signature.to_vec()).unwrap()
    }

    fn doc_signer() -> Signer {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        signer("AKIAIOSFODNN7EXAMPLE", secret, None, "us-east-1", "s3")
    }

    /// "Signature Calculations for the Authorization Header", examples, Amazon S3 API Reference.
    #[test]
    fn examples_of_the_s3_reference() {
        let stamp = Stamp::new([2013, 5, 24, 0, 0, 0]);
        let range: Header = ("range", Some(b"bytes=0-9"));
        let no_range: Header = ("range", None);
        for (path, query, range, signature) in [
            (
                "/test.txt",
                "",
                range,
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "/",
                "lifecycle=",
                no_range,
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "/",
                "max-keys=2&prefix=J",
                no_range,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let canonical = Canonical {
                method: "GET",
                path: path.as_bytes(),
                query: &[query.as_bytes()],
                headers: &[
                    ("host", Some(b"examplebucket.s3.amazonaws.com")),
                    range,
                    ("x-amz-content-sha256", Some(EMPTY.as_bytes())),
                    ("x-amz-date", Some(stamp.as_bytes())),
                ],
                payload: EMPTY,
            };
            assert_eq!(text(doc_signer().sign(&canonical, &stamp)), signature);
        }
    }

    /// "Authenticating Requests: Using Query Parameters", example, Amazon S3 API Reference.
    #[test]
    fn presigned_example_of_the_s3_reference() {
        let ask = Ask {
            method: Method::Get,
            host: b"examplebucket.s3.amazonaws.com",
            bucket: None,
            target: b"/test.txt",
            owner: None,
            headers: &[],
        };
        assert_eq!(
            presigned(&doc_signer(), &ask, "86400", &Stamp::new([2013, 5, 24, 0, 0, 0])),
            "examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    /// AWS's Signature Version 4 test suite, as far as S3 signs that way: GET, without normalised
    /// paths and without headers of other services. Name, request target, and the signatures in
    /// the header and in the query.
    const SUITE: [(&str, &str, &str, &str); 16] = [
        (
            "get-relative-relative-unnormalized",
            "/example1/example2/../..",
            "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b",
            "b45db0bfd1cf15003493b733e33aa208dd981bd0e63037a6ed953f71d2118a16",
        ),
        (
            "get-relative-unnormalized",
            "/example/..",
            "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282",
            "cbcb213b928a077e43275df47b500f1dfaa864ab3f5a18f6b95f4ff0938167ee",
        ),
        (
            "get-slash-dot-slash-unnormalized",
            "/./",
            "68714168e6557f8f2de0ef956fc24dc2593a4bd2961f8df51898d8a134695145",
            "a9b13e8f3484d9505bf1a6f347219f8f35b0fe8f128ceea597efc146a3dfe90c",
        ),
        (
            "get-slash-pointless-dot-unnormalized",
            "/./example",
            "beb03f223f7deae4146464f06e29eebbee9c8afbe15c290cf07aa8b119e14cff",
            "72b11f16d9530b18204bfb71f2d6ab085894c0ed8d352730a6e76234c58b5e10",
        ),
        (
            "get-slash-unnormalized",
            "//",
            "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e",
            "b2a9542809db687769200f56a844a03f2bd0291d6eb90232d5101c6a579446cd",
        ),
        (
            "get-slashes-unnormalized",
            "//example//",
            "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5",
            "822a5a9ba28072c5ab2bb4a6307d0c88276d40e49fec6b724c03fb4d4ba60fc2",
        ),
        (
            "get-space-unnormalized",
            "/example space/",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
            "7a1f416954786484c9824d93c1f26ef64acb9b1b6c9154d08c9f07d0e394abf6",
        ),
        (
            "get-unreserved",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            "95968482db1b9e0fadef6efc1bd24689f77c77d9ef56919c96a28cc92e0d6005",
        ),
        (
            "get-utf8",
            "/ሴ",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            "10eae3f14a260bd3911cc6d008d3c576d143b05b62f09782a7a4b37f52178e44",
        ),
        (
            "get-vanilla",
            "/",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
        ),
        (
            "get-vanilla-empty-query-key",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            "49096700cbbaa5753443850f40df10f904fc2fdb544dc9512203cc77c471a9de",
        ),
        (
            "get-vanilla-query-order-encoded",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787",
        ),
        (
            "get-vanilla-query-order-key-case",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5",
        ),
        (
            "get-vanilla-query-unreserved",
            "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf",
        ),
        (
            "get-vanilla-utf8-query",
            "/?ሴ=bar",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            "0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600",
        ),
        (
            "get-vanilla-with-session-token",
            "/",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c",
        ),
    ];

    #[test]
    fn published_test_suite() {
        for (name, raw, in_header, in_query) in SUITE {
            let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
            let token = name.ends_with("token").then_some(token);
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            let signer = signer("AKIDEXAMPLE", secret, token, "us-east-1", "service");
            let stamp = Stamp::new([2015, 8, 30, 12, 36, 0]);

            // The suite's targets are raw: through the code that makes ours.
            let (path, args) = split(raw.as_bytes());
            let names = args.split(|&b| b == b'&').map(|a| a.split(|&b| b == b'=').next().unwrap());
            let decode = |name: &[u8]| match name {
                b"%E1%88%B4" => "\u{1234}".as_bytes().into(),
                _ => name.into(),
            };
            let pass_args = sorted_arguments(names.map(decode).collect());
            let key = Key::unchecked(&path[1..]);
            let target =
                Target { bucket_in_path: None, key, args, pass_args: &pass_args, own: &[] };
            let wire = target.to_bytes();

            let (path, query) = split(&wire);
            let token = signer.credentials.session_token().map(str::as_bytes);
            let mut canonical = Canonical {
                method: "GET",
                path,
                query: &[query],
                headers: &[
                    ("host", Some(b"example.amazonaws.com")),
                    ("x-amz-date", Some(stamp.as_bytes())),
                    ("x-amz-security-token", token),
                ],
                payload: EMPTY,
            };
            assert_eq!(text(signer.sign(&canonical, &stamp)), in_header, "{name}");

            let ask = Ask {
                method: Method::Get,
                host: b"",
                bucket: None,
                target: &wire,
                owner: None,
                headers: &[],
            };
            let day = stamp.day();
            let query = signer.presigned_query(&ask, "3600", &day, stamp.as_bytes());
            canonical.query = &query;
            canonical.headers = &[("host", Some(b"example.amazonaws.com"))];
            assert_eq!(text(signer.sign(&canonical, &stamp)), in_query, "{name} in the query");
        }
    }

    /// Days since 1970-01-01 of a date, for dates since then.
    fn days(year: u32, month: u32, day: u32) -> u64 {
        let leap = |y: u32| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        let months = [31, 28 + u32::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let years: u32 = (1970..year).map(|y| 365 + u32::from(leap(y))).sum();
        u64::from(years + months[..month as usize - 1].iter().sum::<u32>() + day - 1)
    }

    /// What AWS's own signer sends for the same request: `Authorization`, or the query.
    fn by_aws(
        signer: &Signer,
        region: &str,
        service: &str,
        ask: &Ask,
        time: [u32; 6],
        expires: Option<u64>,
    ) -> String {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.expires_in = expires.map(Duration::from_secs);
        if expires.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
        }
        let [year, month, day, hour, minute, second] = time;
        let seconds = u64::from(hour * 3600 + minute * 60 + second);
        let at = Duration::from_secs(days(year, month, day) * 86400 + seconds);
        let c = &signer.credentials;
        let identity = aws_credential_types::Credentials::new(
            c.access_key_id(),
            c.secret_access_key(),
            c.session_token().map(str::to_owned),
            None,
            "test",
        )
        .into();
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::UNIX_EPOCH + at)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let (host, target) = (ask.host, ask.target);
        let [host, target] = [host, target].map(|b| core::str::from_utf8(b).unwrap());
        let (owner, mut url) = (ask.owner.unwrap_or_default(), format!("https://{host}{target}"));
        let mut headers = vec![("host", host)];
        if expires.is_none() && ask.owner.is_some() {
            headers.push(("x-amz-expected-bucket-owner", owner));
        } else if ask.owner.is_some() {
            let separator = if target.contains('?') { '&' } else { '?' };
            url.push_str(&format!("{separator}X-Amz-Expected-Bucket-Owner={owner}"));
        }
        for (name, value) in ask.headers {
            match value.map(|value| core::str::from_utf8(value).unwrap()) {
                Some(value) if expires.is_none() => headers.push((name, value)),
                Some(value) if *name == PAYS.0 => {
                    let separator = if url.contains('?') { '&' } else { '?' };
                    url.push_str(&format!("{separator}X-Amz-Request-Payer={value}"));
                }
                _ => (),
            }
        }
        let body = SignableBody::UnsignedPayload;
        let headers = headers.into_iter();
        let request = SignableRequest::new(ask.method.name(), url, headers, body).unwrap();
        let (output, signature) =
            aws_sigv4::http_request::sign(request, &params).unwrap().into_parts();
        let (headers, _) = output.into_parts();
        match expires {
            Some(_) => signature,
            None => {
                headers.into_iter().find(|h| h.name() == "authorization").unwrap().value().into()
            }
        }
    }

    fn visible() -> impl Strategy<Value = String> {
        "[!-~]{1,80}"
    }

    proptest! {
        #[test]
        fn same_as_aws_signer(
            id in "[0-9A-Za-z_.@+:%-]{1,40}",
            secret in visible(),
            token in proptest::option::of(visible()),
            region in "[a-z0-9-]{1,20}",
            service in "(s3|s3-object-lambda|execute-api)",
            head in any::<bool>(),
            key in "\\PC{1,40}",
            bucket in proptest::option::of("[a-z0-9]{3,20}"),
            args in proptest::collection::vec(("[ -~\u{e9}]{1,8}", "\\PC{0,8}"), 0..4),
            owner in proptest::option::of("[0-9]{12}"),
            time in [1970u32..2200, 1..13, 1..29, 0..24, 0..60, 0..60],
            expires in 1u64..=604_800,
            own in 0usize..=3,
            value in "[!-~]( ?[!-~]){0,8}",
        ) {
            let encoded = |t: &String| encode_argument(t.as_bytes());
            let names = args.iter().map(|(n, _)| n.as_bytes().into());
            let pass_args = sorted_arguments(names.collect());
            prop_assume!(pass_args.iter().all(|n| !n.starts_with(b"X-Amz-")));
            let args = args.iter().map(|(n, v)| encoded(n) + "=" + &encoded(v));
            let args = args.collect::<Vec<_>>().join("&");
            let Ok(key) = Key::new(key.as_bytes(), true) else { return Err(TestCaseError::reject("no key")) };
            let target = Target {
                bucket_in_path: bucket.as_ref().map(|b| b.as_bytes()),
                key,
                args: args.as_bytes(),
                pass_args: &pass_args,
                own: &[],
            };
            let wire = target.to_bytes();

            let method = if head { Method::Head } else { Method::Get };
            let owner = owner.as_deref();
            let mut headers: Vec<Header> = vec![("a", Some(value.as_bytes())), ("empty", None)];
            headers.push(PAYS);
            headers.truncate(own);
            let host = b"b.s3.example.com:9000";
            let ask = Ask { method, host, bucket: None, target: &wire, owner, headers: &headers };
            let ours = signer(&id, &secret, token.as_deref(), &region, &service);
            let stamp = Stamp::new(time);
            let theirs = by_aws(&ours, &region, &service, &ask, time, None);
            prop_assert_eq!(authorization(&ours, &ask, &stamp), theirs);

            let theirs = by_aws(&ours, &region, &service, &ask, time, Some(expires));
            let url = presigned(&ours, &ask, &expires.to_string(), &stamp);
            prop_assert_eq!(url.rsplit_once('=').unwrap().1, theirs);
        }
    }

    #[test]
    fn a_key_is_derived_once_a_day_and_nothing_is_allocated_for_a_signature() {
        let signer = doc_signer();
        let ask = Ask {
            method: Method::Head,
            host: b"h",
            bucket: None,
            target: b"/k?a=1",
            owner: Some("1"),
            headers: &[],
        };
        let mut out = [0; 512];
        let mut allocations = |stamp: Stamp| {
            let before = ALLOCATIONS.get();
            let out = &mut out[..signer.authorization_len(ask.owner, ask.headers)];
            signer.authorize(&ask, &stamp, out).unwrap();
            let len = signer.presigned_len(&ask, "300");
            signer.presign(&ask, "300", &stamp, &mut [0; 512][..len]).unwrap();
            (ALLOCATIONS.get() - before, authorization(&signer, &ask, &stamp))
        };
        let (first, of_the_day) = allocations(Stamp::new([2026, 11, 23, 23, 59, 59]));
        assert!(first > 0, "the key of the day is derived");
        assert_eq!(allocations(Stamp::new([2026, 11, 23, 23, 59, 59])), (0, of_the_day.clone()));
        let (next_day, after_midnight) = allocations(Stamp::new([2026, 11, 24, 0, 0, 0]));
        assert!(next_day > 0, "another day has another key");
        assert!(of_the_day.contains("/20261123/") && after_midnight.contains("/20261124/"));
        let (back, again) = allocations(Stamp::new([2026, 11, 23, 23, 59, 59]));
        assert!(back > 0 && again == of_the_day, "the key follows the stamp");
    }

    #[test]
    fn nothing_is_written_by_half() {
        let (signer, stamp) = (doc_signer(), Stamp::new([2026, 11, 24, 0, 0, 0]));
        let ask = Ask {
            method: Method::Get,
            host: b"h",
            bucket: None,
            target: b"/k",
            owner: None,
            headers: &[],
        };
        let mut short = vec![0; signer.authorization_len(None, &[]) - 1];
        assert!(signer.authorize(&ask, &stamp, &mut short).is_err());
        let mut short = vec![0; signer.presigned_len(&ask, "1") - 1];
        assert!(signer.presign(&ask, "1", &stamp, &mut short).is_err());
    }

    #[test]
    fn only_get_and_head_are_signed() {
        assert_eq!(Method::named(b"GET"), Some(Method::Get));
        assert_eq!(Method::named(b"HEAD"), Some(Method::Head));
        for other in ["get", "PUT", "POST", "DELETE", "OPTIONS", "GET ", ""] {
            assert_eq!(Method::named(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn signers_are_told_apart() {
        let signer = doc_signer();
        let same = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
        );
        let same = same.ok().unwrap();
        assert!(signer.is_for(&same, "us-east-1", "s3"));
        assert!(!signer.is_for(&same, "us-east-2", "s3"));
        assert!(!signer.is_for(&same, "us-east-1", "s4"));
        let other = Credentials::new("AKIAIOSFODNN7EXAMPLE", "another", None).ok().unwrap();
        assert!(!signer.is_for(&other, "us-east-1", "s3"));
    }
}
