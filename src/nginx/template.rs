//! Text of a configuration that nginx compiles into a value, and what has to change in it first.

/// Replaces `$1` to `$9`, the captures of a regular expression, by variables with names of our own:
/// `${name}` and the digit. `$` can mean nothing else before a digit (nginx's
/// `ngx_http_script_compile`).
///
/// Returns the text, and the digits that were replaced, ascending.
pub fn with_own_captures(text: &[u8], name: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut digits) = (Vec::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail.first()) {
            (b'$', Some(&digit @ b'1'..=b'9')) => {
                out.extend_from_slice(format!("${{{name}{}}}", char::from(digit)).as_bytes());
                digits.push(digit - b'0');
                rest = &tail[1..];
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    digits.sort_unstable();
    digits.dedup();
    (out, digits)
}

/// A literal text as part of a value, where `$` begins a variable: each one is written as `dollar`, a
/// variable that holds just that.
pub fn literal(text: &str, dollar: &str) -> String {
    text.replace('$', dollar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_has_no_variables_of_its_own() {
        assert_eq!(literal("a$uri b$$", "${d}"), "a${d}uri b${d}${d}");
        assert_eq!(literal("", "${d}"), "");
    }

    #[test]
    fn captures_get_names() {
        for (text, expected, digits) in [
            ("", "", &[][..]),
            ("a$", "a$", &[]),
            ("$0$a1${b}", "$0$a1${b}", &[]),
            ("$1", "${c_1}", &[1]),
            ("a$2b$1.jpg", "a${c_2}b${c_1}.jpg", &[1, 2]),
            ("$12$1", "${c_1}2${c_1}", &[1]),
            ("$$9", "$${c_9}", &[9]),
        ] {
            let (out, found) = with_own_captures(text.as_bytes(), "c_");
            assert_eq!((out.as_slice(), found.as_slice()), (expected.as_bytes(), digits), "{text}");
        }
    }
}
