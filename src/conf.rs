//! The directives: what they take, how they are inherited, what `nginx -t` says.

use core::ffi::{c_char, c_void};
use core::{mem, ptr, slice};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::{env, fs};

use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::ffi::{
    ngx_command_t, ngx_conf_full_name, ngx_conf_t, ngx_http_compile_complex_value,
    ngx_http_compile_complex_value_t, ngx_http_complex_value_t, ngx_palloc, ngx_parse_time,
    ngx_pnalloc, ngx_resolver_t, ngx_str_t, ngx_uint_t, NGX_CONF_1MORE, NGX_CONF_TAKE1,
    NGX_CONF_TAKE12, NGX_HTTP_LIF_CONF, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_LOG_EMERG, NGX_LOG_WARN, NGX_OK,
};
use ngx::{ngx_conf_log_error, ngx_log_error, ngx_string};
use thiserror::Error;

use crate::auth::credentials::{Credentials, CredentialsError};
use crate::auth::secret::{is_secret_header, Secret, SecretError};
use crate::auth::sigv4::Signer;
use crate::auth::Auth;
use crate::endpoint::{is_bucket_name, is_region, Addressing, Endpoint, EndpointError};
use crate::object::{has_dot_segment, sorted_arguments, Key, MAX_KEY};
use crate::proxy;
use crate::request::{Handler, Serving};
use crate::template::with_own_captures;
use crate::variables::{capture_index, CAPTURE};

/// What `nginx -t` says of a wrong configuration; the directive's name goes before it.
#[derive(Debug, Error)]
pub enum ConfError {
    /// A second one on the same level.
    #[error("is duplicate")]
    Duplicate,
    /// Text that is not UTF-8 where a name is expected.
    #[error("has an argument that is not UTF-8 text")]
    NotText,
    /// A parameter that the directive does not have.
    #[error("has an unknown parameter \"{value}\"; {cure}")]
    Parameter { value: String, cure: &'static str },
    /// A bucket that AWS could not have.
    #[error(
        "has an invalid bucket name \"{0}\"; a bucket is named by 3 to 63 characters \
         a-z, 0-9, \".\" and \"-\""
    )]
    Bucket(String),
    /// A prefix that no key begins with, or that leaves itself.
    #[error("has an invalid prefix \"{value}\"; {cure}")]
    Prefix { value: String, cure: &'static str },
    /// A prefix that leaves no room for a key.
    #[error("has a prefix of {0} bytes; a key has at most 1024 bytes")]
    PrefixLength(usize),
    /// Not a region name.
    #[error("has an invalid region \"{0}\"; use a name such as \"eu-central-1\"")]
    Region(String),
    /// Not an endpoint.
    #[error("has an invalid URL \"{url}\": {error}")]
    Endpoint { url: String, error: EndpointError },
    /// A word of `s3_private_bucket_auth` that it does not have. It may be a secret in the wrong
    /// place: no message repeats it. The line of the configuration tells which one it is.
    #[error("has an unknown parameter; {0}")]
    AuthParameter(&'static str),
    /// Not a token, or a header with another use.
    #[error(
        "cannot send a secret in the header that \"header=\" names; use \"User-Agent\", \
         \"Referer\" or a header of your own"
    )]
    Header,
    /// A secret or credentials file that cannot be read.
    #[error("cannot read the {what} file ({error}); {cure}")]
    File { what: &'static str, error: std::io::Error, cure: &'static str },
    /// A secret that cannot be sent.
    #[error("cannot use the secret in {place}: {error}; write one line of text into it")]
    Secret { place: &'static str, error: SecretError },
    /// Credentials that are not there or not valid.
    #[error("cannot use the credentials in {place}: {error}")]
    Credentials { place: &'static str, error: CredentialsError },
    /// A variable that the environment lacks.
    #[error(
        "finds no {0} in the environment of nginx's master process; set it or use \"file=path\""
    )]
    Environment(&'static str),
    /// Nothing to sign with, or more than one key.
    #[error(
        "needs one key; write \"sigv4 file=path [profile=name]\", \"sigv4 env\" or \
         \"sigv4 access_key_id=id secret_access_key=file\""
    )]
    NoKey,
    /// Not a word for the credential scope.
    #[error("has an invalid service behind \"service=\"; use a name such as \"s3\"")]
    Service,
    /// Not the name of an object in a folder.
    #[error("has an invalid name \"{0}\"; use one such as \"index.html\"")]
    Index(String),
    /// Not an account ID.
    #[error("has an invalid account \"{0}\"; use its 12 digits, or \"off\"")]
    Owner(String),
    /// Not a time that S3 accepts.
    #[error("has an invalid time \"{0}\"; use \"1s\" to \"7d\"")]
    Expires(String),
    /// An auth directive without its secret.
    #[error("needs a secret; write \"secret /path/of/file\" or \"secret data:text\"")]
    NoSecret,
    /// An argument that says nothing.
    #[error("has an empty argument; {0}")]
    Empty(&'static str),
    /// nginx has logged the reason, or memory ran out.
    #[error("could not be compiled")]
    Nginx,
}

