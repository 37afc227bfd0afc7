//! A request: refused, or turned into what S3 is asked for and handed to the proxy module.

use core::{mem, ptr, slice};
use std::rc::Rc;

use ngx::core::Status;
use ngx::ffi::{
    ngx_gmtime, ngx_http_complex_value, ngx_http_request_t, ngx_int_t, ngx_list_push, ngx_palloc,
    ngx_pnalloc, ngx_str_t, ngx_table_elt_t, ngx_time, ngx_tm_t, ngx_uint_t, NGX_HTTP_BAD_REQUEST,
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_ALLOWED, NGX_HTTP_NOT_FOUND, NGX_LOG_ERR,
    NGX_LOG_INFO, NGX_OK,
};
use ngx::http::{HttpModule, HttpModuleLocationConf};
use ngx::{ngx_log_error, ngx_string};
use thiserror::Error;

use crate::auth::sigv4::{Ask, Method, Signer, Stamp};
use crate::auth::Auth;
use crate::conf::{constant, Bucket, Value};
use crate::endpoint::{is_bucket_name, Addressing};
use crate::module::S3PrivateBucket;
use crate::object::{has_empty_segment, key_in_uri, without_slash, Key, KeyError, Target};
use crate::upstream::{watch, Answer, Reported};
use crate::variables::{set_captures, Regex};

/// A content handler of nginx.
pub type Handler = unsafe extern "C" fn(*mut ngx_http_request_t) -> ngx_int_t;

/// What requests of a location need; made once, when the configuration is read.
pub struct Serving {
    pub bucket: Bucket,
    /// The captures that the bucket, the prefix and the key use, and where those read them.
    pub captures: Box<[(u8, ngx_uint_t)]>,
    /// The location's regular expression, or NULL.
    pub regex: *const Regex,
    /// The bucket's name, if it has no variable: it was checked when the configuration was read.
    pub constant_bucket: Option<&'static [u8]>,
    /// `s3_private_bucket_key`
    pub key: Option<Value>,
    /// `s3_private_bucket_index`
    pub index: Option<Rc<str>>,
    /// The literal prefix of the location, or `/`.
    pub location: &'static [u8],
    pub host: Host,
    pub addressing: Addressing,
    pub is_aws: bool,
    pub pass_args: Rc<[Box<[u8]>]>,
    pub pass_headers: Rc<[Box<[u8]>]>,
    /// Whether clients see nginx's errors and not S3's.
    pub masks: bool,
    /// `s3_private_bucket_append_slash`
    pub append_slash: bool,
    /// As whom S3 is asked.
    pub auth: Rc<Auth>,
    /// What was logged of S3's errors.
    pub reported: Reported,
    /// How requests are signed, if they are.
    pub signing: Option<Signing>,
    pub proxy_handler: Handler,
    pub needs_resolver: bool,
}

/// How a location's requests are signed.
pub struct Signing {
    pub signer: Rc<Signer>,
    /// The length of what it writes into `Authorization`.
    pub authorization_len: usize,
    /// `s3_private_bucket_expected_owner`
    pub owner: Option<Rc<str>>,
    /// What a presigned URL begins with.
    pub scheme: &'static str,
    /// For how many seconds a presigned URL is valid.
    pub presigned_expires: String,
}

/// The value of the `Host` header, or what it is made of.
pub enum Host {
    /// `host[:port]`, for all requests.
    Constant(String),
    /// The endpoint's `host[:port]`, which the bucket may have to precede.
    PerRequest(String),
}

/// What S3 is asked for by one request. The strings live in the request's pool.
#[derive(Clone, Copy)]
pub struct Object {
    /// The bucket's name.
    pub name: ngx_str_t,
    /// The decoded key, prefix included.
    pub key: ngx_str_t,
    /// The `Host` header.
    pub host: ngx_str_t,
    /// The request target, as it goes on the wire.
    pub uri: ngx_str_t,
    /// When the request was signed, once it is.
    pub stamp: Stamp,
    /// The signature, empty until the proxy module asks for it. There is room for its bytes.
    pub authorization: ngx_str_t,
    /// What is known of S3's answer.
    pub answer: Answer,
}

