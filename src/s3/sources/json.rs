//! The flat JSON objects that metadata services answer with (RFC 8259).

use core::str;

use crate::s3::zeroed::Zeroed;

/// How deep values may be nested in the object, which are skipped.
const MAX_DEPTH: usize = 32;

/// Reads the text of the members `names` out of an object. A member that is there twice has its last value; one
/// whose value is no string, or that is not there, is `None`. What else there is, is skipped.
///
/// Returns `None` for what is not one whole JSON object in UTF-8.
pub fn texts<const N: usize>(body: &[u8], names: [&str; N]) -> Option<[Option<Zeroed>; N]> {
    let mut rest = Reader { text: str::from_utf8(body).ok()? };
    let mut found = [const { None }; N];
    rest.space();
    rest.expect('{')?;
    rest.members('}', |rest| {
        let name = rest.string()?;
        rest.space();
        rest.expect(':')?;
        rest.space();
        let value = if rest.text.starts_with('"') {
            Some(rest.string()?)
        } else {
            rest.skip(MAX_DEPTH)?;
            None
        };
        if let Some((_, slot)) = names.iter().zip(&mut found).find(|(wanted, _)| ***wanted == *name)
        {
            *slot = value;
        }
        Some(())
    })?;
    rest.space();
    rest.text.is_empty().then_some(found)
}

