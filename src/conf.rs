//! The directives: one table, what they take, how they are inherited, what `nginx -t` says.

mod auth;
mod credentials;
mod error;
mod given;
mod own;
mod values;

use core::ffi::{c_char, c_void, CStr};
use core::{ptr, slice};

use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::ffi::{
    ngx_command_t, ngx_conf_t, ngx_str_t, ngx_uint_t, NGX_CONF_1MORE, NGX_CONF_BLOCK,
    NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_CONF_TAKE2, NGX_HTTP_LIF_CONF,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET,
    NGX_HTTP_SRV_CONF, NGX_LOG_EMERG,
};
use ngx::ngx_conf_log_error;

use crate::log;
use crate::nginx::constant;
use crate::s3::object::sorted_arguments;
use crate::setup::place::Place;
use crate::setup::prepare::prepare;
use crate::setup::settings::{BucketSetting, LocationConf, MainConf, Settings};
use crate::setup::status::show;
use error::ConfError;
use given::{once, without_secrets, Given};

/// Puts a directive's arguments into a location's settings, or says what is wrong with them.
type Set = fn(&mut Settings, &Given) -> Result<(), ConfError>;

/// Where most directives can stand.
const EVERYWHERE: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// A directive: its name, where it can stand with how many arguments, and what it does.
struct Directive(&'static CStr, u32, Set);

static DIRECTIVES: [Directive; 19] = [
    Directive(
        c"s3_private_bucket",
        NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF | NGX_CONF_TAKE12,
        set_bucket,
    ),
    Directive(c"s3_private_bucket_region", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.region, values::region(given)?)
    }),
    Directive(c"s3_private_bucket_endpoint", EVERYWHERE | NGX_CONF_1MORE, |to, given| {
        once(&mut to.endpoint, values::endpoint(given)?)
    }),
    Directive(c"s3_private_bucket_addressing", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.addressing, values::addressing(given)?)
    }),
    Directive(c"s3_private_bucket_auth", EVERYWHERE | NGX_CONF_1MORE, |to, given| {
        once(&mut to.auth, auth::auth(given)?)
    }),
    Directive(c"s3_private_bucket_expected_owner", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.expected_owner, values::expected_owner(given)?)
    }),
    Directive(c"s3_private_bucket_presigned_expires", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.presigned_expires, values::presigned_expires(given)?)
    }),
    Directive(c"s3_private_bucket_key", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.key, values::key(given)?)
    }),
    Directive(c"s3_private_bucket_index", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.index, values::index(given)?)
    }),
    Directive(c"s3_private_bucket_pass_args", EVERYWHERE | NGX_CONF_1MORE, |to, given| {
        let names = given.names("write names of query arguments")?;
        once(&mut to.pass_args, sorted_arguments(names).into())
    }),
    Directive(c"s3_private_bucket_set_arg", EVERYWHERE | NGX_CONF_TAKE2, |to, given| {
        own::argument(&mut to.set_args, given)
    }),
    Directive(c"s3_private_bucket_set_header", EVERYWHERE | NGX_CONF_TAKE2, |to, given| {
        own::header(&mut to.set_headers, given)
    }),
    Directive(c"s3_private_bucket_pass_headers", EVERYWHERE | NGX_CONF_1MORE, |to, given| {
        once(&mut to.pass_headers, given.names("write names of response headers")?.into())
    }),
    Directive(c"s3_private_bucket_errors", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.masks, given.either("mask", "pass")?)
    }),
    Directive(c"s3_private_bucket_append_slash", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.append_slash, given.either("on", "off")?)
    }),
    Directive(c"s3_private_bucket_website_redirects", EVERYWHERE | NGX_CONF_TAKE1, |to, given| {
        once(&mut to.website_redirects, given.either("on", "off")?)
    }),
    Directive(c"s3_private_bucket_autoindex", EVERYWHERE | NGX_CONF_1MORE, |to, given| {
        once(&mut to.autoindex, values::autoindex(given)?)
    }),
    Directive(c"s3_private_bucket_keepalive", EVERYWHERE | NGX_CONF_1MORE, |to, given| {
        once(&mut to.keepalive, values::keepalive(given)?.into())
    }),
    Directive(c"s3_private_bucket_status", NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, |to, given| {
        // SAFETY: cf is nginx's context.
        once(&mut to.status, unsafe { Place::of(given.cf) })
    }),
];

