//! Where a bucket lives: endpoint URLs, bucket names, addressing styles.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use super::partition::is_host_of_aws;

/// Why an endpoint URL is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// The scheme is not one of the two that nginx proxies.
    #[error("it must begin with \"http://\" or \"https://\"")]
    Scheme,
    /// A path, query or fragment: the module writes the whole request target itself.
    #[error("it must be scheme://host[:port], without a path or query")]
    Path,
    /// User and password have no meaning for S3.
    #[error("it must not have a user name or password")]
    UserInfo,
    /// No host, or bytes that no host name has.
    #[error("the host name is not valid")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the port is not valid")]
    Port,
}

/// An S3 endpoint: `http[s]://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub https: bool,
    /// Lower-case host name or address, an IPv6 one in brackets.
    pub host: String,
    /// The port, when it is not the scheme's own.
    pub port: Option<u16>,
    /// Whether it is one of AWS's own.
    is_aws: bool,
}

impl Endpoint {
    /// Parses the argument of `s3_private_bucket_endpoint`. One final slash is allowed.
    ///
    /// # Errors
    /// The first reason of [`EndpointError`] that applies.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let lower = url.to_ascii_lowercase();
        let (https, rest) = if let Some(rest) = lower.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = lower.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(EndpointError::Scheme);
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(EndpointError::Path);
        }
        if rest.contains('@') {
            return Err(EndpointError::UserInfo);
        }

        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (address, port) = v6.split_once(']').ok_or(EndpointError::Host)?;
                address.parse::<Ipv6Addr>().map_err(|_| EndpointError::Host)?;
                (&rest[..address.len() + 2], port)
            }
            None => match rest.find(':') {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            },
        };
        if !host.starts_with('[') && !host_name(host) {
            return Err(EndpointError::Host);
        }
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse::<u16>().ok().filter(|&p| p > 0).ok_or(EndpointError::Port)?)
            }
            None if port.is_empty() => None,
            _ => return Err(EndpointError::Port),
        };
        let own = if https { 443 } else { 80 };
        Ok(Endpoint {
            https,
            host: host.to_owned(),
            port: port.filter(|&p| p != own),
            is_aws: is_host_of_aws(host),
        })
    }

    /// An endpoint of AWS's own with this host.
    pub fn of_aws(host: String) -> Self {
        Endpoint { https: true, host, port: None, is_aws: true }
    }

    /// Whether the host is one of AWS's own.
    pub fn is_aws(&self) -> bool {
        self.is_aws
    }

    /// Whether the host is one of AWS's own that is not for access points: behind a name it is for buckets.
    pub fn is_for_buckets_alone(&self) -> bool {
        let mut labels = self.host.split('.');
        self.is_aws && !labels.any(|l| l == "accesspoint" || l.starts_with("s3-accesspoint"))
    }

    /// Whether the host is an address, so that there is no name to resolve.
    pub fn is_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }

    /// Whether what is sent to the host stays on this machine.
    pub fn is_loopback(&self) -> bool {
        let v6 = self.host.trim_matches(['[', ']']);
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host.parse::<Ipv4Addr>().is_ok_and(|a| a.is_loopback())
            || v6.parse::<Ipv6Addr>().is_ok_and(|a| a.is_loopback())
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.https {
            "https"
        } else {
            "http"
        }
    }

    /// A `Host` header of the endpoint's without its port.
    pub fn without_port<'a>(&self, authority: &'a str) -> &'a str {
        let port = self.port.map(|port| format!(":{port}"));
        port.and_then(|port| authority.strip_suffix(&port)).unwrap_or(authority)
    }

    /// `host[:port]`, as in a `Host` header.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

fn host_name(host: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// How a bucket is named in a request ("Virtual hosting of buckets", S3 User Guide).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// [`Addressing::Virtual`] for AWS when the name has no dot, else [`Addressing::Path`].
    Auto,
    /// `https://bucket.host/key`
    Virtual,
    /// `https://host/bucket/key`
    Path,
}

impl Addressing {
    /// Whether `bucket` goes into the host name of `endpoint`.
    ///
    /// A dot in the name makes a host that AWS's wildcard certificate does not match.
    pub fn is_virtual(self, endpoint_is_aws: bool, bucket: &[u8]) -> bool {
        match self {
            Addressing::Auto => endpoint_is_aws && !bucket.contains(&b'.'),
            Addressing::Virtual => true,
            Addressing::Path => false,
        }
    }
}

/// Returns whether `name` follows the bucket naming rules ("General purpose bucket naming rules",
/// S3 User Guide): 3 to 63 bytes of `a-z 0-9 . -`, a letter or digit at both ends, no two
/// dots in a row, not an IPv4 address.
pub fn is_bucket_name(name: &[u8]) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    (3..=63).contains(&name.len())
        && edge(name.first())
        && edge(name.last())
        && name.iter().all(inner)
        && !name.windows(2).any(|w| w == b"..")
        && !core::str::from_utf8(name).is_ok_and(|n| n.parse::<Ipv4Addr>().is_ok())
}

