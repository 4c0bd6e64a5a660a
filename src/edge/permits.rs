//! A bound on how many of one core's tasks do something at a time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Permits of one core. Who comes first is served first.
#[derive(Debug)]
pub struct Permits {
    limit: Cell<u32>,
    out: Cell<u32>,
    /// Those who wait; who gave up leaves an empty place.
    waiting: RefCell<VecDeque<Rc<Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    waker: RefCell<Option<Waker>>,
    granted: Cell<bool>,
    gone: Cell<bool>,
}

/// A permit, or a place in the queue for one. Dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    permits: Rc<Permits>,
    place: Rc<Waiting>,
}

impl Permits {
    /// At most `limit` at a time.
    pub fn new(limit: u32) -> Self {
        Self {
            limit: Cell::new(limit),
            out: Cell::new(0),
            waiting: RefCell::default(),
        }
    }

    /// Changes the limit.
    pub fn set_limit(&self, limit: u32) {
        self.limit.set(limit);
        self.let_in();
    }

    /// Takes a permit or queues for one; see [`Permit::poll`].
    pub fn request(self: &Rc<Self>) -> Permit {
        let place = Rc::new(Waiting::default());
        self.waiting.borrow_mut().push_back(Rc::clone(&place));
        self.let_in();
        Permit {
            permits: Rc::clone(self),
            place,
        }
    }

    fn let_in(&self) {
        while self.out.get() < self.limit.get() {
            let Some(next) = self.waiting.borrow_mut().pop_front() else {
                return;
            };
            if next.gone.get() {
                continue;
            }
            next.granted.set(true);
            self.out.set(self.out.get() + 1);
            if let Some(waker) = next.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

impl Permit {
    /// Whether the permit is granted; if not, the task is woken when it is.
    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.place.granted.get() {
            return Poll::Ready(());
        }
        self.place.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.place.gone.set(true);
        if self.place.granted.get() {
            self.permits.out.set(self.permits.out.get() - 1);
            self.permits.let_in();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_go_out_in_order_and_come_back() {
        let permits = Rc::new(Permits::new(1));
        let context = Context::from_waker(Waker::noop());
        let first = permits.request();
        let gives_up = permits.request();
        let third = permits.request();
        assert!(first.poll(&context).is_ready());
        assert!(third.poll(&context).is_pending());
        drop(gives_up);
        drop(first);
        assert!(third.poll(&context).is_ready());
        drop(third);
        assert_eq!(permits.out.get(), 0);
    }
}
