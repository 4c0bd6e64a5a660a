//! The core's own io_uring ring: the one room with unsafe code.
//!
//! # What must hold
//!
//! 1. **What the kernel was given stays the ring's until its completion has come.** A send owns its
//!    bytes: they lie in the connection's slot, untouched, until the send's completion.
//! 2. **A slot is used again only when nothing is under way for it**: its `pending` count is zero
//!    and its descriptor is closed. `pending` rises with each operation handed to the kernel and
//!    falls with each final completion.
//! 3. **A late completion cannot touch the next connection**: each completion's tag carries the
//!    slot's generation, and one that does not match is counted and dropped. By 2 there is none.
//! 4. **Each receive buffer is in one place** (see `pool`): a completion moves it out of the
//!    kernel's hands into the slot's queue, from there into a [`Chunk`], and the chunk's drop wipes it
//!    and gives it back.
//! 5. **The pool is nobody's own.** A connection may hold `QUEUE_MAX` (4) unread pieces; beyond that
//!    its receive is cancelled until it has read (what the kernel delivers in one go, 32 pieces at most, still comes). When fewer than half of the buffers are left, unread pieces
//!    move to memory of their own.
//! 6. **The ring outlives what it gave.** When it is dropped it cancels everything, waits for the
//!    completions, and leaks the memory that the kernel has not let go of.
//!
//! The interface is safe: [`Ring::turn`], [`Ring::listen`], [`Ring::attach_bell`], [`Ring::adopt`], and the verbs of
//! [`Connection`].

#![allow(unsafe_code)]

mod connection;
mod pool;
pub mod process;
mod slot;
mod tag;
#[cfg(test)]
mod tests;

pub use connection::{Chunk, Connection, Lost, Received};
use io_uring::{IoUring, cqueue, opcode, squeue, types};

use pool::Pool;
use slot::{Piece, Receiving, Slot, Slots};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tag::{Operation, Tag};

/// Unread pieces that one connection may hold before its receive is cancelled.
const QUEUE_MAX: usize = 4;

/// Submission entries. A turn that needs more submits in between.
const SUBMISSIONS: u32 = 4096;

/// Completion entries. The kernel keeps what does not fit, more slowly.
const COMPLETIONS: u32 = 16_384;

/// How long a dropped ring waits for the kernel to let go.
const LET_GO: Duration = Duration::from_millis(100);

/// What a turn brought that is not a connection's own business.
#[derive(Debug, Default)]
pub struct Turn {
    /// New connections, with the number of the listener they came to.
    pub accepted: Vec<(u32, OwnedFd)>,
    /// Listeners whose accepting ended with an error; [`Ring::accept_again`] takes it up again.
    pub accept_failed: Vec<(u32, io::Error)>,
    /// Whether the bell rang.
    pub bell: bool,
    /// Completions handled.
    pub completions: usize,
}

/// A core's ring. See the module's text.
pub struct Ring {
    inner: RefCell<Inner>,
    exhausted: Cell<u64>,
}

struct Inner {
    // Dropped in this order: the ring first, then what it pointed to.
    uring: IoUring,
    pool: Pool,
    slots: Slots,
    free: Vec<u32>,
    listeners: Vec<Option<OwnedFd>>,
    /// Slots whose receive ended because the pool was empty.
    starved: Vec<(u32, u32)>,
    completions: Vec<(u64, i32, u32)>,
    /// Operations in the kernel that do not belong to a slot.
    pending: usize,
}

