//! An answer of HTTP/1.1, as it arrives: its head, and where its body ends (RFC 9112).

use httparse::{Error as HeadError, Header, Response as Head, Status, EMPTY_HEADER};
use thiserror::Error;

use super::chunked::{ChunkError, Chunked};
use super::wiped::Wiped;

/// The longest head, with all informational answers before it.
pub const MAX_HEAD: usize = 16 * 1024;
/// The longest body.
pub const MAX_BODY: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;

/// Why an answer is of no use. None of its bytes are told.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ResponseError {
    /// The connection ended before the first byte.
    #[error("the connection was closed without an answer")]
    Nothing,
    /// Something that is no answer of HTTP/1.0 or HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    /// A head that is longer than [`MAX_HEAD`], or has too many headers.
    #[error("the answer's head is too large")]
    HeadTooLarge,
    /// A body that is longer than [`MAX_BODY`].
    #[error("the answer's body is larger than 64 KiB")]
    BodyTooLarge,
    /// `Content-Length` and `Transfer-Encoding` that do not tell one end, or wrong chunks.
    #[error("the answer does not say where its body ends")]
    Framing,
    /// The connection ended before the answer did.
    #[error("the connection was closed in the middle of the answer")]
    Cut,
}

impl From<ChunkError> for ResponseError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Wrong => ResponseError::Framing,
            ChunkError::TooLarge => ResponseError::BodyTooLarge,
        }
    }
}

/// An answer.
pub struct Reply {
    /// Its status, 200 and above.
    pub status: u16,
    /// Its headers in the order of the answer; names as they were sent.
    pub headers: Vec<(Box<str>, Box<[u8]>)>,
    /// Its body, zeroed when it is dropped.
    pub body: Wiped,
}

/// Where a body ends.
enum Body {
    /// After so many bytes more.
    Length(usize),
    Chunked(Chunked),
    /// Where the connection does.
    Close,
}

/// An answer that is still arriving.
pub struct Response {
    /// What arrived until the head's end.
    head: Wiped,
    /// Where in it the head begins, behind those of informational answers.
    start: usize,
    body: Option<(Body, Reply)>,
}

impl Response {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Response { head: Wiped::new(MAX_HEAD), start: 0, body: None }
    }

    /// Takes what arrived next. True when the answer is complete; bytes behind it are passed over.
    ///
    /// # Errors
    /// As soon as the answer cannot become one that is of use.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<bool, ResponseError> {
        if self.body.is_none() {
            bytes = self.take_head(bytes)?;
        }
        let Some((end, reply)) = &mut self.body else { return Ok(false) };
        let body = &mut reply.body;
        match end {
            Body::Length(left) => {
                let bytes = bytes.get(..*left).unwrap_or(bytes);
                *left -= bytes.len();
                match body.add(bytes) {
                    true => Ok(*left == 0),
                    false => Err(ResponseError::BodyTooLarge),
                }
            }
            Body::Chunked(chunks) => Ok(chunks.take(bytes, body)?),
            Body::Close => match body.add(bytes) {
                true => Ok(false),
                false => Err(ResponseError::BodyTooLarge),
            },
        }
    }

    /// Returns the answer, as nothing more is read.
    ///
    /// # Errors
    /// When it is not complete.
    pub fn end(self) -> Result<Reply, ResponseError> {
        match self.body {
            Some((Body::Length(0) | Body::Close, reply)) => Ok(reply),
            Some((Body::Chunked(chunks), reply)) if chunks.is_complete() => Ok(reply),
            None if self.head.is_empty() => Err(ResponseError::Nothing),
            _ => Err(ResponseError::Cut),
        }
    }

    /// Takes bytes of heads, and returns those behind the last one's end.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ResponseError> {
        let before = self.head.len();
        let (taken, over) = bytes.split_at(bytes.len().min(self.head.room()));
        if !self.head.add(taken) {
            return Err(ResponseError::HeadTooLarge);
        }
        loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let mut head = Head::new(&mut headers);
            let rest = self.head.get(self.start..).unwrap_or_default();
            let len = match head.parse(rest) {
                Ok(Status::Complete(len)) => len,
                Ok(Status::Partial) if over.is_empty() => return Ok(&[]),
                Ok(Status::Partial) | Err(HeadError::TooManyHeaders) => {
                    return Err(ResponseError::HeadTooLarge)
                }
                Err(_) => return Err(ResponseError::NotHttp),
            };
            self.start += len;
            let status = head.code.unwrap_or(0);
            match status {
                // Nobody asked for another protocol.
                0..=99 | 101 => return Err(ResponseError::NotHttp),
                100..=199 => continue,
                200.. => {}
            }
            let is_old = head.version == Some(0);
            self.body = Some(begin(status, is_old, head.headers)?);
            return Ok(bytes.get(self.start.saturating_sub(before)..).unwrap_or_default());
        }
    }
}

