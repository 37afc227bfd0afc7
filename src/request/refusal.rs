//! Why a request is not passed to S3, and what its client is told.

use ngx::ffi::{
    ngx_http_request_t, ngx_int_t, ngx_str_t, NGX_HTTP_BAD_REQUEST, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_NOT_ALLOWED, NGX_HTTP_NOT_FOUND, NGX_HTTP_SERVICE_UNAVAILABLE, NGX_LOG_ERR,
    NGX_LOG_INFO,
};
use ngx::ngx_string;
use thiserror::Error;

use crate::log;
use crate::nginx::{headers, Failed};
use crate::s3::listing::question::AfterError;
use crate::s3::object::KeyError;

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
    /// A page of a folder that begins behind no name.
    #[error(transparent)]
    After(#[from] AfterError),
    /// A variable that does not hold a bucket's name.
    #[error("the bucket name \"{}\" is not valid", .0.as_bytes().escape_ascii())]
    Bucket(ngx_str_t),
    /// A variable that holds the name of a bucket whose folders are in no order.
    #[error(
        "the folders of the directory bucket \"{}\" cannot be shown, as they are in no order",
        .0.as_bytes().escape_ascii()
    )]
    DirectoryBucket(ngx_str_t),
    /// A name that AWS has elsewhere.
    #[error(
        "the bucket \"{}\" is not at AWS's endpoint of its region",
        .0.as_bytes().escape_ascii()
    )]
    Elsewhere(ngx_str_t),
    /// A name that an accelerated endpoint does not take.
    #[error(
        "the bucket name \"{}\" has a dot, which \"accelerate\" does not take",
        .0.as_bytes().escape_ascii()
    )]
    Dot(ngx_str_t),
    /// A variable without a value, so that the client would write a segment of the prefix, or that
    /// leaves nothing for keys to begin with.
    #[error("the prefix \"{}\" has an empty segment", .0.as_bytes().escape_ascii())]
    Prefix(ngx_str_t),
    /// A presigned URL of a location that does not sign.
    #[error(
        "$s3_private_bucket_presigned_url needs \"s3_private_bucket_auth sigv4\" or \"sigv2\" in its \
         location"
    )]
    NotSigned,
    /// The value of an argument with a byte that would be a header's end.
    #[error("the value of the argument \"{}\" has a control byte", .0.as_bytes().escape_ascii())]
    Argument(ngx_str_t),
    /// A value of the operator's own header with a byte that no header has.
    #[error("the value of the header \"{0}\" has a control byte")]
    Header(ngx_str_t),
    /// A presigned URL of an object that S3 decrypts only with a header.
    #[error(
        "$s3_private_bucket_presigned_url cannot have the header \"{0}\" that its location sets"
    )]
    HeaderInUrl(ngx_str_t),
    /// A presigned URL that could be made one for something else.
    #[error(
        "$s3_private_bucket_presigned_url cannot have the argument \"{0}\", whose value has a \"&\" before what \
         Signature Version 2 would take for another argument"
    )]
    ArgumentInUrl(ngx_str_t),
    /// Keys of the source of this name are not there, or a presigned URL would outlive them; no name for keys
    /// that stay.
    #[error(
        "there are no keys to sign the request with{}",
        .0.map(|name| format!(": credentials \"{}\"", name.as_bytes().escape_ascii())).unwrap_or_default()
    )]
    Keys(Option<ngx_str_t>),
    /// Memory ran out, or nginx could not evaluate a variable.
    #[error("the request could not be prepared")]
    Nginx,
}

impl From<Failed> for Refusal {
    fn from(_: Failed) -> Self {
        Refusal::Nginx
    }
}

