//! What a location gets from nginx's proxy module.
//!
//! A location that serves a bucket keeps the proxy configuration that the user wrote, for nested
//! locations to inherit. Requests get another one, that inherits from it as a nested block would
//! and holds what the module sets. It is filled through the proxy module's own commands, so
//! that only their names are relied upon, and put in place after all locations were merged:
//! nothing that the module sets can reach a location that does not serve a bucket.

use core::ffi::{c_char, c_void, CStr};
use core::{mem, ptr, slice};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use ngx::core::NGX_CONF_OK;
use ngx::ffi::{
    in_port_t, ngx_array_t, ngx_command_t, ngx_conf_t, ngx_cycle_t, ngx_http_conf_ctx_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_core_srv_conf_t,
    ngx_http_get_variable_index, ngx_http_max_module, ngx_http_module_t,
    ngx_http_script_copy_var_len_code, ngx_http_upstream_conf_t, ngx_http_upstream_main_conf_t,
    ngx_http_upstream_module, ngx_http_upstream_srv_conf_t, ngx_int_t, ngx_keyval_t, ngx_module_t,
    ngx_palloc, ngx_pnalloc, ngx_resolver_create, ngx_str_t, ngx_uint_t, sockaddr_in, sockaddr_in6,
    AF_INET, AF_INET6, AF_UNIX, NGX_ERROR, NGX_HTTP_LOC_CONF_OFFSET, NGX_LOG_EMERG, NGX_LOG_WARN,
};
use ngx::http::HttpModuleMainConf;
use ngx::{ngx_log_error, ngx_string};
use thiserror::Error;

use crate::auth::sigv4::UNSIGNED_PAYLOAD;
use crate::auth::{proxy_value, Auth, Identity};
use crate::conf::{
    constant, Bucket, BucketSetting, EndpointSetting, LocationConf, MainConf, Place, Value,
};
use crate::endpoint::{Addressing, Endpoint};
use crate::module::S3PrivateBucket;
use crate::request::{self, Host, Serving, Signing};
use crate::resolver::name_servers;
use crate::upstream::Reported;
use crate::variables::{self, check_names, NameError, Regex, AUTHORIZATION};

/// Where systems keep the certificates that they trust: Debian, Red Hat, SUSE, Alpine and BSD.
const CA_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// nginx's default of `proxy_max_temp_file_size`.
const DEFAULT_TEMP_FILE_SIZE: usize = 1 << 30;

/// The default of `s3_private_bucket_region`.
const DEFAULT_REGION: &str = "us-east-1";

