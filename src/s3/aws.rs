//! AWS's own endpoints: their hosts, and which of them there are.

use thiserror::Error;

use super::endpoint::{Addressing, Endpoint};
use super::partition::{partition, AWS, CHINA};

/// What AWS is asked for beside its plain endpoint ("Amazon S3 endpoints and quotas", AWS General Reference).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// IPv6 addresses too.
    pub dualstack: bool,
    /// Cryptography that is validated by FIPS 140.
    pub fips: bool,
    /// S3 Transfer Acceleration.
    pub accelerate: bool,
}

/// The regions that are older than Signature Version 4.
const OLD_REGIONS: [&str; 8] = [
    "ap-northeast-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "eu-west-1",
    "sa-east-1",
    "us-east-1",
    "us-west-1",
    "us-west-2",
];

/// What is asked for, as far as it is known before a request.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A bucket of this name.
    Bucket(&'a [u8]),
    /// A bucket whose name is a variable.
    AnyBucket,
    /// An access point, by its ARN.
    AccessPoint,
}

/// What AWS does not serve at the endpoint of a region, by the names that are kept for it ("General purpose bucket naming rules",
/// S3 User Guide; the endpoint rules of AWS's SDKs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere<'a> {
    /// A directory bucket, or an access point of one, in this zone.
    Zone(&'a [u8]),
    /// An access point of S3 on Outposts.
    Outposts,
    /// A Multi-Region Access Point.
    MultiRegion,
}

/// Looks whether a valid bucket's name is kept for what is elsewhere.
pub fn elsewhere(name: &[u8]) -> Option<Elsewhere<'_>> {
    if name.ends_with(b".mrap") {
        return Some(Elsewhere::MultiRegion);
    }
    // Most names have no such end.
    let rest = name.strip_suffix(b"-s3")?;
    if rest.ends_with(b"--op") {
        return Some(Elsewhere::Outposts);
    }
    let rest = rest.strip_suffix(b"--x").or_else(|| rest.strip_suffix(b"--xa"))?;
    let zone = rest.windows(2).rposition(|pair| pair == b"--").map_or(rest, |at| &rest[at + 2..]);
    Some(Elsewhere::Zone(zone))
}

/// An endpoint that AWS does not have.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NoEndpoint {
    /// FIPS is a standard of the United States.
    #[error("AWS has no endpoint with \"fips\" in the region \"{0}\"; remove that")]
    Fips(String),
    /// Only the partition of most regions has Transfer Acceleration.
    #[error("AWS has no endpoint with \"accelerate\" in the region \"{0}\"; remove that")]
    Accelerate(String),
    /// Transfer Acceleration finds the bucket by the host name.
    #[error(
        "\"accelerate\" needs the bucket in the host name; remove \"s3_private_bucket_addressing \
         path\""
    )]
    Path,
    /// A host name that the certificate does not match.
    #[error(
        "\"accelerate\" needs a bucket without a dot in its name, which \"{0}\" has; remove it"
    )]
    Dot(String),
    /// One of [`Elsewhere`].
    #[error(
        "the directory bucket \"{name}\" is at the endpoint of its zone; write \"s3_private_bucket_endpoint {url}\" and \
         \"service=s3express\""
    )]
    Zone { name: String, url: String },
    /// Likewise.
    #[error(
        "\"{0}\" is an access point of S3 on Outposts, which are not served; use one of a region"
    )]
    Outposts(String),
    /// Likewise.
    #[error(
        "\"{0}\" is a Multi-Region Access Point, which take signatures of version 4A only; use one of a \
         region"
    )]
    MultiRegion(String),
    /// Access points have hosts of their own.
    #[error("\"accelerate\" is for buckets, and not for access points; remove it")]
    AccessPoint,
}

impl Features {
    /// The endpoint for a region; with a host of its own for access points. `accelerate` is for all regions.
    pub fn endpoint(self, region: &str, is_access_point: bool) -> Endpoint {
        let suffix = partition(region).suffix;
        let stack = if self.dualstack { ".dualstack" } else { "" };
        if self.accelerate {
            return Endpoint::of_aws(format!("s3-accelerate{stack}.{suffix}"));
        }
        let service = if is_access_point { "s3-accesspoint" } else { "s3" };
        let fips = if self.fips { "-fips" } else { "" };
        Endpoint::of_aws(format!("{service}{fips}{stack}.{region}.{suffix}"))
    }

    /// Whether the endpoint for a region takes Signature Version 2, for buckets that are old enough (botocore's
    /// `endpoints.json`, `signatureVersions`).
    pub fn take_sigv2(self, region: &str) -> bool {
        partition(region).name == "aws-us-gov" || !self.fips && OLD_REGIONS.contains(&region)
    }