/// Why a request is not passed to S3.
#[derive(Debug, Error)]
pub enum Refusal {
    /// A method that could change the bucket.
    #[error("only GET and HEAD are served from a bucket")]
    Method,
    /// The error page of a request that nginx could not read.
    #[error("the request has no method")]
    NoMethod,
    /// A key that is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A variable that does not hold a bucket's name.
    #[error("the bucket name \"{}\" is not valid", .0.as_bytes().escape_ascii())]
    Bucket(ngx_str_t),
    /// A variable without a value, so that the client would write a segment of the prefix, or that
    /// leaves nothing for keys to begin with.
    #[error("the prefix \"{}\" has an empty segment", .0.as_bytes().escape_ascii())]
    Prefix(ngx_str_t),
    /// A presigned URL of a location that does not sign.
    #[error(
        "$s3_private_bucket_presigned_url needs \"s3_private_bucket_auth sigv4\" in its location"
    )]
    NotSigned,
    /// Memory ran out, or nginx could not evaluate a variable.
    #[error("the request could not be prepared")]
    Nginx,
}

impl Refusal {
    /// What the client is told.
    pub fn status(&self) -> ngx_int_t {
        let status = match self {
            Refusal::Method => NGX_HTTP_NOT_ALLOWED,
            Refusal::NoMethod => NGX_HTTP_BAD_REQUEST,
            Refusal::Key(KeyError::Empty | KeyError::TooLong | KeyError::OtherWord) => {
                NGX_HTTP_NOT_FOUND
            }
            Refusal::Key(
                KeyError::Nul | KeyError::DotSegment | KeyError::Backslash | KeyError::NotText,
            ) => NGX_HTTP_BAD_REQUEST,
            Refusal::Bucket(_) | Refusal::Prefix(_) => NGX_HTTP_NOT_FOUND,
            Refusal::NotSigned | Refusal::Nginx => NGX_HTTP_INTERNAL_SERVER_ERROR,
        };
        status as ngx_int_t
    }

    /// Writes it to the error log.
    ///
    /// # Safety
    /// `r` is a valid request.
    pub unsafe fn log(&self, r: *mut ngx_http_request_t) {
        // SAFETY: a request has a connection with a log.
        let log = unsafe { (*(*r).connection).log };
        ngx_log_error!(self.level(), log, "s3_private_bucket: {self}");
    }

    /// As nginx does: what a client did wrong is not an error of the server.
    fn level(&self) -> u32 {
        match self {
            Refusal::Method | Refusal::NoMethod | Refusal::Key(_) => NGX_LOG_INFO,
            Refusal::Bucket(_) | Refusal::Prefix(_) => NGX_LOG_ERR,
            Refusal::NotSigned | Refusal::Nginx => NGX_LOG_ERR,
        }
    }
}

/// The content handler of locations that serve a bucket.
///
/// It runs for every upstream request: for subrequests of `slice` and for background updates of
/// the cache too, which nginx starts at the content phase.
pub unsafe extern "C" fn handle(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a request in its content phase.
    unsafe {
        let conf = S3PrivateBucket::location_conf(&*r);
        let Some((conf, serving)) = conf.and_then(|c| Some((c, c.serving.as_deref()?))) else {
            // "s3_private_bucket off" in an "if": what nginx does without a handler.
            return Status::NGX_DECLINED.into();
        };
        match refuse_or_name(r, serving) {
            Ok(object) => {
                let object = ptr::from_mut(object);
                let module = S3PrivateBucket::module();
                *(*r).ctx.add(module.ctx_index) = object.cast();
                if let Some(array) = conf.unconditional.filter(|_| !has_condition(r)) {
                    (*r).loc_conf = array;
                }
                let rc = (serving.proxy_handler)(r);
                if rc == Status::NGX_DONE.into() {
                    watch(r, object);
                }
                rc
            }
            Err(refusal) => {
                refusal.log(r);
                refusal.status()
            }
        }
    }
}