impl Ring {
    /// A ring with `buffers` receive buffers, a power of two. Must be made on the thread that will use it.
    ///
    /// # Errors
    /// What the kernel says when it forbids io_uring or lacks a feature (Linux 6.1 has all).
    pub fn new(buffers: u16) -> io::Result<Rc<Self>> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let pool = Pool::register(&uring, buffers)?;
        Ok(Rc::new(Self {
            inner: RefCell::new(Inner {
                uring,
                pool,
                slots: Slots::default(),
                free: Vec::new(),
                listeners: Vec::new(),
                starved: Vec::new(),
                completions: Vec::new(),
                pending: 0,
            }),
            exhausted: Cell::new(0),
        }))
    }

    /// Starts accepting from a listening socket; returns the listener's number.
    ///
    /// # Panics
    /// When there are more than four billion listeners.
    pub fn listen(&self, listener: OwnedFd) -> u32 {
        let mut inner = self.inner.borrow_mut();
        let number = u32::try_from(inner.listeners.len())
            .unwrap_or_else(|_| unreachable!("listeners are named in a config file"));
        inner.listeners.push(Some(listener));
        inner.accept(number);
        number
    }

    /// Takes accepting up again after [`Turn::accept_failed`].
    pub fn accept_again(&self, listener: u32) {
        self.inner.borrow_mut().accept(listener);
    }

    /// Closes every listening socket. What waits in their queues is refused by the kernel.
    pub fn close_listeners(&self) {
        let mut inner = self.inner.borrow_mut();
        for number in 0..inner.listeners.len() {
            if inner.listeners[number].take().is_some() {
                let accept = Tag {
                    operation: Operation::Accept,
                    generation: 0,
                    index: number as u32,
                };
                inner.cancel(
                    accept,
                    Tag {
                        operation: Operation::Cancel,
                        generation: 0,
                        index: u32::MAX,
                    },
                );
                inner.pending += 1;
            }
        }
    }

    /// From now on a turn ends when this eventfd is written to. The caller keeps it open as long as the ring lives.
    pub fn attach_bell(&self, bell: BorrowedFd<'_>) {
        self.inner.borrow_mut().watch_bell(bell.as_raw_fd());
    }

    /// Makes a connected socket a connection of this ring and starts to receive from it.
    pub fn adopt(self: &Rc<Self>, socket: OwnedFd) -> Connection {
        let mut inner = self.inner.borrow_mut();
        let index = inner.take_slot(socket);
        inner.receive(index);
        Connection {
            ring: Rc::clone(self),
            index,
            generation: inner.slots[index].generation,
        }
    }

    /// Connections whose slots are in use, closing ones included.
    pub fn connections(&self) -> usize {
        let inner = self.inner.borrow();
        inner.slots.len() as usize - inner.free.len()
    }

    /// Receive buffers that nobody holds.
    #[cfg(test)]
    pub(in crate::edge) fn buffers_left(&self) -> u16 {
        self.inner.borrow().pool.left()
    }

    /// How often the pool of receive buffers has run dry.
    pub fn exhausted(&self) -> u64 {
        self.exhausted.get()
    }

    /// Submits what was asked for, waits up to `patience` for a completion, and hands out what came:
    /// connections' tasks are woken, the rest stands in `turn`.
    ///
    /// # Errors
    /// When the ring itself fails; nothing can go on then.
    pub fn turn(&self, patience: Duration, turn: &mut Turn) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        inner.feed_starved();
        inner.enter(patience)?;
        let mut completions = std::mem::take(&mut inner.completions);
        completions.clear();
        completions.extend(
            inner
                .uring
                .completion()
                .map(|entry| (entry.user_data(), entry.result(), entry.flags())),
        );
        turn.completions = completions.len();
        for &(word, result, flags) in &completions {
            let Some(tag) = Tag::unpack(word) else {
                continue;
            };
            match tag.operation {
                Operation::Accept => inner.accepted(tag.index, result, flags, turn),
                Operation::Bell => inner.bell(tag.index, flags, turn),
                Operation::Cancel if tag.index == u32::MAX => inner.pending -= 1,
                _ => {
                    if result == -libc::ENOBUFS {
                        self.exhausted.set(self.exhausted.get() + 1);
                    }
                    inner.connection(tag, result, flags);
                }
            }
        }
        inner.completions = completions;
        Ok(())
    }

    /// Wakes the tasks of all connections.
    pub fn wake_all(&self) {
        for slot in self.inner.borrow().slots.iter() {
            slot.wake();
        }
    }

    /// Wakes the tasks of `count` connections from place `first` on; says where to go on, if there are more.
    pub fn wake_some(&self, first: u32, count: u32) -> Option<u32> {
        let slots = &self.inner.borrow().slots;
        let next = slots.len().min(first.saturating_add(count));
        for slot in (first..next).filter_map(|index| slots.get(index)) {
            slot.wake();
        }
        (next < slots.len()).then_some(next)
    }

    /// Wakes the task of a connection, if it is still the same connection.
    pub fn wake(&self, index: u32, generation: u32) {
        let inner = self.inner.borrow();
        if let Some(slot) = inner.slots.get(index)
            && slot.generation == generation
        {
            slot.wake();
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring(..)")
    }
}

