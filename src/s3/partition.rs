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

/// Whether a lower-case host is one of AWS's own.
pub fn is_host_of_aws(host: &str) -> bool {
    let is_below = |partition: &Partition| {
        host.strip_suffix(partition.suffix).is_some_and(|name| name.ends_with('.'))
    };
    OTHERS.iter().chain([&AWS]).any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_all_partitions_are_known() {
        for host in ["s3.amazonaws.com", "a.amazonaws.com.cn", "s3.eusc-de-east-1.amazonaws.eu"] {
            assert!(is_host_of_aws(host), "{host}");
        }
        for host in ["amazonaws.com", "xamazonaws.com", "amazonaws.com.example.com", "s3.c2s.gov"] {
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
