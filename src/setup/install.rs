//! Gives every location that serves a bucket its proxy configuration, after nginx merged all.

use core::ffi::c_void;
use core::{mem, ptr};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use ngx::ffi::{
    ngx_conf_t, ngx_http_core_loc_conf_t, ngx_http_upstream_conf_t, ngx_str_t, ngx_uint_t,
    NGX_LOG_EMERG,
};

use super::check::group;
use super::conditions::{slices, without_conditions};
use super::error::SetupError;
use super::groups::{self, Keepalive, Way};
use super::proxy::{Plan, CA_BUNDLES, CONDITIONS};
use super::settings::{BucketSetting, Kind, LocationConf, MainConf, Pending, Settings, Work};
use super::tls;
use super::written::{footprint, proxy_module, upstream_part, Written};
use crate::handler::handle;
use crate::location::{Bucket, Host, Serving, Shared, Signing};
use crate::log;
use crate::nginx::foreign::Foreign;
use crate::nginx::upstream::stores;
use crate::nginx::value::{Capture, Value};
use crate::nginx::{bytes, http_core, pool, resolver, variable};
use crate::request::variables::check_names;
use crate::s3::auth::{Auth, Identity};
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::s3::reported::Reported;

/// nginx's default of `proxy_max_temp_file_size`.
const DEFAULT_TEMP_FILE_SIZE: usize = 1 << 30;

/// Gives every location that serves a bucket its proxy configuration.
///
/// # Errors
/// Reasons that were logged, with the place in the configuration.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn install(cf: *mut ngx_conf_t, main: &mut MainConf) -> Result<(), SetupError> {
    // SAFETY: nothing was installed yet, and cf is as this function asks for.
    unsafe { check_names(cf).map_err(|error| logged(cf, error.into(), ""))? };
    let pending = mem::take(&mut main.work.pending);
    // Where no location serves a bucket, requests are not to notice that the module is loaded.
    main.shared.serves = !pending.is_empty();
    for mut pending in pending {
        // SAFETY: what prepare() stored lives as long as the configuration; cf->ctx is put back.
        unsafe {
            let saved = mem::replace(&mut (*cf).ctx, ptr::addr_of_mut!(pending.ctx).cast());
            let result = install_one(cf, main, &pending);
            (*cf).ctx = saved;
            result.map_err(|e| logged(cf, e, &(*pending.conf).settings.bucket.place()))?;
        }
    }
    Ok(())
}

/// Logs an error, with the place of the directive.
unsafe fn logged(cf: *mut ngx_conf_t, error: SetupError, place: &str) -> SetupError {
    // SAFETY: cf is nginx's context.
    unsafe { log::of_location(cf, NGX_LOG_EMERG, &error, place) };
    error
}

unsafe fn install_one(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    pending: &Pending,
) -> Result<(), SetupError> {
    // SAFETY: install() passes what prepare() stored, with cf->ctx set.
    unsafe {
        let conf = &mut *pending.conf;
        let location = http_core::location(&pending.ctx);
        let mut keeps = false;
        let serving = match &pending.kind {
            Kind::Own(written) => {
                let serving;
                (serving, keeps) = install_own(cf, main, conf, location, written)?;
                // In place of the proxy module's.
                (*location).handler = Some(handle);
                Rc::new(serving)
            }
            Kind::Block { proxy: block, outer } => {
                let proxy = proxy_module(cf)?;
                let outer = &**outer;
                let (Some(serving), Some(array)) = (&outer.location.serving, outer.known.loc_conf)
                else {
                    return Err(SetupError::Handler);
                };
                let around = *array.add(proxy.ctx_index());
                proxy.merge(cf, around, *block)?;
                upstream_part(proxy, *block)?.ssl = upstream_part(proxy, around)?.ssl;
                *pending.ctx.loc_conf.add(proxy.ctx_index()) = *block;
                serving.clone()
            }
        };
        if serving.needs_resolver && (*(*location).resolver).connections.nelts == 0 {
            let known = match main.work.resolver {
                Some(known) => Some(known),
                None => resolver::of_the_system(cf)?,
            };
            (*location).resolver = *main.work.resolver.insert(known.ok_or(SetupError::Resolver)?);
        }
        if keeps {
            keep_connections(cf, conf, &serving.host, &*location)?;
        }
        conf.location.serving = Some(serving);
    }
    Ok(())
}

