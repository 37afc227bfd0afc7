//! What a location holds when requests come, what the whole configuration shares with them, and the
//! typed access to both.

use core::ffi::c_void;
use core::ptr;
use std::rc::Rc;

use ngx::ffi::{ngx_http_request_t, ngx_module_t, ngx_str_t, ngx_uint_t};

use crate::counts::counter::{Counter, Counts};
use crate::credentials::keys::Keys;
use crate::credentials::source::Source;
use crate::nginx::http_core::Regex;
use crate::nginx::value::{Capture, Value};
use crate::nginx::Handler;
use crate::s3::auth::Auth;
use crate::s3::aws::Features;
use crate::s3::endpoint::Addressing;
use crate::s3::reported::Reported;

/// What one `location`, `if` or `limit_except` has for its requests: the beginning of the
/// configuration that nginx keeps for it.
#[derive(Default)]
pub struct Location {
    /// There when its requests go to a bucket.
    pub serving: Option<Rc<Serving>>,
    /// The location's array of configurations with a proxy configuration that passes no condition on,
    /// for requests that have none; not where S3's answers are stored.
    pub unconditional: Option<*mut *mut c_void>,
    /// There when its folders are pages.
    pub folder: Option<Folder>,
}

/// Where requests for a folder of a location go.
pub struct Folder {
    /// Its array of configurations for them.
    pub loc_conf: *mut *mut c_void,
    /// The named location of the same.
    pub name: ngx_str_t,
    /// Whether the folder's index page comes first.
    pub is_behind_index: bool,
}

/// `s3_private_bucket_autoindex`
pub struct Autoindex {
    /// `json`, `xml`, or something else for HTML.
    pub format: Value,
    /// How many entries a page has at most.
    pub page: u32,
    /// Whether sizes are in bytes.
    pub exact_size: bool,
    /// Whether times are those of this machine.
    pub localtime: bool,
}

/// What the whole configuration shares: the beginning of what nginx keeps for http{}.
#[derive(Default)]
pub struct Shared {
    /// Whether a location serves a bucket.
    pub serves: bool,
    /// Where the keys are from that are renewed, each before those that are asked for with its keys.
    pub sources: Vec<Rc<Source>>,
    /// The place of `$slice_range`, where a location with a bucket slices.
    pub slice_range: Option<ngx_uint_t>,
    /// The place of `$upstream_cache_last_modified`, where a location with a bucket revalidates.
    pub cache_last_modified: Option<ngx_uint_t>,
    /// The place of `$upstream_cache_etag`, likewise.
    pub cache_etag: Option<ngx_uint_t>,
    /// There when a location shows what is counted.
    pub counts: Option<Rc<Counts>>,
}

/// What requests of a location need; made once, when the configuration is read.
pub struct Serving {
    pub bucket: Bucket,
    /// `s3_private_bucket_key`
    pub key: Option<Value>,
    /// The captures that the bucket, the prefix and the key use.
    pub captures: Box<[Capture]>,
    /// The location's regular expression, or NULL.
    pub regex: *const Regex,
    /// `s3_private_bucket_index`
    pub index: Option<Rc<str>>,
    /// In the configurations of [`Folder`].
    pub autoindex: Option<Autoindex>,
    /// The literal prefix of the location, or `/`.
    pub prefix: &'static [u8],
    pub host: Host,
    pub addressing: Addressing,
    pub is_aws: bool,
    /// Which of AWS's own endpoints is asked, if one of them is.
    pub features: Option<Features>,
    /// The query arguments that requests may have, in the order in which they are signed.
    pub pass_args: Rc<[Box<[u8]>]>,
    /// `s3_private_bucket_set_arg`: which of `pass_args`, and its value.
    pub set_args: Box<[(usize, Value)]>,
    /// `s3_private_bucket_set_header`, in lower case and sorted, as they are signed.
    pub set_headers: Rc<Vec<Own>>,
    pub pass_headers: Rc<[Box<[u8]>]>,
    /// Whether clients see nginx's errors and not S3's.
    pub masks: bool,
    /// `s3_private_bucket_append_slash`
    pub append_slash: bool,
    /// `s3_private_bucket_website_redirects`
    pub website_redirects: bool,
    /// As whom S3 is asked.
    pub auth: Rc<Auth>,
    /// How requests are signed, if they are.
    pub signing: Option<Signing>,
    /// What was logged of S3's errors.
    pub reported: Reported,
    /// There when a location shows what is counted.
    pub counter: Option<Rc<Counter>>,
    /// The proxy module's content handler.
    pub proxy_handler: Handler,
    pub needs_resolver: bool,
}

/// The bucket of a location and its prefix, either of which may have variables.
#[derive(Clone)]
pub struct Bucket {
    /// The bucket's name. One without variables was checked when the configuration was read.
    pub name: Value,
    /// What every key begins with.
    pub prefix: Option<Value>,
}

/// What the operator adds to requests: the name and the value of a query argument or a header.
#[derive(Clone)]
pub struct Own {
    pub name: Box<str>,
    /// Where it is empty, the name is not sent.
    pub value: Value,
}

/// The value of the `Host` header, or what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// `host[:port]`, for all requests.
    Constant(String),
    /// The endpoint's `host[:port]`, which the bucket may have to precede.
    PerRequest(String),
}

/// How a location's requests are signed.
#[derive(Clone)]
pub struct Signing {
    pub keys: Keys,
    /// The length of what is at most written into `Authorization`.
    pub authorization_len: usize,
    /// Whether the bucket is signed where it stands in the host.
    pub signs_bucket: bool,
    /// `s3_private_bucket_expected_owner`
    pub owner: Option<Rc<str>>,
    /// What a presigned URL begins with.
    pub scheme: &'static str,
    /// For how many seconds a presigned URL is valid.
    pub presigned_expires: u32,
    /// The same as text.
    pub presigned_text: String,
}

extern "C" {
    /// nginx's own handle of the module, which tells the place of its configurations. It is made on
    /// the top floor, of what all others have.
    static ngx_http_s3_private_bucket_module: ngx_module_t;
}

/// nginx's own handle of the module.
pub fn module() -> &'static ngx_module_t {
    // SAFETY: nginx writes to it only while it loads modules, before any of our code runs.
    unsafe { &*ptr::addr_of!(ngx_http_s3_private_bucket_module) }
}

/// The module's place in the arrays that nginx keeps for modules.
pub fn ctx_index() -> usize {
    module().ctx_index
}

/// What a request's location holds.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn location<'a>(r: *mut ngx_http_request_t) -> &'a Location {
    // SAFETY: what nginx keeps for a location begins with it, and outlives its requests.
    unsafe { &*(*(*r).loc_conf.add(ctx_index())).cast() }
}

/// What the whole configuration shares with a request.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn shared<'a>(r: *mut ngx_http_request_t) -> &'a Shared {
    // SAFETY: what nginx keeps for http{} begins with it, and outlives all requests.
    unsafe { &*(*(*r).main_conf.add(ctx_index())).cast() }
}

/// The location's [`Serving`], if it serves a bucket.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn serving<'a>(r: *mut ngx_http_request_t) -> Option<&'a Serving> {
    // SAFETY: the caller's promise.
    unsafe { location(r) }.serving.as_deref()
}
