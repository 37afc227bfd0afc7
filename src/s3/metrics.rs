//! What is counted, as text that Prometheus reads ("Exposition formats", Prometheus documentation: text format
//! 0.0.4).

use std::collections::BTreeMap;
use std::io::{self, Write};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// The classes of S3's statuses; the last one is for what is none.
pub const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", OTHER];

/// The label of what has none of its own.
pub const OTHER: &str = "other";

/// The same for buckets: no bucket has this name.
pub const OTHER_BUCKET: &str = "(other)";

/// The error codes that have a label of their own whatever else servers say ("List of error codes", Amazon S3 API
/// Reference): those that a client that reads can meet.
pub const CODES: [&str; 30] = [
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "BadRequest",
    "ExpiredToken",
    "InternalError",
    "InvalidAccessKeyId",
    "InvalidArgument",
    "InvalidObjectState",
    "InvalidRange",
    "InvalidRequest",
    "InvalidToken",
    "InvalidURI",
    "KeyTooLongError",
    "MethodNotAllowed",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchVersion",
    "NotImplemented",
    "PermanentRedirect",
    "PreconditionFailed",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "SlowDown",
    "TemporaryRedirect",
    "TokenRefreshRequired",
    "UserKeyMustBeSpecified",
];

/// Which of [`CLASSES`] a status is of.
#[inline]
pub fn class(status: u16) -> usize {
    match status {
        200..=599 => usize::from(status / 100 - 2),
        _ => CLASSES.len() - 1,
    }
}

/// What is counted.
#[derive(Default)]
pub struct Metrics {
    /// By bucket, class and error code, which is empty for an answer without one.
    pub answers: BTreeMap<(String, &'static str, String), u64>,
    /// Of requests.
    pub signatures: u64,
    pub connections: Connections,
    pub sources: Vec<Source>,
}

/// The connections that answers came over.
#[derive(Default)]
pub struct Connections {
    pub new: u64,
    pub kept: u64,
    /// TLS handshakes.
    pub full: u64,
    pub resumed: u64,
}

/// A source of keys that renew themselves.
pub struct Source {
    pub name: String,
    /// For how many seconds its keys are valid; negative when they have ended. `None` where they do not say, or
    /// there are none.
    pub left: Option<i64>,
    pub refreshes: u64,
    pub failures: u64,
}

impl Metrics {
    /// Writes the text.
    pub fn write(&self, out: &mut Vec<u8>) {
        // A vector takes whatever is written.
        let _ = self.write_all(out);
    }

    fn write_all(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let name = "answers_total";
        let help = "Answers of S3, by bucket, class of status and error code.";
        head(out, name, "counter", help)?;
        for ((bucket, class, code), count) in &self.answers {
            sample(out, name, &[("bucket", bucket), ("class", class), ("code", code)], count)?;
        }
        let name = "signatures_total";
        head(out, name, "counter", "Requests to S3 that were signed.")?;
        sample(out, name, &[], self.signatures)?;
        let of = &self.connections;
        let name = "connections_total";
        let help = "Answers of S3 over a connection that was new, or kept from an earlier request.";
        head(out, name, "counter", help)?;
        sample(out, name, &[("state", "new")], of.new)?;
        sample(out, name, &[("state", "kept")], of.kept)?;
        let name = "tls_handshakes_total";
        let help = "TLS handshakes of new connections, in full or resuming a session.";
        head(out, name, "counter", help)?;
        sample(out, name, &[("kind", "full")], of.full)?;
        sample(out, name, &[("kind", "resumed")], of.resumed)?;
        self.write_sources(out)
    }

