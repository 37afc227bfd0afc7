//! What operators may add to a request for an object: names of query arguments.

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

/// Sub-resources, likewise.
const SUB_RESOURCES: [&str; 37] = [
    "accelerate",
    "acl",
    "analytics",
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
    "metadataconfiguration",
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
    if name.starts_with("x-amz-") {
        Some("S3 takes it for a signature")
    } else if OF_LISTINGS.contains(&name.as_str()) {
        Some("it is an argument of listings")
    } else if SUB_RESOURCES.contains(&name.as_str()) {
        Some("with it S3 is asked for something else than the object")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_ask_for_the_object() {
        for name in ["versionId", "partNumber", "response-content-type", "x-id", "x"] {
            assert_eq!(argument_fault(name), None, "{name}");
        }
        for name in ["X-Amz-Date", "x-amz-security-token", "list-type", "acl", "uploadId", "ACL"] {
            assert!(argument_fault(name).is_some(), "{name}");
        }
    }
}
