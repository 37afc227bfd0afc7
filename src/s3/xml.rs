//! XML as services like S3 answer with, read in pieces as they arrive: elements and their text.
//!
//! "Extensible Markup Language (XML) 1.0" and "Namespaces in XML 1.0" as far as such answers need them:
//! attributes are skipped, documents are in UTF-8 and have no document type. Laxer than they are where
//! servers are: a reference may name a control character, and bytes of text are not looked at.

mod token;

use core::mem;

use memchr::{memchr, memchr2};
pub use token::XmlError;
use token::{is_in_utf8, plain_start_tag, token, Token, BOM_FIRST, CDATA, MAX_TOKEN};

/// How many elements are open at most.
pub const MAX_DEPTH: usize = 32;

/// The longest name, in bytes: that of the longest end tag.
const MAX_NAME: usize = MAX_TOKEN - b"</>".len();

/// What a [`Parser`] comes to.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Event<'a> {
    /// The start of an element: its name without a prefix.
    Start(&'a [u8]),
    /// Some of the text of the innermost open element, decoded; more of it can follow.
    Text(&'a [u8]),
    /// The end of the innermost open element.
    End,
}

/// Text that is not decoded: there is no `<` in it.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Raw<'a> {
    bytes: &'a [u8],
    has_references: bool,
}

impl<'a> Raw<'a> {
    /// Splits off the text in front of a tag, if there is a tag.
    #[inline]
    pub fn split_off(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut len = memchr2(b'<', b'&', bytes)?;
        let has_references = bytes.get(len) == Some(&b'&');
        if has_references {
            len += memchr(b'<', bytes.get(len..)?)?;
        }
        let (bytes, rest) = bytes.split_at_checked(len)?;
        Some((Raw { bytes, has_references }, rest))
    }

    /// How many bytes it has.
    #[inline]
    pub fn len(self) -> usize {
        self.bytes.len()
    }

    /// The text, unless it has references.
    #[inline]
    pub fn plain(self) -> Option<&'a [u8]> {
        (!self.has_references).then_some(self.bytes)
    }

    /// Appends the text, decoded.
    ///
    /// # Errors
    /// [`XmlError::Reference`] for a reference that is none.
    #[inline]
    pub fn decode(self, out: &mut Vec<u8>) -> Result<(), XmlError> {
        match self.plain() {
            Some(text) => out.extend_from_slice(text),
            None => decode(self.bytes, out)?,
        }
        Ok(())
    }
}

#[cold]
fn decode(mut raw: &[u8], out: &mut Vec<u8>) -> Result<(), XmlError> {
    while let Some(at) = memchr(b'&', raw) {
        let (text, rest) = raw.split_at(at);
        out.extend_from_slice(text);
        let Some((Token::Character(character), len)) = token(rest)? else {
            return Err(XmlError::Reference);
        };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        raw = rest.get(len..).unwrap_or_default();
    }
    out.extend_from_slice(raw);
    Ok(())
}

/// Reads one document. Its memory is that of one tag and of the names of the open elements.
#[derive(Default)]
pub struct Parser {
    /// The names of the open elements, prefixes included, one behind the other.
    names: Vec<u8>,
    /// Where each of them begins.
    open: Vec<usize>,
    /// The beginning of a tag or the like whose end has not arrived.
    carry: Vec<u8>,
    /// What is in `carry` is read.
    is_spent: bool,
    /// The last tag was one of an empty element, whose end is not told yet.
    is_empty_element: bool,
    /// How many elements are open while one is skipped, that one included; otherwise 0.
    skipped: usize,
    /// The character that the last reference named.
    character: [u8; 4],
    has_begun: bool,
    has_root: bool,
}

