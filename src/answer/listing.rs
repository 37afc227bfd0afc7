//! S3's listing of a folder, which a page is made of.
//!
//! The header is held back until all of the listing is there: its order, its end and an error in it are known
//! then only.

use core::ffi::c_void;
use core::mem;
use core::ptr::{self, NonNull};

use ngx::core::Status;
use ngx::ffi::{
    ngx_buf_t, ngx_cached_time, ngx_chain_t, ngx_http_clean_header, ngx_http_request_t, ngx_int_t,
    ngx_pcalloc, ngx_pool_cleanup_add, ngx_read_file, ngx_str_t, ngx_uint_t, NGX_HTTP_HEAD,
    NGX_HTTP_OK, NGX_LOG_ERR, NGX_LOG_WARN,
};
use ngx::ngx_string;

use crate::location::{serving, Autoindex};
use crate::log;
use crate::nginx::bytes;
use crate::nginx::headers::add;
use crate::nginx::pool::concat;
use crate::request::folder::after;
use crate::request::object::{object_mut, Object};
use crate::s3::error_body::{each_text, Arrived, Framing};
use crate::s3::listing::html::View;
use crate::s3::listing::question::link_header;
use crate::s3::listing::{html, json, xml, Listing, ListingError, Page};

/// How much of a listing is read at once, in bytes.
const STEP: usize = 16 << 10;

/// What the beginning of a listing tells.
pub enum Seen {
    /// There is more to come.
    Part,
    /// All of it: a page.
    Page,
    /// All of it: nothing.
    Missing,
    /// None.
    Fault(ListingError),
}

/// Looks at the beginning of a listing, as it is on the wire.
///
/// # Safety
/// `r` is a valid request for a folder, and `object` its object.
pub unsafe fn look(
    r: *mut ngx_http_request_t,
    object: &Object,
    wire: &[u8],
    framing: Framing,
) -> Seen {
    // SAFETY: the caller's promise.
    let (prefix, after) = unsafe { (bytes(object.key), after(r, object)) };
    let mut listing = Listing::new(prefix, &after);
    let mut result = Ok(());
    let arrived = each_text(wire, framing, |text| {
        if result.is_ok() {
            result = listing.feed(text);
        }
    });
    match (result, arrived) {
        (Err(error), _) => Seen::Fault(error),
        (Ok(()), Arrived::Whole) => match listing.finish() {
            Err(error) => Seen::Fault(error),
            // SAFETY: the caller's promise.
            Ok(page) => match page.exists || !after.is_empty() || unsafe { is_root(r, object) } {
                true => Seen::Page,
                false => Seen::Missing,
            },
        },
        // nginx itself refuses chunks that are none.
        (Ok(()), Arrived::Part | Arrived::Broken) => Seen::Part,
    }
}

/// Whether a request is for the folder of its location, which is there whatever is in it.
unsafe fn is_root(r: *mut ngx_http_request_t, object: &Object) -> bool {
    // SAFETY: the caller's promise: a valid request.
    unsafe {
        let prefix = serving(r).map_or(&b"/"[..], |serving| serving.prefix);
        object.key.is_empty() || bytes((*r).uri) == prefix
    }
}

/// What is read of one listing.
struct Reader {
    listing: Option<Listing>,
    /// What has come and is not read yet: an entry that is cut costs more to be read, and nginx's buffers are small.
    gathered: Vec<u8>,
    /// Why there is no page.
    error: Option<ListingError>,
    /// What is sent.
    page: Vec<u8>,
    is_sent: bool,
}

impl Reader {
    /// Reads the next part of the listing.
    fn feed(&mut self, text: &[u8]) {
        if let (Some(listing), None) = (&mut self.listing, &self.error) {
            if let Err(error) = listing.feed(text) {
                // Of the one that is not there, nothing is to be dropped.
                self.error.get_or_insert(error);
            }
        }
    }

    /// Takes the next part of the listing.
    fn gather(&mut self, text: &[u8]) {
        self.gathered.extend_from_slice(text);
        if self.gathered.len() >= STEP {
            self.feed_gathered();
        }
    }

    fn feed_gathered(&mut self) {
        let mut gathered = mem::take(&mut self.gathered);
        self.feed(&gathered);
        gathered.clear();
        self.gathered = gathered;
    }
}

/// nginx's filters behind ours.
pub struct Next {
    pub header: unsafe extern "C" fn(*mut ngx_http_request_t) -> ngx_int_t,
    pub body: unsafe extern "C" fn(*mut ngx_http_request_t, *mut ngx_chain_t) -> ngx_int_t,
}

