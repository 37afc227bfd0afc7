//! Listings of any XML, whole and in pieces, and the pages that are written of them.
#![no_main]

use fuzz::listing::{html, json, question, xml, Listing, ListingError, Page};
use fuzz::object::Key;
use fuzz::xml::{Event, Parser, XmlError};
use fuzz::{decode, fields};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [sizes, prefix, query, text] = fields(data);
    let Ok(after) = question::after(query, prefix) else { return };
    assert!(after.is_empty() || Key::new(&[prefix, &after].concat(), true).is_ok());
    check_question(prefix, &after);

    assert!(events(text, sizes) == events(text, b""), "cut or not");
    check_like_the_last(text, prefix, &after);
    let page = read(text, prefix, &after, b"");
    let pieces = read(text, prefix, &after, sizes);
    match (page, pieces) {
        (Ok(page), Ok(pieces)) => {
            let view =
                html::View { uri: query, is_root: false, exact_size: true, utc_offset: 3600 };
            let pages = [page, pieces].map(|page| {
                check(&page, text, prefix, &after);
                written(&page, &view)
            });
            assert!(pages[0] == pages[1], "cut or not");
            check_html(&pages[0][0]);
            check_xml(&pages[0][2]);
        }
        (Err(a), Err(b)) => assert_eq!(a, b),
        _ => panic!("cut or not"),
    }
});

/// Entries that come twice are read as those that are never like the last, as none is all in one piece.
fn check_like_the_last(entries: &[u8], prefix: &[u8], after: &[u8]) {
    let text = [b"<ListBucketResult>", entries, entries, b"</ListBucketResult>"].concat();
    let view = html::View { uri: b"/", is_root: false, exact_size: true, utc_offset: 0 };
    let [at_once, in_pieces] = [&b""[..], &[7]].map(|sizes| {
        let page = read(&text, prefix, after, sizes)?;
        Ok::<_, ListingError>((page.dropped, page.exists, written(&page, &view)))
    });
    assert!(at_once == in_pieces, "like the last or not");
}

