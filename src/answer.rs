//! What S3 answers, and what of it clients see.

/// Headers that only S3 servers send (Amazon's, and those of Ceph's RADOS gateway and MinIO).
const S3_HEADERS: [&[u8]; 3] = [b"x-amz-", b"x-rgw-", b"x-minio-"];

/// Returns whether a response header is kept from clients: one of S3's own that no pattern of
/// `pass` names. Names are compared without case; a pattern that ends in `*` names all
/// headers that begin with the rest of it.
pub fn is_hidden(name: &[u8], pass: &[Box<[u8]>]) -> bool {
    let begins = |with: &[u8]| name.get(..with.len()).is_some_and(|n| n.eq_ignore_ascii_case(with));
    let named = |pattern: &[u8]| match pattern.strip_suffix(b"*") {
        Some(with) => begins(with),
        None => name.eq_ignore_ascii_case(pattern),
    };
    S3_HEADERS.iter().any(|with| begins(with)) && !pass.iter().any(|pattern| named(pattern))
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
            ("x-rgw-object-type", true),
            ("X-Minio-Deployment-Id", true),
            ("x-amz", false),
            ("ETag", false),
            ("Content-Type", false),
            ("", false),
        ] {
            assert_eq!(is_hidden(name.as_bytes(), &pass), hidden, "{name}");
        }
        assert!(is_hidden(b"x-amz-meta-a", &[]));
        assert!(!is_hidden(b"x-amz-meta-a", &[Box::from(*b"*")]));
    }
}
