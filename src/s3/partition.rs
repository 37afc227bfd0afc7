//! The partitions of AWS: groups of regions with names of their own.

/// A partition ("AWS partitions", AWS General Reference).
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// What stands in ARNs.
    pub name: &'static str,
    /// What the hosts of its services end with.
    pub suffix: &'static str,
    /// What the names of its regions begin with.
    regions: &'static str,
}

/// The partition of all regions that are in no other.
pub const AWS: Partition = Partition { name: "aws", suffix: "amazonaws.com", regions: "" };

/// The partition of the regions in China.
pub const CHINA: Partition =
    Partition { name: "aws-cn", suffix: "amazonaws.com.cn", regions: "cn-" };

static OTHERS: [Partition; 7] = [
    CHINA,
    Partition { name: "aws-us-gov", suffix: "amazonaws.com", regions: "us-gov-" },
    Partition { name: "aws-eusc", suffix: "amazonaws.eu", regions: "eusc-" },
    Partition { name: "aws-iso", suffix: "c2s.ic.gov", regions: "us-iso-" },
    Partition { name: "aws-iso-b", suffix: "sc2s.sgov.gov", regions: "us-isob-" },
    Partition { name: "aws-iso-e", suffix: "cloud.adc-e.uk", regions: "eu-isoe-" },
    Partition { name: "aws-iso-f", suffix: "csp.hci.ic.gov", regions: "us-isof-" },
];

/// The partition of a region.
pub fn partition(region: &str) -> &'static Partition {
    OTHERS.iter().find(|other| region.starts_with(other.regions)).unwrap_or(&AWS)
}

/// Whether a lower-case host is of AWS's S3 (`s3`, `s3-fips`, `s3express-use1-az4`, ... among its labels). Whoever has an
/// instance or a load balancer at AWS has a host below the same domains, maybe with another S3 server.
pub fn is_host_of_aws(host: &str) -> bool {
    let is_s3 = |name: &str| {
        let is_of_s3 = |label: &str| {
            label == "s3" || label.starts_with("s3-") || label.starts_with("s3express-")
        };
        let is_of_user = |label: &str| label == "elb" || label.starts_with("compute");
        name.ends_with('.') && name.split('.').any(is_of_s3) && !name.split('.').any(is_of_user)
    };
    let is_below = |partition: &Partition| host.strip_suffix(partition.suffix).is_some_and(is_s3);
    OTHERS.iter().chain([&AWS]).any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_all_partitions_are_known() {
        for host in [
            "s3.amazonaws.com",
            "s3-us-west-2.amazonaws.com",
            "bucket.vpce-1a-2b.s3.eu-west-1.vpce.amazonaws.com",
            "s3express-use1-az4.us-east-1.amazonaws.com",
            "s3.cn-north-1.amazonaws.com.cn",
            "s3.eusc-de-east-1.amazonaws.eu",
        ] {
            assert!(is_host_of_aws(host), "{host}");
        }
        for host in [
            "amazonaws.com",
            "s3.xamazonaws.com",
            "s3.amazonaws.com.example.com",
            "s3.c2s.gov",
            "a.amazonaws.com",
            "ec2-192-0-2-1.eu-west-1.compute.amazonaws.com",
            "ec2-192-0-2-1.compute-1.amazonaws.com",
            "s3-minio-1234.eu-west-1.elb.amazonaws.com",
            "minio.s3.internal",
        ] {
            assert!(!is_host_of_aws(host), "{host}");
        }
    }

    #[test]
    fn regions_tell_their_partition() {
        for (region, name) in [
            ("us-east-1", "aws"),
            ("eu-isolated-1", "aws"),
            ("auto", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("eusc-de-east-1", "aws-eusc"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("us-isof-south-1", "aws-iso-f"),
        ] {
            assert_eq!(partition(region).name, name, "{region}");
        }
    }
}
