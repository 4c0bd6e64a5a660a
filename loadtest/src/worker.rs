//! One generator process: it reads its job from standard input, runs it, and writes what happened to standard output, in lines of JSON.
//!
//! One thread and one epoll for all of its sessions. When standard input ends, so does the process: no generator outlives its run.

use crate::client::{Client, Opening, Outcome, PATIENCE, Shared, quit};
use crate::failure::Failure;
use crate::job::{Job, Kind, only_loopback};
use crate::pacer::Pacer;
use crate::payload::Payloads;
use crate::process::own_cpu_seconds;
use crate::reader;
use crate::tally::{Clocks, Measure, Tally};
use crate::watcher;
use crate::wire::Wire;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::io::{BufRead as _, Write as _};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;

/// Connections that are opened at the same time for a hold: more would only overflow the listener's queue.
const OPENINGS_AT_ONCE: usize = 64;
/// How long a session that was turned away waits before it tries again.
const BACK_OFF: Duration = Duration::from_millis(20);
/// How often a process says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What a process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// How far it is.
    Progress(Progress),
    /// All connections that were to be held are open, or were refused.
    Held { open: u64 },
    /// The end.
    Done(Box<Tally>),
    /// It could not.
    Failed(String),
}

/// How far a process is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) open: u64,
}

/// What sessions take from and put into.
#[derive(Debug)]
pub(crate) struct Work {
    total: u64,
    next: Cell<u64>,
    began: Instant,
    pub(crate) deadline: Instant,
    pacer: Option<Pacer>,
    pub(crate) tally: RefCell<Tally>,
    /// Connections open now.
    open: Cell<u64>,
}

impl Work {
    /// The next message to send and when it was meant to go; `None` when there is none, or no time.
    async fn next(&self) -> Option<(u64, Instant)> {
        if let Some(pacer) = &self.pacer {
            pacer.turn().await;
        }
        let now = Instant::now();
        let number = self.next.get();
        if number >= self.total || now >= self.deadline {
            return None;
        }
        self.next.set(number + 1);
        Some((
            number,
            self.pacer
                .as_ref()
                .map_or(now, |pacer| self.began + pacer.time_of(number)),
        ))
    }

    fn settle(&self, shared: &Shared, number: u64, meant: Instant, outcome: Outcome) {
        let marker = shared.job.marker(number);
        let mut tally = self.tally.borrow_mut();
        match outcome {
            Outcome::Accepted { bytes } => {
                tally.accepted += 1;
                tally.copies += u64::from(shared.job.load.recipients);
                tally.bytes += bytes;
                shared.record(Measure::Transaction, meant.elapsed());
            }
            Outcome::Refused(code) => {
                *tally.refused.entry(code).or_default() += 1;
                tally.absent.push(marker);
            }
            Outcome::Failed(fault) => {
                tally.fail(fault.name());
                tally.absent.push(marker);
            }
            Outcome::Unknown(fault) => {
                tally.fail(fault.name());
                tally.unknown.push(marker);
            }
        }
    }

    fn progress(&self) -> Progress {
        let tally = self.tally.borrow();
        Progress {
            accepted: tally.accepted,
            refused: tally.refused_count(),
            failed: tally.failed_count(),
            open: self.open.get(),
        }
    }
}

/// Reads a job from standard input and does it.
pub(crate) fn main() -> Result<(), Failure> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(Failure::at("no job"))?;
    let job: Job = serde_json::from_str(&line).map_err(Failure::at("no job"))?;
    let (release, released) = watch::channel(false);
    std::thread::spawn(move || {
        let mut line = String::new();
        // A line releases what is held; the end of the input ends the process with whoever started it.
        if std::io::stdin().lock().read_line(&mut line).unwrap_or(0) > 0 {
            let _ = release.send(true);
            line.clear();
            while std::io::stdin().lock().read_line(&mut line).unwrap_or(0) > 0 {
                line.clear();
            }
        }
        std::process::exit(3);
    });
    let word = match run(job, released, &say) {
        Ok(tally) => Word::Done(Box::new(tally)),
        Err(failure) => Word::Failed(failure.to_string()),
    };
    say(&word);
    Ok(())
}

