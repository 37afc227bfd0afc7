//! Arguments of directives, and resolv.conf.
#![no_main]

use fuzz::endpoint::{is_bucket_name, is_region, Addressing, Endpoint};
use fuzz::resolv_conf::name_servers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // What becomes part of a proxy_pass has no byte that means something there.
    let plain =
        |text: &[u8]| text.iter().all(|&b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if is_bucket_name(data) {
        assert!(plain(data) && (3..=63).contains(&data.len()));
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        assert!(data.iter().copied().all(label));
        let _ = Addressing::Auto.is_virtual(true, data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(!is_region(text) || plain(data));
    if let Ok(endpoint) = Endpoint::parse(text) {
        let authority = endpoint.authority();
        assert!(plain(authority.as_bytes()), "{authority}");
        let url = format!("{}://{authority}", endpoint.scheme());
        assert_eq!(Endpoint::parse(&url), Ok(endpoint.clone()));
        assert!(!endpoint.is_aws() || !endpoint.is_address());
        let _ = endpoint.is_loopback();
    }
    for server in name_servers(text) {
        assert!(plain(server.as_bytes()), "{server}");
    }
});
