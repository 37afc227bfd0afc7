//! What the arguments of each directive mean.

use core::mem;
use std::rc::Rc;

use ngx::ffi::{ngx_parse_time, ngx_str_t};

use super::error::ConfError;
use super::given::{parameter, text, Given};
use crate::location::Bucket;
use crate::nginx::borrowed;
use crate::nginx::value::Value;
use crate::s3::access_point::AccessPoint;
use crate::s3::aws::Features;
use crate::s3::endpoint::{is_bucket_name, is_region, Addressing, Endpoint};
use crate::s3::object::{has_dot_segment, Key, MAX_KEY};
use crate::setup::groups::Keepalive;
use crate::setup::place::Place;
use crate::setup::settings::{AutoindexSetting, BucketSetting, EndpointSetting, Service};

/// `s3_private_bucket`
pub fn bucket(given: &Given) -> Result<BucketSetting, ConfError> {
    let args = given.args;
    if args[0].as_bytes() == b"off" {
        return match args.get(1) {
            None => Ok(BucketSetting::Off),
            Some(extra) => {
                let value = extra.to_string();
                Err(ConfError::Parameter { value, cure: "\"off\" takes none" })
            }
        };
    }
    let name = given.compile(args[0].as_bytes())?;
    match name.constant() {
        Some(arn) if arn.starts_with(b"arn:") => {
            let arn = given.text()?;
            AccessPoint::parse(arn)
                .map_err(|error| ConfError::Arn { arn: arn.to_owned(), error })?;
        }
        Some(other) if !is_bucket_name(other) => {
            return Err(ConfError::Bucket(args[0].to_string()));
        }
        _ => (),
    }

    let mut prefix = None;
    if let Some(arg) = args.get(1) {
        let Some(value) = parameter(arg, "prefix") else {
            let value = arg.to_string();
            return Err(ConfError::Parameter { value, cure: "use \"prefix=path/\"" });
        };
        if value.len() >= MAX_KEY {
            return Err(ConfError::PrefixLength(value.len()));
        }
        let compiled = given.compile(value)?;
        if let Some(cure) = prefix_cure(value, compiled.constant().is_some()) {
            let value = String::from_utf8_lossy(value).into_owned();
            return Err(ConfError::Prefix { value, cure });
        }
        prefix = Some(compiled);
    }

    // SAFETY: cf is nginx's context.
    Ok(BucketSetting::On(Bucket { name, prefix }, unsafe { Place::of(given.cf) }))
}

/// What is wrong with a prefix, as its cure. It is `constant` without variables.
fn prefix_cure(prefix: &[u8], constant: bool) -> Option<&'static str> {
    if prefix.is_empty() {
        Some("leave \"prefix=\" out to serve the whole bucket")
    } else if prefix.starts_with(b"/") {
        Some("keys do not begin with a slash: leave it out")
    } else if has_dot_segment(prefix) {
        Some("it must not have a \".\" or \"..\" segment")
    } else if !constant && !prefix.ends_with(b"/") {
        Some("with variables, it must end with \"/\": clients would write the rest of a name")
    } else {
        None
    }
}

/// `s3_private_bucket_region`
pub fn region(given: &Given) -> Result<Rc<str>, ConfError> {
    match given.text()? {
        region if is_region(region) => Ok(region.into()),
        other => Err(ConfError::Region(other.to_owned())),
    }
}

