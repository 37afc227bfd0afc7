//! What a location's own directives say together.

use ngx::ffi::{ngx_conf_t, NGX_LOG_WARN};

use super::error::SetupError;
use super::own::headers;
use super::settings::{BucketSetting, Destination, Settings};
use super::written::Written;
use crate::location::Bucket;
use crate::log;
use crate::nginx::upstream::{self, is_local};
use crate::s3::auth::Auth;
use crate::s3::aws::Features;
use crate::s3::endpoint::{is_directory_bucket, Addressing, Endpoint};
use crate::s3::own::CUSTOMER_KEY;

/// Checks a location's directives, and warns of a secret that travels in clear.
///
/// # Errors
/// What is wrong with them.
///
/// # Safety
/// `cf` is nginx's context, after its configuration was read.
pub unsafe fn check(cf: *mut ngx_conf_t, settings: &Settings) -> Result<(), SetupError> {
    let auth = settings.auth.as_ref().ok_or(SetupError::NoAuth)?;
    settings.check_endpoint()?;
    let setting = settings.destination();
    let endpoint = &setting.endpoint;
    check_names(settings, endpoint)?;
    if let (Some(prefix), false) = (constant_prefix(&settings.bucket), endpoint.is_aws()) {
        if prefix.contains(&b'\\') {
            return Err(SetupError::Backslash(String::from_utf8_lossy(prefix).into_owned()));
        }
    }
    let lists = matches!(settings.autoindex, Some(Some(_)));
    if settings.append_slash == Some(true) && settings.index.is_none() && !lists {
        return Err(SetupError::NoIndex);
    }
    if let (true, Some(name)) = (lists, constant_name(&settings.bucket)) {
        if is_directory_bucket(name) {
            return Err(SetupError::DirectoryBucket(String::from_utf8_lossy(name).into_owned()));
        }
    }
    // SAFETY: the caller's promise.
    let local = match (unsafe { group(cf, &setting) }, &setting.upstream) {
        (None, Some(name)) => return Err(SetupError::Upstream(name.clone())),
        // SAFETY: the group is of this configuration.
        (Some(group), _) => unsafe { is_local(group) },
        (None, None) => endpoint.is_loopback(),
    };
    if let Auth::Secret(secret) = &**auth {
        let mut own = headers(settings).iter();
        if let Some(own) = own.find(|own| own.name.eq_ignore_ascii_case(secret.header())) {
            return Err(SetupError::SecretHeader(own.name.clone()));
        }
    }
    if auth.is_sigv2() {
        check_sigv2(settings, endpoint)?;
        if endpoint.is_aws() {
            let warning = "signs for AWS with \"s3_private_bucket_auth sigv2\", which AWS refuses for buckets \
                           that were made since June 2020; use \"sigv4\"";
            // SAFETY: the caller's promise.
            unsafe { log::of_location(cf, NGX_LOG_WARN, warning, &settings.bucket.place()) };
        }
    }
    if !endpoint.https && !local {
        for what in in_clear(auth, settings) {
            let warning = format!(
                "sends {what} unencrypted to \"http://{}\"; use an https:// endpoint",
                endpoint.authority()
            );
            // SAFETY: the caller's promise.
            unsafe { log::of_location(cf, NGX_LOG_WARN, warning, &settings.bucket.place()) };
        }
    }
    Ok(())
}

/// Looks whether AWS takes Signature Version 2 at all where requests go.
fn check_sigv2(settings: &Settings, endpoint: &Endpoint) -> Result<(), SetupError> {
    let region = settings.region();
    let is_directory = constant_name(&settings.bucket).is_some_and(is_directory_bucket);
    let features = settings.features().filter(|features| !features.take_sigv2(region));
    Err(SetupError::Sigv2(match features {
        _ if settings.access_point().is_some() => "an access point".to_owned(),
        _ if is_directory && endpoint.is_aws() => "a directory bucket".to_owned(),
        Some(Features { fips: true, .. }) => {
            format!("the endpoint of AWS with \"fips\" in the region \"{region}\"")
        }
        Some(_) => format!("AWS in the region \"{region}\""),
        None => return Ok(()),
    }))
}

/// What of a location's requests is nobody's to see.
fn in_clear<'a>(auth: &Auth, settings: &'a Settings) -> impl Iterator<Item = &'static str> + 'a {
    let secret = matches!(auth, Auth::Secret(_)).then_some("its secret");
    let mut own = headers(settings).iter().filter(|own| own.value.constant() != Some(b""));
    let key = own.any(|own| *own.name == *CUSTOMER_KEY).then_some("a customer's key (SSE-C)");
    secret.into_iter().chain(key)
}

fn constant_name(bucket: &BucketSetting) -> Option<&'static [u8]> {
    match bucket {
        BucketSetting::On(bucket, _) => bucket.name.constant(),
        _ => None,
    }
}

/// Checks that what is asked for can be named as the user wants, at this endpoint.
fn check_names(settings: &Settings, endpoint: &Endpoint) -> Result<(), SetupError> {
    let is_access_point = settings.access_point().is_some();
    match settings.addressing {
        Some(Addressing::Path) if is_access_point => Err(SetupError::AccessPointPath),
        _ if is_access_point && endpoint.is_address() => {
            Err(SetupError::AccessPointAddress(endpoint.host.clone()))
        }
        _ if is_access_point && endpoint.is_for_buckets_alone() => {
            Err(SetupError::AccessPointUrl(endpoint.host.clone()))
        }
        Some(Addressing::Virtual) if endpoint.is_address() => {
            Err(SetupError::Address(endpoint.host.clone()))
        }
        _ => Ok(()),
    }
}

