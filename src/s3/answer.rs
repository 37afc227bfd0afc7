//! What S3 answers, and what of it clients see.

/// Returns whether a response header is kept from clients: one of those that only S3 servers send (Amazon's,
/// and those of Ceph's RADOS gateway, Google, MinIO, SeaweedFS and Swift), that speak of S3's host as if it were the site's
/// (`Alt-Svc`, `Strict-Transport-Security`, ...), that steer nginx, or by which whoever can write an object would act for
/// the site; unless a pattern of `pass` names it (see [`is_named`]).
#[inline]
pub fn is_hidden(name: &[u8], pass: &[Box<[u8]>]) -> bool {
    // By its first letter: this is asked for each header of each response.
    let first = name.first().map_or(0, |first| first | 0x20);
    let may_be = match first {
        b'x' | b's' | b'r' | b'w' | b'n' => true,
        // Most answers have others that begin so.
        b'a' => name.len() == ALT_SVC.len(),
        b'c' => name.len() == CLEAR_SITE_DATA.len(),
        _ => false,
    };
    may_be && is_hidden_behind(first, name, pass)
}

const ALT_SVC: &[u8] = b"alt-svc";
const CLEAR_SITE_DATA: &[u8] = b"clear-site-data";

/// [`is_hidden`] for a header that begins with one of the letters.
fn is_hidden_behind(first: u8, name: &[u8], pass: &[Box<[u8]>]) -> bool {
    let hidden: &[&[u8]] = match first {
        b'x' => &[
            b"x-amz-*",
            b"x-amzn-*",
            b"x-rgw-*",
            b"x-minio-*",
            b"x-goog-*",
            b"x-guploader-*",
            b"x-accel-*",
            b"x-openstack-*",
            b"x-trans-id",
        ],
        b's' => &[b"seaweed-*", b"set-cookie", b"strict-transport-security"],
        b'r' => &[b"refresh", b"report-to", b"reporting-endpoints"],
        b'n' => &[b"nel"],
        b'a' => &[ALT_SVC],
        b'c' => &[CLEAR_SITE_DATA],
        _ => &[b"www-authenticate"],
    };
    hidden.iter().any(|pattern| matches(name, pattern)) && !is_named(name, pass)
}

/// Returns whether a pattern names a header. Names are compared without case; a pattern that ends in `*`
/// names all headers that begin with the rest of it.
pub fn is_named(name: &[u8], patterns: &[Box<[u8]>]) -> bool {
    patterns.iter().any(|pattern| matches(name, pattern))
}

fn matches(name: &[u8], pattern: &[u8]) -> bool {
    match pattern.strip_suffix(b"*") {
        Some(with) => name.get(..with.len()).is_some_and(|n| n.eq_ignore_ascii_case(with)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

/// What becomes of an answer that is not the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The status that the client sees.
    pub status: u16,
    /// Why.
    pub class: Class,
}

/// Why S3 did not send the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is not there, or not for us: the client's 404.
    Missing,
    /// nginx is configured wrongly, which monitoring has to see: 502, and never cached.
    Fault,
    /// S3 said what the client asked for, where that is, or that it is in trouble: its own status.
    Kept,
    /// The client asked for what S3 does not understand: 400, and never cached.
    Client,
}

impl Class {
    /// Whether an answer may be cached, for as long as nginx says for its status.
    pub fn is_cacheable(self) -> bool {
        !matches!(self, Class::Fault | Class::Client)
    }
}

/// Decides what a client sees of an answer: nothing of it is changed for `None`.
///
/// `code` is S3's error code, as far as it is known ("Error responses", Amazon S3 API Reference):
/// a HEAD has none, and for answers of the cache it is [`cached_code`]. `carries` is whether something
/// that the client says went to S3 beside the key: an argument, a range, a condition.
pub fn verdict(status: u16, code: Option<&[u8]>, carries: bool) -> Option<Verdict> {
    let show = |status, class| Some(Verdict { status, class });
    match (status, code) {
        (..300 | 304, _) => None,
        (412 | 416 | 500 | 502 | 503 | 504, _) => show(status, Class::Kept),
        // Other servers' word for SlowDown.
        (429, _) => show(503, Class::Kept),
        (404, Some(b"NoSuchBucket")) => show(502, Class::Fault),
        (400, Some(b"InvalidURI")) => show(400, Class::Client),
        // What else S3 says of an argument or a header, which may be that of the client.
        (400, None | Some(
            b"InvalidArgument" | b"InvalidRequest" | b"InvalidRange" | b"InvalidPart"
            | b"InvalidPartNumber" | b"BadRequest",
        )) if carries => show(400, Class::Client),
        (400, Some(b"NoSuchVersion"))
        | (404 | 410, _)
        // What S3 says of a missing key to those who may not list the bucket.
        | (403, None | Some(b"AccessDenied"))
        // No object can have that name; Ceph's and MinIO's words for it come second and third.
        | (400, Some(b"KeyTooLongError" | b"InvalidObjectName" | b"XMinioInvalidObjectName"))
        // A delete marker that was asked for by its version.
        | (405, _) => show(404, Class::Missing),
        _ => show(502, Class::Fault),
    }
}

/// The error code of an answer of the cache, as far as it matters: of all 400s only those that mean 404
/// are cached.
pub fn cached_code(status: u16) -> Option<&'static [u8]> {
    (status == 400).then_some(b"KeyTooLongError")
}

