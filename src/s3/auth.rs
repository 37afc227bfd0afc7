//! As whom S3 is asked.

pub mod credentials;
pub mod packed;
pub mod secret;
pub mod signer;
pub mod sigv2;
pub mod sigv4;

use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use credentials::Credentials;
use secret::Secret;
use signer::Scheme;
use sigv4::Header;

/// The argument of `s3_private_bucket_auth`.
pub enum Auth {
    /// The bucket policy lets this host in by its address or VPC endpoint.
    None,
    /// The bucket policy lets in whoever sends a secret header.
    Secret(Secret),
    /// Requests are signed.
    Signed {
        /// Whose signature it is.
        keys: SigningKeys,
        /// How it is made.
        scheme: Scheme,
        /// Where the keys are from: the file and profile, the environment, their access key ID, or the
        /// parameters of their source.
        identity: Box<str>,
    },
}

/// What signs.
#[derive(Clone)]
pub enum SigningKeys {
    /// A key that stays.
    Fixed(Rc<Credentials>),
    /// A file of AWS's tools, which is read again when it changes, and what it held.
    File { path: Box<str>, profile: Box<str>, first: Rc<Credentials> },
    /// Keys that are renewed, by the name of their source.
    Source(Box<str>),
}

impl Auth {
    /// Whether requests are signed for Signature Version 2.
    pub fn is_sigv2(&self) -> bool {
        matches!(self, Auth::Signed { scheme: Scheme::V2, .. })
    }

    /// Whether two that look alike from outside have the same secret, where that stands in the configuration
    /// itself. A file's content may change.
    pub fn has_secret_of(&self, other: &Auth) -> bool {
        match (self, other) {
            (Auth::Secret(one), Auth::Secret(two)) => one.file().is_some() || one == two,
            (Auth::None | Auth::Secret(_) | Auth::Signed { .. }, _) => true,
        }
    }
}

/// What makes the answers of one location differ from another's for the same object, beside the
/// request itself.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// As whom S3 is asked.
    pub auth: &'a Auth,
    /// `server_name` and location, which tell secrets apart that stand in the configuration.
    pub place: [&'a [u8]; 2],
    /// How many other such secrets there are in a place of the same names.
    pub nth: usize,
    /// `s3_private_bucket_expected_owner`
    pub owner: Option<&'a str>,
    /// `upstream=` of `s3_private_bucket_endpoint`
    pub group: Option<&'a str>,
    /// Whether clients see nginx's errors and not S3's.
    pub masks: bool,
    /// The operator's own headers, without the value where that differs between requests.
    pub headers: &'a [Header<'a>],
    /// Whether folders are shown where an index page is missing: nobody else's stored 404 is to be found then.
    pub shows_folders: bool,
}

impl Identity<'_> {
    /// A digest of it for cache keys, of letters and digits: the same after a restart and for new keys in
    /// the same file. Nothing of what proves who asks goes into it, so that none can be guessed from the key that
    /// stands in a file of the cache; of the value of a header, no more than tells it from others.
    pub fn digest(&self) -> Digest {
        let [server, location] = self.place;
        let auth: [&[u8]; 4] = match self.auth {
            Auth::None => [b"none", b"", b"", b""],
            Auth::Secret(secret) => match secret.file() {
                Some(path) => [b"secret", secret.header().as_bytes(), path.as_bytes(), b""],
                None => [b"data", secret.header().as_bytes(), server, location],
            },
            Auth::Signed { scheme, identity, .. } => {
                [scheme.word().as_bytes(), identity.as_bytes(), b"", b""]
            }
        };
        let [owner, group] = [self.owner, self.group].map(|text| text.unwrap_or("").as_bytes());
        let masks: &[u8] = if self.masks { b"mask" } else { b"pass" };
        let nth = self.nth.to_string();
        let mut hash = Sha256::new();
        for field in auth.into_iter().chain([owner, group, masks, nth.as_bytes()]) {
            add(&mut hash, field);
        }
        if self.shows_folders {
            add(&mut hash, b"folders");
        }
        for (name, value) in self.headers {
            add(&mut hash, name.as_bytes());
            add(&mut hash, if value.is_some() { b"is" } else { b"" });
            add(&mut hash, value.unwrap_or_default());
        }
        Digest(letters(hash).map(char::from).into_iter().collect())
    }
}

/// A digest for cache keys of what may be secrets, of letters and digits.
pub fn digest<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    fields.into_iter().for_each(|field| add(&mut hash, field));
    letters(hash)
}

fn add(hash: &mut Sha256, field: &[u8]) {
    hash.update((field.len() as u64).to_be_bytes());
    hash.update(field);
}

fn letters(hash: Sha256) -> [u8; 32] {
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.map(|byte| LETTERS[usize::from(byte) % LETTERS.len()])
}

