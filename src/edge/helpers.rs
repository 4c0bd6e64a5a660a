//! Threads for what would take a core too long: to take a message apart, or to encrypt it, before it is accepted.
//!
//! A core hands a job over and goes on; the answer comes through its inbox, like that of another core. What waits is bounded: when
//! all helpers have enough before them, the answer is [`Busy`]. A job is a whole message, so one helper does one at a time.

use super::inbox::Busy;
use crossbeam_queue::ArrayQueue;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};

/// Jobs that may wait for one helper. Each holds a message, whose memory is reserved.
const JOBS_MAX: usize = 64;

/// Something to be done elsewhere. It must answer whoever waits for it, whatever happens in it.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The helpers of a process. Clones are the same ones. They end when the last clone does.
#[derive(Clone)]
pub struct Helpers {
    shared: Arc<Shared>,
}

struct Shared {
    helpers: Box<[Helper]>,
    /// Who is asked first.
    next: AtomicUsize,
}

/// One helper, as others see it.
struct Helper {
    jobs: Arc<ArrayQueue<Job>>,
    thread: Thread,
}

impl Helpers {
    /// Starts so many threads, at least one.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start(count: usize) -> io::Result<Self> {
        let helpers = (0..count.max(1)).map(|_| Helper::start());
        Ok(Self {
            shared: Arc::new(Shared {
                helpers: helpers.collect::<io::Result<_>>()?,
                next: AtomicUsize::new(0),
            }),
        })
    }

    /// Has something done.
    ///
    /// # Errors
    /// [`Busy`] when all have enough to do. The job is dropped then.
    pub(super) fn ask(&self, mut job: Job) -> Result<(), Busy> {
        let first = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let helpers = &self.shared.helpers;
        for nth in 0..helpers.len() {
            let helper = &helpers[first.wrapping_add(nth) % helpers.len()];
            match helper.jobs.push(job) {
                Ok(()) => {
                    helper.thread.unpark();
                    return Ok(());
                }
                Err(refused) => job = refused,
            }
        }
        Err(Busy)
    }
}

impl Helper {
    fn start() -> io::Result<Self> {
        let jobs = Arc::new(ArrayQueue::new(JOBS_MAX));
        let theirs = Arc::downgrade(&jobs);
        let thread = thread::Builder::new().name("helper".to_owned());
        let handle = thread.spawn(move || help(&theirs))?;
        Ok(Self {
            jobs,
            thread: handle.thread().clone(),
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for helper in &mut self.helpers {
            helper.jobs = Arc::new(ArrayQueue::new(1));
            helper.thread.unpark();
        }
    }
}

/// Does what is asked for until nobody can ask any more. A wake that comes before the sleep ends it at once, so none is missed.
fn help(jobs: &Weak<ArrayQueue<Job>>) {
    while let Some(jobs) = jobs.upgrade() {
        let job = jobs.pop();
        drop(jobs);
        match job {
            Some(job) => job(),
            None => thread::park(),
        }
    }
}

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Helpers({})", self.shared.helpers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn jobs_are_done_and_what_is_too_much_is_refused() {
        let helpers = Helpers::start(2).expect("threads");
        let (done, finished) = channel();
        let go = channel();
        // Both helpers are held up, so that what follows waits.
        let gates: Vec<_> = (0..2)
            .map(|_| {
                let (open, gate) = channel::<()>();
                let begun = go.0.clone();
                let job = move || {
                    begun.send(()).expect("somebody listens");
                    let _ = gate.recv();
                };
                assert_eq!(helpers.ask(Box::new(job)), Ok(()));
                open
            })
            .collect();
        for _ in 0..2 {
            go.1.recv().expect("both have begun");
        }
        let ask = |number: usize| {
            let done = done.clone();
            helpers.ask(Box::new(move || {
                done.send(number).expect("somebody listens")
            }))
        };
        let room = 2 * JOBS_MAX;
        assert!((0..room).all(|number| ask(number).is_ok()));
        assert_eq!(ask(room), Err(Busy));
        drop(gates);
        let mut numbers: Vec<usize> = finished.iter().take(room).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..room));
        drop(helpers);
    }
}