/// Whether an error code says that other keys are needed, not another request.
pub fn blames_keys(code: &[u8]) -> bool {
    matches!(
        code,
        b"ExpiredToken" | b"InvalidToken" | b"TokenRefreshRequired" | b"InvalidAccessKeyId"
    )
}

/// What an operator can do about an answer.
#[derive(Default)]
pub struct Advice<'a> {
    /// S3's error code.
    pub code: Option<&'a [u8]>,
    /// The region that S3 names (`x-amz-bucket-region`).
    pub region: Option<&'a [u8]>,
    /// By how many seconds the clock is ahead of S3's.
    pub skew: Option<i64>,
    /// Whether it is the answer to the question for a listing.
    pub lists: bool,
    /// Whether the keys renew themselves.
    pub renews: bool,
    /// Whether such keys have ended.
    pub ended: bool,
    /// What lets nginx in, for an answer that it does not.
    pub policy: &'a str,
    /// Whether the server may deny a wrong key what it denies a right one.
    pub is_vague: bool,
}

impl Advice<'_> {
    fn denied(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let policy = self.policy;
        match self.lists {
            true => write!(
                f,
                ": to list the bucket, {policy} has to allow s3:ListBucket for this prefix"
            )?,
            false => write!(f, ": the object does not exist, or {policy} does not let nginx in")?,
        }
        f.write_str(match self.is_vague {
            true => "; some servers say so of a wrong key too",
            false => "",
        })
    }
}

impl core::fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if let Some(region) = self.region {
            return write!(
                f,
                ": the bucket is in another region; write \"s3_private_bucket_region {};\"",
                region.escape_ascii()
            );
        }
        f.write_str(match self.code {
            Some(code) if self.renews && blames_keys(code) => {
                ": the keys are fetched anew; see \"s3_private_bucket_credentials\""
            }
            Some(b"SignatureDoesNotMatch") => {
                ": the secret access key does not belong to the access key ID"
            }
            Some(b"InvalidAccessKeyId") => {
                ": S3 does not know the access key ID; was the key deleted?"
            }
            Some(b"ExpiredToken") => {
                ": the session token has expired; write new credentials and reload"
            }
            Some(b"NoSuchBucket") => {
                ": the bucket does not exist there; see \"s3_private_bucket\" and \
                 \"s3_private_bucket_endpoint\""
            }
            Some(b"PermanentRedirect" | b"AuthorizationHeaderMalformed") => {
                ": the bucket is in another region; see \"s3_private_bucket_region\""
            }
            Some(b"SignatureVersionNotSupported") => {
                ": the server wants another signature; see \"s3_private_bucket_auth\""
            }
            Some(b"SlowDown") => ": S3 gets too many requests; cache more of them",
            None | Some(b"AccessDenied") if self.ended => {
                ": the keys have ended; see \"s3_private_bucket_credentials\""
            }
            Some(b"AccessDenied") => return self.denied(f),
            Some(b"RequestTimeTooSkewed") => {
                f.write_str(": the clock of this machine is wrong")?;
                return match self.skew {
                    Some(skew @ 0..) => write!(f, ", {skew} s ahead of S3's"),
                    Some(skew) => write!(f, ", {} s behind S3's", skew.unsigned_abs()),
                    None => Ok(()),
                };
            }
            _ => "",
        })
    }
}