fn say(word: &Word) {
    if let Ok(line) = serde_json::to_string(word) {
        let mut out = std::io::stdout().lock();
        // Nobody listens: then there is nobody to tell so.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Does a job; `released` says when what is held may go.
pub(crate) fn run(
    job: Job,
    released: watch::Receiver<bool>,
    say: &dyn Fn(&Word),
) -> Result<Tally, Failure> {
    only_loopback(job.target)?;
    job.load.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::at("no runtime"))?;
    LocalSet::new().block_on(&runtime, work(job, released, say))
}

async fn work(
    job: Job,
    released: watch::Receiver<bool>,
    say: &dyn Fn(&Word),
) -> Result<Tally, Failure> {
    let load = job.load.clone();
    let payloads = Payloads::new(&load.size, load.chunking)?;
    let places = if load.watch {
        usize::try_from(load.messages).unwrap_or_default()
    } else {
        0
    };
    let shared = Rc::new(Shared {
        job,
        payloads,
        clocks: RefCell::new(Clocks::new()),
        ends: RefCell::new(vec![None; places]),
        opened: RefCell::new([0; 3]),
    });
    let streams = watcher::open(&shared).await?;
    let cpu = own_cpu_seconds();
    let began = Instant::now();
    let work = Rc::new(Work {
        total: load.messages,
        next: Cell::new(0),
        began,
        deadline: began + Duration::from_secs_f64(load.seconds_max),
        pacer: load.rate.map(Pacer::new).transpose()?,
        tally: RefCell::default(),
        open: Cell::new(0),
    });
    let sessions = async {
        match load.kind {
            Kind::Send => send(&shared, &work).await,
            Kind::Hold | Kind::Drip => hold(&shared, &work, released, say).await,
            Kind::Read => reader::run(&shared, &work, released, say).await?,
        }
        Ok::<(), Failure>(())
    };
    tokio::select! {
        done = sessions => done?,
        () = report(&work, say) => {}
    }
    let seconds = began.elapsed().as_secs_f64();
    let copies = work.tally.borrow().copies;
    let told = watcher::finish(&shared, streams, copies).await;
    let mut tally = work.tally.take();
    (tally.events, tally.events_doubled) = (told.events, told.doubled);
    tally.tokens.extend(told.tokens);
    tally.seconds = seconds;
    tally.generator_cpu_seconds = own_cpu_seconds() - cpu;
    tally.numbered = work.next.get();
    tally.unsent = if load.kind == Kind::Send {
        work.total - work.next.get()
    } else {
        0
    };
    [
        tally.connections,
        tally.handshakes_full,
        tally.handshakes_resumed,
    ] = *shared.opened.borrow();
    tally.latencies = shared.clocks.borrow().taken();
    Ok(tally)
}

async fn report(work: &Work, say: &dyn Fn(&Word)) {
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        say(&Word::Progress(work.progress()));
    }
}

async fn send(shared: &Rc<Shared>, work: &Rc<Work>) {
    let tasks: Vec<_> = (0..shared.job.load.sessions)
        .map(|number| tokio::task::spawn_local(session(Rc::clone(shared), Rc::clone(work), number)))
        .collect();
    let sessions = async {
        for task in tasks {
            // A session that panicked has said so on standard error; its message is missed when all is counted.
            let _ = task.await;
        }
    };
    match &work.pacer {
        None => sessions.await,
        Some(pacer) => {
            let pace = pacer.run(
                work.began,
                work.deadline,
                work.total,
                shared.job.load.sessions,
                |late| {
                    shared.record(Measure::Late, late);
                },
            );
            let (paced, ()) = tokio::join!(pace, sessions);
            if paced.is_err() {
                work.tally.borrow_mut().fail("timer");
            }
        }
    }
}