/// The directives as nginx reads them. It hands each back to [`set`] with its `post`.
pub static mut COMMANDS: [ngx_command_t; DIRECTIVES.len() + 2] = {
    // The table ends with an empty command.
    let mut commands = [ngx_command_t::empty(); DIRECTIVES.len() + 2];
    let mut i = 0;
    while i < DIRECTIVES.len() {
        let Directive(name, type_, action) = &DIRECTIVES[i];
        commands[i] = ngx_command_t {
            name: constant(name.to_bytes()),
            type_: *type_ as ngx_uint_t,
            set: Some(set),
            conf: NGX_HTTP_LOC_CONF_OFFSET,
            offset: 0,
            post: ptr::from_ref(action).cast_mut().cast(),
        };
        i += 1;
    }
    commands[i] = ngx_command_t {
        name: constant(c"s3_private_bucket_credentials".to_bytes()),
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_BLOCK | NGX_CONF_TAKE1) as ngx_uint_t,
        set: Some(credentials::block),
        conf: NGX_HTTP_MAIN_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    };
    commands
};

fn set_bucket(to: &mut Settings, given: &Given) -> Result<(), ConfError> {
    if !matches!(to.bucket, BucketSetting::Unset) {
        return Err(ConfError::Duplicate);
    }
    to.bucket = values::bucket(given)?;
    Ok(())
}

/// nginx's side of all directives.
unsafe extern "C" fn set(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx calls it with a valid context, this command, its arguments (the name first)
    // and what create_loc_conf made; the command's post is a Set.
    let (name, set, conf, args) = unsafe {
        let args: &[ngx_str_t] =
            slice::from_raw_parts((*(*cf).args).elts.cast(), (*(*cf).args).nelts);
        let set: &Set = &*(*cmd).post.cast();
        (&(*cmd).name, set, &mut *conf.cast::<LocationConf>(), &args[1..])
    };
    match set(&mut conf.settings, &Given { cf, args }) {
        Ok(()) => NGX_CONF_OK,
        Err(error) => {
            let error = without_secrets(error.to_string(), args);
            ngx_conf_log_error!(NGX_LOG_EMERG, cf, "\"{name}\" directive {error}");
            NGX_CONF_ERROR
        }
    }
}

/// Merges a location's configuration with that of the level above, and hands locations that
/// serve a bucket to set-up.
///
/// # Safety
/// `cf` is nginx's context with that location's configurations in `ctx`.
pub unsafe fn merge(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    prev: &LocationConf,
    conf: &mut LocationConf,
) -> *mut c_char {
    fn inherit<T: Clone>(slot: &mut Option<T>, prev: &Option<T>) {
        if slot.is_none() {
            slot.clone_from(prev);
        }
    }
    let (to, from) = (&mut conf.settings, &prev.settings);
    inherit(&mut to.region, &from.region);
    inherit(&mut to.endpoint, &from.endpoint);
    inherit(&mut to.addressing, &from.addressing);
    inherit(&mut to.auth, &from.auth);
    inherit(&mut to.expected_owner, &from.expected_owner);
    inherit(&mut to.presigned_expires, &from.presigned_expires);
    inherit(&mut to.key, &from.key);
    inherit(&mut to.index, &from.index);
    inherit(&mut to.pass_args, &from.pass_args);
    inherit(&mut to.set_args, &from.set_args);
    inherit(&mut to.set_headers, &from.set_headers);
    inherit(&mut to.pass_headers, &from.pass_headers);
    inherit(&mut to.masks, &from.masks);
    inherit(&mut to.append_slash, &from.append_slash);
    inherit(&mut to.website_redirects, &from.website_redirects);
    inherit(&mut to.autoindex, &from.autoindex);
    inherit(&mut to.keepalive, &from.keepalive);

    // SAFETY: cf is as this function asks for.
    let shown = unsafe { show(cf, &mut main.work.counted, &prev.settings, &conf.settings) };
    if let (Err(error), Some(place)) = (shown, &conf.settings.status) {
        let (name, place) = ("s3_private_bucket_status", place.to_string());
        // SAFETY: cf is nginx's context.
        unsafe { log::of_directive(cf, NGX_LOG_EMERG, name, error, &place) };
        return NGX_CONF_ERROR;
    }
    // SAFETY: cf is as this function asks for.
    match unsafe { prepare(cf, &mut main.work, prev, conf) } {
        Ok(()) => NGX_CONF_OK,
        Err(error) => {
            // SAFETY: cf is nginx's context.
            unsafe { log::of_location(cf, NGX_LOG_EMERG, error, &conf.settings.bucket.place()) };
            NGX_CONF_ERROR
        }
    }
}
