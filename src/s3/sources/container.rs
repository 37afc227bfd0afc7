//! The keys of a container: of an ECS task, or of EKS Pod Identity ("Container credential provider", AWS SDKs
//! and Tools Reference Guide).

use core::str;

use super::error::{is_busy, Code, SourceError};
use super::sts::{is_role_arn, role_name};
use super::{json, Keys, Reply, Request, Step};

/// The longest authorization token that is sent, in bytes: those of EKS are JWTs of one or two KiB.
const MAX_AUTHORIZATION: usize = 16 * 1024;

/// What to ask at the request target of [`Uri`]. Takes the content of the authorization token's file or
/// variable, where there is one. One final newline is no part of it.
///
/// # Errors
/// [`SourceError::Authorization`] when that is no header's value.
///
/// [`Uri`]: super::uri::Uri
pub fn begin(target: &str, authorization: Option<&[u8]>) -> Result<Request, SourceError> {
    let request = Request::new("GET", target).with_header("Accept", "application/json");
    let Some(token) = authorization else { return Ok(request) };
    let token = token.strip_suffix(b"\n").unwrap_or(token);
    let token = token.strip_suffix(b"\r").unwrap_or(token);
    let is_one = (1..=MAX_AUTHORIZATION).contains(&token.len())
        && token.iter().all(|&b| b.is_ascii_graphic() || b == b' ')
        && token.trim_ascii().len() == token.len();
    match str::from_utf8(token) {
        Ok(token) if is_one => Ok(request.with_header("Authorization", token)),
        _ => Err(SourceError::Authorization),
    }
}

/// Takes the answer, at a time in Unix seconds.
///
/// # Errors
/// Why there are no keys.
pub fn answer(reply: &Reply, now: i64) -> Result<Step, SourceError> {
    match reply.status {
        200 => keys(reply.body, now).map(Step::Done),
        status @ (400.. | ..200) => {
            let code = json::texts(reply.body, ["code"]).and_then(|[code]| Code::new(&code?));
            Err(match is_busy(status, code.as_deref()) {
                true => SourceError::Busy { status, code },
                false => SourceError::Container { status, code },
            })
        }
        status => Err(SourceError::Status(status)),
    }
}

/// The keys of an answer with the status 200. ECS names the role too.
fn keys(body: &[u8], now: i64) -> Result<Keys, SourceError> {
    let names = ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"];
    let [id, secret, token, expiration] = names;
    let found = json::texts(body, [id, secret, token, expiration, "RoleArn"]);
    let [id, secret, token, expiration, role] = found.ok_or(SourceError::Answer("JSON object"))?;
    let role = role.filter(|arn| is_role_arn(arn)).map(|arn| role_name(&arn).to_owned());
    Ok(Keys { of: role, ..Keys::new(names, [id, secret, token, expiration], now)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-25T10:00:00Z
    const NOW: i64 = 1_795_600_800;

    fn authorization(token: &[u8]) -> Result<Option<String>, SourceError> {
        let bytes = begin("/v1/credentials?a=b", Some(token))?.to_bytes("h");
        let found = bytes.lines().find_map(|line| line.strip_prefix("Authorization: "));
        Ok(found.map(str::to_owned))
    }

    #[test]
    fn one_request_asks() {
        let bytes = begin("/v2/credentials/a", None).ok().unwrap().to_bytes("169.254.170.2");
        assert!(bytes.starts_with("GET /v2/credentials/a HTTP/1.1\r\nHost: 169.254.170.2\r\n"));
        assert!(bytes.ends_with("\r\nAccept: application/json\r\n\r\n"));
        assert!(!bytes.contains("Authorization"));
    }

    #[test]
    fn authorization_is_a_header() {
        for (content, token) in [
            (&b"eyJh.eyJz.c2ln"[..], "eyJh.eyJz.c2ln"),
            (b"Basic dTpw\n", "Basic dTpw"),
            (b"Basic dTpw\r\n", "Basic dTpw"),
        ] {
            assert_eq!(authorization(content), Ok(Some(token.to_owned())));
        }
        let long = [b'a'; MAX_AUTHORIZATION + 1];
        for content in [
            &b""[..],
            b"\n",
            b"\r\n",
            b" ",
            b"a\n\n",
            b" a",
            b"a ",
            b"a\tb",
            b"a\r\nX: y",
            b"a\0",
            b"a\x7f",
            "\u{e9}".as_bytes(),
            b"\xff",
            &long,
        ] {
            assert_eq!(authorization(content), Err(SourceError::Authorization), "{content:?}");
        }
    }

    fn told(status: u16, body: &str) -> Result<Keys, SourceError> {
        match answer(&Reply { status, headers: &[], body: body.as_bytes() }, NOW)? {
            Step::Done(keys) => Ok(keys),
            Step::Ask(_) => panic!("there is one answer"),
        }
    }

    #[test]
    fn the_answer_has_keys() {
        let body = r#"{"RoleArn":"arn:aws:iam::123456789012:role/a/media","AccessKeyId":"AKID","SecretAccessKey":"s",
            "Token":"t","Expiration":"2026-11-25T10:00:01Z"}"#;
        let keys = told(200, body).ok().unwrap();
        assert_eq!(keys.credentials.access_key_id(), "AKID");
        assert_eq!((keys.credentials.session_token(), keys.expires), (Some("t"), Some(NOW + 1)));
        assert_eq!(keys.of.as_deref(), Some("media"));
        let keys = told(200, r#"{"AccessKeyId":"AKID","SecretAccessKey":"s","RoleArn":"\n"}"#);
        let keys = keys.ok().unwrap();
        assert_eq!(keys.of, None);
        assert_eq!((keys.credentials.session_token(), keys.expires), (None, None));
    }

    #[test]
    fn what_can_go_wrong_has_its_error() {
        let refused = |status, code| SourceError::Container { status, code: Code::new(code) };
        let busy = |status, code| SourceError::Busy { status, code: Code::new(code) };
        for (status, body, expected) in [
            (400, r#"{"code":"InvalidId","message":"hush"}"#, refused(400, "InvalidId")),
            (403, r#"{"code":"no code\n","message":"hush"}"#, refused(403, "")),
            (404, "404 page not found\n", refused(404, "")),
            (500, r#"{"code":"InternalServerError"}"#, busy(500, "InternalServerError")),
            (429, "", busy(429, "")),
            (400, r#"{"code":"ThrottlingException"}"#, busy(400, "ThrottlingException")),
            (301, "", SourceError::Status(301)),
            (204, "", SourceError::Status(204)),
            (200, "", SourceError::Answer("JSON object")),
            (200, "{}", SourceError::Field("AccessKeyId")),
            (200, r#"{"AccessKeyId":"A"}"#, SourceError::Field("SecretAccessKey")),
            (
                200,
                r#"{"AccessKeyId":"A","SecretAccessKey":"s","Expiration":"2026-11-25T10:00:00Z"}"#,
                SourceError::Ended,
            ),
        ] {
            assert_eq!(told(status, body).err(), Some(expected), "{status} {body}");
        }
        let shown = told(400, r#"{"code":"hush!","message":"hush"}"#).err().unwrap().to_string();
        assert!(!shown.contains("hush"), "{shown}");
    }
}
