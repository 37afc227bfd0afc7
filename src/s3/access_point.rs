//! Access points that are named by their ARN.

use thiserror::Error;

use super::endpoint::is_region;
use super::partition::partition;

/// Why an ARN does not name an access point that can be served.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ArnError {
    /// Another resource, a bucket say, or no ARN at all.
    #[error(
        "it must be arn:aws:s3:region:account:accesspoint/name; a bucket is written as its name"
    )]
    Form,
    /// An access point whose answers a function makes.
    #[error("access points of Object Lambda are not served by ARN; write the alias (--ol-s3)")]
    ObjectLambda,
    /// Storage outside AWS's regions.
    #[error("access points of S3 on Outposts are not served; use one of a region")]
    Outposts,
    /// An access point of several regions has none in its ARN.
    #[error("Multi-Region Access Points take signatures of version 4A only; use one of a region")]
    MultiRegion,
    /// Not a region's name.
    #[error("the region is not valid")]
    Region,
    /// A region and a partition that do not belong together.
    #[error("the region is in the partition \"{0}\"; write that behind \"arn:\"")]
    Partition(&'static str),
    /// Not an account ID.
    #[error("the account must have 12 digits")]
    Account,
    /// Not the name of an access point.
    #[error("the name must have 3 to 50 characters a-z, 0-9 and \"-\"")]
    Name,
}

/// An access point ("Referencing access points", S3 User Guide).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessPoint<'a> {
    /// The region that it is in, and that requests are signed for.
    pub region: &'a str,
    account: &'a str,
    name: &'a str,
}

impl<'a> AccessPoint<'a> {
    /// Parses `arn:partition:s3:region:account:accesspoint/name`, or the same with a colon before the name.
    ///
    /// # Errors
    /// The first reason of [`ArnError`] that applies.
    pub fn parse(arn: &'a str) -> Result<Self, ArnError> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", of, service, region, account, resource] = parts[..] else {
            return Err(ArnError::Form);
        };
        match service {
            "s3" => (),
            "s3-object-lambda" => return Err(ArnError::ObjectLambda),
            "s3-outposts" => return Err(ArnError::Outposts),
            _ => return Err(ArnError::Form),
        }
        let name = resource.strip_prefix("accesspoint").and_then(|n| n.strip_prefix(['/', ':']));
        let name = name.ok_or(ArnError::Form)?;
        if region.is_empty() {
            return Err(ArnError::MultiRegion);
        }
        if !is_region(region) || !region.bytes().all(in_label) {
            return Err(ArnError::Region);
        }
        let partition = partition(region).name;
        if of != partition {
            return Err(ArnError::Partition(partition));
        }
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ArnError::Account);
        }
        let is_name = (3..=50).contains(&name.len())
            && name.bytes().all(in_label)
            && !name.starts_with('-')
            && !name.ends_with('-');
        match is_name {
            true => Ok(AccessPoint { region, account, name }),
            false => Err(ArnError::Name),
        }
    }

    /// What stands before the endpoint's host.
    pub fn label(&self) -> String {
        format!("{}-{}", self.name, self.account)
    }
}

fn in_label(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_points_have_a_region_and_a_label() {
        for (arn, region) in [
            ("arn:aws:s3:eu-central-1:123456789012:accesspoint/my-point", "eu-central-1"),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint:my-point", "us-east-1"),
            ("arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/my-point", "cn-north-1"),
        ] {
            let point = AccessPoint::parse(arn).unwrap();
            assert_eq!((point.region, &*point.label()), (region, "my-point-123456789012"), "{arn}");
        }
    }

    #[test]
    fn other_arns_are_refused() {
        let long = format!("arn:aws:s3:us-east-1:123456789012:accesspoint/{}", "a".repeat(51));
        for (arn, expected) in [
            ("arn:", ArnError::Form),
            ("arn:aws:s3:::bucket", ArnError::Form),
            ("arn:aws:s3:::bucket/accesspoint/x", ArnError::Form),
            ("arn:aws:sqs:us-east-1:123456789012:accesspoint/abc", ArnError::Form),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint", ArnError::Form),
            ("arn:aws:s3:us-east-1:123456789012:accesspoints/abc", ArnError::Form),
            (
                "arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/abc",
                ArnError::ObjectLambda,
            ),
            (
                "arn:aws:s3-outposts:us-east-1:123456789012:outpost/op-1/accesspoint/abc",
                ArnError::Outposts,
            ),
            ("arn:aws:s3::123456789012:accesspoint/abc.mrap", ArnError::MultiRegion),
            ("arn:aws:s3:us.east:123456789012:accesspoint/abc", ArnError::Region),
            ("arn:aws:s3:US-EAST-1:123456789012:accesspoint/abc", ArnError::Region),
            ("arn:aws:s3:cn-north-1:123456789012:accesspoint/abc", ArnError::Partition("aws-cn")),
            ("arn:aws-cn:s3:us-east-1:123456789012:accesspoint/abc", ArnError::Partition("aws")),
            ("arn:aws:s3:us-east-1::accesspoint/abc", ArnError::Account),
            ("arn:aws:s3:us-east-1:12345678901x:accesspoint/abc", ArnError::Account),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint/", ArnError::Name),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint/ab", ArnError::Name),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint/-abc", ArnError::Name),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint/abc-", ArnError::Name),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint/a.bc", ArnError::Name),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint/Abc", ArnError::Name),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint/abc/object", ArnError::Name),
            (&long, ArnError::Name),
        ] {
            assert_eq!(AccessPoint::parse(arn), Err(expected), "{arn}");
        }
    }
}
