//! The entries of a folder, from what S3 answers (ListObjectsV2, Amazon S3 API Reference).
//!
//! Servers differ in the order of elements, which means nothing, and send more of them than are read.

pub mod html;
pub mod json;
mod page;
pub mod question;
pub mod text;
pub mod xml;

use core::mem::{replace, take};

pub use page::Page;
use page::Told;
use thiserror::Error;

use crate::s3::object::MAX_KEY;
use crate::s3::time;
use crate::s3::xml::{Event, Parser, XmlError};

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
    field: Field,
    /// The text of the field, unless it is a key.
    value: Vec<u8>,
    /// Where the last key begins among the names, when the entry has one.
    key: Option<usize>,
    told: Told,
    is_truncated: bool,
    token: Vec<u8>,
    page: Page,
}

/// Which element is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Result,
    Contents,
    CommonPrefixes,
    Error,
}

/// Which element of text is open inside of that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    None,
    /// `Key` or `Prefix`.
    Key,
    LastModified,
    Size,
    IsTruncated,
    /// `NextContinuationToken`, which some servers take from their last key.
    Token,
    Code,
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
            field: Field::None,
            value: Vec::new(),
            key: None,
            told: Told::default(),
            is_truncated: false,
            token: Vec::new(),
            page: Page::default(),
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
        while let Some(event) = parser.next(&mut piece)? {
            match event {
                Event::Start(name) => {
                    if !self.start(name)? {
                        parser.skip();
                    } else if self.field != Field::None {
                        if let Some(text) = parser.leaf(&mut piece) {
                            self.end_of_field(text)?;
                        }
                    }
                }
                Event::Text(text) => self.text(text),
                Event::End => self.end()?,
            }
        }
        self.parser = parser;
        Ok(())
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

    /// Whether anything of an element is of interest.
    fn start(&mut self, name: &[u8]) -> Result<bool, ListingError> {
        self.field = match (self.place, name) {
            // Elements inside of text.
            _ if self.field != Field::None => return Ok(false),
            (Place::Contents, b"Key") | (Place::CommonPrefixes, b"Prefix") => {
                // The last of several.
                if let Some(start) = self.key {
                    self.page.names().truncate(start);
                }
                self.key = Some(self.page.names().len());
                Field::Key
            }
            (Place::Contents, b"LastModified") => Field::LastModified,
            (Place::Contents, b"Size") => Field::Size,
            (Place::Result, b"Contents") => {
                self.place = Place::Contents;
                Field::None
            }
            (Place::Result, b"CommonPrefixes") => {
                self.place = Place::CommonPrefixes;
                Field::None
            }
            (Place::Result, b"IsTruncated") => Field::IsTruncated,
            (Place::Result, b"NextContinuationToken") => Field::Token,
            (Place::Outside, b"ListBucketResult") => {
                self.place = Place::Result;
                Field::None
            }
            (Place::Outside, b"Error") => {
                self.place = Place::Error;
                Field::None
            }
            (Place::Outside, _) => return Err(ListingError::OtherRoot),
            (Place::Error, b"Code") => Field::Code,
            _ => return Ok(false),
        };
        Ok(true)
    }

    #[inline]
    fn text(&mut self, text: &[u8]) {
        match self.field {
            Field::None => (),
            Field::Key => self.page.names().extend_from_slice(text),
            // Not more of it than tells that it is too long.
            _ => self.value.extend(text.iter().take(MAX_TOKEN + 1 - self.value.len())),
        }
    }

    fn end(&mut self) -> Result<(), ListingError> {
        if self.field == Field::None {
            return self.end_of_place();
        }
        let value = take(&mut self.value);
        self.end_of_field(&value)
    }

    /// Takes the text of the open field, or what of a key is not among the names yet.
    #[inline]
    fn end_of_field(&mut self, text: &[u8]) -> Result<(), ListingError> {
        // Longer than any such value: none of them.
        let value = if text.len() > MAX_VALUE { b"" } else { text.trim_ascii() };
        match replace(&mut self.field, Field::None) {
            Field::None => (),
            Field::Key => {
                self.page.names().extend_from_slice(text);
                // Some servers have several prefixes in one element.
                if self.place == Place::CommonPrefixes {
                    self.told.is_folder = true;
                    self.end_of_entry();
                }
            }
            Field::LastModified => self.told.mtime = time::seconds(value),
            Field::Size => self.told.size = number(value).unwrap_or(0),
            Field::IsTruncated => self.is_truncated = matches!(value, b"true" | b"1"),
            Field::Token if text.len() <= MAX_TOKEN => self.token = text.to_vec(),
            Field::Token => (),
            Field::Code => return Err(refused(value)),
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

fn number(digits: &[u8]) -> Option<u64> {
    let mut value = (!digits.is_empty()).then_some(0_u64)?;
    for &b in digits {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::page::Entry;
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
        for (name, file) in page.entries() {
            out += &match file {
                None => format!("{}/ ", name.escape_ascii()),
                Some(Entry { size, mtime: Some(mtime), .. }) => {
                    format!("{}:{size}@{mtime} ", name.escape_ascii())
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

    /// The order of elements, white space and escapes of each server, and what is to be read of it.
    const DIALECTS: [(&str, &str, &str, &str); 8] = [
        // AWS, as its API Reference shows ListObjectsV2 with prefix and delimiter, in one line as it is sent.
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
        // MinIO, after ListObjectsV2Response in its cmd/api-response.go, as Go's encoder writes it.
        (
            "",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><Contents><Key>&#34;&gt;&#39;&#xA;</Key><LastModified>2024-02-29T23:59:59.999Z</LastModified><ETag>&#34;fba9dede5f27731c9771645a39863328&#34;</ETag><Size>5368709121</Size><Owner><ID>minio</ID><DisplayName>minio</DisplayName></Owner><StorageClass>STANDARD</StorageClass><UserMetadata><Key>not a key</Key><Size>9</Size></UserMetadata></Contents><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>",
            "d/ \\\">\\\'\\n:5368709121@1709251199 next= dropped=0 there",
        ),
        // Ceph, after RGWListBucket_ObjStore_S3v2 in its rgw_rest_s3.cc: the folders first.
        (
            "p/",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><NextContinuationToken>p/x.bin</NextContinuationToken><KeyCount>2</KeyCount><Name>b</Name><Prefix>p/</Prefix><MaxKeys>2</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes><Contents><Key>p/x.bin</Key><LastModified>2023-05-01T10:00:00.123Z</LastModified><ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents></ListBucketResult>",
            "d/ x.bin:7@1682935200 next=x.bin dropped=0 there",
        ),
        // Ceph, older: the folders last, with what belongs to the page inside of each.
        (
            "",
            "c",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>false</IsTruncated><Contents><Key>x</Key><LastModified>2023-05-01T10:00:00.123Z</LastModified><ETag>&quot;0&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>d/</Prefix><KeyCount>1</KeyCount><StartAfter>c</StartAfter></CommonPrefixes><CommonPrefixes><Prefix>e/</Prefix><KeyCount>1</KeyCount><StartAfter>c</StartAfter></CommonPrefixes></ListBucketResult>",
            "d/ e/ x:7@1682935200 next= dropped=0 there",
        ),
        // SeaweedFS, after ListBucketResultV2 in its weed/s3api: the tokens last, folders in the order of their names without the slash.
        (
            "p/",
            "",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>p/</Prefix><MaxKeys>3</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><Contents><Key>p/a</Key><ETag>&#34;0cc175b9c0f1b6a831c399e269772661&#34;</ETag><Size>1</Size><Owner><ID></ID><DisplayName></DisplayName></Owner><StorageClass>STANDARD</StorageClass><LastModified>2026-11-25T22:00:00Z</LastModified></Contents><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/d-e/</Prefix></CommonPrefixes><ContinuationToken></ContinuationToken><NextContinuationToken>p/d-e/</NextContinuationToken><KeyCount>3</KeyCount><StartAfter></StartAfter></ListBucketResult>",
            "d/ d-e/ a:1@1795644000 next=d-e/ dropped=0 there",
        ),
        // Garage, after its api/s3/list.rs, where the folder that start-after names comes again.
        (
            "",
            "d/",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix><StartAfter>d/</StartAfter><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><KeyCount>3</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>e</Key><LastModified>2023-05-01T10:00:00.123Z</LastModified><ETag>&quot;0&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>f/</Prefix></CommonPrefixes></ListBucketResult>",
            "f/ e:7@1682935200 next= dropped=0 there",
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
        let inside = MORE.to_owned() + &folder("d/") + &timed("f", 12345) + &timed(&long, u64::MAX);
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
                 <a href=\"{long}\">{long}</a> 31-Dec-1986 13:00 17179869184G\r\n\
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
                 \"mtime\":\"Wed, 31 Dec 1986 10:00:00 GMT\", \"size\":18446744073709551615 }}\r\n]"
            )
        );
        assert_eq!(
            as_xml,
            format!(
                "<?xml version=\"1.0\"?>\r\n<list>\r\n<directory>d</directory>\r\n\
                 <file mtime=\"1986-12-31T10:00:00Z\" size=\"12345\">f</file>\r\n\
                 <file mtime=\"1986-12-31T10:00:00Z\" size=\"18446744073709551615\">{long}</file>\r\n\
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