unsafe fn refuse_or_name<'a>(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<&'a mut Object, Refusal> {
    // SAFETY: r is a valid request.
    unsafe {
        // The name is what is sent.
        if (*r).method_name.is_empty() {
            return Err(Refusal::NoMethod);
        }
        if method(r).is_none() {
            allow(r).ok_or(Refusal::Nginx)?;
            return Err(Refusal::Method);
        }
        // Room for a signature too: when it is made, there is no way back to an error page.
        let signature = serving.signing.as_ref().map_or(0, |signing| signing.authorization_len);
        name_object(r, serving, signature)
    }
}

/// Whether the client sent one of the headers that are passed on.
unsafe fn has_condition(r: *mut ngx_http_request_t) -> bool {
    // SAFETY: r is a valid request.
    let headers = unsafe { &(*r).headers_in };
    [
        headers.range,
        headers.if_range,
        headers.if_match,
        headers.if_none_match,
        headers.if_modified_since,
        headers.if_unmodified_since,
    ]
    .iter()
    .any(|header| !header.is_null())
}

/// The method that the proxy module sends, if it may be signed.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn method(r: *mut ngx_http_request_t) -> Option<Method> {
    // SAFETY: both names are valid strings; the upstream's is set where a cache wants GET.
    unsafe {
        let upstream = (*r).upstream.as_ref().map(|u| u.method).filter(|name| !name.is_empty());
        Method::named(upstream.unwrap_or((*r).method_name).as_bytes())
    }
}

/// The object of the request that the proxy module is building, signed once.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn signed<'a>(r: *mut ngx_http_request_t) -> Option<&'a Object> {
    // SAFETY: handle() made the object with the room that the location's signer asked for; nothing
    // else refers to it now.
    unsafe {
        let object = object_mut(r)?;
        let signing = serving(r)?.signing.as_ref()?;
        if object.authorization.is_empty() {
            let owner = signing.owner.as_deref();
            let len = signing.authorization_len;
            let (host, target) = (object.host.as_bytes(), object.uri.as_bytes());
            let ask = Ask { method: method(r)?, host, target, owner };
            let stamp = now();
            ptr::write_bytes(object.authorization.data, 0, len);
            let out = slice::from_raw_parts_mut(object.authorization.data, len);
            signing.signer.authorize(&ask, &stamp, out).ok()?;
            object.stamp = stamp;
            object.authorization.len = len;
        }
        Some(object)
    }
}