/// `s3_private_bucket_endpoint`
pub fn endpoint(given: &Given) -> Result<Rc<EndpointSetting>, ConfError> {
    let wrong = |arg: &ngx_str_t, cure| ConfError::Parameter { value: arg.to_string(), cure };
    let (mut service, cure) = match given.text()? {
        "aws" => (Service::Aws(Features::default()), AWS_CURE),
        url => match Endpoint::parse(url) {
            Ok(endpoint) => (Service::Url(endpoint), "use \"upstream=name\""),
            Err(error) => return Err(ConfError::Endpoint { url: url.to_owned(), error }),
        },
    };
    let mut upstream = None;
    for arg in given.args.iter().skip(1) {
        let is_first = match (&mut service, arg.as_bytes()) {
            (Service::Aws(features), b"dualstack") => !mem::replace(&mut features.dualstack, true),
            (Service::Aws(features), b"fips") => !mem::replace(&mut features.fips, true),
            (Service::Aws(features), b"accelerate") => {
                !mem::replace(&mut features.accelerate, true)
            }
            _ => {
                let name = parameter(arg, "upstream").filter(|name| !name.is_empty());
                let name = name.and_then(|name| core::str::from_utf8(name).ok());
                upstream.replace(name.ok_or_else(|| wrong(arg, cure))?.to_owned()).is_none()
            }
        };
        if !is_first {
            return Err(wrong(arg, "write it once"));
        }
    }
    match service {
        Service::Aws(Features { fips: true, accelerate: true, .. }) => {
            let cure = "AWS has none with \"fips\"; remove one of them";
            Err(ConfError::Value { value: "accelerate".to_owned(), cure })
        }
        service => Ok(Rc::new(EndpointSetting { service, upstream })),
    }
}

const AWS_CURE: &str = "use \"dualstack\", \"fips\", \"accelerate\" or \"upstream=name\"";

/// `s3_private_bucket_addressing`
pub fn addressing(given: &Given) -> Result<Addressing, ConfError> {
    match given.args[0].as_bytes() {
        b"auto" => Ok(Addressing::Auto),
        b"virtual" => Ok(Addressing::Virtual),
        b"path" => Ok(Addressing::Path),
        _ => {
            let value = given.args[0].to_string();
            Err(ConfError::Parameter { value, cure: "use \"auto\", \"virtual\" or \"path\"" })
        }
    }
}

/// `s3_private_bucket_expected_owner`
pub fn expected_owner(given: &Given) -> Result<Option<Rc<str>>, ConfError> {
    match given.text()? {
        "off" => Ok(None),
        id if id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(id.into())),
        other => Err(ConfError::Owner(other.to_owned())),
    }
}

/// `s3_private_bucket_autoindex`; `None` for `off`.
pub fn autoindex(given: &Given) -> Result<Option<Rc<AutoindexSetting>>, ConfError> {
    let parameter =
        |value: &ngx_str_t, cure| Err(ConfError::Parameter { value: value.to_string(), cure });
    let (first, rest) = (&given.args[0], &given.args[1..]);
    if first.as_bytes() == b"off" {
        return match rest.first() {
            None => Ok(None),
            Some(extra) => parameter(extra, "\"off\" takes none"),
        };
    }
    let format = given.compile(first.as_bytes())?;
    if format.constant().is_some_and(|f| !matches!(f, b"html" | b"json" | b"xml")) {
        return parameter(first, "use \"html\", \"json\", \"xml\", a variable or \"off\"");
    }
    let (mut page, mut exact_size, mut localtime, mut valid) = (None, None, None, None);
    for arg in rest {
        let Some((name, value)) = text(arg)?.split_once('=') else {
            return parameter(arg, AUTOINDEX_CURE);
        };
        let flag = match value {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        };
        let is_first = match name {
            "page" => match value.parse() {
                Ok(count @ 1..=1000) => page.replace(count).is_none(),
                _ => return parameter(arg, "use \"page=1\" to \"page=1000\""),
            },
            "exact_size" | "localtime" => {
                let flag = flag.ok_or_else(|| ConfError::Parameter {
                    value: arg.to_string(),
                    cure: "use \"on\" or \"off\"",
                })?;
                let slot = if name == "localtime" { &mut localtime } else { &mut exact_size };
                slot.replace(flag).is_none()
            }
            "valid" => {
                let mut time = borrowed(value.as_bytes());
                // SAFETY: the string is only read.
                match usize::try_from(unsafe { ngx_parse_time(&mut time, 1) }) {
                    Ok(seconds) => valid.replace(seconds).is_none(),
                    Err(_) => return parameter(arg, "use a time such as \"valid=10s\""),
                }
            }
            _ => return parameter(arg, AUTOINDEX_CURE),
        };
        if !is_first {
            return parameter(arg, "write it once");
        }
    }
    Ok(Some(Rc::new(AutoindexSetting {
        format,
        page: page.unwrap_or(1000),
        exact_size: exact_size.unwrap_or(true),
        localtime: localtime.unwrap_or(false),
        valid: valid.unwrap_or(0),
    })))
}

