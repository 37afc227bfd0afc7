//! The entries of a folder, from what S3 answers (ListObjectsV2, Amazon S3 API Reference).
//!
//! Servers differ in the order of elements, which means nothing, and send more of them than are read.

pub mod html;
pub mod json;
mod page;
pub mod question;
mod shape;
mod text;
pub mod xml;

use core::mem::take;

pub use page::Page;
use page::Told;
use shape::{Alike, Draft, Shape};
use thiserror::Error;

use crate::s3::object::MAX_KEY;
use crate::s3::time;
use crate::s3::xml::{Event, Parser, Raw, XmlError};

/// How many bytes of XML are read at most. It bounds what a listing holds, too: keys that are no longer than
/// their XML, and 32 bytes for each entry, whose XML has 19 at least.
pub const MAX_XML: usize = 8 << 20;

/// The longest text of an element that is no key, in bytes.
const MAX_VALUE: usize = 64;

/// The longest of [`Field::Token`], when it is one that is read.
const MAX_TOKEN: usize = MAX_KEY;

/// Why an answer is no page.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ListingError {
    /// Not XML, or not all of it.
    #[error("it is no XML: {0}")]
    Xml(#[from] XmlError),
    /// XML, but no listing.
    #[error("it is no ListBucketResult")]
    OtherRoot,
    /// Longer than [`MAX_XML`].
    #[error("it is longer than 8 MB")]
    TooLong,
    /// There are more pages, but nothing on this one that the next could begin behind.
    #[error("it is not the last page, but has no new name")]
    NoNext,
    /// An error that was sent with the status of success: its code, of letters and digits, or nothing.
    #[error("it is the error {0:?}")]
    Refused(Box<str>),
}

/// What is read of a listing that arrives in pieces.
pub struct Listing {
    parser: Parser,
    prefix: Box<[u8]>,
    after: Box<[u8]>,
    len: usize,
    place: Place,
    /// Whose text is read in parts.
    field: Option<Field>,
    /// That text, unless it is a key.
    value: Vec<u8>,
    /// Where the last key begins among the names, when the entry has one.
    key: Option<usize>,
    told: Told,
    is_truncated: bool,
    token: Vec<u8>,
    page: Page,
    /// That of the last entry.
    shape: Shape,
}

/// Which element is open.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Outside,
    Result,
    Contents,
    CommonPrefixes,
    Error,
}

/// An element inside of that whose text is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    /// `Key` or `Prefix`.
    Key,
    LastModified,
    Size,
    IsTruncated,
    /// `NextContinuationToken`, which some servers take from their last key.
    Token,
    Code,
}

/// What an element is.
enum Element {
    Place(Place),
    /// Text that differs from entry to entry, and is read, if it is a field.
    Text(Option<Field>),
    /// Nothing that is read.
    Other,
}

impl Listing {
    /// Begins to read the answer to the question for `prefix` and `after` (see [`question::write`]).
    pub fn new(prefix: &[u8], after: &[u8]) -> Self {
        Listing {
            parser: Parser::default(),
            prefix: prefix.into(),
            after: after.into(),
            len: 0,
            place: Place::Outside,
            field: None,
            value: Vec::new(),
            key: None,
            told: Told::default(),
            is_truncated: false,
            token: Vec::new(),
            page: Page::default(),
            shape: Shape::default(),
        }
    }

