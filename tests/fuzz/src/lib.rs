//! The module's pure code, for the fuzzers in bin/.

use std::mem::MaybeUninit;

use object::Target;

// Their items are public here only.
#[allow(clippy::len_without_is_empty)]
#[path = "../../../src/s3"]
pub mod s3 {
    pub mod answer;
    #[path = "auth"]
    pub mod auth {
        pub mod credentials;
        pub mod secret;
        pub mod sigv2;
        pub mod sigv4;
    }
    pub mod endpoint;
    pub mod error_body;
    pub mod folder;
    pub mod listing;
    pub mod object;
    pub mod own;
    pub mod partition;
    pub mod redirect;
    pub mod sources;
    pub mod time;
    pub mod version;
    pub mod xml;
    pub mod zeroed;
}

#[path = "../../../src/nginx"]
pub mod nginx {
    #[path = "client"]
    pub mod client {
        pub mod chunked;
        pub mod response;
        pub mod wiped;
    }
    pub mod resolv_conf;
    pub mod template;
}

pub use nginx::{client, resolv_conf, template};
pub use s3::{
    answer, auth, endpoint, error_body, folder, listing, object, own, redirect, sources, time,
    version, xml,
};

/// The fields of an input, which stand between bytes that no UTF-8 text has. The last field may
/// have any byte.
pub fn fields<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut fields = data.splitn(N, |&b| b == 0xff);
    std::array::from_fn(|_| fields.next().unwrap_or_default())
}

/// A request target as it is sent, whose length is exact.
pub fn written(target: &Target) -> Vec<u8> {
    let mut out = vec![MaybeUninit::new(0); target.len()];
    assert_eq!(target.write(&mut out), out.len());
    // SAFETY: all of it was there from the beginning.
    out.into_iter().map(|b| unsafe { b.assume_init() }).collect()
}

/// Undoes UriEncode, strictly: every byte that is not unreserved is an escape in upper case.
pub fn decode(encoded: &[u8], slash: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = encoded.iter();
    while let Some(&b) = rest.next() {
        if b == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).copied().collect();
            assert!(digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'A'..=b'F')));
            let text = std::str::from_utf8(&digits).unwrap();
            let byte = u8::from_str_radix(text, 16).unwrap();
            assert!(!is_plain(byte, slash), "{byte:#x} needs no escape");
            out.push(byte);
        } else {
            assert!(is_plain(b, slash), "{b:#x} needs an escape");
            out.push(b);
        }
    }
    out
}

fn is_plain(b: u8, slash: bool) -> bool {
    b.is_ascii_alphanumeric() || b"-._~".contains(&b) || (slash && b == b'/')
}