/// What follows a head.
fn begin(status: u16, is_old: bool, headers: &[Header]) -> Result<(Body, Reply), ResponseError> {
    let body = end_of_body(status, is_old, headers)?;
    let room = match body {
        Body::Length(len) if len > MAX_BODY => return Err(ResponseError::BodyTooLarge),
        Body::Length(len) => len,
        Body::Chunked(_) | Body::Close => MAX_BODY,
    };
    let headers = headers.iter().map(|h| (h.name.into(), h.value.into())).collect();
    Ok((body, Reply { status, headers, body: Wiped::new(room) }))
}

/// Where a body ends. Whatever two readers could understand in two ways is refused.
fn end_of_body(status: u16, is_old: bool, headers: &[Header]) -> Result<Body, ResponseError> {
    let mut length = None;
    let mut coding = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("Content-Length") {
            let this = number(header.value)?;
            if length.is_some_and(|other| other != this) {
                return Err(ResponseError::Framing);
            }
            length = Some(this);
        } else if header.name.eq_ignore_ascii_case("Transfer-Encoding")
            && coding.replace(header.value).is_some()
        {
            return Err(ResponseError::Framing);
        }
    }
    let body = match (length, coding) {
        (None, None) => Body::Close,
        (Some(len), None) => Body::Length(len),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") && !is_old => {
            Body::Chunked(Chunked::new())
        }
        _ => return Err(ResponseError::Framing),
    };
    Ok(if matches!(status, 204 | 304) { Body::Length(0) } else { body })
}

