//! What the user wrote of the proxy module in a location.
//!
//! It is found by letting each command write into a scratch configuration, and comparing the words that
//! it touched.

use core::ffi::{c_void, CStr};
use core::{mem, slice};
use std::collections::BTreeMap;
use std::rc::Rc;

use ngx::ffi::{
    ngx_array_t, ngx_conf_t, ngx_http_script_copy_var_len_code, ngx_http_upstream_conf_t,
    ngx_keyval_t, ngx_str_t,
};

use crate::nginx::foreign::{Footprint, Foreign, ForeignError};
use crate::nginx::http_core::elements;
use crate::nginx::variable;

/// The commands that set what a location gets, each with an argument to try it with.
const TRIED: [(&str, &CStr); 14] = [
    ("proxy_pass", c"http://$s3_private_bucket_uri"),
    ("proxy_http_version", c"1.1"),
    ("proxy_pass_request_headers", c"off"),
    ("proxy_pass_request_body", c"off"),
    ("proxy_ssl_server_name", c"on"),
    ("proxy_ssl_name", c"name"),
    ("proxy_ssl_verify", c"on"),
    ("proxy_ssl_verify_depth", c"3"),
    ("proxy_ssl_trusted_certificate", c"/file"),
    ("proxy_cache_key", c"key"),
    ("proxy_method", c"GET"),
    ("proxy_set_body", c"body"),
    ("proxy_intercept_errors", c"on"),
    ("proxy_max_temp_file_size", c"0"),
];

/// The footprints that were learnt already.
pub type Footprints = BTreeMap<&'static str, Rc<Footprint>>;

/// nginx's proxy module.
///
/// # Errors
/// When this nginx has none.
///
/// # Safety
/// `cf` is nginx's configuration context.
pub unsafe fn proxy_module(cf: *mut ngx_conf_t) -> Result<Foreign, ForeignError> {
    // SAFETY: the cycle's modules are complete when a configuration is read.
    unsafe { Foreign::find((*cf).cycle, c"ngx_http_proxy_module", "proxy_pass") }
}

/// The upstream module's part of a configuration of the proxy module.
///
/// # Errors
/// When the proxy module has none.
///
/// # Safety
/// `conf` is a configuration of the proxy module.
pub unsafe fn upstream_part<'a>(
    proxy: Foreign,
    conf: *mut c_void,
) -> Result<&'a mut ngx_http_upstream_conf_t, ForeignError> {
    // SAFETY: the caller's promise.
    unsafe { proxy.upstream(conf, "proxy_connect_timeout") }
}

/// Which words a command of the proxy module writes.
///
/// # Errors
/// When it writes nothing, or is not one of those that are known.
///
/// # Safety
/// `cf->ctx` is a location's.
pub unsafe fn footprint(
    cf: *mut ngx_conf_t,
    known: &mut Footprints,
    proxy: Foreign,
    name: &'static str,
) -> Result<Rc<Footprint>, ForeignError> {
    if let Some(footprint) = known.get(name) {
        return Ok(footprint.clone());
    }
    let (_, trial) = TRIED.iter().find(|(n, _)| *n == name).ok_or(ForeignError::Refused(name))?;
    // SAFETY: the caller's promise.
    let learnt = Rc::new(unsafe { proxy.footprint(cf, name, trial) }?);
    known.insert(name, learnt.clone());
    Ok(learnt)
}

/// What the user wrote in a location with a bucket.
#[derive(Default)]
pub struct Written {
    /// Directives of the proxy module that the module would set too.
    pub directives: Vec<&'static str>,
    /// The lines of `proxy_set_header`.
    pub headers: Vec<(ngx_str_t, ngx_str_t)>,
}

impl Written {
    /// Finds out what was written into a proxy configuration.
    ///
    /// # Errors
    /// When a command could not be tried.
    ///
    /// # Safety
    /// `cf->ctx` is a location's; `conf` is one of the proxy module that is not merged yet.
    pub unsafe fn find(
        cf: *mut ngx_conf_t,
        known: &mut Footprints,
        proxy: Foreign,
        conf: *mut c_void,
    ) -> Result<Self, ForeignError> {
        // SAFETY: the caller's promise.
        unsafe {
            let (words, fresh) = (proxy.words(conf), proxy.words(proxy.create(cf)?));
            let mut directives = Vec::new();
            for (name, _) in TRIED {
                if footprint(cf, known, proxy, name)?.differs(words, fresh) {
                    directives.push(name);
                }
            }
            Ok(Written { directives, headers: headers(proxy, conf)? })
        }
    }

    /// Adds what stands around an `if`, where few directives can stand, to what is in it.
    pub fn extend(&mut self, around: Written) {
        let can_not = around.directives.into_iter().filter(|&name| name != "proxy_pass");
        self.directives.extend(can_not);
        self.headers.extend(around.headers);
    }

    /// Whether a directive was written.
    pub fn has(&self, name: &str) -> bool {
        self.directives.contains(&name)
    }

    /// Whether a header is one that was written.
    pub fn has_header(&self, name: &str) -> bool {
        let same = |(key, _): &(ngx_str_t, ngx_str_t)| {
            key.as_bytes().eq_ignore_ascii_case(name.as_bytes())
        };
        self.headers.iter().any(same)
    }
}

/// The lines of `proxy_set_header` in a configuration.
unsafe fn headers(
    proxy: Foreign,
    conf: *mut c_void,
) -> Result<Vec<(ngx_str_t, ngx_str_t)>, ForeignError> {
    // SAFETY: the command stores an array of pairs; unset is -1, and NULL occurs.
    unsafe {
        let array: *const ngx_array_t = proxy.stored(conf, "proxy_set_header")?;
        if array.is_null() || array.addr() == usize::MAX {
            return Ok(Vec::new());
        }
        let pairs: &[ngx_keyval_t] = elements(&*array);
        Ok(pairs.iter().map(|pair| (pair.key, pair.value)).collect())
    }
}

/// Whether the user's `proxy_pass` reads `$s3_private_bucket_uri`: whether one of the script arrays that
/// the command wrote has nginx's code for that variable's length.
///
/// # Errors
/// When the command could not be tried.
///
/// # Safety
/// As for [`Written::find`].
pub unsafe fn passes_uri(
    cf: *mut ngx_conf_t,
    known: &mut Footprints,
    proxy: Foreign,
    conf: *mut c_void,
) -> Result<bool, ForeignError> {
    // SAFETY: cf is nginx's context; the words that proxy_pass writes are pointers to arrays, or
    // flags, and a script array is nelts bytes long.
    unsafe {
        let footprint = footprint(cf, known, proxy, "proxy_pass")?;
        let index = variable::index(cf, "s3_private_bucket_uri")?;
        let code = ngx_http_script_copy_var_len_code as *const () as usize;
        let conf = proxy.words(conf);
        let mut words = footprint.words.iter().map(|&i| conf[i]).filter(|&word| word > 1);
        Ok(words.any(|array| {
            let array = array as *const ngx_array_t;
            let words = (*array).nelts * (*array).size / mem::size_of::<usize>();
            let script: &[usize] = slice::from_raw_parts((*array).elts.cast(), words);
            script.windows(2).any(|w| w == [code, index])
        }))
    }
}
