//! Where a source may be asked: its address, and by which way nothing secret leaves the machine or its cloud.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::s3::endpoint::{Endpoint, EndpointError};
use crate::s3::partition::partition;

/// Why an address is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UriError {
    /// Scheme, host or port.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A byte that a request line cannot have, or a fragment, which is never sent.
    #[error(
        "it must have no white space, control character, backslash, \"#\" or byte beyond ASCII; write \
         them as %XX"
    )]
    Byte,
    /// What stands behind host and port is the source's own.
    #[error("it must be scheme://host[:port], without a path or query")]
    Path,
    /// Not below the container's address.
    #[error("it must begin with \"/\"")]
    Relative,
    /// The metadata service speaks no TLS.
    #[error("it must begin with \"http://\"")]
    Plain,
    /// What is sent there would be readable on the way.
    #[error("\"http://\" is for {0} only; write \"https://\"")]
    Exposed(&'static str),
    /// The metadata service has no other address.
    #[error("it must be the address 169.254.169.254, [fd00:ec2::254] or one of loopback")]
    NoMetadata,
}

/// What is asked at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// EC2's metadata service.
    Instance,
    /// The endpoint for a container's keys, of ECS and of EKS Pod Identity.
    Container,
    /// STS.
    Sts,
}

impl Asked {
    /// The addresses beside loopback that are asked over plain HTTP.
    fn link_local(self) -> &'static [IpAddr] {
        const fn v6(last: u16) -> IpAddr {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, last))
        }
        const fn v4(a: u8, b: u8) -> IpAddr {
            IpAddr::V4(Ipv4Addr::new(169, 254, a, b))
        }
        const INSTANCE: &[IpAddr] = &[v4(169, 254), v6(0x254)];
        const CONTAINER: &[IpAddr] = &[v4(170, 2), v4(170, 23), v6(0x23)];
        match self {
            Asked::Instance => INSTANCE,
            Asked::Container => CONTAINER,
            Asked::Sts => &[],
        }
    }
}

/// An address that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Lower-case host name or address, an IPv6 one in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query, as they are sent.
    pub target: String,
}

impl Uri {
    /// Parses an address, `http[s]://host[:port][/path][?query]`, for what is to be asked there. Only for a
    /// container there can be more of it than a final slash.
    ///
    /// Plain HTTP is for literal addresses: those of loopback, and those at which the source lives. No name is
    /// resolved for it but `localhost`, which is 127.0.0.1, and no other spelling of an address is one.
    ///
    /// # Errors
    /// The first reason of [`UriError`] that applies.
    pub fn parse(text: &str, asked: Asked) -> Result<Self, UriError> {
        if text.bytes().any(|b| !b.is_ascii_graphic() || matches!(b, b'#' | b'\\')) {
            return Err(UriError::Byte);
        }
        let scheme = text.find("://").map_or(0, |at| at + 3);
        let behind = text.get(scheme..).unwrap_or_default().find(['/', '?']);
        let (base, target) = text
            .split_at_checked(behind.map_or(text.len(), |at| scheme + at))
            .unwrap_or((text, ""));
        let endpoint = Endpoint::parse(base)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if target != "/" && asked != Asked::Container {
            return Err(UriError::Path);
        }
        let port = endpoint.port.unwrap_or(if endpoint.https { 443 } else { 80 });
        let uri = Uri { tls: endpoint.https, host: endpoint.host, port, target };
        let is_near =
            uri.address().is_some_and(|a| a.is_loopback() || asked.link_local().contains(&a));
        match asked {
            Asked::Instance if uri.tls => Err(UriError::Plain),
            Asked::Instance if !is_near => Err(UriError::NoMetadata),
            Asked::Container if !uri.tls && !is_near => {
                Err(UriError::Exposed("loopback, 169.254.170.2, 169.254.170.23 and [fd00:ec2::23]"))
            }
            Asked::Sts if !uri.tls && !is_near => Err(UriError::Exposed("loopback")),
            _ => Ok(uri),
        }
    }