/// Looks whether a location's connections can be kept.
///
/// # Errors
/// What stands in the way, where the location itself asks for it.
fn keeps(
    conf: &LocationConf,
    way: &Way,
    of_own: &ngx_http_upstream_conf_t,
) -> Result<bool, SetupError> {
    match (conf.settings.keepalive.as_deref(), groups::check(way, of_own)) {
        (Some(Keepalive::Off), _) => Ok(false),
        (_, Err(obstacle)) if conf.known.keeps => Err(SetupError::Keepalive(obstacle)),
        (_, result) => Ok(result.is_ok()),
    }
}

/// Gives a location an upstream group whose connections are kept.
///
/// # Errors
/// When nginx cannot do that, where the location itself asks for it.
///
/// # Safety
/// As for install_own(), which was called and found that they can be.
unsafe fn keep_connections(
    cf: *mut ngx_conf_t,
    conf: &LocationConf,
    host: &Host,
    location: &ngx_http_core_loc_conf_t,
) -> Result<(), SetupError> {
    let default = Keepalive::default();
    let (Keepalive::On(directives), Host::Constant(host)) =
        (conf.settings.keepalive.as_deref().unwrap_or(&default), host)
    else {
        return Ok(());
    };
    let setting = conf.settings.endpoint();
    // SAFETY: the caller's promise; both arrays have a place for each module.
    unsafe {
        let resolver = (location.resolver, location.resolver_timeout);
        let group = match groups::make(cf, &setting.endpoint, host, resolver, directives) {
            Ok(group) => group,
            Err(obstacle) if conf.known.keeps => return Err(SetupError::Keepalive(obstacle)),
            Err(_) => return Ok(()),
        };
        let proxy = proxy_module(cf)?;
        for array in conf.known.loc_conf.into_iter().chain(conf.location.unconditional) {
            upstream_part(proxy, *array.add(proxy.ctx_index()))?.upstream = group;
        }
    }
    Ok(())
}

/// Makes the proxy configuration of a location with a bucket, and what its requests need. Returns whether its
/// connections are to be kept too.
///
/// # Safety
/// `cf->ctx` is the location's, which prepare() saw and nginx has merged since.
unsafe fn install_own(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    conf: &mut LocationConf,
    location: *const ngx_http_core_loc_conf_t,
    written: &Written,
) -> Result<(Serving, bool), SetupError> {
    let settings = &conf.settings;
    let (BucketSetting::On(bucket, _), Some(auth), Some(array)) =
        (&settings.bucket, &settings.auth, conf.known.loc_conf)
    else {
        return Err(SetupError::NoAuth);
    };
    let setting = settings.endpoint();
    let endpoint = &setting.endpoint;
    let addressing = settings.addressing.unwrap_or(Addressing::Auto);
    let host = host(endpoint, addressing, bucket.name.constant());
    let (owner, masks) = (settings.owner(), settings.masks.unwrap_or(true));

    // SAFETY: the caller's promise.
    unsafe {
        let proxy = proxy_module(cf)?;
        let own = *array.add(proxy.ctx_index());
        let of_own = upstream_part(proxy, own)?;
        let group = match &setting.upstream {
            Some(name) => Some(name.clone()),
            None => group(cf, &setting).map(|_| endpoint.authority()),
        };
        let way = Way {
            host: &host,
            is_https: endpoint.https,
            has_group: group.is_some(),
            has_proxy_pass: written.has("proxy_pass"),
            has_ssl_name: written.has("proxy_ssl_name"),
        };
        let keeps = keeps(conf, &way, of_own)?;
        let identity = Identity {
            auth,
            place: [http_core::server_name(cf), bytes((*location).name)],
            owner: owner.as_deref(),
            group: setting.upstream.as_deref(),
            masks,
        };
        let plan = Plan {
            endpoint,
            host: &host,
            group: group.as_deref(),
            identity: &identity.digest(),
            ca_bundle: ca_bundle(endpoint, written)?,
            masks,
            slices: slices(cf, array),
            converts_head: of_own.cache_convert_head != 0,
            is_not_stored: of_own.max_temp_file_size == DEFAULT_TEMP_FILE_SIZE && !stores(of_own),
            inherits_method: is_set(cf, &mut main.work, proxy, own, "proxy_method")?,
            inherits_body: is_set(cf, &mut main.work, proxy, own, "proxy_set_body")?,
            keeps,
        };
        let headers = plan.headers(auth, owner.as_deref());
        conf.location.unconditional =
            write(cf, &mut main.work, proxy, array, &plan, headers, written)?;
        index_variables(cf, &mut main.shared, proxy, *array.add(proxy.ctx_index()), plan.slices)?;

        let needs_resolver = group.is_none() && !endpoint.is_address();
        let handler = footprint(cf, &mut main.work, proxy, "proxy_pass")?.handler;
        let serving = Serving {
            signing: signing(&mut main.work, settings, auth, endpoint.scheme()),
            bucket: bucket.clone(),
            captures: captures_of(bucket, settings.key.as_ref()),
            regex: http_core::regex(&*location),
            key: settings.key.clone(),
            index: settings.index.clone(),
            prefix: conf.known.prefix,
            host,
            addressing,
            is_aws: endpoint.is_aws(),
            pass_args: settings.pass_args.clone().unwrap_or_default(),
            pass_headers: settings.pass_headers.clone().unwrap_or_default(),
            masks,
            append_slash: masks && settings.append_slash.unwrap_or(false),
            auth: auth.clone(),
            reported: Reported::default(),
            proxy_handler: handler.ok_or(SetupError::Handler)?,
            needs_resolver,
        };
        Ok((serving, keeps))
    }
}

