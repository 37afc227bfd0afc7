//! What the proxy module reads when it builds a request, and what log formats may show.

#[cfg(not(ngx_feature = "pcre"))]
use core::ffi::c_void;
use core::{mem, ptr, slice};

use ngx::core::Status;
use ngx::ffi::{
    ngx_array_t, ngx_conf_t, ngx_hash_key_t, ngx_http_add_variable, ngx_http_conf_ctx_t,
    ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_get_flushed_variable,
    ngx_http_get_variable_index, ngx_http_headers_in_t, ngx_http_request_t, ngx_http_variable_t,
    ngx_http_variable_value_t, ngx_int_t, ngx_str_t, ngx_table_elt_t, ngx_uint_t,
    ngx_variable_value_t, NGX_HTTP_VAR_NOCACHEABLE, NGX_HTTP_VAR_NOHASH, NGX_HTTP_VAR_PREFIX,
};
use ngx::http::HttpModuleMainConf;
use ngx::ngx_string;
use thiserror::Error;

use crate::module::S3PrivateBucket;
use crate::proxy::ProxyError;
use crate::request::{method, name_object, object_mut, presigned_url, serving, signed, Object};
use crate::upstream::last_error;

type Get =
    unsafe extern "C" fn(*mut ngx_http_request_t, *mut ngx_variable_value_t, usize) -> ngx_int_t;

/// What the names of all variables begin with.
const PREFIX: &str = "s3_private_bucket_";

/// A variable that only the proxy module's configuration may read; see [`check_names`].
pub const AUTHORIZATION: &str = "s3_private_bucket_authorization";

/// What the names of the variables begin with that hold captures of the location, for values of the
/// module's directives: `$1` means what the last regular expression found, of a `map` too.
pub const CAPTURE: &str = "s3_private_bucket_capture_";

/// A variable: its name behind [`PREFIX`], its handler, and the handler's argument.
struct Variable(&'static str, Get, usize);

/// The documented variables.
const SHOWN: [Variable; 6] = [
    Variable("name", named, mem::offset_of!(Object, name)),
    Variable("key", named, mem::offset_of!(Object, key)),
    Variable("host", named, mem::offset_of!(Object, host)),
    Variable("uri", named, mem::offset_of!(Object, uri)),
    Variable("presigned_url", presigned, 0),
    Variable("error", error, 0),
];

/// What the directive writes into the proxy module's settings.
const HIDDEN: [Variable; 10] = [
    Variable("authorization", authorize, 0),
    Variable("dollar", dollar, 0),
    Variable("method", sent_method, 0),
    Variable("date", date, 0),
    Variable("range", conditional, RANGE),
    Variable("if_range", conditional, mem::offset_of!(ngx_http_headers_in_t, if_range)),
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
/// # Safety
/// `cf` is nginx's context in a preconfiguration hook.
pub unsafe fn register(cf: *mut ngx_conf_t) -> Option<()> {
    for Variable(name, get, data) in SHOWN.iter().chain(&HIDDEN) {
        // SAFETY: cf is nginx's context.
        unsafe { add(cf, &format!("{PREFIX}{name}"), NGX_HTTP_VAR_NOHASH, *get, *data) }?;
    }
    // SAFETY: cf is nginx's context.
    unsafe { add(cf, PREFIX, NGX_HTTP_VAR_PREFIX, by_name, 0) }
}

unsafe fn add(cf: *mut ngx_conf_t, name: &str, flag: u32, get: Get, data: usize) -> Option<()> {
    let mut name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
    let flags = (NGX_HTTP_VAR_NOCACHEABLE | flag) as ngx_uint_t;
    // SAFETY: cf is nginx's context, which copies the name.
    let variable = unsafe { ngx_http_add_variable(cf, &mut name, flags).as_mut() }?;
    variable.get_handler = Some(get);
    variable.data = data;
    Some(())
}

/// A variable by its name, at `data`: a documented one. A capture holds only what [`set_captures`]
/// put there.
unsafe extern "C" fn by_name(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value, and for a prefix the name that was looked for.
    unsafe {
        let name = (*(data as *const ngx_str_t)).as_bytes();
        match SHOWN.iter().find(|Variable(n, ..)| name[PREFIX.len()..] == *n.as_bytes()) {
            Some(Variable(_, get, data)) => get(r, v, *data),
            None => set(v, None),
        }
    }
}

/// The place in every request for the location's capture `digit`, 1 to 9.
///
/// # Safety
/// `cf` is nginx's configuration context.
pub unsafe fn capture_index(cf: *mut ngx_conf_t, digit: u8) -> Option<ngx_uint_t> {
    let name = format!("{CAPTURE}{digit}");
    let mut name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
    // SAFETY: cf is nginx's context, which copies the name.
    ngx_uint_t::try_from(unsafe { ngx_http_get_variable_index(cf, &mut name) }).ok()
}

/// Has nginx keep a place in every request for a variable, if it is not there yet.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn index(
    cf: *mut ngx_conf_t,
    known: &mut Option<ngx_uint_t>,
    mut name: ngx_str_t,
) -> Result<(), ProxyError> {
    if known.is_none() {
        // SAFETY: cf is nginx's context, which copies the name.
        let index = unsafe { ngx_http_get_variable_index(cf, &mut name) };
        *known = Some(ngx_uint_t::try_from(index).map_err(|_| ProxyError::Nginx)?);
    }
    Ok(())
}

const RANGE: usize = mem::offset_of!(ngx_http_headers_in_t, range);
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
        let object = serving(r).and_then(|s| keep_captures(r, || name_object(r, s, 0).ok()));
        set(v, object.map(|object| field(object)))
    }
}

