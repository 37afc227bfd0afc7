//! What XML consists of beside plain text: a tag, comment, CDATA section, instruction or reference.

use thiserror::Error;

/// The longest tag, comment, CDATA section or instruction, in bytes.
pub const MAX_TOKEN: usize = 8192;

/// The longest reference, in bytes.
const MAX_REFERENCE: usize = 16;

/// Why a text is not read.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum XmlError {
    /// What begins with `<` goes on as nothing does.
    #[error("a tag is none")]
    Tag,
    /// An end tag of another element than the open one.
    #[error("an end tag is that of another element")]
    OtherEnd,
    /// A reference to an entity that XML does not have by itself, or to no character.
    #[error("a reference is unknown")]
    Reference,
    /// Text or a second element beside the root element.
    #[error("there is something beside the root element")]
    BesideRoot,
    /// `<!DOCTYPE`, which could define entities, or another declaration.
    #[error("it has a document type")]
    DocumentType,
    /// A declaration that names another encoding.
    #[error("it is not in UTF-8")]
    Encoding,
    /// More than [`super::MAX_DEPTH`] open elements.
    #[error("its elements are nested too deep")]
    TooDeep,
    /// A tag or the like that is longer than [`MAX_TOKEN`].
    #[error("a tag is too long")]
    TooLong,
    /// The end of the text inside of an element or a tag, or before the first one.
    #[error("it is cut off")]
    Cut,
}

/// What a CDATA section begins with.
pub const CDATA: &[u8] = b"<![CDATA[";
const BOM: &[u8] = b"\xef\xbb\xbf";
/// What the mark of UTF-8 begins with.
pub const BOM_FIRST: u8 = 0xef;

/// What is not plain text.
#[derive(Clone, Copy)]
pub enum Token {
    /// The name is from the second byte to `end`, without its prefix from `local`.
    Start { local: usize, end: usize, is_empty: bool },
    /// The name is from the third byte to `end`.
    End { end: usize },
    /// The text is from behind [`CDATA`] to `end`.
    Data { end: usize },
    /// What a reference names.
    Character(char),
    /// A processing instruction, or the XML declaration.
    Instruction,
    /// A comment.
    Comment,
    /// The byte order mark, which only the first bytes of a document can be.
    Mark,
}

/// A token and its length, once its end is there.
pub type Found = Result<Option<(Token, usize)>, XmlError>;

/// The token that some bytes begin with and its length; none as long as its end is not there. Whatever
/// is known from fewer bytes does not change with more of them.
///
/// # Errors
/// The reason of [`XmlError`] why no token begins so.
pub fn token(bytes: &[u8]) -> Found {
    let bytes = bytes.get(..MAX_TOKEN).unwrap_or(bytes);
    let found = match bytes {
        [b'<', b'/', ..] => end_tag(bytes),
        [b'<', b'?', ..] => Ok(behind(bytes, 2, b"?>").map(|(_, len)| (Token::Instruction, len))),
        [b'<', b'!', ..] => declaration(bytes),
        [b'<', _, ..] => start_tag(bytes),
        [b'<'] => Ok(None),
        [b'&', ..] => reference(bytes),
        _ if bytes.starts_with(BOM) => Ok(Some((Token::Mark, BOM.len()))),
        _ if BOM.starts_with(bytes) => Ok(None),
        _ => Err(XmlError::BesideRoot),
    };
    match found {
        Ok(None) if bytes.len() == MAX_TOKEN => Err(XmlError::TooLong),
        found => found,
    }
}

/// The name in a start tag that some bytes begin with, and what is behind the tag: if it has nothing but a name,
/// and that no prefix. The others are for [`token`].
#[inline]
pub fn plain_start_tag(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let behind = bytes.strip_prefix(b"<")?;
    let len = behind.iter().position(|&b| !is_in_name(b))?;
    let (name, rest) = behind.split_at_checked(len)?;
    is_first_of_name(*name.first()?).then_some((name, rest.strip_prefix(b">")?))
}

fn start_tag(bytes: &[u8]) -> Found {
    let name_end = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().position(|&b| !is_in_name(b)).map(|len| from + len)
    };
    let mut local = 1;
    let Some(mut end) = name_end(local) else { return Ok(None) };
    if bytes.get(end) == Some(&b':') {
        local = end + 1;
        let Some(local_end) = name_end(local) else { return Ok(None) };
        end = local_end;
    }
    let starts_well = |at: usize| bytes.get(at).is_some_and(|&b| is_first_of_name(b));
    if !starts_well(1) || !starts_well(local) || end == local {
        return Err(XmlError::Tag);
    }
    match bytes.get(end) {
        Some(b'>') => Ok(Some((Token::Start { local, end, is_empty: false }, end + 1))),
        Some(b'/' | b' ' | b'\t' | b'\r' | b'\n') => Ok(behind_attributes(bytes, end)?
            .map(|(is_empty, len)| (Token::Start { local, end, is_empty }, len))),
        _ => Err(XmlError::Tag),
    }
}

