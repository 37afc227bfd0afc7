//! The body of an error of S3, as far as it has arrived: its code, wherever the pieces break.

use core::ops::Deref;

/// The longest error code that is believed, in bytes.
pub const MAX_CODE: usize = 64;

/// How much of an error's text is waited for, in bytes: the code stands near its beginning.
pub const ENOUGH: usize = 1024;

/// What ends a body (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(usize),
    /// The last chunk.
    Chunked,
    /// The end of the connection.
    Close,
}

/// Whether a body is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// More of it can come.
    Part,
    /// All of it.
    Whole,
    /// Its chunks are none, so that nobody can tell.
    Broken,
}

/// An error code: 1 to [`MAX_CODE`] ASCII letters and digits.
#[derive(Clone, Copy)]
pub struct Code {
    bytes: [u8; MAX_CODE],
    len: usize,
}

impl Deref for Code {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What is known of a body.
pub struct ErrorBody {
    /// S3's error code ("Error responses", Amazon S3 API Reference): the first `<Code>` of the text,
    /// once its end is there.
    pub code: Option<Code>,
    pub arrived: Arrived,
    /// How many bytes of text have arrived, without what frames them.
    pub text_len: usize,
}

impl ErrorBody {
    /// Looks at the beginning of a body, as it is on the wire.
    pub fn new(wire: &[u8], framing: Framing) -> Self {
        let (mut search, mut text_len) = (Search::Open(0), 0);
        let mut each = |text: &[u8]| {
            text_len += text.len();
            search.feed(text);
        };
        let arrived = each_text(wire, framing, &mut each);
        let code = if let Search::Found(code) = search { Some(code) } else { None };
        ErrorBody { code, arrived, text_len }
    }

    /// Whether the code can still come, and is worth to be waited for.
    pub fn is_coming(&self) -> bool {
        self.code.is_none() && self.arrived == Arrived::Part && self.text_len < ENOUGH
    }

    /// Whether there is no code, and nobody can tell whether S3 sent one: the body was cut, or only
    /// the end of its connection would tell that it was not.
    pub fn is_unknown(&self, framing: Framing) -> bool {
        self.code.is_none()
            && match (framing, self.arrived) {
                (Framing::Close, _) | (_, Arrived::Broken) => true,
                (_, Arrived::Part) => self.text_len < ENOUGH,
                (_, Arrived::Whole) => false,
            }
    }
}

/// Calls `each` with the pieces of a body's text, as it is on the wire, as far as it has arrived.
pub fn each_text(wire: &[u8], framing: Framing, mut each: impl FnMut(&[u8])) -> Arrived {
    match framing {
        Framing::Chunked => each_chunk(wire, each),
        Framing::Close => {
            each(wire);
            Arrived::Part
        }
        Framing::Length(len) => match wire.get(..len) {
            Some(text) => {
                each(text);
                Arrived::Whole
            }
            None => {
                each(wire);
                Arrived::Part
            }
        },
    }
}

/// Calls `each` with the text of every chunk, the last one as far as it has arrived (RFC 9112, 7.1).
fn each_chunk(mut wire: &[u8], mut each: impl FnMut(&[u8])) -> Arrived {
    loop {
        let Some((line, rest)) = line(wire) else { return Arrived::Part };
        let Some(size) = chunk_size(line) else { return Arrived::Broken };
        if size == 0 {
            return after_trailer(rest);
        }
        let Some((text, rest)) = rest.split_at_checked(size) else {
            each(rest);
            return Arrived::Part;
        };
        each(text);
        wire = match rest {
            [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return Arrived::Part,
            _ => return Arrived::Broken,
        };
    }
}

/// Whether the trailer has come to its end, an empty line.
fn after_trailer(mut wire: &[u8]) -> Arrived {
    while let Some((line, rest)) = line(wire) {
        if line.is_empty() {
            return Arrived::Whole;
        }
        wire = rest;
    }
    Arrived::Part
}

/// Splits off a line, without its end.
fn line(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = wire.iter().position(|&b| b == b'\n')?;
    let line = &wire[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &wire[end + 1..]))
}

/// The size of a chunk, without its extensions.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|&b| b == b';').next()?.trim_ascii_end();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |size, &b| {
        let digit = char::from(b).to_digit(16)?;
        size.checked_mul(16)?.checked_add(digit as usize)
    })
}

