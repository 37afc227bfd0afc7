//! The keys of an EC2 instance's role, from its metadata service ("Use the Instance Metadata Service to access
//! instance metadata" and "Retrieve security credentials from instance metadata", EC2 User Guide). Tokens
//! are always used (IMDSv2).

use core::str;

use super::error::{is_busy, Code, SourceError};
use super::{json, Keys, Reply, Request, Step};
use crate::s3::zeroed::Zeroed;

/// For how many seconds a token is asked for: the longest time there is.
const TOKEN_SECONDS: i64 = 21_600;

/// The longest token that is believed, in bytes: those of EC2 have 56.
const MAX_TOKEN: usize = 1024;

/// The longest name of a role that is believed, in bytes: IAM's have 64, other servers' can be ARNs.
const MAX_ROLE: usize = 512;

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// A conversation with the metadata service, and the token that is kept from one to the next.
#[derive(Default)]
pub struct Instance {
    token: Option<Token>,
    asked: Asked,
    /// Whether the token was asked for anew because it was refused.
    renewed: bool,
}

struct Token {
    value: Zeroed,
    /// When it ends, in Unix seconds.
    until: i64,
}

/// What the next answer is about.
#[derive(Default)]
enum Asked {
    #[default]
    Token,
    Roles,
    Keys(String),
}

impl Instance {
    /// Begins anew, at a time in Unix seconds.
    pub fn begin(&mut self, now: i64) -> Request {
        self.renewed = false;
        self.token.take_if(|token| token.until <= now);
        self.next(Asked::Roles)
    }

    /// Takes the answer to what was asked last, at a time in Unix seconds.
    ///
    /// # Errors
    /// Why there are no keys; then a conversation has ended.
    pub fn answer(&mut self, reply: &Reply, now: i64) -> Result<Step, SourceError> {
        match (core::mem::take(&mut self.asked), reply.status) {
            (_, 403) => Err(SourceError::MetadataOff),
            (_, status) if is_busy(status, None) => Err(SourceError::Busy { status, code: None }),
            (Asked::Token, 200) => {
                self.token = Some(Token::new(reply, now)?);
                Ok(Step::Ask(self.next(Asked::Roles)))
            }
            (Asked::Token, status) => Err(SourceError::NoTokens(status)),
            (_, 401) => {
                self.token = None;
                if core::mem::replace(&mut self.renewed, true) {
                    return Err(SourceError::TokenRefused);
                }
                Ok(Step::Ask(self.next(Asked::Roles)))
            }
            (Asked::Roles, 200) => {
                let role = first_role(reply.body)?;
                Ok(Step::Ask(self.next(Asked::Keys(role))))
            }
            (Asked::Roles, 404) => Err(SourceError::NoProfile),
            (Asked::Keys(role), 200) => keys(reply.body, role, now).map(Step::Done),
            (Asked::Keys(_), 404) => Err(SourceError::NoRole),
            (Asked::Roles | Asked::Keys(_), status) => Err(SourceError::Status(status)),
        }
    }

    /// Asks, or for a token first.
    fn next(&mut self, asked: Asked) -> Request {
        let Some(token) = &self.token else {
            self.asked = Asked::Token;
            return Request::new("PUT", "/latest/api/token")
                .with_header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS.to_string())
                .with_body(Zeroed::default());
        };
        let role = if let Asked::Keys(role) = &asked { role } else { "" };
        let request = Request::new("GET", [ROLES, role].concat())
            .with_header("X-aws-ec2-metadata-token", &*token.value);
        self.asked = asked;
        request
    }
}

impl Token {
    /// The token of an answer. When it does not say for how long it is one, it is for this conversation only.
    fn new(reply: &Reply, now: i64) -> Result<Self, SourceError> {
        let is_one = (1..=MAX_TOKEN).contains(&reply.body.len())
            && reply.body.iter().all(u8::is_ascii_graphic);
        let value = str::from_utf8(reply.body).ok().filter(|_| is_one);
        let value = value.ok_or(SourceError::Answer("token of a metadata service"))?.into();
        let seconds = reply.header("X-aws-ec2-metadata-token-ttl-seconds").and_then(|text| {
            str::from_utf8(text).ok()?.parse().ok().filter(|s| (0..=TOKEN_SECONDS).contains(s))
        });
        Ok(Token { value, until: now.saturating_add(seconds.unwrap_or(0)) })
    }
}

/// The role in the first line of a list. It becomes part of a path, and of a line in the log.
fn first_role(list: &[u8]) -> Result<String, SourceError> {
    let line = list.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(SourceError::NoProfile);
    }
    let is_plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\');
    let has_dots = line.split(|&b| b == b'/').any(|part| matches!(part, b"" | b"." | b".."));
    match str::from_utf8(line) {
        Ok(role) if line.len() <= MAX_ROLE && line.iter().all(is_plain) && !has_dots => {
            Ok(role.to_owned())
        }
        _ => Err(SourceError::Answer("list of roles")),
    }
}