/// A place in the configuration, for errors that are found when it is merged.
#[derive(Clone, Default)]
pub struct Place {
    file: String,
    line: usize,
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "in {}:{}", self.file, self.line)
    }
}

/// A compiled string that may have variables.
#[derive(Clone)]
pub struct Value {
    pub compiled: *mut ngx_http_complex_value_t,
    /// The captures of a regular expression that it uses, and the variables that they are read
    /// from.
    pub captures: Rc<[(u8, ngx_uint_t)]>,
}

/// The bucket of a location and its prefix, either of which may have variables.
#[derive(Clone)]
pub struct Bucket {
    /// The bucket's name.
    pub name: Value,
    /// What every key begins with.
    pub prefix: Option<Value>,
}

/// The argument of `s3_private_bucket`.
#[derive(Default)]
pub enum BucketSetting {
    /// Not in this location.
    #[default]
    Unset,
    /// `off`
    Off,
    /// A bucket, and where the directive stands.
    On(Bucket, Place),
}

/// The argument of `s3_private_bucket_endpoint`.
pub struct EndpointSetting {
    /// The URL.
    pub endpoint: Endpoint,
    /// The `upstream {}` group that connections go through.
    pub upstream: Option<String>,
}

/// What the whole configuration shares. All of it lives as long as the cycle.
#[derive(Default)]
pub struct MainConf {
    /// Locations whose proxy settings are put in place after nginx merged all of them.
    pub pending: Vec<proxy::Pending>,
    /// Whether a location serves a bucket.
    pub serves: bool,
    /// The words of the proxy module's configuration that a command writes.
    pub footprints: BTreeMap<&'static str, Rc<[usize]>>,
    /// One signer for each key, region and service, so that each derives one key a day.
    signers: Vec<Rc<Signer>>,
    /// The resolver with the system's name servers, once a location needed it.
    pub resolver: Option<*mut ngx_resolver_t>,
    /// The proxy module's content handler, once one location learned it.
    pub proxy_handler: Option<Handler>,
    /// The index of `$slice_range`, where a location with a bucket slices.
    pub slice_range: Option<ngx_uint_t>,
    /// The index of `$upstream_cache_last_modified`, where a location with a bucket revalidates.
    pub cache_last_modified: Option<ngx_uint_t>,
    /// The index of `$upstream_cache_etag`, likewise.
    pub cache_etag: Option<ngx_uint_t>,
}

impl MainConf {
    /// The signer for a key, a region and a service.
    pub fn signer(&mut self, key: &Rc<Credentials>, region: &str, service: &str) -> Rc<Signer> {
        match self.signers.iter().find(|signer| signer.is_for(key, region, service)) {
            Some(signer) => signer.clone(),
            None => {
                let signer = Rc::new(Signer::new(key.clone(), region, service));
                self.signers.push(signer.clone());
                signer
            }
        }
    }
}