/// The pieces of a text, of the lengths that the bytes of `sizes` are, again and again.
fn pieces<'a>(text: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut sizes) = (text, sizes.iter().cycle());
    std::iter::from_fn(move || {
        let size = sizes.next().map_or(rest.len(), |&size| usize::from(size).max(1));
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What the parser tells of a text, texts joined.
fn events(text: &[u8], sizes: &[u8]) -> Result<Vec<u8>, XmlError> {
    let (mut parser, mut out) = (Parser::default(), Vec::new());
    let mut depth = 0;
    for mut piece in pieces(text, sizes) {
        while let Some(event) = parser.next(&mut piece)? {
            match event {
                Event::Start(name) => {
                    depth += 1;
                    out.extend([b"<", name, b">"].concat());
                    if name == b"skip" {
                        depth -= 1;
                        parser.skip();
                    } else if let Some(text) = parser.leaf(&mut piece) {
                        depth -= 1;
                        text.decode(&mut out)?;
                        out.extend(b"</>");
                    }
                }
                Event::Text(text) => out.extend(text),
                Event::End => {
                    depth -= 1;
                    out.extend(b"</>");
                }
            }
        }
        assert!(piece.is_empty());
    }
    parser.finish()?;
    assert_eq!(depth, 0);
    Ok(out)
}

fn read(text: &[u8], prefix: &[u8], after: &[u8], sizes: &[u8]) -> Result<Page, ListingError> {
    let mut listing = Listing::new(prefix, after);
    for piece in pieces(text, sizes) {
        listing.feed(piece)?;
    }
    listing.finish()
}

fn written(page: &Page, view: &html::View) -> [Vec<u8>; 3] {
    let mut out: [Vec<u8>; 3] = Default::default();
    html::write(page, view, &mut out[0]);
    json::write(page, &mut out[1]);
    xml::write(page, &mut out[2]);
    out
}

fn check(page: &Page, text: &[u8], prefix: &[u8], after: &[u8]) {
    let entries: Vec<_> = page.entries().map(|(name, file)| (file.is_some(), name.bytes)).collect();
    assert!(entries.is_sorted_by(|a, b| a < b), "in order, and each once");
    let keys = keys(text);
    for (is_file, name) in entries {
        assert!(!name.is_empty() && !name.starts_with(b".") && !name.contains(&b'/'));
        let key = [prefix, name, if is_file { b"" } else { b"/" }].concat();
        assert!(keys.contains(&key), "behind the prefix");
    }
    let Some(next) = page.next() else { return };
    assert_ne!(next, after);
    let mut link = Vec::new();
    question::write_link(next, &mut link);
    let query = link.strip_prefix(b"?").expect("a query");
    assert_eq!(question::after(query, prefix).as_deref(), Ok(next), "the link is understood");
}

/// All keys and common prefixes of a listing.
fn keys(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut parser, mut open, mut keys) = (Parser::default(), Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(event) = parser.next(&mut rest).expect("it was read") {
        let here: Vec<&[u8]> = open.iter().map(Vec::as_slice).collect();
        match (event, &here[..]) {
            (Event::Start(name), here) => match (here, name) {
                ([], _)
                | (
                    [_],
                    b"Contents" | b"CommonPrefixes" | b"IsTruncated" | b"NextContinuationToken",
                )
                | ([_, b"Contents"], b"Key" | b"LastModified" | b"Size")
                | ([_, b"CommonPrefixes"], b"Prefix") => {
                    open.push(name.to_vec());
                    keys.push(Vec::new());
                }
                _ => parser.skip(),
            },
            (Event::Text(text), [_, b"Contents", b"Key"] | [_, b"CommonPrefixes", b"Prefix"]) => {
                keys.last_mut().expect("an element").extend(text);
            }
            (Event::Text(_), _) => (),
            (Event::End, _) => drop(open.pop()),
        }
    }
    keys
}

fn check_question(prefix: &[u8], after: &[u8]) {
    let mut out = Vec::new();
    question::write(prefix, after, 1000, &mut out);
    let arguments: Vec<_> = out.split(|&b| b == b'&').collect();
    assert!(arguments.is_sorted() && arguments.len() == if after.is_empty() { 4 } else { 5 });
    let value = |argument: &[u8], name: &str| {
        decode(argument.strip_prefix(name.as_bytes()).expect("the argument"), false)
    };
    assert_eq!(value(arguments[3], "prefix="), prefix);
    if !after.is_empty() {
        assert!(value(arguments[4], "start-after=").starts_with(&[prefix, after].concat()));
    }
}

/// Nothing of a name is markup, and each link leads to what its text says.
fn check_html(page: &[u8]) {
    let at = page.windows(5).position(|window| window == b"<pre>").expect("a list") + 5;
    let mut rest = &page[at..];
    while let Some(behind) = rest.strip_prefix(b"<a href=\"") {
        let end = behind.iter().position(|&b| b == b'"').expect("the end of the link");
        let (link, behind) = behind.split_at(end);
        let behind = behind.strip_prefix(b"\">").expect("the end of the tag");
        let end = behind.iter().position(|&b| b == b'<').expect("the end of the text");
        let (text, behind) = behind.split_at(end);
        let columns = behind.strip_prefix(b"</a>").expect("the end of the link");
        assert!(!text.contains(&b'"'));
        let name = link.strip_suffix(b"/").unwrap_or(link);
        assert_eq!(decode(name, false).len() + link.len() - name.len(), unescaped(text));
        let end = columns.windows(2).position(|window| window == b"\r\n").expect("a line");
        assert!(columns[..end].iter().all(|b| b.is_ascii_alphanumeric() || b" -:".contains(b)));
        rest = &columns[end + 2..];
    }
    assert!(rest.starts_with(b"</pre><hr>"));
}

/// How many bytes an escaped text has.
fn unescaped(text: &[u8]) -> usize {
    let (mut len, mut rest) = (0, text);
    while let Some(&b) = rest.first() {
        let entity: Option<&[u8]> =
            [&b"&lt;"[..], b"&gt;", b"&amp;", b"&quot;"].into_iter().find(|e| rest.starts_with(e));
        assert!(b != b'&' || entity.is_some());
        rest = &rest[entity.map_or(1, <[u8]>::len)..];
        len += 1;
    }
    len
}

/// Our own parser reads what is written as XML.
fn check_xml(page: &[u8]) {
    assert!(events(page, b"").is_ok());
}
