//! A whole control plane on free ports, with cores that are plain threads.

use crate::client::{Answer, send};
use arc_swap::ArcSwap;
use mayfly::control::keys::ApiKeys;
use mayfly::control::{self, Facts, Listeners, Phase, Secrets, Settings, TokenKey};
use mayfly::edge::inbox::Request;
use mayfly::edge::{Clock, CoreId, CoreShard, Cores};
use mayfly::mail::message::QueueId;
use mayfly::mail::{Address, BodyWriter, Ledger, Message, ReversePath};
use mayfly::metrics::process::ProcessMetrics;
use mayfly::store::{Existence, HashKey, Shard};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) struct House {
    pub(crate) public: SocketAddr,
    pub(crate) operator: SocketAddr,
    pub(crate) cores: Cores,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) metrics: Arc<ProcessMetrics>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

pub(crate) fn settings() -> Settings {
    let config = mayfly::config::Config::default();
    let mut settings = Settings {
        http: config.http,
        recipients: config.recipients,
        address_keys: mayfly::edge::address_keys::load(&[], None).expect("drawn"),
        budget: config.store,
        reading: config.reading,
        plans: config.plans,
        compatibility: config.compatibility,
        keys: ApiKeys::default(),
        webhooks: config.webhooks,
        webhook_secrets: Secrets::default(),
        mcp: config.mcp,
    };
    settings.http.requests_per_minute = 0;
    settings.http.creations_per_minute = 0;
    settings
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let ledger = Ledger::new(64 << 20);
        let clock = Clock::start();
        let cores = Cores::new(2, 1_024, HashKey(1, 2), ledger.clone(), clock).expect("eventfds");
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for core in 0..cores.count() {
            let shard = Shard::new(settings.budget.clone(), HashKey(3, 4), ledger.clone());
            let (cores, over) = (cores.clone(), Arc::clone(&over));
            threads.push(thread::spawn(move || run_core(&cores, core, shard, &over)));
        }
        let (phase, phases) = watch::channel(Phase::Ready);
        let metrics = Arc::new(ProcessMetrics::default());
        let facts = Facts {
            cores: cores.clone(),
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            tokens: TokenKey::draw(),
            metrics: Arc::clone(&metrics),
        };
        let [public, operator] =
            [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let addresses = [&public, &operator].map(|it| it.local_addr().expect("bound"));
        let listeners = Listeners {
            public: vec![public],
            operator: vec![operator],
        };
        threads.push(thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime
                .block_on(control::serve(facts, listeners, phases))
                .expect("served to the end");
        }));
        Self {
            public: addresses[0],
            operator: addresses[1],
            cores,
            phase,
            metrics,
            over,
            threads,
        }
    }

    /// Runs `work` on the shard that owns `address`.
    pub(crate) fn at<T: Send + 'static>(
        &self,
        address: &str,
        work: impl FnOnce(&mut CoreShard, mayfly::clock::Instant) -> T + Send + 'static,
    ) -> T {
        let address = Address::parse(address).expect("an address");
        let owner = self.cores.owner_of_address(&address);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime
            .block_on(self.cores.call(owner, work))
            .expect("the core answers")
    }

    /// Puts a message into a mailbox as the edge would.
    pub(crate) fn deliver(&self, address: &str, text: &[u8]) {
        let to = Address::parse(address).expect("an address");
        let bytes = text.len() as u64;
        let mut body = BodyWriter::new(self.cores.ledger().reserve(bytes).expect("room"));
        for piece in text.chunks(10_000) {
            body.write(piece);
        }
        let message = Arc::new(Message {
            queue_id: QueueId::from_random(5),
            reverse_path: ReversePath::Address("sender@a.test".into()),
            body: body.finish(),
            received_at: self.cores.now(),
            tls: true,
            require_tls: false,
            encrypted: false,
        });
        self.at(address, move |shard, now| {
            let lease = shard
                .lease(&to, Existence::Implied, bytes, now)
                .expect("a place");
            shard.deliver(lease, &message, now);
        });
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        send(self.public, "GET", path, &[&bearer(token)], "")
    }

    /// Creates a mailbox: its address and token.
    pub(crate) fn create(&self, body: &str) -> (String, String) {
        let kind = "Content-Type: application/json";
        let answer = send(self.public, "POST", "/api/v1/mailboxes", &[kind], body);
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let view = answer.json();
        (text(&view["address"]), text(&view["token"]))
    }
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

impl Drop for House {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        // The control plane first: it may still have questions for the cores.
        let ended = self.threads.pop().map(JoinHandle::join);
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a core ended well");
        }
        assert!(ended.is_some_and(|ended| ended.is_ok()) || thread::panicking());
    }
}

fn run_core(cores: &Cores, core: usize, mut shard: CoreShard, over: &AtomicBool) {
    let inbox = cores.inbox(CoreId(core));
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: i64::try_from(Duration::from_millis(20).as_nanos()).expect("small"),
    };
    while !over.load(Ordering::SeqCst) {
        let bell = &mut [PollFd::from_borrowed_fd(inbox.bell(), PollFlags::IN)];
        if poll(bell, Some(&tick)).expect("poll works") > 0 {
            rustix::io::read(inbox.bell(), &mut [0; 8]).expect("the bell rang");
        }
        inbox.hush();
        let now = cores.now();
        while let Some(request) = inbox.take() {
            match request {
                Request::Call(work) => work(&mut shard, now),
                other => panic!("the control plane sends no {other:?}"),
            }
        }
        shard.expire(now, 10_000);
        cores.metrics()[core].loop_turns.increment();
    }
}