const AUTOINDEX_CURE: &str = "use \"page=\", \"exact_size=\", \"localtime=\" or \"valid=\"";

/// `s3_private_bucket_presigned_expires`, in seconds.
pub fn presigned_expires(given: &Given) -> Result<u32, ConfError> {
    const SEVEN_DAYS: u32 = 604_800;
    let mut value = given.args[0];
    // SAFETY: the string is only read.
    match u32::try_from(unsafe { ngx_parse_time(&mut value, 1) }) {
        Ok(seconds @ 1..=SEVEN_DAYS) => Ok(seconds),
        _ => Err(ConfError::Expires(value.to_string())),
    }
}

/// `s3_private_bucket_key`
pub fn key(given: &Given) -> Result<Value, ConfError> {
    match given.args[0].as_bytes() {
        b"" => Err(ConfError::Empty("write the object key, with variables")),
        key => given.compile(key),
    }
}

/// `s3_private_bucket_index`
pub fn index(given: &Given) -> Result<Rc<str>, ConfError> {
    let name = given.text()?;
    match Key::new(name.as_bytes(), false) {
        Ok(_) if !name.starts_with('/') && !name.ends_with('/') => Ok(name.into()),
        _ => Err(ConfError::Index(name.to_owned())),
    }
}

/// The parameters of `s3_private_bucket_keepalive`, and what they are to nginx's keepalive module.
const KEEPALIVE: [(&str, &str); 3] = [
    ("timeout", "keepalive_timeout"),
    ("requests", "keepalive_requests"),
    ("time", "keepalive_time"),
];

/// `s3_private_bucket_keepalive`
pub fn keepalive(given: &Given) -> Result<Keepalive, ConfError> {
    let wrong = |arg: &ngx_str_t, cure| Err(ConfError::Parameter { value: arg.to_string(), cure });
    let known = "use \"off\", or a number and \"timeout=\", \"requests=\" or \"time=\"";
    let (first, rest) = (&given.args[0], &given.args[1..]);
    match (first.as_bytes(), rest.first()) {
        (b"off", None) => return Ok(Keepalive::Off),
        (b"off", Some(extra)) => return wrong(extra, "\"off\" takes none"),
        (count, _) if !is_count(count) => return wrong(first, known),
        // nginx makes room for all of them when it starts.
        (count, _) if count.len() > 5 => return wrong(first, "use at most 99999 connections"),
        _ => (),
    }
    let mut directives = vec![("keepalive", *first)];
    for arg in rest {
        let found = KEEPALIVE.iter().find_map(|&(name, directive)| {
            let value = parameter(arg, name)?;
            Some((directive, borrowed(value)))
        });
        let Some((directive, mut value)) = found else { return wrong(arg, known) };
        let is_right = match directive {
            "keepalive_requests" => is_count(value.as_bytes()),
            // SAFETY: the string is only read.
            _ => (1..).contains(&unsafe { ngx_parse_time(&mut value, 0) }),
        };
        if !is_right {
            return wrong(arg, "use a value above 0, or \"off\" to keep no connection");
        }
        if directives.iter().any(|&(known, _)| known == directive) {
            return wrong(arg, "write it once");
        }
        directives.push((directive, value));
    }
    Ok(Keepalive::On(directives))
}

/// Whether a text is a number above 0 that nginx can count to.
fn is_count(text: &[u8]) -> bool {
    (1..=9).contains(&text.len())
        && text.iter().all(u8::is_ascii_digit)
        && text.iter().any(|&digit| digit != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_leave_no_room_for_other_names() {
        for (prefix, constant, is_right) in [
            ("a/", true, true),
            ("a", true, true),
            ("a//b/", true, true),
            ("", true, false),
            ("/a", true, false),
            ("a/../b", true, false),
            ("a\\.", true, false),
            ("$a/", false, true),
            ("t/$a/", false, true),
            ("$a", false, false),
            ("$a-x", false, false),
            ("/$a/", false, false),
            ("$a/./", false, false),
        ] {
            assert_eq!(prefix_cure(prefix.as_bytes(), constant).is_none(), is_right, "{prefix}");
        }
    }
}