/// What one `location`, `if` or `limit_except` has.
#[derive(Default)]
pub struct LocationConf {
    pub bucket: BucketSetting,
    pub region: Option<Rc<str>>,
    pub endpoint: Option<Rc<EndpointSetting>>,
    pub addressing: Option<Addressing>,
    pub auth: Option<Rc<Auth>>,
    /// `Some(None)` for `off`.
    pub expected_owner: Option<Option<Rc<str>>>,
    /// In seconds.
    pub presigned_expires: Option<u32>,
    pub key: Option<Value>,
    pub index: Option<Rc<str>>,
    pub pass_args: Option<Rc<[Box<[u8]>]>>,
    pub pass_headers: Option<Rc<[Box<[u8]>]>>,
    /// Whether errors are masked.
    pub masks: Option<bool>,
    pub append_slash: Option<bool>,
    /// Whether requests of the location go to a bucket; decided when it is merged.
    pub serves: bool,
    /// The endpoint, AWS's of the region when none is set; known when a location that serves a bucket
    /// is merged.
    pub effective_endpoint: Option<Rc<EndpointSetting>>,
    /// The literal prefix of the location, `/` when it has none; known when it is merged.
    pub prefix: &'static [u8],
    /// What a request needs; there once the location is installed.
    pub serving: Option<Rc<Serving>>,
    /// The location's array of all modules' configurations.
    pub loc_conf: Option<*mut *mut c_void>,
    /// The same with a proxy configuration that passes no condition on, for requests that have
    /// none; not where S3's answers are stored.
    pub unconditional: Option<*mut *mut c_void>,
}

const EVERYWHERE: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

const fn command(
    name: ngx_str_t,
    type_: u32,
    set: unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char,
) -> ngx_command_t {
    ngx_command_t {
        name,
        type_: type_ as ngx_uint_t,
        set: Some(set),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    }
}

/// The directives.
pub static mut COMMANDS: [ngx_command_t; 14] = [
    command(
        ngx_string!("s3_private_bucket"),
        NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF | NGX_CONF_TAKE12,
        setter::<SetBucket>,
    ),
    command(
        ngx_string!("s3_private_bucket_region"),
        EVERYWHERE | NGX_CONF_TAKE1,
        setter::<SetRegion>,
    ),
    command(
        ngx_string!("s3_private_bucket_endpoint"),
        EVERYWHERE | NGX_CONF_TAKE12,
        setter::<SetEndpoint>,
    ),
    command(
        ngx_string!("s3_private_bucket_addressing"),
        EVERYWHERE | NGX_CONF_TAKE1,
        setter::<SetAddressing>,
    ),
    command(ngx_string!("s3_private_bucket_auth"), EVERYWHERE | NGX_CONF_1MORE, setter::<SetAuth>),
    command(
        ngx_string!("s3_private_bucket_expected_owner"),
        EVERYWHERE | NGX_CONF_TAKE1,
        setter::<SetExpectedOwner>,
    ),
    command(
        ngx_string!("s3_private_bucket_presigned_expires"),
        EVERYWHERE | NGX_CONF_TAKE1,
        setter::<SetPresignedExpires>,
    ),
    command(ngx_string!("s3_private_bucket_key"), EVERYWHERE | NGX_CONF_TAKE1, setter::<SetKey>),
    command(
        ngx_string!("s3_private_bucket_index"),
        EVERYWHERE | NGX_CONF_TAKE1,
        setter::<SetIndex>,
    ),
    command(
        ngx_string!("s3_private_bucket_pass_args"),
        EVERYWHERE | NGX_CONF_1MORE,
        setter::<SetPassArgs>,
    ),
    command(
        ngx_string!("s3_private_bucket_pass_headers"),
        EVERYWHERE | NGX_CONF_1MORE,
        setter::<SetPassHeaders>,
    ),
    command(
        ngx_string!("s3_private_bucket_errors"),
        EVERYWHERE | NGX_CONF_TAKE1,
        setter::<SetErrors>,
    ),
    command(
        ngx_string!("s3_private_bucket_append_slash"),
        EVERYWHERE | NGX_CONF_TAKE1,
        setter::<SetAppendSlash>,
    ),
    ngx_command_t::empty(),
];

