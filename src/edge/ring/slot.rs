//! What the ring keeps for one connection.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::os::fd::OwnedFd;
use std::task::{Context, Waker};

/// Received bytes that nobody has read.
#[derive(Debug)]
pub(super) enum Piece {
    /// They lie in a receive buffer: its number, and how many.
    Buffer(u16, u32),
    /// They were moved, because buffers were scarce.
    Copied(Box<[u8]>),
}

/// Unread pieces in order. The usual one lies in the slot itself, so that an idle connection that has
/// received something holds no memory for having done so.
#[derive(Debug, Default)]
pub(super) struct Queue {
    first: Option<Piece>,
    #[expect(clippy::box_collection, reason = "hardly anybody has more than one")]
    rest: Option<Box<VecDeque<Piece>>>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn push(&mut self, piece: Piece) {
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.rest.get_or_insert_default().push_back(piece);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Piece> {
        let next = self.rest.as_mut().and_then(|rest| rest.pop_front());
        if next.is_none() {
            self.rest = None;
        }
        std::mem::replace(&mut self.first, next)
    }
}

/// Where the connection's receive operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// In the kernel.
    Armed,
    /// In the kernel, and asked to end.
    Cancelling,
    /// Nowhere.
    Idle,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) socket: Option<OwnedFd>,
    pub(super) generation: u32,
    /// Operations in the kernel.
    pub(super) pending: u32,
    pub(super) receiving: Receiving,
    /// Nothing more will be received.
    pub(super) ended: bool,
    /// The connection is lost.
    pub(super) failed: bool,
    /// Its task has let go of it: close when nothing is pending.
    pub(super) abandoned: bool,
    /// A send is in the kernel, and `outgoing` must not be touched.
    pub(super) sending: bool,
    pub(super) outgoing: Cow<'static, [u8]>,
    /// How much of it the kernel has taken.
    pub(super) sent: u32,
    pub(super) queue: Queue,
    /// Its task waits for input, and will take at once what comes.
    pub(super) eager: bool,
    /// Its task waits until what it gave has been sent. Most do not, and are not woken for it.
    pub(super) flushing: bool,
    waker: Option<Waker>,
}

impl Slot {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket: Some(socket),
            generation: 0,
            pending: 0,
            receiving: Receiving::Idle,
            ended: false,
            failed: false,
            abandoned: false,
            sending: false,
            sent: 0,
            outgoing: Cow::Borrowed(&[]),
            queue: Queue::default(),
            eager: false,
            flushing: false,
            waker: None,
        }
    }

    /// How much will be unsent when the kernel has taken so much more.
    pub(super) fn left_after(&self, more: u32) -> usize {
        let sent = self.sent as usize + more as usize;
        self.outgoing.len().saturating_sub(sent)
    }

    /// Puts a new connection into a free slot.
    pub(super) fn open(&mut self, socket: OwnedFd) {
        debug_assert!(self.socket.is_none() && self.pending == 0);
        let generation = self.generation;
        *self = Self::new(socket);
        self.generation = generation;
    }

    /// The connection is closed and nothing is under way: from here on its completions would be somebody else's.
    pub(super) fn vacate(&mut self) {
        self.generation = (self.generation + 1) % super::tag::GENERATIONS;
        self.abandoned = false;
    }

    /// Whoever polls now is woken when something changes.
    pub(super) fn wait(&mut self, context: &Context<'_>) {
        if !self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            self.waker = Some(context.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    pub(super) fn forget_waker(&mut self) {
        self.waker = None;
    }
}

/// Slots of a page.
const PAGE: u32 = 256;

/// All slots of a ring, by number. A page stays where it is when more come: with one long row each doubling would copy all that
/// are in use, and keep as many more that are not.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pages: Vec<Vec<Slot>>,
    len: u32,
}

impl Slots {
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn push(&mut self, slot: Slot) -> u32 {
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(Vec::with_capacity(PAGE as usize));
        }
        let index = self.len;
        self.pages[(index / PAGE) as usize].push(slot);
        self.len = index
            .checked_add(1)
            .unwrap_or_else(|| unreachable!("descriptors run out long before four billion"));
        index
    }

    pub(super) fn get(&self, index: u32) -> Option<&Slot> {
        let page = self.pages.get((index / PAGE) as usize)?;
        page.get((index % PAGE) as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Slot> {
        let page = self.pages.get_mut((index / PAGE) as usize)?;
        page.get_mut((index % PAGE) as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.pages.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.pages.iter_mut().flatten()
    }
}

impl Index<u32> for Slots {
    type Output = Slot;

    fn index(&self, index: u32) -> &Slot {
        &self.pages[(index / PAGE) as usize][(index % PAGE) as usize]
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.pages[(index / PAGE) as usize][(index % PAGE) as usize]
    }
}
