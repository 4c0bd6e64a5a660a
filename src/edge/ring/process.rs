//! Requests to the kernel and the allocator, most of which have no safe wrapper elsewhere.

#![allow(unsafe_code)]

use std::io;

/// Gives this thread a table of file descriptors of its own, a copy of the shared one. Descriptors opened from
/// now on belong to this thread alone; their numbers mean nothing to others.
///
/// # Errors
/// When the kernel or a seccomp filter forbids it.
pub fn own_descriptor_table() -> io::Result<()> {
    // SAFETY: descriptors owned by values on this thread stay open in the copy under the same numbers;
    // the caller sees to it that no descriptor is passed between threads afterwards.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES)? };
    Ok(())
}

/// Keeps the process's memory in small pages.
///
/// # Errors
/// When the kernel forbids it.
pub fn small_pages_only() -> io::Result<()> {
    // SAFETY: this option takes a number and no pointer, and changes only how later page faults are served.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether the kernel's clock is kept in step with another (adjtimex(2)).
///
/// # Errors
/// When the kernel or a seccomp filter does not tell.
pub fn clock_is_in_step() -> io::Result<bool> {
    // SAFETY: all bytes 0 are a value of this plain struct, and with `modes` 0 nothing is set.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole struct of this thread, which the kernel fills in before it returns.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(io::Error::last_os_error()),
        clock => Ok(clock != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0),
    }
}

/// Hands memory that this thread has freed back to the system. Takes as long as there is memory to hand back.
pub fn return_freed_memory() {
    // SAFETY: it concerns the calling thread's heap, which is valid as long as the thread runs, and only memory
    // that nobody holds.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Bytes that the allocator holds from the system. Zero where another allocator is in use.
#[must_use]
pub fn allocator_committed_bytes() -> u64 {
    let mut committed = 0_usize;
    let unwanted = std::ptr::null_mut;
    // SAFETY: each argument is a place for one number or null (mimalloc.h), and ours outlives the call.
    unsafe {
        libmimalloc_sys::mi_process_info(
            unwanted(),
            unwanted(),
            unwanted(),
            unwanted(),
            unwanted(),
            &raw mut committed,
            unwanted(),
            unwanted(),
        );
    }
    committed as u64
}

/// The kernel's number of the calling thread.
#[must_use]
pub fn this_thread() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}