impl Parser {
    /// Reads on in the next piece of the document, and takes from it what is read. What a cut leaves
    /// open is remembered: a piece is used up, and the next is to be given, when there is no event.
    ///
    /// # Errors
    /// The reason of [`XmlError`] why the document is none; nothing is to be read after it.
    #[inline]
    pub fn next<'s, 'p: 's>(
        &'s mut self,
        piece: &mut &'p [u8],
    ) -> Result<Option<Event<'s>>, XmlError> {
        if mem::take(&mut self.is_empty_element) && self.close() {
            return Ok(Some(Event::End));
        }
        loop {
            if self.is_spent {
                self.is_spent = false;
                self.carry.clear();
            }
            if self.carry.is_empty() {
                // Nearly all there is begins so.
                if let Some((name, behind)) = plain_start_tag(piece) {
                    *piece = behind;
                    if self.open(name)? {
                        return Ok(Some(Event::Start(name)));
                    }
                    continue;
                }
                if let Some(behind) = self.behind_end_tag(piece) {
                    *piece = behind;
                    if self.close() {
                        return Ok(Some(Event::End));
                    }
                    continue;
                }
                let (text, rest) = piece.split_at(self.text_len(piece));
                *piece = rest;
                if self.open.is_empty() {
                    if !text.trim_ascii_start().is_empty() {
                        return Err(XmlError::BesideRoot);
                    }
                    self.has_begun |= !text.is_empty();
                } else if !text.is_empty() && self.skipped == 0 {
                    return Ok(Some(Event::Text(text)));
                }
                if piece.is_empty() {
                    return Ok(None);
                }
            }
            let before = *piece;
            let Some((token, len)) = self.gather(piece)? else { return Ok(None) };
            if !self.act(token, before.get(..len).unwrap_or(before))? {
                continue;
            }
            return Ok(Some(self.event(token, before)));
        }
    }

    /// The event that a token is, whose text is at the beginning of `here`, unless it is in `carry`.
    fn event<'s, 'p: 's>(&'s mut self, token: Token, here: &'p [u8]) -> Event<'s> {
        let text = if self.is_spent { &self.carry } else { here };
        match token {
            Token::Start { local, end, .. } => {
                Event::Start(text.get(local..end).unwrap_or_default())
            }
            Token::Data { end } => Event::Text(text.get(CDATA.len()..end).unwrap_or_default()),
            Token::Character(c) => Event::Text(c.encode_utf8(&mut self.character).as_bytes()),
            _ => Event::End,
        }
    }

    /// Skips the element whose start was the last event: nothing more of it is told, not its end either.
    /// What its references name is not looked at.
    pub fn skip(&mut self) {
        self.skipped = self.open.len();
    }

    /// Takes the rest of the element whose start was the last event, if all of it is in the piece and it is
    /// nothing but text, as in most elements: returns the text, and neither it nor the end is told. Otherwise
    /// nothing is taken.
    #[inline]
    pub fn leaf<'p>(&mut self, piece: &mut &'p [u8]) -> Option<Raw<'p>> {
        if self.is_empty_element {
            return None;
        }
        let (text, rest) = Raw::split_off(piece)?;
        *piece = self.behind_end_tag(rest)?;
        self.close();
        Some(text)
    }

    /// Whether the next byte is content of the element whose start was told last, and whose end was not.
    pub fn is_inside(&self) -> bool {
        let is_at_once = self.carry.is_empty() || self.is_spent;
        is_at_once && !self.is_empty_element && self.skipped == 0 && !self.open.is_empty()
    }

    /// Tells the parser that no more pieces come.
    ///
    /// # Errors
    /// [`XmlError::Cut`] unless the root element has ended and nothing was begun behind it.
    pub fn finish(&self) -> Result<(), XmlError> {
        let is_whole = self.has_root
            && self.open.is_empty()
            && !self.is_empty_element
            && (self.carry.is_empty() || self.is_spent);
        is_whole.then_some(()).ok_or(XmlError::Cut)
    }

    /// How many bytes of text a piece begins with.
    fn text_len(&self, piece: &[u8]) -> usize {
        match piece.first() {
            None | Some(b'<') => 0,
            Some(b'&') if self.skipped == 0 => 0,
            Some(&BOM_FIRST) if !self.has_begun => 0,
            _ if self.skipped > 0 => memchr(b'<', piece).unwrap_or(piece.len()),
            _ => memchr2(b'<', b'&', piece).unwrap_or(piece.len()),
        }
    }

    /// The name of the innermost open element.
    fn name(&self) -> Option<&[u8]> {
        self.names.get(*self.open.last()?..)
    }

    /// What is behind the end tag of the open element, where a piece begins with it.
    #[inline]
    fn behind_end_tag<'p>(&self, piece: &'p [u8]) -> Option<&'p [u8]> {
        piece.strip_prefix(b"</")?.strip_prefix(self.name()?)?.strip_prefix(b">")
    }

    /// Takes the token that a piece begins with, or goes on with, and its length; what there is of it,
    /// when its end has not arrived.
    fn gather(&mut self, piece: &mut &[u8]) -> Result<Option<(Token, usize)>, XmlError> {
        if self.carry.is_empty() {
            if let Some((token, len)) = token(piece)? {
                *piece = piece.get(len..).unwrap_or_default();
                return Ok(Some((token, len)));
            }
        }
        // It was cut: little by little, as its end may be near.
        const STEP: usize = 64;
        while !piece.is_empty() {
            let had = self.carry.len();
            let (some, rest) = piece.split_at(piece.len().min(STEP));
            self.carry.extend_from_slice(some);
            if let Some((token, len)) = token(&self.carry)? {
                *piece = piece.get(len - had..).unwrap_or_default();
                self.carry.truncate(len);
                self.is_spent = true;
                return Ok(Some((token, len)));
            }
            *piece = rest;
        }
        Ok(None)
    }

    /// Does what a token means for the open elements, and returns whether it is an event. `here` is
    /// its text, unless that is in `carry`.
    fn act(&mut self, token: Token, here: &[u8]) -> Result<bool, XmlError> {
        // It is put back below.
        let carry = mem::take(&mut self.carry);
        let result = self.act_on(token, if self.is_spent { &carry } else { here });
        self.carry = carry;
        result
    }

    fn act_on(&mut self, token: Token, text: &[u8]) -> Result<bool, XmlError> {
        let is_first = !mem::replace(&mut self.has_begun, true);
        match token {
            Token::Start { end, is_empty, .. } => {
                let is_event = self.open(text.get(1..end).unwrap_or_default())?;
                if is_empty {
                    // What is skipped has no events: it is closed at once.
                    self.is_empty_element = is_event;
                    if !is_event {
                        self.close();
                    }
                }
                Ok(is_event)
            }
            Token::End { end } if self.name() == text.get(2..end) => Ok(self.close()),
            Token::End { .. } => Err(XmlError::OtherEnd),
            Token::Data { .. } | Token::Character(_) if self.open.is_empty() => {
                Err(XmlError::BesideRoot)
            }
            Token::Data { .. } | Token::Character(_) => Ok(self.skipped == 0),
            Token::Instruction if !is_in_utf8(text) => Err(XmlError::Encoding),
            Token::Mark if !is_first => Err(XmlError::BesideRoot),
            Token::Instruction | Token::Mark | Token::Comment => Ok(false),
        }
    }

    /// Opens an element, and returns whether that is an event.
    #[inline]
    fn open(&mut self, name: &[u8]) -> Result<bool, XmlError> {
        self.has_begun = true;
        if name.len() > MAX_NAME {
            return Err(XmlError::TooLong);
        }
        if self.open.is_empty() && mem::replace(&mut self.has_root, true) {
            return Err(XmlError::BesideRoot);
        }
        if self.open.len() == MAX_DEPTH {
            return Err(XmlError::TooDeep);
        }
        self.open.push(self.names.len());
        self.names.extend_from_slice(name);
        Ok(self.skipped == 0)
    }

    /// Closes the innermost element, and returns whether that is an event.
    #[inline]
    fn close(&mut self) -> bool {
        let (depth, is_event) = (self.open.len(), self.skipped == 0);
        if let Some(at) = self.open.pop() {
            self.names.truncate(at);
        }
        if depth == self.skipped {
            self.skipped = 0;
        }
        is_event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The events of a document in pieces, texts joined, as one line.
    fn read<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
        skip: &[u8],
    ) -> Result<String, XmlError> {
        let (mut parser, mut out) = (Parser::default(), String::new());
        for mut piece in pieces {
            while let Some(event) = parser.next(&mut piece)? {
                match event {
                    Event::Start(name) if !skip.is_empty() && name == skip => parser.skip(),
                    Event::Start(name) => {
                        out += &format!("<{}>", name.escape_ascii());
                        if let Some(raw) = parser.leaf(&mut piece) {
                            let mut text = Vec::new();
                            raw.decode(&mut text)?;
                            out += &format!("{}</>", text.escape_ascii());
                        }
                    }
                    Event::Text(text) => out += &text.escape_ascii().to_string(),
                    Event::End => out += "</>",
                }
            }
            assert!(piece.is_empty());
        }
        parser.finish().map(|()| out)
    }

    fn whole(text: &str) -> Result<String, XmlError> {
        read([text.as_bytes()], b"")
    }

    #[test]
    fn documents_are_read_wherever_they_are_cut() {
        for (text, events) in [
            ("<a/>", "<a></>"),
            ("<a></a>", "<a></>"),
            ("<a >x</a\r\n>\n", "<a>x</>"),
            ("\u{feff}<a>x</a>", "<a>x</>"),
            ("\u{feff}<?xml version=\"1.0\" encoding='utf-8' standalone=\"yes\"?>\n<a/>", "<a></>"),
            (
                "<?xml version=\"1.0\"?><?xml-stylesheet encoding=\"x\"?><!-- <b> -- --><a/>",
                "<a></>",
            ),
            ("<s3:a xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\">1</s3:a>", "<a>1</>"),
            ("<a b=\"/>'\" c='\">'>x<b/>y<b d='&'/></a>", "<a>x<b></>y<b></></>"),
            ("<a>&lt;&gt;&amp;&quot;&apos;</a>", "<a><>&\\\"\\\'</>"),
            ("<a>x&#1;&#x1;&#x1F600;&#228;</a>", "<a>x\\x01\\x01\\xf0\\x9f\\x98\\x80\\xc3\\xa4</>"),
            ("<a><![CDATA[<b>&amp;]]]]><![CDATA[>]]></a>", "<a><b>&amp;]]></>"),
            ("<a>x<!-- & -->y<?z ?>z</a><!-- -->\n<?end?>", "<a>xyz</>"),
            ("<a>]]></a>", "<a>]]></>"),
            ("<\u{e4}-.1>\u{65e5}</\u{e4}-.1>", "<\\xc3\\xa4-.1>\\xe6\\x97\\xa5</>"),
            ("<a>\n  <b>1</b>\n</a>", "<a>\\n  <b>1</>\\n</>"),
            ("<aa><aa>abcdefghijklmnopq</aa></aa>", "<aa><aa>abcdefghijklmnopq</></>"),
        ] {
            assert_eq!(whole(text).as_deref(), Ok(events), "{text}");
            for at in 0..=text.len() {
                let (a, b) = text.as_bytes().split_at(at);
                assert_eq!(read([a, b], b"").as_deref(), Ok(events), "{text} at {at}");
            }
            assert_eq!(read(text.as_bytes().chunks(1), b"").as_deref(), Ok(events), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let deep = "<a>".repeat(MAX_DEPTH + 1);
        let long = format!("<a {}>", "b".repeat(MAX_TOKEN));
        let [name, end] = [MAX_TOKEN, MAX_TOKEN - 2].map(|len| {
            let name = "b".repeat(len);
            format!("<{name}></{name}>")
        });
        let comment = format!("<a><!-- {} --></a>", "b".repeat(MAX_TOKEN));
        for (text, error) in [
            ("", XmlError::Cut),
            (" \n", XmlError::Cut),
            ("\u{feff}", XmlError::Cut),
            ("<", XmlError::Cut),
            ("<a", XmlError::Cut),
            ("<a>", XmlError::Cut),
            ("<a><b></b>", XmlError::Cut),
            ("<a></a", XmlError::Cut),
            ("<a/><!-- ", XmlError::Cut),
            ("<a>&am", XmlError::Cut),
            ("x", XmlError::BesideRoot),
            ("\u{feff}\u{feff}<a/>", XmlError::BesideRoot),
            ("\u{fffd}<a/>", XmlError::BesideRoot),
            ("\n\u{feff}<a/>", XmlError::BesideRoot),
            ("<a/>x", XmlError::BesideRoot),
            ("<a/>&lt;", XmlError::BesideRoot),
            ("<a/><![CDATA[]]>", XmlError::BesideRoot),
            ("<a/><b/>", XmlError::BesideRoot),
            ("<a/>\0", XmlError::BesideRoot),
            ("<!DOCTYPE a>", XmlError::DocumentType),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", XmlError::DocumentType),
            ("<a><!ELEMENT></a>", XmlError::DocumentType),
            ("<a>&b;</a>", XmlError::Reference),
            ("<a>&;</a>", XmlError::Reference),
            ("<a>&b> no tag, where one is looked for</b></a>", XmlError::Reference),
            ("<a>&#;</a>", XmlError::Reference),
            ("<a>&#0;</a>", XmlError::Reference),
            ("<a>&#xD800;</a>", XmlError::Reference),
            ("<a>&#x110000;</a>", XmlError::Reference),
            ("<a>&#99999999999;</a>", XmlError::Reference),
            ("<a>&#+1;</a>", XmlError::Reference),
            ("<a>& and so on without an end</a>", XmlError::Reference),
            ("<a></b>", XmlError::OtherEnd),
            ("<a></aa>", XmlError::OtherEnd),
            ("<aa></a>", XmlError::OtherEnd),
            ("<x:a></a>", XmlError::OtherEnd),
            ("</a>", XmlError::OtherEnd),
            ("<a/></a>", XmlError::OtherEnd),
            ("<1/>", XmlError::Tag),
            ("< a/>", XmlError::Tag),
            ("<>", XmlError::Tag),
            ("<:a/>", XmlError::Tag),
            ("<a:/>", XmlError::Tag),
            ("<a:b:c/>", XmlError::Tag),
            ("<a$/>", XmlError::Tag),
            ("<a/b>", XmlError::Tag),
            ("<a <b>", XmlError::Tag),
            ("<a b=\"<\"/>", XmlError::Tag),
            ("<?xml version='1.0' encoding = 'ISO-8859-1'?><a/>", XmlError::Encoding),
            (&deep, XmlError::TooDeep),
            (&long, XmlError::TooLong),
            (&comment, XmlError::TooLong),
            (&name, XmlError::TooLong),
            (&end, XmlError::TooLong),
        ] {
            assert_eq!(whole(text), Err(error), "{text}");
            // The long ones not byte by byte: each would be looked at anew with each byte.
            let size = text.len().div_ceil(100).max(1);
            assert_eq!(read(text.as_bytes().chunks(size), b""), Err(error), "{text}");
        }
        let deep = "<a>".repeat(MAX_DEPTH) + &"</a>".repeat(MAX_DEPTH);
        assert!(whole(&deep).is_ok());
    }

    #[test]
    fn what_is_skipped_is_not_told() {
        for (text, events) in [
            ("<a><b>1</b><c>2</c></a>", "<a><c>2</></>"),
            ("<a><b/><c/></a>", "<a><c></></>"),
            ("<a><b><c/><b>x&y;<d>z</d></b>&lt;<![CDATA[<c>]]></b>2</a>", "<a>2</>"),
            ("<b><a/></b>", ""),
            ("<b/>", ""),
        ] {
            for size in 1..=text.len() {
                assert_eq!(
                    read(text.as_bytes().chunks(size), b"b").as_deref(),
                    Ok(events),
                    "{text}"
                );
            }
        }
        assert_eq!(read([&b"<a><b><c></b></a>"[..]], b"b"), Err(XmlError::OtherEnd));
        assert_eq!(read([&b"<a><b>"[..]], b"b"), Err(XmlError::Cut));
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            text in proptest::collection::vec("<a>|</a>|<b/>|<b c='>'>|</b>|&amp;|&#x41;|<!---->|x{0,20}|\
                <!\\[CDATA\\[z|\\]\\]>|<|/|>|&|;| ", 0..12),
            sizes in proptest::collection::vec(1_usize..9, 1..9),
        ) {
            let text = format!("<a>{}</a>", text.concat());
            let (mut pieces, mut rest, mut sizes) = (Vec::new(), text.as_bytes(), sizes.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert_eq!(read(pieces, b"b"), read([text.as_bytes()], b"b"));
        }
    }
}
