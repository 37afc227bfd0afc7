//! What operators are told of an answer, what is counted of it, and who else has to know of it.

use ngx::ffi::{
    ngx_http_request_t, ngx_http_upstream_t, ngx_parse_http_time, ngx_time, ngx_uint_t,
    NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_WARN,
};

use super::act::is_cached;
use crate::credentials::source::Source;
use crate::location::Serving;
use crate::log;
use crate::nginx::headers::find;
use crate::nginx::session::has_resumed;
use crate::request::object::Object;
use crate::s3::answer::{Advice, Class, Verdict};
use crate::s3::auth::Auth;

/// Has the keys renewed that S3 refused, if they are of those that are.
pub fn refuse_keys(serving: &Serving, version: u64) {
    if let Some(slot) = source(serving).and_then(|source| source.slot()) {
        slot.refuse(version);
    }
}

/// Whether the keys that signed a request have ended, whatever others there are since.
pub fn keys_have_ended(object: &Object) -> bool {
    object.keys_end.is_some_and(|end| end <= ngx_time())
}

/// Counts an answer that was judged, once for each that S3 gave, and the connection that it came over.
///
/// # Safety
/// `u` is the upstream of a request of a location with this `serving`, whose headers are read.
#[inline(always)]
pub unsafe fn count(
    u: &ngx_http_upstream_t,
    serving: &Serving,
    object: &Object,
    status: u16,
    code: Option<&[u8]>,
) {
    if let Some(counter) = serving.counter.as_ref().filter(|_| !is_cached(u)) {
        let is_kept = u.peer.cached() != 0;
        counter.answered(|| object.name.as_bytes(), status, code, is_kept);
        if !is_kept {
            // SAFETY: an answer came over it.
            if let Some(resumed) = unsafe { has_resumed(u.peer.connection) } {
                counter.shook_hands(resumed);
            }
        }
    }
}

/// Where the keys of a location are from, if they are renewed.
fn source(serving: &Serving) -> Option<&Source> {
    serving.signing.as_ref()?.keys.source().map(|source| &**source)
}

/// Logs an answer, with what can be done about it.
///
/// # Safety
/// `r` is a valid request and `u` its upstream.
pub unsafe fn report(
    r: *mut ngx_http_request_t,
    u: &ngx_http_upstream_t,
    serving: &Serving,
    object: &Object,
    (status, head): (u16, bool),
    code: Option<&[u8]>,
    shown: Verdict,
) {
    let level = match (shown.class, status) {
        (Class::Missing, 403) => NGX_LOG_WARN,
        (Class::Missing | Class::Client, _) | (Class::Kept, 412 | 416) => NGX_LOG_INFO,
        _ => NGX_LOG_ERR,
    };
    let now = ngx_time();
    let bucket = object.name.as_bytes();
    // SAFETY: r is a valid request with a connection, u its upstream.
    unsafe {
        let log = (*(*r).connection).log;
        if (*log).log_level < level as ngx_uint_t
            || !serving.reported.is_new((bucket, status, code), now)
        {
            return;
        }
        let date = u.headers_in.date.as_ref().map(|h| h.value);
        let date = date.map(|d| ngx_parse_http_time(d.data, d.len)).filter(|&d| d > 0);
        let region = find(&u.headers_in.headers, b"x-amz-bucket-region");
        let policy = match &*serving.auth {
            Auth::None => "the bucket policy for the address of this host".to_owned(),
            Auth::Secret(secret) => {
                format!("the bucket policy for the header \"{}\"", secret.header())
            }
            Auth::Signed { .. } => "the IAM policy of the access key".to_owned(),
        };
        let advice = Advice {
            code,
            region: region
                .as_ref()
                .map(|v| v.as_bytes())
                .filter(|_| matches!(status, 301 | 307 | 400)),
            skew: date.map(|date| now - date),
            lists: serving.autoindex.is_some(),
            ended: shown.class == Class::Fault && keys_have_ended(object),
            renews: source(serving).is_some_and(|source| source.is_fetched()),
            policy: &policy,
            is_vague: serving.signing.is_some() && !serving.is_aws,
        };
        let what = match code {
            Some(code) => code.escape_ascii().to_string(),
            None if head => "to HEAD".to_owned(),
            None => "without an error code".to_owned(),
        };
        let bucket = bucket.escape_ascii();
        log::of_request(
            r,
            level,
            format_args!("S3 answered {status} {what} for the bucket \"{bucket}\"{advice}"),
        );
    }
}
