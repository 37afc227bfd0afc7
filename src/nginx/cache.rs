//! What nginx's cache has stored.

use ngx::ffi::{ngx_http_request_t, ngx_shmtx_lock, ngx_shmtx_unlock, unlink};

/// Forgets what is stored under a request's key, so that nobody gets it as a stale response any more. Whoever is
/// sending it goes on.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn forget(r: *mut ngx_http_request_t) {
    // SAFETY: a request that is cached has a cache; its node is in shared memory, and counted, until that is freed.
    unsafe {
        let Some(cache) = (*r).cache.as_mut() else { return };
        let (Some(node), Some(file_cache)) = (cache.node.as_mut(), cache.file_cache.as_mut())
        else {
            return;
        };
        let mutex = &raw mut (*file_cache.shpool).mutex;
        ngx_shmtx_lock(mutex);
        let is_stored = node.exists() != 0;
        if is_stored {
            (*file_cache.sh).size -= node.fs_size;
            node.fs_size = 0;
            node.set_exists(0);
        }
        ngx_shmtx_unlock(mutex);
        if is_stored && !cache.file.name.data.is_null() {
            // A file that is gone already is as well.
            unlink(cache.file.name.data.cast());
        }
    }
}