/// Returns whether `name` is that of a directory bucket ("Directory bucket naming rules", S3 User Guide), which
/// lists its keys in no order.
pub fn is_directory_bucket(name: &[u8]) -> bool {
    name.ends_with(b"--x-s3")
}

/// Returns whether `name` can be an AWS region or an S3-compatible service's word for one:
/// letters, digits, `-` and `_`.
pub fn is_region(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_parse() {
        for (url, authority, https) in [
            ("https://s3.example.com", "s3.example.com", true),
            ("HTTPS://S3.Example.com/", "s3.example.com", true),
            ("https://s3.example.com:443", "s3.example.com", true),
            ("http://127.0.0.1:9000", "127.0.0.1:9000", false),
            ("http://minio:80", "minio", false),
            ("http://[::1]:9000", "[::1]:9000", false),
            ("https://[::1]", "[::1]", true),
        ] {
            let e = Endpoint::parse(url).unwrap();
            assert_eq!((e.authority().as_str(), e.https), (authority, https), "{url}");
            assert_eq!(e.scheme(), url[..url.find(':').unwrap()].to_ascii_lowercase());
        }
    }

    #[test]
    fn bad_endpoints_are_refused() {
        for (url, expected) in [
            ("s3.example.com", EndpointError::Scheme),
            ("ftp://s3.example.com", EndpointError::Scheme),
            ("https://s3.example.com/path", EndpointError::Path),
            ("https://s3.example.com?x", EndpointError::Path),
            ("https://u:p@s3.example.com", EndpointError::UserInfo),
            ("https://", EndpointError::Host),
            ("https://a..b", EndpointError::Host),
            ("https://a b", EndpointError::Host),
            ("https://$host", EndpointError::Host),
            ("https://[::1", EndpointError::Host),
            ("https://[zz]", EndpointError::Host),
            ("https://h:0", EndpointError::Port),
            ("https://h:99999", EndpointError::Port),
            ("https://h:", EndpointError::Port),
            ("https://h:+1", EndpointError::Port),
            ("https://[::1]9", EndpointError::Port),
        ] {
            assert_eq!(Endpoint::parse(url), Err(expected), "{url}");
        }
    }

    #[test]
    fn a_port_can_be_taken_off() {
        let with = Endpoint::parse("https://s3.example.com:8443").unwrap();
        assert_eq!(with.without_port("bucket.s3.example.com:8443"), "bucket.s3.example.com");
        let v6 = Endpoint::parse("http://[::1]:9000").unwrap();
        assert_eq!(v6.without_port("[::1]:9000"), "[::1]");
        assert_eq!(Endpoint::parse("http://[::1]").unwrap().without_port("[::1]"), "[::1]");
    }

    #[test]
    fn endpoints_know_what_they_are() {
        for (url, is_aws) in [
            ("https://s3.us-east-1.amazonaws.com", true),
            ("http://s3.cn-north-1.amazonaws.com.cn", true),
            ("https://amazonaws.com.example.com", false),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().is_aws(), is_aws, "{url}");
        }
        for (url, loopback, address) in [
            ("http://127.0.0.1:9000", true, true),
            ("http://127.9.9.9", true, true),
            ("http://[::1]", true, true),
            ("http://localhost:1", true, false),
            ("http://s3.localhost", true, false),
            ("http://10.0.0.1", false, true),
            ("http://[2001:db8::1]", false, true),
            ("http://localhost.example.com", false, false),
        ] {
            let e = Endpoint::parse(url).unwrap();
            assert_eq!((e.is_loopback(), e.is_address()), (loopback, address), "{url}");
        }
    }

    #[test]
    fn auto_addressing_keeps_certificates_valid() {
        assert!(Addressing::Auto.is_virtual(true, b"bucket"));
        assert!(!Addressing::Auto.is_virtual(true, b"my.bucket"));
        assert!(!Addressing::Auto.is_virtual(false, b"bucket"));
        assert!(Addressing::Virtual.is_virtual(false, b"my.bucket"));
        assert!(!Addressing::Path.is_virtual(true, b"bucket"));
    }

    #[test]
    fn bucket_names_follow_the_rules() {
        for good in ["abc", "example-bucket", "my.bucket", "1a2", &"a".repeat(63)] {
            assert!(is_bucket_name(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-abc",
            "abc-",
            ".abc",
            "abc.",
            "a..b",
            "192.168.5.4",
            "a/b",
            "a b",
            &"a".repeat(64),
        ] {
            assert!(!is_bucket_name(bad.as_bytes()), "{bad}");
        }
        assert!(is_directory_bucket(b"example--use1-az4--x-s3"));
        assert!(!is_directory_bucket(b"example-x-s3") && !is_directory_bucket(b"a--x-s3-b"));
        assert!(is_region("eu-central-1") && !is_region("eu central") && !is_region(""));
    }
}