/// Begins to read a listing, whose header is not sent before it is read. Returns false when memory ran out.
///
/// # Safety
/// `r` is a valid request for a folder, and `object` its object.
pub unsafe fn begin(r: *mut ngx_http_request_t, object: &mut Object) -> bool {
    // SAFETY: the caller's promise; the cleanup frees what is made here, with the request.
    unsafe {
        let Some(cleanup) = ngx_pool_cleanup_add((*r).pool, 0).as_mut() else { return false };
        let listing = Listing::new(bytes(object.key), &after(r, object));
        let reader = Reader {
            listing: Some(listing),
            gathered: Vec::new(),
            error: None,
            page: Vec::new(),
            is_sent: false,
        };
        let reader = Box::into_raw(Box::new(reader));
        cleanup.handler = Some(free);
        cleanup.data = reader.cast();
        object.answer.reader = NonNull::new(reader.cast());
    }
    true
}

unsafe extern "C" fn free(data: *mut c_void) {
    // SAFETY: begin() made it.
    drop(unsafe { Box::from_raw(data.cast::<Reader>()) });
}

/// Reads what has come of a listing, and sends its page at the end.
///
/// # Safety
/// `r` is a request that [`begin`] saw, `reader` what it made, and `chain` one of nginx's buffers.
pub unsafe fn body(
    r: *mut ngx_http_request_t,
    reader: NonNull<c_void>,
    chain: *mut ngx_chain_t,
    next: &Next,
) -> ngx_int_t {
    // SAFETY: the caller's promises; nothing else refers to the reader now.
    unsafe {
        let reader = &mut *reader.cast::<Reader>().as_ptr();
        if reader.is_sent {
            // What has no bytes is of another filter: it ends the response behind what it added.
            let mut has_bytes = false;
            each(chain, |buf| has_bytes |= buf.last > buf.pos || buf.file_last > buf.file_pos);
            if has_bytes {
                swallow(chain, |_| ());
            }
            return (next.body)(r, if has_bytes { ptr::null_mut() } else { chain });
        }
        let mut failed = false;
        let is_last = swallow(chain, |buf| failed |= !read(r, reader, buf));
        if failed {
            return Status::NGX_ERROR.into();
        }
        // nginx flushes what it has when it gives an answer up.
        let is_given_up = (*r).upstream.as_ref().is_none_or(|u| u.cleanup.is_null());
        if !is_last && !is_given_up {
            return Status::NGX_OK.into();
        }
        reader.is_sent = true;
        send(r, reader, next)
    }
}

/// Looks at each buffer of a chain.
unsafe fn each(mut chain: *mut ngx_chain_t, mut look: impl FnMut(&mut ngx_buf_t)) {
    // SAFETY: a chain of nginx ends with NULL.
    unsafe {
        while let Some(link) = chain.as_ref() {
            look(&mut *link.buf);
            chain = link.next;
        }
    }
}

/// Takes all buffers of a chain; returns whether the last one is among them.
unsafe fn swallow(chain: *mut ngx_chain_t, mut look: impl FnMut(&mut ngx_buf_t)) -> bool {
    let mut is_last = false;
    // SAFETY: the caller's chain.
    unsafe {
        each(chain, |buf| {
            look(buf);
            is_last |= buf.last_buf() != 0 || buf.last_in_chain() != 0;
            buf.pos = buf.last;
            buf.file_pos = buf.file_last;
        });
    }
    is_last
}

/// Reads a buffer, in memory or in a file of nginx's cache. Returns false when that cannot be read.
unsafe fn read(r: *mut ngx_http_request_t, reader: &mut Reader, buf: &mut ngx_buf_t) -> bool {
    // SAFETY: a buffer says where its bytes are.
    unsafe {
        let in_memory = buf.memory() != 0 || buf.temporary() != 0 || buf.mmap() != 0;
        if in_memory {
            let len = usize::try_from(buf.last.offset_from(buf.pos)).unwrap_or(0);
            if len > 0 {
                reader.gather(core::slice::from_raw_parts(buf.pos, len));
            }
        } else if buf.in_file() != 0 {
            reader.feed_gathered();
            let mut step = vec![0; STEP];
            while buf.file_pos < buf.file_last {
                let len = usize::try_from(buf.file_last - buf.file_pos).unwrap_or(0).min(STEP);
                let got = ngx_read_file(buf.file, step.as_mut_ptr(), len, buf.file_pos);
                let Some(text) = usize::try_from(got).ok().and_then(|got| step.get(..got)) else {
                    return false;
                };
                if text.is_empty() {
                    log::of_request(r, NGX_LOG_ERR, "a stored listing is shorter than it was");
                    return false;
                }
                reader.feed(text);
                buf.file_pos += got as ngx::ffi::off_t;
            }
        }
    }
    true
}

