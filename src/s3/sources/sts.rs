//! Keys of a role from STS: `AssumeRoleWithWebIdentity` and `AssumeRole` (AWS STS API Reference), which other
//! services like S3 have too.

use core::str;

use super::error::{is_busy, Code, SourceError};
use super::{Keys, Reply, Request, Step};
use crate::s3::auth::sigv4::form::FORM;
use crate::s3::auth::sigv4::stamp::Stamp;
use crate::s3::auth::sigv4::Signer;
use crate::s3::object::is_unreserved;
use crate::s3::xml::{Event, Parser};
use crate::s3::zeroed::Zeroed;

/// The longest web identity token, in bytes.
const MAX_WEB_IDENTITY: usize = 20_000;

/// The role that is assumed, and how.
pub struct Role {
    /// Its name, which [`is_role_arn`] has seen.
    pub arn: Box<str>,
    /// What its sessions are called, which [`is_session_name`] has seen.
    pub session_name: Box<str>,
    /// What its trust policy asks for beside the caller, which [`is_external_id`] has seen. It is for
    /// [`Role::assume`] only.
    pub external_id: Option<Box<str>>,
    /// For how many seconds its keys are asked for; what the service likes, when none is said.
    pub seconds: Option<u32>,
}

/// Returns whether a role can be called so: 20 to 2,048 bytes, `arn:partition:iam::account:role/path/name`.
/// The account may be missing, as other services have none.
pub fn is_role_arn(text: &str) -> bool {
    let role = text.split_once(":role/").map(|(_, role)| role);
    has_bytes(text, 20..=2048, b"_+=,.@:/-")
        && text.starts_with("arn:")
        && role.is_some_and(|role| !role.is_empty() && !role.ends_with('/'))
}

/// The role's name, without its path, for what [`is_role_arn`] has seen.
pub fn role_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

/// Returns whether a session can be called so: 2 to 64 letters, digits and bytes of `_+=,.@-`.
pub fn is_session_name(text: &str) -> bool {
    has_bytes(text, 2..=64, b"_+=,.@-")
}

/// Returns whether it can be an external ID: 2 to 1,224 letters, digits and bytes of `_+=,.@:/-`.
pub fn is_external_id(text: &str) -> bool {
    has_bytes(text, 2..=1224, b"_+=,.@:/-")
}

fn has_bytes(text: &str, len: core::ops::RangeInclusive<usize>, others: &[u8]) -> bool {
    len.contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
}

impl Role {
    /// Asks for the role's keys by a web identity token. Takes the content of its file; one final newline is no
    /// part of it.
    ///
    /// # Errors
    /// [`SourceError::WebIdentity`] when that is no token.
    pub fn with_web_identity(&self, token: &[u8]) -> Result<Request, SourceError> {
        let token = token.strip_suffix(b"\n").unwrap_or(token);
        let token = token.strip_suffix(b"\r").unwrap_or(token);
        let is_one =
            (1..=MAX_WEB_IDENTITY).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
        let token = str::from_utf8(token).ok().filter(|_| is_one);
        let token = token.ok_or(SourceError::WebIdentity)?;
        let mut form = self.form("AssumeRoleWithWebIdentity");
        field(&mut form, "WebIdentityToken", token);
        Ok(Request::new("POST", "/").with_header("Content-Type", FORM).with_body(form))
    }

    /// Asks for the role's keys by other keys, those of a signer for the service `sts`. Takes the value of
    /// `Host`, which is signed, and the time in Unix seconds.
    pub fn assume(&self, signer: &Signer, host: &str, now: i64) -> Request {
        let mut form = self.form("AssumeRole");
        if let Some(id) = &self.external_id {
            field(&mut form, "ExternalId", id);
        }
        let headers = signer.sign_form(host, &form, &Stamp::at(now));
        let request = Request::new("POST", "/").with_body(form);
        headers.into_iter().fold(request, |request, (name, value)| request.with_header(name, value))
    }

