//! Starts the cores' threads.

use super::{ServeError, random_key};
use crate::config::sections::DescriptorTables;
use crate::config::{Config, MailListener};
use crate::edge::arrivals::Door;
use crate::edge::clients::Clients;
use crate::edge::core::{Core, Parts};
use crate::edge::helpers::Helpers;
use crate::edge::live::Live;
use crate::edge::ring::{Ring, process};
use crate::edge::socket::{self, Claim};
use crate::edge::windows::Windows;
use crate::edge::{Clock, CoreId, CoreShard, Cores, turns};
use crate::store::HashKey;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// Registered memory of the runtime's own rings, which mayfly does not use: the least it allows.
const RUNTIME_MEMORY_BYTES: usize = 64 << 10;

/// Entries of the runtime's own rings, which only wake it.
const RUNTIME_RING_ENTRIES: usize = 128;

/// After how long the runtime leaves its tasks to look at its own rings. Nothing of ours ever comes through those, and
/// when this time is up just as a round of tasks begins, the runtime (0.12.0) takes the empty round for idleness and sleeps
/// for ever on rings in which nothing is under way. A busy machine made that happen within seconds with 5 ms. So: never.
const PREEMPT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The running cores.
#[derive(Debug)]
pub(super) struct Edge {
    threads: Vec<ExecutorJoinHandle<()>>,
    failures: mpsc::Receiver<String>,
    /// Where SMTP is listened for, ports filled in.
    pub(super) smtp: Vec<SocketAddr>,
    /// Where SMTP over TLS is listened for.
    pub(super) smtps: Vec<SocketAddr>,
    /// Whether each core has its own table of descriptors, or why not.
    pub(super) tables: Result<DescriptorTables, String>,
}

/// What each core needs to begin. Everything here may cross threads.
#[derive(Clone)]
struct Plan {
    cores: Cores,
    live: Arc<Live>,
    helpers: Helpers,
    clients: Arc<Clients>,
    windows: Arc<Windows>,
    clock: Clock,
    shard_key: HashKey,
    queue_id_key: HashKey,
    backlog: u32,
    buffers: u16,
    tables: DescriptorTables,
}

impl Plan {
    fn new(
        config: &Config,
        cores: &Cores,
        live: &Arc<Live>,
        clock: Clock,
    ) -> Result<Self, ServeError> {
        Ok(Self {
            cores: cores.clone(),
            live: Arc::clone(live),
            // Started while there is one table of descriptors: they ring the cores' bells.
            helpers: Helpers::start(config.server.helpers as usize)
                .map_err(|why| ServeError::System("start the helpers", why))?,
            clients: Arc::new(Clients::new(
                table_size(config.admission.connections_max),
                random_key(),
            )),
            windows: Arc::new(Windows::new(
                config.clients.clients_max as usize,
                random_key(),
            )),
            clock,
            shard_key: random_key(),
            queue_id_key: random_key(),
            backlog: config.listen.backlog,
            buffers: u16::try_from(config.server.receive_buffers).unwrap_or(1 << 15),
            tables: config.server.descriptor_tables,
        })
    }
}

/// What a core says when it has begun, or could not.
enum Begun {
    Serving(Result<DescriptorTables, String>),
    Failed(ServeError),
}

impl Edge {
    /// Starts the cores; returns when all of them listen.
    ///
    /// # Errors
    /// The first reason for which one cannot.
    pub(super) fn start(
        config: &Config,
        cores: &Cores,
        live: &Arc<Live>,
        cpus: &[usize],
        clock: Clock,
    ) -> Result<Self, ServeError> {
        let plan = Plan::new(config, cores, live, clock)?;
        let stages = Arc::new(Stages::new(cores.count()));
        let (begun, reports) = std::sync::mpsc::channel();
        let (failing, failures) = mpsc::channel(cores.count());
        let threads = (0..cores.count())
            .map(|index| {
                let (plan, stages) = (plan.clone(), Arc::clone(&stages));
                let (begun, failing) = (begun.clone(), failing.clone());
                executor(cpus[index % cpus.len()], index).spawn(move || async move {
                    let last_word = LastWord(&failing);
                    if let Err(why) = begin(CoreId(index), plan, &stages, &begun).await {
                        let _ = failing.try_send(why);
                    }
                    drop(last_word);
                })
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| {
                ServeError::System("start the cores", io::Error::other(why.to_string()))
            })?;
        stages.all_left.wait();
        let claims = Claims::make(config);
        let listeners = match &claims {
            Ok(claims) => claims.listeners(config),
            Err(_) => Vec::new(),
        };
        // Set once, here.
        let _ = stages.listeners.set(listeners);
        stages.addresses_known.wait();
        let Claims { smtp, smtps } = claims?;
        let mut tables = Ok(plan.tables);
        for _ in 0..cores.count() {
            match reports.recv() {
                Ok(Begun::Serving(found)) => tables = tables.and(found),
                Ok(Begun::Failed(why)) => return Err(why),
                Err(_) => return Err(ServeError::Core("it ended while starting".to_owned())),
            }
        }
        Ok(Self {
            threads,
            failures,
            smtp: smtp.iter().map(|claim| claim.address).collect(),
            smtps: smtps.iter().map(|claim| claim.address).collect(),
            tables,
        })
    }

    /// Waits until a core fails; says why.
    pub(super) async fn failed(&mut self) -> String {
        match self.failures.recv().await {
            Some(why) => why,
            // Every core ended without a word: it was told to.
            None => std::future::pending().await,
        }
    }

    /// Waits for the cores' threads to end.
    pub(super) fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a core ended by a panic");
            }
        }
    }
}