impl Inner {
    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: whatever the entry points to (a send's bytes, a descriptor) is owned by this ring
        // until the operation's completion: invariants 1 and 2 of the module.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            // The queue is full: hand it to the kernel. Should that fail for want of memory, try again;
            // an operation that is silently lost would hang its connection for ever.
            let _ = self.uring.submit();
        }
    }

    fn enter(&self, patience: Duration) -> io::Result<()> {
        let patience = types::Timespec::from(patience);
        let arguments = types::SubmitArgs::new().timespec(&patience);
        match self.uring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Nothing came in time; a signal came; completions must be taken before more is submitted.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn accept(&mut self, listener: u32) {
        let Some(Some(socket)) = self.listeners.get(listener as usize) else {
            return;
        };
        let tag = Tag {
            operation: Operation::Accept,
            generation: 0,
            index: listener,
        };
        let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(tag.pack());
        self.push(&entry);
        self.pending += 1;
    }

    fn accepted(&mut self, listener: u32, result: i32, flags: u32, turn: &mut Turn) {
        if result >= 0 {
            // SAFETY: a successful accept returned this descriptor; nobody else owns it.
            let socket = unsafe { OwnedFd::from_raw_fd(result) };
            turn.accepted.push((listener, socket));
        }
        if cqueue::more(flags) {
            return;
        }
        self.pending -= 1;
        if result >= 0 {
            self.accept(listener);
        } else if result != -libc::ECANCELED {
            turn.accept_failed
                .push((listener, io::Error::from_raw_os_error(-result)));
        }
    }

    fn watch_bell(&mut self, bell: i32) {
        let tag = Tag {
            operation: Operation::Bell,
            generation: 0,
            index: bell as u32,
        };
        let entry = opcode::PollAdd::new(types::Fd(bell), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(tag.pack());
        self.push(&entry);
        self.pending += 1;
    }

    fn bell(&mut self, bell: u32, flags: u32, turn: &mut Turn) {
        turn.bell = true;
        if !cqueue::more(flags) {
            self.pending -= 1;
            self.watch_bell(bell as i32);
        }
    }

    fn take_slot(&mut self, socket: OwnedFd) -> u32 {
        if let Some(index) = self.free.pop() {
            self.slots[index].open(socket);
            return index;
        }
        self.slots.push(Slot::new(socket))
    }

    /// Arms a multishot receive.
    fn receive(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        debug_assert_eq!(slot.receiving, Receiving::Idle);
        let Some(socket) = &slot.socket else { return };
        let tag = Tag {
            operation: Operation::Receive,
            generation: slot.generation,
            index,
        };
        let entry = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), pool::GROUP)
            .build()
            .user_data(tag.pack());
        slot.receiving = Receiving::Armed;
        slot.pending += 1;
        self.push(&entry);
    }

    /// Ends an armed receive; its last completion will say so.
    fn cancel_receive(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        if slot.receiving != Receiving::Armed {
            return;
        }
        slot.receiving = Receiving::Cancelling;
        slot.pending += 1;
        let generation = slot.generation;
        self.cancel(
            Tag {
                operation: Operation::Receive,
                generation,
                index,
            },
            Tag {
                operation: Operation::Cancel,
                generation,
                index,
            },
        );
    }

    fn cancel(&mut self, target: Tag, tag: Tag) {
        let entry = opcode::AsyncCancel::new(target.pack())
            .build()
            .user_data(tag.pack());
        self.push(&entry);
    }

    /// Hands the unsent rest of a slot's bytes to the kernel.
    fn send(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        let Some(socket) = &slot.socket else { return };
        let rest = &slot.outgoing[slot.sent as usize..];
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let tag = Tag {
            operation: Operation::Send,
            generation: slot.generation,
            index,
        };
        let entry = opcode::Send::new(types::Fd(socket.as_raw_fd()), rest.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(tag.pack());
        slot.sending = true;
        slot.pending += 1;
        self.push(&entry);
    }

    /// A completion that belongs to a connection.
    fn connection(&mut self, tag: Tag, result: i32, flags: u32) {
        let Some(slot) = self.slots.get_mut(tag.index) else {
            return;
        };
        if slot.generation != tag.generation {
            debug_assert!(false, "a completion came for a slot that was used again");
            return;
        }
        match tag.operation {
            Operation::Receive => self.received(tag.index, result, flags),
            Operation::Send => self.sent(tag.index, result),
            Operation::Close | Operation::Cancel => slot.pending -= 1,
            Operation::Accept | Operation::Bell => {}
        }
        self.settle(tag.index);
    }

    fn received(&mut self, index: u32, result: i32, flags: u32) {
        let buffer = cqueue::buffer_select(flags);
        if buffer.is_some() {
            self.pool.took();
        }
        let scarce = self.pool.left() < self.pool.entries() / 2;
        let slot = &mut self.slots[index];
        let last = !cqueue::more(flags);
        if last {
            slot.pending -= 1;
            slot.receiving = Receiving::Idle;
        }
        let length = u32::try_from(result).unwrap_or(0);
        if let Some(buffer) = buffer {
            if length == 0 || slot.abandoned {
                self.wipe(buffer, length);
            } else if scarce && !slot.eager {
                // SAFETY: the completion put the buffer into our hands, with this many bytes filled.
                let copy = Box::from(unsafe { &*self.pool.bytes(buffer, length) });
                slot.queue.push(Piece::Copied(copy));
                self.wipe(buffer, length);
            } else {
                slot.queue.push(Piece::Buffer(buffer, length));
            }
        }
        let slot = &mut self.slots[index];
        match -result {
            ..=-1 => {}
            0 => slot.ended = true,
            libc::ENOBUFS => self.starved.push((index, slot.generation)),
            // A cancelled receive is armed again when its queue is empty (the task is woken and asks).
            libc::ECANCELED => {}
            _ => {
                slot.ended = true;
                slot.failed = true;
            }
        }
        if std::mem::take(&mut slot.eager) {
            slot.wake();
        }
        if slot.queue.len() >= QUEUE_MAX {
            self.cancel_receive(index);
        } else if last && result > 0 {
            self.rearm(index);
        }
    }

    /// Arms the receive of a connection that wants more and has none armed.
    fn rearm(&mut self, index: u32) {
        let slot = &self.slots[index];
        if slot.receiving == Receiving::Idle
            && !slot.ended
            && !slot.abandoned
            && slot.queue.is_empty()
        {
            self.receive(index);
        }
    }

    fn sent(&mut self, index: u32, result: i32) {
        let slot = &mut self.slots[index];
        slot.pending -= 1;
        slot.sending = false;
        match u32::try_from(result) {
            Ok(length) if slot.left_after(length) == 0 => {}
            Ok(length) if length > 0 && !slot.abandoned => {
                slot.sent += length;
                self.send(index);
                return;
            }
            // What cannot be written to is not worth reading from.
            _ => {
                slot.failed = true;
                slot.ended = true;
                slot.flushing = true;
            }
        }
        slot.outgoing = Cow::Borrowed(&[]);
        slot.sent = 0;
        if std::mem::take(&mut slot.flushing) {
            slot.wake();
        }
    }

    /// Closes an abandoned connection once nothing is under way, and frees its slot once it is closed.
    fn settle(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        if !slot.abandoned || slot.pending > 0 {
            return;
        }
        if let Some(socket) = slot.socket.take() {
            let tag = Tag {
                operation: Operation::Close,
                generation: slot.generation,
                index,
            };
            let entry = opcode::Close::new(types::Fd(std::os::fd::IntoRawFd::into_raw_fd(socket)))
                .build()
                .user_data(tag.pack());
            slot.pending += 1;
            self.push(&entry);
        } else {
            slot.vacate();
            self.free.push(index);
        }
    }

    /// Wipes what was received into a buffer and gives it back.
    fn wipe(&mut self, buffer: u16, length: u32) {
        // SAFETY: the buffer is out and held by the caller alone.
        unsafe { &mut *self.pool.bytes(buffer, length) }.fill(0);
        self.pool.give(buffer);
    }

    /// Arms receives that ended for want of buffers, as far as buffers are there now.
    fn feed_starved(&mut self) {
        for _ in 0..self.starved.len().min(usize::from(self.pool.left())) {
            let Some((index, generation)) = self.starved.pop() else {
                return;
            };
            if self.slots[index].generation == generation {
                self.rearm(index);
            }
        }
    }

    fn quiet(&self) -> bool {
        self.pending == 0 && self.slots.iter().all(|slot| slot.pending == 0)
    }
}