/// Why a location cannot serve a bucket.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// Sending nothing must be said, as forgetting it would look like a broken policy.
    #[error(
        "has no \"s3_private_bucket_auth\"; add \"sigv4 file=path\", \"secret /path/of/file\" \
         or \"none\""
    )]
    NoAuth,
    /// A second content handler.
    #[error(
        "shares its location with another handler of requests; remove that, or write \
         \"proxy_pass\" with \"$s3_private_bucket_uri\""
    )]
    Handler,
    /// A `proxy_pass` that would send the client's URI to S3.
    #[error(
        "shares its location with a \"proxy_pass\" without \"$s3_private_bucket_uri\"; add it"
    )]
    ProxyPass,
    /// A header or method that would differ from the one that is signed.
    #[error("shares its location with \"{0}\", which the signature covers; remove it")]
    Signed(String),
    /// An argument that S3 takes for another signature.
    #[error(
        "lets \"{0}\" of \"s3_private_bucket_pass_args\" reach S3, which takes it for a signature; \
         remove it"
    )]
    SignedArgument(String),
    /// A variable that cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A redirect to an index page that is not served.
    #[error(
        "has \"s3_private_bucket_append_slash\" without an index; add \"s3_private_bucket_index\" or \
         switch it off"
    )]
    NoIndex,
    /// A bucket in front of an address is not a host name.
    #[error(
        "cannot put the bucket before the address \"{0}\"; use \"s3_private_bucket_addressing \
         path\" or an endpoint with a host name"
    )]
    Address(String),
    /// A prefix that servers read differently.
    #[error(
        "has the prefix \"{0}\" with a backslash, which only AWS's own endpoints do not take for a slash; \
         remove it"
    )]
    Backslash(String),
    /// `upstream=` names nothing.
    #[error("needs the upstream group \"{0}\"; define it with \"upstream {0} {{ ... }}\"")]
    Upstream(String),
    /// Nothing to verify S3's certificate with.
    #[error(
        "finds no CA certificates of the system; install ca-certificates or set \
         \"proxy_ssl_trusted_certificate\""
    )]
    CaBundle,
    /// Nothing to resolve S3's name with.
    #[error(
        "finds no name server in /etc/resolv.conf; set \"resolver\", or use \"upstream=\" of \
         \"s3_private_bucket_endpoint\""
    )]
    Resolver,
    /// nginx lacks a directive that the module needs.
    #[error("needs the directive \"{0}\", which this nginx does not have")]
    Command(&'static str),
    /// A directive of the proxy module refused what the module wrote.
    #[error("could not set \"{0}\"")]
    Set(&'static str),
    /// nginx has logged the reason, or memory ran out.
    #[error("could not be set up")]
    Nginx,
}

/// A location whose requests get another proxy configuration once all are merged.
pub struct Pending {
    /// The location's configurations, as `cf->ctx` holds them.
    ctx: ngx_http_conf_ctx_t,
    conf: *mut LocationConf,
    kind: Kind,
    place: Place,
}

enum Kind {
    /// A location with a bucket of its own: what the user wrote in it.
    Own { written: Vec<&'static str>, headers: Vec<(ngx_str_t, ngx_str_t)> },
    /// An `if` or `limit_except` block: its unmerged configuration, and the location around it.
    Block { proxy: *mut c_void, outer: *const LocationConf },
}

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

/// nginx's proxy module, through what it shows: its commands and its hooks.
#[derive(Clone, Copy)]
struct Proxy {
    module: &'static ngx_module_t,
}

impl Proxy {
    unsafe fn find(cycle: *mut ngx_cycle_t) -> Result<Self, ProxyError> {
        // SAFETY: the cycle's modules are complete when a configuration is read.
        let module = unsafe { module_named(cycle, b"ngx_http_proxy_module") };
        module.map(|module| Proxy { module }).ok_or(ProxyError::Command("proxy_pass"))
    }

    fn ctx_index(self) -> usize {
        self.module.ctx_index
    }

    fn commands(self) -> impl Iterator<Item = *mut ngx_command_t> {
        let first = self.module.commands;
        // SAFETY: a module's command table ends with an empty name.
        (0..).map(move |i| unsafe { first.add(i) }).take_while(|&c| unsafe { (*c).name.len > 0 })
    }

    fn command(self, name: &'static str) -> Result<*mut ngx_command_t, ProxyError> {
        self.commands()
            // SAFETY: commands() yields valid commands.
            .find(|&c| unsafe { (*c).name.as_bytes() == name.as_bytes() })
            .ok_or(ProxyError::Command(name))
    }

    unsafe fn create(self, cf: *mut ngx_conf_t) -> Result<*mut c_void, ProxyError> {
        let hooks: *const ngx_http_module_t = self.module.ctx.cast();
        // SAFETY: an HTTP module's ctx is its table of hooks; the proxy module has this one.
        let conf = unsafe { (*hooks).create_loc_conf.map(|create| create(cf)) };
        conf.filter(|c| !c.is_null()).ok_or(ProxyError::Nginx)
    }

    /// Merges `conf` as nginx does with a nested block; `cf->ctx` is the location's.
    unsafe fn merge(
        self,
        cf: *mut ngx_conf_t,
        prev: *mut c_void,
        conf: *mut c_void,
    ) -> Result<(), ProxyError> {
        let hooks: *const ngx_http_module_t = self.module.ctx.cast();
        // SAFETY: as in create(); both configurations were made by it.
        match unsafe { (*hooks).merge_loc_conf.map(|merge| merge(cf, prev, conf)) } {
            Some(NGX_CONF_OK) => Ok(()),
            _ => Err(ProxyError::Nginx),
        }
    }

    /// Writes a directive into `conf`, as if it stood in the configuration.
    unsafe fn set(
        self,
        cf: *mut ngx_conf_t,
        conf: *mut c_void,
        name: &'static str,
        args: &[ngx_str_t],
    ) -> Result<(), ProxyError> {
        let command = self.command(name)?;
        let mut words = Vec::with_capacity(args.len() + 1);
        // SAFETY: a command's name is a valid string; args live as long as the configuration.
        // The array is only read, while `words` lives.
        unsafe {
            words.push((*command).name);
            words.extend_from_slice(args);
            let mut array: ngx_array_t = mem::zeroed();
            array.elts = words.as_mut_ptr().cast();
            array.nelts = words.len();
            array.size = mem::size_of::<ngx_str_t>();
            array.nalloc = words.len();
            let saved = mem::replace(&mut (*cf).args, &mut array);
            let result = (*command).set.map(|set| set(cf, command, conf));
            (*cf).args = saved;
            match result {
                Some(NGX_CONF_OK) => Ok(()),
                _ => Err(ProxyError::Set(name)),
            }
        }
    }

    /// The part of a configuration that is the upstream module's.
    unsafe fn upstream(
        self,
        conf: *mut c_void,
    ) -> Result<*mut ngx_http_upstream_conf_t, ProxyError> {
        // SAFETY: a command's offset tells where that part is.
        let timeout = unsafe { (*self.command("proxy_connect_timeout")?).offset };
        let at = timeout.checked_sub(mem::offset_of!(ngx_http_upstream_conf_t, connect_timeout));
        // SAFETY: it is inside the configuration.
        at.map(|at| unsafe { conf.byte_add(at).cast() }).ok_or(ProxyError::Nginx)
    }

    /// The configuration as words, as far as the commands' offsets prove that it reaches.
    unsafe fn words<'a>(self, conf: *mut c_void) -> &'a [usize] {
        let reach = self
            .commands()
            // SAFETY: commands() yields valid commands.
            .map(|c| unsafe { &*c })
            .filter(|c| c.conf == NGX_HTTP_LOC_CONF_OFFSET)
            .map(|c| c.offset)
            .max()
            .unwrap_or(0);
        // SAFETY: a command writes at its offset, so the structure is longer than that; nginx
        // allocates it aligned and zeroed.
        unsafe { slice::from_raw_parts(conf.cast(), reach / mem::size_of::<usize>()) }
    }

    /// Learns which words of a configuration a command writes, by letting it write.
    unsafe fn footprint(
        self,
        cf: *mut ngx_conf_t,
        main: &mut MainConf,
        name: &'static str,
    ) -> Result<Rc<[usize]>, ProxyError> {
        if let Some(known) = main.footprints.get(name) {
            return Ok(known.clone());
        }
        let (_, value) = TRIED.iter().find(|(n, _)| *n == name).ok_or(ProxyError::Set(name))?;
        // SAFETY: create() makes separate configurations, and what the trial writes into the
        // location itself is put back.
        unsafe {
            let (before, after) = (self.create(cf)?, self.create(cf)?);
            let (before, untouched) = (self.words(before), self.words(after).to_vec());
            let clcf = core_location(&*(*cf).ctx.cast());
            let (handler, redirect) = ((*clcf).handler, (*clcf).auto_redirect());
            let arg =
                ngx_str_t { len: value.count_bytes(), data: value.as_ptr().cast_mut().cast() };
            self.set(cf, after, name, &[arg])?;
            if name == "proxy_pass" {
                main.proxy_handler = (*clcf).handler;
            }
            (*clcf).handler = handler;
            (*clcf).set_auto_redirect(redirect);
            let written: Rc<[usize]> = (0..before.len())
                .filter(|&i| before[i] == untouched[i] && self.words(after)[i] != before[i])
                .collect();
            if written.is_empty() {
                return Err(ProxyError::Set(name));
            }
            main.footprints.insert(name, written.clone());
            Ok(written)
        }
    }
}

/// Looks at a location before the proxy module merges it.
///
/// # Safety
/// `cf->ctx` holds the location's configurations, `conf` among them.
pub unsafe fn prepare(
    cf: *mut ngx_conf_t,
    prev: &LocationConf,
    conf: &mut LocationConf,
) -> Result<(), ProxyError> {
    // SAFETY: cf->ctx is as this function asks for.
    let ctx: ngx_http_conf_ctx_t = unsafe { *(*cf).ctx.cast() };
    // SAFETY: nginx has made the core configuration of every location.
    let clcf = unsafe { &mut *core_location(&ctx) };
    let block = clcf.noname() != 0;
    conf.loc_conf = Some(ctx.loc_conf);
    conf.prefix = if block {
        prev.prefix
    } else if clcf.exact_match() != 0 || clcf.named() != 0 || !regex(clcf).is_null() {
        b"/"
    } else {
        // SAFETY: the name lives as long as the configuration.
        unsafe { slice::from_raw_parts(clcf.name.data, clcf.name.len) }
    };

    let own = matches!(conf.bucket, BucketSetting::On(..));
    let inherits = block
        && prev.serves
        && matches!(conf.bucket, BucketSetting::Unset)
        // A block with a handler of its own does not go to S3.
        && clcf.handler.is_none();
    conf.serves = own || inherits;
    if !conf.serves {
        return Ok(());
    }

    let main = S3PrivateBucket::main_conf_mut(unsafe { &*cf }).ok_or(ProxyError::Nginx)?;
    // SAFETY: cf has a cycle; the location's proxy configuration is not merged yet.
    unsafe {
        let proxy = Proxy::find((*cf).cycle)?;
        let slot = ctx.loc_conf.add(proxy.ctx_index());
        let place = match &conf.bucket {
            BucketSetting::On(_, place) => place.clone(),
            _ => Place::default(),
        };
        let kind = if own {
            check(cf, conf, &place)?;
            let (mut written, mut headers) = own_settings(cf, main, proxy, *slot, clcf)?;
            if let (true, true, Some(outer)) = (block, prev.serves, prev.loc_conf) {
                // What cannot stand in an "if" counts where it is meant for S3: in a location with a
                // bucket around it. What is meant for another server does not.
                let outer = *outer.add(proxy.ctx_index());
                let around = written_in(cf, main, proxy, outer)?;
                written.extend(around.into_iter().filter(|&name| name != "proxy_pass"));
                headers.extend(headers_in(proxy, outer)?);
            }
            check_signed(conf, &written, &headers)?;
            Kind::Own { written, headers }
        } else {
            // nginx merges a substitute, as this one is to inherit what the module sets.
            Kind::Block { proxy: mem::replace(&mut *slot, proxy.create(cf)?), outer: prev }
        };
        clcf.handler = Some(request::handle);
        if own && clcf.name.as_bytes().ends_with(b"/") {
            // As proxy_pass does, while nginx has not built its location tree yet.
            clcf.set_auto_redirect(1);
        }
        main.pending.push(Pending { ctx, conf, kind, place });
    }
    Ok(())
}

/// Checks what a location's own directives say together.
unsafe fn check(
    cf: *mut ngx_conf_t,
    conf: &mut LocationConf,
    place: &Place,
) -> Result<(), ProxyError> {
    let auth = conf.auth.as_ref().ok_or(ProxyError::NoAuth)?;
    let setting = conf.endpoint.clone().unwrap_or_else(|| {
        let region = conf.region.as_deref().unwrap_or(DEFAULT_REGION);
        Rc::new(EndpointSetting { endpoint: Endpoint::aws(region), upstream: None })
    });
    // Not into `endpoint`, which nested locations inherit: theirs can be of another region.
    let setting: &EndpointSetting = conf.effective_endpoint.insert(setting);
    if conf.addressing == Some(Addressing::Virtual) && setting.endpoint.is_address() {
        return Err(ProxyError::Address(setting.endpoint.host.clone()));
    }
    if let (BucketSetting::On(Bucket { prefix: Some(prefix), .. }, _), false) =
        (&conf.bucket, setting.endpoint.is_aws())
    {
        // SAFETY: the value was compiled.
        let text = unsafe { constant(prefix.compiled) }.unwrap_or_default();
        if text.contains(&b'\\') {
            return Err(ProxyError::Backslash(String::from_utf8_lossy(text).into_owned()));
        }
    }
    if conf.append_slash == Some(true) && conf.index.is_none() {
        return Err(ProxyError::NoIndex);
    }
    // SAFETY: cf is nginx's context.
    let group = unsafe { upstream_group(cf, setting) };
    if let (Some(name), None) = (&setting.upstream, group) {
        return Err(ProxyError::Upstream(name.clone()));
    }

    let local = match group {
        // SAFETY: nginx keeps upstream groups as long as the configuration.
        Some(group) => unsafe { is_local(group) },
        None => setting.endpoint.is_loopback(),
    };
    if matches!(**auth, Auth::Secret(_)) && !setting.endpoint.https && !local {
        // SAFETY: cf has a log.
        let log = unsafe { (*cf).log };
        ngx_log_error!(
            NGX_LOG_WARN,
            log,
            "\"s3_private_bucket\" sends its secret unencrypted to \"http://{}\"; \
             use an https:// endpoint {place}",
            setting.endpoint.authority()
        );
    }
    Ok(())
}

/// Checks that nothing in a location changes what is signed.
fn check_signed(
    conf: &LocationConf,
    written: &[&'static str],
    headers: &[(ngx_str_t, ngx_str_t)],
) -> Result<(), ProxyError> {
    if !matches!(conf.auth.as_deref(), Some(Auth::Sigv4 { .. })) {
        return Ok(());
    }
    let amz = |name: &[u8]| name.get(..6).is_some_and(|n| n.eq_ignore_ascii_case(b"x-amz-"));
    let signed = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"host")
            || name.eq_ignore_ascii_case(b"authorization")
            || amz(name)
    };
    if let Some((name, _)) = headers.iter().find(|(name, _)| signed(name.as_bytes())) {
        return Err(ProxyError::Signed(format!("proxy_set_header {name}")));
    }
    if written.contains(&"proxy_method") {
        return Err(ProxyError::Signed("proxy_method".to_owned()));
    }
    match conf.pass_args.iter().flat_map(|args| args.iter()).find(|name| amz(name)) {
        Some(name) => Err(ProxyError::SignedArgument(name.escape_ascii().to_string())),
        None => Ok(()),
    }
}

/// What the user wrote in a location with a bucket: directives of the proxy module, and headers.
type OwnSettings = (Vec<&'static str>, Vec<(ngx_str_t, ngx_str_t)>);

/// Finds out what the user wrote in a location with a bucket.
unsafe fn own_settings(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    proxy: Proxy,
    conf: *mut c_void,
    clcf: &ngx_http_core_loc_conf_t,
) -> Result<OwnSettings, ProxyError> {
    // SAFETY: conf is the location's proxy configuration, not merged yet.
    unsafe {
        let written = written_in(cf, main, proxy, conf)?;
        if written.contains(&"proxy_pass") {
            if !passes_uri(cf, proxy.words(conf), &proxy.footprint(cf, main, "proxy_pass")?) {
                return Err(ProxyError::ProxyPass);
            }
        } else if clcf.handler.is_some() {
            return Err(ProxyError::Handler);
        }
        Ok((written, headers_in(proxy, conf)?))
    }
}

/// The directives of [`TRIED`] that were written into a proxy configuration that is not merged yet.
unsafe fn written_in(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    proxy: Proxy,
    conf: *mut c_void,
) -> Result<Vec<&'static str>, ProxyError> {
    // SAFETY: both configurations were made by create().
    unsafe {
        let (conf, fresh) = (proxy.words(conf), proxy.words(proxy.create(cf)?));
        let mut written = Vec::new();
        for (name, _) in TRIED {
            let footprint = proxy.footprint(cf, main, name)?;
            if footprint.iter().any(|&i| conf[i] != fresh[i]) {
                written.push(name);
            }
        }
        Ok(written)
    }
}

/// The `proxy_set_header` lines in a proxy configuration that is not merged yet.
unsafe fn headers_in(
    proxy: Proxy,
    conf: *mut c_void,
) -> Result<Vec<(ngx_str_t, ngx_str_t)>, ProxyError> {
    // SAFETY: the command's offset is that of an array of pairs; unset is -1, and NULL occurs.
    unsafe {
        let offset = (*proxy.command("proxy_set_header")?).offset;
        let array: *const ngx_array_t = *conf.byte_add(offset).cast();
        if array.is_null() || array.addr() == usize::MAX {
            return Ok(Vec::new());
        }
        let pairs: &[ngx_keyval_t] = slice::from_raw_parts((*array).elts.cast(), (*array).nelts);
        Ok(pairs.iter().map(|pair| (pair.key, pair.value)).collect())
    }
}

/// Whether the user's `proxy_pass` reads `$s3_private_bucket_uri`: whether one of the script
/// arrays that the command wrote has nginx's code for that variable's length.
unsafe fn passes_uri(cf: *mut ngx_conf_t, conf: &[usize], footprint: &[usize]) -> bool {
    let mut name = ngx_string!("s3_private_bucket_uri");
    // SAFETY: cf is nginx's context; the words that proxy_pass writes are pointers to arrays, or
    // flags, and a script array is nelts bytes long.
    unsafe {
        let index = ngx_http_get_variable_index(cf, &mut name);
        if index == NGX_ERROR as ngx_int_t {
            return false;
        }
        let code = ngx_http_script_copy_var_len_code as *const () as usize;
        footprint.iter().map(|&i| conf[i]).filter(|&word| word > 1).any(|array| {
            let array = array as *const ngx_array_t;
            let words = (*array).nelts * (*array).size / mem::size_of::<usize>();
            let script: &[usize] = slice::from_raw_parts((*array).elts.cast(), words);
            script.windows(2).any(|w| w == [code, index as usize])
        })
    }
}

/// Gives every location that serves a bucket its proxy configuration, after nginx merged all.
///
/// # Errors
/// Reasons that were logged, with the place in the configuration.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn install(cf: *mut ngx_conf_t) -> Result<(), ProxyError> {
    let main = S3PrivateBucket::main_conf_mut(unsafe { &*cf }).ok_or(ProxyError::Nginx)?;
    // SAFETY: nothing was installed yet, and cf is as this function asks for.
    if let Err(error) = unsafe { check_names(cf) } {
        ngx_log_error!(NGX_LOG_EMERG, unsafe { (*cf).log }, "\"s3_private_bucket\" {error}");
        return Err(error.into());
    }
    // Where no location serves a bucket, requests are not to notice that the module is loaded.
    main.serves = !main.pending.is_empty();
    for mut pending in mem::take(&mut main.pending) {
        // SAFETY: what prepare() stored lives as long as the configuration; cf->ctx is put back.
        unsafe {
            let saved = mem::replace(&mut (*cf).ctx, ptr::addr_of_mut!(pending.ctx).cast());
            let result = install_one(cf, main, &pending);
            (*cf).ctx = saved;
            if let Err(error) = &result {
                let place = &pending.place;
                ngx_log_error!(NGX_LOG_EMERG, (*cf).log, "\"s3_private_bucket\" {error} {place}");
            }
            result?;
        }
    }
    Ok(())
}