/// Evaluates regular expressions of other variables without a trace: the script that reads this
/// variable may have measured `$1` already, and is going to copy it.
#[cfg(ngx_feature = "pcre")]
unsafe fn keep_captures<T>(r: *mut ngx_http_request_t, f: impl FnOnce() -> Option<T>) -> Option<T> {
    // SAFETY: nginx keeps ncaptures numbers at captures, which a match overwrites in place.
    unsafe {
        let (count, data) = ((*r).ncaptures, (*r).captures_data);
        let mut saved = [0; 64];
        let kept = count.min(saved.len());
        if kept > 0 {
            ptr::copy_nonoverlapping((*r).captures, saved.as_mut_ptr(), kept);
        }
        let result = f();
        // A match may have allocated another array, where a clone of the request has the first.
        if kept > 0 {
            ptr::copy_nonoverlapping(saved.as_ptr(), (*r).captures, kept);
        }
        (*r).ncaptures = kept;
        (*r).captures_data = data;
        result
    }
}

#[cfg(not(ngx_feature = "pcre"))]
unsafe fn keep_captures<T>(_: *mut ngx_http_request_t, f: impl FnOnce() -> Option<T>) -> Option<T> {
    f()
}

/// A regular expression of nginx, and its variables.
#[cfg(ngx_feature = "pcre")]
pub type Regex = ngx::ffi::ngx_http_regex_t;
/// Nothing, in an nginx without regular expressions.
#[cfg(not(ngx_feature = "pcre"))]
pub type Regex = c_void;

/// Puts the location's captures where the values of its directives read them: those of its own
/// regular expression, whatever ran since; without one, those of the last.
///
/// # Safety
/// `r` is a valid request, `regex` that of its location or NULL, and the indices are from
/// [`capture_index`].
#[cfg(ngx_feature = "pcre")]
pub unsafe fn set_captures(
    r: *mut ngx_http_request_t,
    regex: *const Regex,
    captures: &[(u8, ngx_uint_t)],
) {
    const MOST: usize = 10;
    if captures.is_empty() {
        return;
    }
    // SAFETY: nginx keeps ncaptures numbers at captures; a match writes two of the three numbers for
    // each capture. Every request has a place for each indexed variable.
    unsafe {
        let mut own = [-1; 3 * MOST];
        let mut found = match (*r).ncaptures {
            0 => &[][..],
            count => slice::from_raw_parts((*r).captures, count),
        };
        let mut data = (*r).captures_data;
        if regex.as_ref().is_some_and(|regex| regex.ncaptures > 0) {
            let uri = &mut (*r).uri;
            let (room, numbers) = (own.len(), own.as_mut_ptr());
            let count = ngx::ffi::ngx_regex_exec((*regex).regex, uri, numbers, room);
            if let Ok(count) = usize::try_from(count) {
                // What is behind the pairs of this match is left of others. PCRE says 0 where
                // there are more pairs than room.
                let pairs = if count == 0 { MOST } else { count.min(MOST) };
                (found, data) = (&own[..2 * pairs], uri.data);
            }
        }
        for &(digit, index) in captures {
            let pair = found.get(2 * usize::from(digit)..).and_then(|rest| rest.first_chunk());
            let value =
                pair.filter(|&&[start, end]| start >= 0 && end >= start).map(|&[start, end]| {
                    ngx_str_t { len: (end - start) as usize, data: data.add(start as usize) }
                });
            let v = (*r).variables.add(index);
            set(v, value.or(Some(ngx_str_t::empty())));
        }
    }
}

/// Without regular expressions there are no captures.
///
/// # Safety
/// None is needed.
#[cfg(not(ngx_feature = "pcre"))]
pub unsafe fn set_captures(_: *mut ngx_http_request_t, _: *const Regex, _: &[(u8, ngx_uint_t)]) {}

