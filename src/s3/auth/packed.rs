//! Credentials as bytes, for memory that processes share.

use sha2::{Digest as _, Sha256};

use super::credentials::Credentials;
use crate::s3::zeroed::Zeroed;

/// How many bytes of a digest tell whether the rest is whole.
const CHECK: usize = 8;

/// Packs credentials: a digest, and the three parts one behind the other. None of them has a NUL.
pub fn pack(credentials: &Credentials) -> Zeroed {
    let token = credentials.session_token().unwrap_or_default();
    let parts = [credentials.access_key_id(), credentials.secret_access_key(), token];
    let mut text = Zeroed::default();
    for byte in check(&parts) {
        // Two letters for each byte, so that it is text.
        text.push(char::from(b'a' + (byte >> 4)));
        text.push(char::from(b'a' + (byte & 15)));
    }
    for part in parts {
        text.push_str(part);
        text.push('\0');
    }
    text
}

/// Reads what [`pack`] wrote; `None` when the bytes are not whole.
pub fn unpack(bytes: &[u8]) -> Option<Credentials> {
    let text = core::str::from_utf8(bytes).ok()?;
    let (digest, parts) = text.split_at_checked(2 * CHECK)?;
    let mut parts = parts.strip_suffix('\0')?.split('\0');
    let parts = [parts.next()?, parts.next()?, parts.next()?];
    let letters = digest.bytes().map(|letter| letter.wrapping_sub(b'a'));
    let known = check(&parts).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    if !letters.eq(known) {
        return None;
    }
    let [id, secret, token] = parts;
    Credentials::new(id, secret, Some(token).filter(|token| !token.is_empty())).ok()
}

fn check(parts: &[&str; 3]) -> [u8; CHECK] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut check = [0; CHECK];
    check.copy_from_slice(&hash.finalize()[..CHECK]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for (id, secret, token) in [
            ("id", "secret", None),
            ("i", "s/+=", Some("t")),
            ("id", "s", Some(&*"x".repeat(6_000))),
        ] {
            let credentials = Credentials::new(id, secret, token).ok().unwrap();
            let packed = pack(&credentials);
            assert!(unpack(packed.as_bytes()) == Some(credentials));
        }
    }

    #[test]
    fn what_is_not_whole_is_told() {
        let credentials = |secret| Credentials::new("id", secret, Some("token")).ok().unwrap();
        let [one, other] = [pack(&credentials("secret")), pack(&credentials("SECRET"))];
        for at in 0..one.len() {
            assert!(unpack(&one.as_bytes()[..at]).is_none());
            let mixed = [&one.as_bytes()[..at], &other.as_bytes()[at..]].concat();
            let whole = mixed == one.as_bytes() || mixed == other.as_bytes();
            assert!(whole || unpack(&mixed).is_none(), "{at}");
        }
        assert!(unpack(b"").is_none());
        assert!(unpack(&[0xff; 64]).is_none());
    }
}