unsafe fn install_one(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    pending: &Pending,
) -> Result<(), ProxyError> {
    // SAFETY: install() passes what prepare() stored, with cf->ctx set.
    unsafe {
        let proxy = Proxy::find((*cf).cycle)?;
        let conf = &mut *pending.conf;
        let clcf = &mut *core_location(&pending.ctx);
        let slot = pending.ctx.loc_conf.add(proxy.ctx_index());

        let needs_resolver = match &pending.kind {
            Kind::Own { written, headers } => {
                let needs_resolver = install_own(cf, main, proxy, conf, clcf, written, headers)?;
                clcf.handler = Some(request::handle);
                needs_resolver
            }
            Kind::Block { proxy: block, outer } => {
                let outer = &**outer;
                let (Some(serving), Some(array)) = (&outer.serving, outer.loc_conf) else {
                    return Err(ProxyError::Nginx);
                };
                proxy.merge(cf, *array.add(proxy.ctx_index()), *block)?;
                *slot = *block;
                conf.serving = Some(serving.clone());
                serving.needs_resolver
            }
        };
        if needs_resolver && (*clcf.resolver).connections.nelts == 0 {
            clcf.resolver = system_resolver(cf, main)?;
        }
    }
    Ok(())
}

/// Makes the proxy configuration of a location with a bucket; returns whether S3's name has to
/// be resolved at run time.
unsafe fn install_own(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    proxy: Proxy,
    conf: &mut LocationConf,
    clcf: &ngx_http_core_loc_conf_t,
    written: &[&'static str],
    user_headers: &[(ngx_str_t, ngx_str_t)],
) -> Result<bool, ProxyError> {
    let (BucketSetting::On(bucket, _), Some(setting), Some(auth)) =
        (&conf.bucket, &conf.effective_endpoint, &conf.auth)
    else {
        return Err(ProxyError::Nginx);
    };
    let endpoint = &setting.endpoint;
    let authority = endpoint.authority();
    let addressing = conf.addressing.unwrap_or(Addressing::Auto);

    // SAFETY: prepare() was called for this location and nginx has merged it since.
    unsafe {
        let name = constant(bucket.name.compiled);
        // With a constant bucket nothing of the host is computed per request.
        let host = match name {
            Some(name) if addressing.is_virtual(endpoint.is_aws(), name) => {
                Host::Constant(format!("{}.{authority}", String::from_utf8_lossy(name)))
            }
            Some(_) => Host::Constant(authority.clone()),
            // Without a dot any name would be in the host: what "auto" decides per request.
            None if !addressing.is_virtual(endpoint.is_aws(), b"") => {
                Host::Constant(authority.clone())
            }
            None => Host::PerRequest(authority.clone()),
        };
        let host_text = match &host {
            Host::Constant(host) => host.as_str(),
            Host::PerRequest(_) => "$s3_private_bucket_host",
        };
        let group = setting.upstream.is_some() || upstream_group(cf, setting).is_some();
        let target = match (&setting.upstream, group) {
            (Some(upstream), _) => upstream,
            (None, true) => &authority,
            (None, false) => host_text,
        };
        let scheme = endpoint.scheme();

        let fresh = proxy.create(cf)?;
        let array = conf.loc_conf.ok_or(ProxyError::Nginx)?;
        let own = *array.add(proxy.ctx_index());

        let set = |name: &'static str, value: &str| -> Result<(), ProxyError> {
            if written.contains(&name) {
                return Ok(());
            }
            proxy.set(cf, fresh, name, &[in_pool(cf, value)?])
        };
        if written.contains(&"proxy_pass") {
            for &i in &*proxy.footprint(cf, main, "proxy_pass")? {
                *fresh.cast::<usize>().add(i) = proxy.words(own)[i];
            }
        } else {
            set("proxy_pass", &format!("{scheme}://{target}$s3_private_bucket_uri"))?;
        }
        set("proxy_http_version", "1.1")?;
        set("proxy_pass_request_headers", "off")?;
        set("proxy_pass_request_body", "off")?;
        if endpoint.https {
            set("proxy_ssl_server_name", "on")?;
            set("proxy_ssl_name", host_text)?;
            set("proxy_ssl_verify", "on")?;
            set("proxy_ssl_verify_depth", "3")?;
            if !written.contains(&"proxy_ssl_trusted_certificate") {
                match CA_BUNDLES.iter().find(|b| Path::new(b).exists()) {
                    Some(bundle) => set("proxy_ssl_trusted_certificate", bundle)?,
                    None if written.contains(&"proxy_ssl_verify") => (),
                    None => return Err(ProxyError::CaBundle),
                }
            }
        }
        let masks = conf.masks.unwrap_or(true);
        if masks {
            set("proxy_intercept_errors", "on")?;
        }
        let mut slice = "";
        if slices(cf, array) {
            slice = "$slice_range";
            variables::index(cf, &mut main.slice_range, ngx_string!("slice_range"))?;
        }
        let of_own = &*proxy.upstream(own)?;
        if of_own.max_temp_file_size == DEFAULT_TEMP_FILE_SIZE && !stores(of_own) {
            // A client that reads slowly, or leaves, is not to cost more than the buffers hold.
            set("proxy_max_temp_file_size", "0")?;
        }
        let owner = conf.expected_owner.clone().flatten();
        let identity = Identity {
            auth,
            place: [server_name(cf), clcf.name.as_bytes()],
            owner: owner.as_deref(),
            group: setting.upstream.as_deref(),
            masks,
        };
        let identity = identity.digest();
        // HEAD is asked as GET, unless the user says otherwise.
        let method = match of_own.cache_convert_head {
            0 => "$s3_private_bucket_method",
            _ => "",
        };
        // Without the scheme, which the port tells: it is hashed for each request.
        let port = if endpoint.https || endpoint.port.is_some() { "" } else { ":80" };
        let key = format!("{identity}{host_text}{port}$s3_private_bucket_uri{slice}{method}");
        set("proxy_cache_key", &key)?;
        // Inherited ones would change what S3 is asked; only these are looked for, as reading
        // their values costs each request a little.
        for (name, value) in [("proxy_method", "$s3_private_bucket_method"), ("proxy_set_body", "")]
        {
            let footprint = proxy.footprint(cf, main, name)?;
            let unset = |i: &usize| matches!(proxy.words(own)[*i], 0 | usize::MAX);
            if !footprint.iter().all(unset) {
                set(name, value)?;
            }
        }

        let mut headers: Vec<(&str, String)> = vec![("Host", host_text.to_owned())];
        let literal = |text| proxy_value(text, "${s3_private_bucket_dollar}");
        if let Some(owner) = &owner {
            headers.push(("X-Amz-Expected-Bucket-Owner", owner.to_string()));
        }
        let mut signing = None;
        match &**auth {
            Auth::None => (),
            Auth::Secret(secret) => headers.push((secret.header(), literal(secret.value()))),
            Auth::Sigv4 { credentials, service, .. } => {
                headers.push(("Authorization", format!("${AUTHORIZATION}")));
                headers.push(("X-Amz-Date", "$s3_private_bucket_date".to_owned()));
                headers.push(("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD.to_owned()));
                if let Some(token) = credentials.session_token() {
                    headers.push(("X-Amz-Security-Token", literal(token)));
                }
                let region = conf.region.as_deref().unwrap_or(DEFAULT_REGION);
                let signer = main.signer(credentials, region, service);
                signing = Some(Signing {
                    authorization_len: signer.authorization_len(owner.as_deref()),
                    signer,
                    owner,
                    scheme,
                    presigned_expires: conf.presigned_expires.unwrap_or(300).to_string(),
                });
            }
        }
        headers.extend(DROPPED_HEADERS.map(|name| (name, String::new())));
        let is_ours = |name: &str| {
            let same = |(key, _): &(ngx_str_t, ngx_str_t)| {
                key.as_bytes().eq_ignore_ascii_case(name.as_bytes())
            };
            !user_headers.iter().any(same)
        };
        let mut pairs = Vec::new();
        for (name, value) in headers.iter().filter(|(name, _)| is_ours(name)) {
            pairs.push([in_pool(cf, name)?, in_pool(cf, value)?]);
        }
        pairs.extend(user_headers.iter().map(|&(name, value)| [name, value]));
        let mut conditions = Vec::new();
        for (name, value) in CONDITIONS.iter().filter(|(name, _)| is_ours(name)) {
            conditions.push([in_pool(cf, name)?, in_pool(cf, value)?]);
        }
        for pair in pairs.iter().chain(&conditions) {
            proxy.set(cf, fresh, "proxy_set_header", pair)?;
        }

        proxy.merge(cf, own, fresh)?;
        *array.add(proxy.ctx_index()) = fresh;
        if (*proxy.upstream(fresh)?).cache_revalidate != 0 {
            let (modified, etag) = (&mut main.cache_last_modified, &mut main.cache_etag);
            variables::index(cf, modified, ngx_string!("upstream_cache_last_modified"))?;
            variables::index(cf, etag, ngx_string!("upstream_cache_etag"))?;
        }
        conf.unconditional = without_conditions(cf, main, proxy, array, &pairs)?;

        let needs_resolver = !group && !endpoint.is_address();
        conf.serving = Some(Rc::new(Serving {
            captures: captures_of(bucket, conf.key.as_ref()),
            regex: regex(clcf),
            bucket: bucket.clone(),
            constant_bucket: name,
            key: conf.key.clone(),
            index: conf.index.clone(),
            location: conf.prefix,
            host,
            addressing,
            is_aws: endpoint.is_aws(),
            pass_args: conf.pass_args.clone().unwrap_or_default(),
            masks,
            append_slash: masks && conf.append_slash.unwrap_or(false),
            auth: auth.clone(),
            reported: Reported::default(),
            pass_headers: conf.pass_headers.clone().unwrap_or_default(),
            signing,
            proxy_handler: main.proxy_handler.ok_or(ProxyError::Nginx)?,
            needs_resolver,
        }));
        Ok(needs_resolver)
    }
}

/// Makes the array of configurations for requests without a condition: to evaluate six variables in
/// vain would cost more than all else that the module does. `headers` are all others.
///
/// Returns `None` where nginx's cache, store or slices need those headers.
unsafe fn without_conditions(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    proxy: Proxy,
    array: *mut *mut c_void,
    headers: &[[ngx_str_t; 2]],
) -> Result<Option<*mut *mut c_void>, ProxyError> {
    // SAFETY: the location's configurations are merged.
    unsafe {
        let full = *array.add(proxy.ctx_index());
        let of_full = &*proxy.upstream(full)?;
        if stores(of_full) || slices(cf, array) {
            return Ok(None);
        }

        let conf = proxy.create(cf)?;
        for &i in &*proxy.footprint(cf, main, "proxy_pass")? {
            // Pointers to scripts, and a flag for another TLS context, which is not needed.
            let word = proxy.words(full)[i];
            if word > 1 {
                *conf.cast::<usize>().add(i) = word;
            }
        }
        for pair in headers {
            proxy.set(cf, conf, "proxy_set_header", pair)?;
        }
        proxy.merge(cf, full, conf)?;
        (*proxy.upstream(conf)?).ssl = of_full.ssl;

        let modules = ngx_http_max_module;
        let copy = ngx_palloc((*cf).pool, modules * mem::size_of::<*mut c_void>());
        let copy: *mut *mut c_void = copy.cast();
        if copy.is_null() {
            return Err(ProxyError::Nginx);
        }
        ptr::copy_nonoverlapping(array, copy, modules);
        *copy.add(proxy.ctx_index()) = conf;
        Ok(Some(copy))
    }
}

/// Whether nginx stores or caches the answers of a location.
fn stores(conf: &ngx_http_upstream_conf_t) -> bool {
    conf.store() != 0 || !conf.cache_zone.is_null() || !conf.cache_value.is_null()
}

/// The first name of the server that is configured.
unsafe fn server_name(cf: *mut ngx_conf_t) -> &'static [u8] {
    // SAFETY: the core module has a configuration in every server{}, which lives as long as all do.
    unsafe {
        let ctx: *const ngx_http_conf_ctx_t = (*cf).ctx.cast();
        let index = (*ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *const ngx_http_core_srv_conf_t = (*(*ctx).srv_conf.add(index)).cast();
        let name: &'static ngx_str_t = &(*core).server_name;
        name.as_bytes()
    }
}

/// Whether `slice` is on in a location.
unsafe fn slices(cf: *mut ngx_conf_t, array: *mut *mut c_void) -> bool {
    // SAFETY: the module's only command writes a size at its offset.
    unsafe {
        let Some(module) = module_named((*cf).cycle, b"ngx_http_slice_filter_module") else {
            return false;
        };
        let conf = *array.add(module.ctx_index);
        *conf.byte_add((*module.commands).offset).cast::<usize>() > 0
    }
}

/// Headers of the proxy module that are not sent.
const DROPPED_HEADERS: [&str; 3] = ["Connection", "Content-Length", "Transfer-Encoding"];

/// Headers that clients send to S3, if they send them at all.
const CONDITIONS: [(&str, &str); 6] = [
    ("Range", "$s3_private_bucket_range"),
    ("If-Range", "$s3_private_bucket_if_range"),
    ("If-Match", "$s3_private_bucket_if_match"),
    ("If-None-Match", "$s3_private_bucket_if_none_match"),
    ("If-Modified-Since", "$s3_private_bucket_if_modified_since"),
    ("If-Unmodified-Since", "$s3_private_bucket_if_unmodified_since"),
];

/// Copies text into the configuration's pool, with the NUL that nginx wants behind file names.
unsafe fn in_pool(cf: *mut ngx_conf_t, text: &str) -> Result<ngx_str_t, ProxyError> {
    // SAFETY: the pool is the configuration's; the copy is as long as was asked for.
    unsafe {
        let data: *mut u8 = ngx_pnalloc((*cf).pool, text.len() + 1).cast();
        if data.is_null() {
            return Err(ProxyError::Nginx);
        }
        ptr::copy_nonoverlapping(text.as_ptr(), data, text.len());
        *data.add(text.len()) = 0;
        Ok(ngx_str_t { len: text.len(), data })
    }
}

/// The core module's configuration of the location in `ctx`.
unsafe fn core_location(ctx: &ngx_http_conf_ctx_t) -> *mut ngx_http_core_loc_conf_t {
    // SAFETY: nginx makes one for every location.
    unsafe { (*ctx.loc_conf.add((*ptr::addr_of!(ngx_http_core_module)).ctx_index)).cast() }
}

/// A location's regular expression, or NULL.
#[cfg(ngx_feature = "pcre")]
fn regex(clcf: &ngx_http_core_loc_conf_t) -> *const Regex {
    clcf.regex
}

#[cfg(not(ngx_feature = "pcre"))]
fn regex(_: &ngx_http_core_loc_conf_t) -> *const Regex {
    ptr::null()
}

/// The captures that any of a location's values uses.
fn captures_of(bucket: &Bucket, key: Option<&Value>) -> Box<[(u8, ngx_uint_t)]> {
    let values = [Some(&bucket.name), bucket.prefix.as_ref(), key];
    let all = values.into_iter().flatten().flat_map(|value| value.captures.iter().copied());
    all.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Finds a module of the cycle by its name.
///
/// # Safety
/// The cycle's modules are complete, as they are when a configuration is read.
pub unsafe fn module_named(cycle: *mut ngx_cycle_t, name: &[u8]) -> Option<&'static ngx_module_t> {
    // SAFETY: the array ends with NULL; loaded modules and their names are not freed.
    unsafe {
        (0..)
            .map(|i| *(*cycle).modules.add(i))
            .take_while(|m| !m.is_null())
            .find(|&m| CStr::from_ptr((*m).name.cast::<c_char>()).to_bytes() == name)
            .map(|m| &*m)
    }
}

/// The `upstream {}` group that nginx would use for the endpoint, if there is one.
unsafe fn upstream_group(
    cf: *mut ngx_conf_t,
    setting: &EndpointSetting,
) -> Option<&'static ngx_http_upstream_srv_conf_t> {
    let endpoint = &setting.endpoint;
    let (name, port) = match &setting.upstream {
        Some(name) => (name, None),
        None => (&endpoint.host, endpoint.port),
    };
    let same = |group: &ngx_http_upstream_srv_conf_t| {
        // An implicit group, of a proxy_pass elsewhere, has no servers{} block of its own.
        !group.srv_conf.is_null()
            && group.host.as_bytes().eq_ignore_ascii_case(name.as_bytes())
            && (group.port == 0 && port.is_none()
                || port.is_some_and(|p| p == group.port as in_port_t))
    };
    // SAFETY: the upstream module has a main configuration in every http{}.
    unsafe {
        let ctx: *const ngx_http_conf_ctx_t = (*cf).ctx.cast();
        let index = (*ptr::addr_of!(ngx_http_upstream_module)).ctx_index;
        let main: *const ngx_http_upstream_main_conf_t = (*(*ctx).main_conf.add(index)).cast();
        let groups: &[*mut ngx_http_upstream_srv_conf_t] =
            slice::from_raw_parts((*main).upstreams.elts.cast(), (*main).upstreams.nelts);
        groups.iter().map(|&group| &*group).find(|group| same(group))
    }
}

/// Whether all servers of a group are on this machine.
unsafe fn is_local(group: &ngx_http_upstream_srv_conf_t) -> bool {
    // SAFETY: the servers of a group and their addresses live as long as the configuration, and
    // an address is of the type that its family says.
    unsafe {
        let Some(servers) = group.servers.as_ref() else { return false };
        let servers: &[ngx::ffi::ngx_http_upstream_server_t] =
            slice::from_raw_parts(servers.elts.cast(), servers.nelts);
        servers.iter().all(|server| {
            let addresses = (0..server.naddrs).map(|i| (*server.addrs.add(i)).sockaddr);
            server.naddrs > 0
                && addresses.into_iter().all(|address| match u32::from((*address).sa_family) {
                    AF_UNIX => true,
                    AF_INET => {
                        let v4: *const sockaddr_in = address.cast();
                        (*v4).sin_addr.s_addr.to_ne_bytes()[0] == 127
                    }
                    AF_INET6 => {
                        let v6: *const sockaddr_in6 = address.cast();
                        let bytes: [u8; 16] = mem::transmute((*v6).sin6_addr);
                        u128::from_be_bytes(bytes) == 1
                    }
                    _ => false,
                })
        })
    }
}

/// The resolver with the name servers of /etc/resolv.conf, one for all locations.
unsafe fn system_resolver(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
) -> Result<*mut ngx::ffi::ngx_resolver_t, ProxyError> {
    if let Some(resolver) = main.resolver {
        return Ok(resolver);
    }
    let servers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    // SAFETY: the names live in the configuration's pool.
    unsafe {
        let mut names = Vec::new();
        for server in name_servers(&servers) {
            names.push(in_pool(cf, &server)?);
        }
        if names.is_empty() {
            return Err(ProxyError::Resolver);
        }
        let resolver = ngx_resolver_create(cf, names.as_mut_ptr(), names.len());
        if resolver.is_null() {
            return Err(ProxyError::Nginx);
        }
        main.resolver = Some(resolver);
        Ok(resolver)
    }
}
