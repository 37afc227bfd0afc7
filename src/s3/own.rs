//! What operators may add to a request: names of query arguments and headers, and values of these.

use std::borrow::Cow;

use super::auth::secret::is_token;

/// Arguments of requests for listings, in lower case.
const OF_LISTINGS: [&str; 11] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "prefix",
    "start-after",
    "version-id-marker",
];

/// Arguments of URLs with a Signature Version 2, likewise.
const OF_SIGNATURES: [&str; 3] = ["awsaccesskeyid", "expires", "signature"];

/// Sub-resources, likewise.
const SUB_RESOURCES: [&str; 42] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataannotationtable",
    "metadataconfiguration",
    "metadatainventorytable",
    "metadatajournaltable",
    "metadatatable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipcontrols",
    "policy",
    "policystatus",
    "publicaccessblock",
    "renameobject",
    "replication",
    "requestpayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadid",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// Why a query argument cannot be set, as the cure; `None` for one that can.
///
/// Sub-resources make another request of one for an object ("Actions", Amazon S3 API Reference).
pub fn argument_fault(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    if name.contains('$') {
        Some("a name has no variables")
    } else if name.starts_with("x-amz-") || OF_SIGNATURES.contains(&name.as_str()) {
        Some("S3 takes it for a signature")
    } else if OF_LISTINGS.contains(&name.as_str()) {
        Some("it is an argument of listings")
    } else if SUB_RESOURCES.contains(&name.as_str()) {
        Some("with it S3 is asked for something else than the object")
    } else {
        None
    }
}

/// Headers that the module, nginx or the connection has, in lower case.
const TAKEN: [&str; 20] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-expected-bucket-owner",
    "x-amz-security-token",
];

/// Why a header, whose name is in lower case, cannot be set, as for [`argument_fault`].
pub fn header_fault(name: &str) -> Option<&'static str> {
    if !is_token(name) {
        Some("it is not the name of a header")
    } else if TAKEN.contains(&name)
        || name.starts_with("if-")
        || name.starts_with("x-s3-private-bucket-")
    {
        Some("the module or nginx sends it")
    } else {
        None
    }
}

/// Whether an argument can have this decoded value. One with a control byte it cannot: servers send `response-*` as headers,
/// some of them byte by byte.
pub fn is_argument_value(value: &[u8]) -> bool {
    !value.iter().any(u8::is_ascii_control)
}

/// A header's value as it is sent and signed: without white space at its ends, and with one space where there
/// are several, which is what servers compute the signature of. `None` for one with a control byte.
pub fn header_value(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let value = value.trim_ascii();
    if value.iter().any(u8::is_ascii_control) {
        None
    } else if value.windows(2).any(|pair| pair == b"  ") {
        let words = value.split(|&b| b == b' ').filter(|word| !word.is_empty());
        Some(words.collect::<Vec<_>>().join(&b' ').into())
    } else {
        Some(value.into())
    }
}

/// The header with the key that S3 decrypts an object with (SSE-C).
pub const CUSTOMER_KEY: &str = "x-amz-server-side-encryption-customer-key";

/// Whether a header says how S3 decrypts an object (SSE-C): what a URL cannot, as S3 wants it in a header.
pub fn is_decrypting(name: &str) -> bool {
    name.starts_with("x-amz-server-side-encryption-customer-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_ask_for_the_object() {
        for name in ["versionId", "partNumber", "response-content-type", "x-id", "x"] {
            assert_eq!(argument_fault(name), None, "{name}");
        }
        for name in [
            "X-Amz-Date",
            "x-amz-security-token",
            "list-type",
            "acl",
            "uploadId",
            "ACL",
            "Expires",
            "a$b",
        ] {
            assert!(argument_fault(name).is_some(), "{name}");
        }
        assert!(is_argument_value("a \u{fc}".as_bytes()) && is_argument_value(b"\xff"));
        for value in ["a\r\nb", "\t", "\0", "\x7f"] {
            assert!(!is_argument_value(value.as_bytes()), "{value:?}");
        }
    }

    #[test]
    fn headers_of_others_are_left_alone() {
        for name in ["x-amz-request-payer", "x-amz-checksum-mode", "user-agent", "x"] {
            assert_eq!(header_fault(name), None, "{name}");
        }
        for name in ["", "a b", "a$b", "a:", "host", "range", "if-match", "x-amz-date", "cookie"] {
            assert!(header_fault(name).is_some(), "{name}");
        }
    }

    #[test]
    fn values_are_sent_as_they_are_signed() {
        for (value, sent) in [
            (&b""[..], Some(&b""[..])),
            (b" \t\n", Some(b"")),
            (b" a b\t", Some(b"a b")),
            (b"a   b  c", Some(b"a b c")),
            (b"\xff\xc3\xbc", Some(b"\xff\xc3\xbc")),
            (b"a\r\nb", None),
            (b"a\nb", None),
            (b"a\tb", None),
            (b"a\0", None),
            (b"a\x7f", None),
        ] {
            assert_eq!(header_value(value).as_deref(), sent, "{value:?}");
        }
    }
}
