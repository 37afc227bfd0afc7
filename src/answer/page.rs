//! nginx's own pages of errors.

use core::slice;

use ngx::ffi::{
    ngx_http_request_t, NGINX_VER, NGINX_VER_BUILD, NGX_HTTP_SERVER_TOKENS_OFF,
    NGX_HTTP_SERVER_TOKENS_ON,
};

use crate::nginx::http_core::location_of;
use crate::nginx::pool::concat;
use crate::s3::answer::reason;

/// nginx's own error page, which it does not export. `None` when memory ran out.
///
/// # Safety
/// `r` is a valid request, which the page lives as long as.
pub unsafe fn of_status(r: *mut ngx_http_request_t, status: u16) -> Option<&'static [u8]> {
    // SAFETY: every location has a core configuration.
    let tokens = unsafe { location_of(r) }.server_tokens;
    let server = match tokens as u32 {
        NGX_HTTP_SERVER_TOKENS_OFF => b"nginx",
        NGX_HTTP_SERVER_TOKENS_ON => NGINX_VER.to_bytes(),
        _ => NGINX_VER_BUILD.to_bytes(),
    };
    let digits = [status / 100, status / 10 % 10, status % 10].map(|d| b'0' + d as u8);
    let reason = reason(status).as_bytes();
    let parts: [&[u8]; 11] = [
        b"<html>\r\n<head><title>",
        &digits,
        b" ",
        reason,
        b"</title></head>\r\n<body>\r\n<center><h1>",
        &digits,
        b" ",
        reason,
        b"</h1></center>\r\n<hr><center>",
        server,
        b"</center>\r\n</body>\r\n</html>\r\n",
    ];
    // SAFETY: the page lives in the request's pool, as long as what refers to it.
    unsafe {
        let page = concat(r, parts).ok()?;
        Some(slice::from_raw_parts(page.data, page.len))
    }
}
