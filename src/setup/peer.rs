//! How a source of keys is reached.

use std::os::unix::ffi::OsStrExt;

use ngx::ffi::{ngx_conf_t, ngx_resolver_t};
use thiserror::Error;

use super::blocks::Block;
use super::settings::Work;
use super::tls::ca_bundle_of_the_system;
use crate::nginx::client::host::Host;
use crate::nginx::client::tls::Tls;
use crate::nginx::client::Peer;
use crate::nginx::{http_core, Failed};
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
    /// CA certificates that nginx refuses; it has logged why.
    #[error(
        "its CA certificates cannot be used, as nginx says above; correct \"trusted_certificate\""
    )]
    Trusted,
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
    // SAFETY: the caller's promise.
    unsafe {
        let tls = match (uri.tls, &block.trusted_certificate) {
            (false, _) => None,
            (true, Some(written)) => {
                let made = Tls::new(cf, written.as_os_str().as_bytes());
                Some(made.map_err(|_| PeerError::Trusted)?)
            }
            (true, None) => {
                let system = ca_bundle_of_the_system().ok_or(PeerError::CaBundle)?;
                Some(Tls::new(cf, system.as_bytes())?)
            }
        };
        let resolver = match uri.address() {
            Some(_) => None,
            None => Some(resolver(cf, work, block)?),
        };
        let resolver_timeout = block.resolver_timeout.unwrap_or(RESOLVER_TIMEOUT);
        Ok(Peer { host: Host::new(&uri.host), port: uri.port, tls, resolver, resolver_timeout })
    }
}

/// Who knows the addresses of a name: as the block says, or http{}, or the system.
unsafe fn resolver(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
) -> Result<*mut ngx_resolver_t, PeerError> {
    if let Some(written) = block.resolver {
        return Ok(written);
    }
    // SAFETY: the caller's promise: cf->ctx is that of http{}.
    unsafe {
        let of_http = (*http_core::location(&*(*cf).ctx.cast())).resolver;
        if of_http.as_ref().is_some_and(|resolver| resolver.connections.nelts > 0) {
            return Ok(of_http);
        }
        work.resolver_of_the_system(cf)?.ok_or(PeerError::Resolver)
    }
}