/// `$s3_private_bucket_presigned_url`
///
/// Nothing for a request that would be refused: [`crate::response`] turns a redirect to nowhere
/// into the error that it would get.
unsafe extern "C" fn presigned(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value.
    unsafe {
        let url = serving(r).and_then(|s| keep_captures(r, || presigned_url(r, s).ok()));
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

/// The method that the proxy module would send by itself.
unsafe extern "C" fn sent_method(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value.
    unsafe {
        let name = method(r).map(|m| m.name());
        set(v, name.map(|n| ngx_str_t { len: n.len(), data: n.as_ptr().cast_mut() }))
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
        set(v, date.map(|d| ngx_str_t { len: d.len(), data: d.as_ptr().cast_mut() }))
    }
}

/// A name in the configuration that it may not have.
#[derive(Debug, Error)]
pub enum NameError {
    /// A log format or another directive that would show signatures.
    #[error(
        "keeps signatures in the variable \"${AUTHORIZATION}\", which nothing else may use; \
         remove it"
    )]
    Authorization,
    /// A name that is not one of the module's, nor the configuration's own.
    #[error("has no variable \"${0}\"; correct its name")]
    Unknown(String),
}

/// Checks the variables that the configuration names.
///
/// The proxy module's values are cached in the request, so that a log format could show a signature:
/// what nobody names cannot be shown.
///
/// # Errors
/// The first of [`NameError`]'s reasons that applies.
///
/// # Safety
/// `cf` is nginx's context after the configuration was read, before it is [`crate::proxy`]'s turn.
pub unsafe fn check_names(cf: *mut ngx_conf_t) -> Result<(), NameError> {
    unsafe fn elements<T>(array: &ngx_array_t) -> &[T] {
        match array.nelts {
            0 => &[],
            // SAFETY: the caller names the type of the array's elements.
            n => unsafe { slice::from_raw_parts(array.elts.cast(), n) },
        }
    }
    // SAFETY: the core module has a main configuration in every http{}, with an array of the
    // variables that were named, and until all are resolved the names of those that exist.
    unsafe {
        let ctx: *const ngx_http_conf_ctx_t = (*cf).ctx.cast();
        let index = (*ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *const ngx_http_core_main_conf_t = (*(*ctx).main_conf.add(index)).cast();
        let exists = elements::<ngx_hash_key_t>(&(*(*core).variables_keys).keys);
        for variable in elements::<ngx_http_variable_t>(&(*core).variables) {
            let name = variable.name.as_bytes();
            if name == AUTHORIZATION.as_bytes() {
                return Err(NameError::Authorization);
            }
            let ours = name.starts_with(PREFIX.as_bytes()) && !name.starts_with(CAPTURE.as_bytes());
            if ours && !exists.iter().any(|known| known.key.as_bytes() == name) {
                return Err(NameError::Unknown(variable.name.to_string()));
            }
        }
        Ok(())
    }
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
/// The client's own, unless the response is to be stored: then what nginx's cache and slice
/// modules want, as in the proxy module's own defaults for cached locations.
unsafe extern "C" fn conditional(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; data is the offset of a header pointer.
    unsafe {
        let header: *const *const ngx_table_elt_t =
            ptr::addr_of!((*r).headers_in).byte_add(data).cast();
        let header = (*header).as_ref().map(|h| h.value);
        let stored = (*r).upstream.as_ref().is_some_and(|u| u.cacheable() != 0 || u.store() != 0);
        if header.is_none() && !stored && data != RANGE {
            // Most of the time.
            return set(v, None);
        }
        let (Some(main), Some(_)) = (S3PrivateBucket::main_conf(&*r), serving(r)) else {
            return set(v, None);
        };
        let variable = |index| {
            let value: *mut ngx_http_variable_value_t = ngx_http_get_flushed_variable(r, index);
            let value = value.as_ref().filter(|v| v.not_found() == 0 && v.len() > 0)?;
            Some(ngx_str_t { len: value.len() as usize, data: value.data })
        };
        let slice = main.slice_range.and_then(variable);
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

unsafe fn set(v: *mut ngx_variable_value_t, value: Option<ngx_str_t>) -> ngx_int_t {
    // SAFETY: v is nginx's.
    let v = unsafe { &mut *v };
    match value {
        Some(value) => {
            set_found(v, value.len as u32);
            v.data = value.data;
        }
        None => v.set_not_found(1),
    }
    Status::NGX_OK.into()
}

/// Sets the length and the flags of a value that is found. bindgen's setters go through a length bit by
/// bit, which would cost more than all else that a variable does.
fn set_found(v: &mut ngx_variable_value_t, len: u32) {
    const LEN: u32 = (1 << 28) - 1;
    const VALID: u32 = 1 << 28;
    const ESCAPE: u32 = 1 << 31;
    if cfg!(target_endian = "little") {
        let word = ptr::from_mut(v).cast::<u32>();
        // SAFETY: the value begins with a word of bit fields: len, valid, no_cacheable, not_found,
        // escape.
        unsafe { word.write(word.read() & ESCAPE | VALID | len & LEN) };
    } else {
        v.set_len(len);
        v.set_valid(1);
        v.set_no_cacheable(0);
        v.set_not_found(0);
    }
}
