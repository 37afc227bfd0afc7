//! What signs with one key, in the way that the server knows.

use std::io;
use std::rc::Rc;

use super::credentials::Credentials;
use super::sigv4::stamp::Stamp;
use super::sigv4::{Ask, Header};
use super::{sigv2, sigv4};
use crate::s3::sources::MAX_ACCESS_KEY_ID;

/// How requests are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// AWS's Signature Version 4, with the service in the credential scope.
    V4 { service: Box<str> },
    /// AWS's Signature Version 2.
    V2,
}

impl Scheme {
    /// The word of `s3_private_bucket_auth` for it.
    pub fn word(&self) -> &'static str {
        match self {
            Scheme::V4 { .. } => "sigv4",
            Scheme::V2 => "sigv2",
        }
    }
}

/// Signs with one key, for one region.
pub enum Signer {
    V4(sigv4::Signer),
    V2(sigv2::Signer),
}

impl Signer {
    /// Takes the name of a region, which has no byte to encode.
    pub fn new(credentials: Rc<Credentials>, region: &str, scheme: &Scheme) -> Self {
        match scheme {
            Scheme::V4 { service } => Signer::V4(sigv4::Signer::new(credentials, region, service)),
            Scheme::V2 => Signer::V2(sigv2::Signer::new(credentials)),
        }
    }

    /// Whether this is the signer that [`Signer::new`] would make.
    pub fn is_for(&self, credentials: &Credentials, region: &str, scheme: &Scheme) -> bool {
        match (self, scheme) {
            (Signer::V4(signer), Scheme::V4 { service }) => {
                signer.is_for(credentials, region, service)
            }
            (Signer::V2(signer), Scheme::V2) => signer.is_for(credentials),
            _ => false,
        }
    }

    /// The length in bytes of what [`Signer::authorize`] writes at most, whatever the keys.
    pub fn longest_authorization(
        region: &str,
        scheme: &Scheme,
        owner: Option<&str>,
        own: &[Header],
    ) -> usize {
        let id = "A".repeat(MAX_ACCESS_KEY_ID);
        let longest = Credentials::new(&id, "-", Some("-"));
        longest.map_or(0, |keys| {
            Signer::new(Rc::new(keys), region, scheme).authorization_len(owner, own)
        })
    }

    /// The session token of the keys.
    #[inline]
    pub fn session_token(&self) -> Option<&str> {
        match self {
            Signer::V4(signer) => signer.session_token(),
            Signer::V2(signer) => signer.session_token(),
        }
    }

    /// The length in bytes of what [`Signer::authorize`] writes, with headers of the operator's `own`.
    #[inline]
    pub fn authorization_len(&self, owner: Option<&str>, own: &[Header]) -> usize {
        match self {
            Signer::V4(signer) => signer.authorization_len(owner, own),
            Signer::V2(signer) => signer.authorization_len(),
        }
    }

    /// Writes the value of `Authorization`.
    ///
    /// # Errors
    /// When `out` is shorter than [`Signer::authorization_len`].
    #[inline]
    pub fn authorize(&self, ask: &Ask, stamp: &Stamp, out: &mut [u8]) -> io::Result<()> {
        match self {
            Signer::V4(signer) => signer.authorize(ask, stamp, out),
            Signer::V2(signer) => signer.authorize(ask, stamp, out),
        }
    }

    /// The argument of a target with which it cannot stand in a URL: see [`sigv2::unsafe_argument`].
    pub fn unsafe_argument<'a>(&self, ask: &Ask<'a>) -> Option<&'a [u8]> {
        match self {
            Signer::V4(_) => None,
            Signer::V2(_) => sigv2::unsafe_argument(ask.target),
        }
    }

    /// The length in bytes of what [`Signer::presign`] writes at most.
    pub fn presigned_len(&self, ask: &Ask, expires: &str) -> usize {
        match self {
            Signer::V4(signer) => signer.presigned_len(ask, expires),
            Signer::V2(signer) => signer.presigned_len(ask),
        }
    }

    /// Writes a presigned URL without its scheme, `host/path?query`, that S3 accepts for `expires` seconds from
    /// the stamp on. Returns its length.
    ///
    /// # Errors
    /// When `out` is shorter than [`Signer::presigned_len`].
    pub fn presign(
        &self,
        ask: &Ask,
        expires: &str,
        stamp: &Stamp,
        out: &mut [u8],
    ) -> io::Result<usize> {
        match self {
            Signer::V4(signer) => signer.presign(ask, expires, stamp, out).map(|()| out.len()),
            Signer::V2(signer) => signer.presign(ask, expires, stamp, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::mem::MaybeUninit;
    use core::{ptr, slice};

    use hmac::{Hmac, KeyInit};
    use sha1::Sha1;
    use sha2::Sha256;

    #[test]
    fn what_is_made_of_a_key_is_zeroed() {
        is_zeroed(Hmac::<Sha256>::new_from_slice(b"secret").unwrap());
        is_zeroed(Hmac::<Sha1>::new_from_slice(b"secret").unwrap());
    }

    fn is_zeroed<T>(state: T) {
        let mut state = MaybeUninit::new(state);
        let start = state.as_mut_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: the memory is ours, also behind the drop.
        let nonzero = || unsafe {
            let bytes = slice::from_raw_parts(start, size_of::<T>());
            bytes.iter().filter(|&b| ptr::from_ref(b).cast::<u8>().read_volatile() != 0).count()
        };
        assert!(nonzero() > 32);
        // SAFETY: it is there, and nobody uses it any more.
        unsafe { state.assume_init_drop() };
        // Padding is nobody's.
        assert!(nonzero() <= 8);
    }
}
