//! Starts and stops both planes.
//!
//! The order matters where descriptor tables are concerned: everything by which one thread wakes another (the runtime,
//! the signal handler's pipe, the inboxes' bells, the executors) is made while there is one table. Then each core leaves for a
//! table of its own, and only then are sockets made, each in the table of the thread that uses it.

mod banner;
mod keys;
mod load;
mod log;
pub(crate) mod machine;
mod planes;

pub use keys::KeyError;
use keys::Secrets;
pub use load::{LoadError, load};

use crate::clock::Instant;
use crate::config::Config;
use crate::control::{self, Facts, Listeners, Phase, Settings, TokenKey};
use crate::edge::inbox::Notice;
use crate::edge::live::{Live, LiveError};
use crate::edge::{Clock, Cores, probe, socket};
use crate::mail::Ledger;
use crate::metrics::process::{Certificate, ProcessMetrics, Reload};
use crate::store::HashKey;
use arc_swap::ArcSwap;
use planes::Edge;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

/// How often the sessions that are left are counted while the process stops.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How long the last sessions have, after the grace time, to take their 421.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Why the server could not start or had to stop.
#[derive(Debug)]
pub enum ServeError {
    /// io_uring cannot be used.
    Probe(probe::Unusable),
    /// A certificate or TLS cannot be used.
    Live(LiveError),
    /// A file with a key cannot be used.
    Key(KeyError),
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// Something that the system should give was refused.
    System(&'static str, io::Error),
    /// The control plane ended while it was needed.
    Control,
    /// A core failed while serving.
    Core(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error: ")?;
        match self {
            Self::Probe(why) => why.fmt(f),
            Self::Live(why) => why.fmt(f),
            Self::Key(why) => why.fmt(f),
            Self::Listen(address, why) if why.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "cannot listen on {address}: somebody else listens there\n  fix: stop it, or choose another port under [listen]"
            ),
            Self::Listen(address, why) if why.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "cannot listen on {address}: {why}\n  why: ports below 1024 need a privilege\n  fix: AmbientCapabilities=CAP_NET_BIND_SERVICE in the service's unit, or another port under [listen]"
            ),
            Self::Listen(address, why) => write!(f, "cannot listen on {address}: {why}"),
            Self::System(what, why) => write!(f, "cannot {what}: {why}"),
            Self::Control => f.write_str("the control plane ended by itself"),
            Self::Core(why) => write!(f, "a core failed: {why}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves until it is told to stop. `path` is where `config` came from, for SIGHUP.
///
/// # Errors
/// When it cannot start, or a core fails.
pub fn run(config: Config, path: Option<PathBuf>) -> Result<(), ServeError> {
    let clock = Clock::start();
    let began = clock.now();
    log::start(&config.server);
    probe::io_uring().map_err(ServeError::Probe)?;
    machine::prepare();
    let live =
        Arc::new(Live::new(&config, None, clock.wall().year(began)).map_err(ServeError::Live)?);
    let secrets = keys::load(&config).map_err(ServeError::Key)?;
    let memory = machine::memory_budget(&config.store);
    let cpus = machine::cpus(machine::Whose::Own);
    let count = match config.server.cores {
        0 => cpus.len(),
        cores => cores as usize,
    };
    let cores = Cores::new(
        count,
        config.server.inbox_max as usize,
        random_key(),
        Ledger::new(memory),
        clock,
    )
    .map_err(|why| ServeError::System("make the cores' inboxes", why))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| ServeError::System("start the control plane", why))?;
    let signals = runtime
        .block_on(async { Signals::new() })
        .map_err(|why| ServeError::System("listen to signals", why))?;
    let edge = Edge::start(&config, &cores, &live, &cpus, clock)?;
    let listeners = Listeners {
        public: listen(&config.listen.http)?,
        operator: listen(&config.listen.operator)?,
    };
    let server = Server::new(config, path, cores, live, secrets);
    banner::show(&server, &edge, &listeners, clock.now().since(began));
    let served = runtime.block_on(server.serve(edge, listeners, signals));
    // Looking up a name may take long, and nobody waits for it any more.
    runtime.shutdown_background();
    served
}

/// A secret that nobody ever sees.
pub(crate) fn random_key() -> HashKey {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap_or_else(|_| {
        unreachable!("the generator is seeded or the process would have aborted")
    });
    let (left, right) = bytes.split_at(8);
    let half = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    HashKey(half(left), half(right))
}

fn listen(addresses: &[SocketAddr]) -> Result<Vec<std::net::TcpListener>, ServeError> {
    const HTTP_BACKLOG: u32 = 1024;
    addresses
        .iter()
        .map(|address| {
            socket::listen_alone(*address, HTTP_BACKLOG)
                .map_err(|why| ServeError::Listen(*address, why))
        })
        .collect()
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The running process.
struct Server {
    config: Config,
    path: Option<PathBuf>,
    cores: Cores,
    live: Arc<Live>,
    settings: Arc<ArcSwap<Settings>>,
    metrics: Arc<ProcessMetrics>,
}

impl Server {
    fn new(
        config: Config,
        path: Option<PathBuf>,
        cores: Cores,
        live: Arc<Live>,
        secrets: Secrets,
    ) -> Self {
        let server = Self {
            settings: Arc::new(ArcSwap::from_pointee(settings(&config, &live, secrets))),
            metrics: Arc::new(ProcessMetrics::default()),
            config,
            path,
            cores,
            live,
        };
        let now = server.unix_secs(server.cores.now());
        server.metrics.start_time.set(now);
        server.note_settings();
        server
    }

    fn unix_secs(&self, instant: Instant) -> u64 {
        self.cores.wall().unix_secs(instant)
    }

    async fn serve(
        mut self,
        mut edge: Edge,
        listeners: Listeners,
        mut signals: Signals,
    ) -> Result<(), ServeError> {
        let (phase, phases) = watch::channel(Phase::Ready);
        let facts = Facts {
            cores: self.cores.clone(),
            settings: Arc::clone(&self.settings),
            tokens: TokenKey::draw(),
            metrics: Arc::clone(&self.metrics),
        };
        let mut control = tokio::spawn(control::serve(facts, listeners, phases));
        loop {
            tokio::select! {
                _ = signals.interrupt.recv() => break,
                _ = signals.terminate.recv() => break,
                _ = signals.hang_up.recv() => self.reload(),
                failed = edge.failed() => return Err(ServeError::Core(failed)),
                _ = &mut control => return Err(ServeError::Control),
            }
        }
        tracing::info!("stopping: listeners close, transactions under way may finish");
        phase.send_replace(Phase::Draining);
        self.cores.tell_all(&Notice::Drain);
        tokio::select! {
            () = self.sessions_end() => tracing::info!("all sessions have ended"),
            () = sleep(self.config.server.shutdown_grace.0) => {
                tracing::warn!(sessions = self.sessions(), "the grace time is over: the remaining sessions are cut off");
                self.cores.tell_all(&Notice::Cut);
                // Whoever does not take a last word in this time does without.
                let _ = tokio::time::timeout(LAST_WORD, self.sessions_end()).await;
            }
            () = signals.stop() => {
                tracing::warn!("told twice: stopping at once");
                control.abort();
            }
        }
        phase.send_replace(Phase::Stopped);
        // The control plane's last answers need the cores, so these go last.
        let _ = control.await;
        self.cores.tell_all(&Notice::Halt);
        edge.join();
        Ok(())
    }

    fn sessions(&self) -> u64 {
        self.cores
            .metrics()
            .iter()
            .map(|core| core.smtp_connections.value())
            .sum()
    }

    async fn sessions_end(&self) {
        while self.sessions() > 0 {
            sleep(DRAIN_LOOK).await;
        }
    }

    /// Reads the settings anew. A mistake in them changes nothing.
    fn reload(&mut self) {
        let result = load(self.path.as_deref())
            .map_err(|why| why.to_string())
            .and_then(|effective| {
                let waiting = self.config.needs_restart(&effective.config);
                let config = self.what_may_change(effective.config);
                let live = Live::new(
                    &config,
                    Some(&self.live),
                    self.cores.wall().year(self.cores.now()),
                )
                .map_err(|why| why.to_string())?;
                let secrets = keys::load(&config).map_err(|why| why.to_string())?;
                Ok((config, waiting, Arc::new(live), secrets))
            });
        match result {
            Ok((config, waiting, live, secrets)) => {
                self.cores
                    .ledger()
                    .set_limit(machine::memory_budget(&config.store));
                self.settings
                    .store(Arc::new(settings(&config, &live, secrets)));
                self.cores.tell_all(&Notice::Reload(Arc::clone(&live)));
                self.live = live;
                self.config = config;
                self.note_settings();
                self.count_reload(Reload::Succeeded);
                if waiting.is_empty() {
                    tracing::info!("settings and certificates reloaded");
                } else {
                    tracing::warn!(
                        needs_restart = waiting.join(", "),
                        "settings reloaded; some take effect only after a restart"
                    );
                }
            }
            Err(why) => {
                self.metrics.config_reloaded.set(0);
                self.count_reload(Reload::Failed);
                tracing::error!(
                    "the settings were not reloaded, the former ones stay in force:\n{why}"
                );
            }
        }
    }

    fn count_reload(&self, result: Reload) {
        self.metrics.config_reloads.of(result).add_shared(1);
    }

    /// New settings, with the values in force for those that need a restart.
    fn what_may_change(&self, new: Config) -> Config {
        let http = crate::config::Http {
            rate_clients_max: self.config.http.rate_clients_max,
            ..new.http
        };
        let clients = crate::policy::clients::Rules {
            clients_max: self.config.clients.clients_max,
            ..new.clients
        };
        let webhooks = crate::policy::webhooks::Rules {
            reports_max: self.config.webhooks.reports_max,
            ..new.webhooks
        };
        Config {
            server: self.config.server.clone(),
            listen: self.config.listen.clone(),
            clients,
            http,
            webhooks,
            ..new
        }
    }

    /// Shows the settings in force.
    fn note_settings(&self) {
        self.metrics.config_reloaded.set(1);
        self.metrics
            .config_reloaded_at
            .set(self.unix_secs(self.cores.now()));
        self.metrics
            .smtp_connections_limit
            .set(self.config.admission.connections_max.into());
        for (place, shown) in Certificate::ALL.into_iter().enumerate() {
            // One that the settings no longer name is forgotten.
            let identity = self.live.identities.get(place);
            let expiry = identity.and_then(|it| u64::try_from(it.expires_unix_secs).ok());
            let moment = self.metrics.certificate_expiry.of(shown);
            moment.set(expiry.unwrap_or(0));
        }
        let (certificates, shown) = (self.live.identities.len(), Certificate::ALL.len());
        if certificates > shown {
            tracing::warn!(
                certificates,
                shown,
                "the metrics do not say when the certificates end that come last in the settings"
            );
        }
    }
}

fn settings(config: &Config, live: &Live, secrets: Secrets) -> Settings {
    Settings {
        http: config.http.clone(),
        recipients: config.recipients.clone(),
        address_keys: live.address_keys.clone(),
        budget: config.store.clone(),
        reading: config.reading.clone(),
        plans: config.plans.clone(),
        keys: secrets.keys,
        webhooks: config.webhooks.clone(),
        webhook_secrets: secrets.webhooks,
        mcp: config.mcp.clone(),
        compatibility: config.compatibility.clone(),
    }
}
