//! What the proxy module reads when it builds a request, and what log formats may show.

use core::{mem, ptr};

use ngx::core::Status;
use ngx::ffi::{
    ngx_conf_t, ngx_http_add_variable, ngx_http_get_flushed_variable, ngx_http_get_variable_index,
    ngx_http_headers_in_t, ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t, ngx_str_t,
    ngx_table_elt_t, ngx_uint_t, ngx_variable_value_t, NGX_ERROR, NGX_HTTP_VAR_NOCACHEABLE,
};
use ngx::http::HttpModuleMainConf;
use ngx::ngx_string;

use crate::module::S3PrivateBucket;
use crate::proxy::module_named;
use crate::request::{name_object, object, serving, Object};

type Get =
    unsafe extern "C" fn(*mut ngx_http_request_t, *mut ngx_variable_value_t, usize) -> ngx_int_t;

/// A client header that may go to S3, and where nginx keeps it.
const fn header(name: ngx_str_t, offset: usize) -> (ngx_str_t, Get, usize) {
    (name, conditional, offset)
}

/// Adds the module's variables.
///
/// # Safety
/// `cf` is nginx's context in a preconfiguration hook.
pub unsafe fn register(cf: *mut ngx_conf_t) -> Option<()> {
    let variables = [
        (ngx_string!("s3_private_bucket_name"), named as Get, mem::offset_of!(Object, name)),
        (ngx_string!("s3_private_bucket_key"), named, mem::offset_of!(Object, key)),
        (ngx_string!("s3_private_bucket_host"), named, mem::offset_of!(Object, host)),
        (ngx_string!("s3_private_bucket_uri"), named, mem::offset_of!(Object, uri)),
        // Not documented: what the directive writes into proxy_set_header.
        (ngx_string!("s3_private_bucket_dollar"), dollar, 0),
        header(ngx_string!("s3_private_bucket_range"), RANGE),
        header(
            ngx_string!("s3_private_bucket_if_range"),
            mem::offset_of!(ngx_http_headers_in_t, if_range),
        ),
        header(
            ngx_string!("s3_private_bucket_if_match"),
            mem::offset_of!(ngx_http_headers_in_t, if_match),
        ),
        header(ngx_string!("s3_private_bucket_if_none_match"), IF_NONE_MATCH),
        header(ngx_string!("s3_private_bucket_if_modified_since"), IF_MODIFIED_SINCE),
        header(
            ngx_string!("s3_private_bucket_if_unmodified_since"),
            mem::offset_of!(ngx_http_headers_in_t, if_unmodified_since),
        ),
    ];
    // SAFETY: cf is nginx's context; it copies the names' pointers, which are to constants.
    unsafe {
        for (mut name, get, data) in variables {
            let flags = NGX_HTTP_VAR_NOCACHEABLE as ngx_uint_t;
            let variable = ngx_http_add_variable(cf, &mut name, flags).as_mut()?;
            variable.get_handler = Some(get);
            variable.data = data;
        }

        let main = S3PrivateBucket::main_conf_mut(&*cf)?;
        let index = |mut name: ngx_str_t| {
            let index = ngx_http_get_variable_index(cf, &mut name);
            (index != NGX_ERROR as ngx_int_t).then_some(index as ngx_uint_t)
        };
        main.cache_last_modified = index(ngx_string!("upstream_cache_last_modified"))?;
        main.cache_etag = index(ngx_string!("upstream_cache_etag"))?;
        if module_named((*cf).cycle, b"ngx_http_slice_filter_module").is_some() {
            main.slice_range = Some(index(ngx_string!("slice_range"))?);
        }
    }
    Some(())
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
        let known = object(r);
        let object = match (known, serving(r)) {
            (Some(object), _) => Some(object),
            (None, Some(serving)) => keep_captures(r, || name_object(r, serving).ok()),
            (None, None) => None,
        };
        let value = object.map(|o| *ptr::addr_of!(o).byte_add(data).cast::<ngx_str_t>());
        set(v, value)
    }
}

/// Evaluates regular expressions of other variables without a trace: the script that reads this
/// variable may have measured `$1` already, and is going to copy it.
#[cfg(ngx_feature = "pcre")]
unsafe fn keep_captures<T>(r: *mut ngx_http_request_t, f: impl FnOnce() -> Option<T>) -> Option<T> {
    // SAFETY: nginx keeps ncaptures numbers at captures, which a match overwrites in place.
    unsafe {
        let (count, captures, data) = ((*r).ncaptures, (*r).captures, (*r).captures_data);
        let mut saved = [0; 64];
        let kept = count.min(saved.len());
        if kept > 0 {
            ptr::copy_nonoverlapping(captures, saved.as_mut_ptr(), kept);
        }
        let result = f();
        if kept > 0 {
            ptr::copy_nonoverlapping(saved.as_ptr(), captures, kept);
        }
        (*r).ncaptures = kept;
        (*r).captures = captures;
        (*r).captures_data = data;
        result
    }
}

#[cfg(not(ngx_feature = "pcre"))]
unsafe fn keep_captures<T>(_: *mut ngx_http_request_t, f: impl FnOnce() -> Option<T>) -> Option<T> {
    f()
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
        let (Some(main), Some(_)) = (S3PrivateBucket::main_conf(&*r), serving(r)) else {
            return set(v, None);
        };
        let variable = |index| {
            let value: *mut ngx_http_variable_value_t = ngx_http_get_flushed_variable(r, index);
            let value = value.as_ref().filter(|v| v.not_found() == 0 && v.len() > 0)?;
            Some(ngx_str_t { len: value.len() as usize, data: value.data })
        };
        let slice = main.slice_range.and_then(variable);
        let stored = (*r).upstream.as_ref().is_some_and(|u| u.cacheable() != 0 || u.store() != 0);
        let value = match (data, slice) {
            (RANGE, Some(slice)) => Some(slice),
            (IF_MODIFIED_SINCE, _) if stored => variable(main.cache_last_modified),
            (IF_NONE_MATCH, _) if stored => variable(main.cache_etag),
            (_, Some(_)) => None,
            _ if stored => None,
            _ => {
                let header: *const *const ngx_table_elt_t =
                    ptr::addr_of!((*r).headers_in).byte_add(data).cast();
                (*header).as_ref().map(|h| h.value)
            }
        };
        set(v, value)
    }
}

unsafe fn set(v: *mut ngx_variable_value_t, value: Option<ngx_str_t>) -> ngx_int_t {
    // SAFETY: v is nginx's.
    let v = unsafe { &mut *v };
    match value {
        Some(value) => {
            v.set_valid(1);
            v.set_no_cacheable(0);
            v.set_not_found(0);
            v.set_len(value.len as u32);
            v.data = value.data;
        }
        None => v.set_not_found(1),
    }
    Status::NGX_OK.into()
}
