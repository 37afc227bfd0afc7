//! Requests that wait for the first keys, as those of `proxy_cache_lock` do for an object.

use core::ffi::c_void;
use core::ptr;
use std::cell::RefCell;
use std::rc::Rc;

use ngx::core::Status;
use ngx::ffi::{
    ngx_event_t, ngx_handle_read_event, ngx_http_block_reading, ngx_http_cleanup_add,
    ngx_http_finalize_request, ngx_http_request_empty_handler, ngx_http_request_t,
    ngx_http_run_posted_requests, ngx_http_test_reading, ngx_int_t, ngx_msec_t, ngx_post_event,
    ngx_posted_events,
};

use crate::credentials::slot::State;
use crate::credentials::source::Source;
use crate::nginx::task::now;
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
        self.source.state() != State::Awaited || now().wrapping_sub(self.until) as isize >= 0
    }
}

/// Those of this worker, and the timer that looks for keys, made by the first that waits.
struct Queue {
    waiting: RefCell<Vec<Waiting>>,
    timer: RefCell<Option<Box<Timer>>>,
}

// SAFETY: only a worker's main thread runs this module's code.
unsafe impl Sync for Queue {}

static QUEUE: Queue = Queue { waiting: RefCell::new(Vec::new()), timer: RefCell::new(None) };

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
        if QUEUE.waiting.borrow().len() >= MOST {
            return None;
        }
        // To see a client that leaves.
        let read = (*(*r).connection).read;
        if (*read).ready() != 0 {
            ngx_post_event(read, ptr::addr_of_mut!(ngx_posted_events));
        } else if ngx_handle_read_event(read, 0) != Status::NGX_OK.into() {
            return None;
        }
        let cleanup = ngx_http_cleanup_add(r, 0).as_mut()?;
        cleanup.handler = Some(forget);
        cleanup.data = r.cast();
        let until = now().wrapping_add(source.wait);
        let waiting = Waiting { request: r, source: source.clone(), until, handler };
        QUEUE.waiting.borrow_mut().push(waiting);
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
    let mut timer = QUEUE.timer.borrow_mut();
    // SAFETY: the timer lives as long as the worker.
    unsafe { timer.get_or_insert_with(|| Timer::new(Some(look))).start(PAUSE) }
}

/// Lets go on whoever need not wait any more.
unsafe extern "C" fn look(_: *mut ngx_event_t) {
    loop {
        let Some(over) = take(Waiting::is_over) else { break };
        let r = over.request;
        // SAFETY: the request is one that waits, in no handler now. Others may leave the queue meanwhile.
        unsafe {
            let connection = (*r).connection;
            // As it was. Whether a client that leaves ends the request is what its location says again.
            (*r).read_event_handler = Some(ngx_http_block_reading);
            ngx_http_finalize_request(r, (over.handler)(r));
            ngx_http_run_posted_requests(connection);
        }
    }
    if !QUEUE.waiting.borrow().is_empty() {
        // SAFETY: as for the first.
        unsafe { start() };
    }
}

/// Forgets everyone, without waking anyone: at the end of a worker.
pub fn stop() {
    QUEUE.waiting.take();
    QUEUE.timer.take();
}

/// nginx's hook when it is done with a request, which may have left while it waited.
unsafe extern "C" fn forget(data: *mut c_void) {
    drop(take(|waiting| ptr::eq(waiting.request.cast(), data)));
}

/// Takes the first of a kind out of the queue.
fn take(which: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
    let mut queue = QUEUE.waiting.borrow_mut();
    let at = queue.iter().position(which)?;
    Some(queue.remove(at))
}
