//! Questions that tasks of this core have asked other cores, and the answers that came.

use super::arranging::Arranged;
use super::inbox::Ticket;
use crate::clock::Instant;
use crate::smtp::Reply;
use crate::store::{Lease, Unavailable};
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What another core answered.
#[derive(Debug)]
pub enum Answer {
    /// To a request for a place.
    Leased(Result<Lease, Unavailable>),
    /// To a message that a helper had.
    Arranged(Result<Arranged, Reply>),
    /// To a delivery: stored, and kept until then.
    Delivered(Instant),
}

/// The open questions of one core.
#[derive(Debug, Default)]
pub struct Questions {
    open: RefCell<Vec<Place>>,
    free: RefCell<Vec<u32>>,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    waker: Option<Waker>,
    answer: Option<Answer>,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Question {
    questions: Rc<Questions>,
    index: u32,
    generation: u32,
}

impl Questions {
    /// Opens a question.
    pub fn open(self: &Rc<Self>) -> Question {
        let mut open = self.open.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            open.push(Place::default());
            u32::try_from(open.len() - 1)
                .unwrap_or_else(|_| unreachable!("each session has one question at a time"))
        });
        Question {
            generation: open[index as usize].generation,
            questions: Rc::clone(self),
            index,
        }
    }

    /// Hands an answer to its question and wakes who asked; gives it back when nobody waits any more.
    ///
    /// # Errors
    /// The answer itself.
    pub fn answer(&self, ticket: Ticket, answer: Answer) -> Result<(), Answer> {
        let (index, generation) = (ticket.0 as u32, (ticket.0 >> 32) as u32);
        let mut open = self.open.borrow_mut();
        match open.get_mut(index as usize) {
            Some(place) if place.generation == generation => {
                place.answer = Some(answer);
                if let Some(waker) = place.waker.take() {
                    waker.wake();
                }
                Ok(())
            }
            _ => Err(answer),
        }
    }
}

impl Question {
    /// Its name in a request.
    pub fn ticket(&self) -> Ticket {
        Ticket(u64::from(self.generation) << 32 | u64::from(self.index))
    }

    /// The answer, once. Until it comes, whoever polled last is woken for it.
    pub fn poll_answer(&self, context: &Context<'_>) -> Poll<Answer> {
        let mut open = self.questions.open.borrow_mut();
        let place = &mut open[self.index as usize];
        match place.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                place.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let place = &mut self.questions.open.borrow_mut()[self.index as usize];
        place.generation = place.generation.wrapping_add(1);
        place.waker = None;
        place.answer = None;
        self.questions.free.borrow_mut().push(self.index);
    }
}
