//! Text that is overwritten once nobody needs it.

use core::ops::Deref;
use core::{mem, ptr};

/// Text of a secret, whose memory is zeroed when it is dropped and when it outgrows it. It has no `Debug`, so
/// that no log can show it.
#[derive(Default, PartialEq, Eq)]
pub struct Zeroed(String);

impl Zeroed {
    /// Appends text.
    pub fn push_str(&mut self, text: &str) {
        if self.0.capacity() - self.0.len() < text.len() {
            let mut larger = String::with_capacity(2 * (self.0.len() + text.len()).max(32));
            larger.push_str(&self.0);
            drop(Zeroed(mem::replace(&mut self.0, larger)));
        }
        self.0.push_str(text);
    }

    /// Appends a character.
    pub fn push(&mut self, c: char) {
        self.push_str(c.encode_utf8(&mut [0; 4]));
    }
}

impl From<&str> for Zeroed {
    fn from(text: &str) -> Self {
        Zeroed(text.to_owned())
    }
}

impl From<String> for Zeroed {
    fn from(text: String) -> Self {
        Zeroed(text)
    }
}

impl Deref for Zeroed {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        zero(&mut mem::take(&mut self.0).into_bytes());
    }
}

/// Zeroes bytes that nobody reads any more, which the compiler would leave out.
fn zero(bytes: &mut [u8]) {
    for byte in bytes {
        // SAFETY: it is a valid reference to a byte.
        unsafe { ptr::write_volatile(byte, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_grows_and_is_zeroed() {
        let mut text = Zeroed::from("a");
        for _ in 0..100 {
            text.push_str("bc");
            text.push('\u{e9}');
        }
        assert!(*text == "a".to_owned() + &"bc\u{e9}".repeat(100));
        let mut bytes = *b"hush";
        zero(&mut bytes);
        assert_eq!(bytes, [0; 4]);
    }
}
