//! Addresses of IP, between Rust and the system.

use core::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use ngx::ffi::{in6_addr, sockaddr, sockaddr_in, sockaddr_in6, socklen_t, AF_INET, AF_INET6};

/// Reads an address; `None` for one that is not of IP.
///
/// # Safety
/// The address is as long as its family says.
pub unsafe fn read(address: *const sockaddr) -> Option<SocketAddr> {
    // SAFETY: the caller's promise.
    unsafe {
        match u32::from((*address).sa_family) {
            AF_INET => {
                let v4: *const sockaddr_in = address.cast();
                let octets = (*v4).sin_addr.s_addr.to_ne_bytes();
                Some((Ipv4Addr::from(octets), u16::from_be((*v4).sin_port)).into())
            }
            AF_INET6 => {
                let v6: *const sockaddr_in6 = address.cast();
                // in6_addr is 16 bytes in network order, whatever its union calls them.
                let octets: [u8; 16] = mem::transmute((*v6).sin6_addr);
                let port = u16::from_be((*v6).sin6_port);
                let (flow, scope) = ((*v6).sin6_flowinfo, (*v6).sin6_scope_id);
                Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, flow, scope).into())
            }
            _ => None,
        }
    }
}

/// An address as the system wants it.
#[repr(C)]
pub union Raw {
    v4: sockaddr_in,
    v6: sockaddr_in6,
    bytes: [u8; mem::size_of::<sockaddr_in6>()],
}

impl Raw {
    /// No address.
    pub fn new() -> Self {
        Raw { bytes: [0; mem::size_of::<sockaddr_in6>()] }
    }

    /// Writes an address into a new one, and returns its length in bytes. Bytes that say nothing stay 0, as
    /// nginx compares all.
    pub fn write(&mut self, address: SocketAddr) -> socklen_t {
        match address {
            SocketAddr::V4(address) => {
                // SAFETY: both structures are valid when they are zero.
                let v4 = unsafe { &mut self.v4 };
                v4.sin_family = AF_INET as _;
                v4.sin_port = address.port().to_be();
                v4.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
                mem::size_of::<sockaddr_in>() as socklen_t
            }
            SocketAddr::V6(address) => {
                // SAFETY: as above.
                let v6 = unsafe { &mut self.v6 };
                v6.sin6_family = AF_INET6 as _;
                v6.sin6_port = address.port().to_be();
                v6.sin6_flowinfo = address.flowinfo();
                // SAFETY: in6_addr is 16 bytes in network order.
                v6.sin6_addr =
                    unsafe { mem::transmute::<[u8; 16], in6_addr>(address.ip().octets()) };
                v6.sin6_scope_id = address.scope_id();
                mem::size_of::<sockaddr_in6>() as socklen_t
            }
        }
    }
}
