//! `s3_private_bucket_credentials name { ... }`: the block, and the directives in it.

use core::ffi::{c_char, c_void};
use core::{ptr, slice};
use std::path::PathBuf;

use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::ffi::{
    ngx_command_t, ngx_conf_parse, ngx_conf_t, ngx_msec_t, ngx_parse_time, ngx_resolver_create,
    ngx_str_t, NGX_LOG_EMERG,
};
use ngx::ngx_conf_log_error;

use super::auth::{self, full_name};
use super::error::ConfError;
use super::given::{once, text, without_secrets, Given};
use crate::s3::endpoint::is_region;
use crate::s3::sources::sts::{is_external_id, is_role_arn, is_session_name};
use crate::setup::blocks::{Block, Origin, Word};
use crate::setup::place::Place;
use crate::setup::settings::MainConf;

/// A directive of the block: its name, how many arguments it has at most, and what it does.
type Line = (&'static str, usize, fn(&mut Block, &Given) -> Result<(), ConfError>);

const LINES: [Line; 13] = [
    ("source", 2, |to, given| once(&mut to.source, source(given)?)),
    ("from", 2, |to, given| once(&mut to.from, from(given)?)),
    ("role_arn", 1, |to, given| once(&mut to.role_arn, valid(given, is_role_arn, ROLE_CURE)?)),
    ("external_id", 1, |to, given| {
        let cure = "use 2 to 1224 characters A-Z, a-z, 0-9 and _+=,.@:/-";
        once(&mut to.external_id, valid(given, is_external_id, cure)?)
    }),
    ("session_name", 1, |to, given| {
        let cure = "use 2 to 64 characters A-Z, a-z, 0-9 and _+=,.@-";
        once(&mut to.session_name, valid(given, is_session_name, cure)?)
    }),
    ("duration", 1, |to, given| {
        let cure = "use \"15m\" to \"12h\"";
        let seconds = time(given, 1, 900..=43_200, cure)?;
        once(&mut to.duration, u32::try_from(seconds).unwrap_or(u32::MAX))
    }),
    ("region", 1, |to, given| {
        once(&mut to.region, valid(given, is_region, "use a name such as \"eu-central-1\"")?)
    }),
    ("endpoint", 1, |to, given| {
        once(&mut to.endpoint, valid(given, |text| !text.is_empty(), "write a URL")?)
    }),
    ("token_file", 1, |to, given| once(&mut to.token_file, path(given)?)),
    ("trusted_certificate", 1, |to, given| once(&mut to.trusted_certificate, path(given)?)),
    ("resolver", usize::MAX, |to, given| once(&mut to.resolver, resolver(given)?)),
    ("resolver_timeout", 1, |to, given| {
        let cure = "use a time such as \"5s\"";
        once(&mut to.resolver_timeout, time(given, 0, 1..=3_600_000, cure)?)
    }),
    ("wait", 1, |to, given| {
        let cure = "use a time up to \"60s\", or \"0\" not to wait";
        once(&mut to.wait, time(given, 0, 0..=60_000, cure)?)
    }),
];

const ROLE_CURE: &str = "use one such as \"arn:aws:iam::123456789012:role/media\"";

/// nginx's side of the block.
///
/// # Safety
/// nginx calls it with a valid context and the main configuration of the module.
pub unsafe extern "C" fn block(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: the caller's promise; nginx's context is put back before it goes on. The block stays where it
    // is while nginx reads its lines.
    unsafe {
        let main = &mut *conf.cast::<MainConf>();
        let args: &[ngx_str_t] =
            slice::from_raw_parts((*(*cf).args).elts.cast(), (*(*cf).args).nelts);
        let mut block = match begin(cf, main, &args[1]) {
            Ok(block) => block,
            Err(error) => {
                let name = &(*cmd).name;
                ngx_conf_log_error!(NGX_LOG_EMERG, cf, "\"{name}\" directive {error}");
                return NGX_CONF_ERROR;
            }
        };
        let saved = *cf;
        (*cf).handler = Some(line);
        (*cf).handler_conf = ptr::from_mut(&mut block).cast();
        let result = ngx_conf_parse(cf, ptr::null_mut());
        *cf = saved;
        if result == NGX_CONF_OK {
            main.work.blocks.push(block);
        }
        result
    }
}

/// A block of that name, of which there is none yet.
unsafe fn begin(
    cf: *mut ngx_conf_t,
    main: &MainConf,
    name: &ngx_str_t,
) -> Result<Block, ConfError> {
    let name = text(name)?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || !name.bytes().all(is_name) {
        let cure = "use letters, digits, \"_\", \"-\" and \".\"";
        return Err(ConfError::Value { value: name.to_owned(), cure });
    }
    if Word::named(name).is_some() || matches!(name, "env" | "file") {
        let cure = "it has a meaning of its own: use another name";
        return Err(ConfError::Value { value: name.to_owned(), cure });
    }
    if main.work.blocks.iter().any(|block| *block.name == *name) {
        let cure = "there are credentials of that name already: use another one";
        return Err(ConfError::Value { value: name.to_owned(), cure });
    }
    // SAFETY: cf is nginx's context.
    Ok(Block { name: name.into(), place: unsafe { Place::of(cf) }, ..Block::default() })
}

/// nginx's side of a line of the block.
unsafe extern "C" fn line(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx calls it with what block() set, while it reads the block.
    let (block, name, args) = unsafe {
        let all: &[ngx_str_t] =
            slice::from_raw_parts((*(*cf).args).elts.cast(), (*(*cf).args).nelts);
        (&mut *conf.cast::<Block>(), &all[0], &all[1..])
    };
    let known = LINES.iter().find(|(known, ..)| known.as_bytes() == name.as_bytes());
    let result = match known {
        None => Err(ConfError::Line),
        Some((_, most, _)) if args.is_empty() || args.len() > *most => Err(ConfError::Count),
        Some((_, _, set)) => set(block, &Given { cf, args }),
    };
    match result {
        Ok(()) => NGX_CONF_OK,
        Err(error) => {
            let error = without_secrets(error.to_string(), args);
            ngx_conf_log_error!(NGX_LOG_EMERG, cf, "\"{name}\" directive {error}");
            NGX_CONF_ERROR
        }
    }
}

/// An argument that `is_valid`.
fn valid(
    given: &Given,
    is_valid: fn(&str) -> bool,
    cure: &'static str,
) -> Result<Box<str>, ConfError> {
    match given.text()? {
        value if is_valid(value) => Ok(value.into()),
        value => Err(ConfError::Value { value: value.to_owned(), cure }),
    }
}

/// A time in seconds, or in milliseconds when `is_sec` is 0.
fn time(
    given: &Given,
    is_sec: usize,
    range: core::ops::RangeInclusive<ngx_msec_t>,
    cure: &'static str,
) -> Result<ngx_msec_t, ConfError> {
    let mut value = given.args[0];
    // SAFETY: the string is only read.
    match ngx_msec_t::try_from(unsafe { ngx_parse_time(&mut value, is_sec) }) {
        Ok(time) if range.contains(&time) => Ok(time),
        _ => Err(ConfError::Value { value: value.to_string(), cure }),
    }
}

/// A path, relative to nginx's configuration.
fn path(given: &Given) -> Result<PathBuf, ConfError> {
    let name = given.args[0].as_bytes();
    if name.is_empty() {
        return Err(ConfError::Empty("write a path"));
    }
    // SAFETY: cf is nginx's context.
    unsafe { full_name(given.cf, name) }.map(PathBuf::from)
}

fn resolver(given: &Given) -> Result<*mut ngx::ffi::ngx_resolver_t, ConfError> {
    // SAFETY: cf is nginx's context; the names are the directive's.
    let resolver = unsafe {
        let names = given.args.as_ptr().cast_mut();
        ngx_resolver_create(given.cf, names, given.args.len())
    };
    // nginx has said why.
    if resolver.is_null() {
        Err(ConfError::Nginx)
    } else {
        Ok(resolver)
    }
}

fn source(given: &Given) -> Result<Origin, ConfError> {
    let cure =
        "use \"instance\", \"container\", \"web_identity\", \"assume_role\", \"default\" or \
                \"file=path\"";
    match (given.text()?, given.args.len()) {
        (word, 1) if Word::named(word).is_some() => {
            Ok(Word::named(word).map_or(Origin::Word(Word::Default), Origin::Word))
        }
        (word, _) if Word::named(word).is_some() => Err(ConfError::Count),
        (other, _) if !other.starts_with("file=") => Err(elsewhere(other, cure)),
        // SAFETY: cf is nginx's context.
        _ => unsafe { auth::file(given.cf, given.args) },
    }
}

fn from(given: &Given) -> Result<Origin, ConfError> {
    match (given.text()?, given.args.len()) {
        ("env", 1) => Ok(Origin::Fixed(auth::environment()?, "env".into())),
        ("assume_role", _) => Err(ConfError::Value {
            value: "assume_role".to_owned(),
            cure: "name the \"s3_private_bucket_credentials\" that says which role",
        }),
        // SAFETY: cf is nginx's context.
        (other, _) if other.starts_with("file=") => unsafe { auth::file(given.cf, given.args) },
        (other, 2) if other == "env" || Word::named(other).is_some() => Err(ConfError::Count),
        (other, 1) if !other.contains('=') => Ok(match Word::named(other) {
            Some(word) => Origin::Word(word),
            None => Origin::Block(other.into()),
        }),
        (other, _) => {
            let cure =
                "use a source, the name of another \"s3_private_bucket_credentials\", \"env\" or \
                        \"file=path\"";
            Err(elsewhere(other, cure))
        }
    }
}

/// What is wrong with a source that other programs have, or that nobody has.
fn elsewhere(value: &str, cure: &'static str) -> ConfError {
    let cure = match value {
        "credential_process" | "process" => {
            "nginx runs no programs: have it written to a file, and use \"file=path\""
        }
        "sso" | "login" | "mfa" => {
            "it needs somebody who logs in: use a role, through \"assume_role\" or \"web_identity\""
        }
        "profile" => "use \"file=path profile=name\"",
        "ecs" | "eks" => "use \"container\"",
        "ec2" | "imds" => "use \"instance\"",
        "irsa" => "use \"web_identity\"",
        _ => cure,
    };
    ConfError::Value { value: value.to_owned(), cure }
}