/// A URL that lets whoever has it read the request's object from S3.
///
/// # Errors
/// A [`Refusal`] as for a request that nginx would pass on.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`.
pub unsafe fn presigned_url(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<ngx_str_t, Refusal> {
    let signing = serving.signing.as_ref().ok_or(Refusal::NotSigned)?;
    // SAFETY: r is a valid request; the buffer has the length that is written.
    unsafe {
        let method = Method::named((*r).method_name.as_bytes()).ok_or(Refusal::Method)?;
        let object = name_object(r, serving, 0)?;
        let (host, target) = (object.host.as_bytes(), object.uri.as_bytes());
        let ask = Ask { method, host, target, owner: signing.owner.as_deref() };
        let (signer, expires) = (&signing.signer, &signing.presigned_expires);
        let scheme = signing.scheme.as_bytes();
        let url = buffer(r, scheme.len() + 3 + signer.presigned_len(&ask, expires))?;
        let (start, rest) = url.split_at_mut(scheme.len() + 3);
        start[..scheme.len()].copy_from_slice(scheme);
        start[scheme.len()..].copy_from_slice(b"://");
        signer.presign(&ask, expires, &now(), rest).map_err(|_| Refusal::Nginx)?;
        Ok(ngx_str_t { len: url.len(), data: url.as_mut_ptr() })
    }
}

/// nginx's time.
fn now() -> Stamp {
    // SAFETY: nginx fills in the structure.
    let tm = unsafe {
        let mut tm: ngx_tm_t = mem::zeroed();
        ngx_gmtime(ngx_time(), &mut tm);
        tm
    };
    // nginx writes the full year and counts months from 1.
    let fields = [tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec];
    Stamp::new(fields.map(|field| field as u32))
}

/// Adds `Allow` to the response, which RFC 9110 wants with a 405.
///
/// # Safety
/// `r` is a valid request whose response has not begun.
pub unsafe fn allow(r: *mut ngx_http_request_t) -> Option<()> {
    // SAFETY: the caller's promise.
    unsafe { add_header(r, ngx_string!("Allow"), ngx_string!("GET, HEAD")) }.map(|_| ())
}

/// Adds a header to the response.
///
/// # Safety
/// `r` is a valid request whose response has not begun; the strings live as long as it does.
pub unsafe fn add_header(
    r: *mut ngx_http_request_t,
    key: ngx_str_t,
    value: ngx_str_t,
) -> Option<*mut ngx_table_elt_t> {
    // SAFETY: the list is the request's, and an element is zeroed before it is filled (nginx
    // 1.23 added fields).
    unsafe {
        let list = ptr::addr_of_mut!((*r).headers_out.headers);
        let header = ngx_list_push(list).cast::<ngx_table_elt_t>().as_mut()?;
        ptr::write_bytes(header, 0, 1);
        header.hash = 1;
        header.key = key;
        header.value = value;
        Some(header)
    }
}

/// The location's [`Serving`], if it serves a bucket.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn serving<'a>(r: *mut ngx_http_request_t) -> Option<&'a Serving> {
    // SAFETY: the configuration outlives its requests.
    S3PrivateBucket::location_conf(unsafe { &*r })?.serving.as_deref()
}

/// What the request asks S3 for, if it was handled as such.
///
/// # Safety
/// `r` is a valid request, and nothing else refers to its object while the result is used.
pub unsafe fn object_mut<'a>(r: *mut ngx_http_request_t) -> Option<&'a mut Object> {
    let index = S3PrivateBucket::module().ctx_index;
    // SAFETY: the slot is NULL or what handle() stored, from the request's pool.
    unsafe { (*(*r).ctx.add(index)).cast::<Object>().as_mut() }
}

/// Works out what a request asks S3 for. The object, its request target and `signature` bytes for
/// [`Object::authorization`] are one piece of memory in the request's pool.
///
/// # Errors
/// A [`Refusal`] when the key or the bucket is not one.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, and outlives the result.
pub unsafe fn name_object<'a>(
    r: *mut ngx_http_request_t,
    serving: &Serving,
    signature: usize,
) -> Result<&'a mut Object, Refusal> {
    // SAFETY: nginx's strings are valid for the request; each buffer has the length written to.
    unsafe {
        set_captures(r, serving.regex, &serving.captures);
        let name = match serving.constant_bucket {
            Some(name) => ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() },
            None => {
                let name = evaluate(r, &serving.bucket.name)?;
                if !is_bucket_name(name.as_bytes()) {
                    return Err(Refusal::Bucket(name));
                }
                name
            }
        };
        let key = key(r, serving)?;

        let in_host = serving.addressing.is_virtual(serving.is_aws, name.as_bytes());
        let host = match &serving.host {
            Host::PerRequest(host) if in_host => {
                concat(r, [name.as_bytes(), b".", host.as_bytes()])?
            }
            Host::PerRequest(host) | Host::Constant(host) => {
                ngx_str_t { len: host.len(), data: host.as_ptr().cast_mut() }
            }
        };

        let target = Target {
            bucket_in_path: (!in_host).then(|| name.as_bytes()),
            key,
            args: (*r).args.as_bytes(),
            pass_args: &serving.pass_args,
        };
        let len = target.len();
        let object: *mut Object =
            ngx_palloc((*r).pool, mem::size_of::<Object>() + len + signature).cast();
        if object.is_null() {
            return Err(Refusal::Nginx);
        }
        let data: *mut u8 = object.add(1).cast();
        ptr::write_bytes(data, 0, len);
        target.write(slice::from_raw_parts_mut(data, len));
        let key = key.as_bytes();
        object.write(Object {
            name,
            key: ngx_str_t { len: key.len(), data: key.as_ptr().cast_mut() },
            host,
            uri: ngx_str_t { len, data },
            stamp: Stamp::default(),
            authorization: ngx_str_t { len: 0, data: data.add(len) },
            answer: Answer::default(),
        });
        Ok(&mut *object)
    }
}

