//! Gives every location that serves a bucket its proxy configuration, after nginx merged all.

use core::ffi::c_void;
use core::{mem, ptr};
use std::collections::BTreeMap;
use std::rc::Rc;

use ngx::ffi::{ngx_conf_t, ngx_http_core_loc_conf_t, ngx_str_t, ngx_uint_t, NGX_LOG_EMERG};

use super::around::{around, index_variables};
use super::check::group;
use super::conditions::without_conditions;
use super::error::SetupError;
use super::folders;
use super::keep::{keep_connections, keeps};
use super::names::make_room;
use super::own::{arguments, constant_headers, own_values};
use super::proxy::{ignored_headers, Plan, CONDITIONS};
use super::settings::{
    BucketSetting, Destination, Kind, Listings, LocationConf, MainConf, Pending, Settings, Work,
};
use super::signing::{share_keys, signing, whose};
use super::status::share_counts;
use super::written::{footprint, proxy_module, upstream_part, Written};
use super::{slices, sources, tls};
use crate::counts::counter::Counter;
use crate::handler::handle;
use crate::location::{Autoindex, Bucket, Host, Serving, Signing};
use crate::log;
use crate::nginx::foreign::Foreign;
use crate::nginx::value::Capture;
use crate::nginx::{bytes, http_core, pool, Handler};
use crate::request::names::check_names;
use crate::request::own_variables::add_headers;
use crate::s3::auth::{Auth, Identity};
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::s3::reported::Reported;

/// Gives every location that serves a bucket its proxy configuration.
///
/// # Errors
/// Reasons that were logged, with the place in the configuration.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn install(cf: *mut ngx_conf_t, main: &mut MainConf) -> Result<(), SetupError> {
    // SAFETY: nothing was installed yet, and cf is as this function asks for.
    unsafe {
        check_names(cf).map_err(|error| logged(cf, error.into(), ""))?;
        sources::check(cf, &mut main.work)
            .map_err(|(error, place)| logged(cf, error.into(), &place))?;
    }
    let mut locations = mem::take(&mut main.work.pending);
    // Where no location serves a bucket, requests are not to notice that the module is loaded.
    main.shared.serves = !locations.is_empty();
    for pending in &mut locations {
        // SAFETY: what prepare() stored lives as long as the configuration; cf->ctx is put back.
        unsafe {
            let saved = mem::replace(&mut (*cf).ctx, ptr::addr_of_mut!(pending.ctx).cast());
            let result = install_one(cf, main, pending);
            (*cf).ctx = saved;
            result.map_err(|e| logged(cf, e, &(*pending.conf).settings.bucket.place()))?;
        }
    }
    // SAFETY: cf is as this function asks for, and the servers are its configuration's.
    unsafe {
        slices::update_at_once(cf, locations.iter().map(|pending| pending.ctx.loc_conf))?;
        folders::add_named(cf, mem::take(&mut main.work.named))?;
        share_counts(cf, main)?;
        share_keys(cf, main).map_err(SetupError::from)
    }
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
        let folder;
        let serving = match &pending.kind {
            Kind::Own(written) => {
                let own = install_own(cf, main, conf, location, written)?;
                // In place of the proxy module's.
                (*location).handler = Some(handle);
                keeps = own.keeps;
                folder = own.folder.map(Rc::new);
                Rc::new(own.serving)
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
                folder = outer.known.folder.clone();
                serving.clone()
            }
        };
        if serving.needs_resolver && (*(*location).resolver).connections.nelts == 0 {
            let known = main.work.resolver_of_the_system(cf)?;
            (*location).resolver = known.ok_or(SetupError::Resolver)?;
        }
        if keeps {
            keep_connections(cf, conf, &serving.host, &*location)?;
        }
        if let Some(asked) = folder {
            let made = folders::install(cf, &mut main.work, pending, &asked)?;
            conf.location.folder = Some(made);
            conf.known.folder = Some(asked);
        }
        conf.location.serving = Some(serving);
    }
    Ok(())
}

/// What a location with a bucket of its own gets.
struct Own {
    serving: Serving,
    /// Whether its connections are to be kept.
    keeps: bool,
    /// What requests for its folders need.
    folder: Option<Listings>,
}