/// Says that a core ended by a panic. Nobody else would: its connections and what other cores asked of it would hang, and
/// the kernel would go on giving it new connections.
struct LastWord<'a>(&'a mpsc::Sender<String>);

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.try_send("it ended by a panic".to_owned());
        }
    }
}

/// The steps that the cores and whoever starts them take together.
struct Stages {
    /// Nobody leaves the shared table before all executors exist: the descriptors by which they are woken must be in
    /// every table.
    all_exist: Barrier,
    /// No socket is made before all cores have left the shared table: it would stay open in theirs for ever.
    all_left: Barrier,
    /// Then the ports are found, and every core listens.
    addresses_known: Barrier,
    listeners: OnceLock<Vec<Door>>,
}

impl Stages {
    fn new(cores: usize) -> Self {
        Self {
            all_exist: Barrier::new(cores),
            all_left: Barrier::new(cores + 1),
            addresses_known: Barrier::new(cores + 1),
            listeners: OnceLock::new(),
        }
    }
}

/// The addresses that are ours, kept from others until every core listens.
struct Claims {
    smtp: Vec<Claim>,
    smtps: Vec<Claim>,
}

impl Claims {
    fn make(config: &Config) -> Result<Self, ServeError> {
        Ok(Self {
            smtp: claim(&config.listen.smtp)?,
            smtps: claim(&config.listen.smtps)?,
        })
    }

    /// The listeners with their ports filled in.
    fn listeners(&self, config: &Config) -> Vec<Door> {
        let mut doors = Door::all(&config.listen);
        for (door, claim) in doors.iter_mut().zip(self.smtp.iter().chain(&self.smtps)) {
            door.options.address = claim.address;
        }
        doors
    }
}

/// Finds the ports, and makes sure that nobody else listens there.
fn claim(listeners: &[MailListener]) -> Result<Vec<Claim>, ServeError> {
    listeners
        .iter()
        .map(|MailListener { address, .. }| {
            socket::claim(*address).map_err(|why| ServeError::Listen(*address, why))
        })
        .collect()
}

/// Connections for which the table of clients has room. A reload that raises the limit does not make it larger.
fn table_size(connections_max: u32) -> usize {
    const UNLIMITED: usize = 1 << 17;
    match connections_max {
        0 => UNLIMITED,
        limit => limit as usize,
    }
}

fn executor(cpu: usize, index: usize) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(&format!("mayfly-core-{index}"))
        .io_memory(RUNTIME_MEMORY_BYTES)
        .ring_depth(RUNTIME_RING_ENTRIES)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
}

/// One core's life, on its thread.
async fn begin(
    id: CoreId,
    plan: Plan,
    stages: &Stages,
    begun: &std::sync::mpsc::Sender<Begun>,
) -> Result<(), String> {
    stages.all_exist.wait();
    let tables = match plan.tables {
        DescriptorTables::Shared => Ok(DescriptorTables::Shared),
        DescriptorTables::PerCore => process::own_descriptor_table()
            .map(|()| DescriptorTables::PerCore)
            .map_err(|why| why.to_string()),
    };
    stages.all_left.wait();
    stages.addresses_known.wait();
    let doors = stages.listeners.get().map_or(&[][..], Vec::as_slice);
    let made = Ring::new(plan.buffers)
        .map_err(|why| ServeError::System("make a core's ring", why))
        .and_then(|ring| Ok((ring, open(doors, plan.backlog)?)));
    let (ring, listeners) = match made {
        Ok(made) => made,
        Err(why) => {
            // Whoever started us waits for this word.
            let _ = begun.send(Begun::Failed(why));
            return Ok(());
        }
    };
    let mut shard = CoreShard::new(
        plan.live.budget.clone(),
        plan.shard_key,
        plan.cores.ledger().clone(),
    );
    shard.set_domain_callees(plan.live.domain_callees.clone());
    plan.cores.note_thread(id, process::this_thread());
    let core = Core::new(Parts {
        id,
        shard,
        cores: plan.cores,
        ring,
        live: plan.live,
        helpers: plan.helpers,
        clients: plan.clients,
        windows: plan.windows,
        clock: plan.clock,
        queue_id_key: plan.queue_id_key,
    });
    let _ = begun.send(Begun::Serving(tables));
    turns::serve(core, listeners)
        .await
        .map_err(|why| why.to_string())
}

/// This core's share of every listener.
fn open(doors: &[Door], backlog: u32) -> Result<Vec<(Door, OwnedFd)>, ServeError> {
    doors
        .iter()
        .map(|door| {
            let address = door.options.address;
            socket::listen_shared(address, backlog)
                .map(|socket| (door.clone(), socket.into()))
                .map_err(|why| ServeError::Listen(address, why))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word_of(core: impl FnOnce() + Send + 'static) -> Option<String> {
        let (failing, mut failures) = mpsc::channel(1);
        let thread = std::thread::spawn(move || {
            let _last_word = LastWord(&failing);
            core();
        });
        let _ = thread.join();
        failures.try_recv().ok()
    }

    #[test]
    fn a_core_that_panics_is_a_core_that_failed() {
        assert_eq!(
            word_of(|| panic!("a fault")).as_deref(),
            Some("it ended by a panic")
        );
        assert_eq!(word_of(|| ()), None);
    }
}
