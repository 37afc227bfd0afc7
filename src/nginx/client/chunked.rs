//! Chunks of a body (RFC 9112, section 7.1), strictly: each line ends with CRLF.

use super::wiped::Wiped;

/// Why chunks are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkError {
    /// Bytes that are none of a body in chunks, or too many between the chunks.
    Wrong,
    /// More than there is room for.
    TooLarge,
}

/// How many bytes all sizes, extensions and trailers have at most.
const MAX_BETWEEN: usize = 16 * 1024;

#[derive(Clone, Copy)]
enum State {
    /// In a size, of which there are digits or none yet.
    Size(usize, bool),
    /// Behind a size, in what is passed over.
    Extension(usize),
    /// Before the LF behind a size.
    SizeEnd(usize),
    /// In a chunk, with so many bytes left.
    Data(usize),
    /// Before the CR and the LF behind a chunk.
    DataCr,
    DataLf,
    /// In a trailer, or at the beginning of a line that may be one.
    Trailer(bool),
    /// Before the LF behind a trailer, or behind the empty line that ends the body.
    TrailerEnd(bool),
    Complete,
}

/// A body in chunks that is arriving.
pub struct Chunked {
    state: State,
    between: usize,
}

impl Chunked {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Chunked { state: State::Size(0, false), between: 0 }
    }

    /// Whether the whole body has arrived.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Takes what arrived next, and adds what is in chunks to `body`. True when the body is complete.
    ///
    /// # Errors
    /// When it is wrong or too large.
    pub fn take(&mut self, mut bytes: &[u8], body: &mut Wiped) -> Result<bool, ChunkError> {
        while !self.is_complete() {
            if let State::Data(left) = self.state {
                let (data, rest) = bytes.split_at(bytes.len().min(left));
                if !body.add(data) {
                    return Err(ChunkError::TooLarge);
                }
                self.state = match left - data.len() {
                    0 => State::DataCr,
                    left => State::Data(left),
                };
                bytes = rest;
            }
            let Some((&byte, rest)) = bytes.split_first() else { break };
            self.state = self.next(byte).ok_or(ChunkError::Wrong)?;
            if let State::Data(size) = self.state {
                if size > body.room() {
                    return Err(ChunkError::TooLarge);
                }
            }
            self.between += 1;
            if self.between > MAX_BETWEEN {
                return Err(ChunkError::Wrong);
            }
            bytes = rest;
        }
        Ok(self.is_complete())
    }

    /// The state behind a byte that is not in a chunk; `None` where it may not stand.
    fn next(&self, byte: u8) -> Option<State> {
        let plain = byte == b'\t' || !byte.is_ascii_control();
        Some(match (self.state, byte) {
            (State::Size(size, true), b'\r') => State::SizeEnd(size),
            (State::Size(size, true), b';') => State::Extension(size),
            (State::Size(size, _), _) => {
                let digit = char::from(byte).to_digit(16)? as usize;
                State::Size(size.checked_mul(16)?.checked_add(digit)?, true)
            }
            (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Extension(size), _) if plain => State::Extension(size),
            (State::SizeEnd(0), b'\n') => State::Trailer(false),
            (State::SizeEnd(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, false),
            (State::Trailer(begun), b'\r') => State::TrailerEnd(!begun),
            (State::Trailer(_), _) if plain => State::Trailer(true),
            (State::TrailerEnd(true), b'\n') => State::Complete,
            (State::TrailerEnd(false), b'\n') => State::Trailer(false),
            _ => return None,
        })
    }
}