/// What the `Host` header is made of. With a constant bucket nothing of it is computed per request.
fn host(endpoint: &Endpoint, addressing: Addressing, bucket: Option<&[u8]>) -> Host {
    let authority = endpoint.authority();
    match bucket {
        Some(name) if addressing.is_virtual(endpoint.is_aws(), name) => {
            Host::Constant(format!("{}.{authority}", String::from_utf8_lossy(name)))
        }
        Some(_) => Host::Constant(authority),
        // Without a dot any name would be in the host: what "auto" decides per request.
        None if !addressing.is_virtual(endpoint.is_aws(), b"") => Host::Constant(authority),
        None => Host::PerRequest(authority),
    }
}

/// The certificates of the system, where S3's is to be verified and the user names no others.
fn ca_bundle(endpoint: &Endpoint, written: &Written) -> Result<Option<&'static str>, SetupError> {
    if !endpoint.https || written.has("proxy_ssl_trusted_certificate") {
        return Ok(None);
    }
    match CA_BUNDLES.into_iter().find(|bundle| Path::new(bundle).exists()) {
        None if !written.has("proxy_ssl_verify") => Err(SetupError::CaBundle),
        found => Ok(found),
    }
}

/// The captures that any of a location's values uses.
fn captures_of(bucket: &Bucket, key: Option<&Value>) -> Box<[Capture]> {
    let values = [Some(&bucket.name), bucket.prefix.as_ref(), key];
    let all = values.into_iter().flatten().flat_map(|value| value.captures.iter().copied());
    all.collect::<BTreeMap<u8, ngx_uint_t>>().into_iter().collect()
}

fn signing(
    work: &mut Work,
    settings: &Settings,
    auth: &Auth,
    scheme: &'static str,
) -> Option<Signing> {
    let Auth::Sigv4 { credentials, service, .. } = auth else { return None };
    let signer = work.signer(credentials, settings.region(), service);
    let owner = settings.owner();
    Some(Signing {
        authorization_len: signer.authorization_len(owner.as_deref()),
        signer,
        owner,
        scheme,
        presigned_expires: settings.presigned_expires.unwrap_or(300).to_string(),
    })
}

/// Whether a directive is set in a merged configuration, on whatever level.
unsafe fn is_set(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    proxy: Foreign,
    conf: *mut c_void,
    name: &'static str,
) -> Result<bool, SetupError> {
    // SAFETY: conf is one of the proxy module; unset is -1, or 0 once it is merged.
    unsafe {
        let footprint = footprint(cf, work, proxy, name)?;
        Ok(footprint.words.iter().any(|&i| !matches!(proxy.words(conf)[i], 0 | usize::MAX)))
    }
}

