//! S3's errors: status, headers and the body as it arrives.
#![no_main]

use fuzz::answer::{cached_code, is_hidden, reason, verdict, Advice, Class};
use fuzz::error_body::{Arrived, Code, ErrorBody, Framing, MAX_CODE};
use fuzz::fields;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [status, header, pass, skew, body] = fields(data);
    let status = std::str::from_utf8(status).ok().and_then(|s| s.parse().ok()).unwrap_or(403);

    let framings = [Framing::Close, Framing::Length(body.len() / 2), Framing::Chunked];
    let [code, ..] = framings.map(|framing| check_body(body, framing));
    let code = code.as_deref();

    for (code, carries) in [(code, true), (code, false), (None, true), (cached_code(status), false)]
    {
        let Some(shown) = verdict(status, code, carries) else {
            assert!(status < 300 || status == 304, "{status} is not the object");
            continue;
        };
        assert!(
            matches!(shown.status, 400 | 404 | 412 | 416 | 500 | 502 | 503 | 504),
            "{}",
            shown.status
        );
        assert_ne!(reason(shown.status), "Error");
        assert_eq!(shown.status == 404, shown.class == Class::Missing);
        assert_eq!(shown.status == 400, shown.class == Class::Client);
    }

    let pass: Vec<Box<[u8]>> = pass.split(|&b| b == b',').map(Box::from).collect();
    let amz = header.len() >= 6 && header[..6].eq_ignore_ascii_case(b"x-amz-");
    assert_eq!(is_hidden(header, &[]) && amz, amz);
    assert!(!is_hidden(header, &pass) || is_hidden(header, &[]));

    let skew = std::str::from_utf8(skew).ok().and_then(|s| s.parse().ok());
    let advice =
        Advice { code, region: Some(header), skew, policy: "the policy", ..Advice::default() };
    let text = advice.to_string() + &Advice { region: None, ..advice }.to_string();
    assert!(text.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "it is logged");
});

/// Looks at a body as it grows.
fn check_body(body: &[u8], framing: Framing) -> Option<Code> {
    let whole = ErrorBody::new(body, framing);
    if let Some(code) = whole.code {
        assert!((1..=MAX_CODE).contains(&code.len()) && code.iter().all(u8::is_ascii_alphanumeric));
        assert!(!whole.is_coming() && !whole.is_unknown(framing));
    }
    assert!(whole.text_len <= body.len());
    let mut last: Option<ErrorBody> = None;
    for end in 0..=body.len() {
        let part = ErrorBody::new(&body[..end], framing);
        if let Some(before) = last {
            // What was found in a part is not changed by the rest.
            assert!(before.code.is_none() || before.code.as_deref() == part.code.as_deref());
            assert!(before.arrived == Arrived::Part || before.arrived == part.arrived);
            assert!(before.text_len <= part.text_len);
        }
        last = Some(part);
    }
    whole.code
}
