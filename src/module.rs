//! The export tables and nginx's hooks.

use core::ffi::{c_char, c_void};
use core::ptr::{self, NonNull};

use ngx::core::{Status, NGX_CONF_ERROR};
use ngx::ffi::{
    ngx_conf_t, ngx_cycle_t, ngx_http_module_t, ngx_int_t, ngx_module_t, ngx_uint_t,
    NGX_HTTP_MODULE, NGX_LOG_EMERG,
};
use ngx::http::{HttpModule, HttpModuleLocationConf, HttpModuleMainConf};

use crate::answer::filter;
use crate::conf::{self, COMMANDS};
use crate::credentials::refresh;
use crate::location;
use crate::log;
use crate::nginx::task::{self, is_first_worker};
use crate::request::{variables, wait};
use crate::setup::install::install;
use crate::setup::settings::{LocationConf, MainConf};

/// The module, for the `ngx` crate's typed access to configurations.
pub struct S3PrivateBucket;

static CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(S3PrivateBucket::preconfiguration),
    postconfiguration: Some(S3PrivateBucket::postconfiguration),
    create_main_conf: Some(S3PrivateBucket::create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(S3PrivateBucket::create_loc_conf),
    merge_loc_conf: Some(merge_loc_conf),
};

/// nginx's own handle of the module.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_s3_private_bucket_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(CONTEXT).cast_mut().cast(),
    // SAFETY: only the address is taken; nginx reads the table, which ends with an empty command.
    commands: unsafe { ptr::addr_of_mut!(COMMANDS[0]) },
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_process: Some(init_process),
    exit_process: Some(exit_process),
    ..ngx_module_t::default()
};

/// A constant that nginx reads through `dlsym` in a single thread.
#[repr(transparent)]
pub struct Export<T>(T);

// SAFETY: nothing writes to the tables, and their pointers are to statics.
unsafe impl<T> Sync for Export<T> {}

/// The module in this library.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_modules: Export<[*const ngx_module_t; 2]> =
    Export([ptr::addr_of!(ngx_http_s3_private_bucket_module), ptr::null()]);

/// Its name.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_module_names: Export<[*const c_char; 2]> =
    Export([c"ngx_http_s3_private_bucket_module".as_ptr(), ptr::null()]);

/// The module, and one that has to follow it.
///
/// Before the proxy module: a location's proxy settings are looked at while it is still known
/// which of them were written there and which would be inherited.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_module_order: Export<[*const c_char; 3]> = Export([
    c"ngx_http_s3_private_bucket_module".as_ptr(),
    c"ngx_http_proxy_module".as_ptr(),
    ptr::null(),
]);

// SAFETY: create_main_conf makes a MainConf.
unsafe impl HttpModuleMainConf for S3PrivateBucket {
    type MainConf = MainConf;
}

// SAFETY: create_loc_conf makes a LocationConf.
unsafe impl HttpModuleLocationConf for S3PrivateBucket {
    type LocationConf = LocationConf;
}

impl HttpModule for S3PrivateBucket {
    fn module() -> &'static ngx_module_t {
        location::module()
    }

    unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
        // SAFETY: nginx passes its configuration context.
        match unsafe { variables::register(cf) } {
            Ok(()) => Status::NGX_OK.into(),
            Err(_) => Status::NGX_ERROR.into(),
        }
    }

    unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
        if filter::is_installed() {
            // Linking its own filters anew, nginx would lose these in the process that goes on.
            let what = "cannot be reloaded with \"master_process off\"; restart nginx";
            // SAFETY: nginx passes its configuration context.
            unsafe { log::of_location(cf, NGX_LOG_EMERG, what, "") };
            return Status::NGX_ERROR.into();
        }
        // SAFETY: nginx passes its configuration context, after all configurations were merged.
        let installed =
            unsafe { S3PrivateBucket::main_conf_mut(&*cf).map(|main| install(cf, main)) };
        match installed {
            Some(Ok(())) => Status::NGX_OK.into(),
            _ => Status::NGX_ERROR.into(),
        }
    }
}

unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes its context, and two configurations that create_loc_conf made.
    unsafe {
        match S3PrivateBucket::main_conf_mut(&*cf) {
            Some(main) => conf::merge(cf, main, &*prev.cast(), &mut *conf.cast()),
            None => NGX_CONF_ERROR,
        }
    }
}

/// Installs the filters in a process that serves requests, and begins to renew keys in the first.
///
/// Not when the configuration is read, as nginx's own filters are: a place before the proxy module is
/// too early for that, and a reload that fails must not take them from the workers that the old
/// configuration gets later.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx passes the cycle that the process is for, once in its life, with its own filters
    // linked.
    unsafe {
        // Where no location serves a bucket, requests are not to notice that the module is loaded.
        if S3PrivateBucket::main_conf(&*cycle).is_some_and(|main| main.shared.serves) {
            filter::install();
        }
        let sources = S3PrivateBucket::main_conf(&*cycle).map(|main| &main.shared.sources[..]);
        if let (Some(sources), Some(log), true) =
            (sources, NonNull::new((*cycle).log), is_first_worker())
        {
            refresh::start(sources, log);
        }
    }
    Status::NGX_OK.into()
}

unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    // SAFETY: nginx calls it in each process that ends, before the configuration does.
    unsafe { task::stop() };
    wait::stop();
}