/// The key of a request, prefix and index included.
unsafe fn key<'a>(r: *mut ngx_http_request_t, serving: &'a Serving) -> Result<Key<'a>, Refusal> {
    // SAFETY: r is a valid request; what is evaluated lives in its pool.
    unsafe {
        let mut prefix = ngx_str_t::empty();
        if let Some(value) = &serving.bucket.prefix {
            prefix = evaluate(r, value)?;
            if constant(value.compiled).is_none() && has_empty_segment(prefix.as_bytes()) {
                return Err(Refusal::Prefix(prefix));
            }
        }
        let rest = match &serving.key {
            Some(key) => without_slash(bytes(evaluate(r, key)?)),
            None => key_in_uri(bytes((*r).uri), serving.location)?,
        };
        let index = match &serving.index {
            Some(index) if rest.is_empty() || rest.ends_with(b"/") => index.as_bytes(),
            _ => b"",
        };
        if rest.is_empty() && index.is_empty() {
            return Err(KeyError::Empty.into());
        }

        let key = match prefix.is_empty() && index.is_empty() {
            true => rest,
            false => bytes(concat(r, [prefix.as_bytes(), rest, index])?),
        };
        Ok(Key::new(key, serving.is_aws)?)
    }
}

/// The bytes of a string of nginx.
///
/// # Safety
/// They live as long as `'a`.
unsafe fn bytes<'a>(string: ngx_str_t) -> &'a [u8] {
    match string.is_empty() {
        true => &[],
        // SAFETY: the caller's promise.
        false => unsafe { slice::from_raw_parts(string.data, string.len) },
    }
}

unsafe fn evaluate(r: *mut ngx_http_request_t, value: &Value) -> Result<ngx_str_t, Refusal> {
    let mut out = ngx_str_t::empty();
    // SAFETY: the value was compiled for the configuration of this request.
    match unsafe { ngx_http_complex_value(r, value.compiled, &mut out) } == NGX_OK as ngx_int_t {
        true => Ok(out),
        false => Err(Refusal::Nginx),
    }
}

/// Allocates zeroed bytes in the request's pool.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `r` is a valid request that outlives the result.
pub unsafe fn buffer<'a>(r: *mut ngx_http_request_t, len: usize) -> Result<&'a mut [u8], Refusal> {
    // SAFETY: the buffer is as long as asked for, and zeroed before it is a slice.
    unsafe {
        let data: *mut u8 = ngx_pnalloc((*r).pool, len).cast();
        if data.is_null() {
            return Err(Refusal::Nginx);
        }
        ptr::write_bytes(data, 0, len);
        Ok(slice::from_raw_parts_mut(data, len))
    }
}

/// Joins pieces in the request's pool.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `r` is a valid request that outlives the result.
pub unsafe fn concat<const N: usize>(
    r: *mut ngx_http_request_t,
    parts: [&[u8]; N],
) -> Result<ngx_str_t, Refusal> {
    // SAFETY: r is a valid request.
    let out = unsafe { buffer(r, parts.iter().map(|p| p.len()).sum()) }?;
    let mut at = 0;
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Ok(ngx_str_t { len: out.len(), data: out.as_mut_ptr() })
}