/// A directive: stores its arguments in the location.
trait Directive {
    /// `args` are the directive's arguments, without its name.
    ///
    /// # Errors
    /// What is wrong with them.
    ///
    /// # Safety
    /// `cf` is nginx's configuration context and `args` are those of the directive, so that they
    /// live as long as the configuration.
    unsafe fn set(
        cf: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError>;
}

/// nginx's side of a [`Directive`].
unsafe extern "C" fn setter<D: Directive>(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx calls it with a valid context, this command, its arguments (the name first)
    // and what create_loc_conf made.
    let (result, name, args) = unsafe {
        let args: &[ngx_str_t] =
            slice::from_raw_parts((*(*cf).args).elts.cast(), (*(*cf).args).nelts);
        (D::set(cf, &mut *conf.cast(), &args[1..]), &(*cmd).name, &args[1..])
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

/// A message without what stands behind `data:` in an argument: a secret in the wrong directive
/// is not to be repeated either.
fn without_secrets(mut message: String, args: &[ngx_str_t]) -> String {
    for arg in args.iter().filter_map(|arg| text(arg).ok()) {
        if let Some(at) = arg.find("data:").filter(|at| at + 5 < arg.len()) {
            message = message.replace(&arg[at..], "data:...");
        }
    }
    message
}

fn text(arg: &ngx_str_t) -> Result<&str, ConfError> {
    core::str::from_utf8(arg.as_bytes()).map_err(|_| ConfError::NotText)
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), ConfError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ConfError::Duplicate),
    }
}

/// Compiles a string that may have variables.
///
/// # Safety
/// `cf` is nginx's configuration context; `value` lives as long as the configuration.
pub unsafe fn compile(
    cf: *mut ngx_conf_t,
    value: &ngx_str_t,
) -> Result<*mut ngx_http_complex_value_t, ConfError> {
    let mut value = *value;
    // SAFETY: the pool is the configuration's; zeroed is how nginx initialises both structures.
    unsafe {
        let compiled: *mut ngx_http_complex_value_t =
            ngx_palloc((*cf).pool, mem::size_of::<ngx_http_complex_value_t>()).cast();
        if compiled.is_null() {
            return Err(ConfError::Nginx);
        }
        ptr::write_bytes(compiled, 0, 1);
        let mut ccv: ngx_http_compile_complex_value_t = mem::zeroed();
        ccv.cf = cf;
        ccv.value = &mut value;
        ccv.complex_value = compiled;
        if ngx_http_compile_complex_value(&mut ccv) == NGX_OK as isize {
            Ok(compiled)
        } else {
            Err(ConfError::Nginx)
        }
    }
}

/// Compiles a string that may have variables and captures, for [`crate::request`] to evaluate with
/// the captures of the location.
///
/// # Safety
/// As for [`compile`].
unsafe fn compile_own(cf: *mut ngx_conf_t, value: &ngx_str_t) -> Result<Value, ConfError> {
    if !cfg!(ngx_feature = "pcre") {
        let compiled = unsafe { compile(cf, value) }?;
        return Ok(Value { compiled, captures: Rc::default() });
    }
    let (text, digits) = with_own_captures(value.as_bytes(), CAPTURE);
    // SAFETY: cf is nginx's context, in whose pool the copy lives.
    unsafe {
        let text = ngx_str_t { len: text.len(), data: pool_copy(cf, &text)? };
        let index = |digit| Ok((digit, capture_index(cf, digit).ok_or(ConfError::Nginx)?));
        let captures = digits.into_iter().map(index).collect::<Result<_, ConfError>>()?;
        Ok(Value { compiled: compile(cf, &text)?, captures })
    }
}

