//! The generator processes of a round: started, listened to, released, waited for. They end with us, because their input does.

use crate::failure::Failure;
use crate::job::{Job, Load, Tls};
use crate::process;
use crate::run::DOMAIN;
use crate::server::Server;
use crate::summary::grouped;
use crate::tally::Tally;
use crate::worker::{Progress, Word};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How much longer than its load a process may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// All of a round, those that have ended included.
#[derive(Debug)]
pub(crate) struct Generators {
    running: BTreeMap<u32, Running>,
    /// What those that have ended did.
    pub(crate) done: Vec<Done>,
    /// For each process that is started, and to hear them all.
    tell: Sender<(u32, Word)>,
    heard: Receiver<(u32, Word)>,
    next: u32,
    live: bool,
}

#[derive(Debug)]
struct Running {
    child: Child,
    load: usize,
    holds: bool,
    held: Option<u64>,
    until: Instant,
    progress: Progress,
}

/// What one process did.
#[derive(Debug)]
pub(crate) struct Done {
    /// The place of its load in the scenario.
    pub(crate) load: usize,
    pub(crate) worker: u32,
    pub(crate) tally: Tally,
}

impl Default for Generators {
    fn default() -> Self {
        let (tell, heard) = channel();
        Self {
            running: BTreeMap::new(),
            done: Vec::new(),
            tell,
            heard,
            next: 1,
            live: std::io::stderr().is_terminal(),
        }
    }
}

impl Generators {
    /// With markers of their own: for several sets of them against one server.
    pub(crate) fn numbered_from(worker: u32) -> Self {
        let mut generators = Self::default();
        generators.next = worker;
        generators
    }

    /// Starts the processes of a load, number `place` in its scenario, against mayfly.
    pub(crate) fn start(
        &mut self,
        load: &Load,
        place: usize,
        server: &Server,
    ) -> Result<(), Failure> {
        let target = if load.tls == Tls::Implicit {
            server.smtps
        } else {
            server.smtp
        };
        self.start_at(load, place, target, Some(server.http))
    }

    /// Starts them against any server of this machine.
    pub(crate) fn start_at(
        &mut self,
        load: &Load,
        place: usize,
        target: SocketAddr,
        api: Option<SocketAddr>,
    ) -> Result<(), Failure> {
        let mut first = 0;
        for index in 0..load.processes {
            let share = load.share(index);
            let messages = share.messages;
            let job = Job {
                load: share,
                target,
                api,
                domain: DOMAIN.to_owned(),
                worker: self.next,
                first,
            };
            first += messages;
            let child = self.spawn(&job)?;
            let until = Instant::now() + Duration::from_secs_f64(load.seconds_max) + PATIENCE;
            let holds = load.kind != crate::job::Kind::Send;
            let running = Running {
                child,
                load: place,
                holds,
                held: None,
                until,
                progress: Progress::default(),
            };
            self.running.insert(self.next, running);
            self.next += 1;
        }
        Ok(())
    }

    fn spawn(&self, job: &Job) -> Result<Child, Failure> {
        let own = std::env::current_exe().map_err(Failure::at("where is this program"))?;
        let mut command = Command::new(own);
        command
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(Failure::at("no generator"))?;
        process::started(child.id());
        let line = serde_json::to_string(job).map_err(Failure::at("no job"))?;
        let told = child.stdin.as_mut().map(|input| writeln!(input, "{line}"));
        told.transpose().map_err(Failure::at("no generator"))?;
        let (worker, words) = (job.worker, self.tell.clone());
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let word = serde_json::from_str(&line)
                        .unwrap_or_else(|error| Word::Failed(error.to_string()));
                    if words.send((worker, word)).is_err() {
                        return;
                    }
                }
                // Behind a last word nobody hears it.
                let _ = words.send((
                    worker,
                    Word::Failed("a generator ended without a word".to_owned()),
                ));
            });
        }
        Ok(child)
    }

    /// Waits until all that hold do; how many connections are open.
    pub(crate) fn wait_until_held(&mut self) -> Result<u64, Failure> {
        while self
            .running
            .values()
            .any(|running| running.holds && running.held.is_none())
        {
            self.hear()?;
        }
        Ok(self
            .running
            .values()
            .filter_map(|running| running.held)
            .sum())
    }

    /// Waits until all that send have ended.
    pub(crate) fn wait_until_sent(&mut self) -> Result<(), Failure> {
        while self.running.values().any(|running| !running.holds) {
            self.hear()?;
        }
        Ok(())
    }

    /// Lets go of what is held.
    pub(crate) fn release(&mut self) -> Result<(), Failure> {
        for running in self.running.values_mut().filter(|running| running.holds) {
            let told = running
                .child
                .stdin
                .as_mut()
                .map(|input| writeln!(input, "release"));
            told.transpose()
                .map_err(Failure::at("a generator has ended"))?;
        }
        Ok(())
    }

    /// Waits for the rest.
    pub(crate) fn wait_until_done(&mut self) -> Result<(), Failure> {
        while !self.running.is_empty() {
            self.hear()?;
        }
        if self.live {
            eprint!("\r\x1b[2K");
        }
        Ok(())
    }

    /// Hears one word of one process.
    fn hear(&mut self) -> Result<(), Failure> {
        let until = self
            .running
            .values()
            .map(|running| running.until)
            .min()
            .unwrap_or_else(Instant::now);
        let left = until.saturating_duration_since(Instant::now());
        let Ok((worker, word)) = self.heard.recv_timeout(left) else {
            return Err(Failure::new("a generator did not end in time"));
        };
        let Some(running) = self.running.get_mut(&worker) else {
            return Ok(());
        };
        match word {
            Word::Progress(progress) => {
                running.progress = progress;
                self.show();
            }
            Word::Held { open } => running.held = Some(open),
            Word::Failed(why) => return Err(Failure::new(why)),
            Word::Done(tally) => {
                let load = running.load;
                self.end(worker);
                self.done.push(Done {
                    load,
                    worker,
                    tally: *tally,
                });
            }
        }
        Ok(())
    }

    fn end(&mut self, worker: u32) {
        if let Some(mut running) = self.running.remove(&worker) {
            drop(running.child.stdin.take());
            let _ = running.child.wait();
            process::ended(running.child.id());
        }
    }

    /// How far all of them are, for whoever watches.
    fn show(&self) {
        if !self.live {
            return;
        }
        let sum = |of: fn(&Progress) -> u64| {
            grouped(
                self.running
                    .values()
                    .map(|running| of(&running.progress))
                    .sum(),
            )
        };
        eprint!(
            "\r\x1b[2K{} accepted, {} refused, {} failed, {} open ",
            sum(|now| now.accepted),
            sum(|now| now.refused),
            sum(|now| now.failed),
            sum(|now| now.open)
        );
    }
}

impl Drop for Generators {
    fn drop(&mut self) {
        for (_, mut running) in std::mem::take(&mut self.running) {
            let _ = running.child.kill();
            let _ = running.child.wait();
            process::ended(running.child.id());
        }
    }
}
