//! What the proxy module reads when it builds a request, and what log formats may show.

use core::{mem, ptr};

use ngx::ffi::{
    ngx_conf_t, ngx_http_headers_in_t, ngx_http_request_t, ngx_int_t, ngx_str_t, ngx_table_elt_t,
    ngx_time, ngx_variable_value_t, NGX_HTTP_VAR_NOHASH, NGX_HTTP_VAR_PREFIX,
};
use ngx::ngx_string;

use super::asked::{is_of_client, method, slice_range};
use super::error_code::last_error;
use super::name::name_object;
use super::object::{object_mut, Object};
use super::sign::{presigned_url, signed};
use crate::connections::peer::{choose, resume};
use crate::credentials::slot::State;
use crate::credentials::source::Source;
use crate::location::{serving, shared};
use crate::nginx::pool::concat;
use crate::nginx::upstream::is_stored;
use crate::nginx::value::keep_captures;
use crate::nginx::variable::{add, get, set, Get};
use crate::nginx::{borrowed, Failed};
use crate::s3::time;

/// What the names of all variables begin with.
pub const PREFIX: &str = "s3_private_bucket_";

/// A variable that only the proxy module's configuration may read; see [`super::names`].
pub const AUTHORIZATION: &str = "s3_private_bucket_authorization";

/// Another one: to read it is to choose where a request's connection goes.
pub const CHOICE: &str = "s3_private_bucket_choice";

/// The session token of keys that are renewed, likewise.
pub const TOKEN: &str = "s3_private_bucket_token";

/// And one more: to read it is to have a connection resume a TLS session.
pub const SESSION: &str = "s3_private_bucket_session";

/// What the names of the variables begin with that hold captures of the location, for values of the
/// module's directives: `$1` means what the last regular expression found, of a `map` too.
pub const CAPTURE: &str = "s3_private_bucket_capture_";

