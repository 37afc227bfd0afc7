//! TLS sessions of connections to upstreams.

use core::ptr::NonNull;

use ngx::ffi::{
    ngx_connection_t, ngx_int_t, ngx_ssl_get_session, ngx_ssl_set_session, SSL_SESSION_free,
    SSL_session_reused, SSL_SESSION,
};

/// A session that another connection can resume.
pub struct Session(NonNull<SSL_SESSION>);

impl Session {
    /// The session of a connection, if it has one that can be kept.
    ///
    /// # Safety
    /// `c` is a connection that speaks TLS.
    pub unsafe fn of(c: *mut ngx_connection_t) -> Option<Self> {
        // SAFETY: the caller's promise; the reference that nginx returns is ours.
        NonNull::new(unsafe { ngx_ssl_get_session(c) }).map(Session)
    }

    /// Has a connection resume the session. Returns nginx's status.
    ///
    /// # Safety
    /// `c` is a connection that is about to speak TLS.
    pub unsafe fn resume(&self, c: *mut ngx_connection_t) -> ngx_int_t {
        // SAFETY: the caller's promise; the connection takes a reference of its own.
        unsafe { ngx_ssl_set_session(c, self.0.as_ptr()) }
    }
}

/// Whether a connection resumed a session; `None` when it speaks no TLS.
///
/// # Safety
/// `c` is NULL or a connection whose handshake, if there is one, is done.
pub unsafe fn has_resumed(c: *const ngx_connection_t) -> Option<bool> {
    // SAFETY: the caller's promise; what nginx keeps of TLS has OpenSSL's own.
    unsafe { Some(SSL_session_reused(c.as_ref()?.ssl.as_ref()?.connection) != 0) }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { SSL_SESSION_free(self.0.as_ptr()) }
    }
}