/// Copies bytes into the configuration's pool.
unsafe fn pool_copy(cf: *mut ngx_conf_t, bytes: &[u8]) -> Result<*mut u8, ConfError> {
    // SAFETY: the pool is the configuration's; the copy is as long as was asked for.
    unsafe {
        let data: *mut u8 = ngx_pnalloc((*cf).pool, bytes.len()).cast();
        if data.is_null() {
            return Err(ConfError::Nginx);
        }
        ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
        Ok(data)
    }
}

/// Returns the value of a compiled string without variables.
///
/// # Safety
/// `value` is from [`compile`].
pub unsafe fn constant(value: *mut ngx_http_complex_value_t) -> Option<&'static [u8]> {
    // SAFETY: compiled values live as long as the configuration, as do their strings.
    unsafe { (*value).lengths.is_null().then(|| (*value).value.as_bytes()) }
}

/// What follows `name=` in an argument.
fn parameter<'a>(arg: &'a ngx_str_t, name: &str) -> Option<&'a [u8]> {
    arg.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

struct SetBucket;

impl Directive for SetBucket {
    unsafe fn set(
        cf: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        if !matches!(conf.bucket, BucketSetting::Unset) {
            return Err(ConfError::Duplicate);
        }
        if args[0].as_bytes() == b"off" {
            if let Some(extra) = args.get(1) {
                let value = extra.to_string();
                return Err(ConfError::Parameter { value, cure: "\"off\" takes none" });
            }
            conf.bucket = BucketSetting::Off;
            return Ok(());
        }

        // SAFETY: cf is nginx's context; the value is just compiled.
        let name = unsafe { compile_own(cf, &args[0]) }?;
        if unsafe { constant(name.compiled) }.is_some_and(|n| !is_bucket_name(n)) {
            return Err(ConfError::Bucket(args[0].to_string()));
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
            let value = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
            // SAFETY: as above.
            let compiled = unsafe { compile_own(cf, &value) }?;
            let constant = unsafe { constant(compiled.compiled) };
            if let Some(cure) = prefix_cure(value.as_bytes(), constant.is_some()) {
                return Err(ConfError::Prefix { value: value.to_string(), cure });
            }
            prefix = Some(compiled);
        }

        // SAFETY: a directive is read from a file (or from -g, which has none).
        let place = unsafe {
            match (*cf).conf_file.as_ref() {
                Some(file) => Place { file: file.file.name.to_string(), line: file.line },
                None => Place::default(),
            }
        };
        conf.bucket = BucketSetting::On(Bucket { name, prefix }, place);
        Ok(())
    }
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

struct SetRegion;

impl Directive for SetRegion {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let region = text(&args[0])?;
        if !is_region(region) {
            return Err(ConfError::Region(region.to_owned()));
        }
        set_once(&mut conf.region, region.into())
    }
}

struct SetEndpoint;

impl Directive for SetEndpoint {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let url = text(&args[0])?;
        let endpoint = Endpoint::parse(url)
            .map_err(|error| ConfError::Endpoint { url: url.to_owned(), error })?;
        let mut upstream = None;
        if let Some(arg) = args.get(1) {
            let name = parameter(arg, "upstream")
                .filter(|n| !n.is_empty())
                .and_then(|n| core::str::from_utf8(n).ok());
            let Some(name) = name else {
                let value = arg.to_string();
                return Err(ConfError::Parameter { value, cure: "use \"upstream=name\"" });
            };
            upstream = Some(name.to_owned());
        }
        set_once(&mut conf.endpoint, Rc::new(EndpointSetting { endpoint, upstream }))
    }
}

struct SetAddressing;

impl Directive for SetAddressing {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let style = match args[0].as_bytes() {
            b"auto" => Addressing::Auto,
            b"virtual" => Addressing::Virtual,
            b"path" => Addressing::Path,
            _ => {
                let value = args[0].to_string();
                let cure = "use \"auto\", \"virtual\" or \"path\"";
                return Err(ConfError::Parameter { value, cure });
            }
        };
        set_once(&mut conf.addressing, style)
    }
}

