//! Answers of HTTP: whole, and in pieces of any sizes.
#![no_main]

use fuzz::client::response::{Response, ResponseError, MAX_BODY, MAX_HEAD};
use fuzz::fields;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [sizes, answer] = fields(data);
    let whole = read([answer]);
    let mut rest = answer;
    let mut pieces = Vec::new();
    for &size in sizes {
        let (piece, behind) = rest.split_at(rest.len().min(size.into()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(read(pieces), whole, "however it arrives");
    let bytes = answer.chunks(1).map(|byte| &byte[..1]);
    assert_eq!(read(bytes), whole);
    if let Ok((status, headers, body)) = whole {
        assert!((200..1000).contains(&status) && status.to_string().len() == 3);
        assert!(headers <= MAX_HEAD && body.len() <= MAX_BODY);
        assert!(!matches!(status, 204 | 304) || body.is_empty());
    }
});

/// The status, the length of all headers, and the body.
type Read = (u16, usize, Vec<u8>);

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Read, ResponseError> {
    let mut response = Response::new();
    for piece in pieces {
        if response.take(piece)? {
            break;
        }
    }
    let reply = response.end()?;
    for (name, value) in &reply.headers {
        assert!(reply.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)));
        assert!(!name.is_empty() && !value.iter().any(|b| b"\r\n\0".contains(b)));
    }
    let headers = reply.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    Ok((reply.status, headers, reply.body.to_vec()))
}
