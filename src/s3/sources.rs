//! Where keys come from that renew themselves: what each source is asked, and what its answers mean.
//!
//! A source is a conversation: it says what to ask, is told the answer, and says what to ask next or that
//! the keys are there. Who carries it out knows the time and the network.

pub mod container;
pub mod error;
pub mod instance;
pub mod json;
pub mod sts;
pub mod uri;

use error::SourceError;

use super::auth::credentials::Credentials;
use super::time;
use super::zeroed::Zeroed;

/// The longest access key ID that is believed, in bytes ("AccessKey", IAM API Reference).
pub const MAX_ACCESS_KEY_ID: usize = 128;

/// The longest secret access key that is believed, in bytes: AWS's have 40.
pub const MAX_SECRET_ACCESS_KEY: usize = 128;

/// The longest session token that is believed, in bytes: S3 takes 8 KiB of headers.
pub const MAX_SESSION_TOKEN: usize = 7 * 1024;

/// What an operator can do about a metadata service that never answers.
pub const HOP_LIMIT: &str =
    "from inside a container, the metadata service only answers when the instance's \
    hop limit is 2 or more; set it with \"aws ec2 modify-instance-metadata-options \
    --http-put-response-hop-limit 2\"";

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// What a source is asked. All of it is visible ASCII, and spaces in values.
pub struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, Zeroed)>,
    body: Option<Zeroed>,
}

impl Request {
    fn new(method: &'static str, target: impl Into<String>) -> Self {
        Request { method, target: target.into(), headers: Vec::new(), body: None }
    }

    fn with_header(mut self, name: &'static str, value: impl Into<Zeroed>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn with_body(self, body: Zeroed) -> Self {
        Request { body: Some(body), ..self }
    }

    /// The request as it goes on the wire (RFC 9112). Takes the value of `Host`. The connection ends with
    /// the answer.
    pub fn to_bytes(&self, host: &str) -> Zeroed {
        let mut out = Zeroed::default();
        let length = self.body.as_ref().map(|body| body.len().to_string());
        for part in [self.method, " ", &self.target, " HTTP/1.1\r\n"] {
            out.push_str(part);
        }
        let mut header = |name, value| {
            for part in [name, ": ", value, "\r\n"] {
                out.push_str(part);
            }
        };
        for (name, value) in [("Host", host), ("User-Agent", USER_AGENT), ("Connection", "close")] {
            header(name, value);
        }
        if let Some(length) = &length {
            header("Content-Length", length);
        }
        for (name, value) in &self.headers {
            header(name, value);
        }
        out.push_str("\r\n");
        out.push_str(self.body.as_deref().unwrap_or_default());
        out
    }
}

/// What a source answered: a whole answer, its body without what frames it.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    /// The status.
    pub status: u16,
    /// Names and values of the headers.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The value of the first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        Some(found.1)
    }
}

/// How a conversation goes on.
pub enum Step {
    /// Ask this, and tell the answer.
    Ask(Request),
    /// The keys are there.
    Done(Keys),
}

/// A set of keys.
pub struct Keys {
    /// The access key.
    pub credentials: Credentials,
    /// When it ends, in Unix seconds; `None` when the source does not say.
    pub expires: Option<i64>,
    /// The name of the role whose keys they are, for the log: visible ASCII.
    pub of: Option<String>,
}

impl Keys {
    /// Takes the parts of an answer, which [`Named`] gives their names there, and the time in Unix seconds.
    ///
    /// # Errors
    /// [`SourceError::Field`] when a part is missing or cannot be one; [`SourceError::Ended`].
    fn new(names: Named, parts: [Option<Zeroed>; 4], now: i64) -> Result<Self, SourceError> {
        let [id_name, secret_name, token_name, expiration_name] = names;
        let [id, secret, token, expiration] = parts;
        let (id, secret) = (id.unwrap_or_default(), secret.unwrap_or_default());
        for (name, text, max) in [
            (id_name, Some(&id), MAX_ACCESS_KEY_ID),
            (secret_name, Some(&secret), MAX_SECRET_ACCESS_KEY),
            (token_name, token.as_ref(), MAX_SESSION_TOKEN),
        ] {
            let is_visible = |text: &Zeroed| text.bytes().all(|b| b.is_ascii_graphic());
            if text.is_some_and(|t| t.is_empty() || t.len() > max || !is_visible(t)) {
                return Err(SourceError::Field(name));
            }
        }
        let expires = match &expiration {
            Some(text) => {
                Some(time::seconds(text.as_bytes()).ok_or(SourceError::Field(expiration_name))?)
            }
            None => None,
        };
        let credentials = Credentials::new(&id, &secret, token.as_deref());
        let credentials = credentials.map_err(|_| SourceError::Field(id_name))?;
        match expires {
            Some(expires) if expires <= now => Err(SourceError::Ended),
            _ => Ok(Keys { credentials, expires, of: None }),
        }
    }
}