/// Writes a location's proxy configuration and puts it in place: the plan's settings, but for what
/// the user wrote. Returns the configurations for requests without a condition.
unsafe fn write(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    proxy: Foreign,
    array: *mut *mut c_void,
    plan: &Plan,
    headers: Vec<(&str, String)>,
    written: &Written,
) -> Result<Option<*mut *mut c_void>, SetupError> {
    // SAFETY: cf->ctx is the location's, whose configurations are those of the array.
    unsafe {
        let own = *array.add(proxy.ctx_index());
        let fresh = proxy.create(cf)?;
        if written.has("proxy_pass") {
            proxy.copy(own, fresh, &*footprint(cf, work, proxy, "proxy_pass")?, |_| true);
        }
        for setting in plan.settings().iter().filter(|setting| !written.has(setting.name)) {
            let value = pool::copy(cf, setting.value.as_bytes())?;
            proxy
                .set(cf, fresh, setting.name, &[value])
                .map_err(|error| SetupError::Setting { error, why: setting.why })?;
        }

        let pair = |name: &str, value: &str| -> Result<[ngx_str_t; 2], SetupError> {
            Ok([pool::copy(cf, name.as_bytes())?, pool::copy(cf, value.as_bytes())?])
        };
        let ours = headers.iter().filter(|(name, _)| !written.has_header(name));
        let mut pairs = ours.map(|(n, v)| pair(n, v)).collect::<Result<Vec<_>, _>>()?;
        pairs.extend(written.headers.iter().map(|&(name, value)| [name, value]));
        let conditions = CONDITIONS.iter().filter(|(name, _)| !written.has_header(name));
        let conditions = conditions.map(|(n, v)| pair(n, v)).collect::<Result<Vec<_>, _>>()?;
        for pair in pairs.iter().chain(&conditions) {
            proxy.set(cf, fresh, "proxy_set_header", pair)?;
        }

        // Of a TLS context of its own: see tls::share().
        let is_flag = |word| word == 1;
        proxy.clear(fresh, &*footprint(cf, work, proxy, "proxy_pass")?, is_flag);
        proxy.merge(cf, own, fresh)?;
        if plan.endpoint.https || written.has("proxy_pass") {
            tls::share(cf, &mut work.tls, proxy, fresh)?;
        }
        *array.add(proxy.ctx_index()) = fresh;
        Ok(without_conditions(cf, work, proxy, array, &pairs)?)
    }
}

/// Has nginx keep a place in every request for the variables of its own that requests of a location
/// read.
unsafe fn index_variables(
    cf: *mut ngx_conf_t,
    shared: &mut Shared,
    proxy: Foreign,
    conf: *mut c_void,
    slices: bool,
) -> Result<(), SetupError> {
    let index = |place: &mut Option<ngx_uint_t>, name| -> Result<(), SetupError> {
        if place.is_none() {
            // SAFETY: cf is nginx's context.
            *place = Some(unsafe { variable::index(cf, name) }?);
        }
        Ok(())
    };
    if slices {
        index(&mut shared.slice_range, "slice_range")?;
    }
    // SAFETY: conf is the location's proxy configuration.
    if unsafe { upstream_part(proxy, conf) }?.cache_revalidate != 0 {
        index(&mut shared.cache_last_modified, "upstream_cache_last_modified")?;
        index(&mut shared.cache_etag, "upstream_cache_etag")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_constant_where_nothing_of_it_can_change() {
        let constant = |text: &str| Host::Constant(text.to_owned());
        let aws = "s3.us-east-1.amazonaws.com";
        for (url, addressing, bucket, expected) in [
            (aws, Addressing::Auto, Some("my"), constant(&format!("my.{aws}"))),
            (aws, Addressing::Auto, Some("my.dots"), constant(aws)),
            (aws, Addressing::Path, Some("my"), constant(aws)),
            (aws, Addressing::Path, None, constant(aws)),
            (aws, Addressing::Auto, None, Host::PerRequest(aws.to_owned())),
            ("minio:9000", Addressing::Auto, Some("my"), constant("minio:9000")),
            ("minio:9000", Addressing::Auto, None, constant("minio:9000")),
            ("minio:9000", Addressing::Virtual, Some("my"), constant("my.minio:9000")),
            ("minio", Addressing::Virtual, None, Host::PerRequest("minio".to_owned())),
        ] {
            let endpoint = Endpoint::parse(&format!("https://{url}")).unwrap();
            assert_eq!(host(&endpoint, addressing, bucket.map(str::as_bytes)), expected);
        }
    }
}