    /// Takes the answer to either, at a time in Unix seconds.
    ///
    /// # Errors
    /// Why there are no keys.
    pub fn answer(&self, reply: &Reply, now: i64) -> Result<Step, SourceError> {
        match reply.status {
            200 => {
                let names = ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"];
                let found = texts(reply.body, "Credentials", names);
                let found = found.ok_or(SourceError::Answer("XML of STS"))?;
                // A role's keys are never without these.
                let [id, secret, token, expiration] = found.map(Option::unwrap_or_default);
                let parts = [id, secret, token, expiration].map(Some);
                let of = Some(role_name(&self.arn).to_owned());
                Ok(Step::Done(Keys { of, ..Keys::new(names, parts, now)? }))
            }
            status @ (400.. | ..200) => {
                let code =
                    texts(reply.body, "Error", ["Code"]).and_then(|[code]| Code::new(&code?));
                Err(match is_busy(status, code.as_deref()) {
                    true => SourceError::Busy { status, code },
                    false => SourceError::Sts { status, code },
                })
            }
            status => Err(SourceError::Status(status)),
        }
    }

    /// What both actions are told.
    fn form(&self, action: &str) -> Zeroed {
        let mut form = Zeroed::default();
        field(&mut form, "Action", action);
        field(&mut form, "Version", "2011-06-15");
        field(&mut form, "RoleArn", &self.arn);
        field(&mut form, "RoleSessionName", &self.session_name);
        if let Some(seconds) = self.seconds {
            field(&mut form, "DurationSeconds", &seconds.to_string());
        }
        form
    }
}

/// Appends a field to a form.
fn field(form: &mut Zeroed, name: &str, value: &str) {
    form.push_str(if form.is_empty() { "" } else { "&" });
    form.push_str(name);
    form.push('=');
    for b in value.bytes() {
        match b {
            _ if is_unreserved(b) => form.push(char::from(b)),
            _ => form.push_str(&format!("%{b:02X}")),
        }
    }
}

