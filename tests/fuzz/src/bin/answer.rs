//! S3's errors: status, headers and the body as it arrives.
#![no_main]

use fuzz::answer::{
    cached_code, chunks_are_complete, error_code, is_hidden, reason, shown, Advice, Class,
};
use fuzz::fields;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [status, header, pass, skew, body] = fields(data);
    let status = std::str::from_utf8(status).ok().and_then(|s| s.parse().ok()).unwrap_or(403);

    let code = error_code(body);
    if let Some(code) = code {
        assert!((1..=64).contains(&code.len()) && code.iter().all(u8::is_ascii_alphanumeric));
    }
    // What was found in a part is not changed by the rest.
    if let Some(early) = (0..body.len()).find_map(|end| error_code(&body[..end])) {
        assert_eq!(Some(early), code);
    }

    let more = [body, b"\r\n0\r\n\r\n"].concat();
    assert!(chunks_are_complete(&more));
    assert!(!chunks_are_complete(body) || body.ends_with(b"\r\n\r\n"));

    for code in [code, None, cached_code(status)] {
        let Some(shown) = shown(status, code) else {
            assert!(status < 300 || status == 304, "{status} is not the object");
            continue;
        };
        assert!(
            matches!(shown.status, 404 | 412 | 416 | 500 | 502 | 503 | 504),
            "{}",
            shown.status
        );
        assert_ne!(reason(shown.status), "Error");
        assert_eq!(shown.status == 404, shown.class == Class::Missing);
    }

    let pass: Vec<Box<[u8]>> = pass.split(|&b| b == b',').map(Box::from).collect();
    let amz = header.len() >= 6 && header[..6].eq_ignore_ascii_case(b"x-amz-");
    assert_eq!(is_hidden(header, &[]) && amz, amz);
    assert!(!is_hidden(header, &pass) || is_hidden(header, &[]));

    let skew = std::str::from_utf8(skew).ok().and_then(|s| s.parse().ok());
    let advice = Advice { code, region: Some(header), skew, policy: "the policy" };
    let text = advice.to_string() + &Advice { region: None, ..advice }.to_string();
    assert!(text.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "it is logged");
});