struct SetAuth;

impl Directive for SetAuth {
    unsafe fn set(
        cf: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let auth = match args[0].as_bytes() {
            b"none" => match args.get(1) {
                None => Auth::None,
                Some(_) => return Err(ConfError::AuthParameter("\"none\" takes none")),
            },
            b"secret" => {
                let mut header = "User-Agent";
                if let Some(arg) = args.get(2) {
                    let name = parameter(arg, "header").ok_or(ConfError::AuthParameter(
                        "use \"header=name\", and quotes around a secret with spaces",
                    ))?;
                    header = core::str::from_utf8(name).map_err(|_| ConfError::NotText)?;
                    if args.len() > 3 {
                        let cure = "a secret and \"header=name\" are all it takes";
                        return Err(ConfError::AuthParameter(cure));
                    }
                    if !is_secret_header(header) {
                        return Err(ConfError::Header);
                    }
                }
                // SAFETY: cf is nginx's context.
                let secret = args.get(1).ok_or(ConfError::NoSecret)?;
                Auth::Secret(unsafe { read_secret(cf, secret, header) }?)
            }
            // SAFETY: cf is nginx's context.
            b"sigv4" => unsafe { sigv4(cf, &args[1..]) }?,
            _ => {
                let cure = "use \"secret\", \"sigv4\" or \"none\"";
                return Err(ConfError::AuthParameter(cure));
            }
        };
        set_once(&mut conf.auth, Rc::new(auth))
    }
}

/// Reads the secret of `data:text`, or of a file.
unsafe fn read_secret(
    cf: *mut ngx_conf_t,
    arg: &ngx_str_t,
    header: &str,
) -> Result<Secret, ConfError> {
    let invalid = |place| move |error| ConfError::Secret { place, error };
    if let Some(data) = arg.as_bytes().strip_prefix(b"data:") {
        return Secret::new(header, data).map_err(invalid("\"data:\""));
    }
    if arg.is_empty() || parameter(arg, "header").is_some() {
        return Err(ConfError::NoSecret);
    }
    // SAFETY: cf is nginx's context.
    let (path, bytes) = unsafe { read_private(cf, "secret", arg.as_bytes()) }?;
    Secret::new(header, &bytes).map_err(invalid("the file")).map(|secret| secret.in_file(path))
}

/// Reads a file with a secret or with credentials, whose path is relative to nginx's
/// configuration. Returns its absolute path too. No error has the path: it may be a secret that was
/// meant to stand behind `data:`.
unsafe fn read_private(
    cf: *mut ngx_conf_t,
    what: &'static str,
    path: &[u8],
) -> Result<(String, Vec<u8>), ConfError> {
    let mut full = ngx_str_t { len: path.len(), data: path.as_ptr().cast_mut() };
    // SAFETY: cf has a cycle; the call replaces the string by an absolute one in its pool.
    if unsafe { ngx_conf_full_name((*cf).cycle, &mut full, 1) } != NGX_OK as isize {
        return Err(ConfError::Nginx);
    }
    let path = text(&full)?.to_owned();
    let cure = match what {
        "secret" => "create it, with mode 0600, or write the secret itself behind \"data:\"",
        _ => "create it, with mode 0600",
    };
    let unreadable = |error| ConfError::File { what, error, cure };
    let bytes = fs::read(&path).map_err(unreadable)?;
    if fs::metadata(&path).map_err(unreadable)?.permissions().mode() & 0o004 != 0 {
        ngx_conf_log_error!(
            NGX_LOG_WARN,
            cf,
            "\"s3_private_bucket_auth\" directive: the {what} file can be read by all users; \
             use \"chmod 600\""
        );
    }
    Ok((path, bytes))
}