    /// Looks whether AWS has such an endpoint: in this region, for what is asked, named as the user wrote.
    /// That `fips` and `accelerate` exclude each other is told where they are read.
    ///
    /// # Errors
    /// The first reason of [`NoEndpoint`] that applies.
    pub fn check(
        self,
        region: &str,
        addressing: Option<Addressing>,
        asked: Asked,
    ) -> Result<(), NoEndpoint> {
        if let Asked::Bucket(name) = asked {
            is_here(region, name)?;
        }
        if self.fips && *partition(region) == CHINA {
            return Err(NoEndpoint::Fips(region.to_owned()));
        }
        if !self.accelerate {
            return Ok(());
        }
        match asked {
            _ if *partition(region) != AWS => Err(NoEndpoint::Accelerate(region.to_owned())),
            _ if addressing == Some(Addressing::Path) => Err(NoEndpoint::Path),
            Asked::AccessPoint => Err(NoEndpoint::AccessPoint),
            Asked::Bucket(name) if name.contains(&b'.') => {
                Err(NoEndpoint::Dot(String::from_utf8_lossy(name).into_owned()))
            }
            Asked::Bucket(_) | Asked::AnyBucket => Ok(()),
        }
    }
}

fn is_here(region: &str, bucket: &[u8]) -> Result<(), NoEndpoint> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Err(match elsewhere(bucket) {
        None => return Ok(()),
        Some(Elsewhere::Outposts) => NoEndpoint::Outposts(text(bucket)),
        Some(Elsewhere::MultiRegion) => NoEndpoint::MultiRegion(text(bucket)),
        Some(Elsewhere::Zone(zone)) => {
            let suffix = partition(region).suffix;
            let url = format!("https://s3express-{}.{region}.{suffix}", text(zone));
            NoEndpoint::Zone { name: text(bucket), url }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_elsewhere() {
        for (name, expected) in [
            ("a--use1-az4--x-s3", Some(Elsewhere::Zone(b"use1-az4"))),
            ("a--b--usw2-lax1-az1--xa-s3", Some(Elsewhere::Zone(b"usw2-lax1-az1"))),
            ("a--x-s3", Some(Elsewhere::Zone(b"a"))),
            ("point-o0b1d--op-s3", Some(Elsewhere::Outposts)),
            ("mfzwi23gnjvgw.mrap", Some(Elsewhere::MultiRegion)),
            ("a--ol-s3", None),
            ("a--table-s3", None),
            ("a-s3alias", None),
            ("a-x-s3", None),
            ("a--x-s3-b", None),
            ("-s3", None),
            ("mrap", None),
        ] {
            assert_eq!(elsewhere(name.as_bytes()), expected, "{name}");
        }
    }

    fn features(words: &str) -> Features {
        Features {
            dualstack: words.contains("dualstack"),
            fips: words.contains("fips"),
            accelerate: words.contains("accelerate"),
        }
    }

    #[test]
    fn each_set_of_features_has_a_host() {
        for (words, region, is_access_point, host) in [
            ("", "eu-central-1", false, "s3.eu-central-1.amazonaws.com"),
            ("", "cn-north-1", false, "s3.cn-north-1.amazonaws.com.cn"),
            ("", "eusc-de-east-1", false, "s3.eusc-de-east-1.amazonaws.eu"),
            ("", "eu-west-1", true, "s3-accesspoint.eu-west-1.amazonaws.com"),
            ("dualstack", "eu-west-1", false, "s3.dualstack.eu-west-1.amazonaws.com"),
            ("fips", "us-east-1", false, "s3-fips.us-east-1.amazonaws.com"),
            ("fips dualstack", "us-east-1", false, "s3-fips.dualstack.us-east-1.amazonaws.com"),
            (
                "fips dualstack",
                "us-east-1",
                true,
                "s3-accesspoint-fips.dualstack.us-east-1.amazonaws.com",
            ),
            ("accelerate", "eu-west-1", false, "s3-accelerate.amazonaws.com"),
            ("accelerate dualstack", "eu-west-1", false, "s3-accelerate.dualstack.amazonaws.com"),
        ] {
            let endpoint = features(words).endpoint(region, is_access_point);
            assert_eq!((endpoint.authority().as_str(), endpoint.https), (host, true));
            assert!(endpoint.is_aws() && !endpoint.is_address() && !endpoint.is_loopback());
        }
    }

    #[test]
    fn endpoints_that_aws_does_not_have_are_told() {
        let (bucket, any, point) = (Asked::Bucket(b"abc"), Asked::AnyBucket, Asked::AccessPoint);
        let (dots, path) = (Asked::Bucket(b"a.bc"), Some(Addressing::Path));
        let region = |error: fn(String) -> NoEndpoint, region: &str| Err(error(region.to_owned()));
        for (words, name, addressing, asked, expected) in [
            ("", "cn-north-1", path, dots, Ok(())),
            ("fips dualstack", "us-gov-west-1", path, dots, Ok(())),
            ("fips", "cn-north-1", None, bucket, region(NoEndpoint::Fips, "cn-north-1")),
            ("accelerate", "eu-west-1", None, bucket, Ok(())),
            ("accelerate", "eu-west-1", Some(Addressing::Virtual), any, Ok(())),
            ("accelerate", "eu-west-1", path, any, Err(NoEndpoint::Path)),
            ("accelerate", "eu-west-1", None, point, Err(NoEndpoint::AccessPoint)),
            ("accelerate", "eu-west-1", None, dots, Err(NoEndpoint::Dot("a.bc".to_owned()))),
            (
                "accelerate",
                "us-gov-west-1",
                None,
                bucket,
                region(NoEndpoint::Accelerate, "us-gov-west-1"),
            ),
        ] {
            assert_eq!(features(words).check(name, addressing, asked), expected, "{words} {name}");
        }
    }
}