/// The length of a start tag with attributes from `at` on, and whether it is an empty element's.
fn behind_attributes(bytes: &[u8], at: usize) -> Result<Option<(bool, usize)>, XmlError> {
    let mut quote = None;
    for (at, &b) in bytes.iter().enumerate().skip(at) {
        match (quote, b) {
            (_, b'<') => return Err(XmlError::Tag),
            (Some(open), _) => quote = (b != open).then_some(open),
            (None, b'"' | b'\'') => quote = Some(b),
            (None, b'>') => return Ok(Some((false, at + 1))),
            (None, b'/') => match bytes.get(at + 1) {
                None => return Ok(None),
                Some(b'>') => return Ok(Some((true, at + 2))),
                Some(_) => return Err(XmlError::Tag),
            },
            (None, _) => (),
        }
    }
    Ok(None)
}

fn end_tag(bytes: &[u8]) -> Found {
    let Some((at, len)) = behind(bytes, 2, b">") else { return Ok(None) };
    let end = bytes.get(..at).unwrap_or_default().trim_ascii_end().len();
    Ok(Some((Token::End { end }, len)))
}

/// A comment or a CDATA section.
fn declaration(bytes: &[u8]) -> Found {
    const COMMENT: &[u8] = b"<!--";
    if bytes.starts_with(COMMENT) {
        Ok(behind(bytes, COMMENT.len(), b"-->").map(|(_, len)| (Token::Comment, len)))
    } else if bytes.starts_with(CDATA) {
        Ok(behind(bytes, CDATA.len(), b"]]>").map(|(end, len)| (Token::Data { end }, len)))
    } else if COMMENT.starts_with(bytes) || CDATA.starts_with(bytes) {
        Ok(None)
    } else {
        Err(XmlError::DocumentType)
    }
}

/// Where the first `end` from `from` on is, and what is behind it.
fn behind(bytes: &[u8], from: usize, end: &[u8]) -> Option<(usize, usize)> {
    let rest = bytes.get(from..)?;
    let at = from + rest.windows(end.len()).position(|window| window == end)?;
    Some((at, at + end.len()))
}

fn reference(bytes: &[u8]) -> Found {
    let bytes = bytes.get(..MAX_REFERENCE).unwrap_or(bytes);
    let behind = bytes.get(1..).unwrap_or_default();
    let len = behind.iter().position(|&b| !(b.is_ascii_alphanumeric() || b == b'#'));
    let end = match len {
        Some(len) if behind.get(len) == Some(&b';') => 1 + len,
        None if bytes.len() < MAX_REFERENCE => return Ok(None),
        _ => return Err(XmlError::Reference),
    };
    let character = match bytes.get(1..end).unwrap_or_default() {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        [b'#', b'x', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    };
    Ok(Some((Token::Character(character.ok_or(XmlError::Reference)?), end + 1)))
}

/// The character of a number. NUL is none: no XML may have it, and no key.
fn number(digits: &[u8], radix: u32) -> Option<char> {
    let mut value = (!digits.is_empty()).then_some(0_u32)?;
    for &b in digits {
        value = value.checked_mul(radix)?.checked_add(char::from(b).to_digit(radix)?)?;
    }
    char::from_u32(value).filter(|&c| c != '\0')
}

/// Whether an instruction leaves the encoding at UTF-8: only the XML declaration can name another.
pub fn is_in_utf8(instruction: &[u8]) -> bool {
    let Some([b' ' | b'\t' | b'\r' | b'\n', declared @ ..]) = instruction.strip_prefix(b"<?xml")
    else {
        return true;
    };
    let mut parts = declared.split(|b| matches!(b, b'"' | b'\''));
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let name = name.trim_ascii_end().strip_suffix(b"=").unwrap_or(name).trim_ascii();
        if name == b"encoding" && !value.eq_ignore_ascii_case(b"utf-8") {
            return false;
        }
    }
    true
}

/// Whether names may have a byte, all above ASCII taken for letters; a colon ends a prefix.
const fn is_in_name(b: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut b = 0;
        while b < 256 {
            table[b] =
                (b as u8).is_ascii_alphanumeric() || matches!(b as u8, b'_' | b'-' | b'.' | 128..);
            b += 1;
        }
        table
    };
    TABLE[b as usize]
}

const fn is_first_of_name(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 128
}