/// Reads the arguments behind `sigv4`. No error repeats what could be a key.
unsafe fn sigv4(cf: *mut ngx_conf_t, args: &[ngx_str_t]) -> Result<Auth, ConfError> {
    const NAMES: [&str; 5] = ["file", "profile", "access_key_id", "secret_access_key", "service"];
    let (mut from_env, mut values) = (false, [None; NAMES.len()]);
    for arg in args {
        let arg = text(arg)?;
        let Some((name, value)) = arg.split_once('=') else {
            if arg != "env" || mem::replace(&mut from_env, true) {
                return Err(ConfError::NoKey);
            }
            continue;
        };
        let Some(known) = NAMES.iter().position(|known| *known == name) else {
            return Err(ConfError::AuthParameter(
                "use \"file=\", \"profile=\", \"access_key_id=\", \"secret_access_key=\" or \
                 \"service=\"",
            ));
        };
        if values[known].replace(value).is_some() || value.is_empty() {
            let value = format!("{name}=");
            return Err(ConfError::Parameter { value, cure: "write it once, with a value" });
        }
    }

    let [file, profile, id, secret, service] = values;
    let invalid = |place| move |error| ConfError::Credentials { place, error };
    // SAFETY: cf is nginx's context.
    let (credentials, identity) = unsafe {
        match (file, from_env, id, secret) {
            (Some(path), false, None, None) => {
                let (path, bytes) = read_private(cf, "credentials", path.as_bytes())?;
                let profile = profile.unwrap_or("default");
                let credentials = Credentials::in_file(&bytes, profile);
                (credentials.map_err(invalid("the file"))?, format!("file {path} {profile}"))
            }
            _ if profile.is_some() => return Err(ConfError::NoKey),
            (None, true, None, None) => {
                let get = |name| env::var(name).ok().filter(|value| !value.is_empty());
                let needed = |name| get(name).ok_or(ConfError::Environment(name));
                let id = needed("AWS_ACCESS_KEY_ID")?;
                let secret = needed("AWS_SECRET_ACCESS_KEY")?;
                let token = get("AWS_SESSION_TOKEN");
                let credentials = Credentials::new(&id, &secret, token.as_deref());
                (credentials.map_err(invalid("the environment"))?, "env".to_owned())
            }
            (None, false, Some(id), Some(secret)) => {
                let credentials = match secret.strip_prefix("data:") {
                    Some(secret) => {
                        Credentials::new(id, secret, None).map_err(invalid("the configuration"))
                    }
                    None => {
                        let (_, bytes) = read_private(cf, "secret", secret.as_bytes())?;
                        let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                        core::str::from_utf8(secret)
                            .map_err(|_| CredentialsError::NotText)
                            .and_then(|secret| Credentials::new(id, secret, None))
                            .map_err(invalid("the file"))
                    }
                };
                (credentials?, format!("key {id}"))
            }
            _ => return Err(ConfError::NoKey),
        }
    };
    let service = service.unwrap_or("s3");
    if !is_region(service) {
        return Err(ConfError::Service);
    }
    let credentials = Rc::new(credentials);
    Ok(Auth::Sigv4 { credentials, service: service.into(), identity: identity.into() })
}

struct SetExpectedOwner;

impl Directive for SetExpectedOwner {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let owner = match text(&args[0])? {
            "off" => None,
            id if id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()) => Some(id.into()),
            other => return Err(ConfError::Owner(other.to_owned())),
        };
        set_once(&mut conf.expected_owner, owner)
    }
}

struct SetPresignedExpires;

impl Directive for SetPresignedExpires {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        const SEVEN_DAYS: u32 = 604_800;
        let mut value = args[0];
        // SAFETY: the string is only read.
        let seconds = unsafe { ngx_parse_time(&mut value, 1) };
        match u32::try_from(seconds) {
            Ok(seconds @ 1..=SEVEN_DAYS) => set_once(&mut conf.presigned_expires, seconds),
            _ => Err(ConfError::Expires(value.to_string())),
        }
    }
}

struct SetKey;

impl Directive for SetKey {
    unsafe fn set(
        cf: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        if args[0].is_empty() {
            return Err(ConfError::Empty("write the object key, with variables"));
        }
        // SAFETY: cf is nginx's context.
        let key = unsafe { compile_own(cf, &args[0]) }?;
        set_once(&mut conf.key, key)
    }
}