    /// Reads the next piece of the answer; it may be cut anywhere.
    ///
    /// # Errors
    /// The reason of [`ListingError`] why it is no page; nothing is to be read after it.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), ListingError> {
        self.len = self.len.saturating_add(piece.len());
        if self.len > MAX_XML {
            return Err(ListingError::TooLong);
        }
        let mut parser = take(&mut self.parser);
        let mut draft = None;
        loop {
            if self.place == Place::Result && self.field.is_none() && parser.is_inside() {
                piece = self.entries(piece)?;
                draft = Some(Draft::new(piece));
            }
            match parser.next(&mut piece)? {
                None => break,
                Some(Event::Start(name)) => {
                    let element = self.element(name)?;
                    self.start(element, &mut parser, &mut piece, &mut draft)?;
                }
                Some(Event::Text(text)) => self.text(text),
                Some(Event::End) if self.field.is_some() => self.end_of_text()?,
                Some(Event::End) => {
                    let place = self.place;
                    self.end_of_place()?;
                    if let Some(draft) = draft.take_if(|_| self.place == Place::Result) {
                        draft.finish(piece, place, &mut self.shape);
                    }
                }
            }
        }
        self.parser = parser;
        Ok(())
    }

    /// Reads the entries that a piece begins with, as long as they are like the last; returns what is behind them.
    fn entries<'p>(&mut self, mut piece: &'p [u8]) -> Result<&'p [u8], ListingError> {
        let shape = take(&mut self.shape);
        while let Some((Alike { key, told }, behind)) = shape.read(piece) {
            let start = self.page.names().len();
            key.decode(self.page.names())?;
            self.page.add(start, &self.prefix, &self.after, told);
            piece = behind;
        }
        self.shape = shape;
        Ok(piece)
    }

    /// Returns the page, when the whole answer was read.
    ///
    /// # Errors
    /// The reason of [`ListingError`] why it is none.
    pub fn finish(self) -> Result<Page, ListingError> {
        self.parser.finish()?;
        let token = self.is_truncated.then_some(&*self.token);
        let page = self.page.finish(token, &self.prefix, &self.after);
        page.ok_or(ListingError::NoNext)
    }

    /// What an element with this name is here.
    fn element(&self, name: &[u8]) -> Result<Element, ListingError> {
        Ok(match (self.place, name) {
            // Elements inside of text.
            _ if self.field.is_some() => Element::Other,
            (Place::Contents, b"Key") | (Place::CommonPrefixes, b"Prefix") => {
                Element::Text(Some(Field::Key))
            }
            (Place::Contents, b"LastModified") => Element::Text(Some(Field::LastModified)),
            (Place::Contents, b"Size") => Element::Text(Some(Field::Size)),
            (Place::Contents, b"ETag") => Element::Text(None),
            (Place::Result, b"Contents") => Element::Place(Place::Contents),
            (Place::Result, b"CommonPrefixes") => Element::Place(Place::CommonPrefixes),
            (Place::Result, b"IsTruncated") => Element::Text(Some(Field::IsTruncated)),
            (Place::Result, b"NextContinuationToken") => Element::Text(Some(Field::Token)),
            (Place::Outside, b"ListBucketResult") => Element::Place(Place::Result),
            (Place::Outside, b"Error") => Element::Place(Place::Error),
            (Place::Outside, _) => return Err(ListingError::OtherRoot),
            (Place::Error, b"Code") => Element::Text(Some(Field::Code)),
            _ => Element::Other,
        })
    }

    /// Begins with an element whose start was told, and reads all of it if it is nothing but text, as most are.
    fn start<'p>(
        &mut self,
        element: Element,
        parser: &mut Parser,
        piece: &mut &'p [u8],
        draft: &mut Option<Draft<'p>>,
    ) -> Result<(), ListingError> {
        match element {
            Element::Place(place) => self.place = place,
            Element::Text(field) => {
                let here = *piece;
                match (parser.leaf(piece), field) {
                    (Some(raw), field) => {
                        if let Some(field) = field {
                            self.whole_text(field, raw)?;
                        }
                        if let Some(draft) = draft {
                            draft.text(field, raw, here);
                        }
                    }
                    (None, Some(field)) => {
                        self.begin(field);
                        self.field = Some(field);
                        *draft = None;
                    }
                    (None, None) => parser.skip(),
                }
            }
            Element::Other => {
                if parser.leaf(piece).is_none() {
                    parser.skip();
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn begin(&mut self, field: Field) {
        if field == Field::Key {
            // The last of several.
            if let Some(start) = self.key {
                self.page.names().truncate(start);
            }
            self.key = Some(self.page.names().len());
        }
    }

    /// Takes all of a text.
    #[inline(always)]
    fn whole_text(&mut self, field: Field, raw: Raw) -> Result<(), ListingError> {
        match raw.plain() {
            _ if field == Field::Key => {
                self.begin(field);
                raw.decode(self.page.names())?;
                self.end_of_key();
                Ok(())
            }
            Some(text) => self.value(field, text),
            None => self.odd_value(field, raw),
        }
    }

    /// A value with references, which none has.
    #[cold]
    fn odd_value(&mut self, field: Field, raw: Raw) -> Result<(), ListingError> {
        let mut text = Vec::new();
        raw.decode(&mut text)?;
        self.value(field, &text)
    }

    fn text(&mut self, text: &[u8]) {
        match self.field {
            None => (),
            Some(Field::Key) => self.page.names().extend_from_slice(text),
            // Not more of it than tells that it is too long.
            Some(_) => self.value.extend(text.iter().take(MAX_TOKEN + 1 - self.value.len())),
        }
    }

    fn end_of_text(&mut self) -> Result<(), ListingError> {
        match self.field.take() {
            None => Ok(()),
            Some(Field::Key) => {
                self.end_of_key();
                Ok(())
            }
            Some(field) => {
                let value = take(&mut self.value);
                self.value(field, &value)
            }
        }
    }

    #[inline]
    fn end_of_key(&mut self) {
        // Some servers have several prefixes in one element.
        if self.place == Place::CommonPrefixes {
            self.told.is_folder = true;
            self.end_of_entry();
        }
    }

    /// Takes what a field says that is no key.
    #[inline(always)]
    fn value(&mut self, field: Field, text: &[u8]) -> Result<(), ListingError> {
        // Longer than any such value: none of them.
        let value = if text.len() > MAX_VALUE { b"" } else { text };
        match field {
            Field::Key => (),
            Field::LastModified => self.told.mtime = time::read(value.trim_ascii()),
            Field::Size => {
                let size = number(value.trim_ascii()).filter(|(_, rest)| rest.is_empty());
                self.told.size = size.map_or(0, |(size, _)| size);
            }
            Field::IsTruncated => self.is_truncated = matches!(value.trim_ascii(), b"true" | b"1"),
            Field::Token if text.len() <= MAX_TOKEN => self.token = text.to_vec(),
            Field::Token => (),
            Field::Code => return Err(refused(value.trim_ascii())),
        }
        Ok(())
    }

    fn end_of_place(&mut self) -> Result<(), ListingError> {
        self.place = match self.place {
            Place::Contents => {
                self.end_of_entry();
                Place::Result
            }
            Place::CommonPrefixes => Place::Result,
            // Without a code.
            Place::Error => return Err(refused(b"")),
            Place::Result | Place::Outside => Place::Outside,
        };
        Ok(())
    }

    #[inline]
    fn end_of_entry(&mut self) {
        let told = take(&mut self.told);
        match self.key.take() {
            Some(start) => self.page.add(start, &self.prefix, &self.after, told),
            None => self.page.dropped += 1,
        }
    }
}

fn refused(code: &[u8]) -> ListingError {
    // It is logged.
    let is_code = code.iter().all(u8::is_ascii_alphanumeric);
    ListingError::Refused(String::from_utf8_lossy(if is_code { code } else { b"" }).into())
}

/// The number that a text begins with, of 19 digits at most, and what is behind it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut len) = (0_u64, 0);
    for b in text.iter().take(19) {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value * 10 + u64::from(digit);
        len += 1;
    }
    text.get(len..).filter(|_| len > 0).map(|rest| (value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::page::Entry;
    use super::text::Text;
    use super::*;

    fn read<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
        prefix: &str,
        after: &str,
    ) -> Result<Page, ListingError> {
        let mut listing = Listing::new(prefix.as_bytes(), after.as_bytes());
        for piece in pieces {
            listing.feed(piece)?;
        }
        listing.finish()
    }

    /// All of a page in a line.
    fn shown(page: &Page) -> String {
        let mut out = String::new();
        for (Text { bytes: name, .. }, file) in page.entries() {
            out += &match file {
                None => format!("{}/ ", name.escape_ascii()),
                Some(Entry { size, mtime: Some(mtime), .. }) => {
                    format!("{}:{size}@{} ", name.escape_ascii(), mtime.seconds())
                }
                Some(Entry { size, .. }) => format!("{}:{size} ", name.escape_ascii()),
            };
        }
        let next = page.next().unwrap_or_default().escape_ascii();
        format!(
            "{out}next={next} dropped={} {}",
            page.dropped,
            if page.exists { "there" } else { "none" }
        )
    }

    fn page(xml: &str, prefix: &str, after: &str) -> Result<String, ListingError> {
        read([xml.as_bytes()], prefix, after).map(|page| shown(&page))
    }

    /// A listing with some elements in it.
    fn result(inside: &str) -> String {
        format!("<ListBucketResult>{inside}</ListBucketResult>")
    }

    fn file(key: &str) -> String {
        format!("<Contents><Key>{key}</Key></Contents>")
    }

    fn folder(key: &str) -> String {
        format!("<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>")
    }

    fn token(token: &str) -> String {
        format!("<NextContinuationToken>{token}</NextContinuationToken>")
    }

    const MORE: &str = "<IsTruncated>true</IsTruncated>";

    /// The order of elements, white space and escapes of each server, and what is to be read of it: recorded, but
    /// for those that are written after the documentation or the source that is named.
    const DIALECTS: [(&str, &str, &str, &str); 16] = [
        // AWS: the response syntax and examples of ListObjectsV2 in the Amazon S3 API Reference, with prefix and
        // delimiter, in one line as it is sent.
        (
            "p/",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>example-bucket</Name><Prefix>p/</Prefix><NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken><KeyCount>4</KeyCount><MaxKeys>4</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><Contents><Key>p/</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a&amp;b.txt</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>434234</Size><StorageClass>STANDARD</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus></Contents><Contents><Key>p/&#x1;</Key><LastModified>2009-10-12T17:50:31.000Z</LastModified><Size>1</Size></Contents><CommonPrefixes><Prefix>p/photos/</Prefix></CommonPrefixes></ListBucketResult>",
            "photos/ \\x01:1@1255369831 a&b.txt:434234@1255369830 next=photos/ dropped=0 there",
        ),
        // AWS, the empty last page.
        (
            "p/",
            "z",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>example-bucket</Name><Prefix>p/</Prefix><StartAfter>p/z</StartAfter><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated></ListBucketResult>",
            "next= dropped=0 none",
        ),
        // MinIO: ListObjectsV2Response and Object in its cmd/api-response.go (at 0083d4940d03, 2023), in the
        // order of their fields, as Go's encoder escapes.
        (
            "",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><Contents><Key>&#34;&gt;&#39;&#xA;</Key><LastModified>2024-02-29T23:59:59.999Z</LastModified><ETag>&#34;fba9dede5f27731c9771645a39863328&#34;</ETag><Size>5368709121</Size><Owner><ID>minio</ID><DisplayName>minio</DisplayName></Owner><StorageClass>STANDARD</StorageClass><UserMetadata><Key>not a key</Key><Size>9</Size></UserMetadata></Contents><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>",
            "d/ \\\">\\\'\\n:5368709121@1709251199 next= dropped=0 there",
        ),
        // Ceph 16.2.15, recorded: a first page and a last one. Folders come before files, tokens last; names are escaped,
        // but for a line feed.
        (
            "p/",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b-example</Name><Prefix>p/</Prefix><MaxKeys>9</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><CommonPrefixes><Prefix>p/d-e/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes><Contents><Key>p/</Key><LastModified>2026-11-26T07:25:52.133Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>p/&quot;&gt;&lt;script&gt;</Key><LastModified>2026-11-26T07:25:52.140Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>p/%41</Key><LastModified>2026-11-26T07:25:52.146Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>p/a b</Key><LastModified>2026-11-26T07:25:52.157Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>p/a&amp;b</Key><LastModified>2026-11-26T07:25:52.165Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>p/a+b</Key><LastModified>2026-11-26T07:25:52.175Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>p/ctl&#x01;</Key><LastModified>2026-11-26T07:25:52.182Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><NextContinuationToken>p/d/</NextContinuationToken><KeyCount>9</KeyCount></ListBucketResult>",
            "d/ d-e/ \\\"><script>:1@1795677952 %41:1@1795677952 a b:1@1795677952 a&b:1@1795677952 a+b:1@1795677952 ctl\\x01:1@1795677952 next=d/ dropped=0 there",
        ),
        (
            "p/",
            "d/",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b-example</Name><Prefix>p/</Prefix><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><Contents><Key>p/nl\nx</Key><LastModified>2026-11-26T07:25:52.262Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>p/x&apos;y</Key><LastModified>2026-11-26T07:25:52.271Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>p/\u{e4}</Key><LastModified>2026-11-26T07:25:52.279Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><KeyCount>3</KeyCount><StartAfter>p/d/\u{10ffff}</StartAfter></ListBucketResult>",
            "nl\\nx:1@1795677952 x\\'y:1@1795677952 \\xc3\\xa4:1@1795677952 next= dropped=0 there",
        ),
        // Ceph, by other versions of RGWListBucket_ObjStore_S3v2::send_response() in its src/rgw/rgw_rest_s3.cc, which was
        // written anew several times: the folders last, with what belongs to the page inside of each.
        (
            "",
            "c",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><Contents><Key>x</Key><LastModified>2023-05-01T10:00:00.123Z</LastModified><ETag>&quot;0&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>d/</Prefix><KeyCount>1</KeyCount><StartAfter>c</StartAfter></CommonPrefixes><CommonPrefixes><Prefix>e/</Prefix><KeyCount>1</KeyCount><StartAfter>c</StartAfter></CommonPrefixes></ListBucketResult>",
            "d/ e/ x:7@1682935200 next= dropped=0 there",
        ),
        // Ceph, by a third, whose send_common_response() has the folders already: they come twice.
        (
            "",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>e/</Prefix></CommonPrefixes><Contents><Key>x</Key><LastModified>2023-05-01T10:00:00.123Z</LastModified><ETag>&quot;0&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>d/</Prefix><KeyCount>1</KeyCount></CommonPrefixes><CommonPrefixes><Prefix>e/</Prefix><KeyCount>1</KeyCount></CommonPrefixes></ListBucketResult>",
            "d/ e/ x:7@1682935200 next= dropped=0 there",
        ),
        // SeaweedFS 4.48, recorded: a first page and a last one. The tokens come last, and folders in the order of
        // their names without the slash.
        (
            "p/",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b-example</Name><Prefix>p/</Prefix><MaxKeys>5</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><Contents><Key>p/</Key><ETag>&#34;9dd4e461268c8034f5c8564e155c67a6&#34;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass><LastModified>2026-11-26T04:35:24Z</LastModified></Contents><Contents><Key>p/a</Key><ETag>&#34;9dd4e461268c8034f5c8564e155c67a6&#34;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><LastModified>2026-11-26T04:35:24Z</LastModified></Contents><Contents><Key>p/a&amp;b</Key><ETag>&#34;9dd4e461268c8034f5c8564e155c67a6&#34;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><LastModified>2026-11-26T04:35:24Z</LastModified></Contents><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/d-e/</Prefix></CommonPrefixes><NextContinuationToken>p/d-e/</NextContinuationToken><KeyCount>5</KeyCount></ListBucketResult>",
            "d/ d-e/ a:1@1795667724 a&b:1@1795667724 next=d-e/ dropped=0 there",
        ),
        (
            "p/",
            "d/",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b-example</Name><Prefix>p/</Prefix><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><Contents><Key>p/z&#39;&lt;&gt;&#34;</Key><ETag>&#34;9dd4e461268c8034f5c8564e155c67a6&#34;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass><LastModified>2026-11-26T04:35:11Z</LastModified></Contents><CommonPrefixes><Prefix>p/d-e/</Prefix></CommonPrefixes><KeyCount>2</KeyCount><StartAfter>p/d/\u{10ffff}</StartAfter></ListBucketResult>",
            "d-e/ z\\'<>\\\":1@1795667711 next= dropped=0 there",
        ),
        // moto 5.2.5, recorded likewise. IsTruncated comes first, folders behind files, tokens that are no name last; a control
        // byte is sent as it is.
        (
            "p/",
            "",
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>true</IsTruncated><Contents><Key>p/</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"d41d8cd98f00b204e9800998ecf8427e\"</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/\"&gt;&lt;script&gt;</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/%41</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a b</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a&amp;b</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a+b</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/ctl\u{1}</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Name>b-example</Name><Prefix>p/</Prefix><Delimiter>/</Delimiter><MaxKeys>9</MaxKeys><CommonPrefixes><Prefix>p/d-e/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes><KeyCount>9</KeyCount><NextContinuationToken>9406c58df6a9d4bf55ebfdf01c07fadd</NextContinuationToken></ListBucketResult>",
            "d/ d-e/ \\\"><script>:1@1795677954 %41:1@1795677954 a b:1@1795677954 a&b:1@1795677954 a+b:1@1795677954 ctl\\x01:1@1795677954 next=d/ dropped=0 there",
        ),
        (
            "p/",
            "d/",
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>false</IsTruncated><Contents><Key>p/x'y</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/\u{e4}</Key><LastModified>2026-11-26T07:25:54.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Name>b-example</Name><Prefix>p/</Prefix><Delimiter>/</Delimiter><MaxKeys>1000</MaxKeys><KeyCount>2</KeyCount><StartAfter>p/d/\u{10ffff}</StartAfter></ListBucketResult>",
            "x\\'y:1@1795677954 \\xc3\\xa4:1@1795677954 next= dropped=0 there",
        ),
        // Garage 2.5.0, recorded likewise: tokens and IsTruncated first, folders last; control bytes are sent as they are.
        (
            "p/",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b-example</Name><Prefix>p/</Prefix><NextContinuationToken>]cC9kLw==</NextContinuationToken><KeyCount>9</KeyCount><MaxKeys>9</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><Contents><Key>p/</Key><LastModified>2026-11-26T07:55:32.536Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/&quot;&gt;&lt;script&gt;</Key><LastModified>2026-11-26T07:55:32.544Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/%41</Key><LastModified>2026-11-26T07:55:32.551Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a b</Key><LastModified>2026-11-26T07:55:32.556Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a&amp;b</Key><LastModified>2026-11-26T07:55:32.562Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a+b</Key><LastModified>2026-11-26T07:55:32.569Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/ctl\u{1}</Key><LastModified>2026-11-26T07:55:32.575Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>p/d-e/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes></ListBucketResult>",
            "d/ d-e/ \\\"><script>:1@1795679732 %41:1@1795679732 a b:1@1795679732 a&b:1@1795679732 a+b:1@1795679732 ctl\\x01:1@1795679732 next=d/ dropped=0 there",
        ),
        (
            "p/",
            "d/",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b-example</Name><Prefix>p/</Prefix><StartAfter>p/d/\u{10ffff}</StartAfter><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><Contents><Key>p/nl\nx</Key><LastModified>2026-11-26T07:55:32.595Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/x&apos;y</Key><LastModified>2026-11-26T07:55:32.599Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/\u{e4}</Key><LastModified>2026-11-26T07:55:32.604Z</LastModified><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>",
            "nl\\nx:1@1795679732 x\\'y:1@1795679732 \\xc3\\xa4:1@1795679732 next= dropped=0 there",
        ),
        // OpenStack Swift 2.30.1, recorded likewise: tokens first, folders among the files that they come between.
        (
            "p/",
            "",
            "<?xml version='1.0' encoding='UTF-8'?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b-example</Name><Prefix>p/</Prefix><NextContinuationToken>cC9kLw==</NextContinuationToken><KeyCount>8</KeyCount><MaxKeys>8</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><Contents><Key>p/</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"d41d8cd98f00b204e9800998ecf8427e\"</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/\"&gt;&lt;script&gt;</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/%41</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a b</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a&amp;b</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/a+b</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>p/d-e/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes></ListBucketResult>",
            "d/ d-e/ \\\"><script>:1@1795680489 %41:1@1795680489 a b:1@1795680489 a&b:1@1795680489 a+b:1@1795680489 next=d/ dropped=0 there",
        ),
        (
            "p/",
            "d/",
            "<?xml version='1.0' encoding='UTF-8'?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b-example</Name><Prefix>p/</Prefix><StartAfter>p/d/\u{10ffff}</StartAfter><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><Contents><Key>p/nl\nx</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/x'y</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/\u{e4}</Key><LastModified>2026-11-26T08:08:09.000Z</LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>",
            "nl\\nx:1@1795680489 x\\'y:1@1795680489 \\xc3\\xa4:1@1795680489 next= dropped=0 there",
        ),
        // What no server sends and XML allows: indented, with prefixes, comments and CDATA; several folders
        // in one element, as older documentation has it.
        (
            "p/",
            "",
            "\u{feff}<?xml version='1.0'?>\r\n<!-- x --><s:ListBucketResult xmlns:s='http://s3.amazonaws.com/doc/2006-03-01/'>\r\n  <s:CommonPrefixes>\r\n    <s:Prefix>p/<![CDATA[b&]]>/</s:Prefix>\r\n    <s:Prefix>p/a<!-- - -->/</s:Prefix>\r\n  </s:CommonPrefixes>\r\n  <s:Contents>\r\n    <s:Size> 5 </s:Size>\r\n    <s:LastModified>yesterday</s:LastModified>\r\n    <s:Key a='>'>p/\u{65e5}</s:Key>\r\n  </s:Contents>\r\n  <s:IsTruncated>\r\n    true\r\n  </s:IsTruncated>\r\n</s:ListBucketResult>\r\n",
            "a/ b&/ \\xe6\\x97\\xa5:5 next=\\xe6\\x97\\xa5 dropped=0 there",
        ),
    ];

    #[test]
    fn servers_are_read_wherever_their_answers_are_cut() {
        for (prefix, after, xml, expected) in DIALECTS {
            assert_eq!(page(xml, prefix, after).as_deref(), Ok(expected), "{xml}");
            for at in 0..=xml.len() {
                let (a, b) = xml.as_bytes().split_at(at);
                let found = read([a, b], prefix, after).map(|page| shown(&page));
                assert_eq!(found.as_deref(), Ok(expected), "{at}: {xml}");
                if at < xml.trim_end().len() {
                    assert_eq!(
                        read([a], prefix, after).err(),
                        Some(XmlError::Cut.into()),
                        "{at}: {xml}"
                    );
                }
            }
            let found = read(xml.as_bytes().chunks(1), prefix, after).map(|page| shown(&page));
            assert_eq!(found.as_deref(), Ok(expected), "{xml}");
        }
    }

    proptest! {
        /// A page in pieces of which none has all of an entry, so that none is like the last.
        #[test]
        fn entries_like_the_last_are_read_as_others(
            entries in proptest::collection::vec("<(Contents>(<ETag>(x|&y;|<z/>|)</ETag>|)<Key>p/[a-c.]{1,2}(&amp;|&lt;|&bad;|/|<!---->|)</Key>(<Size>[0-9 ]{0,2}(&#49;|)</Size>|<Size/>|<Size>[0-9]{18,21}</Size>|)(<LastModified>20[12]0-0[0-2]-[0-3]9T04:05:[06]0(\\.00[0x]|)(Z|z|\\+01:00|)( |)</LastModified>|)(<Owner><ID>[ab]</ID></Owner>|)(<Key>p/z</Key>|)(&lt;|&bad;|)</Contents|CommonPrefixes>(<Prefix>p/[a-c]/</Prefix>){1,6}</CommonPrefixes)>|<Contents>(&lt;|&bad;|)</Contents>|<!---->| ", 0..9),
            twice in 1_usize..4,
        ) {
            let xml = result(&entries.iter().map(|entry| entry.repeat(twice)).collect::<String>());
            let whole = page(&xml, "p/", "");
            let found = read(xml.as_bytes().chunks(3), "p/", "").map(|page| shown(&page));
            prop_assert_eq!(whole, found);
        }
    }

    #[test]
    fn what_is_left_out() {
        for (inside, expected) in [
            // Other folders' keys.
            (file("q/a") + &file("p/b"), "b:0 next= dropped=1 there"),
            (
                file("p") + &file("") + &folder("q/") + &folder("p/c") + "<Contents/>",
                "next= dropped=5 none",
            ),
            (file("p/a/b") + &folder("p/a/b/") + &file("p/a//"), "next= dropped=3 none"),
            // The folder's own object.
            (file("p/"), "next= dropped=0 there"),
            // An object that is a folder's elsewhere.
            (file("p/a/") + &folder("p/a/"), "a/ next= dropped=0 there"),
            (
                file("p/.a") + &file("p/.") + &file("p/..") + &folder("p/.b/"),
                "next= dropped=0 there",
            ),
            (folder("p//") + &folder("p/../"), "next= dropped=0 there"),
            // The order, duplicates, and one name twice.
            (
                file("p/b")
                    + &folder("p/b/")
                    + &file("p/a")
                    + &file("p/B")
                    + &folder("p/a/")
                    + &file("p/a"),
                "a/ b/ B:0 a:0 b:0 next= dropped=0 there",
            ),
            (folder("p/a/") + &folder("p/a-b/"), "a/ a-b/ next= dropped=0 there"),
            (
                "<Contents><Key>p/a</Key><Key>p/b</Key></Contents>".into(),
                "b:0 next= dropped=0 there",
            ),
            (
                "<Contents><Key>p/a<b>c</b></Key><Size>1e9</Size></Contents>".into(),
                "a:0 next= dropped=0 there",
            ),
            // The next page.
            (file("p/a") + MORE + &folder("p/b/"), "b/ a:0 next=b/ dropped=0 there"),
            (
                MORE.to_owned() + &file("p/a") + &file("p/.z") + &file("p/.b"),
                "a:0 next=a dropped=0 there",
            ),
            (MORE.to_owned() + &file("p/.a") + &file("p/.b"), "next=.b dropped=0 there"),
            (
                MORE.to_owned() + &folder("p/a/") + &folder("p/a-b/"),
                "a/ a-b/ next=a/ dropped=0 there",
            ),
            (
                MORE.to_owned() + &file("p/a") + &folder("p/b//c/") + &file("q/c"),
                "a:0 next=a dropped=2 there",
            ),
            // Tokens that are the last name, and others.
            (
                MORE.to_owned() + &folder("p/a/") + &folder("p/a-b/") + &token("p/a-b/"),
                "a/ a-b/ next=a-b/ dropped=0 there",
            ),
            (
                token("a.b") + MORE + &folder("p/a/") + &file("p/a.b"),
                "a/ a.b:0 next=a.b dropped=0 there",
            ),
            (
                token(&"a".repeat(1025)) + MORE + &folder("p/a/") + &folder("p/a-b/"),
                "a/ a-b/ next=a/ dropped=0 there",
            ),
            (token("q/b") + MORE + &file("p/a") + &file("q/b"), "a:0 next=a dropped=1 there"),
            (token("..") + MORE + &file("p/..") + &file("p/a"), "a:0 next=a dropped=0 there"),
            (token("") + MORE + &file("p/a"), "a:0 next=a dropped=0 there"),
            (token("a") + &file("p/a"), "a:0 next= dropped=0 there"),
            // Behind those no page can begin.
            (
                MORE.to_owned() + &file("p/-") + &file("p/..") + &folder("p//"),
                "-:0 next=- dropped=0 there",
            ),
            (
                "<IsTruncated>1</IsTruncated>".to_owned() + &file("p/a"),
                "a:0 next=a dropped=0 there",
            ),
        ] {
            assert_eq!(page(&result(&inside), "p/", "").as_deref(), Ok(expected), "{inside}");
        }
        // Not sent for a page that follows the folder.
        let again = result(&(folder("p/d/") + &file("p/e")));
        assert_eq!(page(&again, "p/", "d/").as_deref(), Ok("e:0 next= dropped=0 there"));
    }

    #[test]
    fn what_is_no_page() {
        let long = result(&"<x/>".repeat(MAX_XML / 4));
        for (xml, error) in [
            ("", ListingError::Xml(XmlError::Cut)),
            ("<ListBucketResult>", ListingError::Xml(XmlError::Cut)),
            ("<ListBucketResult></ListBucketResult>x", ListingError::Xml(XmlError::BesideRoot)),
            ("<!DOCTYPE html><html></html>", ListingError::Xml(XmlError::DocumentType)),
            ("<html></html>", ListingError::OtherRoot),
            ("<ListAllMyBucketsResult/>", ListingError::OtherRoot),
            (
                "<?xml version=\"1.0\"?>\n<Error><Message>x</Message><Code>InternalError</Code></Error>",
                ListingError::Refused("InternalError".into()),
            ),
            ("<Error/>", ListingError::Refused("".into())),
            (&result(MORE), ListingError::NoNext),
            (&result(&(MORE.to_owned() + &file("p/") + &folder("p/../") + &file("q/a"))), ListingError::NoNext),
            // A server that does not know start-after.
            (&result(&(MORE.to_owned() + &file("p/a") + &file("p/b"))), ListingError::NoNext),
            (&long, ListingError::TooLong),
        ] {
            assert_eq!(page(xml, "p/", "b"), Err(error), "{xml:.99}");
        }
    }

    #[test]
    fn names_are_written_in_three_forms() {
        let names = [
            ("!", "%21", "!", "!"),
            ("\"><script>", "%22%3E%3Cscript%3E", "&quot;&gt;&lt;script&gt;", "\\\"><script>"),
            ("#f", "%23f", "#f", "#f"),
            ("%41", "%2541", "%41", "%41"),
            ("?q", "%3Fq", "?q", "?q"),
            ("a b", "a%20b", "a b", "a b"),
            ("a&b", "a%26b", "a&amp;b", "a&b"),
            ("a'b", "a%27b", "a'b", "a'b"),
            ("a+b", "a%2Bb", "a+b", "a+b"),
            ("a\\b", "a%5Cb", "a\\b", "a\\\\b"),
            ("javascript:x", "javascript%3Ax", "javascript:x", "javascript:x"),
            ("x\u{1}\n\u{1f}", "x%01%0A%1F", "x\u{1}\n\u{1f}", "x\\u0001\\n\\u001F"),
            ("\u{65e5}", "%E6%97%A5", "\u{65e5}", "\u{65e5}"),
        ];
        let inside: String = names
            .iter()
            .map(|(name, ..)| {
                let name = name.replace('&', "&amp;").replace('<', "&lt;").replace('\u{1}', "&#1;");
                folder(&(name.clone() + "/")) + &file(&name)
            })
            .collect();
        let page = read([result(&inside).as_bytes()], "", "").unwrap();
        let view = html::View { uri: b"/<p>/", is_root: true, exact_size: true, utc_offset: 0 };
        let [mut as_html, mut as_json, mut as_xml] = [const { Vec::new() }; 3];
        html::write(&page, &view, &mut as_html);
        json::write(&page, &mut as_json);
        xml::write(&page, &mut as_xml);
        let [mut as_html, as_json, as_xml] =
            [as_html, as_json, as_xml].map(|bytes| String::from_utf8(bytes).unwrap());
        for (name, link, markup, json) in names {
            for slash in ["/", ""] {
                let anchor = format!("<a href=\"{link}{slash}\">{markup}{slash}</a>");
                let width = 50 - name.chars().count() - slash.len();
                let size = if slash.is_empty() { "0" } else { "-" };
                let line =
                    format!("{anchor}{} -{}{size:>19}\r\n", " ".repeat(width), " ".repeat(17));
                assert!(as_html.contains(&line), "{name}: {as_html}");
                as_html = as_html.replace(&line, "");
            }
            for entry in [
                format!("\r\n{{ \"name\":\"{json}\", \"type\":\"directory\" }}"),
                format!("\r\n{{ \"name\":\"{json}\", \"type\":\"file\", \"size\":0 }}"),
            ] {
                assert!(as_json.contains(&entry), "{name}: {as_json}");
            }
            for entry in
                [format!("<directory>{markup}</directory>\r\n"), format!("\">{markup}</file>\r\n")]
            {
                assert!(as_xml.contains(&entry), "{name}: {as_xml}");
            }
        }
        let rest = as_html.split_once("<h1>").unwrap().1;
        assert_eq!(rest, "Index of /&lt;p&gt;/</h1><hr><pre></pre><hr></body>\r\n</html>\r\n");
    }

    #[test]
    fn pages_are_those_of_autoindex() {
        let long = "n".repeat(300);
        let timed = |key: &str, size: u64| {
            format!(
                "<Contents><Key>{key}</Key><Size>{size}</Size>\
                <LastModified>1986-12-31T10:00:00Z</LastModified></Contents>"
            )
        };
        let inside = MORE.to_owned()
            + &folder("d/")
            + &timed("f", 12345)
            + &timed(&long, 9_999_999_999_999_999_999);
        let page = read([result(&inside).as_bytes()], "", "").unwrap();
        assert_eq!(page.entries().count(), 3);
        let view =
            html::View { uri: b"/d/", is_root: false, exact_size: false, utc_offset: 3 * 3600 };
        let [mut as_html, mut as_json, mut as_xml] = [const { Vec::new() }; 3];
        html::write(&page, &view, &mut as_html);
        json::write(&page, &mut as_json);
        xml::write(&page, &mut as_xml);
        let [as_html, as_json, as_xml] =
            [as_html, as_json, as_xml].map(|bytes| String::from_utf8(bytes).unwrap());
        let (head, body) = as_html.split_once("</title>").unwrap();
        assert!(head.contains("charset=\"utf-8\"") && head.ends_with("<title>Index of /d/"));
        let spaces = " ".repeat(48);
        assert_eq!(
            body,
            format!(
                "</head>\r\n<body>\r\n<h1>Index of /d/</h1><hr><pre><a href=\"../\">../</a>\r\n\
                 <a href=\"d/\">d/</a>{spaces} -                       -\r\n\
                 <a href=\"f\">f</a>{spaces}  31-Dec-1986 13:00     12K\r\n\
                 <a href=\"{long}\">{long}</a> 31-Dec-1986 13:00 9313225746G\r\n\
                 </pre><hr><a href=\"?after={long}\" rel=\"next\">Next page</a>\r\n\
                 </body>\r\n</html>\r\n"
            )
        );
        assert_eq!(
            as_json,
            format!(
                "[\r\n{{ \"name\":\"d\", \"type\":\"directory\" }},\r\n\
                 {{ \"name\":\"f\", \"type\":\"file\", \
                 \"mtime\":\"Wed, 31 Dec 1986 10:00:00 GMT\", \"size\":12345 }},\r\n\
                 {{ \"name\":\"{long}\", \"type\":\"file\", \
                 \"mtime\":\"Wed, 31 Dec 1986 10:00:00 GMT\", \"size\":9999999999999999999 }}\r\n]"
            )
        );
        assert_eq!(
            as_xml,
            format!(
                "<?xml version=\"1.0\"?>\r\n<list>\r\n<directory>d</directory>\r\n\
                 <file mtime=\"1986-12-31T10:00:00Z\" size=\"12345\">f</file>\r\n\
                 <file mtime=\"1986-12-31T10:00:00Z\" size=\"9999999999999999999\">{long}</file>\r\n\
                 </list>\r\n"
            )
        );
        let empty = read([result("").as_bytes()], "", "").unwrap();
        let mut as_json = Vec::new();
        json::write(&empty, &mut as_json);
        assert_eq!(as_json, b"[\r\n]");
    }

    #[test]
    fn sizes_are_rounded_as_nginx_does() {
        for (size, exact, rounded) in [
            (0_u64, "                  0", "      0"),
            (9999, "               9999", "   9999"),
            (10_000, "              10000", "    10K"),
            (1_048_575, "            1048575", "  1024K"),
            (1_048_576, "            1048576", "     1M"),
            (1_572_863, "            1572863", "     1M"),
            (1_572_864, "            1572864", "     2M"),
            (1_073_741_823, "         1073741823", "  1024M"),
            (5_368_709_121, "         5368709121", "     5G"),
        ] {
            let inside = format!("<Contents><Key>a</Key><Size>{size}</Size></Contents>");
            let page = read([result(&inside).as_bytes()], "", "").unwrap();
            for (exact_size, expected) in [(true, exact), (false, rounded)] {
                let (view, mut out) = (
                    html::View { uri: b"/", is_root: true, exact_size, utc_offset: 0 },
                    Vec::new(),
                );
                html::write(&page, &view, &mut out);
                let text = String::from_utf8(out).unwrap();
                let line = text.lines().find(|line| line.contains("</a>")).unwrap();
                assert_eq!(line.split_once(" -                 ").unwrap().1, expected, "{size}");
            }
        }
    }
}