/// The search for a code, in pieces of text.
enum Search {
    /// So many bytes of [`Search::OPEN`] were seen.
    Open(usize),
    /// The code, as far as it goes.
    Code(Code),
    /// The code, and so many bytes of [`Search::CLOSE`].
    Close(Code, usize),
    Found(Code),
    /// What stands in the first element is no code.
    Failed,
}

impl Search {
    const OPEN: &'static [u8] = b"<Code>";
    const CLOSE: &'static [u8] = b"</Code>";

    fn feed(&mut self, text: &[u8]) {
        for &b in text {
            *self = match self {
                Search::Open(seen) => Self::opened(*seen, b),
                Search::Code(code) => match code.bytes.get_mut(code.len) {
                    Some(next) if b.is_ascii_alphanumeric() => {
                        *next = b;
                        code.len += 1;
                        continue;
                    }
                    _ if code.len > 0 && b == Self::CLOSE[0] => Search::Close(*code, 1),
                    _ => Search::Failed,
                },
                Search::Close(_, seen) if Self::CLOSE[*seen] != b => Search::Failed,
                Search::Close(code, seen) => match *seen + 1 == Self::CLOSE.len() {
                    true => Search::Found(*code),
                    false => Search::Close(*code, *seen + 1),
                },
                Search::Found(_) | Search::Failed => return,
            }
        }
    }

