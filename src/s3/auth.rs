//! As whom S3 is asked.

pub mod credentials;
pub mod secret;
pub mod sigv4;

use std::rc::Rc;

use sha2::{Digest, Sha256};

use credentials::Credentials;
use secret::Secret;

/// The argument of `s3_private_bucket_auth`.
pub enum Auth {
    /// The bucket policy lets this host in by its address or VPC endpoint.
    None,
    /// The bucket policy lets in whoever sends a secret header.
    Secret(Secret),
    /// Requests are signed for AWS's Signature Version 4.
    Sigv4 {
        /// Whose signature it is.
        credentials: Rc<Credentials>,
        /// The service in the credential scope.
        service: Box<str>,
        /// Where the key is from: the file and profile, the environment, or its access key ID.
        identity: Box<str>,
    },
}

/// What makes the answers of one location differ from another's for the same object, beside the
/// request itself.
pub struct Identity<'a> {
    /// As whom S3 is asked.
    pub auth: &'a Auth,
    /// `server_name` and location, which tell secrets apart that stand in the configuration.
    pub place: [&'a [u8]; 2],
    /// `s3_private_bucket_expected_owner`
    pub owner: Option<&'a str>,
    /// `upstream=` of `s3_private_bucket_endpoint`
    pub group: Option<&'a str>,
    /// Whether clients see nginx's errors and not S3's.
    pub masks: bool,
}

impl Identity<'_> {
    /// A digest of it in 8 hexadecimal digits, for cache keys: the same after a restart and for new
    /// keys in the same file. Nothing of a secret goes into it, so that none can be guessed from
    /// the key that stands in a file of the cache.
    pub fn digest(&self) -> String {
        let [server, location] = self.place;
        let auth: [&[u8]; 4] = match self.auth {
            Auth::None => [b"none", b"", b"", b""],
            Auth::Secret(secret) => match secret.file() {
                Some(path) => [b"secret", secret.header().as_bytes(), path.as_bytes(), b""],
                None => [b"data", secret.header().as_bytes(), server, location],
            },
            Auth::Sigv4 { identity, .. } => [b"sigv4", identity.as_bytes(), b"", b""],
        };
        let [owner, group] = [self.owner, self.group].map(|text| text.unwrap_or("").as_bytes());
        let masks: &[u8] = if self.masks { b"mask" } else { b"pass" };
        let mut hash = Sha256::new();
        for field in auth.into_iter().chain([owner, group, masks]) {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hash.finalize()[..4].iter().map(|b| format!("{b:02x}")).collect()
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

    fn sigv4(identity: &str, key: &str) -> Auth {
        let credentials = Rc::new(Credentials::new("AKID", key, None).ok().unwrap());
        Auth::Sigv4 { credentials, service: "s3".into(), identity: identity.into() }
    }

    fn digest(auth: &Auth, location: &str, rest: (Option<&str>, Option<&str>, bool)) -> String {
        let (owner, group, masks) = rest;
        let place = [&b"example.com"[..], location.as_bytes()];
        Identity { auth, place, owner, group, masks }.digest()
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
            digest(&Auth::None, "/", (Some("123456789012"), None, true)),
            digest(&Auth::None, "/", (None, Some("123456789012"), true)),
            digest(&Auth::None, "/", (None, None, false)),
        ];
        for (i, one) in digests.iter().enumerate() {
            assert!(one.len() == 8 && !digests[..i].contains(one), "{i}");
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
