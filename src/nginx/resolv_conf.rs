//! The system's name servers, for a configuration that names none.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the addresses of the `nameserver` lines of a resolv.conf(5), as nginx's `resolver`
/// directive writes them: IPv6 ones in brackets. Lines with anything else than an address (a
/// link-local one has a zone, which nginx cannot use) are passed over.
pub fn name_servers(resolv_conf: &str) -> Vec<String> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()).flatten()
        })
        .filter_map(|address| match address.parse::<IpAddr>().ok()? {
            IpAddr::V6(v6) if v6 != Ipv6Addr::UNSPECIFIED => Some(format!("[{v6}]")),
            address => Some(address.to_string()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_are_read() {
        let file = "# comment\nsearch example.com\nnameserver 192.0.2.1\n\
                    nameserver\t2001:DB8::1 # two\nnameserver fe80::1%eth0\nnameserver\n\
                    ; nameserver 192.0.2.9\noptions edns0\n nameserver 192.0.2.2";
        assert_eq!(name_servers(file), ["192.0.2.1", "[2001:db8::1]", "192.0.2.2"]);
        assert!(name_servers("").is_empty());
    }
}
