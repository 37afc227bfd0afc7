//! The content handler: a request is refused, or handed to the proxy module and its answer watched.

use core::ptr;

use ngx::core::Status;
use ngx::ffi::{ngx_http_request_t, ngx_int_t, NGX_HTTP_MOVED_PERMANENTLY};
use ngx::ngx_string;

use crate::answer::judge::watch;
use crate::location::{location, Location, Serving};
use crate::nginx::headers::add;
use crate::request::asked::{has_condition, method};
use crate::request::folder::{is_for_folder, name_folder, with_its_slash};
use crate::request::name::name_object;
use crate::request::object::{set_object, Object};
use crate::request::own::headers;
use crate::request::refusal::{allow, Refusal};
use crate::request::wait::wait;

/// The content handler of locations that serve a bucket.
///
/// It runs for every upstream request: for subrequests of `slice` and for background updates of
/// the cache too, which nginx starts at the content phase.
///
/// # Safety
/// nginx calls it with a request in its content phase.
pub unsafe extern "C" fn handle(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a request in its content phase.
    unsafe {
        let location = location(r);
        let Some(serving) = location.serving.as_deref() else {
            // "s3_private_bucket off" in an "if": what nginx does without a handler.
            return Status::NGX_DECLINED.into();
        };
        if let Some(folder) = location.folder.as_ref().filter(|folder| !folder.is_behind_index) {
            if is_for_folder(r, serving) {
                (*r).loc_conf = folder.loc_conf;
                return handle(r);
            }
        }
        if let Some(source) = serving.signing.as_ref().and_then(|s| s.keys.source()) {
            // What is refused anyway does not wait.
            let waits = method(r).and_then(|_| wait(r, source, proceed));
            if let Some(rc) = waits {
                return rc;
            }
        }
        answer(r, location, serving)
    }
}

/// Goes on with a request that has waited.
unsafe extern "C" fn proceed(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: handle() has seen the request.
    unsafe {
        let location = location(r);
        match location.serving.as_deref() {
            Some(serving) => answer(r, location, serving),
            None => Status::NGX_DECLINED.into(),
        }
    }
}

/// Refuses a request, or hands it to the proxy module.
#[inline(always)]
unsafe fn answer(r: *mut ngx_http_request_t, location: &Location, serving: &Serving) -> ngx_int_t {
    // SAFETY: r is a valid request of the location.
    unsafe {
        if serving.autoindex.is_some() {
            if let Some(rc) = redirect(r, serving) {
                return rc;
            }
        }
        match refuse_or_name(r, serving) {
            Ok(object) => {
                let object = ptr::from_mut(object);
                set_object(r, object);
                if let Some(array) = location.unconditional.filter(|_| !has_condition(r)) {
                    (*r).loc_conf = array;
                }
                if (*r).err_status != 0 {
                    // The page of an error, which nginx sends with that status, and the slice module lets be then.
                    (*r).headers_out.status = (*r).err_status;
                }
                let rc = (serving.proxy_handler)(r);
                if rc == Status::NGX_DONE.into() {
                    watch(r, object);
                }
                rc
            }
            Err(refusal) => {
                refusal.log(r);
                refusal.status()
            }
        }
    }
}

/// Redirects a request for a location's own folder without its slash.
unsafe fn redirect(r: *mut ngx_http_request_t, serving: &Serving) -> Option<ngx_int_t> {
    // SAFETY: r is a valid request, whose response has not begun.
    unsafe {
        method(r)?;
        let Ok(target) = with_its_slash(r, serving) else { return Some(Status::NGX_ERROR.into()) };
        let header = add(r, ngx_string!("Location"), target?);
        (*r).headers_out.location = header.unwrap_or(ptr::null_mut());
        Some(header.map_or(Status::NGX_ERROR.into(), |_| NGX_HTTP_MOVED_PERMANENTLY as ngx_int_t))
    }
}

#[inline(always)]
unsafe fn refuse_or_name<'a>(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<&'a mut Object, Refusal> {
    // SAFETY: r is a valid request.
    unsafe {
        // The name is what is sent.
        if (*r).method_name.is_empty() {
            return Err(Refusal::NoMethod);
        }
        if method(r).is_none() {
            allow(r)?;
            return Err(Refusal::Method);
        }
        // Room for a signature too: when it is made, there is no way back to an error page.
        let signature = serving.signing.as_ref().map_or(0, |signing| signing.authorization_len);
        let object = match &serving.autoindex {
            None => name_object(r, serving, signature),
            Some(autoindex) => name_folder(r, serving, autoindex, signature),
        }?;
        object.headers = headers(r, serving)?;
        Ok(object)
    }
}