fn constant_prefix(bucket: &BucketSetting) -> Option<&'static [u8]> {
    match bucket {
        BucketSetting::On(Bucket { prefix: Some(prefix), .. }, _) => prefix.constant(),
        _ => None,
    }
}

/// The `upstream {}` group that nginx would use for an endpoint, if there is one.
///
/// # Safety
/// `cf` is nginx's context, after its configuration was read.
pub unsafe fn group(
    cf: *mut ngx_conf_t,
    setting: &Destination,
) -> Option<&'static ngx::ffi::ngx_http_upstream_srv_conf_t> {
    // SAFETY: the caller's promise.
    unsafe {
        match &setting.upstream {
            Some(name) => upstream::group(cf, name, None),
            None => upstream::group(cf, &setting.endpoint.host, setting.endpoint.port),
        }
    }
}

/// Checks that nothing in a location changes what is signed.
///
/// # Errors
/// [`SetupError::Signed`] or [`SetupError::SignedArgument`].
pub fn check_signed(settings: &Settings, written: &Written) -> Result<(), SetupError> {
    let Some(auth @ Auth::Signed { .. }) = settings.auth.as_deref() else { return Ok(()) };
    let mut names = written.headers.iter().map(|(name, _)| name);
    if let Some(name) = names.find(|name| is_signed(name.as_bytes(), settings)) {
        return Err(SetupError::Signed(format!("proxy_set_header {name}")));
    }
    if written.has("proxy_method") {
        return Err(SetupError::Signed("proxy_method".to_owned()));
    }
    let mut args = settings.pass_args.iter().flat_map(|args| args.iter());
    match args.find(|name| is_amz(name) || auth.is_sigv2() && is_of_sigv2(name)) {
        Some(name) => Err(SetupError::SignedArgument(name.escape_ascii().to_string())),
        None => Ok(()),
    }
}

fn is_signed(header: &[u8], settings: &Settings) -> bool {
    let mut own = headers(settings).iter();
    let of_sigv2: [&[u8]; 3] = [b"date", b"content-md5", b"content-type"];
    let is_sigv2 = settings.auth.as_ref().is_some_and(|auth| auth.is_sigv2());
    header.eq_ignore_ascii_case(b"host")
        || header.eq_ignore_ascii_case(b"authorization")
        || is_amz(header)
        || is_sigv2 && of_sigv2.iter().any(|name| header.eq_ignore_ascii_case(name))
        || own.any(|own| header.eq_ignore_ascii_case(own.name.as_bytes()))
}

/// Whether an argument is one of a URL with a Signature Version 2.
fn is_of_sigv2(name: &[u8]) -> bool {
    matches!(name, b"AWSAccessKeyId" | b"Expires" | b"Signature")
}

fn is_amz(name: &[u8]) -> bool {
    name.get(..6).is_some_and(|n| n.eq_ignore_ascii_case(b"x-amz-"))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::nginx::constant;
    use crate::s3::auth::credentials::Credentials;
    use crate::s3::auth::signer::Scheme;
    use crate::s3::auth::SigningKeys;

    fn signed(pass_args: &[&str]) -> Settings {
        signed_by(Scheme::V4 { service: "s3".into() }, pass_args)
    }

    fn signed_by(scheme: Scheme, pass_args: &[&str]) -> Settings {
        let keys = SigningKeys::Fixed(Rc::new(Credentials::new("a", "b", None).ok().unwrap()));
        let auth = Auth::Signed { keys, scheme, identity: "a".into() };
        let pass_args = pass_args.iter().map(|arg| arg.as_bytes().into()).collect();
        Settings { auth: Some(Rc::new(auth)), pass_args: Some(pass_args), ..Settings::default() }
    }

    #[test]
    fn what_a_signature_covers_is_left_alone() {
        for name in [&b"Host"[..], b"AUTHORIZATION", b"x-amz-date", b"X-Amz-Meta-A"] {
            let headers = vec![(constant(name), constant(b"x"))];
            let written = Written { headers, ..Written::default() };
            assert!(check_signed(&signed(&[]), &written).is_err());
            assert!(check_signed(&Settings::default(), &written).is_ok());
        }
        let harmless = vec![(constant(b"X-Amz"), constant(b"x")), (constant(b"X"), constant(b""))];
        let written = Written { directives: vec!["proxy_pass"], headers: harmless };
        assert!(check_signed(&signed(&["versionId"]), &written).is_ok());
        assert!(check_signed(&signed(&["X-AMZ-Date"]), &written).is_err());
        let written = Written { directives: vec!["proxy_method"], ..Written::default() };
        assert!(check_signed(&signed(&[]), &written).is_err());
        // What only the older signature covers.
        for name in [&b"date"[..], b"Content-Type", b"CONTENT-MD5"] {
            let headers = vec![(constant(name), constant(b"x"))];
            let written = Written { headers, ..Written::default() };
            assert!(check_signed(&signed(&[]), &written).is_ok());
            assert!(check_signed(&signed_by(Scheme::V2, &[]), &written).is_err());
        }
        for name in ["AWSAccessKeyId", "Signature", "Expires"] {
            let written = Written::default();
            assert!(check_signed(&signed(&[name]), &written).is_ok());
            assert!(check_signed(&signed_by(Scheme::V2, &[name]), &written).is_err());
        }
    }
}