impl Refusal {
    /// What the client is told.
    pub fn status(&self) -> ngx_int_t {
        let status = match self {
            Refusal::Method => NGX_HTTP_NOT_ALLOWED,
            Refusal::NoMethod
            | Refusal::After(_)
            | Refusal::Argument(_)
            | Refusal::ArgumentInUrl(_)
            | Refusal::Header(_) => NGX_HTTP_BAD_REQUEST,
            Refusal::Key(KeyError::Empty | KeyError::TooLong | KeyError::OtherWord) => {
                NGX_HTTP_NOT_FOUND
            }
            Refusal::Key(
                KeyError::Nul | KeyError::DotSegment | KeyError::Backslash | KeyError::NotText,
            ) => NGX_HTTP_BAD_REQUEST,
            Refusal::Bucket(_)
            | Refusal::DirectoryBucket(_)
            | Refusal::Elsewhere(_)
            | Refusal::Dot(_)
            | Refusal::Prefix(_) => NGX_HTTP_NOT_FOUND,
            Refusal::Keys(_) => NGX_HTTP_SERVICE_UNAVAILABLE,
            Refusal::NotSigned | Refusal::HeaderInUrl(_) | Refusal::Nginx => {
                NGX_HTTP_INTERNAL_SERVER_ERROR
            }
        };
        status as ngx_int_t
    }

    /// Writes it to the error log.
    ///
    /// # Safety
    /// `r` is a valid request.
    pub unsafe fn log(&self, r: *mut ngx_http_request_t) {
        // SAFETY: the caller's promise.
        unsafe { log::of_request(r, self.level(), self) }
    }

    /// As nginx does: what a client did wrong is not an error of the server.
    fn level(&self) -> u32 {
        match self {
            Refusal::Method
            | Refusal::NoMethod
            | Refusal::Key(_)
            | Refusal::After(_)
            | Refusal::Argument(_)
            | Refusal::ArgumentInUrl(_)
            | Refusal::Header(_) => NGX_LOG_INFO,
            Refusal::Bucket(_)
            | Refusal::DirectoryBucket(_)
            | Refusal::Elsewhere(_)
            | Refusal::Dot(_)
            | Refusal::Prefix(_) => NGX_LOG_ERR,
            Refusal::NotSigned | Refusal::HeaderInUrl(_) | Refusal::Keys(_) | Refusal::Nginx => {
                NGX_LOG_ERR
            }
        }
    }
}

/// Adds `Allow` to the response, which RFC 9110 wants with a 405.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `r` is a valid request whose response has not begun.
pub unsafe fn allow(r: *mut ngx_http_request_t) -> Result<(), Failed> {
    // SAFETY: the caller's promise.
    let header = unsafe { headers::add(r, ngx_string!("Allow"), ngx_string!("GET, HEAD")) };
    header.map(|_| ()).ok_or(Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_what_they_did_and_operators_what_they_wrote() {
        let text = crate::nginx::constant(b"a\nb");
        for (refusal, status, level, message) in [
            (Refusal::Method, 405, NGX_LOG_INFO, "only GET and HEAD are served from a bucket"),
            (Refusal::NoMethod, 400, NGX_LOG_INFO, "the request has no method"),
            (KeyError::Empty.into(), 404, NGX_LOG_INFO, "the object key is empty"),
            (KeyError::Nul.into(), 400, NGX_LOG_INFO, "the object key has a NUL byte"),
            (Refusal::Bucket(text), 404, NGX_LOG_ERR, "the bucket name \"a\\nb\" is not valid"),
            (
                Refusal::Dot(text),
                404,
                NGX_LOG_ERR,
                "the bucket name \"a\\nb\" has a dot, which \"accelerate\" does not take",
            ),
            (Refusal::Prefix(text), 404, NGX_LOG_ERR, "the prefix \"a\\nb\" has an empty segment"),
            (Failed.into(), 500, NGX_LOG_ERR, "the request could not be prepared"),
        ] {
            assert_eq!((refusal.status(), refusal.level()), (status, level));
            assert_eq!(refusal.to_string(), message);
        }
    }
}