    fn opened(seen: usize, b: u8) -> Self {
        // Only its first byte is in the pattern twice.
        let seen = match b {
            _ if b == Self::OPEN[seen] => seen + 1,
            b'<' => 1,
            _ => 0,
        };
        match seen == Self::OPEN.len() {
            true => Search::Code(Code { bytes: [0; MAX_CODE], len: 0 }),
            false => Search::Open(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::s3::answer::verdict;

    fn code(wire: &[u8], framing: Framing) -> Option<String> {
        let code = ErrorBody::new(wire, framing).code?;
        Some(String::from_utf8(code.to_vec()).unwrap())
    }

    #[test]
    fn codes_are_found_in_what_has_arrived() {
        let long = format!("<Code>{}</Code>", "A".repeat(65));
        let longest = "A".repeat(64);
        for (body, expected) in [
            ("<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>", Some("NoSuchKey")),
            ("<<Code>SlowDown</Code><Code>NoSuchKey</Code>", Some("SlowDown")),
            (&format!("<Code>{longest}</Code>"), Some(&longest)),
            ("<Error><Code>NoSuch", None),
            ("<Error><Code>NoSuchKey</Cod", None),
            ("<Error><Code></Code>", None),
            ("<Error><Code>a b</Code>", None),
            ("<Error><Code>a<Code>b</Code>", None),
            ("<Error><Code>a\n[emerg]</Code>", None),
            (&long, None),
            ("", None),
        ] {
            assert_eq!(code(body.as_bytes(), Framing::Close).as_deref(), expected, "{body}");
            let all = Framing::Length(body.len());
            assert_eq!(code(body.as_bytes(), all).as_deref(), expected, "{body}");
        }
        let next = b"<Code>NoSuchKey</Code>HTTP/1.1 200 OK";
        assert_eq!(code(next, Framing::Length(12)), None, "the next answer is no text");
    }

    #[test]
    fn bodies_come_to_an_end() {
        use Arrived::{Broken, Part, Whole};
        for (body, arrived) in [
            ("0\r\n\r\n", Whole),
            ("4\r\nhush\r\n0\r\n\r\n", Whole),
            ("4\nhush\n0\n\n", Whole),
            ("4\r\nhush\r\n0\r\nX-Trailer: x\r\n\r\n", Whole),
            ("4 \r\nhush\r\n000;a=b\r\n\r\n", Whole),
            ("4\r\nhush\r\n0\r\nX-Trailer: x\r\n", Part),
            ("4\r\nhush\r\n0\r\n", Part),
            ("4\r\nhush\r\n", Part),
            ("4\r\nhush\r", Part),
            ("10\r\n\r\n", Part),
            ("", Part),
            ("4\r\nhush!", Broken),
            ("<html>\r\n", Broken),
            ("+4\r\nhush\r\n", Broken),
            ("\r\n", Broken),
            ("10000000000000000\r\n", Broken),
        ] {
            let seen = ErrorBody::new(body.as_bytes(), Framing::Chunked).arrived;
            assert_eq!(seen, arrived, "{body:?}");
        }
        for (length, arrived) in [(4, Whole), (3, Whole), (5, Part)] {
            assert_eq!(ErrorBody::new(b"hush", Framing::Length(length)).arrived, arrived);
        }
        assert_eq!(ErrorBody::new(b"hush", Framing::Close).arrived, Part);
    }

    #[test]
    fn what_is_waited_for_and_what_is_unknown() {
        let long = " ".repeat(ENOUGH);
        for (body, framing, is_coming, is_unknown) in [
            ("", Framing::Length(0), false, false),
            ("", Framing::Length(9), true, true),
            (&long, Framing::Length(9000), false, false),
            ("<Code>a</Code>", Framing::Length(9000), false, false),
            ("", Framing::Close, true, true),
            (&long, Framing::Close, false, true),
            ("<Code>a</Code>", Framing::Close, false, false),
            ("4\r\nhush\r\n", Framing::Chunked, true, true),
            ("4\r\nhush\r\n0\r\n\r\n", Framing::Chunked, false, false),
            ("hush\r\n", Framing::Chunked, false, true),
        ] {
            let seen = ErrorBody::new(body.as_bytes(), framing);
            assert_eq!(seen.is_coming(), is_coming, "{body} {framing:?}");
            assert_eq!(seen.is_unknown(framing), is_unknown, "{body} {framing:?}");
        }
    }

    /// Errors as servers send them: the status, the body, its code, and what a client gets.
    const RECORDED: [(u16, &str, &str, u16); 28] = [
        // SeaweedFS 4.48.
        (404, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Resource>/b-example/nokey</Resource><RequestId>18EB89194BAEBAF4F26F9DA3</RequestId><Key>nokey</Key><BucketName>b-example</BucketName></Error>", "NoSuchKey", 404),
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided. Check your key and signing method.</Message><Resource>/b-example/blob</Resource><RequestId>18EB89194BE6CA015720D390</RequestId><Key>blob</Key><BucketName>b-example</BucketName></Error>", "SignatureDoesNotMatch", 502),
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidAccessKeyId</Code><Message>The access key ID you provided does not exist in our records.</Message><Resource>/b-example/blob</Resource><RequestId>18EB89194BFBEB0D67A6FE11</RequestId><Key>blob</Key><BucketName>b-example</BucketName></Error>", "InvalidAccessKeyId", 502),
        (404, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message><Resource>/no-bucket/blob</Resource><RequestId>18EB89194C0FDDEFC56035C4</RequestId><Key>blob</Key><BucketName>no-bucket</BucketName></Error>", "NoSuchBucket", 502),
        (416, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidRange</Code><Message>The requested range is not satisfiable</Message><Resource>/b-example/blob</Resource><RequestId>18EB89194C74B8D1BEB0CEF5</RequestId><Key>blob</Key><BucketName>b-example</BucketName></Error>", "InvalidRange", 416),
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the server&#39;s time is too large.</Message><Resource>/b-example/blob</Resource><RequestId>18EB89194CAFBAAE8B582B9C</RequestId><Key>blob</Key><BucketName>b-example</BucketName></Error>", "RequestTimeTooSkewed", 502),
        // Ceph 16.2.15, and the same of 18.2.7.
        (404, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code><Message></Message><BucketName>b-example</BucketName><RequestId>tx00000664768fc1b5efdff-006b07dca7-100e-default</RequestId><HostId>100e-default-default</HostId></Error>", "NoSuchKey", 404),
        (404, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchBucket</Code><Message></Message><BucketName>no-bucket</BucketName><RequestId>tx000002c365f3e9a753436-006b07dca7-100e-default</RequestId><HostId>100e-default-default</HostId></Error>", "NoSuchBucket", 502),
        (416, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InvalidRange</Code><Message></Message><BucketName>b-example</BucketName><RequestId>tx000005781802d9007b601-006b07dca7-100e-default</RequestId><HostId>100e-default-default</HostId></Error>", "InvalidRange", 416),
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>RequestTimeTooSkewed</Code><Message></Message><RequestId>tx0000058d8e47a2b9e1ca4-006b07dca7-100e-default</RequestId><HostId>100e-default-default</HostId></Error>", "RequestTimeTooSkewed", 502),
        (400, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InvalidObjectName</Code><Message></Message><BucketName>b-example</BucketName><RequestId>tx00000dc8e025bec453550-006b07dca7-100e-default</RequestId><HostId>100e-default-default</HostId></Error>", "InvalidObjectName", 404),
        // The same for wrong keys, without rgw_s3_auth_use_sts and with it.
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SignatureDoesNotMatch</Code><Message></Message><RequestId>tx00000ea6b1a51917112a5-006b07dce7-1029-default</RequestId><HostId>1029-default-default</HostId></Error>", "SignatureDoesNotMatch", 502),
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InvalidAccessKeyId</Code><Message></Message><RequestId>tx000003d22a6f8e77670fb-006b07dce7-1029-default</RequestId><HostId>1029-default-default</HostId></Error>", "InvalidAccessKeyId", 502),
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message></Message><RequestId>tx0000022ae3cbf2f73f314-006b07dca7-100e-default</RequestId><HostId>100e-default-default</HostId></Error>", "AccessDenied", 404),
        // Garage 2.5.0; wrong keys are denied like objects, and a wrong clock is an invalid request.
        (404, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code><Message>Key not found</Message><Resource>/b-example/nokey</Resource><Region>garage</Region></Error>", "NoSuchKey", 404),
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>Forbidden: Invalid signature</Message><Resource>/b-example/blob</Resource><Region>garage</Region></Error>", "AccessDenied", 404),
        (403, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>Forbidden: No such key: GKnokeynokeynokey000</Message><Resource>/b-example/blob</Resource><Region>garage</Region></Error>", "AccessDenied", 404),
        (404, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchBucket</Code><Message>Bucket not found: no-bucket</Message><Resource>/no-bucket/blob</Resource><Region>garage</Region></Error>", "NoSuchBucket", 502),
        (416, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InvalidRange</Code><Message>Invalid HTTP range: (NoOverlap, 300000)</Message><Resource>/b-example/blob</Resource><Region>garage</Region></Error>", "InvalidRange", 416),
        (400, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InvalidRequest</Code><Message>Bad request: Date is too old</Message><Resource>/b-example/blob</Resource><Region>garage</Region></Error>", "InvalidRequest", 502),
        // OpenStack Swift 2.30.1.
        (404, "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><RequestId>tx914ac715500c42b79d0f7-006b07e8a1</RequestId><Key>nokey</Key></Error>", "NoSuchKey", 404),
        (403, "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided. Check your key and signing method.</Message><RequestId>tx65e0572ea46c4b02af5a6-006b07e8a1</RequestId><AWSAccessKeyId>test:tester</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256\n20261126T080657Z\n20261126/us-east-1/s3/aws4_request\nb18be8dcc9478b90b330478e252240bac0f9ff45c24ca8c3e817335c36affe0f</StringToSign><SignatureProvided>b5acef7190f8ffb6f434afc2b34239560ef2160165bde5d76bb6c71d0f0b8bdd</SignatureProvided><StringToSignBytes>41 57 53 34 2d 48 4d 41 43 2d 53 48 41 32 35 36 0a 32 30 32 36 31 31 32 36 54 30 38 30 36 35 37 5a 0a 32 30 32 36 31 31 32 36 2f 75 73 2d 65 61 73 74 2d 31 2f 73 33 2f 61 77 73 34 5f 72 65 71 75 65 73 74 0a 62 31 38 62 65 38 64 63 63 39 34 37 38 62 39 30 62 33 33 30 34 37 38 65 32 35 32 32 34 30 62 61 63 30 66 39 66 66 34 35 63 32 34 63 61 38 63 33 65 38 31 37 33 33 35 63 33 36 61 66 66 65 30 66</StringToSignBytes><CanonicalRequest>GET\n/b-example/blob\n\nhost:127.0.0.1:7950\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20261126T080657Z\n\nhost;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD</CanonicalRequest><CanonicalRequestBytes>47 45 54 0a 2f 62 2d 65 78 61 6d 70 6c 65 2f 62 6c 6f 62 0a 0a 68 6f 73 74 3a 31 32 37 2e 30 2e 30 2e 31 3a 37 39 35 30 0a 78 2d 61 6d 7a 2d 63 6f 6e 74 65 6e 74 2d 73 68 61 32 35 36 3a 55 4e 53 49 47 4e 45 44 2d 50 41 59 4c 4f 41 44 0a 78 2d 61 6d 7a 2d 64 61 74 65 3a 32 30 32 36 31 31 32 36 54 30 38 30 36 35 37 5a 0a 0a 68 6f 73 74 3b 78 2d 61 6d 7a 2d 63 6f 6e 74 65 6e 74 2d 73 68 61 32 35 36 3b 78 2d 61 6d 7a 2d 64 61 74 65 0a 55 4e 53 49 47 4e 45 44 2d 50 41 59 4c 4f 41 44</CanonicalRequestBytes></Error>", "SignatureDoesNotMatch", 502),
        (404, "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message><RequestId>tx72bdf6c572924e5c87ed1-006b07e8a1</RequestId><BucketName>no-bucket</BucketName></Error>", "NoSuchBucket", 502),
        (416, "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>InvalidRange</Code><Message>The requested range cannot be satisfied.</Message><RequestId>tx36de83e671ec4c138f378-006b07e8a1</RequestId></Error>", "InvalidRange", 416),
        (403, "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the current time is too large.</Message><RequestId>tx88812653a5ba4e3ba3fd3-006b07e8a1</RequestId></Error>", "RequestTimeTooSkewed", 502),
        // moto 5.2.5, which verifies no signature.
        (404, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>nokey</Key><RequestId>YLO3QT4uovGX5X1K5yJJUk1TQDc7WjdD8rAw0UNfL6xA5t813CfL</RequestId><HostId>9Gjjt1m+cjU4OPvX9O9/8RuvnG41MRb/18Oux2o5H5MY7ISNTlXN+Dz9IG62/ILVxhAGI0qyPfg=</HostId></Error>", "NoSuchKey", 404),
        (404, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message><BucketName>no-bucket</BucketName><RequestId>elgaRfIbMFlovbvSguaErICBvAVdg4t6KkyCpLCeKUISC69ECTpv</RequestId><HostId>9Gjjt1m+cjU4OPvX9O9/8RuvnG41MRb/18Oux2o5H5MY7ISNTlXN+Dz9IG62/ILVxhAGI0qyPfg=</HostId></Error>", "NoSuchBucket", 502),
        (416, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Error><Code>InvalidRange</Code><Message>The requested range is not satisfiable</Message><ActualObjectSize>300000</ActualObjectSize><RangeRequested>bytes=400000-</RangeRequested><RequestId>request-id</RequestId><HostId>9Gjjt1m+cjU4OPvX9O9/8RuvnG41MRb/18Oux2o5H5MY7ISNTlXN+Dz9IG62/ILVxhAGI0qyPfg=</HostId></Error>", "InvalidRange", 416),
    ];

    #[test]
    fn errors_of_servers_are_read_wherever_they_are_cut() {
        for (status, body, expected, shown) in RECORDED {
            let there = body.find("</Code>").unwrap() + "</Code>".len();
            for cut in 0..=body.len() {
                let wire = &body.as_bytes()[..cut];
                let found = code(wire, Framing::Length(body.len()));
                assert_eq!(found.as_deref(), (cut >= there).then_some(expected), "{body}");
            }
            let verdict = verdict(status, Some(expected.as_bytes()), false);
            assert_eq!(verdict.map(|v| v.status), Some(shown), "{body}");
        }
    }

    proptest! {
        #[test]
        fn found_wherever_the_pieces_break(
            before in "[ -~\n]{0,40}",
            code in "[0-9A-Za-z]{1,64}",
            behind in "[ -~\n]{0,20}",
            sizes in proptest::collection::vec(1_usize..20, 1..8),
            extension in "(|;a=b| ;c)",
            trailer in "(|X-A: b\r\n)",
        ) {
            prop_assume!(!before.contains("<Code>"));
            let text = format!("{before}<Code>{code}</Code>{behind}").into_bytes();
            let there = text.len() - behind.len();

            // The wire, and how much of the text has arrived with each of its bytes.
            let (mut wire, mut arrived) = (Vec::new(), Vec::new());
            let (mut rest, mut sizes) = (&text[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                wire.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                arrived.resize(wire.len(), text.len() - rest.len());
                for &b in chunk {
                    wire.push(b);
                    arrived.push(arrived.last().unwrap() + 1);
                }
                wire.extend(b"\r\n");
                rest = behind;
                arrived.resize(wire.len(), text.len() - rest.len());
            }
            wire.extend(format!("0{extension}\r\n{trailer}\r\n").bytes());
            arrived.resize(wire.len(), text.len());

            for cut in 0..=wire.len() {
                let seen = ErrorBody::new(&wire[..cut], Framing::Chunked);
                let len = if cut == 0 { 0 } else { arrived[cut - 1] };
                prop_assert_eq!(seen.text_len, len);
                let expected = (len >= there).then_some(code.as_bytes());
                prop_assert_eq!(seen.code.as_deref(), expected);
                let end = if cut == wire.len() { Arrived::Whole } else { Arrived::Part };
                prop_assert_eq!(seen.arrived, end);
            }
        }
    }
}
