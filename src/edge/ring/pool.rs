//! The buffers that the kernel receives into.
//!
//! The kernel takes a buffer from a ring of descriptors when bytes have come for any connection,
//! so a connection that has nothing to read holds none.
//!
//! **Invariant.** Each buffer is at any time in exactly one place: in the kernel's ring, or out
//! with whoever got it from a completion. [`Pool::give`] is called once for each time that a
//! completion named the buffer. Only who holds a buffer touches its bytes.

#![allow(unsafe_code)]

use io_uring::{IoUring, types::BufRingEntry};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Size of one buffer. Price: times `server.receive_buffers`, for each core.
pub(crate) const BUFFER_BYTES: usize = 8 << 10;

/// The kernel's name for the pool. There is one in each ring.
pub(super) const GROUP: u16 = 0;

const PAGE_BYTES: usize = 4096;

pub(super) struct Pool {
    ring: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    entries: u16,
    tail: u16,
    /// Buffers that are out.
    out: u16,
    /// Set once the kernel may write to the memory.
    registered: bool,
}

impl Pool {
    /// Allocates `entries` buffers and hands them to the kernel.
    pub(super) fn register(ring: &IoUring, entries: u16) -> io::Result<Self> {
        debug_assert!(entries.is_power_of_two());
        let mut pool = Self {
            ring: allocate(ring_layout(entries))?.cast(),
            memory: allocate(memory_layout(entries))?,
            entries,
            tail: 0,
            out: entries,
            registered: false,
        };
        let address = pool.ring.as_ptr() as u64;
        // SAFETY: the descriptor ring is page-aligned, has room for `entries` descriptors, and
        // lives until `Pool` is dropped, which the owner does after the io_uring is gone.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, entries, GROUP, 0)?;
        }
        pool.registered = true;
        for buffer in 0..entries {
            pool.give(buffer);
        }
        Ok(pool)
    }

    /// Buffers that the kernel has left to fill.
    pub(super) const fn left(&self) -> u16 {
        self.entries - self.out
    }

    pub(super) const fn entries(&self) -> u16 {
        self.entries
    }

    /// A completion named a buffer: it is out now.
    pub(super) fn took(&mut self) {
        debug_assert!(self.out < self.entries, "more buffers out than there are");
        self.out += 1;
    }

    /// The first `len` bytes of a buffer that is out.
    pub(super) fn bytes(&self, buffer: u16, len: u32) -> *mut [u8] {
        let len = len as usize;
        assert!(buffer < self.entries && len <= BUFFER_BYTES);
        // SAFETY: the offset stays inside the allocation, by the assertion.
        let start = unsafe { self.memory.as_ptr().add(usize::from(buffer) * BUFFER_BYTES) };
        std::ptr::slice_from_raw_parts_mut(start, len)
    }

    /// Hands a buffer that is out back to the kernel.
    pub(super) fn give(&mut self, buffer: u16) {
        debug_assert!(self.out > 0, "a buffer came back twice");
        let start = self.bytes(buffer, BUFFER_BYTES as u32).cast::<u8>() as u64;
        let place = usize::from(self.tail & (self.entries - 1));
        // SAFETY: `place` is inside the ring. The kernel reads descriptors only below the tail,
        // and this one is published by the release store afterwards.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(place);
            entry.set_addr(start);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        self.out -= 1;
        // SAFETY: the tail lies in the first descriptor, aligned for a u16, and is shared with the
        // kernel, which reads it atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// The kernel may still write to the buffers: they must never be used for anything else.
    pub(super) fn abandon(&mut self) {
        self.entries = 0;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.entries == 0 {
            return;
        }
        // SAFETY: both were allocated with these layouts, and the owner drops the pool only when the
        // kernel has let go of it (else it was abandoned).
        unsafe {
            dealloc(self.ring.as_ptr().cast(), ring_layout(self.entries));
            dealloc(self.memory.as_ptr(), memory_layout(self.entries));
        }
    }
}

fn ring_layout(entries: u16) -> Layout {
    layout(usize::from(entries) * size_of::<BufRingEntry>())
}

fn memory_layout(entries: u16) -> Layout {
    layout(usize::from(entries) * BUFFER_BYTES)
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, PAGE_BYTES)
        .unwrap_or_else(|_| unreachable!("32,768 buffers of 8 KiB fit the address space"))
}

fn allocate(layout: Layout) -> io::Result<NonNull<u8>> {
    // SAFETY: the layout has a size above zero, as there is at least one entry.
    NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