/// What of a text is not yet read.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes a character off, if it is there.
    fn take(&mut self, c: char) -> bool {
        let rest = self.text.strip_prefix(c);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }

    fn expect(&mut self, c: char) -> Option<()> {
        self.take(c).then_some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.text.chars();
        let next = chars.next();
        self.text = chars.as_str();
        next
    }

    /// Reads what stands between commas up to `end`, each by `member`.
    fn members(
        &mut self,
        end: char,
        mut member: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.space();
        if self.take(end) {
            return Some(());
        }
        loop {
            self.space();
            member(self)?;
            self.space();
            if self.take(end) {
                return Some(());
            }
            self.expect(',')?;
        }
    }

    /// Skips a value that holds others at most `depth` deep.
    fn skip(&mut self, depth: usize) -> Option<()> {
        let deeper = depth.checked_sub(1);
        match self.text.chars().next()? {
            '"' => self.string().map(|_| ()),
            '{' => {
                self.next();
                self.members('}', |rest| {
                    rest.string()?;
                    rest.space();
                    rest.expect(':')?;
                    rest.space();
                    rest.skip(deeper?)
                })
            }
            '[' => {
                self.next();
                self.members(']', |rest| rest.skip(deeper?))
            }
            '-' | '0'..='9' => self.number(),
            _ => {
                let words = ["true", "false", "null"];
                self.text = words.iter().find_map(|word| self.text.strip_prefix(word))?;
                Some(())
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        self.take('-');
        if !self.take('0') {
            self.digits()?;
        }
        if self.take('.') {
            self.digits()?;
        }
        if self.take('e') || self.take('E') {
            let _ = self.take('+') || self.take('-');
            self.digits()?;
        }
        Some(())
    }

    /// Skips a digit or more.
    fn digits(&mut self) -> Option<()> {
        let rest = self.text.trim_start_matches(|c: char| c.is_ascii_digit());
        let are_there = rest.len() < self.text.len();
        self.text = rest;
        are_there.then_some(())
    }

    fn string(&mut self) -> Option<Zeroed> {
        self.expect('"')?;
        let mut out = Zeroed::default();
        loop {
            let is_plain = |c: char| c >= ' ' && c != '"' && c != '\\';
            let (plain, rest) = self.text.split_at_checked(self.text.find(|c| !is_plain(c))?)?;
            out.push_str(plain);
            self.text = rest;
            match self.next()? {
                '"' => return Some(out),
                '\\' => out.push(self.escaped()?),
                _ => return None,
            }
        }
    }

    /// The character that an escape stands for, without its backslash.
    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return None,
        })
    }

    /// The character of a `\u` escape, or of the two that make a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first);
        }
        self.expect('\\')?;
        self.expect('u')?;
        let second = self.hex().filter(|unit| (0xDC00..0xE000).contains(unit))?;
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    }

    fn hex(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit << 4 | self.next()?.to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use miniserde::json::{from_str, to_string, Object, Value};
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Option<[Option<String>; 2]> {
        let found = texts(text, ["a", "b"])?;
        Some(found.map(|text| text.map(|text| text.to_string())))
    }

    fn by_miniserde(text: &str) -> Option<[Option<String>; 2]> {
        let object: Object = from_str(text).ok()?;
        Some(["a", "b"].map(|name| match object.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        }))
    }

    #[test]
    fn objects_are_read_as_by_miniserde() {
        for (text, is_object) in [
            (r#"{}"#, true),
            (r#" { "a" : "x" , "b" : "y" } "#, true),
            ("\t\r\n{\n\"a\":\"\"}\n", true),
            (r#"{"a":"x","a":"y","b":"z","b":null}"#, true),
            (r#"{"a":1,"b":-0.5e+10,"c":[1,[2,{"a":"no"}]],"d":{"b":"no"}}"#, true),
            (r#"{"c":[],"d":{},"e":[{},[]],"f":true,"g":false,"h":null,"a":"x"}"#, true),
            (r#"{"\u0061":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#, true),
            (r#"{"a":"\u0000"}"#, true),
            ("{\"a\":\"\u{7f}\u{e9}\u{1f600}\"}", true),
            (r#""#, false),
            (r#"[]"#, false),
            (r#""a""#, false),
            (r#"{"#, false),
            (r#"{"a"}"#, false),
            (r#"{"a":}"#, false),
            (r#"{"a":"x""#, false),
            (r#"{"a":"x",}"#, false),
            (r#"{,}"#, false),
            (r#"{"a":"x"}x"#, false),
            (r#"{"a":"x"}{}"#, false),
            (r#"{a:"x"}"#, false),
            (r#"{'a':'x'}"#, false),
            (r#"{"a":"x}"#, false),
            (r#"{"a":"\x"}"#, false),
            (r#"{"a":"\ud83d"}"#, false),
            (r#"{"a":"\ud83dx"}"#, false),
            (r#"{"a":"\ude00"}"#, false),
            (r#"{"a":"\ud83d\ud83d"}"#, false),
            (r#"{"a":"\u12"}"#, false),
            (r#"{"a":"\u+123"}"#, false),
            ("{\"a\":\"\n\"}", false),
            ("{\"a\":\"x\"}\0", false),
            ("\u{feff}{}", false),
            (r#"{"a":01}"#, false),
            (r#"{"a":.5}"#, false),
            (r#"{"a":1.}"#, false),
            (r#"{"a":1e}"#, false),
            (r#"{"a":-}"#, false),
            (r#"{"a":+1}"#, false),
            (r#"{"a":nul}"#, false),
            (r#"{"a":[1,]}"#, false),
            (r#"{"a":[1 2]}"#, false),
            (r#"{"a":[}"#, false),
            (r#"{"a":{"b"}}"#, false),
        ] {
            let found = read(text.as_bytes());
            assert_eq!(found.is_some(), is_object, "{text}");
            assert_eq!(found, by_miniserde(text), "{text}");
        }
        assert_eq!(read(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_some());
        assert!(read(nested(MAX_DEPTH + 2).as_bytes()).is_none());
        assert!(read("{\"a\":".repeat(100_000).as_bytes()).is_none());
    }

    /// Text that is nearly JSON.
    fn nearly() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just(" "),
            Just("\"a\""),
            Just("\"b\":\"x\""),
            Just("\"\\u0062\""),
            Just("12"),
            Just("-1.5e3 "),
            Just("null"),
            Just("\""),
            Just("\\"),
            Just("\\ud800"),
            Just("\\udc00"),
            Just("\u{e9}"),
            Just("\"a\":"),
        ]; // By far most of these are refused: some are made right.
        (any::<bool>(), proptest::collection::vec(token, 0..24)).prop_map(|(wrap, tokens)| {
            let text = tokens.concat();
            if wrap {
                format!("{{\"a\":\"x\",\"c\":{text}}}")
            } else {
                text
            }
        })
    }

    /// The text of a value that is JSON.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<i64>().prop_map(|value| value.to_string()),
            (-1e300..1e300).prop_map(|value: f64| format!("{value:e}")),
            any::<String>().prop_map(|value| to_string(&value)),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let name = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), any::<String>()];
            let member = (name, inner.clone(), "[ \t\r\n]{0,2}");
            let member = member.prop_map(|(name, value, space)| {
                format!("{space}{}{space}:{space}{value}{space}", to_string(&name))
            });
            let values = proptest::collection::vec(inner, 0..4);
            let members = proptest::collection::vec(member, 0..4);
            prop_oneof![
                values.prop_map(|values| format!("[{}]", values.join(","))),
                members.prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn same_as_miniserde(text in value(), cut in any::<proptest::sample::Index>()) {
            prop_assert_eq!(read(text.as_bytes()), by_miniserde(&text));
            if let Some(part) = text.get(..cut.index(text.len())) {
                prop_assert_eq!(read(part.as_bytes()), by_miniserde(part));
            }
        }

        #[test]
        fn refuses_what_miniserde_refuses(text in nearly()) {
            prop_assert_eq!(read(text.as_bytes()), by_miniserde(&text));
        }
    }
}