fn number(digits: &[u8]) -> Result<usize, ResponseError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ResponseError::Framing);
    }
    let text = core::str::from_utf8(digits).map_err(|_| ResponseError::Framing)?;
    text.parse().map_err(|_| ResponseError::BodyTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\n";

    /// What becomes of an answer that arrives in such pieces, before the connection ends.
    fn read(pieces: &[&[u8]]) -> Result<(u16, Vec<u8>), ResponseError> {
        let mut response = Response::new();
        for piece in pieces {
            if response.take(piece)? {
                break;
            }
        }
        response.end().map(|reply| (reply.status, reply.body.to_vec()))
    }

    /// The same for an answer cut at every byte, and byte by byte.
    fn read_in_pieces(answer: &str) -> Result<(u16, Vec<u8>), ResponseError> {
        let answer = answer.as_bytes();
        let expected = read(&[answer]);
        for at in 0..=answer.len() {
            assert_eq!(read(&[&answer[..at], &answer[at..]]), expected, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = answer.chunks(1).collect();
        assert_eq!(read(&bytes), expected);
        expected
    }

    #[test]
    fn each_framing_has_its_end() {
        for (rest, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", 200, "hello"),
            ("HTTP/1.1 200\r\ncontent-length: 005\r\ncontent-length:5\r\n\r\nhello", 200, "hello"),
            ("HTTP/1.0 404 Not Found\r\n\r\nuntil close", 404, "until close"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", 204, ""),
            ("HTTP/1.1 304 Not Modified\r\n\r\nrest", 304, ""),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
                 3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nmore",
                200,
                "abc0123456789",
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n0\r\n\r\n", 200, ""),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
                 HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
                401,
                "no",
            ),
        ] {
            assert_eq!(read_in_pieces(rest), Ok((status, body.as_bytes().to_vec())), "{rest}");
        }
    }

    #[test]
    fn what_two_could_read_in_two_ways_is_refused() {
        for headers in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length:",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            let answer = format!("{OK}{headers}\r\n\r\n0\r\n\r\n");
            assert_eq!(read_in_pieces(&answer), Err(ResponseError::Framing), "{headers}");
        }
        let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(read_in_pieces(old), Err(ResponseError::Framing));
    }

    #[test]
    fn chunks_are_read_strictly() {
        for chunks in [
            "\r\n",
            ";x\r\n",
            "5\nhello",
            "5 \r\nhello\r\n0\r\n\r\n",
            "-1\r\n",
            "g\r\n",
            "0x5\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5;a\nb\r\nhello",
            "0\r\nTrailer\n\r\n",
            "10000000000000000\r\n",
            "0\r\n\rx",
        ] {
            let answer = format!("{OK}Transfer-Encoding: chunked\r\n\r\n{chunks}");
            assert_eq!(read_in_pieces(&answer), Err(ResponseError::Framing), "{chunks:?}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error_at_every_byte() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: x\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ] {
            assert_eq!(read(&[]), Err(ResponseError::Nothing));
            for at in 1..answer.len() {
                let cut = &answer.as_bytes()[..at];
                assert_eq!(read(&[cut]), Err(ResponseError::Cut), "{at}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_of_http_is_refused() {
        for answer in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "\x15\x03\x03\0\x02\x02\x28",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 99 x\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 000 x\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "{}",
        ] {
            assert_eq!(read_in_pieces(answer), Err(ResponseError::NotHttp), "{answer:?}");
        }
    }

    #[test]
    fn nothing_is_larger_than_it_may_be() {
        let large = |head: &str, body: usize| {
            let answer = format!("{OK}{head}\r\n{}", "x".repeat(body));
            let pieces: Vec<&[u8]> = answer.as_bytes().chunks(1000).collect();
            let whole = read(&[answer.as_bytes()]);
            assert_eq!(read(&pieces), whole);
            whole.map(|(_, body)| body.len())
        };
        assert_eq!(large("", MAX_BODY), Ok(MAX_BODY));
        assert_eq!(large("", MAX_BODY + 1), Err(ResponseError::BodyTooLarge));
        let length = |n: &str| format!("Content-Length: {n}\r\n");
        assert_eq!(large(&length("65536"), MAX_BODY), Ok(MAX_BODY));
        for n in ["65537", "18446744073709551616", "99999999999999999999999999"] {
            assert_eq!(large(&length(n), 0), Err(ResponseError::BodyTooLarge));
        }
        let chunk = "Transfer-Encoding: chunked\r\n\r\n10001\r\n";
        assert_eq!(large(chunk, 0), Err(ResponseError::BodyTooLarge));
        let extension = "Transfer-Encoding: chunked\r\n\r\n1;";
        assert_eq!(large(extension, 20_000), Err(ResponseError::Framing));

        let header = |len: usize| format!("A: {}\r\nContent-Length: 1\r\n", "x".repeat(len));
        let most = MAX_HEAD - OK.len() - header(0).len() - 2;
        assert_eq!(large(&header(most), 1), Ok(1));
        assert_eq!(large(&header(most + 1), 1), Err(ResponseError::HeadTooLarge));
        assert_eq!(large(&"A: b\r\n".repeat(65), 1), Err(ResponseError::HeadTooLarge));
        let interim = format!("{OK}\r\n").replace("200", "103").repeat(1000);
        assert_eq!(read(&[interim.as_bytes()]), Err(ResponseError::HeadTooLarge));
    }

    #[test]
    fn headers_are_found_in_whatever_case() {
        let mut response = Response::new();
        let head = "X-Ttl:  21600 \r\nContent-Length: 0\r\nx-ttl: 2\r\n\r\n";
        assert_eq!(response.take(format!("{OK}{head}").as_bytes()), Ok(true));
        let reply = response.end().ok().unwrap();
        let header = |name: &str| {
            let mut all = reply.headers.iter();
            all.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
        };
        assert_eq!(header("x-tTl"), Some(&b"21600"[..]));
        assert_eq!(header("Date"), None);
        assert_eq!(reply.headers.len(), 3);
    }
}