    /// The address of a container's keys on ECS, from `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    ///
    /// # Errors
    /// [`UriError::Relative`], and those of [`Uri::parse`].
    pub fn relative(path: &str) -> Result<Self, UriError> {
        if !path.starts_with('/') {
            return Err(UriError::Relative);
        }
        Uri::parse(&format!("http://169.254.170.2{path}"), Asked::Container)
    }

    /// The metadata service's own address, for either kind of network.
    pub fn instance(v6: bool) -> Self {
        let host = if v6 { "[fd00:ec2::254]" } else { "169.254.169.254" };
        Uri { tls: false, host: host.to_owned(), port: 80, target: "/".to_owned() }
    }

    /// STS of a region ("AWS STS endpoints", IAM User Guide), whose name [`is_region`] has seen.
    ///
    /// [`is_region`]: crate::s3::endpoint::is_region
    pub fn sts(region: &str) -> Self {
        let host = format!("sts.{region}.{}", partition(region).suffix);
        Uri { tls: true, host, port: 443, target: "/".to_owned() }
    }

    /// The address of the host, when no name has to be resolved for it.
    pub fn address(&self) -> Option<IpAddr> {
        if self.host == "localhost" {
            return Some(Ipv4Addr::LOCALHOST.into());
        }
        match self.host.strip_prefix('[') {
            Some(v6) => v6.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
            None => self.host.parse().ok().map(IpAddr::V4),
        }
    }

