//! TLS of a connection: whom it trusts, and as whom the other side has to show itself.

use core::ffi::{c_long, c_void, CStr};
use core::mem;
use core::ptr;
use core::task::Poll;
use std::ffi::CString;
use std::net::IpAddr;
use std::rc::Rc;

use ngx::ffi::{
    ngx_conf_t, ngx_connection_t, ngx_create_pool, ngx_int_t, ngx_ssl_create,
    ngx_ssl_create_connection, ngx_ssl_handshake, ngx_ssl_t, ngx_ssl_trusted_certificate,
    ngx_str_t, NGX_SSL_TLSv1_2, NGX_SSL_TLSv1_3, SSL_CTX_clear_options, SSL_CTX_free, SSL_ctrl,
    SSL_get0_param, SSL_get_peer_cert_chain, SSL_get_verify_result, TLSEXT_NAMETYPE_host_name,
    X509_VERIFY_PARAM_set1_host, X509_VERIFY_PARAM_set1_ip, X509_verify_cert_error_string,
    NGX_AGAIN, NGX_OK, NGX_SSL_CLIENT, SSL, SSL_CTRL_SET_TLSEXT_HOSTNAME, X509_V_OK,
};

use super::connection::Connection;
use super::error::ClientError;
use super::host::Host;
use crate::nginx::{pool, Failed};

/// How many certificates may stand between a server's and a trusted one.
const DEPTH: ngx_int_t = 5;
/// `SSL_OP_IGNORE_UNEXPECTED_EOF`, which nginx sets: an end without close_notify would look like one with it,
/// and whoever cuts the connection would end a body. OpenSSL before 3.0 does not know it.
const IGNORE_UNEXPECTED_EOF: u64 = 1 << 7;
const POOL_SIZE: usize = 512;

/// What connections have in common.
pub struct Tls(ngx_ssl_t);

impl Tls {
    /// Makes it for servers whose certificates lead to one in the file `trusted`.
    ///
    /// # Errors
    /// When nginx cannot read the file; it has logged why.
    ///
    /// # Safety
    /// `cf` is nginx's configuration context.
    pub unsafe fn new(cf: *mut ngx_conf_t, trusted: &[u8]) -> Result<Rc<Self>, Failed> {
        // SAFETY: zeroed is how nginx initialises it; the path is in the configuration's pool.
        unsafe {
            let mut tls = Tls(mem::zeroed());
            tls.0.log = (*cf).log;
            let protocols = (NGX_SSL_TLSv1_2 | NGX_SSL_TLSv1_3) as usize;
            let mut path: ngx_str_t = pool::copy(cf, trusted)?;
            let ok = NGX_OK as ngx_int_t;
            if ngx_ssl_create(&mut tls.0, protocols, ptr::null_mut()) != ok
                || ngx_ssl_trusted_certificate(cf, &mut tls.0, &mut path, DEPTH) != ok
            {
                return Err(Failed);
            }
            SSL_CTX_clear_options(tls.0.ctx, IGNORE_UNEXPECTED_EOF);
            Ok(Rc::new(tls))
        }
    }

    /// Has a connection speak TLS as a client of `host`.
    ///
    /// # Safety
    /// The connection is open and does not speak TLS yet.
    unsafe fn begin(&self, c: &mut ngx_connection_t, host: &Host) -> Result<(), ClientError> {
        // SAFETY: the caller's promise; nginx only reads what connections have in common.
        unsafe {
            c.pool = ngx_create_pool(POOL_SIZE, c.log);
            if c.pool.is_null() {
                return Err(ClientError::NoConnection);
            }
            let shared = ptr::from_ref(&self.0).cast_mut();
            let client = NGX_SSL_CLIENT as usize;
            if ngx_ssl_create_connection(shared, c, client) != NGX_OK as ngx_int_t {
                return Err(ClientError::NoConnection);
            }
            match expect((*c.ssl).connection, host) {
                true => Ok(()),
                false => Err(ClientError::NoConnection),
            }
        }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        // SAFETY: it is ours, or null, which is passed over; connections have references of their own.
        unsafe { SSL_CTX_free(self.0.ctx) }
    }
}

/// Has OpenSSL verify that the certificate is `host`'s, and tell the server a name. False when it has no memory, or
/// the name a NUL.
///
/// # Safety
/// `ssl` is a client that has not begun.
unsafe fn expect(ssl: *mut SSL, host: &Host) -> bool {
    // SAFETY: the caller's promise; OpenSSL copies the name and the address.
    unsafe {
        let param = SSL_get0_param(ssl);
        let octets = |bytes: &[u8]| X509_VERIFY_PARAM_set1_ip(param, bytes.as_ptr(), bytes.len());
        match host {
            Host::Address(IpAddr::V4(v4)) => octets(&v4.octets()) == 1,
            Host::Address(IpAddr::V6(v6)) => octets(&v6.octets()) == 1,
            Host::Name(name) => {
                let Ok(name) = CString::new(name.as_bytes()) else { return false };
                let kind = c_long::from(TLSEXT_NAMETYPE_host_name);
                let text = name.as_ptr().cast_mut().cast::<c_void>();
                SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME as _, kind, text) == 1
                    && X509_VERIFY_PARAM_set1_host(param, name.as_ptr(), name.count_bytes()) == 1
            }
        }
    }
}

/// Makes a connection speak TLS with nobody but `host`.
///
/// # Errors
/// [`ClientError::Handshake`], [`ClientError::Verify`], and those of [`Connection::until`].
pub async fn handshake(c: &Connection, tls: &Tls, host: &Host) -> Result<(), ClientError> {
    let mut is_begun = false;
    c.until(|c| {
        // SAFETY: the connection is open; it begins once.
        unsafe {
            if !is_begun {
                is_begun = true;
                if let Err(error) = tls.begin(c, host) {
                    return Poll::Ready(Err(error));
                }
            }
            match ngx_ssl_handshake(c) {
                status if status == NGX_OK as ngx_int_t => Poll::Ready(verify((*c.ssl).connection)),
                status if status == NGX_AGAIN as ngx_int_t => Poll::Pending,
                _ => Poll::Ready(Err(ClientError::Handshake)),
            }
        }
    })
    .await
}

/// Whether the certificate is the expected one. nginx itself has connections go on with any.
///
/// # Safety
/// `ssl` is a client whose handshake is complete.
unsafe fn verify(ssl: *mut SSL) -> Result<(), ClientError> {
    // SAFETY: the caller's promise; OpenSSL has a constant for each result.
    unsafe {
        let result = SSL_get_verify_result(ssl);
        if result != c_long::from(X509_V_OK) {
            let text = CStr::from_ptr(X509_verify_cert_error_string(result));
            return Err(ClientError::Verify(text.to_string_lossy().into_owned()));
        }
        // Without any certificate nothing was verified.
        match SSL_get_peer_cert_chain(ssl).is_null() {
            true => Err(ClientError::Handshake),
            false => Ok(()),
        }
    }
}