    fn write_sources(&self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.sources.is_empty() {
            return Ok(());
        }
        let name = "credentials_expiry_seconds";
        head(out, name, "gauge", "Seconds until the keys of a source expire.")?;
        for source in &self.sources {
            if let Some(left) = source.left {
                sample(out, name, &[("source", &source.name)], left)?;
            }
        }
        let name = "credentials_refreshes_total";
        head(out, name, "counter", "Attempts to renew the keys of a source.")?;
        for source in &self.sources {
            for (result, count) in [("success", source.refreshes), ("failure", source.failures)] {
                sample(out, name, &[("source", &source.name), ("result", result)], count)?;
            }
        }
        Ok(())
    }
}

/// What all names begin with.
const PREFIX: &str = "s3_private_bucket_";

/// The lines before the samples of a name. `help` has no backslash and no line feed.
fn head(out: &mut Vec<u8>, name: &str, kind: &str, help: &str) -> io::Result<()> {
    writeln!(out, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}")
}

fn sample(
    out: &mut Vec<u8>,
    name: &str,
    labels: &[(&str, &str)],
    value: impl std::fmt::Display,
) -> io::Result<()> {
    write!(out, "{PREFIX}{name}")?;
    for (i, (label, text)) in labels.iter().enumerate() {
        let before = if i == 0 { '{' } else { ',' };
        write!(out, "{before}{label}=\"{}\"", escaped(text))?;
    }
    let after = if labels.is_empty() { "" } else { "}" };
    writeln!(out, "{after} {value}")
}

/// A label's value between its quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut out = Vec::new();
        metrics.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_that_is_counted_is_written() {
        let answer = |bucket: &str, class, code: &str| (bucket.to_owned(), class, code.to_owned());
        let metrics = Metrics {
            answers: [
                (answer("b", "4xx", "NoSuchKey"), 2),
                (answer("b", "2xx", ""), 10),
                (answer("a", "5xx", "SlowDown"), u64::MAX),
            ]
            .into(),
            signatures: 13,
            connections: Connections { new: 2, kept: 11, full: 1, resumed: 4 },
            sources: vec![
                Source { name: "instance".into(), left: Some(-3), refreshes: 5, failures: 6 },
                Source { name: "a \"b\"\\\n".into(), left: None, refreshes: 0, failures: 0 },
            ],
        };
        let expected = r#"# HELP s3_private_bucket_answers_total Answers of S3, by bucket, class of status and error code.
# TYPE s3_private_bucket_answers_total counter
s3_private_bucket_answers_total{bucket="a",class="5xx",code="SlowDown"} 18446744073709551615
s3_private_bucket_answers_total{bucket="b",class="2xx",code=""} 10
s3_private_bucket_answers_total{bucket="b",class="4xx",code="NoSuchKey"} 2
# HELP s3_private_bucket_signatures_total Requests to S3 that were signed.
# TYPE s3_private_bucket_signatures_total counter
s3_private_bucket_signatures_total 13
# HELP s3_private_bucket_connections_total Answers of S3 over a connection that was new, or kept from an earlier request.
# TYPE s3_private_bucket_connections_total counter
s3_private_bucket_connections_total{state="new"} 2
s3_private_bucket_connections_total{state="kept"} 11
# HELP s3_private_bucket_tls_handshakes_total TLS handshakes of new connections, in full or resuming a session.
# TYPE s3_private_bucket_tls_handshakes_total counter
s3_private_bucket_tls_handshakes_total{kind="full"} 1
s3_private_bucket_tls_handshakes_total{kind="resumed"} 4
# HELP s3_private_bucket_credentials_expiry_seconds Seconds until the keys of a source expire.
# TYPE s3_private_bucket_credentials_expiry_seconds gauge
s3_private_bucket_credentials_expiry_seconds{source="instance"} -3
# HELP s3_private_bucket_credentials_refreshes_total Attempts to renew the keys of a source.
# TYPE s3_private_bucket_credentials_refreshes_total counter
s3_private_bucket_credentials_refreshes_total{source="instance",result="success"} 5
s3_private_bucket_credentials_refreshes_total{source="instance",result="failure"} 6
s3_private_bucket_credentials_refreshes_total{source="a \"b\"\\\n",result="success"} 0
s3_private_bucket_credentials_refreshes_total{source="a \"b\"\\\n",result="failure"} 0
"#;
        assert_eq!(text(&metrics), expected);
    }

    #[test]
    fn sources_are_told_of_where_there_are_some() {
        assert!(!text(&Metrics::default()).contains("credentials"));
        assert!(text(&Metrics::default()).contains("s3_private_bucket_signatures_total 0\n"));
    }

    #[test]
    fn statuses_have_classes() {
        for (status, expected) in [
            (0, OTHER),
            (199, OTHER),
            (200, "2xx"),
            (299, "2xx"),
            (304, "3xx"),
            (404, "4xx"),
            (503, "5xx"),
            (599, "5xx"),
            (600, OTHER),
            (u16::MAX, OTHER),
        ] {
            assert_eq!(CLASSES[class(status)], expected, "{status}");
        }
    }
}