/// What tells a text from others.
pub fn fingerprint(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The digest of an [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// As much of it as tells it from `others`, three letters at least: whatever stands in a key is hashed
    /// for each request.
    pub fn short<'a>(&self, others: impl IntoIterator<Item = &'a Digest>) -> &str {
        let is_other = |other: &&Digest| **other != *self;
        let common = |other: &Digest| {
            let pairs = self.0.bytes().zip(other.0.bytes());
            pairs.take_while(|(a, b)| a == b).count()
        };
        let needed = others.into_iter().filter(is_other).map(|other| common(other) + 1).max();
        &self.0[..needed.unwrap_or(0).max(3).min(self.0.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::credentials::Credentials;
    use super::*;

    fn secret(header: &str, value: &str, file: Option<&str>) -> Auth {
        let secret = Secret::new(header, value.as_bytes()).ok().unwrap();
        Auth::Secret(match file {
            Some(path) => secret.in_file(path.to_owned()),
            None => secret,
        })
    }

    fn signed(scheme: Scheme, identity: &str, key: &str) -> Auth {
        let keys = SigningKeys::Fixed(Rc::new(Credentials::new("AKID", key, None).ok().unwrap()));
        Auth::Signed { keys, scheme, identity: identity.into() }
    }

    fn sigv4(identity: &str, key: &str) -> Auth {
        signed(Scheme::V4 { service: "s3".into() }, identity, key)
    }

    fn digest(auth: &Auth, location: &str, rest: (Option<&str>, Option<&str>, bool)) -> Digest {
        let (owner, group, masks) = rest;
        let place = [&b"example.com"[..], location.as_bytes()];
        let (shows_folders, headers) = (false, &[][..]);
        Identity { auth, place, nth: 0, owner, group, masks, headers, shows_folders }.digest()
    }

    #[test]
    fn each_identity_has_a_digest_of_its_own() {
        const PLAIN: (Option<&str>, Option<&str>, bool) = (None, None, true);
        let digests = [
            digest(&Auth::None, "/", PLAIN),
            digest(&secret("User-Agent", "a", Some("/a")), "/", PLAIN),
            digest(&secret("User-Agent", "a", Some("/b")), "/", PLAIN),
            digest(&secret("Referer", "a", Some("/a")), "/", PLAIN),
            digest(&secret("Referer", "a", None), "/", PLAIN),
            digest(&secret("Referer", "a", None), "/other", PLAIN),
            digest(&sigv4("file /a default", "k"), "/", PLAIN),
            digest(&sigv4("file /a other", "k"), "/", PLAIN),
            digest(&sigv4("env", "k"), "/", PLAIN),
            digest(&signed(Scheme::V2, "env", "k"), "/", PLAIN),
            digest(&Auth::None, "/", (Some("123456789012"), None, true)),
            digest(&Auth::None, "/", (None, Some("123456789012"), true)),
            digest(&Auth::None, "/", (None, None, false)),
        ];
        let place = [&b"example.com"[..], b"/"];
        let (owner, group) = (None, None);
        let auth = &Auth::None;
        let folders = Identity {
            auth,
            place,
            nth: 0,
            owner,
            group,
            masks: true,
            headers: &[],
            shows_folders: true,
        };
        assert!(!digests.contains(&folders.digest()));
        for (i, one) in digests.iter().enumerate() {
            assert_eq!(one.short(&digests).len(), 3);
            assert!(digests[..i].iter().all(|other| other.short(&digests) != one.short(&digests)));
        }
    }

    #[test]
    fn other_headers_are_another_identity() {
        let place = [&b""[..], b"/"];
        let of = |headers: &[Header]| {
            let (owner, group) = (None, None);
            Identity {
                auth: &Auth::None,
                place,
                nth: 0,
                owner,
                group,
                masks: true,
                headers,
                shows_folders: false,
            }
            .digest()
        };
        let all = [
            of(&[]),
            of(&[("a", None)]),
            of(&[("a", Some(b""))]),
            of(&[("a", Some(b"1"))]),
            of(&[("b", Some(b"1"))]),
            of(&[("a", Some(b"1")), ("b", Some(b"1"))]),
        ];
        assert!(all.iter().enumerate().all(|(i, one)| !all[..i].contains(one)));
        assert_ne!(super::digest([&b"ab"[..], b"c"]), super::digest([&b"a"[..], b"bc"]));
    }

    #[test]
    fn a_digest_is_as_long_as_it_has_to_be() {
        let digest = |text: &str| Digest(text.to_owned());
        let one = digest("abcdefgh");
        for (others, expected) in [
            (&[][..], "abc"),
            (&["abcdefgh"], "abc"),
            (&["xyzdefgh", "abXdefgh"], "abc"),
            (&["abcXefgh"], "abcd"),
            (&["abcXefgh", "abcdeXgh", "abcdXfgh"], "abcdef"),
            (&["abcdefgX"], "abcdefgh"),
        ] {
            let others: Vec<Digest> = others.iter().map(|other| digest(other)).collect();
            assert_eq!(one.short(&others), expected);
        }
    }

    #[test]
    fn a_digest_outlives_its_secret_and_shares_across_locations() {
        const PLAIN: (Option<&str>, Option<&str>, bool) = (None, None, true);
        for (old, new) in [
            (secret("Referer", "a", Some("/a")), secret("Referer", "b", Some("/a"))),
            (sigv4("env", "a"), sigv4("env", "b")),
            (Auth::None, Auth::None),
        ] {
            assert_eq!(digest(&old, "/", PLAIN), digest(&new, "/other", PLAIN));
        }
        let [old, new] = ["a", "b"].map(|value| secret("Referer", value, None));
        assert_eq!(digest(&old, "/", PLAIN), digest(&new, "/", PLAIN));
    }
}
