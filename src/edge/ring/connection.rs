//! A connection and what it received, as their task holds them.

#![allow(unsafe_code)]

use super::Ring;
use super::slot::Piece;
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::borrow::Cow;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What a connection received.
#[derive(Debug)]
pub enum Received {
    /// Some bytes.
    Chunk(Chunk),
    /// The peer will send nothing more.
    Ended,
    /// The connection is lost.
    Lost,
}

/// A connection, as its task holds it. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) ring: Rc<Ring>,
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Connection {
    /// Its slot and generation, for [`Ring::wake`].
    pub const fn key(&self) -> (u32, u32) {
        (self.index, self.generation)
    }

    /// Whether unread bytes have come, or the end.
    pub fn has_input(&self) -> bool {
        let inner = self.ring.inner.borrow();
        let slot = &inner.slots[self.index];
        !slot.queue.is_empty() || slot.ended
    }

    /// The next bytes. When there are none the task is woken once there are, or when [`Ring::wake`] is called.
    pub fn poll_receive(&self, context: &Context<'_>) -> Poll<Received> {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.slots[self.index];
        let Some(piece) = slot.queue.pop() else {
            if slot.ended {
                return Poll::Ready(if slot.failed {
                    Received::Lost
                } else {
                    Received::Ended
                });
            }
            slot.wait(context);
            slot.eager = true;
            inner.rearm(self.index);
            return Poll::Pending;
        };
        Poll::Ready(Received::Chunk(Chunk {
            ring: Rc::clone(&self.ring),
            piece: Some(piece),
        }))
    }

    /// Whoever polls now is woken when something comes, which stays unread, or when [`Ring::wake`] is called.
    pub fn attend(&self, context: &Context<'_>) {
        self.ring.inner.borrow_mut().slots[self.index].wait(context);
    }

    /// Whether the bytes given last are still on their way.
    pub fn is_sending(&self) -> bool {
        self.ring.inner.borrow().slots[self.index].sending
    }

    /// Whether nothing can be sent any more.
    pub fn is_lost(&self) -> bool {
        self.ring.inner.borrow().slots[self.index].failed
    }

    /// Whether the bytes given last have been sent. Only then may more be given.
    pub fn poll_sent(&self, context: &Context<'_>) -> Poll<Result<(), Lost>> {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.slots[self.index];
        if slot.failed {
            return Poll::Ready(Err(Lost));
        }
        if slot.sending {
            slot.wait(context);
            slot.flushing = true;
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends `bytes`.
    ///
    /// # Panics
    /// When the bytes given before have not been sent ([`Connection::poll_sent`]).
    pub fn send(&self, bytes: Cow<'static, [u8]>) {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.slots[self.index];
        assert!(
            !slot.sending,
            "one send at a time, or bytes the kernel reads would be freed"
        );
        if bytes.is_empty() || slot.failed {
            return;
        }
        slot.outgoing = bytes;
        slot.sent = 0;
        inner.send(self.index);
    }

    /// Sends the last bytes. The kernel may keep them until [`Connection::shut_down_sending`], so that they and the end leave
    /// in one segment.
    ///
    /// A system call of its own, since that one is too and must come later. What it does not take goes through the ring.
    ///
    /// # Panics
    /// When the bytes given before have not been sent ([`Connection::poll_sent`]).
    pub fn send_last(&self, bytes: Cow<'static, [u8]>) {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.slots[self.index];
        assert!(!slot.sending, "what was given before must leave before");
        let Some(socket) = slot.socket.as_ref().filter(|_| !slot.failed) else {
            return;
        };
        let flags = SendFlags::MORE | SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match rustix::net::send(socket, &bytes, flags) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => {
                (slot.failed, slot.ended) = (true, true);
                return;
            }
        };
        if sent < bytes.len() {
            // What the kernel has in its buffer for one connection is counted in `i32`.
            (slot.outgoing, slot.sent) = (bytes, sent as u32);
            inner.send(self.index);
        }
    }

    /// Tells the peer that nothing more will be sent.
    ///
    /// A system call of its own: the kernel hands the ring's own operation for this to a worker thread, which costs
    /// many times as much.
    pub fn shut_down_sending(&self) {
        let inner = self.ring.inner.borrow();
        if let Some(socket) = &inner.slots[self.index].socket {
            // A connection that is gone needs no farewell.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Write);
        }
    }
}

/// The connection is gone; nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl Drop for Connection {
    fn drop(&mut self) {
        let mut inner = self.ring.inner.borrow_mut();
        let mut unread = {
            let slot = &mut inner.slots[self.index];
            slot.abandoned = true;
            slot.forget_waker();
            std::mem::take(&mut slot.queue)
        };
        while let Some(piece) = unread.pop() {
            if let Piece::Buffer(buffer, length) = piece {
                inner.wipe(buffer, length);
            }
        }
        if inner.slots[self.index].sending
            && let Some(socket) = &inner.slots[self.index].socket
        {
            // A send to a peer that does not read would never complete: cut the connection.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
        inner.cancel_receive(self.index);
        inner.settle(self.index);
    }
}

/// Received bytes. Dropping them wipes them.
pub struct Chunk {
    ring: Rc<Ring>,
    pub(super) piece: Option<Piece>,
}

impl std::ops::Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.piece {
            // SAFETY: the buffer is out and only this chunk holds it; the pool's memory lives as long as
            // the ring, which the chunk keeps alive.
            Some(Piece::Buffer(buffer, length)) => unsafe {
                &*self.ring.inner.borrow().pool.bytes(*buffer, *length)
            },
            Some(Piece::Copied(bytes)) => bytes,
            None => &[],
        }
    }
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(Piece::Buffer(buffer, length)) = self.piece.take() {
            self.ring.inner.borrow_mut().wipe(buffer, length);
        }
    }
}