async fn session(shared: Rc<Shared>, work: Rc<Work>, number: u32) {
    let load = &shared.job.load;
    let mut client = Client::new(&shared, number);
    let mut wire: Option<Wire> = None;
    let mut carried = 0;
    while let Some((message, meant)) = work.next().await {
        let mut open = match wire.take() {
            Some(open) => open,
            None => match client.open(&shared).await {
                Ok(open) => {
                    carried = 0;
                    work.open.set(work.open.get() + 1);
                    open
                }
                Err(why) => {
                    let outcome = match why {
                        Opening::Refused(code) => Outcome::Refused(code),
                        Opening::Failed(fault) => Outcome::Failed(fault),
                    };
                    work.settle(&shared, message, meant, outcome);
                    tokio::time::sleep(BACK_OFF).await;
                    continue;
                }
            },
        };
        let outcome = client.message(&mut open, &shared, message).await;
        work.settle(&shared, message, meant, outcome);
        carried += 1;
        // A refusal leaves a transaction behind, or data without an end: such a connection carries nothing more.
        let usable = matches!(outcome, Outcome::Accepted { .. });
        if usable && (load.per_connection == 0 || carried < load.per_connection) {
            wire = Some(open);
        } else {
            work.open.set(work.open.get() - 1);
            if usable {
                quit(open).await;
            }
        }
    }
    if let Some(open) = wire {
        work.open.set(work.open.get() - 1);
        quit(open).await;
    }
}

async fn hold(
    shared: &Rc<Shared>,
    work: &Rc<Work>,
    mut released: watch::Receiver<bool>,
    say: &dyn Fn(&Word),
) {
    let gate = Rc::new(Semaphore::new(OPENINGS_AT_ONCE));
    let (finish, finished) = watch::channel(false);
    let settled = Rc::new(Semaphore::new(0));
    let tasks: Vec<_> = (0..shared.job.load.sessions)
        .map(|number| {
            let hold = Held {
                shared: Rc::clone(shared),
                work: Rc::clone(work),
                gate: Rc::clone(&gate),
                settled: Rc::clone(&settled),
                finished: finished.clone(),
            };
            tokio::task::spawn_local(hold.one(number))
        })
        .collect();
    // Each session gives one permit when it is open or was refused.
    let _ = settled.acquire_many(shared.job.load.sessions).await;
    say(&Word::Held {
        open: work.open.get(),
    });
    let left = work.deadline.saturating_duration_since(Instant::now());
    let _ = tokio::time::timeout(left, released.wait_for(|released| *released)).await;
    work.tally.borrow_mut().held = work.open.get();
    let _ = finish.send(true);
    for task in tasks {
        let _ = task.await;
    }
}

/// One connection that is held.
struct Held {
    shared: Rc<Shared>,
    work: Rc<Work>,
    gate: Rc<Semaphore>,
    settled: Rc<Semaphore>,
    finished: watch::Receiver<bool>,
}

impl Held {
    async fn one(mut self, number: u32) {
        let opened = {
            let _turn = self.gate.acquire().await;
            // The settings and buffers of a client go when it has opened.
            Client::new(&self.shared, number).open(&self.shared).await
        };
        let wire = match opened {
            Ok(wire) => wire,
            Err(why) => {
                let mut tally = self.work.tally.borrow_mut();
                match why {
                    Opening::Refused(code) => *tally.refused.entry(code).or_default() += 1,
                    Opening::Failed(fault) => tally.fail(fault.name()),
                }
                drop(tally);
                self.settled.add_permits(1);
                return;
            }
        };
        self.work.open.set(self.work.open.get() + 1);
        self.settled.add_permits(1);
        self.keep(wire).await;
        self.work.open.set(self.work.open.get() - 1);
    }

    async fn keep(&mut self, mut wire: Wire) {
        wire.rest();
        let load = &self.shared.job.load;
        let drip = Duration::from_secs_f64(load.drip_seconds);
        let ended = loop {
            tokio::select! {
                // The server speaks first only to end it.
                reply = wire.reply() => break Some(reply.unwrap_or(0)),
                _ = self.finished.wait_for(|finished| *finished) => break None,
                () = tokio::time::sleep(drip), if load.kind == Kind::Drip => {}
            }
            // A byte of a command that never ends.
            if wire.send(&[b"X"]).await.is_err() {
                break Some(0);
            }
        };
        if let Some(code) = ended {
            *self.work.tally.borrow_mut().ended.entry(code).or_default() += 1;
            return;
        }
        if load.kind == Kind::Hold && wire.send(&[b"NOOP\r\n"]).await.is_ok() {
            let reply = tokio::time::timeout(PATIENCE, wire.reply()).await;
            if matches!(reply, Ok(Ok(250))) {
                self.work.tally.borrow_mut().answered += 1;
                quit(wire).await;
            }
        }
    }
}