/// A variable: its name behind [`PREFIX`], its handler, and the handler's argument.
struct Variable(&'static str, Get, usize);

/// The documented variables.
const DOCUMENTED: [Variable; 9] = [
    Variable("name", named, mem::offset_of!(Object, name)),
    Variable("key", named, mem::offset_of!(Object, key)),
    Variable("host", named, mem::offset_of!(Object, host)),
    Variable("uri", named, mem::offset_of!(Object, uri)),
    Variable("presigned_url", presigned, 0),
    Variable("error", error, 0),
    Variable("connection", connection, 0),
    Variable("credentials_expires", credentials_expires, 0),
    Variable("credentials_state", credentials_state, 0),
];

/// What the directive writes into the proxy module's settings.
const HIDDEN: [Variable; 14] = [
    Variable("token", token, 0),
    Variable("authorization", authorize, 0),
    Variable("choice", choice, 0),
    Variable("session", session, 0),
    Variable("dollar", dollar, 0),
    Variable("method", sent_method, 0),
    Variable("date", date, 0),
    Variable("http_date", http_date, 0),
    Variable("range", conditional, RANGE),
    Variable("if_range", conditional, IF_RANGE),
    Variable("if_match", conditional, mem::offset_of!(ngx_http_headers_in_t, if_match)),
    Variable("if_none_match", conditional, IF_NONE_MATCH),
    Variable("if_modified_since", conditional, IF_MODIFIED_SINCE),
    Variable(
        "if_unmodified_since",
        conditional,
        mem::offset_of!(ngx_http_headers_in_t, if_unmodified_since),
    ),
];

/// Adds the module's variables.
///
/// None goes into nginx's table of names, which a few long ones would make too large for its
/// default size: whoever only loads the module would be warned at every start. A configuration finds them
/// without it; what looks for a name at run time (SSI, Lua) finds the documented ones by their prefix.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `cf` is nginx's context in a preconfiguration hook.
pub unsafe fn register(cf: *mut ngx_conf_t) -> Result<(), Failed> {
    for Variable(name, get, data) in DOCUMENTED.iter().chain(&HIDDEN) {
        // SAFETY: cf is nginx's context.
        unsafe { add(cf, &format!("{PREFIX}{name}"), NGX_HTTP_VAR_NOHASH, *get, *data) }?;
    }
    // SAFETY: cf is nginx's context.
    unsafe { add(cf, PREFIX, NGX_HTTP_VAR_PREFIX, by_name, 0) }
}

/// A variable by its name, at `data`: a documented one. A capture holds only what [`crate::nginx::value::set_captures`]
/// put there.
unsafe extern "C" fn by_name(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value, and for a prefix the name that was looked for.
    unsafe {
        let name = (*(data as *const ngx_str_t)).as_bytes();
        match DOCUMENTED.iter().find(|Variable(n, ..)| name[PREFIX.len()..] == *n.as_bytes()) {
            Some(Variable(_, get, data)) => get(r, v, *data),
            None => set(v, None),
        }
    }
}

const RANGE: usize = mem::offset_of!(ngx_http_headers_in_t, range);
const IF_RANGE: usize = mem::offset_of!(ngx_http_headers_in_t, if_range);
const IF_NONE_MATCH: usize = mem::offset_of!(ngx_http_headers_in_t, if_none_match);
const IF_MODIFIED_SINCE: usize = mem::offset_of!(ngx_http_headers_in_t, if_modified_since);

/// `$s3_private_bucket_name`, `_key`, `_host`, `_uri`: the string at offset `data` of [`Object`].
///
/// The proxy module finds them worked out. Before the content phase (in a `set`, an `if`) they
/// are worked out here.
unsafe extern "C" fn named(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; data is the offset of a string in Object.
    unsafe {
        let field = |object: &Object| *ptr::from_ref(object).byte_add(data).cast::<ngx_str_t>();
        if let Some(object) = object_mut(r) {
            return set(v, Some(field(object)));
        }
        let object = serving(r).and_then(|s| keep_captures(r, || name_object(r, s, 0)).ok());
        set(v, object.map(|object| field(object)))
    }
}

/// `$s3_private_bucket_presigned_url`
///
/// Nothing for a request that would be refused: the header filter turns a redirect to nowhere
/// into the error that it would get.
unsafe extern "C" fn presigned(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value.
    unsafe {
        let url = serving(r).and_then(|s| keep_captures(r, || presigned_url(r, s)).ok());
        set(v, url)
    }
}

/// `$s3_private_bucket_error`
unsafe extern "C" fn error(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value.
    unsafe { set(v, last_error(r)) }
}

/// `$s3_private_bucket_connection`: whether the last connection to S3 was a kept one.
unsafe extern "C" fn connection(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; a state with a peer is that of a connection.
    unsafe {
        let u = (*r).upstream.as_ref();
        let u = u.filter(|u| u.state.as_ref().is_some_and(|state| !state.peer.is_null()));
        set(
            v,
            u.map(|u| if u.peer.cached() != 0 { ngx_string!("kept") } else { ngx_string!("new") }),
        )
    }
}

/// `$s3_private_bucket_credentials_expires`: how many seconds the keys are valid.
unsafe extern "C" fn credentials_expires(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; what is copied is in the request's pool.
    unsafe {
        let left = source(r).and_then(|s| s.slot()?.expires()).map(|end| (end - ngx_time()).max(0));
        let text = left.and_then(|left| concat(r, [left.to_string().as_bytes()]).ok());
        set(v, text)
    }
}

/// `$s3_private_bucket_credentials_state`
unsafe extern "C" fn credentials_state(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value.
    unsafe {
        let state = source(r).map(|source| match source.state() {
            State::Ok => ngx_string!("ok"),
            State::Stale => ngx_string!("stale"),
            State::Awaited | State::None => ngx_string!("none"),
        });
        set(v, state)
    }
}

/// Where the keys of a request's location are from, if they are renewed.
unsafe fn source<'a>(r: *mut ngx_http_request_t) -> Option<&'a Source> {
    // SAFETY: the caller's promise: a valid request.
    let signing = unsafe { serving(r) }?.signing.as_ref()?;
    signing.keys.source().map(|source| &**source)
}

/// Where a request's connection goes; never a value.
unsafe extern "C" fn choice(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value. Only the proxy module's configuration has the
    // name, which is evaluated when a request is built.
    unsafe {
        // One that cannot be signed goes nowhere.
        if object_mut(r).is_none_or(|object| !object.is_refused) {
            choose(r);
        }
        set(v, None)
    }
}

/// Which TLS session a connection resumes; never a value.
unsafe extern "C" fn session(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value. Only the name in the proxy module's TLS settings
    // has it, which is evaluated between making a TLS connection and its handshake.
    unsafe {
        resume(r);
        set(v, None)
    }
}

/// The method that the proxy module would send by itself.
unsafe extern "C" fn sent_method(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value.
    unsafe {
        let name = method(r).map(|m| m.name());
        set(v, name.map(|name| borrowed(name.as_bytes())))
    }
}

/// `Authorization`
unsafe extern "C" fn authorize(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value.
    unsafe { set(v, signed(r).map(|object| object.authorization)) }
}

/// `X-Amz-Date`, of the same signature.
unsafe extern "C" fn date(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; the stamp lives in the request's pool.
    unsafe {
        let date = signed(r).map(|object| object.stamp.as_bytes());
        set(v, date.map(|date| borrowed(date)))
    }
}

/// `Date`, of the same signature.
unsafe extern "C" fn http_date(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; what is copied is in the request's pool.
    unsafe {
        let date = signed(r).map(|object| time::civil(object.stamp.seconds()).http_date());
        set(v, date.and_then(|date| concat(r, [&date]).ok()))
    }
}

/// `X-Amz-Security-Token`, of the same signature.
unsafe extern "C" fn token(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value.
    unsafe { set(v, signed(r).map(|object| object.token)) }
}

/// `$`, which a value of proxy_set_header cannot have otherwise.
unsafe extern "C" fn dollar(
    _: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid value.
    unsafe { set(v, Some(ngx_string!("$"))) }
}

/// A range or condition for S3, `data` being the header's offset in `headers_in`.
///
/// The client's own, if it asks for this object, unless the response is to be stored: then what nginx's cache
/// and slice modules want, as in the proxy module's own defaults for cached locations.
unsafe extern "C" fn conditional(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; data is the offset of a header pointer.
    unsafe {
        let header: *const *const ngx_table_elt_t =
            ptr::addr_of!((*r).headers_in).byte_add(data).cast();
        let header = (*header).as_ref().filter(|_| is_of_client(r)).map(|h| h.value);
        let stored = (*r).upstream.as_ref().is_some_and(is_stored);
        if header.is_none() && !stored && data != RANGE {
            // Most of the time.
            return set(v, None);
        }
        if serving(r).is_none() {
            return set(v, None);
        }
        let main = shared(r);
        let variable = |place| get(r, place);
        if matches!(data, RANGE | IF_RANGE)
            && object_mut(r).is_some_and(|o| o.answer.whole.is_some())
        {
            return set(v, None);
        }
        let slice = slice_range(r);
        let value = match (data, slice) {
            (RANGE, Some(slice)) => Some(slice),
            (IF_MODIFIED_SINCE, _) if stored => main.cache_last_modified.and_then(variable),
            (IF_NONE_MATCH, _) if stored => main.cache_etag.and_then(variable),
            (_, Some(_)) => None,
            _ if stored => None,
            _ => header,
        };
        set(v, value)
    }
}