    /// `host[:port]`, as in a `Host` header.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, asked: Asked) -> Result<(bool, String, u16, String), UriError> {
        Uri::parse(text, asked).map(|uri| (uri.tls, uri.host, uri.port, uri.target))
    }

    #[test]
    fn addresses_have_their_parts() {
        for (text, asked, tls, host, port, target) in [
            ("http://169.254.169.254", Asked::Instance, false, "169.254.169.254", 80, "/"),
            ("http://169.254.169.254/", Asked::Instance, false, "169.254.169.254", 80, "/"),
            ("http://[FD00:EC2::254]", Asked::Instance, false, "[fd00:ec2::254]", 80, "/"),
            ("HTTP://127.0.0.1:9911", Asked::Instance, false, "127.0.0.1", 9911, "/"),
            ("http://localhost:1/", Asked::Instance, false, "localhost", 1, "/"),
            ("http://127.9.9.9/A?B=c", Asked::Container, false, "127.9.9.9", 80, "/A?B=c"),
            ("http://[::1]:8080?a=/", Asked::Container, false, "[::1]", 8080, "/?a=/"),
            ("http://169.254.170.2/v2/x", Asked::Container, false, "169.254.170.2", 80, "/v2/x"),
            ("http://169.254.170.23/v1", Asked::Container, false, "169.254.170.23", 80, "/v1"),
            ("http://[fd00:ec2:0::23]/v1", Asked::Container, false, "[fd00:ec2:0::23]", 80, "/v1"),
            ("https://Example.com/a@b:c", Asked::Container, true, "example.com", 443, "/a@b:c"),
            ("https://sts.example:8443/", Asked::Sts, true, "sts.example", 8443, "/"),
            ("https://10.0.0.1", Asked::Sts, true, "10.0.0.1", 443, "/"),
            ("http://127.0.0.1:8333", Asked::Sts, false, "127.0.0.1", 8333, "/"),
        ] {
            let expected = (tls, host.to_owned(), port, target.to_owned());
            assert_eq!(parts(text, asked), Ok(expected), "{text}");
        }
    }

    #[test]
    fn plain_http_stays_near() {
        let near = |asked, host: &str| parts(&format!("http://{host}/"), asked).is_ok();
        for (host, instance, container, sts) in [
            ("127.0.0.1", true, true, true),
            ("127.255.255.254", true, true, true),
            ("localhost", true, true, true),
            ("[::1]", true, true, true),
            ("[0:0:0:0:0:0:0:1]", true, true, true),
            ("169.254.169.254", true, false, false),
            ("[fd00:ec2::254]", true, false, false),
            ("169.254.170.2", false, true, false),
            ("169.254.170.23", false, true, false),
            ("[fd00:ec2::23]", false, true, false),
            // Other addresses, and other spellings of these.
            ("10.0.0.1", false, false, false),
            ("[::ffff:127.0.0.1]", false, false, false),
            ("[::]", false, false, false),
            ("0.0.0.0", false, false, false),
            ("2130706433", false, false, false),
            ("0x7f000001", false, false, false),
            ("0x7f.1", false, false, false),
            ("127.1", false, false, false),
            ("0177.0.0.1", false, false, false),
            ("127.000.000.001", false, false, false),
            ("2852039166", false, false, false),
            ("a.localhost", false, false, false),
            ("localhost.example", false, false, false),
            ("127.0.0.1.nip.io", false, false, false),
            ("instance-data", false, false, false),
        ] {
            let found =
                [Asked::Instance, Asked::Container, Asked::Sts].map(|asked| near(asked, host));
            assert_eq!(found, [instance, container, sts], "{host}");
        }
    }

    #[test]
    fn bad_addresses_are_refused() {
        use Asked::{Container, Instance, Sts};
        for (text, asked, expected) in [
            ("", Sts, EndpointError::Scheme.into()),
            ("sts.example", Sts, EndpointError::Scheme.into()),
            ("ftp://127.0.0.1/", Container, EndpointError::Scheme.into()),
            ("http:/127.0.0.1/", Container, EndpointError::Scheme.into()),
            ("https://a@127.0.0.1/", Sts, EndpointError::UserInfo.into()),
            ("http://169.254.170.2:80@e.example/", Container, EndpointError::UserInfo.into()),
            ("https:///a", Container, EndpointError::Host.into()),
            ("https://?a", Container, EndpointError::Host.into()),
            ("https://a..b", Sts, EndpointError::Host.into()),
            ("http://[::1", Container, EndpointError::Host.into()),
            ("http://[fe80::1%25eth0]/", Container, EndpointError::Host.into()),
            ("https://h:0", Sts, EndpointError::Port.into()),
            ("https://h:65536", Sts, EndpointError::Port.into()),
            ("https://h:", Sts, EndpointError::Port.into()),
            ("https://h/#a", Container, UriError::Byte),
            ("https://h\\@e.example/", Container, UriError::Byte),
            ("https://h/a b", Container, UriError::Byte),
            ("https://h/a\r\nX: y", Container, UriError::Byte),
            ("https://h/\0", Container, UriError::Byte),
            ("https://h/\u{e9}", Container, UriError::Byte),
            ("https://h/path", Sts, UriError::Path),
            ("https://h?query", Sts, UriError::Path),
            ("http://127.0.0.1/latest", Instance, UriError::Path),
            ("https://127.0.0.1", Instance, UriError::Plain),
            ("http://e.example", Instance, UriError::NoMetadata),
            ("http://e.example", Sts, UriError::Exposed("loopback")),
        ] {
            assert_eq!(Uri::parse(text, asked), Err(expected), "{text}");
        }
    }

    #[test]
    fn addresses_of_aws() {
        let uri = Uri::relative("/v2/credentials/a-b").unwrap();
        assert_eq!(
            (uri.authority().as_str(), uri.target.as_str()),
            ("169.254.170.2", "/v2/credentials/a-b")
        );
        for path in ["", "v2", "@e.example/", ".e.example/", ":80/"] {
            assert_eq!(Uri::relative(path), Err(UriError::Relative), "{path}");
        }
        for v6 in [false, true] {
            let own = Uri::instance(v6);
            assert_eq!(
                Uri::parse(&format!("http://{}", own.authority()), Asked::Instance),
                Ok(own)
            );
        }
        assert_eq!(Uri::sts("eu-central-1").authority(), "sts.eu-central-1.amazonaws.com");
        assert_eq!(Uri::sts("cn-north-1").authority(), "sts.cn-north-1.amazonaws.com.cn");
        assert_eq!(Uri::sts("us-gov-west-1").authority(), "sts.us-gov-west-1.amazonaws.com");
        assert_eq!(Uri::sts("eusc-de-east-1").authority(), "sts.eusc-de-east-1.amazonaws.eu");
        assert_eq!(Uri::sts("us-iso-east-1").authority(), "sts.us-iso-east-1.c2s.ic.gov");
        let uri = Uri::parse("https://h:444", Asked::Sts).unwrap();
        assert_eq!((uri.authority().as_str(), uri.address()), ("h:444", None));
    }
}