struct SetIndex;

impl Directive for SetIndex {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let name = text(&args[0])?;
        if Key::new(name.as_bytes(), false).is_err() || name.starts_with('/') || name.ends_with('/')
        {
            return Err(ConfError::Index(name.to_owned()));
        }
        set_once(&mut conf.index, name.into())
    }
}

struct SetPassArgs;

impl Directive for SetPassArgs {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let names: Vec<Box<[u8]>> = args.iter().map(|a| a.as_bytes().into()).collect();
        if names.iter().any(|n| n.is_empty()) {
            return Err(ConfError::Empty("write names of query arguments"));
        }
        set_once(&mut conf.pass_args, sorted_arguments(names).into())
    }
}

struct SetPassHeaders;

impl Directive for SetPassHeaders {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        if args.iter().any(|name| name.is_empty()) {
            return Err(ConfError::Empty("write names of response headers"));
        }
        set_once(&mut conf.pass_headers, args.iter().map(|name| name.as_bytes().into()).collect())
    }
}

/// One of two words.
fn either(arg: &ngx_str_t, yes: &str, no: &str, cure: &'static str) -> Result<bool, ConfError> {
    match arg.as_bytes() {
        word if word == yes.as_bytes() => Ok(true),
        word if word == no.as_bytes() => Ok(false),
        _ => Err(ConfError::Parameter { value: arg.to_string(), cure }),
    }
}

struct SetErrors;

impl Directive for SetErrors {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let masks = either(&args[0], "mask", "pass", "use \"mask\" or \"pass\"")?;
        set_once(&mut conf.masks, masks)
    }
}

struct SetAppendSlash;

impl Directive for SetAppendSlash {
    unsafe fn set(
        _: *mut ngx_conf_t,
        conf: &mut LocationConf,
        args: &[ngx_str_t],
    ) -> Result<(), ConfError> {
        let on = either(&args[0], "on", "off", "use \"on\" or \"off\"")?;
        set_once(&mut conf.append_slash, on)
    }
}

/// Merges a location's configuration with that of the level above, and hands locations that
/// serve a bucket to [`proxy`].
///
/// # Safety
/// `cf` is nginx's context with that location's configurations in `ctx`.
pub unsafe fn merge(
    cf: *mut ngx_conf_t,
    prev: &mut LocationConf,
    conf: &mut LocationConf,
) -> *mut c_char {
    fn inherit<T: Clone>(slot: &mut Option<T>, prev: &Option<T>) {
        if slot.is_none() {
            slot.clone_from(prev);
        }
    }
    inherit(&mut conf.region, &prev.region);
    inherit(&mut conf.endpoint, &prev.endpoint);
    inherit(&mut conf.addressing, &prev.addressing);
    inherit(&mut conf.auth, &prev.auth);
    inherit(&mut conf.expected_owner, &prev.expected_owner);
    inherit(&mut conf.presigned_expires, &prev.presigned_expires);
    inherit(&mut conf.key, &prev.key);
    inherit(&mut conf.index, &prev.index);
    inherit(&mut conf.pass_args, &prev.pass_args);
    inherit(&mut conf.pass_headers, &prev.pass_headers);
    inherit(&mut conf.masks, &prev.masks);
    inherit(&mut conf.append_slash, &prev.append_slash);

    // SAFETY: cf is as this function asks for.
    match unsafe { proxy::prepare(cf, prev, conf) } {
        Ok(()) => NGX_CONF_OK,
        Err(error) => {
            let place = match &conf.bucket {
                BucketSetting::On(_, place) => place.to_string(),
                _ => String::new(),
            };
            // SAFETY: cf has a log.
            let log = unsafe { (*cf).log };
            ngx_log_error!(NGX_LOG_EMERG, log, "\"s3_private_bucket\" {error} {place}");
            NGX_CONF_ERROR
        }
    }
}