/// The texts of the elements `names` right inside of the element `parent`, without the white space around
/// them. What is there twice has its last text. Prefixes are not looked at.
///
/// Returns `None` for what is not one whole XML document.
fn texts<const N: usize>(
    body: &[u8],
    parent: &str,
    names: [&str; N],
) -> Option<[Option<Zeroed>; N]> {
    let mut found = [const { None }; N];
    let (mut parser, mut rest) = (Parser::default(), body);
    // How many elements are open, and how many were when `parent` began.
    let (mut open, mut inside) = (0_usize, None);
    let mut current = None;
    while let Some(event) = parser.next(&mut rest).ok()? {
        match event {
            Event::Start(name) => {
                if inside.is_none() && name == parent.as_bytes() {
                    (inside, found) = (Some(open), [const { None }; N]);
                } else if inside.is_some_and(|at| open == at + 1) {
                    current = names.iter().position(|wanted| wanted.as_bytes() == name);
                    if let Some(slot) = current.and_then(|i: usize| found.get_mut(i)) {
                        *slot = Some(Zeroed::default());
                    }
                }
                open += 1;
            }
            Event::Text(text) => {
                let slot = current.and_then(|i| found.get_mut(i)).and_then(Option::as_mut);
                if let Some(slot) = slot.filter(|_| inside.is_some_and(|at| open == at + 2)) {
                    slot.push_str(str::from_utf8(text).ok()?);
                }
            }
            Event::End => {
                open = open.saturating_sub(1);
                current = current.filter(|_| inside.is_some_and(|at| open > at + 1));
                inside = inside.filter(|&at| open > at);
            }
        }
    }
    parser.finish().ok()?;
    Some(found.map(|text: Option<Zeroed>| text.map(|text| Zeroed::from(text.trim_ascii()))))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::s3::auth::credentials::Credentials;

    /// 2026-11-25T10:00:00Z
    const NOW: i64 = 1_795_600_800;

    fn role() -> Role {
        Role {
            arn: "arn:aws:iam::123456789012:role/path/media".into(),
            session_name: "nginx@a".into(),
            external_id: Some("a:b/c+d".into()),
            seconds: Some(3600),
        }
    }

    #[test]
    fn roles_and_sessions_have_their_bytes() {
        for good in [
            "arn:aws:iam::123456789012:role/media",
            "arn:aws-cn:iam::123456789012:role/a/b/media+=,.@-_",
            "arn:aws:iam::role/media",
            "arn:minio:iam:::role/idmp-1",
        ] {
            assert!(is_role_arn(good), "{good}");
        }
        let long = "arn:aws:iam::123456789012:role/".to_owned() + &"a".repeat(2048);
        for bad in [
            "",
            "media",
            "arn:aws:iam::1:role/",
            "arn:aws:iam::123456789012:role/a/",
            "arn:aws:iam::123456789012:user/media",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam::123456789012:role/a&b",
            "arn:aws:iam::123456789012:role/\u{e9}",
            "urn:aws:iam::123456789012:role/media",
            &long,
        ] {
            assert!(!is_role_arn(bad), "{bad}");
        }
        assert!(is_session_name("ab") && is_session_name(&"a".repeat(64)));
        for bad in ["a", "a b", "a:b", "a/b", &"a".repeat(65)] {
            assert!(!is_session_name(bad), "{bad}");
        }
        assert!(is_external_id("a:/b") && is_external_id(&"a".repeat(1224)));
        for bad in ["a", "a b", "a%b", &"a".repeat(1225)] {
            assert!(!is_external_id(bad), "{bad}");
        }
    }

    #[test]
    fn a_web_identity_is_a_form() {
        for (token, sent) in [
            (&b"eyJh.eyJz_-.c2ln"[..], "eyJh.eyJz_-.c2ln"),
            (b"a&b=c%+/\n", "a%26b%3Dc%25%2B%2F"),
            (b"a\r\n", "a"),
        ] {
            let request = role().with_web_identity(token).ok().unwrap().to_bytes("h");
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST / HTTP/1.1\r\nHost: h\r\n"));
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
            assert!(head.contains("Content-Type: application/x-www-form-urlencoded"));
            assert!(!head.contains("Authorization"));
            assert_eq!(
                body,
                "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
                 &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpath%2Fmedia\
                 &RoleSessionName=nginx%40a&DurationSeconds=3600&WebIdentityToken="
                    .to_owned()
                    + sent
            );
        }
        let long = [b'a'; MAX_WEB_IDENTITY + 1];
        for token in [&b""[..], b"\n", b"a b", b"a\n\n", b"a\0", b"\xff", &long] {
            assert_eq!(role().with_web_identity(token).err(), Some(SourceError::WebIdentity));
        }
    }

    #[test]
    fn a_role_is_assumed_with_a_signature() {
        let credentials = Credentials::new("AKID", "secret", Some("token")).ok().unwrap();
        let signer = Signer::new(Rc::new(credentials), "eu-central-1", "sts");
        let request = role().assume(&signer, "sts.example", NOW).to_bytes("sts.example");
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            body,
            "Action=AssumeRole&Version=2011-06-15\
             &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpath%2Fmedia\
             &RoleSessionName=nginx%40a&DurationSeconds=3600&ExternalId=a%3Ab%2Fc%2Bd"
        );
        for line in [
            "Host: sts.example",
            "Content-Type: application/x-www-form-urlencoded",
            "X-Amz-Date: 20261125T100000Z",
            "X-Amz-Security-Token: token",
        ] {
            assert!(head.lines().any(|other| other == line), "{line}");
        }
        assert!(head.contains(
            "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKID/20261125/eu-central-1/sts/aws4_request, \
             SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature="
        ));
    }

    fn told(status: u16, body: &str) -> Result<Keys, SourceError> {
        match role().answer(&Reply { status, headers: &[], body: body.as_bytes() }, NOW)? {
            Step::Done(keys) => Ok(keys),
            Step::Ask(_) => panic!("there is one answer"),
        }
    }

    /// The example of `AssumeRole`, AWS STS API Reference, shortened.
    const ANSWER: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">
  <AssumeRoleResult>
  <SourceIdentity>Alice</SourceIdentity>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::123456789012:assumed-role/demo/TestAR</Arn>
      <AssumedRoleId>ARO123EXAMPLE123:TestAR</AssumedRoleId>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY</SecretAccessKey>
      <SessionToken>
       AQoDYXdzEPT//////////wEXAMPLE==
      </SessionToken>
      <Expiration>2026-11-25T11:00:00Z</Expiration>
    </Credentials>
    <PackedPolicySize>6</PackedPolicySize>
  </AssumeRoleResult>
  <ResponseMetadata>
    <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
  </ResponseMetadata>