/// Makes the proxy configuration of a location with a bucket, and what its requests need.
///
/// # Safety
/// `cf->ctx` is the location's, which prepare() saw and nginx has merged since.
unsafe fn install_own(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    conf: &mut LocationConf,
    location: *const ngx_http_core_loc_conf_t,
    written: &Written,
) -> Result<Own, SetupError> {
    let settings = &conf.settings;
    let (BucketSetting::On(bucket, _), Some(given), Some(array)) =
        (&settings.bucket, &settings.auth, conf.known.loc_conf)
    else {
        return Err(SetupError::NoAuth);
    };
    let setting = settings.destination();
    let endpoint = &setting.endpoint;
    let label = settings.access_point().map(|point| point.label());
    let name = label.as_deref().map(str::as_bytes).or(bucket.name.constant());
    let host = host(endpoint, settings.addressing(), name);

    // SAFETY: the caller's promise.
    unsafe {
        let (auth, whose) = &whose(cf, &mut main.work, given)?;
        let proxy = proxy_module(cf)?;
        let group = group_name(cf, &setting);
        let keeps =
            keeps(conf, *array.add(proxy.ctx_index()), proxy, &host, written, group.is_some())?;
        let plan = Plan {
            endpoint,
            host: &host,
            group: group.as_deref(),
            identity: &identity(cf, &mut main.work, settings, auth, location),
            ca_bundle: ca_bundle(endpoint, written)?,
            own_headers: &constant_headers(settings),
            masks: settings.masks(),
            keeps,
            around: around(cf, &mut main.work.footprints, proxy, array)?,
        };
        let ignored = ignored_headers(settings.pass_headers.as_deref().unwrap_or_default());
        let headers = (plan.headers(auth, settings.owner().as_deref()), ignored as ngx_uint_t);
        let pairs;
        (conf.location.unconditional, pairs) =
            write(cf, &mut main.work, proxy, array, &plan, headers, written)?;
        let cache_key = plan.cache_key();
        let handler = footprint(cf, &mut main.work.footprints, proxy, "proxy_pass")?.handler;
        index_variables(cf, &mut main.shared, proxy, array, plan.around.slices)?;
        let proxy_handler = handler.ok_or(SetupError::Handler)?;
        let counter = main.work.counted.counter(bucket.name.constant());
        let found = Found { has_group: group.is_some(), host, proxy_handler, counter };
        let signing = signing(&mut main.work, settings, auth, whose.as_ref(), endpoint.scheme());
        let listing = serving(conf, bucket, auth, signing.clone(), found.clone());
        let folder = as_folder(listing, settings, pairs, cache_key);
        Ok(Own { serving: serving(conf, bucket, auth, signing, found), keeps, folder })
    }
}

/// The name of the `upstream {}` group that connections go through, if there is one.
unsafe fn group_name(cf: *mut ngx_conf_t, setting: &Destination) -> Option<String> {
    match &setting.upstream {
        Some(name) => Some(name.clone()),
        // SAFETY: cf is nginx's context.
        None => unsafe { group(cf, setting) }.map(|_| setting.endpoint.authority()),
    }
}

/// As whom a location asks S3, for its cache key.
unsafe fn identity(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    settings: &Settings,
    auth: &Rc<Auth>,
    location: *const ngx_http_core_loc_conf_t,
) -> String {
    let (setting, owner) = (settings.destination(), settings.owner());
    let identity = Identity {
        auth,
        // SAFETY: cf->ctx is the location's, which is its server's.
        place: unsafe { [http_core::server_name(cf), bytes((*location).name)] },
        nth: 0,
        owner: owner.as_deref(),
        group: setting.upstream.as_deref(),
        masks: settings.masks(),
        headers: &constant_headers(settings),
        shows_folders: settings.index.is_some() && matches!(settings.autoindex, Some(Some(_))),
    };
    work.digest(&identity, auth)
}

/// What set-up found out for the requests of a location.
#[derive(Clone)]
struct Found {
    has_group: bool,
    host: Host,
    proxy_handler: Handler,
    counter: Option<Rc<Counter>>,
}