/// The names that a source gives to access key ID, secret access key, session token and expiration.
type Named = [&'static str; 4];

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Named = ["I", "S", "T", "E"];

    fn keys(parts: [&str; 4], now: i64) -> Result<Keys, SourceError> {
        let part = |text: &str| (text != "-").then(|| Zeroed::from(text));
        Keys::new(NAMES, parts.map(part), now)
    }

    #[test]
    fn requests_are_written_as_they_are_sent() {
        let request = Request::new("GET", "/a?b=c").with_header("X-Token", "hush");
        assert_eq!(
            &*request.to_bytes("[fd00:ec2::254]:80"),
            format!(
                "GET /a?b=c HTTP/1.1\r\nHost: [fd00:ec2::254]:80\r\nUser-Agent: {USER_AGENT}\r\n\
                 Connection: close\r\nX-Token: hush\r\n\r\n"
            )
        );
        let request = Request::new("POST", "/").with_body("a=b&c".into());
        assert_eq!(
            &*request.to_bytes("h"),
            format!(
                "POST / HTTP/1.1\r\nHost: h\r\nUser-Agent: {USER_AGENT}\r\nConnection: close\r\n\
                 Content-Length: 5\r\n\r\na=b&c"
            )
        );
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let reply =
            Reply { status: 200, headers: &[("A", b"1"), ("b", b"2"), ("B", b"3")], body: b"" };
        assert_eq!(reply.header("a"), Some(&b"1"[..]));
        assert_eq!(reply.header("B"), Some(&b"2"[..]));
        assert_eq!(reply.header("c"), None);
    }

    #[test]
    fn keys_are_checked() {
        let good = keys(["AKID", "secret", "token", "1970-01-01T00:01:00Z"], 59).ok().unwrap();
        assert_eq!(good.credentials.access_key_id(), "AKID");
        assert_eq!(good.credentials.session_token(), Some("token"));
        assert_eq!(good.expires, Some(60));
        let bare = keys(["AKID", "secret", "-", "-"], 0).ok().unwrap();
        assert_eq!((bare.credentials.session_token(), bare.expires), (None, None));
        let long = |len: usize| "a".repeat(len + 1);
        let (id, secret, token) =
            (long(MAX_ACCESS_KEY_ID), long(MAX_SECRET_ACCESS_KEY), long(MAX_SESSION_TOKEN));
        for (parts, wrong) in [
            (["-", "s", "t", "-"], "I"),
            (["", "s", "t", "-"], "I"),
            (["a/b", "s", "t", "-"], "I"),
            ([&id, "s", "t", "-"], "I"),
            (["a", "-", "t", "-"], "S"),
            (["a", "s\n", "t", "-"], "S"),
            (["a", &secret, "t", "-"], "S"),
            (["a", "s", "", "-"], "T"),
            (["a", "s", "t\r\nX: y", "-"], "T"),
            (["a", "s", &token, "-"], "T"),
            (["a", "s", "t", ""], "E"),
            (["a", "s", "t", "tomorrow"], "E"),
        ] {
            assert_eq!(keys(parts, 0).err(), Some(SourceError::Field(wrong)), "{parts:?}");
        }
        let ended = keys(["a", "s", "t", "1970-01-01T00:01:00Z"], 60);
        assert_eq!(ended.err(), Some(SourceError::Ended));
    }
}