</AssumeRoleResponse>
";

    #[test]
    fn answers_have_keys_in_any_order_and_namespace() {
        for body in [
            ANSWER,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<s:R xmlns:s=\"urn:x\"><s:Credentials>\
             <s:Expiration>2026-11-25T11:00:00.000+00:00</s:Expiration><s:More/>\
             <s:SessionToken><![CDATA[AQoDYXdzEPT//////////wEXAMPLE==]]></s:SessionToken>\
             <s:SecretAccessKey>wJalrXUtnFEMI&#47;K7MDENG&#x2f;bPxRfiCYEXAMPLEKEY</s:SecretAccessKey>\
             <s:AccessKeyId>ASIAIOSFODNN7EXAMPLE</s:AccessKeyId></s:Credentials></s:R>",
        ] {
            let keys = told(200, body).ok().unwrap();
            let token = Some("AQoDYXdzEPT//////////wEXAMPLE==");
            let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
            let expected = Credentials::new("ASIAIOSFODNN7EXAMPLE", secret, token).ok().unwrap();
            assert!(keys.credentials == expected);
            assert_eq!((keys.expires, keys.of.as_deref()), (Some(NOW + 3600), Some("media")));
        }
    }

    #[test]
    fn only_the_keys_own_elements_count() {
        let read = |body: &str| {
            let [a, b] = texts(body.as_bytes(), "P", ["A", "B"])?;
            Some([a, b].map(|text| text.map(|text| text.to_string())))
        };
        let found = |a: &str, b: &str| {
            let text = |text: &str| (text != "-").then(|| text.to_owned());
            Some([text(a), text(b)])
        };
        for (body, expected) in [
            ("<P><A>1</A><B>2</B></P>", found("1", "2")),
            ("<x><A>0</A><P><A>1</A></P><B>0</B></x>", found("1", "-")),
            ("<P><A>1</A><A> 2 </A><B/></P>", found("2", "")),
            ("<P><x><A>0</A></x><A>1<x>0</x>2</A><B>3</B></P>", found("12", "3")),
            ("<P><P><A>0</A></P><A>1</A></P>", found("1", "-")),
            ("<x><P><A>1</A><B>1</B></P><P><A>2</A></P></x>", found("2", "-")),
            ("<x/>", found("-", "-")),
            ("<P><A>1</A></P", None),
            ("<P><A>1</P></A>", None),
            ("<P><A>1</A></P>x", None),
            ("", None),
        ] {
            assert_eq!(read(body), expected, "{body}");
        }
        assert!(texts(b"<P><A>\xff</A></P>", "P", ["A"]).is_none());
    }

    #[test]
    fn what_can_go_wrong_has_its_error() {
        let error = |code: &str| {
            format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
                 <Type>Sender</Type><Code>{code}</Code><Message>hush</Message></Error>\
                 <RequestId>1</RequestId></ErrorResponse>"
            )
        };
        let refused = |status, code| SourceError::Sts { status, code: Code::new(code) };
        let busy = |status, code| SourceError::Busy { status, code: Code::new(code) };
        for (status, body, expected) in [
            (403, error("AccessDenied"), refused(403, "AccessDenied")),
            (400, error("InvalidIdentityToken"), refused(400, "InvalidIdentityToken")),
            (400, error("hush!"), refused(400, "")),
            (400, error("IDPCommunicationError"), busy(400, "IDPCommunicationError")),
            (400, error("Throttling"), busy(400, "Throttling")),
            (503, "busy".to_owned(), busy(503, "")),
            (404, "<html>".to_owned(), refused(404, "")),
            (302, String::new(), SourceError::Status(302)),
            (200, String::new(), SourceError::Answer("XML of STS")),
            (200, "{\"Credentials\":{}}".to_owned(), SourceError::Answer("XML of STS")),
            (200, error("AccessDenied"), SourceError::Field("AccessKeyId")),
            (200, ANSWER.replace("SessionT", "T"), SourceError::Field("SessionToken")),
            (200, ANSWER.replace("Expi", "E"), SourceError::Field("Expiration")),
            (200, ANSWER.replace("2026", "2025"), SourceError::Ended),
        ] {
            assert_eq!(told(status, &body).err(), Some(expected), "{status} {body}");
            let shown = told(status, &body).err().unwrap().to_string();
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}