/// What requests of a location need.
fn serving(
    conf: &LocationConf,
    bucket: &Bucket,
    auth: &Rc<Auth>,
    signing: Option<Signing>,
    found: Found,
) -> Serving {
    let settings = &conf.settings;
    let endpoint = settings.destination().endpoint;
    let masks = settings.masks();
    let (pass_args, set_args) = arguments(settings);
    Serving {
        bucket: bucket.clone(),
        key: settings.key.clone(),
        captures: captures_of(bucket, settings),
        regex: conf.known.regex,
        index: settings.index.clone(),
        autoindex: None,
        prefix: conf.known.prefix,
        host: found.host,
        addressing: settings.addressing(),
        is_aws: endpoint.is_aws(),
        features: settings.features(),
        pass_args,
        set_args,
        set_headers: settings.set_headers.clone().unwrap_or_default(),
        pass_headers: settings.pass_headers.clone().unwrap_or_default(),
        masks,
        append_slash: masks && settings.append_slash.unwrap_or(false),
        website_redirects: settings.website_redirects.unwrap_or(false),
        auth: auth.clone(),
        signing,
        reported: Reported::default(),
        counter: found.counter,
        proxy_handler: found.proxy_handler,
        needs_resolver: !found.has_group && !endpoint.is_address(),
    }
}

/// What requests for the folders of a location need, if these are shown.
fn as_folder(
    serving: Serving,
    settings: &Settings,
    headers: Vec<[ngx_str_t; 2]>,
    cache_key: String,
) -> Option<Listings> {
    let setting = settings.autoindex.as_ref()?.as_ref()?;
    let autoindex = Some(Autoindex {
        format: setting.format.clone(),
        page: setting.page,
        exact_size: setting.exact_size,
        localtime: setting.localtime,
    });
    Some(Listings {
        serving: Rc::new(Serving {
            autoindex,
            index: None,
            append_slash: false,
            website_redirects: false,
            ..serving
        }),
        is_behind_index: settings.index.is_some(),
        valid: setting.valid,
        headers,
        cache_key,
    })
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
    match tls::ca_bundle_of_the_system() {
        None if !written.has("proxy_ssl_verify") => Err(SetupError::CaBundle),
        found => Ok(found),
    }
}

/// The captures that any of a location's values uses.
fn captures_of(bucket: &Bucket, settings: &Settings) -> Box<[Capture]> {
    let values = [Some(&bucket.name), bucket.prefix.as_ref(), settings.key.as_ref()];
    let values = values.into_iter().flatten().chain(own_values(settings));
    let all = values.flat_map(|value| value.captures.iter().copied());
    all.collect::<BTreeMap<u8, ngx_uint_t>>().into_iter().collect()
}

/// Writes a location's proxy configuration and puts it in place: the plan's settings, but for what
/// the user wrote, headers for S3, and headers of its answers to ignore. Returns the configurations for requests without
/// a condition, and those headers.
unsafe fn write(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    proxy: Foreign,
    array: *mut *mut c_void,
    plan: &Plan,
    (headers, ignored): (Vec<(&str, String)>, ngx_uint_t),
    written: &Written,
) -> Result<(Option<*mut *mut c_void>, Vec<[ngx_str_t; 2]>), SetupError> {
    // SAFETY: cf->ctx is the location's, whose configurations are those of the array.
    unsafe {
        add_headers(cf, plan.own_headers.len())?;
        let own = *array.add(proxy.ctx_index());
        let fresh = proxy.create(cf)?;
        let pass = footprint(cf, &mut work.footprints, proxy, "proxy_pass")?;
        if written.has("proxy_pass") {
            proxy.copy(own, fresh, &pass, |_| true);
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
        make_room(cf, proxy, (own, fresh), pairs.iter().map(|[name, _]| name.as_bytes()))?;

        // Of a TLS context of its own: see tls::share().
        let is_flag = |word| word == 1;
        proxy.clear(fresh, &pass, is_flag);
        proxy.merge(cf, own, fresh)?;
        // Its command would replace what the user wrote.
        upstream_part(proxy, fresh)?.ignore_headers |= ignored;
        if plan.endpoint.https || written.has("proxy_pass") {
            tls::share(cf, &mut work.tls, proxy, fresh)?;
        }
        *array.add(proxy.ctx_index()) = fresh;
        let plain = without_conditions(cf, &mut work.footprints, proxy, array, &pairs)?;
        Ok((plain, pairs))
    }
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