/// The reason phrase of a status that nginx shows in place of S3's answer.
pub fn reason(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        400 => "Bad Request",
        404 => "Not Found",
        412 => "Precondition Failed",
        416 => "Requested Range Not Satisfiable",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_of_s3_are_hidden() {
        let pass = ["x-amz-meta-*", "X-Amz-Version-Id", "x-rgw"].map(|p| p.as_bytes().into());
        for (name, hidden) in [
            ("x-amz-request-id", true),
            ("X-AMZ-ID-2", true),
            ("X-Amz-Version-Id", false),
            ("x-amz-version-id-2", true),
            ("x-amz-meta-", false),
            ("X-Amz-Meta-Author", false),
            ("x-amz-met", true),
            ("x-amzn-RequestId", true),
            ("x-rgw-object-type", true),
            ("X-Minio-Deployment-Id", true),
            ("x-amz", false),
            ("ETag", false),
            ("Content-Type", false),
            ("Vary", false),
            ("X-Accel-Redirect", true),
            ("x-accel-anything", true),
            ("Set-Cookie", true),
            ("set-cookie2", false),
            ("Refresh", true),
            ("WWW-Authenticate", true),
            ("X-Goog-Hash", true),
            ("X-Openstack-Request-Id", true),
            ("X-Trans-Id", true),
            ("x-guploader-uploadid", true),
            ("Alt-Svc", true),
            ("alt-svc-2", false),
            ("Strict-Transport-Security", true),
            ("Report-To", true),
            ("Reporting-Endpoints", true),
            ("NEL", true),
            ("Clear-Site-Data", true),
            ("content-lengths", false),
            ("Content-Length", false),
            ("Server", false),
            ("Age", false),
            ("Accept-Ranges", false),
            ("", false),
        ] {
            assert_eq!(is_hidden(name.as_bytes(), &pass), hidden, "{name}");
        }
        assert!(is_hidden(b"x-amz-meta-a", &[]));
        assert!(!is_hidden(b"x-amz-meta-a", &[Box::from(*b"*")]));
        assert!(!is_hidden(b"Set-Cookie", &[Box::from(*b"set-cookie")]));
    }

    #[test]
    fn answers_are_shown_as_what_they_mean() {
        use Class::{Client, Fault, Kept, Missing};
        for (status, code, expected) in [
            (200, "", None),
            (206, "", None),
            (304, "", None),
            (404, "NoSuchKey", Some((404, Missing))),
            (404, "NoSuchVersion", Some((404, Missing))),
            (404, "", Some((404, Missing))),
            (404, "NoSuchBucket", Some((502, Fault))),
            (403, "AccessDenied", Some((404, Missing))),
            (403, "", Some((404, Missing))),
            (403, "SignatureDoesNotMatch", Some((502, Fault))),
            (403, "InvalidAccessKeyId", Some((502, Fault))),
            (403, "RequestTimeTooSkewed", Some((502, Fault))),
            (403, "InvalidObjectState", Some((502, Fault))),
            (400, "KeyTooLongError", Some((404, Missing))),
            (400, "InvalidObjectName", Some((404, Missing))),
            (400, "XMinioInvalidObjectName", Some((404, Missing))),
            (400, "ExpiredToken", Some((502, Fault))),
            (400, "", Some((502, Fault))),
            (400, "InvalidURI", Some((400, Client))),
            (400, "NoSuchVersion", Some((404, Missing))),
            (401, "", Some((502, Fault))),
            (405, "MethodNotAllowed", Some((404, Missing))),
            (409, "", Some((502, Fault))),
            (300, "", Some((502, Fault))),
            (301, "PermanentRedirect", Some((502, Fault))),
            (307, "TemporaryRedirect", Some((502, Fault))),
            (412, "PreconditionFailed", Some((412, Kept))),
            (416, "InvalidRange", Some((416, Kept))),
            (429, "", Some((503, Kept))),
            (500, "InternalError", Some((500, Kept))),
            (501, "NotImplemented", Some((502, Fault))),
            (503, "SlowDown", Some((503, Kept))),
        ] {
            let code = (!code.is_empty()).then_some(code.as_bytes());
            let expected = expected.map(|(status, class)| Verdict { status, class });
            assert_eq!(verdict(status, code, false), expected, "{status} {code:?}");
            let is_any = status == 400 && code.is_none();
            assert!(is_any || verdict(status, code, true) == expected, "{status} {code:?}");
            assert!(expected.is_none_or(|s| reason(s.status) != "Error"));
        }
    }

    #[test]
    fn what_a_client_caused_is_the_clients() {
        for (code, is_clients) in [
            (None, true),
            (Some("InvalidArgument"), true),
            (Some("InvalidRequest"), true),
            (Some("InvalidRange"), true),
            (Some("InvalidPartNumber"), true),
            (Some("ExpiredToken"), false),
            (Some("AuthorizationHeaderMalformed"), false),
        ] {
            let code = code.map(str::as_bytes);
            let fault = Some(Verdict { status: 502, class: Class::Fault });
            let client = Some(Verdict { status: 400, class: Class::Client });
            assert_eq!(verdict(400, code, false), fault, "{code:?}");
            assert_eq!(
                verdict(400, code, true),
                if is_clients { client } else { fault },
                "{code:?}"
            );
            assert_eq!(verdict(403, Some(b"InvalidRequest"), true), fault);
        }
        assert!(Class::Missing.is_cacheable() && Class::Kept.is_cacheable());
        assert!(!Class::Fault.is_cacheable() && !Class::Client.is_cacheable());
    }

    #[test]
    fn what_is_cached_is_missing() {
        for status in [400, 403, 404, 405, 410] {
            let missing = Verdict { status: 404, class: Class::Missing };
            assert_eq!(verdict(status, cached_code(status), true), Some(missing), "{status}");
        }
        assert_eq!(verdict(200, cached_code(200), true), None);
    }

    #[test]
    fn advice_names_the_cure() {
        let text = |code: &'static str, region: Option<&'static str>, skew| {
            let code = Some(code.as_bytes());
            let region = region.map(str::as_bytes);
            Advice { code, region, skew, policy: "the policy", ..Advice::default() }.to_string()
        };
        let region =
            ": the bucket is in another region; write \"s3_private_bucket_region eu-west-1;\"";
        assert_eq!(text("PermanentRedirect", Some("eu-west-1"), None), region);
        let skewed = ": the clock of this machine is wrong";
        assert_eq!(
            text("RequestTimeTooSkewed", None, Some(1000)),
            format!("{skewed}, 1000 s ahead of S3's")
        );
        assert_eq!(
            text("RequestTimeTooSkewed", None, Some(-901)),
            format!("{skewed}, 901 s behind S3's")
        );
        assert_eq!(text("RequestTimeTooSkewed", None, None), skewed);
        let denied = ": the object does not exist, or the policy does not let nginx in";
        assert_eq!(text("AccessDenied", None, None), denied);
        let (code, policy) = (Some(&b"AccessDenied"[..]), "the policy");
        let vague = Advice { code, policy, is_vague: true, ..Advice::default() }.to_string();
        assert_eq!(vague, format!("{denied}; some servers say so of a wrong key too"));
        assert_eq!(text("NoSuchKey", None, None), "");
        let of_keys = |code: &'static str, renews| {
            let (code, region, skew) = (Some(code.as_bytes()), None, None);
            Advice { code, region, skew, renews, ..Advice::default() }.to_string()
        };
        let code = Some(&b"AccessDenied"[..]);
        let ended = Advice { code, ended: true, ..Advice::default() }.to_string();
        assert_eq!(ended, ": the keys have ended; see \"s3_private_bucket_credentials\"");
        for code in ["ExpiredToken", "InvalidAccessKeyId"] {
            let anew = ": the keys are fetched anew; see \"s3_private_bucket_credentials\"";
            assert_eq!((of_keys(code, true) == anew, of_keys(code, false) == anew), (true, false));
        }
        assert_ne!(of_keys("SignatureDoesNotMatch", true), of_keys("ExpiredToken", true));
    }
}