impl Drop for Inner {
    /// Cancels everything and waits until the kernel has let go; what it has not let go of is leaked.
    fn drop(&mut self) {
        if !self.quiet() {
            let everything = types::CancelBuilder::any();
            let _ = self.uring.submit();
            let _ = self
                .uring
                .submitter()
                .register_sync_cancel(Some(types::Timespec::from(LET_GO)), everything);
            let _ = self.enter(Duration::from_millis(1));
            let finals: Vec<_> = self
                .uring
                .completion()
                .map(|entry| (entry.user_data(), entry.result(), entry.flags()))
                .collect();
            for (word, result, flags) in finals {
                self.take_back(word, result, flags);
            }
        }
        if !self.quiet() {
            self.pool.abandon();
            for slot in self.slots.iter_mut() {
                std::mem::forget(std::mem::take(&mut slot.outgoing));
            }
        }
    }
}

impl Inner {
    /// A completion that comes while the ring is being dropped.
    fn take_back(&mut self, word: u64, result: i32, flags: u32) {
        let Some(tag) = Tag::unpack(word) else { return };
        if let (Operation::Accept, Ok(_)) = (tag.operation, u32::try_from(result)) {
            // SAFETY: a successful accept returned this descriptor; it is closed here.
            drop(unsafe { OwnedFd::from_raw_fd(result) });
        }
        if cqueue::more(flags) {
            return;
        }
        match tag.operation {
            Operation::Accept | Operation::Bell => self.pending -= 1,
            Operation::Cancel if tag.index == u32::MAX => self.pending -= 1,
            _ => {
                if let Some(slot) = self.slots.get_mut(tag.index) {
                    slot.pending -= 1;
                }
            }
        }
    }
}
