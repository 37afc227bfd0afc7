//! A thin ground over nginx, which knows nothing of what it is for: each recurring thing in one way.

pub mod cache;
pub mod client;
pub mod core_conf;
pub mod foreign;
pub mod headers;
pub mod http_core;
pub mod keepalive;
pub mod pool;
pub mod published;
pub mod resolv_conf;
pub mod resolve;
pub mod resolver;
pub mod session;
pub mod sockaddr;
pub mod task;
pub mod template;
pub mod timer;
pub mod upstream;
pub mod value;
pub mod variable;
pub mod zone;

use ngx::ffi::{ngx_http_request_t, ngx_int_t, ngx_str_t};
use thiserror::Error;

/// nginx could not do what was asked of it: it has logged the reason, or memory ran out.
#[derive(Debug, Error)]
#[error("could not be set up")]
pub struct Failed;

/// A content handler, or a hook with its form.
pub type Handler = unsafe extern "C" fn(*mut ngx_http_request_t) -> ngx_int_t;

/// A string of nginx that never changes.
pub const fn constant(text: &'static [u8]) -> ngx_str_t {
    ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() }
}

/// A string of nginx for text that lives longer.
pub fn borrowed(text: &[u8]) -> ngx_str_t {
    ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() }
}

/// The bytes of a string of nginx.
///
/// # Safety
/// They live as long as `'a`.
pub unsafe fn bytes<'a>(string: ngx_str_t) -> &'a [u8] {
    match string.is_empty() {
        true => &[],
        // SAFETY: the caller's promise.
        false => unsafe { core::slice::from_raw_parts(string.data, string.len) },
    }
}
