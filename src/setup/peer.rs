//! How a source of keys is reached.

use std::path::Path;
use std::rc::Rc;

use ngx::ffi::{ngx_conf_t, ngx_resolver_t};
use thiserror::Error;

use super::blocks::Block;
use super::proxy::CA_BUNDLES;
use super::settings::Work;
use crate::nginx::client::{Host, Peer, Tls};
use crate::nginx::{http_core, resolver, Failed};
use crate::s3::sources::uri::Uri;

/// For how long a name server may be silent, in milliseconds.
const RESOLVER_TIMEOUT: usize = 5_000;

/// Why a source cannot be reached.
#[derive(Debug, Error)]
pub enum PeerError {
    /// Nothing to verify it with.
    #[error(
        "there are no CA certificates of the system to verify it with; install ca-certificates or set \
         \"trusted_certificate\""
    )]
    CaBundle,
    /// Nothing to resolve its name with.
    #[error("there is no name server in /etc/resolv.conf to find it with; set \"resolver\"")]
    Resolver,
    /// nginx has logged the reason, or memory ran out.
    #[error(transparent)]
    Nginx(#[from] Failed),
}

/// The way to an address. No connection is opened.
///
/// # Errors
/// What is missing for one.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn peer(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
    uri: &Uri,
) -> Result<Peer, PeerError> {
    let address = uri.address();
    // SAFETY: the caller's promise.
    unsafe {
        let tls = match uri.tls {
            true => Some(tls(cf, block.trusted_certificate.as_deref())?),
            false => None,
        };
        let resolver = match address {
            Some(_) => None,
            None => Some(resolver(cf, work, block)?),
        };
        let host = address.map_or_else(|| Host::Name(uri.host.clone().into()), Host::Address);
        let timeout = block.resolver_timeout.unwrap_or(RESOLVER_TIMEOUT);
        Ok(Peer { host, port: uri.port, tls, resolver, resolver_timeout: timeout })
    }
}
