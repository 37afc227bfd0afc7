//! Requests that wait for the first keys, as those of `proxy_cache_lock` do for an object.

use core::ffi::c_void;
use core::ptr;
use std::cell::RefCell;
use std::rc::Rc;

use ngx::core::Status;
use ngx::ffi::{
    ngx_current_msec, ngx_event_t, ngx_http_cleanup_add, ngx_http_finalize_request,
    ngx_http_request_empty_handler, ngx_http_request_t, ngx_http_run_posted_requests,
    ngx_http_test_reading, ngx_int_t, ngx_msec_t,
};

use crate::credentials::slot::State;
use crate::credentials::source::Source;
use crate::nginx::timer::Timer;
use crate::nginx::Handler;

/// How many requests of a worker wait at most.
const MOST: usize = 1024;
/// How often is looked whether the keys are there, in milliseconds.
const PAUSE: ngx_msec_t = 25;

/// A request that waits.
struct Waiting {
    request: *mut ngx_http_request_t,
    source: Rc<Source>,
    /// When it goes on in any case.
    until: ngx_msec_t,
    /// What it goes on with.
    handler: Handler,
}

impl Waiting {
    fn is_over(&self) -> bool {
        // SAFETY: nginx's time is read in its own thread.
        let now = unsafe { ngx_current_msec };
        self.source.state() != State::Awaited
            || now.wrapping_sub(self.until) as isize >= 0
    }
}

thread_local! {
    /// Those of this worker.
    static QUEUE: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    /// Looks for keys; made by the first that waits.
    static TIMER: RefCell<Option<Box<Timer>>> = const { RefCell::new(None) };
}

/// Lets a request wait for the first keys of a source, unless they are there, or cannot be expected. Then
/// `handler` goes on with it. Returns what its content handler is to return if it waits.
///
/// # Safety
/// `r` is a valid request in its content handler.
pub unsafe fn wait(
    r: *mut ngx_http_request_t,
    source: &Rc<Source>,
    handler: Handler,
) -> Option<ngx_int_t> {
    if source.state() != State::Awaited || source.wait == 0 {
        return None;
    }
    // SAFETY: r is a valid request; forget() takes it out of the queue before it is freed.
    unsafe {
        if QUEUE.with_borrow(Vec::len) >= MOST {
            return None;
        }
        let cleanup = ngx_http_cleanup_add(r, 0).as_mut()?;
        cleanup.handler = Some(forget);
        cleanup.data = r.cast();
        let until = ngx_current_msec.wrapping_add(source.wait);
        let waiting = Waiting { request: r, source: source.clone(), until, handler };
        QUEUE.with_borrow_mut(|queue| queue.push(waiting));
        start();

        // The request is held by one more, as a content handler's that is not done.
        let main = &mut *(*r).main;
        main.set_count(main.count() + 1);
        (*r).read_event_handler = Some(ngx_http_test_reading);
        (*r).write_event_handler = Some(ngx_http_request_empty_handler);
    }
    Some(Status::NGX_DONE.into())
}

/// Has nginx look again in a while.
unsafe fn start() {
    TIMER.with_borrow_mut(|timer| {
        // SAFETY: the timer lives as long as the thread, which is the worker's.
        unsafe { timer.get_or_insert_with(|| Timer::new(Some(look))).start(PAUSE) }
    });
}

/// Lets go on whoever need not wait any more.
unsafe extern "C" fn look(_: *mut ngx_event_t) {
    loop {
        let over = QUEUE.with_borrow_mut(|queue| {
            let at = queue.iter().position(Waiting::is_over)?;
            Some(queue.remove(at))
        });
        let Some(over) = over else { break };
        let r = over.request;
        // SAFETY: the request is one that waits, in no handler now. Others may leave the queue meanwhile.
        unsafe {
            let connection = (*r).connection;
            ngx_http_finalize_request(r, (over.handler)(r));
            ngx_http_run_posted_requests(connection);
        }
    }
    if !QUEUE.with_borrow(Vec::is_empty) {
        // SAFETY: as for the first.
        unsafe { start() };
    }
}

/// nginx's hook when it is done with a request, which may have left while it waited.
unsafe extern "C" fn forget(data: *mut c_void) {
    let left = QUEUE.with_borrow_mut(|queue| {
        let at = queue.iter().position(|waiting| ptr::eq(waiting.request.cast(), data))?;
        Some(queue.remove(at))
    });
    drop(left);
}