/// The keys of an answer with the status 200, which can be an error.
fn keys(body: &[u8], role: String, now: i64) -> Result<Keys, SourceError> {
    let names = ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"];
    let [id, secret, token, expiration] = names;
    let found = json::texts(body, ["Code", id, secret, token, expiration]);
    let [code, id, secret, token, expiration] = found.ok_or(SourceError::Answer("JSON object"))?;
    if let Some(code) = code.filter(|code| !code.eq_ignore_ascii_case("Success")) {
        return Err(SourceError::NotAssumed(Code::new(&code)));
    }
    // A role's keys are never without these.
    let (token, expiration) = (token.unwrap_or_default(), expiration.unwrap_or_default());
    let keys = Keys::new(names, [id, secret, Some(token), Some(expiration)], now)?;
    Ok(Keys { of: Some(role), ..keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &[(&str, &[u8])] = &[("x-aws-ec2-metadata-token-ttl-seconds", b"21600")];
    const GOOD: &str = r#"{
  "Code" : "Success",
  "LastUpdated" : "2026-11-25T09:59:00Z",
  "Type" : "AWS-HMAC",
  "AccessKeyId" : "ASIAIOSFODNN7EXAMPLE",
  "SecretAccessKey" : "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  "Token" : "token",
  "Expiration" : "2026-11-25T16:00:00Z"
}"#;
    /// 2026-11-25T10:00:00Z
    const NOW: i64 = 1_795_600_800;

    fn reply(status: u16, body: &str) -> Reply<'_> {
        Reply { status, headers: HEADERS, body: body.as_bytes() }
    }

    /// The request line and the token's header.
    fn asked(request: &Request) -> (String, Option<String>) {
        let bytes = request.to_bytes("169.254.169.254");
        let header = bytes.lines().find(|line| line.starts_with("X-aws-ec2-metadata-token"));
        (bytes.lines().next().unwrap().to_owned(), header.map(str::to_owned))
    }

    /// Carries out a conversation: the request lines, and the outcome.
    fn talk(
        instance: &mut Instance,
        replies: &[Reply],
        now: i64,
    ) -> (Vec<String>, Option<Result<Keys, SourceError>>) {
        let mut requests = vec![asked(&instance.begin(now)).0];
        for reply in replies {
            match instance.answer(reply, now) {
                Ok(Step::Ask(request)) => requests.push(asked(&request).0),
                Ok(Step::Done(keys)) => return (requests, Some(Ok(keys))),
                Err(error) => return (requests, Some(Err(error))),
            }
        }
        (requests, None)
    }

    const PUT: &str = "PUT /latest/api/token HTTP/1.1";
    const LIST: &str = "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1";
    const ROLE: &str = "GET /latest/meta-data/iam/security-credentials/media HTTP/1.1";

    #[test]
    fn keys_are_asked_for_with_a_token() {
        let mut instance = Instance::default();
        let first = asked(&instance.begin(NOW));
        assert_eq!(first.0, PUT);
        assert_eq!(first.1.unwrap(), "X-aws-ec2-metadata-token-ttl-seconds: 21600");
        let Ok(Step::Ask(list)) = instance.answer(&reply(200, "TOKEN=="), NOW) else { panic!() };
        let with_token = Some("X-aws-ec2-metadata-token: TOKEN==".to_owned());
        assert_eq!(asked(&list), (LIST.to_owned(), with_token.clone()));
        let Ok(Step::Ask(role)) = instance.answer(&reply(200, "media\nother"), NOW) else {
            panic!()
        };
        assert_eq!(asked(&role), (ROLE.to_owned(), with_token));
        let Ok(Step::Done(keys)) = instance.answer(&reply(200, GOOD), NOW) else { panic!() };
        assert_eq!(keys.credentials.access_key_id(), "ASIAIOSFODNN7EXAMPLE");
        assert_eq!(keys.credentials.session_token(), Some("token"));
        assert_eq!((keys.expires, keys.of.as_deref()), (Some(NOW + 21_600), Some("media")));
    }

    #[test]
    fn a_token_is_kept_while_it_lasts_and_renewed_once() {
        let mut instance = Instance::default();
        let (token, list, keys) = (reply(200, "TOKEN"), reply(200, "media"), reply(200, GOOD));
        let refused = reply(401, "");
        let (asked, done) = talk(&mut instance, &[token, list, keys], NOW);
        assert_eq!(asked, [PUT, LIST, ROLE]);
        assert!(done.unwrap().is_ok());
        assert_eq!(talk(&mut instance, &[list, keys], NOW + 21_599).0, [LIST, ROLE]);
        let (asked, done) = talk(&mut instance, &[refused, token, list, keys], NOW);
        assert_eq!(asked, [LIST, PUT, LIST, ROLE]);
        assert!(done.unwrap().is_ok());
        let (asked, done) = talk(&mut instance, &[list, refused, token, list, refused], NOW);
        assert_eq!(asked, [LIST, ROLE, PUT, LIST, ROLE]);
        assert_eq!(done.unwrap().err(), Some(SourceError::TokenRefused));
        assert_eq!(talk(&mut instance, &[token, list, keys], NOW).0, [PUT, LIST, ROLE]);
        assert_eq!(talk(&mut instance, &[], NOW + 21_600).0, [PUT], "the token has ended");

        for ttl in [&b"0"[..], b"-1", b"21601", b"x", b"\xff", b"99999999999999999999"] {
            let mut instance = Instance::default();
            let headers = &[("x-aws-ec2-metadata-token-ttl-seconds", ttl)];
            let token = Reply { headers, ..token };
            assert_eq!(talk(&mut instance, &[token, list, keys], NOW).0, [PUT, LIST, ROLE]);
            assert_eq!(talk(&mut instance, &[], NOW).0, [PUT], "it was for one conversation");
        }
    }

    #[test]
    fn what_can_go_wrong_has_its_error() {
        let (token, list) = (reply(200, "TOKEN"), reply(200, "media"));
        let failed =
            r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}"#;
        let busy = |status| SourceError::Busy { status, code: None };
        let not_assumed = |code| SourceError::NotAssumed(Code::new(code));
        let (no_token, no_list) = ("token of a metadata service", "list of roles");
        let long = "a".repeat(1025);
        for (replies, expected) in [
            (&[reply(403, "")][..], SourceError::MetadataOff),
            (&[reply(404, "")], SourceError::NoTokens(404)),
            (&[reply(401, "")], SourceError::NoTokens(401)),
            (&[reply(302, "")], SourceError::NoTokens(302)),
            (&[reply(503, "")], busy(503)),
            (&[reply(429, "")], busy(429)),
            (&[reply(200, "")], SourceError::Answer(no_token)),
            (&[reply(200, "a\r\nX: y")], SourceError::Answer(no_token)),
            (&[reply(200, &long)], SourceError::Answer(no_token)),
            (&[token, reply(404, "")], SourceError::NoProfile),
            (&[token, reply(200, "")], SourceError::NoProfile),
            (&[token, reply(200, "\n")], SourceError::NoProfile),
            (&[token, reply(403, "")], SourceError::MetadataOff),
            (&[token, reply(500, "")], busy(500)),
            (&[token, reply(204, "")], SourceError::Status(204)),
            (&[token, reply(200, "<html> ")], SourceError::Answer(no_list)),
            (&[token, reply(200, "../x")], SourceError::Answer(no_list)),
            (&[token, reply(200, "a//x")], SourceError::Answer(no_list)),
            (&[token, reply(200, "a?x")], SourceError::Answer(no_list)),
            (&[token, reply(200, "a\r\r\nb")], SourceError::Answer(no_list)),
            (&[token, reply(200, &long)], SourceError::Answer(no_list)),
            (&[token, list, reply(404, "")], SourceError::NoRole),
            (&[token, list, reply(200, failed)], not_assumed("AssumeRoleUnauthorizedAccess")),
            (&[token, list, reply(200, r#"{"Code":"a b"}"#)], not_assumed("")),
            (&[token, list, reply(200, "<html>")], SourceError::Answer("JSON object")),
            (&[token, list, reply(200, "{}")], SourceError::Field("AccessKeyId")),
            (&[token, list, reply(200, &GOOD.replace("Tok", "T"))], SourceError::Field("Token")),
            (
                &[token, list, reply(200, &GOOD.replace("Exp", "E"))],
                SourceError::Field("Expiration"),
            ),
            (&[token, list, reply(200, &GOOD.replace("2026", "2025"))], SourceError::Ended),
        ] {
            let (_, outcome) = talk(&mut Instance::default(), replies, NOW);
            assert_eq!(outcome.unwrap().err(), Some(expected));
        }
    }

    #[test]
    fn a_list_may_end_its_line_and_name_a_path() {
        for (list, role) in [
            ("media\r\n", "media"),
            ("a\nb\n", "a"),
            ("arn:aws:iam::1:role/a", "arn:aws:iam::1:role/a"),
        ] {
            assert_eq!(first_role(list.as_bytes()).as_deref(), Ok(role));
        }
    }
}