/// Sends the page, or nginx's own of an error.
unsafe fn send(r: *mut ngx_http_request_t, reader: &mut Reader, next: &Next) -> ngx_int_t {
    // SAFETY: r is a request whose header was held back; its pool has what is sent.
    unsafe {
        let (Some(serving), Some(object)) = (serving(r), object_mut(r)) else {
            return Status::NGX_ERROR.into();
        };
        let Some(autoindex) = &serving.autoindex else { return Status::NGX_ERROR.into() };
        reader.feed_gathered();
        let error = reader.error.take();
        let page = match (reader.listing.take(), error) {
            (Some(listing), None) => listing.finish(),
            (_, Some(error)) => Err(error),
            (None, None) => return Status::NGX_ERROR.into(),
        };
        ngx_http_clean_header(r);
        let written = match page {
            Ok(page) => {
                if page.dropped > 0 {
                    let dropped = page.dropped;
                    let what = format!(
                        "S3 listed {dropped} keys that are not of the folder, which are left out"
                    );
                    log::of_request(r, NGX_LOG_WARN, what);
                }
                write(r, autoindex, object, &page, &mut reader.page)
            }
            Err(error) => {
                log::of_request(r, NGX_LOG_ERR, format_args!("S3 sent no listing: {error}"));
                let out = &mut (*r).headers_out;
                out.status = 502;
                (out.content_type, out.content_type_len) = (ngx_string!("text/html"), 9);
                super::page::of_status(r, 502).map(|page| reader.page.extend_from_slice(page))
            }
        };
        if written.is_none() {
            return Status::NGX_ERROR.into();
        }
        (*r).headers_out.content_length_n = reader.page.len() as _;
        let chain = send_chain(r);
        let rc = send_header(r, next);
        // Of HTTP/1 and 3 the size is known then, HTTP/2 has its own way to send. A filter that holds the header
        // back, as ours does, waits for the page.
        let is_head = (*r).method == NGX_HTTP_HEAD as ngx_uint_t
            && (r != (*r).main || (*r).header_size > 0 || send_chain(r) != chain);
        if rc == Status::NGX_ERROR.into() || rc > Status::NGX_OK.into() || is_head {
            return rc;
        }
        let buf = ngx_pcalloc((*r).pool, size_of::<ngx_buf_t>()).cast::<ngx_buf_t>();
        let Some(buf) = buf.as_mut() else { return Status::NGX_ERROR.into() };
        let range = reader.page.as_mut_ptr_range();
        (buf.start, buf.pos, buf.last, buf.end) = (range.start, range.start, range.end, range.end);
        buf.set_memory((!reader.page.is_empty()).into());
        buf.set_last_buf((r == (*r).main).into());
        buf.set_last_in_chain(1);
        (next.body)(r, &mut ngx_chain_t { buf, next: ptr::null_mut() })
    }
}

/// How a client's connection sends.
unsafe fn send_chain(r: *mut ngx_http_request_t) -> usize {
    // SAFETY: a request has a connection.
    unsafe { (*(*r).connection).send_chain.map_or(0, |f| f as usize) }
}

/// Sends the header of a page. No condition holds for it, as it has no validators: where its listing is stored,
/// nginx would answer 304 or 412 in the place of a page that is sent all the same.
unsafe fn send_header(r: *mut ngx_http_request_t, next: &Next) -> ngx_int_t {
    // SAFETY: r is a valid request, whose headers are put back.
    unsafe {
        let asked = &mut (*r).headers_in;
        let saved = [
            &mut asked.if_match,
            &mut asked.if_none_match,
            &mut asked.if_modified_since,
            &mut asked.if_unmodified_since,
        ]
        .map(|header| mem::replace(header, ptr::null_mut()));
        let rc = (next.header)(r);
        let asked = &mut (*r).headers_in;
        [asked.if_match, asked.if_none_match, asked.if_modified_since, asked.if_unmodified_since] =
            saved;
        rc
    }
}

/// Writes the page in the format of the location, and the header that goes with it.
unsafe fn write(
    r: *mut ngx_http_request_t,
    autoindex: &Autoindex,
    object: &Object,
    page: &Page,
    out: &mut Vec<u8>,
) -> Option<()> {
    // SAFETY: r is a valid request; nginx's time is read in its own thread.
    unsafe {
        let headers = &mut (*r).headers_out;
        // In the place of an error (error_page), that is the status.
        headers.status = match (*r).err_status {
            0 => NGX_HTTP_OK as ngx_uint_t,
            status => status,
        };
        let (kind, utf_8): (ngx_str_t, bool) = match autoindex.format.evaluate(r).ok()?.as_bytes() {
            b"json" => {
                json::write(page, out);
                (ngx_string!("application/json"), false)
            }
            b"xml" => {
                xml::write(page, out);
                (ngx_string!("text/xml"), true)
            }
            _ => {
                let minutes = (*ngx_cached_time).gmtoff;
                let view = View {
                    uri: bytes((*r).uri),
                    is_root: is_root(r, object),
                    exact_size: autoindex.exact_size,
                    utc_offset: if autoindex.localtime { minutes as i64 * 60 } else { 0 },
                };
                html::write(page, &view, out);
                (ngx_string!("text/html"), true)
            }
        };
        (headers.content_type, headers.content_type_len) = (kind, kind.len);
        if utf_8 {
            headers.charset = ngx_string!("utf-8");
        }
        if let Some(name) = page.next() {
            let link = concat(r, [&link_header(name)]).ok()?;
            add(r, ngx_string!("Link"), link)?;
        }
    }
    Some(())
}
